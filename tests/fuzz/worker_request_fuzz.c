/* What a hostile gateway may say to the C worker SDK: the first byte picks the model, the rest is a
 * PredictRequest. */
#include <grpc/grpc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct xebec_spec specs[] = {
    {.name = "x", .datatype = XEBEC_FP32, .dims = 2, .shape = {XEBEC_ANY, 4}},
    {.name = "words", .datatype = XEBEC_BYTES, .dims = 2, .shape = {XEBEC_ANY, XEBEC_ANY}},
};
static const struct xebec_model models[] = {
    {.name = "one", .version = "1", .inputs = specs, .n_inputs = 1, .outputs = specs, .n_outputs = 1},
    {.name = "words",
     .version = "1",
     .inputs = specs + 1,
     .n_inputs = 1,
     .outputs = specs + 1,
     .n_outputs = 1},
    {.name = "two",
     .version = "1",
     .inputs = specs,
     .n_inputs = 2,
     .outputs = specs,
     .n_outputs = 2,
     .max_rows = 100},
};

/* Every byte of an input is read, and given back. */
static void echo(struct xebec_batch *batch, uint32_t index)
{
    const struct xebec_tensor *input = &batch->inputs[index];
    size_t at = 0, length, elements = xebec_row_elements(&input->spec);
    const uint8_t *item;
    if (xebec_output_shape(batch, index, input->spec.shape) != 0)
        abort();
    if (input->spec.datatype == XEBEC_BYTES) {
        for (size_t i = 0; xebec_next_bytes(input, &at, &item, &length); i++)
            if (xebec_add_bytes(batch, index, (uint32_t)(i / elements), item, length) != 0)
                abort();
        return;
    }
    if ((uintptr_t)input->data % sizeof(float) != 0)
        abort();
    memcpy(xebec_output(batch, index), input->data, input->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct call call;
    if (size == 0)
        return 0;
    const struct xebec_model *model = &models[data[0] % 3];
    if (xebec_call_init(&call, model) && xebec_call_read(&call, data + 1, size - 1)) {
        for (uint32_t i = 0; i < model->n_inputs; i++)
            echo(&call.batch, i);
        grpc_byte_buffer *reply = xebec_call_write(&call);
        if (!reply)
            abort();
        grpc_byte_buffer_destroy(reply);
    } else if (call.status == GRPC_STATUS_OK || !call.message[0]) {
        abort();
    }
    xebec_call_clear(&call);
    return 0;
}
