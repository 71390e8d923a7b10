/* admin_status: JSON of what there is, from its parts up to the whole. */
#include "admin_status.h"

#include <stdlib.h>

#include "support/log.h"

bool admin_status_init(struct admin_status *status, struct gateway *gateway)
{
    status->gateway = gateway;
    status->started_us = loop_now_us();
    status->replicas = calloc(POOL_REPLICAS_MAX, sizeof *status->replicas);
    status->names = calloc(POOL_ADDRESSES_MAX, sizeof *status->names);
    return status->replicas && status->names;
}

void admin_status_clear(struct admin_status *status)
{
    free(status->replicas);
    free(status->names);
}

static uint32_t ready_replicas(struct admin_status *status, uint32_t index, uint32_t *known)
{
    uint32_t ready = 0, n = pool_status(version_pool(gateway_version(status->gateway, index)),
                                        status->replicas, POOL_REPLICAS_MAX);
    *known = n;
    for (uint32_t i = 0; i < *known; i++)
        ready += status->replicas[i].state == REPLICA_READY;
    return ready;
}

uint32_t admin_status_ready(struct admin_status *status, uint32_t version)
{
    uint32_t known;
    return ready_replicas(status, version, &known);
}

static void write_specs(struct buf *out, const char *key, const struct tensor_spec *specs, uint32_t n)
{
    buf_printf(out, "\"%s\":[", key);
    for (uint32_t i = 0; i < n; i++) {
        buf_text(out, i ? ",{" : "{");
        buf_json_member(out, "name", specs[i].name);
        buf_printf(out, ",\"datatype\":\"%s\",\"shape\":[", datatype_name(specs[i].datatype));
        for (uint32_t d = 0; d < specs[i].dims; d++)
            buf_printf(out, "%s%lld", d ? "," : "", (long long)specs[i].shape[d]);
        buf_text(out, "]}");
    }
    buf_text(out, "]");
}

static void write_replica(struct buf *out, const struct replica_status *replica)
{
    buf_text(out, "{");
    buf_json_member(out, "address", replica->address);
    buf_text(out, ",");
    buf_json_member(out, "source", replica->source);
    buf_printf(out, ",\"state\":\"%s\",", replica_state_name(replica->state));
    buf_json_member(out, "why", replica->why);
    buf_printf(out, ",\"in_flight\":%u,\"calls\":%llu,\"failures\":%llu,", replica->in_flight,
               (unsigned long long)replica->calls, (unsigned long long)replica->failures);
    buf_json_member(out, "digest", replica->digest);
    buf_text(out, "}");
}

static void write_name(struct buf *out, const struct discovery_status *name)
{
    buf_text(out, "{");
    buf_json_member(out, "name", name->name);
    buf_printf(out, ",\"last\":\"%s\",", name->asked ? discovery_outcome_name(name->outcome) : "none");
    buf_json_member(out, "why", name->why);
    buf_printf(out, ",\"addresses\":%u,\"left_out\":%u}", name->addresses, name->left_out);
}

static void write_names(struct admin_status *status, struct buf *out, const struct config_version *version)
{
    const struct pool *pool = version_pool(gateway_version(status->gateway, version->index));
    uint32_t n = pool_names(pool, status->names, POOL_ADDRESSES_MAX);
    buf_text(out, "\"discovery\":[");
    for (uint32_t i = 0; i < n; i++) {
        buf_text(out, i ? "," : "");
        write_name(out, &status->names[i]);
    }
    buf_text(out, "]");
}

static void write_version(struct admin_status *status, struct buf *out, const struct config_version *version)
{
    uint32_t known, ready = ready_replicas(status, version->index, &known);
    buf_text(out, "{");
    buf_json_member(out, "version", version->name);
    buf_printf(out, ",\"ready\":%s,\"replicas_up\":%u,", ready ? "true" : "false", ready);
    write_names(status, out, version);
    buf_text(out, ",\"replicas\":[");
    for (uint32_t i = 0; i < known; i++) {
        buf_text(out, i ? "," : "");
        write_replica(out, &status->replicas[i]);
    }
    buf_text(out, "]}");
}

static void write_model(struct admin_status *status, struct buf *out, const struct config_model *model)
{
    buf_text(out, "{");
    buf_json_member(out, "name", model->name);
    buf_text(out, ",");
    write_specs(out, "inputs", model->signature.inputs, model->signature.n_inputs);
    buf_text(out, ",");
    write_specs(out, "outputs", model->signature.outputs, model->signature.n_outputs);
    buf_printf(out, ",\"batching\":{\"policy\":\"%s\",\"max_rows\":%u},\"cache\":%s,\"versions\":[",
               batching_policy_name(model->batching.policy), model->batching.max_rows,
               model->cache ? "true" : "false");
    for (uint32_t i = 0; i < model->n_versions; i++) {
        buf_text(out, i ? "," : "");
        write_version(status, out, model->versions[i]);
    }
    buf_text(out, "]}");
}

