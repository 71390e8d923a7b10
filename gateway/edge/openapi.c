/* openapi: the paths, dialect by dialect; then what they share. */
#include "edge/openapi.h"

#include <string.h>

#include "edge/clipper.h"
#include "edge/coding.h"
#include "edge/openapi_examples.h"
#include "edge/openapi_rows.h"
#include "edge/openapi_schemas.h"
#include "edge/predict.h"

enum speech { CLIPPER, OIP, TFS, MLFLOW, SPEECHES };
static const char *const speech_names[SPEECHES] = {
    [CLIPPER] = "Clipper", [OIP] = "Oip", [TFS] = "Tfs", [MLFLOW] = "Mlflow"};

#define ENDS(name) (1u << GW_E_##name)
static const uint32_t any_ends = ENDS(INVALID) | ENDS(SLOW_CLIENT) | ENDS(TOO_LARGE) | ENDS(EXPECTATION) |
                                 ENDS(HEADER_LARGE) | ENDS(NO_MEMORY) | ENDS(DRAINING);
static const uint32_t named_ends = ENDS(NOT_FOUND);
static const uint32_t prediction_ends = ENDS(NOT_FOUND) | ENDS(MEDIA_TYPE) | ENDS(OVERLOAD) | ENDS(MODEL) |
                                        ENDS(INTERNAL) | ENDS(NOT_IMPLEMENTED) | ENDS(CONTRACT) |
                                        ENDS(NO_REPLICA) | ENDS(DEADLINE);

/* One method of one path. Schemas of an endpoint begin with a dot: its name stands before it. */
struct operation {
    enum speech speech;
    const char *id; /* "infer" */
    const char *summary;
    const char *body;      /* schema of what is sent with POST; NULL: GET */
    const char *body_also; /* another media type for it; NULL: none */
    const char *reply;
    const char *reply_also; /* likewise */
    uint32_t ends;          /* beside those of any path */
    void (*put_example)(struct buf *out, const struct config_endpoint *endpoint); /* of a body; NULL: none */
};

/* Where in the document we are. */
struct writer {
    struct buf *out;
    const struct config *config;
    const struct config_endpoint *endpoint; /* NULL: the path is nobody's */
    const char *by; /* what the path has beside the endpoint: "version"; NULL: nothing */
    bool any_path;
};

/* --- replies --- */

static void put_schema(const struct writer *w, const char *schema)
{
    openapi_put(w->out, "{'$ref':'#/components/schemas/%s%s'}", schema[0] == '.' ? w->endpoint->name : "",
                schema);
}

static void put_well(const struct writer *w, const struct operation *operation)
{
    bool is_prediction = operation->ends & ENDS(MODEL);
    openapi_put(w->out, "'200':{'description':'the answer',%s'content':{'application/json':{'schema':",
                is_prediction ? "'headers':{'X-Xebec-Version':{'$ref':'#/components/headers/Version'},"
                                "'X-Xebec-Arm':{'$ref':'#/components/headers/Arm'}},"
                              : "");
    put_schema(w, operation->reply);
    buf_text(w->out, "}");
    if (operation->reply_also)
        openapi_put(w->out, ",'%s':{}", operation->reply_also);
    buf_text(w->out, "}}");
    if (operation->speech != CLIPPER || !is_prediction)
        return;
    openapi_put(w->out, ",'207':{'description':'%s','content':{'application/json':{'schema':",
                gw_status_words(GW_PARTIAL));
    put_schema(w, ".ClipperBatch");
    buf_text(w->out, "}}}");
}

/* Whether no other end before it has the same HTTP status. */
static bool is_first_of_code(uint32_t ends, int end)
{
    for (int before = 0; before < end; before++)
        if ((ends & (1u << before)) && gw_status_http(before) == gw_status_http(end))
            return false;
    return true;
}

/* Whether the answer itself comes with 503 where it is a no. */
static bool tells_readiness(const struct operation *operation)
{
    return operation->speech == OIP && !operation->body && (operation->ends & ENDS(NO_REPLICA));
}

static void put_unready(const struct writer *w, const struct operation *operation)
{
    openapi_put(w->out,
                ",'%d':{'description':'not ready','content':{'application/json':{'schema':{'anyOf':"
                "[{'$ref':'#/components/schemas/OipError'},",
                gw_status_http(GW_E_NO_REPLICA));
    put_schema(w, operation->reply);
    buf_text(w->out, "]}}}}");
}

