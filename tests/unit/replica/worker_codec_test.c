/*
 * worker_codec: what is written is what protobuf-c reads on the other side; what a replica says is believed
 * when it is true, and refused in words when it is not.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "health.pb-c.h"
#include "replica/worker_codec.h"
#include "worker.pb-c.h"

typedef Xebec__Worker__V1__PredictRequest Request; /* protobuf-c's names are long */
typedef Xebec__Worker__V1__PredictResponse Response;
typedef Xebec__Worker__V1__DescribeResponse Description;
typedef Xebec__Worker__V1__DescribeResponse__MetadataEntry Metadata;
typedef Xebec__Worker__V1__TensorSpec Spec;
typedef Xebec__Worker__V1__RowError RowError;

/* --- writing --- */

static const uint32_t COUNTING[] = {0, 1, 2, 3, 4, 5, 6, 7};

/* Writes the request and reads it back with protobuf-c; the caller frees it. */
static Request *written(const struct predict_input *input)
{
    size_t size = worker_predict_size(input);
    cr_assert_gt(size, 0);
    uint8_t *bytes = malloc(size); /* exact, so that one byte too many is seen */
    cr_assert_eq(worker_predict_write(input, bytes, size), GW_OK);
    Request *request = xebec__worker__v1__predict_request__unpack(NULL, size, bytes);
    free(bytes);
    cr_assert_not_null(request);
    return request;
}

static struct tensor floats(const float *data, int64_t rows, int64_t columns)
{
    return (struct tensor){
        .spec = {.name = "pixels", .datatype = DT_FP32, .dims = 2, .shape = {rows, columns}},
        .data = (const uint8_t *)data,
        .bytes = (size_t)(rows * columns) * sizeof *data};
}

Test(worker_write, one_request_arrives_as_it_is)
{
    const float data[] = {1, 2, 3, 4, 5, 6};
    const struct tensor input = floats(data, 3, 2);
    const char *const wanted[] = {"label", "probability"};
    struct predict_input predict = {.id = 1234567890123,
                                    .pieces =
                                        &(struct row_piece){.inputs = &input, .rows = COUNTING, .count = 3},
                                    .n_pieces = 1,
                                    .n_inputs = 1,
                                    .n_rows = 3,
                                    .outputs = wanted,
                                    .n_outputs = 2,
                                    .parameters = (const uint8_t *)"\0p",
                                    .parameters_bytes = 2};
    Request *request = written(&predict);
    cr_assert_eq(request->id, 1234567890123);
    cr_assert_eq(request->n_inputs, 1);
    cr_assert_str_eq(request->inputs[0]->name, "pixels");
    cr_assert_eq(request->inputs[0]->datatype, XEBEC__WORKER__V1__DATATYPE__FP32);
    cr_assert_eq(request->inputs[0]->n_shape, 2);
    cr_assert_eq(request->inputs[0]->shape[0], 3);
    cr_assert_eq(request->inputs[0]->shape[1], 2);
    cr_assert_eq(request->n_outputs, 2);
    cr_assert_str_eq(request->outputs[1], "probability");
    cr_assert_eq(request->parameters.len, 2);
    cr_assert_arr_eq(request->parameters.data, "\0p", 2);
    cr_assert_eq(request->n_data, 1);
    cr_assert_eq(request->data[0].len, sizeof data);
    cr_assert_arr_eq(request->data[0].data, data, sizeof data);
    xebec__worker__v1__predict_request__free_unpacked(request, NULL);
}

Test(worker_write, rows_of_many_requests_are_gathered_in_order)
{
    const float first[] = {0, 1, 2, 3, 4, 5, 6, 7}, second[] = {10, 11, 12};
    const struct tensor one = floats(first, 8, 1), other = floats(second, 3, 1);
    const uint32_t runs[] = {1, 2, 3, 6, 7, 5}, again[] = {2, 2, 0};
    const struct row_piece pieces[] = {{.inputs = &one, .rows = runs, .count = 6},
                                       {.inputs = &other, .rows = again, .count = 3},
                                       {.inputs = &one, .rows = COUNTING, .count = 0},
                                       {.inputs = &one, .rows = COUNTING, .count = 1}};
    struct predict_input predict = {.pieces = pieces, .n_pieces = 4, .n_inputs = 1, .n_rows = 10};
    Request *request = written(&predict);
    const float expected[] = {1, 2, 3, 6, 7, 5, 12, 12, 10, 0};
    cr_assert_eq(request->inputs[0]->shape[0], 10);
    cr_assert_eq(request->data[0].len, sizeof expected);
    cr_assert_arr_eq(request->data[0].data, expected, sizeof expected);
    xebec__worker__v1__predict_request__free_unpacked(request, NULL);
}

