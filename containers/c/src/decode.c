/*
 * decode: PredictRequest -> batch. A reader of protobuf's wire format that copies nothing; then everything
 * that the request claims is judged against the model's signature, so that predict() can believe it.
 */
#include <stdlib.h>
#include <string.h>

#include "call.h"

enum { ROWS_MAX = 1 << 20 }; /* for a model without a bound: rows without elements cost a request no bytes */

/* --- protobuf's wire format --------------------------------------------------------------------------- */

struct reader {
    const uint8_t *at, *end;
    bool broken; /* what was read does not count */
};

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LENGTH = 2, WIRE_FIXED32 = 5 };

static uint64_t read_varint(struct reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
        uint8_t byte = *reader->at++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return value;
    }
    reader->broken = true;
    return 0;
}

static struct block read_bytes(struct reader *reader, uint64_t size)
{
    if (reader->broken || size > (size_t)(reader->end - reader->at)) {
        reader->broken = true;
        return (struct block){0};
    }
    struct block block = {reader->at, (size_t)size};
    reader->at += size;
    return block;
}

struct field {
    uint64_t number;
    enum wire_type type;
    uint64_t value;     /* WIRE_VARINT */
    struct block block; /* WIRE_LENGTH */
};

/* False at the end, or when the message is broken. */
static bool next_field(struct reader *reader, struct field *field)
{
    if (reader->broken || reader->at == reader->end)
        return false;
    uint64_t key = read_varint(reader);
    *field = (struct field){.number = key >> 3, .type = (enum wire_type)(key & 7)};
    if (field->type == WIRE_VARINT)
        field->value = read_varint(reader);
    else if (field->type == WIRE_LENGTH)
        field->block = read_bytes(reader, read_varint(reader));
    else if (field->type == WIRE_FIXED64 || field->type == WIRE_FIXED32)
        (void)read_bytes(reader, field->type == WIRE_FIXED64 ? 8 : 4); /* no field of ours: skipped */
    else
        reader->broken = true;
    return !reader->broken;
}

static struct reader reader_of(struct block block)
{
    return (struct reader){block.bytes, block.bytes ? block.bytes + block.size : NULL, false};
}

/* --- the request ------------------------------------------------------------------------------------------
 */

struct said_spec {
    struct block name;
    uint64_t datatype;
    uint32_t dims; /* of any number, the first XEBEC_DIMS_MAX are in shape */
    int64_t shape[XEBEC_DIMS_MAX];
};

static void add_size(struct said_spec *spec, uint64_t size)
{
    if (spec->dims < XEBEC_DIMS_MAX)
        spec->shape[spec->dims] = (int64_t)size;
    if (spec->dims <= XEBEC_DIMS_MAX)
        spec->dims++;
}

static bool read_spec(struct block block, struct said_spec *spec)
{
    struct reader reader = reader_of(block);
    struct field field;
    *spec = (struct said_spec){0};
    while (next_field(&reader, &field)) {
        if (field.number == 1 && field.type == WIRE_LENGTH)
            spec->name = field.block;
        else if (field.number == 2 && field.type == WIRE_VARINT)
            spec->datatype = field.value;
        else if (field.number == 3 && field.type == WIRE_VARINT)
            add_size(spec, field.value);
        else if (field.number == 3 && field.type == WIRE_LENGTH) {
            struct reader sizes = reader_of(field.block);
            while (sizes.at != sizes.end && !sizes.broken)
                add_size(spec, read_varint(&sizes));
            reader.broken |= sizes.broken;
        }
    }
    return !reader.broken;
}

static bool same_text(struct block block, const char *text)
{
    return block.size == strlen(text) && (block.size == 0 || memcmp(block.bytes, text, block.size) == 0);
}

static uint32_t find_spec(const struct xebec_spec *specs, uint32_t count, struct block name)
{
    uint32_t i = 0;
    while (i < count && !same_text(name, specs[i].name))
        i++;
    return i;
}

static bool fits(const struct xebec_spec *declared, const struct said_spec *said)
{
    if (said->datatype != (uint64_t)declared->datatype || said->dims != declared->dims ||
        said->shape[0] < 1 || said->shape[0] > UINT32_MAX)
        return false;
    for (uint32_t i = 1; i < said->dims; i++)
        if (said->shape[i] < 0 || (declared->shape[i] != XEBEC_ANY && declared->shape[i] != said->shape[i]))
            return false;
    return true;
}

/* Whether `bytes` are exactly so many length-prefixed elements. */
static bool holds_elements(const uint8_t *bytes, size_t size, size_t elements)
{
    uint32_t length;
    for (; elements > 0; elements--) {
        if (size < sizeof length)
            return false;
        memcpy(&length, bytes, sizeof length);
        if (size - sizeof length < length)
            return false;
        bytes += sizeof length + length;
        size -= sizeof length + length;
    }
    return size == 0;
}

static bool is_not_known(struct call *call, const char *kind, struct block name)
{
    int length = name.size < 128 ? (int)name.size : 128;
    return xebec_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "the model has no %s %.*s", kind, length,
                           length ? (const char *)name.bytes : "");
}

