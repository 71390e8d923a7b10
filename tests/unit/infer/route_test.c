#include "infer/route.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct config_version linear = {.name = "linear", .full_name = "digits@linear"};
static const struct config_version forest = {.name = "forest", .full_name = "digits@forest"};
static const struct config_version dark = {.name = "dark", .full_name = "digits@dark"};
static const struct config_version night = {.name = "night", .full_name = "digits@night"};
static const struct config_arm arms[] = {
    {&linear, "control", 40}, {&dark, "digits@dark", 0}, {&forest, "forest", 30}, {&night, "night", 30}};
static const struct config_endpoint endpoint = {.arms = arms, .n_arms = 4, .weight_sum = 100};
static const double weights[] = {40, 0, 30, 30};
static struct plan_endpoint place = {.weights = weights};

static void setup(void)
{
    struct split_arm shares[4];
    for (int i = 0; i < 4; i++)
        shares[i] = (struct split_arm){arms[i].name, weights[i]};
    place.split = split_new("endpoint", shares, 4);
    cr_assert_not_null(place.split);
}

static void teardown(void)
{
    split_unref(place.split);
}

TestSuite(route, .init = setup, .fini = teardown);

Test(route, requests_of_nobody_spread_by_the_weights_and_none_go_to_zero)
{
    int picked[4] = {0};
    for (uint64_t id = 1; id <= 100000; id++)
        picked[route_pick(&endpoint, &place, route_key(&place, NULL, 0, id)) - arms]++;
    cr_assert_eq(picked[1], 0);
    for (int i = 0; i < 4; i++) {
        double expected = split_owned(place.split, (uint32_t)i) * 10.0;
        cr_expect(picked[i] > expected * 0.97 - 1 && picked[i] < expected * 1.03 + 1, "arm %d: %d", i,
                  picked[i]);
    }
}

Test(route, a_client_stays_whatever_its_requests_are_called)
{
    const struct config_arm *arm = route_pick(&endpoint, &place, route_key(&place, "ann", 3, 1));
    for (uint64_t id = 2; id < 100; id++)
        cr_assert_eq(route_pick(&endpoint, &place, route_key(&place, "anna", 3, id)), arm,
                     "three bytes of it");
    int others = 0;
    for (uint64_t user = 0; user < 100; user++)
        others +=
            route_pick(&endpoint, &place, route_key(&place, (const char *)&user, sizeof user, 1)) != arm;
    cr_assert_gt(others, 30, "others go elsewhere");
    cr_assert_not_null(route_pick(&endpoint, &place, route_key(&place, "", 0, 1)),
                       "no bytes are a client, too");
}

Test(route, spills_by_the_weights_of_the_arms_that_are_ready)
{
    int picked[4] = {0}, spilled = 0;
    for (uint64_t id = 0; id < 100000; id++) {
        uint64_t key = route_key(&place, NULL, 0, id);
        if (route_pick(&endpoint, &place, key) != &arms[0])
            continue;
        spilled++;
        picked[route_spill(&endpoint, &place, key, (const bool[]){false, true, true, true}) - arms]++;
    }
    cr_assert_eq(picked[0] + picked[1], 0, "not ready, and of no weight");
    cr_assert_lt(abs(picked[2] - spilled / 2), spilled / 40,
                 "%d of %d: the key chose the arm before, evenly all the same", picked[2], spilled);
    cr_assert_eq(route_spill(&endpoint, &place, 7, (const bool[]){false, true, false, true}), &arms[3]);
    cr_assert_null(route_spill(&endpoint, &place, 7, (const bool[]){false, true, false, false}),
                   "of weight 0 alone");
    cr_assert_null(route_spill(&endpoint, &place, 7, (const bool[4]){false}));
    cr_assert_eq(route_spill(&endpoint, &place, 4711, (const bool[]){false, true, true, true}),
                 route_spill(&endpoint, &place, 4711, (const bool[]){false, true, true, true}),
                 "a key stays");
    for (int i = 0; i < 64; i++)
        cr_assert_not_null(
            route_spill(&endpoint, &place, UINT64_MAX >> i, (const bool[]){true, true, true, true}));
}

Test(route, knows_whether_others_could_answer)
{
    static const double alone[] = {0, 0, 5, 0};
    const struct plan_endpoint one = {.weights = alone};
    cr_assert(route_has_others(&endpoint, &place, &arms[0]));
    cr_assert(route_has_others(&endpoint, &one, &arms[0]));
    cr_assert_not(route_has_others(&endpoint, &one, &arms[2]));
}

Test(route, finds_an_arm_by_what_replies_call_it)
{
    cr_assert_eq(route_arm(&endpoint, "control"), &arms[0]);
    cr_assert_eq(route_arm(&endpoint, "digits@dark"), &arms[1],
                 "asked for by name, its weight does not matter");
    cr_assert_null(route_arm(&endpoint, "linear"));
    cr_assert_null(route_arm(&endpoint, ""));
}

static const struct config_arm *named(const char *version)
{
    return route_named(&endpoint, version, strlen(version));
}

Test(route, finds_a_version_by_its_short_or_full_name_whole)
{
    cr_assert_eq(named("forest"), &arms[2]);
    cr_assert_eq(named("digits@linear"), &arms[0]);
    cr_assert_eq(named("dark"), &arms[1], "asked for by name, its weight does not matter");
    cr_assert_null(named("fores"));
    cr_assert_null(named("forest2"));
    cr_assert_null(named("Forest"));
    cr_assert_null(named("other@forest"));
    cr_assert_null(named(""));
    cr_assert_null(route_named(&endpoint, "forest\0x", 8), "the length is the client's, bytes and all");
    cr_assert_eq(route_named(&endpoint, "forestry", 6), &arms[2], "not terminated");
}
