/*
 * rpc_h2_outbox: bytes on their way to one peer, in the order they were put in: small ones copied, payloads where they
 * lie. So all that a turn of the loop wants to send leaves with one system call. Bounded: who puts in asks for room
 * first. Internal to rpc_h2*.c.
 */
#ifndef XEBEC_REPLICA_RPC_H2_OUTBOX_H
#define XEBEC_REPLICA_RPC_H2_OUTBOX_H

#include <stdbool.h>
#include <sys/uio.h>

#include "replica/rpc_transport.h"

enum {
    OUTBOX_BYTES = 64 << 10,
    OUTBOX_PIECES = 256,       /* 128 DATA frames of 16 KiB and their headers: 2 MiB at once */
    OUTBOX_FRAME = 9 + 16384,  /* the largest frame of ours */
};

/* Zeroed is empty. */
struct h2_outbox {
    struct iovec pieces[OUTBOX_PIECES];
    const struct rpc_payload *lent[OUTBOX_PIECES]; /* NULL: copied, or of nobody */
    uint32_t first, n; /* pieces[first .. n) are still to be sent */
    size_t used;       /* of bytes */
    uint8_t bytes[OUTBOX_BYTES];
};

bool h2_outbox_is_empty(const struct h2_outbox *outbox);
bool h2_outbox_has_room(const struct h2_outbox *outbox, uint32_t frames); /* for so many more, however they are put in */
void h2_outbox_copy(struct h2_outbox *outbox, const void *bytes, size_t length);
/* bytes lie in payload, which is kept alive until they are sent; NULL: they are constants. */
void h2_outbox_lend(struct h2_outbox *outbox, const void *bytes, size_t length, const struct rpc_payload *payload);

/* What is to be sent next; takes out what was. */
uint32_t h2_outbox_pieces(struct h2_outbox *outbox, struct iovec **pieces);
void h2_outbox_sent(struct h2_outbox *outbox, size_t length);
void h2_outbox_clear(struct h2_outbox *outbox);

#endif
