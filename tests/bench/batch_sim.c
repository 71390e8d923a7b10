/*
 * batch_sim: the gateway's own batching (infer/pace and what it is made of) in virtual time, over generated
 * workloads.
 *
 *   batch_sim [--workloads N] [--seed S] [--family NAME] [--each] [--check]
 *   batch_sim --changes [--workloads N] [--seed S] [--check]      how soon a change of the model's speed is
 * followed
 *
 * A workload is a model (what a call of n rows takes: a + b*n, noise, pauses, drift, changes of speed), 1 to
 * 8 replicas, one or more objectives, a process of arrivals, and a load: a share of the peak. The peak is the
 * most rows a second that the replicas can answer in time if rows come evenly: whose call takes half of the
 * objective at its 98th percentile, at the slowest speed of the workload, pauses taken off. The load is that
 * of the busiest phase.
 *
 * The oracle decides as adaptive does, but is told the line, the noise, the speed of this moment and when
 * each call will be back. It shows what learning costs. It is no upper bound: it does not know which rows
 * will come.
 *
 * Everything follows from the seed. --check asserts what docs/batching.md promises, and exits 1 if it does
 * not hold.
 */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/pace.h"
#include "replica/busy.h"

enum { REPLICAS_MAX = 8, CALLS = 2, PAUSES_MAX = 256, CLASSES_MAX = 3, LATENCY_BINS = 400, WINDOWS = 100 };

#define SECOND    1000000.0
#define WARM_UP   (1 * SECOND) /* not counted: what every policy needs to learn the model from nothing */
#define TRAVEL_US 60.0         /* one way between gateway and replica, at least; as much again at random */
#define OTHER_US  100.0        /* reading and replying */
#define NEVER     UINT64_MAX

/* --changes: when the model is slower, and the width of the windows in which is counted who was in time. */
#define SLOW_FROM  (3 * SECOND)
#define SLOW_UNTIL (6 * SECOND)
#define CHANGE_END (9 * SECOND)
#define WINDOW     (0.1 * SECOND)

/* --- workloads --- */

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

static const struct {
    const char *name, *what;
    bool is_overload;
} families[FAMILY_COUNT] = {
    [STEADY] = {"steady", "Poisson", false},
    [BURSTY] = {"bursty", "MMPP: bursts of 20 to 200 ms at the load, a tenth of it between", false},
    [DIURNAL] = {"diurnal", "a sine between a tenth of the load and all of it", false},
    [STEP] = {"step", "0.2, 1, 0.5 and 1 of the load", false},
    [HETEROGENEOUS] = {"heterogeneous", "replicas whose speeds differ up to threefold", false},
    [PAUSES] = {"pauses", "replicas stop for a tenth to a half of the objective, every two seconds or so",
                false},
    [DRIFT] = {"drift", "slows down to 1.8 of its time, and comes back", false},
    [HEAVY_TAIL] = {"heavy tail", "noise with a Pareto tail", false},
    [SLOWER] = {"slower", "twice as slow from one call to the next, for a while", false},
    [MIXED] = {"mixed", "three objectives, requests of 1 to 8 rows", false},
    [FLASH] = {"flash", "bursts of 1.5 to 3 times the peak, for 100 to 400 ms a second", true},
    [TWICE] = {"2x", "twice the peak", true},
    [TENFOLD] = {"10x", "ten times the peak", true},
};

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

static uint64_t random_bits(uint64_t *state) /* splitmix64 */
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static double uniform(uint64_t *state, double low, double high)
{
    return low + (high - low) * ((double)(random_bits(state) >> 11) + 0.5) * 0x1p-53;
}

static double log_uniform(uint64_t *state, double low, double high)
{
    return exp(uniform(state, log(low), log(high)));
}

static double exponential(uint64_t *state, double mean)
{
    return -mean * log(uniform(state, 0, 1));
}

static double normal(uint64_t *state)
{
    return sqrt(-2 * log(uniform(state, 0, 1))) * cos(2 * M_PI * uniform(state, 0, 1));
}

/* How much longer than usual calls take at a time, whatever the replica. */
static double slowness(const struct workload *load, double now_us)
{
    double at = now_us / load->duration_us;
    if (load->family == DRIFT)
        return 1 + 0.8 * sin(M_PI * at) * sin(M_PI * at);
    if (load->family == CHANGE)
        return now_us >= SLOW_FROM && now_us < SLOW_UNTIL ? load->change : 1;
    if (load->family == SLOWER)
        return (at > 0.35 && at < 0.6) || at > 0.85 ? 2 : 1;
    return 1;
}

