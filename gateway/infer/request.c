/* request: the steps that request.h draws, in that order; then what interrupts them. */
#include "infer/request.h"

#include <stdlib.h>
#include <string.h>

#include "infer/request_metrics.h"
#include "infer/route.h"

/* A place in the cache's line for somebody else's answer. */
struct row_waiter {
    struct cache_waiter cache;
    struct request *request;
    uint32_t row;
};

static void row_look_up(struct request *request, uint32_t index, uint64_t now_us);
static void request_go_on(struct request *request);
static bool request_is_lost(const struct request *request);
static void request_reroute(struct request *request);
static void request_end(struct request *request, enum gw_status status);

/* --- the shard's part ---------------------------------------------------------------------------------- */

struct period *period_new(struct metrics *metrics, struct plan *plan)
{
    struct period *period = calloc(1, sizeof *period);
    if (!period)
        return NULL;
    period->plan = plan_ref(plan);
    period->metrics = infer_metrics_new(metrics, plan->config);
    period->contexts = calloc(plan->config->n_versions + 1, sizeof *period->contexts);
    if (period->metrics && period->contexts)
        return period;
    period_free(period);
    return NULL;
}

void period_free(struct period *period)
{
    if (!period)
        return;
    infer_metrics_free(period->metrics);
    free(period->contexts);
    plan_unref(period->plan);
    free(period);
}

static void period_end(struct period *period)
{
    period->over = true;
    if (!period->open)
        period_free(period);
}

static void period_leave(struct period *period)
{
    if (!--period->open && period->over)
        period_free(period);
}

enum gw_status infer_init(struct infer *infer, struct loop *loop, struct period *period, struct cache *cache,
                          uint32_t shard, uint32_t shards)
{
    *infer = (struct infer){.loop = loop,
                            .period = period,
                            .cache = cache,
                            .shard = shard,
                            .next_id = shard + 1,
                            .id_step = shards};
    infer->json = json_reader_new();
    return infer->json ? GW_OK : GW_E_NO_MEMORY;
}

void infer_enter(struct infer *infer, struct period *period)
{
    struct period *former = infer->period;
    infer->period = period;
    period_end(former);
}

void infer_clear(struct infer *infer)
{
    json_reader_free(infer->json);
    period_free(infer->period);
    *infer = (struct infer){0};
}

/* --- state --------------------------------------------------------------------------------------------- */

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

/* --- the end: outcomes become one status, and bytes ----------------------------------------------------- */

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

static void row_end(struct request *request, struct row *row, struct row_outcome outcome)
{
    row->outcome = outcome;
    row->state = ROW_DONE;
    request->rows_open--;
}

static void row_end_failed(struct request *request, struct row *row, enum gw_status status)
{
    row_end(request, row, (struct row_outcome){.status = status, .message = gw_status_words(status)});
}

/* --- what the rows of a request have in common
 * -------------------------------------------------------------- */

/* Whether every request for the version asks for rows of the same form: nothing is left open but their
 * number. */
static bool form_is_fixed(const struct request *request)
{
    const struct signature *signature = request->endpoint->signature;
    for (uint32_t i = 0; i < signature->n_inputs; i++)
        for (uint32_t d = 1; d < signature->inputs[i].dims; d++)
            if (signature->inputs[i].shape[d] == TENSOR_ANY)
                return false;
    return !request->n_outputs && !request->parameters_bytes;
}

static struct cache_key context_key(const struct request *request)
{
    return cache_context_key(request->infer->cache, request->version->full_name, request->digest,
                             request->inputs, request->n_inputs, request->outputs, request->n_outputs,
                             request->parameters, request->parameters_bytes);
}

/* Of a fixed form: made once for a version and its model's digest. */
static struct cache_key known_context(const struct request *request)
{
    struct known_context *known = &request->period->contexts[request->version->index];
    if (!known->is_known || memcmp(known->digest, request->digest, sizeof known->digest) != 0) {
        known->key = context_key(request);
        memcpy(known->digest, request->digest, sizeof known->digest);
        known->is_known = true;
        known->is_redis_known = false;
    }
    return known->key;
}

