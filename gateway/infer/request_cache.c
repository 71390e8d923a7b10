/* request_cache: what rows have in common; then CACHE_WAIT, from memory to Redis; then what answers leave
 * behind. */
#include "infer/request_cache.h"

#include <stdlib.h>
#include <string.h>

/* A place in the cache's line for somebody else's answer. */
struct row_waiter {
    struct cache_waiter cache;
    struct request *request;
    uint32_t row;
};

static void row_look_up(struct request *request, uint32_t index, uint64_t now_us);

/* --- what the rows of a request have in common --- */

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

/*
 * Rows that look alike from the outside may share a batch. Of a fixed form, all rows of a version do; but who
 * waits for a replica when the last one is lost, and who does not, part ways then, so they do not travel
 * together.
 */
void request_kind(struct request *request, uint64_t kind[2])
{
    kind[0] = kind[1] = 0;
    if (!form_is_fixed(request)) {
        if (!request->use_cache)
            request->context = context_key(request);
        memcpy(kind, request->context.word, sizeof request->context.word);
    }
    kind[1] ^= request->waits;
}

/* --- CACHE_WAIT: looking rows up, and being woken --- */

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
    waiter->cache.waits = request->waits;
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
void request_look_up(struct request *request)
{
    uint64_t now_us = request->use_cache ? loop_now_us() : 0;
    if (request->use_cache)
        request->context = form_is_fixed(request) ? known_context(request) : context_key(request);
    for (uint32_t i = 0; i < request->n_rows; i++) {
        if (request->use_cache)
            row_look_up(request, i, now_us);
        else
            row_missing(request, &request->rows[i], false);
    }
}

/* What the leader of a row owes those who wait for it. */
void row_settle(struct request *request, struct row *row, uint64_t now_us)
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

void request_leave_line(struct request *request, enum gw_status status)
{
    for (uint32_t i = 0; i < request->n_rows; i++) {
        struct row *row = &request->rows[i];
        if (row->state == ROW_WAITING && cache_leave(request->infer->cache, row->key, &row->waiter->cache))
            row_end_failed(request, row, status);
    }
}

/* --- CACHE_WAIT: asking Redis for what memory missed --- */

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

void request_give_up_lookup(struct request *request)
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
bool request_ask_redis(struct request *request)
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

/* What the model answered goes to Redis, later in the turn. */
void request_share(struct request *request, const struct job *job, uint64_t now_us)
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