static double likely_noise(const struct workload *load)
{
    return exp(2.054 * load->sigma) * (load->tail > 0 ? 1.3 : 1);
}

static double peak_of(const struct workload *load)
{
    double rows = ((load->slo_us[0] - OTHER_US - 3 * TRAVEL_US) / 2 / likely_noise(load) / load->slowest -
                   load->fixed_us) /
                  load->row_us;
    rows = rows < 1 ? 1 : rows > load->max_rows ? load->max_rows : floor(rows);
    double mean_us = (load->fixed_us + load->row_us * rows) * load->slowest *
                     exp(load->sigma * load->sigma / 2) * (1 + 1.2 * load->tail);
    double peak = 0;
    for (uint32_t i = 0; i < load->replicas; i++)
        peak += rows / (mean_us * load->speed[i]);
    return peak * (load->family == PAUSES ? 0.88 : 1);
}

static void make_pauses(struct workload *load, uint64_t *dice)
{
    for (uint32_t i = 0; i < load->replicas; i++)
        for (double at = WARM_UP; load->n_pauses[i] < PAUSES_MAX; load->n_pauses[i]++) {
            at += exponential(dice, 2 * SECOND) + load->slo_us[0];
            load->pauses[i][load->n_pauses[i]] =
                (struct pause){at, uniform(dice, 0.1, 0.5) * load->slo_us[0]};
        }
}

static double draw_load(enum family family, uint64_t *dice)
{
    if (family == TWICE || family == TENFOLD)
        return family == TWICE ? 2 : 10;
    if (family == FLASH)
        return uniform(dice, 1.5, 3);
    static const double loads[] = {0.3, 0.5, 0.7, 0.8, 0.9, 0.9};
    return loads[random_bits(dice) % (sizeof loads / sizeof *loads)];
}

static void draw(struct workload *load, enum family family, uint64_t seed)
{
    static const double slos[] = {10e3, 20e3, 50e3, 100e3, 200e3};
    static const uint32_t replicas[] = {1, 1, 2, 4, 8}, max_rows[] = {64, 256, 1024};
    uint64_t dice = seed;
    do {
        *load = (struct workload){
            .family = family, .seed = random_bits(&dice), .request_rows = 1, .n_slos = 1, .slowest = 1};
        load->slo_us[0] = slos[random_bits(&dice) % 5];
        load->fixed_us = log_uniform(&dice, 0.01, 0.15) * load->slo_us[0];
        load->row_us = log_uniform(&dice, 0.0005, 0.03) * load->slo_us[0];
        load->sigma = uniform(&dice, 0.02, 0.2);
        load->tail = family == HEAVY_TAIL ? uniform(&dice, 0.002, 0.01) : 0;
        load->replicas = replicas[random_bits(&dice) % 5];
        load->max_rows = max_rows[random_bits(&dice) % 3];
        if (family == HETEROGENEOUS && load->replicas == 1)
            load->replicas = 4;
        for (uint32_t i = 0; i < load->replicas; i++)
            load->speed[i] = family == HETEROGENEOUS ? log_uniform(&dice, 0.6, 1.8) : 1;
        load->slowest = family == DRIFT ? 1.8 : family == SLOWER ? 2 : 1;
        if (family == MIXED) {
            load->n_slos = 3;
            load->slo_us[1] = 3 * load->slo_us[0];
            load->slo_us[2] = 10 * load->slo_us[0];
            load->request_rows = 8;
        }
        load->load = draw_load(family, &dice);
        load->peak = peak_of(load);
        double rows = load->peak * load->load * SECOND;
        load->duration_us = WARM_UP + fmin(10, fmax(2, 40e3 / rows)) * SECOND;
    } while (load->peak * load->load * load->duration_us > 400e3);
    if (family == PAUSES)
        make_pauses(load, &dice);
}

/* --- the simulation --- */

struct sim_job {
    struct batch_entry entry;
    double arrived_us;
    uint32_t open; /* rows neither answered nor given up */
    struct sim_job *next;
};

struct sim_call {
    struct batch_piece *pieces;
    uint32_t n_pieces, rows, limit, replica;
    double sent_us, back_us;
    uint64_t expected_us;
    struct sim_call *next;
};

struct sim_replica {
    double free_us;   /* in truth */
    struct busy busy; /* as the gateway thinks */
    uint32_t rows;
};

