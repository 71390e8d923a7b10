/* replica: the life of one connection to a model's container, from dialling to the verdict of each reply. */
#include "replica/replica.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/log.h"

#define DESCRIBE "/xebec.worker.v1.Worker/Describe"
#define CHECK    "/grpc.health.v1.Health/Check"

enum {
    CONNECT_TIMEOUT_MS = 2000,
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 2000,
    DESCRIBE_TIMEOUT_US = 1000000,
    DESCRIBE_RETRY_US = 100000,   /* doubled with every failure ... */
    DESCRIBE_RETRY_DOUBLINGS = 5, /* ... so often */
    REFUSED_RETRY_US = 10000000,
    BREACHES = 3, /* so many lies in a row, and it is left alone for a while */
    SHUN_US = 10000000,
    SILENT_DESCRIBES = 3,    /* so many unanswered in a row are worth a line in the log */
    LOG_BURST = 10,          /* lines about one replica; after that, */
    LOG_EVERY_US = 10000000, /* one in so long: a replica that comes and goes must not fill the disk */
};

/* A Describe or a Check on its way. */
struct probe {
    struct replica *replica; /* NULL: nobody wants to know any more */
    struct rpc_call *call;
};

static void replica_channel_changed(void *owner, enum rpc_state state);
static void replica_connected(struct replica *replica);
static void replica_lost(struct replica *replica);
static void replica_timer_fired(struct loop_timer *timer);
static void replica_probe(struct replica *replica);
static void replica_drop_probe(struct replica *replica);
static void replica_described(void *owner, const struct rpc_reply *reply);
static void replica_checked(void *owner, const struct rpc_reply *reply);
static void replica_try(struct replica *replica);
static void replica_count_out(const struct replica *replica);
static void replica_become(struct replica *replica, enum replica_state state, const char *why);
static void replica_note(struct replica *replica, const char *why);
static void replica_wake(struct replica *replica, uint64_t at_us);
static void replica_say(struct replica *replica);

/* --- open and close --- */

const char *replica_state_name(enum replica_state state)
{
    static const char *const names[REPLICA_STATE_COUNT] = {
        [REPLICA_CONNECTING] = "connecting", [REPLICA_DESCRIBING] = "describing",
        [REPLICA_READY] = "ready",           [REPLICA_UNHEALTHY] = "unhealthy",
        [REPLICA_REFUSED] = "refused",       [REPLICA_DOWN] = "down",
        [REPLICA_DRAINING] = "draining",     [REPLICA_EJECTED] = "ejected",
        [REPLICA_ON_TRIAL] = "on_trial"};
    return (size_t)state < REPLICA_STATE_COUNT ? names[state] : "?";
}

/* What its certificate must be for: of "dns:NAME:PORT" the name, whatever address that has led to. NULL: the
 * address' host. */
static const char *name_of(const struct replica_home *home, const char *source,
                           char name[REPLICA_ADDRESS_BYTES])
{
    const char *colon = strrchr(source, ':');
    if (home->version->tls_name || strncmp(source, "dns:", 4) != 0)
        return home->version->tls_name;
    snprintf(name, REPLICA_ADDRESS_BYTES, "%.*s", (int)(colon - source) - 4, source + 4);
    return name;
}

struct replica *replica_new(struct replica_home *home, const char *address, const char *source, uint64_t id)
{
    char name[REPLICA_ADDRESS_BYTES];
    const struct rpc_channel_options options = {
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .backoff_min_ms = BACKOFF_MIN_MS,
        .backoff_max_ms = BACKOFF_MAX_MS,
        .max_message_bytes = home->version->limits.max_message_bytes,
        .tls = home->version->tls,
        .tls_name = name_of(home, source, name),
    };
    size_t address_size = strlen(address) + 1;
    struct replica *replica = calloc(1, sizeof *replica + address_size);
    if (!replica)
        return NULL;
    memcpy(replica->address, address, address_size);
    replica->home = home;
    replica->id = id;
    replica->state = REPLICA_CONNECTING;
    log_quota_init(&replica->quota, LOG_BURST, LOG_EVERY_US, loop_now_us());
    replica->timer.fire = replica_timer_fired;
    if (loop_timer_set(home->loop, &replica->timer, UINT64_MAX) == GW_OK)
        replica->channel = rpc_channel_new(home->client, address, &options);
    if (!replica->channel) {
        loop_timer_cancel(home->loop, &replica->timer);
        free(replica);
        return NULL;
    }
    metric_add(home->states[REPLICA_CONNECTING], 1);
    rpc_channel_watch(replica->channel, replica_channel_changed, replica);
    return replica;
}

