/*
 * plan_alloc_test: every allocation of a plan with a canary fails in turn: when it is made, and when its
 * weights are set. There is then no plan, or the plan as it was; nothing leaks (LeakSanitizer).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/plan.h"

enum { ALLOCATIONS_MOST = 100 };

static long failing_in = -1; /* allocations until one fails; -1: none does */

static bool fails_now(void)
{
    return failing_in >= 0 && failing_in-- == 0;
}

#define WRAP(result, name, parameters, arguments)                                                            \
    result __real_##name parameters;                                                                         \
    result __wrap_##name parameters;                                                                         \
    result __wrap_##name parameters                                                                          \
    {                                                                                                        \
        return fails_now() ? NULL : __real_##name arguments;                                                 \
    }
WRAP(void *, malloc, (size_t bytes), (bytes))
WRAP(void *, calloc, (size_t count, size_t size), (count, size))
WRAP(void *, aligned_alloc, (size_t alignment, size_t bytes), (alignment, bytes))

#define check(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static const char text[] = "models:\n"
                           "  m:\n"
                           "    input: {x: {datatype: FP32, shape: [-1]}}\n"
                           "    versions: {a: {replicas: [h:1]}, b: {replicas: [h:2]}}\n"
                           "endpoints:\n"
                           "  e: {canary: {baseline: m@a, candidate: m@b}, sticky: {header: u}}\n";

static struct plan *plan_when_memory_allows(struct config *config, long *failures)
{
    for (long i = 0; i < ALLOCATIONS_MOST; i++) {
        failing_in = i;
        struct plan *plan = plan_new(config);
        bool failed = failing_in < 0;
        failing_in = -1;
        if (!failed)
            return plan;
        check(!plan);
        ++*failures;
    }
    return NULL;
}

int main(void)
{
    struct config_problems problems;
    struct config *config = config_parse("f.yaml", text, strlen(text), &problems);
    check(config);
    const struct config_endpoint *endpoint = config->endpoints[0];
    long failures = 0;
    struct plan *plan = plan_when_memory_allows(config, &failures);
    check(plan && failures >= 8);

    const struct plan_endpoint *place = &plan->endpoints[0];
    static const double half[] = {1, 1};
    const struct split *split = place->split;
    const struct arm_lot *lot = place->lot;
    long each = failing_in = 0;
    while (!plan_set_weights(plan, endpoint, half)) {
        check(failing_in < 0 && place->split == split && place->lot == lot && place->weights[1] <= 0);
        failing_in = ++each;
    }
    check(failing_in >= 0 && each >= 5);
    failing_in = -1;
    check(place->weights[1] > 0 && split_owned(place->split, 1) > 4000);
    plan_unref(plan);
    config_unref(config);
    printf("%ld allocations failed; there was a plan, or there was none\n", failures + each);
    return 0;
}
