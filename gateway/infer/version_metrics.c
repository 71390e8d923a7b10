/* version_metrics: opened, closed, told what was learned. */
#include "infer/version_metrics.h"

/* Those with a label of their own for each reason. */
static bool open_by_reason(struct version_metrics *m, const char *version)
{
    bool all = true;
    for (int reason = 0; reason < BATCH_REASON_COUNT; reason++) {
        const char *why = batch_reason_name((enum batch_reason)reason);
        m->batches[reason] =
            metrics_series(m->metrics, METRIC_BATCHES, METRIC_LABELS("version", version, "reason", why));
        all = all && m->batches[reason];
    }
    for (int refusal = 0; refusal < PACE_REFUSAL_COUNT; refusal++) {
        const char *why = pace_refusal_name((enum pace_refusal)refusal);
        m->refused[refusal] =
            metrics_series(m->metrics, METRIC_REFUSED_ROWS, METRIC_LABELS("version", version, "reason", why));
        all = all && m->refused[refusal];
    }
    return all;
}

bool version_metrics_open(struct version_metrics *m, struct metrics *metrics, const char *version)
{
    const char *const *labels = METRIC_LABELS("version", version);
    m->metrics = metrics;
    m->learned_call = metrics_series(metrics, METRIC_LEARNED_CALL, labels);
    m->learned_row = metrics_series(metrics, METRIC_LEARNED_ROW, labels);
    m->learned_tail = metrics_series(metrics, METRIC_LEARNED_TAIL, labels);
    m->queue_rows = metrics_series(metrics, METRIC_QUEUE_ROWS, labels);
    m->background_rows = metrics_series(metrics, METRIC_QUEUE_BACKGROUND, labels);
    m->batch_limit = metrics_series(metrics, METRIC_BATCH_LIMIT, labels);
    m->queue_wait = metrics_histogram(metrics, METRIC_QUEUE_SECONDS, labels);
    m->batch_rows = metrics_histogram(metrics, METRIC_BATCH_ROWS, labels);
    return open_by_reason(m, version) && m->learned_call && m->learned_row && m->learned_tail &&
           m->queue_rows && m->background_rows && m->batch_limit && m->queue_wait && m->batch_rows;
}

void version_metrics_close(struct version_metrics *m)
{
    void *const series[] = {m->queue_rows, m->background_rows, m->batch_limit, m->queue_wait,
                            m->batch_rows, m->learned_call,    m->learned_row, m->learned_tail};
    for (size_t i = 0; m->metrics && i < sizeof series / sizeof *series; i++)
        metrics_release(m->metrics, series[i]);
    for (int reason = 0; m->metrics && reason < BATCH_REASON_COUNT; reason++)
        metrics_release(m->metrics, m->batches[reason]);
    for (int refusal = 0; m->metrics && refusal < PACE_REFUSAL_COUNT; refusal++)
        metrics_release(m->metrics, m->refused[refusal]);
    *m = (struct version_metrics){0};
}

void version_metrics_learned(const struct version_metrics *m, const struct batch_policy *policy)
{
    metric_set(m->batch_limit, batch_policy_most(policy));
    metric_set(m->learned_call, (uint64_t)policy->latency.fixed_us);
    metric_set(m->learned_row, (uint64_t)(policy->latency.row_us * 1000));
    metric_set(m->learned_tail, (uint64_t)(policy->latency.noise * 100));
}
