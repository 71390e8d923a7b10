/* job: it leaves, its rows end, it comes home. */
#include "infer/job.h"

/* Of the largest row: rows of one job differ only where they hold BYTES. */
static size_t job_row_bytes(const struct job *job)
{
    size_t largest = 0;
    for (uint32_t row = 0; row < job->entry.n_rows; row++) {
        size_t sum = 0, bytes;
        bool differ = false;
        for (uint32_t i = 0; i < job->n_inputs; i++) {
            (void)tensor_row(&job->inputs[i], job->rows[row], &bytes);
            sum += bytes;
            differ = differ || job->inputs[i].row_end;
        }
        largest = sum > largest ? sum : largest;
        if (!differ)
            break;
    }
    return largest;
}

void job_leave(struct job *job, struct version *version)
{
    job->version = version;
    job->entry.row_bytes = job_row_bytes(job);
    job->entry.taken = 0;
    job->entry.lane = NULL;
    job->unanswered = job->entry.n_rows;
    job->in_flight = 0;
    job->call_us = 0;
    job->away = true;
    job->recalled = false;
    job->retry_us = 0;
    job->err.what[0] = '\0';
}

/* --- its rows end --- */

void job_end_rows(struct job *job, uint32_t first, uint32_t count, enum gw_status status, const char *what)
{
    const char *message = gw_status_words(status);
    if (what) {
        if (!job->err.what[0])
            gw_err_set(&job->err, status, "%s", what);
        message = job->err.what;
    }
    for (uint32_t i = first; i < first + count; i++)
        job->outcomes[i] = (struct row_outcome){.status = status, .message = message};
    job->unanswered -= count;
}

void job_answer_rows(struct job *job, uint32_t first, uint32_t count, struct predict_result *result,
                     uint32_t row, uint64_t call_us)
{
    job->call_us = call_us;
    for (uint32_t i = first; i < first + count; i++, row++) {
        const char *error = result->row_errors ? result->row_errors[row] : NULL;
        job->outcomes[i] = (struct row_outcome){.status = error ? GW_E_MODEL : GW_OK,
                                                .result = predict_result_ref(result),
                                                .row = row,
                                                .message = error};
    }
    job->unanswered -= count;
}

void job_end_rest(struct job *job, enum gw_status status)
{
    uint32_t first = job->entry.taken;
    job_end_rows(job, first, job->entry.n_rows - first, status, NULL);
    job->entry.taken = job->entry.n_rows;
    job_settle(job);
}

/* --- it comes home, on the request's thread --- */

/* One that was recalled waits for the recall to come back as well. */
static void comes_home(struct loop_task *task)
{
    struct job *job = container_of(task, struct job, task);
    if (!job->recalled)
        job->home(job);
}

static void recall_comes_home(struct loop_task *task)
{
    struct job *job = container_of(task, struct job, recall_task);
    job->home(job);
}

void job_settle(struct job *job)
{
    if (job->unanswered)
        return;
    job->away = false;
    job->task.run = comes_home;
    loop_post(job->loop, &job->task);
}

void job_return(struct job *job)
{
    job->recall_task.run = recall_comes_home;
    loop_post(job->loop, &job->recall_task);
}
