/*
 * plan: what requests go by: a configuration, and the versions that serve it. Immutable and counted. A reload makes
 * a new one beside the old; shards change over one by one (infer_enter()), and requests in flight finish on theirs.
 * Versions that both know are the same object, with their queues, replicas and what they learned.
 */
#ifndef XEBEC_INFER_PLAN_H
#define XEBEC_INFER_PLAN_H

#include <stdatomic.h>

#include "config/config.h"
#include "judge/arm_book.h"
#include "infer/split.h"
#include "infer/version.h"
#include "support/metrics.h"

struct shadow;

/* Where an endpoint's requests go. */
struct plan_endpoint {
    struct split *split;         /* one reference; by the number of config_endpoint.arms */
    const double *weights;       /* by arm: the configuration's, or what somebody set since */
    struct arm_books *books;     /* of an endpoint with a canary: one reference; else NULL */
    struct arm_lot *lot;         /* likewise; of this split */
    uint64_t crashed_before[BOOK_ARMS]; /* version_crashes() when the books began */
    struct shadow **shadows;     /* by config_endpoint.shadows, one reference each; NULL: none was opened */
    const char *const *headers;  /* by arm: what replies say of it, "X-Xebec-Version: digits@forest\r\nX-Xebec-Arm: ...\r\n" */
};

struct plan {
    _Atomic uint32_t refs;
    struct config *config;           /* one reference */
    struct plan_endpoint *endpoints; /* by config_endpoint.index */
    struct version *versions[];      /* one reference each; by config_version.index */
};

/* With every endpoint's split, by the weights of the file; room for the versions, all NULL. NULL: out of memory. */
struct plan *plan_new(struct config *config) GW_MUST_CHECK;
/* The same once more, before it is shared: its versions and splits, not copies of them. NULL: out of memory. */
struct plan *plan_again(const struct plan *plan) GW_MUST_CHECK;
/* Other weights for an endpoint: n_arms of them, as in split_new(). Before the plan is shared. False: no memory, nothing changed. */
GW_MUST_CHECK bool plan_set_weights(struct plan *plan, const struct config_endpoint *endpoint, const double *weights);
/*
 * The shadows of all endpoints, once the versions are there, before the plan is shared. Those that `former` (NULL: none) has
 * in the same form, between the same versions, go on with what they counted. False: out of memory; free the plan.
 */
GW_MUST_CHECK bool plan_open_shadows(struct plan *plan, const struct plan *former, struct metrics *metrics);
/*
 * The version of `plan` that serves as `wanted` asks, one reference to it; NULL when there is none. Replicas, limits
 * and whatever else a version works by must be the same.
 */
struct version *plan_find_version(const struct plan *plan, const struct config_version *wanted);
/*
 * After the versions are set, before it is shared: canaries whose endpoint, versions (the same objects) and clients' keys
 * are as in the plan before go on in the same books. former: NULL: there is none. False: out of memory.
 */
GW_MUST_CHECK bool plan_keep_books(struct plan *plan, const struct plan *former);
/*
 * Of an endpoint with a canary: what is known of its arms, for canary_judge(); `disagreement` from its shadow, where the
 * candidate is one. Any thread; the counts are 23 KiB.
 */
void plan_count_arms(const struct plan *plan, const struct config_endpoint *endpoint, struct arm_counts counts[BOOK_ARMS]);
/* Whether this very version is in it. */
bool plan_has_version(const struct plan *plan, const struct version *version);
struct plan *plan_ref(struct plan *plan);
/* Any thread. With the last one, versions that no other plan has are freed, each at its home. NULL is harmless. */
void plan_unref(struct plan *plan);

#endif
