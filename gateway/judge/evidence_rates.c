/* evidence_rates: log e is the cost of a mixture, <= 0, plus the distance of the null, >= 0. */
#include "judge/evidence_rates.h"

#include <math.h>
#include <stdbool.h>

#define HALVINGS    100  /* of an interval: down to neighbouring doubles */
#define PRIOR_LEAST 1e-6 /* a tolerated rate below this has the prior of this: gamma functions stay exact */

static double frequency(struct tally tally)
{
    return tally.n ? (double)tally.bad / (double)tally.n : 0;
}

/* n KL(frequency | rate): how much less likely than at best the tally is at this rate. */
static double distance(struct tally tally, double rate)
{
    double n = (double)tally.n, bad = (double)tally.bad;
    return evidence_clamp(evidence_deviance(bad, n * rate) + evidence_deviance(n - bad, n * (1 - rate)));
}

static double jeffreys(struct tally tally)
{
    return evidence_mixture(tally, 0.5, 0.5);
}

double rate_above_log_e(struct tally tally, double tolerated, double prior)
{
    if (!(tolerated >= 0 && tolerated < 1 && prior > 0))
        return 0;
    double rarer = fmax(fmin(tolerated, 1 - tolerated), PRIOR_LEAST);
    double strength = prior / rarer, mean = fmin(fmax(tolerated, PRIOR_LEAST), 1 - PRIOR_LEAST);
    double mixture = evidence_mixture(tally, strength * mean, strength * (1 - mean));
    if (frequency(tally) <= tolerated)
        return mixture;
    return evidence_clamp(mixture + distance(tally, tolerated));
}

double rate_sign_log_e(uint64_t candidate_alone_bad, uint64_t baseline_alone_bad)
{
    struct tally discordant = {candidate_alone_bad + baseline_alone_bad, candidate_alone_bad};
    return rate_above_log_e(discordant, 0.5, RATE_PRIOR_WIDE);
}

/* Of weight KL(rate | p) to p. At the borders, where it is infinite unless the rate lies there, only its sign
 * counts. */
static double slope(double weight, double rate, double p)
{
    if (weight <= 0 || p == rate)
        return 0;
    if (p <= 0 || p >= 1)
        return p <= 0 ? -INFINITY : INFINITY;
    return weight * (p - rate) / (p * (1 - p));
}

/* KL is convex in p, so the slope crosses zero once, between the two rates. */
double rates_nearest(double weight_b, double rate_b, double weight_c, double rate_c, double difference)
{
    double least = fmax(0, -difference), most = fmin(1, 1 - difference);
    double low = fmin(fmax(fmin(rate_b, rate_c - difference), least), most);
    double high = fmin(fmax(fmax(rate_b, rate_c - difference), least), most);
    if (difference == 0 && weight_b + weight_c > 0)
        return fmin(fmax((weight_b * rate_b + weight_c * rate_c) / (weight_b + weight_c), low), high);
    for (int i = 0; i < HALVINGS; i++) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high)
            break;
        bool rising = slope(weight_b, rate_b, middle) + slope(weight_c, rate_c, middle + difference) > 0;
        *(rising ? &high : &low) = middle;
    }
    return low + (high - low) / 2;
}

/* Of the best pair of rates that differ by `difference`. */
static double distance_of_difference(struct tally baseline, struct tally candidate, double difference)
{
    double p = rates_nearest((double)baseline.n, frequency(baseline), (double)candidate.n,
                             frequency(candidate), difference);
    return evidence_clamp(distance(baseline, p) + distance(candidate, fmin(fmax(p + difference, 0), 1)));
}

double rates_worse_log_e(struct tally baseline, struct tally candidate, double margin)
{
    if (!(margin >= 0 && margin <= 1))
        return 0;
    double mixture = jeffreys(baseline) + jeffreys(candidate);
    if (!baseline.n || !candidate.n || frequency(candidate) <= frequency(baseline) + margin)
        return mixture;
    return evidence_clamp(mixture + distance_of_difference(baseline, candidate, margin));
}

/* Where, between `inside` (not rejected) and `outside`, the distance of the null comes to `reach`. Errs
 * outwards. */
struct border {
    struct tally baseline, candidate;
    double reach;
    double (*distance)(const struct border *border, double at);
};

static double border_find(const struct border *border, double inside, double outside)
{
    if (border->distance(border, outside) < border->reach)
        return outside;
    for (int i = 0; i < HALVINGS; i++) {
        double middle = inside + (outside - inside) / 2;
        if (middle == inside || middle == outside)
            break;
        *(border->distance(border, middle) < border->reach ? &inside : &outside) = middle;
    }
    return outside;
}

static double distance_of_rate(const struct border *border, double at)
{
    return distance(border->candidate, at);
}

static double distance_at_difference(const struct border *border, double at)
{
    return distance_of_difference(border->baseline, border->candidate, at);
}

void rate_interval(struct tally tally, double alpha, double *low, double *high)
{
    struct border border = {.candidate = tally,
                            .reach = evidence_limit(alpha, 1) - jeffreys(tally),
                            .distance = distance_of_rate};
    *low = border_find(&border, frequency(tally), 0);
    *high = border_find(&border, frequency(tally), 1);
}

void rates_difference_interval(struct tally baseline, struct tally candidate, double alpha, double *low,
                               double *high)
{
    struct border border = {.baseline = baseline,
                            .candidate = candidate,
                            .reach = evidence_limit(alpha, 1) - jeffreys(baseline) - jeffreys(candidate),
                            .distance = distance_at_difference};
    double seen = frequency(candidate) - frequency(baseline);
    *low = border_find(&border, seen, -1);
    *high = border_find(&border, seen, 1);
}
