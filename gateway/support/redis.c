/*
 * redis: a connection's life in order: attempt, greeting, commands out, replies in, timeouts, its end.
 *
 * Commands in flight are a ring of slots, oldest at `answered`, next at `sent`: replies come in the order of
 * commands, so a slot stays until its reply came, even when nobody waits for it any more.
 *
 *     answered        timed           sent
 *        v              v               v
 *     [ timed out, done ][ being waited for ]
 */
#include "support/redis.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <hiredis/read.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/arena.h"
#include "support/buf.h"
#include "support/log.h"

enum {
    READ_BYTES = 64 * 1024,  /* taken from the socket at once */
    READS_A_TURN = 4,        /* then the loop's other work gets its turn */
    KEEP_BYTES = 256 * 1024, /* an output buffer larger than this is given back when it is empty */
    GREETING_WORDS_MAX = 3,
};

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
    struct resolve_question *question;
    uint32_t attempts; /* at names with several addresses */
    int fd;            /* -1: none */
    bool connecting;   /* the socket is not through yet */
    struct event readable, writable;
    redisReader *reader;
    struct arena reply; /* what is being parsed */
    bool reply_too_large;
    struct buf out;
    size_t out_at; /* sent of it */
    struct slot *slots;
    uint64_t timed_out_us; /* when a command last was that had not been under way with the one before */
    uint64_t answered, timed, sent; /* counts; slot of count n is slots[n & mask] */
    uint64_t mask;
    struct metric *states[BREAKER_STATE_COUNT], *outcomes[OUTCOME_COUNT], *opened;
    struct histogram *seconds;
    pthread_mutex_t lock; /* of what follows */
    struct redis_status status;
    bool voiced_up; /* as its voice counts it; the voice's lock */
};

static void redis_connect(struct redis *redis);
static void redis_fail(struct redis *redis, const char *format, ...) GW_PRINTF(2, 3);
static void redis_greet(struct redis *redis);
static void on_timer(struct loop_timer *timer);
static void on_flush(struct loop_task *task);
static void on_readable(evutil_socket_t fd, short what, void *owner);
static void on_writable(evutil_socket_t fd, short what, void *owner);

static uint32_t draw(void)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0)
        return UINT32_MAX / 2; /* no entropy yet: everybody waits the same, which is no harm */
    return random;
}

/* --- one voice --- */

void redis_voice_init(struct redis_voice *voice)
{
    *voice = (struct redis_voice){.clients = 0};
    pthread_mutex_init(&voice->lock, NULL);
}

void redis_voice_clear(struct redis_voice *voice)
{
    pthread_mutex_destroy(&voice->lock);
}

static void voice_join(struct redis_voice *voice)
{
    pthread_mutex_lock(&voice->lock);
    voice->clients++;
    pthread_mutex_unlock(&voice->lock);
}

static void voice_leave(struct redis *redis)
{
    struct redis_voice *voice = redis->setup.voice;
    pthread_mutex_lock(&voice->lock);
    voice->clients--;
    voice->up -= redis->voiced_up;
    pthread_mutex_unlock(&voice->lock);
}

static void voice_down(struct redis *redis, const char *why)
{
    struct redis_voice *voice = redis->setup.voice;
    pthread_mutex_lock(&voice->lock);
    bool first = !voice->down_said;
    voice->down_said = true;
    voice->up -= redis->voiced_up;
    redis->voiced_up = false;
    pthread_mutex_unlock(&voice->lock);
    if (first)
        log_warn("redis_down", LOG_TEXT("use", redis->setup.use), LOG_TEXT("client", redis->setup.name),
                 LOG_TEXT("why", why));
}

