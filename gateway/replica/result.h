/*
 * result: what a model answered for some rows. Shared by every row of a batch and by the cache, so it
 * is reference-counted; never changed once made; any thread may hold and drop references.
 */
#ifndef XEBEC_REPLICA_RESULT_H
#define XEBEC_REPLICA_RESULT_H

#include <stdatomic.h>
#include <stdint.h>

#include "replica/tensor.h"
#include "support/arena.h"

struct predict_result {
    _Atomic uint32_t refs;
    uint32_t n_rows, n_outputs;
    const struct tensor *outputs;   /* n_outputs, each with shape[0] == n_rows */
    const char *const *row_errors;  /* NULL when every row is well; else n_rows, NULL where well */
    uint64_t digest[2];             /* hash of the answering replica's model digest; set by pool */
    size_t bytes;                   /* of memory, everything counted; set by predict_result_row() */
    struct arena arena;             /* holds what the pointers point at; empty when it lies behind the struct */
};

/* A result with one reference and an empty arena, to be filled before it is shared. NULL: out of memory. */
struct predict_result *predict_result_new(void) GW_MUST_CHECK;
/* One well row, copied into a single allocation: for the cache. NULL: out of memory. */
struct predict_result *predict_result_row(const struct predict_result *result, uint32_t row) GW_MUST_CHECK;
struct predict_result *predict_result_ref(struct predict_result *result);
void predict_result_unref(struct predict_result *result); /* NULL is harmless */

#endif
