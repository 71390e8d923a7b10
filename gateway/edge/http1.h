/*
 * http1: HTTP/1.0 and 1.1 requests, bytes in, messages out. Sans-I/O: no sockets, no clock. The home of
 * the parser library. Keeps RFC 9112's rules against request smuggling:
 *   refused with 400: both Content-Length and Transfer-Encoding; two Content-Lengths, or one that is not digits; a
 *   Transfer-Encoding other than exactly "chunked"; Transfer-Encoding in HTTP/1.0; white space between a field's name
 *   and its colon; obs-fold; a control character in a header, a bare CR or a bare LF among them; no Host, or two, in
 *   1.1; a target that is not origin-form, absolute-form, or "*" for OPTIONS; bad percent-encoding, or %00; a chunk
 *   whose size is not hexadecimal digits at once followed by CRLF or ";", or whose data is not followed by CRLF.
 * Other refusals: a header over the limit 431 (414 when it is the request line), more than 100 fields 431, a body over
 * the limit 413, an unknown method 501, another version 505, an expectation other than 100-continue 417.
 * Trailers are read and dropped.
 * The outcome depends on the bytes only, never on how they were cut into feeds.
 */
#ifndef XEBEC_EDGE_HTTP1_H
#define XEBEC_EDGE_HTTP1_H

#include <stdbool.h>
#include <stddef.h>

#include "edge/http.h"

struct http1_limits {
    size_t header_bytes; /* the request line and the fields; apart from that, chunk extensions and trailers together.
                            The library stops at 80 KiB whatever is said here */
    size_t body_bytes;
};

enum http1_event {
    HTTP1_MORE,    /* all bytes consumed; feed more */
    HTTP1_HEADERS, /* the header is complete, once a message that has a body; call feed again to go on.
                      If http1_expects_continue() the owner sends "100 Continue" now */
    HTTP1_MESSAGE, /* the message is complete; the rest of the bytes belong to the next one */
    HTTP1_ERROR,   /* err says how to answer; then the connection closes */
    HTTP1_ALIEN    /* a first line with neither a known method nor HTTP's name: no answer would be understood, err is for
                      our own records; the connection closes */
};

struct http1_parser;

/*
 * One a connection, lasting; holds little while idle. NULL: out of memory. limits: borrowed, and read when a message begins:
 * they may change between messages.
 */
struct http1_parser *http1_new(const struct http1_limits *limits) GW_MUST_CHECK;
void http1_free(struct http1_parser *parser);

/*
 * Makes ready for the next message, which is written to `message`, its memory from `arena`; both borrowed until the
 * next begin. Until the message is complete only method, path and query say something; path is NULL until known.
 */
void http1_begin(struct http1_parser *parser, struct http_message *message, struct arena *arena);
/*
 * Consumes a prefix of bytes, sets *consumed. After HTTP1_MESSAGE, HTTP1_ERROR or HTTP1_ALIEN only begin or free.
 * The body's room grows as bytes arrive, whatever length was announced. An arena that is out of memory, or at
 * its limit, is HTTP1_ERROR with GW_E_NO_MEMORY.
 */
enum http1_event http1_feed(struct http1_parser *parser, const char *bytes, size_t length, size_t *consumed,
                            struct gw_err *err);
/*
 * Where the next bytes of the body belong: who receives them there and feeds them from there saves a copy. At most
 * *room bytes, which end with the body, or its chunk. NULL: something else comes next, or there is no memory, of which
 * feeding tells.
 */
char *http1_body_room(struct http1_parser *parser, size_t *room);
/*
 * So many bytes may be received elsewhere and lose nothing by it: what ends here, and the line that says how large the
 * next chunk is, but not that chunk, which is likely to be large as well. SIZE_MAX: there is no such line to stop at.
 */
size_t http1_read_ahead(const struct http1_parser *parser);
/* Any byte of this message was fed; an empty line before it does not count. */
bool http1_started(const struct http1_parser *parser);
bool http1_in_body(const struct http1_parser *parser);          /* its header is complete */
bool http1_expects_continue(const struct http1_parser *parser); /* and the client waits for 100 Continue */

/* The status line and headers of a reply, body_length in Content-Length; appended to out. date: as in the Date header. */
void http1_write_head(struct buf *out, const struct http_reply *reply, size_t body_length, bool keep_alive,
                      const char *date);

#endif
