/* tfs: {"instances": [...]}, {"inputs": {...}} or {"examples": [...]} -> rows; outcomes -> predictions,
 * outputs or results. */
#include "edge/tfs.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "edge/answer.h"
#include "edge/json_rows.h"
#include "edge/oip_tensors.h"
#include "edge/predict.h"
#include "infer/route.h"

static const char SIGNATURE_NAME[] = "serving_default"; /* the only one that an endpoint has */

/* --- body -> rows --- */

struct decoding {
    struct request *request;
    struct tfs_ask *ask;
    struct json_rows rows;
    bool has_rows;
};

static bool key_is(const char *key, size_t length, const char *name)
{
    return length == strlen(name) && memcmp(key, name, length) == 0;
}

static enum gw_status decode_column(void *owner, const char *name, size_t length, struct json_value *value,
                                    struct gw_err *err)
{
    return json_rows_append_column(&((struct decoding *)owner)->rows, name, length, value, err);
}

static enum gw_status decode_columns(struct decoding *decoding, struct json_value *value, struct gw_err *err)
{
    decoding->ask->by_column = true;
    if (json_kind(value) == JSON_OBJECT)
        return json_object(value, decode_column, decoding, err);
    return json_rows_append_column(&decoding->rows, NULL, 0, value, err);
}

static enum gw_status decode_signature_name(struct decoding *decoding, struct json_value *value,
                                            struct gw_err *err)
{
    const char *name = "";
    size_t length = 0;
    enum gw_status status = json_word(value, decoding->request->arena, &name, &length, err);
    if (status == GW_OK && length && strcmp(name, SIGNATURE_NAME) != 0)
        return json_refuse(value, err, "the only signature is %s", SIGNATURE_NAME);
    return status;
}

/* Which members hold the rows is the verb's to say. */
static bool holds_rows(const struct decoding *decoding, const char *key, size_t length)
{
    if (decoding->ask->verb != TFS_PREDICT)
        return key_is(key, length, "examples");
    return key_is(key, length, "instances") || key_is(key, length, "inputs");
}

static enum gw_status decode_member(void *owner, const char *key, size_t length, struct json_value *value,
                                    struct gw_err *err)
{
    struct decoding *decoding = owner;
    struct request *request = decoding->request;
    const struct config_sticky *sticky = &request->endpoint->sticky;
    if (holds_rows(decoding, key, length)) {
        if (decoding->has_rows)
            return gw_err_set(err, GW_E_INVALID, "give the rows once: as instances, or as inputs");
        decoding->has_rows = true;
        return key_is(key, length, "inputs") ? decode_columns(decoding, value, err)
                                             : json_rows_append_all(&decoding->rows, value, err);
    }
    if (key_is(key, length, "signature_name"))
        return decode_signature_name(decoding, value, err);
    if (key_is(key, length, "context") && decoding->ask->verb != TFS_PREDICT)
        return gw_err_set(err, GW_E_NOT_IMPLEMENTED,
                          "context is not taken: give its features in each example");
    if (sticky->kind == STICKY_FIELD && key_is(key, length, sticky->name))
        return json_word(value, request->arena, &request->sticky, &request->sticky_length, err);
    return GW_OK;
}

static enum gw_status tfs_decode(struct request *request, const char *body, size_t length)
{
    struct decoding decoding = {.request = request, .ask = request->own};
    struct gw_err *err = &request->err;
    enum gw_status status = json_rows_begin(&decoding.rows, request);
    decoding.rows.names_only_input = true;
    if (status == GW_OK)
        status = json_read(request->infer->json, body, length, decode_member, &decoding, err);
    if (status == GW_OK && !decoding.has_rows)
        status =
            gw_err_set(err, GW_E_INVALID, "the body has no %s",
                       decoding.ask->verb == TFS_PREDICT ? "\"instances\" or \"inputs\"" : "\"examples\"");
    return status == GW_OK ? json_rows_end(&decoding.rows) : status;
}

/* --- outcomes -> body --- */

static void tfs_write_error(struct buf *out, enum gw_status status, const char *what)
{
    (void)status;
    buf_text(out, "{\"error\":");
    buf_json_text(out, what, strlen(what));
    buf_text(out, "}");
}

static void write_name(struct buf *out, const char *before, const char *name)
{
    buf_text(out, before);
    buf_json_text(out, name, strlen(name));
    buf_text(out, ":");
}

static enum gw_status write_column(struct request *request, const char *name)
{
    struct buf *out = &request->reply;
    enum gw_status status = GW_OK;
    buf_text(out, "[");
    for (uint32_t row = 0; row < request->n_rows && status == GW_OK; row++) {
        buf_text(out, row ? "," : "");
        status = answer_write_cell(request, name, row);
    }
    buf_text(out, "]");
    return status;
}

