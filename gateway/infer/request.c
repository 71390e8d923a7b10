/* request: the steps that request.h draws, in that order; then what interrupts them. */
#include "infer/request.h"

#include <stdlib.h>
#include <string.h>

#include "infer/request_cache.h"
#include "infer/request_metrics.h"
#include "infer/route.h"

static bool request_is_lost(const struct request *request);
static void request_reroute(struct request *request);
static void request_end(struct request *request, enum gw_status status);

/* --- state --- */

const char *request_state_name(enum request_state state)
{
    static const char *const names[REQUEST_STATE_COUNT] = {"decoding", "routing",  "cache_wait",
                                                           "away",     "replying", "done"};
    return names[state];
}

/* The only place that changes a request's state. */
static void request_enter(struct request *request, enum request_state next)
{
#define TO(state) (1u << REQUEST_##state)
    static const unsigned legal[REQUEST_STATE_COUNT] = {
        [REQUEST_DECODING] = TO(ROUTING) | TO(REPLYING),
        [REQUEST_ROUTING] = TO(CACHE_WAIT) | TO(REPLYING),
        [REQUEST_CACHE_WAIT] = TO(AWAY) | TO(ROUTING) | TO(REPLYING),
        [REQUEST_AWAY] = TO(CACHE_WAIT),
        [REQUEST_REPLYING] = TO(DONE),
        [REQUEST_DONE] = 0,
    };
#undef TO
    if (!(legal[request->state] & (1u << next)))
        abort(); /* a bug of ours, nothing that comes from outside */
    infer_metrics_move(request->period->metrics, request->state, next);
    request->state = next;
}

/* --- the end: outcomes become one status, and bytes --- */

const struct row_outcome *request_row_outcome(const struct request *request, uint32_t row)
{
    return &request->rows[row].outcome;
}

/* Where its endpoint's rollout stood when it began. */
static const struct plan_endpoint *request_place(const struct request *request)
{
    return &request->period->plan->endpoints[request->endpoint->index];
}

const char *request_arm_headers(const struct request *request)
{
    return request->arm ? request_place(request)->headers[request->arm - request->endpoint->arms] : NULL;
}

bool request_row_defaulted(const struct request *request, uint32_t row)
{
    enum gw_status status = request->rows[row].outcome.status;
    return request->endpoint->n_defaults && status != GW_OK && status != GW_E_INVALID &&
           status != GW_E_CANCELLED;
}

/* GW_OK when every row has an answer; the rows' status when all failed alike or there is one; else
 * GW_PARTIAL. */
static void request_judge(struct request *request)
{
    uint32_t failed = 0;
    const struct row_outcome *first = NULL;
    bool alike = true;
    for (uint32_t i = 0; i < request->n_rows; i++) {
        const struct row_outcome *outcome = &request->rows[i].outcome;
        if (outcome->status == GW_OK || request_row_defaulted(request, i))
            continue;
        failed++;
        first = first ? first : outcome;
        alike = alike && outcome->status == first->status;
    }
    if (failed && failed == request->n_rows && alike)
        gw_err_set(&request->err, request->status = first->status, "%s",
                   first->message ? first->message : gw_status_words(first->status));
    else if (failed)
        request->status = GW_PARTIAL;
}

/* What is bad is the version's doing, or the gateway's: a canary tells them apart by comparing. */
static void book_row(const struct row_outcome *row, struct arm_outcome *outcome)
{
    outcome->compared &= row->status != GW_E_CANCELLED && row->status != GW_E_DRAINING;
    outcome->bad |= row->status != GW_OK;
    outcome->contract |= row->status == GW_E_CONTRACT;
    for (uint32_t i = 0; row->status == GW_OK && i < row->result->n_outputs && !outcome->nan; i++)
        outcome->nan = tensor_row_has_nan(&row->result->outputs[i], row->row);
}

/* For the canary of its endpoint. */
static void request_book(const struct request *request, uint64_t now_us)
{
    const struct plan_endpoint *place = request_place(request);
    if (!place->books || !request->asked_model || !request->rows)
        return;
    struct arm_outcome outcome = {.compared = request->is_compared && request->ending != GW_E_CANCELLED,
                                  .latency_us = now_us - request->received_us};
    for (uint32_t i = 0; i < request->n_rows; i++)
        book_row(&request->rows[i].outcome, &outcome);
    arm_books_count(place->books, request->infer->shard, (uint32_t)(request->arm - request->endpoint->arms),
                    &outcome);
}

