/* admin: five questions an operator asks, answered from snapshots that any thread may take. */
#include "admin.h"

#include <stdlib.h>
#include <string.h>

#include "edge/listener.h"
#include "replica/pool.h"
#include "support/log.h"

enum { REPLICAS_SHOWN = 256, ADMIN_CONNECTIONS = 256 };

struct admin {
    struct gateway *gateway;
    struct listener *listener;
    struct config_limits limits;
    struct replica_status *replicas; /* room for one version's */
    uint64_t started_us;
    bool draining, opened; /* opened: every version has had a replica, or timeouts.start is over */
};

/* --- /health ---------------------------------------------------------------------------------------------
 */

static uint32_t version_ready_replicas(struct admin *admin, uint32_t index, uint32_t *known)
{
    uint32_t ready = 0, n = pool_status(version_pool(gateway_version(admin->gateway, index)), admin->replicas,
                                        REPLICAS_SHOWN);
    *known = n < REPLICAS_SHOWN ? n : REPLICAS_SHOWN;
    for (uint32_t i = 0; i < *known; i++)
        ready += admin->replicas[i].state == REPLICA_READY;
    return ready;
}

static int write_live(struct admin *admin, struct buf *out)
{
    (void)admin;
    buf_text(out, "{\"live\":true}\n");
    return 200;
}

/* The versions without a replica, as JSON texts with commas between. */
static struct buf name_waiting(struct admin *admin)
{
    const struct config *config = gateway_config(admin->gateway);
    struct buf waiting = {0};
    for (uint32_t i = 0; i < config->n_versions; i++) {
        uint32_t known;
        if (version_ready_replicas(admin, i, &known))
            continue;
        buf_text(&waiting, waiting.length ? "," : "");
        buf_json_text(&waiting, config->versions[i]->full_name, strlen(config->versions[i]->full_name));
    }
    return waiting;
}

static int write_verdict(struct admin *admin, const char *verdict, bool well, struct buf *waiting,
                         struct buf *out)
{
    well = well && !admin->draining;
    buf_printf(out, "{\"%s\":%s,\"draining\":%s,\"without_replica\":[", verdict, well ? "true" : "false",
               admin->draining ? "true" : "false");
    buf_append(out, waiting->bytes, waiting->length);
    buf_text(out, "]}\n");
    out->failed = out->failed || waiting->failed;
    buf_clear(waiting);
    return well ? 200 : gw_status_http(GW_E_NO_REPLICA);
}

static int write_ready(struct admin *admin, struct buf *out)
{
    struct buf waiting = name_waiting(admin);
    return write_verdict(admin, "ready", !waiting.length, &waiting, out);
}

/*
 * Whether clients are to be sent here. A gateway that has just started is spared until its replicas are
 * there; after that a model that loses its replicas must not take the others' traffic away.
 */
static int write_serving(struct admin *admin, struct buf *out)
{
    struct buf waiting = name_waiting(admin);
    bool all_there = !waiting.length && !waiting.failed;
    uint64_t start_us = gateway_config(admin->gateway)->timeouts.start_us;
    admin->opened = admin->opened || all_there || loop_now_us() - admin->started_us >= start_us;
    return write_verdict(admin, "serving", admin->opened, &waiting, out);
}

/* --- /status ----------------------------------------------------------------------------------------------
 */

static void write_key_text(struct buf *out, const char *key, const char *value)
{
    buf_printf(out, "\"%s\":", key);
    buf_json_text(out, value, strlen(value));
}

