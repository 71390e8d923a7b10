/*
 * rpc: the front of the transports, and what they share: payloads, and the meaning of gRPC's codes.
 */
#include "replica/rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replica/rpc_transport.h"

struct rpc_client *rpc_client_new(struct loop *loop, enum rpc_kind kind, struct resolver *resolver)
{
    const struct rpc_transport *transport = kind == RPC_GRPC_CORE ? &rpc_core : &rpc_h2;
    return transport->client_new(loop, resolver);
}

void rpc_client_free(struct rpc_client *client)
{
    if (client)
        client->transport->client_free(client);
}

struct rpc_channel *rpc_channel_new(struct rpc_client *client, const char *address,
                                    const struct rpc_channel_options *options)
{
    return client->transport->channel_new(client, address, options);
}

void rpc_channel_free(struct rpc_channel *channel)
{
    if (channel)
        channel->transport->channel_free(channel);
}

void rpc_channel_watch(struct rpc_channel *channel, void (*changed)(void *owner, enum rpc_state state),
                       void *owner)
{
    channel->transport->channel_watch(channel, changed, owner);
}

const char *rpc_channel_why(const struct rpc_channel *channel)
{
    return channel->transport->channel_why(channel);
}

/* "host:port", "[v6]:port"; a unix socket is on this host. */
void rpc_peer_name(const char *address, const struct rpc_channel_options *options, char name[RPC_NAME_BYTES])
{
    const char *colon = strrchr(address, ':');
    bool bracketed = address[0] == '[';
    if (options->tls_name)
        snprintf(name, RPC_NAME_BYTES, "%s", options->tls_name);
    else if (strncmp(address, "unix:", 5) == 0 || !colon)
        snprintf(name, RPC_NAME_BYTES, "localhost");
    else
        snprintf(name, RPC_NAME_BYTES, "%.*s", (int)(colon - address) - 2 * bracketed, address + bracketed);
}

struct rpc_call *rpc_call_start(struct rpc_channel *channel, const struct rpc_payload *payload,
                                const char *method, uint64_t deadline_us,
                                void (*done)(void *owner, const struct rpc_reply *reply), void *owner)
{
    return channel->transport->call_start(channel, payload, method, deadline_us, done, owner);
}

void rpc_call_cancel(struct rpc_call *call)
{
    call->transport->call_cancel(call);
}

/* --- payloads --- */

struct rpc_payload *rpc_payload_new(size_t size, uint8_t **bytes)
{
    struct rpc_payload *payload = malloc(sizeof *payload + size);
    if (!payload)
        return NULL;
    atomic_init(&payload->refs, 1);
    payload->size = size;
    payload->prefix[0] = 0;
    for (int i = 1; i < RPC_PREFIX_BYTES; i++)
        payload->prefix[i] = (uint8_t)(size >> 8 * (RPC_PREFIX_BYTES - 1 - i));
    *bytes = payload->bytes;
    return payload;
}

void rpc_payload_free(struct rpc_payload *payload)
{
    if (payload)
        rpc_payload_unref(payload);
}

/* Counting is no change to a payload; it was made by malloc(), so it may be written. */
static struct rpc_payload *counted(const struct rpc_payload *payload)
{
    return (struct rpc_payload *)(uintptr_t)payload;
}

void rpc_payload_ref(const struct rpc_payload *payload)
{
    atomic_fetch_add_explicit(&counted(payload)->refs, 1, memory_order_relaxed);
}

void rpc_payload_unref(const struct rpc_payload *payload)
{
    if (atomic_fetch_sub_explicit(&counted(payload)->refs, 1, memory_order_acq_rel) == 1)
        free(counted(payload));
}

/* --- codes --- */

/* The codes that gRPC defines: https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
enum {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_UNAVAILABLE = 14,
};

enum gw_status rpc_status_of(int code, const char *words)
{
    switch (code) {
    case GRPC_OK:
        return GW_OK;
    case GRPC_CANCELLED: /* not by us: another replica may have an answer */
    case GRPC_UNAVAILABLE:
        return GW_E_NO_REPLICA;
    case GRPC_DEADLINE_EXCEEDED:
        return GW_E_DEADLINE;
    case GRPC_INVALID_ARGUMENT:
    case GRPC_OUT_OF_RANGE:
        return GW_E_INVALID;
    case GRPC_RESOURCE_EXHAUSTED: /* a message over a limit will be over it the next time too */
        return strstr(words, "message larger than max") ? GW_E_CONTRACT : GW_E_OVERLOAD;
    case GRPC_UNIMPLEMENTED:
        return GW_E_NOT_IMPLEMENTED;
    case GRPC_UNKNOWN:
        return GW_E_MODEL;
    default:
        return GW_E_CONTRACT;
    }
}
