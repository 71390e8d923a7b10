/* batch_run: filled from its jobs, split back to them. */
#include "infer/batch_run.h"

#include <stdlib.h>

struct batch_run *batch_run_new(struct batch_run **list, uint32_t rows)
{
    struct batch_run *run = malloc(sizeof *run + rows * sizeof run->pieces[0]);
    struct row_piece *pieces = malloc(rows * sizeof *pieces);
    if (!run || !pieces) {
        free(run);
        free(pieces);
        return NULL;
    }
    *run = (struct batch_run){.rows = pieces, .next = *list, .link = list};
    if (run->next)
        run->next->link = &run->next;
    *list = run;
    return run;
}

void batch_run_free(struct batch_run *run)
{
    *run->link = run->next;
    if (run->next)
        run->next->link = run->link;
    free(run->rows);
    free(run);
}

void batch_run_fill(struct batch_run *run, uint32_t rows, uint64_t id)
{
    const struct job *first = job_of(run->pieces[0].entry);
    uint64_t deadline_us = 0;
    for (uint32_t i = 0; i < run->n_pieces; i++) {
        const struct batch_piece *piece = &run->pieces[i];
        struct job *job = job_of(piece->entry);
        run->rows[i] = (struct row_piece){
            .inputs = job->inputs, .rows = job->rows + piece->first, .count = piece->count};
        job->in_flight += piece->count;
        if (job->entry.deadline_us > deadline_us)
            deadline_us = job->entry.deadline_us;
    }
    run->call.deadline_us = deadline_us; /* the last to be due: earlier ones recall their rows themselves */
    run->call.waits = first->waits;
    run->call.input = (struct predict_input){.id = id,
                                             .pieces = run->rows,
                                             .n_pieces = run->n_pieces,
                                             .n_inputs = first->n_inputs,
                                             .n_rows = rows,
                                             .outputs = first->outputs,
                                             .n_outputs = first->n_outputs,
                                             .parameters = first->parameters,
                                             .parameters_bytes = first->parameters_bytes};
}

void batch_run_fail(struct batch_run *run, const struct gw_err *err)
{
    for (uint32_t i = 0; i < run->n_pieces; i++) {
        const struct batch_piece *piece = &run->pieces[i];
        if (!piece->entry)
            continue;
        struct job *job = job_of(piece->entry);
        job->in_flight -= piece->count;
        job_end_rows(job, piece->first, piece->count, err->status, err->what);
        job_settle(job);
    }
}

void batch_run_answer(struct batch_run *run, struct predict_result *result, uint64_t rpc_us)
{
    uint32_t row = 0;
    for (uint32_t i = 0; i < run->n_pieces; row += run->pieces[i++].count) {
        const struct batch_piece *piece = &run->pieces[i];
        if (!piece->entry)
            continue;
        struct job *job = job_of(piece->entry);
        job->in_flight -= piece->count;
        job_answer_rows(job, piece->first, piece->count, result, row, rpc_us);
        job_settle(job);
    }
}

bool batch_run_strike_out(struct batch_run *run, struct job *job, enum gw_status status)
{
    bool wanted = false;
    for (uint32_t i = 0; i < run->n_pieces; i++) {
        struct batch_piece *piece = &run->pieces[i];
        if (piece->entry == &job->entry) {
            piece->entry = NULL;
            job->in_flight -= piece->count;
            run->late_rows += job->recall_status == GW_E_DEADLINE ? piece->count : 0;
            job_end_rows(job, piece->first, piece->count, status, NULL);
        }
        wanted = wanted || piece->entry;
    }
    return wanted;
}
