/*
 * conn_tls: between recv() and what is read, and between what is to be said and send(), one step more. What
 * is opened is taken as if it had come so; what is sealed waits in the session until the client takes it.
 */
#include "edge/conn_tls.h"

#include <ctype.h>
#include <errno.h>
#include <sys/socket.h>

#include "edge/conn_receive.h"
#include "edge/conn_send.h"
#include "support/log.h"

/* --- bytes come, sealed --- */

/* The client speaks plain HTTP where TLS is spoken: told so in words, as it would not understand an alert. */
static void answer_plain(struct conn *conn)
{
    struct gw_err err;
    edge_count_handshake(conn->edge, HANDSHAKE_PLAIN_HTTP);
    tls_free(conn->tls);
    conn->tls = NULL;
    conn_move(conn, CONN_IDLE);
    if (!conn_begin_exchange(conn)) {
        conn_close(conn);
        return;
    }
    gw_err_set(&err, GW_E_INVALID, "this port speaks TLS: ask it by https://");
    conn_refuse(conn, &err);
}

static void handshake_is_done(struct conn *conn)
{
    edge_count_handshake(conn->edge, tls_is_resumed(conn->tls) ? HANDSHAKE_RESUMED : HANDSHAKE_OK);
    conn_move(conn, CONN_IDLE);
    if (!tls_chose_h2(conn->tls))
        return;
    conn->spoken = true;
    conn_speak_http2(conn);
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
    conn_say_goodbye(conn);
}

/* Of what was fed, all that can be opened, where it is to be. */
static enum tls_result take_opened(struct conn *conn)
{
    char opened[TLS_RECORD_BYTES];
    enum tls_result result = TLS_OK;
    while (result == TLS_OK && conn->state != CONN_CLOSED) {
        size_t room = sizeof opened, ahead = conn_read_ahead(conn), got;
        char *into = conn_body_room(conn, &room);
        if (!into) {
            into = opened;
            room = ahead < sizeof opened ? ahead : sizeof opened;
        }
        result = tls_read(conn->tls, into, room, &got);
        if (conn->state == CONN_HANDSHAKE && tls_is_open(conn->tls))
            handshake_is_done(conn);
        if (result == TLS_OK)
            conn_take(conn, into, got);
    }
    return result;
}

void conn_tls_receive(struct conn *conn, size_t room)
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
        conn_take(conn, sealed, (size_t)got);
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
    else if (result == TLS_ENDED || !conn_tls_flush(conn))
        conn_close(conn);
}

/* --- bytes go, sealed --- */

size_t conn_tls_left(const struct conn *conn)
{
    size_t left = 0;
    if (conn->tls)
        (void)tls_sealed(conn->tls, &left);
    return left;
}

bool conn_tls_flush(struct conn *conn)
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

ssize_t conn_tls_send(struct conn *conn, const struct buf *head, const struct buf *body, size_t skip)
{
    size_t before = skip, taken = 0;
    do {
        struct iovec pieces[2];
        skip += taken;
        if (!conn_tls_flush(conn))
            return -1;
        int n = conn_pieces_of(head, body, skip, pieces);
        if (conn_tls_left(conn) || !n)
            break;
        if (tls_write(conn->tls, pieces, n, &taken) != TLS_OK)
            return -1;
    } while (taken);
    return (ssize_t)(skip - before);
}

void conn_tls_close(struct conn *conn)
{
    tls_close(conn->tls);
    (void)conn_tls_flush(conn); /* a client that has gone will be noticed */
}
