/* compare: element by element, output by output, the worst of them is the row's verdict. */
#include "judge/compare.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/float16.h"

#define BADNESS_CLASS 1e6 /* a verdict is worth this much more than the one before it */

static const char *const verdict_names[COMPARE_VERDICTS] = {
    "agrees", "tolerance", "label", "not_finite", "shape", "primary_failed", "shadow_failed", "both_failed"};

const char *compare_verdict_name(enum compare_verdict verdict)
{
    return (unsigned)verdict < COMPARE_VERDICTS ? verdict_names[verdict] : "?";
}

static void worsen(struct compare_row *row, enum compare_verdict verdict, double excess)
{
    double badness = (int)verdict * BADNESS_CLASS + fmin(excess, BADNESS_CLASS - 1);
    if (badness <= row->badness)
        return;
    row->badness = badness;
    row->verdict = verdict;
}

static bool is_float(enum datatype datatype)
{
    return datatype == DT_FP16 || datatype == DT_BF16 || datatype == DT_FP32 || datatype == DT_FP64;
}

static double read_float(enum datatype datatype, const uint8_t *at)
{
    uint16_t half;
    float single;
    double number;
    switch (datatype) {
    case DT_FP16:
        memcpy(&half, at, sizeof half);
        return (double)fp16_to_float(half);
    case DT_BF16:
        memcpy(&half, at, sizeof half);
        return (double)bf16_to_float(half);
    case DT_FP32:
        memcpy(&single, at, sizeof single);
        return (double)single;
    default:
        memcpy(&number, at, sizeof number);
        return number;
    }
}

/* A little-endian integer of `bytes`, its sign extended. */
static uint64_t read_integer(const uint8_t *at, size_t bytes, bool is_signed)
{
    uint64_t bits = 0;
    memcpy(&bits, at, bytes);
    unsigned unused = 64 - 8 * (unsigned)bytes;
    return is_signed ? (uint64_t)((int64_t)(bits << unused) >> unused) : bits;
}

static void count_error(struct compare_output *output, double error)
{
    output->numbers++;
    output->error_sum = fmin(output->error_sum + error, DBL_MAX);
    output->error_most = fmax(output->error_most, error);
}

/* --- floats --- */

static void compare_floats(double primary, double shadow, const struct compare_limits *limits,
                           struct compare_output *output, struct compare_row *row)
{
    if (!isfinite(primary) || !isfinite(shadow)) {
        bool same = (isnan(primary) && isnan(shadow)) || primary == shadow;
        output->primary_nan += isnan(primary) != 0, output->shadow_nan += isnan(shadow) != 0;
        output->primary_inf += isinf(primary) != 0, output->shadow_inf += isinf(shadow) != 0;
        output->not_finite_differ += !same;
        if (!same)
            worsen(row, COMPARE_NOT_FINITE, 0);
        return;
    }
    double error = fmin(fabs(shadow - primary), DBL_MAX); /* two ends of the range are infinitely far apart */
    double tolerance = limits->absolute + limits->relative * fabs(primary);
    count_error(output, error);
    if (error > tolerance)
        worsen(row, COMPARE_TOLERANCE, error / fmax(tolerance, DBL_MIN));
}

/* The largest k numbers seen so far, largest first; of equal ones the first seen. NaN is below all. */
struct top {
    uint32_t k, n;
    size_t index[COMPARE_TOP_MAX];
    double score[COMPARE_TOP_MAX];
};

static void top_offer(struct top *top, size_t index, double score)
{
    if (isnan(score))
        score = -INFINITY;
    if (top->n == top->k && score <= top->score[top->n - 1])
        return;
    uint32_t at = top->n < top->k ? top->n++ : top->n - 1;
    for (; at && top->score[at - 1] < score; at--) {
        top->score[at] = top->score[at - 1];
        top->index[at] = top->index[at - 1];
    }
    top->score[at] = score;
    top->index[at] = index;
}

static uint32_t top_shared(const struct top *a, const struct top *b)
{
    uint32_t shared = 0;
    for (uint32_t i = 0; i < a->n; i++)
        for (uint32_t j = 0; j < b->n; j++)
            shared += a->index[i] == b->index[j];
    return shared;
}

