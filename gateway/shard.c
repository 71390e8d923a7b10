/*
 * shard: set-up and take-down of the whole gateway. Set-up goes bottom up (loop, rpc, versions, infer,
 * listener), then the threads start; take-down goes the other way round, after they have ended, from one
 * thread.
 */
#include "shard.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/endpoint.h"
#include "edge/listener.h"
#include "infer/plan_gauges.h"
#include "infer/request.h"
#include "support/log.h"
#include "support/resolve.h"

#define CLIENTS "clients" /* the label of their listener's metrics */

struct changeover;
static void changeover_end(struct changeover *changeover, enum gw_status status, const char *what);

struct shard {
    struct gateway *gateway;
    struct loop *loop;
    struct rpc_client *rpc;
    struct cache_redis *redis; /* NULL: none is configured */
    struct infer infer;
    struct listener *listener; /* NULL: another shard listens for all (unix sockets) */
    pthread_t thread;
    bool started;
    struct loop_task drain;
    struct loop_timer drain_check;
    uint64_t drain_until_us;
    _Atomic bool idle; /* while draining: nothing left to finish here */
};

struct gateway {
    struct plan *plan;          /* in force */
    struct plan_gauges *gauges; /* of it; NULL: out of memory */
    struct metric *tls_expiry;  /* of its certificate; NULL: there was none yet */
    struct gateway_tuner tuner;
    struct metrics *metrics;
    struct cache *cache;
    struct resolver *resolver;
    struct redis_voice redis_voice;
    struct shard *shards;
    uint32_t n_shards;
    int access_log_fd;
    struct config_address address; /* the port the system chose, where the configuration says 0 */
    char port[8];
    _Atomic uint32_t running; /* shards whose loop has not ended */
    struct loop *loop;        /* the caller's */
    struct loop_task *drained;
    uint64_t drain_us; /* how long it may take; set before shards are told */
    bool draining;
    struct changeover *changeover; /* under way */
};

/* --- set-up --- */

static bool shard_open(struct shard *shard, enum config_transport transport)
{
    static const enum rpc_kind kinds[] = {
        [TRANSPORT_NGHTTP2] = RPC_NGHTTP2, [TRANSPORT_GRPC] = RPC_GRPC_CORE};
    shard->loop = loop_new();
    if (shard->loop)
        shard->rpc = rpc_client_new(shard->loop, kinds[transport], shard->gateway->resolver);
    return shard->rpc != NULL;
}

/* A shard's thread may be asked to do something; before it runs, anybody may do it. */
static void shard_call(struct shard *shard, void (*run)(void *arg), void *arg)
{
    if (shard->started)
        loop_call(shard->loop, run, arg);
    else
        run(arg);
}

struct birth {
    struct version_setup setup;
    struct version *version;
};

static void version_is_born(void *arg)
{
    struct birth *birth = arg;
    birth->version = version_new(&birth->setup);
}

static struct version *gateway_new_version(struct gateway *gateway, struct config *config, uint32_t index)
{
    struct shard *home = &gateway->shards[index % gateway->n_shards];
    struct birth birth = {.setup = {.config = config->versions[index],
                                    .whole = config,
                                    .loop = home->loop,
                                    .rpc = home->rpc,
                                    .resolver = gateway->resolver,
                                    .metrics = gateway->metrics}};
    shard_call(home, version_is_born, &birth);
    return birth.version;
}

/* With the versions that the plan in force already has, and new ones for the rest. */
static struct plan *gateway_make_plan(struct gateway *gateway, struct config *config)
{
    struct plan *plan = plan_new(config);
    for (uint32_t i = 0; plan && i < config->n_versions; i++) {
        if (gateway->plan && gateway->plan->config->limits.message_bytes == config->limits.message_bytes)
            plan->versions[i] = plan_find_version(gateway->plan, config->versions[i]);
        if (!plan->versions[i])
            plan->versions[i] = gateway_new_version(gateway, config, i);
        if (!plan->versions[i]) {
            plan_unref(plan);
            return NULL;
        }
    }
    if (!plan ||
        (plan_keep_books(plan, gateway->plan) && plan_open_shadows(plan, gateway->plan, gateway->metrics)))
        return plan;
    plan_unref(plan);
    return NULL;
}

static bool gateway_tune(const struct gateway *gateway, struct plan *plan)
{
    return !gateway->tuner.tune || gateway->tuner.tune(gateway->tuner.owner, plan);
}

