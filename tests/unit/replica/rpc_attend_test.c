/* rpc_attend: quick replies are looked for, slow and overdue ones are slept for. */
#include "replica/rpc_attend.h"

#include <criterion/criterion.h>

Test(rpc_attend, a_quick_reply_is_looked_for_until_it_is_overdue)
{
    struct rpc_attend attend = {0};
    cr_expect_not(rpc_attend_pays(&attend, 1000));
    rpc_attend_expect(&attend, 1000, 50);
    cr_expect(rpc_attend_pays(&attend, 1000));
    cr_expect(rpc_attend_pays(&attend, 1129));
    cr_expect_not(rpc_attend_pays(&attend, 1130));
    rpc_attend_ended(&attend);
    cr_expect_not(rpc_attend_pays(&attend, 1001), "nothing is out");
}

Test(rpc_attend, the_last_quick_one_counts)
{
    struct rpc_attend attend = {0};
    rpc_attend_expect(&attend, 1000, 100);
    rpc_attend_expect(&attend, 1001, 10);
    cr_expect(rpc_attend_pays(&attend, 1229));
    rpc_attend_ended(&attend);
    cr_expect(rpc_attend_pays(&attend, 1229));
}

Test(rpc_attend, slow_and_unknown_replies_are_slept_for)
{
    struct rpc_attend attend = {0};
    rpc_attend_expect(&attend, 1000, 0);
    rpc_attend_expect(&attend, 1000, 151);
    cr_expect_not(rpc_attend_pays(&attend, 1000));
}

Test(rpc_attend, what_is_usual_follows_what_is)
{
    uint64_t usual_us = rpc_attend_learn(0, 800);
    cr_expect_eq(usual_us, 800);
    for (int i = 0; i < 100; i++)
        usual_us = rpc_attend_learn(usual_us, 40);
    cr_expect_leq(usual_us, 48);
    cr_expect_eq(rpc_attend_learn(usual_us, 0), usual_us * 7 / 8);
}
