/* Quantiles: buckets, bands and the two-sample test, the watch against the test it stands for. */
#include "judge/evidence_quantiles.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "judge/evidence_rates.h"

Test(evidence_quantiles, buckets_partition_all_latencies_and_are_narrow)
{
    cr_assert_eq(latency_bucket(0), 0);
    cr_assert_eq(latency_bucket_top(LATENCY_BUCKETS - 1), UINT64_MAX);
    cr_assert_eq(latency_bucket(UINT64_MAX), LATENCY_BUCKETS - 1);
    for (uint32_t i = 0; i + 1 < LATENCY_BUCKETS; i++) {
        uint64_t top = latency_bucket_top(i);
        cr_assert_eq(latency_bucket(top), i, "top of %u", i);
        cr_assert_eq(latency_bucket(top + 1), i + 1, "one above the top of %u", i);
        if (i) {
            double bottom = (double)latency_bucket_top(i - 1) + 1;
            cr_assert_leq((double)top - bottom, bottom / 64, "bucket %u is too wide", i);
        }
    }
    cr_assert_eq(latency_bucket_top(LATENCY_BUCKETS - 2), (1u << 27) - 1);
}

/* n latencies, evenly spread over the quantiles of an exponential of this mean. */
static void spread(struct latency_counts *counts, int n, double mean_us)
{
    for (int i = 0; i < n; i++)
        latency_counts_observe(counts, (uint64_t)(-mean_us * log1p(-(i + 0.5) / n)));
}

Test(evidence_quantiles, bands_hold_the_quantile_shrink_and_are_those_of_the_rates)
{
    double width = 1e18;
    for (int n = 100; n <= 1000000; n *= 10) {
        static struct latency_counts counts;
        counts = (struct latency_counts){0};
        spread(&counts, n, 10000);
        uint64_t low, high;
        double median = 10000 * log(2);
        latency_quantile_band(&counts, 0.5, 0.05, &low, &high);
        cr_assert((double)low <= median && median <= (double)high);
        cr_assert_lt((double)(high - low), width);
        width = (double)(high - low);

        /* The bound is the first bucket at which the one-sided test of the rate rejects at alpha / 2. */
        uint64_t at_most = 0;
        uint32_t bucket = 0;
        for (;; bucket++) {
            at_most += counts.bucket[bucket];
            if (rate_above_log_e((struct tally){counts.n, at_most}, 0.5, RATE_PRIOR_NEAR) >= log(40))
                break;
        }
        cr_assert_eq(high, latency_bucket_top(bucket));
    }
    cr_assert_lt(width, 300, "at a million the median is known to a few per cent");
}

Test(evidence_quantiles, of_nothing_nothing_is_known)
{
    static struct latency_counts none;
    uint64_t low, high;
    latency_quantile_band(&none, 0.99, 0.05, &low, &high);
    cr_assert(low == 0 && high == UINT64_MAX);
    cr_assert_eq(latency_quantile(&none, 0.99), 0);
    cr_assert_leq(latency_worse_log_e(&none, &none, 0.99, 0), 0);
}

Test(evidence_quantiles, a_quantile_is_the_top_of_its_bucket)
{
    static struct latency_counts counts;
    for (uint64_t i = 1; i <= 100; i++)
        latency_counts_observe(&counts, i);
    cr_assert_eq(latency_quantile(&counts, 0.5), 50);
    cr_assert_eq(latency_quantile(&counts, 0.99), 99);
    cr_assert_eq(latency_quantile(&counts, 1), 100);
    cr_assert_eq(latency_quantile(&counts, 0), 1);
}

static double worse_by(int n_b, double mean_b, int n_c, double mean_c, double quantile, double margin)
{
    static struct latency_counts b, c;
    b = c = (struct latency_counts){0};
    spread(&b, n_b, mean_b);
    spread(&c, n_c, mean_c);
    return latency_worse_log_e(&b, &c, quantile, margin);
}

