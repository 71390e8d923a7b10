/* result: the reference-counted answer of a model, and the compact copy of one row of it for the cache. */
#include "replica/result.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define DATA_ALIGN 8 /* of each output's bytes, so that they can be read as what they are */

struct predict_result *predict_result_new(void)
{
    struct predict_result *result = calloc(1, sizeof *result);
    if (result)
        atomic_init(&result->refs, 1);
    return result;
}

static size_t aligned(size_t bytes)
{
    return (bytes + DATA_ALIGN - 1) & ~(size_t)(DATA_ALIGN - 1);
}

/* One output's share of the single allocation, behind the struct and the array of outputs. */
static size_t row_room(const struct tensor *output, uint32_t row)
{
    size_t bytes;
    (void)tensor_row(output, row, &bytes);
    return aligned(bytes) + aligned(sizeof *output->row_end + strlen(output->spec.name) + 1);
}

/* Lays one row of `output` at `at`: its bytes, the row's end, the name. Returns what lies behind. */
static char *lay_row(const struct tensor *output, uint32_t row, struct tensor *copy, char *at)
{
    size_t bytes, name_bytes = strlen(output->spec.name) + 1;
    const uint8_t *data = tensor_row(output, row, &bytes);
    uint32_t *row_end = (uint32_t *)(at + aligned(bytes));
    char *name = (char *)(row_end + 1);

    if (bytes)
        memcpy(at, data, bytes);
    *row_end = (uint32_t)bytes;
    memcpy(name, output->spec.name, name_bytes);

    *copy = *output;
    copy->spec.name = name;
    copy->spec.shape[0] = 1;
    copy->data = (const uint8_t *)at;
    copy->bytes = bytes;
    copy->row_end = output->row_end ? row_end : NULL;
    return (char *)row_end + aligned(sizeof *row_end + name_bytes);
}

struct predict_result *predict_result_row(const struct predict_result *result, uint32_t row)
{
    size_t head = aligned(sizeof *result), table = aligned(result->n_outputs * sizeof *result->outputs);
    size_t size = head + table;
    for (uint32_t i = 0; i < result->n_outputs; i++)
        size += row_room(&result->outputs[i], row);

    char *memory = malloc(size);
    if (!memory)
        return NULL;
    struct predict_result *copy = (struct predict_result *)memory;
    struct tensor *outputs = (struct tensor *)(memory + head);
    char *at = memory + head + table;
    for (uint32_t i = 0; i < result->n_outputs; i++)
        at = lay_row(&result->outputs[i], row, &outputs[i], at);

    *copy = (struct predict_result){.n_rows = 1, .n_outputs = result->n_outputs, .outputs = outputs};
    atomic_init(&copy->refs, 1);
    memcpy(copy->digest, result->digest, sizeof copy->digest);
    copy->bytes = malloc_usable_size(memory) + sizeof(size_t); /* malloc keeps a word of its own before it */
    return copy;
}

struct predict_result *predict_result_ref(struct predict_result *result)
{
    atomic_fetch_add_explicit(&result->refs, 1, memory_order_relaxed);
    return result;
}

void predict_result_unref(struct predict_result *result)
{
    if (!result || atomic_fetch_sub_explicit(&result->refs, 1, memory_order_acq_rel) != 1)
        return;
    arena_clear(&result->arena);
    free(result);
}
