/* JSON <-> tensors: every datatype, every shape, every refusal with its words, and hostile documents. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/codec.h"

/* ---- helpers ---- */

/* A document in memory of its exact size, behind it what would finish it if it were read. */
static char *document_new(const char *text, size_t length, char beyond)
{
    char *copy = malloc(length + CODEC_PADDING);
    if (length)
        memcpy(copy, text, length);
    memset(copy + length, beyond, CODEC_PADDING);
    return copy;
}

static enum gw_status read_document(const char *text, size_t length, char beyond, json_member_fn *member,
                                    void *owner, struct gw_err *err)
{
    struct json_reader *reader = json_reader_new();
    char *document = document_new(text, length, beyond);
    memset(err, 0, sizeof *err);
    enum gw_status status = json_read(reader, document, length, member, owner, err);
    cr_expect_eq(err->status, status);
    free(document);
    json_reader_free(reader);
    return status;
}

/* "x" is a row, "rows" a list of them; all else is left unread. */
static enum gw_status append_member(void *owner, const char *key, size_t length, struct json_value *value,
                                    struct gw_err *err)
{
    if (length == 1 && *key == 'x')
        return json_append_row(value, owner, err);
    if (length == 4 && memcmp(key, "rows", 4) == 0)
        return json_append_rows(value, owner, err);
    return GW_OK;
}

struct read {
    struct arena arena;
    struct tensor_spec spec;
    struct gw_err err;
    enum gw_status status;
    struct tensor tensor;
};

static void read_rows(struct read *read, struct tensor_spec spec, const char *text)
{
    struct tensor_builder builder;
    *read = (struct read){.spec = spec};
    tensor_builder_init(&builder, &read->arena, &read->spec, 5);
    read->status = read_document(text, strlen(text), '}', append_member, &builder, &read->err);
    read->tensor = tensor_builder_take(&builder);
}

static void hex(const struct tensor *tensor, char *text)
{
    *text = '\0';
    for (size_t i = 0; i < tensor->bytes; i++)
        text += sprintf(text, "%02x", tensor->data[i]);
}

static struct tensor_spec scalar(enum datatype datatype)
{
    return (struct tensor_spec){.name = "x", .datatype = datatype, .dims = 1, .shape = {-1}};
}

