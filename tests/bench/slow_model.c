/*
 * slow_model: m@VERSION at ADDRESS, which takes x:FP32:-1,4, sleeps so many microseconds a batch, and answers
 * zeros. One batch at a time; health checks are answered meanwhile. Sleeping leaves the cores to what is
 * measured.
 *
 *     slow_model ADDRESS VERSION MICROSECONDS
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "xebec_worker.h"

static int predict(struct xebec_batch *batch)
{
    const long *sleep_us = batch->user;
    struct timespec left = {.tv_sec = *sleep_us / 1000000, .tv_nsec = *sleep_us % 1000000 * 1000};
    nanosleep(&left, NULL);
    return xebec_output(batch, 0) ? 0 : -1;
}

int main(int argc, char **argv)
{
    static const struct xebec_spec input = {
        .name = "x", .datatype = XEBEC_FP32, .dims = 2, .shape = {XEBEC_ANY, 4}};
    static const struct xebec_spec output = {
        .name = "y", .datatype = XEBEC_FP32, .dims = 1, .shape = {XEBEC_ANY}};
    if (argc != 4) {
        fprintf(stderr, "usage: slow_model ADDRESS VERSION MICROSECONDS\n");
        return 2;
    }
    long sleep_us = strtol(argv[3], NULL, 10);
    const struct xebec_model model = {.name = "m",
                                      .version = argv[2],
                                      .digest = argv[2],
                                      .inputs = &input,
                                      .outputs = &output,
                                      .n_inputs = 1,
                                      .n_outputs = 1,
                                      .predict = predict,
                                      .user = &sleep_us,
                                      .drain_ms = 100};
    return xebec_worker_serve(&model, argv[1]);
}
