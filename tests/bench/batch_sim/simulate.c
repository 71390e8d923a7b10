/* simulate: rows arrive, wait, are sent, come back; who was in time is counted. */
#include "simulate.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "dice.h"
#include "infer/pace.h"
#include "replica/busy.h"

enum { CALLS = 2 };
#define NEVER UINT64_MAX

const struct policy policies[POLICIES] = {
    {"none", BATCHING_NONE, false},         {"fixed", BATCHING_FIXED, false},
    {"aimd", BATCHING_AIMD, false},         {"quantile", BATCHING_QUANTILE, false},
    {"adaptive", BATCHING_ADAPTIVE, false}, {"oracle", BATCHING_ADAPTIVE, true}};

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
    uint32_t turn; /* where those that are alike are begun to be looked at */
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

/* As choice_slowness(). */
static double slowness_of(const struct sim *sim, uint32_t replica)
{
    const struct workload *load = sim->load;
    double sum = 0;
    if (sim->is_oracle)
        return load->speed[replica] * mean_speed(load);
    for (uint32_t i = 0; i < load->replicas; i++)
        sum += busy_slowness(&sim->replicas[i].busy);
    return busy_slowness(&sim->replicas[replica].busy) * load->replicas / sum;
}

static struct busy_outlook replicas_of(const struct sim *sim)
{
    struct busy_outlook replicas = {
        .ready = sim->load->replicas, .max_rows = UINT32_MAX, .start_us = NEVER, .slowness = 1};
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

static bool has_slot(const struct sim *sim, uint32_t replica)
{
    uint32_t calls = sim->replicas[replica].busy.calls;
    return calls < (pace_needs_idle(&sim->pace) ? 1 : CALLS);
}

static bool any_slot(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->load->replicas; i++)
        if (has_slot(sim, i))
            return true;
    return false;
}

/* When it should be done with a call of so much. */
static uint64_t expected_done_us(const struct sim *sim, uint32_t replica, uint64_t expected_us)
{
    double slowness =
        sim->is_oracle ? slowness_of(sim, replica) : busy_slowness(&sim->replicas[replica].busy);
    return expected_free_us(sim, replica) + (uint64_t)((double)expected_us * slowness);
}

/* As the pool (replica/choice.c): of those with a free slot, the one that is expected to be done first. */
static uint32_t choose(const struct sim *sim, uint64_t expected_us)
{
    uint64_t least_us = NEVER, alike_us = expected_us / 4;
    for (uint32_t i = 0; i < sim->load->replicas; i++)
        if (has_slot(sim, i) && expected_done_us(sim, i, expected_us) < least_us)
            least_us = expected_done_us(sim, i, expected_us);
    for (uint32_t i = 0;; i++) {
        uint32_t at = (sim->turn + i) % sim->load->replicas;
        if (has_slot(sim, at) && expected_done_us(sim, at, expected_us) <= least_us + alike_us)
            return at;
    }
}

static void send_batch(struct sim *sim, uint32_t limit)
{
    const struct workload *load = sim->load;
    struct sim_call *call = sim->spare_calls;
    if (call)
        sim->spare_calls = call->next;
    else {
        call = malloc(sizeof *call);
        call->pieces = malloc(1024 * sizeof *call->pieces);
    }
    *call = (struct sim_call){.pieces = call->pieces, .limit = limit, .sent_us = sim->now_us};
    call->n_pieces = batch_take(sim->pace.queue, limit, call->pieces, 1024, &call->rows);
    call->expected_us = pace_expected_us(&sim->pace, call->rows);
    call->replica = choose(sim, call->expected_us);
    sim->turn = call->replica + 1;
    struct sim_replica *replica = &sim->replicas[call->replica];
    double there_us = sim->now_us + uniform(&sim->service_dice, 1, 2) * TRAVEL_US;
    double start_us = fmax(there_us, replica->free_us);
    replica->free_us =
        through_pauses(load, call->replica, start_us, service_us(sim, call->replica, call->rows));
    call->back_us = replica->free_us + uniform(&sim->service_dice, 1, 2) * TRAVEL_US;
    busy_sent(&replica->busy, call->expected_us, (uint64_t)sim->now_us);
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
    while (any_slot(sim)) {
        enum batch_reason reason;
        uint32_t limit;
        const struct busy_outlook replicas = replicas_of(sim);
        if (!pace_next(&sim->pace, &replicas, now_us, &limit, &reason, &wake_us))
            break;
        send_batch(sim, limit);
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
    uint32_t late_rows = 0;
    for (uint32_t i = 0; i < call->n_pieces; i++)
        if (pace_is_misjudged(&sim->pace, call->pieces[i].entry, (uint64_t)sim->now_us))
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

void simulate(const struct workload *load, const struct policy *policy, struct score *score)
{
    struct sim sim = {.load = load,
                      .is_oracle = policy->is_oracle,
                      .score = score,
                      .wake_us = INFINITY,
                      .arrivals_dice = load->seed,
                      .service_dice = ~load->seed,
                      .shape_dice = load->seed * 3};
    const struct config_batching batching = {.policy = policy->policy,
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
