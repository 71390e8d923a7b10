#include "infer/route.h"

#include <assert.h>
#include <string.h>

/* Arms laid side by side; is_ready NULL: all of them. */
static const struct config_arm *arm_at(const struct config_endpoint *endpoint, uint64_t bucket,
                                       const bool *is_ready)
{
    uint32_t i = 0;
    for (;; i++) {
        if (is_ready && !is_ready[i])
            continue;
        if (bucket < endpoint->arms[i].weight)
            return &endpoint->arms[i];
        bucket -= endpoint->arms[i].weight;
    }
}

const struct config_arm *route_pick(const struct config_endpoint *endpoint, uint64_t key)
{
    assert(endpoint->weight_sum > 0);
    return arm_at(endpoint, key % endpoint->weight_sum, NULL);
}

const struct config_arm *route_spill(const struct config_endpoint *endpoint, uint64_t key,
                                     const bool *is_ready)
{
    uint64_t ready_sum = 0;
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        ready_sum += is_ready[i] ? endpoint->arms[i].weight : 0;
    if (!ready_sum)
        return NULL;
    /* the remainder chose the arm that is not ready, and would favour some of the others; the quotient does
     * not */
    return arm_at(endpoint, key / endpoint->weight_sum % ready_sum, is_ready);
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
