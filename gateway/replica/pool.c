/*
 * pool: chooses a replica for each call, and another one when the first fails it.
 *
 *   pool_predict() -> SENT -> attempt_replied(): judged -> done()
 *                      ^           |
 *                      |           v  could not be reached, or shed; attempts, budget and deadline allow
 *                      '-----  WAITING  (while every replica that could take it is busy; or, if the call
 * waits for that, until one is ready)
 *
 * Replicas look after themselves (replica.c). After every event, pool_settle() first serves who waits, then
 * tells the owner. Which replicas there are is members.c's.
 */
#include "replica/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replica/members.h"

#define PREDICT "/xebec.worker.v1.Worker/Predict"

enum {
    RETRY_COST = 100,   /* in percent of a call, as limits.retry_percent */
    RETRIES_SAVED = 10, /* the bucket's size */
};

struct pool {
    struct replica_home home;
    struct metrics *metrics;
    struct members members;
    uint32_t turn; /* where the choice starts, so that ties rotate */
    uint32_t retry_tokens;
    bool closed;
    void (*ready)(void *owner);
    void *owner;
    struct pool_attempt *attempts; /* one for each call */
    uint32_t n_waiting;
    struct metric *rpcs[GW_STATUS_COUNT]; /* NULL: an outcome that does not happen here */
    struct metric *retries;
    _Atomic uint64_t crashes;
    struct histogram *rpc_seconds;
};

/* The pool's side of a call. */
struct pool_attempt {
    struct pool *pool; /* NULL: the call is done; the memory waits for a callback */
    struct pool_call *call;
    enum { ATTEMPT_SENT, ATTEMPT_WAITING, ATTEMPT_ENDING } state;
    struct replica *replica;    /* SENT: where it is */
    uint64_t replica_id;        /* that, or where it failed last; 0: nowhere yet */
    uint32_t connection, spell; /* of the replica, when it was sent there */
    uint64_t digest[2];         /* likewise */
    uint32_t sent;              /* times */
    bool lost;                  /* WAITING: because its replica was lost, not because it shed the call */
    bool cancelled;
    struct rpc_payload *payload; /* the request, for as often as it takes */
    struct rpc_call *rpc;
    struct gw_err err;       /* how the last sending ended */
    struct loop_timer timer; /* WAITING: until the deadline */
    struct loop_task task;   /* ENDING */
    struct pool_attempt *next, **link;
    /* what the answer is judged by */
    uint32_t n_rows, n_outputs;
    uint64_t expected_us;  /* as the call's */
    const char *outputs[]; /* copies, which lie behind */
};

static bool pool_measure(struct pool *pool);
static void pool_release(struct pool *pool);
static void pool_changed(struct replica_home *home, const struct replica *replica);
static void pool_settle(struct pool *pool);
static struct replica *pool_choose(struct pool *pool, const struct pool_attempt *attempt);
static bool attempt_may_wait(const struct pool_attempt *attempt);
static struct pool_attempt *attempt_new(const struct predict_input *input);
static void attempt_free(struct pool_attempt *attempt);
static enum gw_status attempt_write(struct pool_attempt *attempt, const struct predict_input *input);
static void attempt_link(struct pool_attempt *attempt);
static enum gw_status attempt_send(struct pool_attempt *attempt, struct replica *replica);
/* Whether this is the first call of those that a replica took along when it died. */
static bool is_first_loss(const struct pool_attempt *attempt, const struct rpc_reply *reply)
{
    return reply->status == GW_E_NO_REPLICA && !reply->unsent && attempt->spell > attempt->replica->parted;
}
/*
 * What sending it again takes out of the budget. A replica is lost with all its calls, and pays with the
 * first that comes back; a call that never left cost nobody anything.
 */
static uint32_t retry_cost(const struct pool_attempt *attempt, const struct rpc_reply *reply)
{
    return reply->status != GW_E_NO_REPLICA || is_first_loss(attempt, reply) ? RETRY_COST : 0;
}

