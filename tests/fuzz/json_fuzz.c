/*
 * Bodies as clients may send them. Byte 0 picks a signature, byte 1 is what stands behind the body in memory.
 * What decodes must be JSON whatever stands there, and must come back the same when it is written and read
 * again.
 */
#include <stdlib.h>
#include <string.h>

#include "edge/clipper.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT(label, type, code, n_dims, ...)                                                                \
    {                                                                                                        \
        .name = label, .datatype = type, .encoding = code, .dims = n_dims, .shape = { -1, __VA_ARGS__ }      \
    }

static struct tensor_spec bools[] = {INPUT("x", DT_BOOL, 0, 2, 3)};
static struct tensor_spec floats[] = {INPUT("x", DT_FP32, 0, 2, 4)};
static struct tensor_spec open_floats[] = {INPUT("x", DT_FP32, 0, 3, -1, 2)};
static struct tensor_spec doubles[] = {INPUT("x", DT_FP64, 0, 3, -1, -1)};
static struct tensor_spec halves[] = {INPUT("x", DT_FP16, 0, 2, -1)};
static struct tensor_spec integers[] = {INPUT("x", DT_INT64, 0, 2, -1)};
static struct tensor_spec bytes[] = {INPUT("x", DT_UINT8, 0, 3, 2, 2)};
static struct tensor_spec text[] = {INPUT("x", DT_BYTES, TENSOR_TEXT, 1, 0)};
static struct tensor_spec base64[] = {INPUT("x", DT_BYTES, TENSOR_BASE64, 2, -1)};
static struct tensor_spec json[] = {INPUT("x", DT_BYTES, TENSOR_JSON, 1, 0)};
static struct tensor_spec json_lists[] = {INPUT("x", DT_BYTES, TENSOR_JSON, 3, -1, 2)};
static struct tensor_spec several[] = {INPUT("age", DT_UINT64, 0, 1, 0),
                                       INPUT("name", DT_BYTES, TENSOR_TEXT, 1, 0),
                                       INPUT("b", DT_BF16, 0, 2, 2)};
#define SIGNATURE(specs)                                                                                     \
    {                                                                                                        \
        .inputs = specs, .n_inputs = sizeof specs / sizeof *specs                                            \
    }
static const struct signature signatures[] = {
    SIGNATURE(bools),  SIGNATURE(floats),   SIGNATURE(open_floats), SIGNATURE(doubles),
    SIGNATURE(halves), SIGNATURE(integers), SIGNATURE(bytes),       SIGNATURE(text),
    SIGNATURE(base64), SIGNATURE(json),     SIGNATURE(json_lists),  SIGNATURE(several),
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* ---- a request without anything around it ---- */

struct fixture {
    struct arena arena;
    struct config config;
    struct period period;
    struct config_endpoint endpoint;
    struct infer infer;
    struct request request;
};

static enum gw_status decode(struct fixture *fixture, const struct signature *signature, const char *body,
                             size_t length, uint8_t beyond)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->config.limits.rows = 100;
    fixture->endpoint.signature = signature;
    atomic_init(&fixture->config.refs, 1);
    fixture->period.plan = plan_new(&fixture->config);
    require(fixture->period.plan);
    fixture->infer.json = json_reader_new();
    fixture->request.infer = &fixture->infer;
    fixture->request.period = &fixture->period;
    fixture->request.endpoint = &fixture->endpoint;
    fixture->request.arena = &fixture->arena;
    char *copy = malloc(length + CODEC_PADDING);
    require(fixture->infer.json && copy);
    if (length)
        memcpy(copy, body, length);
    memset(copy + length, beyond, CODEC_PADDING);
    enum gw_status status = clipper_dialect.decode(&fixture->request, copy, length);
    free(copy);
    require(status == GW_OK || (fixture->request.err.status == status && fixture->request.err.what[0]));
    return status;
}

static void close_fixture(struct fixture *fixture)
{
    json_reader_free(fixture->infer.json);
    plan_unref(fixture->period.plan);
    arena_clear(&fixture->arena);
}

/* ---- there and back ---- */

