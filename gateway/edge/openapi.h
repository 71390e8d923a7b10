/*
 * openapi: GET /openapi.json, an OpenAPI 3.1 description of every path that this configuration serves to clients over REST, made
 * from its endpoints and their signatures. Made once a shard, when first asked for; it goes with the period.
 * Source: spec.openapis.org/oas/v3.1.1. What its schemas promise: openapi_schemas.h.
 */
#ifndef XEBEC_EDGE_OPENAPI_H
#define XEBEC_EDGE_OPENAPI_H

#include "config/config.h"
#include "edge/http.h"
#include "infer/request.h"

/* Appends the description, one JSON document. out->failed: out of memory. */
void openapi_write(struct buf *out, const struct config *config);
/* Replies to /openapi.json; errors are Clipper's. */
void openapi_handle(struct infer *infer, struct exchange *exchange);

#endif
