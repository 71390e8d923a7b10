/*
 * request: READ FIRST. One client's question, from its bytes to its answer, in order.
 *
 *   request_start()                                            on the shard of the connection
 *     DECODING    dialect->decode(): body -> tensors in the exchange's arena, checked against the signature
 *     ROUTING     route: which version
 *     CACHE_WAIT  every row: answered from memory, joined to an identical row in flight, or missing;
 *                 stays here while rows wait for others' answers
 *     AWAY        missing rows are at the version's home shard: queued, in flight (infer/version.h)
 *     REPLYING    dialect->encode(): outcomes -> bytes
 *     DONE        request->done(); the edge sends the bytes and frees the request
 *
 *     DECODING -> ROUTING -> CACHE_WAIT -> AWAY -> CACHE_WAIT -> REPLYING -> DONE
 *        |           |           |  ^------'  '------------------^   ^
 *        '-----------'-----------'--- an error, or all rows known ---'
 *
 * The SLO is one timer: when it fires, rows without an outcome get GW_E_DEADLINE: those waiting leave the cache's
 * line, those away are recalled. A client that hangs up does the same with GW_E_CANCELLED.
 * Rows at home and rows away are never written by two threads: a job belongs to one side at a time.
 */
#ifndef XEBEC_INFER_REQUEST_H
#define XEBEC_INFER_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "infer/cache.h"
#include "infer/codec.h"
#include "infer/version.h"
#include "support/arena.h"
#include "support/buf.h"
#include "support/loop.h"
#include "support/metrics.h"

enum request_state {
    REQUEST_DECODING, REQUEST_ROUTING, REQUEST_CACHE_WAIT, REQUEST_AWAY, REQUEST_REPLYING, REQUEST_DONE,
    REQUEST_STATE_COUNT
};

struct request;

/* How a client's protocol says things: a thin codec on both ends of the one path. One file each, in edge/. */
struct dialect {
    const char *name;
    /*
     * body -> request->inputs, n_inputs, n_rows, and what else it asks for (version, outputs).
     * body[length..length+CODEC_PADDING) is readable. On error request->err has words.
     */
    enum gw_status (*decode)(struct request *request, const char *body, size_t length);
    /* outcomes -> request->reply. request->status is GW_OK, GW_PARTIAL, or the error that all of it ended with. */
    void (*encode)(struct request *request);
};

struct row {
    struct row_outcome outcome;
    struct cache_key key;
    struct cache_waiter waiter;
    struct request *request;
    enum { ROW_NEW, ROW_WAITING, ROW_MISSING, ROW_AWAY, ROW_DONE } state;
    bool leads;                /* owes the cache a fill, fail or abandon */
    bool cached;               /* the answer came from the cache */
};

/* What all requests of one shard share. */
struct infer {
    struct loop *loop;
    const struct config *config;
    struct version *const *versions;  /* by config_version.index; at their home shards */
    struct cache *cache;              /* NULL: off */
    struct json_reader *json;
    struct infer_metrics *metrics;    /* request.c's */
    uint64_t next_id, id_step;        /* query ids: unique in this gateway, < 2^53 */
    uint32_t open;                    /* requests not yet freed */
    bool draining;
};
GW_MUST_CHECK enum gw_status infer_init(struct infer *infer, struct loop *loop, struct metrics *metrics,
                                        const struct config *config, struct version *const *versions,
                                        struct cache *cache, uint32_t shard);
void infer_clear(struct infer *infer); /* no request may be open */

struct request {
    struct infer *infer;
    struct arena *arena;                    /* the exchange's */
    const struct dialect *dialect;
    const struct config_endpoint *endpoint;
    enum request_state state;
    uint64_t id, received_us, deadline_us;

    /* set by decode */
    struct tensor *inputs;
    uint32_t n_inputs, n_rows;
    const char *const *outputs;             /* wanted; n_outputs 0: all */
    uint32_t n_outputs;
    const uint8_t *parameters;
    size_t parameters_bytes;
    const char *asked_version;              /* NULL: the rollout decides */
    size_t asked_version_length;
    bool is_batch;                          /* the client sent a list of rows, and gets a list */

    const struct config_version *version;   /* the one that answers; NULL before ROUTING is done */
    struct row *rows;
    uint32_t rows_open;                     /* without an outcome */
    struct job *job;                        /* NULL: nothing was ever missing */

    enum gw_status status;
    struct gw_err err;                      /* of the whole request, when status is an error */
    struct buf reply;                       /* what encode wrote */

    void (*done)(struct request *request);  /* the edge's: reply is ready; or the cancelled request may be freed */
    void *client;
    bool cancelled;

    struct loop_timer slo_timer;
    uint64_t started_us;
    bool missing_again;                     /* woken rows must be looked up again */
};

/* NULL: out of memory. The request lies in `arena`, which must outlive it. done runs exactly once, never inside request_start(). */
struct request *request_new(struct infer *infer, const struct config_endpoint *endpoint, const struct dialect *dialect,
                            struct arena *arena, uint64_t received_us, void (*done)(struct request *), void *client) GW_MUST_CHECK;
void request_start(struct request *request, const char *body, size_t length);
/* The client went away: rows are cancelled; done still runs, later, with request->cancelled set. */
void request_cancel(struct request *request);
/* After done: drops references to answers; the memory goes with the arena. */
void request_free(struct request *request);

/* The default answer where one is configured and the row failed; and what the row's outcome is to the client. */
bool request_row_defaulted(const struct request *request, uint32_t row);
const struct row_outcome *request_row_outcome(const struct request *request, uint32_t row);

#endif
