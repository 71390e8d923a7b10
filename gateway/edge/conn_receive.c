/*
 * conn_receive: from the socket to a whole message: where the next bytes are received, which HTTP they are,
 * and what becomes of those that are early.
 */
#include "edge/conn_receive.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "edge/conn_send.h"
#include "edge/conn_tls.h"

enum {
    PENDING_MAX = 64 << 10,    /* pipelined bytes that wait for their turn; in TLS a record more */
    BODY_READ_LEAST = 4 << 10, /* of a body: less is not worth a system call of its own */
    BODY_READ_MAX = 1 << 20,   /* then others have their turn */
    BEHIND_MAX = 64,           /* between two pieces of a body */
    LINGER_BYTES = 1 << 20,    /* read away while CLOSING */
};

/* --- where bytes are received --- */

size_t conn_readable_room(const struct conn *conn)
{
    if (conn_is_writing(conn))
        return 0;
    switch (conn->state) {
    case CONN_CLOSED:
        return 0;
    case CONN_HANDSHAKE:
    case CONN_STREAMS:
    case CONN_CLOSING:
        return EDGE_SCRATCH_BYTES;
    default:
        return conn_pending_left(conn) < PENDING_MAX ? PENDING_MAX - conn_pending_left(conn) : 0;
    }
}

char *conn_body_room(struct conn *conn, size_t *room)
{
    char *into = NULL;
    if (conn->state == CONN_STREAMS)
        into = conn_http2_body_room(conn->http2, room);
    else if (conn->state == CONN_BODY && !conn_pending_left(conn))
        into = http1_body_room(conn->parser, room);
    if (into && *room > BODY_READ_MAX)
        *room = BODY_READ_MAX;
    return into && *room >= BODY_READ_LEAST ? into : NULL;
}

