/*
 * What clients may send to /v2/models/{endpoint}/infer. Byte 0 picks a signature, byte 1 what stands behind
 * the body in memory, bytes 2 and 3 how much of it is the document: 65535 is all of it, with no header that
 * says so. What decodes has tensors that hold together, and comes back the same when it is answered as if by
 * an echo, in JSON and in binary.
 */
#include <stdlib.h>
#include <string.h>

#include "edge/oip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT(label, type, code, n_dims, ...)                                                                \
    {                                                                                                        \
        .name = label, .datatype = type, .encoding = code, .dims = n_dims, .shape = { -1, __VA_ARGS__ }      \
    }

static struct tensor_spec floats[] = {INPUT("x", DT_FP32, 0, 2, 2)};
static struct tensor_spec open_integers[] = {INPUT("x", DT_INT64, 0, 3, -1, -1)};
static struct tensor_spec bools[] = {INPUT("x", DT_BOOL, 0, 2, -1)};
static struct tensor_spec halves[] = {INPUT("x", DT_FP16, 0, 1, 0)};
static struct tensor_spec text[] = {INPUT("x", DT_BYTES, TENSOR_TEXT, 2, -1)};
static struct tensor_spec base64[] = {INPUT("x", DT_BYTES, TENSOR_BASE64, 1, 0)};
static struct tensor_spec documents[] = {INPUT("x", DT_BYTES, TENSOR_JSON, 1, 0)};
static struct tensor_spec several[] = {INPUT("age", DT_UINT8, 0, 1, 0),
                                       INPUT("name", DT_BYTES, TENSOR_TEXT, 1, 0),
                                       INPUT("x", DT_FP64, 0, 2, 1)};
#define SIGNATURE(specs)                                                                                     \
    {                                                                                                        \
        .inputs = specs, .n_inputs = sizeof specs / sizeof *specs, .outputs = specs,                         \
        .n_outputs = sizeof specs / sizeof *specs                                                            \
    }
static const struct signature signatures[] = {
    SIGNATURE(floats), SIGNATURE(open_integers), SIGNATURE(bools),     SIGNATURE(halves),
    SIGNATURE(text),   SIGNATURE(base64),        SIGNATURE(documents), SIGNATURE(several),
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

struct fixture {
    struct arena arena;
    struct config config;
    struct config_arm arm;
    struct config_model model;
    struct config_version version;
    struct config_endpoint endpoint;
    struct period period;
    struct infer infer;
    struct oip_ask ask;
    struct request request;
    char *body;
};

static void open_fixture(struct fixture *f, const struct signature *signature)
{
    memset(f, 0, sizeof *f);
    f->config.limits.rows = 100;
    atomic_init(&f->config.refs, 1);
    f->period.plan = plan_new(&f->config);
    f->infer.json = json_reader_new();
    require(f->period.plan && f->infer.json);
    f->version = (struct config_version){.name = "v", .full_name = "m@v", .model = &f->model};
    f->arm.version = &f->version;
    f->endpoint = (struct config_endpoint){.name = "e", .signature = signature, .arms = &f->arm, .n_arms = 1};
    f->request = (struct request){.infer = &f->infer,
                                  .period = &f->period,
                                  .endpoint = &f->endpoint,
                                  .version = &f->version,
                                  .arena = &f->arena,
                                  .own = &f->ask,
                                  .deadline_us = UINT64_MAX};
}

static void close_fixture(struct fixture *f)
{
    json_reader_free(f->infer.json);
    plan_unref(f->period.plan);
    buf_clear(&f->request.reply);
    arena_clear(&f->arena);
    free(f->body);
}

static enum gw_status decode(struct fixture *f, const void *body, size_t length, uint8_t beyond)
{
    f->body = malloc(length + CODEC_PADDING);
    require(f->body);
    if (length)
        memcpy(f->body, body, length);
    memset(f->body + length, beyond, CODEC_PADDING);
    enum gw_status status = oip_dialect.decode(&f->request, f->body, length);
    require(status == GW_OK || (f->request.err.status == status && f->request.err.what[0]));
    return status;
}

static void require_whole(const struct request *request)
{
    require(request->n_rows >= 1 && request->n_rows <= 100);
    for (uint32_t i = 0; i < request->n_inputs; i++) {
        const struct tensor *input = &request->inputs[i];
        size_t elements, bytes, end = 0;
        require(tensor_spec_fits(&request->endpoint->signature->inputs[i], &input->spec));
        require(input->spec.shape[0] == request->n_rows && tensor_row_elements(&input->spec, &elements));
        for (uint32_t row = 0; row < request->n_rows; row++) {
            const uint8_t *at = tensor_row(input, row, &bytes);
            require(at >= input->data && (size_t)(at - input->data) + bytes <= input->bytes);
            end += bytes;
        }
        require(end == input->bytes);
        require(input->spec.datatype == DT_BYTES ||
                input->bytes == elements * request->n_rows * datatype_bytes(input->spec.datatype));
    }
}

/* The inputs are the answer. */
static void answer(struct fixture *f, bool binary)
{
    struct request *request = &f->request;
    struct predict_result result = {
        .n_rows = request->n_rows, .n_outputs = request->n_inputs, .outputs = request->inputs};
    struct row rows[100] = {0};
    size_t json_bytes;
    for (uint32_t i = 0; i < request->n_rows; i++)
        rows[i].outcome = (struct row_outcome){.status = GW_OK, .result = &result, .row = i};
    f->ask.binary = binary;
    request->rows = rows;
    request->status = GW_OK;
    oip_dialect.encode(request);
    require(request->status == GW_OK && !request->reply.failed);
    json_bytes = request->reply.length;
    if (request->reply_headers)
        json_bytes = strtoull(strchr(request->reply_headers, ':') + 1, NULL, 10);
    require(json_bytes <= request->reply.length &&
            json_valid(f->infer.json, request->reply.bytes, json_bytes));
    require(request->reply_headers || request->reply.length == json_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fixture f, again;
    if (size < 4)
        return 0;
    const struct signature *signature = &signatures[data[0] % (sizeof signatures / sizeof *signatures)];
    size_t json_bytes = data[2] | (size_t)data[3] << 8;
    open_fixture(&f, signature);
    open_fixture(&again, signature);
    f.ask.has_json_bytes = again.ask.has_json_bytes = json_bytes != 65535;
    f.ask.json_bytes = again.ask.json_bytes = json_bytes;
    enum gw_status status = decode(&f, data + 4, size - 4, data[1]);
    require((decode(&again, data + 4, size - 4, '}') == GW_OK) ==
            (status == GW_OK)); /* of two faults, either is told */
    if (status == GW_OK) {
        require_whole(&f.request);
        answer(&f, true);
        answer(&again, false);
    }
    close_fixture(&f);
    close_fixture(&again);
    return 0;
}
