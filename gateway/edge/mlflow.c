/*
 * mlflow: {"dataframe_split"|"dataframe_records"|"instances"|"inputs": ...} or CSV -> rows; outcomes ->
 * predictions.
 *
 * A column of a data frame is the input of its name. Of a model with one input, whose row is a list, all
 * columns together are that row, in their order, whatever they are called. CSV is written as a data frame in
 * JSON first, and read as that: there is one judge of values.
 */
#include "edge/mlflow.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "edge/answer.h"
#include "edge/json_rows.h"
#include "edge/predict.h"

enum { COLUMNS_MAX = 4096 };
#define NO_MLFLOW "no endpoint answers here: the configuration has no `mlflow`"

struct decoding {
    struct request *request;
    struct json_rows rows;
    struct tensor_builder **columns; /* of a data frame; NULL: not told yet */
    uint32_t n_columns;
    bool is_whole_row; /* the columns are the only input's row */
    bool has_rows, has_data, later, has_params;
};

static bool key_is(const char *key, size_t length, const char *name)
{
    return length == strlen(name) && memcmp(key, name, length) == 0;
}

/* --- data frames --- */

static const struct signature *signature_of(const struct decoding *decoding)
{
    return decoding->request->endpoint->signature;
}

/* Of the input with this name; NULL: there is none. */
static struct tensor_builder *column_named(struct decoding *decoding, const char *name)
{
    const struct signature *signature = signature_of(decoding);
    for (uint32_t i = 0; i < signature->n_inputs; i++)
        if (!strcmp(signature->inputs[i].name, name))
            return &decoding->rows.builders[i];
    return NULL;
}

static bool has_column(const struct decoding *decoding, const struct tensor_builder *builder)
{
    for (uint32_t i = 0; i < decoding->n_columns; i++)
        if (decoding->columns[i] == builder)
            return true;
    return false;
}

static enum gw_status decode_column_name(void *owner, uint32_t index, struct json_value *value,
                                         struct gw_err *err)
{
    struct decoding *decoding = owner;
    const char *name = "";
    size_t length = 0;
    if (index >= COLUMNS_MAX)
        return json_refuse(value, err, "more than %d columns", COLUMNS_MAX);
    enum gw_status status = json_word(value, decoding->request->arena, &name, &length, err);
    if (status != GW_OK)
        return status;
    struct tensor_builder *column = column_named(decoding, name);
    if (!column && !decoding->is_whole_row)
        return json_rows_refuse_name(decoding->request->endpoint->signature, value, err);
    if (column && has_column(decoding, column))
        return json_refuse(value, err, "given twice");
    decoding->columns[index] = column;
    decoding->n_columns = index + 1;
    return GW_OK;
}

/* One input with rows that are lists: columns may have any names. Any other: each column is an input. */
static enum gw_status decode_columns(struct decoding *decoding, struct json_value *value, struct gw_err *err)
{
    const struct signature *signature = signature_of(decoding);
    if (decoding->columns)
        return json_refuse(value, err, "given twice");
    decoding->columns = arena_array(decoding->request->arena, COLUMNS_MAX, sizeof *decoding->columns);
    if (!decoding->columns)
        return gw_err_no_memory(err);
    decoding->is_whole_row = signature->n_inputs == 1 && signature->inputs[0].dims == 2;
    enum gw_status status = json_array(value, decode_column_name, decoding, err);
    if (status != GW_OK || decoding->is_whole_row)
        return status;
    for (uint32_t i = 0; i < signature->n_inputs; i++)
        if (!has_column(decoding, &decoding->rows.builders[i]))
            return json_refuse(value, err, "%s is missing", signature->inputs[i].name);
    return GW_OK;
}

static enum gw_status decode_cell(void *owner, uint32_t index, struct json_value *value, struct gw_err *err)
{
    struct decoding *decoding = owner;
    if (index >= decoding->n_columns)
        return json_refuse(value, err, "there are %" PRIu32 " columns", decoding->n_columns);
    return json_append_row(value, decoding->columns[index], err);
}