/* What tells clients apart: "header x-user-id". */
static void write_sticky(struct buf *out, const struct config_sticky *sticky)
{
    static const char *const kinds[] = {"", "header", "cookie", "field", "client"};
    buf_text(out, ",\"sticky\":");
    if (sticky->kind == STICKY_NONE) {
        buf_text(out, "null");
        return;
    }
    buf_printf(out, "{\"by\":\"%s\",", kinds[sticky->kind]);
    buf_json_member(out, "name", sticky->name);
    buf_text(out, ",");
    buf_json_member(out, "salt", sticky->salt);
    buf_text(out, "}");
}

static void write_endpoint(struct buf *out, const struct config_endpoint *endpoint,
                           const struct plan_endpoint *place)
{
    buf_text(out, "{");
    buf_json_member(out, "name", endpoint->name);
    buf_printf(out, ",\"slo_us\":%llu,\"default\":%s,\"when_unready\":\"%s\",\"split\":[",
               (unsigned long long)endpoint->slo_us, endpoint->n_defaults ? "true" : "false",
               when_unready_name(endpoint->when_unready));
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        buf_text(out, i ? ",{" : "{");
        buf_json_member(out, "model", endpoint->arms[i].version->full_name);
        buf_text(out, ",");
        buf_json_member(out, "name", endpoint->arms[i].name);
        buf_printf(out, ",\"weight\":%.15g,\"buckets\":%u}", place->weights[i], split_owned(place->split, i));
    }
    buf_text(out, "]");
    write_sticky(out, &endpoint->sticky);
    buf_text(out, "}");
}

static void write_redis_shard(struct buf *out, struct cache_redis *redis)
{
    struct cache_redis_status seen;
    cache_redis_status(redis, &seen);
    buf_printf(out, "{\"breaker\":\"%s\",\"since_s\":%.1f,\"stores\":%s,",
               breaker_state_name(seen.redis.state), (double)(loop_now_us() - seen.redis.since_us) / 1e6,
               seen.stores_off ? "false" : "true");
    buf_json_member(out, "why", seen.redis.why);
    buf_text(out, "}");
}

/* How many of the shards wait for lookups of this version. */
static void write_redis_version(struct admin_status *status, struct buf *out,
                                const struct config_version *version)
{
    uint32_t shards = gateway_config(status->gateway)->shards, awaiting = 0;
    for (uint32_t i = 0; i < shards; i++)
        awaiting += cache_redis_awaits(gateway_redis(status->gateway, i), version->full_name);
    buf_text(out, "{");
    buf_json_member(out, "version", version->full_name);
    buf_printf(out, ",\"lookups\":\"%s\"}",
               awaiting == shards ? "awaited"
               : awaiting         ? "awaited by some shards"
                                  : "sampled");
}

static void write_redis(struct admin_status *status, struct buf *out)
{
    const struct config *config = gateway_config(status->gateway);
    if (!config->redis.shown) {
        buf_text(out, "null");
        return;
    }
    buf_text(out, "{");
    buf_json_member(out, "url", config->redis.shown);
    buf_text(out, ",\"shards\":[");
    for (uint32_t i = 0; i < config->shards; i++) {
        buf_text(out, i ? "," : "");
        write_redis_shard(out, gateway_redis(status->gateway, i));
    }
    buf_text(out, "],\"versions\":[");
    for (uint32_t i = 0; i < config->n_versions; i++) {
        buf_text(out, i ? "," : "");
        write_redis_version(status, out, config->versions[i]);
    }
    buf_text(out, "]}");
}

void admin_status_write(struct admin_status *status, bool draining, struct buf *out)
{
    const struct config *config = gateway_config(status->gateway);
    buf_text(out, "{");
    buf_json_member(out, "version", XEBEC_VERSION);
    buf_text(out, ",");
    buf_json_member(out, "config", config->path);
    buf_printf(out,
               ",\"shards\":%u,\"uptime_s\":%.1f,\"draining\":%s,\"log_lines_dropped\":%llu,\"models\":[",
               config->shards, (double)(loop_now_us() - status->started_us) / 1e6,
               draining ? "true" : "false", (unsigned long long)log_dropped());
    for (uint32_t i = 0; i < config->n_models; i++) {
        buf_text(out, i ? "," : "");
        write_model(status, out, config->models[i]);
    }
    buf_text(out, "],\"endpoints\":[");
    for (uint32_t i = 0; i < config->n_endpoints; i++) {
        buf_text(out, i ? "," : "");
        write_endpoint(out, config->endpoints[i], &gateway_plan(status->gateway)->endpoints[i]);
    }
    buf_text(out, "],\"redis\":");
    write_redis(status, out);
    buf_text(out, "}\n");
}
