/*
 * encode: batch -> PredictResponse, and a model's DescribeResponse. Written by hand: the message is a few
 * short slices between the outputs' own memory, which is handed to gRPC core as it lies.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"

/* Protobuf being written to `out`, or only measured where that is NULL: one writer serves both. */
struct wire {
    uint8_t *out;
    size_t length;
};

static void put_bytes(struct wire *wire, const void *bytes, size_t count)
{
    if (wire->out && count)
        memcpy(wire->out + wire->length, bytes, count);
    wire->length += count;
}

static void put_varint(struct wire *wire, uint64_t value)
{
    uint8_t bytes[10];
    size_t count = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[count++] = (uint8_t)(value | 0x80);
    bytes[count++] = (uint8_t)value;
    put_bytes(wire, bytes, count);
}

enum wire_type { WIRE_VARINT = 0, WIRE_LENGTH = 2 };

static void put_number(struct wire *wire, uint32_t field, uint64_t value)
{
    if (value == 0) /* proto3: zero is said by saying nothing */
        return;
    put_varint(wire, field << 3 | WIRE_VARINT);
    put_varint(wire, value);
}

static void put_length(struct wire *wire, uint32_t field, size_t length)
{
    put_varint(wire, field << 3 | WIRE_LENGTH);
    put_varint(wire, length);
}

static void put_text(struct wire *wire, uint32_t field, const char *text)
{
    put_length(wire, field, strlen(text));
    put_bytes(wire, text, strlen(text));
}

/* --- specs ------------------------------------------------------------------------------------------------
 */

static void put_sizes(struct wire *wire, const struct xebec_spec *spec)
{
    for (uint32_t i = 0; i < spec->dims; i++)
        put_varint(wire, (uint64_t)spec->shape[i]);
}

static void put_spec_fields(struct wire *wire, const struct xebec_spec *spec)
{
    struct wire sizes = {0};
    put_sizes(&sizes, spec);
    put_text(wire, 1, spec->name);
    put_number(wire, 2, spec->datatype);
    put_length(wire, 3, sizes.length);
    put_sizes(wire, spec);
    put_number(wire, 4, spec->encoding);
}

static void put_spec(struct wire *wire, uint32_t field, const struct xebec_spec *spec)
{
    struct wire inner = {0};
    put_spec_fields(&inner, spec);
    put_length(wire, field, inner.length);
    put_spec_fields(wire, spec);
}

/* --- PredictResponse
 * ---------------------------------------------------------------------------------------- */

static void put_error(struct wire *wire, uint32_t row, const char *message)
{
    struct wire inner = {0};
    put_number(&inner, 1, row);
    put_text(&inner, 2, message);
    put_length(wire, 2, inner.length);
    put_number(wire, 1, row);
    put_text(wire, 2, message);
}

/* Everything but the data. */
static void put_head(struct wire *wire, const struct call *call)
{
    for (uint32_t i = 0; i < call->model->n_outputs; i++)
        if (call->outputs[i].wanted)
            put_spec(wire, 1, &call->outputs[i].spec);
    for (uint32_t row = 0; call->n_row_errors && row < call->batch.n_rows; row++)
        if (call->row_errors[row])
            put_error(wire, row, call->row_errors[row]);
}

static bool finish_outputs(struct call *call)
{
    size_t total = 0;
    for (uint32_t i = 0; i < call->model->n_outputs; i++) {
        struct call_output *output = &call->outputs[i];
        if (!output->wanted)
            continue;
        if (!xebec_call_finish_output(call, output))
            return false;
        if (__builtin_add_overflow(total, output->bytes, &total) || total > INT_MAX)
            return xebec_call_fail(call, GRPC_STATUS_INTERNAL, "the reply would exceed 2 GiB");
    }
    return call->status == GRPC_STATUS_OK;
}

static grpc_slice head_slice(const struct call *call)
{
    struct wire measured = {0};
    put_head(&measured, call);
    grpc_slice slice = grpc_slice_malloc(measured.length);
    struct wire wire = {.out = GRPC_SLICE_START_PTR(slice)};
    put_head(&wire, call);
    return slice;
}

/* The key and length of one data field: short enough to lie in the slice itself. */
static grpc_slice data_key_slice(size_t length)
{
    uint8_t bytes[16];
    struct wire wire = {.out = bytes};
    put_length(&wire, 15, length);
    return grpc_slice_from_copied_buffer((const char *)bytes, wire.length);
}

/* The output's memory becomes the slice's. */
static grpc_slice data_slice(struct call_output *output)
{
    grpc_slice slice = grpc_slice_new(output->data, output->bytes, free);
    output->data = NULL;
    return slice;
}

grpc_byte_buffer *xebec_call_write(struct call *call)
{
    if (call->status != GRPC_STATUS_OK || !finish_outputs(call))
        return NULL;
    size_t count = 0;
    grpc_slice *slices = malloc((1 + 2 * (size_t)call->model->n_outputs) * sizeof *slices);
    if (!slices) {
        xebec_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory for the reply");
        return NULL;
    }
    slices[count++] = head_slice(call);
    for (uint32_t i = 0; i < call->model->n_outputs; i++) {
        struct call_output *output = &call->outputs[i];
        if (!output->wanted)
            continue;
        slices[count++] = data_key_slice(output->bytes);
        if (output->bytes)
            slices[count++] = data_slice(output);
    }
    grpc_byte_buffer *reply = grpc_raw_byte_buffer_create(slices, count); /* takes references of its own */
    for (size_t i = 0; i < count; i++)
        grpc_slice_unref(slices[i]);
    free(slices);
    return reply;
}

/* --- DescribeResponse
 * --------------------------------------------------------------------------------------- */

static void put_description(struct wire *wire, const struct xebec_model *model)
{
    put_text(wire, 1, model->name);
    put_text(wire, 2, model->version);
    for (uint32_t i = 0; i < model->n_inputs; i++)
        put_spec(wire, 3, &model->inputs[i]);
    for (uint32_t i = 0; i < model->n_outputs; i++)
        put_spec(wire, 4, &model->outputs[i]);
    if (model->digest)
        put_text(wire, 5, model->digest);
    put_number(wire, 6, model->max_rows);
}

grpc_slice xebec_describe_write(const struct xebec_model *model)
{
    struct wire measured = {0};
    put_description(&measured, model);
    grpc_slice slice = grpc_slice_malloc(measured.length);
    struct wire wire = {.out = GRPC_SLICE_START_PTR(slice)};
    put_description(&wire, model);
    return slice;
}
