/*
 * A worker with moods, for worker_test.py: the first number of the input decides.
 *   < 0     this row fails alone            1000 + ms   takes so long
 *   777     the whole batch fails           888         leaves the output y unwritten
 *   999     leaves the row's words out
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "xebec_worker.h"

static int predict_row(struct xebec_batch *batch, uint32_t row, float x, float *y)
{
    char words[32];
    if (x < 0)
        xebec_fail_row(batch, row, "x is negative");
    if (x == 777)
        return xebec_fail(batch, "the model is out of sorts");
    if (x >= 1000)
        nanosleep(&(struct timespec){.tv_sec = (time_t)(x - 1000) / 1000,
                                     .tv_nsec = ((long)x - 1000) % 1000 * 1000000},
                  NULL);
    *y = x * x;
    if (x < 0 || x == 999)
        return 0;
    snprintf(words, sizeof words, "row %u", row);
    return xebec_add_bytes(batch, 1, row, words, strlen(words));
}

static int predict(struct xebec_batch *batch)
{
    const float *x = batch->inputs[0].data;
    const size_t columns = xebec_row_elements(&batch->inputs[0].spec);
    if (x[0] == 888)
        return 0;
    float *y = xebec_output(batch, 0);
    if (!y)
        return -1;
    for (uint32_t row = 0; row < batch->n_rows; row++)
        if (predict_row(batch, row, x[row * columns], &y[row]) != 0)
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct xebec_spec inputs[] = {
        {.name = "x", .datatype = XEBEC_FP32, .dims = 2, .shape = {XEBEC_ANY, 2}}};
    static const struct xebec_spec outputs[] = {
        {.name = "y", .datatype = XEBEC_FP32, .dims = 1, .shape = {XEBEC_ANY}},
        {.name = "words", .datatype = XEBEC_BYTES, .dims = 1, .shape = {XEBEC_ANY}}};
    struct xebec_model model = {.name = "picky",
                                .version = "1",
                                .predict = predict,
                                .threads = 2,
                                .inputs = inputs,
                                .n_inputs = 1,
                                .outputs = outputs,
                                .n_outputs = 2,
                                .drain_ms = 1000};
    return argc == 2 ? xebec_worker_serve(&model, argv[1]) : 2;
}