struct score {
    uint64_t offered, in_time, late, refused, batches, batched_rows;
    uint64_t latency[LATENCY_BINS + 1];    /* of answered rows, in hundredths of their objective */
    uint64_t came[WINDOWS], kept[WINDOWS]; /* rows by when they came; of them, those in time */
    double us;
};

struct sim {
    const struct workload *load;
    bool is_oracle;
    struct pace pace;
    uint64_t arrivals_dice, service_dice, shape_dice;
    double now_us, wake_us, next_us;
    bool in_burst;
    double phase_ends_us;
    struct sim_replica replicas[REPLICAS_MAX];
    struct sim_call *calls, *spare_calls;
    struct sim_job *spare_jobs;
    struct score *score;
};

static bool counts(const struct sim *sim, const struct sim_job *job)
{
    return job->arrived_us >= WARM_UP && job->arrived_us < sim->load->duration_us - sim->load->slo_us[0];
}

static struct sim_job *job_of(struct batch_entry *entry)
{
    return (struct sim_job *)(void *)((char *)entry - offsetof(struct sim_job, entry));
}

static uint32_t window_of(const struct sim_job *job)
{
    double window = job->arrived_us / WINDOW;
    return window < WINDOWS ? (uint32_t)window : WINDOWS - 1;
}

static void job_close(struct sim *sim, struct sim_job *job, uint32_t rows)
{
    job->open -= rows;
    if (job->open)
        return;
    job->next = sim->spare_jobs;
    sim->spare_jobs = job;
}

static void job_give_up(struct sim *sim, struct sim_job *job, uint64_t *counter)
{
    uint32_t rows = job->entry.n_rows - job->entry.taken;
    if (counts(sim, job))
        *counter += rows;
    job_close(sim, job, rows);
}

/* Calls a time, of all replicas, of as many that were like the first. */
static double mean_speed(const struct workload *load)
{
    double speed = 0;
    for (uint32_t i = 0; i < load->replicas; i++)
        speed += 1 / load->speed[i] / load->replicas;
    return speed;
}

/* What the oracle is told. */
static void reveal(struct sim *sim)
{
    const struct workload *load = sim->load;
    double slow = slowness(load, sim->now_us), speed = mean_speed(load);
    if (!sim->is_oracle)
        return;
    sim->pace.policy.latency = (struct latency){.weight = 64,
                                                .rows = 1,
                                                .rows_rows = 1,
                                                .us = 1,
                                                .rows_us = 1,
                                                .fixed_us = 2 * TRAVEL_US + load->fixed_us * slow / speed,
                                                .row_us = load->row_us * slow / speed,
                                                .noise = likely_noise(load)};
    sim->pace.policy.largest_rows = load->max_rows;
}

/* Arrivals: the rate of now, relative to the busiest. */
static double shape(struct sim *sim)
{
    const struct workload *load = sim->load;
    double at = sim->now_us / load->duration_us;
    switch (load->family) {
    case BURSTY:
    case FLASH:
        while (sim->now_us >= sim->phase_ends_us) {
            bool flash = load->family == FLASH;
            sim->in_burst = !sim->in_burst;
            sim->phase_ends_us += sim->in_burst
                                      ? (flash ? uniform(&sim->shape_dice, 0.1, 0.4) * SECOND
                                               : log_uniform(&sim->shape_dice, 0.02, 0.2) * SECOND)
                                      : (flash ? 0.75 * SECOND : exponential(&sim->shape_dice, 0.1 * SECOND));
        }
        return sim->in_burst ? 1 : load->family == FLASH ? 0.5 / load->load : 0.1;
    case DIURNAL:
        return 0.55 - 0.45 * cos(4 * M_PI * at);
    case STEP:
        return at < 0.3 ? 0.2 : at < 0.55 ? 1 : at < 0.75 ? 0.5 : 1;
    default:
        return 1;
    }
}

/* Thinning: candidates at the busiest rate, kept in proportion to the shape. */
static void next_arrival(struct sim *sim)
{
    const struct workload *load = sim->load;
    double mean_rows = (load->request_rows + 1) / 2.0, rate = load->peak * load->load / mean_rows;
    double now_us = sim->now_us;
    do
        sim->now_us = sim->next_us += exponential(&sim->arrivals_dice, 1 / rate);
    while (sim->next_us < load->duration_us && uniform(&sim->arrivals_dice, 0, 1) > shape(sim));
    sim->now_us = now_us;
}

