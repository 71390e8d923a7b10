/* oip_grpc_parameters: entries, what is done with each, and those of replies. */
#include "edge/oip_grpc_parameters.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "edge/oip_grpc.h"
#include "edge/oip_parameters.h"

enum { ENTRY_NAME = 1, ENTRY_VALUE };
enum { VALUE_BOOL = 1, VALUE_INT64, VALUE_STRING, VALUE_DOUBLE, VALUE_UINT64 };

/* --- an entry --- */

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
    return wire.malformed ? oip_grpc_unreadable(err, "a parameter's value") : GW_OK;
}

static enum gw_status read_parameter(struct parameter *parameter, const struct wire_field *entry,
                                     struct gw_err *err)
{
    struct wire wire = wire_of(entry->bytes, entry->length);
    struct wire_field field;
    enum gw_status status = entry->type == WIRE_BYTES ? GW_OK : oip_grpc_unreadable(err, "a parameter");
    *parameter = (struct parameter){.name.bytes = (const uint8_t *)""};
    while (status == GW_OK && wire_next(&wire, &field)) {
        if (field.number <= ENTRY_VALUE && field.type != WIRE_BYTES)
            wire.malformed = true;
        else if (field.number == ENTRY_NAME)
            parameter->name = field;
        else if (field.number == ENTRY_VALUE)
            status = read_value(&parameter->value, &field, err);
    }
    if (status != GW_OK || wire.malformed)
        return status == GW_OK ? oip_grpc_unreadable(err, "a parameter") : status;
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

/* --- what is done with it --- */

static double value_double(const struct wire_field *value)
{
    double number;
    memcpy(&number, &value->value, sizeof number);
    return number;
}

/* As it would stand in OIP's JSON, so that both carriers' requests share answers. */
static enum gw_status pass_on(const struct parameter *parameter, struct buf *out, struct gw_err *err)
{
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
            return gw_err_set(err, GW_E_INVALID, "a parameter is not a finite number");
        buf_printf(out, "%.17g", value_double(value));
        break;
    case VALUE_STRING:
        buf_json_text(out, (const char *)value->bytes, value->length);
        break;
    default:
        buf_text(out, "null");
    }
    return out->failed ? gw_err_no_memory(err) : GW_OK;
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
    return request->sticky ? GW_OK : gw_err_no_memory(&request->err);
}

static bool is_nothing(const struct wire_field *value)
{
    bool is_zero = value->number == VALUE_STRING && value->length == 1 && value->bytes[0] == '0';
    return is_zero || (!value->length && !value->value);
}

enum gw_status oip_grpc_parameter_take(struct request *request, const struct wire_field *entry,
                                       struct buf *models)
{
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
        return pass_on(&parameter, models, &request->err);
    case OIP_BINARY:
    case OIP_PASSED_OVER:
        break;
    }
    return GW_OK;
}

enum gw_status oip_grpc_parameter_of_tensor(const struct wire_field *entry, struct gw_err *err)
{
    struct parameter parameter;
    enum gw_status status = read_parameter(&parameter, entry, err);
    if (status == GW_OK && name_is(&parameter, "shared_memory_region"))
        return gw_err_set(err, GW_E_NOT_IMPLEMENTED, "tensors are not exchanged by shared memory");
    if (status == GW_OK && name_is(&parameter, "classification"))
        return gw_err_set(err, GW_E_NOT_IMPLEMENTED, "outputs are not turned into classes");
    return status;
}

/* --- of replies --- */

void oip_grpc_parameter_put_text(struct buf *out, uint32_t field, const char *name, const char *text)
{
    size_t entry = wire_open(out, field);
    wire_put_text(out, ENTRY_NAME, name);
    size_t value = wire_open(out, ENTRY_VALUE);
    wire_put_text(out, VALUE_STRING, text);
    wire_close(out, value);
    wire_close(out, entry);
}

void oip_grpc_parameter_put_true(struct buf *out, uint32_t field, const char *name)
{
    size_t entry = wire_open(out, field);
    wire_put_text(out, ENTRY_NAME, name);
    size_t value = wire_open(out, ENTRY_VALUE);
    wire_put_number(out, VALUE_BOOL, true);
    wire_close(out, value);
    wire_close(out, entry);
}
