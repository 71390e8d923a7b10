/* attempts: a call is written and sent, judged when it comes back, sent again or done. */
#include "replica/attempts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREDICT "/xebec.worker.v1.Worker/Predict"

enum {
    HEDGE_LEAST_US =
        1000, /* a copy earlier than this costs more than it saves, and so does looking more often */
};

/* One copy of a call, at one replica. */
struct sending {
    struct pool_attempt *attempt;
    struct rpc_call *rpc; /* NULL: it is not out */
    bool recalled;        /* nobody wants it any more: its callback is only to come */
    struct replica *replica;
    uint32_t connection, spell;    /* of the replica, when it was sent there */
    uint64_t digest[2];            /* likewise */
    double slowness;               /* likewise */
    uint64_t sent_us, expected_us; /* to be back, with what the replica had to do before it; 0: unknown */
    uint64_t late_us;              /* when it is; UINT64_MAX: unknown */
};

enum { FIRST, HEDGE, COPIES };

/* One call. */
struct pool_attempt {
    struct attempts *attempts; /* NULL: the call is done; the memory waits for callbacks */
    struct pool_call *call;
    enum { ATTEMPT_SENT, ATTEMPT_WAITING, ATTEMPT_ENDING } state;
    struct errand errand;
    struct sending copies[COPIES];
    uint32_t callbacks; /* of copies and of ENDING, to come */
    uint32_t sent;      /* times, copies included */
    bool hedged;        /* once is enough */
    bool lost;          /* WAITING: because its replica was lost, not because it shed the call */
    bool cancelled;
    uint64_t hedge_at_us;        /* when to see whether it should be; UINT64_MAX: never */
    struct rpc_payload *payload; /* the request, for as often as it takes */
    struct gw_err err;           /* how the last sending ended */
    struct loop_timer timer;     /* WAITING: until the deadline */
    struct loop_task task;       /* ENDING */
    struct pool_attempt *next, **link;
    uint32_t n_outputs;
    const char *outputs[]; /* what the answer is judged by: copies, which lie behind */
};

static struct pool_attempt *attempt_new(const struct predict_input *input);
static void attempt_free(struct pool_attempt *attempt);
static enum gw_status attempt_write(struct pool_attempt *attempt, const struct predict_input *input);
static void attempt_link(struct pool_attempt *attempt);
static struct replica *attempt_choose(const struct pool_attempt *attempt);
static enum gw_status attempt_send(struct pool_attempt *attempt, int which, struct replica *replica);
static void attempts_look(struct loop_timer *timer);
static void sending_replied(void *owner, const struct rpc_reply *reply);
static void sending_recall(struct sending *sending);
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
    static const char *const hedges[HEDGE_OUTCOME_COUNT] = {
        [HEDGE_WON] = "won", [HEDGE_LOST] = "lost", [HEDGE_FAILED] = "failed"};
    for (int i = 0; i < HEDGE_OUTCOME_COUNT; i++) {
        attempts->hedged[i] =
            metrics_series(metrics, METRIC_HEDGES, METRIC_LABELS("version", name, "outcome", hedges[i]));
        all = all && attempts->hedged[i];
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
    budget_init(&attempts->hedges, home->version->limits.hedge_percent);
    attempts->watch.fire = attempts_look;
    if (!attempts_measure(attempts, name))
        return GW_E_NO_MEMORY;
    return loop_timer_set(home->loop, &attempts->watch, UINT64_MAX);
}

void attempts_end(struct attempts *attempts)
{
    while (attempts->all) {
        struct pool_attempt *attempt = attempts->all;
        if (attempt->state == ATTEMPT_WAITING)
            attempt_waited(attempt);
        gw_err_set(&attempt->err, GW_E_CANCELLED, "%s", gw_status_words(GW_E_CANCELLED));
        attempt_done(attempt, NULL, 0);
    }
}

