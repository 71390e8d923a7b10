#include "infer/route.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct config_version linear = {.name = "linear", .full_name = "digits@linear"};
static const struct config_version forest = {.name = "forest", .full_name = "digits@forest"};
static const struct config_version dark = {.name = "dark", .full_name = "digits@dark"};
static const struct config_arm arms[] = {{&linear, 90}, {&dark, 0}, {&forest, 10}};
static const struct config_endpoint split = {.arms = arms, .n_arms = 3, .weight_sum = 100};

Test(route, lays_the_arms_side_by_side_in_the_order_of_the_file)
{
    cr_assert_eq(route_pick(&split, 0), &arms[0]);
    cr_assert_eq(route_pick(&split, 89), &arms[0]);
    cr_assert_eq(route_pick(&split, 90), &arms[2]);
    cr_assert_eq(route_pick(&split, 99), &arms[2]);
    cr_assert_eq(route_pick(&split, 100), &arms[0]);
}

Test(route, gives_each_arm_its_weight_and_none_to_zero)
{
    int picked[3] = {0};
    for (uint64_t key = 0; key < 10000; key++)
        picked[route_pick(&split, key * 0x9E3779B97F4A7C15 >> 7) - arms]++;
    cr_assert_eq(picked[1], 0);
    cr_assert(picked[2] > 900 && picked[2] < 1100, "%d of 10000", picked[2]);
    cr_assert_eq(picked[0] + picked[2], 10000);
}

Test(route, the_largest_key_and_weights_beyond_32_bits)
{
    static const struct config_arm heavy[] = {{&linear, UINT32_MAX}, {&forest, UINT32_MAX}};
    struct config_endpoint endpoint = {.arms = heavy, .n_arms = 2, .weight_sum = 2ULL * UINT32_MAX};
    cr_assert_eq(route_pick(&endpoint, UINT32_MAX - 1ULL), &heavy[0]);
    cr_assert_eq(route_pick(&endpoint, UINT32_MAX), &heavy[1]);
    cr_assert_not_null(route_pick(&endpoint, UINT64_MAX));
}

Test(route, spills_by_the_weights_of_the_arms_that_are_ready)
{
    static const struct config_version night = {.name = "night", .full_name = "digits@night"};
    static const struct config_arm four[] = {{&linear, 40}, {&dark, 0}, {&forest, 30}, {&night, 30}};
    static const struct config_endpoint endpoint = {.arms = four, .n_arms = 4, .weight_sum = 100};
    int picked[4] = {0};
    for (uint64_t key = 0; key < 100000; key++)
        if (route_pick(&endpoint, key) == &four[0])
            picked[route_spill(&endpoint, key, (const bool[]){false, true, true, true}) - four]++;
    cr_assert_eq(picked[0] + picked[1], 0, "not ready, and of no weight");
    cr_assert(picked[2] > 19000 && picked[2] < 21000,
              "%d of 40000: the key chose the arm before, evenly all the same", picked[2]);
    cr_assert_eq(route_spill(&endpoint, 7, (const bool[]){false, true, false, true}), &four[3]);
    cr_assert_null(route_spill(&endpoint, 7, (const bool[]){false, true, false, false}), "of weight 0 alone");
    cr_assert_null(route_spill(&endpoint, 7, (const bool[4]){false}));
    cr_assert_eq(route_spill(&endpoint, 4711, (const bool[]){false, true, true, true}),
                 route_spill(&endpoint, 4711, (const bool[]){false, true, true, true}), "a key stays");
}

static const struct config_arm *named(const char *version)
{
    return route_named(&split, version, strlen(version));
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
    cr_assert_null(route_named(&split, "forest\0x", 8), "the length is the client's, bytes and all");
    cr_assert_eq(route_named(&split, "forestry", 6), &arms[2], "not terminated");
}