static bool take_spec(struct call *call, uint32_t place, const struct said_spec *said)
{
    const struct xebec_model *model = call->model;
    uint32_t index = find_spec(model->inputs, model->n_inputs, said->name);
    if (index == model->n_inputs)
        return is_not_known(call, "input", said->name);
    const struct xebec_spec *declared = &model->inputs[index];
    struct xebec_spec *spec = &call->inputs[index].spec;
    if (spec->name)
        return xebec_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "input %s came twice", declared->name);
    if (!fits(declared, said))
        return xebec_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT,
                               "input %s does not fit the model's signature", declared->name);
    if (place > 0 && call->batch.n_rows != (uint32_t)said->shape[0])
        return xebec_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "input %s has %lld rows, another has %u",
                               declared->name, (long long)said->shape[0], call->batch.n_rows);
    *spec = *declared;
    memcpy(spec->shape, said->shape, said->dims * sizeof *said->shape);
    call->batch.n_rows = (uint32_t)said->shape[0];
    call->slots[place].names = index;
    return true;
}

/* A copy that is aligned for its datatype; its memory is kept for the next call. */
static const void *align(struct call *call, uint32_t index, struct block data)
{
    if (call->slots[index].aligned_capacity < data.size) {
        free(call->slots[index].aligned);
        call->slots[index].aligned = malloc(data.size);
        call->slots[index].aligned_capacity = call->slots[index].aligned ? data.size : 0;
        if (!call->slots[index].aligned)
            return NULL;
    }
    return memcpy(call->slots[index].aligned, data.bytes, data.size);
}

static bool take_data(struct call *call, uint32_t index, struct block data)
{
    struct xebec_tensor *input = &call->inputs[index];
    size_t row_elements, bytes, width = xebec_datatype_bytes(input->spec.datatype);
    bool sound = xebec_spec_sizes(&input->spec, call->batch.n_rows, &row_elements, &bytes);
    if (sound && input->spec.datatype == XEBEC_BYTES)
        sound = row_elements <= SIZE_MAX / call->batch.n_rows &&
                holds_elements(data.bytes, data.size, row_elements * call->batch.n_rows);
    else
        sound = sound && bytes == data.size;
    if (!sound)
        return xebec_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT,
                               "the %zu bytes of input %s do not come to its shape", data.size,
                               input->spec.name);
    input->bytes = data.size;
    input->data = data.size ? data.bytes : (const uint8_t *)"";
    if (width > 1 && data.size && (uintptr_t)data.bytes % width != 0)
        input->data = align(call, index, data);
    if (!input->data)
        return xebec_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory for input %s",
                               input->spec.name);
    return true;
}

static bool want_output(struct call *call, struct block name)
{
    uint32_t i = find_spec(call->model->outputs, call->model->n_outputs, name);
    if (i == call->model->n_outputs)
        return is_not_known(call, "output", name);
    call->outputs[i].wanted = true;
    return true;
}

struct counts { /* of fields seen so far */
    uint32_t specs, data, wanted;
};

static bool too_many(struct call *call)
{
    return xebec_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "more inputs came than the model has: %u",
                           call->model->n_inputs);
}

static bool broken(struct call *call)
{
    return xebec_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "the request is not a PredictRequest");
}

/* One field of the request. Data is only noted: it may stand before the spec that it belongs to. */
static bool take_field(struct call *call, const struct field *field, struct counts *counts)
{
    struct said_spec said;
    if (field->number == 1 && field->type == WIRE_VARINT)
        call->batch.id = field->value;
    if (field->type != WIRE_LENGTH)
        return true;
    switch (field->number) {
    case 2:
        if (!read_spec(field->block, &said))
            return broken(call);
        return counts->specs < call->model->n_inputs ? take_spec(call, counts->specs++, &said)
                                                     : too_many(call);
    case 3:
        counts->wanted++;
        return want_output(call, field->block);
    case 4:
        call->batch.parameters = field->block.bytes;
        call->batch.parameters_bytes = field->block.size;
        return true;
    case 15:
        if (counts->data == call->model->n_inputs)
            return too_many(call);
        call->slots[counts->data++].data = field->block;
        return true;
    default:
        return true; /* of a later protocol */
    }
}

bool xebec_call_read(struct call *call, const uint8_t *bytes, size_t size)
{
    struct reader reader = reader_of((struct block){bytes, size});
    struct counts counts = {0};
    for (struct field field; next_field(&reader, &field);)
        if (!take_field(call, &field, &counts))
            return false;
    if (reader.broken)
        return broken(call);
    if (counts.specs != call->model->n_inputs || counts.data != counts.specs)
        return xebec_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT,
                               "%u inputs and the data of %u came, the model has %u", counts.specs,
                               counts.data, call->model->n_inputs);
    uint32_t max_rows = call->model->max_rows ? call->model->max_rows : ROWS_MAX;
    if (call->batch.n_rows > max_rows)
        return xebec_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "%u rows came, the model takes %u",
                               call->batch.n_rows, max_rows);
    for (uint32_t place = 0; place < counts.specs; place++)
        if (!take_data(call, call->slots[place].names, call->slots[place].data))
            return false;
    for (uint32_t i = 0; i < call->model->n_outputs && counts.wanted == 0; i++)
        call->outputs[i].wanted = true;
    return true;
}
