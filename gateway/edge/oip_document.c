/*
 * oip_document: one pass over the document reads everything, as long as each input says what it is before it
 * says its data, which all clients do. Where one does not, its data is passed over, and read in a second
 * pass.
 */
#include "edge/oip_document.h"

#include <string.h>

#include "edge/oip_parameters.h"

enum { WANTED_MAX = 256 }; /* outputs that a request may name */

static bool key_is(const char *key, size_t length, const char *name)
{
    return length == strlen(name) && memcmp(key, name, length) == 0;
}

/* Marks something as seen. */
static enum gw_status once(bool *seen, const struct json_value *value, struct gw_err *err)
{
    if (*seen)
        return json_refuse(value, err, "given twice");
    *seen = true;
    return GW_OK;
}

/* A string that stands for itself to its end, as all names do. */
static enum gw_status decode_name(struct oip_decoding *decoding, struct json_value *value, const char **name,
                                  struct gw_err *err)
{
    size_t length;
    if (*name)
        return json_refuse(value, err, "given twice");
    enum gw_status status = json_text(value, decoding->request->arena, name, &length, err);
    if (status == GW_OK && strlen(*name) != length)
        return json_refuse(value, err, "a name with a NUL in it");
    return status;
}

/* --- parameters --- */

static enum gw_status decode_timeout(struct oip_decoding *decoding, struct json_value *value,
                                     struct gw_err *err)
{
    int64_t timeout_us;
    enum gw_status status = json_int(value, &timeout_us, err);
    if (status == GW_OK && !oip_take_timeout(decoding->request, timeout_us))
        return json_refuse(value, err, "a negative timeout");
    return status;
}

/* 0 and "" are none. */
static enum gw_status decode_sequence(struct oip_decoding *decoding, struct json_value *value,
                                      struct gw_err *err)
{
    const char *id = "0";
    size_t length = 1;
    enum gw_status status = json_word(value, decoding->request->arena, &id, &length, err);
    return status == GW_OK && length && strcmp(id, "0") != 0 ? oip_refuse_sequence(err) : status;
}

/* Anything that the protocol does not know goes to the model. */
static enum gw_status pass_on(struct oip_decoding *decoding, const char *key, size_t length,
                              struct json_value *value, struct gw_err *err)
{
    struct buf *out = &decoding->parameters;
    const char *text;
    size_t text_length;
    enum gw_status status = json_raw(value, decoding->request->arena, &text, &text_length, err);
    if (status != GW_OK)
        return status;
    oip_parameters_name(out, key, length);
    buf_append(out, text, text_length);
    return out->failed ? gw_err_no_memory(err) : GW_OK;
}

static enum gw_status decode_sticky(struct oip_decoding *decoding, struct json_value *value,
                                    struct gw_err *err)
{
    struct request *request = decoding->request;
    return json_word(value, request->arena, &request->sticky, &request->sticky_length, err);
}

static enum gw_status decode_parameter(void *owner, const char *key, size_t length, struct json_value *value,
                                       struct gw_err *err)
{
    struct oip_decoding *decoding = owner;
    switch (oip_parameter_of(decoding->request, key, length)) {
    case OIP_BINARY:
        return json_bool(value, &decoding->ask->binary, err);
    case OIP_TIMEOUT:
        return decode_timeout(decoding, value, err);
    case OIP_SEQUENCE:
        return decode_sequence(decoding, value, err);
    case OIP_STICKY:
        return decode_sticky(decoding, value, err);
    case OIP_MODELS:
        return pass_on(decoding, key, length, value, err);
    case OIP_PASSED_OVER:
        break;
    }
    return GW_OK;
}

/* --- inputs --- */

static enum gw_status decode_size(void *owner, uint32_t index, struct json_value *value, struct gw_err *err)
{
    struct oip_told *told = owner;
    if (index >= TENSOR_DIMS_MAX)
        return json_refuse(value, err, "more than %d sizes", TENSOR_DIMS_MAX);
    told->dims = index + 1;
    return json_int(value, &told->shape[index], err);
}

static enum gw_status decode_shape(struct oip_given *given, struct json_value *value, struct gw_err *err)
{
    if (given->told.dims)
        return json_refuse(value, err, "given twice");
    enum gw_status status = json_array(value, decode_size, &given->told, err);
    return status == GW_OK && !given->told.dims ? json_refuse(value, err, "expected at least one size")
                                                : status;
}

static enum gw_status decode_input_parameter(void *owner, const char *key, size_t length,
                                             struct json_value *value, struct gw_err *err)
{
    struct oip_given *given = owner;
    if (key_is(key, length, "shared_memory_region"))
        return gw_err_set(err, GW_E_NOT_IMPLEMENTED, "tensors are not taken from shared memory");
    if (!key_is(key, length, "binary_data_size"))
        return GW_OK;
    if (given->binary_bytes >= 0)
        return json_refuse(value, err, "given twice");
    enum gw_status status = json_int(value, &given->binary_bytes, err);
    return status == GW_OK && given->binary_bytes < 0 ? json_refuse(value, err, "a negative size") : status;
}

