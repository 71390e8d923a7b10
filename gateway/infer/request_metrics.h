/*
 * request_metrics: what a shard counts of its requests. Series are made when first needed, then kept.
 */
#ifndef XEBEC_INFER_REQUEST_METRICS_H
#define XEBEC_INFER_REQUEST_METRICS_H

#include "infer/request.h"

struct infer_metrics;

struct infer_metrics *infer_metrics_new(struct metrics *metrics, const struct config *config) GW_MUST_CHECK;
void infer_metrics_free(struct infer_metrics *metrics); /* NULL is harmless */

struct metrics *infer_metrics_registry(const struct infer_metrics *metrics);

/* How a request at an arm ended, as METRIC_ARM_ENDINGS has it. */
enum arm_ending { ARM_ANSWERED, ARM_CACHED, ARM_FAILED, ARM_ENDING_COUNT };
const char *arm_ending_name(enum arm_ending ending); /* "answered" */

/* A request moved: from == to at its birth. */
void infer_metrics_move(struct infer_metrics *metrics, enum request_state from, enum request_state to);
/* Another arm than the request's answers it, for want of a replica. */
void infer_metrics_spilled(struct infer_metrics *metrics, const struct request *request);
/* A request ended, with its rows. */
void infer_metrics_end(struct infer_metrics *metrics, const struct request *request, uint64_t now_us);

#endif