static struct cache_value_key redis_context(const struct request *request)
{
    return cache_value_context(request->version->full_name, request->digest, request->inputs,
                               request->n_inputs, request->outputs, request->n_outputs, request->parameters,
                               request->parameters_bytes);
}

/* Made when first needed: most rows never get as far as Redis. After known_context(), of the same digest. */
static struct cache_value_key known_redis_context(const struct request *request)
{
    struct known_context *known = &request->period->contexts[request->version->index];
    if (!form_is_fixed(request) || memcmp(known->digest, request->digest, sizeof known->digest) != 0)
        return redis_context(request);
    if (!known->is_redis_known)
        known->redis = redis_context(request);
    known->is_redis_known = true;
    return known->redis;
}

/* --- CACHE_WAIT: looking rows up, and being woken ---------------------------------------------------------
 */

static struct row_waiter *waiter_get(struct request *request)
{
    struct row_waiter *waiter = request->spare_waiter;
    request->spare_waiter = NULL;
    return waiter ? waiter : arena_zalloc(request->arena, sizeof *waiter);
}

static void row_woken(struct cache_waiter *cache_waiter)
{
    struct row_waiter *waiter = container_of(cache_waiter, struct row_waiter, cache);
    struct request *request = waiter->request;
    struct row *row = &request->rows[waiter->row];
    row->waiter = NULL;
    switch (cache_waiter->how) {
    case CACHE_WOKEN_ANSWER:
        row_end(request, row, (struct row_outcome){.status = GW_OK, .result = cache_waiter->answer});
        break;
    case CACHE_WOKEN_FAILED: /* the waiter lies in the arena, and so its words */
        row_end(request, row,
                (struct row_outcome){.status = cache_waiter->err.status, .message = cache_waiter->err.what});
        break;
    case CACHE_WOKEN_RETRY:
        request->spare_waiter = waiter;
        if (request->ending != GW_OK)
            row_end_failed(request, row, request->ending);
        else
            row_look_up(request, waiter->row, loop_now_us());
        break;
    }
    request_go_on(request);
}

static void row_missing(struct request *request, struct row *row, bool leads)
{
    row->state = ROW_MISSING;
    row->leads = leads;
    request->rows_missing++;
    request->rows_untried += !row->tried;
}

static void row_look_up(struct request *request, uint32_t index, uint64_t now_us)
{
    struct row *row = &request->rows[index];
    struct row_waiter *waiter = waiter_get(request);
    if (!waiter) {
        row_missing(request, row, false);
        return;
    }
    waiter->cache.loop = request->infer->loop;
    waiter->cache.woken = row_woken;
    waiter->request = request;
    waiter->row = index;
    row->key = cache_row_key(request->context, request->inputs, request->n_inputs, index);
    struct predict_result *answer = NULL;
    enum cache_outcome found = cache_lookup(request->infer->cache, row->key, now_us, &waiter->cache, &answer);
    if (found == CACHE_JOINED) {
        row->state = ROW_WAITING;
        row->waiter = waiter;
        return;
    }
    request->spare_waiter = waiter;
    if (found == CACHE_HIT)
        row_end(request, row, (struct row_outcome){.status = GW_OK, .result = answer});
    else
        row_missing(request, row, found == CACHE_LEAD);
}

/* Every row is looked up, or, without a cache, missing. */
static void request_look_up(struct request *request)
{
    uint64_t now_us = request->use_cache ? loop_now_us() : 0;
    for (uint32_t i = 0; i < request->n_rows; i++) {
        if (request->use_cache)
            row_look_up(request, i, now_us);
        else
            row_missing(request, &request->rows[i], false);
    }
}

/* What the leader of a row owes those who wait for it. */
static void row_settle(struct request *request, struct row *row, uint64_t now_us)
{
    struct cache *cache = request->infer->cache;
    const struct row_outcome *outcome = &row->outcome;
    row->leads = false;
    if (outcome->status == GW_OK) {
        bool same_model = memcmp(outcome->result->digest, request->digest, sizeof request->digest) == 0;
        cache_fill(cache, row->key, outcome->result, outcome->row, now_us,
                   request->version->model->cache_ttl_us, same_model);
    } else if (outcome->status == GW_E_DEADLINE || outcome->status == GW_E_CANCELLED ||
               outcome->status == GW_E_NO_REPLICA) {
        cache_abandon(cache, row->key); /* ours to lose, not theirs: they may wait longer, or spill */
    } else {
        struct gw_err err;
        gw_err_set(&err, outcome->status, "%s", outcome->message);
        cache_fail(cache, row->key, &err);
    }
}

