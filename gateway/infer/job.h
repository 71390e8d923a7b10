/*
 * job: the rows of one request that go to one version, and how each of them ends. It is the request's until
 * version_submit(), the home shard's while away, and the request's again when home() runs, exactly once:
 *
 *   away --- every row has an outcome ---------------------------> home()
 *     '----- recalled: to the home shard, and back from there ---> home()    so that nothing there points at it any more
 *
 * What follows struct job is for the version at its home shard, on its thread; requests and shadows fill a job, and read it
 * when it is home.
 */
#ifndef XEBEC_INFER_JOB_H
#define XEBEC_INFER_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "infer/batch.h"
#include "replica/result.h"
#include "support/err.h"
#include "support/loop.h"

struct version;

/* How one row ended. */
struct row_outcome {
    enum gw_status status;         /* GW_OK: result holds the answer */
    struct predict_result *result; /* one reference; NULL unless GW_OK or GW_E_MODEL for this row alone */
    uint32_t row;                  /* its number in result */
    const char *message;           /* when not GW_OK; lives as long as result, the job's arena, or forever */
};

/* Memory is the request's. */
struct job {
    struct loop_task task;           /* crosses with it */
    struct loop_task recall_task;
    struct loop *loop;               /* where it comes home to */
    void (*home)(struct job *job);   /* every row has an outcome, the job is the request's again */
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

static inline struct job *job_of(struct batch_entry *entry)
{
    return container_of(entry, struct job, entry);
}

/* On the request's thread: nothing of it is answered yet. */
void job_leave(struct job *job, struct version *version);

/* Rows first .. first + count have no outcome, and get this one. what: words about it; NULL: the status's own. */
void job_end_rows(struct job *job, uint32_t first, uint32_t count, enum gw_status status, const char *what);
/* They get rows row .. row + count of result, each with a reference of its own. call_us: what the call took. */
void job_answer_rows(struct job *job, uint32_t first, uint32_t count, struct predict_result *result, uint32_t row,
                     uint64_t call_us);
/* Sends it home if all its rows have outcomes; it may be gone afterwards. */
void job_settle(struct job *job);
/* Its rows that no batch has taken will not be batched any more, and end so; those in flight still come back. Settles it. */
void job_end_rest(struct job *job, enum gw_status status);
/* It was recalled, and nothing here points at it any more. */
void job_return(struct job *job);

#endif
