/* Whose calls take how long, of what the calls of all take. The replicas are made by hand; nothing runs. */
#include "replica/choice.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { CALL_US = 1000, CALLS = 400 };

static const struct pool_version version = {.limits = {.calls_per_replica = 2}};

struct fixture {
    struct replica_home home;
    struct members members;
    uint64_t now_us;
};

static void open_fixture(struct fixture *f, uint32_t replicas)
{
    *f = (struct fixture){.home = {.version = &version}, .members = {.n = replicas}, .now_us = 1};
    for (uint32_t i = 0; i < replicas; i++) {
        f->members.all[i] = calloc(1, sizeof *f->members.all[i] + 1);
        cr_assert_not_null(f->members.all[i]);
        f->members.all[i]->home = &f->home;
        f->members.all[i]->state = REPLICA_READY;
    }
}

static void close_fixture(struct fixture *f)
{
    for (uint32_t i = 0; i < f->members.n; i++)
        free(f->members.all[i]);
}

/* So many calls, of which CALL_US are expected, take it so much longer. */
static void serve(struct fixture *f, uint32_t which, double longer)
{
    struct busy *busy = &f->members.all[which]->busy;
    for (int i = 0; i < CALLS; i++) {
        busy_sent(busy, CALL_US, f->now_us);
        f->now_us += (uint64_t)(CALL_US * longer);
        busy_back(busy, CALL_US, f->now_us);
    }
}

static double slowness(const struct fixture *f, uint32_t which)
{
    return choice_slowness(&f->members, f->members.all[which]);
}

static void expect_near(double got, double expected)
{
    cr_expect(fabs(got - expected) < 0.02 * expected, "%.3f is not %.3f", got, expected);
}

Test(slowness, of_the_only_one_is_that_of_the_model)
{
    struct fixture f;
    open_fixture(&f, 1);
    serve(&f, 0, 2);
    expect_near(busy_slowness(&f.members.all[0]->busy), 2);
    expect_near(slowness(&f, 0), 1);
    expect_near(choice_outlook(&f.members, f.now_us).slowness, 1);
    close_fixture(&f);
}

Test(slowness, is_nobodys_when_all_become_slower)
{
    struct fixture f;
    open_fixture(&f, 3);
    for (uint32_t i = 0; i < 3; i++)
        serve(&f, i, 3);
    for (uint32_t i = 0; i < 3; i++)
        expect_near(slowness(&f, i), 1);
    close_fixture(&f);
}

Test(slowness, is_that_of_the_slow_one_among_those_that_are_ready)
{
    struct fixture f;
    open_fixture(&f, 4);
    for (uint32_t i = 0; i < 4; i++)
        serve(&f, i, i == 3 ? 2 : 1);
    expect_near(slowness(&f, 3), 2 / 1.25);
    expect_near(slowness(&f, 0), 1 / 1.25);
    f.members.all[0]->state = f.members.all[1]->state = REPLICA_CONNECTING;
    expect_near(slowness(&f, 3), 2 / 1.5);
    f.members.all[2]->state = f.members.all[3]->state = REPLICA_CONNECTING;
    expect_near(slowness(&f, 3), 1);
    cr_expect_eq(choice_outlook(&f.members, f.now_us).ready, 0);
    close_fixture(&f);
}

Test(outlook, is_of_whoever_can_begin_first_and_of_what_it_was_left_with)
{
    struct fixture f;
    open_fixture(&f, 2);
    busy_sent(&f.members.all[0]->busy, 9 * CALL_US, f.now_us);
    busy_sent(&f.members.all[1]->busy, 3 * CALL_US, f.now_us);
    busy_lost(&f.members.all[1]->busy, 3 * CALL_US, true, f.now_us + 1);
    struct busy_outlook outlook = choice_outlook(&f.members, f.now_us + 1);
    cr_expect_eq(outlook.start_us, f.now_us + 3 * CALL_US);
    cr_expect_eq(outlook.given_up_us, f.now_us + 3 * CALL_US);
    busy_sent(&f.members.all[1]->busy, 9 * CALL_US, f.now_us + 1);
    outlook = choice_outlook(&f.members, f.now_us + 1);
    cr_expect_eq(outlook.start_us, f.now_us + 9 * CALL_US);
    cr_expect_leq(outlook.given_up_us, f.now_us, "the other works on what is asked for");
    close_fixture(&f);
}
