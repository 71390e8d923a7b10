/* version_metrics: what a version's home shard counts of it: the queue, the batches, and what was learned of its calls. */
#ifndef XEBEC_INFER_VERSION_METRICS_H
#define XEBEC_INFER_VERSION_METRICS_H

#include "infer/pace.h"
#include "support/metrics.h"

/* To be written where things happen; one thread writes. Zeroed: none is open. */
struct version_metrics {
    struct metrics *metrics;
    struct metric *queue_rows, *background_rows, *batch_limit, *batches[BATCH_REASON_COUNT];
    struct metric *refused[PACE_REFUSAL_COUNT], *learned_call, *learned_row, *learned_tail;
    struct histogram *queue_wait, *batch_rows;
};

/* version: "digits@forest". False: out of memory; version_metrics_close() is owed either way. */
GW_MUST_CHECK bool version_metrics_open(struct version_metrics *m, struct metrics *metrics, const char *version);
void version_metrics_close(struct version_metrics *m);

void version_metrics_learned(const struct version_metrics *m, const struct batch_policy *policy);

#endif
