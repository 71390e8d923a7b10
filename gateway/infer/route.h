/*
 * route: which version answers a request. Pure functions of the endpoint's configuration, a key, and which arms are ready.
 */
#ifndef XEBEC_INFER_ROUTE_H
#define XEBEC_INFER_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

/* The arm that owns bucket (key mod weight_sum), arms laid side by side in the order of the file. Never NULL. */
const struct config_arm *route_pick(const struct config_endpoint *endpoint, uint64_t key);
/*
 * The arm that takes a request in whose own place no replica is ready: one of those with is_ready[arm] (n_arms of them),
 * by their weights; so one of weight 0 never. A sticky key spills to one arm as long as the same arms are ready. NULL: none.
 */
const struct config_arm *route_spill(const struct config_endpoint *endpoint, uint64_t key, const bool *is_ready);
/* The arm of a version asked for by name, "forest" or "digits@forest"; NULL when the endpoint has none. */
const struct config_arm *route_named(const struct config_endpoint *endpoint, const char *version, size_t length);

#endif
