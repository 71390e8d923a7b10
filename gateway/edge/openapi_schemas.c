/* openapi_schemas: the bodies that rows are in, dialect by dialect. */
#include "edge/openapi_schemas.h"

#include <inttypes.h>
#include <string.h>

#include "edge/openapi_rows.h"

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
    openapi_put(out, ":" OPENAPI_WORD);
}

/* --- Clipper --- */

static void put_clipper(struct buf *out, const struct config_endpoint *endpoint, uint32_t rows)
{
    const char *name = endpoint->name;
    openapi_put_member(out, endpoint, "ClipperRequest");
    openapi_put(out,
                "{'type':'object','oneOf':[{'required':['input']},{'required':['input_batch']}],'properties':"
                "{'input':{'$ref':'#/components/schemas/%s.Row'},'input_batch':{'type':'array','minItems':1,"
                "'maxItems':%" PRIu32 ",'items':{'$ref':'#/components/schemas/%s.Row'}},'version':",
                name, rows, name);
    put_words_for_version(out, endpoint);
    put_sticky(out, endpoint);
    buf_text(out, "}}");
    openapi_put_member(out, endpoint, "ClipperPrediction");
    openapi_put(out,
                "{'type':'object','required':['query_id','output','default'],'properties':{'query_id':"
                "{'type':'integer'},'output':{'$ref':'#/components/schemas/%s.Answer'},'default':{'type':"
                "'boolean'},'default_explanation':{'type':'string'},'cause':{'type':'string'},'model':"
                "{'type':'string'}}}",
                name);
    openapi_put_member(out, endpoint, "ClipperBatch");
    openapi_put(out,
                "{'type':'object','required':['batch_predictions'],'properties':{'batch_predictions':"
                "{'type':'array','items':{'anyOf':[{'$ref':'#/components/schemas/%s.ClipperPrediction'},"
                "{'$ref':'#/components/schemas/ClipperFailure'}]}}}}",
                name);
    openapi_put_member(out, endpoint, "ClipperReply");
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
    openapi_put_nested(out, &text, 1);
    if (spec->dims > 1) {
        buf_text(out, ",");
        openapi_put_element(out, &text);
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
    openapi_put_member(out, endpoint, "OipRequest");
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
    openapi_put_member(out, endpoint, "OipReply");
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
    openapi_put_member(out, endpoint, "TfsRequest");
    openapi_put(out,
                "{'type':'object','oneOf':[{'required':['instances']},{'required':['inputs']}],'properties':"
                "{" SIGNATURE_NAME ",'instances':" INSTANCES
                ",'inputs':{'$ref':'#/components/schemas/%s.Columns'}",
                name, name);
    put_sticky(out, endpoint);
    buf_text(out, "}}");
    openapi_put_member(out, endpoint, "TfsExamples");
    openapi_put(out,
                "{'type':'object','required':['examples'],'properties':{" SIGNATURE_NAME
                ",'examples':" INSTANCES,
                name);
    put_sticky(out, endpoint);
    buf_text(out, "}}");
    openapi_put_member(out, endpoint, "TfsReply");
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
                    OPENAPI_WORD "},'data':{'type':'array','minItems':1,'items':"
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
        openapi_put_row(out, &signature->inputs[i]);
    }
    buf_text(out, "]}}}}}");
}

static void put_mlflow(struct buf *out, const struct config_endpoint *endpoint)
{
    const char *name = endpoint->name;
    openapi_put_member(out, endpoint, "MlflowRequest");
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
    openapi_put_member(out, endpoint, "MlflowReply");
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
    openapi_put_elements(out);
    for (size_t i = 0; i < sizeof generals / sizeof *generals; i++) {
        openapi_put(out, ",'%s':", generals[i].name);
        openapi_put(out, "%s", generals[i].schema);
    }
    for (uint32_t i = 0; i < config->n_endpoints; i++) {
        const struct config_endpoint *endpoint = config->endpoints[i];
        openapi_put_rows_of(out, endpoint);
        put_clipper(out, endpoint, config->limits.rows);
        put_oip(out, endpoint, config->limits.rows);
        put_tfs(out, endpoint);
    }
    if (config->mlflow)
        put_mlflow(out, config->mlflow);
}
