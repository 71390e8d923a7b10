/*
 * shard: set-up and take-down of the whole gateway. Set-up goes bottom up (loop, rpc, versions, infer,
 * listener), then the threads start; take-down goes the other way round, after they have ended, from one
 * thread.
 */
#include "shard.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "edge/endpoint.h"
#include "edge/listener.h"
#include "infer/request.h"
#include "support/resolve.h"

struct shard {
    struct gateway *gateway;
    struct loop *loop;
    struct rpc_client *rpc;
    struct infer infer;
    struct listener *listener; /* NULL: another shard listens for all (unix sockets) */
    struct config_limits limits;
    pthread_t thread;
    bool started;
    struct loop_task drain;
    struct loop_timer drain_check;
    uint64_t drain_until_us;
    _Atomic bool idle; /* while draining: nothing left to finish here */
};

struct gateway {
    struct config *config;
    struct metrics *metrics;
    struct cache *cache;
    struct resolver *resolver;
    struct version **versions; /* by config_version.index; version i lives on shard i mod n */
    struct shard *shards;
    uint32_t n_shards;
    int access_log_fd;
    struct config_address address; /* the port the system chose, where the configuration says 0 */
    char port[8];
    _Atomic uint32_t running; /* shards whose loop has not ended */
    struct loop *drained_loop;
    struct loop_task *drained;
};

/* --- set-up --------------------------------------------------------------------------------------------- */

static bool shard_open(struct shard *shard)
{
    shard->loop = loop_new();
    shard->rpc = shard->loop ? rpc_client_new(shard->loop) : NULL;
    return shard->rpc != NULL;
}

static bool gateway_open_versions(struct gateway *gateway)
{
    const struct config *config = gateway->config;
    gateway->versions = calloc(config->n_versions + 1, sizeof(struct version *));
    for (uint32_t i = 0; gateway->versions && i < config->n_versions; i++) {
        struct shard *home = &gateway->shards[i % gateway->n_shards];
        const struct version_setup setup = {
            .config = config->versions[i], .loop = home->loop, .rpc = home->rpc, .metrics = gateway->metrics};
        gateway->versions[i] = version_new(&setup);
        if (!gateway->versions[i])
            return false;
    }
    return gateway->versions != NULL;
}

static bool shard_listen(struct gateway *gateway, struct shard *shard, struct gw_err *err)
{
    const struct config *config = gateway->config;
    bool alone = config->listen.unix_path != NULL; /* a unix socket cannot be shared by binding it again */
    uint32_t shares = alone ? 1 : gateway->n_shards;
    shard->limits = config->limits;
    shard->limits.connections = (config->limits.connections + shares - 1) / shares;
    shard->limits.held_bytes = config->limits.held_bytes / shares;
    if (alone && shard != gateway->shards)
        return true;
    const struct edge_setup setup = {.loop = shard->loop,
                                     .metrics = gateway->metrics,
                                     .name = "clients",
                                     .address = &gateway->address,
                                     .join = shard != gateway->shards,
                                     .limits = &shard->limits,
                                     .timeouts = &config->timeouts,
                                     .access_log_fd = gateway->access_log_fd,
                                     .handle = endpoint_handle,
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

static bool gateway_open(struct gateway *gateway, struct gw_err *err)
{
    const struct config *config = gateway->config;
    gw_err_set(err, GW_E_NO_MEMORY, "out of memory or file descriptors while starting");
    gateway->cache = cache_new(config->cache_bytes, gateway->metrics);
    gateway->resolver = resolver_new();
    if (!gateway->cache || !gateway->resolver)
        return false;
    for (uint32_t i = 0; i < gateway->n_shards; i++)
        if (!shard_open(&gateway->shards[i]))
            return false;
    if (!gateway_open_versions(gateway))
        return false;
    for (uint32_t i = 0; i < gateway->n_shards; i++) {
        struct shard *shard = &gateway->shards[i];
        if (infer_init(&shard->infer, shard->loop, gateway->metrics, config, gateway->versions,
                       gateway->cache, i) != GW_OK ||
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
        loop_post(gateway->drained_loop, gateway->drained);
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
                              struct gw_err *err)
{
    struct gateway *gateway = calloc(1, sizeof *gateway);
    struct shard *shards = calloc(config->shards, sizeof *shards);
    if (!gateway || !shards) {
        free(gateway);
        free(shards);
        gw_err_set(err, GW_E_NO_MEMORY, "out of memory while starting");
        return NULL;
    }
    gateway->config = config_ref(config);
    gateway->metrics = metrics;
    gateway->shards = shards;
    gateway->n_shards = config->shards;
    gateway->access_log_fd = access_log_fd;
    gateway->address = config->listen;
    for (uint32_t i = 0; i < gateway->n_shards; i++)
        shards[i].gateway = gateway;
    if (gateway_open(gateway, err) && gateway_run(gateway, err))
        return gateway;
    gateway_stop(gateway);
    return NULL;
}

/* --- what others ask --------------------------------------------------------------------------------------
 */

const struct config *gateway_config(const struct gateway *gateway)
{
    return gateway->config;
}
struct version *gateway_version(const struct gateway *gateway, uint32_t index)
{
    return gateway->versions[index];
}
struct metrics *gateway_metrics(const struct gateway *gateway)
{
    return gateway->metrics;
}

uint16_t gateway_port(const struct gateway *gateway)
{
    return gateway->config->listen.unix_path ? 0 : listener_port(gateway->shards[0].listener);
}

/* --- the end
 * ------------------------------------------------------------------------------------------------ */

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
    shard->drain_until_us = loop_now_us() + shard->gateway->config->timeouts.drain_us;
    shard_check_drained(&shard->drain_check);
}

void gateway_drain(struct gateway *gateway, struct loop *loop, struct loop_task *drained)
{
    gateway->drained_loop = loop;
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
    for (uint32_t i = 0; gateway->versions && i < gateway->config->n_versions; i++)
        version_free(gateway->versions[i]);
    gateway_flush(gateway);
    for (uint32_t i = 0; i < gateway->n_shards; i++) {
        struct shard *shard = &gateway->shards[i];
        infer_clear(&shard->infer);
        if (shard->rpc)
            rpc_client_free(shard->rpc);
        loop_free(shard->loop);
    }
    resolver_free(gateway->resolver);
    cache_free(gateway->cache);
    config_unref(gateway->config);
    free(gateway->versions);
    free(gateway->shards);
    free(gateway);
}

bool gateway_stop(struct gateway *gateway)
{
    bool clean = true;
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