/* A unix socket cannot be shared by binding it again: the first shard has it alone. */
static struct config_limits shard_limits(const struct gateway *gateway, const struct config *config)
{
    uint32_t shares = config->listen.unix_path ? 1 : gateway->n_shards;
    struct config_limits limits = config->limits;
    limits.connections = (limits.connections + shares - 1) / shares;
    limits.held_bytes /= shares;
    return limits;
}

/* False only where one is configured and cannot be. */
static bool shard_open_redis(struct gateway *gateway, struct shard *shard)
{
    if (!gateway->plan->config->redis.shown)
        return true;
    const struct cache_redis_setup setup = {.config = gateway->plan->config,
                                            .loop = shard->loop,
                                            .resolver = gateway->resolver,
                                            .metrics = gateway->metrics,
                                            .voice = &gateway->redis_voice,
                                            .shard = (uint32_t)(shard - gateway->shards)};
    shard->infer.redis = shard->redis = cache_redis_new(&setup);
    return shard->redis != NULL;
}

static bool shard_listen(struct gateway *gateway, struct shard *shard, struct gw_err *err)
{
    const struct config *config = gateway->plan->config;
    const struct config_limits limits = shard_limits(gateway, config);
    bool alone = config->listen.unix_path != NULL;
    if (alone && shard != gateway->shards)
        return true;
    const struct edge_setup setup = {.loop = shard->loop,
                                     .metrics = gateway->metrics,
                                     .name = CLIENTS,
                                     .address = &gateway->address,
                                     .join = shard != gateway->shards,
                                     .limits = &limits,
                                     .timeouts = &config->timeouts,
                                     .tls = config->tls.context,
                                     .access_log_fd = gateway->access_log_fd,
                                     .handle = endpoint_handle,
                                     .is_enough = endpoint_is_enough,
                                     .refuse = endpoint_refuse,
                                     .owner = &shard->infer};
    shard->listener = listener_new(&setup, err);
    if (!shard->listener)
        return false;
    if (!alone) {
        snprintf(gateway->port, sizeof gateway->port, "%u", (unsigned)listener_port(shard->listener));
        gateway->address.port = gateway->port;
    }
    return true;
}

static bool shard_infer(struct gateway *gateway, struct shard *shard)
{
    struct period *period = period_new(gateway->metrics, gateway->plan);
    return period && infer_init(&shard->infer, shard->loop, period, gateway->cache,
                                (uint32_t)(shard - gateway->shards), gateway->n_shards) == GW_OK;
}

/* For operators: what arms own by the plan in force. */
static void gateway_show_shares(struct gateway *gateway)
{
    plan_gauges_free(gateway->gauges);
    gateway->gauges = plan_gauges_new(gateway->metrics, gateway->plan);
}

/* 0 where there is no certificate any more; none ever was: no series. */
static void gateway_show_certificate(struct gateway *gateway)
{
    const struct tls_context *tls = gateway->plan->config->tls.context;
    if (tls && !gateway->tls_expiry)
        gateway->tls_expiry =
            metrics_series(gateway->metrics, METRIC_TLS_EXPIRY, METRIC_LABELS("listener", CLIENTS));
    if (gateway->tls_expiry)
        metric_set(gateway->tls_expiry, tls ? (uint64_t)tls_context_expires_s(tls) : 0);
}

static bool gateway_open(struct gateway *gateway, struct config *config, struct gw_err *err)
{
    gw_err_set(err, GW_E_NO_MEMORY, "out of memory or file descriptors while starting");
    gateway->cache = cache_new(config->cache_bytes, gateway->metrics);
    gateway->resolver = resolver_new();
    if (!gateway->cache || !gateway->resolver)
        return false;
    for (uint32_t i = 0; i < gateway->n_shards; i++)
        if (!shard_open(&gateway->shards[i], config->transport))
            return false;
    gateway->plan = gateway_make_plan(gateway, config);
    if (!gateway->plan || !gateway_tune(gateway, gateway->plan))
        return false;
    gateway_show_shares(gateway);
    gateway_show_certificate(gateway);
    for (uint32_t i = 0; i < gateway->n_shards; i++) {
        struct shard *shard = &gateway->shards[i];
        if (!shard_infer(gateway, shard) || !shard_open_redis(gateway, shard) ||
            !shard_listen(gateway, shard, err))
            return false;
    }
    return true;
}

static void *shard_main(void *owner)
{
    struct shard *shard = owner;
    struct gateway *gateway = shard->gateway;
    loop_run(shard->loop);
    if (atomic_fetch_sub(&gateway->running, 1) == 1 && gateway->drained)
        loop_post(gateway->loop, gateway->drained);
    return NULL;
}

