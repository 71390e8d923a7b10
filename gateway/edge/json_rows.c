/* json_rows: a builder for each input, fed by row or by column. */
#include "edge/json_rows.h"

#include <inttypes.h>
#include <string.h>

enum gw_status json_rows_begin(struct json_rows *rows, struct request *request)
{
    const struct signature *signature = request->endpoint->signature;
    *rows = (struct json_rows){.request = request};
    rows->builders = arena_array(request->arena, signature->n_inputs, sizeof *rows->builders);
    request->inputs = arena_array(request->arena, signature->n_inputs, sizeof *request->inputs);
    if (!rows->builders || !request->inputs)
        return gw_err_set(&request->err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
    for (uint32_t i = 0; i < signature->n_inputs; i++)
        tensor_builder_init(&rows->builders[i], request->arena, &signature->inputs[i],
                            request->period->plan->config->limits.rows);
    return GW_OK;
}

/* --- by row --- */

static struct tensor_builder *find_builder(const struct json_rows *rows, const char *name, size_t length)
{
    const struct signature *signature = rows->request->endpoint->signature;
    for (uint32_t i = 0; i < signature->n_inputs; i++)
        if (strlen(signature->inputs[i].name) == length &&
            memcmp(signature->inputs[i].name, name, length) == 0)
            return &rows->builders[i];
    return NULL;
}

enum gw_status json_rows_refuse_name(const struct signature *signature, const struct json_value *value,
                                     struct gw_err *err)
{
    char names[TENSOR_NAMES_ROOM];
    return json_refuse(value, err, "the endpoint has no input of this name; it has: %s",
                       tensor_spec_names(signature->inputs, signature->n_inputs, names));
}

/* {"b64": ...} where an object might have named the only input instead. */
static enum gw_status append_base64(struct json_rows *rows, struct json_value *value, struct gw_err *err)
{
    struct tensor_builder *builder = &rows->builders[0];
    const struct tensor_spec *declared = builder->declared;
    struct tensor_spec base64 = *declared;
    base64.encoding = TENSOR_BASE64;
    builder->declared = &base64;
    enum gw_status status = json_append_row(value, builder, err);
    builder->declared = declared;
    return status;
}

static enum gw_status append_named(void *owner, const char *name, size_t length, struct json_value *value,
                                   struct gw_err *err)
{
    struct json_rows *rows = owner;
    struct tensor_builder *builder = find_builder(rows, name, length);
    bool is_base64 = !builder && rows->names_only_input && length == 3 && memcmp(name, "b64", 3) == 0 &&
                     rows->builders[0].declared->datatype == DT_BYTES;
    if (!builder && !is_base64)
        return json_rows_refuse_name(rows->request->endpoint->signature, value, err);
    if ((builder ? builder : rows->builders)->shape[0] > rows->n_rows)
        return json_refuse(value, err, "given twice");
    return is_base64 ? append_base64(rows, value, err) : json_append_row(value, builder, err);
}

static enum gw_status append_object(struct json_rows *rows, struct json_value *value, struct gw_err *err)
{
    const struct signature *signature = rows->request->endpoint->signature;
    enum gw_status status = json_object(value, append_named, rows, err);
    if (status != GW_OK)
        return status;
    for (uint32_t i = 0; i < signature->n_inputs; i++)
        if (rows->builders[i].shape[0] == rows->n_rows)
            return json_refuse(value, err, "%s is missing", signature->inputs[i].name);
    rows->n_rows++;
    return GW_OK;
}

/* Any value may be the row where rows are JSON documents. */
static bool is_bare(const struct json_rows *rows, const struct json_value *value)
{
    const struct signature *signature = rows->request->endpoint->signature;
    const struct tensor_spec *input = &signature->inputs[0];
    if (signature->n_inputs != 1)
        return false;
    return !rows->names_only_input || json_kind(value) != JSON_OBJECT ||
           (input->datatype == DT_BYTES && input->encoding == TENSOR_JSON);
}

enum gw_status json_rows_append(struct json_rows *rows, struct json_value *value, struct gw_err *err)
{
    if (!is_bare(rows, value))
        return append_object(rows, value, err);
    enum gw_status status = json_append_row(value, &rows->builders[0], err);
    rows->n_rows += status == GW_OK;
    return status;
}

static enum gw_status append_element(void *owner, uint32_t index, struct json_value *value,
                                     struct gw_err *err)
{
    (void)index;
    return json_rows_append(owner, value, err);
}

enum gw_status json_rows_append_all(struct json_rows *rows, struct json_value *value, struct gw_err *err)
{
    enum gw_status status;
    if (rows->request->endpoint->signature->n_inputs == 1 && !rows->names_only_input) {
        status = json_append_rows(value, &rows->builders[0], err);
        rows->n_rows = (uint32_t)rows->builders[0].shape[0];
    } else {
        status = json_array(value, append_element, rows, err);
    }
    return status == GW_OK && !rows->n_rows ? json_refuse(value, err, "expected at least one row") : status;
}

/* --- by column --- */

enum gw_status json_rows_append_column(struct json_rows *rows, const char *name, size_t length,
                                       struct json_value *value, struct gw_err *err)
{
    uint32_t n_inputs = rows->request->endpoint->signature->n_inputs;
    struct tensor_builder *builder = name            ? find_builder(rows, name, length)
                                     : n_inputs == 1 ? &rows->builders[0]
                                                     : NULL;
    if (!builder && name)
        return json_rows_refuse_name(rows->request->endpoint->signature, value, err);
    if (!builder)
        return json_refuse(value, err, "expected an object that names %" PRIu32 " inputs", n_inputs);
    if (builder->shape[0])
        return json_refuse(value, err, "given twice");
    enum gw_status status = json_append_rows(value, builder, err);
    return status == GW_OK && !builder->shape[0] ? json_refuse(value, err, "expected at least one row")
                                                 : status;
}

/* --- the end --- */

enum gw_status json_rows_end(struct json_rows *rows)
{
    struct request *request = rows->request;
    const struct signature *signature = request->endpoint->signature;
    int64_t n_rows = rows->builders[0].shape[0];
    for (uint32_t i = 0; i < signature->n_inputs; i++) {
        int64_t here = rows->builders[i].shape[0];
        if (!here)
            return gw_err_set(&request->err, GW_E_INVALID, "input %s is missing", signature->inputs[i].name);
        if (here != n_rows)
            return gw_err_set(&request->err, GW_E_INVALID,
                              "input %s: %" PRId64 " rows, where input %s has %" PRId64,
                              signature->inputs[i].name, here, signature->inputs[0].name, n_rows);
        request->inputs[i] = tensor_builder_take(&rows->builders[i]);
    }
    request->n_inputs = signature->n_inputs;
    request->n_rows = (uint32_t)n_rows;
    return GW_OK;
}
