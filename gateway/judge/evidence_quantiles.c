/* evidence_quantiles: buckets, and the judge of rates asked at their bounds. */
#include "judge/evidence_quantiles.h"

#include <math.h>

#include "judge/evidence_rates.h"

#define OCTAVE_BITS 6 /* log2 LATENCY_OCTAVE */
#define LAST_BUCKET (LATENCY_BUCKETS - 1)
/* More than log e can rise by requests that have yet to lift it above 0; see latency_watch in observe(). */
#define SLACK 1.0

_Static_assert(1 << OCTAVE_BITS == LATENCY_OCTAVE, "buckets are found by shifting");

uint32_t latency_bucket(uint64_t latency_us)
{
    if (latency_us < 2 * LATENCY_OCTAVE)
        return (uint32_t)latency_us;
    uint32_t shift = 63 - OCTAVE_BITS - (uint32_t)__builtin_clzll(latency_us);
    uint64_t bucket = (uint64_t)shift * LATENCY_OCTAVE + (latency_us >> shift);
    return bucket < LAST_BUCKET ? (uint32_t)bucket : LAST_BUCKET;
}

uint64_t latency_bucket_top(uint32_t bucket)
{
    if (bucket < 2 * LATENCY_OCTAVE)
        return bucket;
    if (bucket >= LAST_BUCKET)
        return UINT64_MAX;
    uint32_t shift = bucket / LATENCY_OCTAVE - 1;
    uint64_t lead = bucket - (uint64_t)shift * LATENCY_OCTAVE;
    return ((lead + 1) << shift) - 1;
}

void latency_counts_observe(struct latency_counts *counts, uint64_t latency_us)
{
    counts->n++;
    counts->bucket[latency_bucket(latency_us)]++;
}

void latency_counts_add(struct latency_counts *into, const struct latency_counts *from)
{
    into->n += from->n;
    for (uint32_t i = 0; i < LATENCY_BUCKETS; i++)
        into->bucket[i] += from->bucket[i];
}

uint64_t latency_quantile(const struct latency_counts *counts, double quantile)
{
    double wanted = quantile * (double)counts->n;
    uint64_t below = 0;
    for (uint32_t i = 0; i < LATENCY_BUCKETS && counts->n; i++) {
        below += counts->bucket[i];
        if (below && (double)below >= wanted)
            return latency_bucket_top(i);
    }
    return 0;
}

/* Against: at most a share `quantile` is this fast. */
static double log_e_fast(struct tally fast, double quantile)
{
    return rate_above_log_e(fast, quantile, RATE_PRIOR_NEAR);
}

/* Against: at least a share `quantile` is not this slow. */
static double log_e_slow(struct tally slow, double quantile)
{
    return rate_above_log_e(slow, 1 - quantile, RATE_PRIOR_NEAR);
}

/* Half the stake is bet, half is kept: the mean of e and 1 is valid as well, and never less than a half. */
static double hedged(double log_e)
{
    return log_e > 30 ? log_e - M_LN2 : log1p(exp(log_e)) - M_LN2;
}

void latency_quantile_band(const struct latency_counts *counts, double quantile, double alpha,
                           uint64_t *low_us, uint64_t *high_us)
{
    double limit = evidence_limit(alpha, 0.5);
    struct tally fast = {counts->n, 0};
    *low_us = 0, *high_us = UINT64_MAX;
    for (uint32_t i = 0; i < LAST_BUCKET; i++) {
        fast.bad += counts->bucket[i];
        if (log_e_slow((struct tally){counts->n, counts->n - fast.bad}, quantile) >= limit)
            *low_us = latency_bucket_top(i) + 1;
        if (log_e_fast(fast, quantile) >= limit) {
            *high_us = latency_bucket_top(i);
            return;
        }
    }
}

/* The bucket that has (1 + margin) times the top of `bucket` in it. */
static uint32_t shifted(uint32_t bucket, double margin)
{
    double latency_us = ceil((1 + margin) * (double)latency_bucket_top(bucket));
    return bucket == LAST_BUCKET || !(latency_us < 1e15) ? LAST_BUCKET : latency_bucket((uint64_t)latency_us);
}

