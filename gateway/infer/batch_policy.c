/* batch_policy: set-up and choice first; then each policy, from the simplest to adaptive. */
#include "infer/batch_policy.h"

#include <math.h>

/*
 * The share of the SLO that one call may take. With c calls in flight at a replica that works on one at a
 * time, a call that keeps it busy for S measures c * S from sending to reply. A row that just missed a batch
 * waits S for the next slot, and then that call: (1 + 1/c) calls, at most 2. So at 0.4 the queue and the
 * replica take at most 0.8 of the SLO (0.6 with the usual 2 calls), and the rest is for reading, replying,
 * the network, and the jitter of a machine under load, which at the 99th percentile is not small.
 */
#define CALL_SHARE_PERCENT 40

/*
 * Rows that a full, fast batch adds to the limit. One step a round trip, whatever the calls in flight: 2 rows
 * reach 128 within 64 round trips (0.64 s at 200 batches/s, 2 in flight), and overshoot little at small
 * limits.
 */
#define GROWTH_ROWS 2

/* What a slow batch leaves of the limit, Clipper's tenth. From whole rows down to whole rows: always at least
 * one less. */
#define BACKOFF_PERCENT 90

/* Of the objective, for all that is neither queue nor call. */
#define MARGIN_SHARE 16

/* adaptive: rows beyond what arrives during a call, so that a queue gets shorter. */
#define CATCH_UP 1.25

/* adaptive: how far beyond what it has seen it goes in one step, and how long it remembers: a few hundred
 * calls. */
#define GROWTH_FACTOR  8.0
#define LARGEST_FADING (1.0 - 1.0 / 256)

/* adaptive: a batch is sent so long before the replica is done with the last: the way there and back, and an
 * eighth of a call, which is what the last may be early by. */
enum { TRAVEL_US = 300, EARLY_SHARE = 8 };

enum { WINDOW_US = 100000 };

static void aimd_observe(struct batch_policy *policy, const struct batch_observation *call);
static void quantile_observe(struct batch_policy *policy, const struct batch_observation *call);
static void adaptive_observe(struct batch_policy *policy, const struct batch_observation *call);
static uint32_t adaptive_most(const struct batch_policy *policy, double slowness);
static uint32_t adaptive_limit(const struct batch_policy *policy, const struct batch_scene *scene);
static uint32_t between(double rows, double least, double most);
static uint64_t adaptive_busy_until(const struct batch_policy *policy, const struct batch_scene *scene);
static uint64_t adaptive_hold_until(const struct batch_policy *policy, const struct batch_scene *scene);

void batch_policy_init(struct batch_policy *policy, const struct config_batching *batching, uint64_t slo_us)
{
    *policy = (struct batch_policy){
        .kind = batching->policy,
        .max_rows = batching->policy == BATCHING_NONE ? 1 : batching->max_rows,
        .calls = batching->calls,
        .limit = batching->policy == BATCHING_FIXED ? batching->max_rows : 1,
        .slo_us = slo_us,
        .target_us = slo_us ? slo_us / 100 * CALL_SHARE_PERCENT : UINT64_MAX,
        .max_delay_us = batching->max_delay_us,
    };
}

void batch_policy_arrived(struct batch_policy *policy, enum priority priority, uint32_t rows, uint64_t now_us)
{
    struct arrivals *arrivals = &policy->arrivals[priority];
    uint64_t age_us = now_us - arrivals->since_us;
    if (age_us >= WINDOW_US) {
        arrivals->former_rows = age_us < 2 * WINDOW_US ? arrivals->rows : 0;
        arrivals->since_us = age_us < 2 * WINDOW_US ? arrivals->since_us + WINDOW_US : now_us;
        arrivals->rows = 0;
    }
    arrivals->rows += rows;
    arrivals->last_us = now_us;
}

static double rate_of(const struct arrivals *arrivals, uint64_t now_us)
{
    uint64_t age_us = now_us - arrivals->since_us;
    if (age_us >= 2 * WINDOW_US)
        return 0;
    if (age_us >= WINDOW_US)
        return arrivals->rows / (double)age_us;
    double former = arrivals->former_rows * (1 - (double)age_us / WINDOW_US);
    return (arrivals->rows + former) / WINDOW_US;
}

double batch_policy_rate(const struct batch_policy *policy, enum priority below, uint64_t now_us)
{
    double rate = 0;
    for (int priority = 0; priority < (int)below; priority++)
        rate += rate_of(&policy->arrivals[priority], now_us);
    return rate;
}

uint32_t batch_policy_most(const struct batch_policy *policy)
{
    if (policy->kind != BATCHING_ADAPTIVE)
        return policy->limit;
    uint32_t most = adaptive_most(policy, 1);
    return policy->slo_us ? between(most, 1, GROWTH_FACTOR * policy->largest_rows) : most;
}

