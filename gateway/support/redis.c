/*
 * redis: the life of a client in order: greeting, commands out, replies in, timeouts, failure, its end. What
 * is below it: bytes (redis_link), their meaning (resp).
 *
 * Commands in flight are a ring of slots, oldest at `answered`, next at `sent`: replies come in the order of
 * commands, so a slot stays until its reply came, even when nobody waits for it any more.
 *
 *     answered        timed           sent
 *        v              v               v
 *     [ timed out, done ][ being waited for ]
 */
#include "support/redis.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "support/redis_link.h"
#include "support/resp.h"

enum { GREETING_WORDS_MAX = 3 };

struct slot {
    redis_done *done; /* NULL: nobody waits */
    void *owner;
    uint64_t sent_us;
};

enum outcome { OUTCOME_OK, OUTCOME_ERROR, OUTCOME_TIMEOUT, OUTCOME_LOST, OUTCOME_REFUSED, OUTCOME_COUNT };

struct redis {
    struct redis_setup setup;
    struct breaker breaker;
    struct loop_timer
        timer; /* OPEN: the next probe; HALF_OPEN: connected by; CLOSED: the oldest command due by */
    struct loop_task flush;
    bool flush_posted, closing;
    struct redis_link link;
    struct resp_reader reader; /* open while connected */
    struct slot *slots;
    uint64_t timed_out_us; /* when a command last was that had not been under way with the one before */
    uint64_t answered, timed, sent; /* counts; slot of count n is slots[n & mask] */
    uint64_t mask;
    struct metric *states[BREAKER_STATE_COUNT], *outcomes[OUTCOME_COUNT], *opened;
    struct histogram *seconds;
    struct redis_speaker speaker;
    pthread_mutex_t lock; /* of what follows */
    struct redis_status status;
};

static void on_timer(struct loop_timer *timer);
static void on_flush(struct loop_task *task);
static void redis_heard(void *owner, enum redis_link_news news, const char *bytes, size_t length);
static void redis_fail(struct redis *redis, const char *format, ...) GW_PRINTF(2, 3);

/* --- set-up --- */

static bool redis_open_metrics(struct redis *redis)
{
    static const char *const outcomes[OUTCOME_COUNT] = {"ok", "error", "timeout", "lost", "refused"};
    struct metrics *metrics = redis->setup.metrics;
    const char *use = redis->setup.use;
    bool all = true;
    for (int i = 0; i < BREAKER_STATE_COUNT; i++) {
        const char *state = breaker_state_name((enum breaker_state)i);
        redis->states[i] =
            metrics_series(metrics, METRIC_REDIS_BREAKERS, METRIC_LABELS("use", use, "state", state));
        all = all && redis->states[i];
    }
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        redis->outcomes[i] =
            metrics_series(metrics, METRIC_REDIS_COMMANDS, METRIC_LABELS("use", use, "outcome", outcomes[i]));
        all = all && redis->outcomes[i];
    }
    redis->opened = metrics_series(metrics, METRIC_REDIS_OPENED, METRIC_LABELS("use", use));
    redis->seconds = metrics_histogram(metrics, METRIC_REDIS_SECONDS, METRIC_LABELS("use", use));
    return all && redis->opened && redis->seconds;
}

static uint64_t power_of_two(uint32_t least)
{
    uint64_t power = 1;
    while (power < least)
        power *= 2;
    return power;
}

struct redis *redis_new(const struct redis_setup *setup)
{
    uint64_t slots = power_of_two(setup->commands_max), now_us = loop_now_us();
    struct redis *redis = calloc(1, sizeof *redis);
    if (!redis)
        return NULL;
    redis->setup = *setup;
    redis->link = (struct redis_link){.loop = setup->loop,
                                      .resolver = setup->resolver,
                                      .server = setup->server,
                                      .heard = redis_heard,
                                      .owner = redis,
                                      .fd = -1};
    redis->speaker = (struct redis_speaker){.voice = setup->voice, .use = setup->use, .name = setup->name};
    redis->mask = slots - 1;
    redis->timer.fire = on_timer;
    redis->flush.run = on_flush;
    pthread_mutex_init(&redis->lock, NULL);
    redis_speaker_join(&redis->speaker);
    breaker_init(&redis->breaker, &setup->breaker, now_us);
    redis->status = (struct redis_status){redis->breaker.state, now_us, "connecting"};
    redis->slots = calloc(slots, sizeof *redis->slots);
    if (!redis->slots || !redis_open_metrics(redis) ||
        loop_timer_set(setup->loop, &redis->timer, now_us + setup->connect_timeout_us) != GW_OK) {
        redis_free(redis);
        return NULL;
    }
    metric_add(redis->states[redis->breaker.state], 1);
    redis_link_open(&redis->link);
    return redis;
}

