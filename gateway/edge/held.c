/* held: the life of an exchange, from its first byte until its handler has given it back. */
#include "edge/held.h"

#include <stdlib.h>

static void free_held(struct loop_deferred *node)
{
    struct held_exchange *held = container_of(node, struct held_exchange, deferred);
    arena_clear(&held->exchange.arena);
    edge_unref(held->edge);
    free(held);
}

struct held_exchange *held_new(struct edge *edge, struct conn *conn, const char *client)
{
    struct held_exchange *held = malloc(sizeof *held); /* calloc() has no quick lists */
    if (!held)
        return NULL;
    *held = (struct held_exchange){.edge = edge,
                                   .conn = conn,
                                   .deferred.free_fn = free_held,
                                   .exchange = {.client = client, .arena.budget = &edge->held}};
    edge->refs++;
    return held;
}

void held_release(struct held_exchange *held)
{
    loop_defer_free(held->edge->setup.loop, &held->deferred);
}

void held_log(const struct held_exchange *held, int status, size_t bytes_out)
{
    if (!held->edge->access_log)
        return;
    access_log_write(held->edge->access_log,
                     &(struct access_entry){.client = held->exchange.client,
                                            .message = &held->exchange.message,
                                            .status = status,
                                            .bytes_in = held->bytes_in,
                                            .bytes_out = bytes_out,
                                            .duration_us = loop_now_us() - held->exchange.received_us});
}

void held_orphan(struct held_exchange *held)
{
    held_log(held, gw_status_http(GW_E_CANCELLED), 0);
    held->conn = NULL;
    held->stream = NULL;
    if (held->exchange.gone)
        held->exchange.gone(&held->exchange);
}

void held_refuse(struct held_exchange *held, const struct gw_err *err, struct http_reply *reply)
{
    struct edge *edge = held->edge;
    *reply = (struct http_reply){.status = gw_status_http(err->status)};
    edge_count_error(edge, err->status);
    edge->setup.refuse(edge->setup.owner, &held->exchange, err, reply);
}

void held_judge_reply(struct http_reply *reply)
{
    if (!reply->body.failed)
        return;
    buf_clear(&reply->body);
    *reply = (struct http_reply){.status = gw_status_http(GW_E_NO_MEMORY)};
}
