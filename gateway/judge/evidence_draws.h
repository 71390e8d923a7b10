/*
 * evidence_draws: judges whether the candidate is worse by the lot that gave each request its arm.
 *
 * Plain state and arithmetic, no clock, no allocation. One judge is used by one thread at a time.
 *
 * What it needs: a request's arm was drawn with a KNOWN chance (the candidate's weight among these two arms),
 * and the draw is independent of all before it and of what the request is like. What it does not need:
 * anything of the traffic. Error rates may drift, jump, follow the hour or the previous outcome; weights may
 * change at any time. That makes it the judge for canaries in steps, where counts alone mislead
 * (evidence_rates.h). Leave out what was not drawn: arms forced by a header, requests that spilled from an
 * arm without replicas, and, of a sticky key, all but its first request (a key is one draw, however often it
 * comes back). Where sticky keys are few and heavy and every request must count, no judge knows a bad version
 * from a bad client.
 *
 * Null, at every request, given the past: P(bad | candidate) <= P(bad | baseline) + margin. The two chances
 * may be any, and others at each request.
 *
 * The weight is that of the draw, not of the moment the answer came. Answers that were drawn before a step
 * and come after it belong to the old weight: keep one judge a step and add their log e (below), or reweigh
 * back for them. Strictly the proof takes requests in the order of their draws; given as they complete, what
 * is missing at any moment is what is in flight, an edge effect that does not grow with the run. Where
 * answers are slow, judge in the order of arrival.
 *
 * How it bets. Let w be the candidate's weight, and take an alternative (b, c), c > b + margin, chosen from
 * the past. A request is a pair (arm, outcome), whose chances are linear in (P(bad | baseline), P(bad |
 * candidate)); so the null is a convex set of distributions, and the likelihood ratio of the alternative to
 * its nearest point in the null, in Kullback-Leibler divergence, (p, p + margin), has expectation <= 1 under
 * all of the null and grows fastest among all such bets (Grünwald, de Heide and Koolen, "Safe testing", JRSS
 * B 2024, Theorem 1; for two rates Turner, Ly and Grünwald, "Generic E-variables for exact sequential
 * k-sample tests that allow for optional stopping", 2021/2024, whose block of fixed composition is here one
 * request with a drawn arm; with a margin, Turner and Grünwald, "Exact anytime-valid confidence intervals for
 * contingency tables and beyond", 2023). With margin 0, p = w c + (1 - w) b. Lindon and Malek, NeurIPS 2022,
 * stand drift in the same way, from the bad outcomes alone. The proof does not lean on the search for p: the
 * expectation is linear over the null, a polygon, so its largest value is at a corner, and the bet is divided
 * by that if it is above 1.
 *
 * Prior: b is the posterior mean of the baseline's rate, a Beta of mean DRAWS_PRIOR_RATE and half a bad
 * outcome; c has DRAWS_BETS odds ratios to b + margin, from 1.25 to 100, a stake of 1 / DRAWS_BETS on each.
 * So the price of not knowing the effect is at most log 8 = 2.1, and (unlike evidence_rates) there is none
 * for not knowing the baseline. b and c stay while the counts grow by a sixteenth: an observation is one
 * addition a bet.
 *
 * Merging: a judge is a product of bets, not a function of counts. Judges of disjoint requests (shards,
 * gateways, steps) combine by ADDING their log e, each having learned alone; or, better, shards count by
 * (arm, outcome) and one judge is given the sums as a batch.
 * Adding the states field by field is not valid. The struct is numbers only: store it as it is, and restore
 * it to the same margin and weight.
 */
#ifndef XEBEC_JUDGE_EVIDENCE_DRAWS_H
#define XEBEC_JUDGE_EVIDENCE_DRAWS_H

#include "judge/evidence.h"

#define DRAWS_BETS       8
#define DRAWS_PRIOR_RATE 0.01

enum draws_arm { DRAWS_BASELINE, DRAWS_CANDIDATE, DRAWS_ARMS };
enum draws_outcome { DRAWS_GOOD, DRAWS_BAD, DRAWS_OUTCOMES };

struct draws_counts {
    uint64_t n[DRAWS_ARMS][DRAWS_OUTCOMES];
};

struct draws {
    double margin;                                       /* absolute, 0..1 */
    double weight;                                       /* the candidate's, of these two arms; 0..1 */
    struct tally baseline;
    uint64_t seen, next_learning;                        /* requests of both arms; learn again at this many */
    double log_e[DRAWS_BETS];
    double bet[DRAWS_ARMS][DRAWS_OUTCOMES][DRAWS_BETS];  /* what an observation adds; made from the above */
};

/* A judge that has seen nothing: log e is 0. A margin or weight out of range, or NaN: it never bets. */
void draws_init(struct draws *draws, double margin, double weight);
/* From the next request on the candidate is drawn with this weight; what was seen stays. At 0 and 1 it does not bet. */
void draws_reweigh(struct draws *draws, double weight);
/* One request, drawn at the current weight. Constant time. */
void draws_observe(struct draws *draws, enum draws_arm arm, enum draws_outcome outcome);
/*
 * All requests of a while at once, drawn at the current weight. The bets are those from before the batch, so
 * the order within does not matter; small batches learn sooner. All kinds belong in ONE call: to learn from
 * the bad ones before the good ones of the same batch are given would be to bet on what is known.
 */
void draws_observe_batch(struct draws *draws, const struct draws_counts *counts);
/* log of the mean of the bets. At most draws_most(), which is cheaper: below a limit there, below it here. */
double draws_log_e(const struct draws *draws);
double draws_most(const struct draws *draws);

#endif