Test(worker_write, inputs_keep_their_own_data_and_bytes_their_rows)
{
    static const char words[] = "\1\0\0\0a"
                                "\0\0\0\0"
                                "\3\0\0\0bcd"
                                "\2\0\0\0ef";
    uint32_t row_end[4];
    const float data[] = {1, 2, 3, 4};
    struct tensor inputs[] = {
        floats(data, 4, 1),
        {.spec = {.name = "words", .datatype = DT_BYTES, .encoding = TENSOR_JSON, .dims = 1, .shape = {4}},
         .data = (const uint8_t *)words,
         .bytes = sizeof words - 1,
         .row_end = row_end}};
    cr_assert_eq(tensor_index_bytes(inputs[1].data, inputs[1].bytes, 4, 1, row_end), GW_OK);
    const uint32_t rows[] = {3, 1, 2};
    struct predict_input predict = {.pieces = &(struct row_piece){.inputs = inputs, .rows = rows, .count = 3},
                                    .n_pieces = 1,
                                    .n_inputs = 2,
                                    .n_rows = 3};
    Request *request = written(&predict);
    cr_assert_eq(request->n_data, 2);
    cr_assert_arr_eq(request->data[0].data, ((const float[]){4, 2, 3}), 12);
    cr_assert_eq(request->inputs[1]->encoding, XEBEC__WORKER__V1__ENCODING__JSON);
    cr_assert_eq(request->data[1].len, 6 + 4 + 7);
    cr_assert_arr_eq(request->data[1].data, "\2\0\0\0ef\0\0\0\0\3\0\0\0bcd", 17);
    xebec__worker__v1__predict_request__free_unpacked(request, NULL);
}

Test(worker_write, rows_without_bytes_are_possible)
{
    const struct tensor input = floats(NULL, 3, 0);
    struct predict_input predict = {.pieces =
                                        &(struct row_piece){.inputs = &input, .rows = COUNTING, .count = 3},
                                    .n_pieces = 1,
                                    .n_inputs = 1,
                                    .n_rows = 3};
    Request *request = written(&predict);
    cr_assert_eq(request->n_data, 1);
    cr_assert_eq(request->data[0].len, 0);
    cr_assert_eq(request->inputs[0]->shape[1], 0);
    xebec__worker__v1__predict_request__free_unpacked(request, NULL);
}

Test(worker_write, a_size_that_is_not_the_measured_one_is_refused)
{
    const float data[] = {1, 2, 3, 4};
    const struct tensor input = floats(data, 2, 2);
    struct predict_input predict = {.pieces =
                                        &(struct row_piece){.inputs = &input, .rows = COUNTING, .count = 2},
                                    .n_pieces = 1,
                                    .n_inputs = 1,
                                    .n_rows = 2};
    size_t size = worker_predict_size(&predict);
    for (size_t room = 0; room < size; room++) {
        uint8_t *exact = malloc(room ? room : 1);
        cr_assert_eq(worker_predict_write(&predict, exact, room), GW_E_INTERNAL, "room for %zu", room);
        free(exact);
    }
    uint8_t *larger = malloc(size + 1);
    cr_assert_eq(worker_predict_write(&predict, larger, size + 1), GW_E_INTERNAL);
    free(larger);
}

Test(worker_write, more_than_two_gigabytes_have_no_size)
{
    const struct tensor input = floats((const float *)(uintptr_t)4096, 2, 1 << 28); /* measured, never read */
    const uint32_t rows[] = {0, 1};
    struct row_piece pieces[] = {{.inputs = &input, .rows = rows, .count = 1},
                                 {.inputs = &input, .rows = rows, .count = 2}};
    struct predict_input predict = {.pieces = pieces, .n_pieces = 1, .n_inputs = 1, .n_rows = 1};
    cr_assert_gt(worker_predict_size(&predict), (size_t)1 << 30);
    predict.n_pieces = 2;
    predict.n_rows = 3;
    cr_assert_eq(worker_predict_size(&predict), 0);
}

/* --- reading a prediction --- */

/* A true reply for 3 rows that each test bends: label INT64[3], words BYTES[3,1]. */
struct reply {
    Response message;
    Spec specs[4], *outputs[4];
    int64_t shapes[4][9];
    ProtobufCBinaryData data[4];
    RowError row_errors[4], *errors[4];
};

static const int64_t LABELS[] = {7, 8, 9};
static const char WORDS[] = "\1\0\0\0a"
                            "\0\0\0\0"
                            "\3\0\0\0bcd";

static void add_output(struct reply *reply, const char *name, int datatype, const void *data, size_t bytes,
                       size_t dims, int64_t d0, int64_t d1)
{
    size_t i = reply->message.n_outputs++;
    reply->shapes[i][0] = d0, reply->shapes[i][1] = d1;
    xebec__worker__v1__tensor_spec__init(&reply->specs[i]);
    reply->specs[i].name = (char *)name;
    reply->specs[i].datatype = datatype;
    reply->specs[i].n_shape = dims;
    reply->specs[i].shape = reply->shapes[i];
    reply->outputs[i] = &reply->specs[i];
    reply->data[i] = (ProtobufCBinaryData){.len = bytes, .data = (uint8_t *)data};
    reply->message.n_data = reply->message.n_outputs;
}

static void add_error(struct reply *reply, uint32_t row, const char *message)
{
    size_t i = reply->message.n_errors++;
    xebec__worker__v1__row_error__init(&reply->row_errors[i]);
    reply->row_errors[i].row = row;
    reply->row_errors[i].message = (char *)message;
    reply->errors[i] = &reply->row_errors[i];
}

static void start_reply(struct reply *reply)
{
    *reply = (struct reply){0};
    xebec__worker__v1__predict_response__init(&reply->message);
    reply->message.outputs = reply->outputs;
    reply->message.data = reply->data;
    reply->message.errors = reply->errors;
}

