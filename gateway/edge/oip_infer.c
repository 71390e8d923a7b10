/*
 * oip_infer: {"inputs": [{"name", "shape", "datatype", "data"}]} -> tensors, with the data in JSON or behind
 * it; and back.
 *
 * One pass over the document reads everything, as long as each input says what it is before it says its data,
 * which all clients do. Where one does not, its data is passed over, and read in a second pass.
 */
#include <inttypes.h>
#include <string.h>

#include "edge/answer.h"
#include "edge/oip.h"
#include "edge/oip_tensors.h"

enum { WANTED_MAX = 256 }; /* outputs that a request may name */

/* One element of "inputs". */
struct given {
    struct oip_told told;
    struct tensor *input; /* once it is matched with the signature */
    int64_t binary_bytes; /* of its data behind the document; negative: it is in the document */
    bool has_data, later; /* seen; passed over */
};

struct decoding {
    struct request *request;
    struct oip_ask *ask;
    struct given *given; /* as many as the signature has inputs */
    uint32_t n_given;
    struct buf parameters; /* those for the model, as an object without its end */
    bool has_inputs, has_outputs, has_parameters;
    bool any_later;
    int wanted_binary; /* of the output being read; negative: it does not say */
};

static enum gw_status no_memory(struct gw_err *err)
{
    return gw_err_set(err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
}

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
static enum gw_status decode_name(struct decoding *decoding, struct json_value *value, const char **name,
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

/* In microseconds, and never longer than the endpoint's own objective. */
static enum gw_status decode_timeout(struct decoding *decoding, struct json_value *value, struct gw_err *err)
{
    struct request *request = decoding->request;
    int64_t timeout_us;
    uint64_t deadline_us;
    enum gw_status status = json_int(value, &timeout_us, err);
    if (status != GW_OK)
        return status;
    if (timeout_us < 0)
        return json_refuse(value, err, "a negative timeout");
    if (timeout_us && !__builtin_add_overflow(request->received_us, (uint64_t)timeout_us, &deadline_us) &&
        deadline_us < request->deadline_us)
        request->deadline_us = deadline_us;
    return GW_OK;
}

/* 0 and "" are none. */
static enum gw_status decode_sequence(struct decoding *decoding, struct json_value *value, struct gw_err *err)
{
    const char *id = "0";
    size_t length = 1;
    enum gw_status status = json_word(value, decoding->request->arena, &id, &length, err);
    if (status == GW_OK && length && strcmp(id, "0") != 0)
        return gw_err_set(err, GW_E_NOT_IMPLEMENTED, "sequences are not kept: every request stands alone");
    return status;
}

static bool is_reserved(const char *key, size_t length)
{
    static const char *const names[] = {"sequence_start", "sequence_end", "priority", "headers"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (key_is(key, length, names[i]))
            return true;
    return length >= 7 && memcmp(key, "triton_", 7) == 0;
}

/* Anything that the protocol does not know goes to the model. */
static enum gw_status pass_on(struct decoding *decoding, const char *key, size_t length,
                              struct json_value *value, struct gw_err *err)
{
    struct buf *out = &decoding->parameters;
    const char *text;
    size_t text_length;
    enum gw_status status = json_raw(value, decoding->request->arena, &text, &text_length, err);
    if (status != GW_OK)
        return status;
    buf_text(out, out->length ? "," : "{");
    buf_json_text(out, key, length);
    buf_text(out, ":");
    buf_append(out, text, text_length);
    return out->failed ? no_memory(err) : GW_OK;
}

static enum gw_status decode_sticky(struct decoding *decoding, struct json_value *value, struct gw_err *err)
{
    struct request *request = decoding->request;
    return json_word(value, request->arena, &request->sticky, &request->sticky_length, err);
}

static bool is_sticky(const struct decoding *decoding, const char *key, size_t length)
{
    const struct config_sticky *sticky = &decoding->request->endpoint->sticky;
    return sticky->kind == STICKY_FIELD && key_is(key, length, sticky->name);
}

static enum gw_status decode_parameter(void *owner, const char *key, size_t length, struct json_value *value,
                                       struct gw_err *err)
{
    struct decoding *decoding = owner;
    if (key_is(key, length, "binary_data_output"))
        return json_bool(value, &decoding->ask->binary, err);
    if (key_is(key, length, "timeout"))
        return decode_timeout(decoding, value, err);
    if (key_is(key, length, "sequence_id"))
        return decode_sequence(decoding, value, err);
    if (is_sticky(decoding, key, length))
        return decode_sticky(decoding, value, err);
    return is_reserved(key, length) ? GW_OK : pass_on(decoding, key, length, value, err);
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

static enum gw_status decode_shape(struct given *given, struct json_value *value, struct gw_err *err)
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
    struct given *given = owner;
    if (key_is(key, length, "shared_memory_region"))
        return gw_err_set(err, GW_E_NOT_IMPLEMENTED, "tensors are not taken from shared memory");
    if (!key_is(key, length, "binary_data_size"))
        return GW_OK;
    if (given->binary_bytes >= 0)
        return json_refuse(value, err, "given twice");
    enum gw_status status = json_int(value, &given->binary_bytes, err);
    return status == GW_OK && given->binary_bytes < 0 ? json_refuse(value, err, "a negative size") : status;
}

static bool is_told(const struct given *given)
{
    return given->told.name && given->told.datatype && given->told.dims;
}

static enum gw_status read_data(struct decoding *decoding, struct given *given, struct json_value *value,
                                struct gw_err *err)
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

static enum gw_status decode_data(struct decoding *decoding, struct given *given, struct json_value *value,
                                  struct gw_err *err)
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
    struct decoding *decoding;
    struct given *given;
};

static enum gw_status decode_input_member(void *owner, const char *key, size_t length,
                                          struct json_value *value, struct gw_err *err)
{
    struct input_reading *reading = owner;
    struct given *given = reading->given;
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

static enum gw_status end_input(struct decoding *decoding, struct given *given,
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
    struct decoding *decoding = owner;
    if (index >= decoding->request->n_inputs)
        return json_refuse(value, err, "more inputs than the model has");
    struct given *given = &decoding->given[index];
    *given = (struct given){.binary_bytes = -1};
    decoding->n_given = index + 1;
    enum gw_status status =
        json_object(value, decode_input_member, &(struct input_reading){decoding, given}, err);
    return status == GW_OK ? end_input(decoding, given, value, err) : status;
}

/* --- outputs --- */

static enum gw_status decode_output_parameter(void *owner, const char *key, size_t length,
                                              struct json_value *value, struct gw_err *err)
{
    struct decoding *decoding = owner;
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
    struct decoding *decoding;
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
    struct decoding *decoding = owner;
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

static enum gw_status decode_outputs(struct decoding *decoding, struct json_value *value, struct gw_err *err)
{
    struct oip_ask *ask = decoding->ask;
    enum gw_status status = once(&decoding->has_outputs, value, err);
    if (status != GW_OK)
        return status;
    ask->wanted = arena_array(decoding->request->arena, WANTED_MAX, sizeof *ask->wanted);
    ask->says = arena_array(decoding->request->arena, WANTED_MAX, sizeof *ask->says);
    return ask->wanted && ask->says ? json_array(value, decode_output, decoding, err) : no_memory(err);
}

/* --- the document --- */

static enum gw_status decode_id(struct decoding *decoding, struct json_value *value, struct gw_err *err)
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
    struct decoding *decoding = owner;
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
    return is_sticky(decoding, key, length) ? decode_sticky(decoding, value, err) : GW_OK;
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
    struct decoding *decoding = owner;
    struct given *given = &decoding->given[index];
    if (!given->later)
        return GW_OK;
    return json_object(value, decode_late_data, &(struct input_reading){decoding, given}, err);
}

static enum gw_status decode_late_member(void *owner, const char *key, size_t length,
                                         struct json_value *value, struct gw_err *err)
{
    return key_is(key, length, "inputs") ? json_array(value, decode_late_input, owner, err) : GW_OK;
}

static enum gw_status decode_document(struct decoding *decoding, const char *text, size_t length)
{
    struct request *request = decoding->request;
    enum gw_status status =
        json_read(request->infer->json, text, length, decode_member, decoding, &request->err);
    if (status == GW_OK && !decoding->has_inputs)
        return gw_err_set(&request->err, GW_E_INVALID, "the body has no \"inputs\"");
    if (status == GW_OK && decoding->any_later)
        status = json_read(request->infer->json, text, length, decode_late_member, decoding, &request->err);
    return status;
}

/* --- what is behind it --- */

static enum gw_status decode_binary(struct decoding *decoding, const uint8_t *bytes, size_t length)
{
    struct request *request = decoding->request;
    for (uint32_t i = 0; i < decoding->n_given; i++) {
        const struct given *given = &decoding->given[i];
        if (given->binary_bytes < 0)
            continue;
        if ((uint64_t)given->binary_bytes > length)
            return gw_err_set(&request->err, GW_E_INVALID,
                              "input %s: binary_data_size is %" PRId64 ", and %zu bytes are left of the body",
                              given->told.name, given->binary_bytes, length);
        enum gw_status status =
            oip_input_set_bytes(request, given->input, bytes, (size_t)given->binary_bytes);
        if (status != GW_OK)
            return status;
        bytes += given->binary_bytes;
        length -= (size_t)given->binary_bytes;
    }
    if (length)
        return gw_err_set(&request->err, GW_E_INVALID, "%zu bytes of the body belong to no input", length);
    return GW_OK;
}

/* Without a document the shape is as declared, with as many rows as there are bytes for. BYTES are one
 * element. */
static enum gw_status decode_raw(struct decoding *decoding, const uint8_t *bytes, size_t length)
{
    struct request *request = decoding->request;
    const struct signature *signature = request->endpoint->signature;
    const struct tensor_spec *declared = &signature->inputs[0];
    struct oip_told told = {
        .name = declared->name, .datatype = datatype_name(declared->datatype), .dims = declared->dims};
    size_t elements, row_bytes;
    if (signature->n_inputs != 1)
        return gw_err_set(&request->err, GW_E_INVALID,
                          "a body of data alone is for models with one input, and this one has %" PRIu32,
                          signature->n_inputs);
    if (!tensor_row_elements(declared, &elements))
        return gw_err_set(&request->err, GW_E_INVALID,
                          "a body of data alone needs a shape, and input %s leaves sizes open",
                          declared->name);
    memcpy(told.shape, declared->shape, sizeof told.shape);
    told.shape[0] = 1;
    if (declared->datatype == DT_BYTES) {
        uint32_t prefix = (uint32_t)length;
        uint8_t *element =
            length <= UINT32_MAX - sizeof prefix ? arena_alloc(request->arena, length + sizeof prefix) : NULL;
        if (!element)
            return no_memory(&request->err);
        memcpy(element, &prefix, sizeof prefix);
        memcpy(element + sizeof prefix, bytes, length);
        bytes = element;
        length += sizeof prefix;
    } else if (!__builtin_mul_overflow(elements, datatype_bytes(declared->datatype), &row_bytes) &&
               row_bytes) {
        told.shape[0] = (int64_t)(length / row_bytes);
    }
    struct tensor *input;
    decoding->ask->binary = true;
    enum gw_status status = oip_inputs_take(request, &told, &input);
    return status == GW_OK ? oip_input_set_bytes(request, input, bytes, length) : status;
}

static enum gw_status decode_parts(struct decoding *decoding, const char *body, size_t length)
{
    struct oip_ask *ask = decoding->ask;
    size_t json_bytes = ask->has_json_bytes ? ask->json_bytes : length;
    if (json_bytes > length)
        return gw_err_set(&decoding->request->err, GW_E_INVALID,
                          "Inference-Header-Content-Length is %zu, and the body has %zu bytes", json_bytes,
                          length);
    if (ask->has_json_bytes && json_bytes == 0)
        return decode_raw(decoding, (const uint8_t *)body, length);
    enum gw_status status = decode_document(decoding, body, json_bytes);
    return status == GW_OK ? decode_binary(decoding, (const uint8_t *)body + json_bytes, length - json_bytes)
                           : status;
}

static enum gw_status keep_parameters(struct decoding *decoding)
{
    struct request *request = decoding->request;
    struct buf *text = &decoding->parameters;
    if (!text->length)
        return GW_OK;
    buf_text(text, "}");
    request->parameters =
        text->failed ? NULL : (uint8_t *)arena_text(request->arena, text->bytes, text->length);
    request->parameters_bytes = text->length;
    return request->parameters ? GW_OK : no_memory(&request->err);
}

static enum gw_status oip_decode(struct request *request, const char *body, size_t length)
{
    struct decoding decoding = {.request = request, .ask = request->own};
    enum gw_status status = oip_inputs_begin(request);
    if (status != GW_OK)
        return status;
    if (!decoding.ask)
        request->own = decoding.ask = arena_zalloc(request->arena, sizeof *decoding.ask);
    decoding.given = arena_array(request->arena, request->n_inputs, sizeof *decoding.given);
    if (!decoding.ask || !decoding.given)
        return no_memory(&request->err);
    status = decode_parts(&decoding, body, length);
    if (status == GW_OK)
        status = oip_inputs_end(request);
    if (status == GW_OK)
        status = oip_outputs_want(request, decoding.ask->wanted, decoding.ask->n_wanted);
    if (status == GW_OK)
        status = keep_parameters(&decoding);
    buf_clear(&decoding.parameters);
    return status;
}

/* --- outcomes -> body --- */

static void oip_write_error(struct buf *out, enum gw_status status, const char *what)
{
    (void)status;
    buf_text(out, "{\"error\":");
    buf_json_text(out, what, strlen(what));
    buf_text(out, "}");
}

static void write_text_member(struct buf *out, const char *before, const char *text, size_t length)
{
    buf_text(out, before);
    buf_json_text(out, text, length);
}

static uint32_t count_outputs(const struct request *request)
{
    const struct oip_ask *ask = request->own;
    return ask->n_wanted ? ask->n_wanted : answer_outputs(request);
}

static const char *output_name(const struct request *request, uint32_t index)
{
    const struct oip_ask *ask = request->own;
    return ask->n_wanted ? ask->wanted[index] : answer_output_name(request, index);
}

static bool output_is_binary(const struct request *request, uint32_t index)
{
    const struct oip_ask *ask = request->own;
    return ask->n_wanted && ask->says[index] >= 0 ? ask->says[index] : ask->binary;
}

static enum gw_status write_data(struct request *request, const char *name)
{
    struct buf *out = &request->reply;
    buf_text(out, ",\"data\":[");
    for (uint32_t row = 0; row < request->n_rows; row++) {
        uint32_t at;
        struct tensor tensor = *answer_row(request, name, row, &at);
        if (tensor.spec.encoding == TENSOR_JSON) /* BYTES are strings here */
            tensor.spec.encoding = TENSOR_TEXT;
        size_t before = out->length;
        if (row)
            buf_text(out, ",");
        size_t start = out->length;
        enum gw_status status = json_write_elements(out, request->infer->json, &tensor, at);
        if (status != GW_OK)
            return gw_err_set(&request->err, status, "%s", gw_status_words(status));
        if (out->length == start) /* a row of nothing */
            out->length = before;
    }
    buf_text(out, "]");
    return GW_OK;
}

static enum gw_status write_output(struct request *request, uint32_t index)
{
    struct buf *out = &request->reply;
    struct answer_output output;
    const char *name = output_name(request, index);
    enum gw_status status = answer_output(request, name, &output);
    if (status != GW_OK)
        return status;
    write_text_member(out, index ? ",{\"name\":" : "{\"name\":", name, strlen(name));
    buf_printf(out, ",\"datatype\":\"%s\",\"shape\":[", datatype_name(output.spec.datatype));
    for (unsigned i = 0; i < output.spec.dims; i++)
        buf_printf(out, "%s%" PRId64, i ? "," : "", output.spec.shape[i]);
    buf_text(out, "]");
    if (output_is_binary(request, index))
        buf_printf(out, ",\"parameters\":{\"binary_data_size\":%zu}", output.bytes);
    else
        status = write_data(request, name);
    buf_text(out, "}");
    return status;
}

/* An answer that is the endpoint's default says so, and why. */
static void write_parameters(struct request *request)
{
    struct buf *out = &request->reply;
    const struct row_outcome *failed = answer_defaulted(request);
    if (!failed)
        return;
    const char *words = failed->message ? failed->message : gw_status_words(failed->status);
    buf_printf(out, ",\"parameters\":{\"default\":true,\"cause\":\"%s\"", gw_status_cause(failed->status));
    write_text_member(out, ",\"default_explanation\":", words, strlen(words));
    buf_text(out, "}");
}

static enum gw_status write_document(struct request *request)
{
    struct buf *out = &request->reply;
    const struct oip_ask *ask = request->own;
    const char *model = request->endpoint->name;
    const char *version = oip_version_name(request->endpoint, request->version);
    enum gw_status status = GW_OK;
    write_text_member(out, "{\"model_name\":", model, strlen(model));
    write_text_member(out, ",\"model_version\":", version, strlen(version));
    if (ask->id)
        write_text_member(out, ",\"id\":", ask->id, ask->id_length);
    write_parameters(request);
    buf_text(out, ",\"outputs\":[");
    for (uint32_t i = 0; i < count_outputs(request) && status == GW_OK; i++)
        status = write_output(request, i);
    buf_text(out, "]}");
    return status;
}

/* The binary outputs, behind the document. */
static enum gw_status write_binary(struct request *request)
{
    size_t json_bytes = request->reply.length;
    bool any = false;
    for (uint32_t i = 0; i < count_outputs(request); i++) {
        if (!output_is_binary(request, i))
            continue;
        any = true;
        for (uint32_t row = 0; row < request->n_rows; row++) {
            uint32_t at;
            size_t bytes;
            const struct tensor *tensor = answer_row(request, output_name(request, i), row, &at);
            const uint8_t *data = tensor_row(tensor, at, &bytes);
            buf_append(&request->reply, data, bytes);
        }
    }
    if (!any)
        return GW_OK;
    request->reply_type = "application/octet-stream";
    request->reply_headers =
        arena_printf(request->arena, "Inference-Header-Content-Length: %zu\r\n", json_bytes);
    return request->reply_headers ? GW_OK : no_memory(&request->err);
}

/* There is no answer for some rows only: the first that failed fails all. */
static void oip_encode(struct request *request)
{
    enum gw_status status = request->status;
    if (status == GW_OK || status == GW_PARTIAL)
        status = answer_begin(request);
    if (status == GW_OK)
        status = write_document(request);
    if (status == GW_OK)
        status = write_binary(request);
    request->status = status;
    if (status == GW_OK)
        return;
    request->reply.length = 0;
    request->reply_type = request->reply_headers = NULL;
    oip_write_error(&request->reply, status, request->err.what);
}

const struct dialect oip_dialect = {"oip", oip_decode, oip_encode, oip_write_error};
