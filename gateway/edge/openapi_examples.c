/* openapi_examples: zeros and empty texts, where a request of them is small enough to help. */
#include "edge/openapi_examples.h"

#include <inttypes.h>
#include <string.h>

#include "edge/openapi_rows.h"

static void put_zero(struct buf *out, const struct tensor_spec *spec, bool as_text)
{
    bool is_document = spec->datatype == DT_BYTES && spec->encoding == TENSOR_JSON;
    openapi_put(out, "%s",
                is_document                  ? (as_text ? "'null'" : "null")
                : spec->datatype == DT_BYTES ? "''"
                : spec->datatype == DT_BOOL  ? "false"
                                             : "0");
}

/* What is left open is 1. */
static int64_t size_of(const struct tensor_spec *spec, unsigned dim)
{
    return spec->shape[dim] == TENSOR_ANY ? 1 : spec->shape[dim];
}

static void put_zeros(struct buf *out, const struct tensor_spec *spec, unsigned dim, bool as_text)
{
    if (dim == spec->dims) {
        put_zero(out, spec, as_text);
        return;
    }
    buf_text(out, "[");
    for (int64_t i = 0; i < size_of(spec, dim) && !out->failed; i++) {
        buf_text(out, i ? "," : "");
        put_zeros(out, spec, dim + 1, as_text);
    }
    buf_text(out, "]");
}

/* Of more elements an example is no help. */
static bool is_small(const struct signature *signature)
{
    enum { ELEMENTS_MAX = 1024 };
    for (uint32_t i = 0; i < signature->n_inputs; i++) {
        int64_t count = 1;
        for (unsigned dim = 1; dim < signature->inputs[i].dims; dim++)
            if (__builtin_mul_overflow(count, size_of(&signature->inputs[i], dim), &count) ||
                count > ELEMENTS_MAX)
                return false;
    }
    return true;
}

void openapi_put_clipper_example(struct buf *out, const struct config_endpoint *endpoint)
{
    const struct signature *signature = endpoint->signature;
    if (!is_small(signature))
        return;
    openapi_put(out, ",'example':{'input':%s", signature->n_inputs == 1 ? "" : "{");
    for (uint32_t i = 0; i < signature->n_inputs; i++) {
        if (signature->n_inputs > 1) {
            buf_text(out, i ? "," : "");
            buf_json_text(out, signature->inputs[i].name, strlen(signature->inputs[i].name));
            buf_text(out, ":");
        }
        put_zeros(out, &signature->inputs[i], 1, false);
    }
    buf_text(out, signature->n_inputs == 1 ? "}" : "}}");
}

void openapi_put_oip_example(struct buf *out, const struct config_endpoint *endpoint)
{
    const struct signature *signature = endpoint->signature;
    if (!is_small(signature))
        return;
    openapi_put(out, ",'example':{'inputs':[");
    for (uint32_t i = 0; i < signature->n_inputs; i++) {
        const struct tensor_spec *spec = &signature->inputs[i];
        openapi_put(out, "%s{'name':", i ? "," : "");
        buf_json_text(out, spec->name, strlen(spec->name));
        openapi_put(out, ",'datatype':'%s','shape':[1", datatype_name(spec->datatype));
        for (unsigned dim = 1; dim < spec->dims; dim++)
            buf_printf(out, ",%" PRId64, size_of(spec, dim));
        openapi_put(out, "],'data':[");
        put_zeros(out, spec, 1, true);
        buf_text(out, "]}");
    }
    buf_text(out, "]}");
}
