/* worst: which stay, what is kept of them, that copies outlive what was offered. */
#include "judge/worst.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const float inputs_data[] = {1, 2, 3, 4};
static const int64_t answers_data[] = {5, 6};

static struct tensor tensor_of(const char *name, enum datatype datatype, int64_t width, const void *data,
                               size_t bytes)
{
    return (struct tensor){.spec = {.name = name, .datatype = datatype, .dims = 2, .shape = {2, width}},
                           .data = data,
                           .bytes = bytes};
}

/* Two rows: x [2, 2], answered by y [2, 1]. */
struct scene {
    struct tensor input, output;
    struct predict_result result;
    struct worst_offer offer;
};

static struct scene *scene_new(void)
{
    struct scene *scene = calloc(1, sizeof *scene);
    scene->input = tensor_of("x", DT_FP32, 2, inputs_data, sizeof inputs_data);
    scene->output = tensor_of("y", DT_INT64, 1, answers_data, sizeof answers_data);
    scene->result.n_rows = 2;
    scene->result.n_outputs = 1;
    scene->result.outputs = &scene->output;
    scene->offer = (struct worst_offer){.row = {COMPARE_LABEL, 2e6},
                                        .request_id = "request-1",
                                        .at_us = 77,
                                        .inputs = &scene->input,
                                        .n_inputs = 1,
                                        .input_row = 1,
                                        .primary = &scene->result,
                                        .shadow = &scene->result,
                                        .primary_row = 0,
                                        .shadow_row = 1};
    return scene;
}

static struct worst *worst_of(uint32_t examples, size_t row_bytes, enum worst_inputs inputs)
{
    struct worst_limits limits = {
        .examples = examples, .row_bytes = row_bytes, .inputs = inputs, .key = {1, 2, 3}};
    struct worst *worst = worst_new(&limits);
    cr_assert_not_null(worst);
    return worst;
}

static const struct worst_example *only(const struct worst *worst)
{
    const struct worst_example *example;
    cr_assert_eq(worst_list(worst, &example, 1), 1);
    return example;
}

Test(worst, copies_outlive_what_was_offered)
{
    struct worst *worst = worst_of(3, 1024, WORST_INPUTS_KEPT);
    struct scene *scene = scene_new();
    cr_assert_eq(worst_add(worst, &scene->offer), GW_OK);
    free(scene);

    const struct worst_example *example = only(worst);
    size_t bytes;
    cr_assert_str_eq(example->request_id, "request-1");
    cr_assert_eq(example->at_us, 77);
    cr_assert_eq(example->row.verdict, COMPARE_LABEL);
    cr_assert_eq(example->input_bytes, 8);
    cr_assert_str_eq(example->inputs->outputs[0].spec.name, "x");
    cr_assert_arr_eq(tensor_row(&example->inputs->outputs[0], 0, &bytes), &inputs_data[2], 8);
    cr_assert_eq(bytes, 8);
    cr_assert_arr_eq(tensor_row(&example->primary->outputs[0], 0, &bytes), &answers_data[0], 8);
    cr_assert_arr_eq(tensor_row(&example->shadow->outputs[0], 0, &bytes), &answers_data[1], 8);
    worst_free(worst);
}

Test(worst, the_n_worst_stay_whatever_the_order_and_of_equals_the_older)
{
    struct worst *worst = worst_of(16, 1024, WORST_INPUTS_OMITTED);
    struct scene *scene = scene_new();
    const struct worst_example *examples[20];
    for (uint32_t i = 0; i < 1000; i++) { /* 7 and 1000 have no common divisor: every number once */
        scene->offer.row.badness = 1 + i * 7 % 1000;
        cr_assert_eq(worst_add(worst, &scene->offer), GW_OK);
    }
    cr_assert_eq(worst_list(worst, examples, 20), 16);
    for (uint32_t i = 0; i < 16; i++)
        cr_assert_eq(examples[i]->row.badness, 1000 - i);
    scene->offer.row.badness = 985;
    cr_assert_not(worst_admits(worst, scene->offer.row), "an equal does not push out the older");
    scene->offer.row.badness = 1000;
    cr_assert_eq(worst_add(worst, &scene->offer), GW_OK);
    cr_assert_eq(worst_list(worst, examples, 2), 16);
    cr_assert_lt(examples[0]->order, examples[1]->order);
    worst_clear(worst);
    cr_assert_eq(worst_list(worst, examples, 20), 0);
    worst_free(worst);
    free(scene);
}

