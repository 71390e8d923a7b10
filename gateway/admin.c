/*
 * admin: what an operator asks, answered from snapshots that any thread may take; and what an operator
 * changes, by those who do the changing.
 */
#include "admin.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "admin_rollouts.h"
#include "edge/listener.h"
#include "replica/pool.h"
#include "shadows.h"
#include "support/log.h"

static void admin_reply(struct exchange *exchange, struct http_reply *reply);

enum { ADMIN_CONNECTIONS = 256 };

struct admin {
    struct gateway *gateway;
    struct reload *reload;
    struct rollouts *rollouts;
    struct listener *listener;
    struct config_limits limits;
    struct replica_status *replicas; /* room for one version's */
    struct discovery_status *names;  /* likewise */
    uint64_t started_us;
    bool draining, opened; /* opened: every version has had a replica, or timeouts.start is over */
};

/* --- /health --- */

static uint32_t version_ready_replicas(struct admin *admin, uint32_t index, uint32_t *known)
{
    uint32_t ready = 0, n = pool_status(version_pool(gateway_version(admin->gateway, index)), admin->replicas,
                                        POOL_REPLICAS_MAX);
    *known = n;
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

/* Whether no client's request comes here: only shadows ask. */
static bool is_for_shadows(const struct config_version *version)
{
    return !version->least_slo_us && version->shadow_timeout_us;
}

/* The versions without a replica, as JSON texts with commas between; all, or those that clients are sent to.
 */
static struct buf name_waiting(struct admin *admin, bool all)
{
    const struct config *config = gateway_config(admin->gateway);
    struct buf waiting = {0};
    for (uint32_t i = 0; i < config->n_versions; i++) {
        uint32_t known;
        if (version_ready_replicas(admin, i, &known) || (!all && is_for_shadows(config->versions[i])))
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
    struct buf waiting = name_waiting(admin, true);
    return write_verdict(admin, "ready", !waiting.length, &waiting, out);
}

/*
 * Whether clients are to be sent here. A gateway that has just started is spared until its replicas are
 * there, but for those of shadows; after that a model that loses its replicas must not take the others'
 * traffic away.
 */
static int write_serving(struct admin *admin, struct buf *out)
{
    struct buf waiting = name_waiting(admin, false);
    bool all_there = !waiting.length && !waiting.failed;
    uint64_t start_us = gateway_config(admin->gateway)->timeouts.start_us;
    admin->opened = admin->opened || all_there || loop_now_us() - admin->started_us >= start_us;
    return write_verdict(admin, "serving", admin->opened, &waiting, out);
}

/* --- /status --- */

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

static void write_names(struct admin *admin, struct buf *out, const struct config_version *version)
{
    const struct pool *pool = version_pool(gateway_version(admin->gateway, version->index));
    uint32_t n = pool_names(pool, admin->names, POOL_ADDRESSES_MAX);
    buf_text(out, "\"discovery\":[");
    for (uint32_t i = 0; i < n; i++) {
        buf_text(out, i ? "," : "");
        write_name(out, &admin->names[i]);
    }
    buf_text(out, "]");
}

static void write_version(struct admin *admin, struct buf *out, const struct config_version *version)
{
    uint32_t known, ready = version_ready_replicas(admin, version->index, &known);
    buf_text(out, "{");
    buf_json_member(out, "version", version->name);
    buf_printf(out, ",\"ready\":%s,\"replicas_up\":%u,", ready ? "true" : "false", ready);
    write_names(admin, out, version);
    buf_text(out, ",\"replicas\":[");
    for (uint32_t i = 0; i < known; i++) {
        buf_text(out, i ? "," : "");
        write_replica(out, &admin->replicas[i]);
    }
    buf_text(out, "]}");
}

static void write_model(struct admin *admin, struct buf *out, const struct config_model *model)
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
        write_version(admin, out, model->versions[i]);
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
    struct cache_redis_status status;
    cache_redis_status(redis, &status);
    buf_printf(out, "{\"breaker\":\"%s\",\"since_s\":%.1f,\"stores\":%s,",
               breaker_state_name(status.redis.state), (double)(loop_now_us() - status.redis.since_us) / 1e6,
               status.stores_off ? "false" : "true");
    buf_json_member(out, "why", status.redis.why);
    buf_text(out, "}");
}

/* How many of the shards wait for lookups of this version. */
static void write_redis_version(struct admin *admin, struct buf *out, const struct config_version *version)
{
    uint32_t shards = gateway_config(admin->gateway)->shards, awaiting = 0;
    for (uint32_t i = 0; i < shards; i++)
        awaiting += cache_redis_awaits(gateway_redis(admin->gateway, i), version->full_name);
    buf_text(out, "{");
    buf_json_member(out, "version", version->full_name);
    buf_printf(out, ",\"lookups\":\"%s\"}",
               awaiting == shards ? "awaited"
               : awaiting         ? "awaited by some shards"
                                  : "sampled");
}

static void write_redis(struct admin *admin, struct buf *out)
{
    const struct config *config = gateway_config(admin->gateway);
    if (!config->redis.shown) {
        buf_text(out, "null");
        return;
    }
    buf_text(out, "{");
    buf_json_member(out, "url", config->redis.shown);
    buf_text(out, ",\"shards\":[");
    for (uint32_t i = 0; i < config->shards; i++) {
        buf_text(out, i ? "," : "");
        write_redis_shard(out, gateway_redis(admin->gateway, i));
    }
    buf_text(out, "],\"versions\":[");
    for (uint32_t i = 0; i < config->n_versions; i++) {
        buf_text(out, i ? "," : "");
        write_redis_version(admin, out, config->versions[i]);
    }
    buf_text(out, "]}");
}

static int write_status(struct admin *admin, struct buf *out)
{
    const struct config *config = gateway_config(admin->gateway);
    buf_text(out, "{");
    buf_json_member(out, "version", XEBEC_VERSION);
    buf_text(out, ",");
    buf_json_member(out, "config", config->path);
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
        write_endpoint(out, config->endpoints[i], &gateway_plan(admin->gateway)->endpoints[i]);
    }
    buf_text(out, "],\"redis\":");
    write_redis(admin, out);
    buf_text(out, "}\n");
    return 200;
}

