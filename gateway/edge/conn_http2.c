/*
 * conn_http2: what http2 tells of its streams, as exchanges.
 *
 * An exchange whose client has cancelled it is still work until its handler gives it back. It counts among
 * those that a connection may have at a time, so a client that cancels what it asks for cannot have more done
 * than one that waits.
 */
#include "edge/conn_http2.h"

#include <stdlib.h>

#include "edge/http2.h"

struct conn_http2 {
    struct edge *edge;
    struct conn *conn;
    const char *client;
    void (*wake)(struct conn *conn);
    struct http2 *http2; /* NULL: the connection is no more */
    uint64_t fed_us;     /* when the latest bytes were read */
    uint32_t n_held;     /* exchanges not yet given back; each keeps this alive */
};

static http2_event_fn on_event;

struct conn_http2 *conn_http2_new(struct edge *edge, struct conn *conn, const char *client,
                                  void (*wake)(struct conn *conn))
{
    struct conn_http2 *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    *self = (struct conn_http2){.edge = edge, .conn = conn, .client = client, .wake = wake};
    self->http2 = http2_new(&edge->http2_limits, on_event, self, loop_now_us());
    if (self->http2)
        return self;
    free(self);
    return NULL;
}

void conn_http2_close(struct conn_http2 *self)
{
    if (http2_was_flooded(self->http2))
        edge_count_error(self->edge, GW_E_OVERLOAD);
    http2_end(self->http2);
    http2_free(self->http2);
    self->http2 = NULL;
    if (!self->n_held)
        free(self);
}

static void let_go(struct held_exchange *held)
{
    struct conn_http2 *self = held->http2;
    held_release(held);
    if (--self->n_held == 0 && !self->http2)
        free(self);
}

/* --- bytes --- */

void conn_http2_feed(struct conn_http2 *self, const char *bytes, size_t length)
{
    self->fed_us = loop_now_us();
    http2_feed(self->http2, bytes, length, self->fed_us);
}

char *conn_http2_body_room(struct conn_http2 *self, size_t *room)
{
    return http2_body_room(self->http2, room);
}

size_t conn_http2_read_ahead(const struct conn_http2 *self)
{
    return http2_read_ahead(self->http2);
}

bool conn_http2_fill(struct conn_http2 *self, struct buf *out, size_t room)
{
    return http2_fill(self->http2, out, room, loop_now_us());
}

uint64_t conn_http2_deadline_us(const struct conn_http2 *self)
{
    return http2_deadline_us(self->http2);
}

void conn_http2_expire(struct conn_http2 *self)
{
    http2_expire(self->http2, loop_now_us());
}

void conn_http2_drain(struct conn_http2 *self)
{
    http2_drain(self->http2, loop_now_us());
}

/* --- requests --- */

/* Without memory, or with too many under way, the stream is refused. */
static void begin(struct conn_http2 *self, struct http2_stream *stream)
{
    struct held_exchange *held;
    if (self->n_held >= self->edge->http2_limits.streams)
        return;
    held = held_new(self->edge, self->conn, self->client);
    if (!held)
        return;
    held->http2 = self;
    held->stream = stream;
    held->exchange.received_us = self->fed_us;
    self->n_held++;
    http2_accept(stream, &held->exchange.message, &held->exchange.arena, held);
}

static void refuse(struct held_exchange *held, const struct gw_err *err)
{
    struct http_reply reply;
    held_refuse(held, err, &reply);
    exchange_reply(&held->exchange, &reply);
}

/* Before the handler has seen it, there is nobody to be told. */
static void gone(struct held_exchange *held)
{
    if (held->handled)
        held_orphan(held);
    else
        let_go(held);
}

static void on_event(void *owner, struct http2_stream *stream, enum http2_event event,
                     const struct gw_err *err)
{
    struct conn_http2 *self = owner;
    struct held_exchange *held = http2_holder(stream);
    if (held)
        held->bytes_in = http2_bytes_in(stream);
    switch (event) {
    case HTTP2_BEGIN:
        begin(self, stream);
        break;
    case HTTP2_PART:
        if (self->edge->setup.is_enough && self->edge->setup.is_enough(&held->exchange.message))
            http2_suffice(stream);
        break;
    case HTTP2_MESSAGE:
        held->handled = true;
        self->edge->setup.handle(self->edge->setup.owner, &held->exchange);
        break;
    case HTTP2_REFUSED:
        refuse(held, err);
        break;
    case HTTP2_GONE:
        gone(held);
        break;
    }
}

/* --- replies --- */

void conn_http2_reply(struct held_exchange *held, struct http_reply *reply)
{
    struct conn_http2 *self = held->http2;
    if (held->stream) {
        held_judge_reply(reply);
        int status = reply->status;
        size_t bytes_out = http2_reply(held->stream, reply, edge_date(self->edge), loop_now_us());
        held_log(held, bytes_out ? status : 0, bytes_out);
        self->wake(self->conn);
    }
    let_go(held);
}

void conn_http2_abandon(struct held_exchange *held)
{
    struct conn_http2 *self = held->http2;
    if (held->stream) {
        held_log(held, 0, 0);
        http2_abandon(held->stream);
        self->wake(self->conn);
    }
    let_go(held);
}