static enum gw_status decode_line(void *owner, uint32_t index, struct json_value *value, struct gw_err *err)
{
    struct decoding *decoding = owner;
    enum gw_status status = json_array(value, decode_cell, decoding, err);
    if (status != GW_OK)
        return status;
    for (uint32_t i = 0; i < decoding->n_columns; i++)
        if (decoding->columns[i]->shape[0] != (int64_t)index + 1)
            return json_refuse(value, err, "expected %" PRIu32 " columns, got %" PRIu32, decoding->n_columns,
                               i);
    return GW_OK;
}

static enum gw_status decode_data(struct decoding *decoding, struct json_value *value, struct gw_err *err)
{
    decoding->later = !decoding->columns;
    if (decoding->later)
        return GW_OK;
    return decoding->is_whole_row ? json_append_rows(value, &decoding->rows.builders[0], err)
                                  : json_array(value, decode_line, decoding, err);
}

static enum gw_status decode_split_member(void *owner, const char *key, size_t length,
                                          struct json_value *value, struct gw_err *err)
{
    struct decoding *decoding = owner;
    if (key_is(key, length, "columns"))
        return decode_columns(decoding, value, err);
    if (!key_is(key, length, "data"))
        return GW_OK; /* the index is nobody's input */
    if (decoding->has_data)
        return json_refuse(value, err, "given twice");
    decoding->has_data = true;
    return decode_data(decoding, value, err);
}

static enum gw_status decode_split(struct decoding *decoding, struct json_value *value, struct gw_err *err)
{
    enum gw_status status = json_object(value, decode_split_member, decoding, err);
    if (status != GW_OK)
        return status;
    if (!decoding->has_data || !decoding->columns)
        return json_refuse(value, err, "%s is missing", decoding->has_data ? "columns" : "data");
    return GW_OK;
}

/* The second pass: data that came before its columns. */
static enum gw_status decode_late_data(void *owner, const char *key, size_t length, struct json_value *value,
                                       struct gw_err *err)
{
    return key_is(key, length, "data") ? decode_data(owner, value, err) : GW_OK;
}

static enum gw_status decode_late(void *owner, const char *key, size_t length, struct json_value *value,
                                  struct gw_err *err)
{
    return key_is(key, length, "dataframe_split") ? json_object(value, decode_late_data, owner, err) : GW_OK;
}

/* --- the document --- */

static enum gw_status decode_input(void *owner, const char *name, size_t length, struct json_value *value,
                                   struct gw_err *err)
{
    return json_rows_append_column(&((struct decoding *)owner)->rows, name, length, value, err);
}

static enum gw_status decode_inputs(struct decoding *decoding, struct json_value *value, struct gw_err *err)
{
    if (json_kind(value) == JSON_OBJECT)
        return json_object(value, decode_input, decoding, err);
    return json_rows_append_column(&decoding->rows, NULL, 0, value, err);
}

static enum gw_status decode_rows(struct decoding *decoding, const char *key, size_t length,
                                  struct json_value *value, struct gw_err *err)
{
    if (decoding->has_rows)
        return gw_err_set(err, GW_E_INVALID,
                          "give exactly one of dataframe_split, dataframe_records, instances and inputs");
    decoding->has_rows = true;
    if (key_is(key, length, "dataframe_split"))
        return decode_split(decoding, value, err);
    if (key_is(key, length, "inputs"))
        return decode_inputs(decoding, value, err);
    return json_rows_append_all(&decoding->rows, value, err);
}

static enum gw_status decode_params(struct decoding *decoding, struct json_value *value, struct gw_err *err)
{
    struct request *request = decoding->request;
    const char *text;
    if (decoding->has_params)
        return json_refuse(value, err, "given twice");
    decoding->has_params = true;
    if (json_kind(value) == JSON_NULL)
        return GW_OK;
    if (json_kind(value) != JSON_OBJECT)
        return json_refuse(value, err, "expected an object");
    enum gw_status status = json_raw(value, request->arena, &text, &request->parameters_bytes, err);
    if (status == GW_OK)
        request->parameters = (const uint8_t *)text;
    return status;
}

