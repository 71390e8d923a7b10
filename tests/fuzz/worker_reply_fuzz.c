/*
 * What a hostile replica may say. The first byte picks the message (Describe, Predict, health), what was
 * declared and what was wanted; the second the number of rows; the rest is the reply.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "replica/worker_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tensor_spec inputs[] = {
    {.name = "x", .datatype = DT_FP32, .dims = 2, .shape = {TENSOR_ANY, 4}},
};
static struct tensor_spec outputs[] = {
    {.name = "y", .datatype = DT_FP32, .dims = 1, .shape = {TENSOR_ANY}},
    {.name = "words",
     .datatype = DT_BYTES,
     .encoding = TENSOR_JSON,
     .dims = 2,
     .shape = {TENSOR_ANY, TENSOR_ANY}},
};
static const struct signature signatures[] = {
    {.inputs = inputs, .n_inputs = 1},
    {.inputs = inputs, .n_inputs = 1, .outputs = outputs, .n_outputs = 1},
    {.inputs = inputs, .n_inputs = 1, .outputs = outputs, .n_outputs = 2},
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Reads every byte of every row, so that a sanitizer sees what lies outside. */
static void walk(const struct predict_result *result)
{
    volatile uint8_t sum = 0;
    for (uint32_t i = 0; i < result->n_outputs; i++) {
        const struct tensor *output = &result->outputs[i];
        size_t total = 0, bytes;
        require(output->spec.shape[0] == result->n_rows);
        for (uint32_t row = 0; row < result->n_rows; row++) {
            const uint8_t *at = tensor_row(output, row, &bytes);
            for (size_t byte = 0; byte < bytes; byte++)
                sum = (uint8_t)(sum + at[byte]);
            total += bytes;
        }
        require(total == output->bytes);
    }
    for (uint32_t row = 0; result->row_errors && row < result->n_rows; row++)
        require(!result->row_errors[row] || strlen(result->row_errors[row]) <= 1024);
}

static void read_prediction(uint8_t choice, uint32_t n_rows, const uint8_t *bytes, size_t size)
{
    static const char *const wanted[] = {"words", "y"};
    struct predict_result *result = NULL;
    struct gw_err err = {.what = ""};
    enum gw_status status = worker_predict_read(bytes, size, n_rows, &signatures[choice % 3], wanted,
                                                choice / 3 % 3, &result, &err);
    if (status != GW_OK) {
        require(!result && err.what[0] && status == err.status);
        return;
    }
    walk(result);
    for (uint32_t row = 0; row < n_rows && row < 4; row++) {
        struct predict_result *kept = predict_result_row(result, row);
        if (kept)
            walk(kept);
        predict_result_unref(kept);
    }
    predict_result_unref(result);
}

static void read_description(uint8_t choice, const uint8_t *bytes, size_t size)
{
    struct arena arena = {0};
    struct worker_description description;
    struct gw_err err = {.what = ""};
    if (worker_describe_read(&arena, bytes, size, &description, &err) == GW_OK) {
        enum gw_status status = worker_describe_check(&description, "m", "v", &signatures[choice % 3], &err);
        require(status == GW_OK || err.what[0]);
    } else {
        require(err.what[0]);
    }
    arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t message = data[0] % 8, choice = data[0] / 8;
    uint32_t n_rows = 1 + data[1];
    const uint8_t *bytes = data + 2;
    if (message == 0)
        (void)worker_health_serving(bytes, size - 2);
    else if (message < 3)
        read_description(choice, bytes, size - 2);
    else
        read_prediction(choice, n_rows, bytes, size - 2);
    return 0;
}