void replica_free(struct replica *replica)
{
    replica_count_out(replica);
    replica_drop_probe(replica);
    loop_timer_cancel(replica->home->loop, &replica->timer);
    rpc_channel_free(replica->channel);
    free(replica);
}

bool replica_is_ready(const struct replica *replica)
{
    return replica->state == REPLICA_READY && !replica->draining && replica->trust.state != TRUST_EJECTED;
}

/* --- the connection --- */

static void replica_channel_changed(void *owner, enum rpc_state state)
{
    struct replica *replica = owner;
    switch (state) {
    case RPC_CONNECTING:
        if (replica->state == REPLICA_CONNECTING)
            break;
        replica_lost(replica);
        replica_become(replica, REPLICA_CONNECTING, NULL);
        break;
    case RPC_READY:
        if (replica->state != REPLICA_CONNECTING)
            replica_lost(replica); /* and found again before we were told */
        replica_connected(replica);
        break;
    case RPC_IDLE:
    case RPC_DOWN:
        replica_lost(replica);
        break;
    }
    replica->home->changed(replica->home, replica);
}

static void replica_connected(struct replica *replica)
{
    replica->connection++;
    replica->described = false;
    replica->describe_failures = 0;
    replica->breaches = 0;
    replica->shunned_until_us = 0;
    trust_renew(&replica->trust); /* not ready, so it is not counted by it */
    replica_become(replica, REPLICA_DESCRIBING, NULL);
    replica_probe(replica);
}

static void replica_lost(struct replica *replica)
{
    char why[sizeof replica->why];
    const char *more = rpc_channel_why(replica->channel);
    if (replica->state == REPLICA_DOWN)
        return;
    snprintf(why, sizeof why, "%s%s%s",
             replica->state == REPLICA_CONNECTING ? "it cannot be reached" : "the connection was lost",
             more[0] ? ": " : "", more);
    replica_drop_probe(replica);
    replica_become(replica, REPLICA_DOWN, why);
    replica_wake(replica, loop_now_us() + LOG_EVERY_US);
}

/* --- probes --- */

static void replica_timer_fired(struct loop_timer *timer)
{
    struct replica *replica = container_of(timer, struct replica, timer);
    replica_wake(replica, loop_now_us() + LOG_EVERY_US); /* first, while its place in the heap is free */
    replica_say(replica);
    if (replica->state != REPLICA_CONNECTING && replica->state != REPLICA_DOWN)
        replica_probe(replica);
}

/* Asks what is to be known next: Describe until it agreed once, then Check. */
static void replica_probe(struct replica *replica)
{
    bool describe = !replica->described;
    const struct pool_limits *limits = &replica->home->version->limits;
    uint64_t now_us = loop_now_us();

    replica_wake(replica, now_us + (describe ? DESCRIBE_RETRY_US : limits->health_interval_us));
    if (replica->probe)
        return;
    struct probe *probe = malloc(sizeof *probe);
    if (!probe)
        return; /* the timer is set: again later */
    probe->replica = replica;
    probe->call = rpc_call_start(replica->channel, NULL, describe ? DESCRIBE : CHECK,
                                 now_us + (describe ? DESCRIBE_TIMEOUT_US : limits->health_timeout_us),
                                 describe ? replica_described : replica_checked, probe);
    if (probe->call)
        replica->probe = probe;
    else
        free(probe);
}

static void replica_drop_probe(struct replica *replica)
{
    if (!replica->probe)
        return;
    replica->probe->replica = NULL;
    rpc_call_cancel(replica->probe->call);
    replica->probe = NULL;
}

/* The probe came back: whose it was, NULL if they lost interest. */
static struct replica *probe_end(struct probe *probe)
{
    struct replica *replica = probe->replica;
    if (replica)
        replica->probe = NULL;
    free(probe);
    return replica;
}

/* --- Describe --- */

