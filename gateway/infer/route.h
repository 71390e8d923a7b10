/*
 * route: which version answers a request. A pure function of the endpoint's configuration and a key.
 */
#ifndef XEBEC_INFER_ROUTE_H
#define XEBEC_INFER_ROUTE_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"

/* The arm that owns bucket (key mod weight_sum), arms laid side by side in the order of the file. Never NULL. */
const struct config_arm *route_pick(const struct config_endpoint *endpoint, uint64_t key);
/* The arm of a version asked for by name, "forest" or "digits@forest"; NULL when the endpoint has none. */
const struct config_arm *route_named(const struct config_endpoint *endpoint, const char *version, size_t length);

#endif