static bool is_told(const struct oip_given *given)
{
    return given->told.name && given->told.datatype && given->told.dims;
}

static enum gw_status read_data(struct oip_decoding *decoding, struct oip_given *given,
                                struct json_value *value, struct gw_err *err)
{
    struct request *request = decoding->request;
    struct tensor *input = given->input;
    struct tensor_spec read_as = input->spec;
    struct tensor_builder builder;
    if (read_as.encoding == TENSOR_JSON) /* BYTES are strings here; what is in them is looked at in the end */
        read_as.encoding = TENSOR_TEXT;
    tensor_builder_init(&builder, request->arena, &read_as, request->period->plan->config->limits.rows);
    enum gw_status status = json_append_tensor(value, &builder, input->spec.shape, err);
    input->data = builder.data;
    input->bytes = builder.bytes;
    input->row_end = builder.row_end;
    return status;
}

static enum gw_status decode_data(struct oip_decoding *decoding, struct oip_given *given,
                                  struct json_value *value, struct gw_err *err)
{
    enum gw_status status = once(&given->has_data, value, err);
    if (status != GW_OK)
        return status;
    if (!is_told(given)) {
        given->later = decoding->any_later = true;
        return GW_OK;
    }
    status = oip_inputs_take(decoding->request, &given->told, &given->input);
    return status == GW_OK ? read_data(decoding, given, value, err) : status;
}

struct input_reading {
    struct oip_decoding *decoding;
    struct oip_given *given;
};

static enum gw_status decode_input_member(void *owner, const char *key, size_t length,
                                          struct json_value *value, struct gw_err *err)
{
    struct input_reading *reading = owner;
    struct oip_given *given = reading->given;
    if (key_is(key, length, "name"))
        return decode_name(reading->decoding, value, &given->told.name, err);
    if (key_is(key, length, "datatype"))
        return decode_name(reading->decoding, value, &given->told.datatype, err);
    if (key_is(key, length, "shape"))
        return decode_shape(given, value, err);
    if (key_is(key, length, "data"))
        return decode_data(reading->decoding, given, value, err);
    if (key_is(key, length, "parameters"))
        return json_object(value, decode_input_parameter, given, err);
    return GW_OK;
}

static enum gw_status end_input(struct oip_decoding *decoding, struct oip_given *given,
                                const struct json_value *value, struct gw_err *err)
{
    const struct oip_told *told = &given->told;
    if (!is_told(given))
        return json_refuse(value, err, "%s is missing",
                           !told->name       ? "name"
                           : !told->datatype ? "datatype"
                                             : "shape");
    if (given->has_data == (given->binary_bytes >= 0))
        return json_refuse(value, err,
                           given->has_data ? "has both data and binary_data_size" : "data is missing");
    return given->input ? GW_OK : oip_inputs_take(decoding->request, told, &given->input);
}

static enum gw_status decode_input(void *owner, uint32_t index, struct json_value *value, struct gw_err *err)
{
    struct oip_decoding *decoding = owner;
    if (index >= decoding->request->n_inputs)
        return json_refuse(value, err, "more inputs than the model has");
    struct oip_given *given = &decoding->given[index];
    *given = (struct oip_given){.binary_bytes = -1};
    decoding->n_given = index + 1;
    enum gw_status status =
        json_object(value, decode_input_member, &(struct input_reading){decoding, given}, err);
    return status == GW_OK ? end_input(decoding, given, value, err) : status;
}

/* --- outputs --- */

static enum gw_status decode_output_parameter(void *owner, const char *key, size_t length,
                                              struct json_value *value, struct gw_err *err)
{
    struct oip_decoding *decoding = owner;
    bool binary;
    if (key_is(key, length, "classification"))
        return gw_err_set(err, GW_E_NOT_IMPLEMENTED, "outputs are not turned into classes");
    if (key_is(key, length, "shared_memory_region"))
        return gw_err_set(err, GW_E_NOT_IMPLEMENTED, "tensors are not put into shared memory");
    if (!key_is(key, length, "binary_data"))
        return GW_OK;
    enum gw_status status = json_bool(value, &binary, err);
    if (status == GW_OK)
        decoding->wanted_binary = binary;
    return status;
}

struct output_reading {
    struct oip_decoding *decoding;
    const char *name;
};

static enum gw_status decode_output_member(void *owner, const char *key, size_t length,
                                           struct json_value *value, struct gw_err *err)
{
    struct output_reading *reading = owner;
    if (key_is(key, length, "name"))
        return decode_name(reading->decoding, value, &reading->name, err);
    if (key_is(key, length, "parameters"))
        return json_object(value, decode_output_parameter, reading->decoding, err);
    return GW_OK;
}

