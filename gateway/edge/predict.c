/* predict: starts a request in the dialect that the path speaks, and sends what it ends with. */
#include "edge/predict.h"

#include <string.h>

#include "edge/coding.h"
#include "edge/demands.h"

static const size_t NAME_SHOWN_MAX = 80;

/* --- replies --- */

void reply_json(struct exchange *exchange, enum gw_status status, const char *headers, struct buf *body)
{
    if (body->failed) {
        buf_clear(body);
        exchange_abandon(exchange);
        return;
    }
    struct http_reply reply = {.status = gw_status_http(status),
                               .content_type = "application/json",
                               .headers = headers,
                               .body = *body};
    *body = (struct buf){0};
    exchange_reply(exchange, &reply);
}

void reply_error(struct exchange *exchange, const struct dialect *dialect, enum gw_status status,
                 const char *headers, const char *what)
{
    struct buf body = {0};
    if (dialect->seal) {
        struct http_reply reply = {.headers = headers};
        dialect->seal(&reply, status, what, &exchange->arena);
        exchange_reply(exchange, &reply);
        return;
    }
    dialect->write_error(&body, status, what);
    reply_json(exchange, status, headers, &body);
}

void reply_not_found(struct exchange *exchange, const struct dialect *dialect, const char *what,
                     size_t length, const char *advice)
{
    struct gw_err err;
    size_t shown = length < NAME_SHOWN_MAX ? length : NAME_SHOWN_MAX;
    gw_err_set(&err, GW_E_NOT_FOUND, "%.*s%s", (int)shown, what, advice);
    reply_error(exchange, dialect, err.status, NULL, err.what);
}

const char *reply_retry_header(enum gw_status status)
{
    return status == GW_E_OVERLOAD || status == GW_E_NO_REPLICA || status == GW_E_DRAINING
               ? "Retry-After: 1\r\n"
               : NULL;
}

/* Where it is known when there will be room, that; in whole seconds, never 0. */
static const char *retry_header_of(const struct request *request)
{
    const char *header = NULL;
    if (request->status == GW_E_OVERLOAD && request->retry_us > 1000000)
        header = arena_printf(request->arena, "Retry-After: %llu\r\n",
                              (unsigned long long)((request->retry_us + 999999) / 1000000));
    return header ? header : reply_retry_header(request->status);
}

/* How its body is coded, the dialect's own, which version and arm answered, where one was chosen, and when to
 * come again. */
static bool join_headers(const struct request *request, const char *coding, const char **all)
{
    const char *parts[] = {coding, request->reply_headers, request_arm_headers(request),
                           retry_header_of(request)};
    const char *only = NULL;
    size_t n = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i] && ++n)
            only = parts[i];
    *all = n > 1 ? arena_join(request->arena, parts, sizeof parts / sizeof *parts) : only;
    return *all || !n;
}

/* --- a prediction --- */

static void send_reply(struct exchange *exchange, struct request *request)
{
    const struct dialect *dialect = request->dialect;
    const char *coding = dialect->seal ? NULL : coding_write_body(&exchange->message, &request->reply),
               *headers;
    if (request->reply.failed || !join_headers(request, coding, &headers)) {
        reply_error(exchange, dialect, GW_E_NO_MEMORY, NULL, gw_status_words(GW_E_NO_MEMORY));
        return;
    }
    struct http_reply reply = {.status = gw_status_http(request->status),
                               .content_type = request->reply_type ? request->reply_type : "application/json",
                               .headers = headers,
                               .body = request->reply};
    request->reply = (struct buf){0};
    if (dialect->seal)
        dialect->seal(&reply, request->status, request->err.what, &exchange->arena);
    exchange_reply(exchange, &reply);
}

static void predict_done(struct request *request)
{
    struct exchange *exchange = request->client;
    exchange->gone = NULL;
    if (request->ending == GW_E_CANCELLED)
        exchange_abandon(exchange);
    else
        send_reply(exchange, request);
    request_free(request); /* the exchange's arena is there until the end of the turn */
}

static void predict_gone(struct exchange *exchange)
{
    request_cancel(exchange->handler);
}

/* Who asks, as far as the endpoint wants to know. What lies in the body is found by the dialect. */
static void tell_client(struct request *request, const struct exchange *exchange)
{
    const struct http_message *message = &exchange->message;
    const struct config_sticky *sticky = &request->endpoint->sticky;
    const struct http_header *header = NULL;
    if (sticky->kind == STICKY_HEADER && (header = http_message_header(message, sticky->name))) {
        request->sticky = header->value;
        request->sticky_length = header->value_length;
    } else if (sticky->kind == STICKY_COOKIE) {
        request->sticky = http_message_cookie(message, sticky->name, &request->sticky_length);
    } else if (sticky->kind == STICKY_CLIENT) {
        request->sticky = exchange->client;
        request->sticky_length = strlen(exchange->client);
    }
    if (request->endpoint->arm_header && (header = http_message_header(message, "x-xebec-arm")))
        request->asked_arm = header->value;
}

void predict_start(struct infer *infer, struct exchange *exchange, const struct predict_ask *ask)
{
    struct gw_err err;
    size_t limit = infer->period->plan->config->limits.body_bytes;
    enum gw_status status = ask->dialect->seal ? GW_OK : coding_read_body(exchange, limit, &err);
    if (status != GW_OK) {
        reply_error(exchange, ask->dialect, status, NULL, err.what);
        return;
    }
    struct request *request = request_new(infer, ask->endpoint, ask->dialect, &exchange->arena,
                                          exchange->received_us, predict_done, exchange);
    if (!request) {
        reply_error(exchange, ask->dialect, GW_E_NO_MEMORY, NULL, gw_status_words(GW_E_NO_MEMORY));
        return;
    }
    exchange->handler = request;
    exchange->gone = predict_gone;
    request->asked_version = ask->version;
    request->asked_version_length = ask->version ? strlen(ask->version) : 0;
    request->own = ask->own;
    tell_client(request, exchange);
    if (demands_read(&exchange->message, request, &err) == GW_OK)
        request_start(request, exchange->message.body, exchange->message.body_length);
    else
        request_refuse(request, &err);
}
