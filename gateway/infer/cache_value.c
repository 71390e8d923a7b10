/* cache_value: hashing parts under their lengths; a head of three fields before worker_codec's bytes. */
#include "infer/cache_value.h"

#include <sodium.h>
#include <string.h>

#include "replica/worker_codec.h"

enum { CHECKSUM_BYTES = 16, FORMAT_AT = CHECKSUM_BYTES, MADE_AT = FORMAT_AT + 1, HEAD_BYTES = MADE_AT + 8 };

/* --- keys --- */

static void absorb(crypto_generichash_state *state, const void *bytes, size_t length)
{
    uint64_t before = length;
    crypto_generichash_update(state, (const unsigned char *)&before, sizeof before);
    crypto_generichash_update(state, bytes, length);
}

static void absorb_text(crypto_generichash_state *state, const char *text)
{
    absorb(state, text, strlen(text));
}

/* Name, datatype and trailing shape. */
static void absorb_spec(crypto_generichash_state *state, const struct tensor_spec *spec)
{
    int64_t form[TENSOR_DIMS_MAX + 1] = {spec->datatype, spec->dims};
    for (unsigned i = 1; i < spec->dims; i++)
        form[i + 1] = spec->shape[i];
    absorb_text(state, spec->name);
    absorb(state, form, sizeof form);
}

struct cache_value_key cache_value_context(const char *version, const uint64_t digest[2],
                                           const struct tensor *inputs, uint32_t n_inputs,
                                           const char *const *outputs, uint32_t n_outputs,
                                           const uint8_t *parameters, size_t parameters_bytes)
{
    struct cache_value_key key;
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, sizeof key.hash);
    absorb_text(&state, version);
    absorb(&state, digest, 2 * sizeof digest[0]);
    absorb(&state, &n_inputs, sizeof n_inputs);
    for (uint32_t i = 0; i < n_inputs; i++)
        absorb_spec(&state, &inputs[i].spec);
    absorb(&state, &n_outputs, sizeof n_outputs);
    for (uint32_t i = 0; i < n_outputs; i++)
        absorb_text(&state, outputs[i]);
    absorb(&state, parameters, parameters_bytes);
    crypto_generichash_final(&state, key.hash, sizeof key.hash);
    return key;
}

struct cache_value_key cache_value_key(const struct cache_value_key *context, const struct tensor *inputs,
                                       uint32_t n_inputs, uint32_t row)
{
    struct cache_value_key key;
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, sizeof key.hash);
    crypto_generichash_update(&state, context->hash, sizeof context->hash);
    for (uint32_t i = 0; i < n_inputs; i++) {
        size_t bytes;
        const uint8_t *data = tensor_row(&inputs[i], row, &bytes);
        absorb(&state, data, bytes);
    }
    crypto_generichash_final(&state, key.hash, sizeof key.hash);
    return key;
}

/* --- values --- */

static void checksum(const struct cache_value_key *key, const uint8_t *value, size_t size,
                     uint8_t sum[CHECKSUM_BYTES])
{
    crypto_generichash(sum, CHECKSUM_BYTES, value + CHECKSUM_BYTES, size - CHECKSUM_BYTES, key->hash,
                       sizeof key->hash);
}

size_t cache_value_size(const struct predict_result *answer, uint32_t row)
{
    size_t body = worker_answer_size(answer, row);
    return body ? HEAD_BYTES + body : 0;
}

enum gw_status cache_value_write(const struct cache_value_key *key, uint64_t made_ms,
                                 const struct predict_result *answer, uint32_t row, uint8_t *out, size_t size)
{
    if (size < HEAD_BYTES)
        return GW_E_INTERNAL;
    out[FORMAT_AT] = CACHE_VALUE_FORMAT;
    memcpy(out + MADE_AT, &made_ms, sizeof made_ms);
    enum gw_status status = worker_answer_write(answer, row, out + HEAD_BYTES, size - HEAD_BYTES);
    if (status == GW_OK)
        checksum(key, out, size, out);
    return status;
}

bool cache_value_intact(const struct cache_value_key *key, const uint8_t *bytes, size_t size,
                        uint64_t *made_ms)
{
    uint8_t sum[CHECKSUM_BYTES];
    if (size < HEAD_BYTES || bytes[FORMAT_AT] != CACHE_VALUE_FORMAT)
        return false;
    checksum(key, bytes, size, sum);
    memcpy(made_ms, bytes + MADE_AT, sizeof *made_ms);
    return memcmp(sum, bytes, sizeof sum) == 0;
}

enum gw_status cache_value_read(const uint8_t *bytes, size_t size, const struct signature *declared,
                                const char *const *wanted, uint32_t n_wanted, struct predict_result **answer)
{
    struct predict_result *read = NULL;
    enum gw_status status = worker_predict_read(bytes + HEAD_BYTES, size - HEAD_BYTES, 1, declared, wanted,
                                                n_wanted, &read, NULL);
    if (status != GW_OK)
        return status;
    if (read->row_errors) {
        predict_result_unref(read);
        return GW_E_CONTRACT;
    }
    *answer = read;
    return GW_OK;
}
