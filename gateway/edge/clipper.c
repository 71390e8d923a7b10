/*
 * clipper: {"input": X} or {"input_batch": [X, ...]} -> tensors; outcomes -> predictions.
 *
 * X is the row of the endpoint's only input; with several inputs, an object that names each of them once.
 */
#include "edge/clipper.h"

#include <string.h>

#include "edge/json_rows.h"
#include "edge/predict.h"

struct decoding {
    struct request *request;
    struct json_rows rows;
    bool has_input, has_batch, has_version;
};

/* --- body -> rows --- */

static enum gw_status decode_input(struct decoding *decoding, bool is_batch, struct json_value *value,
                                   struct gw_err *err)
{
    bool *has = is_batch ? &decoding->has_batch : &decoding->has_input;
    if (*has)
        return json_refuse(value, err, "given twice");
    if (decoding->has_input || decoding->has_batch)
        return gw_err_set(err, GW_E_INVALID, "give either \"input\" or \"input_batch\", not both");
    *has = true;
    decoding->request->is_batch = is_batch;
    return is_batch ? json_rows_append_all(&decoding->rows, value, err)
                    : json_rows_append(&decoding->rows, value, err);
}

static enum gw_status decode_version(struct decoding *decoding, struct json_value *value, struct gw_err *err)
{
    struct request *request = decoding->request;
    if (decoding->has_version)
        return json_refuse(value, err, "given twice");
    decoding->has_version = true;
    return json_word(value, request->arena, &request->asked_version, &request->asked_version_length, err);
}

/* null tells nobody apart. */
static enum gw_status decode_sticky(struct decoding *decoding, struct json_value *value, struct gw_err *err)
{
    struct request *request = decoding->request;
    return json_word(value, request->arena, &request->sticky, &request->sticky_length, err);
}

static bool key_is(const char *key, size_t length, const char *name)
{
    return length == strlen(name) && memcmp(key, name, length) == 0;
}

static enum gw_status decode_member(void *owner, const char *key, size_t length, struct json_value *value,
                                    struct gw_err *err)
{
    if (key_is(key, length, "input"))
        return decode_input(owner, false, value, err);
    if (key_is(key, length, "input_batch"))
        return decode_input(owner, true, value, err);
    if (key_is(key, length, "version"))
        return decode_version(owner, value, err);
    const struct config_sticky *sticky = &((struct decoding *)owner)->request->endpoint->sticky;
    if (sticky->kind == STICKY_FIELD && key_is(key, length, sticky->name))
        return decode_sticky(owner, value, err);
    return GW_OK;
}

static enum gw_status clipper_decode(struct request *request, const char *body, size_t length)
{
    struct decoding decoding = {.request = request};
    struct gw_err *err = &request->err;
    enum gw_status status = json_rows_begin(&decoding.rows, request);
    if (status == GW_OK)
        status = json_read(request->infer->json, body, length, decode_member, &decoding, err);
    if (status == GW_OK && !decoding.has_input && !decoding.has_batch)
        status = gw_err_set(err, GW_E_INVALID, "the body has neither \"input\" nor \"input_batch\"");
    return status == GW_OK ? json_rows_end(&decoding.rows) : status;
}

/* --- outcomes -> body --- */

/* {"error": ..., "cause": ... */
static void write_error_members(struct buf *out, enum gw_status status, const char *what)
{
    buf_text(out, "\"error\":");
    buf_json_text(out, what, strlen(what));
    buf_text(out, ",\"cause\":\"");
    buf_text(out, gw_status_cause(status));
    buf_text(out, "\"");
}

static void clipper_write_error(struct buf *out, enum gw_status status, const char *what)
{
    buf_text(out, "{");
    write_error_members(out, status, what);
    buf_text(out, "}");
}

static const char *outcome_words(const struct row_outcome *outcome)
{
    return outcome->message ? outcome->message : gw_status_words(outcome->status);
}