static uint64_t expected_free_us(const struct sim *sim, uint32_t replica)
{
    const struct sim_replica *each = &sim->replicas[replica];
    uint64_t now_us = (uint64_t)sim->now_us;
    if (sim->is_oracle)
        return each->free_us > sim->now_us ? (uint64_t)each->free_us : now_us;
    return busy_until_us(&each->busy, now_us);
}

static double slowness_of(const struct sim *sim, uint32_t replica)
{
    const struct workload *load = sim->load;
    return sim->is_oracle ? load->speed[replica] * mean_speed(load)
                          : busy_slowness(&sim->replicas[replica].busy);
}

static struct busy_outlook replicas_of(const struct sim *sim)
{
    struct busy_outlook replicas = {sim->load->replicas, UINT32_MAX, NEVER, 1};
    for (uint32_t i = 0; i < sim->load->replicas; i++) {
        uint64_t free_us = expected_free_us(sim, i);
        if (free_us >= replicas.start_us)
            continue;
        replicas.start_us = free_us;
        replicas.slowness = slowness_of(sim, i);
    }
    return replicas;
}

static void arrive(struct sim *sim)
{
    const struct workload *load = sim->load;
    struct sim_job *job = sim->spare_jobs ? sim->spare_jobs : malloc(sizeof *job);
    sim->spare_jobs = job == sim->spare_jobs ? job->next : sim->spare_jobs;
    uint32_t which = (uint32_t)(random_bits(&sim->arrivals_dice) % load->n_slos);
    *job = (struct sim_job){.arrived_us = sim->now_us};
    job->entry.n_rows = 1 + (uint32_t)(random_bits(&sim->arrivals_dice) % load->request_rows);
    job->entry.deadline_us = (uint64_t)(sim->now_us + load->slo_us[which]);
    job->entry.priority = PRIORITY_NORMAL;
    job->entry.weight = 1;
    job->open = job->entry.n_rows;
    if (counts(sim, job)) {
        sim->score->offered += job->open;
        sim->score->came[window_of(job)] += job->open;
    }
    struct pace_verdict verdict;
    const struct busy_outlook replicas = replicas_of(sim);
    enum gw_status status = pace_arrive(&sim->pace, &job->entry, &replicas, (uint64_t)sim->now_us, &verdict);
    for (uint32_t i = 0; i < verdict.n_yielding; i++)
        job_give_up(sim, job_of(verdict.yielding[i]), &sim->score->refused);
    if (status != GW_OK)
        job_give_up(sim, job, &sim->score->refused);
}

/* When work that starts at a time and takes so long is done, pauses included. */
static double through_pauses(const struct workload *load, uint32_t replica, double start_us, double us)
{
    double end_us = start_us + us;
    for (uint32_t i = 0; i < load->n_pauses[replica]; i++) {
        const struct pause *pause = &load->pauses[replica][i];
        if (pause->at_us >= end_us)
            break;
        if (pause->at_us >= start_us)
            end_us += pause->us;
        else if (pause->at_us + pause->us > start_us)
            end_us += pause->at_us + pause->us - start_us;
    }
    return end_us;
}

static double service_us(struct sim *sim, uint32_t replica, uint32_t rows)
{
    const struct workload *load = sim->load;
    double us = (load->fixed_us + load->row_us * rows) * load->speed[replica] * slowness(load, sim->now_us) *
                exp(load->sigma * normal(&sim->service_dice));
    bool in_tail = uniform(&sim->service_dice, 0, 1) < load->tail;
    double pareto = pow(uniform(&sim->service_dice, 0, 1), -1 / 1.5);
    return in_tail ? us * fmin(10, pareto) : us;
}

/* As the pool: of those with a free slot, the one that is expected to be free first; of such, with the fewest
 * rows. */
static int choose(const struct sim *sim)
{
    uint64_t best_us = NEVER;
    int best = -1;
    for (int i = 0; i < (int)sim->load->replicas; i++) {
        const struct sim_replica *each = &sim->replicas[i];
        uint64_t each_us = expected_free_us(sim, (uint32_t)i);
        if (each->busy.calls >= CALLS || (pace_needs_idle(&sim->pace) && each->busy.calls))
            continue;
        if (best < 0 || each_us < best_us || (each_us == best_us && each->rows < sim->replicas[best].rows)) {
            best = i;
            best_us = each_us;
        }
    }
    return best;
}