/* --- what others see of the breaker --- */

bool redis_is_up(const struct redis *redis)
{
    return redis->breaker.state == BREAKER_CLOSED;
}

void redis_status(struct redis *redis, struct redis_status *status)
{
    pthread_mutex_lock(&redis->lock);
    *status = redis->status;
    pthread_mutex_unlock(&redis->lock);
}

/* After every change of the breaker, which was in state `before`. why NULL: as it was. */
static void redis_publish(struct redis *redis, enum breaker_state before, const char *why)
{
    enum breaker_state now = redis->breaker.state;
    metric_sub(redis->states[before], 1);
    metric_add(redis->states[now], 1);
    pthread_mutex_lock(&redis->lock);
    redis->status.state = now;
    if (before == BREAKER_CLOSED || now == BREAKER_CLOSED)
        redis->status.since_us = redis->breaker.since_us;
    if (why)
        snprintf(redis->status.why, sizeof redis->status.why, "%s", why);
    pthread_mutex_unlock(&redis->lock);
}

static void redis_come_up(struct redis *redis)
{
    enum breaker_state before = redis->breaker.state;
    breaker_close(&redis->breaker, loop_now_us());
    redis_speaker_up(&redis->speaker);
    redis_publish(redis, before, "");
}

/* --- the greeting: what a connection must have said and heard before it is used --- */

static void greeted(void *owner, const struct redis_reply *reply)
{
    struct redis *redis = owner;
    if (reply->kind == REDIS_ERROR)
        redis_fail(redis, "it does not let us in: %.120s", reply->bytes);
}

/* A server, or a user's rights, without names for clients is as good. */
static void named(void *owner, const struct redis_reply *reply)
{
    (void)owner, (void)reply;
}

static void ponged(void *owner, const struct redis_reply *reply)
{
    struct redis *redis = owner;
    bool may_not = reply->kind == REDIS_ERROR && strncmp(reply->bytes, "NOPERM", 6) == 0;
    if (reply->kind == REDIS_ERROR && !may_not) /* LOADING, NOAUTH, MASTERDOWN, ... */
        redis_fail(redis, "it is not ready: %.120s", reply->bytes);
    else if (reply->kind == REDIS_LINE || may_not)
        redis_come_up(redis);
    else if (reply->kind != REDIS_LOST)
        redis_fail(redis, "it does not answer PING as Redis does");
}

static uint64_t redis_put(struct redis *redis, const struct redis_word *words, uint32_t n_words,
                          redis_done *done, void *owner);

static bool greet_with(struct redis *redis, redis_done *done, const char *const *texts)
{
    struct redis_word words[GREETING_WORDS_MAX];
    uint32_t n_words = 0;
    for (; texts[n_words]; n_words++)
        words[n_words] = (struct redis_word){texts[n_words], strlen(texts[n_words])};
    return redis_put(redis, words, n_words, done, redis) != 0;
}

static bool greet_auth(struct redis *redis)
{
    const struct redis_server *server = redis->setup.server;
    if (!server->password)
        return true;
    if (server->user)
        return greet_with(redis, greeted,
                          (const char *const[]){"AUTH", server->user, server->password, NULL});
    return greet_with(redis, greeted, (const char *const[]){"AUTH", server->password, NULL});
}

static bool greet_select(struct redis *redis)
{
    char database[12];
    snprintf(database, sizeof database, "%" PRIu32, redis->setup.server->database);
    return redis->setup.server->database == 0 ||
           greet_with(redis, greeted, (const char *const[]){"SELECT", database, NULL});
}

static void redis_greet(struct redis *redis)
{
    if (!greet_auth(redis) || !greet_select(redis) ||
        !greet_with(redis, named, (const char *const[]){"CLIENT", "SETNAME", redis->setup.name, NULL}) ||
        !greet_with(redis, ponged, (const char *const[]){"PING", NULL}))
        redis_fail(redis, "out of memory");
}

