#include "infer/batch_policy.h"

/*
 * The share of the SLO that one call may take. With c calls in flight at a replica that works on one at a
 * time, a call that keeps it busy for S measures c * S from sending to reply. A row that just missed a batch
 * waits S for the next slot, and then that call: (1 + 1/c) calls, at most 2. So at 0.4 the queue and the
 * replica take at most 0.8 of the SLO (0.6 with the usual 2 calls), and the rest is for reading, replying,
 * the network, and the jitter of a machine under load, which at the 99th percentile is not small.
 */
#define CALL_SHARE_PERCENT 40

/*
 * Rows that a full, fast batch adds to the limit. One step a round trip, whatever the calls in flight: 2 rows
 * reach 128 within 64 round trips (0.64 s at 200 batches/s, 2 in flight), and overshoot little at small
 * limits.
 */
#define GROWTH_ROWS 2

/* What a slow batch leaves of the limit, Clipper's tenth. From whole rows down to whole rows: always at least
 * one less. */
#define BACKOFF_PERCENT 90

void batch_policy_init(struct batch_policy *policy, const struct config_batching *batching, uint64_t slo_us)
{
    *policy = (struct batch_policy){
        .kind = batching->policy,
        .max_rows = batching->policy == BATCHING_NONE ? 1 : batching->max_rows,
        .calls = batching->calls,
        .limit = batching->policy == BATCHING_FIXED ? batching->max_rows : 1,
        .target_us = slo_us ? slo_us / 100 * CALL_SHARE_PERCENT : UINT64_MAX,
    };
}

uint32_t batch_policy_limit(const struct batch_policy *policy)
{
    return policy->limit;
}

/*
 * A model whose every call is slow, however few its rows, misses the target at any limit; to back off would
 * only take its throughput as well (a random forest: 5 ms for one row, 6 ms for a hundred). So a call
 * may take what the fastest ever took for each call in flight, and once more for its rows.
 */
static uint64_t attainable_us(const struct batch_policy *policy)
{
    uint64_t floor_us = (policy->calls + 1ULL) * policy->fastest_us;
    return floor_us > policy->target_us ? floor_us : policy->target_us;
}

static void grow(struct batch_policy *policy, uint32_t proven_rows)
{
    uint64_t next = (uint64_t)proven_rows + GROWTH_ROWS;
    if (next > policy->max_rows)
        next = policy->max_rows;
    if (next > policy->limit)
        policy->limit = (uint32_t)next;
}

static void back_off(struct batch_policy *policy)
{
    uint32_t less = (uint32_t)((uint64_t)policy->limit * BACKOFF_PERCENT / 100);
    policy->limit = less ? less : 1;
}

void batch_policy_observe(struct batch_policy *policy, uint32_t rows, uint32_t limit, uint64_t rpc_us)
{
    if (policy->kind != BATCHING_AIMD)
        return;
    if (!policy->fastest_us || rpc_us < policy->fastest_us)
        policy->fastest_us = rpc_us;
    if (rows < limit || limit > policy->limit)
        return;
    if (rpc_us <= attainable_us(policy))
        grow(policy, limit);
    else
        back_off(policy);
}