static void request_reply(struct request *request)
{
    struct infer *infer = request->infer;
    loop_timer_cancel(infer->loop, &request->slo_timer);
    request_enter(request, REQUEST_REPLYING);
    if (request->rows)
        request_judge(request);
    if (request->ending == GW_E_CANCELLED)
        request->status = GW_E_CANCELLED; /* nobody reads what encode would write */
    else
        request->dialect->encode(request);
    uint64_t now_us = loop_now_us();
    request_book(request, now_us);
    infer_metrics_end(request->period->metrics, request, now_us);
    request_enter(request, REQUEST_DONE);
    request->done(request);
}

/* The whole request ends with an error, before it has rows. */
static void request_fail(struct request *request, enum gw_status status)
{
    if (!request->err.what[0] || request->err.status != status)
        gw_err_set(&request->err, status, "%s", gw_status_words(status));
    request->status = status;
    request->rows = NULL;
    request_reply(request);
}

void row_end(struct request *request, struct row *row, struct row_outcome outcome)
{
    row->outcome = outcome;
    row->state = ROW_DONE;
    request->rows_open--;
}

void row_end_failed(struct request *request, struct row *row, enum gw_status status)
{
    row_end(request, row, (struct row_outcome){.status = status, .message = gw_status_words(status)});
}

/* --- AWAY: a job goes to the version's home shard, and comes home --- */

static void job_home(struct job *job)
{
    struct request *request = job->client;
    uint64_t now_us = loop_now_us();
    request->job = NULL;
    request->call_us = job->call_us;
    if (job->retry_us > request->retry_us)
        request->retry_us = job->retry_us;
    request_enter(request, REQUEST_CACHE_WAIT);
    for (uint32_t i = 0; i < job->entry.n_rows; i++) {
        struct row *row = &request->rows[job->rows[i]];
        row_end(request, row, job->outcomes[i]);
        if (row->leads)
            row_settle(request, row, now_us);
    }
    if (request->infer->redis && request->use_cache)
        request_share(request, job, now_us);
    request_go_on(request);
}

static struct job *job_new(struct request *request)
{
    uint32_t n = request->rows_missing;
    struct job *job = arena_zalloc(request->arena, sizeof *job);
    uint32_t *rows = arena_array(request->arena, n, sizeof *rows);
    struct row_outcome *outcomes = arena_array(request->arena, n, sizeof *outcomes);
    if (!job || !rows || !outcomes)
        return NULL;
    job->loop = request->infer->loop;
    job->home = job_home;
    job->client = request;
    job->entry.deadline_us = request->deadline_us;
    job->entry.n_rows = n;
    job->entry.priority = request->priority;
    job->entry.endpoint = request->endpoint->index;
    job->entry.weight = request->endpoint->share;
    request_kind(request, job->entry.kind);
    job->inputs = request->inputs;
    job->n_inputs = request->n_inputs;
    job->outputs = request->outputs;
    job->n_outputs = request->n_outputs;
    job->parameters = request->parameters;
    job->parameters_bytes = request->parameters_bytes;
    job->waits = request->waits;
    job->rows = rows;
    job->outcomes = outcomes;
    for (uint32_t i = 0, at = 0; i < request->n_rows; i++)
        if (request->rows[i].state == ROW_MISSING)
            rows[at++] = i;
    return job;
}

/* Rows that were to be sent and will not be. */
static void request_end_missing(struct request *request, enum gw_status status)
{
    uint64_t now_us = loop_now_us();
    request->asked_model = true; /* it would have */
    for (uint32_t i = 0; i < request->n_rows && request->rows_missing; i++) {
        struct row *row = &request->rows[i];
        if (row->state != ROW_MISSING)
            continue;
        request->rows_missing--;
        row_end_failed(request, row, status);
        if (row->leads)
            row_settle(request, row, now_us);
    }
}

static void request_send_missing(struct request *request)
{
    request->asked_model = true;
    struct job *job = job_new(request);
    if (!job) {
        request_end_missing(request, GW_E_NO_MEMORY);
        return;
    }
    for (uint32_t i = 0; i < job->entry.n_rows; i++)
        request->rows[job->rows[i]].state = ROW_AWAY;
    request->rows_missing = 0;
    request->sent_us = request->infer->redis ? loop_now_us() : 0;
    request->job = job;
    request_enter(request, REQUEST_AWAY);
    version_submit(request->period->plan->versions[request->version->index], job);
}