Test(worst, agreement_and_nonsense_are_not_admitted)
{
    struct worst *worst = worst_of(4, 1024, WORST_INPUTS_KEPT);
    const double badness[] = {0, -1, __builtin_nan("")};
    for (int i = 0; i < 3; i++)
        cr_assert_not(worst_admits(worst, (struct compare_row){COMPARE_LABEL, badness[i]}));
    worst_free(worst);
    worst_free(NULL);
}

Test(worst, what_is_too_large_is_left_out_whole_and_its_size_told)
{
    struct worst *worst = worst_of(4, 7, WORST_INPUTS_KEPT);
    struct scene *scene = scene_new();
    cr_assert_eq(worst_add(worst, &scene->offer), GW_OK);
    const struct worst_example *example = only(worst);
    cr_assert_null(example->inputs);
    cr_assert_null(example->primary);
    cr_assert_eq(example->input_bytes, 8);
    worst_free(worst);
    free(scene);
}

Test(worst, redacted_inputs_leave_at_most_a_keyed_hash)
{
    struct worst *omitted = worst_of(4, 1024, WORST_INPUTS_OMITTED),
                 *hashed = worst_of(8, 1024, WORST_INPUTS_HASHED);
    struct scene *scene = scene_new();
    const uint8_t zeros[WORST_HASH_BYTES] = {0};
    const struct worst_example *examples[4];
    cr_assert_eq(worst_add(omitted, &scene->offer), GW_OK);
    cr_assert_null(only(omitted)->inputs);
    cr_assert_arr_eq(only(omitted)->input_hash, zeros, WORST_HASH_BYTES);

    for (int i = 0; i < 4; i++) {
        scene->offer.row.badness = 10 - i;
        scene->offer.input_row = i == 1 ? 0 : 1;
        scene->input.spec.name = i == 2 ? "z" : "x";
        cr_assert_eq(worst_add(hashed, &scene->offer), GW_OK);
    }
    cr_assert_eq(worst_list(hashed, examples, 4), 4);
    cr_assert_null(examples[0]->inputs);
    cr_assert_arr_neq(examples[0]->input_hash, zeros, WORST_HASH_BYTES);
    cr_assert_arr_neq(examples[0]->input_hash, examples[1]->input_hash, WORST_HASH_BYTES, "another row");
    cr_assert_arr_neq(examples[0]->input_hash, examples[2]->input_hash, WORST_HASH_BYTES, "another name");
    cr_assert_arr_eq(examples[0]->input_hash, examples[3]->input_hash, WORST_HASH_BYTES, "the same row");

    struct worst_limits other_key = {.examples = 1, .inputs = WORST_INPUTS_HASHED, .key = {9}};
    struct worst *elsewhere = worst_new(&other_key);
    cr_assert_eq(worst_add(elsewhere, &scene->offer), GW_OK);
    cr_assert_arr_neq(only(elsewhere)->input_hash, examples[0]->input_hash, WORST_HASH_BYTES, "another key");
    worst_free(elsewhere), worst_free(omitted), worst_free(hashed);
    free(scene);
}

Test(worst, failed_answers_are_absent_and_long_identifiers_are_cut)
{
    struct worst *worst = worst_of(4, 1024, WORST_INPUTS_KEPT);
    struct scene *scene = scene_new();
    const char *errors[] = {"no", "no"};
    struct predict_result failed = scene->result;
    char long_id[300];
    memset(long_id, 'i', sizeof long_id - 1), long_id[sizeof long_id - 1] = '\0';
    failed.row_errors = errors;
    scene->offer.request_id = long_id;
    scene->offer.primary = NULL;
    scene->offer.shadow = &failed;
    cr_assert_eq(worst_add(worst, &scene->offer), GW_OK);
    const struct worst_example *example = only(worst);
    cr_assert(!example->primary && !example->shadow);
    cr_assert_eq(strlen(example->request_id), WORST_ID_BYTES - 1);
    worst_free(worst);
    free(scene);
}

Test(worst, limits_out_of_range_are_refused)
{
    cr_assert_null(worst_new(&(struct worst_limits){.examples = 0}));
    cr_assert_null(worst_new(&(struct worst_limits){.examples = WORST_EXAMPLES_MAX + 1}));
}
