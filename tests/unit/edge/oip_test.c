/* The Open Inference Protocol's dialect: bodies to tensors, outcomes to bodies. The request is made by hand;
 * nothing runs. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/oip.h"

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
    struct oip_ask ask;
    struct request request;
    char *body;
};

#define SPEC(label, type, code, n_dims, ...)                                                                 \
    {                                                                                                        \
        .name = label, .datatype = type, .encoding = code, .dims = n_dims, .shape = { -1, __VA_ARGS__ }      \
    }
static struct tensor_spec pixels[] = {SPEC("x", DT_FP32, 0, 2, 2)};
static struct tensor_spec image[] = {SPEC("x", DT_INT32, 0, 3, 2, 2)};
static struct tensor_spec open_sizes[] = {SPEC("x", DT_INT64, 0, 3, -1, -1)};
static struct tensor_spec text[] = {SPEC("x", DT_BYTES, TENSOR_TEXT, 1, 0)};
static struct tensor_spec base64[] = {SPEC("x", DT_BYTES, TENSOR_BASE64, 2, 2)};
static struct tensor_spec documents[] = {SPEC("x", DT_BYTES, TENSOR_JSON, 1, 0)};
static struct tensor_spec flags[] = {SPEC("x", DT_BOOL, 0, 2, 2)};
static struct tensor_spec person[] = {SPEC("age", DT_INT32, 0, 1, 0),
                                      SPEC("name", DT_BYTES, TENSOR_TEXT, 1, 0)};
static struct tensor_spec label_and_scores[] = {SPEC("label", DT_INT32, 0, 1, 0),
                                                SPEC("scores", DT_FP32, 0, 2, 2)};

static void open_fixture(struct fixture *f, struct tensor_spec *inputs, uint32_t n_inputs)
{
    memset(f, 0, sizeof *f);
    f->config.limits.rows = LIMIT_ROWS;
    atomic_init(&f->config.refs, 1);
    f->period.plan = plan_new(&f->config);
    cr_assert_not_null(f->period.plan);
    f->infer.json = json_reader_new();
    f->signature = (struct signature){
        .inputs = inputs, .n_inputs = n_inputs, .outputs = label_and_scores, .n_outputs = 2};
    f->model.name = "digits";
    f->version = (struct config_version){.name = "forest", .full_name = "digits@forest", .model = &f->model};
    f->arm.version = &f->version;
    f->endpoint =
        (struct config_endpoint){.name = "digits", .signature = &f->signature, .arms = &f->arm, .n_arms = 1};
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

/* Exactly the bytes, so that AddressSanitizer sees what is read beyond the padding. */
static enum gw_status decode_bytes(struct fixture *f, const void *body, size_t length)
{
    f->body = calloc(1, length + CODEC_PADDING);
    memcpy(f->body, body, length);
    return oip_dialect.decode(&f->request, f->body, length);
}

static enum gw_status decode(struct fixture *f, const char *body)
{
    return decode_bytes(f, body, strlen(body));
}

/* A document, and what is behind it. */
static enum gw_status decode_binary(struct fixture *f, const char *document, const void *blob,
                                    size_t blob_bytes)
{
    char body[1024];
    size_t length = strlen(document);
    memcpy(body, document, length);
    memcpy(body + length, blob, blob_bytes);
    f->ask.has_json_bytes = true;
    f->ask.json_bytes = length;
    return decode_bytes(f, body, length + blob_bytes);
}

#define INPUT(members) "{\"inputs\":[{" members "}]}"
#define FP32_2         "\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[2,2]"

/* ---- JSON ---- */

Test(decode, data_flat_nested_and_before_what_it_is)
{
    static const char *const bodies[] = {
        INPUT(FP32_2 ",\"data\":[1,2,3,4.5]"),
        INPUT(FP32_2 ",\"data\":[[1,2],[3,4.5]]"),
        INPUT("\"data\":[[1,2],[3,4.5]]," FP32_2),
        INPUT("\"shape\":[2,2],\"data\":[1,2,3,4.5],\"name\":\"x\",\"datatype\":\"FP32\""),
        "{\"parameters\":{},\"more\":[{}],\"outputs\":[],\"id\":null,\"inputs\":[{" FP32_2
        ",\"parameters\":{\"content_type\":\"np\"},\"data\": [ 1 , 2 , 3 , 4.5 ] }]}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct fixture f;
        open_fixture(&f, pixels, 1);
        cr_assert_eq(decode(&f, bodies[i]), GW_OK, "%s: %s", bodies[i], f.request.err.what);
        cr_expect_eq(f.request.n_rows, 2);
        cr_expect_eq(f.request.inputs[0].bytes, 16);
        cr_expect_arr_eq(f.request.inputs[0].data, ((float[]){1, 2, 3, 4.5F}), 16);
        cr_expect_eq(f.request.inputs[0].spec.shape[0], 2);
        cr_expect_eq(f.request.n_outputs, 0);
        cr_expect_null(f.request.parameters);
        close_fixture(&f);
    }
}

