/*
 * version: one model version at its home shard. Takes in jobs, queues them (batch), sends batches to
 * replicas (pool), splits the results back to the jobs, and sends each job home, exactly once.
 *
 *   request's shard                          home shard
 *   version_submit(job) ----- loop_post ---> queued -> in flight -> ...
 *                                            every row has an outcome, or was recalled
 *   job->home(job)      <---- loop_post ----- the job comes home
 *
 * A batch in flight points at the jobs it holds rows of; a recalled job is struck out of it, and its rows'
 * results, when they come, are dropped.
 */
#ifndef XEBEC_INFER_VERSION_H
#define XEBEC_INFER_VERSION_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "infer/batch.h"
#include "replica/pool.h"
#include "replica/result.h"
#include "support/loop.h"
#include "support/metrics.h"

struct version;

/* How one row ended. */
struct row_outcome {
    enum gw_status status;         /* GW_OK: result holds the answer */
    struct predict_result *result; /* one reference; NULL unless GW_OK or GW_E_MODEL for this row alone */
    uint32_t row;                  /* its number in result */
    const char *message;           /* when not GW_OK; lives as long as result, the job's arena, or forever */
};

/* The rows of one request that go to one version. Memory is the request's; the home shard's while AWAY. */
struct job {
    struct loop_task task;           /* crosses with it */
    struct loop_task recall_task;
    struct loop *loop;               /* where it comes home to */
    void (*home)(struct job *job);   /* runs once: every row has an outcome, the job is the request's again */
    struct version *version;
    struct batch_entry entry;        /* kind, deadline and n_rows set by the request */
    const struct tensor *inputs;     /* borrowed; not changed while away */
    uint32_t n_inputs;
    const uint32_t *rows;            /* entry.n_rows numbers of rows in inputs */
    const char *const *outputs;
    uint32_t n_outputs;
    const uint8_t *parameters;
    size_t parameters_bytes;
    struct row_outcome *outcomes;    /* entry.n_rows of them */
    struct gw_err err;               /* room for the words of outcomes that have no result */
    uint32_t background_calls;       /* set by a shadow: nobody waits for its rows; see version_submit(). 0: a client does */
    bool waits;                      /* set by the request: no replica ready is no reason to come home. All of a kind agree */

    uint64_t retry_us;               /* of those that ended with GW_E_OVERLOAD: from when it ended, when to come again; 0: soon */

    /* the home shard's */
    uint32_t unanswered;             /* rows without an outcome */
    uint32_t in_flight;              /* of them, rows in batches that are at replicas */
    uint64_t call_us;                /* of the last call that answered rows of it; 0: none did */
    bool away;                       /* false once it was sent home */
    /* the request's */
    void *client;
    bool recalled;
    enum gw_status recall_status;
};

struct version_setup {
    const struct config_version *config;
    struct config *whole;                /* what config lies in; the version takes a reference */
    struct loop *loop;                   /* of its home shard */
    struct rpc_client *rpc;
    struct resolver *resolver;
    struct metrics *metrics;
};
/* One reference, the caller's. NULL: out of memory. Home thread, or before it runs. */
struct version *version_new(const struct version_setup *setup) GW_MUST_CHECK;
struct version *version_ref(struct version *version);
/*
 * Any thread. The last one frees it, in a task at its home. Nobody can have jobs away then, but calls that were struck
 * out may be in flight: they are cancelled. NULL is harmless.
 */
void version_unref(struct version *version);

/*
 * Any thread. home() never runs inside it.
 * Jobs with background_calls wait in a queue of their own, as long as the clients'. They are cut into batches only while no
 * client's row waits; with at most background_calls such batches in flight; and where clients are served too, only small
 * ones, for a replica that has nothing to do and with a slot left over. They do not wait for a replica to become ready.
 */
void version_submit(struct version *version, struct job *job);
/*
 * The request wants its job back now: deadline passed, or client gone. Rows without an outcome get
 * `status`; those that waited in vain for a replica to become ready get GW_E_NO_REPLICA for GW_E_DEADLINE. On the thread of the request, while the job is out, at most once. home() then runs only when the recall has
 * been to the home shard and back, so that nothing there still points at the job.
 */
void version_recall(struct job *job, enum gw_status status);

/* Any thread. */
bool version_is_ready(const struct version *version); /* has a ready replica, as far as can be seen from here */
bool version_digest(const struct version *version, uint64_t digest[2]);
uint64_t version_crashes(const struct version *version); /* pool_crashes() */
struct pool *version_pool(struct version *version);

#endif
