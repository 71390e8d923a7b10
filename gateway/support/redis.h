/*
 * redis: one client of one Redis server, on one loop.
 *
 *   redis_send(command) --.                         one connection, in order
 *   redis_send(command) --+-- end of the turn --> one write --> server
 *                                                               |
 *   done(reply), exactly once each  <-- resp_next() <-- read <--'
 *
 * A breaker (support/breaker.h) stands before it: closed while the connection is there and answers; open while it is
 * not, or when so many commands in a row were not answered (those under way together count as one), and then
 * redis_send() costs a branch; half open while a connection is being made: resolve, connect, AUTH, SELECT, CLIENT SETNAME,
 * PING. Each change of mind is a metric, and, of all clients that share a voice, one log line (redis_down with the cause,
 * redis_up).
 * A reply is parsed in bounded memory; one that is too large, or no RESP, or that nobody asked for, closes the connection.
 *
 * Everything but redis_status() belongs to the loop's thread.
 */
#ifndef XEBEC_SUPPORT_REDIS_H
#define XEBEC_SUPPORT_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/breaker.h"
#include "support/err.h"
#include "support/loop.h"
#include "support/metrics.h"
#include "support/redis_voice.h"
#include "support/resolve.h"

struct redis;

struct redis_server {
    const char *unix_path;            /* NULL: TCP */
    const char *host, *port;          /* numeric, or a name that is resolved off the loop, anew for each connection */
    const char *user, *password;      /* NULL: none; a user needs a password */
    uint32_t database;
};

struct redis_setup {
    struct loop *loop;
    struct resolver *resolver;         /* outlives the client; NULL where hosts are numeric */
    struct metrics *metrics;
    const struct redis_server *server; /* borrowed for the client's life, as are the texts */
    const char *use;                   /* what for: a label of its metrics and log lines, "cache" */
    const char *name;                  /* for CLIENT SETNAME */
    struct redis_voice *voice;         /* outlives the client; shared with others: redis_voice.h */
    uint64_t connect_timeout_us;       /* until the connection is ready, everything counted */
    uint64_t command_timeout_us;
    struct breaker_limits breaker;
    uint32_t commands_max;             /* unanswered at once; rounded up to a power of two */
    size_t unsent_bytes_max;           /* commands that the socket did not take yet */
    size_t reply_bytes_max;            /* of one reply, parsed or not yet */
};
struct redis *redis_new(const struct redis_setup *setup) GW_MUST_CHECK; /* loop's thread, or before it runs. NULL: out of memory */
/* Commands that are unanswered get REDIS_LOST from inside. NULL is harmless. */
void redis_free(struct redis *redis);

enum redis_kind {
    REDIS_TEXT,    /* a bulk string */
    REDIS_LINE,    /* a simple string: "OK" */
    REDIS_ERROR,   /* "OOM command not allowed ..." */
    REDIS_INTEGER,
    REDIS_NIL,
    REDIS_ARRAY,
    REDIS_TIMEOUT, /* no reply within the command timeout; if it comes later, it is dropped */
    REDIS_LOST,    /* the connection ended first; whether the command was run is not known */
};
struct redis_reply {
    enum redis_kind kind;
    const char *bytes;                  /* TEXT, LINE, ERROR: length bytes, terminated by one NUL more; else "" */
    size_t length;
    int64_t integer;                    /* INTEGER */
    struct redis_reply *const *elements; /* ARRAY: n_elements */
    size_t n_elements;
};
/* The reply and all in it are gone after the call. It may send and cancel, but not free the client. */
typedef void redis_done(void *owner, const struct redis_reply *reply);

/* One word of a command. */
struct redis_word {
    const void *bytes;
    size_t length;
};

/* Whether commands are taken: one branch. */
bool redis_is_up(const struct redis *redis);
/*
 * Sends a command: its name and arguments as they are, any bytes; copied. done runs once, later, on the loop, never
 * inside. Returns a ticket for redis_cancel(), or 0 when the command was refused: the breaker is not closed, too much is
 * in flight, or there is no memory.
 */
uint64_t redis_send(struct redis *redis, const struct redis_word *words, uint32_t n_words, redis_done *done,
                    void *owner) GW_MUST_CHECK;
/* The command may run all the same; done will not. Between redis_send() and done, once. */
void redis_cancel(struct redis *redis, uint64_t ticket);

/* A snapshot, for any thread. */
struct redis_status {
    enum breaker_state state;
    uint64_t since_us;  /* CLOCK_MONOTONIC; when it came up, or when it went down */
    char why[160];      /* what keeps it from being closed; "" when it is */
};
void redis_status(struct redis *redis, struct redis_status *status);

#endif
