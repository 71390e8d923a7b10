/*
 * openapi_examples: a request as its dialect has it, as a further member, "example": one row of zeros and empty texts.
 * Nothing where that would be large.
 */
#ifndef XEBEC_EDGE_OPENAPI_EXAMPLES_H
#define XEBEC_EDGE_OPENAPI_EXAMPLES_H

#include "config/config.h"
#include "support/buf.h"

void openapi_put_clipper_example(struct buf *out, const struct config_endpoint *endpoint);
void openapi_put_oip_example(struct buf *out, const struct config_endpoint *endpoint);

#endif