/* The lists have room for WANTED_MAX. */
static enum gw_status decode_output(void *owner, uint32_t index, struct json_value *value, struct gw_err *err)
{
    struct oip_decoding *decoding = owner;
    struct oip_ask *ask = decoding->ask;
    struct output_reading reading = {decoding, NULL};
    if (index >= WANTED_MAX)
        return json_refuse(value, err, "more than %d outputs", WANTED_MAX);
    decoding->wanted_binary = -1;
    enum gw_status status = json_object(value, decode_output_member, &reading, err);
    if (status != GW_OK)
        return status;
    if (!reading.name)
        return json_refuse(value, err, "name is missing");
    for (uint32_t i = 0; i < index; i++)
        if (!strcmp(ask->wanted[i], reading.name))
            return json_refuse(value, err, "given twice");
    ask->wanted[index] = reading.name;
    ask->says[index] = (int8_t)decoding->wanted_binary;
    ask->n_wanted = index + 1;
    return GW_OK;
}

static enum gw_status decode_outputs(struct oip_decoding *decoding, struct json_value *value,
                                     struct gw_err *err)
{
    struct oip_ask *ask = decoding->ask;
    enum gw_status status = once(&decoding->has_outputs, value, err);
    if (status != GW_OK)
        return status;
    ask->wanted = arena_array(decoding->request->arena, WANTED_MAX, sizeof *ask->wanted);
    ask->says = arena_array(decoding->request->arena, WANTED_MAX, sizeof *ask->says);
    return ask->wanted && ask->says ? json_array(value, decode_output, decoding, err) : gw_err_no_memory(err);
}

/* --- the document --- */

static enum gw_status decode_id(struct oip_decoding *decoding, struct json_value *value, struct gw_err *err)
{
    size_t length;
    if (decoding->ask->id)
        return json_refuse(value, err, "given twice");
    if (json_kind(value) == JSON_NULL)
        return GW_OK;
    enum gw_status status = json_text(value, decoding->request->arena, &decoding->ask->id, &length, err);
    decoding->ask->id_length = length;
    return status;
}

static enum gw_status decode_member(void *owner, const char *key, size_t length, struct json_value *value,
                                    struct gw_err *err)
{
    struct oip_decoding *decoding = owner;
    enum gw_status status;
    if (key_is(key, length, "inputs")) {
        status = once(&decoding->has_inputs, value, err);
        return status == GW_OK ? json_array(value, decode_input, decoding, err) : status;
    }
    if (key_is(key, length, "parameters")) {
        status = once(&decoding->has_parameters, value, err);
        return status == GW_OK ? json_object(value, decode_parameter, decoding, err) : status;
    }
    if (key_is(key, length, "outputs"))
        return decode_outputs(decoding, value, err);
    if (key_is(key, length, "id"))
        return decode_id(decoding, value, err);
    return oip_parameter_of(decoding->request, key, length) == OIP_STICKY
               ? decode_sticky(decoding, value, err)
               : GW_OK;
}

/* The second pass: data that came before what it is. */
static enum gw_status decode_late_data(void *owner, const char *key, size_t length, struct json_value *value,
                                       struct gw_err *err)
{
    struct input_reading *reading = owner;
    return key_is(key, length, "data") ? read_data(reading->decoding, reading->given, value, err) : GW_OK;
}

static enum gw_status decode_late_input(void *owner, uint32_t index, struct json_value *value,
                                        struct gw_err *err)
{
    struct oip_decoding *decoding = owner;
    struct oip_given *given = &decoding->given[index];
    if (!given->later)
        return GW_OK;
    return json_object(value, decode_late_data, &(struct input_reading){decoding, given}, err);
}

static enum gw_status decode_late_member(void *owner, const char *key, size_t length,
                                         struct json_value *value, struct gw_err *err)
{
    return key_is(key, length, "inputs") ? json_array(value, decode_late_input, owner, err) : GW_OK;
}

enum gw_status oip_document_read(struct oip_decoding *decoding, const char *text, size_t length)
{
    struct request *request = decoding->request;
    enum gw_status status =
        json_read(request->infer->json, text, length, decode_member, decoding, &request->err);
    if (status == GW_OK && !decoding->has_inputs)
        status = gw_err_set(&request->err, GW_E_INVALID, "the body has no \"inputs\"");
    if (status == GW_OK && decoding->any_later)
        status = json_read(request->infer->json, text, length, decode_late_member, decoding, &request->err);
    if (status == GW_OK)
        status = oip_parameters_keep(decoding->request, &decoding->parameters);
    buf_clear(&decoding->parameters);
    return status;
}
