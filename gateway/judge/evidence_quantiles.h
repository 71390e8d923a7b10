/*
 * evidence_quantiles: judges latency quantiles over histograms of fixed buckets. Pure state and arithmetic,
 * no clock, no allocation: 11 KiB a histogram, whatever the traffic. One histogram or watch is used by one
 * thread at a time.
 *
 * Resolution: a microsecond below 128 us, then 64 buckets an octave: no bucket is wider than 1.6 % of its
 * bounds. Beyond 2^27 us (134 s) all is one bucket. Every guarantee holds as said, for the latencies
 * themselves, not only up to a bucket: rounding always goes the way that rejects less. What a bucket costs is
 * power: up to two buckets (3.2 %) of a difference are not seen.
 *
 * Needs: the latencies of an arm are independent draws from one distribution, which does not change (more
 * exactly, given the past, each is at most x with the same chance F(x)). Arms may interleave as they like.
 * Traffic whose latency drifts while a canary's weight grows breaks this; then make "slower than a threshold"
 * an outcome and let evidence_draws judge it, with latency_quantile() of the baseline's past as the threshold
 * (times 1 + margin for the candidate): its null is P(candidate > (1 + margin) x) <= P(baseline > x), which
 * holds whenever the candidate is stochastically at most 1 + margin times as slow. Leave cache hits out of
 * either.
 *
 * Merging: histograms add up, bucket to bucket (latency_counts_add); log e of the sums is valid. Watches do
 * not: make one anew from the sums.
 */
#ifndef XEBEC_JUDGE_EVIDENCE_QUANTILES_H
#define XEBEC_JUDGE_EVIDENCE_QUANTILES_H

#include <stdbool.h>

#include "judge/evidence.h"

#define LATENCY_OCTAVE  64                                      /* buckets in one */
#define LATENCY_BUCKETS (2 * LATENCY_OCTAVE + 20 * LATENCY_OCTAVE + 1)

struct latency_counts {
    uint64_t n, bucket[LATENCY_BUCKETS];
};

uint32_t latency_bucket(uint64_t latency_us);
uint64_t latency_bucket_top(uint32_t bucket); /* the largest latency in it; UINT64_MAX for the last */
void latency_counts_observe(struct latency_counts *counts, uint64_t latency_us);
void latency_counts_add(struct latency_counts *into, const struct latency_counts *from);
/* The top of the bucket in which the quantile (0..1) of the counts lies: for people and as a threshold. 0 of nothing. */
uint64_t latency_quantile(const struct latency_counts *counts, double quantile);

/*
 * The time-uniform band of one quantile Q = min{x: F(x) >= quantile}: with probability >= 1 - alpha, *low_us
 * <= Q <= *high_us at all times at once. Nothing known: 0 and UINT64_MAX. Two one-sided judges with alpha / 2
 * each; no alpha is paid for the many bucket bounds, because the evidence at any bound that is on the wrong
 * side of Q is at most that at the one nearest to Q. Source: Howard and Ramdas, "Sequential estimation of
 * quantiles with applications to A/B testing and best-arm identification", Bernoulli 2022 (one fixed
 * quantile, beta-binomial); the prior is RATE_PRIOR_NEAR.
 */
void latency_quantile_band(const struct latency_counts *counts, double quantile, double alpha, uint64_t *low_us,
                           uint64_t *high_us);

/*
 * Null: Q(candidate) <= (1 + margin) Q(baseline). `margin` >= 0.
 *
 * e = the least, over buckets i, of e(F_baseline(top of i - 1) < quantile) times e(F_candidate(top of j) >=
 * quantile), j the bucket of (1 + margin) times i's top. One i has the baseline's quantile in it. For that i
 * both parts' nulls are true: below i the baseline's F is < quantile, and (1 + margin) Q(baseline) is at most
 * j's top. Two e-processes that move at different requests multiply to one, and the least over i is at most
 * that of this i. So no alpha is split between the arms, nor between buckets. Each part is hedged, (1 + e) /
 * 2, which is an e-process too: where one arm speaks and the other has lost its bet, as at every bucket far
 * from both quantiles, the loss is log 2 and not all that was won.
 * Source: the two-sample test of Howard and Ramdas 2022 (they, too, seek the worst common value); the parts are
 * rate_above_log_e() with RATE_PRIOR_NEAR.
 */
double latency_worse_log_e(const struct latency_counts *baseline, const struct latency_counts *candidate,
                           double quantile, double margin);

/*
 * The same test after every request, for a few nanoseconds each: latency_worse_log_e() looks at all buckets.
 * While one bucket i is known at which the product is below the limit, the least is too; and a request can
 * raise the product only by a known factor. So a watch keeps such a bucket, and looks again when enough
 * requests have come that it might no longer be. It says "worse" at exactly the request at which
 * latency_worse_log_e() first reaches the limit.
 */
struct latency_watch {
    double quantile, margin, limit; /* limit: of log e, evidence_limit() */
    struct latency_counts baseline, candidate;
    uint32_t witness;               /* a bucket i at which log e was below the limit */
    uint32_t shifted;               /* its j */
    struct tally baseline_fast;     /* bad: at most the top of i - 1 */
    struct tally candidate_slow;    /* bad: more than the top of j */
    double fast_rise, slow_rise;    /* what one bad request of each can raise log e by */
    double headroom;                /* log e cannot reach the limit before this is used up */
    bool worse;
};

void latency_watch_init(struct latency_watch *watch, double quantile, double margin, double limit);
/* One request. Returns watch->worse, which stays once it is true. */
bool latency_watch_baseline(struct latency_watch *watch, uint64_t latency_us);
bool latency_watch_candidate(struct latency_watch *watch, uint64_t latency_us);

#endif
