/* wire: fields of a message, one by one. */
#include "support/wire.h"

#include <string.h>

enum { GROUP_BEGIN = 3, GROUP_END = 4, GROUPS_MAX = 16, VARINT_BYTES_MAX = 10 };

/* --- reading --- */

static bool malformed(struct wire *wire)
{
    wire->malformed = true;
    return false;
}

/* Bits beyond the 64th are dropped, as by protobuf's own readers. */
bool wire_varint(struct wire *wire, uint64_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < VARINT_BYTES_MAX && wire->at < wire->end; i++) {
        uint8_t byte = *wire->at++;
        *value |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (!(byte & 0x80))
            return true;
    }
    return malformed(wire);
}

static bool read_fixed(struct wire *wire, size_t width, uint64_t *value)
{
    *value = 0;
    if ((size_t)(wire->end - wire->at) < width)
        return malformed(wire);
    memcpy(value, wire->at, width); /* little-endian, like the hosts that replica/tensor.c asks for */
    wire->at += width;
    return true;
}

static bool read_bytes(struct wire *wire, struct wire_field *field)
{
    uint64_t length;
    if (!wire_varint(wire, &length) || length > (size_t)(wire->end - wire->at))
        return malformed(wire);
    field->bytes = wire->at;
    field->length = (size_t)length;
    wire->at += length;
    return true;
}

static bool read_value(struct wire *wire, struct wire_field *field)
{
    switch (field->type) {
    case WIRE_VARINT:
        return wire_varint(wire, &field->value);
    case WIRE_FIXED64:
        return read_fixed(wire, 8, &field->value);
    case WIRE_FIXED32:
        return read_fixed(wire, 4, &field->value);
    case WIRE_BYTES:
        return read_bytes(wire, field);
    default:
        return malformed(wire);
    }
}

static bool read_key(struct wire *wire, struct wire_field *field)
{
    uint64_t key;
    *field = (struct wire_field){0};
    if (!wire_varint(wire, &key) || key > UINT32_MAX || key >> 3 == 0)
        return malformed(wire);
    field->number = (uint32_t)key >> 3;
    field->type = (enum wire_type)(key & 7);
    return true;
}

/* To the end of the group that has just begun. */
static bool skip_group(struct wire *wire, uint32_t number)
{
    uint32_t open[GROUPS_MAX] = {number};
    struct wire_field field;
    for (unsigned depth = 1; depth;) {
        if (!read_key(wire, &field))
            return false;
        if ((unsigned)field.type == GROUP_BEGIN) {
            if (depth == GROUPS_MAX)
                return malformed(wire);
            open[depth++] = field.number;
        } else if ((unsigned)field.type == GROUP_END) {
            if (field.number != open[--depth])
                return malformed(wire);
        } else if (!read_value(wire, &field)) {
            return false;
        }
    }
    return true;
}

bool wire_next(struct wire *wire, struct wire_field *field)
{
    while (wire->at < wire->end && !wire->malformed) {
        if (!read_key(wire, field))
            return false;
        if ((unsigned)field->type != GROUP_BEGIN)
            return read_value(wire, field);
        if (!skip_group(wire, field->number))
            return false;
    }
    return false;
}

/* --- writing --- */

static size_t encode(uint8_t to[VARINT_BYTES_MAX], uint64_t number)
{
    size_t length = 0;
    for (; number >= 0x80; number >>= 7)
        to[length++] = (uint8_t)(number | 0x80);
    to[length++] = (uint8_t)number;
    return length;
}

void wire_add_number(struct buf *out, uint64_t number)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    buf_append(out, bytes, encode(bytes, number));
}

static void put_key(struct buf *out, uint32_t field, enum wire_type type)
{
    wire_add_number(out, (uint64_t)field << 3 | type);
}

void wire_put_number(struct buf *out, uint32_t field, uint64_t number)
{
    put_key(out, field, WIRE_VARINT);
    wire_add_number(out, number);
}

void wire_begin_bytes(struct buf *out, uint32_t field, size_t length)
{
    put_key(out, field, WIRE_BYTES);
    wire_add_number(out, length);
}

void wire_put_bytes(struct buf *out, uint32_t field, const void *bytes, size_t length)
{
    wire_begin_bytes(out, field, length);
    buf_append(out, bytes, length);
}

void wire_put_text(struct buf *out, uint32_t field, const char *text)
{
    wire_put_bytes(out, field, text, strlen(text));
}

/* One byte is kept for the length, which is enough for most; the others are moved along in the end. */
size_t wire_open(struct buf *out, uint32_t field)
{
    wire_begin_bytes(out, field, 0);
    return out->length;
}

void wire_close(struct buf *out, size_t opened)
{
    uint8_t length[VARINT_BYTES_MAX];
    if (out->failed)
        return;
    size_t inside = out->length - opened, bytes = encode(length, inside);
    if (bytes > 1 && !buf_reserve(out, bytes - 1))
        return;
    memmove(out->bytes + opened + bytes - 1, out->bytes + opened, inside);
    memcpy(out->bytes + opened - 1, length, bytes);
    out->length += bytes - 1;
}
