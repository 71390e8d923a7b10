/*
 * evidence: what the judges of a canary have in common. Pure arithmetic: no clock, no memory, no state.
 *
 * Every judge (evidence_rates, _draws, _quantiles, _shares) is asked for one number, log e: the natural
 * logarithm of an e-process against its null hypothesis. Under the null, the chance that e EVER reaches 1 /
 * alpha, however often and for whatever reason one looks and stops, is at most alpha (Ville's inequality:
 * Ville 1939; Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid
 * inference", Statistical Science 2023). So a gate is: log e >= evidence_limit(). Looking every second, or
 * after every request, costs nothing.
 *
 * Several gates on one canary share alpha by Bonferroni: gate i has a share s_i, the shares sum to at most 1,
 * and it rejects at 1 / (alpha s_i). Then the chance that any gate whose null is true ever rejects is at most
 * alpha, however the gates depend on each other (errors and latency do). The mean of the e-values against 1 /
 * alpha would reject a little sooner (a mean of e-values is one, and is never less than its largest part);
 * but it says only that some null is false. A rollback must say which, and Bonferroni's answer to that is
 * guaranteed for each gate it names.
 *
 * All logarithms here stay within +-EVIDENCE_LOG_MOST: never NaN, never infinite, whatever the counts.
 */
#ifndef XEBEC_JUDGE_EVIDENCE_H
#define XEBEC_JUDGE_EVIDENCE_H

#include <stdint.h>

#define EVIDENCE_LOG_MOST 1e15

/* Trials of one kind, and how many of them were bad (failed, disagreed, too slow). bad <= n <= 2^53. */
struct tally {
    uint64_t n, bad;
};

/*
 * The log e at which a gate with `share` (0..1] of `alpha` (0..1) rejects: log(1 / (alpha share)). Nonsense
 * (NaN, out of range) is EVIDENCE_LOG_MOST: a gate that never rejects.
 */
double evidence_limit(double alpha, double share);
/*
 * For people: min(1, 1 / e) of the LARGEST log e seen so far, which is an anytime-valid p-value: under the
 * null, the chance that it ever is <= a is at most a (Ramdas et al. 2023). Multiply by the number of gates,
 * or divide by the gate's share, to compare it with the canary's alpha.
 */
double evidence_p_value(double largest_log_e);
/* Keeps a logarithm in range; NaN becomes -EVIDENCE_LOG_MOST, which rejects nothing. */
double evidence_clamp(double log_e);

/*
 * The building blocks of the judges; every closed form below is made of these two, in which nothing large
 * cancels.
 *
 * seen log(seen / expected) + expected - seen, which is >= 0. Summed over the outcomes of n trials it is n
 * times the Kullback-Leibler divergence of the frequencies seen from those expected. Source: Loader, "Fast
 * and accurate computation of binomial probabilities", 2000 (his bd0).
 */
double evidence_deviance(double seen, double expected);
/*
 * log Gamma(n + prior) - (n log n - n), n >= 0, prior > 0: what is left of log Gamma when its large part,
 * which the maximum likelihood has too, is taken away. Absolute error < 1e-9 for any n up to 1e15.
 */
double evidence_gamma_excess(double n, double prior);
/*
 * log of the beta-binomial mixture likelihood of a tally over its maximum likelihood; <= 0. The mixture over
 * the rate is Beta(a, b), in the order of arrival (no binomial coefficient).
 */
double evidence_mixture(struct tally tally, double a, double b);

#endif