static bool gateway_run(struct gateway *gateway, struct gw_err *err)
{
    atomic_store(&gateway->running, gateway->n_shards);
    for (uint32_t i = 0; i < gateway->n_shards; i++) {
        struct shard *shard = &gateway->shards[i];
        char name[16];
        if (pthread_create(&shard->thread, NULL, shard_main, shard) != 0) {
            gw_err_set(err, GW_E_NO_MEMORY, "cannot start a thread for shard %u", i);
            return false;
        }
        shard->started = true;
        snprintf(name, sizeof name, "shard-%u", i % 1000);
        pthread_setname_np(shard->thread, name);
    }
    return true;
}

struct gateway *gateway_start(struct config *config, struct metrics *metrics, int access_log_fd,
                              struct loop *loop, const struct gateway_tuner *tuner, struct gw_err *err)
{
    struct gateway *gateway = calloc(1, sizeof *gateway);
    struct shard *shards = calloc(config->shards, sizeof *shards);
    if (!gateway || !shards) {
        free(gateway);
        free(shards);
        gw_err_set(err, GW_E_NO_MEMORY, "out of memory while starting");
        return NULL;
    }
    redis_voice_init(&gateway->redis_voice);
    gateway->tuner = tuner ? *tuner : (struct gateway_tuner){0};
    gateway->metrics = metrics;
    gateway->loop = loop;
    gateway->shards = shards;
    gateway->n_shards = config->shards;
    gateway->access_log_fd = access_log_fd;
    gateway->address = config->listen;
    for (uint32_t i = 0; i < gateway->n_shards; i++)
        shards[i].gateway = gateway;
    if (gateway_open(gateway, config, err) && gateway_run(gateway, err))
        return gateway;
    gateway_stop(gateway);
    return NULL;
}

/* --- what others ask --- */

const struct config *gateway_config(const struct gateway *gateway)
{
    return gateway->plan->config;
}
const struct plan *gateway_plan(const struct gateway *gateway)
{
    return gateway->plan;
}
struct version *gateway_version(const struct gateway *gateway, uint32_t index)
{
    return gateway->plan->versions[index];
}
struct metrics *gateway_metrics(const struct gateway *gateway)
{
    return gateway->metrics;
}

struct resolver *gateway_resolver(const struct gateway *gateway)
{
    return gateway->resolver;
}

struct cache_redis *gateway_redis(const struct gateway *gateway, uint32_t shard)
{
    return gateway->shards[shard].redis;
}

uint16_t gateway_port(const struct gateway *gateway)
{
    return gateway->plan->config->listen.unix_path ? 0 : listener_port(gateway->shards[0].listener);
}

struct round_call {
    void (*run)(void *arg, uint32_t shard);
    void *arg;
    uint32_t shard;
};

static void round_at(void *arg)
{
    struct round_call *call = arg;
    call->run(call->arg, call->shard);
}

bool gateway_round(struct gateway *gateway, void (*run)(void *arg, uint32_t shard), void *arg)
{
    for (uint32_t i = 0; !gateway->draining && i < gateway->n_shards; i++) {
        struct round_call call = {run, arg, i};
        shard_call(&gateway->shards[i], round_at, &call);
    }
    return !gateway->draining;
}

/* --- another configuration --- */

enum { WARM_CHECK_US = 10 * 1000, WARM_PATIENCE_US = 5 * 1000 * 1000 };

/* From gateway_change() until `done`: versions that are new connect, so that no request meets them unready.
 */
struct changeover {
    struct gateway *gateway;
    struct plan *plan;
    struct loop_timer check;
    uint64_t until_us;
    void (*done)(void *owner, const struct gw_err *err);
    void *owner;
    struct period *periods[]; /* by shard */
};

/* What the process was built around. */
static enum gw_status refuse_change(const struct config *now, const struct config *next, struct gw_err *err)
{
    const char *key = config_fixed_difference(now, next);
    return key ? gw_err_set(err, GW_E_INVALID,
                            "%s cannot change while the gateway runs; restart it, or leave %s as it is", key,
                            key)
               : GW_OK;
}

static void changeover_free(struct changeover *changeover)
{
    for (uint32_t i = 0; i < changeover->gateway->n_shards; i++)
        period_free(changeover->periods[i]);
    plan_unref(changeover->plan);
    free(changeover);
}

static void changeover_end(struct changeover *changeover, enum gw_status status, const char *what)
{
    struct gateway *gateway = changeover->gateway;
    struct gw_err err;
    gw_err_set(&err, status, "%s", what);
    loop_timer_cancel(gateway->loop, &changeover->check);
    gateway->changeover = NULL;
    changeover->done(changeover->owner, &err);
    changeover_free(changeover);
}

