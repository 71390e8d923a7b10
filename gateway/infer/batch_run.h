/*
 * batch_run: one batch at a replica: which rows of which jobs are in it, and what came back, split among them. A job that was
 * recalled is struck out: its rows' results are dropped. The version's own; belongs to its loop.
 */
#ifndef XEBEC_INFER_BATCH_RUN_H
#define XEBEC_INFER_BATCH_RUN_H

#include "infer/job.h"
#include "replica/pool.h"

struct batch_run {
    struct pool_call call;
    struct version *version;        /* these three are the version's */
    uint32_t limit;                 /* the policy's, when it was cut */
    bool is_background;
    struct batch_run *next, **link; /* in the version's list */
    uint32_t late_rows;             /* called back because their time was up */
    uint32_t n_pieces;
    struct row_piece *rows;         /* what the replica layer sees of the pieces */
    struct batch_piece pieces[];    /* entry: a job's; NULL once that was recalled */
};

/* Room for a batch of at most `rows` rows, in no more pieces than that; first of the list. NULL: out of memory. */
struct batch_run *batch_run_new(struct batch_run **list, uint32_t rows) GW_MUST_CHECK;
/* Out of its list; the call must be over. */
void batch_run_free(struct batch_run *run);

/* Fills the call's input, deadline and patience from its n_pieces, of `rows` rows: the jobs agree in names and kinds. */
void batch_run_fill(struct batch_run *run, uint32_t rows, uint64_t id);

/* The rows of jobs that are still there end so, or are answered; jobs without rows left to wait for go home. */
void batch_run_fail(struct batch_run *run, const struct gw_err *err);
void batch_run_answer(struct batch_run *run, struct predict_result *result, uint64_t rpc_us);

/* Ends the job's rows with this status. Returns whether anybody still waits for the batch. */
bool batch_run_strike_out(struct batch_run *run, struct job *job, enum gw_status status);

#endif
