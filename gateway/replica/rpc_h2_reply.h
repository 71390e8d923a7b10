/*
 * rpc_h2_reply: what a peer says in answer to one call over HTTP/2, gathered and judged. Pure: bytes in, a verdict
 * out; no sockets, no clock. Internal to rpc_h2*.c.
 *
 * A reply is headers, one message behind a prefix of five bytes, and trailers with grpc-status; or trailers alone.
 * Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
#ifndef XEBEC_REPLICA_RPC_H2_REPLY_H
#define XEBEC_REPLICA_RPC_H2_REPLY_H

#include <stdbool.h>

#include "replica/rpc_transport.h"
#include "support/arena.h"

enum { H2_REPLY_HEADER_BYTES = 16384 }; /* names and values of all header blocks, as HPACK counts them; beyond: refused */

struct h2_reply {
    size_t max_bytes;        /* of the message */
    uint64_t header_bytes;   /* so far */
    int http_status;         /* 0: not seen yet, as the next */
    int grpc_status;         /* -1: not seen yet */
    bool is_grpc;            /* content-type says so */
    uint8_t prefix[RPC_PREFIX_BYTES];
    uint8_t prefix_bytes;    /* of them, so far */
    struct arena arena;      /* holds the message */
    uint8_t *bytes;          /* it */
    size_t size, expected, room;
    enum gw_status trouble;  /* GW_OK, or why nothing more of it is wanted */
    char words[RPC_WORDS_BYTES]; /* grpc-message, or about the trouble */
};

void h2_reply_init(struct h2_reply *reply, size_t max_bytes);
void h2_reply_clear(struct h2_reply *reply); /* frees the message */

/*
 * False: nothing more of it is wanted, reply->trouble says why (GW_E_CONTRACT, GW_E_NO_MEMORY), and h2_reply_judge()
 * will say so.
 */
GW_MUST_CHECK bool h2_reply_header(struct h2_reply *reply, const uint8_t *name, size_t name_length,
                                   const uint8_t *value, size_t value_length);
GW_MUST_CHECK bool h2_reply_data(struct h2_reply *reply, const uint8_t *bytes, size_t length);
/*
 * Where the next bytes of the message belong: who receives them there and hands them in from there saves a copy. At most
 * *room bytes, and `coming` of them are known to come. NULL: something else comes next, or there is no memory, of which
 * handing them in tells.
 */
uint8_t *h2_reply_room(struct h2_reply *reply, size_t coming, size_t *room);

/* It ends early, for a reason of ours or the transport's; the first reason counts. words: cut to fit. */
void h2_reply_fail(struct h2_reply *reply, enum gw_status status, const char *words);

/* The stream has ended. Fills all of `out` but the times; it borrows words and bytes until h2_reply_clear(). */
void h2_reply_judge(struct h2_reply *reply, struct rpc_reply *out);

#endif
