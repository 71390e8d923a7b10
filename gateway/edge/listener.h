/*
 * listener: binds, accepts, counts connections, and stops accepting. One an address and shard.
 * struct edge is what every connection of a listener shares.
 */
#ifndef XEBEC_EDGE_LISTENER_H
#define XEBEC_EDGE_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "edge/http.h"
#include "support/loop.h"
#include "support/metrics.h"
#include "support/tls_context.h"

struct listener;

struct edge_setup {
    struct loop *loop;
    struct metrics *metrics;
    const char *name;                       /* "clients", "admin": the label of its metrics */
    const struct config_address *address;
    bool join; /* another listener of this process has the address: share it. Else it must be free */
    const struct config_limits *limits;     /* connections and held_bytes: this listener's share, already divided; copied */
    const struct config_timeouts *timeouts; /* copied */
    struct tls_context *tls;                /* whose connections are all TLS; NULL: none is */
    int access_log_fd;                      /* -1: no access log */
    /*
     * HTTP/2 alone; NULL: never. Whether a request may be handled now, with no more of its body than this: asked when its
     * head is there, and again as its body grows.
     */
    bool (*is_enough)(const struct http_message *message);
    /* Every complete request. Must end in exchange_reply() or exchange_abandon(), now or later. */
    void (*handle)(void *owner, struct exchange *exchange);
    /* A request that HTTP itself refused (bad framing, too large, too slow): words for err in the right dialect. Of its message there may be nothing yet: a path of NULL. */
    void (*refuse)(void *owner, struct exchange *exchange, const struct gw_err *err, struct http_reply *reply);
    void *owner;
};

/*
 * Binds with SO_REUSEPORT (TCP) and listens; borrowed pointers must outlive it. NULL with err filled:
 * "cannot listen on 127.0.0.1:8080: address already in use". A unix path that nobody answers on is replaced.
 */
struct listener *listener_new(const struct edge_setup *setup, struct gw_err *err) GW_MUST_CHECK;
/* Port 0 in the configuration: the one the system chose. */
uint16_t listener_port(const struct listener *listener);
/* Others from now on: for messages not yet begun, and waits not yet started. The loop's thread. */
void listener_set_limits(struct listener *listener, const struct config_limits *limits,
                         const struct config_timeouts *timeouts);
/* What connections go by that are made from now on; NULL: no TLS. Those that are there keep theirs. The loop's thread. */
void listener_set_tls(struct listener *listener, struct tls_context *tls);
/* Stops accepting; idle connections close, busy ones after their reply ("Connection: close"). */
void listener_drain(struct listener *listener);
uint32_t listener_connections(const struct listener *listener);
/* Closes whatever is left. Exchanges that handlers still hold are told `gone` first. */
void listener_free(struct listener *listener);

#endif
