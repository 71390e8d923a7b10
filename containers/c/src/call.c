/* call: the memory of one Predict call, and what predict() may do with its batch. */
#include "call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} datatypes[] = {
    [XEBEC_BOOL] = {"BOOL", 1},     [XEBEC_UINT8] = {"UINT8", 1},   [XEBEC_UINT16] = {"UINT16", 2},
    [XEBEC_UINT32] = {"UINT32", 4}, [XEBEC_UINT64] = {"UINT64", 8}, [XEBEC_INT8] = {"INT8", 1},
    [XEBEC_INT16] = {"INT16", 2},   [XEBEC_INT32] = {"INT32", 4},   [XEBEC_INT64] = {"INT64", 8},
    [XEBEC_FP16] = {"FP16", 2},     [XEBEC_FP32] = {"FP32", 4},     [XEBEC_FP64] = {"FP64", 8},
    [XEBEC_BYTES] = {"BYTES", 0},   [XEBEC_BF16] = {"BF16", 2},
};
enum { DATATYPES = sizeof datatypes / sizeof *datatypes };

const char *xebec_datatype_name(enum xebec_datatype datatype)
{
    bool known = (unsigned)datatype > 0 && (unsigned)datatype < DATATYPES;
    return known ? datatypes[datatype].name : "?";
}

enum xebec_datatype xebec_datatype_parse(const char *name, size_t length)
{
    for (unsigned i = 1; i < DATATYPES; i++)
        if (strlen(datatypes[i].name) == length && memcmp(datatypes[i].name, name, length) == 0)
            return (enum xebec_datatype)i;
    return (enum xebec_datatype)0;
}

size_t xebec_datatype_bytes(enum xebec_datatype datatype)
{
    return datatypes[datatype].bytes;
}

size_t xebec_row_elements(const struct xebec_spec *spec)
{
    size_t elements = 1;
    for (uint32_t i = 1; i < spec->dims; i++)
        elements *= (size_t)spec->shape[i];
    return elements;
}

bool xebec_spec_sizes(const struct xebec_spec *spec, uint32_t n_rows, size_t *row_elements, size_t *bytes)
{
    size_t elements = 1;
    for (uint32_t i = 1; i < spec->dims; i++)
        if (spec->shape[i] < 0 || __builtin_mul_overflow(elements, (size_t)spec->shape[i], &elements))
            return false;
    *row_elements = elements;
    return !__builtin_mul_overflow(elements, xebec_datatype_bytes(spec->datatype), bytes) &&
           !__builtin_mul_overflow(*bytes, n_rows, bytes);
}

/* --- memory ---------------------------------------------------------------------------------------- */

bool xebec_call_init(struct call *call, const struct xebec_model *model)
{
    /* one more than there are: calloc(0) may be NULL */
    *call = (struct call){.model = model,
                          .inputs = calloc(model->n_inputs + 1, sizeof *call->inputs),
                          .slots = calloc(model->n_inputs + 1, sizeof *call->slots),
                          .outputs = calloc(model->n_outputs + 1, sizeof *call->outputs)};
    if (!call->inputs || !call->slots || !call->outputs)
        return false;
    xebec_call_reset(call);
    return true;
}

void xebec_call_clear(struct call *call)
{
    if (call->outputs && call->inputs)
        xebec_call_reset(call);
    for (uint32_t i = 0; call->slots && i < call->model->n_inputs; i++)
        free(call->slots[i].aligned);
    free(call->inputs);
    free(call->slots);
    free(call->outputs);
}

void xebec_call_reset(struct call *call)
{
    for (uint32_t i = 0; call->row_errors && i < call->batch.n_rows; i++)
        free(call->row_errors[i]);
    free(call->row_errors);
    call->row_errors = NULL;
    call->n_row_errors = 0;
    call->status = GRPC_STATUS_OK;
    for (uint32_t i = 0; i < call->model->n_outputs; i++) {
        free(call->outputs[i].data);
        call->outputs[i] = (struct call_output){.spec = call->model->outputs[i]};
    }
    memset(call->inputs, 0, call->model->n_inputs * sizeof *call->inputs);
    call->batch = (struct xebec_batch){.inputs = call->inputs, .user = call->model->user};
}

bool xebec_call_fail(struct call *call, grpc_status_code status, const char *format, ...)
{
    if (call->status == GRPC_STATUS_OK) {
        va_list args;
        va_start(args, format);
        vsnprintf(call->message, sizeof call->message, format, args);
        va_end(args);
        call->status = status;
    }
    return false;
}

static struct call *call_of(struct xebec_batch *batch)
{
    return (struct call *)batch;
}

/* --- what predict() reads ---------------------------------------------------------------------------- */

bool xebec_next_bytes(const struct xebec_tensor *tensor, size_t *at, const uint8_t **data, size_t *size)
{
    uint32_t length;
    if (*at >= tensor->bytes)
        return false;
    const uint8_t *element = (const uint8_t *)tensor->data + *at;
    memcpy(&length, element, sizeof length); /* judged when the request was read */
    *data = element + sizeof length;
    *size = length;
    *at += sizeof length + length;
    return true;
}

bool xebec_output_wanted(const struct xebec_batch *batch, uint32_t output)
{
    const struct call *call = (const struct call *)batch;
    return output < call->model->n_outputs && call->outputs[output].wanted;
}

/* --- what predict() writes --------------------------------------------------------------------------- */

static struct call_output *output_at(struct call *call, uint32_t output)
{
    if (output < call->model->n_outputs)
        return &call->outputs[output];
    xebec_call_fail(call, GRPC_STATUS_INTERNAL, "the model wrote output number %u, it has %u", output,
                    call->model->n_outputs);
    return NULL;
}