static void compare_float_rows(enum datatype datatype, const uint8_t *primary, const uint8_t *shadow,
                               size_t elements, const struct compare_limits *limits,
                               struct compare_output *output, struct compare_row *row)
{
    size_t width = datatype_bytes(datatype);
    uint32_t k = limits->top_k < COMPARE_TOP_MAX ? limits->top_k : COMPARE_TOP_MAX;
    struct top tops[2] = {{.k = k}, {.k = k}};
    bool ranked = k && elements >= 2;
    for (size_t i = 0; i < elements; i++) {
        double of_primary = read_float(datatype, primary + i * width);
        double of_shadow = read_float(datatype, shadow + i * width);
        compare_floats(of_primary, of_shadow, limits, output, row);
        if (!ranked)
            continue;
        top_offer(&tops[0], i, of_primary);
        top_offer(&tops[1], i, of_shadow);
    }
    if (!ranked)
        return;
    output->top_rows++;
    output->top_wanted += tops[0].n;
    output->top_shared += top_shared(&tops[0], &tops[1]);
}

/* --- labels --- */

static void compare_integer_rows(enum datatype datatype, const uint8_t *primary, const uint8_t *shadow,
                                 size_t elements, struct compare_output *output, struct compare_row *row)
{
    size_t width = datatype_bytes(datatype);
    bool is_signed = datatype >= DT_INT8 && datatype <= DT_INT64;
    for (size_t i = 0; i < elements; i++) {
        uint64_t a = read_integer(primary + i * width, width, is_signed);
        uint64_t b = read_integer(shadow + i * width, width, is_signed);
        if (datatype == DT_BOOL)
            a = a != 0, b = b != 0;
        bool above = is_signed ? (int64_t)a > (int64_t)b : a > b;
        count_error(output, (double)(above ? a - b : b - a)); /* modulo 2^64: exact whatever the signs */
        if (a != b)
            worsen(row, COMPARE_LABEL, 0);
    }
}

static void compare_bytes_rows(const uint8_t *primary, size_t primary_bytes, const uint8_t *shadow,
                               size_t shadow_bytes, struct compare_row *row)
{
    if (primary_bytes != shadow_bytes || (primary_bytes && memcmp(primary, shadow, primary_bytes) != 0))
        worsen(row, COMPARE_LABEL, 0);
}

/* --- outputs and rows --- */

/* Of one row: what dimension 0 is does not matter. */
static bool same_shape(const struct tensor_spec *a, const struct tensor_spec *b)
{
    if (a->datatype != b->datatype || a->dims != b->dims || !a->dims || a->dims > TENSOR_DIMS_MAX)
        return false;
    return memcmp(a->shape + 1, b->shape + 1, (a->dims - 1u) * sizeof *a->shape) == 0;
}

/* Where an output of this name is counted; guess: where it may well be. NULL: the table is full. */
static struct compare_output *count_in(struct compare_summary *summary, const char *name, uint32_t guess)
{
    struct compare_output *outputs = summary->output;
    if (guess < summary->n_outputs && !strncmp(outputs[guess].name, name, COMPARE_NAME_ROOM - 1))
        return &outputs[guess];
    for (uint32_t i = 0; i < summary->n_outputs; i++)
        if (!strncmp(outputs[i].name, name, COMPARE_NAME_ROOM - 1))
            return &outputs[i];
    if (summary->n_outputs == COMPARE_OUTPUTS_MAX)
        return NULL;
    struct compare_output *fresh = &outputs[summary->n_outputs++];
    snprintf(fresh->name, sizeof fresh->name, "%s", name);
    return fresh;
}

static const struct tensor *output_named(const struct predict_result *result, const char *name)
{
    for (uint32_t i = 0; i < result->n_outputs; i++)
        if (strcmp(result->outputs[i].spec.name, name) == 0)
            return &result->outputs[i];
    return NULL;
}