/* It is what the configuration says. Whether it serves already, a Check tells. */
static void replica_accept(struct replica *replica, const struct worker_description *description)
{
    replica->described = true;
    replica->max_rows = description->max_rows;
    crypto_generichash((unsigned char *)replica->digest_hash, sizeof replica->digest_hash,
                       (const unsigned char *)description->digest, strlen(description->digest), NULL, 0);
    shared_digest_write(&replica->home->digest, replica->digest_hash);
    pthread_mutex_lock(&replica->home->lock);
    snprintf(replica->digest, sizeof replica->digest, "%s", description->digest);
    pthread_mutex_unlock(&replica->home->lock);
    replica_probe(replica);
}

static void replica_refuse(struct replica *replica, const char *why)
{
    if (replica->state == REPLICA_REFUSED)
        replica_note(replica, why);
    else
        replica_become(replica, REPLICA_REFUSED, why);
    replica_wake(replica, loop_now_us() + REFUSED_RETRY_US);
}

/* Connected, but no answer: the container may still be loading its model. */
static void replica_describe_later(struct replica *replica, const char *why)
{
    uint32_t doublings = replica->describe_failures++;
    if (doublings > DESCRIBE_RETRY_DOUBLINGS)
        doublings = DESCRIBE_RETRY_DOUBLINGS;
    replica_note(replica, why);
    replica_wake(replica, loop_now_us() + ((uint64_t)DESCRIBE_RETRY_US << doublings));
}

static enum gw_status description_judge(const struct pool_version *version, const struct rpc_reply *reply,
                                        struct arena *arena, struct worker_description *description,
                                        struct gw_err *err)
{
    if (reply->status != GW_OK)
        return gw_err_set(err, reply->status, "Describe: %s", reply->message);
    enum gw_status status = worker_describe_read(arena, reply->bytes, reply->size, description, err);
    if (status == GW_OK)
        status =
            worker_describe_check(description, version->model, version->version, version->signature, err);
    return status;
}

static void replica_described(void *owner, const struct rpc_reply *reply)
{
    struct replica *replica = probe_end(owner);
    if (!replica)
        return;
    struct arena arena = {0};
    struct worker_description description;
    struct gw_err err = {.what = ""};
    switch (description_judge(replica->home->version, reply, &arena, &description, &err)) {
    case GW_OK:
        replica_accept(replica, &description);
        break;
    case GW_E_DEADLINE:
    case GW_E_NO_REPLICA:
    case GW_E_OVERLOAD:
    case GW_E_NO_MEMORY:
        replica_describe_later(replica, err.what);
        break;
    default:
        replica_refuse(replica, err.what);
        break;
    }
    arena_clear(&arena);
    replica->home->changed(replica->home, replica);
}

/* --- health --- */

/* A container without the health service is well as long as it is connected. */
static bool is_well(const struct rpc_reply *reply, char *why, size_t room)
{
    if (reply->status == GW_E_NOT_IMPLEMENTED)
        return true;
    if (reply->status != GW_OK)
        snprintf(why, room, "health check: %s", reply->message);
    else if (!worker_health_serving(reply->bytes, reply->size))
        snprintf(why, room, "health check: not serving");
    else
        return true;
    return false;
}

/* It is well. Who is ejected may have a call again, once it has rested; else it is asked again then. */
static void replica_try(struct replica *replica)
{
    if (trust_has_rested(&replica->trust, loop_now_us()))
        replica_trust(replica, TRUST_ON_TRIAL, "on trial, after it was ejected");
    else if (replica->trust.state == TRUST_EJECTED)
        replica_wake(replica, replica->trust.rested_us);
}

static void replica_checked(void *owner, const struct rpc_reply *reply)
{
    struct replica *replica = probe_end(owner);
    if (!replica || reply->status == GW_E_NO_MEMORY)
        return;
    char why[sizeof replica->why];
    bool well = is_well(reply, why, sizeof why);
    if (well)
        replica_try(replica);
    if (!well && reply->status == GW_OK)
        replica->parted = replica->spells; /* it took its leave: what it drops now is no crash */
    if (!well && replica->state == REPLICA_UNHEALTHY)
        replica_note(replica, why);
    else if (!well)
        replica_become(replica, REPLICA_UNHEALTHY, why);
    else if (replica->state != REPLICA_READY && loop_now_us() >= replica->shunned_until_us)
        replica_become(replica, REPLICA_READY, replica->trust.state == TRUSTED ? "" : NULL);
    replica->home->changed(replica->home, replica);
}

