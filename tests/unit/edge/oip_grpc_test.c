/* The Open Inference Protocol's dialect over gRPC: messages to tensors, outcomes to messages. The request is
 * made by hand; nothing runs. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "edge/oip_grpc.h"

enum { LIMIT_ROWS = 4 };

struct fixture {
    struct arena arena;
    struct config config;
    struct infer infer;
    struct signature signature;
    struct period period;
    struct config_endpoint endpoint;
    struct config_arm arm;
    struct config_model model;
    struct config_version version;
    struct oip_grpc_ask ask;
    struct request request;
    uint8_t *body;
};

#define SPEC(label, type, code, n_dims, ...)                                                                 \
    {                                                                                                        \
        .name = label, .datatype = type, .encoding = code, .dims = n_dims, .shape = { -1, __VA_ARGS__ }      \
    }
static struct tensor_spec pixels[] = {SPEC("x", DT_FP32, 0, 2, 2)};
static struct tensor_spec text[] = {SPEC("x", DT_BYTES, TENSOR_TEXT, 1, 0)};
static struct tensor_spec documents[] = {SPEC("x", DT_BYTES, TENSOR_JSON, 1, 0)};
static struct tensor_spec flags[] = {SPEC("x", DT_BOOL, 0, 1, 0)};
static struct tensor_spec small[] = {SPEC("x", DT_INT8, 0, 1, 0)};
static struct tensor_spec unsigned_small[] = {SPEC("x", DT_UINT16, 0, 1, 0)};
static struct tensor_spec wide[] = {SPEC("x", DT_INT64, 0, 1, 0)};
static struct tensor_spec half[] = {SPEC("x", DT_FP16, 0, 1, 0)};
static struct tensor_spec label_and_scores[] = {SPEC("label", DT_INT32, 0, 1, 0),
                                                SPEC("scores", DT_FP32, 0, 2, 2)};

static void open_fixture(struct fixture *f, struct tensor_spec *inputs)
{
    memset(f, 0, sizeof *f);
    f->config.limits.rows = LIMIT_ROWS;
    atomic_init(&f->config.refs, 1);
    f->period.plan = plan_new(&f->config);
    cr_assert_not_null(f->period.plan);
    f->infer.json = json_reader_new();
    f->signature =
        (struct signature){.inputs = inputs, .n_inputs = 1, .outputs = label_and_scores, .n_outputs = 2};
    f->model.name = "digits";
    f->version = (struct config_version){.name = "forest", .full_name = "digits@forest", .model = &f->model};
    f->arm.version = &f->version;
    f->endpoint =
        (struct config_endpoint){.name = "digits", .signature = &f->signature, .arms = &f->arm, .n_arms = 1};
    f->ask.deadline_us = UINT64_MAX;
    f->request = (struct request){.infer = &f->infer,
                                  .period = &f->period,
                                  .arena = &f->arena,
                                  .endpoint = &f->endpoint,
                                  .version = &f->version,
                                  .own = &f->ask,
                                  .received_us = 1000,
                                  .deadline_us = 101000};
}

static void close_fixture(struct fixture *f)
{
    json_reader_free(f->infer.json);
    plan_unref(f->period.plan);
    buf_clear(&f->request.reply);
    arena_clear(&f->arena);
    free(f->body);
}

/* Takes the message over, which becomes exactly its bytes and a body's padding. */
static enum gw_status decode(struct fixture *f, struct buf *message)
{
    size_t length = message->length;
    f->body = calloc(1, length + CODEC_PADDING);
    if (length)
        memcpy(f->body, message->bytes, length);
    buf_clear(message);
    return oip_grpc_dialect.decode(&f->request, (const char *)f->body, length);
}

/* Input x, of these sizes; contents: what its list is written by, after its name. */
static size_t begin_input(struct buf *out, const char *datatype, unsigned dims, const int64_t *shape)
{
    size_t input = wire_open(out, 5);
    wire_put_text(out, 1, "x");
    wire_put_text(out, 2, datatype);
    size_t sizes = wire_open(out, 3);
    for (unsigned i = 0; i < dims; i++)
        wire_add_number(out, (uint64_t)shape[i]);
    wire_close(out, sizes);
    return input;
}

