/*
 * oip_reply: how an inference is answered: a document of its outputs, with the data of those that were asked for in binary
 * behind it; or {"error": words}.
 */
#ifndef XEBEC_EDGE_OIP_REPLY_H
#define XEBEC_EDGE_OIP_REPLY_H

#include "infer/request.h"

/* The dialect's. There is no answer for some rows only: the first that failed fails all. request->own is a struct oip_ask. */
void oip_encode(struct request *request);
void oip_write_error(struct buf *out, enum gw_status status, const char *what);

#endif
