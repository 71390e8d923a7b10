#include <xebec_worker.h>

static int predict(struct xebec_batch *batch)
{
    const float *x = batch->inputs[0].data;
    float *y = xebec_output(batch, 0);
    for (uint32_t i = 0; y && i < batch->n_rows; i++)
        y[i] = 2 * x[i];
    return y ? 0 : -1;
}

int main(void)
{
    const struct xebec_spec x = {"x", XEBEC_FP32, .dims = 1, .shape = {XEBEC_ANY}};
    const struct xebec_spec y = {"y", XEBEC_FP32, .dims = 1, .shape = {XEBEC_ANY}};
    struct xebec_model model = {.name = "double", .version = "1", .predict = predict};
    model.inputs = &x, model.n_inputs = 1, model.outputs = &y, model.n_outputs = 1;
    return xebec_worker_serve(&model, NULL); /* $XEBEC_LISTEN, or 127.0.0.1:9000 */
}
