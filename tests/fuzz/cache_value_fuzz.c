/*
 * What may lie in Redis under one of our keys. The first byte picks what was declared and what was wanted,
 * and whether the checksum is made right (by somebody who can write there); the rest is the value.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "infer/cache_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CHECKSUM_BYTES = 16 };

static const struct cache_value_key key = {{1, 2, 3, 4}};
static struct tensor_spec outputs[] = {
    {.name = "y", .datatype = DT_FP32, .dims = 2, .shape = {TENSOR_ANY, TENSOR_ANY}},
    {.name = "w", .datatype = DT_BYTES, .encoding = TENSOR_JSON, .dims = 1, .shape = {TENSOR_ANY}},
};
static const struct signature signatures[] = {
    {.n_outputs = 0}, {.outputs = outputs, .n_outputs = 1}, {.outputs = outputs, .n_outputs = 2}};

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Reads every byte of the row, so that a sanitizer sees what lies outside. */
static void walk(const struct predict_result *answer)
{
    volatile uint8_t sum = 0;
    require(answer->n_rows == 1 && !answer->row_errors);
    for (uint32_t i = 0; i < answer->n_outputs; i++) {
        size_t bytes;
        const uint8_t *at = tensor_row(&answer->outputs[i], 0, &bytes);
        require(answer->outputs[i].spec.shape[0] == 1 && bytes == answer->outputs[i].bytes);
        for (size_t byte = 0; byte < bytes; byte++)
            sum = (uint8_t)(sum + at[byte]);
    }
}

/* What was believed once is believed again when we write it. */
static void write_again(const struct predict_result *answer, const struct signature *declared)
{
    size_t size = cache_value_size(answer, 0);
    uint8_t *bytes = malloc(size ? size : 1);
    struct predict_result *again = NULL;
    uint64_t made_ms;
    if (bytes && size) {
        require(cache_value_write(&key, 7, answer, 0, bytes, size) == GW_OK);
        require(cache_value_intact(&key, bytes, size, &made_ms) && made_ms == 7);
        require(cache_value_read(bytes, size, declared, NULL, 0, &again) == GW_OK);
        predict_result_unref(again);
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const wanted[] = {"w", "y"};
    if (size < 1)
        return 0;
    const struct signature *declared = &signatures[data[0] % 3];
    uint32_t n_wanted = data[0] / 3 % 3;
    bool forged = data[0] & 0x80;
    uint8_t *value = malloc(size);
    struct predict_result *answer = NULL;
    uint64_t made_ms;
    require(value != NULL);
    memcpy(value, data + 1, --size);
    if (forged && size > CHECKSUM_BYTES)
        crypto_generichash(value, CHECKSUM_BYTES, value + CHECKSUM_BYTES, size - CHECKSUM_BYTES, key.hash,
                           sizeof key.hash);
    if (cache_value_intact(&key, value, size, &made_ms) &&
        cache_value_read(value, size, declared, wanted, n_wanted, &answer) == GW_OK) {
        walk(answer);
        if (!n_wanted)
            write_again(answer, declared);
        predict_result_unref(answer);
    }
    free(value);
    return 0;
}
