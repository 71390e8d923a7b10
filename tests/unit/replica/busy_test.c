/* When a replica will be free, and how slow it is. */
#include "replica/busy.h"

#include <criterion/criterion.h>

Test(busy, is_free_now_until_something_is_sent)
{
    struct busy busy = {0};
    cr_assert_eq(busy_until_us(&busy, 1000), 1000);
    busy_sent(&busy, 500, 1000);
    cr_assert_eq(busy_until_us(&busy, 1000), 1500);
    cr_assert_eq(busy_until_us(&busy, 1400), 1500);
    busy_sent(&busy, 300, 1400);
    cr_assert_eq(busy_until_us(&busy, 1400), 1800, "one after the other");
}

Test(busy, who_comes_back_early_or_late_corrects_what_follows)
{
    struct busy busy = {0};
    busy_sent(&busy, 500, 1000);
    busy_sent(&busy, 300, 1100);
    cr_assert_eq(busy_back(&busy, 500, 1450), 450);
    cr_assert(busy_until_us(&busy, 1450) >= 1745 && busy_until_us(&busy, 1450) <= 1750);
    cr_assert_eq(busy_back(&busy, 300, 1790), 340, "without the time that it waited behind the first");
    cr_assert_eq(busy_until_us(&busy, 1790), 1790);
    busy_sent(&busy, 100, 5000);
    cr_assert_eq(busy_back(&busy, 100, 5100), 100, "nor the time in which there was nothing to do");
}

Test(busy, who_is_late_will_be_as_late_again)
{
    struct busy busy = {0};
    busy_sent(&busy, 500, 1000);
    cr_assert_eq(busy_until_us(&busy, 1700), 1900);
    cr_assert_eq(busy_until_us(&busy, 101500), 201500);
}

Test(busy, learns_how_slow_it_is_and_not_from_what_came_to_nothing)
{
    struct busy busy = {0};
    uint64_t now_us = 0;
    for (int i = 0; i < 400; i++) {
        busy_sent(&busy, 1000, now_us);
        busy_back(&busy, 1000, now_us += 2000);
    }
    cr_assert_float_eq(busy_slowness(&busy), 2, 0.05);
    busy_sent(&busy, 1000, now_us);
    cr_assert(busy_until_us(&busy, now_us) > now_us + 1900);
    busy_lost(&busy, 1000, false, now_us += 1000000);
    cr_assert_float_eq(busy_slowness(&busy), 2, 0.05);
    busy_sent(&busy, 0, now_us);
    busy_back(&busy, 0, now_us += 5000);
    cr_assert_float_eq(busy_slowness(&busy), 2, 0.05, "nothing was expected of it");
    busy_sent(&busy, 1000, now_us);
    busy_back(&busy, 1000, now_us += 1000000000);
    cr_assert_leq(busy_slowness(&busy), 2.1, "a pause is no habit");
}

Test(busy, works_on_what_was_given_up)
{
    struct busy busy = {0};
    busy_sent(&busy, 500, 1000);
    cr_assert_eq(busy_lost(&busy, 500, true, 1200), 200);
    cr_assert_eq(busy_until_us(&busy, 1200), 1500);
    cr_assert_eq(busy_given_up_us(&busy), 1500);
    busy_sent(&busy, 300, 1300);
    cr_assert_eq(busy_given_up_us(&busy), 1500, "what is asked for is not part of it");
    cr_assert_eq(busy_until_us(&busy, 1300), 1800, "behind the rest");
    cr_assert_eq(busy_back(&busy, 300, 1800), 300, "and does not pay for it");
    busy_sent(&busy, 500, 5000);
    cr_assert_leq(busy_given_up_us(&busy), 5000, "nothing is left of it");
    busy_lost(&busy, 500, false, 5100);
    cr_assert_eq(busy_until_us(&busy, 5100), 5100, "a replica that is gone does not");
}

Test(busy, who_is_slow_is_done_later_than_who_has_something_to_do_yet)
{
    struct busy slow = {.excess = 2}, quick = {0};
    busy_sent(&quick, 1000, 0);
    cr_assert_eq(busy_done_us(&slow, 1000, 500), 3500);
    cr_assert_eq(busy_done_us(&quick, 1000, 500), 2000);
    cr_assert_eq(busy_done_us(&slow, 0, 500), 500);
}

Test(busy, who_was_slow_once_is_not_held_to_it_for_ever)
{
    struct busy busy = {.excess = 2};
    busy_sent(&busy, 1000, 0);
    cr_assert_eq(busy_lost(&busy, 1000, false, 3000), 3000);
    cr_assert_eq(busy_done_us(&busy, 1000, 3000), 6000);
    uint64_t later_us = 10003000, forgotten_us = busy_done_us(&busy, 1000, later_us) - later_us;
    cr_assert(forgotten_us >= 1999 && forgotten_us <= 2001, "half of it");
    busy_sent(&busy, 1000, later_us);
    cr_assert(busy_slowness(&busy) > 1.99 && busy_slowness(&busy) < 2.01, "and for good, when it is asked");
}
