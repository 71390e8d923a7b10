/*
 * request: READ FIRST. One client's question, from its bytes to its answer, in order.
 *
 *   request_start()                                            on the shard of the connection
 *     DECODING    dialect->decode(): body -> tensors in the exchange's arena, checked against the signature
 *     ROUTING     route: which version
 *     CACHE_WAIT  every row: answered from memory, joined to an identical row in flight, or missing;
 *                 what is missing is asked of Redis, where there is one and it pays (infer/cache_redis.h);
 *                 stays here while rows wait for others' answers, or for Redis
 *     AWAY        missing rows are at the version's home shard: queued, in flight (infer/version.h)
 *     REPLYING    dialect->encode(): outcomes -> bytes
 *     DONE        request->done(); the edge sends the bytes and frees the request: only then do its shadows set out
 *                 (infer/shadow.h), with copies of what they need
 *
 *     DECODING -> ROUTING -> CACHE_WAIT -> AWAY -> CACHE_WAIT -> REPLYING -> DONE
 *        |           |  ^        |  ^------'  '------------------^   ^
 *        |           |  '--------'  no replica of the version is ready: once more, elsewhere
 *        '-----------'-----------'--- an error, or all rows known ---'
 *
 * The SLO is one timer, which stands for the patience with Redis while that is asked. When it fires, rows without an outcome
 * get GW_E_DEADLINE: those waiting leave the cache's line, those away are recalled. A client that hangs up does the same with
 * GW_E_CANCELLED.
 * Rows at home and rows away are never written by two threads: a job belongs to one side at a time.
 */
#ifndef XEBEC_INFER_REQUEST_H
#define XEBEC_INFER_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "infer/period.h"
#include "support/arena.h"
#include "support/buf.h"
#include "support/loop.h"

enum request_state {
    REQUEST_DECODING, REQUEST_ROUTING, REQUEST_CACHE_WAIT, REQUEST_AWAY, REQUEST_REPLYING, REQUEST_DONE,
    REQUEST_STATE_COUNT
};

struct request;
struct http_reply;

/* How a client's protocol says things: a thin codec on both ends of the one path. One file each, in edge/. */
struct dialect {
    const char *name;
    /*
     * body -> request->inputs, n_inputs, n_rows, and what else it asks for (version, outputs).
     * body[length..length+CODEC_PADDING) is readable, and lives as long as the request: tensors may point into it. On error
     * request->err has words.
     */
    enum gw_status (*decode)(struct request *request, const char *body, size_t length);
    /*
     * outcomes -> request->reply, and its type and headers. request->status is GW_OK, GW_PARTIAL, or the error that all of
     * it ended with; encode may turn it into another.
     */
    void (*encode)(struct request *request);
    /* What went wrong, as a body: also where there is no request. */
    void (*write_error)(struct buf *out, enum gw_status status, const char *what);
    /*
     * How the end of a request, or its refusal, is said around the body, where that is not HTTP's status. what: words, of
     * errors; arena: for texts, and may be full. NULL: HTTP says it. Bodies of a dialect that has it are coded by its own
     * rules, not by HTTP's.
     */
    void (*seal)(struct http_reply *reply, enum gw_status status, const char *what, struct arena *arena);
};

/*
 * row states:   NEW -> DONE                               found in the cache
 *               NEW -> WAITING -> DONE                    an identical row in flight was answered
 *                      WAITING -> NEW                     ... or given up: look it up again
 *               NEW -> MISSING -> AWAY -> DONE            computed
 *                      MISSING -> ASKED -> DONE           found in Redis; at most one try
 *                                 ASKED -> MISSING        ... or not, or not in time
 *                      MISSING -> DONE                    its time was up before it could be sent
 */
enum row_state { ROW_NEW, ROW_WAITING, ROW_MISSING, ROW_ASKED, ROW_AWAY, ROW_DONE };

struct row {
    struct row_outcome outcome;
    struct cache_key key;
    struct row_waiter *waiter; /* while WAITING */
    enum row_state state;
    bool leads;                /* owes the cache a fill, fail or abandon */
    bool tried;                /* with Redis, for better or worse */
    const struct cache_value_key *redis_key; /* under which its answer is to be stored in Redis; NULL: it is not */
};

