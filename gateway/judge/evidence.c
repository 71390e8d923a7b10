/* evidence: limits and numbers for people, and logarithms of likelihoods in which nothing large cancels. */
#include "judge/evidence.h"

#include <math.h>

#define HALF_LOG_2PI 0.91893853320467274178
#define DIRECT_BELOW 16 /* where log Gamma itself is as exact as Stirling's series */

double evidence_clamp(double log_e)
{
    if (isnan(log_e))
        return -EVIDENCE_LOG_MOST;
    return fmin(fmax(log_e, -EVIDENCE_LOG_MOST), EVIDENCE_LOG_MOST);
}

double evidence_limit(double alpha, double share)
{
    if (!(alpha > 0 && alpha < 1 && share > 0 && share <= 1))
        return EVIDENCE_LOG_MOST;
    return -(log(alpha) + log(share));
}

double evidence_p_value(double largest_log_e)
{
    return isnan(largest_log_e) || largest_log_e <= 0 ? 1 : exp(-largest_log_e);
}

/*
 * With v = (seen - expected) / (seen + expected), log(seen / expected) is 2 atanh(v), whose series starts
 * with the very term that cancels: the rest of it is summed here.
 */
static double deviance_near(double seen, double expected)
{
    double v = (seen - expected) / (seen + expected);
    double sum = (seen - expected) * v, term = 2 * seen * v;
    for (int odd = 3; odd < 100; odd += 2) {
        term *= v * v;
        double next = sum + term / odd;
        if (next == sum)
            break;
        sum = next;
    }
    return sum;
}

double evidence_deviance(double seen, double expected)
{
    if (seen <= 0)
        return fmin(expected, EVIDENCE_LOG_MOST);
    if (expected <= 0)
        return EVIDENCE_LOG_MOST;
    if (fabs(seen - expected) < 0.1 * (seen + expected))
        return deviance_near(seen, expected);
    return evidence_clamp(seen * log(seen / expected) + expected - seen);
}

/* log Gamma(x) - ((x - 1/2) log x - x + log(2 pi) / 2), for x >= DIRECT_BELOW. Abramowitz and Stegun, 6.1.41.
 */
static double stirling_rest(double x)
{
    double square = x * x;
    return (1 / 12.0 - (1 / 360.0 - (1 / 1260.0 - 1 / (1680 * square)) / square) / square) / x;
}

/* lgamma() itself writes a global sign, which threads would race for. */
static double log_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}

double evidence_gamma_excess(double n, double prior)
{
    if (n <= 0)
        return log_gamma(prior);
    if (n + prior < DIRECT_BELOW)
        return log_gamma(n + prior) - n * log(n) + n;
    return (prior - 0.5) * log(n + prior) + (n * log1p(prior / n) - prior) + HALF_LOG_2PI +
           stirling_rest(n + prior);
}

double evidence_mixture(struct tally tally, double a, double b)
{
    double n = (double)tally.n, bad = (double)tally.bad;
    double prior = log_gamma(a + b) - log_gamma(a) - log_gamma(b);
    double sum = prior + evidence_gamma_excess(bad, a) + evidence_gamma_excess(n - bad, b) -
                 evidence_gamma_excess(n, a + b);
    return fmin(evidence_clamp(sum), 0);
}