size_t conn_read_ahead(const struct conn *conn)
{
    if (conn->state == CONN_STREAMS)
        return conn_http2_read_ahead(conn->http2);
    return conn->state == CONN_BODY ? http1_read_ahead(conn->parser) : SIZE_MAX;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* What the next bytes are received into: a piece of a body where it stays, and what stands between it and the
 * next piece; or just anything. Returns how many parts. */
static int receive_into(struct conn *conn, struct iovec parts[2])
{
    size_t room = conn_readable_room(conn), ahead = conn_read_ahead(conn);
    char *scratch = conn->edge->scratch, *body = room ? conn_body_room(conn, &parts[0].iov_len) : NULL;
    if (!body) {
        parts[0] = (struct iovec){.iov_base = scratch, .iov_len = least(room, ahead)};
        return parts[0].iov_len != 0;
    }
    size_t behind = ahead - parts[0].iov_len;
    parts[0].iov_base = body;
    parts[1] = (struct iovec){.iov_base = scratch, .iov_len = behind};
    return ahead != SIZE_MAX && behind <= BEHIND_MAX ? 2 : 1;
}

/* One system call, and whatever it brings about. Returns the bytes received; 0: there is no more for now. */
static size_t receive_some(struct conn *conn)
{
    struct iovec parts[2];
    int n = receive_into(conn, parts);
    if (!n)
        return 0;
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t got = n == 1 ? recv(conn->fd, parts[0].iov_base, parts[0].iov_len, MSG_DONTWAIT)
                         : recvmsg(conn->fd, &message, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
            conn_close(conn);
        return 0;
    }
    size_t first = least((size_t)got, parts[0].iov_len);
    conn_take(conn, parts[0].iov_base, first);
    if ((size_t)got > first)
        conn_take(conn, parts[1].iov_base, (size_t)got - first);
    return first < parts[0].iov_len ? 0 : (size_t)got;
}

static bool in_large_body(const struct conn *conn)
{
    return conn->state == CONN_BODY || (conn->state == CONN_STREAMS && conn_read_ahead(conn) != SIZE_MAX);
}

void conn_receive(struct conn *conn)
{
    size_t got, total = 0;
    if (conn->tls) {
        conn_tls_receive(conn, conn_readable_room(conn));
        return;
    }
    while ((got = receive_some(conn)) && (total += got) < BODY_READ_MAX && in_large_body(conn)) {
    }
}

/* --- HTTP/1.1: messages, one after another --- */

bool conn_begin_exchange(struct conn *conn)
{
    conn->exchange = held_new(conn->edge, conn, conn->client);
    if (conn->exchange)
        http1_begin(conn->parser, &conn->exchange->exchange.message, &conn->exchange->exchange.arena);
    return conn->exchange != NULL;
}

/* Whatever it speaks, it would not understand a reply. */
static void hang_up(struct conn *conn, enum gw_status why)
{
    edge_count_error(conn->edge, why);
    held_log(conn->exchange, 0, 0);
    held_release(conn->exchange);
    conn->exchange = NULL;
    conn_say_goodbye(conn);
}

static void hand_over(struct conn *conn)
{
    conn_move(conn, CONN_HANDLING);
    conn->edge->setup.handle(conn->edge->setup.owner, &conn->exchange->exchange);
}

/* Feeds the message at hand, up to its end at most; returns the bytes consumed. */
static size_t feed_message(struct conn *conn, const char *bytes, size_t length)
{
    struct held_exchange *held = conn->exchange;
    struct gw_err err;
    size_t consumed;
    if (!http1_started(conn->parser))
        held->exchange.received_us = loop_now_us();
    enum http1_event event = http1_feed(conn->parser, bytes, length, &consumed, &err);
    held->bytes_in += consumed;
    switch (event) {
    case HTTP1_MORE:
        if (http1_started(conn->parser))
            conn_move(conn, http1_in_body(conn->parser) ? CONN_BODY : CONN_HEADER);
        break;
    case HTTP1_HEADERS:
        conn_move(conn, CONN_BODY);
        if (http1_expects_continue(conn->parser) && consumed == length)
            conn_send_continue(conn);
        break;
    case HTTP1_MESSAGE:
        hand_over(conn);
        break;
    case HTTP1_ERROR:
        conn_refuse(conn, &err);
        break;
    case HTTP1_ALIEN:
        hang_up(conn, err.status);
        break;
    }
    return consumed;
}

/* Feeds requests, one after another, until one has to be waited for; returns the bytes consumed. */
static size_t conn_feed(struct conn *conn, const char *bytes, size_t length)
{
    size_t consumed = 0;
    while (consumed < length && conn_takes_requests(conn)) {
        if (!conn->exchange && !conn_begin_exchange(conn)) {
            conn_close(conn);
            break;
        }
        consumed += feed_message(conn, bytes + consumed, length - consumed);
    }
    return consumed;
}

void conn_feed_pending(struct conn *conn)
{
    if (!conn_pending_left(conn) || !conn_takes_requests(conn))
        return;
    conn->pending_fed += conn_feed(conn, conn->pending.bytes + conn->pending_fed, conn_pending_left(conn));
    if (!conn_pending_left(conn) && conn->state != CONN_CLOSED) {
        buf_clear(&conn->pending);
        conn->pending_fed = 0;
    }
}

/* Bytes behind the request that is being handled. */
static void keep_pending(struct conn *conn, const char *bytes, size_t length)
{
    if (conn->pending_fed) {
        conn->pending.length = conn_pending_left(conn);
        memmove(conn->pending.bytes, conn->pending.bytes + conn->pending_fed, conn->pending.length);
        conn->pending_fed = 0;
    }
    buf_append(&conn->pending, bytes, length);
    if (conn->pending.failed)
        conn_close(conn);
}

static void take_requests(struct conn *conn, const char *bytes, size_t length)
{
    size_t consumed = conn_feed(conn, bytes, length);
    if (consumed < length && conn->state != CONN_CLOSED && conn->state != CONN_CLOSING)
        keep_pending(conn, bytes + consumed, length - consumed);
}

/* --- whichever HTTP it is --- */

void conn_speak_http2(struct conn *conn)
{
    if (conn->exchange)
        held_release(conn->exchange);
    conn->exchange = NULL;
    conn->http2 = conn_http2_new(conn->edge, conn, conn->client, conn_wake);
    if (conn->http2)
        conn_move(conn, CONN_STREAMS);
    else
        conn_close(conn);
}

/*
 * The first bytes tell HTTP/2 from HTTP/1.1, which is all that does not begin with HTTP/2's preface. While it
 * may be either it counts as the header of a request.
 */
static void take_first(struct conn *conn, const char *bytes, size_t length)
{
    size_t before = conn->preface, same = 0;
    while (same < length && before + same < HTTP2_PREFACE_BYTES &&
           bytes[same] == HTTP2_PREFACE[before + same])
        same++;
    conn->preface = (uint8_t)(before + same);
    conn->spoken = conn->preface == HTTP2_PREFACE_BYTES || same < length;
    if (!conn->spoken) {
        if (!conn->exchange && conn_begin_exchange(conn))
            conn->exchange->exchange.received_us = loop_now_us();
        if (conn->exchange)
            conn_move(conn, CONN_HEADER);
        else
            conn_close(conn);
        return;
    }
    bool is_http2 = conn->preface == HTTP2_PREFACE_BYTES;
    if (is_http2)
        conn_speak_http2(conn);
    if (before)
        conn_take(conn, HTTP2_PREFACE, before);
    conn_take(conn, bytes, length);
}

/* Most clients read no reply before they have sent their body: one that is refused is heard out, if time
 * allows. */
static size_t linger_bytes(const struct conn *conn)
{
    size_t body = conn->edge->limits.body_bytes;
    return conn->http2 || body < LINGER_BYTES ? LINGER_BYTES : body;
}

void conn_take(struct conn *conn, const char *bytes, size_t length)
{
    switch (conn->state) {
    case CONN_CLOSED:
        break;
    case CONN_CLOSING:
        conn->discarded += length;
        if (conn->discarded > linger_bytes(conn))
            conn_close(conn);
        break;
    case CONN_STREAMS:
        conn_http2_feed(conn->http2, bytes, length);
        break;
    default:
        if (conn->spoken)
            take_requests(conn, bytes, length);
        else
            take_first(conn, bytes, length);
    }
}
