/* Buckets: who owns them, who wins when weights change, and that the answer never depends on anything else.
 */
#include "infer/split.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ARMS_MAX = 256 };

static struct split *split_of(const char *salt, const double *weights, uint32_t n)
{
    static char names[ARMS_MAX][16];
    struct split_arm arms[ARMS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "m@v%u", i);
        arms[i] = (struct split_arm){names[i], weights[i]};
    }
    struct split *split = split_new(salt, arms, n);
    cr_assert_not_null(split);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += split_owned(split, i);
    cr_assert_eq(sum, SPLIT_BUCKETS);
    return split;
}

#define SPLIT(...)                                                                                           \
    split_of("e", (const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

Test(split, shares_are_the_weights_within_five_deviations)
{
    static const double weights[] = {70, 20, 9.5, 0.5};
    struct split *split = split_of("e", weights, 4);
    for (uint32_t i = 0; i < 4; i++) {
        double share = weights[i] / 100, deviation = sqrt(SPLIT_BUCKETS * share * (1 - share));
        cr_expect_leq(fabs(split_owned(split, i) - SPLIT_BUCKETS * share), 5 * deviation, "arm %u has %u", i,
                      split_owned(split, i));
    }
    split_unref(split);
}

Test(split, only_ratios_of_weights_count)
{
    struct split *one = SPLIT(1, 2, 4), *other = SPLIT(0.25, 0.5, 1);
    for (uint32_t bucket = 0; bucket < SPLIT_BUCKETS; bucket++)
        cr_assert_eq(split_arm(one, bucket), split_arm(other, bucket));
    split_unref(one);
    split_unref(other);
}

Test(split, weight_0_owns_nothing_and_all_is_all)
{
    struct split *split = SPLIT(0, 1, 0);
    cr_expect_eq(split_owned(split, 0), 0);
    cr_expect_eq(split_owned(split, 1), SPLIT_BUCKETS);
    cr_expect_eq(split_owned(split, 2), 0);
    split_unref(split);
}

/* The arms whose weight grows relative to every other only win; those that fall only lose. */
static void expect_moves(const double *from, const double *to, uint32_t n)
{
    struct split *before = split_of("e", from, n), *after = split_of("e", to, n);
    for (uint32_t bucket = 0; bucket < SPLIT_BUCKETS; bucket++) {
        uint32_t old = split_arm(before, bucket), new = split_arm(after, bucket);
        if (old != new)
            cr_assert_gt(to[new] * from[old], to[old] * from[new], "bucket %u went from arm %u to %u", bucket,
                         old, new);
    }
    split_unref(before);
    split_unref(after);
}

Test(split, a_growing_arm_only_adds_buckets)
{
    static const double ways[][2][3] = {
        {{99, 1, 0}, {90, 10, 0}},    {{90, 10, 0}, {50, 50, 0}},   {{98, 1, 1}, {90, 5, 5}},
        {{80, 10, 10}, {70, 20, 10}}, {{60, 30, 10}, {60, 30, 11}}, {{1, 1, 1}, {1, 2, 3}},
        {{50, 50, 0}, {50, 50, 5}},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        expect_moves(ways[i][0], ways[i][1], 3);
}

Test(split, a_canary_in_steps_never_sends_a_client_back)
{
    static const double steps[] = {0.01, 0.1, 1, 5, 25, 50, 75, 99, 100};
    bool was_there[SPLIT_BUCKETS] = {false};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct split *split = SPLIT(100 - steps[i], steps[i]);
        for (uint32_t bucket = 0; bucket < SPLIT_BUCKETS; bucket++) {
            bool is_there = split_arm(split, bucket) == 1;
            cr_assert(is_there || !was_there[bucket], "bucket %u came back at %g %%", bucket, steps[i]);
            was_there[bucket] = is_there;
        }
        cr_assert_gt(split_owned(split, 1), 0, "%g %% is more than nothing", steps[i]);
        split_unref(split);
    }
}

Test(split, every_arm_above_0_has_a_bucket_however_small)
{
    double weights[ARMS_MAX];
    for (uint32_t i = 0; i < ARMS_MAX; i++)
        weights[i] = i ? 1e-12 : 1e12;
    struct split *split = split_of("e", weights, ARMS_MAX);
    for (uint32_t i = 0; i < ARMS_MAX; i++)
        cr_expect_geq(split_owned(split, i), 1, "arm %u", i);
    split_unref(split);
}

Test(split, salts_split_independently)
{
    struct split *one = split_of("one", (const double[]){1, 1}, 2),
                 *other = split_of("other", (const double[]){1, 1}, 2);
    uint32_t alike = 0;
    for (uint32_t bucket = 0; bucket < SPLIT_BUCKETS; bucket++)
        alike += split_arm(one, bucket) == split_arm(other, bucket);
    cr_expect_leq(abs((int)alike - SPLIT_BUCKETS / 2), 300, "%u of %d alike", alike, SPLIT_BUCKETS);
    cr_expect_neq(split_hash(one, "ann", 3), split_hash(other, "ann", 3));
    split_unref(one);
    split_unref(other);
}

/* What gateways of other builds and machines must agree in: changing it moves every sticky client of
 * everybody. */
Test(split, is_the_same_everywhere_and_forever)
{
    struct split *split = SPLIT(90, 10);
    static const char *const users[] = {"", "ann", "bob", "user-123456789"};
    char seen[128] = "";
    for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
        uint32_t bucket = (uint32_t)(split_hash(split, users[i], strlen(users[i])) % SPLIT_BUCKETS);
        snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%u:%u ", bucket, split_arm(split, bucket));
    }
    cr_expect_str_eq(seen, "6368:0 7150:0 6279:0 1906:1 ");
    cr_expect_eq(split_owned(split, 1), 983);
    split_unref(split);
}

Test(split, keys_spread_evenly_over_buckets)
{
    struct split *split = SPLIT(1);
    static uint32_t hits[SPLIT_BUCKETS];
    for (uint32_t i = 0; i < 100 * SPLIT_BUCKETS; i++) {
        char key[32];
        int length = snprintf(key, sizeof key, "user-%u", i);
        hits[split_hash(split, key, (size_t)length) % SPLIT_BUCKETS]++;
    }
    double chi = 0; /* 9,999 degrees of freedom: 141 is its deviation */
    for (uint32_t bucket = 0; bucket < SPLIT_BUCKETS; bucket++)
        chi += (hits[bucket] - 100.0) * (hits[bucket] - 100.0) / 100.0;
    cr_expect_lt(fabs(chi - 9999), 6 * 141, "chi squared is %g", chi);
    split_unref(split);
}
