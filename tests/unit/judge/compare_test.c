/* compare: every datatype, tolerances, what is not finite, shapes, failures, top-k, and sums. */
#include "judge/compare.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "support/float16.h"

/* A result that borrows everything: one output "y" of `rows` rows of `width` elements. */
struct answer {
    struct predict_result result;
    struct tensor outputs[COMPARE_OUTPUTS_MAX + 2];
};

static void answer_init(struct answer *answer, enum datatype datatype, int64_t rows, int64_t width,
                        const void *data, size_t bytes)
{
    memset(answer, 0, sizeof *answer);
    answer->outputs[0] =
        (struct tensor){.spec = {.name = "y", .datatype = datatype, .dims = 2, .shape = {rows, width}},
                        .data = data,
                        .bytes = bytes};
    answer->result.n_rows = (uint32_t)rows;
    answer->result.n_outputs = 1;
    answer->result.outputs = answer->outputs;
}

static const struct compare_limits exact = {0, 0, 0};

static struct compare_row compare_one(enum datatype datatype, int64_t width, const void *a, const void *b,
                                      size_t bytes, const struct compare_limits *limits,
                                      struct compare_summary *summary)
{
    struct answer primary, shadow;
    answer_init(&primary, datatype, 1, width, a, bytes);
    answer_init(&shadow, datatype, 1, width, b, bytes);
    return compare_row(&primary.result, 0, &shadow.result, 0, limits, summary);
}

#define cr_verdict(row, expected)                                                                            \
    cr_assert_str_eq(compare_verdict_name((row).verdict), compare_verdict_name(expected))