/* --- commands out --- */

static uint64_t redis_put(struct redis *redis, const struct redis_word *words, uint32_t n_words,
                          redis_done *done, void *owner)
{
    size_t unsent = redis_link_unsent(&redis->link);
    for (uint32_t i = 0; i < n_words; i++)
        unsent += words[i].length;
    if (redis->sent - redis->answered > redis->mask || unsent > redis->setup.unsent_bytes_max ||
        !resp_put(&redis->link.out, words, n_words))
        return 0;
    redis->slots[redis->sent & redis->mask] =
        (struct slot){.done = done, .owner = owner, .sent_us = loop_now_us()};
    if (!redis->flush_posted) {
        redis->flush_posted = true;
        loop_post(redis->setup.loop, &redis->flush);
    }
    return ++redis->sent;
}

/* The timer is always set: moving it cannot fail. */
static void redis_set_timer(struct redis *redis, uint64_t at_us)
{
    if (loop_timer_set(redis->setup.loop, &redis->timer, at_us) != GW_OK)
        abort();
}

uint64_t redis_send(struct redis *redis, const struct redis_word *words, uint32_t n_words, redis_done *done,
                    void *owner)
{
    uint64_t ticket = redis_is_up(redis) ? redis_put(redis, words, n_words, done, owner) : 0;
    if (!ticket) {
        metric_add(redis->outcomes[OUTCOME_REFUSED], 1);
        return 0;
    }
    uint64_t due_us = redis->slots[(ticket - 1) & redis->mask].sent_us + redis->setup.command_timeout_us;
    if (due_us < redis->timer.at_us)
        redis_set_timer(redis, due_us);
    return ticket;
}

void redis_cancel(struct redis *redis, uint64_t ticket)
{
    if (ticket > redis->answered)
        redis->slots[(ticket - 1) & redis->mask].done = NULL;
}

static void redis_destroy(struct redis *redis);

/* At the end of a turn: all its commands at once. */
static void on_flush(struct loop_task *task)
{
    struct redis *redis = container_of(task, struct redis, flush);
    redis->flush_posted = false;
    if (redis->closing)
        redis_destroy(redis);
    else
        redis_link_write(&redis->link);
}

/* --- replies in --- */

/* The oldest command was answered. */
static void redis_answer(struct redis *redis, const struct redis_reply *reply, uint64_t now_us)
{
    struct slot slot = redis->slots[redis->answered++ & redis->mask];
    bool in_time = redis->timed < redis->answered;
    if (in_time)
        redis->timed = redis->answered;
    if (redis_is_up(redis)) {
        metric_add(redis->outcomes[reply->kind == REDIS_ERROR ? OUTCOME_ERROR : OUTCOME_OK], in_time);
        histogram_observe(redis->seconds, now_us - slot.sent_us);
        if (in_time) /* else it is still as slow as it was */
            breaker_answered(&redis->breaker);
    }
    if (slot.done)
        slot.done(slot.owner, reply);
}

/* Hands out every reply that is whole. One of them may end the connection, and the reader with it. */
static void redis_parse(struct redis *redis)
{
    uint64_t now_us = loop_now_us();
    const struct redis_reply *reply;
    char why[RESP_WHY_ROOM];
    while (resp_is_open(&redis->reader)) {
        enum resp_next next = resp_next(&redis->reader, &reply, why);
        if (next == RESP_MORE)
            return;
        if (next == RESP_BROKEN)
            redis_fail(redis, "%s", why);
        else if (redis->answered == redis->sent)
            redis_fail(redis, "it sent what nobody asked for");
        else
            redis_answer(redis, reply, now_us);
    }
}

static void redis_heard(void *owner, enum redis_link_news news, const char *bytes, size_t length)
{
    struct redis *redis = owner;
    if (news == NEWS_BROKE)
        redis_fail(redis, "%s", bytes);
    else if (news == NEWS_CONNECTED ? !resp_open(&redis->reader, redis->setup.reply_bytes_max)
                                    : !resp_feed(&redis->reader, bytes, length))
        redis_fail(redis, "out of memory");
    else if (news == NEWS_CONNECTED)
        redis_greet(redis);
    else
        redis_parse(redis);
}

/* --- time --- */

/* Commands that were under way together are one sign of trouble, not many: a stall of a moment is no reason
 * to give up. */