/* --- /metrics, and the list of it all --- */

static int write_metrics(struct admin *admin, struct buf *out)
{
    metrics_render(gateway_metrics(admin->gateway), out);
    return 200;
}

/* --- /reload --- */

/* In the exchange's arena. */
struct admin_reload {
    struct reload_ask ask;
    struct admin *admin;
    struct exchange *exchange;
};

static void write_problems(struct buf *out, const struct config_problems *problems)
{
    buf_text(out, "\"problems\":[");
    for (uint32_t i = 0; problems && i < problems->count; i++) {
        const struct config_problem *problem = &problems->list[i];
        buf_printf(out, "%s{\"line\":%u,\"column\":%u,", i ? "," : "", problem->line, problem->column);
        buf_json_member(out, "what", problem->what);
        buf_text(out, "}");
    }
    buf_text(out, "]");
}

static void reload_answered(struct reload_ask *ask, const struct reload_answer *answer)
{
    struct admin_reload *ours = container_of(ask, struct admin_reload, ask);
    struct http_reply reply = {.status = gw_status_http(answer->err.status),
                               .content_type = "application/json"};
    bool reloaded = answer->err.status == GW_OK;
    buf_printf(&reply.body, "{\"reloaded\":%s,", reloaded ? "true" : "false");
    if (reloaded) {
        struct buf waiting = name_waiting(ours->admin, true);
        buf_text(&reply.body, "\"without_replica\":[");
        buf_append(&reply.body, waiting.bytes, waiting.length);
        buf_text(&reply.body, "]}\n");
        buf_clear(&waiting);
    } else {
        buf_json_member(&reply.body, "error", answer->err.what);
        buf_printf(&reply.body, ",\"cause\":\"%s\",", gw_status_cause(answer->err.status));
        write_problems(&reply.body, answer->problems);
        buf_text(&reply.body, "}\n");
    }
    admin_reply(ours->exchange, &reply);
}

static void act_reload(struct admin *admin, struct exchange *exchange)
{
    struct admin_reload *ours = arena_zalloc(&exchange->arena, sizeof *ours);
    if (!ours) {
        exchange_abandon(exchange);
        return;
    }
    *ours = (struct admin_reload){
        .ask = {.who = exchange->client, .done = reload_answered}, .admin = admin, .exchange = exchange};
    reload_ask(admin->reload, &ours->ask);
}

/* --- /shadows --- */

#define SHADOWS_OF "/shadows/" /* and an endpoint */

/* endpoint: NULL: all of them, in brief. */
static int write_shadows(struct admin *admin, const char *endpoint, struct buf *out)
{
    enum gw_status status = shadows_write(admin->gateway, endpoint, out);
    if (status == GW_OK)
        return 200;
    bool unknown = status == GW_E_NOT_FOUND;
    buf_clear(out);
    buf_text(out, "{");
    buf_json_member(out, "error",
                    unknown ? "no endpoint with a shadow has this name" : gw_status_words(status));
    buf_printf(out, ",\"cause\":\"%s\"}\n", gw_status_cause(status));
    return gw_status_http(status);
}

