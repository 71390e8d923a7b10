/*
 * resp: RESP2 without sockets: commands -> bytes, bytes -> replies in bounded memory. The home of hiredis, of which it takes
 * the parser (redisReader): hiredis's own asynchronous client ends the process on a reply that nobody asked for, and lets a
 * server decide how much memory it takes.
 *   Source: RESP2, https://redis.io/docs/reference/protocol-spec/
 */
#ifndef XEBEC_SUPPORT_RESP_H
#define XEBEC_SUPPORT_RESP_H

#include "support/arena.h"
#include "support/buf.h"
#include "support/redis.h"

/* Writes one command. False: no memory, and nothing was written. */
bool resp_put(struct buf *out, const struct redis_word *words, uint32_t n_words) GW_MUST_CHECK;

/* What one connection sent. Zeroed: closed. */
struct resp_reader {
    struct redisReader *parser; /* NULL: closed */
    struct arena arena;         /* what is being parsed */
    size_t reply_bytes_max;     /* of one reply, parsed or not yet */
    bool handed_out;            /* what is in the arena */
};
bool resp_open(struct resp_reader *reader, size_t reply_bytes_max) GW_MUST_CHECK; /* a closed one. False: no memory */
/* The reply that was handed out last stays readable; from inside its handling, too. */
void resp_close(struct resp_reader *reader);
void resp_clear(struct resp_reader *reader); /* closes, and frees what is left */
bool resp_is_open(const struct resp_reader *reader);

enum resp_next { RESP_REPLY, RESP_MORE, RESP_BROKEN };
enum { RESP_WHY_ROOM = 160 };
bool resp_feed(struct resp_reader *reader, const char *bytes, size_t length) GW_MUST_CHECK; /* copied. False: no memory */
/*
 * Of an open one. RESP_REPLY: *reply is whole, and there until the next call; RESP_MORE: feed it; RESP_BROKEN: this is no RESP, or a
 * reply is too large: `why` says which, and no more is to be had.
 */
enum resp_next resp_next(struct resp_reader *reader, const struct redis_reply **reply, char why[RESP_WHY_ROOM]);

#endif
