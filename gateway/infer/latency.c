/* latency: a line through what was seen, and how far above it the tail lies. */
#include "infer/latency.h"

#include <math.h>

#define MEMORY_CALLS  64.0
#define KNOWN_CALLS   8.0
#define CHANGED_CALLS KNOWN_CALLS

/* Sizes that vary by less than this, squared and relative to their mean, leave the slope where it was. */
#define RIDGE 0.01

#define CLIP            2.0
#define CHANGE          1.5
#define NOISE_UP        1.10
#define NOISE_DOWN      (1.0 - 0.10 / 50)
#define NOISE_FIRST     1.25
#define NOISE_LEAST     1.02
#define NOISE_MOST      8.0
#define FAMILIAR_FACTOR 2.0

static double clamp(double x, double least, double most)
{
    return x < least ? least : x > most ? most : x;
}

static double line_at(const struct latency *latency, double rows)
{
    return latency->fixed_us + latency->row_us * rows;
}

static void scale(struct latency *latency, double by)
{
    latency->us *= by;
    latency->rows_us *= by;
    latency->fixed_us *= by;
    latency->row_us *= by;
}

/*
 * The first call: nothing of it is laid to its rows. What more of them take shows when there are more, and
 * whoever thinks that they are dear never sees any.
 */
static void begin(struct latency *latency, double rows, double us)
{
    *latency = (struct latency){.weight = 1,
                                .rows = rows,
                                .us = us,
                                .rows_rows = rows * rows,
                                .rows_us = rows * us,
                                .fixed_us = us,
                                .noise = NOISE_FIRST};
}

/* Of the five, so that two may be anything. */
static double median_of_recent(const struct latency *latency)
{
    double sorted[LATENCY_RECENT];
    for (int i = 0; i < LATENCY_RECENT; i++) {
        int at = i;
        for (; at > 0 && sorted[at - 1] > latency->recent[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = latency->recent[i];
    }
    return sorted[LATENCY_RECENT / 2];
}

/* Returns the ratio by the line as it is afterwards. */
static double follow_change(struct latency *latency, double ratio)
{
    int newest = (int)(latency->n_recent++ % LATENCY_RECENT);
    latency->recent[newest] = ratio;
    if (latency->n_recent < LATENCY_RECENT)
        return ratio;
    double median = median_of_recent(latency);
    if (median < CHANGE && median > 1 / CHANGE)
        return ratio;
    scale(latency, median);
    if (latency->weight > CHANGED_CALLS)
        latency->weight = CHANGED_CALLS;
    for (int i = 0; i < LATENCY_RECENT; i++) {
        if (latency->recent[i] > latency->noise &&
            i != newest) /* what was taken for noise, and was the change */
            latency->noise /= NOISE_UP;
        latency->recent[i] /= median;
    }
    return ratio / median;
}

static void follow_noise(struct latency *latency, double ratio)
{
    latency->noise *= ratio > latency->noise ? NOISE_UP : NOISE_DOWN;
    latency->noise = clamp(latency->noise, NOISE_LEAST, NOISE_MOST);
}

static void remember(struct latency *latency, double rows, double us)
{
    if (latency->weight < MEMORY_CALLS)
        latency->weight++;
    double share = 1 / latency->weight;
    latency->rows += share * (rows - latency->rows);
    latency->us += share * (us - latency->us);
    latency->rows_rows += share * (rows * rows - latency->rows_rows);
    latency->rows_us += share * (rows * us - latency->rows_us);
}

/* Least squares, with a ridge towards the former slope as the level of today would have it. */
static void fit(struct latency *latency)
{
    double level = latency->us / line_at(latency, latency->rows);
    double ridge = RIDGE * latency->rows * latency->rows;
    double variance = latency->rows_rows - latency->rows * latency->rows;
    double covariance = latency->rows_us - latency->rows * latency->us;
    double slope = (covariance + ridge * latency->row_us * level) / (variance + ridge);
    latency->row_us = clamp(slope, 0, latency->us / latency->rows);
    latency->fixed_us = fmax(0, latency->us - latency->row_us * latency->rows);
}

void latency_observe(struct latency *latency, uint32_t rows, uint64_t busy_us, double slowness)
{
    double n = rows ? rows : 1, us = busy_us ? (double)busy_us : 1;
    if (latency->weight == 0) {
        begin(latency, n, us);
        return;
    }
    bool familiar = n <= FAMILIAR_FACTOR * latency->rows && n >= latency->rows / FAMILIAR_FACTOR;
    double expected = line_at(latency, n), ratio = us / expected / slowness;
    if (familiar) {
        ratio = follow_change(latency, ratio);
        follow_noise(latency, ratio);
        expected = line_at(latency, n);
    }
    expected *= slowness;
    double least = expected / CLIP, most = expected * CLIP;
    if (n > FAMILIAR_FACTOR *
                latency->rows) { /* cheaper than thought is what larger batches are for; or dearer */
        least = line_at(latency, latency->rows) / CLIP;
        most = fmax(expected, slowness * line_at(latency, latency->rows) * n / latency->rows) * CLIP;
    }
    if (n < latency->rows / FAMILIAR_FACTOR)
        most = line_at(latency, latency->rows) * CLIP;
    remember(latency, n, clamp(us, least, most));
    fit(latency);
}

bool latency_is_known(const struct latency *latency)
{
    return latency->weight >= KNOWN_CALLS;
}

double latency_typical_us(const struct latency *latency, uint32_t rows)
{
    return line_at(latency, rows);
}

double latency_likely_us(const struct latency *latency, uint32_t rows)
{
    return line_at(latency, rows) * latency->noise;
}

uint32_t latency_rows_within(const struct latency *latency, double us)
{
    double left_us = us / (latency->noise > 1 ? latency->noise : 1) - latency->fixed_us;
    if (left_us < latency->row_us)
        return 0;
    double rows = latency->row_us > 0 ? left_us / latency->row_us : UINT32_MAX;
    return rows < UINT32_MAX ? (uint32_t)rows : UINT32_MAX;
}