static void attempt_replied(void *owner, const struct rpc_reply *reply);
static bool attempt_again(struct pool_attempt *attempt, uint32_t cost);
static bool attempt_wait(struct pool_attempt *attempt);
static void attempt_waited(struct pool_attempt *attempt);
static void attempt_timed_out(struct loop_timer *timer);
static void attempt_end_cancelled(struct loop_task *task);
static void attempt_done(struct pool_attempt *attempt, struct predict_result *result, uint64_t rpc_us);

/* --- the pool --- */

struct pool *pool_new(struct loop *loop, struct rpc_client *client, struct metrics *metrics,
                      const struct pool_version *version, void (*ready)(void *owner), void *owner)
{
    struct pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->home =
        (struct replica_home){.loop = loop, .client = client, .version = version, .changed = pool_changed};
    pthread_mutex_init(&pool->home.lock, NULL);
    pool->ready = ready;
    pool->owner = owner;
    pool->retry_tokens = version->limits.retry_percent ? RETRIES_SAVED * RETRY_COST : 0;
    pool->members.home = &pool->home;
    pool->metrics = metrics;
    if (pool_measure(pool) && members_init(&pool->members, &pool->home, metrics) == GW_OK)
        return pool;
    pool_free(pool);
    return NULL;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    pool->closed = true;
    while (pool->attempts) {
        struct pool_attempt *attempt = pool->attempts;
        bool waiting = attempt->state == ATTEMPT_WAITING;
        if (waiting)
            attempt_waited(attempt);
        gw_err_set(&attempt->err, GW_E_CANCELLED, "%s", gw_status_words(GW_E_CANCELLED));
        attempt_done(attempt, NULL, 0);
        if (waiting)
            attempt_free(attempt); /* else its callback is still to come, and frees it */
    }
    members_clear(&pool->members);
    pool_release(pool);
    pthread_mutex_destroy(&pool->home.lock);
    free(pool);
}

/* Every series that calls of this version will write. */
static bool pool_measure(struct pool *pool)
{
    struct metrics *metrics = pool->metrics;
    static const enum gw_status outcomes[] = {GW_OK,           GW_E_INVALID,   GW_E_OVERLOAD,
                                              GW_E_CANCELLED,  GW_E_MODEL,     GW_E_CONTRACT,
                                              GW_E_NO_REPLICA, GW_E_NO_MEMORY, GW_E_DEADLINE};
    const struct pool_version *version = pool->home.version;
    char name[160]; /* two names of 64 and the @ */
    snprintf(name, sizeof name, "%s@%s", version->model, version->version);
    const char *const *labels = METRIC_LABELS("version", name);
    bool all = true;
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
        const char *outcome = gw_status_cause(outcomes[i]);
        pool->rpcs[outcomes[i]] =
            metrics_series(metrics, METRIC_RPCS, METRIC_LABELS("version", name, "outcome", outcome));
        all = all && pool->rpcs[outcomes[i]];
    }
    for (int state = 0; state < REPLICA_STATE_COUNT; state++) {
        const char *how = replica_state_name((enum replica_state)state);
        pool->home.states[state] =
            metrics_series(metrics, METRIC_REPLICA_STATES, METRIC_LABELS("version", name, "state", how));
        all = all && pool->home.states[state];
    }
    pool->home.up = metrics_series(metrics, METRIC_REPLICAS_UP, labels);
    pool->retries = metrics_series(metrics, METRIC_RETRIES, labels);
    pool->rpc_seconds = metrics_histogram(metrics, METRIC_RPC_SECONDS, labels);
    return all && pool->home.up && pool->retries && pool->rpc_seconds;
}

static void pool_release(struct pool *pool)
{
    void *const series[] = {pool->home.up, pool->retries, pool->rpc_seconds};
    for (size_t i = 0; i < sizeof series / sizeof *series; i++)
        metrics_release(pool->metrics, series[i]);
    for (int status = 0; status < GW_STATUS_COUNT; status++)
        metrics_release(pool->metrics, pool->rpcs[status]);
    for (int state = 0; state < REPLICA_STATE_COUNT; state++)
        metrics_release(pool->metrics, pool->home.states[state]);
}