static void true_reply(struct reply *reply)
{
    start_reply(reply);
    add_output(reply, "label", DT_INT64, LABELS, sizeof LABELS, 1, 3, 0);
    add_output(reply, "words", DT_BYTES, WORDS, sizeof WORDS - 1, 2, 3, 1);
}

static const struct signature ANYTHING;
static struct tensor_spec DECLARED_OUTPUTS[] = {
    {.name = "words", .datatype = DT_BYTES, .encoding = TENSOR_BASE64, .dims = 2, .shape = {-1, -1}},
    {.name = "label", .datatype = DT_INT64, .dims = 1, .shape = {-1}}};
static const struct signature DECLARED = {.outputs = DECLARED_OUTPUTS, .n_outputs = 2};

static enum gw_status read_reply(const struct reply *reply, uint32_t n_rows, const struct signature *declared,
                                 const char *const *wanted, uint32_t n_wanted, struct predict_result **result,
                                 struct gw_err *err)
{
    size_t size = xebec__worker__v1__predict_response__get_packed_size(&reply->message);
    uint8_t *bytes = malloc(size ? size : 1);
    xebec__worker__v1__predict_response__pack(&reply->message, bytes);
    enum gw_status status = worker_predict_read(bytes, size, n_rows, declared, wanted, n_wanted, result, err);
    free(bytes); /* the result must not need it */
    return status;
}

static struct predict_result *believed(const struct reply *reply, const struct signature *declared,
                                       const char *const *wanted, uint32_t n_wanted)
{
    struct predict_result *result = NULL;
    struct gw_err err = {.what = ""};
    cr_assert_eq(read_reply(reply, 3, declared, wanted, n_wanted, &result, &err), GW_OK, "%s", err.what);
    cr_assert_eq(result->n_rows, 3);
    return result;
}

static void refused_as(const struct reply *reply, const struct signature *declared, const char *words)
{
    struct predict_result *result = NULL;
    struct gw_err err = {.what = ""};
    cr_assert_eq(read_reply(reply, 3, declared, NULL, 0, &result, &err), GW_E_CONTRACT, "wanted: %s", words);
    cr_assert_eq(err.status, GW_E_CONTRACT);
    cr_assert_str_eq(err.what, words);
    cr_assert_null(result);
}

Test(worker_predict, a_true_reply_is_believed)
{
    struct reply reply;
    true_reply(&reply);
    reply.specs[1].encoding = XEBEC__WORKER__V1__ENCODING__JSON;
    struct predict_result *result = believed(&reply, &ANYTHING, NULL, 0);
    cr_assert_eq(result->n_outputs, 2);
    cr_assert_null(result->row_errors);
    cr_assert_str_eq(result->outputs[0].spec.name, "label");
    cr_assert_arr_eq(result->outputs[0].data, LABELS, sizeof LABELS);
    cr_assert_eq(result->outputs[1].spec.encoding, TENSOR_JSON, "the reply says so, nobody else does");
    size_t bytes;
    const uint8_t *row = tensor_row(&result->outputs[1], 2, &bytes);
    cr_assert_eq(bytes, 7);
    cr_assert_arr_eq(row, "\3\0\0\0bcd", 7);
    predict_result_unref(result);
}

Test(worker_predict, the_declaration_gives_order_and_encoding)
{
    struct reply reply;
    true_reply(&reply);
    reply.specs[1].encoding = XEBEC__WORKER__V1__ENCODING__JSON;
    struct predict_result *result = believed(&reply, &DECLARED, NULL, 0);
    cr_assert_eq(result->n_outputs, 2);
    cr_assert_str_eq(result->outputs[0].spec.name, "words");
    cr_assert_eq(result->outputs[0].spec.encoding, TENSOR_BASE64);
    cr_assert_str_eq(result->outputs[1].spec.name, "label");
    predict_result_unref(result);
}

Test(worker_predict, only_what_was_wanted_is_kept)
{
    struct reply reply;
    true_reply(&reply);
    const char *const wanted[] = {"label"}, *const missing[] = {"label", "score"};
    struct predict_result *result = believed(&reply, &DECLARED, wanted, 1);
    cr_assert_eq(result->n_outputs, 1);
    cr_assert_str_eq(result->outputs[0].spec.name, "label");
    predict_result_unref(result);

    struct gw_err err;
    cr_assert_eq(read_reply(&reply, 3, &ANYTHING, missing, 2, &result, &err), GW_E_CONTRACT);
    cr_assert_str_eq(err.what, "output score is missing");
}

Test(worker_predict, wanted_outputs_are_enough)
{
    struct reply reply;
    start_reply(&reply);
    add_output(&reply, "label", DT_INT64, LABELS, sizeof LABELS, 1, 3, 0);
    const char *const wanted[] = {"label"};
    predict_result_unref(believed(&reply, &DECLARED, wanted, 1));
    refused_as(&reply, &DECLARED, "output words is missing");
}

