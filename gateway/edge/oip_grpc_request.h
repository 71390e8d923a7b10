/*
 * oip_grpc_request: ModelInferRequest -> tensors, and what it asks of the reply; the REST twin is oip_document.h. The
 * message is read where it lies: raw contents are the tensors, and so are packed lists of floats.
 */
#ifndef XEBEC_EDGE_OIP_GRPC_REQUEST_H
#define XEBEC_EDGE_OIP_GRPC_REQUEST_H

#include "edge/http.h"
#include "edge/oip_grpc.h"

/* Whom it asks. Fields of the message; of length 0: it does not say. */
struct oip_grpc_heading {
    struct wire_field model, version;
};
/*
 * What must be known before there is a request: the heading, and the ask's id and whether it is raw. GW_E_INVALID, with
 * words: the bytes are no such message to their end.
 */
GW_MUST_CHECK enum gw_status oip_grpc_read_heading(const struct http_message *message,
                                                   struct oip_grpc_heading *heading,
                                                   struct oip_grpc_ask *ask, struct gw_err *err);

/* The dialect's decode(), of a message that oip_grpc_read_heading() has read. request->own is its struct oip_grpc_ask. */
enum gw_status oip_grpc_decode(struct request *request, const char *body, size_t length);

#endif
