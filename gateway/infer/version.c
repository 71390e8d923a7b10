/* version: jobs arrive and are called back; batches are cut, sent, and come back. */
#include "infer/version.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "infer/batch_run.h"
#include "infer/pace.h"
#include "infer/version_metrics.h"

enum { BACKGROUND_SHARE = 8 };

struct version {
    _Atomic uint32_t refs;
    const struct config_version *config;
    struct config *whole; /* what config lies in; one reference */
    struct loop *loop;
    struct version_metrics metrics;
    struct loop_task leave; /* to its home, to be freed there */
    struct pace pace;
    struct batch_queue *queue;      /* the pace's: rows that clients wait for */
    struct batch_queue *background; /* shadows' */
    uint32_t background_runs;       /* in flight */
    struct pool_version served;     /* what the pool knows of us */
    struct pool *pool;
    struct batch_run *runs; /* in flight */
    struct loop_task pump;
    bool pump_posted, closing;
    bool any_impatient;     /* rows that do not wait for a replica may be queued */
    struct loop_timer wake; /* when batch_decide() wants to be asked again */
    uint64_t next_id;
};

static void version_free(struct version *version);
static void version_leaves(struct loop_task *task);
static void version_pump(struct loop_task *task);
static void version_woken(struct loop_timer *timer);
static void pool_changed(void *owner);

/* Else shadows alone ask it. */
static bool version_has_clients(const struct version *version)
{
    return version->config->least_slo_us > 0;
}

/* A shadow's, at a version that is for clients. */
static bool run_is_aside(const struct batch_run *run)
{
    return run->is_background && version_has_clients(run->version);
}

/* --- set-up --- */

static struct pool *version_open_pool(struct version *version, const struct version_setup *setup)
{
    const struct config_version *config = setup->config;
    const struct config_model *model = config->model;
    version->served = (struct pool_version){
        .model = model->name,
        .version = config->name,
        .signature = &model->signature,
        .addresses = config->replicas,
        .n_addresses = config->n_replicas,
        .resolver = setup->resolver,
        .tls = model->tls.context,
        .tls_name = model->tls.server_name,
        .limits = {.calls_per_replica = model->batching.calls,
                   .attempts = model->attempts,
                   .retry_percent = model->retry_percent,
                   .hedge_percent = model->hedge_percent,
                   .discovery_interval_us = model->discovery_interval_us,
                   .health_interval_us = model->health_interval_us,
                   .health_timeout_us = model->health_timeout_us,
                   .max_message_bytes = version->whole->limits.message_bytes},
    };
    return pool_new(setup->loop, setup->rpc, setup->metrics, &version->served, pool_changed, version);
}

/* What the rows of one message may take: a sixteenth is for names, shapes, parameters and framing. */
static size_t rows_bytes_max(const struct version *version)
{
    size_t bytes = version->whole->limits.message_bytes;
    return bytes - bytes / 16;
}

struct version *version_new(const struct version_setup *setup)
{
    const struct config_batching *batching = &setup->config->model->batching;
    struct version *version = calloc(1, sizeof *version);
    if (!version)
        return NULL;
    atomic_init(&version->refs, 1);
    version->config = setup->config;
    version->whole = config_ref(setup->whole);
    version->loop = setup->loop;
    version->leave.run = version_leaves;
    version->pump.run = version_pump;
    version->wake.fire = version_woken;
    uint64_t objective_us = setup->config->least_slo_us;
    const struct batch_limits background = {.max_queued_rows = batching->max_queued_rows,
                                            .max_bytes = rows_bytes_max(version)};
    version->background = batch_queue_new(&background);
    if (pace_init(&version->pace, batching, objective_us ? objective_us : setup->config->shadow_timeout_us,
                  background.max_bytes) == GW_OK)
        version->queue = version->pace.queue;
    if (version->queue && version->background &&
        version_metrics_open(&version->metrics, setup->metrics, version->config->full_name))
        version->pool = version_open_pool(version, setup);
    if (!version->pool) {
        version_free(version);
        return NULL;
    }
    metric_set(version->metrics.batch_limit, batch_policy_most(&version->pace.policy));
    return version;
}

bool version_is_ready(const struct version *version)
{
    return pool_any_ready(version->pool);
}

bool version_digest(const struct version *version, uint64_t digest[2])
{
    return pool_digest(version->pool, digest);
}

uint64_t version_crashes(const struct version *version)
{
    return pool_crashes(version->pool);
}