Test(worker_predict, outputs_without_elements_are_believed)
{
    struct reply reply;
    start_reply(&reply);
    add_output(&reply, "none", DT_FP32, NULL, 0, 2, 3, 0);
    add_output(&reply, "no_words", DT_BYTES, NULL, 0, 2, 3, 0);
    struct predict_result *result = believed(&reply, &ANYTHING, NULL, 0);
    size_t bytes;
    cr_assert_not_null(tensor_row(&result->outputs[0], 2, &bytes));
    cr_assert_eq(bytes, 0);
    cr_assert_not_null(tensor_row(&result->outputs[1], 2, &bytes));
    cr_assert_eq(bytes, 0);
    predict_result_unref(result);
}

Test(worker_predict, a_reply_without_outputs_is_believed_where_none_are_declared)
{
    struct reply reply;
    start_reply(&reply);
    struct predict_result *result = believed(&reply, &ANYTHING, NULL, 0);
    cr_assert_eq(result->n_outputs, 0);
    predict_result_unref(result);
    refused_as(&reply, &DECLARED, "output words is missing");
}

Test(worker_predict, rows_fail_one_by_one)
{
    struct reply reply;
    true_reply(&reply);
    add_error(&reply, 2, "NaN in row");
    add_error(&reply, 0, "");
    struct predict_result *result = believed(&reply, &ANYTHING, NULL, 0);
    cr_assert_str_eq(result->row_errors[0], gw_status_words(GW_E_MODEL));
    cr_assert_null(result->row_errors[1]);
    cr_assert_str_eq(result->row_errors[2], "NaN in row");
    predict_result_unref(result);
}

Test(worker_predict, messages_become_one_printable_line)
{
    struct reply reply;
    true_reply(&reply);
    add_error(&reply, 0,
              "a\nb\tc\x7f"
              "d\xC2\x85"
              "e");
    add_error(&reply, 1, "\xFFz\xC3\xA9\xED\xA0\x80\xC0\x80\xE2\x82");
    struct predict_result *result = believed(&reply, &ANYTHING, NULL, 0);
    cr_assert_str_eq(result->row_errors[0], "a b c d e");
#define BAD "\xEF\xBF\xBD"
    cr_assert_str_eq(result->row_errors[1], BAD "z\xC3\xA9" BAD BAD BAD BAD BAD BAD BAD);
    predict_result_unref(result);
}

Test(worker_predict, messages_are_cut_between_characters)
{
    char message[4000];
    memset(message, 'm', sizeof message);
    memcpy(message + 1023, "\xC3\xA9", 2); /* would end at 1025 */
    message[sizeof message - 1] = '\0';
    struct reply reply;
    true_reply(&reply);
    add_error(&reply, 1, message);
    struct predict_result *result = believed(&reply, &ANYTHING, NULL, 0);
    cr_assert_eq(strlen(result->row_errors[1]), 1023);
    predict_result_unref(result);
}

Test(worker_predict, lies_about_rows_are_refused)
{
    struct reply reply;
    true_reply(&reply);
    reply.shapes[0][0] = 4;
    refused_as(&reply, &ANYTHING, "output label has 4 rows, 3 were asked for");
    reply.shapes[0][0] = -1;
    refused_as(&reply, &ANYTHING, "output label has -1 rows, 3 were asked for");
    reply.shapes[0][0] = INT64_MIN;
    refused_as(&reply, &ANYTHING, "output label has -9223372036854775808 rows, 3 were asked for");

    true_reply(&reply);
    add_error(&reply, 3, "no such row");
    refused_as(&reply, &ANYTHING, "row 3 is said to have failed, 3 rows were asked for");
    true_reply(&reply);
    add_error(&reply, 1, "once");
    add_error(&reply, 1, "and again");
    refused_as(&reply, &ANYTHING, "row 1 is said to have failed twice");
}

Test(worker_predict, lies_about_sizes_are_refused)
{
    struct reply reply;
    true_reply(&reply);
    reply.data[0].len = 23;
    refused_as(&reply, &ANYTHING, "output label is INT64[3], which does not come to its 23 bytes");
    reply.data[0].len = 0;
    refused_as(&reply, &ANYTHING, "output label is INT64[3], which does not come to its 0 bytes");

    true_reply(&reply);
    reply.specs[0].n_shape = 2;
    reply.shapes[0][1] = -1;
    refused_as(&reply, &ANYTHING, "output label is INT64[3,-1], which is no possible size");
    reply.shapes[0][1] = INT64_MAX;
    refused_as(&reply, &ANYTHING,
               "output label is INT64[3,9223372036854775807], which does not come to its 24 bytes");
    reply.shapes[0][1] = 1ll << 61; /* 2^61 elements of 8 bytes are 0 in 64 bits */
    refused_as(&reply, &ANYTHING,
               "output label is INT64[3,2305843009213693952], which does not come to its 24 bytes");
    reply.specs[0].n_shape = 3;
    reply.shapes[0][1] = reply.shapes[0][2] = 1ll << 32;
    refused_as(&reply, &ANYTHING,
               "output label is INT64[3,4294967296,4294967296], which is no possible size");
}

