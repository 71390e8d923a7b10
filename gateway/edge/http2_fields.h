/*
 * http2_fields: header fields of HTTP/2 as HTTP messages have them, and back. Knows no frames. Internal to http2.
 */
#ifndef XEBEC_EDGE_HTTP2_FIELDS_H
#define XEBEC_EDGE_HTTP2_FIELDS_H

#include "edge/http.h"

/* A request's header list, while it comes. The first problem stays, the rest of the list is not kept. */
struct http2_fields {
    struct http_message *message;
    struct arena *arena;
    struct http_header *fields;
    uint32_t n_fields, room;
    size_t bytes;                /* as RFC 9113 counts a list */
    char *target;                /* of :path */
    size_t target_length;
    const char *authority, *host;
    bool method_known, expects_continue;
    size_t announced;            /* Content-Length; SIZE_MAX: none */
    enum gw_status problem;      /* GW_OK: none so far */
    const char *what;            /* is wrong, where the status does not say it all */
};

void http2_fields_begin(struct http2_fields *fields, struct http_message *message, struct arena *arena);
/* One that nghttp2 has found well formed; limit: of the list. */
void http2_fields_add(struct http2_fields *fields, const char *name, size_t name_length, const char *value, size_t value_length,
                      size_t limit);
/* One that it has not: fine by itself, as the client is told. */
void http2_fields_spoil(struct http2_fields *fields);
/* The list is complete: message has its method, path and fields. GW_OK, or err says how to answer. */
enum gw_status http2_fields_finish(struct http2_fields *fields, size_t header_limit, size_t body_limit, struct gw_err *err);

enum { HTTP2_REPLY_FIELDS_MAX = 32 };
/*
 * The header fields of a reply, :status first; their texts are in scratch (overwritten), in the reply, or constants.
 * Returns how many; 0: out of memory, or too many. body_length: in Content-Length.
 */
uint32_t http2_reply_fields(const struct http_reply *reply, size_t body_length, const char *date, struct buf *scratch,
                            struct http_header fields[HTTP2_REPLY_FIELDS_MAX]);
/*
 * "Name: value\r\n" lines as fields, from fields[n] on; names become lower-case, in place. Returns how many there are
 * then; 0: too many.
 */
uint32_t http2_split_lines(char *lines, struct http_header fields[HTTP2_REPLY_FIELDS_MAX], uint32_t n);

#endif
