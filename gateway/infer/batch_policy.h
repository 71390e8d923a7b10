/*
 * batch_policy: how many rows a batch may have, and whether waiting for more pays. Pure arithmetic: time is passed in,
 * no queue, no memory beyond the struct.
 *
 *   none      1: every row travels alone
 *   fixed     max_rows
 *   aimd      Clipper's: a batch that was full at the limit and came back within the target raises the limit by a
 *             constant; a full one that took longer lowers it by a tenth. A batch below its limit says nothing:
 *             had the limit been lower, or higher, it would have been the same batch.
 *             Several calls overlap, so what comes back may have been cut under a limit of long ago. Each observation
 *             is judged by the limit it was made under: what is larger than today's has been answered already (one
 *             pause of the replica slows all calls in flight, and costs one tenth, not one for each), and all that were
 *             full under the same limit raise it once.
 *             Source: Crankshaw et al., "Clipper", NSDI 2017, section 4.3.1.
 *   quantile  Clipper's other: a line along the 99th percentile of the last QUANTILE_CALLS calls' times by their rows; the
 *             limit is where it crosses the target. In the location model: the slope by least squares, the height by
 *             the percentile of what is left.
 *             Sources: Clipper, section 4.3.1; Koenker and Bassett, "Regression Quantiles", Econometrica 46 (1978).
 *   adaptive  knows what calls take (latency.h), how fast rows arrive, when a replica will be free and what is due when:
 *             the most rows whose call still keeps the earliest deadline, but
 *               - no more than whose call takes half of the objective: a row may come just after a batch was cut, waits
 *                 for that one, and then for its own;
 *               - no fewer than what arrives during a call, so that one row that is late does not make the queue grow
 *                 and all after it late as well;
 *               - no more than eight times the largest batch seen lately: a line is not to be trusted far beyond.
 *             While all replicas are busy a batch is held back until one is about to be free, for until then it may
 *             grow, and more urgent rows may still be in it; but no row for longer than four of the longest calls.
 *             While one is idle a batch waits for the next row when that costs less than it saves:
 *             (rows + 1) * gap + rows * row_us < fixed_us, the expected waiting of all who wait, against the call that
 *             the next row would else need for itself; at most max_delay, never past a deadline.
 */
#ifndef XEBEC_INFER_BATCH_POLICY_H
#define XEBEC_INFER_BATCH_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "infer/latency.h"

enum { QUANTILE_CALLS = 64 };

/* The last calls; a ring. */
struct quantile_window {
    float rows[QUANTILE_CALLS], us[QUANTILE_CALLS];
    uint32_t calls;
};

/* Rows a microsecond, over the last one or two windows. */
struct arrivals {
    uint64_t since_us, last_us; /* the present window; the last row */
    uint32_t rows, former_rows; /* in it, and in the one before */
};

struct batch_policy {
    enum batching_policy kind;
    uint32_t max_rows;
    uint32_t calls;        /* in flight at once at a replica */
    uint32_t limit;        /* 1..max_rows; of all but adaptive */
    uint64_t slo_us;       /* 0: none */
    uint64_t target_us;    /* of one call; UINT64_MAX: any time will do */
    uint64_t max_delay_us;
    uint64_t fastest_us;   /* aimd: the fastest call seen; 0: none yet */
    struct quantile_window window; /* quantile */
    double largest_rows;   /* adaptive: of the batches lately */
    struct latency latency; /* learned under every policy: admission asks it, too */
    struct arrivals arrivals[PRIORITY_COUNT];
};

/* What a decision is made of. Times are CLOCK_MONOTONIC. */
struct batch_scene {
    uint64_t now_us;
    uint64_t start_us;    /* when a replica will begin with the next call: now_us, or later when all are busy */
    uint64_t given_up_us; /* until when that replica works on what was given up; not after now_us: on nothing of that kind */
    uint64_t deadline_us; /* the earliest in the queue */
    uint64_t oldest_us;   /* since when the oldest row waits */
    uint32_t rows;        /* that wait */
    uint32_t servers;     /* calls that are worked on at once */
    double slowness;      /* what the call takes there, of what it takes on average */
};

/* slo_us: the smallest SLO of those who use the version; 0: nobody does, any will do. */
void batch_policy_init(struct batch_policy *policy, const struct config_batching *batching, uint64_t slo_us);

/* Rows came. */
void batch_policy_arrived(struct batch_policy *policy, enum priority priority, uint32_t rows, uint64_t now_us);
/* Rows a batch may have at most, whatever is due: 1..max_rows. */
uint32_t batch_policy_most(const struct batch_policy *policy);
/* Rows the next batch may have: 1..batch_policy_most(). */
uint32_t batch_policy_limit(const struct batch_policy *policy, const struct batch_scene *scene);
/* Until when a batch is held back because no replica could begin with it; not after now_us: it is not. */
uint64_t batch_policy_busy_until(const struct batch_policy *policy, const struct batch_scene *scene);
/* Until when waiting for company pays while a replica is idle; 0: it does not. */
uint64_t batch_policy_hold_until(const struct batch_policy *policy, const struct batch_scene *scene);
/* Rows a microsecond that come, as of late, at priorities from the highest to below this; PRIORITY_COUNT: at all. */
double batch_policy_rate(const struct batch_policy *policy, enum priority below, uint64_t now_us);
/* Of the objective, what is not to be spent on queue and call: for reading, replying, and the machine's jitter. */
uint64_t batch_policy_margin_us(const struct batch_policy *policy);
/* Whether replicas work on one call at a time. */
bool batch_policy_is_serial(const struct batch_policy *policy);

struct batch_observation {
    uint32_t rows;
    uint32_t limit;    /* it was made under: what batch_take() was given, where a replica takes less than the policy allows */
    uint64_t rpc_us;   /* from sending to reply */
    uint64_t busy_us;  /* of it, after the replica's reply to the call before: what it took alone */
    double slowness;   /* of the replica: what its calls take, of what they take on average */
};
/* One call came back well. */
void batch_policy_observe(struct batch_policy *policy, const struct batch_observation *call);

#endif
