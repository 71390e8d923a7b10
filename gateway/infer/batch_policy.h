/*
 * batch_policy: how many rows a batch may have. Pure arithmetic: no clock, no queue, no memory.
 *
 *   none   1: every row travels alone
 *   fixed  max_rows
 *   aimd   Clipper's: after a batch that was full at the limit and faster than the target, the limit grows by
 *          a constant; after one slower than the target, it shrinks by a tenth. Batches below the limit say
 *          nothing for growth. The target is the share of the SLO that is left for the replica.
 *          Source: Crankshaw et al., "Clipper", NSDI 2017, section 4.3.1.
 */
#ifndef XEBEC_INFER_BATCH_POLICY_H
#define XEBEC_INFER_BATCH_POLICY_H

#include <stdint.h>

#include "config.h"

struct batch_policy {
    enum batching_policy kind;
    uint32_t max_rows;
    uint64_t target_us; /* of one call */
    double limit;       /* aimd's state, 1..max_rows */
};

/* slo_us: the smallest SLO of those who use the version; 0: nobody does, any will do. */
void batch_policy_init(struct batch_policy *policy, const struct config_batching *batching, uint64_t slo_us);
/* Rows the next batch may have: 1..max_rows. */
uint32_t batch_policy_limit(const struct batch_policy *policy);
/* One call came back well: its rows, the limit it was made under, and its time from sending to reply. */
void batch_policy_observe(struct batch_policy *policy, uint32_t rows, uint32_t limit, uint64_t rpc_us);

#endif
