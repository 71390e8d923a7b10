/* openapi_schemas: elements, then rows of them, then the bodies that rows are in. */
#include "edge/openapi_schemas.h"

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

/* --- elements --- */

#define BASE64                                                                                               \
    "'type':'string','contentEncoding':'base64','pattern':'^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|"      \
    "[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$'"
#define B64                                                                                                  \
    "{'type':'object','required':['b64'],'properties':{'b64':{" BASE64 "}},'additionalProperties':false}"
#define WHOLE(least, most) "{'type':'integer','minimum':" least ",'maximum':" most "}"
#define REAL(bounds)       "{'anyOf':[{'type':'number'" bounds "},{'enum':['NaN','Infinity','-Infinity']}]}"
/* Text, or a number that stands for it. */
#define WORD "{'anyOf':[{'type':['string','null']}," WHOLE("-9223372036854775808", "9223372036854775807") "]}"
/* What is at least so large would be rounded to infinity. */
#define BELOW(bound) ",'exclusiveMinimum':-" bound ",'exclusiveMaximum':" bound

static const char *const elements[DT_COUNT] = {
    [DT_BOOL] = "{'enum':[true,false,0,1]}",
    [DT_UINT8] = WHOLE("0", "255"),
    [DT_UINT16] = WHOLE("0", "65535"),
    [DT_UINT32] = WHOLE("0", "4294967295"),
    [DT_UINT64] = WHOLE("0", "18446744073709551615"),
    [DT_INT8] = WHOLE("-128", "127"),
    [DT_INT16] = WHOLE("-32768", "32767"),
    [DT_INT32] = WHOLE("-2147483648", "2147483647"),
    [DT_INT64] = WHOLE("-9223372036854775808", "9223372036854775807"),
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

static void put_elements(struct buf *out)
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

static void put_ref(struct buf *out, const char *name)
{
    openapi_put(out, "{'$ref':'#/components/schemas/%s'}", name);
}

/* --- rows --- */

/* A list of lists, as the sizes from `dim` on say. */
static void put_nested(struct buf *out, const struct tensor_spec *spec, unsigned dim)
{
    if (dim == spec->dims) {
        put_ref(out, element_name(spec));
        return;
    }
    openapi_put(out, "{'type':'array',");
    if (spec->shape[dim] != TENSOR_ANY)
        openapi_put(out, "'minItems':%" PRId64 ",'maxItems':%" PRId64 ",", spec->shape[dim],
                    spec->shape[dim]);
    openapi_put(out, "'items':");
    put_nested(out, spec, dim + 1);
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
    put_ref(out, element_name(spec));
    buf_text(out, "}");
}

/* In all the forms that json_append_row() takes. */
static void put_row(struct buf *out, const struct tensor_spec *spec)
{
    size_t count;
    bool is_document = spec->datatype == DT_BYTES && spec->encoding == TENSOR_JSON;
    bool is_known = tensor_row_elements(spec, &count);
    openapi_put(out, "{'anyOf':[");
    put_nested(out, spec, 1);
    if (!is_document && is_known && count == 1 && spec->dims > 1) {
        buf_text(out, ",");
        put_ref(out, element_name(spec));
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
    put_row(out, spec);
    buf_text(out, "}");
}

static void put_answer(struct buf *out, const struct tensor_spec *spec)
{
    put_nested(out, spec, 1);
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

static void put_member(struct buf *out, const struct config_endpoint *endpoint, const char *what)
{
    openapi_put(out, ",'%s.%s':", endpoint->name, what);
}

/* Row, Instance, Columns, Answer. */
static void put_rows_of(struct buf *out, const struct config_endpoint *endpoint)
{
    const struct signature *signature = endpoint->signature;
    const struct tensor_spec *inputs = signature->inputs;
    bool is_only = signature->n_inputs == 1;
    bool is_document = is_only && inputs[0].datatype == DT_BYTES && inputs[0].encoding == TENSOR_JSON;
    put_member(out, endpoint, "Row");
    if (is_only)
        put_row(out, &inputs[0]);
    else
        put_by_name(out, inputs, signature->n_inputs, put_row);
    put_member(out, endpoint, "Instance");
    openapi_put(out, "{'anyOf':[{'$ref':'#/components/schemas/%s.Row'}", endpoint->name);
    if (is_only && !is_document) {
        buf_text(out, ",");
        put_by_name(out, inputs, 1, put_row);
    }
    buf_text(out, "]}");
    put_member(out, endpoint, "Columns");
    openapi_put(out, "{'anyOf':[");
    put_by_name(out, inputs, signature->n_inputs, put_rows);
    if (is_only) {
        buf_text(out, ",");
        put_rows(out, &inputs[0]);
    }
    buf_text(out, "]}");
    put_member(out, endpoint, "Answer");
    if (signature->n_outputs == 1)
        put_answer(out, &signature->outputs[0]);
    else if (signature->n_outputs)
        put_by_name(out, signature->outputs, signature->n_outputs, put_answer);
    else
        buf_text(out, "{}");
}

/* --- names --- */

static bool is_first(const struct config_endpoint *endpoint, uint32_t arm)
{
    for (uint32_t i = 0; i < arm; i++)
        if (!strcmp(endpoint->arms[i].version->name, endpoint->arms[arm].version->name))
            return false;
    return true;
}

static void put_names(struct buf *out, const struct config_endpoint *endpoint)
{
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        const struct config_version *version = endpoint->arms[i].version;
        if (is_first(endpoint, i))
            openapi_put(out, "%s'%s'", i ? "," : "", version->name);
        openapi_put(out, ",'%s'", version->full_name);
    }
}

void openapi_put_version_names(struct buf *out, const struct config_endpoint *endpoint)
{
    openapi_put(out, "{'type':'string','enum':[");
    put_names(out, endpoint);
    buf_text(out, "]}");
}

static bool is_number(const char *name)
{
    return name[0] != '0' && name[strspn(name, "0123456789")] == '\0' && strlen(name) < 16;
}

/* In a body a version whose name is a number may be one, and null says nothing. */
static void put_words_for_version(struct buf *out, const struct config_endpoint *endpoint)
{
    openapi_put(out, "{'enum':[");
    put_names(out, endpoint);
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        if (is_first(endpoint, i) && is_number(endpoint->arms[i].version->name))
            openapi_put(out, ",%s", endpoint->arms[i].version->name);
    buf_text(out, ",null]}");
}

/* What tells clients apart, where that lies in the body. */
static void put_sticky(struct buf *out, const struct config_endpoint *endpoint)
{
    if (endpoint->sticky.kind != STICKY_FIELD)
        return;
    buf_text(out, ",");
    buf_json_text(out, endpoint->sticky.name, strlen(endpoint->sticky.name));
    openapi_put(out, ":" WORD);
}

/* --- Clipper --- */

static void put_clipper(struct buf *out, const struct config_endpoint *endpoint, uint32_t rows)
{
    const char *name = endpoint->name;
    put_member(out, endpoint, "ClipperRequest");
    openapi_put(out,
                "{'type':'object','oneOf':[{'required':['input']},{'required':['input_batch']}],'properties':"
                "{'input':{'$ref':'#/components/schemas/%s.Row'},'input_batch':{'type':'array','minItems':1,"
                "'maxItems':%" PRIu32 ",'items':{'$ref':'#/components/schemas/%s.Row'}},'version':",
                name, rows, name);
    put_words_for_version(out, endpoint);
    put_sticky(out, endpoint);
    buf_text(out, "}}");
    put_member(out, endpoint, "ClipperPrediction");
    openapi_put(out,
                "{'type':'object','required':['query_id','output','default'],'properties':{'query_id':"
                "{'type':'integer'},'output':{'$ref':'#/components/schemas/%s.Answer'},'default':{'type':"
                "'boolean'},'default_explanation':{'type':'string'},'cause':{'type':'string'},'model':"
                "{'type':'string'}}}",
                name);
    put_member(out, endpoint, "ClipperBatch");
    openapi_put(out,
                "{'type':'object','required':['batch_predictions'],'properties':{'batch_predictions':"
                "{'type':'array','items':{'anyOf':[{'$ref':'#/components/schemas/%s.ClipperPrediction'},"
                "{'$ref':'#/components/schemas/ClipperFailure'}]}}}}",
                name);
    put_member(out, endpoint, "ClipperReply");
    openapi_put(out,
                "{'oneOf':[{'$ref':'#/components/schemas/%s.ClipperPrediction'},{'$ref':"
                "'#/components/schemas/%s.ClipperBatch'}]}",
                name, name);
}

/* --- OIP --- */

/* Rows first, and then as declared. */
static void put_shape(struct buf *out, const struct tensor_spec *spec, uint32_t rows)
{
    openapi_put(out,
                "{'type':'array','minItems':%u,'maxItems':%u,'prefixItems':[{'type':'integer','minimum':"
                "1,'maximum':%" PRIu32 "}",
                spec->dims, spec->dims, rows);
    for (unsigned i = 1; i < spec->dims; i++)
        if (spec->shape[i] == TENSOR_ANY)
            openapi_put(out, ",{'type':'integer','minimum':0}");
        else
            openapi_put(out, ",{'const':%" PRId64 "}", spec->shape[i]);
    buf_text(out, "]}");
}

/* BYTES are strings here, whatever is in them. */
static struct tensor_spec as_text(const struct tensor_spec *spec)
{
    struct tensor_spec text = *spec;
    if (text.encoding == TENSOR_JSON)
        text.encoding = TENSOR_TEXT;
    return text;
}

static void put_oip_input(struct buf *out, const struct tensor_spec *spec, uint32_t rows)
{
    struct tensor_spec text = as_text(spec);
    openapi_put(out, "{'type':'object','required':['name','datatype','shape','data'],'properties':{'name':{"
                     "'const':");
    buf_json_text(out, spec->name, strlen(spec->name));
    openapi_put(out, "},'datatype':{'const':'%s'},'parameters':{'type':'object'},'shape':",
                datatype_name(spec->datatype));
    put_shape(out, spec, rows);
    openapi_put(out, ",'data':{'type':'array','items':{'anyOf':[");
    put_nested(out, &text, 1);
    if (spec->dims > 1) {
        buf_text(out, ",");
        put_ref(out, element_name(&text));
    }
    buf_text(out, "]}}}}");
}

static void put_oip_output_names(struct buf *out, const struct signature *signature)
{
    if (!signature->n_outputs) {
        openapi_put(out, "{'type':'string'}");
        return;
    }
    openapi_put(out, "{'enum':[");
    for (uint32_t i = 0; i < signature->n_outputs; i++) {
        buf_text(out, i ? "," : "");
        buf_json_text(out, signature->outputs[i].name, strlen(signature->outputs[i].name));
    }
    buf_text(out, "]}");
}

static void put_oip(struct buf *out, const struct config_endpoint *endpoint, uint32_t rows)
{
    const struct signature *signature = endpoint->signature;
    put_member(out, endpoint, "OipRequest");
    openapi_put(out,
                "{'type':'object','required':['inputs'],'properties':{'id':{'type':['string','null']},"
                "'parameters':{'type':'object','properties':{'timeout':{'type':'integer','minimum':0,"
                "'maximum':9223372036854775807},'binary_data_output':{'type':'boolean'}}},'outputs':{'type':"
                "'array','maxItems':256,'items':{'type':'object','required':['name'],'properties':{'name':");
    put_oip_output_names(out, signature);
    openapi_put(out,
                ",'parameters':{'type':'object','properties':{'binary_data':{'type':'boolean'}}}}}},'inputs':"
                "{'type':'array','minItems':%" PRIu32 ",'maxItems':%" PRIu32 ",'items':{'anyOf':[",
                signature->n_inputs, signature->n_inputs);
    for (uint32_t i = 0; i < signature->n_inputs; i++) {
        buf_text(out, i ? "," : "");
        put_oip_input(out, &signature->inputs[i], rows);
    }
    buf_text(out, "]}}");
    put_sticky(out, endpoint);
    buf_text(out, "}}");
    put_member(out, endpoint, "OipReply");
    openapi_put(
        out,
        "{'type':'object','required':['model_name','model_version','outputs'],'properties':"
        "{'model_name':{'const':'%s'},'model_version':{'type':'string'},'id':{'type':'string'},"
        "'parameters':{'type':'object'},'outputs':{'type':'array','items':{'type':'object','required':"
        "['name','datatype','shape'],'properties':{'name':",
        endpoint->name);
    put_oip_output_names(out, signature);
    openapi_put(out, ",'datatype':{'type':'string'},'shape':{'type':'array','items':{'type':'integer'}},"
                     "'parameters':{'type':'object'},'data':{'type':'array'}}}}}}");
}

/* --- TensorFlow Serving --- */

#define DEFAULTED      "'default':{'const':true},'cause':{'type':'string'}"
#define INSTANCES      "{'type':'array','minItems':1,'items':{'$ref':'#/components/schemas/%s.Instance'}}"
#define SIGNATURE_NAME "'signature_name':{'enum':['serving_default','',null]}"

static void put_tfs(struct buf *out, const struct config_endpoint *endpoint)
{
    const char *name = endpoint->name;
    put_member(out, endpoint, "TfsRequest");
    openapi_put(out,
                "{'type':'object','oneOf':[{'required':['instances']},{'required':['inputs']}],'properties':"
                "{" SIGNATURE_NAME ",'instances':" INSTANCES
                ",'inputs':{'$ref':'#/components/schemas/%s.Columns'}",
                name, name);
    put_sticky(out, endpoint);
    buf_text(out, "}}");
    put_member(out, endpoint, "TfsExamples");
    openapi_put(out,
                "{'type':'object','required':['examples'],'properties':{" SIGNATURE_NAME
                ",'examples':" INSTANCES,
                name);
    put_sticky(out, endpoint);
    buf_text(out, "}}");
    put_member(out, endpoint, "TfsReply");
    openapi_put(
        out,
        "{'type':'object','oneOf':[{'required':['predictions']},{'required':['outputs']}],"
        "'properties':{'predictions':{'type':'array','items':{'$ref':'#/components/schemas/%s.Answer'}"
        "},'outputs':{'type':['array','object']}," DEFAULTED "}}",
        name);
}

/* --- MLflow --- */

/* Whether the columns of a data frame are together the row of the only input. */
static bool columns_are_a_row(const struct signature *signature)
{
    return signature->n_inputs == 1 && signature->inputs[0].dims == 2;
}

static void put_data_frame(struct buf *out, const struct config_endpoint *endpoint)
{
    const struct signature *signature = endpoint->signature;
    uint32_t n = signature->n_inputs;
    openapi_put(out, "{'type':'object','required':['columns','data'],'properties':{'columns':{'type':'array',"
                     "'maxItems':4096,'items':");
    if (columns_are_a_row(signature)) {
        openapi_put(out,
                    WORD "},'data':{'type':'array','minItems':1,'items':"
                         "{'$ref':'#/components/schemas/%s.Row'}}}}",
                    endpoint->name);
        return;
    }
    put_oip_output_names(out, &(struct signature){.outputs = signature->inputs, .n_outputs = n});
    openapi_put(out,
                ",'minItems':%" PRIu32 "},'data':{'type':'array','minItems':1,'items':{'type':'array',"
                "'minItems':%" PRIu32 ",'maxItems':%" PRIu32 ",'items':{'anyOf':[",
                n, n, n);
    for (uint32_t i = 0; i < n; i++) {
        buf_text(out, i ? "," : "");
        put_row(out, &signature->inputs[i]);
    }
    buf_text(out, "]}}}}}");
}

static void put_mlflow(struct buf *out, const struct config_endpoint *endpoint)
{
    const char *name = endpoint->name;
    put_member(out, endpoint, "MlflowRequest");
    openapi_put(out, "{'type':'object','oneOf':[{'required':['dataframe_split']},{'required':"
                     "['dataframe_records']},{'required':['instances']},{'required':['inputs']}],'properties'"
                     ":{'dataframe_split':");
    put_data_frame(out, endpoint);
    openapi_put(out,
                ",'dataframe_records':" INSTANCES ",'instances':" INSTANCES
                ",'inputs':{'$ref':'#/components/schemas/%s.Columns'},'params':{'type':['object','null']}",
                name, name, name);
    put_sticky(out, endpoint);
    buf_text(out, "}}");
    put_member(out, endpoint, "MlflowReply");
    openapi_put(out,
                "{'type':'object','required':['predictions'],'properties':{'predictions':{'type':'array',"
                "'items':{'$ref':'#/components/schemas/%s.Answer'}}," DEFAULTED "}}",
                name);
}

/* --- all of them --- */

#define TENSORS                                                                                              \
    "{'type':'array','items':{'type':'object','required':['name','datatype','shape'],'properties':{'name':"  \
    "{'type':'string'},'datatype':{'type':'string'},'shape':{'type':'array','items':{'type':'integer'}}}}}"
#define TEXTS "{'type':'array','items':{'type':'string'}}"
#define OBJECT(required, properties)                                                                         \
    "{'type':'object','required':[" required "],'properties':{" properties "}}"
#define LIST(items) "{'type':'array','items':" items "}"

static const struct {
    const char *name, *schema;
} generals[] = {
    {"ClipperFailure",
     OBJECT("'query_id','error','cause'", "'query_id':{'type':'integer'},'error':{'type':"
                                          "'string'},'cause':{'type':'string'},'model':{'type':'string'}")},
    {"ClipperError", OBJECT("'error','cause'", "'error':{'type':'string'},'cause':{'type':'string'}")},
    {"OipError", OBJECT("'error'", "'error':{'type':'string'}")},
    {"TfsError", OBJECT("'error'", "'error':{'type':'string'}")},
    {"MlflowError", OBJECT("'error_code','message'", "'error_code':{'type':'string'},'message':{'type':"
                                                     "'string'}")},
    {"OipServer", OBJECT("'name','version','extensions'", "'name':{'const':'xebec'},'version':{'type':"
                                                          "'string'},'extensions':" TEXTS)},
    {"OipHealth", OBJECT("'live','ready'", "'live':{'type':'boolean'},'ready':{'type':'boolean'}")},
    {"OipModels", OBJECT("'models'", "'models':" TEXTS)},
    {"OipModel", OBJECT("'name','versions','platform','inputs','outputs'",
                        "'name':{'type':'string'},"
                        "'versions':" TEXTS ",'platform':{'const':'xebec_worker'},'inputs':" TENSORS
                        ",'outputs':" TENSORS)},
    {"OipReady", OBJECT("'name','ready'", "'name':{'type':'string'},'ready':{'type':'boolean'}")},
    {"OipConfig",
     OBJECT("'name','platform','max_batch_size','input','output'",
            "'name':{'type':'string'},"
            "'platform':{'const':'xebec_worker'},'max_batch_size':{'type':'integer'},'input':" LIST(
                "{'type':'object'}") ",'output':" LIST("{'type':'object'}"))},
    {"OipStatistics",
     OBJECT("'model_stats'",
            "'model_stats':" LIST(
                OBJECT("'name','version','last_inference',"
                       "'inference_count','execution_count','inference_stats','batch_stats'",
                       "'last_inference':{'type':'integer'},'inference_count':{'type':'integer'},"
                       "'execution_count':{'type':'integer'},'inference_stats':{'type':'object',"
                       "'additionalProperties':" OBJECT("'count','ns'", "'count':{'type':'integer'},'ns':"
                                                                        "{'type':'integer'}") "}")))},
    {"OipIndexRequest", "{'type':'object','properties':{'ready':{'type':'boolean'}}}"},
    {"OipIndex",
     LIST(OBJECT("'name','version','state','reason'",
                 "'name':{'type':'string'},'version':{'type':"
                 "'string'},'state':{'enum':['READY','UNAVAILABLE']},'reason':{'type':'string'}"))},
    {"TfsStatus", OBJECT("'model_version_status','name','ready'",
                         "'name':{'type':'string'},'ready':{'type':"
                         "'boolean'},'model_version_status':" LIST(OBJECT(
                             "'version','state','status'",
                             "'version':{'type':'string'},'state':{'enum':['AVAILABLE','LOADING']},'status':"
                             "{'type':'object'}")))},
    {"TfsMetadata", OBJECT("'model_spec','metadata'", "'model_spec':{'type':'object'},'metadata':{'type':"
                                                      "'object'}")},
    {"TfsClasses", OBJECT("'results'", "'results':" LIST(LIST(
                                           "{'type':'array','minItems':2,'maxItems':2}")) "," DEFAULTED)},
    {"TfsRegressions", OBJECT("'results'", "'results':" LIST("{'type':['number','string']}") "," DEFAULTED)},
    {"OpenApi", OBJECT("'openapi','info','paths'", "'openapi':{'type':'string'},'info':{'type':'object'},"
                                                   "'paths':{'type':'object'}")},
};

void openapi_put_schemas(struct buf *out, const struct config *config)
{
    put_elements(out);
    for (size_t i = 0; i < sizeof generals / sizeof *generals; i++) {
        openapi_put(out, ",'%s':", generals[i].name);
        openapi_put(out, "%s", generals[i].schema);
    }
    for (uint32_t i = 0; i < config->n_endpoints; i++) {
        const struct config_endpoint *endpoint = config->endpoints[i];
        put_rows_of(out, endpoint);
        put_clipper(out, endpoint, config->limits.rows);
        put_oip(out, endpoint, config->limits.rows);
        put_tfs(out, endpoint);
    }
    if (config->mlflow)
        put_mlflow(out, config->mlflow);
}

/* --- examples --- */

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