uint32_t batch_policy_limit(const struct batch_policy *policy, const struct batch_scene *scene)
{
    return policy->kind == BATCHING_ADAPTIVE ? adaptive_limit(policy, scene) : policy->limit;
}

uint64_t batch_policy_busy_until(const struct batch_policy *policy, const struct batch_scene *scene)
{
    return policy->kind == BATCHING_ADAPTIVE ? adaptive_busy_until(policy, scene) : 0;
}

uint64_t batch_policy_hold_until(const struct batch_policy *policy, const struct batch_scene *scene)
{
    return policy->kind == BATCHING_ADAPTIVE ? adaptive_hold_until(policy, scene) : 0;
}

uint64_t batch_policy_margin_us(const struct batch_policy *policy)
{
    return policy->slo_us / MARGIN_SHARE;
}

bool batch_policy_is_serial(const struct batch_policy *policy)
{
    return policy->calls <= 2; /* the second is on its way; who configures more says that they overlap */
}

void batch_policy_observe(struct batch_policy *policy, const struct batch_observation *call)
{
    uint64_t took_us = batch_policy_is_serial(policy) ? call->busy_us : call->rpc_us;
    latency_observe(&policy->latency, call->rows, took_us, call->slowness);
    if (policy->kind == BATCHING_AIMD)
        aimd_observe(policy, call);
    else if (policy->kind == BATCHING_QUANTILE)
        quantile_observe(policy, call);
    else if (policy->kind == BATCHING_ADAPTIVE)
        adaptive_observe(policy, call);
}

/* --- aimd --- */

/*
 * A model whose every call is slow, however few its rows, misses the target at any limit; to back off would
 * only take its throughput as well (a random forest: 5 ms for one row, 6 ms for a hundred). So a call
 * may take what the fastest ever took for each call in flight, and once more for its rows.
 */
static uint64_t attainable_us(const struct batch_policy *policy)
{
    uint64_t floor_us = (policy->calls + 1ULL) * policy->fastest_us;
    return floor_us > policy->target_us ? floor_us : policy->target_us;
}

static void grow(struct batch_policy *policy, uint32_t proven_rows)
{
    uint64_t next = (uint64_t)proven_rows + GROWTH_ROWS;
    if (next > policy->max_rows)
        next = policy->max_rows;
    if (next > policy->limit)
        policy->limit = (uint32_t)next;
}

static void back_off(struct batch_policy *policy)
{
    uint32_t less = (uint32_t)((uint64_t)policy->limit * BACKOFF_PERCENT / 100);
    policy->limit = less ? less : 1;
}

static void aimd_observe(struct batch_policy *policy, const struct batch_observation *call)
{
    if (!policy->fastest_us || call->rpc_us < policy->fastest_us)
        policy->fastest_us = call->rpc_us;
    if (call->rows < call->limit || call->limit > policy->limit)
        return;
    if (call->rpc_us <= attainable_us(policy))
        grow(policy, call->limit);
    else
        back_off(policy);
}

/* --- quantile --- */

/* Of least squares; proportional where all batches are of one size. */
static float slope_of(const struct quantile_window *window, uint32_t n)
{
    float rows = 0, us = 0, variance = 0, covariance = 0;
    for (uint32_t i = 0; i < n; i++) {
        rows += window->rows[i] / (float)n;
        us += window->us[i] / (float)n;
    }
    for (uint32_t i = 0; i < n; i++) {
        variance += (window->rows[i] - rows) * (window->rows[i] - rows);
        covariance += (window->rows[i] - rows) * (window->us[i] - us);
    }
    if (variance < (float)n)
        return us / rows;
    return covariance > 0 ? covariance / variance : 0;
}

/* What lies above the line of this slope through 0, at its percentile: of 64 calls the second to highest. */
static float height_of(const struct quantile_window *window, uint32_t n, float slope)
{
    float highest = -INFINITY, second = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        float above = window->us[i] - slope * window->rows[i];
        if (above > highest) {
            second = highest;
            highest = above;
        } else if (above > second) {
            second = above;
        }
    }
    return n < QUANTILE_CALLS ? highest : second;
}

static void quantile_observe(struct batch_policy *policy, const struct batch_observation *call)
{
    struct quantile_window *window = &policy->window;
    uint32_t at = window->calls++ % QUANTILE_CALLS;
    window->rows[at] = (float)call->rows;
    window->us[at] = (float)call->rpc_us;
    uint32_t n = window->calls < QUANTILE_CALLS ? window->calls : QUANTILE_CALLS;
    if (!policy->fastest_us || call->rpc_us < policy->fastest_us)
        policy->fastest_us = call->rpc_us;
    double slope = slope_of(window, n);
    double room_us = (double)attainable_us(policy) - height_of(window, n, (float)slope);
    double most = room_us <= 0 ? 1 : slope > 0 ? room_us / slope : policy->max_rows;
    double tried =
        call->rows < call->limit ? policy->limit : policy->limit + GROWTH_ROWS; /* only that is known */
    most = most < tried ? most : tried;
    policy->limit = most < 1 ? 1 : most > policy->max_rows ? policy->max_rows : (uint32_t)most;
}

