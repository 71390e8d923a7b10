/* oip_tensors: inputs and wanted outputs against the signature. */
#include "edge/oip_tensors.h"

#include <inttypes.h>
#include <string.h>

/* --- a request's inputs --- */

enum gw_status oip_inputs_begin(struct request *request)
{
    const struct signature *signature = request->endpoint->signature;
    request->inputs = arena_array(request->arena, signature->n_inputs, sizeof *request->inputs);
    if (!request->inputs)
        return gw_err_no_memory(&request->err);
    memset(request->inputs, 0, signature->n_inputs * sizeof *request->inputs);
    request->n_inputs = signature->n_inputs;
    request->n_rows = 0;
    return GW_OK;
}

static const struct tensor_spec *find_spec(const struct tensor_spec *specs, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(specs[i].name, name))
            return &specs[i];
    return NULL;
}

static enum gw_status refuse_name(struct gw_err *err, const char *what, const char *name,
                                  const struct tensor_spec *specs, uint32_t n)
{
    char names[TENSOR_NAMES_ROOM];
    return gw_err_set(err, GW_E_INVALID, "%s %.64s: the model has no %s of this name; it has: %s", what, name,
                      what, tensor_spec_names(specs, n, names));
}

/* The shape as the client wrote it, for words. */
static struct tensor_spec told_spec(const struct oip_told *told, const struct tensor_spec *declared)
{
    struct tensor_spec spec = *declared;
    spec.dims = (uint8_t)told->dims;
    memcpy(spec.shape, told->shape, told->dims * sizeof *told->shape);
    return spec;
}

static enum gw_status check_shape(struct request *request, const struct tensor_spec *spec,
                                  const struct tensor_spec *declared)
{
    char wrong[128], right[128];
    uint32_t limit = request->period->plan->config->limits.rows;
    struct gw_err *err = &request->err;
    for (unsigned i = 0; i < spec->dims; i++)
        if (spec->shape[i] < 0)
            return gw_err_set(err, GW_E_INVALID, "input %s: a size of its shape is negative", spec->name);
    if (!tensor_spec_fits(declared, spec))
        return gw_err_set(err, GW_E_INVALID, "input %s: expected %s, got %s", spec->name,
                          tensor_spec_text(declared, right, sizeof right),
                          tensor_spec_text(spec, wrong, sizeof wrong));
    if (spec->shape[0] == 0)
        return gw_err_set(err, GW_E_INVALID, "input %s: expected at least one row", spec->name);
    if (spec->shape[0] > limit)
        return gw_err_set(err, GW_E_TOO_LARGE, "input %s: more rows than the limit of %" PRIu32, spec->name,
                          limit);
    if (request->n_rows && spec->shape[0] != request->n_rows)
        return gw_err_set(err, GW_E_INVALID, "input %s: %" PRId64 " rows, where another input has %" PRIu32,
                          spec->name, spec->shape[0], request->n_rows);
    return GW_OK;
}

enum gw_status oip_inputs_take(struct request *request, const struct oip_told *told, struct tensor **input)
{
    const struct signature *signature = request->endpoint->signature;
    const struct tensor_spec *declared = find_spec(signature->inputs, signature->n_inputs, told->name);
    struct gw_err *err = &request->err;
    if (!declared)
        return refuse_name(err, "input", told->name, signature->inputs, signature->n_inputs);
    *input = &request->inputs[declared - signature->inputs];
    if ((*input)->spec.dims)
        return gw_err_set(err, GW_E_INVALID, "input %s: given twice", declared->name);
    if (datatype_parse(told->datatype, strlen(told->datatype)) != declared->datatype)
        return gw_err_set(err, GW_E_INVALID, "input %s: expected datatype %s, got %.16s", declared->name,
                          datatype_name(declared->datatype), told->datatype);
    struct tensor_spec spec = told_spec(told, declared);
    enum gw_status status = check_shape(request, &spec, declared);
    if (status != GW_OK)
        return status;
    (*input)->spec = spec;
    request->n_rows = (uint32_t)spec.shape[0];
    return GW_OK;
}

static enum gw_status refuse_length(struct request *request, const struct tensor *input, const char *expected,
                                    size_t length)
{
    char shape[128];
    return gw_err_set(&request->err, GW_E_INVALID, "input %s: %zu bytes, %s %s", input->spec.name, length,
                      expected, tensor_spec_text(&input->spec, shape, sizeof shape));
}