static struct compare_row compare_outputs(const struct tensor *primary, uint32_t primary_row,
                                          const struct tensor *shadow, uint32_t shadow_row,
                                          const struct compare_limits *limits, struct compare_output *output)
{
    struct compare_row row = {COMPARE_AGREES, 0};
    size_t bytes, shadow_bytes;
    if (!shadow || !same_shape(&primary->spec, &shadow->spec)) {
        output->rows_mismatched++;
        worsen(&row, COMPARE_SHAPE, 0);
        return row;
    }
    const uint8_t *at = tensor_row(primary, primary_row, &bytes);
    const uint8_t *shadow_at = tensor_row(shadow, shadow_row, &shadow_bytes);
    enum datatype datatype = primary->spec.datatype;
    if (datatype == DT_BYTES)
        compare_bytes_rows(at, bytes, shadow_at, shadow_bytes, &row);
    else if (is_float(datatype))
        compare_float_rows(datatype, at, shadow_at, bytes / datatype_bytes(datatype), limits, output, &row);
    else
        compare_integer_rows(datatype, at, shadow_at, bytes / datatype_bytes(datatype), output, &row);
    output->rows++;
    output->rows_agree += row.verdict == COMPARE_AGREES;
    return row;
}

static bool row_failed(const struct predict_result *result, uint32_t row)
{
    return !result || row >= result->n_rows || (result->row_errors && result->row_errors[row]);
}

static struct compare_row compare_answers(const struct predict_result *primary, uint32_t primary_row,
                                          const struct predict_result *shadow, uint32_t shadow_row,
                                          const struct compare_limits *limits,
                                          struct compare_summary *summary)
{
    struct compare_row row = {COMPARE_AGREES, 0};
    struct compare_output uncounted = {0};
    if (primary->n_outputs != shadow->n_outputs)
        worsen(&row, COMPARE_SHAPE, 0);
    for (uint32_t i = 0; i < primary->n_outputs; i++) {
        const struct tensor *output = &primary->outputs[i];
        struct compare_output *counted = count_in(summary, output->spec.name, i);
        struct compare_row each =
            compare_outputs(output, primary_row, output_named(shadow, output->spec.name), shadow_row, limits,
                            counted ? counted : &uncounted);
        if (each.badness > row.badness)
            row = each;
    }
    return row;
}

struct compare_row compare_row(const struct predict_result *primary, uint32_t primary_row,
                               const struct predict_result *shadow, uint32_t shadow_row,
                               const struct compare_limits *limits, struct compare_summary *summary)
{
    struct compare_row row = {COMPARE_AGREES, 0};
    bool primary_failed = row_failed(primary, primary_row), shadow_failed = row_failed(shadow, shadow_row);
    if (primary_failed && shadow_failed)
        row.verdict = COMPARE_BOTH_FAILED; /* no badness: it is not the shadow's doing */
    else if (primary_failed)
        worsen(&row, COMPARE_PRIMARY_FAILED, 0);
    else if (shadow_failed)
        worsen(&row, COMPARE_SHADOW_FAILED, 0);
    else
        row = compare_answers(primary, primary_row, shadow, shadow_row, limits, summary);
    summary->rows++;
    summary->verdict[row.verdict]++;
    return row;
}

static void add_output(struct compare_output *into, const struct compare_output *from)
{
    into->rows += from->rows, into->rows_agree += from->rows_agree;
    into->rows_mismatched += from->rows_mismatched;
    into->numbers += from->numbers;
    into->error_sum = fmin(into->error_sum + from->error_sum, DBL_MAX);
    into->error_most = fmax(into->error_most, from->error_most);
    into->primary_nan += from->primary_nan, into->shadow_nan += from->shadow_nan;
    into->primary_inf += from->primary_inf, into->shadow_inf += from->shadow_inf;
    into->not_finite_differ += from->not_finite_differ;
    into->top_rows += from->top_rows;
    into->top_shared += from->top_shared, into->top_wanted += from->top_wanted;
}

void compare_add(struct compare_summary *into, const struct compare_summary *from)
{
    into->rows += from->rows;
    for (int i = 0; i < COMPARE_VERDICTS; i++)
        into->verdict[i] += from->verdict[i];
    for (uint32_t i = 0; i < from->n_outputs; i++) {
        struct compare_output *counted = count_in(into, from->output[i].name, i);
        if (counted)
            add_output(counted, &from->output[i]);
    }
}

uint64_t compare_disagreed(const struct compare_summary *summary)
{
    uint64_t disagreed = 0;
    for (int i = COMPARE_TOLERANCE; i <= COMPARE_SHAPE; i++)
        disagreed += summary->verdict[i];
    return disagreed;
}

uint64_t compare_answered(const struct compare_summary *summary)
{
    return compare_disagreed(summary) + summary->verdict[COMPARE_AGREES];
}