static bool changeover_is_warm(const struct changeover *changeover)
{
    const struct plan *plan = changeover->plan;
    for (uint32_t i = 0; i < plan->config->n_versions; i++)
        if (!version_is_ready(plan->versions[i]) &&
            !plan_has_version(changeover->gateway->plan, plan->versions[i]))
            return false;
    return true;
}

struct shard_change {
    struct shard *shard;
    struct period *period;
};

static void shard_changes(void *arg)
{
    struct shard_change *change = arg;
    struct shard *shard = change->shard;
    const struct config *config = change->period->plan->config;
    const struct config_limits limits = shard_limits(shard->gateway, config);
    infer_enter(&shard->infer, change->period);
    if (!shard->listener)
        return;
    listener_set_limits(shard->listener, &limits, &config->timeouts);
    listener_set_tls(shard->listener, config->tls.context);
}

/*
 * All shards go by the new plan when this returns; requests in flight by theirs. periods: one for each shard,
 * taken over.
 */
static void gateway_enter(struct gateway *gateway, struct plan *plan, struct period **periods)
{
    for (uint32_t i = 0; i < gateway->n_shards; i++) {
        struct shard_change change = {.shard = &gateway->shards[i], .period = periods[i]};
        shard_call(change.shard, shard_changes, &change);
        periods[i] = NULL;
    }
    plan_unref(gateway->plan);
    gateway->plan = plan_ref(plan);
    gateway_show_shares(gateway);
    gateway_show_certificate(gateway);
    log_set_level(plan->config->log_level);
}

/* Weights may have been set while it was under way: they are asked for now. */
static void changeover_commit(struct changeover *changeover)
{
    struct gateway *gateway = changeover->gateway;
    if (!gateway_tune(gateway, changeover->plan)) {
        changeover_end(changeover, GW_E_NO_MEMORY, "out of memory; nothing was changed");
        return;
    }
    gateway_enter(gateway, changeover->plan, changeover->periods);
    changeover_end(changeover, GW_OK, "");
}

static void changeover_check(struct loop_timer *timer)
{
    struct changeover *changeover = container_of(timer, struct changeover, check);
    uint64_t now_us = loop_now_us();
    if (changeover_is_warm(changeover) || now_us >= changeover->until_us ||
        loop_timer_set(changeover->gateway->loop, timer, now_us + WARM_CHECK_US) != GW_OK)
        changeover_commit(changeover);
}

static bool periods_new(const struct gateway *gateway, struct plan *plan, struct period **periods)
{
    for (uint32_t i = 0; i < gateway->n_shards; i++)
        if (!(periods[i] = period_new(gateway->metrics, plan)))
            return false;
    return true;
}

static struct changeover *changeover_new(struct gateway *gateway, struct config *config)
{
    struct changeover *changeover =
        calloc(1, sizeof *changeover + gateway->n_shards * sizeof changeover->periods[0]);
    if (!changeover)
        return NULL;
    changeover->gateway = gateway;
    changeover->check.fire = changeover_check;
    changeover->until_us = loop_now_us() + WARM_PATIENCE_US;
    changeover->plan = gateway_make_plan(gateway, config);
    if (changeover->plan && periods_new(gateway, changeover->plan, changeover->periods))
        return changeover;
    changeover_free(changeover);
    return NULL;
}

enum gw_status gateway_change(struct gateway *gateway, struct config *config,
                              void (*done)(void *owner, const struct gw_err *err), void *owner,
                              struct gw_err *err)
{
    if (gateway->draining)
        return gw_err_set(err, GW_E_DRAINING, "the gateway is draining");
    if (gateway->changeover)
        return gw_err_set(err, GW_E_OVERLOAD, "another change is under way; ask again when it is done");
    if (refuse_change(gateway->plan->config, config, err) != GW_OK)
        return err->status;
    struct changeover *changeover = changeover_new(gateway, config);
    if (!changeover)
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory; nothing was changed");
    changeover->done = done;
    changeover->owner = owner;
    gateway->changeover = changeover;
    changeover_check(&changeover->check);
    return GW_OK;
}

enum gw_status gateway_retune(struct gateway *gateway, struct gw_err *err)
{
    enum gw_status status = GW_E_NO_MEMORY;
    if (gateway->draining)
        return gw_err_set(err, GW_E_DRAINING, "the gateway is draining");
    struct period **periods = calloc(gateway->n_shards, sizeof(struct period *));
    struct plan *plan = periods ? plan_again(gateway->plan) : NULL;
    if (plan && gateway_tune(gateway, plan) && periods_new(gateway, plan, periods)) {
        gateway_enter(gateway, plan, periods);
        status = GW_OK;
    }
    for (uint32_t i = 0; periods && i < gateway->n_shards; i++)
        period_free(periods[i]);
    plan_unref(plan);
    free(periods);
    return status == GW_OK ? GW_OK : gw_err_set(err, status, "out of memory; nothing was changed");
}

