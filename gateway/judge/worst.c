/* worst: a heap of owned copies, the least bad on top, so that it is the one to go. */
#include "judge/worst.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(WORST_KEY_BYTES >= crypto_generichash_KEYBYTES_MIN &&
                   WORST_HASH_BYTES >= crypto_generichash_BYTES_MIN,
               "BLAKE2b takes a key and gives a hash of these sizes");

struct worst {
    struct worst_limits limits;
    uint64_t offered; /* the next one's order */
    uint32_t n;
    struct worst_example *heap; /* limits.examples; [0] is the least bad */
};

struct worst *worst_new(const struct worst_limits *limits)
{
    if (!limits->examples || limits->examples > WORST_EXAMPLES_MAX)
        return NULL;
    struct worst *worst = calloc(1, sizeof *worst);
    if (!worst)
        return NULL;
    worst->limits = *limits;
    worst->heap = calloc(limits->examples, sizeof *worst->heap);
    if (!worst->heap) {
        free(worst);
        return NULL;
    }
    return worst;
}

static void example_clear(struct worst_example *example)
{
    predict_result_unref(example->inputs);
    predict_result_unref(example->primary);
    predict_result_unref(example->shadow);
    *example = (struct worst_example){0};
}

void worst_clear(struct worst *worst)
{
    while (worst->n)
        example_clear(&worst->heap[--worst->n]);
}

void worst_free(struct worst *worst)
{
    if (!worst)
        return;
    worst_clear(worst);
    sodium_memzero(worst->limits.key, sizeof worst->limits.key);
    free(worst->heap);
    free(worst);
}

bool worst_admits(const struct worst *worst, struct compare_row row)
{
    if (!(row.badness > 0))
        return false;
    return worst->n < worst->limits.examples || row.badness > worst->heap[0].row.badness;
}

/* --- copies --- */

static uint64_t row_bytes(const struct tensor *tensors, uint32_t n, uint32_t row)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        size_t bytes;
        (void)tensor_row(&tensors[i], row, &bytes);
        sum += bytes;
    }
    return sum;
}

/* One row as a result of its own. *copy stays NULL where there is nothing to keep. */
static enum gw_status keep_row(const struct worst *worst, const struct predict_result *result, uint32_t row,
                               struct predict_result **copy)
{
    if (!result || row >= result->n_rows || (result->row_errors && result->row_errors[row]))
        return GW_OK;
    if (row_bytes(result->outputs, result->n_outputs, row) > worst->limits.row_bytes)
        return GW_OK;
    *copy = predict_result_row(result, row);
    return *copy ? GW_OK : GW_E_NO_MEMORY;
}

static void hash_tensor(crypto_generichash_state *state, const struct tensor *tensor, uint32_t row)
{
    const struct tensor_spec *spec = &tensor->spec;
    uint8_t kind[2] = {(uint8_t)spec->datatype, spec->dims};
    size_t bytes;
    const uint8_t *data = tensor_row(tensor, row, &bytes);
    uint64_t length = bytes;
    crypto_generichash_update(state, (const uint8_t *)spec->name, strlen(spec->name) + 1);
    crypto_generichash_update(state, kind, sizeof kind);
    for (unsigned i = 1; i < spec->dims; i++)
        crypto_generichash_update(state, (const uint8_t *)&spec->shape[i], sizeof spec->shape[i]);
    crypto_generichash_update(state, (const uint8_t *)&length, sizeof length);
    crypto_generichash_update(state, data, bytes);
}

static void hash_inputs(const struct worst *worst, const struct worst_offer *offer, uint8_t *hash)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, worst->limits.key, WORST_KEY_BYTES, WORST_HASH_BYTES);
    for (uint32_t i = 0; i < offer->n_inputs; i++)
        hash_tensor(&state, &offer->inputs[i], offer->input_row);
    crypto_generichash_final(&state, hash, WORST_HASH_BYTES);
}

static enum gw_status keep_inputs(const struct worst *worst, const struct worst_offer *offer,
                                  struct worst_example *example)
{
    const struct predict_result as_result = {
        .n_rows = offer->input_row + 1, .n_outputs = offer->n_inputs, .outputs = offer->inputs};
    example->input_bytes = row_bytes(offer->inputs, offer->n_inputs, offer->input_row);
    switch (worst->limits.inputs) {
    case WORST_INPUTS_KEPT:
        return keep_row(worst, &as_result, offer->input_row, &example->inputs);
    case WORST_INPUTS_HASHED:
        hash_inputs(worst, offer, example->input_hash);
        return GW_OK;
    case WORST_INPUTS_OMITTED:
        return GW_OK;
    }
    return GW_OK;
}

static enum gw_status make_example(const struct worst *worst, const struct worst_offer *offer,
                                   struct worst_example *example)
{
    *example = (struct worst_example){.row = offer->row, .at_us = offer->at_us, .order = worst->offered};
    if (offer->request_id)
        memcpy(example->request_id, offer->request_id, strnlen(offer->request_id, WORST_ID_BYTES - 1));
    enum gw_status status = keep_inputs(worst, offer, example);
    if (status == GW_OK)
        status = keep_row(worst, offer->primary, offer->primary_row, &example->primary);
    if (status == GW_OK)
        status = keep_row(worst, offer->shadow, offer->shadow_row, &example->shadow);
    if (status != GW_OK)
        example_clear(example);
    return status;
}

/* --- the heap --- */

/* Whether a is less bad than b; of equals, the younger is. */
static bool less_bad(const struct worst_example *a, const struct worst_example *b)
{
    return a->row.badness != b->row.badness ? a->row.badness < b->row.badness : a->order > b->order;
}

static void heap_up(struct worst *worst, uint32_t at, struct worst_example example)
{
    for (; at && less_bad(&example, &worst->heap[(at - 1) / 2]); at = (at - 1) / 2)
        worst->heap[at] = worst->heap[(at - 1) / 2];
    worst->heap[at] = example;
}

static void heap_replace_top(struct worst *worst, struct worst_example example)
{
    uint32_t at = 0;
    for (uint32_t child = 1; child < worst->n; child = 2 * at + 1) {
        if (child + 1 < worst->n && less_bad(&worst->heap[child + 1], &worst->heap[child]))
            child++;
        if (!less_bad(&worst->heap[child], &example))
            break;
        worst->heap[at] = worst->heap[child];
        at = child;
    }
    worst->heap[at] = example;
}

enum gw_status worst_add(struct worst *worst, const struct worst_offer *offer)
{
    struct worst_example example;
    if (!worst_admits(worst, offer->row))
        return GW_OK;
    enum gw_status status = make_example(worst, offer, &example);
    if (status != GW_OK)
        return status;
    worst->offered++;
    if (worst->n < worst->limits.examples) {
        heap_up(worst, worst->n++, example);
        return GW_OK;
    }
    example_clear(&worst->heap[0]);
    heap_replace_top(worst, example);
    return GW_OK;
}

static int worst_first(const void *a, const void *b)
{
    const struct worst_example *const *x = a, *const *y = b;
    return less_bad(*x, *y) ? 1 : -1;
}

uint32_t worst_list(const struct worst *worst, const struct worst_example **examples, uint32_t room)
{
    const struct worst_example *sorted[WORST_EXAMPLES_MAX];
    for (uint32_t i = 0; i < worst->n; i++)
        sorted[i] = &worst->heap[i];
    qsort(sorted, worst->n, sizeof *sorted, worst_first);
    for (uint32_t i = 0; i < worst->n && i < room; i++)
        examples[i] = sorted[i];
    return worst->n;
}
