/*
 * slow_model: m@VERSION at ADDRESS, which takes x:FP32:-1,4, sleeps so many microseconds a batch, and so many
 * more a row, and answers zeros. One batch at a time; health checks are answered meanwhile. Sleeping leaves
 * the cores to what is measured.
 *
 *     slow_model ADDRESS VERSION MICROSECONDS [MICROSECONDS-A-ROW]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "xebec_worker.h"

struct pace {
    long batch_us, row_us;
};

static int predict(struct xebec_batch *batch)
{
    const struct pace *pace = batch->user;
    long us = pace->batch_us + pace->row_us * batch->n_rows;
    struct timespec left = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    nanosleep(&left, NULL);
    return xebec_output(batch, 0) ? 0 : -1;
}

int main(int argc, char **argv)
{
    static const struct xebec_spec input = {
        .name = "x", .datatype = XEBEC_FP32, .dims = 2, .shape = {XEBEC_ANY, 4}};
    static const struct xebec_spec output = {
        .name = "y", .datatype = XEBEC_FP32, .dims = 1, .shape = {XEBEC_ANY}};
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: slow_model ADDRESS VERSION MICROSECONDS [MICROSECONDS-A-ROW]\n");
        return 2;
    }
    struct pace pace = {.batch_us = strtol(argv[3], NULL, 10),
                        .row_us = argc > 4 ? strtol(argv[4], NULL, 10) : 0};
    const struct xebec_model model = {.name = "m",
                                      .version = argv[2],
                                      .digest = argv[2],
                                      .inputs = &input,
                                      .outputs = &output,
                                      .n_inputs = 1,
                                      .n_outputs = 1,
                                      .predict = predict,
                                      .user = &pace,
                                      .drain_ms = 100};
    return xebec_worker_serve(&model, argv[1]);
}
