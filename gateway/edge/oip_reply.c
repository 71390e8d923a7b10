/* oip_reply: outcomes -> a document, and binary outputs behind it. */
#include "edge/oip_reply.h"

#include <string.h>

#include "edge/answer.h"
#include "edge/oip.h"
#include "edge/oip_tensors.h"

static void write_text_member(struct buf *out, const char *before, const char *text, size_t length)
{
    buf_text(out, before);
    buf_json_text(out, text, length);
}

static uint32_t count_outputs(const struct request *request)
{
    const struct oip_ask *ask = request->own;
    return ask->n_wanted ? ask->n_wanted : answer_outputs(request);
}

static const char *output_name(const struct request *request, uint32_t index)
{
    const struct oip_ask *ask = request->own;
    return ask->n_wanted ? ask->wanted[index] : answer_output_name(request, index);
}

static bool output_is_binary(const struct request *request, uint32_t index)
{
    const struct oip_ask *ask = request->own;
    return ask->n_wanted && ask->says[index] >= 0 ? ask->says[index] : ask->binary;
}

static enum gw_status write_data(struct request *request, const char *name)
{
    struct buf *out = &request->reply;
    buf_text(out, ",\"data\":[");
    for (uint32_t row = 0; row < request->n_rows; row++) {
        uint32_t at;
        struct tensor tensor = *answer_row(request, name, row, &at);
        if (tensor.spec.encoding == TENSOR_JSON) /* BYTES are strings here */
            tensor.spec.encoding = TENSOR_TEXT;
        size_t before = out->length;
        if (row)
            buf_text(out, ",");
        size_t start = out->length;
        enum gw_status status = json_write_elements(out, request->infer->json, &tensor, at);
        if (status != GW_OK)
            return gw_err_set(&request->err, status, "%s", gw_status_words(status));
        if (out->length == start) /* a row of nothing */
            out->length = before;
    }
    buf_text(out, "]");
    return GW_OK;
}

static void write_shape(struct buf *out, const struct tensor_spec *spec)
{
    for (unsigned i = 0; i < spec->dims; i++) {
        buf_text(out, i ? "," : "[");
        buf_number(out, spec->shape[i]);
    }
    buf_text(out, "]");
}

static enum gw_status write_output(struct request *request, uint32_t index)
{
    struct buf *out = &request->reply;
    struct answer_output output;
    const char *name = output_name(request, index);
    enum gw_status status = answer_output(request, name, &output);
    if (status != GW_OK)
        return status;
    write_text_member(out, index ? ",{\"name\":" : "{\"name\":", name, strlen(name));
    buf_text(out, ",\"datatype\":\"");
    buf_text(out, datatype_name(output.spec.datatype));
    buf_text(out, "\",\"shape\":");
    write_shape(out, &output.spec);
    if (!output_is_binary(request, index)) {
        status = write_data(request, name);
    } else {
        buf_text(out, ",\"parameters\":{\"binary_data_size\":");
        buf_number(out, (int64_t)output.bytes);
        buf_text(out, "}");
    }
    buf_text(out, "}");
    return status;
}

/* An answer that is the endpoint's default says so, and why. */
static void write_parameters(struct request *request)
{
    struct buf *out = &request->reply;
    const struct row_outcome *failed = answer_defaulted(request);
    if (!failed)
        return;
    const char *words = failed->message ? failed->message : gw_status_words(failed->status);
    buf_printf(out, ",\"parameters\":{\"default\":true,\"cause\":\"%s\"", gw_status_cause(failed->status));
    write_text_member(out, ",\"default_explanation\":", words, strlen(words));
    buf_text(out, "}");
}

static enum gw_status write_document(struct request *request)
{
    struct buf *out = &request->reply;
    const struct oip_ask *ask = request->own;
    const char *model = request->endpoint->name;
    const char *version = oip_version_name(request->endpoint, request->version);
    enum gw_status status = GW_OK;
    write_text_member(out, "{\"model_name\":", model, strlen(model));
    write_text_member(out, ",\"model_version\":", version, strlen(version));
    if (ask->id)
        write_text_member(out, ",\"id\":", ask->id, ask->id_length);
    write_parameters(request);
    buf_text(out, ",\"outputs\":[");
    for (uint32_t i = 0; i < count_outputs(request) && status == GW_OK; i++)
        status = write_output(request, i);
    buf_text(out, "]}");
    return status;
}

/* Room for all of them at once: growing would copy what is there. */
static void reserve_binary(struct request *request)
{
    struct answer_output output;
    size_t bytes = 0;
    for (uint32_t i = 0; i < count_outputs(request); i++)
        if (output_is_binary(request, i) && answer_output(request, output_name(request, i), &output) == GW_OK)
            bytes += output.bytes;
    (void)buf_reserve(&request->reply, bytes);
}

/* NULL: out of memory. */
static const char *header_of_length(struct request *request, size_t json_bytes)
{
    struct buf text = {0};
    buf_text(&text, "Inference-Header-Content-Length: ");
    buf_number(&text, (int64_t)json_bytes);
    buf_text(&text, "\r\n");
    const char *header = text.failed ? NULL : arena_text(request->arena, text.bytes, text.length);
    buf_clear(&text);
    return header;
}

/* The binary outputs, behind the document. */
static enum gw_status write_binary(struct request *request)
{
    size_t json_bytes = request->reply.length;
    bool any = false;
    reserve_binary(request);
    for (uint32_t i = 0; i < count_outputs(request); i++) {
        if (!output_is_binary(request, i))
            continue;
        any = true;
        answer_write_bytes(request, output_name(request, i));
    }
    if (!any)
        return GW_OK;
    request->reply_type = "application/octet-stream";
    request->reply_headers = header_of_length(request, json_bytes);
    return request->reply_headers ? GW_OK : gw_err_no_memory(&request->err);
}

void oip_encode(struct request *request)
{
    enum gw_status status = request->status;
    if (status == GW_OK || status == GW_PARTIAL)
        status = answer_begin(request);
    if (status == GW_OK)
        status = write_document(request);
    if (status == GW_OK)
        status = write_binary(request);
    request->status = status;
    if (status == GW_OK)
        return;
    request->reply.length = 0;
    request->reply_type = request->reply_headers = NULL;
    oip_write_error(&request->reply, status, request->err.what);
}

void oip_write_error(struct buf *out, enum gw_status status, const char *what)
{
    (void)status;
    buf_text(out, "{\"error\":");
    buf_json_text(out, what, strlen(what));
    buf_text(out, "}");
}