Test(decode, deeper_shapes)
{
    static const char *const bodies[] = {
        INPUT("\"name\":\"x\",\"datatype\":\"INT32\",\"shape\":[1,2,2],\"data\":[[[1,2],[3,4]]]"),
        INPUT("\"name\":\"x\",\"datatype\":\"INT32\",\"shape\":[1,2,2],\"data\":[1,2,3,4]"),
    };
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        open_fixture(&f, image, 1);
        cr_assert_eq(decode(&f, bodies[i]), GW_OK, "%s", f.request.err.what);
        cr_expect_arr_eq(f.request.inputs[0].data, ((int32_t[]){1, 2, 3, 4}), 16);
        close_fixture(&f);
    }
}

Test(decode, open_sizes_are_the_clients_to_say)
{
    struct fixture f;
    open_fixture(&f, open_sizes, 1);
    cr_assert_eq(
        decode(&f, INPUT("\"name\":\"x\",\"datatype\":\"INT64\",\"shape\":[2,1,3],\"data\":[1,2,3,4,5,6]")),
        GW_OK);
    cr_expect_eq(f.request.inputs[0].spec.shape[2], 3);
    close_fixture(&f);
    open_fixture(&f, open_sizes, 1);
    cr_assert_eq(decode(&f, INPUT("\"name\":\"x\",\"datatype\":\"INT64\",\"shape\":[2,0,3],\"data\":[]")),
                 GW_OK, "%s", f.request.err.what);
    cr_expect_eq(f.request.inputs[0].bytes, 0);
    close_fixture(&f);
}