struct pool *version_pool(struct version *version)
{
    return version->pool;
}

/* --- jobs come and go --- */

static void version_schedule(struct version *version)
{
    if (version->pump_posted || version->closing)
        return;
    version->pump_posted = true;
    loop_post(version->loop, &version->pump);
}

/* Where the job waits, if it does. */
static struct batch_queue *queue_of(const struct job *job)
{
    return job->background_calls ? job->version->background : job->version->queue;
}

static void version_count_queue(struct version *version)
{
    metric_set(version->metrics.background_rows, batch_queued_rows(version->background));
    metric_set(version->metrics.queue_rows, batch_queued_rows(version->queue));
}

/*
 * Lets the job in, if it can be answered in time: perhaps instead of others, which are refused then. Shadows'
 * are in nobody's way, and need no leave.
 */
static enum gw_status job_queue(struct job *job, uint64_t now_us)
{
    struct version *version = job->version;
    if (job->background_calls)
        return batch_add(version->background, &job->entry, now_us);
    struct busy_outlook outlook = pool_outlook(version->pool, now_us);
    struct pace_verdict verdict;
    enum gw_status status = pace_arrive(&version->pace, &job->entry, &outlook, now_us, &verdict);
    job->retry_us = verdict.retry_us;
    if (status == GW_E_OVERLOAD)
        metric_add(version->metrics.refused[verdict.refusal], job->entry.n_rows);
    for (uint32_t i = 0; i < verdict.n_yielding; i++) {
        metric_add(version->metrics.refused[PACE_YIELDED], verdict.yielding[i]->n_rows);
        job_end_rest(job_of(verdict.yielding[i]), GW_E_OVERLOAD);
    }
    return status;
}

static void job_arrives(struct loop_task *task)
{
    struct job *job = container_of(task, struct job, task);
    struct version *version = job->version;
    uint64_t now_us = loop_now_us();
    enum gw_status status = GW_OK;
    if (version->closing)
        status = GW_E_DRAINING;
    else if (job->entry.deadline_us <= now_us)
        status = GW_E_DEADLINE;
    else if (!job->waits && !pool_any_ready(version->pool))
        status = GW_E_NO_REPLICA;
    else
        status = job_queue(job, now_us);
    if (status != GW_OK) {
        job_end_rest(job, status);
        return;
    }
    version->any_impatient = version->any_impatient || !job->waits;
    version_count_queue(version);
    version_schedule(version); /* after the other arrivals of this turn, so that they share a batch */
}

void version_submit(struct version *version, struct job *job)
{
    job_leave(job, version);
    job->task.run = job_arrives;
    loop_post(version->loop, &job->task);
}

/* Of rows whose time is up: why. */
static enum gw_status recall_status(const struct job *job, bool no_replica)
{
    return job->recall_status == GW_E_DEADLINE && no_replica ? GW_E_NO_REPLICA : job->recall_status;
}

/* Takes a job out of every batch in flight that holds rows of it; a batch that nobody waits for is cancelled.
 */
static void version_strike_out(struct version *version, struct job *job)
{
    for (struct batch_run *run = version->runs; run && job->in_flight; run = run->next) {
        enum gw_status status = recall_status(job, pool_call_is_stranded(version->pool, &run->call));
        if (!batch_run_strike_out(run, job, status))
            pool_cancel(version->pool, &run->call);
    }
}

static void job_recalled(struct loop_task *task)
{
    struct job *job = container_of(task, struct job, recall_task);
    struct version *version = job->version;
    if (job->away) {
        job->away = false;
        batch_remove(queue_of(job), &job->entry);
        version_strike_out(version, job);
        uint32_t first = job->entry.taken;
        enum gw_status status = recall_status(job, !pool_any_ready(version->pool));
        job_end_rows(job, first, job->entry.n_rows - first, status, NULL);
        version_count_queue(version);
    }
    job_return(job);
}

void version_recall(struct job *job, enum gw_status status)
{
    job->recalled = true;
    job->recall_status = status;
    job->recall_task.run = job_recalled;
    loop_post(job->version->loop, &job->recall_task);
}

/* --- batches --- */

static void run_free(struct batch_run *run)
{
    run->version->background_runs -= run->is_background;
    batch_run_free(run);
}

