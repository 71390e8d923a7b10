#include "infer/route.h"

#include <assert.h>
#include <string.h>

const struct config_arm *route_pick(const struct config_endpoint *endpoint, uint64_t key)
{
    assert(endpoint->weight_sum > 0);
    uint64_t bucket = key % endpoint->weight_sum;
    const struct config_arm *arm = endpoint->arms;
    while (bucket >= arm->weight) {
        bucket -= arm->weight;
        arm++;
    }
    return arm;
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