static enum gw_status decode_member(void *owner, const char *key, size_t length, struct json_value *value,
                                    struct gw_err *err)
{
    static const char *const forms[] = {"dataframe_split", "dataframe_records", "instances", "inputs"};
    struct decoding *decoding = owner;
    struct request *request = decoding->request;
    const struct config_sticky *sticky = &request->endpoint->sticky;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (key_is(key, length, forms[i]))
            return decode_rows(decoding, key, length, value, err);
    if (key_is(key, length, "params"))
        return decode_params(decoding, value, err);
    if (sticky->kind == STICKY_FIELD && key_is(key, length, sticky->name))
        return json_word(value, request->arena, &request->sticky, &request->sticky_length, err);
    return GW_OK;
}

static enum gw_status decode_json(struct decoding *decoding, const char *text, size_t length)
{
    struct request *request = decoding->request;
    enum gw_status status =
        json_read(request->infer->json, text, length, decode_member, decoding, &request->err);
    if (status == GW_OK && !decoding->has_rows)
        return gw_err_set(&request->err, GW_E_INVALID,
                          "the body has none of dataframe_split, dataframe_records, instances and inputs");
    if (status == GW_OK && decoding->later)
        status = json_read(request->infer->json, text, length, decode_late, decoding, &request->err);
    return status == GW_OK ? json_rows_end(&decoding->rows) : status;
}

/* --- CSV (RFC 4180) -> the same as a data frame in JSON --- */

struct csv {
    const char *at, *end;
    struct buf cell; /* the latest, without its quotes */
    bool ends_line;
};

/* "a ""quoted"" cell". False: it does not end. at: behind the first quote. */
static bool take_quoted(struct csv *csv)
{
    while (csv->at < csv->end) {
        const char *quote = memchr(csv->at, '"', (size_t)(csv->end - csv->at));
        if (!quote)
            return false;
        buf_append(&csv->cell, csv->at, (size_t)(quote - csv->at));
        csv->at = quote + 1;
        if (csv->at == csv->end || *csv->at != '"')
            return true;
        buf_append(&csv->cell, "\"", 1);
        csv->at++;
    }
    return false;
}

/* The next cell, and what ends it: a comma, the end of the line, or of all. False: that is not CSV. */
static bool take_cell(struct csv *csv)
{
    csv->cell.length = 0;
    if (csv->at < csv->end && *csv->at == '"') {
        csv->at++;
        if (!take_quoted(csv))
            return false;
    } else {
        const char *from = csv->at;
        while (csv->at < csv->end && *csv->at != ',' && *csv->at != '\n' && *csv->at != '\r' &&
               *csv->at != '"')
            csv->at++;
        buf_append(&csv->cell, from, (size_t)(csv->at - from));
    }
    if (csv->at < csv->end && *csv->at == '\r')
        csv->at++;
    csv->ends_line = csv->at == csv->end || *csv->at == '\n';
    if (csv->at == csv->end)
        return true;
    return *csv->at++ == (csv->ends_line ? '\n' : ',');
}

static bool cell_is(const struct csv *csv, const char *word)
{
    return csv->cell.length == strlen(word) && strncasecmp(csv->cell.bytes, word, csv->cell.length) == 0;
}

/* What a cell is to pandas: a number, a boolean or, where it is empty, NaN; else text. */
static void write_cell(struct buf *out, struct csv *csv, struct json_reader *json, bool is_text)
{
    static const char *const words[] = {"true", "false"};
    if (!is_text && (!csv->cell.length || cell_is(csv, "nan"))) {
        buf_text(out, "\"NaN\"");
        return;
    }
    for (size_t i = 0; !is_text && i < sizeof words / sizeof *words; i++)
        if (cell_is(csv, words[i])) {
            buf_text(out, words[i]);
            return;
        }
    char first = csv->cell.length ? csv->cell.bytes[0] : '"';
    bool is_number = !is_text && (first == '-' || (first >= '0' && first <= '9')) &&
                     json_valid(json, csv->cell.bytes, csv->cell.length);
    if (is_number)
        buf_append(out, csv->cell.bytes, csv->cell.length);
    else
        buf_json_text(out, csv->cell.bytes, csv->cell.length);
}

/* As pandas does. */
static void skip_blank_lines(struct csv *csv)
{
    while (csv->at < csv->end && (*csv->at == '\n' || *csv->at == '\r'))
        csv->at++;
}

