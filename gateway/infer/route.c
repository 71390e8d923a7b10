#include "infer/route.h"

#include <string.h>

/* splitmix64's finalizer (Steele, Lea, Flood, OOPSLA 2014): neighbouring ids fall into unrelated buckets. */
static uint64_t scatter(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t route_key(const struct plan_endpoint *place, const char *sticky, size_t sticky_length,
                   uint64_t request_id)
{
    return sticky ? split_hash(place->split, sticky, sticky_length) : scatter(request_id);
}

const struct config_arm *route_pick(const struct config_endpoint *endpoint, const struct plan_endpoint *place,
                                    uint64_t key)
{
    return &endpoint->arms[split_arm(place->split, key)];
}

/* The last arm with a weight that is ready, up to the point `at` of them all laid side by side. */
static const struct config_arm *arm_at(const struct config_endpoint *endpoint,
                                       const struct plan_endpoint *place, const bool *is_ready, double at)
{
    const struct config_arm *last = NULL;
    for (uint32_t i = 0; i < endpoint->n_arms && at >= 0; i++)
        if (is_ready[i] && place->weights[i] > 0) {
            last = &endpoint->arms[i];
            at -= place->weights[i];
        }
    return last;
}

const struct config_arm *route_spill(const struct config_endpoint *endpoint,
                                     const struct plan_endpoint *place, uint64_t key, const bool *is_ready)
{
    double sum = 0;
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        sum += is_ready[i] ? place->weights[i] : 0;
    /* the key's bucket chose the arm that is not ready; what is left of the key knows nothing of that */
    double part = (double)(scatter(key / SPLIT_BUCKETS) >> 11) * 0x1p-53;
    return arm_at(endpoint, place, is_ready, part * sum);
}

bool route_has_others(const struct config_endpoint *endpoint, const struct plan_endpoint *place,
                      const struct config_arm *arm)
{
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        if (&endpoint->arms[i] != arm && place->weights[i] > 0)
            return true;
    return false;
}

static bool is_named(const char *name, const char *asked, size_t length)
{
    return strlen(name) == length && memcmp(name, asked, length) == 0;
}

const struct config_arm *route_named(const struct config_endpoint *endpoint, const char *version,
                                     size_t length)
{
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        const struct config_version *candidate = endpoint->arms[i].version;
        if (is_named(candidate->name, version, length) || is_named(candidate->full_name, version, length))
            return &endpoint->arms[i];
    }
    return NULL;
}

const struct config_arm *route_arm(const struct config_endpoint *endpoint, const char *name)
{
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        if (strcmp(endpoint->arms[i].name, name) == 0)
            return &endpoint->arms[i];
    return NULL;
}