Test(worker_predict, lies_about_bytes_are_refused)
{
    struct reply reply;
    true_reply(&reply);
    reply.data[1].len--;
    refused_as(&reply, &ANYTHING,
               "output words is BYTES[3,1], but its 15 bytes do not hold so many elements");
    true_reply(&reply);
    reply.shapes[1][1] = 2;
    refused_as(&reply, &ANYTHING,
               "output words is BYTES[3,2], but its 16 bytes do not hold so many elements");
    reply.shapes[1][1] = 0;
    refused_as(&reply, &ANYTHING,
               "output words is BYTES[3,0], but its 16 bytes do not hold so many elements");
}

Test(worker_predict, a_failed_row_excuses_no_wrong_size)
{
    struct reply reply;
    true_reply(&reply);
    add_error(&reply, 2, "failed");
    reply.data[0].len = 16;
    refused_as(&reply, &ANYTHING, "output label is INT64[3], which does not come to its 16 bytes");
}

Test(worker_predict, lies_about_kinds_are_refused)
{
    struct reply reply;
    true_reply(&reply);
    reply.specs[0].datatype = 0;
    refused_as(&reply, &ANYTHING, "output label has datatype 0, which does not exist");
    reply.specs[0].datatype = 15;
    refused_as(&reply, &ANYTHING, "output label has datatype 15, which does not exist");
    reply.specs[0].datatype = -3;
    refused_as(&reply, &ANYTHING, "output label has datatype -3, which does not exist");
    true_reply(&reply);
    reply.specs[1].encoding = 3;
    refused_as(&reply, &ANYTHING, "output words has encoding 3, which does not exist");
    true_reply(&reply);
    reply.specs[0].n_shape = 0;
    refused_as(&reply, &ANYTHING, "output label has 0 dimensions, 1 to 8 are possible");
    reply.specs[0].n_shape = 9;
    refused_as(&reply, &ANYTHING, "output label has 9 dimensions, 1 to 8 are possible");
}

Test(worker_predict, names_that_are_none_are_refused)
{
    struct reply reply;
    char longest[130];
    memset(longest, 'n', sizeof longest);
    longest[128] = '\0';
    true_reply(&reply);
    reply.specs[1].name = longest;
    predict_result_unref(believed(&reply, &ANYTHING, NULL, 0));
    longest[128] = 'n', longest[129] = '\0';
    refused_as(&reply, &ANYTHING, "the name of output 1 is longer than 128 bytes");
    reply.specs[1].name = (char *)"";
    refused_as(&reply, &ANYTHING, "the name of output 1 is empty");
    reply.specs[1].name = (char *)"a\xFF";
    refused_as(&reply, &ANYTHING, "the name of output 1 is not UTF-8");
    reply.specs[1].name = (char *)"a\nb";
    refused_as(&reply, &ANYTHING, "the name of output 1 has control characters");
    reply.specs[1].name = (char *)"label";
    refused_as(&reply, &ANYTHING, "output label came twice");
}

Test(worker_predict, outputs_and_data_must_pair)
{
    struct reply reply;
    true_reply(&reply);
    reply.message.n_data = 1;
    refused_as(&reply, &ANYTHING, "2 outputs are described, the data of 1 came");
    true_reply(&reply);
    reply.message.n_outputs = 1;
    refused_as(&reply, &ANYTHING, "1 outputs are described, the data of 2 came");
}

Test(worker_predict, what_contradicts_the_declaration_is_refused)
{
    struct reply reply;
    true_reply(&reply);
    reply.specs[0].datatype = XEBEC__WORKER__V1__DATATYPE__FP64;
    refused_as(&reply, &DECLARED, "output label is FP64[3], the configuration says INT64[-1]");
    true_reply(&reply);
    reply.specs[0].n_shape = 2;
    reply.shapes[0][1] = 1;
    refused_as(&reply, &DECLARED, "output label is INT64[3,1], the configuration says INT64[-1]");
    true_reply(&reply);
    reply.specs[0].name = (char *)"score";
    refused_as(&reply, &DECLARED, "output score is not in the configuration");
}

Test(worker_predict, a_reply_cut_anywhere_is_refused_or_read_but_never_crashes)
{
    struct reply reply;
    true_reply(&reply);
    add_error(&reply, 2, "failed");
    size_t size = xebec__worker__v1__predict_response__get_packed_size(&reply.message);
    uint8_t *bytes = malloc(size);
    xebec__worker__v1__predict_response__pack(&reply.message, bytes);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1);
        memcpy(exact, bytes, cut);
        struct predict_result *result = NULL;
        struct gw_err err = {.what = ""};
        cr_assert_eq(worker_predict_read(exact, cut, 3, &DECLARED, NULL, 0, &result, &err), GW_E_CONTRACT,
                     "cut at %zu", cut);
        cr_assert_neq(err.what[0], '\0');
        free(exact);
    }
    free(bytes);
}

Test(worker_predict, what_is_no_message_is_refused)
{
    struct predict_result *result = NULL;
    struct gw_err err;
    cr_assert_eq(
        worker_predict_read((const uint8_t *)"\xFF\xFF\xFF", 3, 1, &ANYTHING, NULL, 0, &result, &err),
        GW_E_CONTRACT);
    cr_assert_str_eq(err.what, "the reply is not the message of the worker protocol");
}

