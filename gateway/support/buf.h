/*
 * buf: bytes being written: replies, metrics, log lines. Grows by doubling.
 * Failure is sticky: after one failed growth every append does nothing and buf->failed is true, so
 * a writer checks once, at the end. Zero-initialised memory is a valid, empty buffer.
 */
#ifndef XEBEC_SUPPORT_BUF_H
#define XEBEC_SUPPORT_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "support/err.h"

struct buf {
    char *bytes; /* not terminated; NULL while empty */
    size_t length, capacity;
    bool failed;
};

/* Room for `bytes` more at buf->bytes + buf->length; NULL (and failed) when out of memory. */
char *buf_reserve(struct buf *buf, size_t bytes);
void buf_append(struct buf *buf, const void *bytes, size_t length);
/* Of a literal the length is known when it is compiled. */
static inline void buf_text(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}
void buf_number(struct buf *buf, int64_t number); /* in decimal: what buf_printf() says more slowly */
void buf_printf(struct buf *buf, const char *format, ...) GW_PRINTF(2, 3);
/*
 * text[0..length) as a JSON string with its quotes. Control characters are escaped, C1's and Unicode's ends of lines too; bytes
 * that are not UTF-8 become U+FFFD, so that the result is always valid JSON, and YAML.
 */
void buf_json_text(struct buf *buf, const char *text, size_t length);
void buf_json_member(struct buf *buf, const char *key, const char *text); /* "key":"text"; key as it stands */
/* The length of the well-formed UTF-8 sequence that text[0..left) begins with; 0: it begins with none. */
size_t buf_utf8_sequence(const char *text, size_t left);
/* Whether text[0..length) is well-formed UTF-8. */
bool buf_is_utf8(const char *text, size_t length);
void buf_clear(struct buf *buf); /* frees; empty and usable again */

#endif