int xebec_output_shape(struct xebec_batch *batch, uint32_t output, const int64_t *shape)
{
    struct call *call = call_of(batch);
    struct call_output *out = output_at(call, output);
    if (!out)
        return -1;
    const struct xebec_spec *declared = &call->model->outputs[output];
    for (uint32_t i = 1; i < declared->dims; i++) {
        bool fits = declared->shape[i] == XEBEC_ANY ? shape[i] >= 0 : shape[i] == declared->shape[i];
        if (!fits || out->shaped) {
            xebec_call_fail(call, GRPC_STATUS_INTERNAL, "the model gave output %s a shape that does not fit",
                            declared->name);
            return -1;
        }
        out->spec.shape[i] = shape[i];
    }
    return 0;
}

static bool out_of_memory(struct call *call, const struct call_output *out)
{
    return xebec_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory for output %s",
                           out->spec.name);
}

/* Fixes the sizes of an output when it is first written to. */
static bool settle(struct call *call, struct call_output *out)
{
    size_t bytes;
    if (out->shaped)
        return true;
    out->spec.shape[0] = call->batch.n_rows;
    if (!xebec_spec_sizes(&out->spec, call->batch.n_rows, &out->row_elements, &bytes))
        return xebec_call_fail(call, GRPC_STATUS_INTERNAL, "the model did not say the shape of output %s",
                               out->spec.name);
    if (out->spec.datatype != XEBEC_BYTES) {
        out->data =
            calloc(1, bytes ? bytes : 1); /* zeroed: a failed row must not show another call's memory */
        if (!out->data)
            return out_of_memory(call, out);
        out->bytes = bytes;
    }
    return out->shaped = true;
}

void *xebec_output(struct xebec_batch *batch, uint32_t output)
{
    struct call_output *out = output_at(call_of(batch), output);
    if (!out || out->spec.datatype == XEBEC_BYTES || !settle(call_of(batch), out))
        return NULL;
    return out->data;
}

static bool append(struct call_output *out, const void *data, size_t size)
{
    uint32_t length = (uint32_t)size;
    size_t bytes;
    if (size > UINT32_MAX || __builtin_add_overflow(out->bytes, sizeof length + size, &bytes))
        return false;
    if (bytes > out->capacity) {
        size_t capacity = bytes < 64 ? 128 : bytes * 2;
        uint8_t *grown = realloc(out->data, capacity);
        if (!grown)
            return false;
        out->data = grown;
        out->capacity = capacity;
    }
    memcpy(out->data + out->bytes, &length, sizeof length);
    if (size)
        memcpy(out->data + out->bytes + sizeof length, data, size);
    out->bytes = bytes;
    out->row_has++;
    return true;
}

/* Moves on to `row`; rows left without all their elements are filled with empty ones, and fail. */
static bool advance(struct call *call, struct call_output *out, uint32_t row)
{
    for (; out->row < row; out->row++, out->row_has = 0) {
        if (out->row_has < out->row_elements)
            xebec_fail_row(&call->batch, out->row, "the model left an output of this row unwritten");
        while (out->row_has < out->row_elements)
            if (!append(out, NULL, 0))
                return false;
    }
    return true;
}

int xebec_add_bytes(struct xebec_batch *batch, uint32_t output, uint32_t row, const void *data, size_t size)
{
    struct call *call = call_of(batch);
    struct call_output *out = output_at(call, output);
    if (!out || out->spec.datatype != XEBEC_BYTES || !settle(call, out))
        return -1;
    if (row >= batch->n_rows || row < out->row || (row == out->row && out->row_has == out->row_elements)) {
        xebec_call_fail(call, GRPC_STATUS_INTERNAL, "the model wrote row %u of output %s out of order", row,
                        out->spec.name);
        return -1;
    }
    if (advance(call, out, row) && append(out, data, size))
        return 0;
    out_of_memory(call, out);
    return -1;
}

bool xebec_call_finish_output(struct call *call, struct call_output *output)
{
    bool all_failed = call->n_row_errors == call->batch.n_rows;
    for (uint32_t i = 1; !output->shaped && all_failed && i < output->spec.dims; i++)
        if (output->spec.shape[i] == XEBEC_ANY)
            output->spec.shape[i] = 0; /* nobody will look, but every output needs a size */
    if (output->spec.datatype != XEBEC_BYTES)
        return output->shaped || (all_failed && settle(call, output)) ||
               xebec_call_fail(call, GRPC_STATUS_INTERNAL, "the model left output %s unwritten",
                               output->spec.name);
    return settle(call, output) && (advance(call, output, call->batch.n_rows) || out_of_memory(call, output));
}

void xebec_fail_row(struct xebec_batch *batch, uint32_t row, const char *message)
{
    struct call *call = call_of(batch);
    if (!call->row_errors)
        call->row_errors = calloc(batch->n_rows, sizeof *call->row_errors);
    if (row >= batch->n_rows || !call->row_errors) {
        xebec_call_fail(call, GRPC_STATUS_INTERNAL, "row %u failed: %s", row,
                        message); /* at least said for all */
        return;
    }
    if (call->row_errors[row]) /* the first words are the cause */
        return;
    call->row_errors[row] = strdup(message);
    if (call->row_errors[row])
        call->n_row_errors++;
    else
        xebec_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

int xebec_fail(struct xebec_batch *batch, const char *message)
{
    xebec_call_fail(call_of(batch), GRPC_STATUS_UNKNOWN, "%s", message);
    return -1;
}
