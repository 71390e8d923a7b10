/*
 * worker_judge: what a replica answers (worker_codec.h): every claim about its outputs, and about the rows
 * that failed.
 */
#include "replica/worker_codec.h"

#include <string.h>

#include "replica/worker_claims.h"
#include "replica/worker_split.h"
#include "worker.pb-c.h"

enum { FIELD_DATA = 15 }; /* of PredictResponse */

static const struct tensor *find_tensor(const struct tensor *tensors, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(tensors[i].spec.name, name) == 0)
            return &tensors[i];
    return NULL;
}

/* The sizes that an output claims, against the rows that were asked for. */
static enum gw_status judge_sizes(const struct tensor_spec *spec, uint32_t n_rows, size_t *row_elements,
                                  struct gw_err *err)
{
    char text[CLAIMS_SPEC_TEXT];
    if (spec->shape[0] != n_rows)
        return gw_err_set(err, GW_E_CONTRACT, "output %s has %lld rows, %u were asked for", spec->name,
                          (long long)spec->shape[0], n_rows);
    if (!tensor_row_elements(spec, row_elements))
        return gw_err_set(err, GW_E_CONTRACT, "output %s is %s, which is no possible size", spec->name,
                          tensor_spec_text(spec, text, sizeof text));
    return GW_OK;
}

static enum gw_status judge_fixed(const struct tensor *output, uint32_t n_rows, size_t row_elements,
                                  struct gw_err *err)
{
    size_t bytes;
    char text[CLAIMS_SPEC_TEXT];
    bool huge = __builtin_mul_overflow(row_elements, datatype_bytes(output->spec.datatype), &bytes) ||
                __builtin_mul_overflow(bytes, n_rows, &bytes);
    if (huge || bytes != output->bytes)
        return gw_err_set(err, GW_E_CONTRACT, "output %s is %s, which does not come to its %zu bytes",
                          output->spec.name, tensor_spec_text(&output->spec, text, sizeof text),
                          output->bytes);
    return GW_OK;
}

static enum gw_status index_rows(struct claims *claims, struct tensor *output, uint32_t n_rows,
                                 size_t row_elements, struct gw_err *err)
{
    char text[CLAIMS_SPEC_TEXT];
    uint32_t *row_end = claims_take(claims, n_rows * sizeof *row_end);
    if (!row_end)
        return claims_fault(claims, err);
    output->row_end = row_end;
    if (tensor_index_bytes(output->data, output->bytes, n_rows, row_elements, row_end) != GW_OK)
        return gw_err_set(
            err, GW_E_CONTRACT, "output %s is %s, but its %zu bytes do not hold so many elements",
            output->spec.name, tensor_spec_text(&output->spec, text, sizeof text), output->bytes);
    return GW_OK;
}

static enum gw_status judge_declared(struct tensor *output, const struct signature *declared,
                                     struct gw_err *err)
{
    if (declared->n_outputs == 0)
        return GW_OK;
    const struct tensor_spec *spec = claims_find(declared->outputs, declared->n_outputs, output->spec.name);
    if (!spec)
        return gw_err_set(err, GW_E_CONTRACT, "output %s is not in the configuration", output->spec.name);
    if (!tensor_spec_fits(spec, &output->spec))
        return claims_contradiction("output", &output->spec, spec, err);
    output->spec.encoding = spec->encoding;
    return GW_OK;
}

static enum gw_status read_output(struct claims *claims, const Xebec__Worker__V1__PredictResponse *said,
                                  size_t index, uint32_t n_rows, const struct signature *declared,
                                  struct tensor *output, struct gw_err *err)
{
    size_t row_elements;
    enum gw_status status = claims_spec(said->outputs[index], "output", index, &output->spec, err);
    if (status == GW_OK)
        status = judge_declared(output, declared, err);
    if (status == GW_OK)
        status = judge_sizes(&output->spec, n_rows, &row_elements, err);
    if (status != GW_OK)
        return status;

    output->bytes = said->data[index].len;
    output->data = output->bytes ? said->data[index].data : (const uint8_t *)"";
    if (output->spec.datatype == DT_BYTES)
        return index_rows(claims, output, n_rows, row_elements, err);
    return judge_fixed(output, n_rows, row_elements, err);
}

/* Every output that the reply holds, in its order. */
static enum gw_status read_outputs(struct claims *claims, const Xebec__Worker__V1__PredictResponse *said,
                                   const struct signature *declared, struct predict_result *result,
                                   struct gw_err *err)
{
    if (said->n_outputs > CLAIMS_SPECS_MAX)
        return gw_err_set(err, GW_E_CONTRACT, "%zu outputs are more than %d", said->n_outputs,
                          CLAIMS_SPECS_MAX);
    if (said->n_outputs != said->n_data)
        return gw_err_set(err, GW_E_CONTRACT, "%zu outputs are described, the data of %zu came",
                          said->n_outputs, said->n_data);
    struct tensor *outputs = claims_take(claims, said->n_outputs * sizeof *outputs);
    if (!outputs)
        return claims_fault(claims, err);
    for (uint32_t i = 0; i < said->n_outputs; i++) {
        outputs[i] = (struct tensor){0};
        enum gw_status status = read_output(claims, said, i, result->n_rows, declared, &outputs[i], err);
        if (status != GW_OK)
            return status;
        if (find_tensor(outputs, i, outputs[i].spec.name))
            return gw_err_set(err, GW_E_CONTRACT, "output %s came twice", outputs[i].spec.name);
    }
    result->outputs = outputs;
    result->n_outputs = (uint32_t)said->n_outputs;
    return GW_OK;
}

