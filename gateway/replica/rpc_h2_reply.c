/* rpc_h2_reply: headers, message, verdict. */
#include "replica/rpc_h2_reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    HPACK_OVERHEAD = 32,    /* of a header field: RFC 7541, section 4.1 */
    ROOM_FIRST = 256 << 10, /* a prefix may promise much; memory follows what arrives */
    GRPC_STATUS_UNKNOWN = 2,
};

static void reply_say(struct h2_reply *reply, enum gw_status status, const char *format, ...) GW_PRINTF(3, 4);

void h2_reply_init(struct h2_reply *reply, size_t max_bytes)
{
    *reply = (struct h2_reply){.grpc_status = -1, .trouble = GW_OK};
    reply->max_bytes = max_bytes;
}

void h2_reply_clear(struct h2_reply *reply)
{
    arena_clear(&reply->arena);
    reply->bytes = NULL;
}

/* The first trouble counts. */
static void reply_say(struct h2_reply *reply, enum gw_status status, const char *format, ...)
{
    if (reply->trouble != GW_OK)
        return;
    va_list args;
    va_start(args, format);
    reply->trouble = status;
    vsnprintf(reply->words, sizeof reply->words, format, args);
    va_end(args);
}

void h2_reply_fail(struct h2_reply *reply, enum gw_status status, const char *words)
{
    reply_say(reply, status, "%s", words);
}

/* --- headers --- */

static bool is_text(const uint8_t *bytes, size_t length, const char *text)
{
    return length == strlen(text) && memcmp(bytes, text, length) == 0;
}

/* -1: it is no number of at most `digits` digits. */
static int number_read(const uint8_t *value, size_t length, size_t digits)
{
    int number = 0;
    if (length == 0 || length > digits)
        return -1;
    for (size_t i = 0; i < length; i++) {
        if (value[i] < '0' || value[i] > '9')
            return -1;
        number = number * 10 + (value[i] - '0');
    }
    return number;
}

/* application/grpc, alone or with a format: application/grpc+proto, application/grpc;charset=utf-8 */
static bool is_grpc_type(const uint8_t *value, size_t length)
{
    static const char type[] = "application/grpc";
    size_t n = sizeof type - 1;
    return length >= n && memcmp(value, type, n) == 0 && (length == n || value[n] == '+' || value[n] == ';');
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoding; what is not %XX stands for itself, and %00 would cut the words short. */
static void words_read(struct h2_reply *reply, const uint8_t *value, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length && n + 1 < sizeof reply->words; i++) {
        uint8_t c = value[i];
        if (c == '%' && i + 2 < length && hex_digit(value[i + 1]) >= 0 && hex_digit(value[i + 2]) >= 0) {
            c = (uint8_t)(hex_digit(value[i + 1]) << 4 | hex_digit(value[i + 2]));
            i += 2;
        }
        reply->words[n++] = c ? (char)c : ' ';
    }
    reply->words[n] = '\0';
}

bool h2_reply_header(struct h2_reply *reply, const uint8_t *name, size_t name_length, const uint8_t *value,
                     size_t value_length)
{
    if (reply->trouble != GW_OK)
        return false;
    reply->header_bytes += name_length + value_length + HPACK_OVERHEAD;
    if (reply->header_bytes > H2_REPLY_HEADER_BYTES) {
        reply_say(reply, GW_E_CONTRACT, "the reply has more than %d bytes of headers", H2_REPLY_HEADER_BYTES);
        return false;
    }
    if (is_text(name, name_length, ":status")) {
        reply->http_status = number_read(value, value_length, 3);
    } else if (is_text(name, name_length, "content-type")) {
        reply->is_grpc = is_grpc_type(value, value_length);
    } else if (is_text(name, name_length, "grpc-status")) {
        int code = number_read(value, value_length, 3);
        reply->grpc_status = code >= 0 ? code : GRPC_STATUS_UNKNOWN;
    } else if (is_text(name, name_length, "grpc-message")) {
        words_read(reply, value, value_length);
    }
    return true;
}

/* --- the message --- */

