/*
 * conn: the life of one client socket: its states, its events, its deadline. In the common case that is one
 * recv() and one sendmsg() a request; a descriptor event is only changed when a client is slower than we are.
 *
 *   on_event -> conn_receive ------> feed_message -> hand_over -> [handler] -> exchange_reply -> reply_sent
 *                '-> conn_tls_receive -'        '-------- conn_refuse --------------'
 */
#include <assert.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "edge/conn_receive.h"
#include "edge/conn_send.h"
#include "edge/conn_tls.h"

enum {
    LINGER_US = 1000000,
    LOOK_US = 250000, /* how often a client that is not read from is looked at */
};

static void on_event(evutil_socket_t fd, short what, void *owner);
static void on_timer(struct loop_timer *timer);
static void on_wake(struct loop_task *task);
static void free_conn(struct loop_deferred *node);

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

void conn_move(struct conn *conn, enum conn_state state)
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

/* --- HTTP/2: what streams have to say, and when --- */

void conn_wake(struct conn *conn)
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
    conn_flush_streams(conn);
    conn_settle(conn);
}

/* Its streams' deadlines; or, while the client takes nothing, that of the socket. */
static uint64_t streams_deadline(const struct conn *conn)
{
    return conn_out_left(conn) ? conn->deadline_us : conn_http2_deadline_us(conn->http2);
}

static void streams_expire(struct conn *conn)
{
    if (conn_out_left(conn)) {
        conn_close(conn);
        return;
    }
    conn_http2_expire(conn->http2);
    conn_flush_streams(conn);
}

/* --- events --- */

static void on_event(evutil_socket_t fd, short what, void *owner)
{
    struct conn *conn = owner;
    (void)fd;
    conn->running = true;
    if (conn->state == CONN_WRITING)
        conn_flush_reply(conn);
    else if (conn->tls && conn->state != CONN_STREAMS && !conn_tls_flush(conn))
        conn_close(conn);
    conn_feed_pending(conn);
    if (what & EV_READ)
        conn_receive(conn);
    if (conn->state == CONN_STREAMS)
        conn_flush_streams(conn);
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
void conn_settle(struct conn *conn)
{
    struct loop *loop = conn->edge->setup.loop;
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->state == CONN_STREAMS)
        conn->deadline_us = streams_deadline(conn);
    bool watched = conn_watch(conn, conn_is_writing(conn)      ? EV_WRITE
                                    : conn_readable_room(conn) ? EV_READ
                                                               : 0);
    uint64_t at_us = conn->watching ? conn->deadline_us : loop_now_us() + LOOK_US;
    bool late = at_us != UINT64_MAX && (!loop_timer_is_set(&conn->timer) || conn->timer.at_us > at_us);
    if (!watched || (late && loop_timer_set(loop, &conn->timer, at_us) != GW_OK)) {
        conn_close(conn);
        return;
    }
    if (conn_pending_left(conn) && conn_takes_requests(conn))
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
    bool writes = conn->state == CONN_WRITING || (conn->state == CONN_STREAMS && conn_out_left(conn));
    if (conn->state == CONN_HANDSHAKE)
        edge_count_handshake(conn->edge, HANDSHAKE_TIMEOUT);
    if (writes && conn_takes_slowly(conn))
        return;
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
    conn_refuse(conn, &err);
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
        conn_flush_streams(conn);
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
    if (conn->tls)
        conn_tls_close(conn);
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
