/*
 * worst_alloc_test: every allocation of the worst examples fails in turn. What was kept stays, what fails is
 * not kept, nothing leaks (LeakSanitizer), and once memory is back all is as before.
 */
#include <stdio.h>
#include <stdlib.h>

#include "judge/worst.h"

static long failing_in = -1; /* allocations until one fails; -1: none does */

static bool fails_now(void)
{
    return failing_in >= 0 && failing_in-- == 0;
}

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes)
{
    return fails_now() ? NULL : __real_malloc(bytes);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

#define check(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static struct worst *worst_when_memory_allows(void)
{
    const struct worst_limits limits = {.examples = 2, .row_bytes = 64, .inputs = WORST_INPUTS_KEPT};
    for (int i = 0; i < 2; i++) { /* the struct, then its heap */
        failing_in = i;
        check(!worst_new(&limits));
    }
    failing_in = -1;
    return worst_new(&limits);
}

int main(void)
{
    static const int64_t data[] = {1, 2};
    struct tensor tensor = {.spec = {.name = "y", .datatype = DT_INT64, .dims = 1, .shape = {2}},
                            .data = (const uint8_t *)data,
                            .bytes = sizeof data};
    struct predict_result result = {.n_rows = 2, .n_outputs = 1, .outputs = &tensor};
    struct worst_offer offer = {.row = {COMPARE_LABEL, 1},
                                .inputs = &tensor,
                                .n_inputs = 1,
                                .primary = &result,
                                .shadow = &result,
                                .shadow_row = 1};
    const struct worst_example *examples[2];
    struct worst *worst = worst_when_memory_allows();
    check(worst && worst_add(worst, &offer) == GW_OK);
    check(worst_add(worst, &offer) == GW_OK);

    offer.row.badness = 2;
    for (int i = 0; i < 3; i++) { /* the inputs, then each answer */
        failing_in = i;
        check(worst_add(worst, &offer) == GW_E_NO_MEMORY);
        failing_in = -1;
        check(worst_list(worst, examples, 2) == 2);
        check(examples[0]->row.badness <= 1 && examples[1]->inputs && examples[1]->shadow);
    }
    check(worst_add(worst, &offer) == GW_OK);
    check(worst_list(worst, examples, 2) == 2 && examples[0]->row.badness >= 2);
    worst_free(worst);
    printf("every allocation failed once; nothing kept was lost\n");
    return 0;
}