/* --- calls --- */

static void count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

void replica_sent(struct replica *replica, uint32_t rows)
{
    uint32_t in_flight = atomic_load_explicit(&replica->in_flight, memory_order_relaxed);
    atomic_store_explicit(&replica->in_flight, in_flight + 1, memory_order_relaxed);
    replica->rows_in_flight += rows;
    count(&replica->calls);
}

/* It lied: left alone after the third time, for no health check would notice. */
static void replica_breached(struct replica *replica, const char *words)
{
    replica_note(replica, words);
    if (++replica->breaches < BREACHES || replica->state != REPLICA_READY)
        return;
    replica->breaches = 0;
    replica->shunned_until_us = loop_now_us() + SHUN_US;
    replica_become(replica, REPLICA_UNHEALTHY, words);
}

/* Either its connection is gone, then we shall be told; or it refuses to work, then a Check tells. */
static void replica_failed(struct replica *replica, const char *words)
{
    if (replica->state != REPLICA_READY)
        return;
    replica_become(replica, REPLICA_UNHEALTHY, words);
    replica_probe(replica);
}

void replica_answered(struct replica *replica, uint32_t rows, uint32_t connection, enum gw_status status,
                      const char *words)
{
    uint32_t in_flight = atomic_load_explicit(&replica->in_flight, memory_order_relaxed);
    atomic_store_explicit(&replica->in_flight, in_flight - 1, memory_order_relaxed);
    replica->rows_in_flight -= rows;
    if (status != GW_OK && status != GW_E_CANCELLED)
        count(&replica->failures);
    if (connection != replica->connection)
        return;
    switch (status) {
    case GW_E_CONTRACT:
        replica_breached(replica, words);
        break;
    case GW_E_NO_REPLICA:
        replica_failed(replica, words);
        break;
    case GW_OK:
    case GW_E_MODEL:
    case GW_E_INVALID:
        replica->breaches = 0;
        break;
    default:
        break;
    }
}

/* --- states --- */

#define TO(state) (1u << REPLICA_##state)
static const uint32_t legal_edges[] = {
    [REPLICA_CONNECTING] = TO(DESCRIBING) | TO(DOWN),
    [REPLICA_DESCRIBING] = TO(READY) | TO(UNHEALTHY) | TO(REFUSED) | TO(DOWN),
    [REPLICA_READY] = TO(UNHEALTHY) | TO(DOWN),
    [REPLICA_UNHEALTHY] = TO(READY) | TO(DOWN),
    [REPLICA_REFUSED] = TO(READY) | TO(UNHEALTHY) | TO(DOWN),
    [REPLICA_DOWN] = TO(CONNECTING) | TO(DESCRIBING),
};
#undef TO

/* As much of the words as there is room for, in whole characters. */
static void replica_note_locked(struct replica *replica, const char *why)
{
    size_t length = strnlen(why, sizeof replica->why - 1);
    while (length && ((unsigned char)why[length] & 0xC0) == 0x80)
        length--;
    memcpy(replica->why, why, length);
    replica->why[length] = '\0';
}

static enum replica_state shown_state(const struct replica *replica)
{
    if (replica->draining)
        return REPLICA_DRAINING;
    if (replica->state != REPLICA_READY || replica->trust.state == TRUSTED)
        return replica->state;
    return replica->trust.state == TRUST_EJECTED ? REPLICA_EJECTED : REPLICA_ON_TRIAL;
}

/* Before a change of what is shown, and after it. */
static void replica_count_out(const struct replica *replica)
{
    metric_sub(replica->home->states[shown_state(replica)], 1);
    if (replica_is_ready(replica)) {
        metric_sub(replica->home->up, 1);
        atomic_fetch_sub_explicit(&replica->home->n_ready, 1, memory_order_relaxed);
    }
}

static void replica_count_in(const struct replica *replica)
{
    metric_add(replica->home->states[shown_state(replica)], 1);
    if (replica_is_ready(replica)) {
        metric_add(replica->home->up, 1);
        atomic_fetch_add_explicit(&replica->home->n_ready, 1, memory_order_relaxed);
    }
}

