/* attempts: a call is written and sent, judged when it comes back, sent again or done. */
#include "replica/attempts.h"

#include <stdlib.h>
#include <string.h>

#define PREDICT "/xebec.worker.v1.Worker/Predict"

/* One call. */
struct pool_attempt {
    struct attempts *attempts; /* NULL: the call is done; the memory waits for a callback */
    struct pool_call *call;
    enum { ATTEMPT_SENT, ATTEMPT_WAITING, ATTEMPT_ENDING } state;
    struct errand errand;
    struct replica *replica;    /* SENT: where it is */
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
    uint32_t n_outputs;
    const char *outputs[]; /* what the answer is judged by: copies, which lie behind */
};

static struct pool_attempt *attempt_new(const struct predict_input *input);
static void attempt_free(struct pool_attempt *attempt);
static enum gw_status attempt_write(struct pool_attempt *attempt, const struct predict_input *input);
static void attempt_link(struct pool_attempt *attempt);
static struct replica *attempt_choose(const struct pool_attempt *attempt);
static enum gw_status attempt_send(struct pool_attempt *attempt, struct replica *replica);
static void attempt_replied(void *owner, const struct rpc_reply *reply);
static bool attempt_again(struct pool_attempt *attempt, uint32_t cost);
static bool attempt_wait(struct pool_attempt *attempt);
static bool attempt_may_wait(const struct pool_attempt *attempt);
static void attempt_waited(struct pool_attempt *attempt);
static void attempt_timed_out(struct loop_timer *timer);
static void attempt_end_cancelled(struct loop_task *task);
static void attempt_done(struct pool_attempt *attempt, struct predict_result *result, uint64_t rpc_us);

/* --- open and close --- */

/* Every series that calls of this version will write. */
static bool attempts_measure(struct attempts *attempts, const char *name)
{
    struct metrics *metrics = attempts->metrics;
    static const enum gw_status outcomes[] = {GW_OK,           GW_E_INVALID,   GW_E_OVERLOAD,
                                              GW_E_CANCELLED,  GW_E_MODEL,     GW_E_CONTRACT,
                                              GW_E_NO_REPLICA, GW_E_NO_MEMORY, GW_E_DEADLINE};
    const char *const *labels = METRIC_LABELS("version", name);
    bool all = true;
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
        const char *outcome = gw_status_cause(outcomes[i]);
        attempts->rpcs[outcomes[i]] =
            metrics_series(metrics, METRIC_RPCS, METRIC_LABELS("version", name, "outcome", outcome));
        all = all && attempts->rpcs[outcomes[i]];
    }
    attempts->retried = metrics_series(metrics, METRIC_RETRIES, labels);
    attempts->rpc_seconds = metrics_histogram(metrics, METRIC_RPC_SECONDS, labels);
    return all && attempts->retried && attempts->rpc_seconds;
}

enum gw_status attempts_init(struct attempts *attempts, struct replica_home *home,
                             const struct members *members, struct metrics *metrics, const char *name)
{
    attempts->home = home;
    attempts->members = members;
    attempts->metrics = metrics;
    budget_init(&attempts->retries, home->version->limits.retry_percent);
    return attempts_measure(attempts, name) ? GW_OK : GW_E_NO_MEMORY;
}

void attempts_end(struct attempts *attempts)
{
    while (attempts->all) {
        struct pool_attempt *attempt = attempts->all;
        bool waiting = attempt->state == ATTEMPT_WAITING;
        if (waiting)
            attempt_waited(attempt);
        gw_err_set(&attempt->err, GW_E_CANCELLED, "%s", gw_status_words(GW_E_CANCELLED));
        attempt_done(attempt, NULL, 0);
        if (waiting)
            attempt_free(attempt); /* else its callback is still to come, and frees it */
    }
}

void attempts_clear(struct attempts *attempts)
{
    for (int status = 0; status < GW_STATUS_COUNT; status++)
        metrics_release(attempts->metrics, attempts->rpcs[status]);
    metrics_release(attempts->metrics, attempts->retried);
    metrics_release(attempts->metrics, attempts->rpc_seconds);
}

/* --- a call begins --- */