static void put_ends(const struct writer *w, const struct operation *operation)
{
    uint32_t ends = any_ends | operation->ends;
    for (int end = 0; end < GW_STATUS_COUNT; end++) {
        int code = gw_status_http(end);
        if (!(ends & (1u << end)) || !is_first_of_code(ends, end))
            continue;
        if (code == gw_status_http(GW_E_NO_REPLICA) && tells_readiness(operation))
            put_unready(w, operation);
        else
            openapi_put(w->out, ",'%d':{'$ref':'#/components/responses/%s%d'}", code,
                        speech_names[operation->speech], code);
    }
}

/* --- one operation --- */

static void put_parameters(const struct writer *w)
{
    const struct config_endpoint *endpoint = w->endpoint;
    openapi_put(w->out, "'parameters':[{'$ref':'#/components/parameters/Deadline'},"
                        "{'$ref':'#/components/parameters/Priority'}");
    if (endpoint->sticky.kind == STICKY_HEADER || endpoint->sticky.kind == STICKY_COOKIE) {
        openapi_put(w->out, ",{'name':");
        buf_json_text(w->out, endpoint->sticky.name, strlen(endpoint->sticky.name));
        openapi_put(w->out, ",'in':'%s','schema':{'type':'string'},'description':'what tells clients apart'}",
                    endpoint->sticky.kind == STICKY_HEADER ? "header" : "cookie");
    }
    if (endpoint->arm_header)
        openapi_put(w->out, ",{'$ref':'#/components/parameters/Arm'}");
    buf_text(w->out, "],");
}

static void put_body(const struct writer *w, const struct operation *operation)
{
    openapi_put(
        w->out, "'requestBody':{%s%s'content':{'application/json':{'schema':",
        operation->ends & ENDS(MODEL) ? "'required':true," : "",
        operation->speech == OIP && operation->body_also
            ? "'description':'JSON; or, with Inference-Header-Content-Length, so many bytes of JSON, then "
              "binary tensors; of 0 bytes: nothing but the data of the only input',"
            : "");
    put_schema(w, operation->body);
    if (operation->put_example)
        operation->put_example(w->out, w->endpoint);
    buf_text(w->out, "}");
    if (operation->body_also)
        openapi_put(w->out, ",'%s':{}", operation->body_also);
    buf_text(w->out, "}},");
}

static void put_operation(const struct writer *w, const struct operation *operation)
{
    const char *name = w->endpoint ? w->endpoint->name : "gateway";
    openapi_put(w->out, "'%s':{'operationId':'%s.%s.%s%s%s','summary':'%s','tags':['%s'],",
                operation->body ? "post" : "get", speech_names[operation->speech], operation->id, name,
                w->by ? "." : "", w->by ? w->by : "", operation->summary, speech_names[operation->speech]);
    if (operation->ends & ENDS(MODEL))
        put_parameters(w);
    if (operation->body)
        put_body(w, operation);
    openapi_put(w->out, "'responses':{");
    put_well(w, operation);
    put_ends(w, operation);
    buf_text(w->out, "}}");
}

/* --- paths --- */

static void put_by(const struct writer *w)
{
    const struct config_endpoint *endpoint = w->endpoint;
    openapi_put(w->out, "'parameters':[{'name':'%s','in':'path','required':true,'schema':", w->by);
    if (!strcmp(w->by, "version")) {
        openapi_put_version_names(w->out, endpoint);
    } else {
        openapi_put(w->out, "{'type':'string','enum':[");
        for (uint32_t i = 0; i < endpoint->n_arms; i++)
            openapi_put(w->out, "%s'%s'", i ? "," : "", endpoint->arms[i].name);
        buf_text(w->out, "]}");
    }
    buf_text(w->out, "}],");
}

/* before, the endpoint's name, what it is asked by, after: "/v2/models/" "digits" "/versions/{version}"
 * "/infer". */
