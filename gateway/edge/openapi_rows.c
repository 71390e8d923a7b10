/* openapi_rows: elements, then rows of them, then all rows of an endpoint. */
#include "edge/openapi_rows.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PUT_MAX = 4096 };

void openapi_put(struct buf *out, const char *format, ...)
{
    char text[PUT_MAX];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length < 0 || length >= PUT_MAX) {
        out->failed = true;
        return;
    }
    for (char *at = text; (at = strchr(at, '\'')); at++)
        *at = '"';
    buf_append(out, text, (size_t)length);
}

void openapi_put_member(struct buf *out, const struct config_endpoint *endpoint, const char *what)
{
    openapi_put(out, ",'%s.%s':", endpoint->name, what);
}

/* --- elements --- */

#define BASE64                                                                                               \
    "'type':'string','contentEncoding':'base64','pattern':'^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|"      \
    "[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$'"
#define B64                                                                                                  \
    "{'type':'object','required':['b64'],'properties':{'b64':{" BASE64 "}},'additionalProperties':false}"
#define REAL(bounds) "{'anyOf':[{'type':'number'" bounds "},{'enum':['NaN','Infinity','-Infinity']}]}"
/* What is at least so large would be rounded to infinity. */
#define BELOW(bound) ",'exclusiveMinimum':-" bound ",'exclusiveMaximum':" bound

static const char *const elements[DT_COUNT] = {
    [DT_BOOL] = "{'enum':[true,false,0,1]}",
    [DT_UINT8] = OPENAPI_WHOLE("0", "255"),
    [DT_UINT16] = OPENAPI_WHOLE("0", "65535"),
    [DT_UINT32] = OPENAPI_WHOLE("0", "4294967295"),
    [DT_UINT64] = OPENAPI_WHOLE("0", "18446744073709551615"),
    [DT_INT8] = OPENAPI_WHOLE("-128", "127"),
    [DT_INT16] = OPENAPI_WHOLE("-32768", "32767"),
    [DT_INT32] = OPENAPI_WHOLE("-2147483648", "2147483647"),
    [DT_INT64] = OPENAPI_WHOLE("-9223372036854775808", "9223372036854775807"),
    [DT_FP16] = REAL(BELOW("65520")),
    [DT_FP32] = REAL(",'minimum':-3.4028235677973366e38,'maximum':3.4028235677973366e38"),
    [DT_FP64] = REAL(""),
    [DT_BF16] = REAL(BELOW("3.3961775292304601e38")),
};

static const char *element_name(const struct tensor_spec *spec)
{
    static const char *const names[] = {
        [TENSOR_TEXT] = "Text", [TENSOR_BASE64] = "Base64", [TENSOR_JSON] = "Document"};
    return spec->datatype == DT_BYTES ? names[spec->encoding] : datatype_name(spec->datatype);
}

void openapi_put_elements(struct buf *out)
{
    for (int i = DT_INVALID + 1; i < DT_COUNT; i++)
        if (elements[i]) {
            openapi_put(out, "'%s':", datatype_name((enum datatype)i));
            openapi_put(out, "%s", elements[i]);
            buf_text(out, ",");
        }
    openapi_put(out, "'Text':{'anyOf':[{'type':'string'}," B64 "]},");
    openapi_put(out, "'Base64':{'anyOf':[{" BASE64 "}," B64 "]},'Document':{}");
}

void openapi_put_element(struct buf *out, const struct tensor_spec *spec)
{
    openapi_put(out, "{'$ref':'#/components/schemas/%s'}", element_name(spec));
}

/* --- rows --- */

/* A list of lists, as the sizes from `dim` on say. */
void openapi_put_nested(struct buf *out, const struct tensor_spec *spec, unsigned dim)
{
    if (dim == spec->dims) {
        openapi_put_element(out, spec);
        return;
    }
    openapi_put(out, "{'type':'array',");
    if (spec->shape[dim] != TENSOR_ANY)
        openapi_put(out, "'minItems':%" PRId64 ",'maxItems':%" PRId64 ",", spec->shape[dim],
                    spec->shape[dim]);
    openapi_put(out, "'items':");
    openapi_put_nested(out, spec, dim + 1);
    buf_text(out, "}");
}

