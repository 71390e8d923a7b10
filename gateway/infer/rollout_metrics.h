/*
 * rollout_metrics: gauges of where rollouts stand: what each arm owns, and each canary's phase, step and evidence. Written by
 * the main thread alone.
 */
#ifndef XEBEC_INFER_ROLLOUT_METRICS_H
#define XEBEC_INFER_ROLLOUT_METRICS_H

#include "infer/canary.h"
#include "infer/plan.h"
#include "support/metrics.h"

/* Of a plan: xebec_arm_buckets of every arm. It is not kept; free the one before first. NULL: out of memory. */
struct plan_gauges *plan_gauges_new(struct metrics *metrics, const struct plan *plan) GW_MUST_CHECK;
void plan_gauges_free(struct plan_gauges *gauges); /* NULL is harmless */

/* Of an endpoint's canary: xebec_canary_phase, _step and _p_value_ppm, 0 until they are set. NULL: out of memory. */
struct canary_gauges *canary_gauges_new(struct metrics *metrics, const char *endpoint) GW_MUST_CHECK;
void canary_gauges_set(struct canary_gauges *gauges, const struct canary *canary);
void canary_gauges_free(struct canary_gauges *gauges); /* NULL is harmless */

#endif