/* Its data stays where it lies, whether it comes first, last, or between what describes it. */
Test(worker_predict, a_reply_that_is_taken_over_is_not_copied)
{
    static const struct {
        const char *bytes;
        size_t size;
    } spec = {"\x0a\x08\x0a\x01y\x10\x0b\x1a\x01\x01", 10}, value = {"\x7a\x04wxyz", 6}; /* y: FP32[1] */
    for (int order = 0; order < 2; order++) {
        struct arena holder = {0};
        struct predict_result *result = NULL;
        struct gw_err err = {.what = ""};
        uint8_t *bytes = arena_alloc(&holder, spec.size + value.size);
        memcpy(bytes + (order ? value.size : 0), spec.bytes, spec.size);
        memcpy(bytes + (order ? 0 : spec.size), value.bytes, value.size);
        cr_assert_eq(
            worker_predict_take(&holder, bytes, spec.size + value.size, 1, &ANYTHING, NULL, 0, &result, &err),
            GW_OK, "%s", err.what);
        cr_expect_null(holder.blocks);
        cr_expect_eq(result->outputs[0].data, bytes + (order ? 2 : spec.size + 2));
        cr_expect_arr_eq(result->outputs[0].data, "wxyz", 4);
        predict_result_unref(result);
    }
}

Test(worker_predict, a_lie_that_is_taken_over_is_freed_too)
{
    static const char *const lies[] = {"\x7a",
                                       "\x7a\x05wxyz",
                                       "\x78\x01",
                                       "\x7b\x7c",
                                       "\xff\xff\xff\xff\xff\x01",
                                       "\x7a\xff\xff\xff\xff\xff\x01",
                                       "\x08\xff",
                                       "\x79\x01\x02",
                                       "\x7a\x01w"};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct arena holder = {0};
        struct predict_result *result = NULL;
        struct gw_err err;
        size_t size = strlen(lies[i]);
        uint8_t *bytes = arena_alloc(&holder, size);
        memcpy(bytes, lies[i], size);
        cr_expect_eq(worker_predict_take(&holder, bytes, size, 1, &ANYTHING, NULL, 0, &result, &err),
                     GW_E_CONTRACT, "lie %zu", i);
        cr_expect_null(holder.blocks);
    }
}

Test(worker_predict, a_reply_that_unfolds_without_bound_is_refused)
{
    size_t size = 2 << 20; /* a million empty outputs in 2 MiB; each would be a struct */
    uint8_t *bytes = malloc(size);
    for (size_t i = 0; i < size; i += 2)
        bytes[i] = 1 << 3 | 2, bytes[i + 1] = 0;
    struct predict_result *result = NULL;
    struct gw_err err;
    cr_assert_eq(worker_predict_read(bytes, size, 1, &ANYTHING, NULL, 0, &result, &err), GW_E_CONTRACT);
    cr_assert_str_eq(err.what, "the reply would unfold to far more than its size");
    free(bytes);
}

Test(worker_predict, every_row_may_fail_at_length)
{
    enum { ROWS = 4096 };
    static RowError errors[ROWS], *pointers[ROWS];
    struct reply reply;
    start_reply(&reply);
    for (uint32_t i = 0; i < ROWS; i++) {
        xebec__worker__v1__row_error__init(&errors[i]);
        errors[i].row = i;
        errors[i].message = (char *)"x";
        pointers[i] = &errors[i];
    }
    reply.message.errors = pointers;
    reply.message.n_errors = ROWS;
    struct predict_result *result = NULL;
    struct gw_err err = {.what = ""};
    cr_assert_eq(read_reply(&reply, ROWS, &ANYTHING, NULL, 0, &result, &err), GW_OK, "%s", err.what);
    cr_assert_str_eq(result->row_errors[ROWS - 1], "x");
    predict_result_unref(result);
}

/* --- reading a description --- */

struct description {
    Description message;
    Spec specs[2], *inputs[1], *outputs[1];
    int64_t shapes[2][2];
    Metadata metadata, *pairs[1];
};

static void true_description(struct description *say)
{
    *say = (struct description){.shapes = {{-1, 64}, {-1, 0}}};
    xebec__worker__v1__describe_response__init(&say->message);
    for (int i = 0; i < 2; i++) {
        xebec__worker__v1__tensor_spec__init(&say->specs[i]);
        say->specs[i].shape = say->shapes[i];
    }
    say->specs[0].name = (char *)"pixels";
    say->specs[0].datatype = XEBEC__WORKER__V1__DATATYPE__FP32;
    say->specs[0].n_shape = 2;
    say->specs[1].name = (char *)"label";
    say->specs[1].datatype = XEBEC__WORKER__V1__DATATYPE__INT64;
    say->specs[1].n_shape = 1;
    say->inputs[0] = &say->specs[0];
    say->outputs[0] = &say->specs[1];
    xebec__worker__v1__describe_response__metadata_entry__init(&say->metadata);
    say->metadata.key = (char *)"framework";
    say->metadata.value = (char *)"scikit-learn\n1.2";
    say->pairs[0] = &say->metadata;
    say->message.model = (char *)"digits";
    say->message.version = (char *)"forest";
    say->message.digest = (char *)"sha256:abc";
    say->message.max_rows = 512;
    say->message.inputs = say->inputs, say->message.n_inputs = 1;
    say->message.outputs = say->outputs, say->message.n_outputs = 1;
    say->message.metadata = say->pairs, say->message.n_metadata = 1;
}