bool pool_any_ready(const struct pool *pool)
{
    return atomic_load_explicit(&pool->home.n_ready, memory_order_relaxed) > 0;
}

static uint32_t replica_free_slots(const struct pool *pool, const struct replica *replica)
{
    uint32_t in_flight = atomic_load_explicit(&replica->in_flight, memory_order_relaxed);
    uint32_t slots = pool->home.version->limits.calls_per_replica;
    return replica_is_ready(replica) && in_flight < slots ? slots - in_flight : 0;
}

uint32_t pool_free_slots(const struct pool *pool)
{
    uint32_t slots = 0;
    for (uint32_t i = 0; i < pool->members.n; i++)
        slots += replica_free_slots(pool, pool->members.all[i]);
    return slots;
}

bool pool_any_idle(const struct pool *pool)
{
    for (uint32_t i = 0; i < pool->members.n; i++)
        if (replica_is_ready(pool->members.all[i]) &&
            !atomic_load_explicit(&pool->members.all[i]->in_flight, memory_order_relaxed))
            return true;
    return false;
}

struct busy_outlook pool_outlook(const struct pool *pool, uint64_t now_us)
{
    struct busy_outlook outlook = {.max_rows = pool_max_rows(pool), .start_us = UINT64_MAX, .slowness = 1};
    bool is_serial = pool->home.version->limits.calls_per_replica <= 2;
    for (uint32_t i = 0; i < pool->members.n; i++) {
        const struct replica *replica = pool->members.all[i];
        if (!replica_is_ready(replica))
            continue;
        bool can_begin = !is_serial && replica_free_slots(pool, replica);
        uint64_t start_us = can_begin ? now_us : busy_until_us(&replica->busy, now_us);
        outlook.ready++;
        if (start_us >= outlook.start_us)
            continue;
        outlook.start_us = start_us;
        outlook.slowness = busy_slowness(&replica->busy);
    }
    return outlook;
}

uint32_t pool_max_rows(const struct pool *pool)
{
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < pool->members.n; i++) {
        const struct replica *replica = pool->members.all[i];
        if (replica_is_ready(replica) && replica->max_rows && replica->max_rows < least)
            least = replica->max_rows;
    }
    return least;
}

bool pool_digest(const struct pool *pool, uint64_t digest[2])
{
    return replica_home_digest(&pool->home, digest);
}

uint64_t pool_crashes(const struct pool *pool)
{
    return atomic_load_explicit(&pool->crashes, memory_order_relaxed);
}

uint32_t pool_status(const struct pool *pool, struct replica_status *out, uint32_t room)
{
    return members_status(&pool->members, out, room);
}

uint32_t pool_names(const struct pool *pool, struct discovery_status *out, uint32_t room)
{
    return members_names(&pool->members, out, room);
}

static void pool_changed(struct replica_home *home, const struct replica *replica)
{
    struct pool *pool = container_of(home, struct pool, home);
    members_changed(&pool->members, replica);
    pool_settle(pool);
}

/* After an event: who waits comes first, and ends when no replica is left to wait for; then the owner. */
static void pool_settle(struct pool *pool)
{
    struct pool_attempt *next;
    for (struct pool_attempt *attempt = pool->n_waiting ? pool->attempts : NULL; attempt; attempt = next) {
        next = attempt->next;
        if (attempt->state != ATTEMPT_WAITING)
            continue;
        struct replica *replica = pool_choose(pool, attempt);
        if (!replica && attempt_may_wait(attempt))
            continue;
        attempt_waited(attempt);
        if (replica && attempt_send(attempt, replica) == GW_OK)
            continue;
        attempt_done(attempt, NULL, 0);
        attempt_free(attempt);
    }
    pool->ready(pool->owner);
}

/* --- the choice --- */

/* Whether the replica would do, busy or not: not the one that failed this call, unless it became ready again.
 */
static bool replica_suits(const struct replica *replica, const struct pool_attempt *attempt)
{
    if (!replica_is_ready(replica))
        return false;
    if (replica->max_rows && attempt->n_rows > replica->max_rows)
        return false;
    return attempt->replica_id != replica->id || attempt->spell != replica->spells;
}

