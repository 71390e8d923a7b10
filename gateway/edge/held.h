/*
 * held: an exchange as its connection knows it, whichever HTTP version that speaks: memory, references, the access
 * log, counts. Internal to conn and conn_http2, which embed it; handlers see exchanges only.
 */
#ifndef XEBEC_EDGE_HELD_H
#define XEBEC_EDGE_HELD_H

#include "edge/conn.h"

struct held_exchange {
    struct exchange exchange;
    struct edge *edge;            /* a reference */
    struct conn *conn;            /* NULL: the client has gone, and with it the one who would send the reply */
    struct conn_http2 *http2;     /* HTTP/2: whose it is, also when the client has gone; */
    struct http2_stream *stream;  /* and NULL then */
    bool handled;                 /* HTTP/2: the handler has it */
    uint64_t bytes_in;
    struct loop_deferred deferred;
};

/* Its arena takes from the edge's budget. NULL: out of memory. */
struct held_exchange *held_new(struct edge *edge, struct conn *conn, const char *client) GW_MUST_CHECK;
/* At the end of the turn: whoever gives an exchange back still reads what is in its arena. */
void held_release(struct held_exchange *held);

/* status 0: hung up on without a reply. While its conn is there. */
void held_log(const struct held_exchange *held, int status, size_t bytes_out);
/* Its client has gone while the handler has it. */
void held_orphan(struct held_exchange *held);
/*
 * What is said instead of a request's own reply: one that HTTP itself refuses, in the words of the edge's owner.
 * Counts it.
 */
void held_refuse(struct held_exchange *held, const struct gw_err *err, struct http_reply *reply);
/* A reply whose body could not be written becomes an empty 503. */
void held_judge_reply(struct http_reply *reply);

#endif