enum gw_status attempts_begin(struct attempts *attempts, struct pool_call *call)
{
    struct pool_attempt *attempt = attempt_new(&call->input);
    if (!attempt)
        return GW_E_NO_MEMORY;
    attempt->attempts = attempts;
    attempt->call = call;
    attempt->errand.expected_us = call->expected_us;
    struct replica *replica = attempt_choose(attempt);
    enum gw_status status = replica ? attempt_write(attempt, &call->input) : GW_E_NO_REPLICA;
    if (status == GW_OK)
        status = attempt_send(attempt, replica);
    if (status != GW_OK) {
        attempt_free(attempt);
        return status;
    }
    attempt_link(attempt);
    call->attempt = attempt;
    budget_earn(&attempts->retries);
    return GW_OK;
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
    *attempt = (struct pool_attempt){.errand.rows = input->n_rows, .n_outputs = input->n_outputs};
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
    if (!size || size > attempt->attempts->home->version->limits.max_message_bytes)
        return GW_E_TOO_LARGE;
    attempt->payload = rpc_payload_new(size, &bytes);
    return attempt->payload ? worker_predict_write(input, bytes, size) : GW_E_NO_MEMORY;
}

static void attempt_link(struct pool_attempt *attempt)
{
    struct attempts *attempts = attempt->attempts;
    attempt->next = attempts->all;
    attempt->link = &attempts->all;
    if (attempt->next)
        attempt->next->link = &attempt->next;
    attempts->all = attempt;
}

static struct replica *attempt_choose(const struct pool_attempt *attempt)
{
    struct attempts *attempts = attempt->attempts;
    return choice_best(attempts->members, &attempt->errand, &attempts->turn, loop_now_us());
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
    attempt->errand.shunned_id = replica->id;
    attempt->errand.shunned_spell = attempt->spell = replica->spells;
    attempt->connection = replica->connection;
    memcpy(attempt->digest, replica->digest_hash, sizeof attempt->digest);
    attempt->sent++;
    replica_sent(replica, attempt->errand.rows);
    attempt->call->slowness = busy_slowness(&replica->busy);
    busy_sent(&replica->busy, attempt->errand.expected_us, loop_now_us());
    return GW_OK;
}

/* --- it comes back --- */

