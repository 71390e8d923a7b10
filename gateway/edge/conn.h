/*
 * conn: one client socket: buffers, timeouts, and the order of replies.
 * A connection is HTTP/1.1, unless its first bytes are HTTP/2's preface. In HTTP/1.1 requests of one connection are
 * answered one after another; pipelined ones wait in the socket or in a bounded buffer. In HTTP/2 (conn_http2) they are
 * under way side by side. Reads go through one scratch buffer a listener, so an idle connection holds no buffer.
 *
 *   IDLE -> HEADER -> BODY -> HANDLING -> WRITING -> IDLE | CLOSING -> CLOSED (freed at the end of the turn)
 *    '--------'-----> STREAMS ----------------------------------'
 *     HANDSHAKE  comes before, on a listener that speaks TLS (support/tls.h); timeouts.handshake, then the connection ends. From then
 *                on bytes are opened before they are taken, and sealed before they go; nothing else is different
 *     IDLE       between requests; the idle timeout
 *     HEADER     some of a header is here; timeouts.header from its first byte, then 408
 *     BODY       some of a body is to come; timeouts.body from the end of the header, then 408
 *     HANDLING   the handler has the exchange; no timeout of ours. A client that hangs up, or half-closes, is noticed
 *     WRITING    some of the reply is to go; timeouts.write, anew whenever the client takes some
 *     STREAMS    HTTP/2, whose streams have their own timeouts (http2.h); timeouts.write while the client takes nothing, and
 *                nothing is read then
 *     CLOSING    the last reply is out and our half closed; what the client still sends is read away for a
 *                moment, so that the reply is not lost to a reset
 * Steps that need no waiting are passed through within one turn. Any state may end in CLOSED, and IDLE, HEADER and
 * BODY in WRITING: a refusal. While something sealed waits for the client to take it, nothing is read, whatever the state.
 */
#ifndef XEBEC_EDGE_CONN_H
#define XEBEC_EDGE_CONN_H

#include <time.h>

#include "edge/access_log.h"
#include "edge/http1.h"
#include "edge/http2.h"
#include "edge/listener.h"

enum { EDGE_SCRATCH_BYTES = 64 << 10 };

struct conn;

/* How a TLS handshake ended, for METRIC_TLS_HANDSHAKES. */
enum handshake {
    HANDSHAKE_OK, HANDSHAKE_RESUMED, HANDSHAKE_MALFORMED, HANDSHAKE_NO_AGREEMENT, HANDSHAKE_CERTIFICATE, HANDSHAKE_REFUSED,
    HANDSHAKE_PLAIN_HTTP, HANDSHAKE_TIMEOUT, HANDSHAKE_GONE, HANDSHAKE_NO_MEMORY, HANDSHAKE_COUNT
};

/*
 * What the connections of one listener share. The listener makes it, its connections and open exchanges each
 * hold a reference: handlers may give exchanges back after the listener is gone.
 */
struct edge {
    struct edge_setup setup;     /* its limits and timeouts are these: */
    struct config_limits config_limits;
    struct config_timeouts config_timeouts;
    uint32_t refs;
    bool draining;               /* every reply is its connection's last */
    struct conn *conns;          /* all that are not freed */
    uint32_t n_conns;            /* those not CLOSED */
    struct arena_budget held;    /* arenas of open exchanges, together */
    struct http1_limits limits;
    struct http2_limits http2_limits;
    struct tls_context *tls;       /* a reference: what new connections go by; NULL: no TLS */
    struct access_log *access_log; /* NULL: none */
    struct metric *connections, *connections_total, *connections_refused;
    struct metric *errors[GW_STATUS_COUNT]; /* made when first counted */
    struct metric *handshakes[HANDSHAKE_COUNT]; /* likewise */
    struct buf head;             /* a reply's header, while it is being sent */
    time_t date_s;               /* what date says */
    char date[32];               /* as in the Date header */
    char scratch[EDGE_SCRATCH_BYTES];
};
void edge_unref(struct edge *edge);
void edge_count_error(struct edge *edge, enum gw_status status); /* a request, or a connection, that HTTP itself refused */
void edge_count_handshake(struct edge *edge, enum handshake how);
const char *edge_date(struct edge *edge);                        /* as in the Date header; the edge's own */

/* Takes fd, non-blocking; client: its address, for the access log; copied. False: out of memory, fd is closed. */
GW_MUST_CHECK bool conn_open(struct edge *edge, int fd, const char *client);
/* Closes now if idle; else edge->draining sees to it. */
void conn_drain(struct conn *conn);
/* Closes, whatever the state; harmless when already CLOSED. A handler that holds its exchange is told `gone`. */
void conn_close(struct conn *conn);
struct conn *conn_next(const struct conn *conn); /* in edge->conns; stays valid until the end of the turn */

#endif