/* Rows that are missing could only come back as they are: nobody is there, and they do not wait. */
static bool request_is_in_vain(const struct request *request)
{
    return !request->waits && !version_is_ready(request->period->plan->versions[request->version->index]);
}

/* The SLO's clock, started when the request first has to wait. */
static bool request_start_clock(struct request *request)
{
    return loop_timer_is_set(&request->slo_timer) ||
           loop_timer_set(request->infer->loop, &request->slo_timer, request->deadline_us) == GW_OK;
}

/* After every change of its rows: ask for what is missing, send it, wait, or reply. */
void request_go_on(struct request *request)
{
    if (request->job || request->lookup)
        return; /* its rows first */
    if (request->rows_missing) {
        if (request->ending != GW_OK)
            request_end_missing(request, request->ending);
        else if (!request_start_clock(request))
            request_end_missing(request, GW_E_NO_MEMORY);
        else if (request_ask_redis(request))
            return;
        else if (request_is_in_vain(request))
            request_end_missing(request, GW_E_NO_REPLICA);
        else
            request_send_missing(request);
    }
    if (!request->rows_open && request_is_lost(request))
        request_reroute(request);
    else if (!request->rows_open)
        request_reply(request);
    else if (request->ending == GW_OK && !request_start_clock(request))
        request_end(request, GW_E_NO_MEMORY);
}

/* --- DECODING and ROUTING --- */

/* Its arm was drawn by lot. A client that was seen before is no new draw. */
static void request_draw(struct request *request, const struct plan_endpoint *place)
{
    request->is_compared = !request->sticky || arm_books_is_first(place->books, request->key);
    if (request->is_compared)
        arm_lot_draw(place->lot, request->infer->shard, (uint32_t)(request->arm - request->endpoint->arms));
}

static enum gw_status request_route(struct request *request)
{
    const struct config_endpoint *endpoint = request->endpoint;
    const struct plan_endpoint *place = request_place(request);
    const struct config_arm *arm = NULL;
    if (request->asked_version) {
        arm = route_named(endpoint, request->asked_version, request->asked_version_length);
        if (!arm)
            return gw_err_set(&request->err, GW_E_INVALID,
                              "Requested version: %.64s does not exist for model: %s", request->asked_version,
                              endpoint->arms[0].version->model->name);
    } else if (request->asked_arm) {
        arm = route_arm(
            endpoint,
            request->asked_arm); /* one that has gone is no error: clients send back what they had */
    }
    request->is_forced = arm != NULL;
    request->key = route_key(place, request->sticky, request->sticky_length, request->id);
    arm = arm ? arm : route_pick(endpoint, place, request->key);
    bool may_spill = endpoint->when_unready == UNREADY_SPILL && !request->is_forced &&
                     route_has_others(endpoint, place, arm);
    request->waits = endpoint->when_unready != UNREADY_FAIL && !may_spill;
    request->arm = arm;
    request->version = arm->version;
    if (place->books && !request->is_forced)
        request_draw(request, place);
    return GW_OK;
}

static enum gw_status request_make_rows(struct request *request)
{
    size_t bytes;
    if (__builtin_mul_overflow((size_t)request->n_rows, sizeof(struct row), &bytes) ||
        !(request->rows = arena_zalloc(request->arena, bytes)))
        return GW_E_NO_MEMORY;
    return GW_OK;
}

/* All rows of a request that has its version. */
static void request_ask(struct request *request)
{
    const struct plan *plan = request->period->plan;
    const struct config_version *version = request->version;
    request->rows_open = request->n_rows;
    request->use_cache = (plan->config->cache_bytes || request->infer->redis) && version->model->cache &&
                         version_digest(plan->versions[version->index], request->digest);
    request_enter(request, REQUEST_CACHE_WAIT);
    request_look_up(request);
    request_go_on(request);
}

/* --- back to ROUTING: the version has no ready replica, or lost the last one under the request --- */

/* No row is open, one was lost for want of a replica, and an endpoint that spills has more to try. */
static bool request_is_lost(const struct request *request)
{
    if (request->endpoint->when_unready != UNREADY_SPILL || request->waits || request->ending != GW_OK ||
        request->reroutes > request->endpoint->n_arms || loop_now_us() >= request->deadline_us)
        return false;
    for (uint32_t i = 0; i < request->n_rows; i++)
        if (request->rows[i].outcome.status == GW_E_NO_REPLICA)
            return true;
    return false;
}