/* --- the end --- */

enum { DRAIN_CHECK_US = 5000 };

static bool shard_is_busy(const struct shard *shard)
{
    return shard->infer.open || (shard->listener && listener_connections(shard->listener));
}

static bool gateway_is_idle(struct gateway *gateway)
{
    bool idle = true;
    for (uint32_t i = 0; i < gateway->n_shards; i++)
        idle = idle && atomic_load(&gateway->shards[i].idle);
    return idle;
}

/* Other shards' rows may still be at home here, so every shard runs until all are idle or time is up. */
static void shard_check_drained(struct loop_timer *timer)
{
    struct shard *shard = container_of(timer, struct shard, drain_check);
    uint64_t now_us = loop_now_us();
    atomic_store(&shard->idle, !shard_is_busy(shard));
    if (gateway_is_idle(shard->gateway) || now_us >= shard->drain_until_us ||
        loop_timer_set(shard->loop, timer, now_us + DRAIN_CHECK_US) != GW_OK)
        loop_stop(shard->loop);
}

static void shard_drain(struct loop_task *task)
{
    struct shard *shard = container_of(task, struct shard, drain);
    if (shard->listener)
        listener_drain(shard->listener);
    shard->drain_until_us = loop_now_us() + shard->gateway->drain_us;
    shard_check_drained(&shard->drain_check);
}

void gateway_drain(struct gateway *gateway, struct loop_task *drained)
{
    gateway->draining = true;
    if (gateway->changeover)
        changeover_end(gateway->changeover, GW_E_DRAINING, "the gateway is draining");
    gateway->drain_us = gateway->plan->config->timeouts.drain_us;
    gateway->drained = drained;
    for (uint32_t i = 0; i < gateway->n_shards; i++) {
        struct shard *shard = &gateway->shards[i];
        shard->drain.run = shard_drain;
        shard->drain_check.fire = shard_check_drained;
        loop_post(shard->loop, &shard->drain);
    }
}

/* What one loop's tasks post, another's may have to run. */
static void gateway_flush(struct gateway *gateway)
{
    for (bool any = true; any;) {
        any = false;
        for (uint32_t i = 0; i < gateway->n_shards; i++)
            any = (gateway->shards[i].loop && loop_flush(gateway->shards[i].loop)) || any;
    }
}

static void gateway_free(struct gateway *gateway)
{
    for (uint32_t i = 0; i < gateway->n_shards;
         i++) /* clients first: their requests are cancelled and come home */
        if (gateway->shards[i].listener)
            listener_free(gateway->shards[i].listener);
    gateway_flush(gateway);
    for (uint32_t i = 0; i < gateway->n_shards; i++) /* nobody waits for shadows */
        shadow_line_recall(&gateway->shards[i].infer.shadows);
    gateway_flush(gateway);
    for (uint32_t i = 0; i < gateway->n_shards; i++)
        infer_clear(&gateway->shards[i].infer);
    plan_gauges_free(gateway->gauges);
    plan_unref(gateway->plan);
    gateway_flush(gateway); /* versions are freed at home */
    for (uint32_t i = 0; i < gateway->n_shards; i++) {
        struct shard *shard = &gateway->shards[i];
        cache_redis_free(shard->redis);
        if (shard->rpc)
            rpc_client_free(shard->rpc);
        loop_free(shard->loop);
    }
    resolver_free(gateway->resolver);
    cache_free(gateway->cache);
    redis_voice_clear(&gateway->redis_voice);
    free(gateway->shards);
    free(gateway);
}

bool gateway_stop(struct gateway *gateway)
{
    bool clean = true;
    if (gateway->changeover)
        changeover_end(gateway->changeover, GW_E_DRAINING, "the gateway is stopping");
    for (uint32_t i = 0; i < gateway->n_shards; i++)
        if (gateway->shards[i].started)
            loop_stop(gateway->shards[i].loop);
    for (uint32_t i = 0; i < gateway->n_shards; i++)
        if (gateway->shards[i].started)
            pthread_join(gateway->shards[i].thread, NULL);
    for (uint32_t i = 0; i < gateway->n_shards; i++)
        clean = clean && !shard_is_busy(&gateway->shards[i]);
    gateway_free(gateway);
    return clean;
}
