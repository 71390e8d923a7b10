/* answer: rows, and the default of those that failed, to one answer. */
#include "edge/answer.h"

#include <inttypes.h>
#include <string.h>

/* --- the default as an answer --- */

struct default_reading {
    struct request *request;
    struct tensor *outputs;
    uint32_t n;
};

static enum gw_status read_default(void *owner, const char *key, size_t length, struct json_value *value,
                                   struct gw_err *err)
{
    struct default_reading *reading = owner;
    const struct signature *signature = reading->request->endpoint->signature;
    struct tensor_builder builder;
    for (uint32_t i = 0; i < signature->n_outputs; i++) {
        const struct tensor_spec *declared = &signature->outputs[i];
        if (strlen(declared->name) != length || memcmp(declared->name, key, length) != 0)
            continue;
        tensor_builder_init(&builder, reading->request->arena, declared, 1);
        enum gw_status status = json_append_row(value, &builder, err);
        if (status == GW_OK)
            reading->outputs[reading->n++] = tensor_builder_take(&builder);
        return status;
    }
    return json_refuse(value, err, "not declared");
}

/* The endpoint's default as a row; NULL: outputs are not declared, it does not fit them, or no memory. */
static struct predict_result *default_result(struct request *request)
{
    const struct config_endpoint *endpoint = request->endpoint;
    struct default_reading reading = {.request = request};
    struct predict_result *result = arena_zalloc(request->arena, sizeof *result);
    struct buf text = {0};
    reading.outputs = arena_array(request->arena, endpoint->n_defaults, sizeof *reading.outputs);
    for (uint32_t i = 0; i < endpoint->n_defaults; i++) {
        buf_text(&text, i ? "," : "{");
        buf_json_text(&text, endpoint->defaults[i].name, strlen(endpoint->defaults[i].name));
        buf_text(&text, ":");
        buf_text(&text, endpoint->defaults[i].json);
    }
    buf_text(&text, "}");
    if (result && reading.outputs && buf_reserve(&text, CODEC_PADDING) &&
        json_read(request->infer->json, text.bytes, text.length, read_default, &reading, NULL) == GW_OK) {
        atomic_init(&result->refs, 1); /* the arena's */
        result->n_rows = 1;
        result->n_outputs = reading.n;
        result->outputs = reading.outputs;
    } else {
        result = NULL;
    }
    buf_clear(&text);
    return result;
}

/* --- the answer --- */

static enum gw_status row_failed(struct request *request, uint32_t row)
{
    const struct row_outcome *outcome = &request->rows[row].outcome;
    const char *words = outcome->message ? outcome->message : gw_status_words(outcome->status);
    if (request->n_rows == 1)
        return gw_err_set(&request->err, outcome->status, "%s", words);
    return gw_err_set(&request->err, outcome->status, "row %" PRIu32 ": %s", row, words);
}

enum gw_status answer_begin(struct request *request)
{
    request->substitute = NULL;
    for (uint32_t i = 0; i < request->n_rows; i++) {
        if (request->rows[i].outcome.status == GW_OK)
            continue;
        if (!request->substitute && request_row_defaulted(request, i))
            request->substitute = default_result(request);
        if (!request->substitute || !request_row_defaulted(request, i))
            return row_failed(request, i);
    }
    return GW_OK;
}

const struct row_outcome *answer_defaulted(const struct request *request)
{
    for (uint32_t i = 0; request->substitute && i < request->n_rows; i++)
        if (request->rows[i].outcome.status != GW_OK)
            return &request->rows[i].outcome;
    return NULL;
}

static const struct predict_result *answer_of(const struct request *request, uint32_t row, uint32_t *at)
{
    const struct row_outcome *outcome = &request->rows[row].outcome;
    *at = outcome->status == GW_OK ? outcome->row : 0;
    return outcome->status == GW_OK ? outcome->result : request->substitute;
}

uint32_t answer_outputs(const struct request *request)
{
    uint32_t at;
    return answer_of(request, 0, &at)->n_outputs;
}

const char *answer_output_name(const struct request *request, uint32_t index)
{
    uint32_t at;
    return answer_of(request, 0, &at)->outputs[index].spec.name;
}

const struct tensor *answer_row(const struct request *request, const char *name, uint32_t row, uint32_t *at)
{
    const struct predict_result *result = answer_of(request, row, at);
    for (uint32_t i = 0; i < result->n_outputs; i++)
        if (!strcmp(result->outputs[i].spec.name, name))
            return &result->outputs[i];
    return NULL;
}

const uint8_t *answer_row_bytes(const struct request *request, const char *name, uint32_t row, size_t *bytes)
{
    uint32_t at;
    const struct tensor *tensor = answer_row(request, name, row, &at);
    return tensor_row(tensor, at, bytes);
}

void answer_write_bytes(struct request *request, const char *name)
{
    for (uint32_t row = 0; row < request->n_rows; row++) {
        size_t bytes;
        const uint8_t *data = answer_row_bytes(request, name, row, &bytes);
        buf_append(&request->reply, data, bytes);
    }
}

/* All but the rows. */
static bool same_form(const struct tensor_spec *a, const struct tensor_spec *b)
{
    return a->datatype == b->datatype && a->dims == b->dims &&
           memcmp(a->shape + 1, b->shape + 1, (a->dims - 1u) * sizeof *a->shape) == 0;
}

enum gw_status answer_output(struct request *request, const char *name, struct answer_output *output)
{
    output->bytes = 0;
    for (uint32_t row = 0; row < request->n_rows; row++) {
        uint32_t at;
        size_t bytes;
        const struct tensor *tensor = answer_row(request, name, row, &at);
        if (!tensor)
            return gw_err_set(&request->err, GW_E_CONTRACT, "output %.64s is missing in the answer", name);
        if (row == 0)
            output->spec = tensor->spec;
        else if (!same_form(&output->spec, &tensor->spec))
            return gw_err_set(&request->err, GW_E_CONTRACT,
                              "output %.64s: rows of different shapes, which make no tensor", name);
        tensor_row(tensor, at, &bytes);
        output->bytes += bytes;
    }
    output->spec.shape[0] = request->n_rows;
    return GW_OK;
}

/* --- as JSON --- */

enum gw_status answer_write_cell(struct request *request, const char *name, uint32_t row)
{
    uint32_t at;
    const struct tensor *tensor = answer_row(request, name, row, &at);
    if (!tensor)
        return gw_err_set(&request->err, GW_E_CONTRACT, "output %.64s is missing in the answer", name);
    enum gw_status status = json_write_row(&request->reply, request->infer->json, tensor, at);
    if (status == GW_E_CONTRACT)
        return gw_err_set(&request->err, status,
                          "output %.64s is declared as JSON, and the model's answer is not", name);
    return status == GW_OK ? GW_OK : gw_err_set(&request->err, status, "%s", gw_status_words(status));
}

enum gw_status answer_write_row(struct request *request, uint32_t row)
{
    struct buf *out = &request->reply;
    uint32_t n = answer_outputs(request);
    if (n == 1)
        return answer_write_cell(request, answer_output_name(request, 0), row);
    enum gw_status status = GW_OK;
    buf_text(out, "{");
    for (uint32_t i = 0; i < n && status == GW_OK; i++) {
        const char *name = answer_output_name(request, i);
        buf_text(out, i ? "," : "");
        buf_json_text(out, name, strlen(name));
        buf_text(out, ":");
        status = answer_write_cell(request, name, row);
    }
    buf_text(out, "}");
    return status;
}