Test(compare, each_datatype_agrees_with_itself_and_differs_by_its_error)
{
    uint16_t half[2][1], brain[2][1];
    cr_assert(fp16_from_double(1, &half[0][0]) && fp16_from_double(1.5, &half[1][0]));
    cr_assert(bf16_from_double(-2, &brain[0][0]) && bf16_from_double(2, &brain[1][0]));
    const struct {
        enum datatype datatype;
        const void *a, *b;
        double error;
        enum compare_verdict verdict;
    } cases[] = {
        {DT_BOOL, (uint8_t[]){0}, (uint8_t[]){1}, 1, COMPARE_LABEL},
        {DT_UINT8, (uint8_t[]){250}, (uint8_t[]){3}, 247, COMPARE_LABEL},
        {DT_UINT16, (uint16_t[]){65535}, (uint16_t[]){0}, 65535, COMPARE_LABEL},
        {DT_UINT32, (uint32_t[]){4000000000u}, (uint32_t[]){0}, 4e9, COMPARE_LABEL},
        {DT_UINT64, (uint64_t[]){UINT64_MAX}, (uint64_t[]){0}, 18446744073709551615.0, COMPARE_LABEL},
        {DT_INT8, (int8_t[]){-128}, (int8_t[]){127}, 255, COMPARE_LABEL},
        {DT_INT16, (int16_t[]){-5}, (int16_t[]){7}, 12, COMPARE_LABEL},
        {DT_INT32, (int32_t[]){INT32_MIN}, (int32_t[]){INT32_MAX}, 4294967295.0, COMPARE_LABEL},
        {DT_INT64, (int64_t[]){INT64_MIN}, (int64_t[]){INT64_MAX}, 18446744073709551615.0, COMPARE_LABEL},
        {DT_INT64, (int64_t[]){INT64_MAX}, (int64_t[]){INT64_MAX - 1}, 1, COMPARE_LABEL},
        {DT_FP16, half[0], half[1], 0.5, COMPARE_TOLERANCE},
        {DT_BF16, brain[0], brain[1], 4, COMPARE_TOLERANCE},
        {DT_FP32, (float[]){1}, (float[]){1.25f}, 0.25, COMPARE_TOLERANCE},
        {DT_FP64, (double[]){-1e300}, (double[]){1e300}, 2e300, COMPARE_TOLERANCE},
        {DT_FP64, (double[]){-DBL_MAX}, (double[]){DBL_MAX}, DBL_MAX, COMPARE_TOLERANCE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct compare_summary summary = {0};
        size_t bytes = datatype_bytes(cases[i].datatype);
        struct compare_row same =
            compare_one(cases[i].datatype, 1, cases[i].a, cases[i].a, bytes, &exact, &summary);
        cr_verdict(same, COMPARE_AGREES);
        cr_assert_eq(same.badness, 0);
        cr_assert_eq(summary.output[0].error_most, 0);
        struct compare_row differs =
            compare_one(cases[i].datatype, 1, cases[i].b, cases[i].a, bytes, &exact, &summary);
        cr_verdict(differs, cases[i].verdict);
        cr_assert_gt(differs.badness, 0);
        cr_assert(isfinite(differs.badness));
        cr_assert_eq(summary.output[0].error_most, cases[i].error, "case %zu: %g", i,
                     summary.output[0].error_most);
        cr_assert_eq(summary.output[0].numbers, 2);
        cr_assert_eq(summary.output[0].rows_agree, 1);
        cr_assert_eq(summary.rows, 2);
        cr_assert_eq(compare_disagreed(&summary), 1);
        cr_assert_eq(compare_answered(&summary), 2);
    }
}

Test(compare, bool_is_zero_or_not)
{
    struct compare_summary summary = {0};
    cr_verdict(compare_one(DT_BOOL, 1, (uint8_t[]){1}, (uint8_t[]){255}, 1, &exact, &summary),
               COMPARE_AGREES);
}

Test(compare, tolerance_is_absolute_plus_relative_to_the_primary)
{
    const struct compare_limits limits = {0.01, 0.1, 0};
    struct compare_summary summary = {0};
    cr_verdict(compare_one(DT_FP64, 1, (double[]){-10}, (double[]){-11}, 8, &limits, &summary),
               COMPARE_AGREES);
    cr_verdict(compare_one(DT_FP64, 1, (double[]){-10}, (double[]){-11.02}, 8, &limits, &summary),
               COMPARE_TOLERANCE);
    cr_verdict(compare_one(DT_FP64, 1, (double[]){0}, (double[]){0.01}, 8, &limits, &summary),
               COMPARE_AGREES);
    struct compare_row bad = compare_one(DT_FP64, 1, (double[]){0}, (double[]){0.05}, 8, &limits, &summary);
    struct compare_row worse = compare_one(DT_FP64, 1, (double[]){0}, (double[]){0.5}, 8, &limits, &summary);
    cr_assert_lt(bad.badness, worse.badness);
    cr_assert_float_eq(summary.output[0].error_most, 1.02, 1e-12);
    cr_assert_float_eq(summary.output[0].error_sum, 1 + 1.02 + 0.01 + 0.05 + 0.5, 1e-12);
}

Test(compare, what_is_not_finite_agrees_with_itself_alone)
{
    const struct compare_limits lenient = {1e300, 1, 0};
    const double odd[] = {NAN, INFINITY, -INFINITY, 1};
    struct compare_summary summary = {0};
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            struct compare_row row = compare_one(DT_FP64, 1, &odd[i], &odd[j], 8, &lenient, &summary);
            cr_verdict(row, i == j ? COMPARE_AGREES : COMPARE_NOT_FINITE);
        }
    const struct compare_output *output = &summary.output[0];
    cr_assert_eq(output->primary_nan, 4);
    cr_assert_eq(output->shadow_nan, 4);
    cr_assert_eq(output->primary_inf, 8);
    cr_assert_eq(output->shadow_inf, 8);
    cr_assert_eq(output->not_finite_differ, 12);
    cr_assert_eq(output->numbers, 1, "only 1 and 1");
    cr_assert(isfinite(output->error_sum) && output->error_sum == 0);
}

Test(compare, bytes_agree_when_every_one_does)
{
    static const uint8_t ab[] = "\2\0\0\0ab\1\0\0\0c", abc[] = "\1\0\0\0ab\2\0\0\0c", none[] = "\0\0\0\0";
    struct answer primary, shadow;
    struct compare_summary summary = {0};
    uint32_t end = 11, short_end = 4;
    answer_init(&primary, DT_BYTES, 1, 2, ab, 11);
    answer_init(&shadow, DT_BYTES, 1, 2, ab, 11);
    primary.outputs[0].row_end = shadow.outputs[0].row_end = &end;
    cr_verdict(compare_row(&primary.result, 0, &shadow.result, 0, &exact, &summary), COMPARE_AGREES);
    shadow.outputs[0].data = abc;
    cr_verdict(compare_row(&primary.result, 0, &shadow.result, 0, &exact, &summary), COMPARE_LABEL);
    shadow.outputs[0].data = none, shadow.outputs[0].bytes = 4, shadow.outputs[0].row_end = &short_end;
    cr_verdict(compare_row(&primary.result, 0, &shadow.result, 0, &exact, &summary), COMPARE_LABEL);
}