struct request {
    struct infer *infer;
    struct period *period;                  /* what it goes by, to its end */
    struct arena *arena;                    /* the exchange's */
    const struct dialect *dialect;
    const struct config_endpoint *endpoint;
    enum request_state state;
    uint64_t id, received_us, deadline_us;
    enum priority priority;                 /* the endpoint's, or what the client asks for */

    /* set by decode */
    struct tensor *inputs;
    uint32_t n_inputs, n_rows;
    const char *const *outputs;             /* wanted; n_outputs 0: all */
    uint32_t n_outputs;
    const uint8_t *parameters;
    size_t parameters_bytes;
    const char *asked_version;              /* NULL: the rollout decides */
    size_t asked_version_length;

    /* set by the edge, or, what lies in the body, by decode */
    const char *sticky;                     /* what tells its client from others; NULL: nothing does */
    size_t sticky_length;
    const char *asked_arm;                  /* by header; NULL: none, or it may not be asked for */
    uint64_t key;                           /* what its arm was drawn by */
    bool is_forced;                         /* its arm was asked for, not drawn */
    bool is_compared;                       /* by a canary: judge/arm_book.h; unless it is answered wholly from a cache */
    bool asked_model;                       /* for a row at least: not all were in a cache */
    bool is_batch;                          /* the client sent a list of rows, and gets a list */

    const struct config_arm *arm;           /* the one that answers; NULL before ROUTING is done */
    const struct config_version *version;   /* its */
    bool waits;                             /* for a replica to become ready, when none is */
    uint32_t reroutes;                      /* how often it went back to ROUTING */
    struct row *rows;
    uint32_t rows_open;                     /* not DONE */
    uint32_t rows_missing;                  /* MISSING: to go with the next job */
    uint32_t rows_untried;                  /* of them, those that Redis was not tried for */
    struct cache_redis_lookup *lookup;      /* while rows are ASKED */
    struct job *job;                        /* the one that is away; NULL when none is */
    uint64_t sent_us;                       /* when it went */
    uint64_t call_us;                       /* what the model's last call for it took; 0: none did */
    struct row_waiter *spare_waiter;
    struct cache_key context;               /* of its rows' cache keys */
    uint64_t digest[2];                     /* of the model that the context is about */
    bool use_cache;
    enum gw_status ending;                  /* GW_E_DEADLINE or GW_E_CANCELLED once time is up; else GW_OK */

    enum gw_status status;
    struct gw_err err;                      /* of the whole request, when status is an error */
    uint64_t retry_us;                      /* when to come again, from now; 0: nobody knows */
    struct buf reply;                       /* what encode wrote */
    const char *reply_type;                 /* its media type; NULL: application/json */
    const char *reply_headers;              /* more of them, "Name: value\r\n" each; NULL: none */
    struct predict_result *substitute;      /* the endpoint's default as an answer, for rows without one; the arena's; NULL: none */
    void *own;                              /* the dialect's: what it has to know from decode to encode; NULL: nothing */

    void (*done)(struct request *request);  /* the edge's: reply is ready; or a cancelled one (ending GW_E_CANCELLED) may be freed */
    void *client;
    struct loop_timer slo_timer;
};

/*
 * endpoint: of the plan in force. The request lies in `arena`, which must outlive it. done runs exactly once, perhaps inside
 * request_start(). NULL: out of memory.
 */
struct request *request_new(struct infer *infer, const struct config_endpoint *endpoint, const struct dialect *dialect,
                            struct arena *arena, uint64_t received_us, void (*done)(struct request *), void *client) GW_MUST_CHECK;
void request_start(struct request *request, const char *body, size_t length);
/* Instead of request_start(): it ends with this error, in its dialect. */
void request_refuse(struct request *request, const struct gw_err *err);
/*
 * The client went away: rows are cancelled; done still runs, perhaps inside, with request->ending GW_E_CANCELLED. Harmless
 * after done.
 */
void request_cancel(struct request *request);
/* After done, and once the reply is sent: its shadows set out; drops references to answers; the memory goes with the arena. */
void request_free(struct request *request);

/* The headers that name the version and the arm that answered; NULL: none was chosen. The plan's. */
const char *request_arm_headers(const struct request *request);
/* For encode: how a row ended, and whether its failure is answered with the endpoint's default. */
const struct row_outcome *request_row_outcome(const struct request *request, uint32_t row);
bool request_row_defaulted(const struct request *request, uint32_t row);
const char *request_state_name(enum request_state state);

#endif