static int write_all_shadows(struct admin *admin, struct buf *out)
{
    return write_shadows(admin, NULL, out);
}

/* --- the list of it all --- */

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
    {"/status", "application/json", "models, versions, replicas, endpoints, Redis", write_status},
    {"/shadows", "application/json",
     "how shadows agree with what clients got; /shadows/ENDPOINT: by output, with examples, for who may "
     "change things",
     write_all_shadows},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", "Prometheus metrics", write_metrics},
    {"/", "text/plain; charset=utf-8", "this list", write_index},
};
enum { PAGES = sizeof pages / sizeof pages[0] };

static const struct action {
    const char *path, *about;
    void (*act)(struct admin *admin, struct exchange *exchange); /* replies, now or later */
} actions[] = {
    {"/reload", "POST: read the configuration file again and go by it", act_reload},
};
enum { ACTIONS = sizeof actions / sizeof actions[0] };

static int write_index(struct admin *admin, struct buf *out)
{
    (void)admin;
    buf_text(out, "xebec " XEBEC_VERSION ", for operators\n\n");
    for (int i = 0; i < PAGES; i++)
        buf_printf(out, "  %-16s %s\n", pages[i].path, pages[i].about);
    for (int i = 0; i < ACTIONS; i++)
        buf_printf(out, "  %-16s %s\n", actions[i].path, actions[i].about);
    buf_text(out, "  /rollouts        how each endpoint shares out its requests; /rollouts/NAME: one\n"
                  "                   POST /rollouts/NAME/set, reset, promote, rollback, pause, resume\n");
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

/* --- who may change something --- */

enum { TOKEN_BYTES_MAX = 4096 };

/* The first line of the file. -1: it cannot be read, or is empty. */
static ssize_t read_token(const char *path, char token[TOKEN_BYTES_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, token, TOKEN_BYTES_MAX - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return -1;
    token[n] = '\0';
    n = (ssize_t)strcspn(token, "\r\n");
    return n ? n : -1;
}

static bool bears_token(const struct http_message *message, const char *token, size_t length)
{
    const struct http_header *header = http_message_header(message, "authorization");
    return header && header->value_length == strlen("Bearer ") + length &&
           strncasecmp(header->value, "Bearer ", strlen("Bearer ")) == 0 &&
           sodium_memcmp(header->value + strlen("Bearer "), token, length) == 0;
}

static bool is_here(const char *client)
{
    return !strncmp(client, "127.", 4) || !strncmp(client, "::ffff:127.", 11) || !strcmp(client, "::1") ||
           !strcmp(client, "unix");
}

/* Without a token, this machine alone; and no web page, which a browser here would let ask on its behalf. */
static enum gw_status admin_permits(struct admin *admin, const struct exchange *exchange, struct gw_err *err)
{
    const char *path = gateway_config(admin->gateway)->admin_token_file;
    char token[TOKEN_BYTES_MAX];
    if (!path) {
        if (is_here(exchange->client) && !http_message_header(&exchange->message, "origin"))
            return GW_OK;
        return gw_err_set(err, GW_E_UNAUTHENTICATED,
                          "changes from elsewhere need admin_token_file in the configuration");
    }
    ssize_t length = read_token(path, token);
    bool permitted = length > 0 && bears_token(&exchange->message, token, (size_t)length);
    sodium_memzero(token, sizeof token);
    if (permitted)
        return GW_OK;
    return length > 0
               ? gw_err_set(err, GW_E_UNAUTHENTICATED, "send Authorization: Bearer and the admin token")
               : gw_err_set(err, GW_E_UNAUTHENTICATED, "%s has no token", path);
}

/* --- the path --- */

static void admin_reply(struct exchange *exchange, struct http_reply *reply)
{
    if (reply->body.failed) {
        buf_clear(&reply->body);
        exchange_abandon(exchange);
        return;
    }
    exchange_reply(exchange, reply);
}

static void reply_error(struct exchange *exchange, enum gw_status status, const char *headers,
                        const char *what)
{
    struct http_reply reply = {.headers = headers};
    admin_error(&reply, status, what);
    admin_reply(exchange, &reply);
}

static void show(struct admin *admin, struct exchange *exchange, const struct page *page)
{
    struct http_reply reply = {.content_type = page->content_type};
    if (exchange->message.method != HTTP_M_GET && exchange->message.method != HTTP_M_HEAD) {
        reply_error(exchange, GW_E_METHOD, "Allow: GET, HEAD\r\n", "this page is read with GET");
        return;
    }
    reply.status = page->write(admin, &reply.body);
    admin_reply(exchange, &reply);
}

static void act(struct admin *admin, struct exchange *exchange, const struct action *action)
{
    struct gw_err err;
    if (exchange->message.method != HTTP_M_POST)
        reply_error(exchange, GW_E_METHOD, "Allow: POST\r\n", "this is asked for with POST");
    else if (admin_permits(admin, exchange, &err) != GW_OK)
        reply_error(exchange, err.status, "WWW-Authenticate: Bearer\r\n", err.what);
    else
        action->act(admin, exchange);
}

static void answer_rollouts(struct admin *admin, struct exchange *exchange)
{
    struct http_reply reply = {.status = 200, .content_type = "application/json"};
    struct gw_err err;
    if (admin_rollouts_answer(admin->rollouts, exchange, &reply.body, &err) != GW_OK) {
        buf_clear(&reply.body);
        admin_error(&reply, err.status, err.what);
    }
    admin_reply(exchange, &reply);
}

static void handle_rollouts(struct admin *admin, struct exchange *exchange, bool acts)
{
    enum http_method method = exchange->message.method;
    struct gw_err err;
    if (acts && method != HTTP_M_POST)
        reply_error(exchange, GW_E_METHOD, "Allow: POST\r\n", "this is asked for with POST");
    else if (!acts && method != HTTP_M_GET && method != HTTP_M_HEAD)
        reply_error(exchange, GW_E_METHOD, "Allow: GET, HEAD\r\n", "this page is read with GET");
    else if (acts && admin_permits(admin, exchange, &err) != GW_OK)
        reply_error(exchange, err.status, "WWW-Authenticate: Bearer\r\n", err.what);
    else
        answer_rollouts(admin, exchange);
}

/* Clients' inputs are among what is shown. */
static void show_shadows(struct admin *admin, struct exchange *exchange, const char *endpoint)
{
    struct http_reply reply = {.content_type = "application/json"};
    struct gw_err err;
    if (exchange->message.method != HTTP_M_GET && exchange->message.method != HTTP_M_HEAD) {
        reply_error(exchange, GW_E_METHOD, "Allow: GET, HEAD\r\n", "this page is read with GET");
    } else if (admin_permits(admin, exchange, &err) != GW_OK) {
        reply_error(exchange, err.status, "WWW-Authenticate: Bearer\r\n", err.what);
    } else {
        reply.status = write_shadows(admin, endpoint, &reply.body);
        admin_reply(exchange, &reply);
    }
}

static void admin_handle(void *owner, struct exchange *exchange)
{
    struct admin *admin = owner;
    const char *path = exchange->message.path;
    bool acts;
    if (admin_rollouts_has(path, &acts)) {
        handle_rollouts(admin, exchange, acts);
        return;
    }
    for (int i = 0; i < PAGES; i++)
        if (!strcmp(path, pages[i].path)) {
            show(admin, exchange, &pages[i]);
            return;
        }
    for (int i = 0; i < ACTIONS; i++)
        if (!strcmp(path, actions[i].path)) {
            act(admin, exchange, &actions[i]);
            return;
        }
    if (!strncmp(path, SHADOWS_OF, strlen(SHADOWS_OF)))
        show_shadows(admin, exchange, path + strlen(SHADOWS_OF));
    else
        reply_error(exchange, GW_E_NOT_FOUND, NULL, "no such page; GET / lists them");
}

static void admin_refuse(void *owner, const char *path, const struct gw_err *err, struct http_reply *reply)
{
    (void)owner, (void)path;
    admin_error(reply, err->status, err->what);
}

struct admin *admin_new(struct loop *loop, struct gateway *gateway, struct reload *reload,
                        struct rollouts *rollouts, struct gw_err *err)
{
    const struct config *config = gateway_config(gateway);
    struct admin *admin = calloc(1, sizeof *admin);
    gw_err_set(err, GW_E_NO_MEMORY, "out of memory while starting");
    if (!admin)
        return NULL;
    admin->gateway = gateway;
    admin->reload = reload;
    admin->rollouts = rollouts;
    admin->started_us = loop_now_us();
    admin->limits = config->limits;
    admin->limits.connections = ADMIN_CONNECTIONS;
    admin->replicas = calloc(POOL_REPLICAS_MAX, sizeof *admin->replicas);
    admin->names = calloc(POOL_ADDRESSES_MAX, sizeof *admin->names);
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
    if (admin->replicas && admin->names)
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
    free(admin->names);
    free(admin);
}