Test(compare, rows_are_found_in_their_batches)
{
    const float batch[] = {1, 2, 3, 4, 5, 6}, alone[] = {5, 6};
    struct answer primary, shadow;
    struct compare_summary summary = {0};
    answer_init(&primary, DT_FP32, 3, 2, batch, sizeof batch);
    answer_init(&shadow, DT_FP32, 1, 2, alone, sizeof alone);
    cr_verdict(compare_row(&primary.result, 2, &shadow.result, 0, &exact, &summary), COMPARE_AGREES);
    cr_verdict(compare_row(&primary.result, 1, &shadow.result, 0, &exact, &summary), COMPARE_TOLERANCE);
    cr_assert_eq(summary.output[0].numbers, 4);
    cr_assert_eq(summary.output[0].error_sum, 4);
}

Test(compare, other_shapes_types_names_and_counts_are_mismatches)
{
    const float data[4] = {0};
    struct answer primary, shadow;
    struct compare_summary summary = {0};
    for (int i = 0; i < 5; i++) {
        answer_init(&primary, DT_FP32, 1, 4, data, 16);
        answer_init(&shadow, DT_FP32, 1, 4, data, 16);
        if (i == 0)
            shadow.outputs[0].spec.shape[1] = 2, shadow.outputs[0].bytes = 8;
        if (i == 1)
            shadow.outputs[0].spec.datatype = DT_INT32;
        if (i == 2)
            shadow.outputs[0].spec.name = "z";
        if (i == 3)
            shadow.outputs[0].spec.dims = 1;
        if (i == 4)
            shadow.result.n_outputs = 2, shadow.outputs[1] = shadow.outputs[0],
            shadow.outputs[1].spec.name = "z";
        cr_verdict(compare_row(&primary.result, 0, &shadow.result, 0, &exact, &summary), COMPARE_SHAPE);
    }
    cr_assert_eq(summary.output[0].rows_mismatched, 4);
    cr_assert_eq(summary.output[0].rows, 1, "one more output leaves the others comparable");
    cr_assert_eq(summary.verdict[COMPARE_SHAPE], 5);
}

Test(compare, outputs_are_matched_by_name_and_beyond_the_table_still_judged)
{
    const int64_t same = 7, other = 8;
    struct answer primary, shadow;
    struct compare_summary summary = {0};
    static const char names[][2] = {"a", "b", "c", "d", "e", "f", "g", "h", "i",
                                    "j", "k", "l", "m", "n", "o", "p", "q", "r"};
    enum { N = COMPARE_OUTPUTS_MAX + 2 };
    answer_init(&primary, DT_INT64, 1, 1, &same, 8);
    answer_init(&shadow, DT_INT64, 1, 1, &same, 8);
    for (int i = 0; i < N; i++) {
        primary.outputs[i] = primary.outputs[0], primary.outputs[i].spec.name = names[i];
        shadow.outputs[i] = shadow.outputs[0], shadow.outputs[i].spec.name = names[N - 1 - i];
    }
    primary.result.n_outputs = shadow.result.n_outputs = N;
    cr_verdict(compare_row(&primary.result, 0, &shadow.result, 0, &exact, &summary), COMPARE_AGREES);
    shadow.outputs[0].data = (const uint8_t *)&other; /* "r", the last */
    cr_verdict(compare_row(&primary.result, 0, &shadow.result, 0, &exact, &summary), COMPARE_LABEL);
    cr_assert_eq(summary.n_outputs, COMPARE_OUTPUTS_MAX);
    cr_assert_eq(summary.output[COMPARE_OUTPUTS_MAX - 1].rows_agree, 2);
}

Test(compare, outputs_are_counted_by_name_in_whatever_order_they_come)
{
    const int64_t one = 1, two = 2;
    struct answer primary, shadow;
    struct compare_summary summary = {0}, other = {0}, sum = {0};
    answer_init(&primary, DT_INT64, 1, 1, &one, 8);
    answer_init(&shadow, DT_INT64, 1, 1, &two, 8);
    primary.outputs[1] = primary.outputs[0], primary.outputs[1].spec.name = "z";
    shadow.outputs[1] = primary.outputs[1];
    primary.result.n_outputs = shadow.result.n_outputs = 2;
    compare_row(&primary.result, 0, &shadow.result, 0, &exact, &summary); /* y differs, z agrees */
    struct tensor first = primary.outputs[0];
    primary.outputs[0] = primary.outputs[1], primary.outputs[1] = first;
    compare_row(&primary.result, 0, &shadow.result, 0, &exact, &other); /* the same, z first */
    compare_add(&sum, &summary);
    compare_add(&sum, &other);
    compare_row(&primary.result, 0, &shadow.result, 0, &exact, &sum);
    cr_assert_eq(sum.n_outputs, 2);
    cr_assert_str_eq(sum.output[0].name, "y");
    cr_assert_str_eq(sum.output[1].name, "z");
    cr_assert_eq(sum.output[0].rows, 3);
    cr_assert_eq(sum.output[0].rows_agree, 0);
    cr_assert_eq(sum.output[1].rows_agree, 3);
    cr_assert_str_eq(other.output[0].name, "z");
}

