/* plan_gauges: a series an arm. */
#include "infer/plan_gauges.h"

#include <stdlib.h>

struct plan_gauges {
    struct metrics *metrics;
    uint32_t n;
    struct metric *buckets[];
};

static bool show_endpoint(struct plan_gauges *gauges, const struct config_endpoint *endpoint,
                          const struct plan_endpoint *place)
{
    for (uint32_t arm = 0; arm < endpoint->n_arms; arm++) {
        struct metric *buckets =
            metrics_series(gauges->metrics, METRIC_ARM_BUCKETS,
                           METRIC_LABELS("endpoint", endpoint->name, "arm", endpoint->arms[arm].name));
        if (!buckets)
            return false;
        metric_set(buckets, split_owned(place->split, arm));
        gauges->buckets[gauges->n++] = buckets;
    }
    return true;
}

struct plan_gauges *plan_gauges_new(struct metrics *metrics, const struct plan *plan)
{
    const struct config *config = plan->config;
    uint32_t n = 0;
    for (uint32_t i = 0; i < config->n_endpoints; i++)
        n += config->endpoints[i]->n_arms;
    struct plan_gauges *gauges = calloc(1, sizeof *gauges + n * sizeof gauges->buckets[0]);
    if (!gauges)
        return NULL;
    gauges->metrics = metrics;
    for (uint32_t i = 0; i < config->n_endpoints; i++)
        if (!show_endpoint(gauges, config->endpoints[i], &plan->endpoints[i])) {
            plan_gauges_free(gauges);
            return NULL;
        }
    return gauges;
}

void plan_gauges_free(struct plan_gauges *gauges)
{
    for (uint32_t i = 0; gauges && i < gauges->n; i++)
        metrics_release(gauges->metrics, gauges->buckets[i]);
    free(gauges);
}