/* Rows that come too late, or that were called back because they would have. */
static uint32_t run_late_rows(const struct batch_run *run, uint64_t now_us)
{
    uint32_t late = run->late_rows;
    for (uint32_t i = 0; i < run->n_pieces; i++) {
        const struct batch_piece *piece = &run->pieces[i];
        if (piece->entry && pace_is_misjudged(&run->version->pace, piece->entry, now_us))
            late += piece->count;
    }
    return late;
}

/* Clients' calls are what the pace is to know; a shadow's are small, and seldom, and would only blur it. */
static void version_learn(struct version *version, const struct batch_run *run, uint64_t rpc_us)
{
    if (run_is_aside(run))
        return;
    const struct batch_observation observed = {.rows = run->call.input.n_rows,
                                               .limit = run->limit,
                                               .rpc_us = rpc_us,
                                               .busy_us = run->call.busy_us,
                                               .slowness = run->call.slowness};
    pace_learn(&version->pace, &observed, run_late_rows(run, loop_now_us()));
    version_metrics_learned(&version->metrics, &version->pace.policy);
}

/*
 * A call was given up because all who waited for it had gone: it would have taken longer than this. Without
 * that, a model slower than every objective would never be found out, for no call of its would come back.
 */
static void version_learn_given_up(struct version *version, const struct batch_run *run,
                                   const struct gw_err *err, uint64_t rpc_us)
{
    bool given_up = err->status == GW_E_CANCELLED || err->status == GW_E_DEADLINE;
    if (given_up && rpc_us && run->call.busy_us > run->call.expected_us && !version->closing)
        version_learn(version, run, rpc_us);
}

static void run_done(struct pool_call *call, struct predict_result *result, const struct gw_err *err,
                     uint64_t rpc_us)
{
    struct batch_run *run = container_of(call, struct batch_run, call);
    struct version *version = run->version;
    if (result) {
        version_learn(version, run, rpc_us);
        batch_run_answer(run, result, rpc_us);
        predict_result_unref(result);
    } else {
        version_learn_given_up(version, run, err, rpc_us);
        batch_run_fail(run, err);
    }
    run_free(run);
    version_schedule(version);
}

/* The pieces are there: all that the replicas are to know of them. */
static void run_fill(struct batch_run *run, uint32_t rows, uint64_t now_us)
{
    struct version *version = run->version;
    for (uint32_t i = 0; i < run->n_pieces && !run->is_background; i++)
        histogram_observe(version->metrics.queue_wait, now_us - run->pieces[i].entry->queued_us);
    batch_run_fill(run, rows, ++version->next_id);
    run->call.expected_us = pace_expected_us(&version->pace, rows);
    run->call.is_untypical = run_is_aside(run);
    run->call.may_hedge = !run->is_background;
    run->call.done = run_done;
}

static void version_send(struct version *version, struct batch_queue *queue, uint32_t limit,
                         enum batch_reason reason, uint64_t now_us)
{
    uint32_t queued = batch_queued_rows(queue), rows = 0;
    uint32_t room = queued < limit ? queued : limit;
    struct batch_run *run = batch_run_new(&version->runs, room);
    if (!run) { /* the oldest job pays, and the queue moves on */
        struct batch_entry *entry = batch_any(queue);
        job_end_rest(job_of(entry), GW_E_NO_MEMORY);
        return;
    }
    run->version = version;
    run->limit = limit;
    run->is_background = queue == version->background;
    version->background_runs += run->is_background;
    run->n_pieces = batch_take(queue, limit, run->pieces, room, &rows);
    run_fill(run, rows, now_us);
    metric_add(version->metrics.batches[reason], 1);
    histogram_observe(version->metrics.batch_rows, rows);
    enum gw_status status = pool_predict(version->pool, &run->call);
    if (status != GW_OK) {
        struct gw_err err;
        if (status == GW_E_TOO_LARGE)
            gw_err_set(&err, status, "one row makes a message larger than limits.message, %zu bytes",
                       version->served.limits.max_message_bytes);
        else
            gw_err_set(&err, status, "%s", gw_status_words(status));
        batch_run_fail(run, &err);
        run_free(run);
    }
}

/* Whether a call could be sent now. */
static bool version_has_slot(const struct version *version)
{
    return pace_needs_idle(&version->pace) ? pool_any_idle(version->pool)
                                           : pool_free_slots(version->pool) > 0;
}

/* The last replica is gone: who does not wait for the next one goes home. */
static void queue_fail_impatient(struct batch_queue *queue)
{
    struct batch_entry *newer;
    for (struct batch_entry *entry = batch_oldest(queue); entry; entry = newer) {
        newer = entry->newer;
        if (job_of(entry)->waits)
            continue;
        batch_remove(queue, entry);
        job_end_rest(job_of(entry), GW_E_NO_REPLICA);
    }
}

