/* rollout_metrics: series that stand for what others know. */
#include "infer/rollout_metrics.h"

#include <math.h>
#include <stdlib.h>

#define MILLION 1e6

struct plan_gauges {
    struct metrics *metrics;
    uint32_t n;
    struct metric *buckets[];
};

struct canary_gauges {
    struct metrics *metrics;
    struct metric *phases[CANARY_PHASES], *step, *p_values[CANARY_GATES];
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

static bool open_canary(struct canary_gauges *gauges, const char *endpoint)
{
    bool well = true;
    gauges->step = metrics_series(gauges->metrics, METRIC_CANARY_STEP, METRIC_LABELS("endpoint", endpoint));
    for (enum canary_phase phase = 0; phase < CANARY_PHASES; phase++) {
        gauges->phases[phase] =
            metrics_series(gauges->metrics, METRIC_CANARY_PHASE,
                           METRIC_LABELS("endpoint", endpoint, "phase", canary_phase_name(phase)));
        well = well && gauges->phases[phase];
    }
    for (enum canary_gate gate = 0; gate < CANARY_GATES; gate++) {
        gauges->p_values[gate] =
            metrics_series(gauges->metrics, METRIC_CANARY_P_VALUE,
                           METRIC_LABELS("endpoint", endpoint, "gate", canary_gate_name(gate)));
        well = well && gauges->p_values[gate];
    }
    return well && gauges->step;
}

struct canary_gauges *canary_gauges_new(struct metrics *metrics, const char *endpoint)
{
    struct canary_gauges *gauges = calloc(1, sizeof *gauges);
    if (!gauges)
        return NULL;
    gauges->metrics = metrics;
    if (open_canary(gauges, endpoint))
        return gauges;
    canary_gauges_free(gauges);
    return NULL;
}

void canary_gauges_set(struct canary_gauges *gauges, const struct canary *canary)
{
    for (enum canary_phase phase = 0; phase < CANARY_PHASES; phase++)
        metric_set(gauges->phases[phase], canary->phase == phase);
    for (enum canary_gate gate = 0; gate < CANARY_GATES; gate++)
        metric_set(gauges->p_values[gate], (uint64_t)ceil(canary_p_value(canary, gate) * MILLION));
    metric_set(gauges->step, canary->begun ? canary->step + 1 : 0);
}

void canary_gauges_free(struct canary_gauges *gauges)
{
    if (!gauges)
        return;
    metrics_release(gauges->metrics, gauges->step);
    for (uint32_t i = 0; i < CANARY_PHASES; i++)
        metrics_release(gauges->metrics, gauges->phases[i]);
    for (uint32_t i = 0; i < CANARY_GATES; i++)
        metrics_release(gauges->metrics, gauges->p_values[i]);
    free(gauges);
}