Test(decode, bytes_are_strings)
{
    struct fixture f;
    open_fixture(&f, person, 2);
    cr_assert_eq(
        decode(&f, "{\"inputs\":[{\"name\":\"name\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"a\","
                   "\"b\\u0063\"]},{\"name\":\"age\",\"shape\":[2],\"datatype\":\"INT32\",\"data\":[7,8]}]}"),
        GW_OK, "%s", f.request.err.what);
    cr_expect_arr_eq(f.request.inputs[0].data, ((int32_t[]){7, 8}), 8);
    cr_expect_arr_eq(f.request.inputs[1].data, "\1\0\0\0a\2\0\0\0bc", 11);
    cr_expect_arr_eq(f.request.inputs[1].row_end, ((uint32_t[]){5, 11}), 8);
    close_fixture(&f);
    open_fixture(&f, base64, 1);
    cr_assert_eq(decode(&f, INPUT("\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"BYTES\",\"data\":[\"AP8=\","
                                  "{\"b64\":\"\"}]")),
                 GW_OK, "%s", f.request.err.what);
    cr_expect_arr_eq(f.request.inputs[0].data, "\2\0\0\0\0\377\0\0\0\0", 10);
    cr_expect_eq(f.request.inputs[0].row_end[0], 10);
    close_fixture(&f);
    open_fixture(&f, documents, 1);
    cr_assert_eq(
        decode(&f, INPUT("\"name\":\"x\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"{\\\"a\\\":1}\"]")),
        GW_OK, "%s", f.request.err.what);
    cr_expect_arr_eq(f.request.inputs[0].data, "\7\0\0\0{\"a\":1}", 11);
    cr_expect_eq(f.request.inputs[0].spec.encoding, TENSOR_JSON, "as a row that Clipper's dialect took");
    close_fixture(&f);
}

Test(decode, what_else_it_asks)
{
    struct fixture f;
    open_fixture(&f, pixels, 1);
    cr_assert_eq(
        decode(&f,
               "{\"id\":\"7\\\"\",\"parameters\":{\"binary_data_output\":true,\"timeout\":500,\"priority\":1,"
               "\"sequence_id\":0,\"triton_x\":[1],\"beam\": {\"width\": 3} ,\"a\\n\":1.50},"
               "\"inputs\":[{" FP32_2 ",\"data\":[1,2,3,4]}],"
               "\"outputs\":[{\"name\":\"scores\",\"parameters\":{\"binary_data\":false}}]}"),
        GW_OK, "%s", f.request.err.what);
    cr_expect_str_eq(f.ask.id, "7\"");
    cr_expect(f.ask.binary);
    cr_expect_eq(f.request.deadline_us, 1500, "the client's timeout");
    cr_expect_str_eq((const char *)f.request.parameters, "{\"beam\":{\"width\": 3},\"a\\n\":1.50}");
    cr_expect_eq(f.request.n_outputs, 1);
    cr_expect_str_eq(f.request.outputs[0], "scores");
    close_fixture(&f);
}

Test(decode, all_outputs_by_name_are_as_none_by_name)
{
    struct fixture f;
    open_fixture(&f, pixels, 1);
    cr_assert_eq(decode(&f, "{\"inputs\":[{" FP32_2 ",\"data\":[1,2,3,4]}],"
                            "\"outputs\":[{\"name\":\"scores\"},{\"name\":\"label\"}]}"),
                 GW_OK);
    cr_expect_eq(f.request.n_outputs, 0, "so that they share answers and batches");
    cr_expect_eq(f.ask.n_wanted, 2);
    cr_expect_str_eq(f.ask.wanted[0], "scores");
    close_fixture(&f);
}

Test(decode, a_long_timeout_does_not_outlast_the_objective)
{
    struct fixture f;
    open_fixture(&f, pixels, 1);
    cr_assert_eq(decode(&f, "{\"parameters\":{\"timeout\":9223372036854775807},\"inputs\":[{" FP32_2
                            ",\"data\":[1,2,3,4]}]}"),
                 GW_OK);
    cr_expect_eq(f.request.deadline_us, 101000);
    close_fixture(&f);
}

#define DEEP "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["

Test(decode, refusals_say_what_and_where)
{
    static const struct {
        struct tensor_spec *inputs;
        uint32_t n_inputs;
        enum gw_status status;
        const char *body, *what;
    } cases[] = {
        {pixels, 1, GW_E_INVALID, "", "the document is empty"},
        {pixels, 1, GW_E_INVALID, "[]", "the document: expected an object, got a list"},
        {pixels, 1, GW_E_INVALID, "{}", "the body has no \"inputs\""},
        {pixels, 1, GW_E_INVALID, "{\"inputs\":[]}", "input x is missing"},
        {pixels, 1, GW_E_INVALID, "{\"inputs\":{}}", "inputs: expected a list, got an object"},
        {pixels, 1, GW_E_INVALID, "{\"inputs\":[],\"inputs\":[]}", "inputs: given twice"},
        {pixels, 1, GW_E_INVALID, "{\"inputs\":[7]}", "inputs[0]: expected an object, got a number"},
        {pixels, 1, GW_E_INVALID, "{\"inputs\":" DEEP,
         "not valid JSON: the document does not end with its object"},
        {pixels, 1, GW_E_INVALID, "{\"inputs\":[{}]}", "inputs[0]: name is missing"},
        {pixels, 1, GW_E_INVALID, INPUT("\"name\":\"x\""), "inputs[0]: datatype is missing"},
        {pixels, 1, GW_E_INVALID, INPUT("\"name\":\"x\",\"datatype\":\"FP32\""),
         "inputs[0]: shape is missing"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2), "inputs[0]: data is missing"},
        {pixels, 1, GW_E_INVALID, INPUT("\"name\":7"), "inputs[0].name: expected a string, got a number"},
        {pixels, 1, GW_E_INVALID, INPUT("\"name\":\"x\\u0000\""), "inputs[0].name: a name with a NUL in it"},
        {pixels, 1, GW_E_INVALID, INPUT("\"name\":\"x\",\"name\":\"x\""), "inputs[0].name: given twice"},
        {pixels, 1, GW_E_INVALID,
         INPUT("\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[1,2],\"data\":[1,2]"),
         "input y: the model has no input of this name; it has: x"},
        {pixels, 1, GW_E_INVALID,
         INPUT("\"name\":\"x\",\"datatype\":\"FP64\",\"shape\":[1,2],\"data\":[1,2]"),
         "input x: expected datatype FP32, got FP64"},
        {pixels, 1, GW_E_INVALID,
         INPUT("\"name\":\"x\",\"datatype\":\"fp32\",\"shape\":[1,2],\"data\":[1,2]"),
         "input x: expected datatype FP32, got fp32"},
        {pixels, 1, GW_E_INVALID,
         INPUT("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,3],\"data\":[1,2,3]"),
         "input x: expected FP32[-1,2], got FP32[1,3]"},
        {pixels, 1, GW_E_INVALID, INPUT("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[2],\"data\":[1,2]"),
         "input x: expected FP32[-1,2], got FP32[2]"},
        {pixels, 1, GW_E_INVALID,
         INPUT("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-1,2],\"data\":[1,2]"),
         "input x: a size of its shape is negative"},
        {pixels, 1, GW_E_INVALID, INPUT("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[0,2],\"data\":[]"),
         "input x: expected at least one row"},
        {pixels, 1, GW_E_INVALID, INPUT("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[],\"data\":[]"),
         "inputs[0].shape: expected at least one size"},
        {pixels, 1, GW_E_INVALID, INPUT("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1.5,2],\"data\":[]"),
         "inputs[0].shape[0]: expected a whole number for INT64, got 1.5"},
        {pixels, 1, GW_E_INVALID,
         INPUT("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[18446744073709551616,2],\"data\":[]"),
         "inputs[0].shape[0]: 18446744073709551616 is out of the range of INT64"},
        {pixels, 1, GW_E_INVALID,
         INPUT("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data\":[]"),
         "inputs[0].shape[8]: more than 8 sizes"},
        {pixels, 1, GW_E_TOO_LARGE, INPUT("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[5,2],\"data\":[]"),
         "input x: more rows than the limit of 4"},
        {open_sizes, 1, GW_E_INVALID,
         INPUT("\"name\":\"x\",\"datatype\":\"INT64\",\"shape\":[4,4611686018427387904,4],\"data\":[1]"),
         "inputs[0].data: expected 9223372036854775807 numbers, got 1"},
        {open_sizes, 1, GW_E_INVALID,
         INPUT("\"name\":\"x\",\"datatype\":\"INT64\",\"shape\":[4,4611686018427387904,4],\"data\":[[[1]]]"),
         "inputs[0].data[0][0]: expected 4 numbers, got 1"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"data\":[1,2,3]"),
         "inputs[0].data: expected 4 numbers, got 3"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"data\":[1,2,3,4,5]"),
         "inputs[0].data: expected 4 numbers, got 5"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"data\":[[1,2]]"),
         "inputs[0].data: expected 2 lists, got 1"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"data\":[[1,2],[3]]"),
         "inputs[0].data[1]: expected 2 numbers, got 1"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"data\":[[1,2],3,4]"),
         "inputs[0].data[1]: expected a list, got a number"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"data\":[[[1,2],[3,4]]]"),
         "inputs[0].data[0][0]: expected a number, got a list"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"data\":7"),
         "inputs[0].data: expected a list, got a number"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"data\":[1,2,3,\"4\"]"),
         "inputs[0].data[3]: expected a number, got a string"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"data\":[1,2,3,null]"),
         "inputs[0].data[3]: expected a number, got null"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"data\":[1,2,3,1e39]"),
         "inputs[0].data[3]: 1e39 is out of the range of FP32"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"data\":[1,2,3,4],\"data\":[1,2,3,4]"),
         "inputs[0].data: given twice"},
        {pixels, 1, GW_E_INVALID, INPUT("\"data\":[1,2,3]," FP32_2),
         "inputs[0].data: expected 4 numbers, got 3"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"shape\":[2,2]"), "inputs[0].shape: given twice"},
        {pixels, 1, GW_E_INVALID,
         "{\"inputs\":[{" FP32_2 ",\"data\":[1,2,3,4]},{" FP32_2 ",\"data\":[1,2,3,4]}]}",
         "inputs[1]: more inputs than the model has"},
        {person, 2, GW_E_INVALID,
         "{\"inputs\":[{\"name\":\"age\",\"datatype\":\"INT32\",\"shape\":[1],\"data\":[1]},"
         "{\"name\":\"age\",\"datatype\":\"INT32\",\"shape\":[1],\"data\":[1]}]}",
         "input age: given twice"},
        {person, 2, GW_E_INVALID,
         "{\"inputs\":[{\"name\":\"age\",\"datatype\":\"INT32\",\"shape\":[2],\"data\":[1,2]},"
         "{\"name\":\"name\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"a\"]}]}",
         "input name: 1 rows, where another input has 2"},
        {person, 2, GW_E_INVALID,
         "{\"inputs\":[{\"name\":\"age\",\"datatype\":\"INT32\",\"shape\":[1],\"data\":[1]}]}",
         "input name is missing"},
        {base64, 1, GW_E_INVALID,
         INPUT("\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[1,2],\"data\":[\"!\",\"\"]"),
         "inputs[0].data[0]: not base64 (RFC 4648, with padding)"},
        {documents, 1, GW_E_INVALID,
         INPUT("\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"{\"]"),
         "input x: an element is not a JSON document"},
        {text, 1, GW_E_INVALID, INPUT("\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[7]"),
         "inputs[0].data[0]: expected a string, got a number"},
        {flags, 1, GW_E_INVALID,
         INPUT("\"name\":\"x\",\"datatype\":\"BOOL\",\"shape\":[1,2],\"data\":[true,2]"),
         "inputs[0].data[1]: expected a boolean, got a number"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"parameters\":{\"binary_data_size\":16}"),
         "input x: binary_data_size is 16, and 0 bytes are left of the body"},
        {pixels, 1, GW_E_INVALID, INPUT(FP32_2 ",\"parameters\":{\"binary_data_size\":-1}"),
         "inputs[0].parameters.binary_data_size: a negative size"},
        {pixels, 1, GW_E_INVALID,
         INPUT(FP32_2 ",\"parameters\":{\"binary_data_size\":16},\"data\":[1,2,3,4]"),
         "inputs[0]: has both data and binary_data_size"},
        {pixels, 1, GW_E_NOT_IMPLEMENTED, INPUT(FP32_2 ",\"parameters\":{\"shared_memory_region\":\"r\"}"),
         "tensors are not taken from shared memory"},
        {pixels, 1, GW_E_NOT_IMPLEMENTED, "{\"parameters\":{\"sequence_id\":7}}",
         "sequences are not kept: every request stands alone"},
        {pixels, 1, GW_E_INVALID, "{\"parameters\":{\"timeout\":-1}}",
         "parameters.timeout: a negative timeout"},
        {pixels, 1, GW_E_INVALID, "{\"parameters\":[]}", "parameters: expected an object, got a list"},
        {pixels, 1, GW_E_INVALID, "{\"parameters\":{\"binary_data_output\":1}}",
         "parameters.binary_data_output: expected a boolean, got a number"},
        {pixels, 1, GW_E_INVALID, "{\"id\":7}", "id: expected a string, got a number"},
        {pixels, 1, GW_E_INVALID,
         "{\"inputs\":[{" FP32_2 ",\"data\":[1,2,3,4]}],\"outputs\":[{\"name\":\"z\"}]}",
         "output z: the model has no output of this name; it has: label, scores"},
        {pixels, 1, GW_E_INVALID, "{\"outputs\":[{\"name\":\"z\"},{\"name\":\"z\"}]}",
         "outputs[1]: given twice"},
        {pixels, 1, GW_E_INVALID, "{\"outputs\":[{}]}", "outputs[0]: name is missing"},
        {pixels, 1, GW_E_NOT_IMPLEMENTED,
         "{\"outputs\":[{\"name\":\"z\",\"parameters\":{\"classification\":2}}]}",
         "outputs are not turned into classes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        open_fixture(&f, cases[i].inputs, cases[i].n_inputs);
        cr_expect_eq(decode(&f, cases[i].body), cases[i].status, "%s", cases[i].body);
        cr_expect_eq(f.request.err.status, cases[i].status);
        cr_expect_str_eq(f.request.err.what, cases[i].what, "%s: %s", cases[i].body, f.request.err.what);
        close_fixture(&f);
    }
}

