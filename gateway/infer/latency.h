/*
 * latency: what a call of so many rows takes a replica, learned from the calls that came back. Pure arithmetic, a
 * few dozen bytes, constant time.
 *
 *   a call of n rows takes   (fixed + n * row) * noise       noise is around 1, with a long tail
 *
 *   line     fixed and row, by least squares over means that forget: an observation's weight fades with those after
 *            it, MEMORY_CALLS of them. When all batches are of one size they say nothing of the slope: a ridge holds the
 *            former line, scaled to pass through what is seen. The slope is never negative, nor is fixed.
 *            Of the first call all is fixed: whoever thinks rows dear that were never seen refuses them, and never sees any.
 *            A batch far larger than those before counts as twice the line at most, or twice what its rows would take in proportion.
 *   noise    its 98th percentile, by stochastic approximation on a logarithmic scale: up by a tenth when exceeded, down
 *            by a fiftieth of that when not. Source: Robbins and Monro, Ann. Math. Stat. 22 (1951), for quantiles.
 *   outliers an observation counts as at most twice, or at least half, of what the line says (Huber's clipping, 1964).
 *            So a pause of the replica, however long, moves the line by 2/MEMORY_CALLS of its height, once.
 *   changes  the line is moved at once when the median of the last five observations says that the speed is another
 *            by a half: three calls after the change, while two outliers among five do nothing; and the means forget
 *            all but 8 calls' worth, for some of what they hold is the change mistaken for a slope. Smaller changes it
 *            follows within MEMORY_CALLS. Batches far larger or smaller than those before are no evidence of speed:
 *            they are what the slope is learned from.
 */
#ifndef XEBEC_INFER_LATENCY_H
#define XEBEC_INFER_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

enum { LATENCY_RECENT = 5 };

/* Zeroed: nothing is known. */
struct latency {
    double weight;                    /* observations in the means: up to MEMORY_CALLS */
    double rows, us, rows_rows, rows_us; /* means of rows, time, rows^2, rows * time */
    double fixed_us, row_us;          /* the line */
    double noise;                     /* its 98th percentile, > 1 */
    double recent[LATENCY_RECENT];    /* what was observed over what the line said; a ring */
    uint32_t n_recent;                /* since the speed last changed */
};

/*
 * A call of `rows` rows kept the replica busy for busy_us. slowness: how much longer its calls take than those of all
 * replicas on average, whom the line is of; noise is what that does not explain. 1: nothing is known of it.
 */
void latency_observe(struct latency *latency, uint32_t rows, uint64_t busy_us, double slowness);
/* Whether enough was seen to refuse somebody for it. */
bool latency_is_known(const struct latency *latency);

double latency_typical_us(const struct latency *latency, uint32_t rows); /* 0 when nothing is known */
double latency_likely_us(const struct latency *latency, uint32_t rows);  /* 98 calls of 100 take no longer */
/* The most rows whose call likely takes no longer than `us`; 0: not even one's. UINT32_MAX: any number's. */
uint32_t latency_rows_within(const struct latency *latency, double us);

#endif
