/* Shares: against scipy, and the promise by sums over all outcomes. */
#include "judge/evidence_shares.h"

#include <criterion/criterion.h>
#include <math.h>

static double judged(const double *weights, const uint64_t *counts, uint32_t n)
{
    struct shares shares;
    cr_assert(shares_init(&shares, weights, n));
    for (uint32_t i = 0; i < n; i++)
        shares_observe(&shares, i, counts[i]);
    return shares_log_e(&shares);
}

Test(evidence_shares, it_is_that_of_scipy)
{
    cr_assert_float_eq(judged((double[]){1, 1}, (uint64_t[]){50, 50}, 2), -0.20314921705573852, 1e-9);
    cr_assert_float_eq(judged((double[]){1, 1}, (uint64_t[]){600, 400}, 2), 15.861869460993603, 1e-9);
    cr_assert_float_eq(judged((double[]){2, 3, 5}, (uint64_t[]){10, 20, 70}, 3), 2.420051119935124, 1e-9);
    cr_assert_float_eq(judged((double[]){95, 5}, (uint64_t[]){940, 60}, 2), -0.14117143585315262, 1e-9);
}

Test(evidence_shares, it_is_a_product_of_predictions_one_request_at_a_time)
{
    struct shares shares;
    cr_assert(shares_init(&shares, (double[]){90, 10}, 2));
    double log_e = 0, n = 0, count[2] = {0, 0}, share[2] = {0.9, 0.1};
    for (int i = 0; i < 5000; i++) {
        uint32_t arm = i % 7 == 0;
        log_e += log((SHARES_PRIOR * share[arm] + count[arm]) / (SHARES_PRIOR + n) / share[arm]);
        count[arm]++, n++;
        double before = shares_log_e(&shares);
        shares_observe(&shares, arm, 1);
        cr_assert_float_eq(shares_log_e(&shares), log_e, 1e-8);
        cr_assert_leq(shares_log_e(&shares) - before, -log(share[arm]) + 1e-9,
                      "the bound that callers lean on");
    }
}

Test(evidence_shares, its_expectation_is_1_and_it_is_seldom_wrong)
{
    double mean = 0, wrong = 0;
    for (int k = 0; k <= 1000; k++) {
        double log_chance =
            lgamma(1001) - lgamma(k + 1.0) - lgamma(1001.0 - k) + k * log(0.05) + (1000.0 - k) * log(0.95);
        double log_e = judged((double[]){95, 5}, (uint64_t[]){(uint64_t)(1000 - k), (uint64_t)k}, 2);
        mean += exp(log_chance + log_e);
        wrong += log_e >= log(20) ? exp(log_chance) : 0;
    }
    cr_assert_float_eq(mean, 1, 1e-9, "%.12g", mean);
    cr_assert_leq(wrong, 0.05);
}

Test(evidence_shares, a_step_keeps_the_evidence_and_starts_the_counts)
{
    struct shares shares;
    cr_assert(shares_init(&shares, (double[]){99, 1}, 2));
    shares_observe(&shares, 0, 9900);
    shares_observe(&shares, 1, 100);
    double first = shares_log_e(&shares);
    cr_assert_lt(first, 0);
    cr_assert(shares_step(&shares, (double[]){50, 50}, 2));
    cr_assert_eq(shares_log_e(&shares), first);
    shares_observe(&shares, 0, 600);
    shares_observe(&shares, 1, 400);
    cr_assert_float_eq(shares_log_e(&shares), first + 15.861869460993603, 1e-9);
}

Test(evidence_shares, an_arm_of_weight_0_that_receives_is_proof)
{
    uint64_t none[] = {100, 0}, one[] = {100, 1};
    cr_assert_float_eq(judged((double[]){1, 0}, none, 2), 0, 1e-12, "nothing was to be drawn");
    cr_assert_eq(judged((double[]){1, 0}, one, 2), EVIDENCE_LOG_MOST);
}

Test(evidence_shares, nonsense_is_refused_and_changes_nothing)
{
    struct shares shares;
    double many[SHARES_ARMS_MAX + 1] = {1};
    cr_assert_not(shares_init(&shares, (double[]){0, 0}, 2));
    cr_assert_eq(shares_log_e(&shares), 0);
    cr_assert_not(shares_init(&shares, (double[]){1, -1}, 2));
    cr_assert_not(shares_init(&shares, (double[]){1, NAN}, 2));
    cr_assert_not(shares_init(&shares, (double[]){1, INFINITY}, 2));
    cr_assert_not(shares_init(&shares, (double[]){1e308, 1e308}, 2));
    cr_assert_not(shares_init(&shares, many, SHARES_ARMS_MAX + 1));
    cr_assert_not(shares_init(&shares, many, 0));
    cr_assert(shares_init(&shares, (double[]){1, 1}, 2));
    shares_observe(&shares, 0, 70);
    shares_observe(&shares, 2, 1000);
    double before = shares_log_e(&shares);
    cr_assert_not(shares_step(&shares, (double[]){0, 0}, 2));
    cr_assert_eq(shares_log_e(&shares), before);
}

Test(evidence_shares, huge_counts_are_judged_to_the_last_digit)
{
    uint64_t n = 1000000000000u, off = 2500000; /* 5 standard deviations */
    double log_e = judged((double[]){1, 1}, (uint64_t[]){n / 2 + off, n / 2 - off}, 2);
    cr_assert_float_eq(log_e, 12.5 - 0.5 * log((double)n / SHARES_PRIOR), 0.01);
    cr_assert(isfinite(judged((double[]){1, 1e-12}, (uint64_t[]){0, n}, 2)));
}