Test(decode, what_json_has_no_words_for)
{
    static const char *const data[] = {"[1,2,3,NaN]", "[1,2,3,Infinity]", "[1,2,3,4",       "[1,2,3,0x4]",
                                       "[1,2,3,+4]",  "[1,2,3,4,]",       "[1,2,3,\"nan\"]"};
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) {
        struct fixture f;
        char body[256];
        open_fixture(&f, pixels, 1);
        snprintf(body, sizeof body, INPUT(FP32_2 ",\"data\":%s"), data[i]);
        cr_expect_eq(decode(&f, body), GW_E_INVALID, "%s", data[i]);
        cr_expect_neq(f.request.err.what[0], '\0');
        close_fixture(&f);
    }
    struct fixture f;
    open_fixture(&f, pixels, 1);
    cr_assert_eq(decode(&f, INPUT(FP32_2 ",\"data\":[1,2,3,\"NaN\"]")), GW_OK);
    float last;
    memcpy(&last, f.request.inputs[0].data + 12, 4);
    cr_expect(isnan(last));
    close_fixture(&f);
}

/* ---- binary ---- */

#define BINARY(members, bytes) INPUT(members ",\"parameters\":{\"binary_data_size\":" #bytes "}")

Test(binary, tensors_behind_the_document_in_its_order)
{
    struct fixture f;
    open_fixture(&f, person, 2);
    cr_assert_eq(
        decode_binary(&f,
                      "{\"inputs\":[{\"name\":\"name\",\"shape\":[2],\"datatype\":\"BYTES\",\"parameters\":"
                      "{\"binary_data_size\":11}},{\"name\":\"age\",\"shape\":[2],\"datatype\":\"INT32\","
                      "\"parameters\":{\"binary_data_size\":8}}]}",
                      "\1\0\0\0a\2\0\0\0bc\7\0\0\0\377\377\377\377", 19),
        GW_OK, "%s", f.request.err.what);
    cr_expect_arr_eq(f.request.inputs[0].data, ((int32_t[]){7, -1}), 8);
    cr_expect_arr_eq(f.request.inputs[1].row_end, ((uint32_t[]){5, 11}), 8);
    close_fixture(&f);
}

