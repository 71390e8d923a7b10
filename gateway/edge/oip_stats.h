/*
 * oip_stats: Triton's statistics extension: an entry for each version of an endpoint; in JSON for REST, and for oip_grpc to
 * put into messages.
 * Source: triton-inference-server/server, docs/protocol/extension_statistics.md; docs/protocols.md says what its parts
 * mean here.
 */
#ifndef XEBEC_EDGE_OIP_STATS_H
#define XEBEC_EDGE_OIP_STATS_H

#include "infer/statistics.h"
#include "support/buf.h"

/* In the order of the fields of Triton's message. */
enum oip_stats_part {
    OIP_STATS_SUCCESS,
    OIP_STATS_FAIL,
    OIP_STATS_QUEUE,
    OIP_STATS_COMPUTE_INPUT,
    OIP_STATS_COMPUTE_INFER,
    OIP_STATS_COMPUTE_OUTPUT,
    OIP_STATS_CACHE_HIT,
    OIP_STATS_CACHE_MISS,
    OIP_STATS_PARTS
};

struct oip_stats {
    const char *endpoint, *version; /* of the plan in force */
    uint64_t last_ms, rows, batches; /* as in struct statistics */
    struct statistics_part parts[OIP_STATS_PARTS];
};

/* Of this arm of the endpoint, or, NULL, of all of them; endpoint NULL: of all endpoints. Of the plan in force. */
void oip_stats_each(const struct infer *infer, const struct config_endpoint *endpoint, const struct config_arm *arm,
                    void (*take)(void *owner, const struct oip_stats *stats), void *owner);
/* The same as {"model_stats": [...]}. */
void oip_stats_write(struct buf *out, const struct infer *infer, const struct config_endpoint *endpoint,
                     const struct config_arm *arm);

#endif
