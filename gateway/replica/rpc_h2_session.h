/*
 * rpc_h2_session: the client's end of one HTTP/2 connection that carries unary gRPC calls. Sans-I/O: bytes in, bytes
 * out; time and sockets are the owner's. With it nghttp2 has its home in replica/. Internal to rpc_h2*.c.
 *
 *   h2_session_start() -> [waits for one of the peer's MAX_CONCURRENT_STREAMS] -> on the wire -> ended(), exactly once
 *
 * A stream ends when the reply is whole, when the peer resets it or leaves, when it is cancelled, or with the session.
 * ended() runs inside h2_session_start(), _feed(), _fill(), _cancel() and _end(), and may call none of them.
 *
 * What a hostile peer can do is bounded: a reply by its limits (rpc_h2_reply.h), unasked answers (PING, SETTINGS) and
 * header blocks by nghttp2, which then ends the session; time by the deadlines of calls.
 */
#ifndef XEBEC_REPLICA_RPC_H2_SESSION_H
#define XEBEC_REPLICA_RPC_H2_SESSION_H

#include "replica/rpc_h2_outbox.h"
#include "replica/rpc_h2_reply.h"

struct h2_session;

/* Embedded in a call. */
struct h2_stream {
    struct h2_session *session; /* NULL: not in one (any more) */
    struct h2_stream *next, **link;
    int32_t id;
    const struct rpc_payload *payload; /* held while in a session; NULL: no bytes */
    size_t sent; /* of the message and its prefix */
    struct h2_reply reply; /* the owner's to clear */
};

/* HTTP/2 numbers streams from 1 to 2^31 - 1, odd ones ours: so many calls one connection can carry, and some to spare. */
enum { H2_CALLS_MAX = (1 << 30) - (1 << 16) };

/*
 * NULL: out of memory. The first bytes of a connection are then waiting to be taken by h2_session_fill().
 * max_calls: after so many the session is going; at most H2_CALLS_MAX.
 */
struct h2_session *h2_session_new(uint32_t max_calls, void (*ended)(struct h2_stream *stream)) GW_MUST_CHECK;
void h2_session_free(struct h2_session *session); /* no stream is in it; NULL is harmless */

struct h2_request {
    const char *method;    /* "/package.Service/Method"; a constant */
    const char *authority; /* lives as long as the session */
    const struct rpc_payload *payload;
    bool secure;           /* the connection is TLS */
    uint64_t timeout_us;   /* told to the peer; at least 1 */
    size_t max_bytes;      /* of the reply */
};
/* The stream is in the session until ended(). False: out of memory, it never was. */
GW_MUST_CHECK bool h2_session_start(struct h2_session *session, struct h2_stream *stream,
                                    const struct h2_request *request);
/* Ends the stream at once and tells the peer: why is GW_E_CANCELLED or GW_E_DEADLINE. */
void h2_session_cancel(struct h2_stream *stream, enum gw_status why);
/* Ends all streams, without a word to the peer. */
void h2_session_end(struct h2_session *session, enum gw_status why, const char *words);

/* Bytes from the peer. False: the session is over, for the reason that h2_session_why() gives. */
GW_MUST_CHECK bool h2_session_feed(struct h2_session *session, const uint8_t *bytes, size_t length);
/*
 * Where the next bytes belong: who receives them there and feeds them from there saves a copy. At most *room bytes. NULL:
 * they are few, or of something else than a reply.
 */
uint8_t *h2_session_room(struct h2_session *session, size_t *room);
/* So many bytes may be received elsewhere and lose nothing by it: no more than lies between two large pieces of a reply. */
size_t h2_session_read_ahead(const struct h2_session *session);
/* Puts what is to be sent into the outbox, as long as there is room. False: as above. */
GW_MUST_CHECK bool h2_session_fill(struct h2_session *session, struct h2_outbox *outbox);
/* Asks the peer for a sign of life. False: out of memory. */
GW_MUST_CHECK bool h2_session_ping(struct h2_session *session);

bool h2_session_is_open(const struct h2_session *session);  /* the peer has greeted: its SETTINGS are here */
bool h2_session_is_going(const struct h2_session *session); /* the peer takes no new streams, or has had max_calls */
bool h2_session_is_idle(const struct h2_session *session);  /* has no streams */
const char *h2_session_why(const struct h2_session *session); /* for a person; never NULL */

#endif