/* Whether the column of this name, or the only input, is text. */
static bool column_is_text(struct decoding *decoding, const struct csv *csv)
{
    const struct signature *signature = signature_of(decoding);
    for (uint32_t i = 0; i < signature->n_inputs; i++)
        if (key_is(csv->cell.bytes, csv->cell.length, signature->inputs[i].name))
            return signature->inputs[i].datatype == DT_BYTES;
    return signature->inputs[0].datatype == DT_BYTES;
}

static bool write_header(struct decoding *decoding, struct csv *csv, struct buf *out, struct buf *is_text)
{
    buf_text(out, "{\"dataframe_split\":{\"columns\":[");
    do {
        if (!take_cell(csv) || is_text->length >= COLUMNS_MAX)
            return false;
        buf_text(out, is_text->length ? "," : "");
        buf_json_text(out, csv->cell.bytes, csv->cell.length);
        buf_append(is_text, column_is_text(decoding, csv) ? "1" : "0", 1);
    } while (!csv->ends_line);
    buf_text(out, "],\"data\":[");
    return true;
}

static bool write_lines(struct decoding *decoding, struct csv *csv, struct buf *out,
                        const struct buf *is_text)
{
    skip_blank_lines(csv);
    for (uint32_t line = 0; csv->at < csv->end; line++) {
        buf_text(out, line ? ",[" : "[");
        for (size_t column = 0; column == 0 || !csv->ends_line; column++) {
            if (!take_cell(csv))
                return false;
            bool text = column < is_text->length && is_text->bytes[column] == '1';
            buf_text(out, column ? "," : "");
            write_cell(out, csv, decoding->request->infer->json, text);
        }
        buf_text(out, "]");
        skip_blank_lines(csv);
    }
    buf_text(out, "]}}");
    return true;
}

static enum gw_status decode_csv(struct decoding *decoding, const char *body, size_t length)
{
    struct csv csv = {.at = body, .end = body + length};
    struct buf document = {0}, is_text = {0};
    struct gw_err *err = &decoding->request->err;
    buf_reserve(&csv.cell, 1); /* so that its bytes are never NULL */
    bool is_csv =
        write_header(decoding, &csv, &document, &is_text) && write_lines(decoding, &csv, &document, &is_text);
    enum gw_status status = GW_OK;
    if (document.failed || csv.cell.failed || is_text.failed || !buf_reserve(&document, CODEC_PADDING))
        status = gw_err_no_memory(err);
    else if (!is_csv)
        status = gw_err_set(err, GW_E_INVALID, "not CSV near byte %zu", (size_t)(csv.at - body));
    else
        status = decode_json(decoding, document.bytes, document.length);
    buf_clear(&csv.cell);
    buf_clear(&is_text);
    buf_clear(&document);
    return status;
}

static enum gw_status mlflow_decode(struct request *request, const char *body, size_t length)
{
    struct decoding decoding = {.request = request};
    enum gw_status status = json_rows_begin(&decoding.rows, request);
    decoding.rows.names_only_input = true;
    if (status != GW_OK)
        return status;
    return request->own ? decode_csv(&decoding, body, length) : decode_json(&decoding, body, length);
}

/* --- outcomes -> body --- */

static const char *error_code(enum gw_status status)
{
    switch (gw_status_http(status)) {
    case 404:
        return "ENDPOINT_NOT_FOUND";
    case 429:
        return "REQUEST_LIMIT_EXCEEDED";
    case 501:
        return "NOT_IMPLEMENTED";
    case 503:
    case 504:
        return "TEMPORARILY_UNAVAILABLE";
    default:
        return gw_status_http(status) >= 500 ? "INTERNAL_ERROR" : "BAD_REQUEST";
    }
}

static void mlflow_write_error(struct buf *out, enum gw_status status, const char *what)
{
    buf_printf(out, "{\"error_code\":\"%s\",\"message\":", error_code(status));
    buf_json_text(out, what, strlen(what));
    buf_text(out, "}");
}

static enum gw_status write_answer(struct request *request)
{
    struct buf *out = &request->reply;
    enum gw_status status = answer_begin(request);
    if (status != GW_OK)
        return status;
    buf_text(out, "{\"predictions\":[");
    for (uint32_t row = 0; row < request->n_rows && status == GW_OK; row++) {
        buf_text(out, row ? "," : "");
        status = answer_write_row(request, row);
    }
    buf_text(out, "]");
    const struct row_outcome *failed = answer_defaulted(request);
    if (failed)
        buf_printf(out, ",\"default\":true,\"cause\":\"%s\"", gw_status_cause(failed->status));
    buf_text(out, "}");
    return status;
}

