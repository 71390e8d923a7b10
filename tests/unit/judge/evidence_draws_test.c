/* Errors by lot: that each bet is fair under all of the null, and the promise itself over every possible
 * sequence. */
#include "judge/evidence_draws.h"

#include <criterion/criterion.h>
#include <math.h>

static double chance(double weight, double p_b, double p_c, int arm, int outcome)
{
    double of_arm = arm == DRAWS_CANDIDATE ? weight : 1 - weight, bad = arm == DRAWS_CANDIDATE ? p_c : p_b;
    return of_arm * (outcome == DRAWS_BAD ? bad : 1 - bad);
}

static double expectation(const struct draws *draws, int bet, double p_b, double p_c)
{
    double sum = 0;
    for (int arm = 0; arm < DRAWS_ARMS; arm++)
        for (int outcome = 0; outcome < DRAWS_OUTCOMES; outcome++)
            sum += chance(draws->weight, p_b, p_c, arm, outcome) * exp(draws->bet[arm][outcome][bet]);
    return sum;
}

Test(evidence_draws, every_bet_is_fair_under_all_of_the_null_whatever_was_learned)
{
    const double weights[] = {0.001, 0.05, 0.5, 0.99}, margins[] = {0, 0.001, 0.1, 0.9};
    for (size_t w = 0; w < 4; w++)
        for (size_t m = 0; m < 4; m++)
            for (uint64_t bad = 0; bad <= 100000; bad = bad * 10 + 1) {
                struct draws draws;
                draws_init(&draws, margins[m], weights[w]);
                draws_observe_batch(&draws, &(struct draws_counts){{{100000 - bad, bad}, {0, 0}}});
                for (double p_b = 0; p_b <= 1; p_b += 0.05)
                    for (double part = 0; part <= 1; part += 0.25)
                        for (int bet = 0; bet < DRAWS_BETS; bet++) {
                            double mean = expectation(&draws, bet, p_b, part * fmin(p_b + margins[m], 1));
                            cr_assert_leq(mean, 1 + 1e-9, "%.12g at %g", mean, p_b);
                        }
            }
}

Test(evidence_draws, without_a_margin_equal_rates_are_exactly_fair)
{
    struct draws draws;
    draws_init(&draws, 0, 0.05);
    draws_observe_batch(&draws, &(struct draws_counts){{{990, 10}, {0, 0}}});
    for (double p = 0; p <= 1; p += 0.1)
        for (int bet = 0; bet < DRAWS_BETS; bet++)
            cr_assert_float_eq(expectation(&draws, bet, p, p), 1, 1e-12);
}

/* The chance, over all sequences of `left` more requests, that e is ever >= 1 / alpha; and the expectation at
 * the end. */
static double chance_ever(const struct draws *draws, double p_b, double p_c, double limit, int left,
                          double *mean)
{
    double ever = 0;
    *mean = 0;
    if (left == 0)
        *mean = exp(draws_log_e(draws));
    for (int kind = 0; left > 0 && kind < 4; kind++) {
        struct draws next = *draws;
        double each = chance(draws->weight, p_b, p_c, kind >> 1, kind & 1), mean_after;
        draws_observe(&next, (enum draws_arm)(kind >> 1), (enum draws_outcome)(kind & 1));
        if (left == 3) /* the weight steps in the middle */
            draws_reweigh(&next, 0.5);
        double after = chance_ever(&next, p_b, p_c, limit, left - 1, &mean_after);
        ever += each * (draws_log_e(&next) >= limit ? 1 : after);
        *mean += each * mean_after;
    }
    return ever;
}

Test(evidence_draws, over_all_sequences_it_is_wrong_no_more_often_than_alpha)
{
    const double margins[] = {0, 0.1};
    for (int m = 0; m < 2; m++)
        for (double p_b = 0.1; p_b < 0.9; p_b += 0.3)
            for (double better = 0; better <= 0.1; better += 0.1) {
                struct draws draws;
                double mean;
                draws_init(&draws, margins[m], 0.2);
                double ever = chance_ever(&draws, p_b, p_b + margins[m] - better, log(2), 6, &mean);
                cr_assert_leq(mean, 1 + 1e-12, "expectation %.15g", mean);
                cr_assert_leq(ever, 0.5);
                cr_assert(better > 0 || ever > 0, "it can reject at all");
            }
}

