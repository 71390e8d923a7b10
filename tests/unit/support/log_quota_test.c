/* log_quota: a burst, then one in so long; what is left out is told. */
#include <criterion/criterion.h>

#include "support/log_quota.h"

enum { BURST = 3, EVERY_US = 1000, START_US = 500000 };

static struct log_quota quota;

static void set_up(void)
{
    log_quota_init(&quota, BURST, EVERY_US, START_US);
}

static uint32_t taken(uint64_t now_us)
{
    uint32_t n = 0;
    for (int i = 0; i < 10; i++)
        n += log_quota_take(&quota, now_us);
    return n;
}

TestSuite(log_quota, .init = set_up);

Test(log_quota, a_burst_and_what_is_over_is_counted_once)
{
    cr_assert_eq(taken(START_US), BURST);
    cr_assert_eq(log_quota_unsaid(&quota), 10 - BURST);
    cr_assert_eq(log_quota_unsaid(&quota), 0);
}

Test(log_quota, then_one_in_so_long_however_often_it_is_asked)
{
    taken(START_US);
    cr_assert_eq(taken(START_US + EVERY_US - 1), 0);
    cr_assert_eq(taken(START_US + EVERY_US), 1);
    cr_assert_eq(taken(START_US + EVERY_US + EVERY_US / 2), 0);
    cr_assert_eq(taken(START_US + 2 * EVERY_US), 1, "halves are not lost");
}

Test(log_quota, no_more_than_a_burst_is_saved_up)
{
    taken(START_US);
    cr_assert_eq(taken(START_US + (uint64_t)1000 * EVERY_US), BURST);
}
