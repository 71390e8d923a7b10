/* result: references, and the one-row copies that the cache keeps. */
#include <criterion/criterion.h>
#include <string.h>

#include "replica/result.h"

/* Three rows of two outputs: label INT64[3] and words BYTES[3,2]. Everything lies in the result's arena. */
static struct predict_result *three_rows(void)
{
    static const char words[] = "\1\0\0\0a\0\0\0\0"
                                "\2\0\0\0bc\1\0\0\0d"
                                "\0\0\0\0\0\0\0\0";
    struct predict_result *result = predict_result_new();
    struct tensor *outputs = arena_array(&result->arena, 2, sizeof *outputs);
    int64_t *labels = arena_array(&result->arena, 3, sizeof *labels);
    uint8_t *bytes = arena_alloc(&result->arena, sizeof words - 1);
    uint32_t *row_end = arena_array(&result->arena, 3, sizeof *row_end);
    memcpy(labels, (int64_t[]){7, 8, 9}, 24);
    memcpy(bytes, words, sizeof words - 1);
    cr_assert_eq(tensor_index_bytes(bytes, sizeof words - 1, 3, 2, row_end), GW_OK);
    outputs[0] = (struct tensor){.spec = {.name = arena_text(&result->arena, "label", 5),
                                          .datatype = DT_INT64,
                                          .dims = 1,
                                          .shape = {3}},
                                 .data = (const uint8_t *)labels,
                                 .bytes = 24};
    outputs[1] = (struct tensor){.spec = {.name = arena_text(&result->arena, "words", 5),
                                          .datatype = DT_BYTES,
                                          .encoding = TENSOR_JSON,
                                          .dims = 2,
                                          .shape = {3, 2}},
                                 .data = bytes,
                                 .bytes = sizeof words - 1,
                                 .row_end = row_end};
    result->outputs = outputs;
    result->n_outputs = 2;
    result->n_rows = 3;
    result->digest[0] = 11, result->digest[1] = 22;
    return result;
}

Test(result, a_row_outlives_the_batch_it_came_with)
{
    struct predict_result *batch = three_rows();
    struct predict_result *row = predict_result_row(batch, 1);
    cr_assert_not_null(row);
    predict_result_unref(batch);

    cr_assert_eq(row->n_rows, 1);
    cr_assert_eq(row->n_outputs, 2);
    cr_assert_null(row->row_errors);
    cr_assert_eq(row->digest[1], 22);

    const struct tensor *label = &row->outputs[0], *words = &row->outputs[1];
    size_t bytes;
    cr_assert_str_eq(label->spec.name, "label");
    cr_assert_eq(label->spec.shape[0], 1);
    cr_assert_null(label->row_end);
    cr_assert_arr_eq(tensor_row(label, 0, &bytes), ((int64_t[]){8}), 8);
    cr_assert_eq(bytes, 8);
    cr_assert_eq((uintptr_t)label->data % 8, 0);

    cr_assert_str_eq(words->spec.name, "words");
    cr_assert_eq(words->spec.encoding, TENSOR_JSON);
    cr_assert_eq(words->spec.shape[1], 2);
    cr_assert_arr_eq(tensor_row(words, 0, &bytes), "\2\0\0\0bc\1\0\0\0d", 11);
    cr_assert_eq(bytes, 11);
    predict_result_unref(row);
}

Test(result, every_row_of_a_batch_can_be_kept)
{
    struct predict_result *batch = three_rows();
    for (uint32_t i = 0; i < 3; i++) {
        struct predict_result *row = predict_result_row(batch, i);
        size_t kept_bytes, bytes;
        for (uint32_t output = 0; output < 2; output++) {
            const uint8_t *kept = tensor_row(&row->outputs[output], 0, &kept_bytes);
            const uint8_t *original = tensor_row(&batch->outputs[output], i, &bytes);
            cr_assert_eq(kept_bytes, bytes);
            cr_assert_eq(memcmp(kept, original, bytes), 0);
        }
        predict_result_unref(row);
    }
    predict_result_unref(batch);
}

Test(result, a_row_counts_all_the_memory_it_takes)
{
    struct predict_result *batch = three_rows();
    struct predict_result *row = predict_result_row(batch, 0);
    size_t least = sizeof *row + 2 * sizeof(struct tensor) + 8 + 9 + sizeof "label" + sizeof "words";
    cr_assert_geq(row->bytes, least);
    cr_assert_lt(row->bytes, least + 256, "%zu bytes for %zu", row->bytes, least);
    predict_result_unref(row);
    predict_result_unref(batch);
}

Test(result, a_result_without_outputs_can_be_kept_too)
{
    struct predict_result *batch = predict_result_new();
    batch->n_rows = 2;
    struct predict_result *row = predict_result_row(batch, 1);
    cr_assert_eq(row->n_outputs, 0);
    predict_result_unref(row);
    predict_result_unref(batch);
}

Test(result, the_last_reference_frees)
{
    struct predict_result *batch = three_rows();
    cr_assert_eq(predict_result_ref(batch), batch);
    predict_result_unref(batch);
    cr_assert_eq(batch->outputs[0].spec.shape[0], 3, "one reference is left");
    predict_result_unref(batch); /* LeakSanitizer and AddressSanitizer judge the rest */
    predict_result_unref(NULL);
}