/* What is waited for there, in whatever is known of all of them: time, or rows. */
static uint64_t replica_wait(const struct replica *replica, const struct pool_attempt *attempt,
                             uint64_t now_us)
{
    return attempt->call->expected_us ? busy_until_us(&replica->busy, now_us) : replica->rows_in_flight;
}

static struct replica *pool_choose(struct pool *pool, const struct pool_attempt *attempt)
{
    struct replica *best = NULL;
    uint64_t now_us = loop_now_us(), least = UINT64_MAX;
    uint32_t n = pool->members.n, best_at = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (pool->turn + i) % n;
        struct replica *replica = pool->members.all[at];
        if (!replica_suits(replica, attempt) || !replica_free_slots(pool, replica))
            continue;
        uint64_t wait = replica_wait(replica, attempt, now_us);
        if (wait < least) {
            best = replica;
            best_at = at;
            least = wait;
        }
    }
    if (best)
        pool->turn = best_at + 1;
    return best;
}

static bool pool_could_take(const struct pool *pool, const struct pool_attempt *attempt)
{
    for (uint32_t i = 0; i < pool->members.n; i++)
        if (replica_suits(pool->members.all[i], attempt))
            return true;
    return false;
}

/* Whether there is something to wait for. */
static bool attempt_may_wait(const struct pool_attempt *attempt)
{
    return (attempt->lost && attempt->call->waits) || pool_could_take(attempt->pool, attempt);
}

/* --- a call --- */

enum gw_status pool_predict(struct pool *pool, struct pool_call *call)
{
    struct pool_attempt *attempt = attempt_new(&call->input);
    if (!attempt)
        return GW_E_NO_MEMORY;
    attempt->pool = pool;
    attempt->call = call;
    attempt->expected_us = call->expected_us;
    struct replica *replica = pool->closed ? NULL : pool_choose(pool, attempt);
    enum gw_status status = replica ? attempt_write(attempt, &call->input) : GW_E_NO_REPLICA;
    if (status == GW_OK)
        status = attempt_send(attempt, replica);
    if (status != GW_OK) {
        attempt_free(attempt);
        return status;
    }
    attempt_link(attempt);
    call->attempt = attempt;
    pool->retry_tokens += pool->home.version->limits.retry_percent;
    if (pool->retry_tokens > RETRIES_SAVED * RETRY_COST)
        pool->retry_tokens = RETRIES_SAVED * RETRY_COST;
    return GW_OK;
}

void pool_cancel(struct pool *pool, struct pool_call *call)
{
    struct pool_attempt *attempt = call->attempt;
    if (!attempt || attempt->cancelled)
        return;
    attempt->cancelled = true;
    if (attempt->state == ATTEMPT_SENT) {
        rpc_call_cancel(attempt->rpc);
        return;
    }
    attempt_waited(attempt);
    attempt->state = ATTEMPT_ENDING;
    attempt->task.run = attempt_end_cancelled;
    loop_post(pool->home.loop, &attempt->task);
}

bool pool_call_is_stranded(const struct pool *pool, const struct pool_call *call)
{
    return call->attempt && call->attempt->state == ATTEMPT_WAITING && !pool_any_ready(pool);
}

/* Copies what of the input is wanted later, for rows may be recalled and their memory gone. */
static struct pool_attempt *attempt_new(const struct predict_input *input)
{
    size_t names = 0;
    for (uint32_t i = 0; i < input->n_outputs; i++)
        names += strlen(input->outputs[i]) + 1;
    size_t head = sizeof(struct pool_attempt) + input->n_outputs * sizeof(char *);
    struct pool_attempt *attempt = malloc(head + names);
    if (!attempt)
        return NULL;
    *attempt = (struct pool_attempt){.n_rows = input->n_rows, .n_outputs = input->n_outputs};
    char *at = (char *)attempt + head;
    for (uint32_t i = 0; i < input->n_outputs; i++) {
        attempt->outputs[i] = at;
        at = stpcpy(at, input->outputs[i]) + 1;
    }
    return attempt;
}

