/*
 * endpoint: path -> handler, and outcome -> reply. The clients' side of the gateway in one table.
 */
#ifndef XEBEC_EDGE_ENDPOINT_H
#define XEBEC_EDGE_ENDPOINT_H

#include "edge/http.h"
#include "infer/request.h"

/* The listener's is_enough, handle and refuse; owner is the shard's struct infer. */
bool endpoint_is_enough(const struct http_message *message);
void endpoint_handle(void *infer, struct exchange *exchange);
void endpoint_refuse(void *infer, struct exchange *exchange, const struct gw_err *err, struct http_reply *reply);

#endif
