/* rpc_h2_outbox: an array of pieces that is filled, sent, and begun anew. */
#include "replica/rpc_h2_outbox.h"

#include <string.h>

/* Fewer bytes are cheaper copied than sent as a piece of their own. */
enum { COPY_BYTES = 1024 };

bool h2_outbox_is_empty(const struct h2_outbox *outbox)
{
    return outbox->first == outbox->n;
}

bool h2_outbox_has_room(const struct h2_outbox *outbox, uint32_t frames)
{
    return outbox->n + 2 * frames <= OUTBOX_PIECES &&
           OUTBOX_BYTES - outbox->used >= (size_t)frames * OUTBOX_FRAME;
}

static void outbox_add(struct h2_outbox *outbox, const void *bytes, size_t length,
                       const struct rpc_payload *payload)
{
    outbox->pieces[outbox->n] = (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    outbox->lent[outbox->n++] = payload;
}

void h2_outbox_copy(struct h2_outbox *outbox, const void *bytes, size_t length)
{
    uint8_t *at = outbox->bytes + outbox->used;
    struct iovec *last = outbox->n > outbox->first ? &outbox->pieces[outbox->n - 1] : NULL;
    memcpy(at, bytes, length);
    outbox->used += length;
    if (last && (uint8_t *)last->iov_base + last->iov_len == at)
        last->iov_len += length;
    else
        outbox_add(outbox, at, length, NULL);
}

void h2_outbox_lend(struct h2_outbox *outbox, const void *bytes, size_t length,
                    const struct rpc_payload *payload)
{
    if (length <= COPY_BYTES) {
        h2_outbox_copy(outbox, bytes, length);
        return;
    }
    if (payload)
        rpc_payload_ref(payload);
    outbox_add(outbox, bytes, length, payload);
}

uint32_t h2_outbox_pieces(struct h2_outbox *outbox, struct iovec **pieces)
{
    *pieces = outbox->pieces + outbox->first;
    return outbox->n - outbox->first;
}

static void outbox_drop_first(struct h2_outbox *outbox)
{
    if (outbox->lent[outbox->first])
        rpc_payload_unref(outbox->lent[outbox->first]);
    outbox->first++;
}

void h2_outbox_sent(struct h2_outbox *outbox, size_t length)
{
    while (outbox->first < outbox->n && length >= outbox->pieces[outbox->first].iov_len) {
        length -= outbox->pieces[outbox->first].iov_len;
        outbox_drop_first(outbox);
    }
    if (outbox->first == outbox->n) {
        outbox->first = outbox->n = 0;
        outbox->used = 0;
        return;
    }
    struct iovec *piece = &outbox->pieces[outbox->first];
    piece->iov_base = (uint8_t *)piece->iov_base + length;
    piece->iov_len -= length;
}

void h2_outbox_clear(struct h2_outbox *outbox)
{
    while (outbox->first < outbox->n)
        outbox_drop_first(outbox);
    outbox->first = outbox->n = 0;
    outbox->used = 0;
}
