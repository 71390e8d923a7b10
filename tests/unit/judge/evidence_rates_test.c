/*
 * Rates by counts: against scipy, and the promise itself by exact sums: expectations over all outcomes, and
 * the chance of ever rejecting by a recursion over all paths. No random numbers.
 */
#include "judge/evidence_rates.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define cr_near(actual, expected, tolerance)                                                                 \
    cr_assert(fabs((actual) - (expected)) <= (tolerance), "%.15g, not %.15g", (double)(actual),              \
              (double)(expected))

static double above(uint64_t bad, uint64_t n, double tolerated, double prior)
{
    return rate_above_log_e((struct tally){n, bad}, tolerated, prior);
}

static double worse(uint64_t bad_b, uint64_t n_b, uint64_t bad_c, uint64_t n_c, double margin)
{
    return rates_worse_log_e((struct tally){n_b, bad_b}, (struct tally){n_c, bad_c}, margin);
}

Test(evidence_rates, above_is_that_of_scipy)
{
    cr_near(above(0, 0, 0.02, RATE_PRIOR_WIDE), 0, 1e-12);
    cr_near(above(0, 100, 0.02, RATE_PRIOR_WIDE), -0.8169139726439429, 1e-10);
    cr_near(above(10, 100, 0.02, RATE_PRIOR_WIDE), 5.70149952343634, 1e-10);
    cr_near(above(100, 100, 0.02, RATE_PRIOR_WIDE), 329.8055399731942, 1e-9);
    cr_near(above(30, 1000, 0.01, RATE_PRIOR_NEAR), 9.232202013197934, 1e-10);
    cr_near(above(990, 1000, 0.98, RATE_PRIOR_NEAR), 1.8509837978546955, 1e-10);
}

Test(evidence_rates, worse_is_that_of_scipy)
{
    cr_near(worse(10, 1000, 30, 1000, 0), -2.030618711588062, 1e-9);
    cr_near(worse(10, 1000, 30, 1000, 0.005), -4.3201625687277385, 1e-9);
    cr_near(worse(95, 9500, 25, 500, 0.01), -0.3023912824044146, 1e-9);
    cr_near(worse(5, 1000, 5, 1000, 0), -7.376216658534304, 1e-9);
    cr_near(worse(1, 10000, 40, 500, 0.001), 100.74860015233632, 1e-8);
}

Test(evidence_rates, the_sign_test_is_fair_to_both_sides)
{
    cr_near(rate_sign_log_e(1, 2), -0.8630462173553428, 1e-10);
    cr_assert_lt(rate_sign_log_e(2, 30), 0, "a candidate that is better is never worse");
    cr_assert_gt(rate_sign_log_e(30, 2), log(1000));
    cr_assert_eq(rate_sign_log_e(0, 0), 0);
}

/* The chance that log e reaches the limit within n trials of this rate: a recursion over (trial, bad ones).
 */
static double chance_ever(double rate, double tolerated, double prior, double limit, int n)
{
    double *alive = calloc((size_t)n + 2, sizeof *alive), rejected = 0;
    alive[0] = 1;
    for (int trial = 1; trial <= n; trial++)
        for (int bad = trial; bad >= 0; bad--) {
            alive[bad] = alive[bad] * (1 - rate) + (bad ? alive[bad - 1] * rate : 0);
            if (alive[bad] > 0 && above((uint64_t)bad, (uint64_t)trial, tolerated, prior) >= limit) {
                rejected += alive[bad];
                alive[bad] = 0;
            }
        }
    free(alive);
    return rejected;
}

Test(evidence_rates, looked_at_after_every_trial_it_is_never_wrong_more_often_than_alpha)
{
    const double tolerated[] = {0.001, 0.02, 0.5, 0.99};
    for (size_t i = 0; i < sizeof tolerated / sizeof *tolerated; i++)
        for (int near = 0; near < 2; near++) {
            double prior = near ? RATE_PRIOR_NEAR : RATE_PRIOR_WIDE;
            double at = chance_ever(tolerated[i], tolerated[i], prior, log(20), 600);
            cr_assert_leq(at, 0.05, "%g at %g", at, tolerated[i]);
            double below = chance_ever(tolerated[i] / 2, tolerated[i], prior, log(20), 600);
            cr_assert_leq(below, at, "the border of the null is its worst");
        }
    cr_assert_gt(chance_ever(0.1, 0.02, RATE_PRIOR_WIDE, log(20), 600), 0.99, "and it sees what is there");
}

static double log_binomial(int n, int k, double p)
{
    double log_choose = lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0);
    return log_choose + (k ? k * log(p) : 0) + (n > k ? (n - k) * log1p(-p) : 0);
}

static double expectation_of_worse(int n_b, int n_c, double p_b, double p_c, double margin)
{
    double sum = 0;
    for (int b = 0; b <= n_b; b++)
        for (int c = 0; c <= n_c; c++)
            sum += exp(log_binomial(n_b, b, p_b) + log_binomial(n_c, c, p_c) +
                       worse((uint64_t)b, (uint64_t)n_b, (uint64_t)c, (uint64_t)n_c, margin));
    return sum;
}

Test(evidence_rates, worse_has_expectation_at_most_1_under_every_pair_of_the_null)
{
    const int sizes[][2] = {{1, 1}, {40, 40}, {95, 5}, {5, 95}, {200, 2}};
    const double rates[] = {0.0005, 0.001, 0.01, 0.2, 0.6, 0.95}, margins[] = {0, 0.005, 0.1};
    for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++)
        for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
            for (size_t m = 0; m < sizeof margins / sizeof *margins; m++)
                for (double part = 0.5; part <= 1; part += 0.5) { /* within the null, and on its border */
                    double p_c = fmin(part * (rates[i] + margins[m]), 1 - 1e-9);
                    double mean =
                        expectation_of_worse(sizes[size][0], sizes[size][1], rates[i], p_c, margins[m]);
                    cr_assert_leq(mean, 1 + 1e-9, "%g at %g, margin %g", mean, rates[i], margins[m]);
                }
}

