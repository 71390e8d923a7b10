/*
 * rpc: one unary call to one address. Hides the transport: its connections, threads, deadlines and
 * cancellation. Callbacks arrive on the loop of the rpc_client, never inside the function that caused
 * them. Nothing here knows models: payloads are bytes.
 */
#ifndef XEBEC_REPLICA_RPC_H
#define XEBEC_REPLICA_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/arena.h"
#include "support/err.h"
#include "support/loop.h"

struct resolver;
struct tls_context;
struct rpc_client;  /* one a shard: what its channels share */
struct rpc_channel; /* one address; connects by itself, reconnects with backoff */
struct rpc_payload;
struct rpc_call;

enum rpc_kind { RPC_NGHTTP2, RPC_GRPC_CORE }; /* what carries the calls; all that follows is true of both */

/* resolver: for channels to names; outlives the client. NULL: names may not be found. NULL: out of memory or threads. */
struct rpc_client *rpc_client_new(struct loop *loop, enum rpc_kind kind, struct resolver *resolver) GW_MUST_CHECK;
/*
 * Channels must be freed before, which cancels their calls. Callbacks still owed run on the
 * loop, in loop_free() at the latest, and the last one takes the memory with it: so the order of ending is
 * channels, client, loop.
 */
void rpc_client_free(struct rpc_client *client);

struct rpc_channel_options {
    uint32_t connect_timeout_ms;     /* one attempt; at least 100 */
    uint32_t backoff_min_ms, backoff_max_ms; /* exponential with jitter, between attempts; at least 100 */
    size_t max_message_bytes;        /* of a reply; beyond: GW_E_CONTRACT */
    struct tls_context *tls;         /* a client's, referred to; NULL: plain */
    const char *tls_name;            /* what the peer's certificate must be for, copied; NULL: the host of the address */
};

/* address: "host:port", "[::1]:port" or "unix:/path". Does not connect yet. NULL: out of memory. */
struct rpc_channel *rpc_channel_new(struct rpc_client *client, const char *address,
                                    const struct rpc_channel_options *options) GW_MUST_CHECK;
/* Its calls in flight end with GW_E_CANCELLED, and their callbacks run, later; state callbacks stop at once. */
void rpc_channel_free(struct rpc_channel *channel);

enum rpc_state { RPC_IDLE, RPC_CONNECTING, RPC_READY, RPC_DOWN };
/*
 * Starts connecting, and calls `changed` on the loop at every change of state until rpc_channel_free(). Once a
 * channel. States that pass faster than the loop turns are left out; but RPC_READY twice in a row means
 * another connection. An idle channel reconnects by itself: watching is wanting.
 */
void rpc_channel_watch(struct rpc_channel *channel,
                       void (*changed)(void *owner, enum rpc_state state), void *owner);

/* Why it is RPC_DOWN, for a person; "" where the transport does not tell (gRPC core). Until the state changes. */
const char *rpc_channel_why(const struct rpc_channel *channel);

struct rpc_reply {
    enum gw_status status;  /* GW_OK; GW_E_DEADLINE; GW_E_CANCELLED: by us; GW_E_NO_REPLICA: could not be
                               reached, died, or reset the stream, retry elsewhere; GW_E_INVALID, GW_E_OVERLOAD,
                               GW_E_MODEL, GW_E_NOT_IMPLEMENTED (no such method), GW_E_CONTRACT: the
                               replica said so, in `message`; GW_E_NO_MEMORY */
    const char *message;    /* never NULL; valid until the callback returns */
    const uint8_t *bytes;   /* the reply's payload; valid until the callback returns, */
    size_t size;
    struct arena *holder;   /* unless this, which they lie in, is taken over: copied, and then zeroed. NULL without a payload */
    bool unsent;            /* it never left: there was no connection */
    uint64_t sent_us, done_us; /* CLOCK_MONOTONIC: handed to the transport; its end was seen */
};

/* What a call sends: written once, in place, and shared by calls that try it again. */
struct rpc_payload *rpc_payload_new(size_t size, uint8_t **bytes) GW_MUST_CHECK; /* NULL: out of memory */
void rpc_payload_free(struct rpc_payload *payload); /* calls in flight keep what they need; NULL is harmless */

/*
 * Sends. payload: NULL for no bytes. method: "/xebec.worker.v1.Worker/Predict", a constant. NULL: out of memory,
 * and `done` will not run. Else it runs exactly once, later; the call is gone after it.
 * Fails fast: a channel that is not connected ends the call with GW_E_NO_REPLICA. Without a reply by deadline_us
 * (CLOCK_MONOTONIC; kept to a few milliseconds) it ends with GW_E_DEADLINE, and is cancelled at the replica.
 */
struct rpc_call *rpc_call_start(struct rpc_channel *channel, const struct rpc_payload *payload, const char *method,
                                uint64_t deadline_us, void (*done)(void *owner, const struct rpc_reply *reply),
                                void *owner) GW_MUST_CHECK;
/* Between start and done. `done` still runs, soon, with GW_E_CANCELLED unless the reply was already on its way. */
void rpc_call_cancel(struct rpc_call *call);

#endif
