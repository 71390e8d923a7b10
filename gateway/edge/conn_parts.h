/*
 * conn_parts: a connection as its own files see it: conn (its life), conn_receive, conn_send and conn_tls. For nobody
 * else: conn.h is the contract, and says what the states are.
 */
#ifndef XEBEC_EDGE_CONN_PARTS_H
#define XEBEC_EDGE_CONN_PARTS_H

#include <event2/event_struct.h>

#include "edge/conn_http2.h"
#include "support/tls.h"

enum { CLIENT_TEXT = 46 }; /* an IPv6 address */

enum conn_state {
    CONN_HANDSHAKE, CONN_IDLE, CONN_HEADER, CONN_BODY, CONN_HANDLING, CONN_WRITING, CONN_STREAMS, CONN_CLOSING, CONN_CLOSED,
    CONN_STATE_COUNT
};

struct conn {
    struct edge *edge;
    struct conn *next, *previous;
    int fd;
    struct tls *tls; /* NULL: plain */
    enum conn_state state;
    short watching;  /* EV_READ, EV_WRITE, or 0: neither */
    bool running;    /* on_event is on the stack, and settles at its end */
    bool greeted;    /* TLS: something of a handshake came */
    bool last;       /* the reply being written ends the connection */
    bool spoken;     /* which HTTP it is is known */
    uint8_t preface; /* until then: so many bytes were those of HTTP/2's */
    struct http1_parser *parser;
    struct held_exchange *exchange; /* the one being read or handled */
    struct conn_http2 *http2;       /* STREAMS */
    struct loop_task wake;          /* STREAMS: there is something to send */
    bool woken;
    struct buf pending; /* read, not yet fed */
    size_t pending_fed;
    struct buf out_head, out_body; /* what is left of the reply; of both together */
    size_t out_sent;
    int out_queued;   /* in the system, when it last took or lost some */
    size_t discarded; /* while CLOSING */
    uint64_t deadline_us;
    struct loop_timer timer; /* fires at the deadline or, rather than being moved each time, earlier */
    struct event event;
    struct loop_deferred deferred;
    char client[CLIENT_TEXT];
};

/* The one place where a state changes; the deadline comes with it. */
void conn_move(struct conn *conn, enum conn_state state);
/* Once a turn, after whatever happened outside on_event(): what is waited for is watched, no longer than the deadline. */
void conn_settle(struct conn *conn);
/* A stream has something to say: with all others of this turn. */
void conn_wake(struct conn *conn);

static inline bool conn_takes_requests(const struct conn *conn)
{
    return conn->state >= CONN_IDLE && conn->state <= CONN_BODY;
}

static inline size_t conn_pending_left(const struct conn *conn)
{
    return conn->pending.length - conn->pending_fed;
}

#endif
