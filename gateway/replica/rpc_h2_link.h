/*
 * rpc_h2_link: one HTTP/2 connection on its socket and its loop: reads, writes, and notices when it is dead.
 * Internal to rpc_h2*.c.
 *
 *   GREETING --SETTINGS--> OPEN --GOAWAY--> GOING --the last stream ends--.
 *      |                    |                 |                           v
 *      '--------------------+-----------------+----------------------> LOST
 *
 * All that is to be sent goes at the end of the turn, in one system call.
 */
#ifndef XEBEC_REPLICA_RPC_H2_LINK_H
#define XEBEC_REPLICA_RPC_H2_LINK_H

#include "replica/rpc_h2_session.h"
#include "support/loop.h"
#include "support/tls.h"

enum h2_link_state {
    LINK_GREETING, /* connected; no handshake of TLS is done, or the peer has not said anything yet */
    LINK_OPEN,
    LINK_GOING,    /* finishes its calls, and takes no new ones */
    LINK_LOST      /* its calls have ended; to be closed */
};

struct h2_link;

struct h2_link_setup {
    struct loop *loop;
    int fd;               /* connected and non-blocking; the link's from now on, unless h2_link_open() fails */
    struct tls *tls;      /* likewise; NULL: plain */
    uint32_t max_calls;   /* as in rpc_h2_session.h */
    uint64_t silence_us;  /* calls are out and not a byte came for so long: asks for a sign of life; and when there is */
    uint64_t patience_us; /* none for so long, the link is lost */
    uint8_t *room;        /* to read into: H2_LINK_ROOM bytes that all links of a loop share */
    void (*ended)(struct h2_stream *stream); /* as in rpc_h2_session.h */
    /* On the loop, at every change of state but not inside a function of the link's. May close it. */
    void (*changed)(void *owner, struct h2_link *link, enum h2_link_state state);
    void *owner;
};
enum { H2_LINK_ROOM = 64 << 10 };

struct h2_link *h2_link_open(const struct h2_link_setup *setup) GW_MUST_CHECK; /* NULL: out of memory */
/* Its calls end so; `changed` is silent from now on. The memory goes at the end of the turn. */
void h2_link_close(struct h2_link *link, enum gw_status why);

/* As h2_session_start(), and h2_session_cancel(). */
GW_MUST_CHECK bool h2_link_start(struct h2_link *link, struct h2_stream *stream, const struct h2_request *request);
void h2_link_cancel(struct h2_link *link, struct h2_stream *stream, enum gw_status why);

const char *h2_link_why(const struct h2_link *link); /* it was lost; never NULL */

#endif