static void version_expire(struct version *version, uint64_t now_us)
{
    enum gw_status status = pool_any_ready(version->pool) ? GW_E_DEADLINE : GW_E_NO_REPLICA;
    for (struct batch_entry *entry; (entry = batch_expired(version->queue, now_us));)
        job_end_rest(job_of(entry), status);
}

/*
 * Whether a call that nobody waits for may go: clients need neither the replica nor the slot. Another
 * version's clients may share the machine all the same; that is for who places the containers.
 */
static bool version_has_leisure(const struct version *version)
{
    const struct batch_entry *next = batch_oldest(version->background);
    if (!next || batch_queued_rows(version->queue) ||
        version->background_runs >= container_of(next, struct job, entry)->background_calls)
        return false;
    return version_has_clients(version) ? pool_any_idle(version->pool) && pool_free_slots(version->pool) > 1
                                        : version_has_slot(version);
}

static void version_pump_background(struct version *version, uint64_t now_us)
{
    while (version_has_leisure(version)) {
        struct busy_outlook outlook = pool_outlook(version->pool, now_us);
        uint32_t limit = pace_limit(&version->pace, version->background, &outlook, now_us);
        if (version_has_clients(version)) /* a row of theirs may come at once, and has to wait for it */
            limit = 1 + limit / BACKGROUND_SHARE;
        version_send(version, version->background, limit, BATCH_IDLE, now_us);
    }
}

/* Sends what may go now. Asked after arrivals, answers, changes of replicas, and when a wait is over. */
static void version_pump(struct loop_task *task)
{
    struct version *version = container_of(task, struct version, pump);
    uint64_t now_us = loop_now_us(), wake_us = UINT64_MAX;
    enum batch_reason reason;
    version->pump_posted = false;
    if (version->closing)
        return;
    version_expire(version, now_us);
    if (version->any_impatient && !pool_any_ready(version->pool)) {
        version->any_impatient = false;
        queue_fail_impatient(version->queue);
        queue_fail_impatient(version->background);
    }
    while (version_has_slot(version) && batch_queued_rows(version->queue)) {
        struct busy_outlook outlook = pool_outlook(version->pool, now_us);
        uint32_t limit;
        if (!pace_next(&version->pace, &outlook, now_us, &limit, &reason, &wake_us))
            break;
        version_send(version, version->queue, limit, reason, now_us);
        wake_us = UINT64_MAX;
    }
    version_pump_background(version, now_us);
    version_count_queue(version);
    if (wake_us == UINT64_MAX)
        loop_timer_cancel(version->loop, &version->wake);
    else if (loop_timer_set(version->loop, &version->wake, wake_us) != GW_OK)
        version_schedule(version); /* no memory for a timer: ask again in the next turn */
}

static void version_woken(struct loop_timer *timer)
{
    version_schedule(container_of(timer, struct version, wake));
}

static void pool_changed(void *owner)
{
    version_schedule(owner);
}

/* --- the end --- */

struct version *version_ref(struct version *version)
{
    atomic_fetch_add_explicit(&version->refs, 1, memory_order_relaxed);
    return version;
}

void version_unref(struct version *version)
{
    if (version && atomic_fetch_sub_explicit(&version->refs, 1, memory_order_acq_rel) == 1)
        loop_post(version->loop, &version->leave);
}

static void queue_end(struct batch_queue *queue)
{
    for (struct batch_entry *entry; queue && (entry = batch_any(queue));)
        job_end_rest(job_of(entry), GW_E_DRAINING);
}

/* The calls that pool_free() ends run their callbacks, which may schedule the pump no more. */
static void version_free(struct version *version)
{
    version->closing = true;
    queue_end(version->queue);
    queue_end(version->background);
    loop_timer_cancel(version->loop, &version->wake);
    pool_free(version->pool);
    batch_queue_free(version->background);
    pace_clear(&version->pace);
    version_metrics_close(&version->metrics);
    config_unref(version->whole);
    free(version);
}

/* A pump that was posted runs before this does, for both are posted here; one posted now would run too late.
 */
static void version_leaves(struct loop_task *task)
{
    struct version *version = container_of(task, struct version, leave);
    if (version->pump_posted) {
        version->closing = true;
        loop_post(version->loop, task);
        return;
    }
    version_free(version);
}
