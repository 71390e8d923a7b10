/*
 * cache_value: what a row is called in a cache that several gateways share, and what its answer looks like there.
 * Bytes in, bytes out; no sockets, no clock.
 *
 * The key is BLAKE2b-256 over everything that could change the answer: version, digest of the model, names, datatypes
 * and trailing shapes of the inputs, outputs wanted, parameters, and the row's bytes; each part under its length. Without
 * a secret, so that gateways agree; nobody can aim at a collision all the same.
 *   Source: Aumasson, Neves, Wilcox-O'Hearn, Winnerlein, "BLAKE2", ACNS 2013; libsodium's crypto_generichash.
 *
 * The value, little-endian:
 *
 *     checksum 16 | format 1 | made_ms 8 | PredictResponse of one row (proto/worker.proto)
 *
 * The checksum is over what follows, keyed with the key: a value under a wrong key, cut short or changed is none. It proves no
 * origin; who may write to the cache may write any answer that fits the signature.
 */
#ifndef XEBEC_INFER_CACHE_VALUE_H
#define XEBEC_INFER_CACHE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/result.h"
#include "replica/tensor.h"
#include "support/err.h"

/* Part of every key and value: gateways of another format neither find nor believe them. */
enum { CACHE_VALUE_FORMAT = 1 };

struct cache_value_key {
    uint8_t hash[32];
};

/* What all rows of a request share: see cache_context_key(). */
struct cache_value_key cache_value_context(const char *version, const uint64_t digest[2], const struct tensor *inputs,
                                           uint32_t n_inputs, const char *const *outputs, uint32_t n_outputs,
                                           const uint8_t *parameters, size_t parameters_bytes);
struct cache_value_key cache_value_key(const struct cache_value_key *context, const struct tensor *inputs,
                                       uint32_t n_inputs, uint32_t row);

/* The exact size of the value of a well row; 0 if it would exceed 2 GiB. made_ms: CLOCK_REALTIME. */
size_t cache_value_size(const struct predict_result *answer, uint32_t row);
GW_MUST_CHECK enum gw_status cache_value_write(const struct cache_value_key *key, uint64_t made_ms,
                                               const struct predict_result *answer, uint32_t row, uint8_t *out,
                                               size_t size);

/* Whether a value is one, is whole, and is this key's; then when it was made. */
bool cache_value_intact(const struct cache_value_key *key, const uint8_t *bytes, size_t size, uint64_t *made_ms);
/*
 * The answer in an intact value, judged like a replica's against the signature and what is wanted. GW_E_CONTRACT when
 * it does not fit, or says that the row failed; GW_E_NO_MEMORY. Its digest is left for the caller to set.
 */
GW_MUST_CHECK enum gw_status cache_value_read(const uint8_t *bytes, size_t size, const struct signature *declared,
                                              const char *const *wanted, uint32_t n_wanted,
                                              struct predict_result **answer);

#endif
