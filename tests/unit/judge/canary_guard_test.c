/* canary_guard: what one gateway saw of a candidate, whatever states come from the judge meanwhile. */
#include "judge/canary_guard.h"

#include <criterion/criterion.h>
#include <string.h>

#include "judge/canary.h"

#define SECOND ((uint64_t)1000000)

static const struct config_version baseline = {.full_name = "m@old"}, candidate = {.full_name = "m@new"};
static const double steps[] = {0.5, 1};
static struct config_canary config;
static struct canary canary;
static struct canary_guard guard;
static struct arm_counts counts;

static void setup(void)
{
    config = (struct config_canary){.baseline = &baseline,
                                    .candidate = &candidate,
                                    .steps = steps,
                                    .n_steps = 2,
                                    .dwell_us = SECOND,
                                    .alpha = 0.05,
                                    .disagreement = -1,
                                    .crashes = 2};
    memset(&guard, 0, sizeof guard);
    counts = (struct arm_counts){.began_us = 1, .crashed = 7, .contract = 7, .nan = 7};
    canary_start(&canary, &config, 1000 * SECOND);
}

TestSuite(canary_guard, .init = setup);

static void meet(void)
{
    canary_guard_meet(&guard, &canary, &counts);
}

static bool watch(void)
{
    return canary_guard_watch(&guard, &canary, &counts, 2000 * SECOND);
}

Test(canary_guard, what_was_there_before_the_canary_is_not_its)
{
    meet();
    cr_assert_not(watch());
    meet(); /* the same */
    counts.nan++;
    meet();
    cr_assert(watch());
    cr_assert_eq(canary.phase, CANARY_ROLLED_BACK);
    cr_assert_str_eq(canary_why(&canary), "hard stop: requests answered with a NaN: 1, tolerated 0");
    counts.nan++;
    cr_assert_not(watch(), "once");
}

Test(canary_guard, what_is_tolerated_is_counted_over_states_of_the_judge)
{
    meet();
    for (int n = 0; n < 2; n++) {
        counts.crashed++;
        cr_assert_not(watch());
        struct buf state = {0};
        canary_write(&canary, &state);
        cr_assert(canary_read(&canary, &config, state.bytes, state.length, 3000 * SECOND));
        buf_clear(&state);
    }
    counts.crashed++;
    cr_assert(watch());
    cr_assert_str_eq(canary_why(&canary), "hard stop: replicas lost with calls in flight: 3, tolerated 2");
}

Test(canary_guard, a_state_that_has_not_heard_of_it_is_rolled_back_again)
{
    struct canary of_judge = canary;
    meet();
    counts.contract++;
    cr_assert(watch());
    canary = of_judge;
    cr_assert(watch(), "nothing new was seen");
    cr_assert_eq(canary.phase, CANARY_ROLLED_BACK);
}

Test(canary_guard, another_canary_begins_with_nothing)
{
    meet();
    counts.contract++;
    cr_assert(watch());
    canary_start(&canary, &config, 3000 * SECOND);
    counts.contract++;
    meet();
    cr_assert_not(watch());
    cr_assert_eq(guard.faults.contract, 0);
    counts.contract++;
    cr_assert(watch());
}

Test(canary_guard, that_did_not_meet_its_canary_reads_all_of_the_books)
{
    counts = (struct arm_counts){.began_us = 1};
    cr_assert_not(watch());
    memset(&guard, 0, sizeof guard);
    counts.contract = 1;
    cr_assert(watch());
}

Test(canary_guard, books_that_begin_anew_are_read_from_their_start)
{
    meet();
    counts = (struct arm_counts){.began_us = 2, .crashed = 2};
    cr_assert_not(watch());
    cr_assert_eq(guard.faults.crashed, 2);
    counts = (struct arm_counts){.began_us = 3, .crashed = 1};
    cr_assert(watch());
}

Test(canary_guard, counts_that_fall_are_nothing_new)
{
    meet();
    counts.contract = counts.nan = counts.crashed = 0;
    cr_assert_not(watch());
    cr_assert_eq(guard.faults.contract, 0);
}

Test(canary_guard, a_pause_is_guarded_and_an_end_is_one)
{
    meet();
    cr_assert(canary_pause(&canary, "lunch", 1001 * SECOND));
    counts.nan++;
    cr_assert(watch());
    cr_assert(canary_promote(&canary, "so what", 1002 * SECOND));
    counts.nan++;
    cr_assert_not(watch(), "people have the last word");
    cr_assert_eq(canary.phase, CANARY_PROMOTED);
}
