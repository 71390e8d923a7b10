/*
 * oip_grpc_infer: ModelInferRequest -> tensors, and outcomes -> ModelInferResponse.
 *
 * The message is read where it lies. Raw contents are the tensors, and so are packed lists of floats; what
 * protobuf writes in another form (integers, booleans, strings) is written anew, once, into the request's
 * arena.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "edge/answer.h"
#include "edge/oip.h"
#include "edge/oip_grpc.h"
#include "edge/oip_parameters.h"
#include "edge/oip_tensors.h"
#include "edge/predict.h"

enum {
    REQUEST_MODEL = 1,
    REQUEST_MODEL_VERSION,
    REQUEST_ID,
    REQUEST_PARAMETERS,
    REQUEST_INPUTS,
    REQUEST_OUTPUTS,
    REQUEST_RAW
};
enum { TENSOR_NAME = 1, TENSOR_DATATYPE, TENSOR_SHAPE, TENSOR_PARAMETERS, TENSOR_CONTENTS };
enum { REPLY_MODEL = 1, REPLY_VERSION, REPLY_ID, REPLY_PARAMETERS, REPLY_OUTPUTS, REPLY_RAW };
enum { VALUE_BOOL = 1, VALUE_INT64, VALUE_STRING, VALUE_DOUBLE, VALUE_UINT64 };
enum { WANTED_MAX = 256 }; /* outputs that a request may name */

/* In which list of InferTensorContents a datatype travels, and as what; 0: in none, it is always raw. */
static const struct contents {
    uint8_t field;
    enum wire_type type;
    const char *name;
} contents_of[DT_COUNT] = {
    [DT_BOOL] = {1, WIRE_VARINT, "bool_contents"},     [DT_INT8] = {2, WIRE_VARINT, "int_contents"},
    [DT_INT16] = {2, WIRE_VARINT, "int_contents"},     [DT_INT32] = {2, WIRE_VARINT, "int_contents"},
    [DT_INT64] = {3, WIRE_VARINT, "int64_contents"},   [DT_UINT8] = {4, WIRE_VARINT, "uint_contents"},
    [DT_UINT16] = {4, WIRE_VARINT, "uint_contents"},   [DT_UINT32] = {4, WIRE_VARINT, "uint_contents"},
    [DT_UINT64] = {5, WIRE_VARINT, "uint64_contents"}, [DT_FP32] = {6, WIRE_FIXED32, "fp32_contents"},
    [DT_FP64] = {7, WIRE_FIXED64, "fp64_contents"},    [DT_BYTES] = {8, WIRE_BYTES, "bytes_contents"},
};

struct decoding {
    struct request *request;
    struct oip_grpc_ask *ask;
    struct buf parameters; /* those for the model, as an object without its end */
    struct tensor **given; /* the inputs in the message's order, as many as the signature has */
    uint32_t n_given, n_contents, n_raw;
};

