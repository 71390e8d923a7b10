/*
 * worst: the N worst examples of a comparison, for people to look at. Memory is bounded: N examples, of each
 * at most `row_bytes` of inputs and of each answer. Copies are its own: a batch, an arena or a cache entry
 * may go at once.
 *
 * One thread at a time: the shard that compares. Whoever else wants to read (the admin listener) posts to
 * that shard's loop and makes its text there. Shards keep one each; the N worst of all are among the N worst
 * of each.
 */
#ifndef XEBEC_JUDGE_WORST_H
#define XEBEC_JUDGE_WORST_H

#include <stdbool.h>

#include "judge/compare.h"

#define WORST_EXAMPLES_MAX 1000
#define WORST_HASH_BYTES   16
#define WORST_KEY_BYTES    32
#define WORST_ID_BYTES     64

enum worst_inputs {
    WORST_INPUTS_KEPT,
    WORST_INPUTS_HASHED, /* tells whether two examples are the same row, not what it was */
    WORST_INPUTS_OMITTED
};

struct worst_limits {
    uint32_t examples;            /* 1..WORST_EXAMPLES_MAX */
    size_t row_bytes;             /* of tensor data; what is larger is left out whole: half a tensor misleads */
    enum worst_inputs inputs;
    uint8_t key[WORST_KEY_BYTES]; /* for the hash; random, kept secret, or a guesser can try inputs */
};

/* What is offered; everything borrowed. */
struct worst_offer {
    struct compare_row row;
    const char *request_id;                                 /* NULL: none; cut to WORST_ID_BYTES - 1 bytes */
    uint64_t at_us;                                         /* the caller's clock; only kept */
    const struct tensor *inputs;                            /* n_inputs; each has input_row */
    uint32_t n_inputs, input_row;
    const struct predict_result *primary, *shadow;          /* NULL: failed as a whole */
    uint32_t primary_row, shadow_row;
};

/* What is kept. Rows are results of one row; NULL when they failed, were too large, or were not to be kept. */
struct worst_example {
    struct compare_row row;
    char request_id[WORST_ID_BYTES];
    uint64_t at_us, order;                /* order: of arrival, from 0 */
    uint64_t input_bytes;                 /* of tensor data, also when not kept */
    uint8_t input_hash[WORST_HASH_BYTES]; /* WORST_INPUTS_HASHED only, else 0: names, datatypes, shapes, bytes */
    struct predict_result *inputs;        /* as if they were outputs */
    struct predict_result *primary, *shadow;
};

struct worst;

/* NULL: out of memory, or limits->examples out of range. */
struct worst *worst_new(const struct worst_limits *limits) GW_MUST_CHECK;
void worst_free(struct worst *worst); /* NULL is harmless */
/* Whether a row this bad would be kept: cheap, so that nothing is prepared for the many that are not. Agreement never is. */
bool worst_admits(const struct worst *worst, struct compare_row row);
/*
 * Keeps a copy if it is admitted, and drops the least bad if there are too many; of equals the older stays.
 * GW_OK: kept, or not admitted. GW_E_NO_MEMORY: not kept, all others are as they were.
 */
enum gw_status worst_add(struct worst *worst, const struct worst_offer *offer) GW_MUST_CHECK;
/* The worst first, at most `room` pointers, valid until the next worst_add() or _clear(). Returns how many there are. */
uint32_t worst_list(const struct worst *worst, const struct worst_example **examples, uint32_t room);
void worst_clear(struct worst *worst);

#endif