static enum gw_status set_bytes_elements(struct request *request, struct tensor *input, const uint8_t *bytes,
                                         size_t length, size_t elements)
{
    uint32_t *row_end = arena_array(request->arena, request->n_rows, sizeof *row_end);
    if (!row_end)
        return gw_err_no_memory(&request->err);
    if (tensor_index_bytes(bytes, length, request->n_rows, elements, row_end) != GW_OK)
        return refuse_length(request, input, "which are not the length-prefixed elements of", length);
    input->row_end = row_end;
    return GW_OK;
}

/* Numpy and its like take any other byte for neither. */
static bool are_booleans(const uint8_t *bytes, size_t length)
{
    uint8_t seen = 0;
    for (size_t i = 0; i < length; i++)
        seen |= bytes[i];
    return seen <= 1;
}

enum gw_status oip_input_set_bytes(struct request *request, struct tensor *input, const uint8_t *bytes,
                                   size_t length)
{
    size_t elements, expected;
    enum gw_status status = GW_OK;
    input->data = bytes;
    input->bytes = length;
    if (!tensor_row_elements(&input->spec, &elements))
        return refuse_length(request, input, "which cannot be all of", length);
    if (input->spec.datatype == DT_BYTES)
        status = set_bytes_elements(request, input, bytes, length, elements);
    else if (__builtin_mul_overflow(elements, datatype_bytes(input->spec.datatype), &expected) ||
             __builtin_mul_overflow(expected, (size_t)request->n_rows, &expected) || expected != length)
        status = refuse_length(request, input, "which is not the size of", length);
    else if (input->spec.datatype == DT_BOOL && !are_booleans(bytes, length))
        status = gw_err_set(&request->err, GW_E_INVALID, "input %s: a BOOL that is neither 0 nor 1",
                            input->spec.name);
    return status;
}

/* Models that take JSON are promised JSON. */
static enum gw_status check_documents(struct request *request, const struct tensor *input)
{
    for (size_t at = 0; at < input->bytes;) {
        uint32_t length;
        memcpy(&length, input->data + at, sizeof length);
        at += sizeof length;
        enum gw_status status =
            json_check(request->infer->json, (const char *)input->data + at, length, NULL);
        if (status == GW_E_NO_MEMORY)
            return gw_err_no_memory(&request->err);
        if (status != GW_OK)
            return gw_err_set(&request->err, GW_E_INVALID, "input %s: an element is not a JSON document",
                              input->spec.name);
        at += length;
    }
    return GW_OK;
}

enum gw_status oip_inputs_end(struct request *request)
{
    enum gw_status status = GW_OK;
    for (uint32_t i = 0; i < request->n_inputs && status == GW_OK; i++) {
        const struct tensor *input = &request->inputs[i];
        if (!input->spec.dims)
            return gw_err_set(&request->err, GW_E_INVALID, "input %s is missing",
                              request->endpoint->signature->inputs[i].name);
        if (input->spec.datatype == DT_BYTES && input->spec.encoding == TENSOR_JSON)
            status = check_documents(request, input);
    }
    return status;
}

/* --- the outputs that it wants --- */

static bool is_named(const char *const *names, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

enum gw_status oip_outputs_want(struct request *request, const char *const *names, uint32_t n)
{
    const struct signature *signature = request->endpoint->signature;
    if (!signature->n_outputs) { /* the model knows */
        request->outputs = names;
        request->n_outputs = n;
        return GW_OK;
    }
    for (uint32_t i = 0; i < n; i++)
        if (!find_spec(signature->outputs, signature->n_outputs, names[i]))
            return refuse_name(&request->err, "output", names[i], signature->outputs, signature->n_outputs);
    if (n == 0 || n == signature->n_outputs)
        return GW_OK;
    const char **outputs = arena_array(request->arena, n, sizeof *outputs);
    if (!outputs)
        return gw_err_no_memory(&request->err);
    for (uint32_t i = 0, at = 0; i < signature->n_outputs; i++) /* in one order, whatever the client's is */
        if (is_named(names, n, signature->outputs[i].name))
            outputs[at++] = signature->outputs[i].name;
    request->outputs = outputs;
    request->n_outputs = n;
    return GW_OK;
}

/* --- names --- */

const char *oip_version_name(const struct config_endpoint *endpoint, const struct config_version *version)
{
    for (uint32_t i = 1; i < endpoint->n_arms; i++)
        if (endpoint->arms[i].version->model != endpoint->arms[0].version->model)
            return version->full_name;
    return version->name;
}