static void voice_up(struct redis *redis)
{
    struct redis_voice *voice = redis->setup.voice;
    pthread_mutex_lock(&voice->lock);
    voice->up += !redis->voiced_up;
    redis->voiced_up = true;
    bool all = voice->up == voice->clients;
    if (all)
        voice->down_said = false;
    uint32_t clients = voice->clients;
    pthread_mutex_unlock(&voice->lock);
    if (all)
        log_info("redis_up", LOG_TEXT("use", redis->setup.use), LOG_INT("clients", clients));
}

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
    redis->fd = -1;
    redis->mask = slots - 1;
    redis->timer.fire = on_timer;
    redis->flush.run = on_flush;
    pthread_mutex_init(&redis->lock, NULL);
    voice_join(setup->voice);
    breaker_init(&redis->breaker, &setup->breaker, now_us);
    redis->status = (struct redis_status){redis->breaker.state, now_us, "connecting"};
    redis->slots = calloc(slots, sizeof *redis->slots);
    if (!redis->slots || !redis_open_metrics(redis) ||
        loop_timer_set(setup->loop, &redis->timer, now_us + setup->connect_timeout_us) != GW_OK) {
        redis_free(redis);
        return NULL;
    }
    metric_add(redis->states[redis->breaker.state], 1);
    redis_connect(redis);
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

/* --- up and down --- */

static void redis_come_up(struct redis *redis)
{
    uint64_t now_us = loop_now_us();
    enum breaker_state before = redis->breaker.state;
    breaker_close(&redis->breaker, now_us);
    redis->connecting = false;
    voice_up(redis);
    redis_publish(redis, before, "");
}

/* --- the connection: an attempt --- */

