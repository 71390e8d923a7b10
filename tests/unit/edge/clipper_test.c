/* Clipper's dialect: bodies to rows, outcomes to bodies. The request is made by hand; nothing runs. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/clipper.h"

enum { LIMIT_ROWS = 4 };

struct fixture {
    struct arena arena;
    struct config config;
    struct infer infer;
    struct signature signature;
    struct period period;
    struct config_endpoint endpoint;
    struct config_version version;
    struct request request;
};

static void fixture_open(struct fixture *fixture, struct tensor_spec *inputs, uint32_t n_inputs)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->config.limits.rows = LIMIT_ROWS;
    atomic_init(&fixture->config.refs, 1);
    fixture->period.plan = plan_new(&fixture->config);
    cr_assert_not_null(fixture->period.plan);
    fixture->infer.json = json_reader_new();
    fixture->signature = (struct signature){.inputs = inputs, .n_inputs = n_inputs};
    fixture->endpoint.signature = &fixture->signature;
    fixture->version.full_name = "digits@forest";
    fixture->request.infer = &fixture->infer;
    fixture->request.period = &fixture->period;
    fixture->request.arena = &fixture->arena;
    fixture->request.endpoint = &fixture->endpoint;
    fixture->request.version = &fixture->version;
    fixture->request.id = 42;
}

static void fixture_close(struct fixture *fixture)
{
    json_reader_free(fixture->infer.json);
    plan_unref(fixture->period.plan);
    buf_clear(&fixture->request.reply);
    arena_clear(&fixture->arena);
}

static enum gw_status decode(struct fixture *fixture, const char *body)
{
    size_t length = strlen(body);
    char *copy = calloc(1, length + CODEC_PADDING);
    memcpy(copy, body, length);
    enum gw_status status = clipper_dialect.decode(&fixture->request, copy, length);
    free(copy); /* nothing decoded may point into the body */
    return status;
}

static struct tensor_spec pixels[] = {{.name = "pixels", .datatype = DT_FP32, .dims = 2, .shape = {-1, 2}}};
static struct tensor_spec person[] = {
    {.name = "age", .datatype = DT_INT32, .dims = 1, .shape = {-1}},
    {.name = "name", .datatype = DT_BYTES, .dims = 1, .shape = {-1}},
};

/* ---- decode ---- */

Test(decode, one_row)
{
    struct fixture f;
    fixture_open(&f, pixels, 1);
    cr_assert_eq(decode(&f, "{\"uid\": {\"a\": [1]}, \"input\": [1, 2.5]}"), GW_OK, "%s", f.request.err.what);
    cr_expect_eq(f.request.n_inputs, 1);
    cr_expect_eq(f.request.n_rows, 1);
    cr_expect(!f.request.is_batch);
    cr_expect_null(f.request.asked_version);
    cr_expect_str_eq(f.request.inputs[0].spec.name, "pixels");
    cr_expect_eq(f.request.inputs[0].spec.shape[0], 1);
    cr_expect_arr_eq(f.request.inputs[0].data, ((float[]){1, 2.5F}), 2 * sizeof(float));
    fixture_close(&f);
}

Test(decode, a_batch_of_rows)
{
    struct fixture f;
    fixture_open(&f, pixels, 1);
    cr_assert_eq(decode(&f, "{\"input_batch\": [[1, 2], [3, 4], [5, 6]]}"), GW_OK, "%s", f.request.err.what);
    cr_expect(f.request.is_batch);
    cr_expect_eq(f.request.n_rows, 3);
    cr_expect_arr_eq(f.request.inputs[0].data, ((float[]){1, 2, 3, 4, 5, 6}), 6 * sizeof(float));
    fixture_close(&f);
    fixture_open(&f, pixels, 1);
    cr_assert_eq(decode(&f, "{\"input_batch\": [[1, 2]]}"), GW_OK);
    cr_expect(f.request.is_batch, "a list of one is a list");
    fixture_close(&f);
}

