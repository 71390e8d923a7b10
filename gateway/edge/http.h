/*
 * http: one request and its reply, whatever HTTP version carried them. What http1 and http2 produce,
 * endpoint handlers consume, and conn sends.
 *
 * An exchange is one request/reply pair. It is made by conn, handed to the edge's handler once the whole
 * message is there, and given back by exchange_reply() or exchange_abandon(), exactly once, at any later time. Its
 * arena and all that the message points at live until then, even when the client has gone.
 */
#ifndef XEBEC_EDGE_HTTP_H
#define XEBEC_EDGE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "support/arena.h"
#include "support/buf.h"
#include "support/err.h"

enum http_method { HTTP_M_GET, HTTP_M_HEAD, HTTP_M_POST, HTTP_M_PUT, HTTP_M_DELETE, HTTP_M_OPTIONS, HTTP_M_PATCH, HTTP_M_OTHER };
const char *http_method_name(enum http_method method); /* "POST"; "?" for OTHER */

struct http_header {
    const char *name; /* lower case, terminated */
    const char *value; /* terminated, no white space around; no control characters but tab */
    size_t name_length, value_length;
};

#define HTTP_BODY_PADDING 64 /* readable bytes after a body: parsers that read in words need them */

struct http_message {
    enum http_method method;
    const char *path;   /* percent-decoded, terminated, starts with '/', or is "*" for OPTIONS; never contains NUL */
    size_t path_length;
    const char *query;  /* raw, without '?'; "" when none */
    const struct http_header *headers;
    uint32_t n_headers;
    char *body;         /* body_length bytes, then HTTP_BODY_PADDING readable ones; never NULL */
    size_t body_length;
    bool keep_alive;    /* the connection may carry another; always, in HTTP/2 */
    bool takes_trailers; /* of the reply: it came over HTTP/2 */
};
/* The first header of this lower-case name, or NULL. */
const struct http_header *http_message_find(const struct http_message *message, const char *name, size_t length);
/* Likewise; of a literal the length is known when it is compiled. */
static inline const struct http_header *http_message_header(const struct http_message *message, const char *name)
{
    return http_message_find(message, name, strlen(name));
}
/* The first cookie of this name; its value is not terminated. NULL: none. */
const char *http_message_cookie(const struct http_message *message, const char *name, size_t *length);
/* Whether the content type is this one, parameters and case aside; `absent` where there is no such header. */
bool http_message_is(const struct http_message *message, const char *media_type, bool absent);

struct exchange {
    struct http_message message;
    struct arena arena;        /* bounded by what is left of limits.held; the handler may use it too */
    const char *client;        /* its address, "10.0.0.7", "::1" or "unix"; while the handler is first called */
    uint64_t received_us;      /* when its first byte was read, CLOCK_MONOTONIC; a pipelined one's: when its turn came */
    /*
     * Set by the handler if it wants to know: the client has gone. Called at most once, not after exchange_reply().
     * The handler still gives the exchange back.
     */
    void (*gone)(struct exchange *exchange);
    void *handler; /* the handler's own */
};

struct http_reply {
    int status;               /* 200 ... */
    const char *content_type; /* NULL: no body's type */
    const char *headers;      /* more of them, "Name: value\r\n" each; NULL: none. Trusted: never the client's bytes */
    const char *trailers;     /* likewise, after the body: HTTP/2 alone sends them. NULL: none */
    struct buf body;          /* taken over: exchange_reply() frees or sends it */
};
/*
 * Sends; HEAD gets the header alone; without memory for the header, an empty 503.
 * The exchange is gone afterwards (freed at the end of the turn).
 */
void exchange_reply(struct exchange *exchange, struct http_reply *reply);
/* No reply: the connection closes, or HTTP/2's stream is reset. For a handler that has no memory even for an error. */
void exchange_abandon(struct exchange *exchange);

#endif
