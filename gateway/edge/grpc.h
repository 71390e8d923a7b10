/*
 * grpc: gRPC over HTTP/2, for whoever serves a method: an exchange becomes a call with one message, and what that ends with
 * becomes a message and a status. Knows paths and frames; what is in a message is its method's to know.
 *
 *   grpc              content type, deadline, compression, statuses; the table of methods
 *   oip_grpc          the Open Inference Protocol: questions about models;  oip_grpc_infer: ModelInfer
 *   grpc_health       grpc.health.v1;  grpc_reflection: grpc.reflection.v1 and v1alpha
 * Source: grpc/grpc, doc/PROTOCOL-HTTP2.md and doc/compression.md.
 */
#ifndef XEBEC_EDGE_GRPC_H
#define XEBEC_EDGE_GRPC_H

#include "edge/http.h"
#include "infer/request.h"

enum { GRPC_PREFIX_BYTES = 5 }; /* before each message: whether it is compressed, and its length */

struct grpc_call {
    struct infer *infer;
    struct exchange *exchange; /* its message.body is the call's message, bare, and padded as any body */
    uint64_t deadline_us;      /* grpc-timeout, as a time; UINT64_MAX: none */
};

/* Whether its content type says so. */
bool grpc_is_meant(const struct http_message *message);
/* Whether a call can be answered before its client has said all: when its head is refused, and, of a method that streams, when its first message is there. */
bool grpc_is_enough(const struct http_message *message);
/* Replies, now or later. */
void grpc_handle(struct infer *infer, struct exchange *exchange);

/* --- for methods, which reply once --- */

/* A message to be written: the room of its prefix. */
void grpc_begin(struct buf *message);
/* Takes the message over; one that could not be written is RESOURCE_EXHAUSTED. */
void grpc_reply(struct exchange *exchange, struct buf *message);
void grpc_reply_error(struct exchange *exchange, enum gw_status status, const char *what);

/* A dialect's seal(): the body, which begins with the room of its prefix, and trailers; or the error in the header alone. */
void grpc_seal(struct http_reply *reply, enum gw_status status, const char *what, struct arena *arena);

#endif
