/* cache_value: keys that tell everything apart, values that survive the way and nothing else. */
#include "infer/cache_value.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* --- keys --- */

struct parts {
    const char *version;
    uint64_t digest[2];
    struct tensor inputs[2];
    uint32_t n_inputs;
    const char *outputs[2];
    uint32_t n_outputs;
    const char *parameters;
    uint32_t row;
};

static const float numbers[] = {1, 2, 3, 4};

static struct parts plain(void)
{
    const struct tensor input = {.spec = {.name = "x", .datatype = DT_FP32, .dims = 2, .shape = {2, 2}},
                                 .data = (const uint8_t *)numbers,
                                 .bytes = sizeof numbers};
    return (struct parts){.version = "m@v",
                          .digest = {1, 2},
                          .inputs = {input, input},
                          .n_inputs = 1,
                          .outputs = {"a", "b"},
                          .n_outputs = 1,
                          .parameters = "p"};
}

static struct cache_value_key key_of(const struct parts *parts)
{
    struct cache_value_key context =
        cache_value_context(parts->version, parts->digest, parts->inputs, parts->n_inputs, parts->outputs,
                            parts->n_outputs, (const uint8_t *)parts->parameters, strlen(parts->parameters));
    return cache_value_key(&context, parts->inputs, parts->n_inputs, parts->row);
}

static void expect_same(bool same, const struct parts *other)
{
    struct parts parts = plain();
    struct cache_value_key a = key_of(&parts), b = key_of(other);
    cr_assert_eq(memcmp(&a, &b, sizeof a) == 0, same);
}

Test(cache_value_key, equal_rows_have_equal_keys)
{
    struct parts other = plain();
    expect_same(true, &other);
    other.inputs[0].spec.shape[0] = 1; /* the number of rows is the request's, not the row's */
    other.inputs[0].bytes /= 2;
    expect_same(true, &other);
}

Test(cache_value_key, whatever_changes_the_answer_changes_the_key)
{
#define DIFFERS(change)                                                                                      \
    do {                                                                                                     \
        struct parts other = plain();                                                                        \
        other.change;                                                                                        \
        expect_same(false, &other);                                                                          \
    } while (0)
    DIFFERS(version = "m@w");
    DIFFERS(digest[1] = 3);
    DIFFERS(inputs[0].spec.name = "y");
    DIFFERS(inputs[0].spec.datatype = DT_INT32);
    DIFFERS(inputs[0].spec.shape[1] = 1);
    DIFFERS(n_inputs = 2);
    DIFFERS(n_outputs = 0);
    DIFFERS(n_outputs = 2);
    DIFFERS(outputs[0] = "b");
    DIFFERS(parameters = "q");
    DIFFERS(parameters = "");
    DIFFERS(row = 1);
#undef DIFFERS
}

Test(cache_value_key, parts_do_not_run_into_each_other)
{
    struct parts one = plain(), other = plain();
    one.outputs[0] = "ab", one.outputs[1] = "c", one.n_outputs = 2;
    other.outputs[0] = "a", other.outputs[1] = "bc", other.n_outputs = 2;
    struct cache_value_key a = key_of(&one), b = key_of(&other);
    cr_assert_neq(memcmp(&a, &b, sizeof a), 0);
}

/* Other gateways, of other builds, must find the same: a change here is a change of the format. */
Test(cache_value_key, is_what_it_always_was)
{
    static const uint8_t begins[] = {0xef, 0xde, 0x37, 0xdc};
    struct parts parts = plain();
    struct cache_value_key key = key_of(&parts);
    cr_assert_eq(memcmp(key.hash, begins, sizeof begins), 0, "%02x %02x %02x %02x", key.hash[0], key.hash[1],
                 key.hash[2], key.hash[3]);
}

/* --- values --- */

static const struct cache_value_key key = {{1, 2, 3}};
static const uint8_t words[] = "\3\0\0\0abc\1\0\0\0d";
static const uint32_t word_ends[] = {7, 12};
static const struct tensor outputs[] = {
    {.spec = {.name = "y", .datatype = DT_FP32, .dims = 2, .shape = {2, 2}},
     .data = (const uint8_t *)numbers,
     .bytes = sizeof numbers},
    {.spec = {.name = "w", .datatype = DT_BYTES, .encoding = TENSOR_JSON, .dims = 1, .shape = {2}},
     .data = words,
     .bytes = 12,
     .row_end = word_ends},
};
static struct tensor_spec declared[] = {
    {.name = "y", .datatype = DT_FP32, .dims = 2, .shape = {TENSOR_ANY, 2}},
    {.name = "w", .datatype = DT_BYTES, .encoding = TENSOR_JSON, .dims = 1, .shape = {TENSOR_ANY}},
};
static const struct signature signature = {.outputs = declared, .n_outputs = 2}, open_signature;
enum { MADE_MS = 1234567 };

