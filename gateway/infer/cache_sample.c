/* cache_sample: three averages and one comparison with hysteresis. */
#include "infer/cache_sample.h"

#define ROW_SHARE  (1.0 / 64) /* of a new row in the hit ratio: it takes some dozens to change a mode */
#define CPU_US     20.0       /* of a lookup and a store here, and at the server where it shares our cores */
#define HYSTERESIS 1.5

void cache_sample_init(struct cache_sample *sample)
{
    *sample = (struct cache_sample){.hit_ratio = 1, .awaited = true};
}

bool cache_sample_picks(const struct cache_value_key *key)
{
    return key->hash[0] % CACHE_SAMPLE_ONE_OF == 0;
}

void cache_sample_row(struct cache_sample *sample, bool hit)
{
    sample->hit_ratio += ROW_SHARE * (hit - sample->hit_ratio);
}

/* The first ones count more, until there are enough. */
static void average(double *of, uint32_t *count, uint64_t us)
{
    *count += *count < CACHE_SAMPLE_LEAST;
    *of += ((double)us - *of) / *count;
}

void cache_sample_lookup(struct cache_sample *sample, uint64_t us)
{
    average(&sample->lookup_us, &sample->lookups, us);
}

void cache_sample_model(struct cache_sample *sample, uint64_t us)
{
    average(&sample->model_us, &sample->models, us);
}

bool cache_sample_decide(struct cache_sample *sample)
{
    if (sample->lookups < CACHE_SAMPLE_LEAST || sample->models < CACHE_SAMPLE_LEAST)
        return false;
    double gain_us = sample->hit_ratio * sample->model_us, cost_us = sample->lookup_us + CPU_US;
    bool awaited = gain_us > (sample->awaited ? cost_us : HYSTERESIS * cost_us);
    bool changed = awaited != sample->awaited;
    sample->awaited = awaited;
    return changed;
}
