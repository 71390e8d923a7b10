/*
 * route: which arm answers a request. Pure functions of where the endpoint's rollout stands, a key, and which arms are ready.
 */
#ifndef XEBEC_INFER_ROUTE_H
#define XEBEC_INFER_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "infer/plan.h"

/* The key of a request: of its client, where something tells clients apart (sticky not NULL), else its own. */
uint64_t route_key(const struct plan_endpoint *place, const char *sticky, size_t sticky_length, uint64_t request_id);
/* The arm that owns the key's bucket. Never NULL, never one of weight 0. */
const struct config_arm *route_pick(const struct config_endpoint *endpoint, const struct plan_endpoint *place, uint64_t key);
/*
 * The arm that takes a request in whose own place no replica is ready: one of those with is_ready[arm] (n_arms of them),
 * by their weights; so one of weight 0 never. A key spills to one arm as long as the same arms are ready. NULL: none.
 */
const struct config_arm *route_spill(const struct config_endpoint *endpoint, const struct plan_endpoint *place, uint64_t key,
                                     const bool *is_ready);
/* Whether arms other than this one have a weight. */
bool route_has_others(const struct config_endpoint *endpoint, const struct plan_endpoint *place, const struct config_arm *arm);
/* The arm of a version asked for by name, "forest" or "digits@forest"; NULL when the endpoint has none. */
const struct config_arm *route_named(const struct config_endpoint *endpoint, const char *version, size_t length);
/* The arm of this name, as replies call it; NULL when there is none (any more). */
const struct config_arm *route_arm(const struct config_endpoint *endpoint, const char *name);

#endif
