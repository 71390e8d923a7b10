/* grpc_reflection: a FileDescriptorSet, looked through as it lies; nothing of it is unpacked. */
#include "edge/grpc_reflection.h"

#include <proto_descriptors.h>
#include <string.h>

#include "support/wire.h"

enum { ASK_BY_NAME = 3, ASK_BY_SYMBOL, ASK_BY_EXTENSION, ASK_EXTENSIONS, ASK_SERVICES };
enum { ANSWER_HOST = 1, ANSWER_ASKED, ANSWER_FILES = 4, ANSWER_SERVICES = 6, ANSWER_ERROR };
enum { FILE_NAME = 1, FILE_PACKAGE, FILE_MESSAGE = 4, FILE_ENUM, FILE_SERVICE };

/* --- the descriptors --- */

/* The first field of this number, which is text or a message; empty when there is none. */
static struct wire_field member_of(const struct wire_field *message, uint32_t number)
{
    struct wire wire = wire_of(message->bytes, message->length);
    struct wire_field field;
    while (wire_next(&wire, &field))
        if (field.number == number && field.type == WIRE_BYTES)
            return field;
    return (struct wire_field){.bytes = (const uint8_t *)""};
}

static bool same(const struct wire_field *a, const struct wire_field *b)
{
    return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

static bool is_named(const struct wire_field *file, const struct wire_field *asked)
{
    struct wire_field name = member_of(file, FILE_NAME);
    return same(&name, asked);
}

/* Whether a symbol is the package's message, enum or service, or lies within one: that is its file alone. */
static bool has_symbol(const struct wire_field *file, const struct wire_field *asked)
{
    struct wire_field package = member_of(file, FILE_PACKAGE), symbol = *asked, field;
    struct wire wire = wire_of(file->bytes, file->length);
    if (symbol.length <= package.length || memcmp(symbol.bytes, package.bytes, package.length) != 0 ||
        symbol.bytes[package.length] != '.')
        return false;
    symbol.bytes += package.length + 1;
    symbol.length -= package.length + 1;
    const uint8_t *dot = memchr(symbol.bytes, '.', symbol.length);
    symbol.length = dot ? (size_t)(dot - symbol.bytes) : symbol.length;
    while (wire_next(&wire, &field)) {
        if (field.number < FILE_MESSAGE || field.number > FILE_SERVICE)
            continue;
        struct wire_field name = member_of(&field, 1);
        if (same(&name, &symbol))
            return true;
    }
    return false;
}

/* --- answers --- */

static void put_error(struct buf *out, enum gw_status status, const char *what)
{
    size_t error = wire_open(out, ANSWER_ERROR);
    wire_put_number(out, 1, (uint64_t)gw_status_grpc(status));
    wire_put_text(out, 2, what);
    wire_close(out, error);
}

/* The file for which `is_it`; none of ours needs another. */
static void put_file(struct buf *out, const struct wire_field *asked,
                     bool (*is_it)(const struct wire_field *file, const struct wire_field *asked))
{
    struct wire files = wire_of(proto_descriptors, proto_descriptors_bytes);
    struct wire_field file;
    while (wire_next(&files, &file)) {
        if (!is_it(&file, asked))
            continue;
        size_t answer = wire_open(out, ANSWER_FILES);
        wire_put_bytes(out, 1, file.bytes, file.length);
        wire_close(out, answer);
        return;
    }
    put_error(out, GW_E_NOT_FOUND, "nothing here has this name");
}

static void put_services(struct buf *out)
{
    struct wire files = wire_of(proto_descriptors, proto_descriptors_bytes);
    struct wire_field file, field;
    size_t answer = wire_open(out, ANSWER_SERVICES);
    while (wire_next(&files, &file)) {
        struct wire_field package = member_of(&file, FILE_PACKAGE);
        struct wire members = wire_of(file.bytes, file.length);
        while (wire_next(&members, &field)) {
            if (field.number != FILE_SERVICE)
                continue;
            struct wire_field name = member_of(&field, 1);
            size_t service = wire_open(out, 1);
            wire_begin_bytes(out, 1, package.length + 1 + name.length);
            buf_append(out, package.bytes, package.length);
            buf_text(out, ".");
            buf_append(out, name.bytes, name.length);
            wire_close(out, service);
        }
    }
    wire_close(out, answer);
}

static void put_answer(struct buf *out, const struct wire_field *asked)
{
    switch (asked->number) {
    case ASK_BY_NAME:
        put_file(out, asked, is_named);
        break;
    case ASK_BY_SYMBOL:
        put_file(out, asked, has_symbol);
        break;
    case ASK_SERVICES:
        put_services(out);
        break;
    default: /* proto3 has no extensions */
        put_error(out, GW_E_NOT_FOUND, "there are no extensions");
    }
}

/* What is asked, the last of several; its number is 0 when nothing is. */
static bool read_question(const struct http_message *message, struct wire_field *asked)
{
    struct wire wire = wire_of(message->body, message->body_length);
    struct wire_field field;
    *asked = (struct wire_field){0};
    while (wire_next(&wire, &field)) {
        if (field.number < ASK_BY_NAME || field.number > ASK_SERVICES)
            continue;
        wire.malformed |= field.type != WIRE_BYTES;
        *asked = field;
    }
    return !wire.malformed && asked->number;
}

void grpc_reflection_answer(const struct grpc_call *call)
{
    const struct http_message *message = &call->exchange->message;
    struct wire_field asked;
    struct buf out = {0};
    if (!read_question(message, &asked)) {
        grpc_reply_error(call->exchange, GW_E_INVALID, "ServerReflectionRequest: not such a message");
        return;
    }
    grpc_begin(&out);
    wire_put_bytes(&out, ANSWER_ASKED, message->body, message->body_length);
    put_answer(&out, &asked);
    grpc_reply(call->exchange, &out);
}
