/*
 * What a hostile replica may say on an HTTP/2 connection. The first byte says how many calls are out and
 * whether the peer has greeted; the rest are its bytes. Cut anywhere they mean the same, every call ends
 * exactly once, and a reply that is handed out is within its limit.
 *
 * Of several faults the first that was met is named, and which that is depends on the pieces: nghttp2 holds
 * a frame against its content-length when it has come as far as that, and tells us of it when it closes the
 * stream. So where a reply broke the contract, the other must have failed too, and that is all.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replica/rpc_h2_session.h"
#include "support/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CALLS_MAX = 3, MESSAGE_MAX = 1000 };

struct call {
    struct h2_stream stream;
    unsigned ended;
};

struct outcome {
    enum gw_status status[CALLS_MAX];
    struct buf said[CALLS_MAX]; /* the words, and the message */
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void on_ended(struct h2_stream *stream)
{
    ((struct call *)stream)->ended++;
}

/* All that it has to say is taken, and forgotten. */
static bool drain(struct h2_session *session, struct h2_outbox *outbox)
{
    bool alive = true;
    do {
        struct iovec *pieces;
        alive = h2_session_fill(session, outbox);
        if (!h2_outbox_pieces(outbox, &pieces))
            break;
        h2_outbox_clear(outbox);
    } while (alive);
    return alive;
}

static void call_judge(struct call *call, enum gw_status *status, struct buf *said)
{
    struct rpc_reply reply;
    require(call->ended == 1);
    h2_reply_judge(&call->stream.reply, &reply);
    require(reply.size <= MESSAGE_MAX && strlen(reply.message) < RPC_WORDS_BYTES);
    require(reply.size == 0 || reply.bytes);
    *status = reply.status;
    buf_printf(said, "%s %zu\n", reply.message, reply.size);
    if (reply.size)
        buf_append(said, reply.bytes, reply.size);
    h2_reply_clear(&call->stream.reply);
}

static void outcome_compare(const struct outcome *whole, const struct outcome *cut, unsigned n_calls)
{
    for (unsigned i = 0; i < n_calls; i++) {
        const struct buf *a = &whole->said[i], *b = &cut->said[i];
        if (whole->status[i] == GW_E_CONTRACT || cut->status[i] == GW_E_CONTRACT) {
            require(whole->status[i] != GW_OK && cut->status[i] != GW_OK);
            continue;
        }
        require(whole->status[i] == cut->status[i]);
        require(a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0);
    }
}

static void outcome_clear(struct outcome *outcome)
{
    for (unsigned i = 0; i < CALLS_MAX; i++)
        buf_clear(&outcome->said[i]);
}

/*
 * piece: so many bytes at a time. False: it ended by a count that depends on the pieces. Debian's nghttp2
 * counts the CONTINUATION frames of a header (CVE-2024-28182), and one that comes in many pieces for as many.
 */
static bool play(struct outcome *outcome, unsigned n_calls, bool greeted, const uint8_t *data, size_t size,
                 size_t piece, bool drained)
{
    static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    static struct h2_outbox outbox;
    struct call calls[CALLS_MAX] = {0};
    uint8_t *bytes;
    struct rpc_payload *payload = rpc_payload_new(2000, &bytes);
    struct h2_session *session = h2_session_new(H2_CALLS_MAX, on_ended);
    require(session && payload);
    memset(bytes, 'x', 2000);
    bool alive = !greeted || h2_session_feed(session, settings, sizeof settings);
    for (unsigned i = 0; i < n_calls; i++) {
        const struct h2_request request = {.method = "/x/y",
                                           .authority = "localhost",
                                           .payload = i ? payload : NULL,
                                           .timeout_us = 1000,
                                           .max_bytes = MESSAGE_MAX};
        require(h2_session_start(session, &calls[i].stream, &request));
    }
    rpc_payload_free(payload);
    alive = alive && drain(session, &outbox);
    for (size_t at = 0; alive && at < size; at += piece) {
        alive = h2_session_feed(session, data + at, size - at < piece ? size - at : piece);
        if (drained)
            alive = alive && drain(session, &outbox);
    }
    if (alive)
        (void)!drain(session, &outbox);
    bool depends = strstr(h2_session_why(session), "CONTINUATION") != NULL;
    h2_session_end(session, GW_E_NO_REPLICA, "the end");
    for (unsigned i = 0; i < n_calls; i++)
        call_judge(&calls[i], &outcome->status[i], &outcome->said[i]);
    h2_session_free(session);
    h2_outbox_clear(&outbox);
    return !depends;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned n_calls = 1 + data[0] % CALLS_MAX;
    bool greeted = data[0] & 0x80;
    struct outcome whole = {0}, cut = {0}, drained = {0};
    bool alike = play(&whole, n_calls, greeted, data + 1, size - 1, size, false);
    alike = play(&cut, n_calls, greeted, data + 1, size - 1, 1 + data[0] % 7, false) && alike;
    (void)!play(&drained, n_calls, greeted, data + 1, size - 1, 1 + data[0] % 31, true);
    if (alike)
        outcome_compare(&whole, &cut, n_calls);
    outcome_clear(&whole);
    outcome_clear(&cut);
    outcome_clear(&drained);
    return 0;
}
