/*
 * admin: what an operator asks, answered from snapshots that any thread may take; and what an operator
 * changes, by those who do the changing. First health, then what is done, then the way from a path to all of
 * it.
 */
#include "admin.h"

#include <stdlib.h>
#include <string.h>

#include "admin_permit.h"
#include "admin_rollouts.h"
#include "admin_status.h"
#include "edge/listener.h"
#include "shadows.h"

static void admin_reply(struct exchange *exchange, struct http_reply *reply);

enum { ADMIN_CONNECTIONS = 256 };

struct admin {
    struct gateway *gateway;
    struct reload *reload;
    struct rollouts *rollouts;
    struct listener *listener;
    struct config_limits limits;
    struct admin_status status;
    bool draining, opened; /* opened: every version has had a replica, or timeouts.start is over */
};

/* --- /health --- */

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
        if (admin_status_ready(&admin->status, i) || (!all && is_for_shadows(config->versions[i])))
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
    admin->opened = admin->opened || all_there || loop_now_us() - admin->status.started_us >= start_us;
    return write_verdict(admin, "serving", admin->opened, &waiting, out);
}

/* --- /status, /metrics --- */

static int write_status(struct admin *admin, struct buf *out)
{
    admin_status_write(&admin->status, admin->draining, out);
    return 200;
}

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
    else if (admin_permit(gateway_config(admin->gateway)->admin_token_file, exchange, &err) != GW_OK)
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
    else if (acts && admin_permit(gateway_config(admin->gateway)->admin_token_file, exchange, &err) != GW_OK)
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
    } else if (admin_permit(gateway_config(admin->gateway)->admin_token_file, exchange, &err) != GW_OK) {
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

static void admin_refuse(void *owner, struct exchange *exchange, const struct gw_err *err,
                         struct http_reply *reply)
{
    (void)owner, (void)exchange;
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
    admin->limits = config->limits;
    admin->limits.connections = ADMIN_CONNECTIONS;
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
    if (admin_status_init(&admin->status, gateway))
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
    admin_status_clear(&admin->status);
    free(admin);
}