/* Clipper's own words where it had any: its users' programs look for them. */
static const char *default_explanation(const struct row_outcome *outcome)
{
    switch (outcome->status) {
    case GW_E_DEADLINE:
        return "Failed to retrieve a prediction response within the specified latency SLO";
    case GW_E_NO_REPLICA:
        return "No connected models found for query";
    default:
        return outcome_words(outcome);
    }
}

static void write_name(struct buf *out, uint32_t index, const char *name)
{
    buf_text(out, index ? "," : "{");
    buf_json_text(out, name, strlen(name));
    buf_text(out, ":");
}

/* The only output's value, or an object of all. */
static enum gw_status write_outputs(struct request *request, const struct row_outcome *outcome)
{
    struct buf *out = &request->reply;
    const struct predict_result *result = outcome->result;
    for (uint32_t i = 0; i < result->n_outputs; i++) {
        const struct tensor *output = &result->outputs[i];
        if (result->n_outputs != 1)
            write_name(out, i, output->spec.name);
        enum gw_status status = json_write_row(out, request->infer->json, output, outcome->row);
        if (status == GW_E_CONTRACT)
            gw_err_set(&request->err, status, "output %s is declared as JSON, and the model's answer is not",
                       output->spec.name);
        else if (status != GW_OK)
            gw_err_set(&request->err, status, "%s", gw_status_words(status));
        if (status != GW_OK)
            return status;
    }
    if (result->n_outputs != 1)
        buf_text(out, result->n_outputs ? "}" : "{}");
    return GW_OK;
}

static void write_defaults(struct buf *out, const struct config_endpoint *endpoint)
{
    for (uint32_t i = 0; i < endpoint->n_defaults; i++) {
        if (endpoint->n_defaults != 1)
            write_name(out, i, endpoint->defaults[i].name);
        buf_text(out, endpoint->defaults[i].json);
    }
    if (endpoint->n_defaults != 1)
        buf_text(out, "}");
}

static void write_entry_start(struct request *request)
{
    buf_text(&request->reply, "{\"query_id\":");
    json_write_uint(&request->reply, request->id);
    buf_text(&request->reply, ",");
}

static void write_entry_end(struct request *request)
{
    struct buf *out = &request->reply;
    if (request->version) {
        buf_text(out, ",\"model\":");
        buf_json_text(out, request->version->full_name, strlen(request->version->full_name));
    }
    buf_text(out, "}");
}

static enum gw_status write_answer(struct request *request, const struct row_outcome *outcome)
{
    write_entry_start(request);
    buf_text(&request->reply, "\"output\":");
    enum gw_status status = write_outputs(request, outcome);
    buf_text(&request->reply, ",\"default\":false");
    write_entry_end(request);
    return status;
}

static void write_default(struct request *request, const struct row_outcome *outcome)
{
    struct buf *out = &request->reply;
    const char *explanation = default_explanation(outcome);
    write_entry_start(request);
    buf_text(out, "\"output\":");
    write_defaults(out, request->endpoint);
    buf_text(out, ",\"default\":true,\"default_explanation\":");
    buf_json_text(out, explanation, strlen(explanation));
    buf_text(out, ",\"cause\":\"");
    buf_text(out, gw_status_cause(outcome->status));
    buf_text(out, "\"");
    write_entry_end(request);
}

static void write_failure(struct request *request, enum gw_status status, const char *words)
{
    write_entry_start(request);
    write_error_members(&request->reply, status, words);
    write_entry_end(request);
}

/* Not GW_OK: what the model answered cannot be said, and the entry is an error instead. */
static enum gw_status write_entry(struct request *request, uint32_t row)
{
    const struct row_outcome *outcome = request_row_outcome(request, row);
    size_t start = request->reply.length;
    enum gw_status status = GW_OK;
    if (outcome->status == GW_OK)
        status = write_answer(request, outcome);
    else if (request_row_defaulted(request, row))
        write_default(request, outcome);
    else
        write_failure(request, outcome->status, outcome_words(outcome));
    if (status != GW_OK) {
        request->reply.length = start;
        write_failure(request, status, request->err.what);
    }
    return status;
}

