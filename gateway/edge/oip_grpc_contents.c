/* oip_grpc_contents: elements in, elements out. */
#include "edge/oip_grpc_contents.h"

#include <string.h>

#include "edge/answer.h"
#include "edge/oip_grpc.h"
#include "edge/oip_tensors.h"

enum { LISTS = 8 };

/* In which list of InferTensorContents a datatype travels, and as what; 0: in none, it is always raw. */
static const struct list {
    uint8_t field;
    enum wire_type type;
    const char *name;
} list_of[DT_COUNT] = {
    [DT_BOOL] = {1, WIRE_VARINT, "bool_contents"},     [DT_INT8] = {2, WIRE_VARINT, "int_contents"},
    [DT_INT16] = {2, WIRE_VARINT, "int_contents"},     [DT_INT32] = {2, WIRE_VARINT, "int_contents"},
    [DT_INT64] = {3, WIRE_VARINT, "int64_contents"},   [DT_UINT8] = {4, WIRE_VARINT, "uint_contents"},
    [DT_UINT16] = {4, WIRE_VARINT, "uint_contents"},   [DT_UINT32] = {4, WIRE_VARINT, "uint_contents"},
    [DT_UINT64] = {5, WIRE_VARINT, "uint64_contents"}, [DT_FP32] = {6, WIRE_FIXED32, "fp32_contents"},
    [DT_FP64] = {7, WIRE_FIXED64, "fp64_contents"},    [DT_BYTES] = {8, WIRE_BYTES, "bytes_contents"},
};

bool oip_grpc_contents_have(enum datatype datatype)
{
    return list_of[datatype].field != 0;
}

/* --- elements -> a tensor --- */

static enum gw_status wrong_count(struct request *request, const struct tensor *input, size_t count)
{
    char shape[128];
    return gw_err_set(&request->err, GW_E_INVALID, "input %s: %zu elements, which is not the size of %s",
                      input->spec.name, count, tensor_spec_text(&input->spec, shape, sizeof shape));
}

/* How many numbers a list on the wire has; one that is not in a packed list is a list of itself. */
static bool count_packed(const struct wire_field *field, enum wire_type type, size_t *count)
{
    size_t width = type == WIRE_FIXED32 ? 4 : 8;
    *count = 1;
    if (field->type == type)
        return true;
    if (field->type != WIRE_BYTES)
        return false;
    if (type != WIRE_VARINT) {
        *count = field->length / width;
        return field->length % width == 0;
    }
    *count = 0;
    for (size_t i = 0; i < field->length; i++)
        *count += !(field->bytes[i] & 0x80);
    return !field->length || !(field->bytes[field->length - 1] & 0x80);
}

/* False: out of its datatype's range. */
static bool store_integer(enum datatype datatype, uint64_t number, uint8_t *to)
{
    int32_t as_int32 = (int32_t)(uint32_t)number;
    uint32_t as_uint32 = (uint32_t)number;
    bool fits = true;
    switch (datatype) {
    case DT_BOOL:
        number = number != 0;
        break;
    case DT_INT8:
        fits = as_int32 >= INT8_MIN && as_int32 <= INT8_MAX;
        break;
    case DT_INT16:
        fits = as_int32 >= INT16_MIN && as_int32 <= INT16_MAX;
        break;
    case DT_UINT8:
        fits = as_uint32 <= UINT8_MAX;
        break;
    case DT_UINT16:
        fits = as_uint32 <= UINT16_MAX;
        break;
    default:
        break;
    }
    memcpy(to, &number, datatype_bytes(datatype)); /* little-endian: the low bytes */
    return fits;
}

/* The numbers of one field, after count_packed(). */
static bool store_numbers(enum datatype datatype, const struct wire_field *field, uint8_t **to)
{
    size_t width = datatype_bytes(datatype);
    enum wire_type type = list_of[datatype].type;
    if (field->type == type) {
        bool fits = true;
        if (type == WIRE_VARINT)
            fits = store_integer(datatype, field->value, *to);
        else
            memcpy(*to, &field->value, width);
        *to += width;
        return fits;
    }
    if (type != WIRE_VARINT) {
        memcpy(*to, field->bytes, field->length);
        *to += field->length;
        return true;
    }
    struct wire numbers = wire_of(field->bytes, field->length);
    while (numbers.at < numbers.end) {
        uint64_t number;
        if (!wire_varint(&numbers, &number) || !store_integer(datatype, number, *to))
            return false;
        *to += width;
    }
    return true;
}

static enum gw_status set_numbers(struct request *request, struct tensor *input,
                                  const struct wire_field *contents, size_t count)
{
    enum datatype datatype = input->spec.datatype;
    struct wire wire = wire_of(contents->bytes, contents->length);
    struct wire_field field;
    size_t bytes;
    if (__builtin_mul_overflow(count, datatype_bytes(datatype), &bytes))
        return gw_err_no_memory(&request->err);
    uint8_t *data = arena_alloc(request->arena, bytes ? bytes : 1), *at = data;
    if (!data)
        return gw_err_no_memory(&request->err);
    while (wire_next(&wire, &field))
        if (field.number == list_of[datatype].field && !store_numbers(datatype, &field, &at))
            return gw_err_set(&request->err, GW_E_INVALID, "input %s: a number that is no %s",
                              input->spec.name, datatype_name(datatype));
    return oip_input_set_bytes(request, input, data, bytes);
}

