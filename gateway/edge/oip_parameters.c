/* oip_parameters: whose a parameter is, and those that every OIP dialect takes alike. */
#include "edge/oip_parameters.h"

#include <string.h>

static bool name_is(const char *name, size_t length, const char *other)
{
    return length == strlen(other) && memcmp(name, other, length) == 0;
}

enum oip_parameter oip_parameter_of(const struct request *request, const char *name, size_t length)
{
    static const struct {
        const char *name;
        enum oip_parameter is;
    } known[] = {
        {"binary_data_output", OIP_BINARY},  {"timeout", OIP_TIMEOUT},          {"sequence_id", OIP_SEQUENCE},
        {"sequence_start", OIP_PASSED_OVER}, {"sequence_end", OIP_PASSED_OVER}, {"priority", OIP_PASSED_OVER},
        {"headers", OIP_PASSED_OVER},
    };
    const struct config_sticky *sticky = &request->endpoint->sticky;
    if (sticky->kind == STICKY_FIELD && name_is(name, length, sticky->name))
        return OIP_STICKY;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (name_is(name, length, known[i].name))
            return known[i].is;
    return length >= 7 && memcmp(name, "triton_", 7) == 0 ? OIP_PASSED_OVER : OIP_MODELS;
}

bool oip_take_timeout(struct request *request, int64_t timeout_us)
{
    uint64_t deadline_us;
    if (timeout_us < 0)
        return false;
    if (timeout_us && !__builtin_add_overflow(request->received_us, (uint64_t)timeout_us, &deadline_us) &&
        deadline_us < request->deadline_us)
        request->deadline_us = deadline_us;
    return true;
}

enum gw_status oip_refuse_sequence(struct gw_err *err)
{
    return gw_err_set(err, GW_E_NOT_IMPLEMENTED, "sequences are not kept: every request stands alone");
}

void oip_parameters_name(struct buf *parameters, const char *name, size_t length)
{
    buf_text(parameters, parameters->length ? "," : "{");
    buf_json_text(parameters, name, length);
    buf_text(parameters, ":");
}

enum gw_status oip_parameters_keep(struct request *request, struct buf *parameters)
{
    if (!parameters->length && !parameters->failed)
        return GW_OK;
    buf_text(parameters, "}");
    request->parameters = parameters->failed
                              ? NULL
                              : (uint8_t *)arena_text(request->arena, parameters->bytes, parameters->length);
    request->parameters_bytes = parameters->length;
    buf_clear(parameters);
    return request->parameters
               ? GW_OK
               : gw_err_set(&request->err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
}