static enum gw_status no_memory(struct gw_err *err)
{
    return gw_err_set(err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
}

static enum gw_status unreadable(struct gw_err *err, const char *what)
{
    return gw_err_set(err, GW_E_INVALID, "%s: not such a message", what);
}

/* A field that is a string, and stands for itself to its end, as all names do; terminated, in the arena. */
static enum gw_status read_name(struct decoding *decoding, const struct wire_field *field, const char **name)
{
    struct gw_err *err = &decoding->request->err;
    const char *text = (const char *)field->bytes;
    if (field->type != WIRE_BYTES)
        return unreadable(err, "a name");
    if (!buf_is_utf8(text, field->length))
        return gw_err_set(err, GW_E_INVALID, "a name is not UTF-8");
    if (memchr(text, '\0', field->length))
        return gw_err_set(err, GW_E_INVALID, "a name with a NUL in it");
    *name = arena_text(decoding->request->arena, text, field->length);
    return *name ? GW_OK : no_memory(err);
}

/* --- parameters: map<string, InferParameter> --- */

struct parameter {
    struct wire_field name, value; /* value.number: VALUE_...; 0: it has none */
};

/* The last of several is it. */
static enum gw_status read_value(struct wire_field *value, const struct wire_field *message,
                                 struct gw_err *err)
{
    static const enum wire_type types[] = {[VALUE_BOOL] = WIRE_VARINT,
                                           [VALUE_INT64] = WIRE_VARINT,
                                           [VALUE_STRING] = WIRE_BYTES,
                                           [VALUE_DOUBLE] = WIRE_FIXED64,
                                           [VALUE_UINT64] = WIRE_VARINT};
    struct wire wire = wire_of(message->bytes, message->length);
    struct wire_field field;
    while (wire_next(&wire, &field)) {
        if (field.number > VALUE_UINT64)
            continue;
        wire.malformed |= field.type != types[field.number];
        *value = field;
    }
    return wire.malformed ? unreadable(err, "a parameter's value") : GW_OK;
}

static enum gw_status read_parameter(struct parameter *parameter, const struct wire_field *entry,
                                     struct gw_err *err)
{
    struct wire wire = wire_of(entry->bytes, entry->length);
    struct wire_field field;
    enum gw_status status = entry->type == WIRE_BYTES ? GW_OK : unreadable(err, "a parameter");
    *parameter = (struct parameter){.name.bytes = (const uint8_t *)""};
    while (status == GW_OK && wire_next(&wire, &field)) {
        if (field.number <= 2 && field.type != WIRE_BYTES)
            wire.malformed = true;
        else if (field.number == 1)
            parameter->name = field;
        else if (field.number == 2)
            status = read_value(&parameter->value, &field, err);
    }
    if (status != GW_OK || wire.malformed)
        return status == GW_OK ? unreadable(err, "a parameter") : status;
    if (!buf_is_utf8((const char *)parameter->name.bytes, parameter->name.length))
        return gw_err_set(err, GW_E_INVALID, "a parameter's name is not UTF-8");
    if (parameter->value.number == VALUE_STRING &&
        !buf_is_utf8((const char *)parameter->value.bytes, parameter->value.length))
        return gw_err_set(err, GW_E_INVALID, "a parameter's text is not UTF-8");
    return GW_OK;
}

static bool name_is(const struct parameter *parameter, const char *name)
{
    return parameter->name.length == strlen(name) && memcmp(parameter->name.bytes, name, strlen(name)) == 0;
}

static double value_double(const struct wire_field *value)
{
    double number;
    memcpy(&number, &value->value, sizeof number);
    return number;
}

/* As it would stand in OIP's JSON, so that both carriers' requests share answers. */
static enum gw_status pass_on(struct decoding *decoding, const struct parameter *parameter)
{
    struct buf *out = &decoding->parameters;
    const struct wire_field *value = &parameter->value;
    oip_parameters_name(out, (const char *)parameter->name.bytes, parameter->name.length);
    switch (value->number) {
    case VALUE_BOOL:
        buf_text(out, value->value ? "true" : "false");
        break;
    case VALUE_INT64:
        buf_printf(out, "%" PRId64, (int64_t)value->value);
        break;
    case VALUE_UINT64:
        buf_printf(out, "%" PRIu64, value->value);
        break;
    case VALUE_DOUBLE:
        if (!isfinite(value_double(value)))
            return gw_err_set(&decoding->request->err, GW_E_INVALID, "a parameter is not a finite number");
        buf_printf(out, "%.17g", value_double(value));
        break;
    case VALUE_STRING:
        buf_json_text(out, (const char *)value->bytes, value->length);
        break;
    default:
        buf_text(out, "null");
    }
    return out->failed ? no_memory(&decoding->request->err) : GW_OK;
}

static enum gw_status take_timeout(struct request *request, const struct wire_field *value)
{
    if ((value->number != VALUE_INT64 && value->number != VALUE_UINT64) ||
        !oip_take_timeout(request, (int64_t)value->value))
        return gw_err_set(&request->err, GW_E_INVALID, "parameters.timeout: expected microseconds");
    return GW_OK;
}

/* Text, or an integer as text. */
static enum gw_status take_sticky(struct request *request, const struct wire_field *value)
{
    if (value->number == VALUE_STRING) {
        request->sticky = (const char *)value->bytes;
        request->sticky_length = value->length;
        return GW_OK;
    }
    if (value->number != VALUE_INT64 && value->number != VALUE_UINT64)
        return gw_err_set(&request->err, GW_E_INVALID, "parameters.%s: expected text or an integer",
                          request->endpoint->sticky.name);
    request->sticky = value->number == VALUE_INT64
                          ? arena_printf(request->arena, "%" PRId64, (int64_t)value->value)
                          : arena_printf(request->arena, "%" PRIu64, value->value);
    request->sticky_length = request->sticky ? strlen(request->sticky) : 0;
    return request->sticky ? GW_OK : no_memory(&request->err);
}

static bool is_nothing(const struct wire_field *value)
{
    bool is_zero = value->number == VALUE_STRING && value->length == 1 && value->bytes[0] == '0';
    return is_zero || (!value->length && !value->value);
}

static enum gw_status decode_parameter(struct decoding *decoding, const struct wire_field *entry)
{
    struct request *request = decoding->request;
    struct parameter parameter;
    enum gw_status status = read_parameter(&parameter, entry, &request->err);
    if (status != GW_OK)
        return status;
    switch (oip_parameter_of(request, (const char *)parameter.name.bytes, parameter.name.length)) {
    case OIP_TIMEOUT:
        return take_timeout(request, &parameter.value);
    case OIP_SEQUENCE:
        return is_nothing(&parameter.value) ? GW_OK : oip_refuse_sequence(&request->err);
    case OIP_STICKY:
        return take_sticky(request, &parameter.value);
    case OIP_MODELS:
        return pass_on(decoding, &parameter);
    case OIP_BINARY:
    case OIP_PASSED_OVER:
        break;
    }
    return GW_OK;
}

/* Of an input or an output: nothing that they may ask for is there. */
static enum gw_status decode_tensor_parameter(struct decoding *decoding, const struct wire_field *entry)
{
    struct gw_err *err = &decoding->request->err;
    struct parameter parameter;
    enum gw_status status = read_parameter(&parameter, entry, err);
    if (status == GW_OK && name_is(&parameter, "shared_memory_region"))
        return gw_err_set(err, GW_E_NOT_IMPLEMENTED, "tensors are not exchanged by shared memory");
    if (status == GW_OK && name_is(&parameter, "classification"))
        return gw_err_set(err, GW_E_NOT_IMPLEMENTED, "outputs are not turned into classes");
    return status;
}

/* --- typed contents --- */

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
    enum wire_type type = contents_of[datatype].type;
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
        return no_memory(&request->err);
    uint8_t *data = arena_alloc(request->arena, bytes ? bytes : 1), *at = data;
    if (!data)
        return no_memory(&request->err);
    while (wire_next(&wire, &field))
        if (field.number == contents_of[datatype].field && !store_numbers(datatype, &field, &at))
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
        return no_memory(&request->err);
    while (wire_next(&wire, &field)) {
        if (field.number != contents_of[DT_BYTES].field)
            continue;
        uint32_t length = (uint32_t)field.length;
        memcpy(at, &length, sizeof length);
        memcpy(at + sizeof length, field.bytes, length);
        at += sizeof length + length;
    }
    return oip_input_set_bytes(request, input, data, bytes);
}

