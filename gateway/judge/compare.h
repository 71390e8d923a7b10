/*
 * compare: how far two answers to the same row are apart. Pure: reads two results, adds to a summary,
 * allocates nothing. Time is that of reading both rows once, and for top-k of k steps an element at worst.
 *
 * Outputs are matched by name. Floats (FP16, BF16, FP32, FP64) agree within a tolerance; integers, BOOL (zero
 * or not) and BYTES are labels: they agree when equal. A NaN agrees with a NaN, an infinity with itself,
 * neither with anything else. Summaries add up: over rows by compare_row(), over shards by compare_add(). All
 * their numbers are finite.
 */
#ifndef XEBEC_JUDGE_COMPARE_H
#define XEBEC_JUDGE_COMPARE_H

#include <stdbool.h>

#include "replica/result.h"

#define COMPARE_OUTPUTS_MAX 16 /* outputs beyond are judged with their row, but not counted on their own */
#define COMPARE_TOP_MAX     32
#define COMPARE_NAME_ROOM   129 /* of an output's name, as long as replicas may choose it */

struct compare_limits {
    double absolute, relative; /* floats agree when |shadow - primary| <= absolute + relative |primary| */
    uint32_t top_k;            /* of every float output with at least 2 elements a row; 0: not asked; <= COMPARE_TOP_MAX */
};

/* What one row came to; the worst that any of its outputs did. In order of badness. */
enum compare_verdict {
    COMPARE_AGREES,
    COMPARE_TOLERANCE,      /* a number is further off than the tolerance */
    COMPARE_LABEL,          /* an integer, BOOL or BYTES differs */
    COMPARE_NOT_FINITE,     /* NaN or an infinity on one side */
    COMPARE_SHAPE,          /* an output is missing, or has another datatype or shape */
    COMPARE_PRIMARY_FAILED, /* it alone failed for this row */
    COMPARE_SHADOW_FAILED,
    COMPARE_BOTH_FAILED,    /* nothing to compare: says nothing against the shadow */
    COMPARE_VERDICTS
};

const char *compare_verdict_name(enum compare_verdict verdict); /* "tolerance"; for metrics and people */

struct compare_output {
    char name[COMPARE_NAME_ROOM];
    uint64_t rows, rows_agree;       /* rows in which both had it in one shape */
    uint64_t rows_mismatched;        /* missing, or another datatype or shape */
    uint64_t numbers;                /* pairs of finite numbers, integers included */
    double error_sum, error_most;    /* of |shadow - primary| over those; the mean is sum / numbers */
    uint64_t primary_nan, shadow_nan, primary_inf, shadow_inf;
    uint64_t not_finite_differ;      /* elements that are a number on one side, or infinite in other ways */
    uint64_t top_rows, top_shared, top_wanted; /* overlap@k is top_shared / top_wanted, k at most the elements */
};

struct compare_summary {
    uint64_t rows;                   /* offered */
    uint64_t verdict[COMPARE_VERDICTS]; /* they sum to rows */
    uint32_t n_outputs;              /* of the primary, by name, as they were first seen */
    struct compare_output output[COMPARE_OUTPUTS_MAX];
};

struct compare_row {
    enum compare_verdict verdict;
    double badness; /* orders rows: by verdict, then by how many times the tolerance was exceeded. 0: agrees. Finite */
};

/*
 * Compares row `primary_row` of one result to `shadow_row` of another, and adds it to `summary`. A result
 * that is NULL failed as a whole. Borrows all. Tensors must be well-formed, as worker_judge leaves them.
 */
struct compare_row compare_row(const struct predict_result *primary, uint32_t primary_row,
                               const struct predict_result *shadow, uint32_t shadow_row,
                               const struct compare_limits *limits, struct compare_summary *summary);
/* Outputs of the same name are added up. */
void compare_add(struct compare_summary *into, const struct compare_summary *from);

/* Rows that both answered and that differ, and rows that both answered: a tally for evidence_rates. */
uint64_t compare_disagreed(const struct compare_summary *summary);
uint64_t compare_answered(const struct compare_summary *summary);

#endif