static void write_specs(struct buf *out, const char *key, const struct tensor_spec *specs, uint32_t n)
{
    buf_printf(out, "\"%s\":[", key);
    for (uint32_t i = 0; i < n; i++) {
        buf_text(out, i ? ",{" : "{");
        write_key_text(out, "name", specs[i].name);
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
    write_key_text(out, "address", replica->address);
    buf_printf(out, ",\"state\":\"%s\",", replica_state_name(replica->state));
    write_key_text(out, "why", replica->why);
    buf_printf(out, ",\"in_flight\":%u,\"calls\":%llu,\"failures\":%llu,", replica->in_flight,
               (unsigned long long)replica->calls, (unsigned long long)replica->failures);
    write_key_text(out, "digest", replica->digest);
    buf_text(out, "}");
}

static void write_version(struct admin *admin, struct buf *out, const struct config_version *version)
{
    uint32_t known, ready = version_ready_replicas(admin, version->index, &known);
    buf_text(out, "{");
    write_key_text(out, "version", version->name);
    buf_printf(out, ",\"ready\":%s,\"replicas_up\":%u,\"replicas\":[", ready ? "true" : "false", ready);
    for (uint32_t i = 0; i < known; i++) {
        buf_text(out, i ? "," : "");
        write_replica(out, &admin->replicas[i]);
    }
    buf_text(out, "]}");
}

static void write_model(struct admin *admin, struct buf *out, const struct config_model *model)
{
    static const char *const policies[] = {"none", "fixed", "aimd"};
    buf_text(out, "{");
    write_key_text(out, "name", model->name);
    buf_text(out, ",");
    write_specs(out, "inputs", model->signature.inputs, model->signature.n_inputs);
    buf_text(out, ",");
    write_specs(out, "outputs", model->signature.outputs, model->signature.n_outputs);
    buf_printf(out, ",\"batching\":{\"policy\":\"%s\",\"max_rows\":%u},\"cache\":%s,\"versions\":[",
               policies[model->batching.policy], model->batching.max_rows, model->cache ? "true" : "false");
    for (uint32_t i = 0; i < model->n_versions; i++) {
        buf_text(out, i ? "," : "");
        write_version(admin, out, model->versions[i]);
    }
    buf_text(out, "]}");
}

static void write_endpoint(struct buf *out, const struct config_endpoint *endpoint)
{
    buf_text(out, "{");
    write_key_text(out, "name", endpoint->name);
    buf_printf(out, ",\"slo_us\":%llu,\"default\":%s,\"split\":[", (unsigned long long)endpoint->slo_us,
               endpoint->n_defaults ? "true" : "false");
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        buf_text(out, i ? ",{" : "{");
        write_key_text(out, "model", endpoint->arms[i].version->full_name);
        buf_printf(out, ",\"weight\":%u}", endpoint->arms[i].weight);
    }
    buf_text(out, "]}");
}

static int write_status(struct admin *admin, struct buf *out)
{
    const struct config *config = gateway_config(admin->gateway);
    buf_text(out, "{");
    write_key_text(out, "version", XEBEC_VERSION);
    buf_text(out, ",");
    write_key_text(out, "config", config->path);
    buf_printf(out,
               ",\"shards\":%u,\"uptime_s\":%.1f,\"draining\":%s,\"log_lines_dropped\":%llu,\"models\":[",
               config->shards, (double)(loop_now_us() - admin->started_us) / 1e6,
               admin->draining ? "true" : "false", (unsigned long long)log_dropped());
    for (uint32_t i = 0; i < config->n_models; i++) {
        buf_text(out, i ? "," : "");
        write_model(admin, out, config->models[i]);
    }
    buf_text(out, "],\"endpoints\":[");
    for (uint32_t i = 0; i < config->n_endpoints; i++) {
        buf_text(out, i ? "," : "");
        write_endpoint(out, config->endpoints[i]);
    }
    buf_text(out, "]}\n");
    return 200;
}

/* --- /metrics, and the list of it all --------------------------------------------------------------------
 */

static int write_metrics(struct admin *admin, struct buf *out)
{
    metrics_render(gateway_metrics(admin->gateway), out);
    return 200;
}

static int write_index(struct admin *admin, struct buf *out);

