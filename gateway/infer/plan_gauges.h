/*
 * plan_gauges: what each arm owns by the plan in force, as metrics: xebec_arm_buckets. Written by the main thread alone.
 */
#ifndef XEBEC_INFER_PLAN_GAUGES_H
#define XEBEC_INFER_PLAN_GAUGES_H

#include "infer/plan.h"
#include "support/metrics.h"

/* The plan is not kept. Free those of the plan before first. NULL: out of memory. */
struct plan_gauges *plan_gauges_new(struct metrics *metrics, const struct plan *plan) GW_MUST_CHECK;
void plan_gauges_free(struct plan_gauges *gauges); /* NULL is harmless */

#endif