static enum gw_status read_description(const struct description *say, struct arena *arena,
                                       struct worker_description *description, struct gw_err *err)
{
    size_t size = xebec__worker__v1__describe_response__get_packed_size(&say->message);
    uint8_t *bytes = malloc(size ? size : 1);
    xebec__worker__v1__describe_response__pack(&say->message, bytes);
    enum gw_status status = worker_describe_read(arena, bytes, size, description, err);
    free(bytes);
    return status;
}

static void description_refused_as(const struct description *say, const char *words)
{
    struct arena arena = {0};
    struct worker_description description;
    struct gw_err err = {.what = ""};
    cr_assert_eq(read_description(say, &arena, &description, &err), GW_E_CONTRACT, "wanted: %s", words);
    cr_assert_str_eq(err.what, words);
    arena_clear(&arena);
}

Test(worker_describe, a_true_description_is_read)
{
    struct description say;
    struct arena arena = {0};
    struct worker_description description;
    struct gw_err err = {.what = ""};
    true_description(&say);
    cr_assert_eq(read_description(&say, &arena, &description, &err), GW_OK, "%s", err.what);
    cr_assert_str_eq(description.model, "digits");
    cr_assert_str_eq(description.version, "forest");
    cr_assert_str_eq(description.digest, "sha256:abc");
    cr_assert_eq(description.max_rows, 512);
    cr_assert_eq(description.signature.n_inputs, 1);
    cr_assert_eq(description.signature.inputs[0].shape[1], 64);
    cr_assert_eq(description.signature.n_outputs, 1);
    cr_assert_eq(description.signature.outputs[0].datatype, DT_INT64);
    cr_assert_eq(description.n_metadata, 1);
    cr_assert_str_eq(description.metadata[0], "framework");
    cr_assert_str_eq(description.metadata[1], "scikit-learn 1.2");
    arena_clear(&arena);
}

Test(worker_describe, impossible_descriptions_are_refused)
{
    struct description say;
    true_description(&say);
    say.message.model = (char *)"";
    description_refused_as(&say, "the model's name is empty");
    true_description(&say);
    say.message.version = (char *)"\xC0";
    description_refused_as(&say, "the version's name is not UTF-8");
    true_description(&say);
    say.message.digest = (char *)"a\1";
    description_refused_as(&say, "the model's digest has control characters");
    true_description(&say);
    say.shapes[0][0] = 1;
    description_refused_as(&say, "input pixels is FP32[1,64]: dimension 0 is the rows, and must be -1");
    true_description(&say);
    say.shapes[0][1] = -2;
    description_refused_as(&say, "input pixels is FP32[-1,-2]: a size is negative");
    true_description(&say);
    Spec *twice[] = {&say.specs[1], &say.specs[1]};
    say.message.outputs = twice, say.message.n_outputs = 2;
    description_refused_as(&say, "output label is described twice");
}

Test(worker_describe, metadata_is_bounded)
{
    struct description say;
    char text[4097];
    memset(text, 'v', sizeof text);
    text[sizeof text - 1] = '\0';
    true_description(&say);
    say.metadata.value = text;
    description_refused_as(&say, "the metadata is larger than 4096 bytes");

    Metadata *pairs[65];
    true_description(&say);
    for (int i = 0; i < 65; i++)
        pairs[i] = &say.metadata;
    say.message.metadata = pairs, say.message.n_metadata = 65;
    description_refused_as(&say, "65 pairs of metadata are more than 64");
}

Test(worker_describe, a_description_without_end_is_refused_unread)
{
    struct arena arena = {0};
    struct worker_description description;
    struct gw_err err;
    size_t size = 256 * 1024 + 1;
    uint8_t *bytes = calloc(1, size);
    cr_assert_eq(worker_describe_read(&arena, bytes, size, &description, &err), GW_E_CONTRACT);
    cr_assert_str_eq(err.what, "a description of 262145 bytes is larger than 262144");
    cr_assert_eq(arena.bytes, 0);
    free(bytes);
}

Test(worker_describe, a_description_cut_anywhere_never_crashes)
{
    struct description say;
    true_description(&say);
    size_t size = xebec__worker__v1__describe_response__get_packed_size(&say.message);
    uint8_t *bytes = malloc(size);
    xebec__worker__v1__describe_response__pack(&say.message, bytes);
    for (size_t cut = 0; cut < size; cut++) {
        struct arena arena = {0};
        struct worker_description description;
        struct gw_err err = {.what = ""};
        uint8_t *exact = malloc(cut ? cut : 1);
        memcpy(exact, bytes, cut);
        if (worker_describe_read(&arena, exact, cut, &description, &err) != GW_OK)
            cr_assert_neq(err.what[0], '\0');
        free(exact);
        arena_clear(&arena);
    }
    free(bytes);
}

Test(worker_describe, an_arena_that_is_full_is_no_lie)
{
    struct description say;
    true_description(&say);
    struct arena arena = {.limit = 1};
    struct worker_description description;
    struct gw_err err;
    enum gw_status status = read_description(&say, &arena, &description, &err);
    cr_assert_eq(status, GW_E_CONTRACT, "a limit is the caller's judgement of the size");
    cr_assert_str_eq(err.what, "the reply would unfold to far more than its size");
    arena_clear(&arena);
}