static void put_path(struct writer *w, const char *before, const char *after,
                     const struct operation *operation)
{
    static const struct {
        const char *by, *part;
    } parts[] = {{"version", "/versions/{version}"}, {"label", "/labels/{label}"}};
    const char *part = "";
    for (size_t i = 0; w->by && i < sizeof parts / sizeof *parts; i++)
        if (!strcmp(parts[i].by, w->by))
            part = parts[i].part;
    openapi_put(w->out, "%s'%s%s%s%s':{", w->any_path ? "," : "", before,
                w->endpoint ? w->endpoint->name : "", part, after);
    w->any_path = true;
    if (w->by)
        put_by(w);
    put_operation(w, operation);
    buf_text(w->out, "}");
}

static void put_clipper(struct writer *w)
{
    put_path(w, "/", "/predict",
             &(struct operation){.speech = CLIPPER,
                                 .id = "predict",
                                 .summary = "a prediction for a row, or for each of a list of rows",
                                 .body = ".ClipperRequest",
                                 .reply = ".ClipperReply",
                                 .ends = prediction_ends,
                                 .put_example = openapi_put_clipper_example});
}

/* --- OIP --- */

static void put_oip_server(struct writer *w)
{
    static const struct {
        const char *path;
        struct operation operation;
    } paths[] = {
        {"/v2", {.speech = OIP, .id = "server", .summary = "what serves here", .reply = "OipServer"}},
        {"/v2/health/live",
         {.speech = OIP, .id = "live", .summary = "whether it is alive", .reply = "OipHealth"}},
        {"/v2/health/ready",
         {.speech = OIP,
          .id = "ready",
          .summary = "whether every endpoint has a ready replica",
          .reply = "OipHealth",
          .ends = ENDS(NO_REPLICA)}},
        {"/v2/models", {.speech = OIP, .id = "models", .summary = "the endpoints", .reply = "OipModels"}},
        {"/v2/repository/index",
         {.speech = OIP,
          .id = "index",
          .summary = "versions, and whether they are ready",
          .body = "OipIndexRequest",
          .reply = "OipIndex"}},
        {"/v2/models/stats",
         {.speech = OIP, .id = "statistics", .summary = "statistics of all", .reply = "OipStatistics"}},
    };
    size_t n = sizeof paths / sizeof *paths;
    bool any_called_stats = config_endpoint(w->config, "stats", strlen("stats"));
    for (size_t i = 0; i < n - any_called_stats; i++)
        put_path(w, paths[i].path, "", &paths[i].operation);
}

