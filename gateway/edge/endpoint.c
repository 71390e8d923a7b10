/* endpoint: reads the path, starts a request in the dialect that the path speaks, and sends what it ends
 * with. */
#include "edge/endpoint.h"

#include <string.h>

#include "edge/clipper.h"

static void reply_json(struct exchange *exchange, enum gw_status status, const char *headers,
                       struct buf *body)
{
    struct http_reply reply = {.status = gw_status_http(status),
                               .content_type = "application/json",
                               .headers = headers,
                               .body = *body};
    *body = (struct buf){0};
    exchange_reply(exchange, &reply);
}

static void reply_error(struct exchange *exchange, enum gw_status status, const char *headers,
                        const char *what)
{
    struct buf body = {0};
    clipper_write_error(&body, status, what);
    if (body.failed) {
        buf_clear(&body);
        exchange_abandon(exchange);
        return;
    }
    reply_json(exchange, status, headers, &body);
}

/* A client that may come again is told when. */
static const char *retry_header(enum gw_status status)
{
    return status == GW_E_OVERLOAD || status == GW_E_NO_REPLICA || status == GW_E_DRAINING
               ? "Retry-After: 1\r\n"
               : NULL;
}

/* Which version and arm answered, where one was chosen. Without memory for both, when to come again counts
 * more. */
static const char *reply_headers(const struct request *request, enum gw_status status)
{
    const char *retry = retry_header(status), *arm = request_arm_headers(request);
    if (!retry || !arm)
        return retry ? retry : arm;
    const char *both = arena_printf(request->arena, "%s%s", arm, retry);
    return both ? both : retry;
}

/* --- a prediction --- */

static void predict_done(struct request *request)
{
    struct exchange *exchange = request->client;
    enum gw_status status = request->reply.failed ? GW_E_NO_MEMORY : request->status;
    exchange->gone = NULL;
    if (request->ending == GW_E_CANCELLED) {
        request_free(request);
        exchange_abandon(exchange);
        return;
    }
    if (request->reply.failed)
        reply_error(exchange, status, NULL, gw_status_words(status));
    else
        reply_json(exchange, status, reply_headers(request, status), &request->reply);
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

static void predict(struct infer *infer, struct exchange *exchange, const struct config_endpoint *endpoint)
{
    const struct http_message *message = &exchange->message;
    if (message->method != HTTP_M_POST) {
        reply_error(exchange, GW_E_METHOD, "Allow: POST\r\n", "a prediction is asked for with POST");
        return;
    }
    if (!http_message_is(message, "application/json", true)) {
        reply_error(exchange, GW_E_MEDIA_TYPE, NULL, "send the body as Content-Type: application/json");
        return;
    }
    struct request *request = request_new(infer, endpoint, &clipper_dialect, &exchange->arena,
                                          exchange->received_us, predict_done, exchange);
    if (!request) {
        reply_error(exchange, GW_E_NO_MEMORY, NULL, gw_status_words(GW_E_NO_MEMORY));
        return;
    }
    exchange->handler = request;
    exchange->gone = predict_gone;
    tell_client(request, exchange);
    request_start(request, message->body, message->body_length);
}

/* --- the path --- */

static void not_found(struct exchange *exchange, const char *what, size_t length, const char *advice)
{
    struct gw_err err;
    gw_err_set(&err, GW_E_NOT_FOUND, "%.*s%s", (int)(length > 80 ? 80 : length), what, advice);
    reply_error(exchange, err.status, NULL, err.what);
}

/* /{endpoint}/predict, with or without a slash at the end. Endpoints have no slash in their names. */
void endpoint_handle(void *owner, struct exchange *exchange)
{
    struct infer *infer = owner;
    const char *name = exchange->message.path + 1, *slash = strchr(name, '/');
    const char *verb = slash ? slash + 1 : "";
    size_t name_length = slash ? (size_t)(slash - name) : strlen(name);
    bool is_predict = !strcmp(verb, "predict") || !strcmp(verb, "predict/");
    bool is_update = !strcmp(verb, "update") || !strcmp(verb, "update/");
    const struct config_endpoint *endpoint = config_endpoint(infer->period->plan->config, name, name_length);
    if (!is_predict && !is_update)
        not_found(exchange, exchange->message.path, exchange->message.path_length,
                  ": no such path; predictions are at /{endpoint}/predict");
    else if (!endpoint)
        not_found(exchange, name, name_length, ": no endpoint has this name");
    else if (is_update)
        reply_error(exchange, GW_E_NOT_IMPLEMENTED, NULL,
                    "feedback is not taken: no selection policy learns from it");
    else
        predict(infer, exchange, endpoint);
}

void endpoint_refuse(void *owner, const char *path, const struct gw_err *err, struct http_reply *reply)
{
    (void)owner, (void)path; /* one dialect so far */
    reply->status = gw_status_http(err->status);
    reply->content_type = "application/json";
    reply->headers = retry_header(err->status);
    clipper_write_error(&reply->body, err->status, err->what);
}