/* What there is of an input's elements, before they are moved. */
struct contents_seen {
    size_t elements, bytes; /* bytes: of BYTES, with their lengths */
    uint32_t fields;
    struct wire_field last;
};

static enum gw_status survey(struct request *request, const struct tensor *input,
                             const struct wire_field *contents, struct contents_seen *seen)
{
    const struct contents *expected = &contents_of[input->spec.datatype];
    struct wire wire = wire_of(contents->bytes, contents->length);
    struct wire_field field;
    *seen = (struct contents_seen){0};
    while (wire_next(&wire, &field)) {
        size_t count = 1;
        if (field.number > 8)
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
    return wire.malformed ? unreadable(&request->err, "contents") : GW_OK;
}

static enum gw_status decode_contents(struct decoding *decoding, struct tensor *input,
                                      const struct wire_field *contents)
{
    struct request *request = decoding->request;
    const struct contents *expected = &contents_of[input->spec.datatype];
    struct contents_seen seen;
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

/* --- inputs --- */

static enum gw_status add_size(struct oip_told *told, uint64_t size, struct gw_err *err)
{
    if (told->dims == TENSOR_DIMS_MAX)
        return gw_err_set(err, GW_E_INVALID, "a shape with more than %d sizes", TENSOR_DIMS_MAX);
    told->shape[told->dims++] = (int64_t)size;
    return GW_OK;
}

static enum gw_status read_shape(struct oip_told *told, const struct wire_field *field, struct gw_err *err)
{
    struct wire sizes = wire_of(field->bytes, field->length);
    enum gw_status status = GW_OK;
    if (field->type == WIRE_VARINT)
        return add_size(told, field->value, err);
    while (status == GW_OK && sizes.at < sizes.end) {
        uint64_t size;
        status = wire_varint(&sizes, &size) ? add_size(told, size, err) : unreadable(err, "a shape");
    }
    return status == GW_OK && field->type != WIRE_BYTES ? unreadable(err, "a shape") : status;
}

static enum gw_status read_input(struct decoding *decoding, const struct wire_field *input,
                                 struct oip_told *told, struct wire_field *contents)
{
    struct gw_err *err = &decoding->request->err;
    struct wire wire = wire_of(input->bytes, input->length);
    struct wire_field field;
    enum gw_status status = input->type == WIRE_BYTES ? GW_OK : unreadable(err, "an input");
    while (status == GW_OK && wire_next(&wire, &field)) {
        if (field.number == TENSOR_NAME)
            status = read_name(decoding, &field, &told->name);
        else if (field.number == TENSOR_DATATYPE)
            status = read_name(decoding, &field, &told->datatype);
        else if (field.number == TENSOR_SHAPE)
            status = read_shape(told, &field, err);
        else if (field.number == TENSOR_PARAMETERS)
            status = decode_tensor_parameter(decoding, &field);
        else if (field.number == TENSOR_CONTENTS && (field.type != WIRE_BYTES || contents->number))
            status = gw_err_set(err, GW_E_INVALID, "an input has its contents once");
        else if (field.number == TENSOR_CONTENTS)
            *contents = field;
    }
    return status == GW_OK && wire.malformed ? unreadable(err, "an input") : status;
}

/* Without a word about its contents they are raw; an empty tensor's may be as well nothing. */
static enum gw_status decode_input(struct decoding *decoding, const struct wire_field *field)
{
    struct request *request = decoding->request;
    struct oip_told told = {0};
    struct wire_field contents = {0};
    struct tensor *input;
    if (decoding->n_given == request->n_inputs)
        return gw_err_set(&request->err, GW_E_INVALID, "more inputs than the model has");
    enum gw_status status = read_input(decoding, field, &told, &contents);
    if (status != GW_OK)
        return status;
    if (!told.name || !told.datatype || !told.dims)
        return gw_err_set(&request->err, GW_E_INVALID, "an input's %s is missing",
                          !told.name       ? "name"
                          : !told.datatype ? "datatype"
                                           : "shape");
    status = oip_inputs_take(request, &told, &input);
    if (status != GW_OK)
        return status;
    decoding->given[decoding->n_given++] = input;
    if (decoding->ask->raw && !contents.length)
        return GW_OK;
    if (decoding->ask->raw)
        return gw_err_set(&request->err, GW_E_INVALID,
                          "input %s has contents, and raw_input_contents are given: one or the other",
                          told.name);
    return decode_contents(decoding, input, &contents);
}

static enum gw_status decode_raw(struct decoding *decoding, const struct wire_field *field)
{
    uint32_t index = decoding->n_raw++;
    struct request *request = decoding->request;
    if (field->type != WIRE_BYTES)
        return unreadable(&request->err, "raw_input_contents");
    if (index >= decoding->n_given)
        return gw_err_set(&request->err, GW_E_INVALID, "more raw_input_contents than the %" PRIu32 " inputs",
                          decoding->n_given);
    return oip_input_set_bytes(request, decoding->given[index], field->bytes, field->length);
}

/* --- outputs --- */

static enum gw_status read_output(struct decoding *decoding, const struct wire_field *output,
                                  const char **name)
{
    struct gw_err *err = &decoding->request->err;
    struct wire wire = wire_of(output->bytes, output->length);
    struct wire_field field;
    enum gw_status status = output->type == WIRE_BYTES ? GW_OK : unreadable(err, "an output");
    while (status == GW_OK && wire_next(&wire, &field)) {
        if (field.number == 1)
            status = read_name(decoding, &field, name);
        else if (field.number == 2)
            status = decode_tensor_parameter(decoding, &field);
    }
    if (status == GW_OK && wire.malformed)
        return unreadable(err, "an output");
    return status == GW_OK && !*name ? gw_err_set(err, GW_E_INVALID, "an output's name is missing") : status;
}

static enum gw_status decode_output(struct decoding *decoding, const struct wire_field *field)
{
    struct oip_grpc_ask *ask = decoding->ask;
    struct gw_err *err = &decoding->request->err;
    const char *name = NULL;
    if (!ask->wanted)
        ask->wanted = arena_array(decoding->request->arena, WANTED_MAX, sizeof *ask->wanted);
    if (!ask->wanted)
        return no_memory(err);
    if (ask->n_wanted == WANTED_MAX)
        return gw_err_set(err, GW_E_INVALID, "more than %d outputs", WANTED_MAX);
    enum gw_status status = read_output(decoding, field, &name);
    for (uint32_t i = 0; status == GW_OK && i < ask->n_wanted; i++)
        if (!strcmp(ask->wanted[i], name))
            return gw_err_set(err, GW_E_INVALID, "output %.64s: given twice", name);
    if (status == GW_OK)
        ask->wanted[ask->n_wanted++] = name;
    return status;
}

/* --- the message --- */

static enum gw_status decode_field(struct decoding *decoding, const struct wire_field *field)
{
    switch (field->number) {
    case REQUEST_PARAMETERS:
        return decode_parameter(decoding, field);
    case REQUEST_INPUTS:
        return decode_input(decoding, field);
    case REQUEST_OUTPUTS:
        return decode_output(decoding, field);
    default:
        return GW_OK;
    }
}

/* Raw contents belong to the inputs by their order, wherever in the message they stand. */
static enum gw_status decode_fields(struct decoding *decoding, const char *body, size_t length)
{
    struct request *request = decoding->request;
    struct wire wire = wire_of(body, length);
    struct wire_field field;
    enum gw_status status = GW_OK;
    while (status == GW_OK && wire_next(&wire, &field))
        status = decode_field(decoding, &field);
    if (status != GW_OK || !decoding->ask->raw)
        return status;
    wire = wire_of(body, length);
    while (status == GW_OK && wire_next(&wire, &field))
        if (field.number == REQUEST_RAW)
            status = decode_raw(decoding, &field);
    if (status == GW_OK && decoding->n_raw < decoding->n_given)
        return gw_err_set(&request->err, GW_E_INVALID,
                          "%" PRIu32 " inputs, and %" PRIu32 " raw_input_contents", decoding->n_given,
                          decoding->n_raw);
    return status;
}

/* body: a message that oip_grpc_infer() has read to its end. */
static enum gw_status oip_grpc_decode(struct request *request, const char *body, size_t length)
{
    struct decoding decoding = {.request = request, .ask = request->own};
    enum gw_status status = oip_inputs_begin(request);
    if (status != GW_OK)
        return status;
    if (decoding.ask->deadline_us < request->deadline_us)
        request->deadline_us = decoding.ask->deadline_us;
    decoding.given = arena_array(request->arena, request->n_inputs, sizeof *decoding.given);
    if (!decoding.given)
        return no_memory(&request->err);
    status = decode_fields(&decoding, body, length);
    if (status == GW_OK)
        status = oip_inputs_end(request);
    if (status == GW_OK)
        status = oip_outputs_want(request, decoding.ask->wanted, decoding.ask->n_wanted);
    if (status == GW_OK)
        status = oip_parameters_keep(request, &decoding.parameters);
    buf_clear(&decoding.parameters);
    return status;
}

/* --- outcomes -> message --- */

static uint32_t count_outputs(const struct request *request)
{
    const struct oip_grpc_ask *ask = request->own;
    return ask->n_wanted ? ask->n_wanted : answer_outputs(request);
}

static const char *output_name(const struct request *request, uint32_t index)
{
    const struct oip_grpc_ask *ask = request->own;
    return ask->n_wanted ? ask->wanted[index] : answer_output_name(request, index);
}

static void put_parameter(struct buf *out, const char *name, uint32_t kind, const char *text)
{
    size_t entry = wire_open(out, REPLY_PARAMETERS);
    wire_put_text(out, 1, name);
    size_t value = wire_open(out, 2);
    if (kind == VALUE_STRING)
        wire_put_text(out, VALUE_STRING, text);
    else
        wire_put_number(out, VALUE_BOOL, true);
    wire_close(out, value);
    wire_close(out, entry);
}

/* An answer that is the endpoint's default says so, and why. */
static void put_default(struct request *request)
{
    const struct row_outcome *failed = answer_defaulted(request);
    struct buf *out = &request->reply;
    if (!failed)
        return;
    put_parameter(out, "default", VALUE_BOOL, NULL);
    put_parameter(out, "cause", VALUE_STRING, gw_status_cause(failed->status));
    put_parameter(out, "default_explanation", VALUE_STRING,
                  failed->message ? failed->message : gw_status_words(failed->status));
}

static uint64_t load_integer(enum datatype datatype, const uint8_t *at)
{
    uint64_t number = 0;
    size_t width = datatype_bytes(datatype);
    memcpy(&number, at, width);
    bool is_signed = datatype == DT_INT8 || datatype == DT_INT16 || datatype == DT_INT32;
    unsigned spare = (unsigned)(64 - 8 * width);
    return is_signed ? (uint64_t)((int64_t)(number << spare) >> spare) : number;
}

static const uint8_t *answer_bytes(const struct request *request, const char *name, uint32_t row,
                                   size_t *bytes)
{
    uint32_t at;
    const struct tensor *tensor = answer_row(request, name, row, &at);
    return tensor_row(tensor, at, bytes);
}

/* All rows of an output in its list. */
static void put_numbers(struct request *request, const char *name, enum datatype datatype)
{
    struct buf *out = &request->reply;
    size_t width = datatype_bytes(datatype);
    size_t list = wire_open(out, contents_of[datatype].field);
    for (uint32_t row = 0; row < request->n_rows; row++) {
        size_t bytes;
        const uint8_t *data = answer_bytes(request, name, row, &bytes);
        if (contents_of[datatype].type != WIRE_VARINT)
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
        const uint8_t *data = answer_bytes(request, name, row, &bytes);
        for (size_t i = 0; i < bytes; i += sizeof length + length) {
            memcpy(&length, data + i, sizeof length);
            wire_put_bytes(&request->reply, contents_of[DT_BYTES].field, data + i + sizeof length, length);
        }
    }
}

/* What an output is, and, where they are typed, its elements. */
static void put_output(struct request *request, const char *name, const struct tensor_spec *spec, bool raw)
{
    struct buf *out = &request->reply;
    size_t tensor = wire_open(out, REPLY_OUTPUTS);
    wire_put_text(out, TENSOR_NAME, name);
    wire_put_text(out, TENSOR_DATATYPE, datatype_name(spec->datatype));
    size_t shape = wire_open(out, TENSOR_SHAPE);
    for (unsigned i = 0; i < spec->dims; i++)
        wire_add_number(out, (uint64_t)spec->shape[i]);
    wire_close(out, shape);
    if (!raw) {
        size_t contents = wire_open(out, TENSOR_CONTENTS);
        if (spec->datatype == DT_BYTES)
            put_elements(request, name);
        else
            put_numbers(request, name, spec->datatype);
        wire_close(out, contents);
    }
    wire_close(out, tensor);
}

static void put_raw(struct request *request, const char *name, size_t bytes)
{
    wire_begin_bytes(&request->reply, REPLY_RAW, bytes);
    for (uint32_t row = 0; row < request->n_rows; row++) {
        const uint8_t *data = answer_bytes(request, name, row, &bytes);
        buf_append(&request->reply, data, bytes);
    }
}

/* Raw, when one of them can be nothing else: the protocol has no mixture. */
static enum gw_status describe_outputs(struct request *request, struct answer_output *outputs, uint32_t n,
                                       bool *raw)
{
    enum gw_status status = GW_OK;
    for (uint32_t i = 0; i < n && status == GW_OK; i++) {
        status = answer_output(request, output_name(request, i), &outputs[i]);
        *raw |= status == GW_OK && !contents_of[outputs[i].spec.datatype].field;
    }
    return status;
}

static enum gw_status put_outputs(struct request *request)
{
    uint32_t n = count_outputs(request);
    struct answer_output *outputs = arena_array(request->arena, n, sizeof *outputs);
    bool raw = ((const struct oip_grpc_ask *)request->own)->raw;
    enum gw_status status = outputs ? describe_outputs(request, outputs, n, &raw) : no_memory(&request->err);
    if (status != GW_OK)
        return status;
    for (uint32_t i = 0; i < n; i++)
        put_output(request, output_name(request, i), &outputs[i].spec, raw);
    for (uint32_t i = 0; raw && i < n; i++)
        put_raw(request, output_name(request, i), outputs[i].bytes);
    return GW_OK;
}

static enum gw_status put_reply(struct request *request)
{
    const struct oip_grpc_ask *ask = request->own;
    struct buf *out = &request->reply;
    grpc_begin(out);
    wire_put_text(out, REPLY_MODEL, request->endpoint->name);
    wire_put_text(out, REPLY_VERSION, oip_version_name(request->endpoint, request->version));
    if (ask->id_length)
        wire_put_bytes(out, REPLY_ID, ask->id, ask->id_length);
    put_default(request);
    return put_outputs(request);
}

/* There is no answer for some rows only: the first that failed fails all. */
static void oip_grpc_encode(struct request *request)
{
    enum gw_status status = request->status;
    if (status == GW_OK || status == GW_PARTIAL)
        status = answer_begin(request);
    if (status == GW_OK)
        status = put_reply(request);
    request->status = status;
    if (status != GW_OK)
        request->reply.length = 0;
}

/* For those who speak no gRPC. */
static void oip_grpc_write_error(struct buf *out, enum gw_status status, const char *what)
{
    oip_dialect.write_error(out, status, what);
}

const struct dialect oip_grpc_dialect = {"oip_grpc", oip_grpc_decode, oip_grpc_encode, oip_grpc_write_error,
                                         grpc_seal};

/* --- the call --- */

struct heading {
    struct wire_field model, version;
};

/* What must be known of the message before there is a request. */
static enum gw_status read_heading(const struct http_message *message, struct heading *heading,
                                   struct oip_grpc_ask *ask, struct gw_err *err)
{
    struct wire wire = wire_of(message->body, message->body_length);
    struct wire_field field;
    heading->model = heading->version = (struct wire_field){.bytes = (const uint8_t *)""};
    while (wire_next(&wire, &field)) {
        if (field.number <= REQUEST_ID && field.type != WIRE_BYTES)
            wire.malformed = true;
        else if (field.number == REQUEST_MODEL)
            heading->model = field;
        else if (field.number == REQUEST_MODEL_VERSION)
            heading->version = field;
        else if (field.number == REQUEST_ID) {
            ask->id = (const char *)field.bytes;
            ask->id_length = field.length;
        } else if (field.number == REQUEST_RAW)
            ask->raw = true;
    }
    if (wire.malformed)
        return unreadable(err, "ModelInferRequest");
    if (ask->id_length && !buf_is_utf8(ask->id, ask->id_length))
        return gw_err_set(err, GW_E_INVALID, "the id is not UTF-8");
    return GW_OK;
}

void oip_grpc_infer(const struct grpc_call *call)
{
    struct exchange *exchange = call->exchange;
    struct oip_grpc_ask *own = arena_zalloc(&exchange->arena, sizeof *own);
    struct oip_grpc_place place;
    struct heading heading;
    struct gw_err err;
    enum gw_status status = own ? read_heading(&exchange->message, &heading, own, &err) : no_memory(&err);
    if (status == GW_OK)
        status = oip_grpc_find(call->infer, &heading.model, &heading.version, &place, &err);
    if (status != GW_OK) {
        grpc_reply_error(exchange, status, err.what);
        return;
    }
    own->deadline_us = call->deadline_us;
    struct predict_ask ask = {.dialect = &oip_grpc_dialect, .endpoint = place.endpoint, .own = own};
    if (place.arm)
        ask.version = place.arm->version->full_name;
    predict_start(call->infer, exchange, &ask);
}
