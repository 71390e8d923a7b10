/* When a call is late. */
#include "replica/lateness.h"

#include <criterion/criterion.h>
#include <stdbool.h>

static uint64_t dice = 7;
static double chance(void)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (double)(dice >> 11) * 0x1p-53;
}

Test(lateness, nothing_is_late_while_nothing_is_known)
{
    struct lateness lateness = {0};
    cr_assert_eq(lateness_after_us(&lateness, 1000), UINT64_MAX);
    for (int i = 0; i < 100; i++)
        lateness_observe(&lateness, 0, 5000); /* nothing was expected of these */
    cr_assert_eq(lateness_after_us(&lateness, 1000), UINT64_MAX);
    for (int i = 0; i < 20; i++)
        lateness_observe(&lateness, 1000, 1000);
    cr_assert_lt(lateness_after_us(&lateness, 1000), 2000);
    cr_assert_eq(lateness_after_us(&lateness, 0), UINT64_MAX);
}

Test(lateness, one_call_of_twenty_is_late_whatever_its_size)
{
    struct lateness lateness = {0};
    uint32_t late = 0, calls = 0;
    for (int i = 0; i < 40000; i++) {
        uint64_t expected_us = 500 + (uint64_t)(chance() * 20000);
        uint64_t took_us = (uint64_t)((double)expected_us * (0.8 + chance())); /* even, up to 1.8 */
        if (i >= 2000) {
            late += took_us > lateness_after_us(&lateness, expected_us);
            calls++;
        }
        lateness_observe(&lateness, expected_us, took_us);
    }
    double share = (double)late / calls;
    cr_assert(share > 0.04 && share < 0.06, "%f", share);
}

Test(lateness, what_a_copy_overtook_counts_as_late)
{
    struct lateness lateness = {0};
    for (int i = 0; i < 20000; i++) { /* as hedging sees it: nobody waits for the end of what is late */
        uint64_t took_us = (uint64_t)(1000 * (0.8 + chance()));
        bool is_late = took_us > lateness_after_us(&lateness, 1000);
        lateness_observe(&lateness, 1000, is_late ? UINT64_MAX : took_us);
    }
    double factor = (double)lateness_after_us(&lateness, 1000) / 1000;
    cr_assert(factor > 1.55 && factor < 1.9, "%f: it does not sink", factor);
}

Test(lateness, a_replica_that_never_answers_moves_it_so_far_and_not_for_good)
{
    struct lateness lateness = {0};
    for (int i = 0; i < 1000; i++)
        lateness_observe(&lateness, 1000, UINT64_MAX);
    cr_assert_leq(lateness_after_us(&lateness, 1000), 16000);
    for (int i = 0; i < 600; i++)
        lateness_observe(&lateness, 1000, 900);
    cr_assert_eq(lateness_after_us(&lateness, 1000), 1000);
}