static void put_raw_input(struct buf *out, const char *datatype, unsigned dims, const int64_t *shape,
                          const void *raw, size_t bytes)
{
    wire_close(out, begin_input(out, datatype, dims, shape));
    wire_put_bytes(out, 7, raw, bytes);
}

/* numbers: in one packed list of this field. */
static void put_typed_input(struct buf *out, const char *datatype, uint32_t field, unsigned n,
                            const int64_t *numbers)
{
    size_t input = begin_input(out, datatype, 1, &(int64_t){n}), contents = wire_open(out, 5);
    size_t list = wire_open(out, field);
    for (unsigned i = 0; i < n; i++)
        wire_add_number(out, (uint64_t)numbers[i]);
    wire_close(out, list);
    wire_close(out, contents);
    wire_close(out, input);
}

/* ---- inputs ---- */

Test(decode, raw_contents_are_not_copied)
{
    struct fixture f;
    struct buf message = {0};
    open_fixture(&f, pixels);
    f.ask.raw = true;
    put_raw_input(&message, "FP32", 2, (int64_t[]){2, 2}, (float[]){1, 2, 3, 4}, 16);
    size_t length = message.length;
    cr_assert_eq(decode(&f, &message), GW_OK, "%s", f.request.err.what);
    cr_expect_eq(f.request.n_rows, 2);
    cr_expect_eq(f.request.inputs[0].data, f.body + length - 16);
    cr_expect_eq(f.request.inputs[0].bytes, 16);
    close_fixture(&f);
}

Test(decode, a_packed_list_of_floats_is_not_copied_either)
{
    struct fixture f;
    struct buf message = {0};
    open_fixture(&f, pixels);
    size_t input = begin_input(&message, "FP32", 2, (int64_t[]){1, 2}), contents = wire_open(&message, 5);
    wire_put_bytes(&message, 6, (float[]){1.5F, 2}, 8);
    wire_close(&message, contents);
    wire_close(&message, input);
    size_t length = message.length;
    cr_assert_eq(decode(&f, &message), GW_OK, "%s", f.request.err.what);
    cr_expect_eq(f.request.inputs[0].data, f.body + length - 8);
    close_fixture(&f);
}

Test(decode, lists_in_pieces_and_unpacked)
{
    struct fixture f;
    struct buf message = {0};
    open_fixture(&f, pixels);
    size_t input = begin_input(&message, "FP32", 2, (int64_t[]){2, 2}), contents = wire_open(&message, 5);
    wire_put_bytes(&message, 6, (float[]){1}, 4);
    buf_append(&message, "\x35\0\0\0\x40", 5); /* 2.0, by itself */
    wire_put_bytes(&message, 6, (float[]){3, 4}, 8);
    wire_close(&message, contents);
    wire_close(&message, input);
    cr_assert_eq(decode(&f, &message), GW_OK, "%s", f.request.err.what);
    cr_expect_arr_eq(f.request.inputs[0].data, ((float[]){1, 2, 3, 4}), 16);
    close_fixture(&f);
}

