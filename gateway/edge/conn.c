/*
 * conn: what happens on one client socket, in the order of a request: bytes come, a message is whole, the
 * handler answers, bytes go. In the common case that is one recv() and one sendmsg() a request; a descriptor
 * event is only changed when a client is slower than we are.
 *
 *   on_event -> conn_receive -> conn_feed -> hand_over -> [handler] -> exchange_reply -> conn_send ->
 * reply_sent
 *                                   '------- refuse ------------------------^
 */
#include "edge/conn_http2.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "support/log.h"
#include "support/tls.h"

enum {
    PENDING_MAX = 64 << 10,    /* pipelined bytes that wait for their turn; in TLS a record more */
    FRAMES_BYTES = 64 << 10,   /* HTTP/2's, gathered for one send() */
    BODY_READ_LEAST = 4 << 10, /* of a body: less is not worth a system call of its own */
    BODY_READ_MAX = 1 << 20,   /* then others have their turn */
    BEHIND_MAX = 64,           /* between two pieces of a body */
    LINGER_BYTES = 1 << 20,    /* read away while CLOSING */
    LINGER_US = 1000000,
    LOOK_US = 250000, /* how often a client that is not read from is looked at */
    CLIENT_TEXT = 46, /* an IPv6 address */
};

enum conn_state {
    CONN_HANDSHAKE,
    CONN_IDLE,
    CONN_HEADER,
    CONN_BODY,
    CONN_HANDLING,
    CONN_WRITING,
    CONN_STREAMS,
    CONN_CLOSING,
    CONN_CLOSED,
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

static void on_event(evutil_socket_t fd, short what, void *owner);
static void on_timer(struct loop_timer *timer);
static void conn_settle(struct conn *conn);
static void on_wake(struct loop_task *task);
static void free_conn(struct loop_deferred *node);
static void refuse(struct conn *conn, struct gw_err *err);
static bool send_sealed(struct conn *conn);
static void say_goodbye(struct conn *conn);

/* --- states --- */

static uint64_t deadline_of(const struct conn *conn, enum conn_state state)
{
    const struct config_timeouts *timeouts = conn->edge->setup.timeouts;
    switch (state) {
    case CONN_HANDSHAKE:
        return loop_now_us() + timeouts->handshake_us;
    case CONN_IDLE:
        return loop_now_us() + timeouts->idle_us;
    case CONN_HEADER:
        return conn->exchange->exchange.received_us + timeouts->header_us;
    case CONN_BODY:
        return loop_now_us() + timeouts->body_us;
    case CONN_WRITING:
        return loop_now_us() + timeouts->write_us;
    case CONN_CLOSING:
        return loop_now_us() + LINGER_US;
    default:
        return UINT64_MAX;
    }
}

/* The one place where a state changes; the deadline comes with it. */
static void conn_move(struct conn *conn, enum conn_state state)
{
#define TO(state) (1u << (state))
    static const unsigned legal[CONN_STATE_COUNT] = {
        [CONN_HANDSHAKE] = TO(CONN_IDLE) | TO(CONN_CLOSING) | TO(CONN_CLOSED),
        [CONN_IDLE] = TO(CONN_HEADER) | TO(CONN_BODY) | TO(CONN_HANDLING) | TO(CONN_WRITING) |
                      TO(CONN_STREAMS) | TO(CONN_CLOSING) | TO(CONN_CLOSED),
        [CONN_HEADER] = TO(CONN_STREAMS) | TO(CONN_CLOSING) | TO(CONN_BODY) | TO(CONN_HANDLING) |
                        TO(CONN_WRITING) | TO(CONN_CLOSED),
        [CONN_BODY] = TO(CONN_HANDLING) | TO(CONN_WRITING) | TO(CONN_CLOSED),
        [CONN_HANDLING] = TO(CONN_WRITING) | TO(CONN_CLOSED),
        [CONN_WRITING] = TO(CONN_IDLE) | TO(CONN_CLOSING) | TO(CONN_CLOSED),
        [CONN_STREAMS] = TO(CONN_CLOSING) | TO(CONN_CLOSED),
        [CONN_CLOSING] = TO(CONN_CLOSED),
    };
#undef TO
    if (state == conn->state)
        return;
    assert(legal[conn->state] & (1u << state));
    conn->deadline_us = deadline_of(conn, state);
    conn->state = state;
}

static bool takes_requests(const struct conn *conn)
{
    return conn->state >= CONN_IDLE && conn->state <= CONN_BODY;
}

static size_t pending_left(const struct conn *conn)
{
    return conn->pending.length - conn->pending_fed;
}

static size_t sealed_left(const struct conn *conn)
{
    size_t left = 0;
    if (conn->tls)
        (void)tls_sealed(conn->tls, &left);
    return left;
}

/* What the client has yet to take. */
static size_t out_left(const struct conn *conn)
{
    return conn->out_head.length + conn->out_body.length - conn->out_sent + sealed_left(conn);
}

static bool is_writing(const struct conn *conn)
{
    return conn->state == CONN_WRITING || out_left(conn) > 0;
}

/* How many bytes may be read now. While a reply is being written none are: who does not take answers gets no
 * more. */
static size_t readable_room(const struct conn *conn)
{
    if (is_writing(conn))
        return 0;
    switch (conn->state) {
    case CONN_CLOSED:
        return 0;
    case CONN_HANDSHAKE:
    case CONN_STREAMS:
    case CONN_CLOSING:
        return EDGE_SCRATCH_BYTES;
    default:
        return pending_left(conn) < PENDING_MAX ? PENDING_MAX - pending_left(conn) : 0;
    }
}

/* --- opening --- */

bool conn_open(struct edge *edge, int fd, const char *client)
{
    struct conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        goto fail;
    conn->parser = http1_new(&edge->limits);
    conn->tls = edge->tls ? tls_new(edge->tls, NULL) : NULL;
    if (!conn->parser || (edge->tls && !conn->tls))
        goto fail;
    conn->state = conn->tls ? CONN_HANDSHAKE : CONN_IDLE;
    conn->edge = edge;
    conn->fd = fd;
    conn->timer.fire = on_timer;
    conn->deferred.free_fn = free_conn;
    conn->wake.run = on_wake;
    conn->watching = EV_READ;
    snprintf(conn->client, sizeof conn->client, "%s", client);
    event_assign(&conn->event, loop_base(edge->setup.loop), fd, EV_READ | EV_PERSIST, on_event, conn);
    conn->deadline_us = deadline_of(conn, conn->state);
    if (loop_timer_set(edge->setup.loop, &conn->timer, conn->deadline_us) != GW_OK)
        goto fail;
    if (event_add(&conn->event, NULL) != 0) {
        loop_timer_cancel(edge->setup.loop, &conn->timer);
        goto fail;
    }
    conn->next = edge->conns;
    if (conn->next)
        conn->next->previous = conn;
    edge->conns = conn;
    edge->refs++;
    edge->n_conns++;
    metric_add(edge->connections, 1);
    metric_add(edge->connections_total, 1);
    return true;

fail:
    if (conn) {
        http1_free(conn->parser);
        tls_free(conn->tls);
    }
    free(conn);
    close(fd);
    return false;
}

/* --- exchanges --- */

static bool begin_exchange(struct conn *conn)
{
    conn->exchange = held_new(conn->edge, conn, conn->client);
    if (conn->exchange)
        http1_begin(conn->parser, &conn->exchange->exchange.message, &conn->exchange->exchange.arena);
    return conn->exchange != NULL;
}

/* --- bytes come --- */

static void take(struct conn *conn, const char *bytes, size_t length);
static ssize_t send_both(struct conn *conn, const struct buf *head, const struct buf *body, size_t skip);
static void conn_wake(struct conn *conn);

static void send_continue(struct conn *conn)
{
    static char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct buf words = {.bytes = interim, .length = sizeof interim - 1}, none = {0};
    ssize_t length = sizeof interim - 1;
    ssize_t sent = conn->tls ? send_both(conn, &words, &none, 0)
                             : send(conn->fd, interim, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != length)
        conn_close(conn); /* nothing else is under way: a socket without room for this is no use */
}

/* Whatever it speaks, it would not understand a reply. */
static void hang_up(struct conn *conn, enum gw_status why)
{
    edge_count_error(conn->edge, why);
    held_log(conn->exchange, 0, 0);
    held_release(conn->exchange);
    conn->exchange = NULL;
    say_goodbye(conn);
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
            send_continue(conn);
        break;
    case HTTP1_MESSAGE:
        hand_over(conn);
        break;
    case HTTP1_ERROR:
        refuse(conn, &err);
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
    while (consumed < length && takes_requests(conn)) {
        if (!conn->exchange && !begin_exchange(conn)) {
            conn_close(conn);
            break;
        }
        consumed += feed_message(conn, bytes + consumed, length - consumed);
    }
    return consumed;
}

static void feed_pending(struct conn *conn)
{
    if (!pending_left(conn) || !takes_requests(conn))
        return;
    conn->pending_fed += conn_feed(conn, conn->pending.bytes + conn->pending_fed, pending_left(conn));
    if (!pending_left(conn) && conn->state != CONN_CLOSED) {
        buf_clear(&conn->pending);
        conn->pending_fed = 0;
    }
}

/* Bytes behind the request that is being handled. */
static void keep_pending(struct conn *conn, const char *bytes, size_t length)
{
    if (conn->pending_fed) {
        conn->pending.length = pending_left(conn);
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

static void speak_http2(struct conn *conn)
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
        if (!conn->exchange && begin_exchange(conn))
            conn->exchange->exchange.received_us = loop_now_us();
        if (conn->exchange)
            conn_move(conn, CONN_HEADER);
        else
            conn_close(conn);
        return;
    }
    bool is_http2 = conn->preface == HTTP2_PREFACE_BYTES;
    if (is_http2)
        speak_http2(conn);
    if (before)
        take(conn, HTTP2_PREFACE, before);
    take(conn, bytes, length);
}

/* Most clients read no reply before they have sent their body: one that is refused is heard out, if time
 * allows. */
static size_t linger_bytes(const struct conn *conn)
{
    size_t body = conn->edge->limits.body_bytes;
    return conn->http2 || body < LINGER_BYTES ? LINGER_BYTES : body;
}

static void take(struct conn *conn, const char *bytes, size_t length)
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

/* The rest of a large body is received where it stays. NULL: what comes is small, or is no body. */
static char *body_room(struct conn *conn, size_t *room)
{
    char *into = NULL;
    if (conn->state == CONN_STREAMS)
        into = conn_http2_body_room(conn->http2, room);
    else if (conn->state == CONN_BODY && !pending_left(conn))
        into = http1_body_room(conn->parser, room);
    if (into && *room > BODY_READ_MAX)
        *room = BODY_READ_MAX;
    return into && *room >= BODY_READ_LEAST ? into : NULL;
}

/* How much to read of what does not stay where it is read: of a large body in pieces no more than lies
 * between two of them. */
static size_t read_ahead(const struct conn *conn)
{
    if (conn->state == CONN_STREAMS)
        return conn_http2_read_ahead(conn->http2);
    return conn->state == CONN_BODY ? http1_read_ahead(conn->parser) : SIZE_MAX;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* --- bytes come, sealed --- */

/* The client speaks plain HTTP where TLS is spoken: told so in words, as it would not understand an alert. */
static void answer_plain(struct conn *conn)
{
    struct gw_err err;
    edge_count_handshake(conn->edge, HANDSHAKE_PLAIN_HTTP);
    tls_free(conn->tls);
    conn->tls = NULL;
    conn_move(conn, CONN_IDLE);
    if (!begin_exchange(conn)) {
        conn_close(conn);
        return;
    }
    gw_err_set(&err, GW_E_INVALID, "this port speaks TLS: ask it by https://");
    refuse(conn, &err);
}

static void handshake_is_done(struct conn *conn)
{
    edge_count_handshake(conn->edge, tls_is_resumed(conn->tls) ? HANDSHAKE_RESUMED : HANDSHAKE_OK);
    conn_move(conn, CONN_IDLE);
    if (!tls_chose_h2(conn->tls))
        return;
    conn->spoken = true;
    speak_http2(conn);
}

/* What there is to say about it, an alert, goes first. */
static void tls_has_failed(struct conn *conn)
{
    static const enum handshake outcomes[] = {
        [TLS_FAILURE_NONE] = HANDSHAKE_MALFORMED,
        [TLS_FAILURE_MALFORMED] = HANDSHAKE_MALFORMED,
        [TLS_FAILURE_NO_AGREEMENT] = HANDSHAKE_NO_AGREEMENT,
        [TLS_FAILURE_CERTIFICATE] = HANDSHAKE_CERTIFICATE,
        [TLS_FAILURE_REFUSED] = HANDSHAKE_REFUSED,
        [TLS_FAILURE_FLOOD] = HANDSHAKE_MALFORMED,
        [TLS_FAILURE_MEMORY] = HANDSHAKE_NO_MEMORY,
    };
    enum tls_failure failure = tls_failure(conn->tls);
    log_debug("tls_failed", LOG_TEXT("client", conn->client), LOG_TEXT("why", tls_why(conn->tls)));
    if (conn->state != CONN_HANDSHAKE) {
        if (failure == TLS_FAILURE_FLOOD)
            edge_count_error(conn->edge, GW_E_OVERLOAD);
        conn_close(conn);
        return;
    }
    edge_count_handshake(conn->edge, outcomes[failure]);
    say_goodbye(conn);
}

/* Of what was fed, all that can be opened, where it is to be. */
static enum tls_result take_opened(struct conn *conn)
{
    char opened[TLS_RECORD_BYTES];
    enum tls_result result = TLS_OK;
    while (result == TLS_OK && conn->state != CONN_CLOSED) {
        size_t room = sizeof opened, got;
        char *into = body_room(conn, &room);
        if (!into) {
            into = opened;
            room = least(sizeof opened, read_ahead(conn));
        }
        result = tls_read(conn->tls, into, room, &got);
        if (conn->state == CONN_HANDSHAKE && tls_is_open(conn->tls))
            handshake_is_done(conn);
        if (result == TLS_OK)
            take(conn, into, got);
    }
    return result;
}

static void receive_sealed(struct conn *conn, size_t room)
{
    char *sealed = conn->edge->scratch;
    if (!room)
        return;
    ssize_t got = recv(conn->fd, sealed, room, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        if (conn->state == CONN_HANDSHAKE)
            edge_count_handshake(conn->edge, HANDSHAKE_GONE);
        conn_close(conn);
        return;
    }
    if (conn->state == CONN_CLOSING) {
        take(conn, sealed, (size_t)got);
        return;
    }
    if (!conn->greeted && isupper((unsigned char)sealed[0])) {
        answer_plain(conn);
        return;
    }
    conn->greeted = true;
    tls_feed(conn->tls, sealed, (size_t)got);
    enum tls_result result = take_opened(conn);
    if (conn->state == CONN_CLOSED)
        return;
    if (result == TLS_FAILED)
        tls_has_failed(conn);
    else if (result == TLS_ENDED || !send_sealed(conn))
        conn_close(conn);
}

/* What the next bytes are received into: a piece of a body where it stays, and what stands between it and the
 * next piece; or just anything. Returns how many parts. */
static int receive_into(struct conn *conn, struct iovec parts[2])
{
    size_t room = readable_room(conn), ahead = read_ahead(conn);
    char *scratch = conn->edge->scratch, *body = room ? body_room(conn, &parts[0].iov_len) : NULL;
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
    take(conn, parts[0].iov_base, first);
    if ((size_t)got > first)
        take(conn, parts[1].iov_base, (size_t)got - first);
    return first < parts[0].iov_len ? 0 : (size_t)got;
}

static bool in_large_body(const struct conn *conn)
{
    return conn->state == CONN_BODY || (conn->state == CONN_STREAMS && read_ahead(conn) != SIZE_MAX);
}

/* What is small comes with one system call; of a large body, as much as there is. */
static void conn_receive(struct conn *conn)
{
    size_t got, total = 0;
    if (conn->tls) {
        receive_sealed(conn, readable_room(conn));
        return;
    }
    while ((got = receive_some(conn)) && (total += got) < BODY_READ_MAX && in_large_body(conn)) {
    }
}

/* --- bytes go --- */

/* What follows the first `skip` bytes of both, as pieces; returns how many. */
static int pieces_of(const struct buf *head, const struct buf *body, size_t skip, struct iovec pieces[2])
{
    size_t from_head = skip < head->length ? skip : head->length, from_body = skip - from_head;
    int n = 0;
    if (from_head < head->length)
        pieces[n++] =
            (struct iovec){.iov_base = head->bytes + from_head, .iov_len = head->length - from_head};
    if (from_body < body->length)
        pieces[n++] =
            (struct iovec){.iov_base = body->bytes + from_body, .iov_len = body->length - from_body};
    return n;
}

/* What is sealed, as far as the client takes it. False: it has gone. */
static bool send_sealed(struct conn *conn)
{
    size_t length;
    const char *bytes = tls_sealed(conn->tls, &length);
    if (!length)
        return true;
    ssize_t sent = send(conn->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0)
        tls_sent(conn->tls, (size_t)sent);
    return sent >= 0 || errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* send_both() in TLS: seals no more than the client takes, but for the last that it was offered. */
static ssize_t seal_both(struct conn *conn, const struct buf *head, const struct buf *body, size_t skip)
{
    size_t before = skip, taken = 0;
    do {
        struct iovec pieces[2];
        skip += taken;
        if (!send_sealed(conn))
            return -1;
        int n = pieces_of(head, body, skip, pieces);
        if (sealed_left(conn) || !n)
            break;
        if (tls_write(conn->tls, pieces, n, &taken) != TLS_OK)
            return -1;
    } while (taken);
    return (ssize_t)(skip - before);
}

/*
 * Sends what follows the first `skip` bytes of both; returns the bytes taken, or -1: the client has gone.
 * What was taken has left when out_left() says so.
 */
static ssize_t send_both(struct conn *conn, const struct buf *head, const struct buf *body, size_t skip)
{
    struct iovec pieces[2];
    if (conn->tls)
        return seal_both(conn, head, body, skip);
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)pieces_of(head, body, skip, pieces)};
    ssize_t sent = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? 0 : sent;
}

/* Nothing more will be said; what the client still says is read away. */
static void say_goodbye(struct conn *conn)
{
    if (conn->tls) {
        tls_close(conn->tls);
        (void)send_sealed(conn); /* a client that has gone will be noticed */
    }
    shutdown(conn->fd, SHUT_WR);
    conn_move(conn, CONN_CLOSING);
}

/* Bytes that the system holds for the client, who has not taken them yet. */
static int queued_bytes(const struct conn *conn)
{
    int bytes = 0;
    return ioctl(conn->fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

/* The client took some: its time starts anew. */
static void write_progressed(struct conn *conn)
{
    conn->out_queued = queued_bytes(conn);
    conn->deadline_us = deadline_of(conn, CONN_WRITING);
}

static void reply_sent(struct conn *conn)
{
    buf_clear(&conn->out_head);
    buf_clear(&conn->out_body);
    conn->out_sent = 0;
    if (conn->last)
        say_goodbye(conn);
    else
        conn_move(conn, CONN_IDLE);
}

/* The first try, straight from the edge's own header buffer; what does not fit is the connection's to keep.
 */
static void send_reply(struct conn *conn)
{
    struct buf *head = &conn->edge->head;
    ssize_t sent = head->failed ? -1 : send_both(conn, head, &conn->out_body, 0);
    if (sent < 0) {
        conn_close(conn);
        return;
    }
    if ((size_t)sent < head->length)
        buf_append(&conn->out_head, head->bytes + sent, head->length - (size_t)sent);
    else
        conn->out_sent = (size_t)sent - head->length;
    if (conn->out_head.failed)
        conn_close(conn);
    else if (out_left(conn))
        write_progressed(conn);
    else
        reply_sent(conn);
}

static void conn_flush(struct conn *conn)
{
    size_t before = out_left(conn);
    ssize_t sent = send_both(conn, &conn->out_head, &conn->out_body, conn->out_sent);
    if (sent < 0) {
        conn_close(conn);
        return;
    }
    conn->out_sent += (size_t)sent;
    if (!out_left(conn))
        reply_sent(conn);
    else if (out_left(conn) != before) /* sealed, a little more than taken: any change is a step */
        write_progressed(conn);
}

/* Takes the reply's body; the connection goes on to WRITING, and mostly right through it. */
static void conn_send(struct conn *conn, const struct held_exchange *held, struct http_reply *reply)
{
    const struct http_message *message = &held->exchange.message;
    struct edge *edge = conn->edge;
    held_judge_reply(reply);
    conn->last = !message->keep_alive || edge->draining;
    if (edge->head.failed)
        buf_clear(&edge->head);
    edge->head.length = 0;
    http1_write_head(&edge->head, reply, reply->body.length, !conn->last, edge_date(edge));
    if (message->method == HTTP_M_HEAD)
        buf_clear(&reply->body);
    conn->out_body = reply->body;
    reply->body = (struct buf){0};
    held_log(held, reply->status, edge->head.length + conn->out_body.length);
    conn_move(conn, CONN_WRITING);
    send_reply(conn);
}

void exchange_reply(struct exchange *exchange, struct http_reply *reply)
{
    struct held_exchange *held = container_of(exchange, struct held_exchange, exchange);
    struct conn *conn = held->conn;
    if (held->http2) {
        conn_http2_reply(held, reply);
        buf_clear(&reply->body);
        return;
    }
    if (conn) {
        conn->exchange = NULL;
        conn_send(conn, held, reply);
    }
    buf_clear(&reply->body);
    held_release(held);
    if (conn && !conn->running)
        conn_settle(conn);
}

void exchange_abandon(struct exchange *exchange)
{
    struct held_exchange *held = container_of(exchange, struct held_exchange, exchange);
    if (held->http2) {
        conn_http2_abandon(held);
        return;
    }
    if (held->conn) {
        held_log(held, 0, 0);
        held->conn->exchange = NULL;
        conn_close(held->conn);
    }
    held_release(held);
}

/* The request at hand never gets to the handler, and the connection ends: what follows cannot be trusted. */
static void refuse(struct conn *conn, struct gw_err *err)
{
    struct exchange *exchange = &conn->exchange->exchange;
    struct http_reply reply;
    held_refuse(conn->exchange, err, &reply);
    exchange->message.keep_alive = false;
    exchange_reply(exchange, &reply);
}

/* --- HTTP/2's bytes go --- */

/* Sends from the edge's own buffer; what does not fit is the connection's to keep. False: it has closed. */
static bool send_frames(struct conn *conn)
{
    struct buf *frames = &conn->edge->head;
    ssize_t sent = send_both(conn, frames, &conn->out_body, 0);
    if (sent < 0) {
        conn_close(conn);
        return false;
    }
    if ((size_t)sent < frames->length)
        buf_append(&conn->out_head, frames->bytes + sent, frames->length - (size_t)sent);
    if (out_left(conn))
        write_progressed(conn);
    if (conn->out_head.failed)
        conn_close(conn);
    return conn->state != CONN_CLOSED;
}

/* Goes on with what the client would not take before. False: it still does not, or the connection has closed.
 */
static bool send_rest(struct conn *conn)
{
    size_t before = out_left(conn);
    if (!before)
        return true;
    ssize_t sent = send_both(conn, &conn->out_head, &conn->out_body, conn->out_sent);
    if (sent < 0) {
        conn_close(conn);
        return false;
    }
    conn->out_sent += (size_t)sent;
    if (out_left(conn) != before)
        write_progressed(conn);
    if (out_left(conn))
        return false;
    buf_clear(&conn->out_head);
    conn->out_sent = 0;
    return true;
}

/* All that there is to say, as far as the client takes it; then, if that was the last of it, the end. */
static void streams_flush(struct conn *conn)
{
    struct buf *frames = &conn->edge->head;
    while (conn->state == CONN_STREAMS && send_rest(conn)) {
        if (frames->failed)
            buf_clear(frames);
        frames->length = 0;
        bool more = conn_http2_fill(conn->http2, frames, FRAMES_BYTES);
        if (frames->failed) {
            conn_close(conn);
        } else if (frames->length) {
            if (!send_frames(conn))
                return;
        } else {
            if (!more)
                say_goodbye(conn);
            return;
        }
    }
}

/* A stream has something to say: with all others of this turn. */
static void conn_wake(struct conn *conn)
{
    if (conn->running || conn->woken || conn->state != CONN_STREAMS)
        return;
    conn->woken = true;
    loop_post(conn->edge->setup.loop, &conn->wake);
}

static void on_wake(struct loop_task *task)
{
    struct conn *conn = container_of(task, struct conn, wake);
    conn->woken = false;
    if (conn->state == CONN_CLOSED) {
        loop_defer_free(conn->edge->setup.loop, &conn->deferred);
        return;
    }
    streams_flush(conn);
    conn_settle(conn);
}

/* Its streams' deadlines; or, while the client takes nothing, that of the socket. */
static uint64_t streams_deadline(const struct conn *conn)
{
    return out_left(conn) ? conn->deadline_us : conn_http2_deadline_us(conn->http2);
}

static void streams_expire(struct conn *conn)
{
    if (out_left(conn)) {
        conn_close(conn);
        return;
    }
    conn_http2_expire(conn->http2);
    streams_flush(conn);
}

/* --- events --- */

static void on_event(evutil_socket_t fd, short what, void *owner)
{
    struct conn *conn = owner;
    (void)fd;
    conn->running = true;
    if (conn->state == CONN_WRITING)
        conn_flush(conn);
    else if (conn->tls && conn->state != CONN_STREAMS && !send_sealed(conn))
        conn_close(conn);
    feed_pending(conn);
    if (what & EV_READ)
        conn_receive(conn);
    if (conn->state == CONN_STREAMS)
        streams_flush(conn);
    conn->running = false;
    conn_settle(conn);
}

static bool conn_watch(struct conn *conn, short what)
{
    if (conn->watching == what)
        return true;
    conn->watching = what;
    event_del(&conn->event);
    event_assign(&conn->event, loop_base(conn->edge->setup.loop), conn->fd, (short)(what | EV_PERSIST),
                 on_event, conn);
    return what == 0 || event_add(&conn->event, NULL) == 0;
}

/*
 * Before the loop sleeps: what the state waits for is watched, and the timer fires no later than the
 * deadline. A client that has filled its buffer while it is being handled is not read from, only looked at
 * now and then.
 */
static void conn_settle(struct conn *conn)
{
    struct loop *loop = conn->edge->setup.loop;
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->state == CONN_STREAMS)
        conn->deadline_us = streams_deadline(conn);
    bool watched = conn_watch(conn, is_writing(conn) ? EV_WRITE : readable_room(conn) ? EV_READ : 0);
    uint64_t at_us = conn->watching ? conn->deadline_us : loop_now_us() + LOOK_US;
    bool late = at_us != UINT64_MAX && (!loop_timer_is_set(&conn->timer) || conn->timer.at_us > at_us);
    if (!watched || (late && loop_timer_set(loop, &conn->timer, at_us) != GW_OK)) {
        conn_close(conn);
        return;
    }
    if (pending_left(conn) && takes_requests(conn))
        event_active(&conn->event, EV_READ, 0); /* the next request's turn; not in its predecessor's stack */
}

static bool has_hung_up(const struct conn *conn)
{
    struct pollfd state = {.fd = conn->fd, .events = POLLRDHUP};
    return poll(&state, 1, 0) == 1;
}

static void expire(struct conn *conn)
{
    struct gw_err err;
    bool writes = conn->state == CONN_WRITING || (conn->state == CONN_STREAMS && out_left(conn));
    if (conn->state == CONN_HANDSHAKE)
        edge_count_handshake(conn->edge, HANDSHAKE_TIMEOUT);
    if (writes && queued_bytes(conn) < conn->out_queued) {
        write_progressed(conn); /* slow, but not stalled: too little to make the socket writable */
        return;
    }
    if (conn->state == CONN_STREAMS) {
        streams_expire(conn);
        return;
    }
    if (conn->state != CONN_HEADER && conn->state != CONN_BODY) {
        conn_close(conn);
        return;
    }
    gw_err_set(&err, GW_E_SLOW_CLIENT, "the request's %s did not arrive in time",
               conn->state == CONN_HEADER ? "header" : "body");
    refuse(conn, &err);
}

static void on_timer(struct loop_timer *timer)
{
    struct conn *conn = container_of(timer, struct conn, timer);
    if (loop_now_us() >= conn->deadline_us || (!conn->watching && has_hung_up(conn)))
        expire(conn);
    conn_settle(conn);
}

/* --- closing --- */

void conn_drain(struct conn *conn)
{
    if (conn->state == CONN_STREAMS) {
        conn_http2_drain(conn->http2);
        streams_flush(conn);
        conn_settle(conn);
    }
    if (conn->state == CONN_HANDSHAKE)
        conn_close(conn); /* it has asked for nothing yet */
    if (conn->state != CONN_IDLE)
        return;
    on_event(conn->fd, EV_READ, conn); /* a request that has arrived is still served */
    if (conn->state == CONN_IDLE)
        conn_close(conn);
}

struct conn *conn_next(const struct conn *conn)
{
    return conn->next;
}

void conn_close(struct conn *conn)
{
    struct edge *edge = conn->edge;
    struct held_exchange *held = conn->exchange;
    bool handled = conn->state == CONN_HANDLING;
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->tls) {
        tls_close(conn->tls);
        (void)send_sealed(conn);
    }
    conn_move(conn, CONN_CLOSED);
    event_del(&conn->event);
    loop_timer_cancel(edge->setup.loop, &conn->timer);
    close(conn->fd);
    edge->n_conns--;
    metric_sub(edge->connections, 1);
    if (!conn->woken) /* else on_wake() will */
        loop_defer_free(edge->setup.loop, &conn->deferred);
    if (conn->http2)
        conn_http2_close(conn->http2);
    conn->http2 = NULL;
    conn->exchange = NULL;
    if (held && handled)
        held_orphan(held);
    else if (held) /* still being read */
        held_release(held);
}

static void free_conn(struct loop_deferred *node)
{
    struct conn *conn = container_of(node, struct conn, deferred);
    if (conn->previous)
        conn->previous->next = conn->next;
    else
        conn->edge->conns = conn->next;
    if (conn->next)
        conn->next->previous = conn->previous;
    buf_clear(&conn->pending);
    buf_clear(&conn->out_head);
    buf_clear(&conn->out_body);
    http1_free(conn->parser);
    tls_free(conn->tls);
    edge_unref(conn->edge);
    free(conn);
}
