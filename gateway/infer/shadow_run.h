/*
 * shadow_run: rows of one request on their way to another version, with all that is needed to send them and to judge the
 * answer: copies of inputs and wishes, and the client's answers, shared. It owns what it needs, and outlives the request.
 * shadow's own: that admits it, sends it, and compares. Belongs to the request's shard.
 */
#ifndef XEBEC_INFER_SHADOW_RUN_H
#define XEBEC_INFER_SHADOW_RUN_H

#include "infer/request.h"

/* Whose answers a run brings: the shadow's, or once more the primary's. */
enum shadow_errand { SHADOW_ANSWERS, SHADOW_NOISE, SHADOW_ERRANDS };

struct shadow_run {
    struct job job;
    struct loop_deferred deferred;
    struct version *version;         /* one reference */
    struct shadow_run *next, **link; /* in the shard's line */
    struct row_outcome *primary;     /* by the job's rows; a reference each */
    struct arena arena;              /* what job and primary point at */
    uint64_t request_id, primary_call_us;
    uint32_t shard;

    /* the shadow's */
    struct shadow *shadow;           /* one reference */
    struct loop_timer timer;         /* its deadline */
    size_t bytes;                    /* counted for it */
    enum shadow_errand errand;
};

/* How many rows of a request that is over can be compared: those that the primary's model answered, or failed. */
uint32_t shadow_run_rows(const struct request *request);
/*
 * What a run of so many rows would hold: copies of inputs, and answers, which it shares with others but keeps alive all the same,
 * whole batches of them; one that several runs keep is counted by each.
 */
size_t shadow_run_bytes(const struct request *request, uint32_t n_rows);

/*
 * The rows that can be compared, n_rows of them. The job's deadline, home and calls are the shadow's to set, as what is marked
 * as its own. NULL: out of memory.
 */
struct shadow_run *shadow_run_new(struct request *request, const struct config_version *to, uint32_t n_rows) GW_MUST_CHECK;
/* It is home, or was never sent. References go at once, the memory at the end of the turn. */
void shadow_run_free(struct shadow_run *run);

void shadow_line_enter(struct shadow_line *line, struct shadow_run *run);
void shadow_line_leave(struct shadow_run *run);

#endif
