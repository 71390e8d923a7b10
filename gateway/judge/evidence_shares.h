/*
 * evidence_shares: judges whether arms receive the shares they were configured to (sample-ratio mismatch). A
 * mismatch means that assignment or counting is broken, and that no other judge of the experiment can be
 * believed: it stops it.
 *
 * Plain state and arithmetic, no clock, no allocation; one thread at a time.
 *
 * Null: given the past, each request goes to arm i with its configured share. So count what is drawn once:
 * requests, or first requests of sticky keys; not forced arms, not spilled requests.
 *
 * e, within a step, is the Dirichlet-multinomial likelihood of the counts over that of the shares: exactly a
 * martingale under the null, since the null is one point. Prior: Dirichlet(SHARES_PRIOR * share): arms are
 * expected within a few per cent of their shares; it finds a ratio that is off by a tenth sooner than a flat
 * prior does, and gross ones as well. When shares change, e of the step so far is kept and the new step's
 * multiplies it: each is a bet on requests of its own.
 * Source: Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022 (their
 * sample-ratio test).
 *
 * Merging: within one step, with equal shares, counts of shards add up. Else add the log e of disjoint
 * requests.
 */
#ifndef XEBEC_JUDGE_EVIDENCE_SHARES_H
#define XEBEC_JUDGE_EVIDENCE_SHARES_H

#include <stdbool.h>

#include "judge/evidence.h"

#define SHARES_ARMS_MAX 16
#define SHARES_PRIOR    200.0

struct shares {
    uint32_t n_arms;
    double share[SHARES_ARMS_MAX];   /* sums to 1 */
    uint64_t count[SHARES_ARMS_MAX]; /* in this step */
    double log_e_before;             /* of the steps before this one */
};

/*
 * Starts the first step. Weights are in any unit; an arm of weight 0 receives nothing under the null, so one
 * request to it is proof (log e EVIDENCE_LOG_MOST). False, and a judge without arms, of which log e is 0: no
 * or too many arms, a weight that is negative or not finite, or a sum of 0.
 */
bool shares_init(struct shares *shares, const double *weights, uint32_t n_arms);
/* The next step, with other weights and perhaps other arms; what was seen is kept as evidence. False: as above, unchanged. */
bool shares_step(struct shares *shares, const double *weights, uint32_t n_arms);
/* `count` requests went to `arm` (< n_arms; others are ignored). */
void shares_observe(struct shares *shares, uint32_t arm, uint64_t count);
/* One request raises it by at most log(1 / its arm's share). */
double shares_log_e(const struct shares *shares);

#endif