static void send_batch(struct sim *sim, int to, uint32_t limit)
{
    const struct workload *load = sim->load;
    struct sim_replica *replica = &sim->replicas[to];
    struct sim_call *call = sim->spare_calls;
    if (call)
        sim->spare_calls = call->next;
    else {
        call = malloc(sizeof *call);
        call->pieces = malloc(1024 * sizeof *call->pieces);
    }
    *call = (struct sim_call){
        .pieces = call->pieces, .limit = limit, .replica = (uint32_t)to, .sent_us = sim->now_us};
    call->n_pieces = batch_take(sim->pace.queue, limit, call->pieces, 1024, &call->rows);
    double there_us = sim->now_us + uniform(&sim->service_dice, 1, 2) * TRAVEL_US;
    double start_us = fmax(there_us, replica->free_us);
    replica->free_us =
        through_pauses(load, call->replica, start_us, service_us(sim, call->replica, call->rows));
    call->back_us = replica->free_us + uniform(&sim->service_dice, 1, 2) * TRAVEL_US;
    call->expected_us = pace_expected_us(&sim->pace, call->rows);
    busy_sent(&replica->busy, call->expected_us, (uint64_t)sim->now_us);
    replica->rows += call->rows;
    call->next = sim->calls;
    sim->calls = call;
    if (sim->now_us >= WARM_UP) {
        sim->score->batches++;
        sim->score->batched_rows += call->rows;
    }
}

static void pump(struct sim *sim)
{
    uint64_t now_us = (uint64_t)sim->now_us, wake_us = NEVER;
    for (struct batch_entry *entry; (entry = batch_expired(sim->pace.queue, now_us));)
        job_give_up(sim, job_of(entry), &sim->score->late);
    for (int to; (to = choose(sim)) >= 0;) {
        enum batch_reason reason;
        uint32_t limit;
        const struct busy_outlook replicas = replicas_of(sim);
        if (!pace_next(&sim->pace, &replicas, now_us, &limit, &reason, &wake_us))
            break;
        send_batch(sim, to, limit);
        wake_us = NEVER;
    }
    uint64_t due_us = batch_next_deadline(sim->pace.queue);
    wake_us = due_us < wake_us ? due_us : wake_us;
    sim->wake_us = wake_us == NEVER ? INFINITY : fmax((double)wake_us, sim->now_us + 1);
}

static void piece_answered(struct sim *sim, const struct batch_piece *piece)
{
    struct sim_job *job = job_of(piece->entry);
    double took_us = sim->now_us + OTHER_US - job->arrived_us;
    double share = took_us / (double)((double)job->entry.deadline_us - job->arrived_us);
    if (counts(sim, job)) {
        *(share <= 1 ? &sim->score->in_time : &sim->score->late) += piece->count;
        sim->score->kept[window_of(job)] += share <= 1 ? piece->count : 0;
        sim->score->latency[share * 100 < LATENCY_BINS ? (int)(share * 100) : LATENCY_BINS] += piece->count;
    }
    job_close(sim, job, piece->count);
}

static void come_back(struct sim *sim, struct sim_call **link)
{
    struct sim_call *call = *link;
    struct sim_replica *replica = &sim->replicas[call->replica];
    *link = call->next;
    const struct batch_observation observed = {
        .rows = call->rows,
        .limit = call->limit,
        .rpc_us = (uint64_t)(sim->now_us - call->sent_us),
        .slowness = slowness_of(sim, call->replica),
        .busy_us = busy_back(&replica->busy, call->expected_us, (uint64_t)sim->now_us)};
    replica->rows -= call->rows;
    uint32_t late_rows = 0;
    for (uint32_t i = 0; i < call->n_pieces; i++)
        if (pace_is_late(&sim->pace, call->pieces[i].entry->deadline_us, (uint64_t)sim->now_us))
            late_rows += call->pieces[i].count;
    pace_learn(&sim->pace, &observed, late_rows);
    reveal(sim); /* the oracle knows better than what it has just learned */
    for (uint32_t i = 0; i < call->n_pieces; i++)
        piece_answered(sim, &call->pieces[i]);
    call->next = sim->spare_calls;
    sim->spare_calls = call;
}

static struct sim_call **next_back(struct sim *sim)
{
    struct sim_call **first = &sim->calls;
    for (struct sim_call **link = &sim->calls; *link; link = &(*link)->next)
        if ((*link)->back_us < (*first)->back_us)
            first = link;
    return first;
}

static void sim_free(struct sim *sim)
{
    for (struct batch_entry *entry; (entry = batch_any(sim->pace.queue));)
        free(job_of(entry));
    for (struct sim_job *job = sim->spare_jobs, *next; job; job = next) {
        next = job->next;
        free(job);
    }
    for (struct sim_call *call = sim->spare_calls, *next; call; call = next) {
        next = call->next;
        free(call->pieces);
        free(call);
    }
    pace_clear(&sim->pace);
}