/* What was written until now is forgotten. */
static void write_error_alone(struct request *request)
{
    request->reply.length = 0;
    clipper_write_error(&request->reply, request->status, request->err.what);
}

static void encode_batch(struct request *request)
{
    uint32_t unsaid = 0;
    enum gw_status why = GW_OK;
    bool alike = true;
    buf_text(&request->reply, "{\"batch_predictions\":[");
    for (uint32_t row = 0; row < request->n_rows; row++) {
        if (row)
            buf_text(&request->reply, ",");
        enum gw_status status = write_entry(request, row);
        if (status == GW_OK)
            continue;
        alike = alike && (!unsaid || status == why);
        why = status;
        unsaid++;
    }
    buf_text(&request->reply, "]}");
    if (unsaid)
        request->status = alike && unsaid == request->n_rows ? why : GW_PARTIAL;
}

static bool has_entries(const struct request *request)
{
    return request->status == GW_OK || request->status == GW_PARTIAL;
}

static void clipper_encode(struct request *request)
{
    if (has_entries(request) && request->is_batch)
        encode_batch(request);
    else if (has_entries(request))
        request->status = write_entry(request, 0);
    if (!has_entries(request))
        write_error_alone(request);
}

const struct dialect clipper_dialect = {"clipper", clipper_decode, clipper_encode, clipper_write_error, NULL};

/* --- the path --- */

/* What stands behind the first segment. Endpoints have no slash in their names. */
static const char *verb_of(const char *path, size_t *name_length)
{
    const char *slash = *path ? strchr(path + 1, '/') : NULL;
    *name_length = slash ? (size_t)(slash - path - 1) : 0;
    return slash ? slash + 1 : "";
}

static bool verb_is(const char *verb, const char *name)
{
    size_t length = strlen(name);
    return strncmp(verb, name, length) == 0 && (!verb[length] || !strcmp(verb + length, "/"));
}

bool clipper_owns(const char *path)
{
    size_t name_length;
    const char *verb = verb_of(path, &name_length);
    return verb_is(verb, "predict") || verb_is(verb, "update");
}

static void predict(struct infer *infer, struct exchange *exchange, const struct config_endpoint *endpoint)
{
    if (exchange->message.method != HTTP_M_POST)
        reply_error(exchange, &clipper_dialect, GW_E_METHOD, "Allow: POST\r\n",
                    "a prediction is asked for with POST");
    else if (!http_message_is(&exchange->message, "application/json", true))
        reply_error(exchange, &clipper_dialect, GW_E_MEDIA_TYPE, NULL,
                    "send the body as Content-Type: application/json");
    else
        predict_start(infer, exchange,
                      &(struct predict_ask){.dialect = &clipper_dialect, .endpoint = endpoint});
}

void clipper_handle(struct infer *infer, struct exchange *exchange)
{
    const struct http_message *message = &exchange->message;
    size_t name_length;
    const char *name = message->path + 1, *verb = verb_of(message->path, &name_length);
    const struct config_endpoint *endpoint = config_endpoint(infer->period->plan->config, name, name_length);
    if (!clipper_owns(message->path))
        reply_not_found(exchange, &clipper_dialect, message->path, message->path_length,
                        ": no such path; predictions are at POST /{endpoint}/predict, and GET /openapi.json "
                        "describes all that there is");
    else if (!endpoint)
        reply_not_found(exchange, &clipper_dialect, name, name_length, NO_ENDPOINT);
    else if (verb_is(verb, "update"))
        reply_error(exchange, &clipper_dialect, GW_E_NOT_IMPLEMENTED, NULL,
                    "feedback is not taken: no selection policy learns from it");
    else
        predict(infer, exchange, endpoint);
}