static bool prefix_judge(struct h2_reply *reply)
{
    const uint8_t *prefix = reply->prefix;
    reply->expected =
        (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | (size_t)prefix[4];
    if (prefix[0] > 1)
        reply_say(reply, GW_E_CONTRACT, "the reply is no gRPC message");
    else if (prefix[0])
        reply_say(reply, GW_E_CONTRACT, "the reply is compressed");
    else if (reply->expected > reply->max_bytes)
        reply_say(reply, GW_E_CONTRACT, "the reply is larger than max: %zu bytes, limits.message allows %zu",
                  reply->expected, reply->max_bytes);
    return reply->trouble == GW_OK;
}

/* Room for so many bytes more, which have arrived or begin to. Who has sent a little is believed the rest. */
static bool reply_reserve(struct h2_reply *reply, size_t length)
{
    size_t needed = reply->size + length;
    if (needed <= reply->room)
        return true;
    size_t room = needed <= ROOM_FIRST && reply->expected > ROOM_FIRST ? ROOM_FIRST : reply->expected;
    uint8_t *bytes = arena_grow(&reply->arena, reply->bytes, reply->size, room);
    if (!bytes)
        return false;
    reply->bytes = bytes;
    reply->room = room;
    return true;
}

uint8_t *h2_reply_room(struct h2_reply *reply, size_t coming, size_t *room)
{
    if (reply->trouble != GW_OK || reply->prefix_bytes < RPC_PREFIX_BYTES)
        return NULL;
    size_t left = reply->expected - reply->size;
    if (left > coming)
        left = coming;
    if (!left || !reply_reserve(reply, 1))
        return NULL;
    *room = reply->room - reply->size < left ? reply->room - reply->size : left;
    return reply->bytes + reply->size;
}

bool h2_reply_data(struct h2_reply *reply, const uint8_t *bytes, size_t length)
{
    if (reply->trouble != GW_OK)
        return false;
    for (; length && reply->prefix_bytes < RPC_PREFIX_BYTES; bytes++, length--) {
        reply->prefix[reply->prefix_bytes++] = *bytes;
        if (reply->prefix_bytes == RPC_PREFIX_BYTES && !prefix_judge(reply))
            return false;
    }
    if (!length)
        return true;
    if (length > reply->expected - reply->size) {
        reply_say(reply, GW_E_CONTRACT, "there is more than one message in the reply");
        return false;
    }
    if (!reply_reserve(reply, length)) {
        h2_reply_fail(reply, GW_E_NO_MEMORY, gw_status_words(GW_E_NO_MEMORY));
        return false;
    }
    if (bytes != reply->bytes + reply->size) /* received in place: h2_reply_room() */
        memcpy(reply->bytes + reply->size, bytes, length);
    reply->size += length;
    return true;
}

/* --- the verdict --- */

/*
 * Without grpc-status: something else than a gRPC server answered, most likely a proxy in front of one.
 * Source: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
 */
static void reply_judge_http(struct h2_reply *reply)
{
    switch (reply->http_status) {
    case 200:
        if (reply->is_grpc)
            reply_say(reply, GW_E_CONTRACT, "the reply ended without a grpc-status");
        else
            reply_say(reply, GW_E_CONTRACT,
                      "this is no gRPC server: the reply's content-type is not application/grpc");
        break;
    case 429:
    case 502:
    case 503:
    case 504:
        reply_say(reply, GW_E_NO_REPLICA, "HTTP status %d", reply->http_status);
        break;
    case 404:
        reply_say(reply, GW_E_NOT_IMPLEMENTED, "HTTP status 404");
        break;
    default:
        reply_say(reply, GW_E_CONTRACT, "this is no gRPC server: HTTP status %d", reply->http_status);
        break;
    }
}

static void reply_judge_message(struct h2_reply *reply)
{
    if (reply->prefix_bytes == 0)
        reply_say(reply, GW_E_CONTRACT, "there is no message in the reply");
    else if (reply->prefix_bytes < RPC_PREFIX_BYTES || reply->size < reply->expected)
        reply_say(reply, GW_E_CONTRACT, "the message in the reply is cut off");
}

void h2_reply_judge(struct h2_reply *reply, struct rpc_reply *out)
{
    enum gw_status status = GW_OK;
    if (reply->trouble == GW_OK && reply->grpc_status < 0)
        reply_judge_http(reply);
    else if (reply->trouble == GW_OK)
        status = rpc_status_of(reply->grpc_status, reply->words);
    if (reply->trouble == GW_OK && status == GW_OK)
        reply_judge_message(reply);
    *out = (struct rpc_reply){.status = reply->trouble != GW_OK ? reply->trouble : status,
                              .message = reply->words};
    if (out->status == GW_OK) {
        out->bytes = reply->bytes;
        out->size = reply->size;
        out->holder = &reply->arena;
    }
}