/* One deterministic stream, in proportion: of `n`, a share `weight` goes to the candidate, a rate of each arm
 * is bad. */
static void feed(struct draws *draws, double weight, double p_b, double p_c, double n)
{
    for (int piece = 0; piece < 100; piece++) {
        double of_c = n * weight / 100, of_b = n / 100 - of_c;
        uint64_t b = (uint64_t)of_b, bad_b = (uint64_t)(of_b * p_b);
        uint64_t c = (uint64_t)of_c, bad_c = (uint64_t)(of_c * p_c);
        draws_observe_batch(draws, &(struct draws_counts){{{b - bad_b, bad_b}, {c - bad_c, bad_c}}});
    }
}

Test(evidence_draws, it_sees_a_doubled_rate_and_a_margin_forgives_it)
{
    struct draws strict, lenient;
    draws_init(&strict, 0, 0.05);
    draws_init(&lenient, 0.02, 0.05);
    feed(&strict, 0.05, 0.01, 0.02, 1000000);
    feed(&lenient, 0.05, 0.01, 0.02, 1000000);
    cr_assert_gt(draws_log_e(&strict), 50);
    cr_assert_lt(draws_log_e(&lenient), 0);
    cr_assert_geq(draws_most(&strict), draws_log_e(&strict));
}

Test(evidence_draws, errors_that_come_with_the_weight_do_not_deceive_it)
{
    /* 1 % of the traffic while nothing fails, 50 % while a fifth does, in both arms alike. */
    struct draws draws;
    draws_init(&draws, 0, 0.01);
    feed(&draws, 0.01, 0, 0, 1000000);
    draws_reweigh(&draws, 0.5);
    feed(&draws, 0.5, 0.2, 0.2, 1000000);
    cr_assert_lt(draws_log_e(&draws), 0);
}

Test(evidence_draws, without_a_lottery_there_is_no_bet)
{
    const double weights[] = {0, 1, -1, 2, NAN, INFINITY}, margins[] = {0, 1, -1, NAN};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        struct draws draws;
        draws_init(&draws, 0, weights[i]);
        draws_observe_batch(&draws, &(struct draws_counts){{{0, 0}, {0, 1000}}});
        cr_assert_eq(draws_log_e(&draws), 0);
    }
    for (size_t i = 1; i < sizeof margins / sizeof *margins; i++) {
        struct draws draws;
        draws_init(&draws, margins[i], 0.5);
        draws_observe_batch(&draws, &(struct draws_counts){{{0, 0}, {0, 1000}}});
        cr_assert_eq(draws_log_e(&draws), 0);
    }
}

Test(evidence_draws, huge_counts_stay_numbers)
{
    struct draws draws;
    draws_init(&draws, 0, 0.05);
    for (int i = 0; i < 100; i++)
        for (int kind = 0; kind < 4; kind++) {
            struct draws_counts counts = {0};
            counts.n[kind >> 1][kind & 1] = 1000000000000u;
            draws_observe_batch(&draws, &counts);
            cr_assert(isfinite(draws_log_e(&draws)) && isfinite(draws_most(&draws)));
        }
}

Test(evidence_draws, a_batch_is_its_requests_at_the_bets_from_before_it)
{
    struct draws batch, one;
    draws_init(&batch, 0, 0.3);
    draws_observe_batch(&batch, &(struct draws_counts){{{5000, 50}, {2100, 40}}});
    one = batch;
    const struct draws_counts counts = {{{20, 3}, {10, 2}}};
    draws_observe_batch(&batch, &counts);
    cr_assert_gt(one.next_learning, one.seen + 35, "nothing is learned in between");
    for (int kind = 3; kind >= 0; kind--)
        for (uint64_t i = 0; i < counts.n[kind >> 1][kind & 1]; i++)
            draws_observe(&one, (enum draws_arm)(kind >> 1), (enum draws_outcome)(kind & 1));
    cr_assert_float_eq(draws_log_e(&batch), draws_log_e(&one), 1e-12);
    cr_assert_eq(batch.baseline.bad, 53);
    cr_assert_eq(batch.seen, one.seen);
}
