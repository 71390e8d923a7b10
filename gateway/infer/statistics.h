/*
 * statistics: what became of an arm's requests since the gateway started, over all shards, for those who ask for it in
 * their protocol. The same numbers as /metrics has.
 */
#ifndef XEBEC_INFER_STATISTICS_H
#define XEBEC_INFER_STATISTICS_H

#include "infer/request.h"

struct statistics_part {
    uint64_t count, ns;
};

struct statistics {
    /* of requests that came to this arm of this endpoint, from the first byte to the reply */
    struct statistics_part answered; /* the model was asked for a row at least; defaults are no answers */
    struct statistics_part cached;   /* every row's answer was there, or was just being computed for another request */
    struct statistics_part failed;
    uint64_t last_ms;                /* when the latest was answered, since 1970; 0: none was since the configuration changed */
    /* of its version, whatever endpoint or shadow asked */
    struct statistics_part queued;   /* pieces of requests, in the batch queue */
    struct statistics_part computed; /* calls of the model */
    uint64_t rows, batches;          /* that were sent to the model */
};

/* endpoint: of the plan in force. Any thread may write meanwhile: parts may be a request apart. */
void statistics_read(const struct infer *infer, const struct config_endpoint *endpoint, const struct config_arm *arm,
                     struct statistics *statistics);

#endif