static bool is_another_sign(struct redis *redis, const struct slot *slot, uint64_t now_us)
{
    if (slot->sent_us < redis->timed_out_us)
        return false;
    redis->timed_out_us = now_us;
    return true;
}

/* Commands that were not answered in time; once too often in a row, and the connection is given up. */
static void redis_expire(struct redis *redis, uint64_t now_us)
{
    static const struct redis_reply timeout = {.kind = REDIS_TIMEOUT, .bytes = ""};
    uint64_t timeout_us = redis->setup.command_timeout_us;
    while (redis_is_up(redis) && redis->timed < redis->sent &&
           redis->slots[redis->timed & redis->mask].sent_us + timeout_us <= now_us) {
        struct slot *slot = &redis->slots[redis->timed++ & redis->mask];
        const struct slot expired = *slot;
        slot->done = NULL;
        metric_add(redis->outcomes[OUTCOME_TIMEOUT], 1);
        if (expired.done)
            expired.done(expired.owner, &timeout);
        if (is_another_sign(redis, &expired, now_us) && breaker_timed_out(&redis->breaker))
            redis_fail(redis, "%" PRIu32 " commands in a row were not answered within %" PRIu64 " us each",
                       redis->setup.breaker.timeouts, timeout_us);
    }
}

static void on_timer(struct loop_timer *timer)
{
    struct redis *redis = container_of(timer, struct redis, timer);
    uint64_t now_us = loop_now_us();
    enum breaker_state before = redis->breaker.state;
    redis_set_timer(redis,
                    now_us + redis->setup.connect_timeout_us); /* its place in the heap was just vacated */
    switch (before) {
    case BREAKER_OPEN:
        breaker_probe(&redis->breaker, now_us);
        redis_publish(redis, before, NULL);
        redis_link_open(&redis->link);
        break;
    case BREAKER_HALF_OPEN:
        redis_fail(redis, "no connection within %" PRIu64 " ms", redis->setup.connect_timeout_us / 1000);
        break;
    default:
        redis_expire(redis, now_us);
        if (redis_is_up(redis) && redis->timed < redis->sent)
            redis_set_timer(redis, redis->slots[redis->timed & redis->mask].sent_us +
                                       redis->setup.command_timeout_us);
    }
}

/* --- the end of a connection, and of the client --- */

static void redis_disconnect(struct redis *redis)
{
    redis_link_close(&redis->link);
    resp_close(&redis->reader);
}

/* Whoever still waits is told; new commands are refused by now. */
static void redis_lose(struct redis *redis)
{
    static const struct redis_reply lost = {.kind = REDIS_LOST, .bytes = ""};
    while (redis->answered < redis->sent) {
        struct slot slot = redis->slots[redis->answered++ & redis->mask];
        metric_add(redis->outcomes[OUTCOME_LOST], slot.done != NULL);
        if (slot.done)
            slot.done(slot.owner, &lost);
    }
    redis->timed = redis->answered;
}

static uint32_t draw(void)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0)
        return UINT32_MAX / 2; /* no entropy yet: everybody waits the same, which is no harm */
    return random;
}

static void redis_fail(struct redis *redis, const char *format, ...)
{
    char why[sizeof redis->status.why];
    enum breaker_state before = redis->breaker.state;
    va_list args;
    if (before == BREAKER_OPEN)
        return;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    redis_disconnect(redis);
    metric_add(redis->opened, before == BREAKER_CLOSED);
    redis_set_timer(redis, breaker_open(&redis->breaker, loop_now_us(), draw()));
    redis_speaker_down(&redis->speaker, why);
    redis_publish(redis, before, why);
    redis_lose(redis);
}

static void redis_destroy(struct redis *redis)
{
    resp_clear(&redis->reader);
    pthread_mutex_destroy(&redis->lock);
    free(redis->slots);
    free(redis);
}

void redis_free(struct redis *redis)
{
    if (!redis)
        return;
    loop_timer_cancel(redis->setup.loop, &redis->timer);
    redis_speaker_leave(&redis->speaker);
    if (redis->states[redis->breaker.state])
        metric_sub(redis->states[redis->breaker.state], 1);
    redis->breaker.state = BREAKER_OPEN; /* takes no more */
    redis_disconnect(redis);
    redis_lose(redis);
    redis->closing = true;
    if (!redis->flush_posted) /* else the task is the last to need it */
        redis_destroy(redis);
}