/* --- CACHE_WAIT: asking Redis for what memory missed
 * --------------------------------------------------------
 */

/* The version's part of Redis; NULL: none, and no memory to make one. */
static struct cache_redis_part *redis_part(const struct request *request)
{
    struct known_context *known = &request->period->contexts[request->version->index];
    if (!known->redis_part)
        known->redis_part = cache_redis_part(request->infer->redis, request->version->full_name);
    return known->redis_part;
}

static void row_found(struct request *request, struct row *row, const struct cache_redis_found *found,
                      uint64_t now_us)
{
    row->redis_key = NULL; /* it is there */
    row_end(request, row, (struct row_outcome){.status = GW_OK, .result = found->answer});
    if (row->leads)
        cache_fill(request->infer->cache, row->key, found->answer, 0, now_us, found->ttl_us, true);
    row->leads = false;
}

/* The lookup is over: rows that are still ASKED were not found, and the clock is the SLO's again. */
static void request_end_lookup(struct request *request)
{
    request->lookup = NULL;
    for (uint32_t i = 0; i < request->n_rows; i++)
        if (request->rows[i].state == ROW_ASKED)
            row_missing(request, &request->rows[i], request->rows[i].leads);
    if (loop_timer_is_set(&request->slo_timer) &&
        loop_timer_set(request->infer->loop, &request->slo_timer, request->deadline_us) != GW_OK)
        abort(); /* a timer that is set can be moved */
}

static void redis_told(void *client, struct cache_redis_found *found)
{
    struct request *request = client;
    uint64_t now_us = loop_now_us();
    for (uint32_t i = 0; i < request->n_rows; i++) {
        if (request->rows[i].state != ROW_ASKED)
            continue;
        struct cache_redis_found *each = found++; /* rows were asked in their order */
        if (each->answer)
            row_found(request, &request->rows[i], each, now_us);
        each->answer = NULL;
    }
    request_end_lookup(request);
    request_go_on(request);
}

static void request_give_up_lookup(struct request *request)
{
    cache_redis_give_up(request->lookup);
    request_end_lookup(request);
}

/* Every untried row gets its one try. Returns how many are to be looked up; their keys lie in a row. */
static uint32_t rows_pick(struct request *request, enum cache_redis_mode mode, struct cache_value_key *keys)
{
    const struct cache_value_key context = known_redis_context(request);
    uint32_t n = 0;
    for (uint32_t i = 0; i < request->n_rows; i++) {
        struct row *row = &request->rows[i];
        if (row->state != ROW_MISSING || row->tried)
            continue;
        row->tried = true;
        keys[n] = cache_value_key(&context, request->inputs, request->n_inputs, i);
        if (cache_redis_wants(redis_part(request), mode, &keys[n]))
            row->redis_key = &keys[n++];
    }
    return n;
}

static void rows_pass(struct request *request)
{
    for (uint32_t i = 0; i < request->n_rows; i++)
        request->rows[i].tried = request->rows[i].tried || request->rows[i].state == ROW_MISSING;
}

/* Rows that wait for the lookup: those that have just got their key. */
static void rows_wait(struct request *request, const struct cache_value_key *keys, uint32_t n)
{
    for (uint32_t i = 0; i < request->n_rows; i++) {
        struct row *row = &request->rows[i];
        if (row->state != ROW_MISSING || row->redis_key < keys || row->redis_key >= keys + n)
            continue;
        row->state = ROW_ASKED;
        request->rows_missing--;
    }
}

