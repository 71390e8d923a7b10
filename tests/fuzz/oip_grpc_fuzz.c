/*
 * What clients may send as a ModelInferRequest. Byte 0 picks a signature, byte 1 whether the contents are
 * taken for raw. What decodes has tensors that hold together, and comes back the same when it is answered as
 * if by an echo and that answer is asked again.
 */
#include <stdlib.h>
#include <string.h>

#include "edge/oip_grpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT(label, type, code, n_dims, ...)                                                                \
    {                                                                                                        \
        .name = label, .datatype = type, .encoding = code, .dims = n_dims, .shape = { -1, __VA_ARGS__ }      \
    }

static struct tensor_spec floats[] = {INPUT("x", DT_FP32, 0, 2, 2)};
static struct tensor_spec open_integers[] = {INPUT("x", DT_INT64, 0, 3, -1, -1)};
static struct tensor_spec bools[] = {INPUT("x", DT_BOOL, 0, 2, -1)};
static struct tensor_spec halves[] = {INPUT("x", DT_FP16, 0, 1, 0)};
static struct tensor_spec bytes[] = {INPUT("x", DT_BYTES, TENSOR_TEXT, 2, -1)};
static struct tensor_spec documents[] = {INPUT("x", DT_BYTES, TENSOR_JSON, 1, 0)};
static struct tensor_spec several[] = {INPUT("age", DT_INT8, 0, 1, 0),
                                       INPUT("name", DT_BYTES, TENSOR_BASE64, 1, 0),
                                       INPUT("x", DT_FP64, 0, 2, 1)};
#define SIGNATURE(specs)                                                                                     \
    {                                                                                                        \
        .inputs = specs, .n_inputs = sizeof specs / sizeof *specs, .outputs = specs,                         \
        .n_outputs = sizeof specs / sizeof *specs                                                            \
    }
static const struct signature signatures[] = {
    SIGNATURE(floats), SIGNATURE(open_integers), SIGNATURE(bools),  SIGNATURE(halves),
    SIGNATURE(bytes),  SIGNATURE(documents),     SIGNATURE(several)};

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
    struct oip_grpc_ask ask;
    struct request request;
    char *body;
};

static void open_fixture(struct fixture *f, const struct signature *signature, bool raw)
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
    f->endpoint.sticky = (struct config_sticky){.kind = STICKY_FIELD, .name = "user"};
    f->ask.raw = raw;
    f->ask.deadline_us = UINT64_MAX;
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

static enum gw_status decode(struct fixture *f, const void *body, size_t length)
{
    f->body = calloc(1, length + CODEC_PADDING);
    require(f->body);
    if (length)
        memcpy(f->body, body, length);
    enum gw_status status = oip_grpc_dialect.decode(&f->request, f->body, length);
    require(status == GW_OK || (f->request.err.status == status && f->request.err.what[0]));
    return status;
}

static void require_whole(const struct request *request)
{
    require(request->n_rows >= 1 && request->n_rows <= 100);
    for (uint32_t i = 0; i < request->n_inputs; i++) {
        const struct tensor *input = &request->inputs[i];
        size_t elements, row_bytes, end = 0;
        require(tensor_spec_fits(&request->endpoint->signature->inputs[i], &input->spec));
        require(input->spec.shape[0] == request->n_rows && tensor_row_elements(&input->spec, &elements));
        for (uint32_t row = 0; row < request->n_rows; row++) {
            const uint8_t *at = tensor_row(input, row, &row_bytes);
            require(at >= input->data && (size_t)(at - input->data) + row_bytes <= input->bytes);
            end += row_bytes;
        }
        require(end == input->bytes);
    }
    require(!request->parameters ||
            json_valid(request->infer->json, (const char *)request->parameters, request->parameters_bytes));
}

/* The inputs are the answer. */
static void answer(struct request *request)
{
    struct predict_result result = {
        .n_rows = request->n_rows, .n_outputs = request->n_inputs, .outputs = request->inputs};
    struct row rows[100] = {0};
    for (uint32_t i = 0; i < request->n_rows; i++)
        rows[i].outcome = (struct row_outcome){.status = GW_OK, .result = &result, .row = i};
    request->rows = rows;
    request->status = GW_OK;
    oip_grpc_dialect.encode(request);
    require(request->status == GW_OK && !request->reply.failed);
    request->rows = NULL;
}

/* An answer as a question: raw contents have another number there. */
static void turn_round(const struct buf *reply, struct buf *message, bool *raw)
{
    struct wire wire = wire_of(reply->bytes + GRPC_PREFIX_BYTES, reply->length - GRPC_PREFIX_BYTES);
    struct wire_field field;
    while (wire_next(&wire, &field)) {
        *raw |= field.number == 6;
        if (field.number == 5 || field.number == 6)
            wire_put_bytes(message, field.number == 6 ? 7 : 5, field.bytes, field.length);
    }
    require(!wire.malformed && !message->failed);
}

static void require_same(const struct fixture *f, const struct fixture *again)
{
    for (uint32_t i = 0; i < f->request.n_inputs; i++) {
        const struct tensor *a = &f->request.inputs[i], *b = &again->request.inputs[i];
        require(tensor_spec_same(&a->spec, &b->spec) && a->bytes == b->bytes &&
                !memcmp(a->data, b->data, a->bytes));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fixture f, again;
    if (size < 2)
        return 0;
    const struct signature *signature = &signatures[data[0] % (sizeof signatures / sizeof *signatures)];
    open_fixture(&f, signature, data[1] & 1);
    if (decode(&f, data + 2, size - 2) == GW_OK) {
        struct buf message = {0};
        bool raw = false;
        require_whole(&f.request);
        f.ask.n_wanted = 0;
        answer(&f.request);
        turn_round(&f.request.reply, &message, &raw);
        open_fixture(&again, signature, raw);
        require(decode(&again, message.bytes, message.length) == GW_OK);
        require_same(&f, &again);
        buf_clear(&message);
        close_fixture(&again);
    }
    close_fixture(&f);
    return 0;
}
