/* cache_sample: when a shared cache is worth waiting for, by figures that the test makes up. */
#include "infer/cache_sample.h"

#include <criterion/criterion.h>
#include <string.h>

static struct cache_sample sample;

static void start(uint64_t lookup_us, uint64_t model_us)
{
    cache_sample_init(&sample);
    for (int i = 0; i < CACHE_SAMPLE_LEAST; i++) {
        cache_sample_lookup(&sample, lookup_us);
        cache_sample_model(&sample, model_us);
    }
}

/* Rows, every `every`-th a hit; 0: none. Returns how often the mode changed. */
static int rows(int count, int every)
{
    int changes = 0;
    for (int i = 1; i <= count; i++) {
        cache_sample_row(&sample, every && i % every == 0);
        changes += cache_sample_decide(&sample);
    }
    return changes;
}

Test(cache_sample, begins_hopeful_and_decides_nothing_on_little)
{
    cache_sample_init(&sample);
    cr_assert(sample.awaited);
    cr_assert_eq(rows(1000, 0), 0, "without times there is nothing to compare");
    for (int i = 0; i < CACHE_SAMPLE_LEAST - 1; i++) {
        cache_sample_lookup(&sample, 1000);
        cache_sample_model(&sample, 1000);
    }
    cr_assert_eq(rows(1000, 0), 0);
    cr_assert(sample.awaited);
}

Test(cache_sample, times_are_averages)
{
    start(100, 300);
    cr_assert_float_eq(sample.lookup_us, 100, 1e-9);
    for (int i = 0; i < 500; i++)
        cache_sample_lookup(&sample, 400);
    cr_assert_float_eq(sample.lookup_us, 400, 1);
}

Test(cache_sample, misses_alone_are_sampled)
{
    start(150, 300);
    cr_assert_eq(rows(200, 0), 1);
    cr_assert_not(sample.awaited);
}

Test(cache_sample, a_slow_model_is_worth_rare_hits)
{
    start(200, 50000);
    cr_assert_eq(rows(5000, 20), 0, "5 %% of 50 ms is more than 0.2 ms");
    cr_assert(sample.awaited);
}

Test(cache_sample, a_quick_model_is_worth_none)
{
    start(400, 100);
    cr_assert_eq(rows(10, 1), 1, "every row is a hit, and later than the model's answer");
    cr_assert_not(sample.awaited);
}

Test(cache_sample, it_comes_back_when_rows_are_hits_again)
{
    start(150, 1000);
    rows(1000, 0);
    cr_assert_not(sample.awaited);
    cr_assert_eq(rows(100, 1), 1);
    cr_assert(sample.awaited);
}

Test(cache_sample, it_comes_back_when_the_model_is_slow)
{
    start(150, 200);
    rows(1000, 4);
    cr_assert_not(sample.awaited);
    for (int i = 0; i < 100; i++)
        cache_sample_model(&sample, 20000);
    cr_assert(cache_sample_decide(&sample));
    cr_assert(sample.awaited);
}

Test(cache_sample, it_does_not_flap_where_it_barely_pays)
{
    start(200, 500); /* pays from 44 % of hits on; comes back from 66 % */
    rows(500, 0);
    cr_assert_not(sample.awaited);
    cr_assert_eq(rows(5000, 2), 0, "half of the rows: between the two");
    cr_assert_not(sample.awaited);
}

Test(cache_sample, one_key_of_so_many_is_picked_by_its_hash_alone)
{
    unsigned picked = 0;
    for (unsigned i = 0; i < 256; i++) {
        struct cache_value_key key = {{(uint8_t)i, 1, 2, 3}};
        picked += cache_sample_picks(&key);
        key.hash[1] = 99;
        cr_assert_eq(cache_sample_picks(&key), i % CACHE_SAMPLE_ONE_OF == 0);
    }
    cr_assert_eq(picked, 256 / CACHE_SAMPLE_ONE_OF);
}
