/*
 * shadow_metrics: what one shard counts of one shadow, as metrics. Labels are the endpoint, the shadow's version, and, where
 * outputs are told apart, the primary's output: COMPARE_OUTPUTS_MAX of them at most, the first that were seen.
 *
 * One thread writes. Series are made when they are first needed; one for which there is no memory is not counted in.
 */
#ifndef XEBEC_INFER_SHADOW_METRICS_H
#define XEBEC_INFER_SHADOW_METRICS_H

#include <stdint.h>

#include "judge/compare.h"
#include "infer/shadow.h"
#include "support/metrics.h"

struct shadow_metrics;

/* Names are borrowed for its life. NULL: out of memory. */
struct shadow_metrics *shadow_metrics_new(struct metrics *metrics, const char *endpoint, const char *version) GW_MUST_CHECK;
void shadow_metrics_free(struct shadow_metrics *m); /* NULL is harmless */

void shadow_metrics_sent(struct shadow_metrics *m, uint32_t rows);
void shadow_metrics_dropped(struct shadow_metrics *m, enum shadow_drop drop, uint32_t rows);
/* What is new: the rows of one run. */
void shadow_metrics_compared(struct shadow_metrics *m, const struct compare_summary *run);
void shadow_metrics_noise(struct shadow_metrics *m, const struct compare_summary *run);
/* Of one request, which models answered on both sides. */
void shadow_metrics_calls(struct shadow_metrics *m, uint64_t primary_us, uint64_t shadow_us);

#endif