static void simulate(const struct workload *load, enum batching_policy policy, bool is_oracle,
                     struct score *score)
{
    struct sim sim = {.load = load,
                      .is_oracle = is_oracle,
                      .score = score,
                      .wake_us = INFINITY,
                      .arrivals_dice = load->seed,
                      .service_dice = ~load->seed,
                      .shape_dice = load->seed * 3};
    const struct config_batching batching = {.policy = policy,
                                             .max_rows = load->max_rows,
                                             .max_queued_rows = 16384,
                                             .calls = CALLS,
                                             .admission = true};
    if (pace_init(&sim.pace, &batching, (uint64_t)load->slo_us[0], 0) != GW_OK)
        abort();
    next_arrival(&sim);
    for (;;) {
        struct sim_call **back = next_back(&sim);
        double back_us = *back ? (*back)->back_us : INFINITY;
        double arrival_us = sim.next_us < load->duration_us ? sim.next_us : INFINITY;
        sim.now_us = fmin(fmin(back_us, arrival_us), sim.wake_us);
        if (isinf(sim.now_us))
            break;
        reveal(&sim);
        if (sim.now_us == back_us)
            come_back(&sim, back);
        else if (sim.now_us == arrival_us) {
            arrive(&sim);
            next_arrival(&sim);
        }
        pump(&sim);
    }
    score->us += load->duration_us - WARM_UP - load->slo_us[0];
    sim_free(&sim);
}

/* --- the table --- */

enum { POLICIES = 6 };
static const struct {
    const char *name;
    enum batching_policy policy;
    bool is_oracle;
} policies[POLICIES] = {{"none", BATCHING_NONE, false},         {"fixed", BATCHING_FIXED, false},
                        {"aimd", BATCHING_AIMD, false},         {"quantile", BATCHING_QUANTILE, false},
                        {"adaptive", BATCHING_ADAPTIVE, false}, {"oracle", BATCHING_ADAPTIVE, true}};
enum { FIXED = 1, AIMD = 2, ADAPTIVE = 4, ORACLE = 5 };

/* Of one family and policy. */
struct summary {
    uint32_t workloads, kept;            /* kept: with at least 99 % in time */
    double attainment, least_attainment; /* rows in time of rows offered: mean, and of the worst workload */
    double goodput;                      /* rows in time a second, of the peak: mean */
    double least_goodput;
    double admitted; /* rows in time of those not refused: mean */
    double p99;      /* latency of answered rows, of the objective: mean */
    double batch;
};

static double quantile_of(const struct score *score, double q)
{
    uint64_t all = 0, below = 0;
    for (int i = 0; i <= LATENCY_BINS; i++)
        all += score->latency[i];
    for (int i = 0; i <= LATENCY_BINS; i++)
        if ((double)(below += score->latency[i]) >= q * (double)all)
            return (i + 1) / 100.0;
    return 0;
}

static void sum_up(struct summary *sum, const struct workload *load, const struct score *score)
{
    double attainment = score->offered ? (double)score->in_time / (double)score->offered : 1;
    double goodput = (double)score->in_time / score->us / load->peak;
    uint64_t kept = score->in_time + score->late;
    sum->least_attainment =
        sum->workloads && sum->least_attainment < attainment ? sum->least_attainment : attainment;
    sum->least_goodput = sum->workloads && sum->least_goodput < goodput ? sum->least_goodput : goodput;
    sum->workloads++;
    sum->kept += attainment >= 0.99;
    sum->attainment += attainment;
    sum->goodput += goodput;
    sum->admitted += kept ? (double)score->in_time / (double)kept : 1;
    sum->p99 += quantile_of(score, 0.99);
    sum->batch += score->batches ? (double)score->batched_rows / (double)score->batches : 0;
}

static void print_family(enum family family, const struct summary *sums)
{
    double n = sums[0].workloads;
    if (!sums[0].workloads)
        return;
    printf("\n%s: %s; %u workloads\n", families[family].name, families[family].what, sums[0].workloads);
    printf("  %-9s %9s %9s %9s %9s %9s %9s %9s %9s %7s\n", "policy", "attained", "worst", "99 %", "of oracle",
           "of peak", "worst", "admitted", "p99/SLO", "batch");
    for (int i = 0; i < POLICIES; i++) {
        const struct summary *sum = &sums[i];
        printf("  %-9s %8.2f%% %8.2f%% %8.0f%% %9.3f %9.3f %9.3f %8.2f%% %9.2f %7.1f\n", policies[i].name,
               100 * sum->attainment / n, 100 * sum->least_attainment, 100 * sum->kept / n,
               sum->goodput / sums[ORACLE].goodput, sum->goodput / n, sum->least_goodput,
               100 * sum->admitted / n, sum->p99 / n, sum->batch / n);
    }
}

