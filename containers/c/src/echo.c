/* xebec-echo: answers each row with itself, so that a test can prove whose answer it got. */
#include <stdio.h>
#include <string.h>

#include "options.h"

static int echo_bytes(struct xebec_batch *batch, uint32_t index)
{
    const struct xebec_tensor *input = &batch->inputs[index];
    size_t at = 0, size, elements = xebec_row_elements(&input->spec);
    const uint8_t *data;
    for (size_t i = 0; xebec_next_bytes(input, &at, &data, &size); i++)
        if (xebec_add_bytes(batch, index, (uint32_t)(i / elements), data, size) != 0)
            return -1;
    return 0;
}

static int echo(struct xebec_batch *batch, uint32_t index)
{
    const struct xebec_tensor *input = &batch->inputs[index];
    if (xebec_output_shape(batch, index, input->spec.shape) != 0)
        return -1;
    if (input->spec.datatype == XEBEC_BYTES)
        return echo_bytes(batch, index);
    void *output = xebec_output(batch, index);
    if (!output)
        return -1;
    memcpy(output, input->data, input->bytes);
    return 0;
}

static int predict(struct xebec_batch *batch)
{
    const struct xebec_model *model = batch->user;
    for (uint32_t i = 0; i < model->n_inputs; i++)
        if (echo(batch, i) != 0)
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {.model = {.name = "echo", .version = "1", .predict = predict, .quick = true}};
    int exit_code =
        options_read(&options, argc, argv, "Answers each row with itself: the outputs are the inputs.");
    if (exit_code >= 0)
        return exit_code;
    if (options.model.n_outputs > 0) {
        fprintf(stderr, "--output: the outputs of an echo are its inputs\n");
        return 2;
    }
    options.model.outputs = options.model.inputs;
    options.model.n_outputs = options.model.n_inputs;
    options.model.user = &options.model;
    return xebec_worker_serve(&options.model, options.address);
}