static enum gw_status write_columns(struct request *request)
{
    struct buf *out = &request->reply;
    uint32_t n = answer_outputs(request);
    if (n == 1)
        return write_column(request, answer_output_name(request, 0));
    enum gw_status status = GW_OK;
    buf_text(out, "{");
    for (uint32_t i = 0; i < n && status == GW_OK; i++) {
        const char *name = answer_output_name(request, i);
        write_name(out, i ? "," : "", name);
        status = write_column(request, name);
    }
    buf_text(out, "}");
    return status;
}

/* --- classify and regress --- */

static bool is_float(enum datatype datatype)
{
    return datatype == DT_FP32 || datatype == DT_FP64 || datatype == DT_FP16 || datatype == DT_BF16;
}

static bool is_text(enum datatype datatype)
{
    return datatype == DT_BYTES;
}

/* The elements of a row's first output of some kind, as a tensor of scalars. False: there is none, or no
 * memory. */
static bool row_elements(struct request *request, uint32_t row, bool is_kind(enum datatype),
                         struct tensor *elements)
{
    for (uint32_t i = 0; i < answer_outputs(request); i++) {
        uint32_t at;
        size_t count, bytes;
        const struct tensor *tensor = answer_row(request, answer_output_name(request, i), row, &at);
        if (!tensor || !is_kind(tensor->spec.datatype) || !tensor_row_elements(&tensor->spec, &count))
            continue;
        *elements = (struct tensor){.spec = tensor->spec, .data = tensor_row(tensor, at, &bytes)};
        elements->bytes = bytes;
        elements->spec.dims = 1;
        elements->spec.shape[0] = (int64_t)count;
        if (tensor->spec.datatype != DT_BYTES)
            return true;
        uint32_t *ends = arena_array(request->arena, count + 1, sizeof *ends);
        elements->row_end = ends;
        return ends && tensor_index_bytes(elements->data, bytes, (uint32_t)count, 1, ends) == GW_OK;
    }
    return false;
}

static enum gw_status write_element(struct request *request, const struct tensor *elements, uint32_t index)
{
    enum gw_status status = json_write_row(&request->reply, request->infer->json, elements, index);
    return status == GW_OK ? GW_OK : gw_err_set(&request->err, status, "%s", gw_status_words(status));
}

/* [[label, score], ...] */
static enum gw_status write_classes(struct request *request, uint32_t row)
{
    struct buf *out = &request->reply;
    struct tensor labels, scores;
    bool has_labels = row_elements(request, row, is_text, &labels);
    if (!row_elements(request, row, is_float, &scores))
        return gw_err_set(&request->err, GW_E_INVALID,
                          "the model is no classifier: it has no output of scores");
    if (has_labels && labels.spec.shape[0] != scores.spec.shape[0])
        return gw_err_set(&request->err, GW_E_CONTRACT, "%" PRId64 " labels, and %" PRId64 " scores",
                          labels.spec.shape[0], scores.spec.shape[0]);
    enum gw_status status = GW_OK;
    buf_text(out, "[");
    for (uint32_t i = 0; i < scores.spec.shape[0] && status == GW_OK; i++) {
        buf_text(out, i ? ",[" : "[");
        if (has_labels)
            status = write_element(request, &labels, i);
        else
            buf_text(out, "\"\"");
        buf_text(out, ",");
        if (status == GW_OK)
            status = write_element(request, &scores, i);
        buf_text(out, "]");
    }
    buf_text(out, "]");
    return status;
}

static enum gw_status write_regression(struct request *request, uint32_t row)
{
    struct tensor value;
    if (!row_elements(request, row, is_float, &value) || value.spec.shape[0] != 1)
        return gw_err_set(&request->err, GW_E_INVALID,
                          "the model is no regressor: it has no output of one number a row");
    return write_element(request, &value, 0);
}

/* --- the whole reply --- */

static enum gw_status write_rows(struct request *request)
{
    static enum gw_status (*const writers[])(struct request *, uint32_t) = {
        [TFS_PREDICT] = answer_write_row, [TFS_CLASSIFY] = write_classes, [TFS_REGRESS] = write_regression};
    const struct tfs_ask *ask = request->own;
    enum gw_status status = GW_OK;
    buf_text(&request->reply, "[");
    for (uint32_t row = 0; row < request->n_rows && status == GW_OK; row++) {
        buf_text(&request->reply, row ? "," : "");
        status = writers[ask->verb](request, row);
    }
    buf_text(&request->reply, "]");
    return status;
}