static unsigned open_sizes(const struct tensor_spec *spec)
{
    unsigned open = 0;
    for (unsigned i = 1; i < spec->dims; i++)
        open += spec->shape[i] == TENSOR_ANY;
    return open;
}

static void put_flat(struct buf *out, const struct tensor_spec *spec, size_t count)
{
    openapi_put(out, "{'type':'array',");
    if (count != SIZE_MAX)
        openapi_put(out, "'minItems':%zu,'maxItems':%zu,", count, count);
    openapi_put(out, "'items':");
    openapi_put_element(out, spec);
    buf_text(out, "}");
}

/* In all the forms that json_append_row() takes. */
void openapi_put_row(struct buf *out, const struct tensor_spec *spec)
{
    size_t count;
    bool is_document = spec->datatype == DT_BYTES && spec->encoding == TENSOR_JSON;
    bool is_known = tensor_row_elements(spec, &count);
    openapi_put(out, "{'anyOf':[");
    openapi_put_nested(out, spec, 1);
    if (!is_document && is_known && count == 1 && spec->dims > 1) {
        buf_text(out, ",");
        openapi_put_element(out, spec);
    }
    if (!is_document && (spec->dims > 2 || spec->dims == 1) && open_sizes(spec) <= 1) {
        buf_text(out, ",");
        put_flat(out, spec, is_known ? count : SIZE_MAX);
    }
    buf_text(out, "]}");
}

static void put_rows(struct buf *out, const struct tensor_spec *spec)
{
    openapi_put(out, "{'type':'array','minItems':1,'items':");
    openapi_put_row(out, spec);
    buf_text(out, "}");
}

static void put_answer(struct buf *out, const struct tensor_spec *spec)
{
    openapi_put_nested(out, spec, 1);
}

/* An object of all of them, by name; put: one. */
static void put_by_name(struct buf *out, const struct tensor_spec *specs, uint32_t n,
                        void put(struct buf *out, const struct tensor_spec *spec))
{
    openapi_put(out, "{'type':'object','additionalProperties':false,'required':[");
    for (uint32_t i = 0; i < n; i++) {
        buf_text(out, i ? "," : "");
        buf_json_text(out, specs[i].name, strlen(specs[i].name));
    }
    openapi_put(out, "],'properties':{");
    for (uint32_t i = 0; i < n; i++) {
        buf_text(out, i ? "," : "");
        buf_json_text(out, specs[i].name, strlen(specs[i].name));
        buf_text(out, ":");
        put(out, &specs[i]);
    }
    buf_text(out, "}}");
}

/* --- rows of an endpoint --- */

void openapi_put_rows_of(struct buf *out, const struct config_endpoint *endpoint)
{
    const struct signature *signature = endpoint->signature;
    const struct tensor_spec *inputs = signature->inputs;
    bool is_only = signature->n_inputs == 1;
    bool is_document = is_only && inputs[0].datatype == DT_BYTES && inputs[0].encoding == TENSOR_JSON;
    openapi_put_member(out, endpoint, "Row");
    if (is_only)
        openapi_put_row(out, &inputs[0]);
    else
        put_by_name(out, inputs, signature->n_inputs, openapi_put_row);
    openapi_put_member(out, endpoint, "Instance");
    openapi_put(out, "{'anyOf':[{'$ref':'#/components/schemas/%s.Row'}", endpoint->name);
    if (is_only && !is_document) {
        buf_text(out, ",");
        put_by_name(out, inputs, 1, openapi_put_row);
    }
    buf_text(out, "]}");
    openapi_put_member(out, endpoint, "Columns");
    openapi_put(out, "{'anyOf':[");
    put_by_name(out, inputs, signature->n_inputs, put_rows);
    if (is_only) {
        buf_text(out, ",");
        put_rows(out, &inputs[0]);
    }
    buf_text(out, "]}");
    openapi_put_member(out, endpoint, "Answer");
    if (signature->n_outputs == 1)
        put_answer(out, &signature->outputs[0]);
    else if (signature->n_outputs)
        put_by_name(out, signature->outputs, signature->n_outputs, put_answer);
    else
        buf_text(out, "{}");
}
