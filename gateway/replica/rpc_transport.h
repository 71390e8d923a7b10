/*
 * rpc_transport: what stands behind rpc.h. Internal to rpc*.c.
 *
 * A transport's own client, channel and call begin with these structs, so that rpc.c finds the way back to it. What
 * each function promises is written in rpc.h, once.
 */
#ifndef XEBEC_REPLICA_RPC_TRANSPORT_H
#define XEBEC_REPLICA_RPC_TRANSPORT_H

#include <stdatomic.h>

#include "replica/rpc.h"

struct rpc_transport {
    struct rpc_client *(*client_new)(struct loop *loop);
    void (*client_free)(struct rpc_client *client); /* not NULL */
    struct rpc_channel *(*channel_new)(struct rpc_client *client, const char *address,
                                       const struct rpc_channel_options *options);
    void (*channel_free)(struct rpc_channel *channel); /* not NULL */
    void (*channel_watch)(struct rpc_channel *channel, void (*changed)(void *owner, enum rpc_state state),
                          void *owner);
    struct rpc_call *(*call_start)(struct rpc_channel *channel, const struct rpc_payload *payload, const char *method,
                                   uint64_t deadline_us, void (*done)(void *owner, const struct rpc_reply *reply),
                                   void *owner);
    void (*call_cancel)(struct rpc_call *call);
};

struct rpc_client { const struct rpc_transport *transport; };
struct rpc_channel { const struct rpc_transport *transport; };
struct rpc_call { const struct rpc_transport *transport; };

extern const struct rpc_transport rpc_core; /* gRPC core */

enum { RPC_WORDS_BYTES = 512 }; /* of a replica's words, we keep so much */

/* One allocation; its last reference frees it, whichever thread drops it. */
struct rpc_payload {
    _Atomic uint32_t refs;
    size_t size; /* of bytes */
    uint8_t bytes[];
};
void rpc_payload_ref(const struct rpc_payload *payload);
void rpc_payload_unref(const struct rpc_payload *payload);

/* What a gRPC status means to us when the replica said it, with such words. GW_OK for 0. */
enum gw_status rpc_status_of(int code, const char *words);

#endif
