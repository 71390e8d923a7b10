/*
 * batch_sim: the gateway's own batching (infer/pace and what it is made of) in virtual time, over generated
 * workloads.
 *
 *   batch_sim [--workloads N] [--seed S] [--family NAME] [--each] [--check]
 *   batch_sim --changes [--workloads N] [--seed S] [--check]      how soon a change of the model's speed is
 * followed
 *
 *     dice -> workload -> simulate -> families, changes
 *
 * Everything follows from the seed. --check asserts what docs/batching.md promises, and exits 1 if it does
 * not hold.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports.h"

static void usage(void)
{
    puts("usage: batch_sim [--workloads N] [--seed S] [--family NAME] [--each] [--check]\n"
         "       batch_sim --changes [--workloads N] [--seed S] [--check]");
    exit(2);
}

static uint64_t number_of(const char *text)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 10);
    if (*end || !number)
        usage();
    return number;
}

static struct options read_options(int argc, char **argv)
{
    struct options options = {.workloads = 1000, .seed = 1};
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--check"))
            options.check = true;
        else if (!strcmp(argv[i], "--each"))
            options.each = true;
        else if (!strcmp(argv[i], "--changes"))
            options.changes = true;
        else if (!strcmp(argv[i], "--workloads") && more)
            options.workloads = number_of(argv[++i]);
        else if (!strcmp(argv[i], "--seed") && more)
            options.seed = number_of(argv[++i]);
        else if (!strcmp(argv[i], "--family") && more)
            options.only = argv[++i];
        else
            usage();
    }
    return options;
}

int main(int argc, char **argv)
{
    const struct options options = read_options(argc, argv);
    printf("%" PRIu64 " workloads, seed %" PRIu64 "\n", options.workloads, options.seed);
    int failures = options.changes ? measure_changes(&options) : compare_policies(&options);
    return failures ? 1 : 0;
}