/* The replica's words go into attempt->err, for a person. */
static enum gw_status attempt_judge(struct pool_attempt *attempt, const struct rpc_reply *reply,
                                    struct predict_result **result)
{
    struct gw_err *err = &attempt->err;
    *err = (struct gw_err){.status = GW_OK};
    switch (reply->status) {
    case GW_OK:
        err->status = worker_predict_take(reply->holder, reply->bytes, reply->size, attempt->errand.rows,
                                          attempt->attempts->home->version->signature, attempt->outputs,
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

static void attempts_count(struct attempts *attempts, enum gw_status status, uint64_t rpc_us)
{
    if (attempts->rpcs[status])
        metric_add(attempts->rpcs[status], 1);
    if (status != GW_E_NO_REPLICA && status != GW_E_CANCELLED)
        histogram_observe(attempts->rpc_seconds, rpc_us);
}

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
    return reply->status != GW_E_NO_REPLICA || is_first_loss(attempt, reply) ? BUDGET_ONE : 0;
}

/* The replica is done with it, for better or worse. */
static void attempt_left(struct pool_attempt *attempt, enum gw_status status, uint64_t now_us)
{
    struct busy *busy = &attempt->replica->busy;
    uint64_t expected_us = attempt->errand.expected_us;
    bool goes_on = status == GW_E_CANCELLED || status == GW_E_DEADLINE;
    attempt->call->busy_us = status == GW_OK && !attempt->call->is_untypical
                                 ? busy_back(busy, expected_us, now_us)
                                 : busy_lost(busy, expected_us, goes_on, now_us);
}

static void attempt_replied(void *owner, const struct rpc_reply *reply)
{
    struct pool_attempt *attempt = owner;
    struct attempts *attempts = attempt->attempts;
    if (!attempts) {
        attempt_free(attempt);
        return;
    }
    struct predict_result *result = NULL;
    uint64_t rpc_us = reply->done_us - reply->sent_us;
    enum gw_status status = attempt_judge(attempt, reply, &result);
    attempts_count(attempts, status, rpc_us);
    uint32_t cost = retry_cost(attempt, reply);
    if (is_first_loss(attempt, reply)) {
        atomic_fetch_add_explicit(&attempts->crashes, 1, memory_order_relaxed);
        attempt->replica->parted = attempt->spell;
    }
    attempt->rpc = NULL;
    attempt->lost = status == GW_E_NO_REPLICA;
    attempt_left(attempt, status, reply->done_us);
    replica_answered(attempt->replica, attempt->errand.rows, attempt->connection, status, attempt->err.what);
    bool elsewhere = status == GW_E_NO_REPLICA || status == GW_E_OVERLOAD;
    if (!elsewhere || !attempt_again(attempt, cost)) {
        attempt_done(attempt, result, rpc_us);
        attempt_free(attempt);
    }
    attempts->home->changed(attempts->home, NULL);
}

/* --- it is sent again --- */

/* Sends it to another replica, now or when there is a slot. False: it ends as it is. */
static bool attempt_again(struct pool_attempt *attempt, uint32_t cost)
{
    struct attempts *attempts = attempt->attempts;
    if (attempt->cancelled || attempt->sent >= attempts->home->version->limits.attempts ||
        !budget_allows(&attempts->retries, cost) || loop_now_us() >= attempt->call->deadline_us)
        return false;
    struct replica *replica = attempt_choose(attempt);
    if (replica ? attempt_send(attempt, replica) != GW_OK : !attempt_wait(attempt))
        return false;
    budget_spend(&attempts->retries, cost);
    metric_add(attempts->retried, 1);
    return true;
}

static bool attempt_wait(struct pool_attempt *attempt)
{
    struct attempts *attempts = attempt->attempts;
    attempt->timer.fire = attempt_timed_out;
    if (!attempt_may_wait(attempt) ||
        loop_timer_set(attempts->home->loop, &attempt->timer, attempt->call->deadline_us) != GW_OK)
        return false;
    attempt->state = ATTEMPT_WAITING;
    attempts->n_waiting++;
    return true;
}

/* Whether there is something to wait for. */
static bool attempt_may_wait(const struct pool_attempt *attempt)
{
    return (attempt->lost && attempt->call->waits) ||
           choice_exists(attempt->attempts->members, &attempt->errand);
}

static void attempt_waited(struct pool_attempt *attempt)
{
    loop_timer_cancel(attempt->attempts->home->loop, &attempt->timer);
    attempt->attempts->n_waiting--;
}

void attempts_serve(struct attempts *attempts)
{
    struct pool_attempt *next;
    for (struct pool_attempt *attempt = attempts->n_waiting ? attempts->all : NULL; attempt; attempt = next) {
        next = attempt->next;
        if (attempt->state != ATTEMPT_WAITING)
            continue;
        struct replica *replica = attempt_choose(attempt);
        if (!replica && attempt_may_wait(attempt))
            continue;
        attempt_waited(attempt);
        if (replica && attempt_send(attempt, replica) == GW_OK)
            continue;
        attempt_done(attempt, NULL, 0);
        attempt_free(attempt);
    }
}

bool attempts_is_waiting(const struct pool_call *call)
{
    return call->attempt && call->attempt->state == ATTEMPT_WAITING;
}

/* --- it ends --- */

void attempts_cancel(struct attempts *attempts, struct pool_call *call)
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
    loop_post(attempts->home->loop, &attempt->task);
}

static void attempt_end_cancelled(struct loop_task *task)
{
    struct pool_attempt *attempt = container_of(task, struct pool_attempt, task);
    if (attempt->attempts) {
        gw_err_set(&attempt->err, GW_E_CANCELLED, "%s", gw_status_words(GW_E_CANCELLED));
        attempt_done(attempt, NULL, 0);
    }
    attempt_free(attempt);
}

static void attempt_timed_out(struct loop_timer *timer)
{
    struct pool_attempt *attempt = container_of(timer, struct pool_attempt, timer);
    bool any_ready = atomic_load_explicit(&attempt->attempts->home->n_ready, memory_order_relaxed) > 0;
    enum gw_status status = any_ready ? GW_E_DEADLINE : GW_E_NO_REPLICA;
    attempt_waited(attempt);
    gw_err_set(&attempt->err, status, "%s", gw_status_words(status));
    attempt_done(attempt, NULL, 0);
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
    attempt->attempts = NULL;
    call->attempt = NULL;
    call->done(call, result, &attempt->err, rpc_us);
}
