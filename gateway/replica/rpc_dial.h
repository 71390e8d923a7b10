/*
 * rpc_dial: from an address in words to a connected socket, without ever waiting: a unix path, a numeric address, or a
 * name, whose addresses are tried one after the other until one connects. Belongs to its loop. Internal to rpc_h2*.c.
 */
#ifndef XEBEC_REPLICA_RPC_DIAL_H
#define XEBEC_REPLICA_RPC_DIAL_H

#include <event2/event_struct.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "support/loop.h"
#include "support/resolve.h"

enum { DIAL_ADDRESSES_MAX = 16 }; /* of a name that has more, the first are tried */

struct dial_address {
    socklen_t length;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } name;
};

/* Embedded; filled by rpc_dial_init(). One attempt at a time. */
struct rpc_dial {
    struct loop *loop;
    struct resolver *resolver;
    char *host; /* a name that must be looked up; NULL: addresses are known. The port lies behind it */
    const char *port;
    struct dial_address addresses[DIAL_ADDRESSES_MAX];
    uint32_t n, at;
    struct resolve_question *question; /* while a name is being looked up */
    uint64_t timeout_us;
    struct loop_timer timer;
    struct event writable;
    int fd; /* -1: none is connecting */
    char why[160]; /* when done() got -1: for a person */
    /*
     * A connected socket, non-blocking, with TCP_NODELAY, the callee's from now on; or -1. Runs on the loop, once an
     * attempt; with -1 also inside rpc_dial_start(). The socket fails when what was sent is not acknowledged for 3 s
     * (TCP_USER_TIMEOUT): kernels do that however busy a process is, so the peer's host is gone, or the way there.
     */
    void (*done)(struct rpc_dial *dial, int fd);
};

/*
 * address: "host:port", "[::1]:port" or "unix:/path". resolver: NULL: names are not found. GW_E_INVALID: it is none of
 * those; GW_E_NO_MEMORY. On error there is nothing to clear.
 */
GW_MUST_CHECK enum gw_status rpc_dial_init(struct rpc_dial *dial, struct loop *loop, struct resolver *resolver,
                                           const char *address, uint64_t timeout_us);
void rpc_dial_clear(struct rpc_dial *dial); /* cancels; done() will not run */

/* Each address has timeout_us. No attempt is under way. */
void rpc_dial_start(struct rpc_dial *dial);
void rpc_dial_cancel(struct rpc_dial *dial); /* done() will not run; harmless when there is no attempt */

#endif