static enum gw_status write_answer(struct request *request)
{
    const struct tfs_ask *ask = request->own;
    struct buf *out = &request->reply;
    enum gw_status status = answer_begin(request);
    if (status != GW_OK)
        return status;
    buf_text(out, ask->verb != TFS_PREDICT ? "{\"results\":"
                  : ask->by_column         ? "{\"outputs\":"
                                           : "{\"predictions\":");
    status = ask->by_column ? write_columns(request) : write_rows(request);
    const struct row_outcome *failed = answer_defaulted(request);
    if (failed)
        buf_printf(out, ",\"default\":true,\"cause\":\"%s\"", gw_status_cause(failed->status));
    buf_text(out, "}");
    return status;
}

static void tfs_encode(struct request *request)
{
    if (request->status == GW_OK || request->status == GW_PARTIAL)
        request->status = write_answer(request);
    if (request->status == GW_OK)
        return;
    request->reply.length = 0;
    tfs_write_error(&request->reply, request->status, request->err.what);
}

const struct dialect tfs_dialect = {"tfs", tfs_decode, tfs_encode, tfs_write_error, NULL};

/* --- status and metadata --- */

/* What a path names. */
struct place {
    struct infer *infer;
    struct exchange *exchange;
    const struct config_endpoint *endpoint;
    const struct config_arm *arm; /* named; NULL: the rollout decides */
};

static bool version_serves(const struct infer *infer, const struct config_version *version)
{
    return version_is_ready(infer->period->plan->versions[version->index]);
}

static void write_status(struct buf *out, const struct place *place, const struct config_arm *arm)
{
    bool serves = version_serves(place->infer, arm->version);
    write_name(out, "{", "version");
    const char *version = oip_version_name(place->endpoint, arm->version);
    buf_json_text(out, version, strlen(version));
    buf_printf(out, ",\"state\":\"%s\",\"status\":{\"error_code\":\"%s\",\"error_message\":\"%s\"}}",
               serves ? "AVAILABLE" : "LOADING", serves ? "OK" : "UNAVAILABLE",
               serves ? "" : gw_status_words(GW_E_NO_REPLICA));
}

/* KServe's v1 asks the same path for name and ready. */
static void reply_status(const struct place *place)
{
    const struct config_endpoint *endpoint = place->endpoint;
    struct buf body = {0};
    bool ready = false, first = true;
    buf_text(&body, "{\"model_version_status\":[");
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        const struct config_arm *arm = &endpoint->arms[i];
        if (place->arm && place->arm != arm)
            continue;
        buf_text(&body, first ? "" : ",");
        write_status(&body, place, arm);
        ready = ready || version_serves(place->infer, arm->version);
        first = false;
    }
    write_name(&body, "],", "name");
    buf_json_text(&body, endpoint->name, strlen(endpoint->name));
    buf_printf(&body, ",\"ready\":%s}", ready ? "true" : "false");
    reply_json(place->exchange, GW_OK, NULL, &body);
}

/* TensorFlow's names: DT_FLOAT, DT_STRING. */
static const char *tensorflow_type(enum datatype datatype)
{
    static const char *const names[DT_COUNT] = {
        [DT_BOOL] = "DT_BOOL",     [DT_UINT8] = "DT_UINT8",   [DT_UINT16] = "DT_UINT16",
        [DT_UINT32] = "DT_UINT32", [DT_UINT64] = "DT_UINT64", [DT_INT8] = "DT_INT8",
        [DT_INT16] = "DT_INT16",   [DT_INT32] = "DT_INT32",   [DT_INT64] = "DT_INT64",
        [DT_FP16] = "DT_HALF",     [DT_FP32] = "DT_FLOAT",    [DT_FP64] = "DT_DOUBLE",
        [DT_BYTES] = "DT_STRING",  [DT_BF16] = "DT_BFLOAT16",
    };
    return names[datatype];
}

static void write_specs(struct buf *out, const char *before, const char *key, const struct tensor_spec *specs,
                        uint32_t n)
{
    write_name(out, before, key);
    buf_text(out, "{");
    for (uint32_t i = 0; i < n; i++) {
        write_name(out, i ? "," : "", specs[i].name);
        buf_printf(out, "{\"dtype\":\"%s\",\"tensor_shape\":{\"dim\":[", tensorflow_type(specs[i].datatype));
        for (unsigned d = 0; d < specs[i].dims; d++)
            buf_printf(out, "%s{\"size\":\"%" PRId64 "\",\"name\":\"\"}", d ? "," : "", specs[i].shape[d]);
        write_name(out, "],\"unknown_rank\":false},", "name");
        buf_json_text(out, specs[i].name, strlen(specs[i].name));
        buf_text(out, "}");
    }
    buf_text(out, "}");
}

