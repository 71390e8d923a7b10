/*
 * predict: an exchange becomes a request in the dialect of its path, and what that ends with becomes the reply. What all
 * dialects share on their way in and out; only the shard's thread.
 */
#ifndef XEBEC_EDGE_PREDICT_H
#define XEBEC_EDGE_PREDICT_H

#include "edge/http.h"
#include "infer/request.h"

/* What a path asks for. */
struct predict_ask {
    const struct dialect *dialect;
    const struct config_endpoint *endpoint;
    const char *version; /* an arm's that exists, in the exchange's arena; NULL: the rollout decides, or the body */
    void *own;           /* request->own, for decode; NULL: nothing */
};
/* A body that came compressed is what it was, also to the dialect. POST only: what else is asked, by method, is the caller's to refuse. Replies, now or later. */
void predict_start(struct infer *infer, struct exchange *exchange, const struct predict_ask *ask);

/* A JSON body, taken over, with the status' HTTP code. headers: more of them; NULL: none. A failed body is an abandoned exchange. */
void reply_json(struct exchange *exchange, enum gw_status status, const char *headers, struct buf *body);
/* An error in the words of a dialect. */
void reply_error(struct exchange *exchange, const struct dialect *dialect, enum gw_status status, const char *headers,
                 const char *what);
/* 404: the first 80 bytes of what, then the advice. */
void reply_not_found(struct exchange *exchange, const struct dialect *dialect, const char *what, size_t length,
                     const char *advice);
/* The advice after the name of an endpoint that there is not. */
#define NO_ENDPOINT ": no endpoint has this name; GET /v2/models lists them"
/* When a client may come again, for those statuses after which it may; else NULL. */
const char *reply_retry_header(enum gw_status status);

#endif