Test(compare, failures_are_told_apart)
{
    const float data[2] = {0};
    const char *errors[2] = {"no", NULL};
    struct answer well, failed;
    struct compare_summary summary = {0};
    answer_init(&well, DT_FP32, 2, 1, data, 8);
    answer_init(&failed, DT_FP32, 2, 1, data, 8);
    failed.result.row_errors = errors;
    cr_verdict(compare_row(&well.result, 0, &failed.result, 0, &exact, &summary), COMPARE_SHADOW_FAILED);
    cr_verdict(compare_row(&failed.result, 0, &well.result, 0, &exact, &summary), COMPARE_PRIMARY_FAILED);
    cr_verdict(compare_row(&failed.result, 0, NULL, 0, &exact, &summary), COMPARE_BOTH_FAILED);
    cr_verdict(compare_row(&well.result, 0, &failed.result, 1, &exact, &summary), COMPARE_AGREES);
    cr_verdict(compare_row(&well.result, 7, &well.result, 0, &exact, &summary), COMPARE_PRIMARY_FAILED);
    cr_assert_eq(compare_answered(&summary), 1);
    cr_assert_eq(compare_disagreed(&summary), 0);
    struct compare_row both = compare_row(NULL, 0, NULL, 0, &exact, &summary);
    cr_assert_eq(both.badness, 0, "says nothing against the shadow");
}

Test(compare, top_k_overlap_counts_what_both_rank_high)
{
    const struct compare_limits top3 = {10, 0, 3};
    const float a[] = {0.9f, 0.1f, 0.8f, 0.7f, 0.2f}, b[] = {0.9f, 0.85f, 0.8f, NAN, 0.2f};
    struct compare_summary summary = {0};
    compare_one(DT_FP32, 5, a, a, sizeof a, &top3, &summary);
    cr_assert_eq(summary.output[0].top_shared, 3);
    compare_one(DT_FP32, 5, a, b, sizeof a, &top3, &summary); /* {0, 2, 3} and {0, 1, 2} */
    cr_assert_eq(summary.output[0].top_shared, 5);
    cr_assert_eq(summary.output[0].top_wanted, 6);
    compare_one(DT_FP32, 2, a, b, 8, &top3, &summary); /* two elements: both */
    cr_assert_eq(summary.output[0].top_wanted, 8);
    cr_assert_eq(summary.output[0].top_shared, 7);
    compare_one(DT_FP32, 1, a, b, 4, &top3, &summary);
    cr_assert_eq(summary.output[0].top_rows, 3, "one score has no ranking");
}

Test(compare, of_equal_scores_the_first_ranks_higher)
{
    const struct compare_limits top2 = {10, 0, 2};
    const double a[] = {1, 1, 1, 1}, b[] = {1, 1, 2, 2}, none[] = {NAN, NAN, NAN, NAN};
    struct compare_summary summary = {0};
    compare_one(DT_FP64, 4, a, a, sizeof a, &top2, &summary);
    cr_assert_eq(summary.output[0].top_shared, 2);
    compare_one(DT_FP64, 4, a, b, sizeof a, &top2, &summary); /* {0, 1} and {2, 3} */
    cr_assert_eq(summary.output[0].top_shared, 2);
    compare_one(DT_FP64, 4, none, none, sizeof a, &top2, &summary);
    cr_assert_eq(summary.output[0].top_shared, 4);
}

Test(compare, summaries_add_up)
{
    struct compare_summary one = {0}, other = {0}, both = {0};
    const struct compare_limits limits = {0, 0, 2};
    const double a[] = {1, 2, NAN}, b[] = {1, 5, 3};
    for (int i = 0; i < 3; i++)
        compare_one(DT_FP64, 3, a, b, sizeof a, &limits, &one),
            compare_one(DT_FP64, 3, a, b, sizeof a, &limits, &both);
    compare_one(DT_FP64, 3, b, b, sizeof a, &limits, &other),
        compare_one(DT_FP64, 3, b, b, sizeof a, &limits, &both);
    compare_add(&one, &other);
    cr_assert_eq(one.rows, 4);
    cr_assert_eq(one.output[0].error_most, 3);
    cr_assert_eq(one.output[0].error_sum, 9);
    cr_assert_arr_eq(&one, &both, sizeof one);
}
