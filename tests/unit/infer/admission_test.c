/* Who would be in time: a model of 1 ms and 10 us a row, known exactly. */
#include "infer/admission.h"

#include <criterion/criterion.h>

#define MS 1000ULL

static const struct latency model = {.weight = 64, .fixed_us = 1000, .row_us = 10, .noise = 1};

static struct admission_pace pace_of(uint64_t start_us, uint32_t batch_rows, uint32_t servers)
{
    return (struct admission_pace){.latency = &model,
                                   .now_us = 1000 * MS,
                                   .start_us = 1000 * MS + start_us,
                                   .caution = 1,
                                   .batch_rows = batch_rows,
                                   .servers = servers,
                                   .kinds = 1};
}

static bool fits(const struct admission_pace *pace, const struct backlog *backlog, enum priority priority,
                 uint64_t left_us)
{
    return admission_fits(pace, backlog, priority, 1, pace->now_us + left_us);
}

Test(admission, a_row_comes_after_what_is_on_the_replica_and_what_waits)
{
    struct admission_pace pace = pace_of(2 * MS, 100, 1);
    cr_assert_eq(admission_finish_us(&pace, 1), pace.start_us + 1010);
    cr_assert_eq(admission_finish_us(&pace, 100), pace.start_us + 2000);
    cr_assert_eq(admission_finish_us(&pace, 250), pace.start_us + 2 * 2000 + 1500);
    pace.servers = 2;
    cr_assert_eq(admission_finish_us(&pace, 250), pace.start_us + 2000 + 1500);
    pace.kinds = 3;
    cr_assert_eq(admission_finish_us(&pace, 250), pace.start_us + 3000 + 1500,
                 "kinds can't share batches: two calls more, but no rows");
    pace.margin_us = 77;
    cr_assert_eq(admission_finish_us(&pace, 250), pace.start_us + 3000 + 1500 + 77);
}

Test(admission, counts_who_will_join_the_batch_until_it_is_cut)
{
    struct admission_pace pace = pace_of(2 * MS, 100, 1);
    pace.rate = 0.01; /* 20 rows until then */
    cr_assert_eq(admission_finish_us(&pace, 1), pace.start_us + 1210);
    pace.rate = 10;
    cr_assert_eq(admission_finish_us(&pace, 1), pace.start_us + 2000, "a batch is full at last");
}

Test(admission, counts_those_of_higher_priorities_that_are_still_to_come)
{
    struct admission_pace pace = pace_of(0, 100, 1);
    cr_assert_eq(admission_finish_us(&pace, 400), pace.start_us + 8000);
    pace.higher_rate = 0.025; /* of the 0.05 rows a microsecond that the model can */
    cr_assert_eq(admission_finish_us(&pace, 400), pace.start_us + 2 * 6000 + 2000);
    pace.higher_rate = 5;
    cr_assert_eq(admission_finish_us(&pace, 400), pace.start_us + 20 * 6000 + 2000, "but not without end");
}

Test(admission, the_tail_is_allowed_for_but_not_that_all_are_in_it)
{
    struct latency noisy = model;
    noisy.noise = 1.5;
    struct admission_pace pace = pace_of(0, 100, 1);
    pace.latency = &noisy;
    cr_assert_eq(admission_finish_us(&pace, 100), pace.start_us + 2000 + 1000 / 4,
                 "the next batch: a quarter");
    pace.caution = 0.1;
    cr_assert_eq(admission_finish_us(&pace, 100), pace.start_us + 2000 + 1000 / 10, "or less");
    pace.caution = 1;
    cr_assert_eq(admission_finish_us(&pace, 400), pace.start_us + 8000 + 2 * 1000,
                 "four calls: twice the excess");
}

Test(admission, a_row_waits_for_those_due_earlier_and_must_not_make_later_ones_late)
{
    struct backlog backlog;
    struct admission_pace pace = pace_of(0, 100, 1);
    backlog_init(&backlog, 64 * MS); /* a slot is a millisecond */
    uint32_t slot = backlog_add(&backlog, PRIORITY_NORMAL, 300, pace.now_us + 10 * MS, pace.now_us);
    cr_assert(fits(&pace, &backlog, PRIORITY_NORMAL, 5 * MS), "goes before them; they end at 7 ms");
    cr_assert_not(fits(&pace, &backlog, PRIORITY_NORMAL, 1 * MS));
    cr_assert(fits(&pace, &backlog, PRIORITY_NORMAL, 12 * MS));
    uint32_t more = backlog_add(&backlog, PRIORITY_NORMAL, 200, pace.now_us + 10 * MS, pace.now_us);
    cr_assert_not(fits(&pace, &backlog, PRIORITY_NORMAL, 5 * MS),
                  "500 rows take their 10 ms, and one more is too many");
    cr_assert_not(fits(&pace, &backlog, PRIORITY_NORMAL, 10 * MS));
    cr_assert(fits(&pace, &backlog, PRIORITY_NORMAL, 12 * MS), "after them");
    backlog_take(&backlog, PRIORITY_NORMAL, 200, more);
    backlog_take(&backlog, PRIORITY_NORMAL, 300, slot);
    cr_assert(fits(&pace, &backlog, PRIORITY_NORMAL, 2 * MS));
    cr_assert_eq(backlog.sum[PRIORITY_NORMAL], 0);
}

Test(admission, priorities_wait_for_higher_ones_alone)
{
    struct backlog backlog;
    struct admission_pace pace = pace_of(0, 100, 1);
    backlog_init(&backlog, 64 * MS);
    backlog_add(&backlog, PRIORITY_NORMAL, 1000, pace.now_us + 50 * MS, pace.now_us);
    cr_assert(fits(&pace, &backlog, PRIORITY_HIGH, 2 * MS), "who waits below is not asked");
    cr_assert_not(fits(&pace, &backlog, PRIORITY_BATCH, 20 * MS));
    cr_assert(fits(&pace, &backlog, PRIORITY_BATCH, 30 * MS));
}

Test(admission, deadlines_beyond_the_horizon_or_past_are_counted_all_the_same)
{
    struct backlog backlog;
    struct admission_pace pace = pace_of(0, 100, 1);
    backlog_init(&backlog, 64 * MS);
    uint32_t far = backlog_add(&backlog, PRIORITY_NORMAL, 1000, pace.now_us + 100000 * MS, pace.now_us);
    uint32_t past = backlog_add(&backlog, PRIORITY_NORMAL, 100, pace.now_us - 5 * MS, pace.now_us);
    cr_assert(fits(&pace, &backlog, PRIORITY_NORMAL, 10 * MS), "those far off let it pass");
    cr_assert_not(fits(&pace, &backlog, PRIORITY_NORMAL, 2 * MS));
    backlog_take(&backlog, PRIORITY_NORMAL, 1000, far);
    backlog_take(&backlog, PRIORITY_NORMAL, 100, past);
    for (int i = 0; i < BACKLOG_SLOTS; i++)
        cr_assert_eq(backlog.rows[PRIORITY_NORMAL][i], 0);
    backlog_init(&backlog, 0);
    backlog_add(&backlog, PRIORITY_HIGH, 1, UINT64_MAX, 0);
    cr_assert_eq(backlog.sum[PRIORITY_HIGH], 1);
}