/* The least over all buckets, and where. Both sums only move forward, so one pass does. */
static double least_log_e(const struct latency_counts *baseline, const struct latency_counts *candidate,
                          double quantile, double margin, uint32_t *where)
{
    struct tally fast = {baseline->n, 0}, slow = {candidate->n, candidate->n}, last_fast = {0},
                 last_slow = {0};
    uint32_t next = 0; /* of the candidate: the first bucket that `slow` still counts */
    double least = EVIDENCE_LOG_MOST;
    *where = 0;
    for (uint32_t i = 0; i < LATENCY_BUCKETS; fast.bad += baseline->bucket[i++]) {
        for (uint32_t end = shifted(i, margin); next <= end; next++)
            slow.bad -= candidate->bucket[next];
        if (i && fast.bad == last_fast.bad && slow.bad == last_slow.bad)
            continue; /* nobody was in between */
        last_fast = fast, last_slow = slow;
        double log_e = hedged(log_e_fast(fast, quantile)) + hedged(log_e_slow(slow, quantile));
        if (log_e < least)
            least = log_e, *where = i;
    }
    return least;
}

double latency_worse_log_e(const struct latency_counts *baseline, const struct latency_counts *candidate,
                           double quantile, double margin)
{
    uint32_t where;
    if (!(quantile > 0 && quantile < 1 && margin >= 0))
        return 0;
    return evidence_clamp(least_log_e(baseline, candidate, quantile, margin, &where));
}

static void count_at(struct latency_watch *watch, uint32_t witness)
{
    watch->witness = witness;
    watch->shifted = shifted(witness, watch->margin);
    watch->baseline_fast = (struct tally){watch->baseline.n, 0};
    watch->candidate_slow = (struct tally){watch->candidate.n, watch->candidate.n};
    for (uint32_t i = 0; i < witness; i++)
        watch->baseline_fast.bad += watch->baseline.bucket[i];
    for (uint32_t i = 0; i <= watch->shifted; i++)
        watch->candidate_slow.bad -= watch->candidate.bucket[i];
}

/*
 * How far log e can rise from here. A part of it, of n trials of which s are bad against a tolerated rate p,
 * rises only by a bad trial, and then to at most max(itself, 0) + log(1 / p) + SLACK:
 *   - above p the null's likelihood takes the factor p, and the mixture's at most 1; a good trial lowers it,
 * because the mixture's mean, between p and s / n, is above p;
 *   - at or below p it is a likelihood over its maximum, <= 0;
 *   - on the way up across p, s / n is within one trial of p, where the likelihood at p is within a factor e
 * of the maximum. It may be crossed often, but each time from <= 0: SLACK is paid once.
 */
static double room(const struct latency_watch *watch, double fast, double slow)
{
    return watch->limit - (fmax(fast, 0) + SLACK) - (fmax(slow, 0) + SLACK);
}

/* The headroom is used up: is the witness still one, or is there another? */
static void look(struct latency_watch *watch)
{
    double fast = log_e_fast(watch->baseline_fast, watch->quantile);
    double slow = log_e_slow(watch->candidate_slow, watch->quantile);
    watch->headroom = room(watch, fast, slow);
    if (hedged(fast) + hedged(slow) < watch->limit)
        return;
    uint32_t where;
    double least = least_log_e(&watch->baseline, &watch->candidate, watch->quantile, watch->margin, &where);
    count_at(watch, where);
    watch->worse = least >= watch->limit;
    watch->headroom = 0; /* the next request sees how much there is at the new witness */
}

void latency_watch_init(struct latency_watch *watch, double quantile, double margin, double limit)
{
    bool sound = quantile > 0 && quantile < 1 && margin >= 0 && limit > 0;
    *watch = (struct latency_watch){.quantile = sound ? quantile : 0.5,
                                    .margin = sound ? margin : 0,
                                    .limit = sound ? limit : EVIDENCE_LOG_MOST};
    watch->fast_rise = -log(watch->quantile);
    watch->slow_rise = -log1p(-watch->quantile);
    count_at(watch, 0);
    watch->headroom = room(watch, 0, 0);
}

bool latency_watch_baseline(struct latency_watch *watch, uint64_t latency_us)
{
    latency_counts_observe(&watch->baseline, latency_us);
    watch->baseline_fast.n++;
    if (latency_bucket(latency_us) < watch->witness) {
        watch->baseline_fast.bad++;
        watch->headroom -= watch->fast_rise;
    }
    if (watch->headroom <= 0 && !watch->worse)
        look(watch);
    return watch->worse;
}

bool latency_watch_candidate(struct latency_watch *watch, uint64_t latency_us)
{
    latency_counts_observe(&watch->candidate, latency_us);
    watch->candidate_slow.n++;
    if (latency_bucket(latency_us) > watch->shifted) {
        watch->candidate_slow.bad++;
        watch->headroom -= watch->slow_rise;
    }
    if (watch->headroom <= 0 && !watch->worse)
        look(watch);
    return watch->worse;
}
