/*
 * evidence_rates: judges rates by their counts alone. Pure functions of tallies: no state, any thread.
 *
 * What a judge by counts needs: an outcome is bad with a chance that depends on its arm, given all that went
 * before (and, where two arms are compared, a constant one). What it does not need: balance, or any order, or
 * known weights. Arms may interleave as they like, and which arm comes next may depend on everything so far
 * (sticky keys do), because the chance of the assignments is the same factor in every likelihood and cancels.
 *
 * What it cannot stand: two arms measured at different times while the traffic changes. If a canary had
 * its 1 % before noon and its 50 % during a bad hour, its counts are worse though it is not (Simpson's
 * paradox). evidence_draws is the judge for that; this one is for arms without known weights, and for showing
 * to people. Nor can it, or any judge, tell a bad version from a few heavy clients that are bad themselves.
 *
 * Merging: tallies of shards, of gateways, of before and after a restart, add up, bad to bad and n to n. That
 * is valid because the likelihood is a function of the sums only. Tallies of different steps add up too,
 * traffic permitting (see above). Do not multiply e-values of tallies that share requests.
 */
#ifndef XEBEC_JUDGE_EVIDENCE_RATES_H
#define XEBEC_JUDGE_EVIDENCE_RATES_H

#include "judge/evidence.h"

/*
 * How firmly the mixture believes in rates near the tolerated one: Beta(r p, r (1 - p)) around the tolerated
 * p, r such that the rarer outcome has this many pseudo-counts. Any value is valid, since it is chosen before
 * the data.
 */
#define RATE_PRIOR_WIDE 0.5 /* anything may be: like Jeffreys's prior. Costs little against a gross difference */
#define RATE_PRIOR_NEAR 4.0 /* the rate is within a factor of a few. Finds 1.2 to 3 times the tolerated rate sooner */

/*
 * Null: at every trial, given the past, the chance of a bad outcome is <= tolerated (0..1). It need not be
 * constant. For disagreement with the primary: tolerated = noise floor + margin, both known; where the floor
 * is itself measured by replays, rates_worse_log_e(replays, shadow, margin) instead.
 *
 * e = mixture likelihood / largest likelihood in the null. Why it is valid though the null is composite:
 * split the mixture at p = tolerated. Its part below is at most the largest likelihood in the null, so it
 * adds at most its own weight to e. Its part above is divided by at least the likelihood at p, and there the
 * likelihood ratio of a rate above p to p is a supermartingale whenever every chance is <= p. So e <= (weight
 * below) + (weight above) * supermartingale, which starts at 1 and to which Ville's inequality applies.
 * Source: Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math. Stat. 1970;
 * the beta-binomial mixture of Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric,
 * nonasymptotic confidence sequences", Ann. Stat. 2021; the largest likelihood below the line: Wasserman,
 * Ramdas and Balakrishnan, "Universal inference", PNAS 2020.
 */
double rate_above_log_e(struct tally tally, double tolerated, double prior);

/*
 * The sequential sign test, for pairs (one row answered by both) of which exactly one answer was bad.
 * Null: given the past and that a pair is discordant, the chance that the candidate's is the bad one is <=
 * 1/2. Concordant pairs say nothing and are not given. It is rate_above_log_e() at 1/2, where the wide prior
 * is Jeffreys's.
 */
double rate_sign_log_e(uint64_t candidate_alone_bad, uint64_t baseline_alone_bad);

/*
 * Null: the candidate's rate is <= the baseline's + margin (0..1), each constant. Any pair of such rates.
 *
 * e = product of the arms' Jeffreys mixtures, Beta(1/2, 1/2), over the largest likelihood of any pair in the
 * null.
 * Valid: for the true pair the denominator is at least its likelihood, so e is at most a mixture likelihood
 * ratio, a martingale under that pair; and this whatever rule picks the arms, since no unequal or changing
 * weight enters. (The blocks of Turner, Ly and Grünwald need a fixed number of each arm per block, which
 * traffic does not come in.) Jeffreys: it costs at most about (log n) / 2 an arm at any rate, and no tuning
 * is asked of anyone. That cost makes this the most careful judge here.
 * Source: Wasserman, Ramdas and Balakrishnan 2020 (their sequential version), with mixtures for the numerator.
 */
double rates_worse_log_e(struct tally baseline, struct tally candidate, double margin);

/*
 * The time-uniform confidence sequence of one constant rate: with probability >= 1 - alpha it holds the rate
 * at all times at once. The rates that a two-sided Jeffreys mixture does not reject. 0 <= *low <= *high <= 1;
 * 0 and 1 when nothing was seen. Source: Howard et al. 2021, section 3.2 on mixtures, with a prior that does
 * not move with the rate.
 */
void rate_interval(struct tally tally, double alpha, double *low, double *high);
/*
 * The same for (candidate's rate - baseline's rate), -1..1: the differences that the two arms' mixtures
 * together do not reject; narrower than subtracting two intervals.
 */
void rates_difference_interval(struct tally baseline, struct tally candidate, double alpha, double *low,
                               double *high);

/*
 * The p that minimises weight_b KL(rate_b | p) + weight_c KL(rate_c | p + difference), both in 0..1: the
 * nearest point of the line on which the rates differ by `difference`. Weights >= 0. For this file and
 * evidence_draws.
 */
double rates_nearest(double weight_b, double rate_b, double weight_c, double rate_c, double difference);

#endif
