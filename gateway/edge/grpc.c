/* grpc: calls in, statuses out; and which method is whose. */
#include "edge/grpc.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "edge/coding.h"
#include "edge/grpc_health.h"
#include "edge/grpc_reflection.h"
#include "edge/oip.h"
#include "edge/oip_grpc.h"
#include "edge/predict.h"

#define CONTENT_TYPE     "application/grpc"
#define CODINGS_ACCEPTED "identity,deflate,gzip"

static const struct method {
    const char *path;
    void (*handle)(const struct grpc_call *call);
    bool streams; /* messages both ways: each stream's first is answered, and then it ends */
} methods[] = {
    {"/inference.GRPCInferenceService/ModelInfer", oip_grpc_infer, false},
    {"/inference.GRPCInferenceService/ServerLive", oip_grpc_server_live, false},
    {"/inference.GRPCInferenceService/ServerReady", oip_grpc_server_ready, false},
    {"/inference.GRPCInferenceService/ModelReady", oip_grpc_model_ready, false},
    {"/inference.GRPCInferenceService/ServerMetadata", oip_grpc_server_metadata, false},
    {"/inference.GRPCInferenceService/ModelMetadata", oip_grpc_model_metadata, false},
    {"/inference.GRPCInferenceService/ModelConfig", oip_grpc_model_config, false},
    {"/inference.GRPCInferenceService/RepositoryIndex", oip_grpc_repository_index, false},
    {"/inference.GRPCInferenceService/ModelStatistics", oip_grpc_model_statistics, false},
    {"/grpc.health.v1.Health/Check", grpc_health_check, false},
    {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", grpc_reflection_answer, true},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", grpc_reflection_answer, true},
};

static const struct method *method_of(const char *path)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (!strcmp(path, methods[i].path))
            return &methods[i];
    return NULL;
}

/* --- what is meant for us --- */

/* Followed by nothing, the name of a format, or parameters. */
bool grpc_is_meant(const struct http_message *message)
{
    const struct http_header *type = http_message_header(message, "content-type");
    size_t length = sizeof CONTENT_TYPE - 1;
    return type && !strncasecmp(type->value, CONTENT_TYPE, length) &&
           (!type->value[length] || strchr("+; \t", type->value[length]));
}

/* --- a call's header --- */

/* "50m": at most 8 digits and a unit. */
static bool read_timeout(const char *value, uint64_t *us)
{
    static const char units[] = "HMSmun";
    static const uint64_t ns[] = {3600000000000, 60000000000, 1000000000, 1000000, 1000, 1};
    size_t digits = strspn(value, "0123456789");
    uint64_t number = 0;
    const char *unit = value[digits] ? strchr(units, value[digits]) : NULL;
    if (digits < 1 || digits > 8 || !unit || value[digits + 1])
        return false;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (uint64_t)(value[i] - '0');
    uint64_t each = ns[unit - units];
    *us = each >= 1000 ? number * (each / 1000) : (number + 999) / 1000;
    return true;
}

static enum gw_status read_deadline(struct grpc_call *call, struct gw_err *err)
{
    const struct exchange *exchange = call->exchange;
    const struct http_header *header = http_message_header(&exchange->message, "grpc-timeout");
    uint64_t us;
    call->deadline_us = UINT64_MAX;
    if (!header)
        return GW_OK;
    if (!read_timeout(header->value, &us))
        return gw_err_set(err, GW_E_INVALID,
                          "grpc-timeout: expected at most 8 digits and one of HMSmun, got \"%.32s\"",
                          header->value);
    call->deadline_us = exchange->received_us + us;
    return GW_OK;
}

static enum gw_status check_header(const struct http_message *message, struct gw_err *err)
{
    const struct http_header *te = http_message_header(message, "te");
    const char *format = http_message_header(message, "content-type")->value + strlen(CONTENT_TYPE);
    if (message->method != HTTP_M_POST)
        return gw_err_set(err, GW_E_METHOD, "a call is made with POST");
    if (!te || strcasecmp(te->value, "trailers") != 0)
        return gw_err_set(err, GW_E_INVALID,
                          "te: trailers is missing; a proxy on the way may have dropped it");
    if (*format == '+' && strcasecmp(format, "+proto") != 0)
        return gw_err_set(err, GW_E_NOT_IMPLEMENTED, "messages are protobuf's, not %.32s", format + 1);
    if (!method_of(message->path))
        return gw_err_set(err, GW_E_NOT_IMPLEMENTED, "%.80s: there is no such method%s", message->path,
                          strstr(message->path, "/RepositoryModel")
                              ? "; models are loaded and unloaded by the configuration"
                              : "");
    return GW_OK;
}

/* --- its message --- */

