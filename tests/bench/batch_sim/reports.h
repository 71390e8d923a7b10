/*
 * reports: what batch_sim prints, and, with --check, what docs/batching.md promises and does not hold.
 */
#ifndef XEBEC_BATCH_SIM_REPORTS_H
#define XEBEC_BATCH_SIM_REPORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "workload.h"

struct options {
    uint64_t workloads, seed;
    const char *only;
    bool check, each, changes;
};

/* Both return how many promises were not kept; without --check none are judged. */
int compare_policies(const struct options *options); /* all policies, over all families in turns */
int measure_changes(const struct options *options);  /* how soon a change of the model's speed is followed */

/* Counts what does not hold, and says it. */
void expect(bool holds, const char *what, enum family family, double got, int *failures);

#endif
