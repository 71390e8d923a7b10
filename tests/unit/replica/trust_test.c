/* Who may have calls. */
#include "replica/trust.h"

#include <criterion/criterion.h>

#define MS 1000u

/* A call sent then is given up; and the replica is ejected, if that is enough. */
static bool give_up(struct trust *trust, uint64_t sent_us, uint64_t now_us)
{
    if (!trust_given_up(trust, sent_us))
        return false;
    trust_become(trust, TRUST_EJECTED, now_us);
    return true;
}

Test(trust, three_calls_given_up_in_a_row_are_too_many)
{
    struct trust trust = {0};
    cr_assert(!give_up(&trust, 10 * MS, 20 * MS));
    cr_assert(!give_up(&trust, 5 * MS, 20 * MS));
    cr_assert_eq(trust.silent_since_us, 5 * MS);
    cr_assert(give_up(&trust, 20 * MS, 30 * MS));
    cr_assert_eq(trust.state, TRUST_EJECTED);
}

Test(trust, an_answer_between_them_begins_the_count_anew)
{
    struct trust trust = {0};
    for (unsigned i = 1; i < 50; i++) {
        cr_assert(!give_up(&trust, 10 * i * MS, 10 * i * MS + 9 * MS));
        if (i % 2 == 0)
            cr_assert_eq(trust_answered(&trust, 10 * i * MS + 9 * MS), TRUSTED);
    }
    struct trust silent = {0};
    cr_assert_eq(trust_answered(&silent, 100 * MS), TRUSTED);
    cr_assert(!give_up(&silent, 90 * MS, 110 * MS));
    cr_assert_eq(silent.silent_since_us, 100 * MS, "it was not silent while it answered another one");
}

Test(trust, who_has_rested_is_tried_and_three_answers_are_enough)
{
    struct trust trust = {0};
    trust_become(&trust, TRUST_EJECTED, 1000 * MS);
    cr_assert(!trust_has_rested(&trust, 1099 * MS));
    cr_assert(trust_has_rested(&trust, 1100 * MS));
    trust_become(&trust, TRUST_ON_TRIAL, 1100 * MS);
    cr_assert(!trust_has_rested(&trust, 9000 * MS), "it is not at rest");
    cr_assert(!trust_given_up(&trust, 999 * MS), "of the time before");
    cr_assert_eq(trust_answered(&trust, 1110 * MS), TRUST_ON_TRIAL);
    cr_assert_eq(trust_answered(&trust, 1120 * MS), TRUST_ON_TRIAL);
    cr_assert_eq(trust_answered(&trust, 1130 * MS), TRUSTED);
}

Test(trust, each_trial_that_is_failed_doubles_the_rest_up_to_ten_seconds)
{
    struct trust trust = {0};
    uint64_t now_us = 1000 * MS, rest_us = 100 * MS;
    trust_become(&trust, TRUST_EJECTED, now_us);
    for (int i = 0; i < 12; i++) {
        cr_assert_eq(trust.rested_us - now_us, rest_us, "trial %d", i);
        now_us = trust.rested_us;
        trust_become(&trust, TRUST_ON_TRIAL, now_us);
        cr_assert(give_up(&trust, now_us, now_us + 5 * MS), "one call is enough");
        now_us += 5 * MS;
        rest_us = 2 * rest_us < 10000 * MS ? 2 * rest_us : 10000 * MS;
    }
    trust_become(&trust, TRUST_ON_TRIAL, now_us);
    trust_become(&trust, TRUSTED, now_us);
    trust_become(&trust, TRUST_EJECTED, now_us);
    cr_assert_eq(trust.rested_us - now_us, 100 * MS, "who passed begins anew");
    trust_renew(&trust);
    cr_assert_eq(trust.state, TRUSTED);
    cr_assert_eq(trust.given_up, 0);
}
