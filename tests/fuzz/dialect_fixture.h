/*
 * dialect_fixture: one request of a dialect, made by hand, for those who feed it bodies: an endpoint whose model has one of
 * some signatures, and outputs like its inputs, so that what was asked can be the answer. Nothing runs.
 */
#ifndef XEBEC_TESTS_FUZZ_DIALECT_FIXTURE_H
#define XEBEC_TESTS_FUZZ_DIALECT_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "infer/request.h"

enum { FIXTURE_ROWS = 100 };

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
static struct tensor_spec several[] = {INPUT("age", DT_UINT8, 0, 1, 0), INPUT("name", DT_BYTES, TENSOR_TEXT, 1, 0),
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

static inline void require(bool holds)
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
    struct request request;
    char *body;
};

/* pick: any number. own: the dialect's. */
static inline void open_fixture(struct fixture *f, uint8_t pick, const struct dialect *dialect, void *own)
{
    memset(f, 0, sizeof *f);
    f->config.limits.rows = FIXTURE_ROWS;
    atomic_init(&f->config.refs, 1);
    f->period.plan = plan_new(&f->config);
    f->infer.json = json_reader_new();
    require(f->period.plan && f->infer.json);
    f->version = (struct config_version){.name = "v", .full_name = "m@v", .model = &f->model};
    f->arm.version = &f->version;
    f->endpoint = (struct config_endpoint){.name = "e",
                                           .signature = &signatures[pick % (sizeof signatures / sizeof *signatures)],
                                           .arms = &f->arm,
                                           .n_arms = 1};
    f->request = (struct request){.infer = &f->infer,
                                  .period = &f->period,
                                  .dialect = dialect,
                                  .endpoint = &f->endpoint,
                                  .version = &f->version,
                                  .arena = &f->arena,
                                  .own = own,
                                  .deadline_us = UINT64_MAX};
}

static inline void close_fixture(struct fixture *f)
{
    json_reader_free(f->infer.json);
    plan_unref(f->period.plan);
    buf_clear(&f->request.reply);
    arena_clear(&f->arena);
    free(f->body);
}

/* beyond: what stands behind the body in memory. */
static inline enum gw_status decode(struct fixture *f, const void *body, size_t length, uint8_t beyond)
{
    f->body = malloc(length + CODEC_PADDING);
    require(f->body);
    if (length)
        memcpy(f->body, body, length);
    memset(f->body + length, beyond, CODEC_PADDING);
    enum gw_status status = f->request.dialect->decode(&f->request, f->body, length);
    require(status == GW_OK || (f->request.err.status == status && f->request.err.what[0]));
    return status;
}

/* Its tensors hold together. */
static inline void require_whole(const struct request *request)
{
    require(request->n_rows >= 1 && request->n_rows <= FIXTURE_ROWS);
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
static inline void answer(struct request *request)
{
    static struct row rows[FIXTURE_ROWS];
    static struct predict_result result;
    result = (struct predict_result){
        .n_rows = request->n_rows, .n_outputs = request->n_inputs, .outputs = request->inputs};
    for (uint32_t i = 0; i < request->n_rows; i++)
        rows[i] = (struct row){.outcome = {.status = GW_OK, .result = &result, .row = i}};
    request->rows = rows;
    request->status = GW_OK;
    request->dialect->encode(request);
    require(!request->reply.failed);
}

#endif
