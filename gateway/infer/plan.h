/*
 * plan: what requests go by: a configuration, and the versions that serve it. Immutable and counted. A reload makes
 * a new one beside the old; shards change over one by one (infer_enter()), and requests in flight finish on theirs.
 * Versions that both know are the same object, with their queues, replicas and what they learned.
 */
#ifndef XEBEC_INFER_PLAN_H
#define XEBEC_INFER_PLAN_H

#include <stdatomic.h>

#include "config.h"
#include "infer/version.h"

struct plan {
    _Atomic uint32_t refs;
    struct config *config;      /* one reference */
    struct version *versions[]; /* one reference each; by config_version.index */
};

/* Room for the configuration's versions, all NULL. NULL: out of memory. */
struct plan *plan_new(struct config *config) GW_MUST_CHECK;
/*
 * The version of `plan` that serves as `wanted` asks, one reference to it; NULL when there is none. Replicas, limits
 * and whatever else a version works by must be the same.
 */
struct version *plan_find_version(const struct plan *plan, const struct config_version *wanted);
/* Whether this very version is in it. */
bool plan_has_version(const struct plan *plan, const struct version *version);
struct plan *plan_ref(struct plan *plan);
/* Any thread. With the last one, versions that no other plan has are freed, each at its home. NULL is harmless. */
void plan_unref(struct plan *plan);

#endif