static struct tensor_spec shaped(enum datatype datatype, int dims, const int64_t *sizes)
{
    struct tensor_spec spec = {.name = "x", .datatype = datatype, .dims = (uint8_t)(dims + 1), .shape = {-1}};
    for (int i = 0; i < dims; i++)
        spec.shape[i + 1] = sizes[i];
    return spec;
}
#define SHAPED(datatype, ...)                                                                                \
    shaped(datatype, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

static struct tensor_spec encoded(struct tensor_spec spec, enum tensor_encoding encoding)
{
    spec.encoding = encoding;
    return spec;
}

/* What it writes for row 0 of a tensor. */
static char *written(const struct tensor *tensor, uint32_t row)
{
    static char text[4096];
    struct buf out = {0};
    struct json_reader *checker = json_reader_new();
    cr_assert_eq(json_write_row(&out, checker, tensor, row), GW_OK);
    cr_assert(out.length < sizeof text);
    memcpy(text, out.bytes, out.length);
    text[out.length] = '\0';
    buf_clear(&out);
    json_reader_free(checker);
    return text;
}

/* ---- elements ---- */

Test(elements, every_datatype_is_read_into_its_bytes)
{
    static const struct {
        enum datatype datatype;
        const char *text, *hex;
    } cases[] = {
        {DT_BOOL, "true", "01"},
        {DT_BOOL, "false", "00"},
        {DT_BOOL, "1", "01"},
        {DT_BOOL, "0", "00"},
        {DT_UINT8, "0", "00"},
        {DT_UINT8, "255", "ff"},
        {DT_UINT16, "65535", "ffff"},
        {DT_UINT32, "4294967295", "ffffffff"},
        {DT_UINT64, "18446744073709551615", "ffffffffffffffff"},
        {DT_UINT64, "9223372036854775808", "0000000000000080"},
        {DT_UINT64, "-0", "0000000000000000"},
        {DT_INT8, "-128", "80"},
        {DT_INT8, "127", "7f"},
        {DT_INT16, "-32768", "0080"},
        {DT_INT32, "-2147483648", "00000080"},
        {DT_INT32, "258", "02010000"},
        {DT_INT64, "-9223372036854775808", "0000000000000080"},
        {DT_INT64, "9223372036854775807", "ffffffffffffff7f"},
        {DT_FP16, "1", "003c"},
        {DT_FP16, "-2.5", "00c1"},
        {DT_FP16, "65504", "ff7b"},
        {DT_FP16, "65519.99", "ff7b"},
        {DT_FP16, "2049", "0068"},                   /* halfway between 2048 and 2050: to even */
        {DT_FP16, "2051", "0268"},                   /* halfway between 2050 and 2052: to even */
        {DT_FP16, "5.960464477539063e-8", "0100"},   /* the smallest */
        {DT_FP16, "2.98023223876953125e-8", "0000"}, /* half of it: to even */
        {DT_FP16, "2.99e-8", "0100"},
        {DT_FP16, "6.103515625e-5", "0004"}, /* the smallest normal one */
        {DT_FP16, "6.1e-5", "ff03"},
        {DT_FP16, "\"NaN\"", "007e"},
        {DT_FP16, "\"-Infinity\"", "00fc"},
        {DT_BF16, "1", "803f"},
        {DT_BF16, "1.00390625", "803f"}, /* halfway: to even */
        {DT_BF16, "1.01171875", "823f"}, /* halfway: to even */
        {DT_BF16, "3.3895313892515355e38", "7f7f"},
        {DT_FP32, "1", "0000803f"},
        {DT_FP32, "-0.0", "00000080"},
        {DT_FP32, "0.1", "cdcccc3d"},
        {DT_FP32, "3.4028235e38", "ffff7f7f"},
        {DT_FP32, "1e-45", "01000000"},
        {DT_FP32, "1e-400", "00000000"},
        {DT_FP32, "1.00000005960464477539062500", "0000803f"}, /* halfway: to even */
        {DT_FP32, "1.00000005960464477539062501", "0100803f"}, /* a hair above, lost in a double */
        {DT_FP32, "1.000000059604644775390625", "0000803f"},
        {DT_FP32, "0.12345678901234567890123", "ead6fc3d"}, /* simdjson 3.0.1 would read 4.8e-05 */
        {DT_FP32, "1e00000000000000000000000001", "00002041"},
        {DT_FP32, "\"NaN\"", "0000c07f"},
        {DT_FP32, "\"Infinity\"", "0000807f"},
        {DT_FP64, "0.1", "9a9999999999b93f"},
        {DT_FP64, "0.10000000000000000000000001", "9a9999999999b93f"},
        {DT_FP64, "1.7976931348623157e308", "ffffffffffffef7f"},
        {DT_FP64, "4.9e-324", "0100000000000000"},
        {DT_FP64, "\"-Infinity\"", "000000000000f0ff"},
        {DT_BYTES, "\"\"", "00000000"},
        {DT_BYTES, "\"ab\"", "020000006162"},
        {DT_BYTES, "\"\\u00e9\\n\\ud83d\\ude00\"", "07000000c3a90af09f9880"},
        {DT_BYTES, "{\"b64\": \"AP8=\"}", "0200000000ff"},
        {DT_BYTES, "{\"b6\\u0034\": \"AP8=\"}", "0200000000ff"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct read read;
        char text[256], got[256];
        for (int list = 0; list < 2; list++) { /* bare, and a list of one */
            snprintf(text, sizeof text, list ? "{\"x\": [ %s ] }" : "{\"x\": %s }", cases[i].text);
            read_rows(&read, scalar(cases[i].datatype), text);
            cr_assert_eq(read.status, GW_OK, "%s: %s", text, read.err.what);
            hex(&read.tensor, got);
            cr_expect_str_eq(got, cases[i].hex, "%s as %s: %s, expected %s", text,
                             datatype_name(cases[i].datatype), got, cases[i].hex);
            cr_expect_eq(read.tensor.spec.shape[0], 1);
            if (cases[i].datatype == DT_BYTES)
                cr_expect_eq(read.tensor.row_end[0], read.tensor.bytes);
            arena_clear(&read.arena);
        }
    }
}

Test(elements, encodings_of_bytes)
{
    static const struct {
        enum tensor_encoding encoding;
        const char *text, *hex;
    } cases[] = {
        {TENSOR_BASE64, "\"\"", "00000000"},
        {TENSOR_BASE64, "\"/+8=\"", "02000000ffef"},
        {TENSOR_BASE64, "\"\\/+8=\"", "02000000ffef"}, /* as PHP writes a slash */
        {TENSOR_BASE64, "\"AAEC\"", "03000000000102"},
        {TENSOR_BASE64, "{\"b64\": \"AQ==\"}", "0100000001"},
        {TENSOR_JSON, "null", "040000006e756c6c"},
        {TENSOR_JSON, " 1e400 ", "050000003165343030"},
        {TENSOR_JSON, "[ 1 ]", "050000005b2031205d"},
        {TENSOR_JSON, "[1,\"]\"]\n", "070000005b312c225d225d"},
        {TENSOR_JSON, "{\"b64\":1}", "090000007b22623634223a317d"},
        {TENSOR_JSON, "{}", "020000007b7d"},
        {TENSOR_JSON, "\"a\"", "03000000226122"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct read read;
        char text[256], got[256];
        snprintf(text, sizeof text, "{\"x\":%s}", cases[i].text);
        read_rows(&read, encoded(scalar(DT_BYTES), cases[i].encoding), text);
        cr_assert_eq(read.status, GW_OK, "%s: %s", text, read.err.what);
        hex(&read.tensor, got);
        cr_expect_str_eq(got, cases[i].hex, "%s: %s", text, got);
        arena_clear(&read.arena);
    }
}

/* ---- shapes ---- */

Test(shapes, nested_flat_and_open_sizes)
{
    const struct {
        struct tensor_spec spec;
        const char *text, *shape, *row;
    } cases[] = {
        {SHAPED(DT_INT32, 3), "{\"x\":[1,2,3]}", "INT32[1,3]", "[1,2,3]"},
        {SHAPED(DT_INT32, 2, 2), "{\"x\":[[1,2],[3,4]]}", "INT32[1,2,2]", "[[1,2],[3,4]]"},
        {SHAPED(DT_INT32, 2, 2), "{\"x\":[1,2,3,4]}", "INT32[1,2,2]", "[[1,2],[3,4]]"},
        {SHAPED(DT_INT32, 2, 1, 2), "{\"x\":[[[1,2]],[[3,4]]]}", "INT32[1,2,1,2]", "[[[1,2]],[[3,4]]]"},
        {SHAPED(DT_INT32, 1), "{\"x\":7}", "INT32[1,1]", "[7]"},
        {SHAPED(DT_INT32, 1, 1), "{\"x\":[[7]]}", "INT32[1,1,1]", "[[7]]"},
        {SHAPED(DT_INT32, -1), "{\"x\":[1,2,3]}", "INT32[1,3]", "[1,2,3]"},
        {SHAPED(DT_INT32, -1), "{\"x\":[]}", "INT32[1,0]", "[]"},
        {SHAPED(DT_INT32, -1, 2), "{\"x\":[[1,2],[3,4],[5,6]]}", "INT32[1,3,2]", "[[1,2],[3,4],[5,6]]"},
        {SHAPED(DT_INT32, -1, 2), "{\"x\":[1,2,3,4,5,6]}", "INT32[1,3,2]", "[[1,2],[3,4],[5,6]]"},
        {SHAPED(DT_INT32, 2, -1), "{\"x\":[1,2,3,4,5,6]}", "INT32[1,2,3]", "[[1,2,3],[4,5,6]]"},
        {SHAPED(DT_INT32, -1, -1), "{\"x\":[[1,2],[3,4]]}", "INT32[1,2,2]", "[[1,2],[3,4]]"},
        {SHAPED(DT_INT32, -1, -1), "{\"x\":[]}", "INT32[1,0,0]", "[]"},
        {SHAPED(DT_BYTES, 2), "{\"x\":[\"a\",\"b\"]}", "BYTES[1,2]", "[\"a\",\"b\"]"},
        {SHAPED(DT_BYTES, 1, 2), "{\"x\":[\"a\",{\"b64\":\"Yg==\"}]}", "BYTES[1,1,2]", "[[\"a\",\"b\"]]"},
        {encoded(SHAPED(DT_BYTES, 2), TENSOR_JSON), "{\"x\":[[1],{}]}", "BYTES[1,2]", "[[1],{}]"},
        {encoded(SHAPED(DT_BYTES, 1), TENSOR_JSON), "{\"x\":{}}", "BYTES[1,1]", "[{}]"},
        {encoded(SHAPED(DT_BYTES, 1, 2), TENSOR_JSON), "{\"x\":[[1,2]]}", "BYTES[1,1,2]", "[[1,2]]"},
        {scalar(DT_INT32), "{\"x\":7}", "INT32[1]", "7"},
        {SHAPED(DT_BOOL, 2), "{\"x\":[true,false]}", "BOOL[1,2]", "[true,false]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct read read;
        char shape[64];
        read_rows(&read, cases[i].spec, cases[i].text);
        cr_assert_eq(read.status, GW_OK, "%s: %s", cases[i].text, read.err.what);
        cr_expect_str_eq(tensor_spec_text(&read.tensor.spec, shape, sizeof shape), cases[i].shape);
        cr_expect_str_eq(written(&read.tensor, 0), cases[i].row);
        arena_clear(&read.arena);
    }
}

Test(shapes, rows_follow_one_another)
{
    struct read read;
    char shape[64];
    read_rows(&read, SHAPED(DT_BYTES, -1), "{\"rows\":[[\"a\",\"b\"],[\"\",\"cd\"]], \"x\":[\"e\",\"f\"]}");
    cr_assert_eq(read.status, GW_OK, "%s", read.err.what);
    cr_expect_str_eq(tensor_spec_text(&read.tensor.spec, shape, sizeof shape), "BYTES[3,2]");
    cr_expect_str_eq(written(&read.tensor, 0), "[\"a\",\"b\"]");
    cr_expect_str_eq(written(&read.tensor, 1), "[\"\",\"cd\"]");
    cr_expect_str_eq(written(&read.tensor, 2), "[\"e\",\"f\"]");
    cr_expect_eq(read.tensor.row_end[2], read.tensor.bytes);
    arena_clear(&read.arena);
    read_rows(&read, SHAPED(DT_FP32, 2, 2), "{\"rows\":[[[1,2],[3,4]],[5,6,7,8]]}");
    cr_assert_eq(read.status, GW_OK, "%s", read.err.what);
    cr_expect_str_eq(written(&read.tensor, 1), "[[5,6],[7,8]]");
    arena_clear(&read.arena);
    read_rows(&read, SHAPED(DT_FP32, 2), "{\"rows\":[]}");
    cr_expect_eq(read.status, GW_OK);
    cr_expect_eq(read.tensor.spec.shape[0], 0);
    arena_clear(&read.arena);
}

/* ---- refusals ---- */

Test(refusals, say_what_and_where)
{
    const struct {
        struct tensor_spec spec;
        const char *text, *what;
    } cases[] = {
        {SHAPED(DT_FP32, 3), "{\"x\":[1,2]}", "x: expected 3 numbers, got 2"},
        {SHAPED(DT_FP32, 3), "{\"x\":[1,2,3,4]}", "x: expected 3 numbers, got 4"},
        {SHAPED(DT_FP32, 3), "{\"rows\":[[1,2,3],[]]}", "rows[1]: expected 3 numbers, got 0"},
        {SHAPED(DT_FP32, 3), "{\"x\":1}", "x: expected a list of numbers, got a number"},
        {SHAPED(DT_FP32, 3), "{\"x\":\"1\"}", "x: expected a list of numbers, got a string"},
        {SHAPED(DT_FP32, 3), "{\"x\":[1,null,3]}", "x[1]: expected a number, got null"},
        {SHAPED(DT_FP32, 3), "{\"rows\":[[1,2,\"3\"]]}", "rows[0][2]: expected a number, got a string"},
        {SHAPED(DT_FP32, 3), "{\"rows\":{}}", "rows: expected a list, got an object"},
        {SHAPED(DT_FP32, 3), "{\"x\":[1,[2],3]}", "x[1]: expected a number, got a list"},
        {SHAPED(DT_FP32, 2, 2), "{\"x\":[[1,2],[3]]}", "x[1]: expected 2 numbers, got 1"},
        {SHAPED(DT_FP32, 2, 2), "{\"x\":[[1,2]]}", "x: expected 2 lists, got 1"},
        {SHAPED(DT_FP32, 1, 2), "{\"x\":[[1,2],[3,4]]}", "x: expected 1 list, got 2"},
        {SHAPED(DT_FP32, 2, 2), "{\"x\":[[1,2],3]}", "x[1]: expected a list, got a number"},
        {SHAPED(DT_FP32, 2, 2), "{\"x\":[1,2,3]}", "x: expected 4 numbers, got 3"},
        {SHAPED(DT_FP32, -1, 2), "{\"x\":[1,2,3]}", "x: expected a multiple of 2 numbers, got 3"},
        {SHAPED(DT_FP32, -1, 2), "{\"rows\":[[1,2],[1,2,3,4]]}", "rows[1]: expected 2 numbers, got 4"},
        {SHAPED(DT_FP32, -1, -1), "{\"x\":[1,2]}",
         "x: expected nested lists, for FP32[-1,-1,-1] leaves several sizes open"},
        {SHAPED(DT_FP32, -1, -1), "{\"x\":[[1,2],[3]]}", "x[1]: expected 2 numbers, got 1"},
        {SHAPED(DT_FP32, -1), "{\"rows\":[[1,2],[3]]}", "rows[1]: expected 2 numbers, got 1"},
        {SHAPED(DT_FP32, -1), "{\"x\":1}", "x: expected a list of numbers, got a number"},
        {scalar(DT_FP32), "{\"x\":[1,2]}", "x: expected 1 number, got 2"},
        {scalar(DT_FP32), "{\"x\":[[1]]}", "x[0]: expected a number, got a list"},
        {scalar(DT_FP32), "{\"rows\":[1,2,3,4,5,6]}", "rows[5]: more rows than the limit of 5"},
        {scalar(DT_FP32), "{\"x\":1e39}", "x: 1e39 is out of the range of FP32"},
        {scalar(DT_FP32), "{\"x\":340282356779733661637539395458142568448}",
         "x: 34028235677973366163753939545814 is out of the range of FP32"},
        {scalar(DT_FP32), "{\"x\":\"nan\"}", "x: expected a number, got a string"},
        {scalar(DT_FP64), "{\"x\":-1e309}", "x: -1e309 is out of the range of FP64"},
        {scalar(DT_FP16), "{\"x\":65520}", "x: 65520 is out of the range of FP16"},
        {scalar(DT_BF16), "{\"x\":3.4e38}", "x: 3.4e38 is out of the range of BF16"},
        {scalar(DT_INT8), "{\"x\":128}", "x: 128 is out of the range of INT8"},
        {scalar(DT_INT8), "{\"x\":-129}", "x: -129 is out of the range of INT8"},
        {scalar(DT_UINT8), "{\"x\":-1}", "x: -1 is out of the range of UINT8"},
        {scalar(DT_UINT32), "{\"x\":4294967296}", "x: 4294967296 is out of the range of UINT32"},
        {scalar(DT_INT64), "{\"x\":9223372036854775808}",
         "x: 9223372036854775808 is out of the range of INT64"},
        {scalar(DT_UINT64), "{\"x\":18446744073709551616}",
         "x: 18446744073709551616 is out of the range of UINT64"},
        {scalar(DT_UINT64), "{\"x\":-1}", "x: -1 is out of the range of UINT64"},
        {scalar(DT_INT32), "{\"x\":1.0}", "x: expected a whole number for INT32, got 1.0"},
        {scalar(DT_INT32), "{\"x\":1e2}", "x: expected a whole number for INT32, got 1e2"},
        {scalar(DT_INT32), "{\"x\":true}", "x: expected a number, got a boolean"},
        {scalar(DT_BOOL), "{\"x\":2}", "x: expected a boolean, got a number"},
        {scalar(DT_BOOL), "{\"x\":\"true\"}", "x: expected a boolean, got a string"},
        {scalar(DT_BYTES), "{\"x\":1}", "x: expected a string, got a number"},
        {scalar(DT_BYTES), "{\"x\":{}}", "x: expected a string or {\"b64\": \"...\"}, got {}"},
        {scalar(DT_BYTES), "{\"x\":{\"a\":1}}",
         "x: expected a string or {\"b64\": \"...\"}, got another object"},
        {scalar(DT_BYTES), "{\"x\":{\"b64\":\"\",\"b64\":\"\"}}",
         "x: expected a string or {\"b64\": \"...\"}, got another object"},
        {scalar(DT_BYTES), "{\"x\":{\"b64\":\"A\"}}", "x: not base64 (RFC 4648, with padding)"},
        {scalar(DT_BYTES), "{\"x\":\"\\ud800\"}", "x: a string has an escape that is not valid"},
        {scalar(DT_BYTES), "{\"x\":\"\\q\"}", "x: a string has an escape that is not valid"},
        {encoded(scalar(DT_BYTES), TENSOR_BASE64), "{\"x\":\"QQ\"}",
         "x: not base64 (RFC 4648, with padding)"},
        {encoded(scalar(DT_BYTES), TENSOR_BASE64), "{\"x\":\"QR==\"}",
         "x: not base64 (RFC 4648, with padding)"},
        {encoded(scalar(DT_BYTES), TENSOR_BASE64), "{\"x\":\"QQ==QQ==\"}",
         "x: not base64 (RFC 4648, with padding)"},
        {encoded(scalar(DT_BYTES), TENSOR_BASE64), "{\"x\":\"Q Q=\"}",
         "x: not base64 (RFC 4648, with padding)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct read read;
        bool large = strstr(cases[i].what, "more rows") != NULL;
        read_rows(&read, cases[i].spec, cases[i].text);
        cr_expect_eq(read.status, large ? GW_E_TOO_LARGE : GW_E_INVALID, "%s", cases[i].text);
        cr_expect_str_eq(read.err.what, cases[i].what, "%s: %s", cases[i].text, read.err.what);
        arena_clear(&read.arena);
    }
}

Test(refusals, of_what_is_not_json)
{
    static const struct {
        const char *text, *what;
    } cases[] = {
        {"", "the document is empty"},
        {" \n", "the document is empty"},
        {"[]", "the document: expected an object, got a list"},
        {"12", "the document: expected an object, got a number"},
        {"nonsense", "the document: expected an object, got null"},
        {"hello", "not valid JSON near byte 0"},
        {"{\"x\":1", "not valid JSON: the document does not end with its object"},
        {"{\"x\":1} x", "not valid JSON: the document does not end with its object"},
        {"{\"x\":[1]}{\"x\":[2]}", "not valid JSON near byte 9"},
        {"{\"x\":\"1}", "not valid JSON: a string does not end"},
        {"{\"\xff\":1}", "the document is not UTF-8"},
        {"{\"y\":\"\x01\"}", "not valid JSON: a control character in a string"},
        {"{\"x\":[1,]}", "not valid JSON near byte 8"},
        {"{\"x\":[1 2]}", NULL},
        {"{\"x\":[,1]}", NULL},
        {"{\"x\":01}", NULL},
        {"{\"x\":1.}", NULL},
        {"{\"x\":.5}", NULL},
        {"{\"x\":+1}", NULL},
        {"{\"x\":-}", NULL},
        {"{\"x\":1e}", NULL},
        {"{\"x\":0x10}", NULL},
        {"{\"x\":NaN}", NULL},
        {"{\"x\":1,}", NULL},
        {"{,\"x\":1}", NULL},
        {"{\"x\" 1}", NULL},
        {"{x:1}", NULL},
        {"{\"x\":1]}", NULL},
        /* members that nobody reads */
        {"{\"y\":nul}", NULL},
        {"{\"y\":truely}", NULL},
        {"{\"y\":[1,}", NULL},
        {"{\"y\":{\"a\":\"b\":1}}", NULL},
        {"{\"y\":[\"b\":1]}", NULL},
        {"{\"y\":\"a\":1}", NULL},
        {"{\"y\":{\"a\"}}", NULL},
        {"{\"y\":{1:2}}", NULL},
        {"{\"y\":[1}]", NULL},
        {"{\"y\":[1]]}", NULL},
        {"{\"y\":{}}}", NULL},
        {"{\"y\":00}", NULL},
        {"{\"y\":[1.e5]}", NULL},
        {"{\"y\":\"\\x\"}", NULL},
        {"{\"y\":[\"\\u12\"]}", NULL},
        {"{\"\\q\":1}", NULL},
        {"{\"y\":[{}", NULL},
        {"{\"y\":{\"y\":{}", NULL},
    };
    static const char beyond[] = {'}', ']', ',', '"', '1', ' ', '\0'};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t j = 0; j < sizeof beyond; j++) {
            struct tensor_spec spec = SHAPED(DT_FP32, -1);
            struct arena arena = {0};
            struct tensor_builder builder;
            struct gw_err err;
            tensor_builder_init(&builder, &arena, &spec, 5);
            enum gw_status status =
                read_document(cases[i].text, strlen(cases[i].text), beyond[j], append_member, &builder, &err);
            cr_expect_eq(status, GW_E_INVALID, "%s", cases[i].text);
            if (cases[i].what)
                cr_expect_str_eq(err.what, cases[i].what, "%s: %s", cases[i].text, err.what);
            arena_clear(&arena);
        }
}

Test(refusals, nothing_truncated_passes)
{
    static const char whole[] = "{\"y\": [null, true, {\"a\": -1.5e+3, \"b\\u0041\": \"\\\"\\\\\"}, []], "
                                "\"x\": [0.5, 1e2, \"NaN\"], \"rows\": [[1, 2, 3]], \"z\": \"\xc3\xa9\"}";
    static const char beyond[] = {'}', ']', '"', '\0'};
    for (size_t length = 0; length < sizeof whole; length++)
        for (size_t j = 0; j < sizeof beyond; j++) {
            struct tensor_spec spec = SHAPED(DT_FP32, 3);
            struct arena arena = {0};
            struct tensor_builder builder;
            struct gw_err err;
            tensor_builder_init(&builder, &arena, &spec, 5);
            enum gw_status status = read_document(whole, length, beyond[j], append_member, &builder, &err);
            cr_expect_eq(status == GW_OK, length == sizeof whole - 1, "%zu bytes: %s", length, err.what);
            arena_clear(&arena);
        }
}

/* ---- documents ---- */

static enum gw_status ignore_member(void *owner, const char *key, size_t length, struct json_value *value,
                                    struct gw_err *err)
{
    (void)owner, (void)key, (void)length, (void)value, (void)err;
    return GW_OK;
}

static void nested_document(char *text, char open, char close, size_t depth)
{
    size_t at = (size_t)sprintf(text, "{\"y\":");
    for (size_t i = 1; i < depth; i++) {
        if (open == '{')
            at += (size_t)sprintf(text + at, "{\"a\":");
        else
            text[at++] = open;
    }
    at += (size_t)sprintf(text + at, "0");
    for (size_t i = 1; i < depth; i++)
        text[at++] = close;
    strcpy(text + at, "}");
}

Test(documents, nest_64_deep_and_no_deeper)
{
    for (int objects = 0; objects < 2; objects++) {
        char text[1024];
        struct gw_err err;
        nested_document(text, objects ? '{' : '[', objects ? '}' : ']', 64);
        cr_expect_eq(read_document(text, strlen(text), '}', ignore_member, NULL, &err), GW_OK, "%s",
                     err.what);
        nested_document(text, objects ? '{' : '[', objects ? '}' : ']', 65);
        cr_expect_eq(read_document(text, strlen(text), '}', ignore_member, NULL, &err), GW_E_INVALID);
        cr_expect(strstr(err.what, ": nested deeper than 64"), "%s", err.what);
    }
}

Test(documents, a_million_brackets_are_refused)
{
    size_t length = 1 << 20;
    char *text = malloc(length);
    struct gw_err err;
    memset(text, '[', length);
    memcpy(text, "{\"y\":", 5);
    text[length - 1] = '}';
    cr_expect_eq(read_document(text, length, ']', ignore_member, NULL, &err), GW_E_INVALID);
    cr_expect(strstr(err.what, "nested deeper than 64"), "%s", err.what);
    free(text);
}

struct seen {
    struct arena arena;
    char text[512];
};

static enum gw_status note_member(void *owner, const char *key, size_t length, struct json_value *value,
                                  struct gw_err *err);

static enum gw_status note_element(void *owner, uint32_t index, struct json_value *value, struct gw_err *err)
{
    char name[16];
    int length = snprintf(name, sizeof name, "%u", index);
    return note_member(owner, name, (size_t)length, value, err);
}

static enum gw_status note_member(void *owner, const char *key, size_t length, struct json_value *value,
                                  struct gw_err *err)
{
    struct seen *seen = owner;
    const char *text;
    size_t text_length;
    int64_t integer;
    sprintf(seen->text + strlen(seen->text), "%.*s:", (int)length, key);
    enum json_kind kind = json_kind(value);
    if (kind == JSON_OBJECT || kind == JSON_LIST) {
        enum gw_status status = kind == JSON_OBJECT ? json_object(value, note_member, seen, err)
                                                    : json_array(value, note_element, seen, err);
        strcat(seen->text, ".");
        return status;
    }
    if (kind == JSON_STRING) {
        enum gw_status status = json_text(value, &seen->arena, &text, &text_length, err);
        if (status == GW_OK) {
            cr_expect_eq(text[text_length], '\0');
            sprintf(seen->text + strlen(seen->text), "%s;", text);
        }
        return status;
    }
    if (kind != JSON_NUMBER)
        return GW_OK; /* skipped */
    enum gw_status status = json_int(value, &integer, err);
    if (status == GW_OK)
        sprintf(seen->text + strlen(seen->text), "%lld;", (long long)integer);
    return status;
}

Test(documents, are_walked_in_order_with_keys_unescaped)
{
    static const char text[] =
        "{\"a\": 1, \"\\u0062\": [true, \"x\\ty\", {\"\\\"c\\\"\": -5}, []], \"\": {}, \"d\": null}";
    struct seen seen = {0};
    struct gw_err err;
    cr_assert_eq(read_document(text, strlen(text), '}', note_member, &seen, &err), GW_OK, "%s", err.what);
    cr_expect_str_eq(seen.text, "a:1;b:0:1:x\ty;2:\"c\":-5;.3:..:.d:");
    arena_clear(&seen.arena);
}

Test(documents, values_know_their_place)
{
    static const struct {
        const char *text, *what;
    } cases[] = {
        {"{\"a\":[{\"b\":[1,2.5]}]}", "a[0].b[1]: expected a whole number for INT64, got 2.5"},
        {"{\"a\":{\"\":{\"c\\n\":1e1}}}", "a..c\n: expected a whole number for INT64, got 1e1"},
        {"{\"a\":99999999999999999999}", "a: 99999999999999999999 is out of the range of INT64"},
        {"{\"a\":[\"\\q\"]}", "a[0]: a string has an escape that is not valid"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct seen seen = {0};
        struct gw_err err;
        cr_expect_eq(read_document(cases[i].text, strlen(cases[i].text), '}', note_member, &seen, &err),
                     GW_E_INVALID);
        cr_expect_str_eq(err.what, cases[i].what, "%s", err.what);
        arena_clear(&seen.arena);
    }
}

Test(documents, a_long_way_to_a_problem_is_cut)
{
    char text[2048], *at = text;
    struct seen seen = {0};
    struct gw_err err;
    at += sprintf(at, "{");
    for (int i = 0; i < 5; i++)
        at += sprintf(at, "\"%0100d\":%s", i, i < 4 ? "{" : "1.5}}}}}");
    cr_expect_eq(read_document(text, strlen(text), '}', note_member, &seen, &err), GW_E_INVALID);
    cr_expect_eq(strlen(err.what), strlen(": expected a whole number for INT64, got 1.5") + 159);
    arena_clear(&seen.arena);
}

static enum gw_status refuse_member(void *owner, const char *key, size_t length, struct json_value *value,
                                    struct gw_err *err)
{
    (void)owner, (void)key, (void)length;
    return json_refuse(value, err, "not %s", "wanted");
}

Test(documents, a_callback_may_refuse)
{
    struct gw_err err;
    cr_expect_eq(read_document("{\"a\":1}", 7, '}', refuse_member, NULL, &err), GW_E_INVALID);
    cr_expect_str_eq(err.what, "a: not wanted");
}

Test(documents, one_reader_reads_many)
{
    struct json_reader *reader = json_reader_new();
    size_t large = 3 << 20;
    for (int round = 0; round < 3; round++) {
        for (int big = 0; big < 2; big++) {
            size_t length = big ? large : 40;
            char *text = malloc(length + CODEC_PADDING);
            struct gw_err err;
            memset(text, ' ', length);
            memcpy(text, "{\"\\u0061\":\"\\n\"", 14);
            text[length - 1] = round == 1 ? ']' : '}';
            enum gw_status status = json_read(reader, text, length, ignore_member, NULL, &err);
            cr_expect_eq(status, round == 1 ? GW_E_INVALID : GW_OK);
            free(text);
        }
        cr_expect(json_valid(reader, "{}", 2));
    }
    json_reader_free(reader);
}

Test(documents, validity_is_of_any_kind_of_value)
{
    static const char *const good[] = {
        "1", "-0", "\"a\"", "null", "[]", "{}", " [1, {\"a\": false}] ", "1e999", "\"\\u00e9\"", "\n0\n"};
    static const char *const bad[] = {"",       " ",   "1,2",  "1 2", "[",   "]",       "1]",       "[1],[2]",
                                      "1],[2",  "nul", "'a'",  "\"a", "{",   "01",      "--1",      "\xff",
                                      "\"\\\"", "\"",  "1]//", "}",   "[1}", "{\"a\"}", "\"\x1f\"", "0] "};
    struct json_reader *reader = json_reader_new();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect(json_valid(reader, good[i], strlen(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect(!json_valid(reader, bad[i], strlen(bad[i])), "%s", bad[i]);
    cr_expect(!json_valid(reader, "1\0", 2), "NUL is no white space");
    cr_expect(!json_valid(reader, "[null\0]", 7));
    cr_expect(!json_valid(reader, "{}\0", 3));
    char nested[130];
    memset(nested, '[', 65);
    memset(nested + 65, ']', 65);
    cr_expect(json_valid(reader, nested + 1, 128));
    cr_expect(!json_valid(reader, nested, 130));
    json_reader_free(reader);
}

/* ---- writing ---- */

/* One row; the last tensor that it made is the valid one. */
static struct tensor tensor_of(struct tensor_spec spec, const void *data, size_t bytes)
{
    static uint32_t row_end;
    row_end = (uint32_t)bytes;
    spec.shape[0] = 1;
    return (struct tensor){.spec = spec, .data = data, .bytes = bytes, .row_end = &row_end};
}

Test(writing, numbers_are_as_short_as_they_can_be)
{
    const struct {
        enum datatype datatype;
        const char *bytes, *text;
        size_t size;
    } cases[] = {
        {DT_BOOL, "\1", "true", 1},
        {DT_BOOL, "\0", "false", 1},
        {DT_UINT8, "\xff", "255", 1},
        {DT_INT8, "\xff", "-1", 1},
        {DT_UINT16, "\xff\xff", "65535", 2},
        {DT_INT16, "\0\x80", "-32768", 2},
        {DT_UINT32, "\xff\xff\xff\xff", "4294967295", 4},
        {DT_INT32, "\7\0\0\0", "7", 4},
        {DT_UINT64, "\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615", 8},
        {DT_INT64, "\0\0\0\0\0\0\0\x80", "-9223372036854775808", 8},
        {DT_FP16, "\0\x3c", "1", 2},
        {DT_FP16, "\1\0", "5.9604645e-08", 2},
        {DT_FP16, "\0\x7e", "\"NaN\"", 2},
        {DT_BF16, "\x80\x3f", "1", 2},
        {DT_BF16, "\x80\xff", "\"-Infinity\"", 2},
        {DT_FP32, "\xcd\xcc\xcc\x3d", "0.1", 4},
        {DT_FP32, "\0\0\x80\x7f", "\"Infinity\"", 4},
        {DT_FP32, "\0\0\0\x80", "-0", 4},
        {DT_FP64, "\x9a\x99\x99\x99\x99\x99\xb9\x3f", "0.1", 8},
        {DT_FP64, "\xff\xff\xff\xff\xff\xff\xef\xff", "-1.7976931348623157e+308", 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char aligned[8];
        memcpy(aligned, cases[i].bytes, cases[i].size);
        struct tensor tensor = tensor_of(scalar(cases[i].datatype), aligned, cases[i].size);
        cr_expect_str_eq(written(&tensor, 0), cases[i].text);
    }
}

Test(writing, bytes_by_their_encoding)
{
    static const struct {
        enum tensor_encoding encoding;
        const char *bytes, *text;
        size_t size;
    } cases[] = {
        {TENSOR_TEXT, "\3\0\0\0a\"\n", "\"a\\\"\\n\"", 7},
        {TENSOR_TEXT, "\2\0\0\0a\xff", "\"a\xEF\xBF\xBD\"", 6},
        {TENSOR_TEXT, "\0\0\0\0", "\"\"", 4},
        {TENSOR_BASE64, "\0\0\0\0", "\"\"", 4},
        {TENSOR_BASE64, "\1\0\0\0A", "\"QQ==\"", 5},
        {TENSOR_BASE64, "\2\0\0\0\0\xff", "\"AP8=\"", 6},
        {TENSOR_BASE64, "\3\0\0\0\xff\xff\xfe", "\"///+\"", 7},
        {TENSOR_JSON, "\7\0\0\0{\"a\":1}", "{\"a\":1}", 11},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tensor tensor =
            tensor_of(encoded(scalar(DT_BYTES), cases[i].encoding), cases[i].bytes, cases[i].size);
        cr_expect_str_eq(written(&tensor, 0), cases[i].text);
    }
}

Test(writing, json_that_is_none_is_refused_without_a_trace)
{
    struct buf out = {0};
    struct json_reader *checker = json_reader_new();
    struct tensor tensor = tensor_of(encoded(SHAPED(DT_BYTES, 2), TENSOR_JSON), "\1\0\0\0001\2\0\0\0{]", 11);
    buf_text(&out, "before");
    cr_expect_eq(json_write_row(&out, checker, &tensor, 0), GW_E_CONTRACT);
    cr_expect_eq(out.length, strlen("before"));
    cr_expect(!out.failed);
    buf_clear(&out);
    json_reader_free(checker);
}

Test(writing, nothing_is_written_for_no_elements_however_many_lists_would_hold_them)
{
    struct tensor tensor = tensor_of(SHAPED(DT_FP32, INT64_C(1) << 40, 0), "", 0);
    cr_expect_str_eq(written(&tensor, 0), "[]");
}

Test(writing, more_numbers_than_are_written_at_once)
{
    enum { COUNT = 5000 };
    uint8_t ones[COUNT];
    struct buf out = {0};
    struct json_reader *checker = json_reader_new();
    memset(ones, 1, sizeof ones);
    struct tensor tensor = tensor_of(SHAPED(DT_UINT8, COUNT), ones, sizeof ones);
    cr_assert_eq(json_write_row(&out, checker, &tensor, 0), GW_OK);
    cr_assert_eq(out.length, 2 * COUNT + 1);
    for (size_t i = 0; i < COUNT; i++)
        cr_assert(out.bytes[2 * i] == (i ? ',' : '[') && out.bytes[2 * i + 1] == '1');
    cr_expect_eq(out.bytes[2 * COUNT], ']');
    buf_clear(&out);
    json_reader_free(checker);
}

Test(writing, an_unsigned_number)
{
    struct buf out = {0};
    json_write_uint(&out, UINT64_MAX);
    json_write_uint(&out, 0);
    cr_expect_eq(out.length, 21);
    cr_expect_arr_eq(out.bytes, "184467440737095516150", 21);
    buf_clear(&out);
}

/* ---- round trips ---- */

static uint64_t random_bits(uint64_t *state) /* splitmix64 */
{
    uint64_t bits = *state += UINT64_C(0x9E3779B97F4A7C15);
    bits = (bits ^ bits >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    bits = (bits ^ bits >> 27) * UINT64_C(0x94D049BB133111EB);
    return bits ^ bits >> 31;
}

static enum gw_status builder_member(void *owner, const char *key, size_t length, struct json_value *value,
                                     struct gw_err *err)
{
    (void)key, (void)length;
    return json_append_row(value, owner, err);
}

/* Writes a row, reads it, and compares the bytes. */
static void expect_same_bytes(enum datatype datatype, const void *data, size_t elements)
{
    size_t bytes = elements * datatype_bytes(datatype);
    struct tensor_spec spec = SHAPED(datatype, (int64_t)elements);
    struct tensor tensor = tensor_of(spec, data, bytes);
    struct json_reader *reader = json_reader_new();
    struct arena arena = {0};
    struct tensor_builder builder;
    struct buf out = {0};
    struct gw_err err;
    buf_text(&out, "{\"x\":");
    cr_assert_eq(json_write_row(&out, reader, &tensor, 0), GW_OK);
    buf_text(&out, "}");
    size_t length = out.length;
    buf_append(&out, (char[CODEC_PADDING]){0}, CODEC_PADDING);
    tensor_builder_init(&builder, &arena, &spec, 1);
    cr_assert_eq(json_read(reader, out.bytes, length, builder_member, &builder, &err), GW_OK, "%s", err.what);
    struct tensor back = tensor_builder_take(&builder);
    cr_assert_eq(back.bytes, bytes);
    cr_expect(memcmp(back.data, data, bytes) == 0, "%s did not come back", datatype_name(datatype));
    buf_clear(&out);
    arena_clear(&arena);
    json_reader_free(reader);
}

Test(round_trips, random_numbers_come_back_bit_for_bit)
{
    enum { COUNT = 4096, ROUNDS = 20 };
    static uint64_t bits[COUNT];
    static float floats[COUNT];
    static double doubles[COUNT];
    uint64_t state = 1;
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            bits[i] = random_bits(&state);
            memcpy(&doubles[i], &bits[i], sizeof doubles[i]);
            memcpy(&floats[i], &bits[i], sizeof floats[i]);
            doubles[i] = isfinite(doubles[i]) ? doubles[i] : 0.5;
            floats[i] = isfinite(floats[i]) ? floats[i] : 0.5F;
        }
        expect_same_bytes(DT_FP64, doubles, COUNT);
        expect_same_bytes(DT_FP32, floats, COUNT);
        expect_same_bytes(DT_UINT64, bits, COUNT);
        expect_same_bytes(DT_INT64, bits, COUNT);
        expect_same_bytes(DT_UINT32, bits, COUNT);
        expect_same_bytes(DT_INT16, bits, COUNT);
        expect_same_bytes(DT_INT8, bits, COUNT);
    }
}

Test(round_trips, every_16_bit_float_comes_back)
{
    static uint16_t fp16[65536], bf16[65536];
    size_t n_fp16 = 0, n_bf16 = 0;
    for (uint32_t bits = 0; bits < 65536; bits++) { /* of NaNs, the one that is written */
        if ((bits & 0x7C00) != 0x7C00 || (bits & 0x3FF) == 0 || bits == 0x7E00)
            fp16[n_fp16++] = (uint16_t)bits;
        if ((bits & 0x7F80) != 0x7F80 || (bits & 0x7F) == 0 || bits == 0x7FC0)
            bf16[n_bf16++] = (uint16_t)bits;
    }
    expect_same_bytes(DT_FP16, fp16, n_fp16);
    expect_same_bytes(DT_BF16, bf16, n_bf16);
}

/* Decimal numbers of any length and exponent against the C library, which rounds correctly. */
Test(round_trips, decimal_numbers_are_rounded_as_the_c_library_does)
{
    uint64_t state = 7;
    for (int i = 0; i < 20000; i++) {
        char number[64], text[96], *at = number;
        uint64_t bits = random_bits(&state);
        if (bits & 1)
            *at++ = '-';
        *at++ = (char)('0' + bits / 2 % 10);
        *at++ = '.';
        for (uint64_t digits = bits / 32 % 30 + 1; digits; digits--)
            *at++ = (char)('0' + random_bits(&state) % 10);
        *at = '\0';
        if (bits & 8)
            sprintf(at, "e%d", (int)(bits / 1024 % 60) - 30);
        snprintf(text, sizeof text, "{\"x\":%s}", number);
        double as_double = strtod(number, NULL);
        float as_float = strtof(number, NULL);
        struct read read;
        read_rows(&read, scalar(DT_FP64), text);
        cr_assert_eq(read.status, GW_OK, "%s: %s", text, read.err.what);
        cr_expect(memcmp(read.tensor.data, &as_double, sizeof as_double) == 0, "%s", number);
        arena_clear(&read.arena);
        read_rows(&read, scalar(DT_FP32), text);
        cr_assert_eq(read.status, GW_OK, "%s: %s", text, read.err.what);
        cr_expect(memcmp(read.tensor.data, &as_float, sizeof as_float) == 0, "%s", number);
        arena_clear(&read.arena);
    }
}

/* ---- memory ---- */

Test(memory, an_arena_at_its_limit_fails_the_request)
{
    static char text[40000];
    size_t length = (size_t)sprintf(text, "{\"rows\":[[1");
    while (length < sizeof text - 100)
        length += (size_t)sprintf(text + length, ",1");
    sprintf(text + length, "]]}");
    struct tensor_spec spec = SHAPED(DT_FP64, -1);
    struct arena arena = {.limit = 4096};
    struct tensor_builder builder;
    struct gw_err err;
    tensor_builder_init(&builder, &arena, &spec, 5);
    cr_expect_eq(read_document(text, strlen(text), '}', append_member, &builder, &err), GW_E_NO_MEMORY);
    cr_expect_str_eq(err.what, "the gateway is out of memory");
    arena_clear(&arena);
}
