/*
 * http_body: the room of a request's body, which grows in the exchange's arena as bytes arrive, whatever length was
 * announced. For http1 and http2.
 */
#ifndef XEBEC_EDGE_HTTP_BODY_H
#define XEBEC_EDGE_HTTP_BODY_H

#include "edge/http.h"

struct http_body {
    struct http_message *message; /* its body and body_length are kept here */
    struct arena *arena;
    size_t room; /* the padding apart */
};

/*
 * Room for `needs` bytes and the padding; for more, up to `ceiling`, where that is likely to be wanted.
 * False: the arena is out of memory, or at its limit.
 */
GW_MUST_CHECK bool http_body_reserve(struct http_body *body, size_t needs, size_t ceiling);
/* Appends. False: as above. */
GW_MUST_CHECK bool http_body_add(struct http_body *body, const char *bytes, size_t length, size_t ceiling);
/* It is complete: message->body is set, if empty, and padded. */
GW_MUST_CHECK bool http_body_finish(struct http_body *body);

#endif