static void mlflow_encode(struct request *request)
{
    if (request->status == GW_OK || request->status == GW_PARTIAL)
        request->status = write_answer(request);
    if (request->status == GW_OK)
        return;
    request->reply.length = 0;
    mlflow_write_error(&request->reply, request->status, request->err.what);
}

const struct dialect mlflow_dialect = {"mlflow", mlflow_decode, mlflow_encode, mlflow_write_error, NULL};

/* --- the paths --- */

static void reply_text(struct exchange *exchange, enum gw_status status, const char *type, const char *text)
{
    struct http_reply reply = {.status = gw_status_http(status), .content_type = type};
    buf_text(&reply.body, text);
    if (!reply.body.failed) {
        exchange_reply(exchange, &reply);
        return;
    }
    buf_clear(&reply.body);
    exchange_abandon(exchange);
}

/* Its server has a model, or is not found. */
static void reply_health(struct infer *infer, struct exchange *exchange)
{
    const struct config_endpoint *endpoint = infer->period->plan->config->mlflow;
    if (!endpoint) {
        reply_error(exchange, &mlflow_dialect, GW_E_NOT_FOUND, NULL, NO_MLFLOW);
        return;
    }
    bool ready = false;
    for (uint32_t i = 0; i < endpoint->n_arms && !ready; i++)
        ready = version_is_ready(infer->period->plan->versions[endpoint->arms[i].version->index]);
    reply_text(exchange, ready ? GW_OK : GW_E_NOT_FOUND, "application/json", "\n");
}

/* What follows the type must be charset=utf-8 or nothing. */
static bool has_known_parameters(const struct http_header *header)
{
    const char *at = strchr(header->value, ';');
    if (!at)
        return true;
    at += 1 + strspn(at + 1, " \t");
    return !*at || !strcasecmp(at, "charset=utf-8") || !strcasecmp(at, "charset=\"utf-8\"");
}

static void invoke(struct infer *infer, struct exchange *exchange)
{
    const struct http_message *message = &exchange->message;
    const struct config_endpoint *endpoint = infer->period->plan->config->mlflow;
    const struct http_header *type = http_message_header(message, "content-type");
    bool json = http_message_is(message, "application/json", false),
         csv = http_message_is(message, "text/csv", false);
    if (!endpoint)
        reply_error(exchange, &mlflow_dialect, GW_E_NOT_FOUND, NULL, NO_MLFLOW);
    else if ((!json && !csv) || !has_known_parameters(type))
        reply_text(
            exchange, GW_E_MEDIA_TYPE, "text/plain",
            "This predictor only supports the following content types: text/csv, application/json, both "
            "in UTF-8.\n");
    else
        predict_start(infer, exchange,
                      &(struct predict_ask){
                          .dialect = &mlflow_dialect, .endpoint = endpoint, .own = csv ? exchange : NULL});
}

void mlflow_handle(struct infer *infer, struct exchange *exchange)
{
    const struct http_message *message = &exchange->message;
    bool is_invoke = !strcmp(message->path, "/invocations");
    bool is_get = message->method == HTTP_M_GET || message->method == HTTP_M_HEAD;
    bool is_version = !strcmp(message->path, "/version");
    if (!is_invoke && !is_version && strcmp(message->path, "/ping") != 0 &&
        strcmp(message->path, "/health") != 0)
        reply_not_found(exchange, &mlflow_dialect, message->path, message->path_length, ": no such path");
    else if (is_invoke && message->method != HTTP_M_POST)
        reply_error(exchange, &mlflow_dialect, GW_E_METHOD, "Allow: POST\r\n",
                    "a prediction is asked for with POST");
    else if (!is_invoke && !is_get)
        reply_error(exchange, &mlflow_dialect, GW_E_METHOD, "Allow: GET, HEAD\r\n",
                    "this is asked for with GET");
    else if (is_invoke)
        invoke(infer, exchange);
    else if (is_version)
        reply_text(exchange, GW_OK, "text/plain", XEBEC_VERSION);
    else
        reply_health(infer, exchange);
}