Test(decode, several_inputs_by_name_in_any_order)
{
    struct fixture f;
    fixture_open(&f, person, 2);
    cr_assert_eq(
        decode(&f, "{\"input_batch\": [{\"age\": 7, \"name\": \"a\"}, {\"name\": \"bc\", \"age\": 8}]}"),
        GW_OK, "%s", f.request.err.what);
    cr_expect_eq(f.request.n_inputs, 2);
    cr_expect_eq(f.request.n_rows, 2);
    cr_expect_arr_eq(f.request.inputs[0].data, ((int32_t[]){7, 8}), 8);
    cr_expect_eq(f.request.inputs[1].bytes, 11);
    cr_expect_arr_eq(f.request.inputs[1].data, "\1\0\0\0a\2\0\0\0bc", 11);
    cr_expect_eq(f.request.inputs[1].row_end[0], 5);
    cr_expect_eq(f.request.inputs[1].row_end[1], 11);
    fixture_close(&f);
    fixture_open(&f, person, 2);
    cr_assert_eq(decode(&f, "{\"input\": {\"age\": 7, \"name\": \"a\"}}"), GW_OK, "%s", f.request.err.what);
    cr_expect_eq(f.request.n_rows, 1);
    fixture_close(&f);
}

Test(decode, the_version_asked_for)
{
    static const struct {
        const char *body, *version;
    } cases[] = {
        {"{\"version\": \"forest\", \"input\": [1, 2]}", "forest"},
        {"{\"input\": [1, 2], \"version\": 3}", "3"},
        {"{\"input\": [1, 2], \"version\": -9223372036854775808}", "-9223372036854775808"},
        {"{\"input\": [1, 2], \"version\": \"f\\u006f\"}", "fo"},
        {"{\"input\": [1, 2], \"version\": null}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        fixture_open(&f, pixels, 1);
        cr_assert_eq(decode(&f, cases[i].body), GW_OK, "%s", f.request.err.what);
        if (cases[i].version) {
            cr_expect_str_eq(f.request.asked_version, cases[i].version);
            cr_expect_eq(f.request.asked_version_length, strlen(cases[i].version));
        } else {
            cr_expect_null(f.request.asked_version);
        }
        fixture_close(&f);
    }
}

Test(decode, refusals_say_what_and_where)
{
    const struct {
        struct tensor_spec *inputs;
        uint32_t n_inputs;
        enum gw_status status;
        const char *body, *what;
    } cases[] = {
        {pixels, 1, GW_E_INVALID, "{}", "the body has neither \"input\" nor \"input_batch\""},
        {pixels, 1, GW_E_INVALID, "{\"inputs\": [1, 2]}",
         "the body has neither \"input\" nor \"input_batch\""},
        {pixels, 1, GW_E_INVALID, "[1, 2]", "the document: expected an object, got a list"},
        {pixels, 1, GW_E_INVALID, "{\"input\": [1, 2], \"input_batch\": [[1, 2]]}",
         "give either \"input\" or \"input_batch\", not both"},
        {pixels, 1, GW_E_INVALID, "{\"input_batch\": [[1, 2]], \"input\": [1, 2]}",
         "give either \"input\" or \"input_batch\", not both"},
        {pixels, 1, GW_E_INVALID, "{\"input\": [1, 2], \"input\": [1, 2]}", "input: given twice"},
        {pixels, 1, GW_E_INVALID, "{\"input_batch\": [[1, 2]], \"input_batch\": []}",
         "input_batch: given twice"},
        {pixels, 1, GW_E_INVALID, "{\"version\": 1, \"version\": 2}", "version: given twice"},
        {pixels, 1, GW_E_INVALID, "{\"version\": [], \"input\": [1, 2]}",
         "version: expected a string, got a list"},
        {pixels, 1, GW_E_INVALID, "{\"version\": 1.5}",
         "version: expected a whole number for INT64, got 1.5"},
        {pixels, 1, GW_E_INVALID, "{\"input_batch\": []}", "input_batch: expected at least one row"},
        {pixels, 1, GW_E_INVALID, "{\"input_batch\": [1, 2]}",
         "input_batch[0]: expected a list of numbers, got a number"},
        {pixels, 1, GW_E_INVALID, "{\"input_batch\": \"[[1, 2]]\"}",
         "input_batch: expected a list, got a string"},
        {pixels, 1, GW_E_INVALID, "{\"input_batch\": [[1, 2], [1, 2], [1]]}",
         "input_batch[2]: expected 2 numbers, got 1"},
        {pixels, 1, GW_E_TOO_LARGE, "{\"input_batch\": [[1, 2], [1, 2], [1, 2], [1, 2], [1, 2]]}",
         "input_batch[4]: more rows than the limit of 4"},
        {person, 2, GW_E_INVALID, "{\"input\": 1}", "input: expected an object, got a number"},
        {person, 2, GW_E_INVALID, "{\"input\": {\"age\": 7}}", "input: name is missing"},
        {person, 2, GW_E_INVALID, "{\"input\": {\"age\": 7, \"age\": 7, \"name\": \"a\"}}",
         "input.age: given twice"},
        {person, 2, GW_E_INVALID, "{\"input\": {\"ag\": 7}}",
         "input.ag: the endpoint has no input of this name; it has: age, name"},
        {person, 2, GW_E_INVALID, "{\"input_batch\": []}", "input_batch: expected at least one row"},
        {person, 2, GW_E_INVALID, "{\"input_batch\": {\"age\": 7}}",
         "input_batch: expected a list, got an object"},
        {person, 2, GW_E_INVALID, "{\"input_batch\": [{\"age\": 7, \"name\": \"a\"}, {\"age\": 7}]}",
         "input_batch[1]: name is missing"},
        {person, 2, GW_E_INVALID, "{\"input_batch\": [{\"age\": 7, \"name\": 1}]}",
         "input_batch[0].name: expected a string, got a number"},
        {person, 2, GW_E_TOO_LARGE,
         "{\"input_batch\": [{\"age\": 1, \"name\": \"\"}, {\"age\": 1, \"name\": \"\"}, {\"age\": 1, "
         "\"name\": \"\"}, "
         "{\"age\": 1, \"name\": \"\"}, {\"age\": 1, \"name\": \"\"}]}",
         "input_batch[4].age: more rows than the limit of 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        fixture_open(&f, cases[i].inputs, cases[i].n_inputs);
        cr_expect_eq(decode(&f, cases[i].body), cases[i].status, "%s", cases[i].body);
        cr_expect_eq(f.request.err.status, cases[i].status);
        cr_expect_str_eq(f.request.err.what, cases[i].what, "%s: %s", cases[i].body, f.request.err.what);
        fixture_close(&f);
    }
}

Test(decode, without_memory_the_request_fails)
{
    struct fixture f;
    fixture_open(&f, pixels, 1);
    f.arena.limit = 16;
    cr_expect_eq(decode(&f, "{\"input\": [1, 2]}"), GW_E_NO_MEMORY);
    fixture_close(&f);
}

/* ---- encode ---- */

static const int32_t labels[] = {7, -1, 3};
static const float scores[] = {0.5F, 0.25F, 0, 1, 0.125F, 2};
static const uint8_t notes[] = "\2\0\0\0{}\1\0\0\0{\2\0\0\0[]";
static const uint32_t note_ends[] = {6, 11, 17};

static const struct tensor label = {
    .spec = {.name = "label", .datatype = DT_INT32, .dims = 1, .shape = {3}},
    .data = (const uint8_t *)labels,
    .bytes = sizeof labels,
};
static const struct tensor label_and_scores[] = {
    {.spec = {.name = "label", .datatype = DT_INT32, .dims = 1, .shape = {3}},
     .data = (const uint8_t *)labels,
     .bytes = sizeof labels},
    {.spec = {.name = "scores", .datatype = DT_FP32, .dims = 2, .shape = {3, 2}},
     .data = (const uint8_t *)scores,
     .bytes = sizeof scores},
};
/* The second of its rows is not JSON. */
static const struct tensor note = {
    .spec = {.name = "note", .datatype = DT_BYTES, .encoding = TENSOR_JSON, .dims = 1, .shape = {3}},
    .data = notes,
    .bytes = sizeof notes - 1,
    .row_end = note_ends,
};

static struct predict_result result_of(const struct tensor *outputs, uint32_t n_outputs)
{
    return (struct predict_result){.refs = 1, .n_rows = 3, .n_outputs = n_outputs, .outputs = outputs};
}

static struct row answered(struct predict_result *result, uint32_t row)
{
    return (struct row){.outcome = {.status = GW_OK, .result = result, .row = row}};
}

static struct row failed(enum gw_status status, const char *message)
{
    return (struct row){.outcome = {.status = status, .message = message}};
}

static void expect_encoded(struct fixture *f, enum gw_status status, const char *expected)
{
    clipper_dialect.encode(&f->request);
    struct buf *reply = &f->request.reply;
    cr_expect(!reply->failed);
    cr_expect_eq(f->request.status, status);
    cr_expect(json_valid(f->infer.json, reply->bytes, reply->length));
    buf_append(reply, "", 1);
    cr_expect_str_eq(reply->bytes, expected, "%s", reply->bytes);
}

Test(encode, one_output_is_unwrapped)
{
    struct fixture f;
    struct predict_result result = result_of(&label, 1);
    struct row rows[] = {answered(&result, 2)};
    fixture_open(&f, pixels, 1);
    f.request.rows = rows;
    f.request.n_rows = 1;
    expect_encoded(&f, GW_OK, "{\"query_id\":42,\"output\":3,\"default\":false,\"model\":\"digits@forest\"}");
    fixture_close(&f);
}

Test(encode, several_outputs_are_an_object)
{
    struct fixture f;
    struct predict_result result = result_of(label_and_scores, 2);
    struct row rows[] = {answered(&result, 0)};
    fixture_open(&f, pixels, 1);
    f.request.rows = rows;
    f.request.n_rows = 1;
    expect_encoded(&f, GW_OK,
                   "{\"query_id\":42,\"output\":{\"label\":7,\"scores\":[0.5,0.25]},\"default\":false,"
                   "\"model\":\"digits@forest\"}");
    fixture_close(&f);
}

Test(encode, no_output_at_all_is_an_empty_object)
{
    struct fixture f;
    struct predict_result result = result_of(NULL, 0);
    struct row rows[] = {answered(&result, 0)};
    fixture_open(&f, pixels, 1);
    f.request.rows = rows;
    f.request.n_rows = 1;
    expect_encoded(&f, GW_OK,
                   "{\"query_id\":42,\"output\":{},\"default\":false,\"model\":\"digits@forest\"}");
    fixture_close(&f);
}

Test(encode, a_batch_of_one_is_a_list)
{
    struct fixture f;
    struct predict_result result = result_of(&label, 1);
    struct row rows[] = {answered(&result, 0)};
    fixture_open(&f, pixels, 1);
    f.request.rows = rows;
    f.request.n_rows = 1;
    f.request.is_batch = true;
    expect_encoded(&f, GW_OK,
                   "{\"batch_predictions\":[{\"query_id\":42,\"output\":7,\"default\":false,"
                   "\"model\":\"digits@forest\"}]}");
    fixture_close(&f);
}

Test(encode, rows_that_failed_beside_rows_that_did_not)
{
    struct fixture f;
    struct predict_result result = result_of(&label, 1);
    struct row rows[] = {answered(&result, 1), failed(GW_E_MODEL, "ValueError: \"x\""),
                         failed(GW_E_OVERLOAD, NULL)};
    fixture_open(&f, pixels, 1);
    f.request.rows = rows;
    f.request.n_rows = 3;
    f.request.is_batch = true;
    f.request.status = GW_PARTIAL;
    expect_encoded(&f, GW_PARTIAL,
                   "{\"batch_predictions\":["
                   "{\"query_id\":42,\"output\":-1,\"default\":false,\"model\":\"digits@forest\"},"
                   "{\"query_id\":42,\"error\":\"ValueError: "
                   "\\\"x\\\"\",\"cause\":\"model_error\",\"model\":\"digits@forest\"},"
                   "{\"query_id\":42,\"error\":\"this model has too much to do\",\"cause\":\"overloaded\","
                   "\"model\":\"digits@forest\"}]}");
    fixture_close(&f);
}

Test(encode, defaults_say_why_in_clippers_words)
{
    static const struct config_default one[] = {{"label", "-1"}};
    static const struct config_default two[] = {{"label", "-1"}, {"scores", "[0,0]"}};
    const struct {
        const struct config_default *defaults;
        uint32_t n_defaults;
        struct row row;
        const char *body;
    } cases[] = {
        {one, 1, failed(GW_E_DEADLINE, "the latency objective was missed"),
         "{\"query_id\":42,\"output\":-1,\"default\":true,\"default_explanation\":\"Failed to retrieve a "
         "prediction "
         "response within the specified latency SLO\",\"cause\":\"slo_missed\",\"model\":\"digits@forest\"}"},
        {two, 2, failed(GW_E_NO_REPLICA, NULL),
         "{\"query_id\":42,\"output\":{\"label\":-1,\"scores\":[0,0]},\"default\":true,\"default_"
         "explanation\":\"No "
         "connected models found for query\",\"cause\":\"no_replica\",\"model\":\"digits@forest\"}"},
        {one, 1, failed(GW_E_MODEL, "KeyError: 3"),
         "{\"query_id\":42,\"output\":-1,\"default\":true,\"default_explanation\":\"KeyError: 3\",\"cause\":"
         "\"model_error\",\"model\":\"digits@forest\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct row row = cases[i].row;
        fixture_open(&f, pixels, 1);
        f.endpoint.defaults = cases[i].defaults;
        f.endpoint.n_defaults = cases[i].n_defaults;
        f.request.rows = &row;
        f.request.n_rows = 1;
        expect_encoded(&f, GW_OK, cases[i].body);
        fixture_close(&f);
    }
}

Test(encode, a_request_that_failed_whole)
{
    struct fixture f;
    fixture_open(&f, pixels, 1);
    f.request.version = NULL;
    f.request.is_batch = true;
    f.request.status = gw_err_set(&f.request.err, GW_E_INVALID,
                                  "Requested version: %s does not exist for model: digits", "9\"");
    expect_encoded(&f, GW_E_INVALID,
                   "{\"error\":\"Requested version: 9\\\" does not exist for model: "
                   "digits\",\"cause\":\"invalid_input\"}");
    fixture_close(&f);
}

Test(encode, an_answer_that_cannot_be_said_is_the_replicas_fault)
{
    struct fixture f;
    struct predict_result result = result_of(&note, 1);
    struct row rows[] = {answered(&result, 1), answered(&result, 2)};
    fixture_open(&f, pixels, 1);
    f.request.rows = rows;
    f.request.n_rows = 1;
    expect_encoded(&f, GW_E_CONTRACT,
                   "{\"error\":\"output note is declared as JSON, and the model's answer is not\","
                   "\"cause\":\"replica_contract\"}");
    fixture_close(&f);

    fixture_open(&f, pixels, 1);
    f.request.rows = rows;
    f.request.n_rows = 2;
    f.request.is_batch = true;
    expect_encoded(
        &f, GW_PARTIAL,
        "{\"batch_predictions\":["
        "{\"query_id\":42,\"error\":\"output note is declared as JSON, and the model's answer is not\","
        "\"cause\":\"replica_contract\",\"model\":\"digits@forest\"},"
        "{\"query_id\":42,\"output\":[],\"default\":false,\"model\":\"digits@forest\"}]}");
    fixture_close(&f);

    fixture_open(&f, pixels, 1);
    rows[1] = rows[0];
    f.request.rows = rows;
    f.request.n_rows = 2;
    f.request.is_batch = true;
    expect_encoded(&f, GW_E_CONTRACT,
                   "{\"error\":\"output note is declared as JSON, and the model's answer is not\","
                   "\"cause\":\"replica_contract\"}");
    fixture_close(&f);
}

Test(encode, without_a_version_no_model_is_named)
{
    struct fixture f;
    struct row row = failed(GW_E_DRAINING, NULL);
    fixture_open(&f, pixels, 1);
    f.request.version = NULL;
    f.request.rows = &row;
    f.request.n_rows = 1;
    f.request.is_batch = true;
    f.request.status = GW_PARTIAL;
    expect_encoded(
        &f, GW_PARTIAL,
        "{\"batch_predictions\":[{\"query_id\":42,\"error\":\"the gateway is shutting down\",\"cause\":"
        "\"draining\"}]}");
    fixture_close(&f);
}

Test(encode, a_reply_without_memory_is_marked)
{
    struct fixture f;
    struct predict_result result = result_of(&label, 1);
    struct row rows[] = {answered(&result, 0)};
    fixture_open(&f, pixels, 1);
    f.request.rows = rows;
    f.request.n_rows = 1;
    f.request.reply.failed = true; /* as after a growth that failed */
    clipper_dialect.encode(&f.request);
    cr_expect(f.request.reply.failed);
    cr_expect_eq(f.request.reply.length, 0);
    fixture_close(&f);
}

/* ---- docs/rest.md ---- */

Test(docs, every_way_to_end_is_in_the_table_of_errors)
{
    static char page[65536];
    FILE *file = fopen(XEBEC_SOURCE_DIR "/docs/rest.md", "r");
    cr_assert_not_null(file);
    cr_assert_lt(fread(page, 1, sizeof page - 1, file), sizeof page - 1);
    fclose(file);
    for (enum gw_status status = GW_PARTIAL; status < GW_STATUS_COUNT; status++) {
        char row[128];
        snprintf(row, sizeof row, "\n| %d | `%s` | ", gw_status_http(status), gw_status_cause(status));
        cr_expect(strstr(page, row), "docs/rest.md has no row for %s", gw_status_cause(status));
    }
}