static size_t message_length(const struct http_message *message)
{
    const uint8_t *prefix = (const uint8_t *)message->body;
    return (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
}

/* The message without its prefix: whole, and the only one, unless more are not waited for. */
static enum gw_status unframe(struct grpc_call *call, bool streams, struct gw_err *err)
{
    struct http_message *message = &call->exchange->message;
    size_t limit = call->infer->period->plan->config->limits.body_bytes;
    if (message->body_length == 0)
        return gw_err_set(err, GW_E_INVALID, "the call has no message");
    if (message->body_length < GRPC_PREFIX_BYTES)
        return gw_err_set(err, GW_E_INVALID, "the message is cut off in its prefix");
    size_t length = message_length(message), there = message->body_length - GRPC_PREFIX_BYTES;
    uint8_t flag = (uint8_t)message->body[0];
    if (flag > 1)
        return gw_err_set(err, GW_E_INVALID, "a message's first byte is 0 or 1, not %u", flag);
    if (length > there)
        return gw_err_set(err, GW_E_INVALID, "the message is cut off: %zu bytes of %zu", there, length);
    if (length < there && !streams)
        return gw_err_set(err, GW_E_INVALID, "the call has more than one message");
    message->body += GRPC_PREFIX_BYTES;
    message->body_length = length;
    return flag ? coding_read_message(call->exchange, limit, err) : GW_OK;
}

static bool coding_is_known(const struct http_message *message)
{
    const struct http_header *coding = http_message_header(message, "grpc-encoding");
    return !coding || !strcmp(coding->value, "identity") || !strcmp(coding->value, "gzip") ||
           !strcmp(coding->value, "deflate");
}

static void refuse_coding(struct exchange *exchange)
{
    struct http_reply reply = {.headers = "grpc-accept-encoding: " CODINGS_ACCEPTED "\r\n"};
    grpc_seal(&reply, GW_E_NOT_IMPLEMENTED, "messages may be compressed with gzip or deflate alone",
              &exchange->arena);
    exchange_reply(exchange, &reply);
}

/* --- a call --- */

bool grpc_is_enough(const struct http_message *message)
{
    if (check_header(message, NULL) != GW_OK)
        return true;
    return method_of(message->path)->streams && message->body_length >= GRPC_PREFIX_BYTES &&
           message_length(message) <= message->body_length - GRPC_PREFIX_BYTES;
}

void grpc_handle(struct infer *infer, struct exchange *exchange)
{
    const struct http_message *message = &exchange->message;
    struct grpc_call call = {.infer = infer, .exchange = exchange};
    struct gw_err err;
    if (!message->takes_trailers || !grpc_is_meant(message)) {
        reply_error(exchange, &oip_dialect, GW_E_MEDIA_TYPE, NULL,
                    "gRPC is spoken here: over HTTP/2, with content-type " CONTENT_TYPE);
        return;
    }
    enum gw_status status = check_header(message, &err);
    if (status == GW_OK)
        status = read_deadline(&call, &err);
    if (status == GW_OK && !coding_is_known(message)) {
        refuse_coding(exchange);
        return;
    }
    if (status == GW_OK)
        status = unframe(&call, method_of(message->path)->streams, &err);
    if (status == GW_OK)
        method_of(message->path)->handle(&call);
    else
        grpc_reply_error(exchange, status, err.what);
}

/* --- replies --- */

/* As gRPC has it: printable ASCII stands for itself, but for the percent sign. NULL: out of memory. */
static char *percent_encode(struct arena *arena, const char *what)
{
    static const char digits[] = "0123456789ABCDEF";
    char *text = arena_array(arena, strlen(what) + 1, 3), *at = text;
    if (!text)
        return NULL;
    for (; *what; what++) {
        unsigned char c = (unsigned char)*what;
        if (c >= ' ' && c <= '~' && c != '%') {
            *at++ = *what;
            continue;
        }
        *at++ = '%';
        *at++ = digits[c >> 4];
        *at++ = digits[c & 15];
    }
    *at = '\0';
    return text;
}

/* Without memory for its words, an error is that. */
static void seal_error(struct http_reply *reply, enum gw_status status, const char *what, struct arena *arena)
{
    const char *words = percent_encode(arena, what), *lines = NULL;
    if (words)
        lines = arena_printf(arena, "%sgrpc-status: %d\r\ngrpc-message: %s\r\n",
                             reply->headers ? reply->headers : "", gw_status_grpc(status), words);
    buf_clear(&reply->body);
    reply->headers = lines ? lines : "grpc-status: 8\r\ngrpc-message: out of memory\r\n";
}

void grpc_seal(struct http_reply *reply, enum gw_status status, const char *what, struct arena *arena)
{
    reply->status = 200;
    reply->content_type = CONTENT_TYPE;
    if (status == GW_OK && (reply->body.failed || reply->body.length - GRPC_PREFIX_BYTES > UINT32_MAX)) {
        status = GW_E_NO_MEMORY;
        what = gw_status_words(status);
    }
    if (status != GW_OK) {
        seal_error(reply, status, what, arena);
        return;
    }
    size_t length = reply->body.length - GRPC_PREFIX_BYTES;
    for (int i = 4; i > 0; i--, length >>= 8)
        reply->body.bytes[i] = (char)(length & 0xFF);
    reply->trailers = "grpc-status: 0\r\n";
}

void grpc_begin(struct buf *message)
{
    static const char prefix[GRPC_PREFIX_BYTES];
    buf_append(message, prefix, sizeof prefix);
}

void grpc_reply(struct exchange *exchange, struct buf *message)
{
    struct http_reply reply = {.body = *message};
    *message = (struct buf){0};
    grpc_seal(&reply, GW_OK, "", &exchange->arena);
    exchange_reply(exchange, &reply);
}

void grpc_reply_error(struct exchange *exchange, enum gw_status status, const char *what)
{
    struct http_reply reply = {.headers = reply_retry_header(status)};
    grpc_seal(&reply, status, what, &exchange->arena);
    exchange_reply(exchange, &reply);
}
