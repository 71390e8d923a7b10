/*
 * conn_send: from a reply, or HTTP/2's frames, to the socket. The first try is straight from the edge's own
 * buffer; what the client does not take is the connection's to keep, and then nothing more is read from it.
 */
#include "edge/conn_send.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "edge/conn_tls.h"

enum { FRAMES_BYTES = 64 << 10 }; /* HTTP/2's, gathered for one send() */

/* --- what the client takes --- */

size_t conn_out_left(const struct conn *conn)
{
    return conn->out_head.length + conn->out_body.length - conn->out_sent + conn_tls_left(conn);
}

bool conn_is_writing(const struct conn *conn)
{
    return conn->state == CONN_WRITING || conn_out_left(conn) > 0;
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
    conn->deadline_us = loop_now_us() + conn->edge->setup.timeouts->write_us;
}

bool conn_takes_slowly(struct conn *conn)
{
    if (queued_bytes(conn) >= conn->out_queued)
        return false;
    write_progressed(conn);
    return true;
}

int conn_pieces_of(const struct buf *head, const struct buf *body, size_t skip, struct iovec pieces[2])
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

/*
 * Sends what follows the first `skip` bytes of both; returns the bytes taken, or -1: the client has gone.
 * What was taken has left when conn_out_left() says so.
 */
static ssize_t send_both(struct conn *conn, const struct buf *head, const struct buf *body, size_t skip)
{
    struct iovec pieces[2];
    if (conn->tls)
        return conn_tls_send(conn, head, body, skip);
    struct msghdr message = {.msg_iov = pieces,
                             .msg_iovlen = (size_t)conn_pieces_of(head, body, skip, pieces)};
    ssize_t sent = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? 0 : sent;
}

/* --- HTTP/1.1: a reply --- */

static void reply_sent(struct conn *conn)
{
    buf_clear(&conn->out_head);
    buf_clear(&conn->out_body);
    conn->out_sent = 0;
    if (conn->last)
        conn_say_goodbye(conn);
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
    else if (conn_out_left(conn))
        write_progressed(conn);
    else
        reply_sent(conn);
}

void conn_flush_reply(struct conn *conn)
{
    size_t before = conn_out_left(conn);
    ssize_t sent = send_both(conn, &conn->out_head, &conn->out_body, conn->out_sent);
    if (sent < 0) {
        conn_close(conn);
        return;
    }
    conn->out_sent += (size_t)sent;
    if (!conn_out_left(conn))
        reply_sent(conn);
    else if (conn_out_left(conn) != before) /* sealed, a little more than taken: any change is a step */
        write_progressed(conn);
}

/* Takes the reply's body; the connection goes on to WRITING, and mostly right through it. */
static void send_whole(struct conn *conn, const struct held_exchange *held, struct http_reply *reply)
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
        send_whole(conn, held, reply);
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

void conn_refuse(struct conn *conn, struct gw_err *err)
{
    struct exchange *exchange = &conn->exchange->exchange;
    struct http_reply reply;
    held_refuse(conn->exchange, err, &reply);
    exchange->message.keep_alive = false;
    exchange_reply(exchange, &reply);
}

void conn_send_continue(struct conn *conn)
{
    static char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct buf words = {.bytes = interim, .length = sizeof interim - 1}, none = {0};
    ssize_t length = sizeof interim - 1;
    ssize_t sent = conn->tls ? send_both(conn, &words, &none, 0)
                             : send(conn->fd, interim, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != length)
        conn_close(conn); /* nothing else is under way: a socket without room for this is no use */
}

/* --- HTTP/2: frames --- */

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
    if (conn_out_left(conn))
        write_progressed(conn);
    if (conn->out_head.failed)
        conn_close(conn);
    return conn->state != CONN_CLOSED;
}

/* Goes on with what the client would not take before. False: it still does not, or the connection has closed.
 */
static bool send_rest(struct conn *conn)
{
    size_t before = conn_out_left(conn);
    if (!before)
        return true;
    ssize_t sent = send_both(conn, &conn->out_head, &conn->out_body, conn->out_sent);
    if (sent < 0) {
        conn_close(conn);
        return false;
    }
    conn->out_sent += (size_t)sent;
    if (conn_out_left(conn) != before)
        write_progressed(conn);
    if (conn_out_left(conn))
        return false;
    buf_clear(&conn->out_head);
    conn->out_sent = 0;
    return true;
}

void conn_flush_streams(struct conn *conn)
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
                conn_say_goodbye(conn);
            return;
        }
    }
}

/* --- the last word --- */

void conn_say_goodbye(struct conn *conn)
{
    if (conn->tls)
        conn_tls_close(conn);
    shutdown(conn->fd, SHUT_WR);
    conn_move(conn, CONN_CLOSING);
}