/* --- checking a description --- */

static struct tensor_spec spec(const char *name, enum datatype datatype, int64_t columns)
{
    return (struct tensor_spec){.name = name, .datatype = datatype, .dims = 2, .shape = {-1, columns}};
}

/* Says one input and one output, is asked by a configuration of others; returns the words of the refusal, or
 * "". */
static const char *check(struct tensor_spec input, struct tensor_spec output, struct tensor_spec asked,
                         struct tensor_spec wanted)
{
    static struct gw_err err;
    const struct worker_description description = {
        .model = "digits",
        .version = "forest",
        .digest = "",
        .signature = {.inputs = &input, .n_inputs = 1, .outputs = &output, .n_outputs = output.name ? 1 : 0}};
    const struct signature configured = {
        .inputs = &asked, .n_inputs = 1, .outputs = &wanted, .n_outputs = wanted.name ? 1 : 0};
    err.what[0] = '\0';
    enum gw_status status = worker_describe_check(&description, "digits", "forest", &configured, &err);
    cr_assert_eq(status, err.what[0] ? GW_E_CONTRACT : GW_OK);
    return err.what;
}

Test(worker_check, what_agrees_is_taken)
{
    const struct tensor_spec x = spec("x", DT_FP32, 64), y = spec("y", DT_FP32, 10), none = {0};
    const struct tensor_spec any_x = spec("x", DT_FP32, -1), any_y = spec("y", DT_FP32, -1);
    cr_assert_str_eq(check(x, y, x, y), "");
    cr_assert_str_eq(check(any_x, any_y, x, y), "", "a replica that takes more");
    cr_assert_str_eq(check(x, y, x, any_y), "", "a configuration that expects less");
    cr_assert_str_eq(check(x, none, x, y), "", "replies will show");
    cr_assert_str_eq(check(x, y, x, none), "", "nothing is expected");
}

Test(worker_check, what_contradicts_is_refused)
{
    const struct tensor_spec x = spec("x", DT_FP32, 64), y = spec("y", DT_FP32, 10);
    cr_assert_str_eq(check(spec("x", DT_FP64, 64), y, x, y),
                     "input x is FP64[-1,64], the configuration says FP32[-1,64]");
    cr_assert_str_eq(check(x, y, spec("x", DT_FP32, -1), y),
                     "input x is FP32[-1,64], the configuration says FP32[-1,-1]");
    cr_assert_str_eq(check(spec("z", DT_FP32, 64), y, x, y), "the replica has no input x");
    cr_assert_str_eq(check(x, spec("y", DT_FP32, 11), x, y),
                     "output y is FP32[-1,11], the configuration says FP32[-1,10]");
    cr_assert_str_eq(check(x, spec("z", DT_FP32, 10), x, y), "the replica has no output y");
}

Test(worker_check, inputs_and_outputs_that_nobody_configured_are_refused)
{
    struct gw_err err;
    struct tensor_spec specs[] = {spec("x", DT_FP32, 4), spec("extra", DT_FP32, 4)};
    struct worker_description description = {
        .model = "digits", .version = "forest", .signature = {.inputs = specs, .n_inputs = 2}};
    struct signature configured = {.inputs = specs, .n_inputs = 1};
    cr_assert_eq(worker_describe_check(&description, "digits", "forest", &configured, &err), GW_E_CONTRACT);
    cr_assert_str_eq(err.what, "the replica wants input extra, the configuration has none");

    description.signature =
        (struct signature){.inputs = specs, .n_inputs = 1, .outputs = specs, .n_outputs = 2};
    configured = (struct signature){.inputs = specs, .n_inputs = 1, .outputs = specs, .n_outputs = 1};
    cr_assert_eq(worker_describe_check(&description, "digits", "forest", &configured, &err), GW_E_CONTRACT);
    cr_assert_str_eq(err.what, "the replica gives output extra, the configuration has none");
}

Test(worker_check, another_model_is_refused)
{
    struct gw_err err;
    const struct worker_description description = {.model = "letters", .version = "forest"};
    cr_assert_eq(worker_describe_check(&description, "digits", "linear", &ANYTHING, &err), GW_E_CONTRACT);
    cr_assert_str_eq(err.what, "the replica serves letters@forest, the configuration says digits@linear");
    cr_assert_eq(worker_describe_check(&description, "letters", "linear", &ANYTHING, &err), GW_E_CONTRACT);
    cr_assert_eq(worker_describe_check(&description, "letters", "forest", &ANYTHING, &err), GW_OK);
}

/* --- health --- */

Test(worker_health, only_serving_is_serving)
{
    static const uint8_t serving[] = {8, 1}, not_serving[] = {8, 2}, torn[] = {8}, later[] = {8, 2, 8, 1};
    cr_assert(worker_health_serving(serving, 2));
    cr_assert_not(worker_health_serving(not_serving, 2));
    cr_assert_not(worker_health_serving(serving, 0), "nothing said is UNKNOWN");
    cr_assert_not(worker_health_serving(torn, 1));
    cr_assert(worker_health_serving(later, 4), "protobuf: the last one counts");

    uint8_t padded[2048] = {8, 1};
    cr_assert_not(worker_health_serving(padded, sizeof padded));
}
