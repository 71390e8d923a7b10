/*
 * workload: a model (what a call of n rows takes: a + b*n, noise, pauses, drift, changes of speed), 1 to 8 replicas, one or more
 * objectives, a process of arrivals, and a load: a share of the peak. The peak is the most rows a second that the replicas can
 * answer in time if rows come evenly: whose call takes half of the objective at its 98th percentile, at the slowest speed of the
 * workload, pauses taken off. The load is that of the busiest phase. Everything follows from the seed.
 */
#ifndef XEBEC_BATCH_SIM_WORKLOAD_H
#define XEBEC_BATCH_SIM_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

enum { REPLICAS_MAX = 8, PAUSES_MAX = 256, CLASSES_MAX = 3 };

#define SECOND    1000000.0
#define WARM_UP   (1 * SECOND) /* not counted: what every policy needs to learn the model from nothing */
#define TRAVEL_US 60.0         /* one way between gateway and replica, at least; as much again at random */
#define OTHER_US  100.0        /* reading and replying */

/* CHANGE: when the model is slower. */
#define SLOW_FROM  (3 * SECOND)
#define SLOW_UNTIL (6 * SECOND)
#define CHANGE_END (9 * SECOND)

enum family {
    STEADY,
    BURSTY,
    DIURNAL,
    STEP,
    HETEROGENEOUS,
    PAUSES,
    DRIFT,
    HEAVY_TAIL,
    SLOWER,
    MIXED,
    FLASH,
    TWICE,
    TENFOLD,
    FAMILY_COUNT,
    CHANGE = FAMILY_COUNT
};

extern const struct family_words {
    const char *name, *what;
    bool is_overload;
} families[FAMILY_COUNT];

struct pause {
    double at_us, us;
};

struct workload {
    enum family family;
    uint64_t seed;
    double fixed_us, row_us, sigma, tail; /* tail: share of calls that take up to ten times as long */
    uint32_t replicas, max_rows, request_rows, n_slos;
    double speed[REPLICAS_MAX], slowest;
    double slo_us[CLASSES_MAX]; /* the smallest first */
    double load, peak, duration_us;
    double change; /* CHANGE: how much slower it is for a while */
    struct pause pauses[REPLICAS_MAX][PAUSES_MAX];
    uint32_t n_pauses[REPLICAS_MAX];
};

void draw(struct workload *load, enum family family, uint64_t seed);

double peak_of(const struct workload *load);                 /* rows a us */
double slowness(const struct workload *load, double now_us); /* how much longer than usual calls take now, whatever the replica */
double likely_noise(const struct workload *load);            /* the 98th percentile of calls' times, of the line */

#endif
