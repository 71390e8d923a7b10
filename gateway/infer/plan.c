/* plan: references kept, and versions found again. */
#include "infer/plan.h"

#include <stdlib.h>

struct plan *plan_new(struct config *config)
{
    struct plan *plan = calloc(1, sizeof *plan + config->n_versions * sizeof plan->versions[0]);
    if (!plan)
        return NULL;
    atomic_init(&plan->refs, 1);
    plan->config = config_ref(config);
    return plan;
}

struct version *plan_find_version(const struct plan *plan, const struct config_version *wanted)
{
    for (uint32_t i = 0; i < plan->config->n_versions; i++)
        if (plan->versions[i] && config_version_same(plan->config->versions[i], wanted))
            return version_ref(plan->versions[i]);
    return NULL;
}

bool plan_has_version(const struct plan *plan, const struct version *version)
{
    for (uint32_t i = 0; i < plan->config->n_versions; i++)
        if (plan->versions[i] == version)
            return true;
    return false;
}

struct plan *plan_ref(struct plan *plan)
{
    atomic_fetch_add_explicit(&plan->refs, 1, memory_order_relaxed);
    return plan;
}

void plan_unref(struct plan *plan)
{
    if (!plan || atomic_fetch_sub_explicit(&plan->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < plan->config->n_versions; i++)
        version_unref(plan->versions[i]);
    config_unref(plan->config);
    free(plan);
}