static uint8_t *written(uint32_t row, size_t *size)
{
    const struct predict_result answer = {.n_rows = 2, .n_outputs = 2, .outputs = outputs};
    *size = cache_value_size(&answer, row);
    cr_assert_gt(*size, 25);
    uint8_t *bytes = malloc(*size); /* exact, so that one byte too many is seen */
    cr_assert_eq(cache_value_write(&key, MADE_MS, &answer, row, bytes, *size), GW_OK);
    return bytes;
}

static void expect_row(const struct predict_result *answer, uint32_t row)
{
    cr_assert_eq(answer->n_rows, 1);
    cr_assert_eq(answer->n_outputs, 2);
    for (uint32_t i = 0; i < 2; i++) {
        size_t is_bytes, should_be_bytes;
        const uint8_t *is = tensor_row(&answer->outputs[i], 0, &is_bytes);
        const uint8_t *should_be = tensor_row(&outputs[i], row, &should_be_bytes);
        cr_assert_str_eq(answer->outputs[i].spec.name, outputs[i].spec.name);
        cr_assert_eq(answer->outputs[i].spec.datatype, outputs[i].spec.datatype);
        cr_assert_eq(answer->outputs[i].spec.encoding, outputs[i].spec.encoding);
        cr_assert_eq(answer->outputs[i].spec.shape[0], 1);
        cr_assert(is_bytes == should_be_bytes && memcmp(is, should_be, is_bytes) == 0);
    }
}

Test(cache_value, comes_back_as_it_went)
{
    const struct signature *signatures[] = {&signature, &open_signature};
    for (uint32_t i = 0; i < 4; i++) {
        struct predict_result *answer = NULL;
        size_t size;
        uint64_t made_ms;
        uint8_t *bytes = written(i % 2, &size);
        cr_assert(cache_value_intact(&key, bytes, size, &made_ms));
        cr_assert_eq(made_ms, MADE_MS);
        cr_assert_eq(cache_value_read(bytes, size, signatures[i / 2], NULL, 0, &answer), GW_OK);
        expect_row(answer, i % 2);
        predict_result_unref(answer);
        free(bytes);
    }
}

Test(cache_value, any_bit_flipped_is_seen)
{
    size_t size;
    uint64_t made_ms;
    uint8_t *bytes = written(0, &size);
    for (size_t i = 0; i < size; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] ^= (uint8_t)(1 << bit);
            cr_assert_not(cache_value_intact(&key, bytes, size, &made_ms), "byte %zu bit %d", i, bit);
            bytes[i] ^= (uint8_t)(1 << bit);
        }
    cr_assert(cache_value_intact(&key, bytes, size, &made_ms));
    free(bytes);
}

Test(cache_value, any_truncation_is_seen)
{
    size_t size;
    uint64_t made_ms;
    uint8_t *bytes = written(0, &size);
    for (size_t length = 0; length < size; length++) {
        uint8_t *shorter = malloc(length ? length : 1);
        memcpy(shorter, bytes, length);
        cr_assert_not(cache_value_intact(&key, shorter, length, &made_ms), "%zu bytes", length);
        free(shorter);
    }
    free(bytes);
}

Test(cache_value, is_not_another_keys)
{
    static const struct cache_value_key other = {{1, 2, 4}};
    size_t size;
    uint64_t made_ms;
    uint8_t *bytes = written(0, &size);
    cr_assert_not(cache_value_intact(&other, bytes, size, &made_ms));
    free(bytes);
}

Test(cache_value, is_judged_against_the_signature_and_what_is_wanted)
{
    const struct signature half = {.outputs = declared, .n_outputs = 1};
    const char *wanted[] = {"w"}, *missing[] = {"z"};
    struct predict_result *answer = NULL;
    size_t size;
    uint8_t *bytes = written(0, &size);
    cr_assert_eq(cache_value_read(bytes, size, &half, NULL, 0, &answer), GW_E_CONTRACT);
    cr_assert_eq(cache_value_read(bytes, size, &signature, missing, 1, &answer), GW_E_CONTRACT);
    cr_assert_eq(cache_value_read(bytes, size, &signature, wanted, 1, &answer), GW_OK);
    cr_assert_eq(answer->n_outputs, 1);
    predict_result_unref(answer);
    free(bytes);
}

/* Whoever can write to Redis can make the checksum right; a row error is nothing that we would store. */
Test(cache_value, a_row_that_failed_is_no_answer)
{
    size_t size;
    uint8_t *bytes = written(0, &size);
    uint8_t *longer = malloc(size + 5);
    struct predict_result *answer = NULL;
    memcpy(longer, bytes, size);
    memcpy(longer + size, "\x12\x03\x12\x01x", 5); /* errors: {message: "x"} */
    cr_assert_eq(cache_value_read(longer, size + 5, &open_signature, NULL, 0, &answer), GW_E_CONTRACT);
    cr_assert_null(answer);
    free(longer);
    free(bytes);
}
