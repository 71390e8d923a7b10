/* statistics: read from the metrics of all shards. */
#include "infer/statistics.h"

#include "infer/request_metrics.h"

static struct statistics_part part_of(const struct metrics_sum *sum, double ns)
{
    return (struct statistics_part){.count = sum->count, .ns = (uint64_t)(sum->sum * ns)};
}

static struct statistics_part requests_that(struct metrics *metrics, const struct config_endpoint *endpoint,
                                            const struct config_arm *arm, enum arm_ending ending)
{
    const struct metrics_sum sum = metrics_read(
        metrics, METRIC_ARM_ENDINGS,
        METRIC_LABELS("endpoint", endpoint->name, "arm", arm->name, "ending", arm_ending_name(ending)));
    return part_of(&sum, 1e9); /* seconds */
}

void statistics_read(const struct infer *infer, const struct config_endpoint *endpoint,
                     const struct config_arm *arm, struct statistics *statistics)
{
    struct metrics *metrics = infer_metrics_registry(infer->period->metrics);
    const char *const *version = METRIC_LABELS("version", arm->version->full_name);
    const struct metrics_sum queued = metrics_read(metrics, METRIC_QUEUE_SECONDS, version);
    const struct metrics_sum computed = metrics_read(metrics, METRIC_RPC_SECONDS, version);
    const struct metrics_sum batches = metrics_read(metrics, METRIC_BATCH_ROWS, version);
    const struct metrics_sum last =
        metrics_read(metrics, METRIC_ARM_LAST, METRIC_LABELS("endpoint", endpoint->name, "arm", arm->name));
    *statistics = (struct statistics){
        .answered = requests_that(metrics, endpoint, arm, ARM_ANSWERED),
        .cached = requests_that(metrics, endpoint, arm, ARM_CACHED),
        .failed = requests_that(metrics, endpoint, arm, ARM_FAILED),
        .last_ms = (uint64_t)(last.sum * 1e3),
        .queued = part_of(&queued, 1e3), /* microseconds */
        .computed = part_of(&computed, 1e3),
        .rows = (uint64_t)batches.sum,
        .batches = batches.count,
    };
}