Test(evidence_quantiles, slower_is_seen_equal_and_faster_are_not_and_a_margin_forgives)
{
    cr_assert_lt(worse_by(50000, 1e4, 50000, 1e4, 0.99, 0), 0);
    cr_assert_lt(worse_by(50000, 1e4, 50000, 0.5e4, 0.99, 0), 0);
    cr_assert_gt(worse_by(50000, 1e4, 50000, 1.2e4, 0.99, 0), log(100));
    cr_assert_gt(worse_by(95000, 1e4, 5000, 1.5e4, 0.99, 0), log(100));
    cr_assert_lt(worse_by(50000, 1e4, 50000, 1.2e4, 0.99, 0.2), 0);
    cr_assert_gt(worse_by(50000, 1e4, 50000, 1.2e4, 0.5, 0.1), log(100));
    cr_assert_gt(worse_by(1000000, 1e4, 500, 3e4, 0.99, 0), log(100), "few of the candidate are enough");
}

Test(evidence_quantiles, it_is_the_least_over_every_bucket_computed_the_long_way)
{
    static struct latency_counts b, c;
    spread(&b, 5000, 2000);
    spread(&c, 700, 4000);
    double least = 1e18;
    for (uint32_t i = 0; i + 1 < LATENCY_BUCKETS; i++) {
        uint64_t fast = 0, slow = c.n;
        uint32_t j = latency_bucket((uint64_t)ceil(1.25 * (double)latency_bucket_top(i)));
        for (uint32_t k = 0; k < i; k++)
            fast += b.bucket[k];
        for (uint32_t k = 0; k <= j; k++)
            slow -= c.bucket[k];
        double e_b = exp(rate_above_log_e((struct tally){b.n, fast}, 0.9, RATE_PRIOR_NEAR));
        double e_c = exp(rate_above_log_e((struct tally){c.n, slow}, 1 - 0.9, RATE_PRIOR_NEAR));
        least = fmin(least, log((1 + e_b) / 2) + log((1 + e_c) / 2));
    }
    cr_assert_float_eq(latency_worse_log_e(&b, &c, 0.9, 0.25), least, 1e-9);
    cr_assert_gt(least, 1);
}

static uint64_t step(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

Test(evidence_quantiles, a_watch_says_worse_at_the_very_request)
{
    static struct latency_watch watch;
    static const double quantiles[] = {0.5, 0.9, 0.99};
    int stopped = 0;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        double quantile = quantiles[seed % 3], slower = seed % 4 ? 1.6 : 1;
        uint64_t state = seed;
        latency_watch_init(&watch, quantile, 0, log(20));
        for (int i = 0; i < 1500; i++) {
            double u = (double)step(&state) / 2147483648.0;
            bool candidate = step(&state) % 3 == 0;
            uint64_t latency_us = (uint64_t)(-500 * log1p(-u) * (candidate ? slower : 1));
            bool worse = candidate ? latency_watch_candidate(&watch, latency_us)
                                   : latency_watch_baseline(&watch, latency_us);
            double log_e = latency_worse_log_e(&watch.baseline, &watch.candidate, quantile, 0);
            cr_assert_eq(worse, log_e >= log(20), "seed %d, request %d: %g", (int)seed, i, log_e);
            if (worse) {
                stopped++;
                break;
            }
        }
    }
    cr_assert_gt(stopped, 4, "some must have stopped");
}

Test(evidence_quantiles, histograms_of_shards_add_up)
{
    static struct latency_counts a, b, both;
    spread(&a, 1000, 1000);
    spread(&b, 500, 5000);
    spread(&both, 1000, 1000);
    spread(&both, 500, 5000);
    latency_counts_add(&a, &b);
    cr_assert_arr_eq(&a, &both, sizeof a);
}

Test(evidence_quantiles, extremes_stay_numbers)
{
    static struct latency_counts b, c;
    b.n = b.bucket[0] = 1000000000000u;
    c.n = c.bucket[LATENCY_BUCKETS - 1] = 1000000000000u;
    cr_assert(isfinite(latency_worse_log_e(&b, &c, 0.99, 0)));
    cr_assert_gt(latency_worse_log_e(&b, &c, 0.99, 0), 1e9);
    cr_assert(isfinite(latency_worse_log_e(&c, &b, 0.99, 1e300)));
    cr_assert_lt(latency_worse_log_e(&c, &b, 0.99, 0), 0);
    cr_assert_eq(latency_worse_log_e(&b, &c, NAN, 0), 0);
    cr_assert_eq(latency_worse_log_e(&b, &c, 0.99, -1), 0);
}
