/* batch_run: filled from pieces of jobs, split back to them; who was recalled gets nothing more. */
#include <criterion/criterion.h>

#include "infer/batch_run.h"

enum { ROWS = 4 };

struct asker {
    struct job job;
    struct row_outcome outcomes[ROWS];
    uint32_t rows[ROWS];
    uint32_t homecomings;
};

static struct loop *loop;
static struct batch_run *runs;
static struct asker a, b;

static void came_home(struct job *job)
{
    container_of(job, struct asker, job)->homecomings++;
}

static void leave(struct asker *asker, uint64_t deadline_us)
{
    *asker = (struct asker){.job = {.loop = loop, .home = came_home}};
    for (uint32_t i = 0; i < ROWS; i++)
        asker->rows[i] = 10 * i;
    asker->job.rows = asker->rows;
    asker->job.outcomes = asker->outcomes;
    asker->job.entry.n_rows = ROWS;
    asker->job.entry.deadline_us = deadline_us;
    job_leave(&asker->job, NULL);
}

/* The last two rows of a, and all of b. */
static struct batch_run *run_of_both(void)
{
    leave(&a, 2000);
    leave(&b, 1000);
    struct batch_run *run = batch_run_new(&runs, 6);
    run->pieces[0] = (struct batch_piece){.entry = &a.job.entry, .first = 2, .count = 2};
    run->pieces[1] = (struct batch_piece){.entry = &b.job.entry, .first = 0, .count = ROWS};
    run->n_pieces = 2;
    a.job.entry.taken = b.job.entry.taken = ROWS;
    batch_run_fill(run, 6, 7);
    return run;
}

static struct predict_result *six_rows(void)
{
    struct predict_result *result = predict_result_new();
    result->n_rows = 6;
    return result;
}

static void set_up(void)
{
    loop = loop_new();
    runs = NULL;
}

static void tear_down(void)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        predict_result_unref(a.outcomes[i].result);
        predict_result_unref(b.outcomes[i].result);
    }
    cr_assert_null(runs, "every run is out of the list");
    loop_free(loop);
}

TestSuite(batch_run, .init = set_up, .fini = tear_down);

Test(batch_run, a_call_is_filled_from_its_pieces_and_is_due_with_the_last)
{
    struct batch_run *run = run_of_both();
    cr_assert_eq(run->call.deadline_us, 2000);
    cr_assert_eq(run->call.input.id, 7);
    cr_assert_eq(run->call.input.n_rows, 6);
    cr_assert_eq(run->call.input.pieces[0].rows[0], 20);
    cr_assert_eq(run->call.input.pieces[0].count, 2);
    cr_assert_eq(run->call.input.pieces[1].rows[3], 30);
    cr_assert_eq(a.job.in_flight, 2);
    cr_assert_eq(b.job.in_flight, 4);
    batch_run_free(run);
}

Test(batch_run, answers_go_to_the_rows_that_asked_and_a_job_goes_home_with_its_last)
{
    struct batch_run *run = run_of_both();
    struct predict_result *result = six_rows();
    const char *errors[6] = {[3] = "ValueError: no"};
    result->row_errors = errors;
    batch_run_answer(run, result, 55);
    predict_result_unref(result);
    loop_flush(loop);
    cr_assert_eq(a.homecomings, 0, "two of its rows were not in the batch");
    cr_assert_eq(b.homecomings, 1);
    cr_assert_eq(a.outcomes[3].row, 1);
    cr_assert_eq(b.outcomes[0].row, 2);
    cr_assert_eq(b.outcomes[1].status, GW_E_MODEL);
    cr_assert_str_eq(b.outcomes[1].message, "ValueError: no");
    cr_assert_eq(b.outcomes[3].row, 5);
    cr_assert_eq(b.job.call_us, 55);
    cr_assert_eq(a.job.in_flight + b.job.in_flight, 0);
    job_end_rows(&a.job, 0, 2, GW_E_DEADLINE, NULL);
    job_settle(&a.job);
    loop_flush(loop);
    cr_assert_eq(a.homecomings, 1);
    cr_assert_eq(a.outcomes[0].status, GW_E_DEADLINE);
    batch_run_free(run);
}

Test(batch_run, who_is_struck_out_gets_nothing_more)
{
    struct batch_run *run = run_of_both();
    struct predict_result *result = six_rows();
    b.job.recall_status = GW_E_DEADLINE;
    cr_assert(batch_run_strike_out(run, &b.job, GW_E_DEADLINE), "a still waits");
    cr_assert_eq(run->late_rows, 4);
    cr_assert_eq(b.job.in_flight, 0);
    cr_assert_eq(b.outcomes[2].status, GW_E_DEADLINE);
    batch_run_answer(run, result, 55);
    predict_result_unref(result);
    cr_assert_eq(b.outcomes[2].status, GW_E_DEADLINE);
    cr_assert_null(b.outcomes[2].result);
    cr_assert_eq(a.outcomes[2].row, 0);
    batch_run_free(run);
}

Test(batch_run, nobody_waits_for_a_batch_whose_jobs_were_all_recalled)
{
    struct batch_run *run = run_of_both();
    cr_assert(batch_run_strike_out(run, &a.job, GW_E_CANCELLED));
    cr_assert_not(batch_run_strike_out(run, &b.job, GW_E_CANCELLED));
    cr_assert_eq(run->late_rows, 0, "nobody was late");
    loop_flush(loop);
    cr_assert_eq(a.homecomings + b.homecomings, 0, "that is for the recall");
    batch_run_free(run);
}

Test(batch_run, a_failure_is_everybody_s_and_in_its_own_words)
{
    struct batch_run *run = run_of_both();
    struct gw_err err;
    gw_err_set(&err, GW_E_CONTRACT, "it lied");
    batch_run_fail(run, &err);
    loop_flush(loop);
    cr_assert_eq(b.homecomings, 1);
    cr_assert_eq(a.outcomes[2].status, GW_E_CONTRACT);
    cr_assert_str_eq(b.outcomes[0].message, "it lied");
    batch_run_free(run);
}