/* Another arm that has a weight and a ready replica; NULL: none. */
static const struct config_arm *request_other_arm(const struct request *request)
{
    const struct config_endpoint *endpoint = request->endpoint;
    bool is_ready[CONFIG_ARMS_MAX];
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        const struct config_arm *arm = &endpoint->arms[i];
        is_ready[i] =
            arm != request->arm && version_is_ready(request->period->plan->versions[arm->version->index]);
    }
    return route_spill(endpoint, request_place(request), request->key, is_ready);
}

/*
 * All of its rows go elsewhere, also those that were answered, so that one version answers the whole request.
 * With no arm ready they wait for a replica of the one they are at.
 */
static void request_reroute(struct request *request)
{
    const struct config_arm *other = request_other_arm(request);
    request->reroutes++;
    request_enter(request, REQUEST_ROUTING);
    for (uint32_t i = 0; i < request->n_rows; i++)
        predict_result_unref(request->rows[i].outcome.result);
    memset(request->rows, 0, request->n_rows * sizeof *request->rows);
    request->waits = !other;
    if (other) {
        infer_metrics_spilled(request->period->metrics, request);
        request->is_compared = false;
        request->arm = other;
        request->version = other->version;
    }
    request_ask(request);
}

static void slo_passed(struct loop_timer *timer);

struct request *request_new(struct infer *infer, const struct config_endpoint *endpoint,
                            const struct dialect *dialect, struct arena *arena, uint64_t received_us,
                            void (*done)(struct request *), void *client)
{
    struct request *request = arena_alloc(arena, sizeof *request);
    if (!request)
        return NULL;
    *request = (struct request){
        .infer = infer,
        .period = infer->period,
        .arena = arena,
        .dialect = dialect,
        .endpoint = endpoint,
        .state = REQUEST_DECODING,
        .id = infer->next_id,
        .received_us = received_us,
        .deadline_us = received_us + endpoint->slo_us,
        .priority = endpoint->priority,
        .done = done,
        .client = client,
        .slo_timer = {.fire = slo_passed},
    };
    infer->next_id += infer->id_step;
    infer->open++;
    infer->period->open++;
    infer_metrics_move(infer->period->metrics, REQUEST_DECODING, REQUEST_DECODING);
    return request;
}

void request_refuse(struct request *request, const struct gw_err *err)
{
    request->err = *err;
    request_fail(request, err->status);
}

void request_start(struct request *request, const char *body, size_t length)
{
    enum gw_status status = request->dialect->decode(request, body, length);
    if (status != GW_OK) {
        request_fail(request, status);
        return;
    }
    request_enter(request, REQUEST_ROUTING);
    status = request_route(request);
    if (status == GW_OK)
        status = request_make_rows(request);
    if (status != GW_OK) {
        request_fail(request, status);
        return;
    }
    request_ask(request);
}

/* --- what interrupts it --- */

/*
 * Time is up: rows that wait in the cache's line or for Redis leave it, those away are recalled. A row that
 * is just being woken keeps its place until then. Ends the request at once where nothing is under way any
 * more.
 */
static void request_end(struct request *request, enum gw_status status)
{
    if (request->state == REQUEST_REPLYING || request->state == REQUEST_DONE || request->ending != GW_OK)
        return;
    request->ending = status;
    loop_timer_cancel(request->infer->loop, &request->slo_timer);
    if (request->lookup)
        request_give_up_lookup(request);
    request_leave_line(request, status);
    if (request->job)
        version_recall(request->job, status);
    else
        request_go_on(request);
}

/* Either our patience with Redis is at its end, and the model is asked, or the SLO is. */
static void slo_passed(struct loop_timer *timer)
{
    struct request *request = container_of(timer, struct request, slo_timer);
    if (request->lookup && loop_now_us() < request->deadline_us) {
        request_give_up_lookup(request);
        request_go_on(request);
    } else {
        request_end(request, GW_E_DEADLINE);
    }
}

void request_cancel(struct request *request)
{
    if (request->ending == GW_E_DEADLINE && request->state != REQUEST_DONE)
        request->ending = GW_E_CANCELLED; /* its rows are on their way back already */
    request_end(request, GW_E_CANCELLED);
}

void request_free(struct request *request)
{
    shadow_follow(request);
    for (uint32_t i = 0; request->rows && i < request->n_rows; i++)
        predict_result_unref(request->rows[i].outcome.result);
    buf_clear(&request->reply);
    request->infer->open--;
    period_leave(request->period);
}
