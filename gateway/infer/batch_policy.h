/*
 * batch_policy: how many rows a batch may have. Pure arithmetic: no clock, no queue, no memory.
 *
 *   none   1: every row travels alone
 *   fixed  max_rows
 *   aimd   Clipper's: a batch that was full at the limit and came back within the target raises the limit by a
 *          constant; a full one that took longer lowers it by a tenth. A batch below its limit says nothing:
 *          had the limit been lower, or higher, it would have been the same batch.
 *          Source: Crankshaw et al., "Clipper", NSDI 2017, section 4.3.1.
 *
 * Several calls overlap, so what comes back may have been cut under a limit of long ago. Each observation is
 * judged by the limit it was made under: what is larger than today's has been answered already (one pause of
 * the replica slows all calls in flight, and costs one tenth, not one for each), and all that were full under
 * the same limit raise it once.
 */
#ifndef XEBEC_INFER_BATCH_POLICY_H
#define XEBEC_INFER_BATCH_POLICY_H

#include <stdint.h>

#include "config/config.h"

struct batch_policy {
    enum batching_policy kind;
    uint32_t max_rows;
    uint32_t calls;       /* in flight at once at a replica */
    uint32_t limit;       /* 1..max_rows */
    uint64_t target_us;   /* of one call; UINT64_MAX: any time will do */
    uint64_t fastest_us;  /* the fastest call seen; 0: none yet */
};

/* slo_us: the smallest SLO of those who use the version; 0: nobody does, any will do. */
void batch_policy_init(struct batch_policy *policy, const struct config_batching *batching, uint64_t slo_us);
/* Rows the next batch may have: 1..max_rows. */
uint32_t batch_policy_limit(const struct batch_policy *policy);
/*
 * One call came back well: its rows, the limit it was made under (what batch_take() was given, where a replica
 * takes less than the policy allows), and its time from sending to reply.
 */
void batch_policy_observe(struct batch_policy *policy, uint32_t rows, uint32_t limit, uint64_t rpc_us);

#endif