Test(evidence_rates, worse_is_monotone_and_a_margin_lowers_it)
{
    for (uint64_t bad = 31; bad < 100; bad++)
        cr_assert_gt(worse(10, 1000, bad + 1, 1000, 0), worse(10, 1000, bad, 1000, 0));
    for (double margin = 0; margin < 0.05; margin += 0.001)
        cr_assert_geq(worse(10, 1000, 60, 1000, margin), worse(10, 1000, 60, 1000, margin + 0.001) - 1e-12);
    cr_assert_lt(worse(60, 1000, 10, 1000, 0), 0, "better is not worse");
}

Test(evidence_rates, nothing_all_and_huge_counts_stay_numbers)
{
    const uint64_t counts[] = {0, 1, 1000, 1000000000000u};
    const double margins[] = {0, 1e-9, 0.3, 1, -1, 7, NAN};
    for (size_t m = 0; m < sizeof margins / sizeof *margins; m++)
        for (size_t i = 0; i < 4; i++)
            for (size_t j = 0; j < 4; j++)
                for (int all = 0; all < 4; all++) {
                    struct tally b = {counts[i], all & 1 ? counts[i] : 0},
                                 c = {counts[j], all & 2 ? counts[j] : 0};
                    double low, high;
                    cr_assert(isfinite(rates_worse_log_e(b, c, margins[m])));
                    cr_assert(isfinite(rate_above_log_e(b, margins[m], RATE_PRIOR_WIDE)));
                    rates_difference_interval(b, c, 0.05, &low, &high);
                    cr_assert(-1 <= low && low <= high && high <= 1, "%g %g", low, high);
                }
    cr_assert_gt(worse(0, 1000000000000u, 1000000000000u, 1000000000000u, 0), 1e12);
    cr_assert_eq(worse(5, 10, 0, 0, 0), worse(0, 0, 5, 10, 0), "one arm alone says nothing of the other");
    cr_assert_leq(worse(0, 0, 5, 10, 0), 0);
}

Test(evidence_rates, huge_counts_are_judged_to_the_last_digit)
{
    /* A rate that is 5 standard deviations above: n KL is 12.5, whatever n. */
    for (uint64_t n = 1000000; n <= 1000000000000u; n *= 100) {
        uint64_t bad = (uint64_t)((double)n * 0.5 + 2.5 * sqrt((double)n));
        cr_near(above(bad, n, 0.5, RATE_PRIOR_WIDE), 12.5 - 0.5 * log((double)n * M_PI / 2), 0.01);
    }
}

Test(evidence_rates, intervals_are_those_of_scipy)
{
    const struct {
        struct tally tally;
        double alpha, low, high;
    } known[] = {{{100, 0}, 0.05, 0, 0.057028597638771855},
                 {{1000, 10}, 0.05, 0.0024064682835967157, 0.026164430376456237},
                 {{100, 50}, 0.01, 0.31765142319452955, 0.6823485768054705},
                 {{100, 100}, 0.05, 0.9429714023612283, 1}};
    double low, high;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        rate_interval(known[i].tally, known[i].alpha, &low, &high);
        cr_near(low, known[i].low, 1e-9);
        cr_near(high, known[i].high, 1e-9);
    }
    rate_interval((struct tally){0, 0}, 0.05, &low, &high);
    cr_assert(low == 0 && high == 1);
    rates_difference_interval((struct tally){1000, 20}, (struct tally){1000, 60}, 0.05, &low, &high);
    cr_near(low, 0.0010152312712873451, 1e-7);
    cr_near(high, 0.08366052388976561, 1e-7);
}

Test(evidence_rates, the_difference_excludes_a_margin_just_when_the_test_rejects_it)
{
    for (uint64_t bad = 20; bad < 120; bad++) {
        struct tally b = {1000, 20}, c = {1000, bad};
        double low, high;
        rates_difference_interval(b, c, 0.05, &low, &high);
        cr_assert_eq(low >= 0.01, rates_worse_log_e(b, c, 0.01) >= log(20), "at %u", (unsigned)bad);
    }
}

Test(evidence_rates, the_nearest_point_is_nearer_than_its_neighbours)
{
    const double cases[][5] = {{1, 0.01, 1, 0.03, 0.005},
                               {0.95, 0.001, 0.05, 0.1, 0.02},
                               {5, 0.4, 1, 0.9, -0.1},
                               {1, 0.2, 3, 1, 0.5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double *a = cases[i];
        double p = rates_nearest(a[0], a[1], a[2], a[3], a[4]);
        double best = a[0] * (evidence_deviance(a[1], p) + evidence_deviance(1 - a[1], 1 - p)) +
                      a[2] * (evidence_deviance(a[3], p + a[4]) + evidence_deviance(1 - a[3], 1 - p - a[4]));
        for (int side = -1; side <= 1; side += 2) {
            double q = p * (1 + side * 1e-3);
            if (q + a[4] >= 1)
                continue;
            double other =
                a[0] * (evidence_deviance(a[1], q) + evidence_deviance(1 - a[1], 1 - q)) +
                a[2] * (evidence_deviance(a[3], q + a[4]) + evidence_deviance(1 - a[3], 1 - q - a[4]));
            cr_assert_lt(best, other);
        }
    }
}
