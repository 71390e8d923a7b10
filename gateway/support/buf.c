/* buf: growing bytes, and the one place that writes JSON strings. */
#include "support/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *buf_reserve(struct buf *buf, size_t bytes)
{
    if (buf->failed)
        return NULL;
    if (!buf->bytes || buf->capacity - buf->length < bytes) {
        size_t capacity = buf->capacity ? buf->capacity : 256;
        while (capacity - buf->length < bytes && capacity <= SIZE_MAX / 4)
            capacity *= 2;
        char *grown = capacity - buf->length < bytes ? NULL : realloc(buf->bytes, capacity);
        if (!grown) {
            buf->failed = true;
            return NULL;
        }
        buf->bytes = grown;
        buf->capacity = capacity;
    }
    return buf->bytes + buf->length;
}

void buf_append(struct buf *buf, const void *bytes, size_t length)
{
    char *room = buf_reserve(buf, length);
    if (room && length) {
        memcpy(room, bytes, length);
        buf->length += length;
    }
}

void buf_number(struct buf *buf, int64_t number)
{
    char text[20], *end = text + sizeof text, *at = end;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    if (number < 0)
        *--at = '-';
    buf_append(buf, at, (size_t)(end - at));
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *room = length < 0 ? NULL : buf_reserve(buf, (size_t)length + 1);
    if (room) {
        vsnprintf(room, (size_t)length + 1, format, again);
        buf->length += (size_t)length;
    }
    va_end(again);
    va_end(args);
}

/* Unicode 15, table 3-7. */
static size_t utf8_sequence(const unsigned char *text, size_t left)
{
    unsigned char lead = text[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (left < length)
        return 0;
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

size_t buf_utf8_sequence(const char *text, size_t left)
{
    return left ? utf8_sequence((const unsigned char *)text, left) : 0;
}

bool buf_is_utf8(const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + length;
    size_t sequence = 1;
    for (; at < end && sequence; at += sequence)
        sequence = utf8_sequence(at, (size_t)(end - at));
    return sequence != 0;
}

/*
 * The character that a sequence stands for, if it must not stand for itself: quotes, what moves a terminal's
 * cursor, what ends lines for some readers, and what YAML, which is to read this too, refuses. 0: it may.
 */
static unsigned must_escape(const unsigned char *text, size_t sequence)
{
    if (sequence == 1)
        return text[0] < 0x20 || text[0] == '"' || text[0] == '\\' || text[0] == 0x7F ? text[0] : 0;
    if (sequence == 2)
        return text[0] == 0xC2 && text[1] < 0xA0 ? text[1] : 0;
    unsigned code = sequence == 3 ? (text[0] & 0xFu) << 12 | (text[1] & 0x3Fu) << 6 | (text[2] & 0x3Fu) : 0;
    return code == 0x2028 || code == 0x2029 || code >= 0xFFFE ? code : 0;
}

static void buf_json_escape(struct buf *buf, unsigned c)
{
    switch (c) {
    case '"':
        buf_append(buf, "\\\"", 2);
        break;
    case '\\':
        buf_append(buf, "\\\\", 2);
        break;
    case '\n':
        buf_append(buf, "\\n", 2);
        break;
    case '\r':
        buf_append(buf, "\\r", 2);
        break;
    case '\t':
        buf_append(buf, "\\t", 2);
        break;
    default:
        buf_printf(buf, "\\u%04x", c);
    }
}

void buf_json_text(struct buf *buf, const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t plain = 0; /* where the run of bytes that stand for themselves begins */
    buf_append(buf, "\"", 1);
    for (size_t i = 0; i < length;) {
        size_t sequence = utf8_sequence(at + i, length - i);
        unsigned escaped = must_escape(at + i, sequence);
        if (!escaped && sequence && at[i]) {
            i += sequence;
            continue;
        }
        buf_append(buf, text + plain, i - plain);
        if (sequence)
            buf_json_escape(buf, escaped);
        else
            buf_append(buf, "\xEF\xBF\xBD", 3);
        plain = i += sequence ? sequence : 1;
    }
    if (plain < length)
        buf_append(buf, text + plain, length - plain);
    buf_append(buf, "\"", 1);
}

void buf_json_member(struct buf *buf, const char *key, const char *text)
{
    buf_printf(buf, "\"%s\":", key);
    buf_json_text(buf, text, strlen(text));
}

void buf_clear(struct buf *buf)
{
    free(buf->bytes);
    *buf = (struct buf){0};
}
