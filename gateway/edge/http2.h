/*
 * http2: the server's end of one HTTP/2 connection (RFC 9113): bytes in, messages out; replies in, bytes out. Sans-I/O:
 * no sockets, and time is passed in (CLOCK_MONOTONIC, microseconds). With it nghttp2 has its home in edge/.
 *
 * Refused with an answer, as HTTP/1.1 does: a body over the limit 413, a header list over it, or more than 100 fields, 431,
 * a field that is none 400, an unknown method 501, an expectation other than 100-continue 417, a body too slow 408. What
 * RFC 9113 calls malformed (pseudo-header fields, connection-specific fields, a content-length that lies) resets the stream.
 *
 * What a hostile client can do is bounded:
 *   memory    by the arenas of its requests, at most limits.streams of them; by windows that open only as a body is
 *             stored; nothing is read while what is to be sent is not taken (the owner sees to that)
 *   resets    of streams, whoever sent the frame: limits.resets of them, and a tenth as many more each second
 *   controls  PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA: limits.controls, likewise; requests and replies earn some.
 *             Frames of unknown types cost no more than their bytes
 *   header    blocks: CONTINUATION frames are counted by nghttp2
 * Beyond these the connection ends with GOAWAY, ENHANCE_YOUR_CALM.
 */
#ifndef XEBEC_EDGE_HTTP2_H
#define XEBEC_EDGE_HTTP2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/http.h"

/* What a client says first who knows that we speak HTTP/2. */
#define HTTP2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
enum { HTTP2_PREFACE_BYTES = sizeof HTTP2_PREFACE - 1 };

struct http2_limits {
    size_t header_bytes; /* names, values, and 32 bytes a field (RFC 9113, section 6.5.2) */
    size_t body_bytes;
    uint32_t streams;    /* at once; told to the client when the connection begins */
    uint32_t resets, controls;
    uint64_t header_us;  /* from a request's first frame to the end of its header; else the connection ends */
    uint64_t body_us;    /* from there to the end of its body; else 408 */
    uint64_t idle_us;    /* without a stream; then GOAWAY */
    uint64_t write_us;   /* how long a client may take nothing of a reply; then its stream is reset */
};

struct http2;

/* One request and its reply. http2 makes and frees it: the owner may use it from HTTP2_BEGIN until it replies, abandons it, or is told HTTP2_GONE. */
struct http2_stream;

enum http2_event {
    HTTP2_BEGIN,   /* a request begins: http2_accept() it now, or it is refused so that the client may try again */
    HTTP2_PART,    /* its head is there, or more of its body, and more is to come: http2_suffice(), or wait */
    HTTP2_MESSAGE, /* it is complete: reply to it, now or later */
    HTTP2_REFUSED, /* it will not be complete: err says how to reply */
    HTTP2_GONE     /* the client has cancelled it, or nothing can reach the client any more; before a reply */
};

/*
 * err: of HTTP2_REFUSED; else NULL. Runs inside http2_feed(), _fill(), _expire() and _end(), none of which it may call;
 * it may reply and abandon.
 */
typedef void http2_event_fn(void *owner, struct http2_stream *stream, enum http2_event event, const struct gw_err *err);

/*
 * limits: borrowed, and read when something begins. The client's preface is fed like what follows it. NULL: out of
 * memory. Our own first bytes are waiting to be taken by http2_fill().
 */
struct http2 *http2_new(const struct http2_limits *limits, http2_event_fn *event, void *owner, uint64_t now_us) GW_MUST_CHECK;
/* Every stream that has no reply is GONE. */
void http2_end(struct http2 *http2);
void http2_free(struct http2 *http2); /* after http2_end(); NULL is harmless */

/* The message, zeroed, and its memory; both borrowed until the stream is the owner's no more. holder: the owner's own. */
void http2_accept(struct http2_stream *stream, struct http_message *message, struct arena *arena, void *holder);
void *http2_holder(const struct http2_stream *stream);
/* During HTTP2_PART: what is there is all that is wanted, and HTTP2_MESSAGE follows. The rest is read and dropped. */
void http2_suffice(struct http2_stream *stream);
uint64_t http2_bytes_in(const struct http2_stream *stream); /* header list and body */
/*
 * Takes the body of the reply, and its trailers; HEAD gets the header alone. date: as in the Date header. Returns bytes_out.
 * Without memory the stream is reset, and that is 0.
 */
size_t http2_reply(struct http2_stream *stream, struct http_reply *reply, const char *date, uint64_t now_us);
void http2_abandon(struct http2_stream *stream); /* resets it */

/* Bytes from the client. When they cannot be understood, or it has gone too far, http2_fill() says so, and then ends. */
void http2_feed(struct http2 *http2, const char *bytes, size_t length, uint64_t now_us);
/* Where the next bytes belong, and how many may go elsewhere, as http1_body_room() and http1_read_ahead(): what they say
 * of chunks is true of DATA frames. */
char *http2_body_room(struct http2 *http2, size_t *room);
size_t http2_read_ahead(const struct http2 *http2);
/*
 * Appends what is to be sent, until `out` holds about `room` bytes. False: that is the last of it, and the
 * connection closes once it has been sent.
 */
GW_MUST_CHECK bool http2_fill(struct http2 *http2, struct buf *out, size_t room, uint64_t now_us);

/* Takes no requests but those on their way (RFC 9113, section 6.8); http2_fill() is false when all have their replies. */
void http2_drain(struct http2 *http2, uint64_t now_us);
/* No later than this http2_expire() is due. It may be early. */
uint64_t http2_deadline_us(const struct http2 *http2);
/* Ends what has taken too long; then http2_fill(). */
void http2_expire(struct http2 *http2, uint64_t now_us);
/* Whether it ended because the client went too far with resets, controls or header blocks. */
bool http2_was_flooded(const struct http2 *http2);

#endif
