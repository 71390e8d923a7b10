/*
 * simulate: the gateway's own batching (infer/pace and what it is made of) in virtual time, over one workload.
 *
 * The oracle decides as adaptive does, but is told the line, the noise, the speed of this moment and when each call will be
 * back. It shows what learning costs. It is no upper bound: it does not know which rows will come.
 */
#ifndef XEBEC_BATCH_SIM_SIMULATE_H
#define XEBEC_BATCH_SIM_SIMULATE_H

#include "config/config.h"
#include "workload.h"

enum { LATENCY_BINS = 400, WINDOWS = 100 };
#define WINDOW (0.1 * SECOND) /* of those in which is counted who was in time */

enum { FIXED = 1, AIMD = 2, ADAPTIVE = 4, ORACLE = 5, POLICIES = 6 };
extern const struct policy {
    const char *name;
    enum batching_policy policy;
    bool is_oracle;
} policies[POLICIES];

struct score {
    uint64_t offered, in_time, late, refused, batches, batched_rows;
    uint64_t latency[LATENCY_BINS + 1];    /* of answered rows, in hundredths of their objective */
    uint64_t came[WINDOWS], kept[WINDOWS]; /* rows by when they came; of them, those in time */
    double us;
};

void simulate(const struct workload *load, const struct policy *policy, struct score *score); /* adds to the score */

#endif
