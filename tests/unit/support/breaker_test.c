/* breaker: the circuit of breaker.h, edge by edge, with a clock of the test's. */
#include <criterion/criterion.h>

#include "support/breaker.h"

static const struct breaker_limits limits = {.timeouts = 3, .wait_least_us = 100, .wait_most_us = 1000};

static struct breaker closed_at(uint64_t now_us)
{
    struct breaker breaker;
    breaker_init(&breaker, &limits, now_us);
    breaker_close(&breaker, now_us);
    return breaker;
}

Test(breaker, begins_half_open)
{
    struct breaker breaker;
    breaker_init(&breaker, &limits, 7);
    cr_assert_eq(breaker.state, BREAKER_HALF_OPEN);
    cr_assert_eq(breaker.since_us, 7);
}

Test(breaker, timeouts_count_only_in_a_row)
{
    struct breaker breaker = closed_at(0);
    cr_assert_not(breaker_timed_out(&breaker));
    cr_assert_not(breaker_timed_out(&breaker));
    breaker_answered(&breaker);
    cr_assert_not(breaker_timed_out(&breaker));
    cr_assert_not(breaker_timed_out(&breaker));
    cr_assert(breaker_timed_out(&breaker));
}

Test(breaker, the_wait_doubles_while_probes_fail)
{
    struct breaker breaker = closed_at(0);
    uint64_t now_us = 5000;
    for (uint64_t wait_us = 100; wait_us < 1000; wait_us *= 2) {
        cr_assert_eq(breaker_open(&breaker, now_us, 0), now_us + wait_us);
        cr_assert_eq(breaker.state, BREAKER_OPEN);
        breaker_probe(&breaker, now_us += wait_us);
        cr_assert_eq(breaker.state, BREAKER_HALF_OPEN);
    }
    cr_assert_eq(breaker_open(&breaker, now_us, 0), now_us + 1000);
    breaker_probe(&breaker, now_us + 1000);
    cr_assert_eq(breaker_open(&breaker, now_us + 1000, 0), now_us + 2000);
}

Test(breaker, what_falters_again_soon_waits_longer)
{
    struct breaker breaker = closed_at(0);
    breaker_open(&breaker, 5000, 0);
    breaker_probe(&breaker, 5100);
    breaker_close(&breaker, 5100);
    cr_assert_eq(breaker_open(&breaker, 6099, 0), 6099 + 200);
    breaker_probe(&breaker, 7000);
    breaker_close(&breaker, 7000);
    cr_assert_eq(breaker_open(&breaker, 8000, 0), 8000 + 100, "it was well for long enough");
}

Test(breaker, randomness_takes_a_quarter_at_most)
{
    struct breaker breaker = closed_at(0);
    cr_assert_eq(breaker_open(&breaker, 5000, UINT32_MAX), 5000 + 75);
}

Test(breaker, every_state_has_a_name)
{
    cr_assert_str_eq(breaker_state_name(BREAKER_CLOSED), "closed");
    cr_assert_str_eq(breaker_state_name(BREAKER_OPEN), "open");
    cr_assert_str_eq(breaker_state_name(BREAKER_HALF_OPEN), "half_open");
}