Test(binary, beside_data_in_json)
{
    struct fixture f;
    open_fixture(&f, person, 2);
    cr_assert_eq(decode_binary(
                     &f,
                     "{\"inputs\":[{\"name\":\"name\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"a\"]},"
                     "{\"name\":\"age\",\"shape\":[1],\"datatype\":\"INT32\",\"parameters\":"
                     "{\"binary_data_size\":4}}]}",
                     "\7\0\0\0", 4),
                 GW_OK, "%s", f.request.err.what);
    cr_expect_arr_eq(f.request.inputs[0].data, ((int32_t[]){7}), 4);
    cr_expect_arr_eq(f.request.inputs[1].data, "\1\0\0\0a", 5);
    close_fixture(&f);
}

Test(binary, refusals)
{
    static const uint8_t zeros[32];
    const struct {
        struct tensor_spec *inputs;
        const char *document;
        const void *blob;
        size_t blob_bytes;
        const char *what;
    } cases[] = {
        {pixels, BINARY(FP32_2, 16), zeros, 15,
         "input x: binary_data_size is 16, and 15 bytes are left of the body"},
        {pixels, BINARY(FP32_2, 16), zeros, 17, "1 bytes of the body belong to no input"},
        {pixels, BINARY(FP32_2, 12), zeros, 12, "input x: 12 bytes, which is not the size of FP32[2,2]"},
        {pixels, BINARY(FP32_2, 9223372036854775807), zeros, 16,
         "input x: binary_data_size is 9223372036854775807, and 16 bytes are left of the body"},
        {pixels, INPUT(FP32_2 ",\"data\":[1,2,3,4]"), zeros, 1, "1 bytes of the body belong to no input"},
        {open_sizes, BINARY("\"name\":\"x\",\"datatype\":\"INT64\",\"shape\":[1,4611686018427387904,4]", 0),
         zeros, 0, "input x: 0 bytes, which cannot be all of INT64[1,4611686018427387904,4]"},
        {open_sizes, BINARY("\"name\":\"x\",\"datatype\":\"INT64\",\"shape\":[4,1152921504606846976,1]", 0),
         zeros, 0, "input x: 0 bytes, which is not the size of INT64[4,1152921504606846976,1]"},
        {text, BINARY("\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[1]", 3), zeros, 3,
         "input x: 3 bytes, which are not the length-prefixed elements of BYTES[1]"},
        {text, BINARY("\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[1]", 5), "\2\0\0\0a", 5,
         "input x: 5 bytes, which are not the length-prefixed elements of BYTES[1]"},
        {text, BINARY("\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[1]", 8), "\377\377\377\377aaaa", 8,
         "input x: 8 bytes, which are not the length-prefixed elements of BYTES[1]"},
        {text, BINARY("\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[1]", 8), zeros, 8,
         "input x: 8 bytes, which are not the length-prefixed elements of BYTES[1]"},
        {flags, BINARY("\"name\":\"x\",\"datatype\":\"BOOL\",\"shape\":[1,2]", 2), "\1\2", 2,
         "input x: a BOOL that is neither 0 nor 1"},
        {documents, BINARY("\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[1]", 5), "\1\0\0\0{", 5,
         "input x: an element is not a JSON document"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        open_fixture(&f, cases[i].inputs, 1);
        cr_expect_eq(decode_binary(&f, cases[i].document, cases[i].blob, cases[i].blob_bytes), GW_E_INVALID,
                     "%zu", i);
        cr_expect_str_eq(f.request.err.what, cases[i].what, "%zu: %s", i, f.request.err.what);
        close_fixture(&f);
    }
}

Test(binary, a_document_longer_than_the_body)
{
    struct fixture f;
    open_fixture(&f, pixels, 1);
    f.ask.has_json_bytes = true;
    f.ask.json_bytes = 3;
    cr_expect_eq(decode(&f, "{}"), GW_E_INVALID);
    cr_expect_str_eq(f.request.err.what, "Inference-Header-Content-Length is 3, and the body has 2 bytes");
    close_fixture(&f);
}

Test(binary, data_alone)
{
    struct fixture f;
    const float four[] = {1, 2, 3, 4};
    open_fixture(&f, pixels, 1);
    cr_assert_eq(decode_binary(&f, "", four, sizeof four), GW_OK, "%s", f.request.err.what);
    cr_expect_eq(f.request.n_rows, 2);
    cr_expect(f.ask.binary);
    close_fixture(&f);
    open_fixture(&f, text, 1);
    cr_assert_eq(decode_binary(&f, "", "abc", 3), GW_OK, "%s", f.request.err.what);
    cr_expect_arr_eq(f.request.inputs[0].data, "\3\0\0\0abc", 7);
    close_fixture(&f);
    const struct {
        struct tensor_spec *inputs;
        uint32_t n_inputs;
        size_t bytes;
        const char *what;
    } cases[] = {
        {pixels, 1, 15, "input x: 15 bytes, which is not the size of FP32[1,2]"},
        {pixels, 1, 0, "input x: expected at least one row"},
        {open_sizes, 1, 8, "a body of data alone needs a shape, and input x leaves sizes open"},
        {person, 2, 8, "a body of data alone is for models with one input, and this one has 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        open_fixture(&f, cases[i].inputs, cases[i].n_inputs);
        cr_expect_eq(decode_binary(&f, "", four, cases[i].bytes), GW_E_INVALID);
        cr_expect_str_eq(f.request.err.what, cases[i].what, "%s", f.request.err.what);
        close_fixture(&f);
    }
}

/* ---- encode ---- */

static const int32_t labels[] = {7, -1, 3};
static const float scores[] = {0.5F, 0.25F, 0, 1, 0.125F, 2};
static const struct tensor outputs[] = {
    {.spec = {.name = "label", .datatype = DT_INT32, .dims = 1, .shape = {3}},
     .data = (const uint8_t *)labels,
     .bytes = sizeof labels},
    {.spec = {.name = "scores", .datatype = DT_FP32, .dims = 2, .shape = {3, 2}},
     .data = (const uint8_t *)scores,
     .bytes = sizeof scores},
};
static struct predict_result whole = {.refs = 1, .n_rows = 3, .n_outputs = 2, .outputs = outputs};

static struct row answered(struct predict_result *result, uint32_t row)
{
    return (struct row){.outcome = {.status = GW_OK, .result = result, .row = row}};
}

static struct row failed(enum gw_status status, const char *message)
{
    return (struct row){.outcome = {.status = status, .message = message}};
}

static void encode(struct fixture *f, struct row *rows, uint32_t n_rows)
{
    f->request.rows = rows;
    f->request.n_rows = n_rows;
    oip_dialect.encode(&f->request);
    cr_expect(!f->request.reply.failed);
}

static void expect_reply(struct fixture *f, enum gw_status status, const char *expected)
{
    struct buf *reply = &f->request.reply;
    cr_expect_eq(f->request.status, status);
    cr_expect(json_valid(f->infer.json, reply->bytes, reply->length));
    buf_append(reply, "", 1);
    cr_expect_str_eq(reply->bytes, expected, "%s", reply->bytes);
}

#define HEAD   "{\"model_name\":\"digits\",\"model_version\":\"forest\""
#define LABELS "{\"name\":\"label\",\"datatype\":\"INT32\",\"shape\":[2],\"data\":[3,7]}"
#define SCORES "{\"name\":\"scores\",\"datatype\":\"FP32\",\"shape\":[2,2],\"data\":[0.125,2,0.5,0.25]}"

Test(encode, rows_become_tensors)
{
    struct fixture f;
    struct row rows[] = {answered(&whole, 2), answered(&whole, 0)};
    open_fixture(&f, pixels, 1);
    encode(&f, rows, 2);
    expect_reply(&f, GW_OK, HEAD ",\"outputs\":[" LABELS "," SCORES "]}");
    cr_expect_null(f.request.reply_type);
    close_fixture(&f);
}

Test(encode, the_id_and_the_outputs_that_were_asked_for_in_their_order)
{
    struct fixture f;
    struct row rows[] = {answered(&whole, 2), answered(&whole, 0)};
    const char *wanted[] = {"scores", "label"};
    int8_t says[] = {-1, 0};
    open_fixture(&f, pixels, 1);
    f.ask = (struct oip_ask){.id = "a\"b", .id_length = 3, .wanted = wanted, .says = says, .n_wanted = 2};
    encode(&f, rows, 2);
    expect_reply(&f, GW_OK, HEAD ",\"id\":\"a\\\"b\",\"outputs\":[" SCORES "," LABELS "]}");
    close_fixture(&f);
}

Test(encode, binary_outputs_stand_behind_the_document)
{
    struct fixture f;
    struct row rows[] = {answered(&whole, 2), answered(&whole, 0)};
    const char *wanted[] = {"label", "scores"};
    int8_t says[] = {0, -1};
    static const char document[] =
        HEAD ",\"outputs\":[" LABELS ",{\"name\":\"scores\",\"datatype\":\"FP32\",\"shape\":[2,2],"
             "\"parameters\":{\"binary_data_size\":16}}]}";
    open_fixture(&f, pixels, 1);
    f.ask = (struct oip_ask){.wanted = wanted, .says = says, .n_wanted = 2, .binary = true};
    encode(&f, rows, 2);
    const struct buf *reply = &f.request.reply;
    cr_assert_eq(reply->length, sizeof document - 1 + 16);
    cr_expect_arr_eq(reply->bytes, document, sizeof document - 1);
    cr_expect_arr_eq(reply->bytes + sizeof document - 1, ((float[]){0.125F, 2, 0.5F, 0.25F}), 16);
    cr_expect_str_eq(f.request.reply_type, "application/octet-stream");
    char header[64];
    snprintf(header, sizeof header, "Inference-Header-Content-Length: %zu\r\n", sizeof document - 1);
    cr_expect_str_eq(f.request.reply_headers, header);
    close_fixture(&f);
}

Test(encode, one_failed_row_fails_the_request)
{
    struct fixture f;
    struct row rows[] = {answered(&whole, 0), failed(GW_E_MODEL, "ValueError: \"x\""),
                         failed(GW_E_OVERLOAD, NULL)};
    open_fixture(&f, pixels, 1);
    f.request.status = GW_PARTIAL;
    encode(&f, rows, 3);
    expect_reply(&f, GW_E_MODEL, "{\"error\":\"row 1: ValueError: \\\"x\\\"\"}");
    close_fixture(&f);
}

Test(encode, the_default_is_an_answer_that_says_so)
{
    static const struct config_default defaults[] = {{"scores", "[0,1]"}, {"label", "-1"}};
    struct fixture f;
    struct row rows[] = {answered(&whole, 2), failed(GW_E_DEADLINE, NULL)};
    open_fixture(&f, pixels, 1);
    f.endpoint.defaults = defaults;
    f.endpoint.n_defaults = 2;
    encode(&f, rows, 2);
    expect_reply(&f, GW_OK,
                 HEAD ",\"parameters\":{\"default\":true,\"cause\":\"slo_missed\",\"default_explanation\":"
                      "\"the latency objective was missed\"},\"outputs\":["
                      "{\"name\":\"label\",\"datatype\":\"INT32\",\"shape\":[2],\"data\":[3,-1]},"
                      "{\"name\":\"scores\",\"datatype\":\"FP32\",\"shape\":[2,2],\"data\":[0.125,2,0,1]}]}");
    close_fixture(&f);
}

Test(encode, a_default_that_is_no_such_tensor_is_none)
{
    static const struct config_default defaults[] = {{"label", "\"?\""}};
    struct fixture f;
    struct row row = failed(GW_E_NO_REPLICA, NULL);
    open_fixture(&f, pixels, 1);
    f.endpoint.defaults = defaults;
    f.endpoint.n_defaults = 1;
    encode(&f, &row, 1);
    expect_reply(&f, GW_E_NO_REPLICA, "{\"error\":\"no replica of this model is ready\"}");
    close_fixture(&f);
}

Test(encode, rows_that_make_no_tensor)
{
    static const struct tensor other = {
        .spec = {.name = "label", .datatype = DT_INT32, .dims = 2, .shape = {1, 1}},
        .data = (const uint8_t *)labels,
        .bytes = 4};
    static struct predict_result odd = {.refs = 1, .n_rows = 1, .n_outputs = 1, .outputs = &other};
    struct fixture f;
    struct row rows[] = {answered(&whole, 0), answered(&odd, 0)};
    open_fixture(&f, pixels, 1);
    encode(&f, rows, 2);
    expect_reply(&f, GW_E_CONTRACT,
                 "{\"error\":\"output label: rows of different shapes, which make no tensor\"}");
    close_fixture(&f);
    struct row swapped[] = {answered(&odd, 0)};
    const char *wanted[] = {"label", "scores"};
    int8_t says[] = {-1, -1};
    open_fixture(&f, pixels, 1);
    f.ask = (struct oip_ask){.wanted = wanted, .says = says, .n_wanted = 2};
    encode(&f, swapped, 1);
    expect_reply(&f, GW_E_CONTRACT, "{\"error\":\"output scores is missing in the answer\"}");
    close_fixture(&f);
}

Test(encode, numbers_and_bytes_that_json_lacks)
{
    static const float floats[] = {NAN, INFINITY};
    static const uint32_t ends[] = {6, 11};
    static const struct tensor odd[] = {
        {.spec = {.name = "f", .datatype = DT_FP32, .dims = 2, .shape = {2, 1}},
         .data = (const uint8_t *)floats,
         .bytes = sizeof floats},
        {.spec = {.name = "d", .datatype = DT_BYTES, .encoding = TENSOR_JSON, .dims = 1, .shape = {2}},
         .data = (const uint8_t *)"\2\0\0\0{}\1\0\0\0{",
         .bytes = 11,
         .row_end = ends},
        {.spec = {.name = "none", .datatype = DT_FP32, .dims = 2, .shape = {2, 0}},
         .data = (const uint8_t *)floats},
    };
    static struct predict_result result = {.refs = 1, .n_rows = 2, .n_outputs = 3, .outputs = odd};
    struct fixture f;
    struct row rows[] = {answered(&result, 0), answered(&result, 1)};
    open_fixture(&f, pixels, 1);
    encode(&f, rows, 2);
    expect_reply(&f, GW_OK,
                 HEAD ",\"outputs\":[{\"name\":\"f\",\"datatype\":\"FP32\",\"shape\":[2,1],\"data\":[\"NaN\","
                      "\"Infinity\"]},"
                      "{\"name\":\"d\",\"datatype\":\"BYTES\",\"shape\":[2],\"data\":[\"{}\",\"{\"]},"
                      "{\"name\":\"none\",\"datatype\":\"FP32\",\"shape\":[2,0],\"data\":[]}]}");
    close_fixture(&f);
}

Test(encode, a_request_that_failed_whole)
{
    struct fixture f;
    open_fixture(&f, pixels, 1);
    f.request.own = NULL;
    f.request.status = gw_err_set(&f.request.err, GW_E_INVALID, "a \"word\"");
    encode(&f, NULL, 0);
    expect_reply(&f, GW_E_INVALID, "{\"error\":\"a \\\"word\\\"\"}");
    close_fixture(&f);
}