static void put_oip_model(struct writer *w)
{
    static const struct {
        const char *after;
        struct operation operation;
    } paths[] = {
        {"",
         {.speech = OIP,
          .id = "model",
          .summary = "inputs, outputs and versions",
          .reply = "OipModel",
          .ends = ENDS(NOT_FOUND)}},
        {"/ready",
         {.speech = OIP,
          .id = "model_ready",
          .summary = "whether it has a ready replica",
          .reply = "OipReady",
          .ends = ENDS(NOT_FOUND) | ENDS(NO_REPLICA)}},
        {"/config",
         {.speech = OIP,
          .id = "config",
          .summary = "configuration, in the words of Triton",
          .reply = "OipConfig",
          .ends = ENDS(NOT_FOUND)}},
        {"/stats",
         {.speech = OIP,
          .id = "model_statistics",
          .summary = "statistics",
          .reply = "OipStatistics",
          .ends = ENDS(NOT_FOUND)}},
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        put_path(w, "/v2/models/", paths[i].after, &paths[i].operation);
    put_path(w, "/v2/models/", "/infer",
             &(struct operation){.speech = OIP,
                                 .id = "infer",
                                 .summary = "inference, of tensors in JSON or behind it",
                                 .body = ".OipRequest",
                                 .body_also = "application/octet-stream",
                                 .reply = ".OipReply",
                                 .reply_also = "application/octet-stream",
                                 .ends = prediction_ends,
                                 .put_example = openapi_put_oip_example});
}

/* --- TensorFlow Serving --- */

static bool is_real(const struct tensor_spec *spec)
{
    return spec->datatype == DT_FP16 || spec->datatype == DT_BF16 || spec->datatype == DT_FP32 ||
           spec->datatype == DT_FP64;
}

/* The output that scores and values are taken from; NULL: there is none, or nothing is said of outputs. */
static const struct tensor_spec *first_real(const struct signature *signature)
{
    for (uint32_t i = 0; i < signature->n_outputs; i++)
        if (is_real(&signature->outputs[i]))
            return &signature->outputs[i];
    return NULL;
}

static void put_tfs_verb(struct writer *w, const char *verb, const char *id, const char *summary,
                         const char *body, const char *reply)
{
    put_path(w, "/v1/models/", verb,
             &(struct operation){.speech = TFS,
                                 .id = id,
                                 .summary = summary,
                                 .body = body,
                                 .reply = reply,
                                 .ends = prediction_ends});
}

static void put_tfs_model(struct writer *w)
{
    const struct signature *signature = w->endpoint->signature;
    const struct tensor_spec *real = first_real(signature);
    size_t numbers = 0;
    put_path(w, "/v1/models/", "",
             &(struct operation){.speech = TFS,
                                 .id = "status",
                                 .summary = "the state of its versions",
                                 .reply = "TfsStatus",
                                 .ends = named_ends});
    put_path(w, "/v1/models/", "/metadata",
             &(struct operation){.speech = TFS,
                                 .id = "metadata",
                                 .summary = "inputs and outputs",
                                 .reply = "TfsMetadata",
                                 .ends = named_ends});
    put_tfs_verb(w, ":predict", "predict", "predictions, by row or by column", ".TfsRequest", ".TfsReply");
    if (real || !signature->n_outputs)
        put_tfs_verb(w, ":classify", "classify", "labels and scores", ".TfsExamples", "TfsClasses");
    if (!signature->n_outputs || (real && (!tensor_row_elements(real, &numbers) || numbers == 1)))
        put_tfs_verb(w, ":regress", "regress", "a number for each row", ".TfsExamples", "TfsRegressions");
}

/* --- MLflow --- */

/* What is no JSON, whatever it is called, has no schema. */
static void put_text_path(struct writer *w, const char *path, const char *id, const char *type, bool may_miss)
{
    openapi_put(w->out,
                ",'%s':{'get':{'operationId':'Mlflow.%s','tags':['Mlflow'],'responses':{'200':{'description':"
                "'yes','content':{'%s':{}}}",
                path, id, type);
    if (may_miss)
        openapi_put(w->out, ",'404':{'description':'no replica is ready','content':{'%s':{}}}", type);
    for (int end = 0; end < GW_STATUS_COUNT; end++)
        if ((any_ends & (1u << end)) && is_first_of_code(any_ends, end))
            openapi_put(w->out, ",'%d':{'$ref':'#/components/responses/Mlflow%d'}", gw_status_http(end),
                        gw_status_http(end));
    buf_text(w->out, "}}}");
}

static void put_mlflow(struct writer *w)
{
    put_text_path(w, "/ping", "ping", "application/json", true);
    put_text_path(w, "/health", "health", "application/json", true);
    put_text_path(w, "/version", "version", "text/plain", false);
    w->endpoint = w->config->mlflow;
    if (w->endpoint) {
        openapi_put(w->out, ",'/invocations':{");
        put_operation(w, &(struct operation){.speech = MLFLOW,
                                             .id = "invocations",
                                             .summary = "predictions, for data frames and tensors",
                                             .body = ".MlflowRequest",
                                             .body_also = "text/csv",
                                             .reply = ".MlflowReply",
                                             .ends = prediction_ends});
        buf_text(w->out, "}");
    }
    w->endpoint = NULL;
}

static void put_endpoint(struct writer *w, const struct config_endpoint *endpoint)
{
    w->endpoint = endpoint;
    w->by = NULL;
    put_clipper(w);
    put_oip_model(w);
    put_tfs_model(w);
    w->by = "version";
    put_oip_model(w);
    put_tfs_model(w);
    w->by = "label";
    put_tfs_model(w);
    w->by = NULL;
    w->endpoint = NULL;
}

static void put_paths(struct writer *w)
{
    put_oip_server(w);
    put_path(w, "/openapi.json", "",
             &(struct operation){
                 .speech = CLIPPER, .id = "description", .summary = "this description", .reply = "OpenApi"});
    for (uint32_t i = 0; i < w->config->n_endpoints; i++)
        put_endpoint(w, w->config->endpoints[i]);
    put_mlflow(w);
}

/* --- what they share --- */

static void put_shared_parameters(struct buf *out)
{
    openapi_put(
        out,
        "'Deadline':{'name':'X-Xebec-Deadline-Ms','in':'header','description':'answer within so many "
        "milliseconds','schema':{'type':'integer','minimum':1,'maximum':3600000}},"
        "'Priority':{'name':'X-Xebec-Priority','in':'header','description':'who goes first','schema':{'enum':"
        "['high','normal','batch']}},"
        "'Arm':{'name':'X-Xebec-Arm','in':'header','description':'the arm of the split that shall answer',"
        "'schema':{'type':'string'}}");
}

/* All that end with this HTTP status, in words. */
static void put_shared_response(struct buf *out, enum speech speech, int first)
{
    int code = gw_status_http(first);
    bool may_retry = false;
    const char *between = "";
    openapi_put(out, "'%s%d':{'description':'", speech_names[speech], code);
    for (int end = first; end < GW_STATUS_COUNT; end++)
        if (gw_status_http(end) == code) {
            openapi_put(out, "%s%s", between, gw_status_words(end));
            may_retry = may_retry || reply_retry_header(end);
            between = "; ";
        }
    openapi_put(out,
                "',%s'content':{'application/json':{'schema':{'$ref':'#/components/schemas/%sError'}}%s}}",
                may_retry ? "'headers':{'Retry-After':{'$ref':'#/components/headers/RetryAfter'}}," : "",
                speech_names[speech], speech == MLFLOW && first == GW_E_MEDIA_TYPE ? ",'text/plain':{}" : "");
}

static void put_shared_responses(struct buf *out)
{
    uint32_t ends = any_ends | prediction_ends;
    const char *between = "";
    for (enum speech speech = CLIPPER; speech < SPEECHES; speech++)
        for (int end = 0; end < GW_STATUS_COUNT; end++)
            if ((ends & (1u << end)) && is_first_of_code(ends, end)) {
                buf_text(out, between);
                put_shared_response(out, speech, end);
                between = ",";
            }
}

void openapi_write(struct buf *out, const struct config *config)
{
    struct writer writer = {.out = out, .config = config};
    openapi_put(out,
                "{'openapi':'3.1.1','info':{'title':'Xebec','version':'" XEBEC_VERSION "','description':"
                "'Every endpoint in every dialect. Bodies may come, and go, with Content-Encoding gzip or "
                "deflate; a path takes HEAD where it takes GET, and answers other methods with 405 and "
                "Allow.'},'paths':{");
    put_paths(&writer);
    openapi_put(out, "},'components':{'schemas':{");
    openapi_put_schemas(out, config);
    openapi_put(out, "},'parameters':{");
    put_shared_parameters(out);
    openapi_put(out, "},'headers':{'RetryAfter':{'description':'seconds','schema':{'type':'integer','minimum'"
                     ":1}},'Version':{'description':'the version that answered','schema':{'type':'string'}},"
                     "'Arm':{'description':'the arm of the split that it is','schema':{'type':'string'}}},"
                     "'responses':{");
    put_shared_responses(out);
    buf_text(out, "}}}");
}

/* --- the path --- */

/* False: out of memory, and nothing is kept. */
static bool describe(struct period *period)
{
    struct buf *description = &period->description;
    if (description->length)
        return true;
    openapi_write(description, period->plan->config);
    if (!description->failed)
        return true;
    buf_clear(description);
    return false;
}

static void reply_description(struct infer *infer, struct exchange *exchange)
{
    struct period *period = infer->period;
    struct buf body = {0};
    if (describe(period))
        buf_append(&body, period->description.bytes, period->description.length);
    if (!body.length || body.failed) {
        buf_clear(&body);
        reply_error(exchange, &clipper_dialect, GW_E_NO_MEMORY, NULL, gw_status_words(GW_E_NO_MEMORY));
        return;
    }
    const char *coding = coding_write_body(&exchange->message, &body);
    reply_json(exchange, GW_OK, coding, &body);
}

void openapi_handle(struct infer *infer, struct exchange *exchange)
{
    enum http_method method = exchange->message.method;
    if (strcmp(exchange->message.path, "/openapi.json") != 0)
        reply_not_found(exchange, &clipper_dialect, exchange->message.path, exchange->message.path_length,
                        ": no such path");
    else if (method != HTTP_M_GET && method != HTTP_M_HEAD)
        reply_error(exchange, &clipper_dialect, GW_E_METHOD, "Allow: GET, HEAD\r\n",
                    "this is asked for with GET");
    else
        reply_description(infer, exchange);
}