/* Keeps names[0..count), in that order; every one must be there. */
static enum gw_status keep_outputs(struct claims *claims, struct predict_result *result,
                                   const char *(*name)(const void *names, uint32_t index), const void *names,
                                   uint32_t count, struct gw_err *err)
{
    struct tensor *kept = claims_take(claims, count * sizeof *kept);
    if (!kept)
        return claims_fault(claims, err);
    for (uint32_t i = 0; i < count; i++) {
        const struct tensor *output = find_tensor(result->outputs, result->n_outputs, name(names, i));
        if (!output)
            return gw_err_set(err, GW_E_CONTRACT, "output %s is missing", name(names, i));
        kept[i] = *output;
    }
    result->outputs = kept;
    result->n_outputs = count;
    return GW_OK;
}

static const char *wanted_name(const void *names, uint32_t index)
{
    return ((const char *const *)names)[index];
}

static const char *declared_name(const void *specs, uint32_t index)
{
    return ((const struct tensor_spec *)specs)[index].name;
}

static enum gw_status read_row_errors(struct claims *claims, const Xebec__Worker__V1__PredictResponse *said,
                                      struct predict_result *result, struct gw_err *err)
{
    if (said->n_errors == 0)
        return GW_OK;
    const char **errors = claims_take(claims, result->n_rows * sizeof *errors);
    if (!errors)
        return claims_fault(claims, err);
    memset(errors, 0, result->n_rows * sizeof *errors);
    for (size_t i = 0; i < said->n_errors; i++) {
        uint32_t row = said->errors[i]->row;
        if (row >= result->n_rows)
            return gw_err_set(err, GW_E_CONTRACT, "row %u is said to have failed, %u rows were asked for",
                              row, result->n_rows);
        if (errors[row])
            return gw_err_set(err, GW_E_CONTRACT, "row %u is said to have failed twice", row);
        const char *message = said->errors[i]->message;
        errors[row] = claims_printable(claims, *message ? message : gw_status_words(GW_E_MODEL));
        if (!errors[row])
            return claims_fault(claims, err);
    }
    result->row_errors = errors;
    return GW_OK;
}

/* protobuf-c copies what it unpacks: tensors' data, which is nearly all of a large reply, stays where it
 * lies. */
static enum gw_status unpack_reply(struct claims *claims, const uint8_t *bytes, size_t size,
                                   Xebec__Worker__V1__PredictResponse **said, struct gw_err *err)
{
    struct split_count count;
    ProtobufCAllocator allocator = {claims_take, claims_keep, claims};
    if (!split_measure(bytes, size, FIELD_DATA, &count))
        return claims_fault(claims, err);
    struct split_place *places = claims_take(claims, count.n * sizeof *places);
    ProtobufCBinaryData *data = places ? claims_take(claims, count.n * sizeof *data) : NULL;
    uint8_t *rest = data ? claims_take(claims, count.rest) : NULL;
    if (!rest)
        return claims_fault(claims, err);
    split_message(bytes, size, FIELD_DATA, places, rest);
    *said = xebec__worker__v1__predict_response__unpack(&allocator, count.rest, rest);
    if (!*said || (*said)->n_data)
        return claims_fault(claims, err);
    for (size_t i = 0; i < count.n; i++)
        data[i] = (ProtobufCBinaryData){.len = places[i].size, .data = (uint8_t *)(uintptr_t)places[i].bytes};
    (*said)->data = data;
    (*said)->n_data = count.n;
    return GW_OK;
}

/* What an honest reply can unfold to: its bytes, the tables beside them, and the row errors' structs. */
static size_t reply_memory_limit(size_t size, uint32_t n_rows)
{
    return 64 * 1024 + 4 * size + (size_t)256 * n_rows;
}

enum gw_status worker_predict_read(const uint8_t *bytes, size_t size, uint32_t n_rows,
                                   const struct signature *declared, const char *const *wanted,
                                   uint32_t n_wanted, struct predict_result **result, struct gw_err *err)
{
    struct arena holder = {0};
    uint8_t *copy = arena_alloc(&holder, size);
    if (!copy)
        return gw_err_set(err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
    if (size)
        memcpy(copy, bytes, size);
    return worker_predict_take(&holder, copy, size, n_rows, declared, wanted, n_wanted, result, err);
}

enum gw_status worker_predict_take(struct arena *holder, const uint8_t *bytes, size_t size, uint32_t n_rows,
                                   const struct signature *declared, const char *const *wanted,
                                   uint32_t n_wanted, struct predict_result **result, struct gw_err *err)
{
    Xebec__Worker__V1__PredictResponse *said = NULL;
    struct predict_result *reply = predict_result_new();
    if (!reply) {
        arena_clear(holder);
        return gw_err_set(err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
    }
    reply->n_rows = n_rows;
    reply->arena = *holder;
    reply->arena.limit = holder->bytes + reply_memory_limit(size, n_rows);
    *holder = (struct arena){0};
    struct claims claims = {.arena = &reply->arena};
    enum gw_status status = unpack_reply(&claims, bytes, size, &said, err);
    if (status == GW_OK)
        status = read_outputs(&claims, said, declared, reply, err);
    if (status == GW_OK && n_wanted)
        status = keep_outputs(&claims, reply, wanted_name, wanted, n_wanted, err);
    else if (status == GW_OK && declared->n_outputs)
        status = keep_outputs(&claims, reply, declared_name, declared->outputs, declared->n_outputs, err);
    if (status == GW_OK)
        status = read_row_errors(&claims, said, reply, err);
    if (status != GW_OK)
        goto fail;
    *result = reply;
    return GW_OK;

fail:
    predict_result_unref(reply);
    return status;
}
