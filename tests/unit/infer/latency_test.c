/* What calls take, learned from models whose truth is known. */
#include "infer/latency.h"

#include <criterion/criterion.h>
#include <math.h>

struct model {
    double fixed_us, row_us, sigma;
    uint64_t random;
};

static double uniform(struct model *model)
{
    model->random = model->random * 6364136223846793005u + 1442695040888963407u;
    return ((double)(model->random >> 11) + 0.5) * 0x1p-53;
}

static double call_us(struct model *model, uint32_t rows)
{
    double normal = sqrt(-2 * log(uniform(model))) * cos(2 * M_PI * uniform(model));
    return (model->fixed_us + model->row_us * rows) * exp(model->sigma * normal);
}

static void observe(struct latency *latency, struct model *model, uint32_t rows)
{
    latency_observe(latency, rows, (uint64_t)call_us(model, rows), 1);
}

static void cr_near(double got, double expected, double share)
{
    cr_assert(fabs(got - expected) <= share * expected, "%.1f is not %.1f", got, expected);
}

Test(latency, knows_nothing_at_first_and_hopes_that_more_rows_cost_nothing)
{
    struct latency latency = {0};
    cr_assert_not(latency_is_known(&latency));
    cr_assert_eq(latency_typical_us(&latency, 100), 0);
    cr_assert_eq(latency_rows_within(&latency, 1000), UINT32_MAX);
    latency_observe(&latency, 4, 2000, 1);
    cr_near(latency_typical_us(&latency, 8), 2000, 0.01);
    cr_assert_not(latency_is_known(&latency));
}

Test(latency, finds_the_line_through_batches_of_many_sizes)
{
    struct latency latency = {0};
    struct model model = {2000, 25, 0.1, 1};
    for (int i = 0; i < 300; i++)
        observe(&latency, &model, 1 + (uint32_t)(uniform(&model) * 200));
    cr_assert(latency_is_known(&latency));
    for (uint32_t rows = 1; rows <= 400; rows *= 2)
        cr_near(latency_typical_us(&latency, rows), 2000 + 25.0 * rows, 0.15);
}

Test(latency, covers_98_calls_of_100_and_few_more)
{
    struct latency latency = {0};
    struct model model = {2000, 25, 0.2, 7};
    int above = 0;
    for (int i = 0; i < 6000; i++) {
        uint32_t rows = 20 + (uint32_t)(uniform(&model) * 50);
        double us = call_us(&model, rows);
        above += i >= 1000 && us > latency_likely_us(&latency, rows);
        latency_observe(&latency, rows, (uint64_t)us, 1);
    }
    cr_assert(above > 25 && above < 200, "%d of 5000 above", above);
}

Test(latency, rows_within_is_the_inverse_of_what_is_likely)
{
    struct latency latency = {0};
    struct model model = {2000, 25, 0.05, 3};
    for (int i = 0; i < 200; i++)
        observe(&latency, &model, 1 + (uint32_t)i % 100);
    for (double us = 500; us < 50000; us *= 1.3) {
        uint32_t rows = latency_rows_within(&latency, us);
        cr_assert(rows == 0 || latency_likely_us(&latency, rows) <= us * 1.001);
        cr_assert_gt(latency_likely_us(&latency, rows + 1), us * 0.999);
    }
}

Test(latency, holds_the_slope_when_all_batches_are_of_one_size)
{
    struct latency latency = {0};
    struct model model = {2000, 25, 0.1, 5};
    for (int i = 0; i < 200; i++)
        observe(&latency, &model, 1 + (uint32_t)i % 100);
    for (int i = 0; i < 2000; i++)
        observe(&latency, &model, 60);
    cr_near(latency_typical_us(&latency, 120), 2000 + 25.0 * 120, 0.3);
    cr_near(latency_typical_us(&latency, 30), 2000 + 25.0 * 30, 0.3);
}

Test(latency, follows_a_change_within_five_calls_and_does_not_take_it_for_noise)
{
    struct latency latency = {0};
    struct model model = {2000, 25, 0.05, 9};
    for (int i = 0; i < 500; i++)
        observe(&latency, &model, 40 + (uint32_t)i % 20);
    double noise = latency.noise;
    model.fixed_us *= 2;
    model.row_us *= 2;
    for (int i = 0; i < 5; i++)
        observe(&latency, &model, 50);
    cr_near(latency_typical_us(&latency, 50), 2 * 3250, 0.1);
    cr_assert_leq(latency.noise, noise * 1.25);
    model.fixed_us /= 2;
    model.row_us /= 2;
    for (int i = 0; i < 5; i++)
        observe(&latency, &model, 50);
    cr_near(latency_typical_us(&latency, 50), 3250, 0.1);
}