static void redis_socket(struct redis *redis, const struct sockaddr *to, socklen_t length)
{
    struct event_base *base = loop_base(redis->setup.loop);
    int one = 1;
    redis->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (redis->fd < 0) {
        redis_fail(redis, "no socket: %s", strerror(errno));
        return;
    }
    if (to->sa_family != AF_UNIX) {
        setsockopt(redis->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(redis->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    }
    event_assign(&redis->readable, base, redis->fd, EV_READ | EV_PERSIST, on_readable, redis);
    event_assign(&redis->writable, base, redis->fd, EV_WRITE, on_writable, redis);
    redis->connecting = true;
    if (connect(redis->fd, to, length) != 0 && errno != EINPROGRESS)
        redis_fail(redis, "cannot connect: %s", strerror(errno));
    else if (event_add(&redis->writable, NULL) != 0)
        redis_fail(redis, "out of memory");
}

static void redis_connect_unix(struct redis *redis)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", redis->setup.server->unix_path);
    redis_socket(redis, (const struct sockaddr *)&to, sizeof to);
}

/* False: `host` is a name. */
static bool redis_connect_numeric(struct redis *redis, const char *host, const char *port)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, port, &wanted, &found) != 0)
        return false;
    redis_socket(redis, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

/* A name with several addresses: each attempt takes the next. */
static void redis_resolved(void *owner, const struct resolve_answer *answer)
{
    struct redis *redis = owner;
    char host[INET6_ADDRSTRLEN + sizeof "[]"];
    redis->question = NULL;
    if (answer->status != GW_OK) {
        redis_fail(redis, "%s: %s", redis->setup.server->host, answer->why);
        return;
    }
    const char *address = answer->addresses[redis->attempts++ % answer->n_addresses];
    bool bracketed = address[0] == '[';
    const char *end = strrchr(address, ':');
    snprintf(host, sizeof host, "%.*s", (int)(end - address) - 2 * bracketed, address + bracketed);
    if (!redis_connect_numeric(redis, host, end + 1))
        redis_fail(redis, "%s is no address", host);
}

static void redis_connect(struct redis *redis)
{
    const struct redis_server *server = redis->setup.server;
    if (server->unix_path) {
        redis_connect_unix(redis);
    } else if (!redis_connect_numeric(redis, server->host, server->port)) {
        redis->question = redis->setup.resolver
                              ? resolve_start(redis->setup.resolver, redis->setup.loop, server->host,
                                              server->port, redis_resolved, redis)
                              : NULL;
        if (!redis->question)
            redis_fail(redis, "%s cannot be looked up", server->host);
    }
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

/* A prefix of RESP: its letter, a number, the end of the line. */
static void put_number(struct buf *out, char letter, size_t number)
{
    char text[24], *at = text + sizeof text;
    *--at = '\n';
    *--at = '\r';
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    *--at = letter;
    buf_append(out, at, (size_t)(text + sizeof text - at));
}

/* False: no memory, and nothing was written. */
static bool put_command(struct buf *out, const struct redis_word *words, uint32_t n_words)
{
    size_t before = out->length;
    put_number(out, '*', n_words);
    for (uint32_t i = 0; i < n_words; i++) {
        put_number(out, '$', words[i].length);
        buf_append(out, words[i].bytes, words[i].length);
        buf_append(out, "\r\n", 2);
    }
    if (!out->failed)
        return true;
    out->length = before;
    out->failed = false;
    return false;
}

static uint64_t redis_put(struct redis *redis, const struct redis_word *words, uint32_t n_words,
                          redis_done *done, void *owner)
{
    size_t unsent = redis->out.length - redis->out_at;
    for (uint32_t i = 0; i < n_words; i++)
        unsent += words[i].length;
    if (redis->sent - redis->answered > redis->mask || unsent > redis->setup.unsent_bytes_max ||
        !put_command(&redis->out, words, n_words))
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

/* What the socket does not take waits until it is writable. */
static void redis_write(struct redis *redis)
{
    struct buf *out = &redis->out;
    while (redis->out_at < out->length) {
        ssize_t sent = send(redis->fd, out->bytes + redis->out_at, out->length - redis->out_at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            memmove(out->bytes, out->bytes + redis->out_at, out->length -= redis->out_at);
            redis->out_at = 0;
            if (event_add(&redis->writable, NULL) != 0)
                redis_fail(redis, "out of memory");
            return;
        }
        if (sent < 0) {
            redis_fail(redis, "the connection broke: %s", strerror(errno));
            return;
        }
        redis->out_at += (size_t)sent;
    }
    out->length = redis->out_at = 0;
    if (out->capacity > KEEP_BYTES)
        buf_clear(out);
}

static void redis_destroy(struct redis *redis);

/* At the end of a turn: all its commands at once. */
static void on_flush(struct loop_task *task)
{
    struct redis *redis = container_of(task, struct redis, flush);
    redis->flush_posted = false;
    if (redis->closing)
        redis_destroy(redis);
    else if (redis->fd >= 0 && !redis->connecting)
        redis_write(redis);
}

/* --- replies in: redisReader builds them from these parts, in the client's arena --- */

static struct redis_reply *reply_part(const redisReadTask *task, enum redis_kind kind)
{
    struct redis *redis = task->privdata;
    struct redis_reply *part = arena_alloc(&redis->reply, sizeof *part);
    if (!part)
        return NULL;
    *part = (struct redis_reply){.kind = kind, .bytes = ""};
    if (task->parent)
        ((struct redis_reply **)((struct redis_reply *)task->parent->obj)->elements)[task->idx] = part;
    return part;
}

static void *reply_string(const redisReadTask *task, char *bytes, size_t length)
{
    struct redis *redis = task->privdata;
    struct redis_reply *part = reply_part(task, task->type == REDIS_REPLY_ERROR    ? REDIS_ERROR
                                                : task->type == REDIS_REPLY_STATUS ? REDIS_LINE
                                                                                   : REDIS_TEXT);
    char *copy = part ? arena_text(&redis->reply, bytes, length) : NULL;
    if (!copy)
        return NULL;
    part->bytes = copy;
    part->length = length;
    return part;
}

static void *reply_array(const redisReadTask *task, int n_elements)
{
    struct redis *redis = task->privdata;
    struct redis_reply *part = reply_part(task, REDIS_ARRAY);
    struct redis_reply **elements =
        part ? arena_array(&redis->reply, (size_t)n_elements, sizeof *elements) : NULL;
    if (!elements)
        return NULL;
    part->elements = elements;
    part->n_elements = (size_t)n_elements;
    return part;
}

static void *reply_integer(const redisReadTask *task, long long value)
{
    struct redis_reply *part = reply_part(task, REDIS_INTEGER);
    if (part)
        part->integer = value;
    return part;
}

static void *reply_nil(const redisReadTask *task)
{
    return reply_part(task, REDIS_NIL);
}

static void reply_keep(void *reply)
{
    (void)reply; /* goes with the arena */
}

static redisReader *reader_new(struct redis *redis)
{
    static redisReplyObjectFunctions parts = {.createString = reply_string,
                                              .createArray = reply_array,
                                              .createInteger = reply_integer,
                                              .createNil = reply_nil,
                                              .freeObject = reply_keep};
    redisReader *reader = redisReaderCreateWithFunctions(&parts);
    if (reader)
        reader->privdata = redis;
    return reader;
}

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
    void *reply = NULL;
    while (redis->reader && redisReaderGetReply(redis->reader, &reply) == REDIS_OK && reply) {
        if (redis->answered == redis->sent) {
            redis_fail(redis, "it sent what nobody asked for");
            return;
        }
        redis_answer(redis, reply, now_us);
        arena_clear(&redis->reply);
    }
    if (!redis->reader)
        return;
    if (redis->reader->err && redis->reply.limit && redis->reader->err == REDIS_ERR_OOM)
        redis_fail(redis, "a reply is larger than %zu bytes, or there is no memory for it",
                   redis->setup.reply_bytes_max);
    else if (redis->reader->err)
        redis_fail(redis, "it does not speak the protocol: %.100s", redis->reader->errstr);
    else if (redis->reader->len - redis->reader->pos > redis->setup.reply_bytes_max)
        redis_fail(redis, "a reply is larger than %zu bytes", redis->setup.reply_bytes_max);
}

static void on_readable(evutil_socket_t fd, short what, void *owner)
{
    struct redis *redis = owner;
    char bytes[READ_BYTES];
    (void)what;
    for (int i = 0; i < READS_A_TURN && redis->reader; i++) {
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0)
            redis_fail(redis, got ? "the connection broke: %s" : "it closed the connection", strerror(errno));
        else if (redisReaderFeed(redis->reader, bytes, (size_t)got) != REDIS_OK)
            redis_fail(redis, "out of memory");
        else
            redis_parse(redis);
        if (got < (ssize_t)sizeof bytes)
            return;
    }
}

/* Connected, or not; or there is room for more. */
static void on_writable(evutil_socket_t fd, short what, void *owner)
{
    struct redis *redis = owner;
    int problem = 0;
    socklen_t length = sizeof problem;
    (void)what;
    if (!redis->connecting) {
        redis_write(redis);
        return;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &length) != 0)
        problem = errno;
    if (problem) {
        redis_fail(redis, "cannot connect: %s", strerror(problem));
        return;
    }
    redis->connecting = false;
    redis->reply.limit = redis->setup.reply_bytes_max;
    redis->reader = reader_new(redis);
    if (!redis->reader || event_add(&redis->readable, NULL) != 0)
        redis_fail(redis, "out of memory");
    else
        redis_greet(redis);
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
        redis_connect(redis);
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
    if (redis->question)
        resolve_cancel(redis->question);
    redis->question = NULL;
    if (redis->fd >= 0) {
        event_del(&redis->readable);
        event_del(&redis->writable);
        close(redis->fd);
    }
    redis->fd = -1;
    redis->connecting = false;
    if (redis->reader)
        redisReaderFree(redis->reader);
    redis->reader = NULL;
    buf_clear(&redis->out);
    redis->out_at = 0;
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
    voice_down(redis, why);
    redis_publish(redis, before, why);
    redis_lose(redis);
}

static void redis_destroy(struct redis *redis)
{
    arena_clear(&redis->reply);
    pthread_mutex_destroy(&redis->lock);
    free(redis->slots);
    free(redis);
}

void redis_free(struct redis *redis)
{
    if (!redis)
        return;
    loop_timer_cancel(redis->setup.loop, &redis->timer);
    voice_leave(redis);
    if (redis->states[redis->breaker.state])
        metric_sub(redis->states[redis->breaker.state], 1);
    redis->breaker.state = BREAKER_OPEN; /* takes no more */
    redis_disconnect(redis);
    redis_lose(redis);
    redis->closing = true;
    if (!redis->flush_posted) /* else the task is the last to need it */
        redis_destroy(redis);
}
