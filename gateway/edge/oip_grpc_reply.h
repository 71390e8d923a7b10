/* oip_grpc_reply: outcomes -> ModelInferResponse; raw when the request was, or when an output can be nothing else. */
#ifndef XEBEC_EDGE_OIP_GRPC_REPLY_H
#define XEBEC_EDGE_OIP_GRPC_REPLY_H

#include "infer/request.h"

/* The dialect's. There is no answer for some rows only: the first that failed fails all. request->own is a struct oip_grpc_ask. */
void oip_grpc_encode(struct request *request);

#endif
