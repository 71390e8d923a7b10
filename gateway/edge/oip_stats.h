/*
 * oip_stats: Triton's statistics extension over REST: {"model_stats": [...]}, an entry for each version of an endpoint.
 * Source: triton-inference-server/server, docs/protocol/extension_statistics.md; docs/protocols.md says what its parts
 * mean here.
 */
#ifndef XEBEC_EDGE_OIP_STATS_H
#define XEBEC_EDGE_OIP_STATS_H

#include "infer/request.h"
#include "support/buf.h"

/* Of this arm of the endpoint, or, NULL, of all of them; endpoint NULL: of all endpoints. Of the plan in force. */
void oip_stats_write(struct buf *out, const struct infer *infer, const struct config_endpoint *endpoint,
                     const struct config_arm *arm);

#endif