Test(decode, integers_of_every_width)
{
    static const struct {
        struct tensor_spec *spec;
        const char *datatype;
        uint32_t field;
        int64_t numbers[3];
        enum gw_status status;
        const void *bytes;
        size_t length;
    } cases[] = {
        {small, "INT8", 2, {-128, 127, -1}, GW_OK, "\x80\x7f\xff", 3},
        {small, "INT8", 2, {-129, 0, 0}, GW_E_INVALID, NULL, 0},
        {small, "INT8", 2, {128, 0, 0}, GW_E_INVALID, NULL, 0},
        {unsigned_small, "UINT16", 4, {65535, 0, 258}, GW_OK, "\xff\xff\0\0\2\1", 6},
        {unsigned_small, "UINT16", 4, {65536, 0, 0}, GW_E_INVALID, NULL, 0},
        {wide,
         "INT64",
         3,
         {INT64_MIN, INT64_MAX, 0},
         GW_OK,
         "\0\0\0\0\0\0\0\x80\xff\xff\xff\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0\0",
         24},
        {wide, "INT64", 2, {1, 2, 3}, GW_E_INVALID, NULL, 0}, /* another list */
        {flags, "BOOL", 1, {0, 1, 7}, GW_OK, "\0\1\1", 3},
        {half, "FP16", 6, {1, 2, 3}, GW_E_INVALID, NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct buf message = {0};
        open_fixture(&f, cases[i].spec);
        put_typed_input(&message, cases[i].datatype, cases[i].field, 3, cases[i].numbers);
        cr_assert_eq(decode(&f, &message), cases[i].status, "case %zu: %s", i, f.request.err.what);
        if (cases[i].status == GW_OK) {
            cr_expect_eq(f.request.inputs[0].bytes, cases[i].length);
            cr_expect_arr_eq(f.request.inputs[0].data, cases[i].bytes, cases[i].length, "case %zu", i);
        }
        close_fixture(&f);
    }
}

static void put_elements(struct buf *message, unsigned n, const char *const *elements)
{
    size_t input = begin_input(message, "BYTES", 1, &(int64_t){n}), contents = wire_open(message, 5);
    for (unsigned i = 0; i < n; i++)
        wire_put_text(message, 8, elements[i]);
    wire_close(message, contents);
    wire_close(message, input);
}

Test(decode, bytes_get_their_lengths)
{
    struct fixture f;
    struct buf message = {0};
    open_fixture(&f, text);
    put_elements(&message, 3, (const char *const[]){"a", "", "bc"});
    cr_assert_eq(decode(&f, &message), GW_OK, "%s", f.request.err.what);
    cr_expect_arr_eq(f.request.inputs[0].data, "\1\0\0\0a\0\0\0\0\2\0\0\0bc", 15);
    cr_expect_arr_eq(f.request.inputs[0].row_end, ((uint32_t[]){5, 9, 15}), 12);
    close_fixture(&f);
    open_fixture(&f, documents);
    put_elements(&message, 1, (const char *const[]){"{\"a\":"});
    cr_expect_eq(decode(&f, &message), GW_E_INVALID, "a model that takes JSON gets JSON");
    close_fixture(&f);
}

Test(decode, what_is_raw_agrees_with_the_inputs)
{
    static const struct {
        unsigned n_raw;
        size_t bytes;
        bool typed;
        const char *says;
    } cases[] = {{1, 16, false, NULL},
                 {0, 0, false, "1 inputs, and 0 raw_input_contents"},
                 {2, 16, false, "more raw_input_contents than the 1 inputs"},
                 {1, 15, false, "input x: 15 bytes, which is not the size of FP32[2,2]"},
                 {1, 16, true, "input x has contents, and raw_input_contents are given: one or the other"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct buf message = {0};
        open_fixture(&f, pixels);
        f.ask.raw = true;
        for (unsigned n = 0; n < cases[i].n_raw; n++) /* before what they belong to */
            wire_put_bytes(&message, 7, (float[]){1, 2, 3, 4}, cases[i].bytes);
        size_t input = begin_input(&message, "FP32", 2, (int64_t[]){2, 2});
        if (cases[i].typed)
            wire_put_bytes(&message, 5, "\x32\x04\0\0\0\0", 6);
        wire_close(&message, input);
        enum gw_status status = decode(&f, &message);
        cr_expect_eq(status, cases[i].says ? GW_E_INVALID : GW_OK);
        cr_expect(!cases[i].says || !strcmp(f.request.err.what, cases[i].says), "%s", f.request.err.what);
        close_fixture(&f);
    }
}

Test(decode, deadlines_only_shorten)
{
    static const struct {
        uint64_t deadline_us, becomes_us;
    } cases[] = {{UINT64_MAX, 101000}, {2000, 2000}, {500000, 101000}, {1000, 1000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct buf message = {0};
        open_fixture(&f, pixels);
        f.ask.raw = true;
        f.ask.deadline_us = cases[i].deadline_us;
        put_raw_input(&message, "FP32", 2, (int64_t[]){1, 2}, (float[]){1, 2}, 8);
        cr_assert_eq(decode(&f, &message), GW_OK);
        cr_expect_eq(f.request.deadline_us, cases[i].becomes_us);
        close_fixture(&f);
    }
}

static void put_parameter(struct buf *message, const char *name, uint32_t kind, uint64_t number,
                          const char *words)
{
    size_t entry = wire_open(message, 4);
    wire_put_text(message, 1, name);
    size_t value = wire_open(message, 2);
    if (words)
        wire_put_text(message, kind, words);
    else
        wire_put_number(message, kind, number);
    wire_close(message, value);
    wire_close(message, entry);
}

Test(decode, parameters_become_what_they_are_in_json)
{
    struct fixture f;
    struct buf message = {0};
    open_fixture(&f, pixels);
    f.ask.raw = true;
    f.endpoint.sticky = (struct config_sticky){.kind = STICKY_FIELD, .name = "user"};
    put_parameter(&message, "beam", 2, (uint64_t)-3, NULL);
    put_parameter(&message, "a\n", 3, 0, "\"");
    put_parameter(&message, "b", 1, 1, NULL);
    put_parameter(&message, "huge", 5, UINT64_MAX, NULL);
    put_parameter(&message, "timeout", 2, 500, NULL);
    put_parameter(&message, "user", 2, 42, NULL);
    put_parameter(&message, "sequence_id", 2, 0, NULL);
    put_parameter(&message, "triton_x", 3, 0, "y");
    put_raw_input(&message, "FP32", 2, (int64_t[]){1, 2}, (float[]){1, 2}, 8);
    cr_assert_eq(decode(&f, &message), GW_OK, "%s", f.request.err.what);
    cr_expect_str_eq((const char *)f.request.parameters,
                     "{\"beam\":-3,\"a\\n\":\"\\\"\",\"b\":true,\"huge\":18446744073709551615}");
    cr_expect_eq(f.request.deadline_us, 1500);
    cr_expect(f.request.sticky_length == 2 && !memcmp(f.request.sticky, "42", 2));
    close_fixture(&f);
}

/* ---- the answer ---- */

/* Label and scores of two rows. */
static void answer(struct fixture *f, struct row rows[2])
{
    static const int32_t labels[] = {7, -1};
    static const float scores[] = {0.5F, 1, 2, 3};
    static struct tensor outputs[2];
    static struct predict_result result;
    outputs[0] = (struct tensor){.spec = label_and_scores[0], .data = (const uint8_t *)labels, .bytes = 8};
    outputs[1] = (struct tensor){.spec = label_and_scores[1], .data = (const uint8_t *)scores, .bytes = 16};
    outputs[0].spec.shape[0] = outputs[1].spec.shape[0] = 2;
    result = (struct predict_result){.n_rows = 2, .n_outputs = 2, .outputs = outputs};
    for (uint32_t i = 0; i < 2; i++)
        rows[i] = (struct row){.outcome = {.status = GW_OK, .result = &result, .row = i}};
    f->request.rows = rows;
    f->request.n_rows = 2;
    oip_grpc_dialect.encode(&f->request);
    cr_assert_eq(f->request.status, GW_OK, "%s", f->request.err.what);
}

static void expect_reply(const struct fixture *f, const struct buf *expected)
{
    const struct buf *reply = &f->request.reply;
    cr_assert_eq(reply->length, GRPC_PREFIX_BYTES + expected->length);
    cr_expect_arr_eq(reply->bytes + GRPC_PREFIX_BYTES, expected->bytes, expected->length);
}

static void put_names(struct buf *out)
{
    wire_put_text(out, 1, "digits");
    wire_put_text(out, 2, "forest");
    wire_put_text(out, 3, "7");
}

Test(encode, raw_where_the_inputs_were)
{
    struct fixture f;
    struct row rows[2];
    struct buf expected = {0};
    open_fixture(&f, pixels);
    f.ask.raw = true;
    f.ask.id = "7";
    f.ask.id_length = 1;
    f.ask.wanted = (const char *[]){"scores", "label"};
    f.ask.n_wanted = 2;
    answer(&f, rows);
    put_names(&expected);
    wire_put_bytes(&expected, 5,
                   "\x0a\x06scores\x12\x04"
                   "FP32\x1a\x02\x02\x02",
                   18);
    wire_put_bytes(&expected, 5, "\x0a\x05label\x12\x05INT32\x1a\x01\x02", 17);
    wire_put_bytes(&expected, 6, (float[]){0.5F, 1, 2, 3}, 16);
    wire_put_bytes(&expected, 6, (int32_t[]){7, -1}, 8);
    expect_reply(&f, &expected);
    buf_clear(&expected);
    close_fixture(&f);
}

Test(encode, typed_where_the_inputs_were)
{
    struct fixture f;
    struct row rows[2];
    struct buf expected = {0};
    open_fixture(&f, pixels);
    f.ask.id = "7";
    f.ask.id_length = 1;
    f.ask.wanted = (const char *[]){"label"};
    f.ask.n_wanted = 1;
    answer(&f, rows);
    put_names(&expected);
    size_t output = wire_open(&expected, 5);
    buf_append(&expected, "\x0a\x05label\x12\x05INT32\x1a\x01\x02", 17);
    size_t contents = wire_open(&expected, 5), list = wire_open(&expected, 2);
    wire_add_number(&expected, 7);
    wire_add_number(&expected, UINT64_MAX); /* negative numbers are sign-extended */
    wire_close(&expected, list);
    wire_close(&expected, contents);
    wire_close(&expected, output);
    expect_reply(&f, &expected);
    buf_clear(&expected);
    close_fixture(&f);
}

/* ---- around the message ---- */

Test(seal, a_message_has_its_length_and_an_error_its_words)
{
    struct arena arena = {0};
    struct http_reply reply = {.headers = "X: y\r\n"};
    grpc_begin(&reply.body);
    buf_append(&reply.body, "abc", 3);
    grpc_seal(&reply, GW_OK, "", &arena);
    cr_expect_eq(reply.status, 200);
    cr_expect_str_eq(reply.content_type, "application/grpc");
    cr_expect_arr_eq(reply.body.bytes, "\0\0\0\0\3abc", 8);
    cr_expect_str_eq(reply.trailers, "grpc-status: 0\r\n");
    reply.trailers = NULL;
    grpc_seal(&reply, GW_E_OVERLOAD, "100 % Gr\xc3\xbc\r\n", &arena);
    cr_expect_eq(reply.body.length, 0);
    cr_expect_null(reply.trailers);
    cr_expect_str_eq(reply.headers, "X: y\r\ngrpc-status: 8\r\ngrpc-message: 100 %25 Gr%C3%BC%0D%0A\r\n");
    arena_clear(&arena);
}

Test(seal, without_memory_an_error_is_that)
{
    struct arena arena = {.limit = 1};
    struct http_reply reply = {.body = {.failed = true}};
    grpc_seal(&reply, GW_OK, "", &arena);
    cr_expect_str_eq(reply.headers, "grpc-status: 8\r\ngrpc-message: out of memory\r\n");
    arena_clear(&arena);
}

static bool is_enough(const char *path, const char *body, size_t length)
{
    const struct http_header headers[] = {{"content-type", "application/grpc", 12, 16},
                                          {"te", "trailers", 2, 8}};
    const struct http_message message = {.method = HTTP_M_POST,
                                         .path = path,
                                         .headers = headers,
                                         .n_headers = 2,
                                         .body = (char *)(uintptr_t)body,
                                         .body_length = length};
    cr_assert(grpc_is_meant(&message));
    return grpc_is_enough(&message);
}

Test(enough, a_refusal_or_the_first_message_of_a_stream)
{
    static const char reflection[] = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    cr_expect(is_enough("/a.B/C", NULL, 0), "there is no such method");
    cr_expect(!is_enough("/inference.GRPCInferenceService/ModelInfer", "\0\0\0\0\1a", 6),
              "unary: the end counts");
    cr_expect(!is_enough(reflection, NULL, 0));
    cr_expect(!is_enough(reflection, "\0\0\0\0\2a", 6));
    cr_expect(is_enough(reflection, "\0\0\0\0\2ab", 7));
    cr_expect(is_enough(reflection, "\0\0\0\0\2abc", 8));
}