/* Sends the lookup of rows whose keys these are; where it is awaited, the clock is that of our patience. */
static void request_send_lookup(struct request *request, const struct cache_value_key *keys, uint32_t n,
                                bool awaited)
{
    struct cache_redis_part *part = redis_part(request);
    uint64_t now_us = loop_now_us();
    struct cache_redis_question question = {.signature = &request->version->model->signature,
                                            .ttl_us = request->version->model->cache_ttl_us,
                                            .keys = keys,
                                            .n_rows = n,
                                            .outputs = request->outputs,
                                            .n_outputs = request->n_outputs,
                                            .told = awaited ? redis_told : NULL,
                                            .owner = request};
    memcpy(question.digest, request->digest, sizeof question.digest);
    struct cache_redis_lookup *lookup = cache_redis_ask(part, &question);
    if (!awaited || !lookup)
        return;
    request->lookup = lookup;
    rows_wait(request, keys, n);
    uint64_t until_us = now_us + cache_redis_patience_us(part, now_us, request->deadline_us);
    if (loop_timer_set(request->infer->loop, &request->slo_timer, until_us) != GW_OK)
        abort(); /* it was set before */
}

/* Whether rows that memory missed now wait for Redis. */
static bool request_ask_redis(struct request *request)
{
    uint32_t untried = request->rows_untried;
    request->rows_untried = 0;
    if (!untried || !request->infer->redis || !request->use_cache)
        return false;
    struct cache_redis_part *part = redis_part(request);
    enum cache_redis_mode mode = part ? cache_redis_mode(part, request->digest, untried) : CACHE_REDIS_OFF;
    struct cache_value_key *keys =
        mode == CACHE_REDIS_OFF ? NULL : arena_array(request->arena, untried, sizeof *keys);
    if (!keys) {
        rows_pass(request);
        return false;
    }
    uint32_t n = rows_pick(request, mode, keys);
    if (n)
        request_send_lookup(request, keys, n, mode == CACHE_REDIS_AWAITED);
    return request->lookup != NULL;
}

/* --- AWAY: a job goes to the version's home shard, and comes home ------------------------------------------
 */

/* What the model answered goes to Redis, later in the turn. */
static void request_share(struct request *request, const struct job *job, uint64_t now_us)
{
    struct cache_redis_part *part = redis_part(request);
    bool any = false;
    for (uint32_t i = 0; part && i < job->entry.n_rows; i++) {
        const struct row *row = &request->rows[job->rows[i]];
        if (row->outcome.status != GW_OK)
            continue;
        any = true;
        if (row->redis_key &&
            memcmp(row->outcome.result->digest, request->digest, sizeof request->digest) == 0)
            cache_redis_store(part, row->redis_key, row->outcome.result, row->outcome.row,
                              request->version->model->cache_ttl_us);
    }
    if (any)
        cache_redis_model_took(part, now_us - request->sent_us);
}

static void job_home(struct job *job)
{
    struct request *request = job->client;
    uint64_t now_us = loop_now_us();
    request->job = NULL;
    request->call_us = job->call_us;
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

/*
 * Rows that look alike from the outside may share a batch. Of a fixed form, all rows of a version do; but who
 * waits for a replica when the last one is lost, and who does not, part ways then, so they do not travel
 * together.
 */
static void job_kind(struct request *request, uint64_t kind[2])
{
    kind[0] = kind[1] = 0;
    if (!form_is_fixed(request)) {
        if (!request->use_cache)
            request->context = context_key(request);
        memcpy(kind, request->context.word, sizeof request->context.word);
    }
    kind[1] ^= request->waits;
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
    job_kind(request, job->entry.kind);
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
static void request_go_on(struct request *request)
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

/* --- DECODING and ROUTING
 * ------------------------------------------------------------------------------------ */

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
    if (request->use_cache)
        request->context = form_is_fixed(request) ? known_context(request) : context_key(request);
    request_enter(request, REQUEST_CACHE_WAIT);
    request_look_up(request);
    request_go_on(request);
}

/* --- back to ROUTING: the version has no ready replica, or lost the last one under the request
 * ---------------
 */

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

/* --- what interrupts it
 * ---------------------------------------------------------------------------------------- */

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
    for (uint32_t i = 0; i < request->n_rows; i++) {
        struct row *row = &request->rows[i];
        if (row->state == ROW_WAITING && cache_leave(request->infer->cache, row->key, &row->waiter->cache))
            row_end_failed(request, row, status);
    }
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
