/*
 * What http1 makes of some bytes, as text, so that two ways of cutting them can be compared:
 *   POST /a?q keep host=x body=hello     one line a message: method, target, keep or close, fields, body
 *   error 400 not valid HTTP: no Host    and nothing after it
 *   more                                 the bytes ended in a message; "more body": in its body; nothing:
 * between two Also checks what must hold whatever the bytes: consumed counts, terminated texts, the body's
 * padding.
 */
#ifndef XEBEC_TESTS_HTTP1_OUTCOME_H
#define XEBEC_TESTS_HTTP1_OUTCOME_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/http1.h"

#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                    \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* How long the next piece may be; 0: all of it. */
struct http1_cutter {
    size_t (*next)(struct http1_cutter *cutter);
    size_t first; /* a cutter's own */
    unsigned seed;
};

static inline void http1_describe(struct buf *out, const struct http_message *message, bool expects)
{
    MUST(message->path && message->path_length == strlen(message->path));
    MUST(message->path[0] == '/' || strcmp(message->path, "*") == 0);
    for (size_t i = 0; i < HTTP_BODY_PADDING; i++)
        MUST(message->body[message->body_length + i] == 0);
    buf_printf(out, "%s %s%s%s %s", http_method_name(message->method), message->path,
               *message->query ? "?" : "", message->query, message->keep_alive ? "keep" : "close");
    for (uint32_t i = 0; i < message->n_headers; i++) {
        const struct http_header *header = &message->headers[i];
        MUST(header->name_length == strlen(header->name) && header->value_length == strlen(header->value));
        buf_printf(out, " %s=%s", header->name, header->value);
    }
    if (expects)
        buf_text(out, " (expects 100)");
    if (message->body_length) {
        buf_text(out, " body=");
        buf_append(out, message->body, message->body_length);
    }
    buf_text(out, "\n");
}

/* One feed, from an allocation of its own, so that a sanitizer sees what is read behind it or kept of it. */
static inline enum http1_event http1_feed_copy(struct http1_parser *parser, const char *bytes, size_t length,
                                               size_t *consumed, struct gw_err *err)
{
    char *copy = malloc(length);
    MUST(copy);
    memcpy(copy, bytes, length);
    enum http1_event event = http1_feed(parser, copy, length, consumed, err);
    free(copy);
    MUST(*consumed <= length);
    MUST(event != HTTP1_MORE || *consumed == length);
    return event;
}

static inline void http1_outcome(struct buf *out, const struct http1_limits *limits, const char *bytes,
                                 size_t length, struct http1_cutter *cutter)
{
    struct http1_parser *parser = http1_new(limits);
    struct http_message message;
    struct arena arena = {0};
    struct gw_err err;
    bool open = false;
    unsigned headers = 0;
    MUST(parser);
    for (size_t at = 0, piece_end = 0; at < length;) {
        if (at == piece_end) {
            size_t piece = cutter ? cutter->next(cutter) : 0;
            piece_end = piece && piece < length - at ? at + piece : length;
        }
        if (!open) {
            arena_clear(&arena);
            http1_begin(parser, &message, &arena);
            open = true;
            headers = 0;
        }
        size_t consumed;
        enum http1_event event = http1_feed_copy(parser, bytes + at, piece_end - at, &consumed, &err);
        at += consumed;
        if (event == HTTP1_HEADERS) {
            MUST(++headers == 1 && http1_in_body(parser));
        } else if (event == HTTP1_MESSAGE) {
            MUST(headers == 1 || message.body_length == 0);
            http1_describe(out, &message, http1_expects_continue(parser));
            open = false;
        } else if (event == HTTP1_ALIEN) {
            buf_text(out, "alien\n");
            open = false;
            break;
        } else if (event == HTTP1_ERROR) {
            buf_printf(out, "error %d %s\n", gw_status_http(err.status), err.what);
            open = false;
            break;
        }
    }
    if (open && http1_started(parser))
        buf_text(out, http1_in_body(parser) ? "more body\n" : "more\n");
    buf_append(out, "", 1);
    MUST(!out->failed);
    arena_clear(&arena);
    http1_free(parser);
}

#endif