static int failures;
static void expect(bool holds, const char *what, enum family family, double got)
{
    if (holds)
        return;
    printf("NOT: %s: %s (%.4f)\n", families[family].name, what, got);
    failures++;
}

static void check_family(enum family family, const struct summary *sums)
{
    double n = sums[0].workloads;
    const struct summary *ours = &sums[ADAPTIVE];
    if (!families[family].is_overload)
        expect(ours->attainment / n >= 0.99, "adaptive keeps 99 % up to 90 % of peak", family,
               ours->attainment / n);
    if (family == BURSTY || family == FLASH) {
        expect(ours->attainment >= sums[FIXED].attainment, "adaptive keeps as many as fixed", family,
               ours->attainment / n);
        expect(ours->attainment >= sums[AIMD].attainment, "adaptive keeps as many as aimd", family,
               ours->attainment / n);
    }
    if (family == TWICE || family == TENFOLD) {
        expect(ours->goodput / n >= 0.95, "goodput of 95 % of peak", family, ours->goodput / n);
        expect(ours->p99 / n <= 1, "p99 of admitted rows within the objective", family, ours->p99 / n);
    }
}

/* --- families, in turns --- */

struct options {
    uint64_t workloads, seed;
    const char *only;
    bool check, each, changes;
};

static void print_workload(const struct workload *load, uint64_t number)
{
    printf("%s %" PRIu64 ": slo %.0f a %.0f b %.1f sigma %.2f max %u replicas %u load %.2f peak %.0f/s:",
           families[load->family].name, number, load->slo_us[0], load->fixed_us, load->row_us, load->sigma,
           load->max_rows, load->replicas, load->load, load->peak * SECOND);
}

static void try_all(const struct workload *load, struct summary *sums, bool each)
{
    for (int p = 0; p < POLICIES; p++) {
        struct score score = {0};
        simulate(load, policies[p].policy, policies[p].is_oracle, &score);
        sum_up(&sums[p], load, &score);
        if (each)
            printf(" %s %.4f/%.3f", policies[p].name, (double)score.in_time / (double)score.offered,
                   (double)score.in_time / score.us / load->peak);
    }
    if (each)
        puts("");
}

/* The families that are not asked for more than the peak, as one. */
static void print_total(struct summary sums[FAMILY_COUNT][POLICIES])
{
    printf("\nall up to 0.9 of the peak\n  %-9s %9s %9s %9s\n", "policy", "attained", "worst", "99 %");
    for (int p = 0; p < POLICIES; p++) {
        struct summary total = {.least_attainment = 1};
        for (int family = 0; family < FAMILY_COUNT; family++) {
            const struct summary *sum = &sums[family][p];
            if (families[family].is_overload || !sum->workloads)
                continue;
            total.workloads += sum->workloads;
            total.kept += sum->kept;
            total.attainment += sum->attainment;
            total.least_attainment = fmin(total.least_attainment, sum->least_attainment);
        }
        if (total.workloads)
            printf("  %-9s %8.2f%% %8.2f%% %4u of %u\n", policies[p].name,
                   100 * total.attainment / total.workloads, 100 * total.least_attainment, total.kept,
                   total.workloads);
    }
}

static void compare_policies(const struct options *options)
{
    static struct summary sums[FAMILY_COUNT][POLICIES];
    static struct workload load;
    for (uint64_t i = 0; i < options->workloads; i++) {
        enum family family = (enum family)(i % FAMILY_COUNT);
        if (options->only && strcmp(options->only, families[family].name) != 0)
            continue;
        draw(&load, family, options->seed * 1000003 + i);
        if (options->each)
            print_workload(&load, i);
        try_all(&load, sums[family], options->each);
    }
    for (int family = 0; family < FAMILY_COUNT; family++) {
        print_family((enum family)family, sums[family]);
        if (options->check && sums[family][0].workloads)
            check_family((enum family)family, sums[family]);
    }
    print_total(sums);
}

/* --- changes of speed --- */