void attempts_clear(struct attempts *attempts)
{
    loop_timer_cancel(attempts->home->loop, &attempts->watch);
    for (int i = 0; i < HEDGE_OUTCOME_COUNT; i++)
        metrics_release(attempts->metrics, attempts->hedged[i]);
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
        status = attempt_send(attempt, FIRST, replica);
    if (status != GW_OK) {
        attempt_free(attempt);
        return status;
    }
    attempt_link(attempt);
    call->attempt = attempt;
    budget_earn(&attempts->retries);
    if (call->may_hedge)
        budget_earn(&attempts->hedges);
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
    *attempt = (struct pool_attempt){
        .errand.rows = input->n_rows, .hedge_at_us = UINT64_MAX, .n_outputs = input->n_outputs};
    for (int i = 0; i < COPIES; i++)
        attempt->copies[i].attempt = attempt;
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

/* So that attempts_look() runs then, at the latest. Moving a timer that is set can't fail. */
static void attempts_watch(struct attempts *attempts, uint64_t at_us)
{
    if (at_us < attempts->watch.at_us)
        (void)!loop_timer_set(attempts->home->loop, &attempts->watch, at_us);
}

/* When the first copy, just sent, should have another beside it, if it may. */
static void attempt_plan_hedge(struct pool_attempt *attempt)
{
    struct attempts *attempts = attempt->attempts;
    const struct sending *first = &attempt->copies[FIRST];
    attempt->hedge_at_us = UINT64_MAX;
    if (!attempt->call->may_hedge || attempt->hedged || !attempts->hedges.percent || attempts->members->n < 2)
        return;
    uint64_t least_us = first->sent_us + HEDGE_LEAST_US;
    attempt->hedge_at_us = first->late_us > least_us ? first->late_us : least_us;
    attempts_watch(attempts, attempt->hedge_at_us);
}

/* GW_E_NO_MEMORY, in attempt->err too: then nothing was sent. */
static enum gw_status attempt_send(struct pool_attempt *attempt, int which, struct replica *replica)
{
    struct sending *sending = &attempt->copies[which];
    uint64_t now_us = loop_now_us(), expected_us = attempt->errand.expected_us;
    struct rpc_call *rpc = rpc_call_start(replica->channel, attempt->payload, PREDICT,
                                          attempt->call->deadline_us, sending_replied, sending);
    if (!rpc)
        return gw_err_set(&attempt->err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
    *sending = (struct sending){.attempt = attempt,
                                .rpc = rpc,
                                .replica = replica,
                                .connection = replica->connection,
                                .spell = replica->spells,
                                .digest = {replica->digest_hash[0], replica->digest_hash[1]},
                                .slowness = choice_slowness(attempt->attempts->members, replica),
                                .sent_us = now_us};
    if (expected_us)
        sending->expected_us = busy_done_us(&replica->busy, expected_us, now_us) - now_us;
    uint64_t after_us = lateness_after_us(&attempt->attempts->lateness, sending->expected_us);
    sending->late_us = after_us < UINT64_MAX ? now_us + after_us : UINT64_MAX;
    attempt->state = ATTEMPT_SENT;
    attempt->sent++;
    attempt->callbacks++;
    replica_sent(replica, attempt->errand.rows);
    busy_sent(&replica->busy, expected_us, now_us);
    if (which == FIRST)
        attempt_plan_hedge(attempt);
    return GW_OK;
}

/* --- it is late --- */

/* A second copy, where there is nothing to do: under load there is no such place, and no hedges. Else again
 * later. */
static void attempt_hedge(struct pool_attempt *attempt, uint64_t now_us)
{
    struct attempts *attempts = attempt->attempts;
    struct errand errand = attempt->errand;
    attempt->hedge_at_us = UINT64_MAX;
    if (attempt->state != ATTEMPT_SENT || attempt->cancelled || now_us >= attempt->call->deadline_us ||
        attempt->sent >= attempts->home->version->limits.attempts)
        return;
    errand.other_than = attempt->copies[FIRST].replica;
    struct replica *replica = budget_allows(&attempts->hedges, BUDGET_ONE)
                                  ? choice_idle(attempts->members, &errand, &attempts->turn, now_us)
                                  : NULL;
    if (!replica || attempt_send(attempt, HEDGE, replica) != GW_OK) {
        attempt->hedge_at_us = now_us + HEDGE_LEAST_US;
        return;
    }
    attempt->hedged = true;
    budget_spend(&attempts->hedges, BUDGET_ONE);
}

static void attempts_look(struct loop_timer *timer)
{
    struct attempts *attempts = container_of(timer, struct attempts, watch);
    uint64_t now_us = loop_now_us(), next_us = UINT64_MAX;
    (void)!loop_timer_set(attempts->home->loop, timer, UINT64_MAX); /* first, while its place is free */
    for (struct pool_attempt *attempt = attempts->all; attempt; attempt = attempt->next) {
        if (attempt->hedge_at_us <= now_us)
            attempt_hedge(attempt, now_us);
        next_us = attempt->hedge_at_us < next_us ? attempt->hedge_at_us : next_us;
    }
    attempts_watch(attempts, next_us);
}

/* --- it comes back --- */

/* The replica's words go into attempt->err, for a person. */
static enum gw_status sending_judge(struct sending *sending, const struct rpc_reply *reply,
                                    struct predict_result **result)
{
    struct pool_attempt *attempt = sending->attempt;
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
        memcpy((*result)->digest, sending->digest, sizeof sending->digest);
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
static bool is_first_loss(const struct sending *sending, const struct rpc_reply *reply)
{
    return reply->status == GW_E_NO_REPLICA && !reply->unsent && sending->spell > sending->replica->parted;
}

/*
 * What sending it again takes out of the budget. A replica is lost with all its calls, and pays with the
 * first that comes back; a call that never left cost nobody anything.
 */
static uint32_t retry_cost(const struct sending *sending, const struct rpc_reply *reply)
{
    return reply->status != GW_E_NO_REPLICA || is_first_loss(sending, reply) ? BUDGET_ONE : 0;
}

static bool is_given_up(enum gw_status status)
{
    return status == GW_E_CANCELLED || status == GW_E_DEADLINE;
}

/* The replica gave no answer in time. When that becomes a habit of its own, it is left alone for a while. */
static void replica_kept_silent(const struct sending *sending, uint64_t now_us)
{
    struct replica *replica = sending->replica;
    char why[sizeof replica->why];
    if (!trust_given_up(&replica->trust, sending->sent_us) ||
        !choice_can_do_without(sending->attempt->attempts->members, replica))
        return;
    snprintf(why, sizeof why,
             "ejected: %" PRIu32 " calls without an answer in %" PRIu64 " ms, while others answer",
             replica->trust.given_up, (now_us - replica->trust.silent_since_us) / 1000);
    replica_trust(replica, TRUST_EJECTED, why);
}

/* What is learned from its end: of calls, when they are late; of the replica, whether it answers. */
static void sending_teach(const struct sending *sending, enum gw_status status, uint64_t now_us)
{
    struct pool_attempt *attempt = sending->attempt;
    uint64_t late_us = sending->late_us < UINT64_MAX ? sending->late_us : attempt->call->deadline_us;
    bool was_late = is_given_up(status) && now_us >= late_us;
    if (sending == &attempt->copies[FIRST] && !attempt->call->is_untypical && (was_late || status == GW_OK))
        lateness_observe(&attempt->attempts->lateness, sending->expected_us,
                         was_late ? UINT64_MAX : now_us - sending->sent_us);
    if (was_late)
        replica_kept_silent(sending, now_us);
    else if (!is_given_up(status) && status != GW_E_NO_REPLICA && status != GW_E_NO_MEMORY)
        replica_trust(sending->replica, trust_answered(&sending->replica->trust, now_us), "");
}

/* The replica is done with it, for better or worse; or we are. */
static void sending_left(struct sending *sending, enum gw_status status, const char *words, uint64_t now_us)
{
    struct pool_attempt *attempt = sending->attempt;
    struct busy *busy = &sending->replica->busy;
    uint64_t expected_us = attempt->errand.expected_us;
    sending->rpc = NULL;
    attempt->call->slowness = sending->slowness;
    attempt->call->busy_us = status == GW_OK && !attempt->call->is_untypical
                                 ? busy_back(busy, expected_us, now_us)
                                 : busy_lost(busy, expected_us, is_given_up(status), now_us);
    replica_answered(sending->replica, attempt->errand.rows, sending->connection, status, words);
    sending_teach(sending, status, now_us);
}

/* The other copy was quicker, or nobody asks any more. What comes of it is nobody's business. */
static void sending_recall(struct sending *sending)
{
    struct rpc_call *rpc = sending->rpc;
    if (!rpc)
        return;
    sending->recalled = true;
    attempts_count(sending->attempt->attempts, GW_E_CANCELLED, 0);
    sending_left(sending, GW_E_CANCELLED, "", loop_now_us());
    rpc_call_cancel(rpc);
}

static bool is_answer(enum gw_status status)
{
    return status == GW_OK || status == GW_E_MODEL || status == GW_E_INVALID;
}

/* The call ends with what this copy brought, or the other copy, if there was one, does better. */
static void attempt_answered(struct pool_attempt *attempt, const struct sending *by, enum gw_status status,
                             struct predict_result *result, uint64_t rpc_us)
{
    uint64_t busy_us = attempt->call->busy_us;
    double slowness = by->slowness;
    for (int i = 0; i < COPIES; i++)
        sending_recall(&attempt->copies[i]);
    attempt->call->busy_us = busy_us; /* of the answer, not of who was recalled */
    attempt->call->slowness = slowness;
    if (attempt->hedged) {
        enum hedge_outcome outcome = !is_answer(status)              ? HEDGE_FAILED
                                     : by == &attempt->copies[HEDGE] ? HEDGE_WON
                                                                     : HEDGE_LOST;
        metric_add(attempt->attempts->hedged[outcome], 1);
    }
    attempt_done(attempt, result, rpc_us);
}

static void sending_replied(void *owner, const struct rpc_reply *reply)
{
    struct sending *sending = owner;
    struct pool_attempt *attempt = sending->attempt;
    struct attempts *attempts = attempt->attempts;
    attempt->callbacks--;
    if (sending->recalled) {
        if (!attempts && !attempt->callbacks)
            attempt_free(attempt);
        return;
    }
    struct predict_result *result = NULL;
    uint64_t rpc_us = reply->done_us - reply->sent_us;
    enum gw_status status = sending_judge(sending, reply, &result);
    attempts_count(attempts, status, rpc_us);
    uint32_t cost = retry_cost(sending, reply);
    if (is_first_loss(sending, reply)) {
        atomic_fetch_add_explicit(&attempts->crashes, 1, memory_order_relaxed);
        sending->replica->parted = sending->spell;
    }
    attempt->lost = status == GW_E_NO_REPLICA;
    attempt->errand.shunned_id = sending->replica->id;
    attempt->errand.shunned_spell = sending->spell;
    sending_left(sending, status, attempt->err.what, reply->done_us);
    bool elsewhere = status == GW_E_NO_REPLICA || status == GW_E_OVERLOAD;
    bool other_is_out = attempt->copies[FIRST].rpc || attempt->copies[HEDGE].rpc;
    if (!(other_is_out && !is_answer(status)) && !(elsewhere && attempt_again(attempt, cost)))
        attempt_answered(attempt, sending, status, result, rpc_us);
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
    if (replica ? attempt_send(attempt, FIRST, replica) != GW_OK : !attempt_wait(attempt))
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
        if (replica && attempt_send(attempt, FIRST, replica) == GW_OK)
            continue;
        attempt_done(attempt, NULL, 0);
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
        for (int i = 0; i < COPIES; i++)
            if (attempt->copies[i].rpc)
                rpc_call_cancel(attempt->copies[i].rpc);
        return;
    }
    attempt_waited(attempt);
    attempt->state = ATTEMPT_ENDING;
    attempt->callbacks++;
    attempt->task.run = attempt_end_cancelled;
    loop_post(attempts->home->loop, &attempt->task);
}

static void attempt_end_cancelled(struct loop_task *task)
{
    struct pool_attempt *attempt = container_of(task, struct pool_attempt, task);
    attempt->callbacks--;
    if (attempt->attempts) {
        gw_err_set(&attempt->err, GW_E_CANCELLED, "%s", gw_status_words(GW_E_CANCELLED));
        attempt_done(attempt, NULL, 0);
    } else if (!attempt->callbacks) {
        attempt_free(attempt);
    }
}

static void attempt_timed_out(struct loop_timer *timer)
{
    struct pool_attempt *attempt = container_of(timer, struct pool_attempt, timer);
    bool any_ready = atomic_load_explicit(&attempt->attempts->home->n_ready, memory_order_relaxed) > 0;
    enum gw_status status = any_ready ? GW_E_DEADLINE : GW_E_NO_REPLICA;
    attempt_waited(attempt);
    gw_err_set(&attempt->err, status, "%s", gw_status_words(status));
    attempt_done(attempt, NULL, 0);
}

/* Takes the call out of the pool and hands it back with attempt->err. The attempt goes with its last
 * callback. */
static void attempt_done(struct pool_attempt *attempt, struct predict_result *result, uint64_t rpc_us)
{
    struct pool_call *call = attempt->call;
    for (int i = 0; i < COPIES; i++)
        sending_recall(&attempt->copies[i]);
    *attempt->link = attempt->next;
    if (attempt->next)
        attempt->next->link = attempt->link;
    attempt->attempts = NULL;
    call->attempt = NULL;
    call->done(call, result, &attempt->err, rpc_us);
    if (!attempt->callbacks)
        attempt_free(attempt);
}