static void reply_metadata(const struct place *place)
{
    const struct signature *signature = place->endpoint->signature;
    const char *version =
        oip_version_name(place->endpoint, (place->arm ? place->arm : place->endpoint->arms)->version);
    struct buf body = {0};
    write_name(&body, "{\"model_spec\":{", "name");
    buf_json_text(&body, place->endpoint->name, strlen(place->endpoint->name));
    write_name(&body, ",\"signature_name\":\"\",", "version");
    buf_json_text(&body, version, strlen(version));
    write_name(&body, "},\"metadata\":{\"signature_def\":{\"signature_def\":{", SIGNATURE_NAME);
    write_specs(&body, "{", "inputs", signature->inputs, signature->n_inputs);
    write_specs(&body, ",", "outputs", signature->outputs, signature->n_outputs);
    buf_text(&body, ",\"method_name\":\"tensorflow/serving/predict\"}}}}}");
    reply_json(place->exchange, GW_OK, NULL, &body);
}

/* --- the path --- */

/* Takes a word, of either case, from the front of *at. */
static bool take_word(const char **at, const char *word)
{
    size_t length = strlen(word);
    if (strncasecmp(*at, word, length) != 0)
        return false;
    *at += length;
    return true;
}

static void not_found(struct exchange *exchange)
{
    reply_not_found(exchange, &tfs_dialect, exchange->message.path, exchange->message.path_length,
                    ": no such path");
}

static void ask_for(const struct place *place, enum tfs_verb verb)
{
    struct exchange *exchange = place->exchange;
    struct tfs_ask *own = arena_zalloc(&exchange->arena, sizeof *own);
    if (!own) {
        reply_error(exchange, &tfs_dialect, GW_E_NO_MEMORY, NULL, gw_status_words(GW_E_NO_MEMORY));
        return;
    }
    own->verb = verb;
    predict_start(place->infer, exchange,
                  &(struct predict_ask){.dialect = &tfs_dialect,
                                        .endpoint = place->endpoint,
                                        .version = place->arm ? place->arm->version->full_name : NULL,
                                        .own = own});
}

/* verb: ":predict", or what else stands behind the model; "" asks for its status. */
static void handle_verb(const struct place *place, const char *verb)
{
    static const char *const words[] = {
        [TFS_PREDICT] = ":predict", [TFS_CLASSIFY] = ":classify", [TFS_REGRESS] = ":regress"};
    enum http_method method = place->exchange->message.method;
    bool is_get = method == HTTP_M_GET || method == HTTP_M_HEAD, is_metadata = !strcasecmp(verb, "/metadata");
    if (!*verb || is_metadata) {
        if (!is_get)
            reply_error(place->exchange, &tfs_dialect, GW_E_METHOD, "Allow: GET, HEAD\r\n",
                        "this is asked for with GET");
        else
            (is_metadata ? reply_metadata : reply_status)(place);
        return;
    }
    for (enum tfs_verb i = TFS_PREDICT; i <= TFS_REGRESS; i++) {
        if (strcasecmp(verb, words[i]) != 0)
            continue;
        if (method == HTTP_M_POST)
            ask_for(place, i);
        else
            reply_error(place->exchange, &tfs_dialect, GW_E_METHOD, "Allow: POST\r\n",
                        "a prediction is asked for with POST");
        return;
    }
    not_found(place->exchange);
}

/* The arm that "/versions/V" or "/labels/L" names, and *at behind it. False: there is none, and that was
 * replied. */
static bool take_arm(struct place *place, const char **at)
{
    bool by_label = false;
    if (!take_word(at, "/versions/") && !(by_label = take_word(at, "/labels/")))
        return true;
    const char *name = *at;
    size_t length = strcspn(name, ":/");
    const char *copy = arena_text(&place->exchange->arena, name, length);
    *at += length;
    if (copy)
        place->arm = by_label ? route_arm(place->endpoint, copy) : route_named(place->endpoint, copy, length);
    if (place->arm)
        return true;
    if (copy)
        reply_not_found(place->exchange, &tfs_dialect, name, length,
                        by_label
                            ? ": the endpoint has no arm of this name"
                            : ": the endpoint has no such version; GET /v1/models/{endpoint} lists them");
    else
        reply_error(place->exchange, &tfs_dialect, GW_E_NO_MEMORY, NULL, gw_status_words(GW_E_NO_MEMORY));
    return false;
}

void tfs_handle(struct infer *infer, struct exchange *exchange)
{
    struct place place = {.infer = infer, .exchange = exchange};
    const char *at = exchange->message.path + strlen("/v1");
    if (!take_word(&at, "/models/")) {
        not_found(exchange);
        return;
    }
    size_t length = strcspn(at, ":/");
    place.endpoint = config_endpoint(infer->period->plan->config, at, length);
    if (!place.endpoint) {
        reply_not_found(exchange, &tfs_dialect, at, length, NO_ENDPOINT);
        return;
    }
    at += length;
    if (take_arm(&place, &at))
        handle_verb(&place, at);
}