/* Until when, after `from`, windows were seen in which less than 95 % were in time; in seconds. */
static double settled_s(const struct score *score, double from_us, double until_us)
{
    int first = (int)(from_us / WINDOW), last = (int)(until_us / WINDOW) - 1;
    while (last >= first && (double)score->kept[last] >= 0.95 * (double)score->came[last])
        last--;
    return (last + 1 - first) * WINDOW / SECOND;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_settled(const char *what, double *seconds, uint64_t n)
{
    qsort(seconds, n, sizeof *seconds, by_size);
    printf("    %-22s %5.1f %5.1f %5.1f %5.1f\n", what, seconds[n / 2], seconds[n * 9 / 10],
           seconds[n * 99 / 100], seconds[n - 1]);
}

/* Steady at 0.7 of what the model can while it is slow, so that all could be in time, before and after. */
static void follow_change(const struct options *options, double change, enum batching_policy policy,
                          bool is_oracle, double *slower, double *faster)
{
    static struct workload load;
    uint64_t seed = options->seed * 1000003;
    for (uint64_t n = 0; n < options->workloads; seed++) {
        draw(&load, STEADY, seed);
        load.family = CHANGE;
        load.change = load.slowest = change;
        load.load = 0.7;
        load.peak = peak_of(&load);
        load.duration_us = CHANGE_END + load.slo_us[0];
        double rows = load.peak * load.load * load.duration_us;
        bool is_possible = load.row_us + load.fixed_us < 0.4 * load.slo_us[0] / likely_noise(&load) / change;
        if (!is_possible || rows > 400e3 || load.peak * load.load * WINDOW < 20)
            continue;
        struct score score = {0};
        simulate(&load, policy, is_oracle, &score);
        slower[n] = settled_s(&score, SLOW_FROM, SLOW_UNTIL);
        faster[n++] = settled_s(&score, SLOW_UNTIL, CHANGE_END);
    }
}

static void measure_changes(const struct options *options)
{
    static const double changes[] = {1.5, 2, 3};
    double *slower = calloc(options->workloads, sizeof *slower);
    double *faster = calloc(options->workloads, sizeof *faster);
    for (size_t i = 0; slower && faster && i < sizeof changes / sizeof *changes; i++) {
        printf("\n%.1f times as slow for 3 s: seconds until 95 %% are in time and stay so\n", changes[i]);
        printf("    %-22s %5s %5s %5s %5s\n", "", "p50", "p90", "p99", "most");
        for (int p = FIXED; p < POLICIES; p++) {
            char what[32];
            follow_change(options, changes[i], policies[p].policy, policies[p].is_oracle, slower, faster);
            snprintf(what, sizeof what, "%s, slower", policies[p].name);
            print_settled(what, slower, options->workloads);
            snprintf(what, sizeof what, "%s, as before", policies[p].name);
            print_settled(what, faster, options->workloads);
            if (options->check && p == ADAPTIVE && changes[i] <= 2) {
                uint64_t at = options->workloads * 9 / 10;
                expect(slower[at] <= 1, "a slower model is followed within a second", STEADY, slower[at]);
                expect(faster[at] <= 1, "a model that recovers is, too", STEADY, faster[at]);
            }
        }
    }
    free(slower);
    free(faster);
}

/* --- the command --- */

static void usage(void)
{
    puts("usage: batch_sim [--workloads N] [--seed S] [--family NAME] [--each] [--check]\n"
         "       batch_sim --changes [--workloads N] [--seed S] [--check]");
    exit(2);
}

static uint64_t number_of(const char *text)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 10);
    if (*end || !number)
        usage();
    return number;
}

static struct options read_options(int argc, char **argv)
{
    struct options options = {.workloads = 1000, .seed = 1};
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--check"))
            options.check = true;
        else if (!strcmp(argv[i], "--each"))
            options.each = true;
        else if (!strcmp(argv[i], "--changes"))
            options.changes = true;
        else if (!strcmp(argv[i], "--workloads") && more)
            options.workloads = number_of(argv[++i]);
        else if (!strcmp(argv[i], "--seed") && more)
            options.seed = number_of(argv[++i]);
        else if (!strcmp(argv[i], "--family") && more)
            options.only = argv[++i];
        else
            usage();
    }
    return options;
}

int main(int argc, char **argv)
{
    const struct options options = read_options(argc, argv);
    printf("%" PRIu64 " workloads, seed %" PRIu64 "\n", options.workloads, options.seed);
    if (options.changes)
        measure_changes(&options);
    else
        compare_policies(&options);
    return failures ? 1 : 0;
}
