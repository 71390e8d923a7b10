/*
 * worker_codec: proto/worker.proto and grpc.health.v1 <-> our structs. Bytes in, bytes out; no sockets. Every byte from a
 * replica is judged here before anyone believes it: sizes, shapes, counts, datatypes, UTF-8 of names.
 * Written in worker_codec.c; answers are read in worker_judge.c, descriptions and health in worker_describe.c.
 */
#ifndef XEBEC_REPLICA_WORKER_CODEC_H
#define XEBEC_REPLICA_WORKER_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/result.h"
#include "replica/tensor.h"
#include "support/arena.h"
#include "support/err.h"

/* Some rows of one request: rows[0..count) are row numbers in its inputs. All borrowed. */
struct row_piece {
    const struct tensor *inputs; /* n_inputs of the batch, in the same order */
    const uint32_t *rows;
    uint32_t count;
};

/* What goes into one Predict call. The pieces agree in input names, datatypes, trailing shapes, outputs, parameters. */
struct predict_input {
    uint64_t id;
    const struct row_piece *pieces;
    uint32_t n_pieces, n_inputs, n_rows; /* n_rows: the counts added up */
    const char *const *outputs;          /* wanted output names; n_outputs 0: all */
    uint32_t n_outputs;
    const uint8_t *parameters;
    size_t parameters_bytes;
};

/* The exact size of the PredictRequest; 0 if it would exceed 2 GiB. */
size_t worker_predict_size(const struct predict_input *input);
/* Writes exactly worker_predict_size() bytes to `out`: the rows are gathered straight into it, one copy. */
GW_MUST_CHECK enum gw_status worker_predict_write(const struct predict_input *input, uint8_t *out, size_t size);

/*
 * Decodes and judges a PredictResponse against what was asked: n_rows rows, and, where `declared` has
 * outputs, their names, datatypes and shapes. The result holds wanted[0..n_wanted) in that order; if n_wanted is
 * 0 the declared outputs in theirs; if none are declared, what came. One that is missing, or not declared, is a lie.
 * BYTES take the declared encoding. Row errors are one line of printable UTF-8, at most 1 KiB each.
 * Copies them first. GW_E_CONTRACT with words when the replica lied; GW_E_NO_MEMORY.
 */
GW_MUST_CHECK enum gw_status worker_predict_read(const uint8_t *bytes, size_t size, uint32_t n_rows,
                                                 const struct signature *declared,
                                                 const char *const *wanted, uint32_t n_wanted,
                                                 struct predict_result **result, struct gw_err *err);

/*
 * The same without a copy: the bytes lie in `holder`, without a budget, which is taken over, and is empty afterwards, whatever
 * comes of it. Tensors' data stays where it is, so it is aligned to nothing.
 */
GW_MUST_CHECK enum gw_status worker_predict_take(struct arena *holder, const uint8_t *bytes, size_t size,
                                                 uint32_t n_rows, const struct signature *declared,
                                                 const char *const *wanted, uint32_t n_wanted,
                                                 struct predict_result **result, struct gw_err *err);

/* One well row of an answer as a PredictResponse of its own, for caches; worker_predict_read() judges what comes back. */
size_t worker_answer_size(const struct predict_result *answer, uint32_t row); /* exact; 0 if it would exceed 2 GiB */
GW_MUST_CHECK enum gw_status worker_answer_write(const struct predict_result *answer, uint32_t row, uint8_t *out,
                                                 size_t size);

struct worker_description {
    const char *model, *version, *digest;
    struct signature signature;
    uint32_t max_rows; /* 0: no bound */
    const char *const *metadata; /* key, value, key, value ...; n_metadata pairs */
    uint32_t n_metadata;
};
/*
 * Decodes a DescribeResponse of at most 256 KiB into `arena`, with at most 64 pairs and 4 KiB of metadata.
 * GW_E_CONTRACT with words; GW_E_NO_MEMORY.
 */
GW_MUST_CHECK enum gw_status worker_describe_read(struct arena *arena, const uint8_t *bytes, size_t size,
                                                  struct worker_description *description,
                                                  struct gw_err *err);
/*
 * Whether a replica is what the configuration says: model and version by name, and a signature that
 * fits: it takes every input that the configuration lets clients send, and no others; outputs, where both declare
 * any, are the same by name, and one of the two fits the other.
 * GW_E_CONTRACT with words:
 * "input pixels is FP64[-1,64], the configuration says FP32[-1,64]".
 */
GW_MUST_CHECK enum gw_status worker_describe_check(const struct worker_description *description,
                                                   const char *model, const char *version,
                                                   const struct signature *configured,
                                                   struct gw_err *err);

/* grpc.health.v1: an empty request is zero bytes; whether the response says SERVING. */
bool worker_health_serving(const uint8_t *bytes, size_t size);

#endif
