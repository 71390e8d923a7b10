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
    struct rpc_client *(*client_new)(struct loop *loop, struct resolver *resolver);
    void (*client_free)(struct rpc_client *client); /* not NULL */
    struct rpc_channel *(*channel_new)(struct rpc_client *client, const char *address,
                                       const struct rpc_channel_options *options);
    void (*channel_free)(struct rpc_channel *channel); /* not NULL */
    void (*channel_watch)(struct rpc_channel *channel, void (*changed)(void *owner, enum rpc_state state),
                          void *owner);
    const char *(*channel_why)(const struct rpc_channel *channel);
    struct rpc_call *(*call_start)(struct rpc_channel *channel, const struct rpc_payload *payload, const char *method,
                                   uint64_t deadline_us, void (*done)(void *owner, const struct rpc_reply *reply),
                                   void *owner);
    void (*call_cancel)(struct rpc_call *call);
};

struct rpc_client { const struct rpc_transport *transport; };
struct rpc_channel { const struct rpc_transport *transport; };
struct rpc_call { const struct rpc_transport *transport; };

extern const struct rpc_transport rpc_core; /* gRPC core, with threads of its own */
extern const struct rpc_transport rpc_h2;   /* nghttp2, inside the loop */

/* Of options and address: the name that the peer's certificate must be for. */
enum { RPC_NAME_BYTES = 256 };
void rpc_peer_name(const char *address, const struct rpc_channel_options *options, char name[RPC_NAME_BYTES]);

enum { RPC_WORDS_BYTES = 512 }; /* of a replica's words, we keep so much */

/*
 * One allocation; its last reference frees it, whichever thread drops it. The bytes follow gRPC's prefix of a message
 * without a gap, so that a transport that frames for itself sends both in one piece.
 */
enum { RPC_PREFIX_BYTES = 5 }; /* not compressed: 0; then the size, in network order */
struct rpc_payload {
    size_t size; /* of bytes */
    _Atomic uint32_t refs;
    uint8_t before_prefix[7]; /* so that bytes are aligned for tensors */
    uint8_t prefix[RPC_PREFIX_BYTES];
    uint8_t bytes[];
};
_Static_assert(offsetof(struct rpc_payload, bytes) % 8 == 0, "bytes are aligned as malloc's");
void rpc_payload_ref(const struct rpc_payload *payload);
void rpc_payload_unref(const struct rpc_payload *payload);

/* What a gRPC status means to us when the replica said it, with such words. GW_OK for 0. */
enum gw_status rpc_status_of(int code, const char *words);

#endif
