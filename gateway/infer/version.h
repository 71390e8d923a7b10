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
#include "infer/job.h"
#include "replica/pool.h"
#include "support/loop.h"
#include "support/metrics.h"

struct version;

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
 * The request wants its job back now: deadline passed, or client gone. Rows without an outcome get `status`; those that
 * waited in vain for a replica to become ready get GW_E_NO_REPLICA for GW_E_DEADLINE. home() then runs only when the recall has
 * been to the home shard and back. On the thread of the request, while the job is out, at most once.
 */
void version_recall(struct job *job, enum gw_status status);

/* Any thread. */
bool version_is_ready(const struct version *version); /* has a ready replica, as far as can be seen from here */
bool version_digest(const struct version *version, uint64_t digest[2]);
uint64_t version_crashes(const struct version *version); /* pool_crashes() */
struct pool *version_pool(struct version *version);

#endif