/* --- adaptive --- */

static uint32_t between(double rows, double least, double most)
{
    rows = rows > least ? rows : least;
    rows = rows < most ? rows : most; /* most may be less than least, and then counts */
    return rows >= UINT32_MAX ? UINT32_MAX : rows > 1 ? (uint32_t)rows : 1;
}

static void adaptive_observe(struct batch_policy *policy, const struct batch_observation *call)
{
    policy->largest_rows *= LARGEST_FADING;
    if (call->rows > policy->largest_rows)
        policy->largest_rows = call->rows;
}

/*
 * Rows whose call takes half of the objective; or, where one row alone takes more than a quarter of it, twice
 * that row's time: a model whose every call is slow would else lose its throughput as well.
 */
static uint32_t adaptive_most(const struct batch_policy *policy, double slowness)
{
    if (!policy->slo_us)
        return policy->max_rows;
    double half_us = (double)(policy->slo_us - batch_policy_margin_us(policy)) / 2 / slowness;
    double least_us = 2 * latency_likely_us(&policy->latency, 1);
    return between(latency_rows_within(&policy->latency, half_us > least_us ? half_us : least_us), 1,
                   policy->max_rows);
}

/* Rows that arrive at each server during a call of so many, and some more. */
static double adaptive_keeps_up(const struct batch_policy *policy, const struct batch_scene *scene)
{
    double rate = batch_policy_rate(policy, PRIORITY_COUNT, scene->now_us) / scene->servers;
    double idle = 1 - rate * policy->latency.row_us;
    return idle > 0 ? CATCH_UP * rate * policy->latency.fixed_us / idle : UINT32_MAX;
}

static uint32_t adaptive_limit(const struct batch_policy *policy, const struct batch_scene *scene)
{
    uint64_t before_us = scene->start_us + batch_policy_margin_us(policy);
    double left_us = scene->deadline_us > before_us ? (double)(scene->deadline_us - before_us) : 0;
    double rows = between(latency_rows_within(&policy->latency, left_us / scene->slowness),
                          adaptive_keeps_up(policy, scene), adaptive_most(policy, scene->slowness));
    return between(rows, 1, GROWTH_FACTOR * policy->largest_rows);
}

/*
 * A row is not held back for longer than four of the longest calls that are sent now: what goes on at the
 * replicas then is nothing that was learned. They may be stuck with one call and still take another, for all
 * that is known. What they do after a call was given up is known: another call, sent all the same, would be
 * given up behind it, and the next one behind both.
 */
static uint64_t adaptive_busy_until(const struct batch_policy *policy, const struct batch_scene *scene)
{
    if (latency_typical_us(&policy->latency, 1) <= 0) /* nothing is known */
        return 0;
    uint32_t most = adaptive_most(policy, 1), rows = scene->rows < most ? scene->rows : most;
    uint64_t early_us = TRAVEL_US + (uint64_t)latency_typical_us(&policy->latency, rows) / EARLY_SHARE;
    uint64_t until_us = scene->start_us > early_us ? scene->start_us - early_us : 0;
    uint32_t longest = between(most, 1, GROWTH_FACTOR * policy->largest_rows);
    uint64_t since_us = scene->oldest_us > scene->given_up_us ? scene->oldest_us : scene->given_up_us;
    uint64_t patience_us = since_us + 4 * (uint64_t)latency_likely_us(&policy->latency, longest);
    return until_us < patience_us ? until_us : patience_us;
}

static uint64_t last_arrival_us(const struct batch_policy *policy)
{
    uint64_t last_us = 0;
    for (int priority = 0; priority < PRIORITY_COUNT; priority++)
        if (policy->arrivals[priority].last_us > last_us)
            last_us = policy->arrivals[priority].last_us;
    return last_us;
}

static uint64_t adaptive_hold_until(const struct batch_policy *policy, const struct batch_scene *scene)
{
    const struct latency *latency = &policy->latency;
    double rate = batch_policy_rate(policy, PRIORITY_COUNT, scene->now_us);
    if (!policy->max_delay_us || !latency_is_known(latency) || rate <= 0)
        return 0;
    double gap_us = 1 / rate;
    if ((scene->rows + 1) * gap_us + scene->rows * latency->row_us >= latency->fixed_us)
        return 0;
    uint64_t next_us = last_arrival_us(policy) + 2 * (uint64_t)gap_us;
    uint64_t at_most_us = scene->oldest_us + policy->max_delay_us;
    return next_us < at_most_us ? next_us : at_most_us;
}