/* Each element gets its length before it. */
static enum gw_status set_bytes(struct request *request, struct tensor *input,
                                const struct wire_field *contents, size_t bytes)
{
    struct wire wire = wire_of(contents->bytes, contents->length);
    struct wire_field field;
    uint8_t *data = arena_alloc(request->arena, bytes ? bytes : 1), *at = data;
    if (!data)
        return gw_err_no_memory(&request->err);
    while (wire_next(&wire, &field)) {
        if (field.number != list_of[DT_BYTES].field)
            continue;
        uint32_t length = (uint32_t)field.length;
        memcpy(at, &length, sizeof length);
        memcpy(at + sizeof length, field.bytes, length);
        at += sizeof length + length;
    }
    return oip_input_set_bytes(request, input, data, bytes);
}

/* What there is of an input's elements, before they are moved. */
struct seen {
    size_t elements, bytes; /* bytes: of BYTES, with their lengths */
    uint32_t fields;
    struct wire_field last;
};

static enum gw_status survey(struct request *request, const struct tensor *input,
                             const struct wire_field *contents, struct seen *seen)
{
    const struct list *expected = &list_of[input->spec.datatype];
    struct wire wire = wire_of(contents->bytes, contents->length);
    struct wire_field field;
    *seen = (struct seen){0};
    while (wire_next(&wire, &field)) {
        size_t count = 1;
        if (field.number > LISTS)
            continue;
        if (field.number != expected->field)
            return gw_err_set(&request->err, GW_E_INVALID, "input %s: %s is given %s, and in no other list",
                              input->spec.name, datatype_name(input->spec.datatype),
                              expected->field ? expected->name : "raw");
        if (expected->type == WIRE_BYTES ? field.type != WIRE_BYTES
                                         : !count_packed(&field, expected->type, &count))
            wire.malformed = true;
        seen->elements += count;
        seen->bytes += sizeof(uint32_t) + field.length;
        seen->fields++;
        seen->last = field;
    }
    return wire.malformed ? oip_grpc_unreadable(&request->err, "contents") : GW_OK;
}

enum gw_status oip_grpc_contents_read(struct request *request, struct tensor *input,
                                      const struct wire_field *contents)
{
    const struct list *expected = &list_of[input->spec.datatype];
    struct seen seen;
    size_t elements;
    enum gw_status status = survey(request, input, contents, &seen);
    if (status != GW_OK)
        return status;
    if (!tensor_row_elements(&input->spec, &elements) ||
        __builtin_mul_overflow(elements, (size_t)request->n_rows, &elements) || elements != seen.elements)
        return wrong_count(request, input, seen.elements);
    if (input->spec.datatype == DT_BYTES)
        return set_bytes(request, input, contents, seen.bytes);
    if (seen.fields == 1 && seen.last.type == WIRE_BYTES && expected->type != WIRE_VARINT)
        return oip_input_set_bytes(request, input, seen.last.bytes, seen.last.length);
    return set_numbers(request, input, contents, seen.elements);
}

/* --- answers -> elements --- */

static uint64_t load_integer(enum datatype datatype, const uint8_t *at)
{
    uint64_t number = 0;
    size_t width = datatype_bytes(datatype);
    memcpy(&number, at, width);
    bool is_signed = datatype == DT_INT8 || datatype == DT_INT16 || datatype == DT_INT32;
    unsigned spare = (unsigned)(64 - 8 * width);
    return is_signed ? (uint64_t)((int64_t)(number << spare) >> spare) : number;
}

/* All rows of an output in its list. */
static void put_numbers(struct request *request, const char *name, enum datatype datatype)
{
    struct buf *out = &request->reply;
    size_t width = datatype_bytes(datatype);
    size_t list = wire_open(out, list_of[datatype].field);
    for (uint32_t row = 0; row < request->n_rows; row++) {
        size_t bytes;
        const uint8_t *data = answer_row_bytes(request, name, row, &bytes);
        if (list_of[datatype].type != WIRE_VARINT)
            buf_append(out, data, bytes);
        else
            for (size_t i = 0; i < bytes; i += width)
                wire_add_number(out, load_integer(datatype, data + i));
    }
    wire_close(out, list);
}

static void put_elements(struct request *request, const char *name)
{
    for (uint32_t row = 0; row < request->n_rows; row++) {
        uint32_t length;
        size_t bytes;
        const uint8_t *data = answer_row_bytes(request, name, row, &bytes);
        for (size_t i = 0; i < bytes; i += sizeof length + length) {
            memcpy(&length, data + i, sizeof length);
            wire_put_bytes(&request->reply, list_of[DT_BYTES].field, data + i + sizeof length, length);
        }
    }
}

/* What an output is, and, where they are typed, its elements. */

void oip_grpc_contents_write(struct request *request, const char *output, enum datatype datatype)
{
    if (datatype == DT_BYTES)
        put_elements(request, output);
    else
        put_numbers(request, output, datatype);
}