/* The one place where the state changes. why: NULL keeps the words that are there. */
static void replica_become(struct replica *replica, enum replica_state state, const char *why)
{
    assert(legal_edges[replica->state] & 1u << state);
    replica_count_out(replica);
    pthread_mutex_lock(&replica->home->lock);
    replica->state = state;
    if (why)
        replica_note_locked(replica, why);
    pthread_mutex_unlock(&replica->home->lock);
    replica->spells += state == REPLICA_READY;
    replica_count_in(replica);
    replica_say(replica);
}

void replica_trust(struct replica *replica, enum trust_state state, const char *why)
{
    if (replica->trust.state == state)
        return;
    replica_count_out(replica);
    pthread_mutex_lock(&replica->home->lock);
    trust_become(&replica->trust, state, loop_now_us());
    if (why)
        replica_note_locked(replica, why);
    pthread_mutex_unlock(&replica->home->lock);
    replica_count_in(replica);
    replica_say(replica);
    if (state != TRUST_EJECTED)
        return;
    metric_add(replica->home->ejections, 1);
    replica_probe(replica); /* a health check, now: who has only paused is soon tried again */
}

void replica_drain(struct replica *replica, bool draining)
{
    assert(replica->draining != draining);
    replica_count_out(replica);
    pthread_mutex_lock(&replica->home->lock);
    replica->draining = draining;
    pthread_mutex_unlock(&replica->home->lock);
    replica_count_in(replica);
}

static void replica_note(struct replica *replica, const char *why)
{
    pthread_mutex_lock(&replica->home->lock);
    replica_note_locked(replica, why);
    pthread_mutex_unlock(&replica->home->lock);
}

void replica_picture(const struct replica *replica, struct replica_status *out)
{
    *out = (struct replica_status){
        .source = replica->source,
        .state = shown_state(replica),
        .in_flight = atomic_load_explicit(&replica->in_flight, memory_order_relaxed),
        .calls = atomic_load_explicit(&replica->calls, memory_order_relaxed),
        .failures = atomic_load_explicit(&replica->failures, memory_order_relaxed),
    };
    snprintf(out->address, sizeof out->address, "%s", replica->address);
    memcpy(out->why, replica->why, sizeof out->why);
    memcpy(out->digest, replica->digest, sizeof out->digest);
}

/* The timer is always set but while it fires, and then its place is free: this can't fail. */
static void replica_wake(struct replica *replica, uint64_t at_us)
{
    (void)!loop_timer_set(replica->home->loop, &replica->timer, at_us);
}

/* --- the log --- */

/*
 * One line when a replica is up, down, refused or ejected and the log does not know yet. Too many: left out,
 * and made up for by the timer, so that the last line in the log is true.
 */
static void replica_say(struct replica *replica)
{
    static const struct {
        const char *event;
        enum log_level level;
        int said;
    } lines[REPLICA_STATE_COUNT] = {
        [REPLICA_DESCRIBING] = {"replica_down", LOG_WARN_LEVEL, SAID_DOWN},
        [REPLICA_READY] = {"replica_up", LOG_INFO_LEVEL, SAID_UP},
        [REPLICA_UNHEALTHY] = {"replica_down", LOG_WARN_LEVEL, SAID_DOWN},
        [REPLICA_REFUSED] = {"replica_refused", LOG_WARN_LEVEL, SAID_REFUSED},
        [REPLICA_DOWN] = {"replica_down", LOG_WARN_LEVEL, SAID_DOWN},
        [REPLICA_EJECTED] = {"replica_ejected", LOG_WARN_LEVEL, SAID_EJECTED},
    };
    enum replica_state state = shown_state(replica);
    if (!lines[state].event || lines[state].said == (int)replica->said)
        return;
    if (state == REPLICA_DESCRIBING && replica->describe_failures < SILENT_DESCRIBES)
        return;
    if (!log_quota_take(&replica->quota, loop_now_us()))
        return;
    LOG_EVENT(lines[state].level, lines[state].event, LOG_TEXT("model", replica->home->version->model),
              LOG_TEXT("version", replica->home->version->version), LOG_TEXT("address", replica->address),
              LOG_TEXT("why", replica->why[0] ? replica->why : NULL),
              LOG_INT("unsaid", log_quota_unsaid(&replica->quota)));
    replica->said = lines[state].said;
}