static void attempt_free(struct pool_attempt *attempt)
{
    rpc_payload_free(attempt->payload);
    free(attempt);
}

static enum gw_status attempt_write(struct pool_attempt *attempt, const struct predict_input *input)
{
    size_t size = worker_predict_size(input);
    uint8_t *bytes;
    if (!size || size > attempt->pool->home.version->limits.max_message_bytes)
        return GW_E_TOO_LARGE;
    attempt->payload = rpc_payload_new(size, &bytes);
    return attempt->payload ? worker_predict_write(input, bytes, size) : GW_E_NO_MEMORY;
}

static void attempt_link(struct pool_attempt *attempt)
{
    struct pool *pool = attempt->pool;
    attempt->next = pool->attempts;
    attempt->link = &pool->attempts;
    if (attempt->next)
        attempt->next->link = &attempt->next;
    pool->attempts = attempt;
}

/* GW_E_NO_MEMORY, in attempt->err too: then nothing was sent. */
static enum gw_status attempt_send(struct pool_attempt *attempt, struct replica *replica)
{
    attempt->rpc = rpc_call_start(replica->channel, attempt->payload, PREDICT, attempt->call->deadline_us,
                                  attempt_replied, attempt);
    if (!attempt->rpc)
        return gw_err_set(&attempt->err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
    attempt->state = ATTEMPT_SENT;
    attempt->replica = replica;
    attempt->replica_id = replica->id;
    attempt->connection = replica->connection;
    attempt->spell = replica->spells;
    memcpy(attempt->digest, replica->digest_hash, sizeof attempt->digest);
    attempt->sent++;
    replica_sent(replica, attempt->n_rows);
    attempt->call->slowness = busy_slowness(&replica->busy);
    busy_sent(&replica->busy, attempt->expected_us, loop_now_us());
    return GW_OK;
}

/* The replica's words go into attempt->err, for a person. */
static enum gw_status attempt_judge(struct pool_attempt *attempt, const struct rpc_reply *reply,
                                    struct predict_result **result)
{
    struct gw_err *err = &attempt->err;
    *err = (struct gw_err){.status = GW_OK};
    switch (reply->status) {
    case GW_OK:
        err->status = worker_predict_read(reply->bytes, reply->size, attempt->n_rows,
                                          attempt->pool->home.version->signature, attempt->outputs,
                                          attempt->n_outputs, result, err);
        break;
    case GW_E_NOT_IMPLEMENTED:
        gw_err_set(err, GW_E_CONTRACT, "the replica has no Predict: %s", reply->message);
        break;
    case GW_E_NO_REPLICA:
        gw_err_set(err, GW_E_NO_REPLICA, "the replica was lost: %s", reply->message);
        break;
    case GW_E_DEADLINE:
    case GW_E_CANCELLED:
        gw_err_set(err, reply->status, "%s", gw_status_words(reply->status));
        break;
    default:
        gw_err_set(err, reply->status, "%s",
                   reply->message[0] ? reply->message : gw_status_words(reply->status));
        break;
    }
    if (err->status == GW_OK)
        memcpy((*result)->digest, attempt->digest, sizeof attempt->digest);
    return err->status;
}

static void pool_count(struct pool *pool, enum gw_status status, uint64_t rpc_us)
{
    if (pool->rpcs[status])
        metric_add(pool->rpcs[status], 1);
    if (status != GW_E_NO_REPLICA && status != GW_E_CANCELLED)
        histogram_observe(pool->rpc_seconds, rpc_us);
}

/* The replica is done with it, for better or worse. */
static void attempt_left(struct pool_attempt *attempt, enum gw_status status, uint64_t now_us)
{
    struct busy *busy = &attempt->replica->busy;
    bool goes_on = status == GW_E_CANCELLED || status == GW_E_DEADLINE;
    attempt->call->busy_us = status == GW_OK && !attempt->call->is_untypical
                                 ? busy_back(busy, attempt->expected_us, now_us)
                                 : busy_lost(busy, attempt->expected_us, goes_on, now_us);
}

static void attempt_replied(void *owner, const struct rpc_reply *reply)
{
    struct pool_attempt *attempt = owner;
    struct pool *pool = attempt->pool;
    if (!pool) {
        attempt_free(attempt);
        return;
    }
    struct predict_result *result = NULL;
    uint64_t rpc_us = reply->done_us - reply->sent_us;
    enum gw_status status = attempt_judge(attempt, reply, &result);
    pool_count(pool, status, rpc_us);
    uint32_t cost = retry_cost(attempt, reply);
    if (is_first_loss(attempt, reply)) {
        atomic_fetch_add_explicit(&pool->crashes, 1, memory_order_relaxed);
        attempt->replica->parted = attempt->spell;
    }
    attempt->rpc = NULL;
    attempt->lost = status == GW_E_NO_REPLICA;
    attempt_left(attempt, status, reply->done_us);
    replica_answered(attempt->replica, attempt->n_rows, attempt->connection, status, attempt->err.what);
    members_changed(&pool->members, NULL);
    bool elsewhere = status == GW_E_NO_REPLICA || status == GW_E_OVERLOAD;
    if (!elsewhere || !attempt_again(attempt, cost)) {
        attempt_done(attempt, result, rpc_us);
        attempt_free(attempt);
    }
    pool_settle(pool);
}

/* Sends it to another replica, now or when there is a slot. False: it ends as it is. */
static bool attempt_again(struct pool_attempt *attempt, uint32_t cost)
{
    struct pool *pool = attempt->pool;
    if (attempt->cancelled || attempt->sent >= pool->home.version->limits.attempts ||
        pool->retry_tokens < cost || loop_now_us() >= attempt->call->deadline_us)
        return false;
    struct replica *replica = pool_choose(pool, attempt);
    if (replica ? attempt_send(attempt, replica) != GW_OK : !attempt_wait(attempt))
        return false;
    pool->retry_tokens -= cost;
    metric_add(pool->retries, 1);
    return true;
}

static bool attempt_wait(struct pool_attempt *attempt)
{
    struct pool *pool = attempt->pool;
    attempt->timer.fire = attempt_timed_out;
    if (!attempt_may_wait(attempt) ||
        loop_timer_set(pool->home.loop, &attempt->timer, attempt->call->deadline_us) != GW_OK)
        return false;
    attempt->state = ATTEMPT_WAITING;
    pool->n_waiting++;
    return true;
}

static void attempt_waited(struct pool_attempt *attempt)
{
    loop_timer_cancel(attempt->pool->home.loop, &attempt->timer);
    attempt->pool->n_waiting--;
}

static void attempt_timed_out(struct loop_timer *timer)
{
    struct pool_attempt *attempt = container_of(timer, struct pool_attempt, timer);
    enum gw_status status = pool_any_ready(attempt->pool) ? GW_E_DEADLINE : GW_E_NO_REPLICA;
    attempt_waited(attempt);
    gw_err_set(&attempt->err, status, "%s", gw_status_words(status));
    attempt_done(attempt, NULL, 0);
    attempt_free(attempt);
}

static void attempt_end_cancelled(struct loop_task *task)
{
    struct pool_attempt *attempt = container_of(task, struct pool_attempt, task);
    if (attempt->pool) {
        gw_err_set(&attempt->err, GW_E_CANCELLED, "%s", gw_status_words(GW_E_CANCELLED));
        attempt_done(attempt, NULL, 0);
    }
    attempt_free(attempt);
}

/* Takes the call out of the pool and hands it back with attempt->err. The attempt's memory is the caller's to
 * free. */
static void attempt_done(struct pool_attempt *attempt, struct predict_result *result, uint64_t rpc_us)
{
    struct pool_call *call = attempt->call;
    *attempt->link = attempt->next;
    if (attempt->next)
        attempt->next->link = attempt->link;
    attempt->pool = NULL;
    call->attempt = NULL;
    call->done(call, result, &attempt->err, rpc_us);
}
