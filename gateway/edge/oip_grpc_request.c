/* oip_grpc_request: its heading, then its fields one by one. */
#include "edge/oip_grpc_request.h"

#include <inttypes.h>
#include <string.h>

#include "edge/oip_grpc_contents.h"
#include "edge/oip_grpc_parameters.h"
#include "edge/oip_parameters.h"
#include "edge/oip_tensors.h"

enum {
    REQUEST_MODEL = 1,
    REQUEST_MODEL_VERSION,
    REQUEST_ID,
    REQUEST_PARAMETERS,
    REQUEST_INPUTS,
    REQUEST_OUTPUTS,
    REQUEST_RAW
};
enum { INPUT_NAME = 1, INPUT_DATATYPE, INPUT_SHAPE, INPUT_PARAMETERS, INPUT_CONTENTS };
enum { OUTPUT_NAME = 1, OUTPUT_PARAMETERS };
enum { WANTED_MAX = 256 }; /* outputs that a request may name */

struct decoding {
    struct request *request;
    struct oip_grpc_ask *ask;
    struct buf parameters; /* those for the model, as an object without its end */
    struct tensor **given; /* the inputs in the message's order, as many as the signature has */
    uint32_t n_given, n_raw;
};

/* --- the heading --- */

enum gw_status oip_grpc_read_heading(const struct http_message *message, struct oip_grpc_heading *heading,
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
        return oip_grpc_unreadable(err, "ModelInferRequest");
    if (ask->id_length && !buf_is_utf8(ask->id, ask->id_length))
        return gw_err_set(err, GW_E_INVALID, "the id is not UTF-8");
    return GW_OK;
}

/* --- names --- */

/* A field that is a string, and stands for itself to its end, as all names do; terminated, in the arena. */
static enum gw_status read_name(struct decoding *decoding, const struct wire_field *field, const char **name)
{
    struct gw_err *err = &decoding->request->err;
    const char *text = (const char *)field->bytes;
    if (field->type != WIRE_BYTES)
        return oip_grpc_unreadable(err, "a name");
    if (!buf_is_utf8(text, field->length))
        return gw_err_set(err, GW_E_INVALID, "a name is not UTF-8");
    if (memchr(text, '\0', field->length))
        return gw_err_set(err, GW_E_INVALID, "a name with a NUL in it");
    *name = arena_text(decoding->request->arena, text, field->length);
    return *name ? GW_OK : gw_err_no_memory(err);
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
        status = wire_varint(&sizes, &size) ? add_size(told, size, err) : oip_grpc_unreadable(err, "a shape");
    }
    return status == GW_OK && field->type != WIRE_BYTES ? oip_grpc_unreadable(err, "a shape") : status;
}

static enum gw_status read_input(struct decoding *decoding, const struct wire_field *input,
                                 struct oip_told *told, struct wire_field *contents)
{
    struct gw_err *err = &decoding->request->err;
    struct wire wire = wire_of(input->bytes, input->length);
    struct wire_field field;
    enum gw_status status = input->type == WIRE_BYTES ? GW_OK : oip_grpc_unreadable(err, "an input");
    while (status == GW_OK && wire_next(&wire, &field)) {
        if (field.number == INPUT_NAME)
            status = read_name(decoding, &field, &told->name);
        else if (field.number == INPUT_DATATYPE)
            status = read_name(decoding, &field, &told->datatype);
        else if (field.number == INPUT_SHAPE)
            status = read_shape(told, &field, err);
        else if (field.number == INPUT_PARAMETERS)
            status = oip_grpc_parameter_of_tensor(&field, err);
        else if (field.number == INPUT_CONTENTS && (field.type != WIRE_BYTES || contents->number))
            status = gw_err_set(err, GW_E_INVALID, "an input has its contents once");
        else if (field.number == INPUT_CONTENTS)
            *contents = field;
    }
    return status == GW_OK && wire.malformed ? oip_grpc_unreadable(err, "an input") : status;
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
    return oip_grpc_contents_read(request, input, &contents);
}

static enum gw_status decode_raw(struct decoding *decoding, const struct wire_field *field)
{
    uint32_t index = decoding->n_raw++;
    struct request *request = decoding->request;
    if (field->type != WIRE_BYTES)
        return oip_grpc_unreadable(&request->err, "raw_input_contents");
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
    enum gw_status status = output->type == WIRE_BYTES ? GW_OK : oip_grpc_unreadable(err, "an output");
    while (status == GW_OK && wire_next(&wire, &field)) {
        if (field.number == OUTPUT_NAME)
            status = read_name(decoding, &field, name);
        else if (field.number == OUTPUT_PARAMETERS)
            status = oip_grpc_parameter_of_tensor(&field, err);
    }
    if (status == GW_OK && wire.malformed)
        return oip_grpc_unreadable(err, "an output");
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
        return gw_err_no_memory(err);
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
        return oip_grpc_parameter_take(decoding->request, field, &decoding->parameters);
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
enum gw_status oip_grpc_decode(struct request *request, const char *body, size_t length)
{
    struct decoding decoding = {.request = request, .ask = request->own};
    enum gw_status status = oip_inputs_begin(request);
    if (status != GW_OK)
        return status;
    if (decoding.ask->deadline_us < request->deadline_us)
        request->deadline_us = decoding.ask->deadline_us;
    decoding.given = arena_array(request->arena, request->n_inputs, sizeof *decoding.given);
    if (!decoding.given)
        return gw_err_no_memory(&request->err);
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