static const struct page {
    const char *path, *content_type, *about;
    int (*write)(struct admin *admin, struct buf *out); /* returns the HTTP status */
} pages[] = {
    {"/health/live", "application/json", "200 while the process answers", write_live},
    {"/health/ready", "application/json",
     "200 while every model version has a replica; else 503, naming those that have none", write_ready},
    {"/health/serving", "application/json",
     "200 while clients are to be sent here: from when it was ready, or timeouts.start was over, to its "
     "drain",
     write_serving},
    {"/status", "application/json", "models, versions, replicas, endpoints", write_status},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", "Prometheus metrics", write_metrics},
    {"/", "text/plain; charset=utf-8", "this list", write_index},
};
enum { PAGES = sizeof pages / sizeof pages[0] };

static int write_index(struct admin *admin, struct buf *out)
{
    (void)admin;
    buf_text(out, "xebec " XEBEC_VERSION ", for operators\n\n");
    for (int i = 0; i < PAGES; i++)
        buf_printf(out, "  %-16s %s\n", pages[i].path, pages[i].about);
    return 200;
}

static void admin_error(struct http_reply *reply, enum gw_status status, const char *what)
{
    reply->status = gw_status_http(status);
    reply->content_type = "application/json";
    buf_text(&reply->body, "{\"error\":");
    buf_json_text(&reply->body, what, strlen(what));
    buf_printf(&reply->body, ",\"cause\":\"%s\"}\n", gw_status_cause(status));
}

static void admin_handle(void *owner, struct exchange *exchange)
{
    struct admin *admin = owner;
    struct http_reply reply = {0};
    const struct page *page = NULL;
    for (int i = 0; i < PAGES; i++)
        if (!strcmp(exchange->message.path, pages[i].path))
            page = &pages[i];
    if (!page) {
        admin_error(&reply, GW_E_NOT_FOUND, "no such page; GET / lists them");
    } else if (exchange->message.method != HTTP_M_GET && exchange->message.method != HTTP_M_HEAD) {
        admin_error(&reply, GW_E_METHOD, "this page is read with GET");
        reply.headers = "Allow: GET, HEAD\r\n";
    } else {
        reply.content_type = page->content_type;
        reply.status = page->write(admin, &reply.body);
    }
    if (reply.body.failed) {
        buf_clear(&reply.body);
        exchange_abandon(exchange);
        return;
    }
    exchange_reply(exchange, &reply);
}

static void admin_refuse(void *owner, const char *path, const struct gw_err *err, struct http_reply *reply)
{
    (void)owner, (void)path;
    admin_error(reply, err->status, err->what);
}

struct admin *admin_new(struct loop *loop, struct gateway *gateway, struct gw_err *err)
{
    const struct config *config = gateway_config(gateway);
    struct admin *admin = calloc(1, sizeof *admin);
    gw_err_set(err, GW_E_NO_MEMORY, "out of memory while starting");
    if (!admin)
        return NULL;
    admin->gateway = gateway;
    admin->started_us = loop_now_us();
    admin->limits = config->limits;
    admin->limits.connections = ADMIN_CONNECTIONS;
    admin->replicas = calloc(REPLICAS_SHOWN, sizeof *admin->replicas);
    const struct edge_setup setup = {.loop = loop,
                                     .metrics = gateway_metrics(gateway),
                                     .name = "admin",
                                     .address = &config->admin,
                                     .limits = &admin->limits,
                                     .timeouts = &config->timeouts,
                                     .access_log_fd = -1,
                                     .handle = admin_handle,
                                     .refuse = admin_refuse,
                                     .owner = admin};
    if (admin->replicas)
        admin->listener = listener_new(&setup, err);
    if (!admin->listener) {
        admin_free(admin);
        return NULL;
    }
    return admin;
}

uint16_t admin_port(const struct admin *admin)
{
    return listener_port(admin->listener);
}

void admin_drain(struct admin *admin)
{
    admin->draining = true;
}

void admin_free(struct admin *admin)
{
    if (!admin)
        return;
    if (admin->listener)
        listener_free(admin->listener);
    free(admin->replicas);
    free(admin);
}
