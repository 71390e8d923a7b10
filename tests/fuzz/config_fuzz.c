/* Any bytes as a configuration file: it is a configuration, or it has problems in order, each with its words.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_problems(const struct config_problems *problems)
{
    if (problems->count == 0)
        abort();
    for (uint32_t i = 0; i < problems->count; i++) {
        const struct config_problem *problem = &problems->list[i], *before = i ? problem - 1 : NULL;
        if (!problem->what || !problem->what[0] || strchr(problem->what, '\n'))
            abort();
        bool last_of_many = i == 100;
        if (before && !last_of_many &&
            (problem->line < before->line ||
             (problem->line == before->line && problem->column < before->column)))
            abort();
    }
}

/* What the rest of the gateway relies on. */
static void check_config(struct config *config)
{
    if (config->n_models == 0 || config->n_versions == 0 || config->shards == 0)
        abort();
    for (uint32_t i = 0; i < config->n_versions; i++)
        if (config->versions[i]->index != i || config->versions[i]->n_replicas == 0)
            abort();
    for (uint32_t i = 0; i < config->n_endpoints; i++) {
        const struct config_endpoint *endpoint = config->endpoints[i];
        double sum = 0;
        for (uint32_t j = 0; j < endpoint->n_arms; j++)
            sum += endpoint->arms[j].weight;
        if (!(sum > 0) || sum != endpoint->weight_sum || !endpoint->signature || endpoint->index != i ||
            endpoint->arms[0].version->least_slo_us > endpoint->slo_us ||
            config_endpoint(config, endpoint->name, strlen(endpoint->name)) != endpoint)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_problems problems;
    struct config *config = config_parse("fuzz.yaml", (const char *)data, size, &problems);
    if (config)
        check_config(config);
    else
        check_problems(&problems);
    config_problems_clear(&problems);
    config_unref(config);
    return 0;
}