Test(latency, a_model_whose_every_row_costs_the_same_is_soon_known_for_it)
{
    struct latency latency = {0};
    struct model model = {0, 500, 0.05, 23};
    for (int i = 0; i < 20; i++)
        observe(&latency, &model, 1);
    for (int i = 0; i < 8; i++)
        observe(&latency, &model, 8);
    cr_near(latency_typical_us(&latency, 8), 4000, 0.15);
    for (int i = 0; i < 8; i++)
        observe(&latency, &model, 1 + 9 * ((uint32_t)i % 2));
    cr_near(latency_typical_us(&latency, 20), 10000, 0.2);
}

/* The model becomes slower, so more rows wait, so batches are larger: for a while that looks like a slope. */
Test(latency, a_change_that_was_taken_for_a_slope_is_forgotten_soon)
{
    struct latency latency = {0};
    struct model model = {2700, 12, 0.1, 21};
    for (int i = 0; i < 500; i++)
        observe(&latency, &model, 15 + (uint32_t)i % 12);
    model.fixed_us *= 2;
    model.row_us *= 2;
    for (int i = 0; i < 8; i++)
        observe(&latency, &model, 45 + (uint32_t)i % 6);
    for (int i = 0; i < 40; i++)
        observe(&latency, &model, 20 + (uint32_t)i % 30);
    cr_near(latency_typical_us(&latency, 1), 5424, 0.15);
    cr_near(latency_typical_us(&latency, 64), 6936, 0.15);
}

Test(latency, one_or_two_outliers_do_next_to_nothing)
{
    struct latency latency = {0};
    struct model model = {2000, 25, 0.05, 11};
    for (int i = 0; i < 500; i++)
        observe(&latency, &model, 40 + (uint32_t)i % 20);
    double before = latency_likely_us(&latency, 50);
    latency_observe(&latency, 50, 100000000, 1);
    latency_observe(&latency, 50, 1, 1);
    cr_near(latency_likely_us(&latency, 50), before, 0.15);
    for (int i = 0; i < 200; i++)
        observe(&latency, &model, 40 + (uint32_t)i % 20);
    cr_near(latency_likely_us(&latency, 50), before, 0.15);
}

Test(latency, a_pause_in_the_first_large_batch_is_got_over)
{
    struct latency latency = {0};
    struct model model = {2000, 25, 0.05, 13};
    for (int i = 0; i < 100; i++)
        observe(&latency, &model, 1 + (uint32_t)i % 4);
    latency_observe(&latency, 100, 500000, 1);
    for (int i = 0; i < 100; i++)
        observe(&latency, &model, 1 + (uint32_t)i % 100);
    cr_near(latency_typical_us(&latency, 100), 4500, 0.15);
}

Test(latency, is_about_all_replicas_not_the_slow_one_alone)
{
    struct latency latency = {0};
    for (int i = 0; i < 1000; i++) /* every third call goes to one that is twice as slow as the others */
        latency_observe(&latency, 50, i % 3 ? 3000 : 6000, i % 3 ? 0.75 : 1.5);
    cr_near(latency_typical_us(&latency, 50), 4000, 0.05);
    cr_assert_leq(latency.noise, 1.1, "what the replica explains is not noise: %.2f", latency.noise);
}

Test(latency, any_numbers_leave_it_finite)
{
    struct latency latency = {0};
    struct model model = {.random = 17};
    for (int i = 0; i < 100000; i++) {
        uint32_t rows = (uint32_t)(1 / uniform(&model));
        latency_observe(&latency, rows,
                        uniform(&model) < 0.1 ? UINT64_MAX / 2 : (uint64_t)(1 / uniform(&model)), 1);
        double us = latency_likely_us(&latency, 1 + rows);
        cr_assert(isfinite(us) && us > 0 && latency.fixed_us >= 0 && latency.row_us >= 0, "%g after %d", us,
                  i);
    }
}
