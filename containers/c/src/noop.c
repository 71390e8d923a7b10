/* xebec-noop: the fastest model there is. Answers zeros to everything; for measuring what is around a model.
 */
#include "options.h"

static int write_zeros(struct xebec_batch *batch, const struct xebec_spec *spec, uint32_t output)
{
    if (spec->datatype != XEBEC_BYTES)
        return xebec_output(batch, output) ? 0 : -1;
    for (uint32_t row = 0; row < batch->n_rows; row++)
        for (size_t i = xebec_row_elements(spec); i > 0; i--)
            if (xebec_add_bytes(batch, output, row, "", 0) != 0)
                return -1;
    return 0;
}

static int predict(struct xebec_batch *batch)
{
    const struct xebec_model *model = batch->user;
    for (uint32_t i = 0; i < model->n_outputs; i++) {
        struct xebec_spec spec = model->outputs[i];
        for (uint32_t dim = 1; dim < spec.dims; dim++)
            if (spec.shape[dim] == XEBEC_ANY)
                spec.shape[dim] = 1;
        if (xebec_output_shape(batch, i, spec.shape) != 0 || write_zeros(batch, &spec, i) != 0)
            return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {.model = {.name = "noop", .version = "1", .predict = predict, .quick = true}};
    int exit_code = options_read(&options, argc, argv,
                                 "Answers zeros to every row: one output y:FP32:-1, or those of --output.");
    if (exit_code >= 0)
        return exit_code;
    if (options.model.n_outputs == 0)
        options.outputs[options.model.n_outputs++] =
            (struct xebec_spec){.name = "y", .datatype = XEBEC_FP32, .dims = 1, .shape = {XEBEC_ANY}};
    options.model.user = &options.model;
    return xebec_worker_serve(&options.model, options.address);
}
