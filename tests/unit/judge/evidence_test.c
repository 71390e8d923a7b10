/* The kernel: against evidence_reference.py, exact sums, borders, and counts where log Gamma is useless. */
#include "judge/evidence.h"

#include <criterion/criterion.h>
#include <math.h>

#define cr_near(actual, expected, tolerance)                                                                 \
    cr_assert(fabs((actual) - (expected)) <= (tolerance), "%.15g, not %.15g", (double)(actual),              \
              (double)(expected))

Test(evidence, limits_split_alpha_and_refuse_nonsense)
{
    cr_near(evidence_limit(0.05, 1), log(20), 1e-12);
    cr_near(evidence_limit(0.05, 0.25), log(80), 1e-12);
    const double nonsense[][2] = {{0, 1}, {1, 1}, {-1, 1}, {NAN, 1}, {0.05, 0}, {0.05, 1.5}, {0.05, NAN}};
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++)
        cr_assert_eq(evidence_limit(nonsense[i][0], nonsense[i][1]), EVIDENCE_LOG_MOST);
}

Test(evidence, p_values_are_never_above_1_nor_not_a_number)
{
    cr_near(evidence_p_value(log(20)), 0.05, 1e-15);
    cr_assert_eq(evidence_p_value(-3), 1);
    cr_assert_eq(evidence_p_value(NAN), 1);
    cr_assert_eq(evidence_p_value(EVIDENCE_LOG_MOST), 0);
}

Test(evidence, clamp_leaves_nothing_that_cannot_be_stored)
{
    cr_assert_eq(evidence_clamp(INFINITY), EVIDENCE_LOG_MOST);
    cr_assert_eq(evidence_clamp(-INFINITY), -EVIDENCE_LOG_MOST);
    cr_assert_eq(evidence_clamp(NAN), -EVIDENCE_LOG_MOST, "what is unknown rejects nothing");
    cr_assert_eq(evidence_clamp(3), 3);
}

Test(evidence, gamma_excess_is_that_of_scipy)
{
    const double known[][3] = {{0, 0.5, 0.5723649429247},     {1, 0.5, 0.8792177623647548},
                               {15, 0.5, 0.9161614745824629}, {16, 1, 2.310440550244177},
                               {100, 0.5, 0.918521868968412}, {1000, 4, 25.102158354948187},
                               {50, 2000, 13433.974929247666}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        cr_near(evidence_gamma_excess(known[i][0], known[i][1]), known[i][2], 1e-10);
}

Test(evidence, gamma_excess_is_smooth_where_it_changes_its_formula_and_at_huge_counts)
{
    /* Gamma(n + 1 + a) = (n + a) Gamma(n + a), whatever n. */
    for (double n = 1; n < 1e15; n = ceil(n * 1.3))
        for (double prior = 0.5; prior < 3000; prior *= 7) {
            double step = evidence_gamma_excess(n + 1, prior) - evidence_gamma_excess(n, prior);
            double grown = n * log1p(1 / n) + log(n + 1) - 1; /* of n log n - n */
            cr_near(step, log(n + prior) - grown, 2e-11 * (1 + log(n)) * (1 + prior / 50));
        }
}

Test(evidence, deviance_is_exact_near_and_far)
{
    cr_near(evidence_deviance(3, 5), 3 * log(0.6) + 2, 1e-14);
    cr_near(evidence_deviance(1e6, 1e6 + 1), 4.9999966666691667e-7, 1e-18);
    cr_near(evidence_deviance(1e12, 1e12 + 1e6), 0.4999996666669, 1e-12);
    cr_assert_eq(evidence_deviance(7, 7), 0);
    cr_assert_eq(evidence_deviance(0, 7), 7);
    cr_assert_eq(evidence_deviance(0, 0), 0);
    cr_assert_eq(evidence_deviance(7, 0), EVIDENCE_LOG_MOST, "impossible, but finite");
    for (double x = 1; x < 3; x += 0.01) /* across the change of formula */
        cr_near(evidence_deviance(x, 1), x * log(x) + 1 - x, 1e-13);
}

Test(evidence, the_mixture_is_a_quadrature_of_the_binomial_likelihood)
{
    /* log of the integral of p^10 (1 - p)^90 under Beta(1/2, 1/2), by scipy.integrate.quad */
    double best = 10 * log(0.1) + 90 * log(0.9);
    cr_near(evidence_mixture((struct tally){100, 10}, 0.5, 0.5), -35.04213431870959 - best, 1e-11);
    cr_assert_eq(evidence_mixture((struct tally){0, 0}, 0.5, 0.5), 0);
}

Test(evidence, the_mixture_costs_half_a_logarithm_at_any_count)
{
    for (uint64_t n = 100; n <= 1000000000000u; n *= 10) {
        double half = evidence_mixture((struct tally){n, n / 2}, 0.5, 0.5);
        cr_near(half, -0.5 * log((double)n * M_PI / 2), 2.0 / (double)n);
        double none = evidence_mixture((struct tally){n, 0}, 0.5, 0.5);
        cr_near(none, evidence_mixture((struct tally){n, n}, 0.5, 0.5), 1e-12);
        cr_near(none, -0.5 * log((double)n * M_PI), 1.0 / (double)n);
    }
}