static void write_row(struct buf *out, struct fixture *fixture, uint32_t row)
{
    const struct request *request = &fixture->request;
    for (uint32_t i = 0; i < request->n_inputs; i++) {
        const struct tensor *input = &request->inputs[i];
        if (request->n_inputs != 1)
            buf_printf(out, "%s\"%s\":", i ? "," : "{", input->spec.name);
        require(json_write_row(out, fixture->infer.json, input, row) == GW_OK);
    }
    if (request->n_inputs != 1)
        buf_text(out, "}");
}

static void write_body(struct buf *out, struct fixture *fixture)
{
    const struct request *request = &fixture->request;
    buf_text(out, request->is_batch ? "{\"input_batch\":[" : "{\"input\":");
    for (uint32_t row = 0; row < request->n_rows; row++) {
        buf_text(out, row ? "," : "");
        write_row(out, fixture, row);
    }
    buf_text(out, request->is_batch ? "]}" : "}");
    require(!out->failed);
}

/* Not where a row without elements was written as [], however deep its lists were, or {"b64": ...} in a text
 * as U+FFFD. */
static bool comes_back(const struct request *request, const struct buf *written)
{
    for (uint32_t i = 0; i < request->n_inputs; i++) {
        size_t elements;
        require(tensor_row_elements(&request->inputs[i].spec, &elements));
        if (elements == 0)
            return false;
    }
    return !memmem(written->bytes, written->length, "\xEF\xBF\xBD", 3);
}

static void require_same(const struct request *a, const struct request *b)
{
    require(a->n_inputs == b->n_inputs && a->n_rows == b->n_rows && a->is_batch == b->is_batch);
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        const struct tensor *one = &a->inputs[i], *other = &b->inputs[i];
        require(one->spec.shape[0] == a->n_rows && tensor_spec_fits(&one->spec, &other->spec));
        require(one->bytes == other->bytes && !memcmp(one->data, other->data, one->bytes));
        for (uint32_t row = 0; one->row_end && row < a->n_rows; row++)
            require(one->row_end[row] == other->row_end[row]);
    }
}

static void there_and_back(const struct signature *signature, const char *body, size_t length, uint8_t beyond)
{
    struct fixture first, again;
    struct buf out = {0};
    enum gw_status status = decode(&first, signature, body, length, beyond);
    require(decode(&again, signature, body, length, '}') == status);
    close_fixture(&again);
    if (status == GW_OK) {
        require(json_valid(first.infer.json, body, length));
        write_body(&out, &first);
        if (comes_back(&first.request, &out)) {
            require(decode(&again, signature, out.bytes, out.length, beyond) == GW_OK);
            require_same(&first.request, &again.request);
            close_fixture(&again);
        }
    }
    buf_clear(&out);
    close_fixture(&first);
}

/* ---- any bytes as a model's answer ---- */

static void write_output(const char *content, size_t length, enum tensor_encoding encoding)
{
    struct json_reader *reader = json_reader_new();
    struct buf element = {0}, out = {0};
    uint32_t prefix = (uint32_t)length, row_end = prefix + 4;
    buf_append(&element, &prefix, sizeof prefix);
    buf_append(&element, content, length);
    struct tensor tensor = {.spec = {.datatype = DT_BYTES, .encoding = encoding, .dims = 1, .shape = {1}},
                            .data = (const uint8_t *)element.bytes,
                            .bytes = element.length,
                            .row_end = &row_end};
    require(reader && !element.failed);
    enum gw_status status = json_write_row(&out, reader, &tensor, 0);
    require(status == GW_OK ? json_valid(reader, out.bytes, out.length)
                            : encoding == TENSOR_JSON && status == GW_E_CONTRACT && out.length == 0);
    buf_clear(&element);
    buf_clear(&out);
    json_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *body = (const char *)data + 2;
    there_and_back(&signatures[data[0] % (sizeof signatures / sizeof *signatures)], body, size - 2, data[1]);
    for (enum tensor_encoding encoding = TENSOR_TEXT; encoding <= TENSOR_JSON; encoding++)
        write_output(body, size - 2, encoding);
    return 0;
}
