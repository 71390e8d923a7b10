/*
 * codec_json_rows: JSON values -> rows of tensors.
 *
 *   json_append_row(s) -> append_row -> append_scalar                        shape [-1]
 *                                    -> append_shaped -> append_nested       lists as the shape says
 *                                                     -> append_flat         one list of everything
 *   json_append_tensor -> append_nested | append_all                         the client says the shape
 *                                          all end in append_list -> read_one<datatype> | read_bytes
 */
#include "infer/codec_json.hh"

#include <float.h>
#include <inttypes.h>
#include <limits>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern "C" {
#include "infer/base64.h"
#include "support/float16.h"
}

using namespace codec;

static const size_t ROW_FIRST_BYTES_MAX = 65536; /* reserved on the word of the declared shape alone */
static const size_t NUMBER_SHOWN_MAX = 32;
/*
 * simdjson 3.0.1 reads "0." followed by 20 or more digits wrongly: they overflow its 64-bit significand, and
 * it does not notice. Longer numbers go through strtod.
 */
static const size_t NUMBER_TRUSTED_LENGTH = 21;

/* The path of one number of many: compilers find it too long to inline, and calls would be a quarter of its
 * time. */
#define HOT inline __attribute__((always_inline))

/* ---- numbers ---- */

/* "NaN", "Infinity" or "-Infinity", quotes included: what JSON has no numbers for. */
static bool special_number(ondemand::value &value, double *out)
{
    string_view token = token_of(value);
    if (token == "\"NaN\"")
        *out = static_cast<double>(NAN);
    else if (token == "\"Infinity\"")
        *out = HUGE_VAL;
    else if (token == "\"-Infinity\"")
        *out = -HUGE_VAL;
    else
        return false;
    return !value.get_raw_json_string().error();
}

/* The exact way, for what the fast one does not do. A number is followed by something that is none of it. */
static bool slow_double(ondemand::value &value, double *out)
{
    if (number_form(token_of(value)) == NUMBER_NOT)
        return special_number(value, out);
    *out = strtod(value.raw_json_token().data(), nullptr);
    return isfinite(*out);
}

static bool slow_float(ondemand::value &value, float *out)
{
    double special;
    if (number_form(token_of(value)) == NUMBER_NOT) {
        bool is_special = special_number(value, &special);
        *out = is_special ? static_cast<float>(special) : 0;
        return is_special;
    }
    *out = strtof(value.raw_json_token().data(), nullptr);
    return isfinite(*out);
}

static HOT bool fast_double(ondemand::value &value, double *out)
{
    return value.raw_json_token().size() <= NUMBER_TRUSTED_LENGTH && !value.get_double().get(*out);
}

/*
 * Whether rounding this double to a float is rounding twice: it may lie halfway between two floats only
 * because the decimal number, which did not, was rounded to it.
 */
static HOT bool rounds_twice(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return (bits & 0x1FFFFFFF) == 0x10000000 || (number != 0 && fabs(number) < static_cast<double>(FLT_MIN));
}

/* How each datatype reads one element. False: not one of it, or out of range. */
struct fp32_element {
    using type = float;
    static HOT bool read(ondemand::value &value, float *out)
    {
        double number;
        if (!fast_double(value, &number) || rounds_twice(number))
            return slow_float(value, out);
        *out = static_cast<float>(number);
        return isfinite(*out);
    }
};

struct fp64_element {
    using type = double;
    static HOT bool read(ondemand::value &value, double *out)
    {
        return fast_double(value, out) || slow_double(value, out);
    }
};

template <bool from_double(double, uint16_t *)> struct float16_element {
    using type = uint16_t;
    static HOT bool read(ondemand::value &value, uint16_t *out)
    {
        double number;
        return fp64_element::read(value, &number) && from_double(number, out);
    }
};

template <typename T> struct integer_element {
    using type = T;
    static HOT bool read(ondemand::value &value, T *out)
    {
        int64_t number;
        if (value.get_int64().get(number))
            return false;
        *out = static_cast<T>(number);
        return number >= 0 ? static_cast<uint64_t>(number) <= std::numeric_limits<T>::max()
                           : number >= static_cast<int64_t>(std::numeric_limits<T>::min());
    }
};

struct uint64_element {
    using type = uint64_t;
    static HOT bool read(ondemand::value &value, uint64_t *out)
    {
        return integer_element<uint64_t>::read(value, out) || !value.get_uint64().get(*out);
    }
};

struct bool_element {
    using type = uint8_t;
    static HOT bool read(ondemand::value &value, uint8_t *out)
    {
        bool truth;
        if (value.get_bool().get(truth))
            return integer_element<uint8_t>::read(value, out) && *out <= 1;
        *out = truth;
        return true;
    }
};

/* All but BYTES. */
#define ELEMENT_TABLE(X)                                                                                     \
    X(DT_BOOL, bool_element)                                                                                 \
    X(DT_UINT8, integer_element<uint8_t>)                                                                    \
    X(DT_UINT16, integer_element<uint16_t>)                                                                  \
    X(DT_UINT32, integer_element<uint32_t>)                                                                  \
    X(DT_UINT64, uint64_element)                                                                             \
    X(DT_INT8, integer_element<int8_t>)                                                                      \
    X(DT_INT16, integer_element<int16_t>)                                                                    \
    X(DT_INT32, integer_element<int32_t>)                                                                    \
    X(DT_INT64, integer_element<int64_t>)                                                                    \
    X(DT_FP16, float16_element<fp16_from_double>)                                                            \
    X(DT_FP32, fp32_element)                                                                                 \
    X(DT_FP64, fp64_element)                                                                                 \
    X(DT_BF16, float16_element<bf16_from_double>)

static bool datatype_is_float(enum datatype datatype)
{
    return datatype == DT_FP16 || datatype == DT_FP32 || datatype == DT_FP64 || datatype == DT_BF16;
}

/* What elements are called: "expected a number", "expected 64 numbers". */
struct noun {
    const char *one, *singular, *plural;
};
static struct noun element_noun(const struct tensor_spec *spec)
{
    if (spec->datatype == DT_BYTES)
        return spec->encoding == TENSOR_JSON ? noun{"a value", "value", "values"}
                                             : noun{"a string", "string", "strings"};
    return spec->datatype == DT_BOOL ? noun{"a boolean", "boolean", "booleans"}
                                     : noun{"a number", "number", "numbers"};
}

/* Why an element would not be read. */
static enum gw_status refuse_element(struct at at, ondemand::value &value, const struct tensor_spec *spec)
{
    string_view token = token_of(value);
    enum number_form form = number_form(token);
    if (spec->datatype == DT_BOOL || form == NUMBER_NOT)
        return wrong_kind(at, value, element_noun(spec).one);
    int shown = static_cast<int>(token.substr(0, NUMBER_SHOWN_MAX).size());
    if (form == NUMBER_REAL && !datatype_is_float(spec->datatype))
        return fail_at(at, GW_E_INVALID, "expected a whole number for %s, got %.*s",
                       datatype_name(spec->datatype), shown, token.data());
    return fail_at(at, GW_E_INVALID, "%.*s is out of the range of %s", shown, token.data(),
                   datatype_name(spec->datatype));
}

/* ---- elements -> builder ---- */

static bool builder_grow(struct tensor_builder *builder, size_t bytes)
{
    size_t want = builder->capacity ? builder->capacity * 2 : 64;
    if (want < builder->bytes + bytes)
        want = builder->bytes + bytes;
    void *grown = arena_grow(builder->arena, builder->data, builder->capacity, want);
    if (!grown)
        return false;
    builder->data = static_cast<uint8_t *>(grown);
    builder->capacity = want;
    return true;
}

/* Room for `bytes` more behind what is there. NULL: out of memory. */
static HOT uint8_t *builder_room(struct tensor_builder *builder, size_t bytes)
{
    if (builder->capacity - builder->bytes < bytes && !builder_grow(builder, bytes))
        return nullptr;
    return builder->data + builder->bytes;
}

template <typename Element>
static HOT enum gw_status read_one(struct at at, ondemand::value &value, struct tensor_builder *builder)
{
    using T = typename Element::type;
    uint8_t *room = builder_room(builder, sizeof(T));
    if (!room)
        return no_memory(at.err);
    if (!Element::read(value, reinterpret_cast<T *>(room)))
        return refuse_element(at, value, builder->declared);
    builder->bytes += sizeof(T);
    return GW_OK;
}

/* Makes the bytes written behind builder_room() one element of BYTES; the room's first four are for its
 * length. */
static enum gw_status put_bytes(struct at at, struct tensor_builder *builder, size_t length)
{
    size_t after = builder->bytes + sizeof(uint32_t) + length;
    if (after > UINT32_MAX)
        return fail_at(at, GW_E_TOO_LARGE, "more than 4 GiB of %s", builder->declared->name);
    for (size_t i = 0; i < sizeof(uint32_t); i++)
        builder->data[builder->bytes + i] = static_cast<uint8_t>(length >> (8 * i));
    builder->bytes = after;
    return GW_OK;
}

static enum gw_status put_text(struct at at, ondemand::raw_json_string raw, struct tensor_builder *builder)
{
    string_view text;
    if (!raw_text(at.reader, raw, &text))
        return syntax_error(at);
    uint8_t *room = builder_room(builder, sizeof(uint32_t) + text.size() + CODEC_PADDING);
    if (!room)
        return no_memory(at.err);
    enum gw_status status = unescape(at, raw, room + sizeof(uint32_t), &text);
    return status == GW_OK ? put_bytes(at, builder, text.size()) : status;
}

static enum gw_status put_base64(struct at at, ondemand::raw_json_string raw, struct tensor_builder *builder)
{
    string_view text;
    size_t used = at.reader->unescaped.used, length;
    enum gw_status status = read_text(at, raw, &text);
    at.reader->unescaped.used = used;
    if (status != GW_OK)
        return status;
    uint8_t *room = builder_room(builder, sizeof(uint32_t) + base64_decoded_bytes(text.size()));
    if (!room)
        return no_memory(at.err);
    if (!base64_decode(text.data(), text.size(), room + sizeof(uint32_t), &length))
        return fail_at(at, GW_E_INVALID, "not base64 (RFC 4648, with padding)");
    return put_bytes(at, builder, length);
}

static enum gw_status put_json(struct at at, ondemand::value &value, struct tensor_builder *builder)
{
    string_view text;
    enum gw_status status = raw_value(at, value, &text);
    if (status != GW_OK)
        return status;
    uint8_t *room = builder_room(builder, sizeof(uint32_t) + text.size());
    if (!room)
        return no_memory(at.err);
    memcpy(room + sizeof(uint32_t), text.data(), text.size());
    return put_bytes(at, builder, text.size());
}

/* {"b64": "..."} */
static enum gw_status put_base64_object(struct at at, ondemand::value &value, struct tensor_builder *builder)
{
    ondemand::object object;
    enum gw_status status = open_object(at, value, &object);
    if (status != GW_OK)
        return status;
    bool seen = false;
    for (auto item : object) {
        struct json_value member;
        ondemand::raw_json_string raw;
        status = take_member(at, std::move(item), &member);
        if (status != GW_OK)
            return status;
        if (seen || member.place.key != "b64" || member.value.get_raw_json_string().get(raw))
            return fail_at(at, GW_E_INVALID, "expected a string or {\"b64\": \"...\"}, got another object");
        status = put_base64(at, raw, builder);
        if (status != GW_OK)
            return status;
        seen = true;
    }
    return seen ? GW_OK : fail_at(at, GW_E_INVALID, "expected a string or {\"b64\": \"...\"}, got {}");
}

static enum gw_status read_bytes(struct at at, ondemand::value &value, struct tensor_builder *builder)
{
    ondemand::raw_json_string raw;
    enum tensor_encoding encoding = builder->declared->encoding;
    if (encoding == TENSOR_JSON)
        return put_json(at, value, builder);
    if (kind_of(value) == JSON_OBJECT)
        return put_base64_object(at, value, builder);
    if (value.get_raw_json_string().get(raw))
        return wrong_kind(at, value, element_noun(builder->declared).one);
    return encoding == TENSOR_BASE64 ? put_base64(at, raw, builder) : put_text(at, raw, builder);
}

static enum gw_status append_element(struct at at, ondemand::value &value, struct tensor_builder *builder)
{
    switch (builder->declared->datatype) {
#define X(datatype, element)                                                                                 \
    case datatype:                                                                                           \
        return read_one<element>(at, value, builder);
        ELEMENT_TABLE(X)
#undef X
    default:
        return read_bytes(at, value, builder);
    }
}

/* The elements of one list without lists in it: the hot loop of the gateway. */
static enum gw_status append_list(struct at at, ondemand::value &value, struct tensor_builder *builder,
                                  size_t *count)
{
    ondemand::array list;
    enum gw_status status = open_list(at, value, &list);
    if (status != GW_OK)
        return status;
    switch (builder->declared->datatype) {
#define X(datatype, element)                                                                                 \
    case datatype:                                                                                           \
        return for_each(at, list, count, [=](struct at here, ondemand::value &number) {                      \
            return read_one<element>(here, number, builder);                                                 \
        });
        ELEMENT_TABLE(X)
#undef X
    default:
        return for_each(at, list, count, [=](struct at here, ondemand::value &item) {
            return read_bytes(here, item, builder);
        });
    }
}

/* ---- rows -> builder ---- */

static enum gw_status refuse_count(struct at at, struct noun noun, int64_t expected, size_t got)
{
    return fail_at(at, GW_E_INVALID, "expected %" PRId64 " %s, got %zu", expected,
                   expected == 1 ? noun.singular : noun.plural, got);
}

/* shape [-1]: the row is the element, or a list of it. */
static enum gw_status append_scalar(struct at at, ondemand::value &value, struct tensor_builder *builder)
{
    const struct tensor_spec *declared = builder->declared;
    bool is_json = declared->datatype == DT_BYTES && declared->encoding == TENSOR_JSON;
    if (is_json || kind_of(value) != JSON_LIST)
        return append_element(at, value, builder);
    size_t count;
    enum gw_status status = append_list(at, value, builder, &count);
    return status == GW_OK && count != 1 ? refuse_count(at, element_noun(declared), 1, count) : status;
}

/* The first list of a dimension whose size was left open tells it; all others must agree. */
static enum gw_status settle_size(struct at at, struct tensor_builder *builder, int dim, struct noun noun,
                                  size_t count)
{
    int64_t *size = &builder->shape[dim];
    if (*size == TENSOR_ANY)
        *size = static_cast<int64_t>(count);
    return *size == static_cast<int64_t>(count) ? GW_OK : refuse_count(at, noun, *size, count);
}

/* Lists of lists, as the shape says from dimension `dim` on. */
static enum gw_status append_nested(struct at at, ondemand::value &value, struct tensor_builder *builder,
                                    int dim)
{
    if (dim + 1 == builder->declared->dims) {
        size_t count = 0;
        enum gw_status status = append_list(at, value, builder, &count);
        return status == GW_OK ? settle_size(at, builder, dim, element_noun(builder->declared), count)
                               : status;
    }
    ondemand::array list;
    size_t count = 0;
    enum gw_status status = open_list(at, value, &list);
    if (status == GW_OK)
        status = for_each(at, list, &count, [=](struct at here, ondemand::value &inner) {
            return append_nested(here, inner, builder, dim + 1);
        });
    return status == GW_OK ? settle_size(at, builder, dim, {"a list", "list", "lists"}, count) : status;
}

/* All elements in one list. One size may be open: it is what divides. */
static enum gw_status append_flat(struct at at, ondemand::value &value, struct tensor_builder *builder)
{
    const struct tensor_spec *declared = builder->declared;
    int open = 0;
    int64_t known = 1;
    size_t count;
    for (int dim = 1; dim < declared->dims; dim++) {
        if (builder->shape[dim] != TENSOR_ANY) {
            if (__builtin_mul_overflow(known, builder->shape[dim], &known))
                known = INT64_MAX;
        } else if (open) {
            char shape[128];
            return fail_at(at, GW_E_INVALID, "expected nested lists, for %s leaves several sizes open",
                           tensor_spec_text(declared, shape, sizeof shape));
        } else {
            open = dim;
        }
    }
    enum gw_status status = append_list(at, value, builder, &count);
    if (status != GW_OK)
        return status;
    int64_t got = static_cast<int64_t>(count);
    if (!open)
        return got == known ? GW_OK : refuse_count(at, element_noun(declared), known, count);
    if (known == 0 || got % known != 0)
        return fail_at(at, GW_E_INVALID, "expected a multiple of %" PRId64 " %s, got %zu", known,
                       element_noun(declared).plural, count);
    builder->shape[open] = got / known;
    return GW_OK;
}

/* Whether the row may be given without any brackets. */
static bool row_is_one(const struct tensor_spec *declared)
{
    size_t elements;
    return tensor_row_elements(declared, &elements) && elements == 1;
}

/* shape [-1, ...] */
static enum gw_status append_shaped(struct at at, ondemand::value &value, struct tensor_builder *builder)
{
    const struct tensor_spec *declared = builder->declared;
    if (kind_of(value) != JSON_LIST && row_is_one(declared))
        return append_element(at, value, builder);
    if (kind_of(value) != JSON_LIST) {
        char expected[32];
        snprintf(expected, sizeof expected, "a list of %s", element_noun(declared).plural);
        return wrong_kind(at, value, expected);
    }
    bool is_json = declared->datatype == DT_BYTES && declared->encoding == TENSOR_JSON;
    string_view bracket = value.raw_json_token();
    char first = bracket.data()[bracket.size()]; /* of the token behind it */
    bool nested = declared->dims == 2 || is_json || first == '[' || first == ']';
    return nested ? append_nested(at, value, builder, 1) : append_flat(at, value, builder);
}

/* A first guess at the memory, so that a declared row is not moved while it grows. */
static bool reserve_first_row(struct tensor_builder *builder)
{
    size_t elements, bytes;
    if (!tensor_row_elements(builder->declared, &elements) ||
        __builtin_mul_overflow(elements, datatype_bytes(builder->declared->datatype), &bytes))
        bytes = 0;
    bytes = bytes < ROW_FIRST_BYTES_MAX ? bytes : ROW_FIRST_BYTES_MAX;
    return builder_room(builder, bytes ? bytes : 1);
}

static bool builder_end_row(struct tensor_builder *builder)
{
    uint32_t row = static_cast<uint32_t>(builder->shape[0]);
    if (builder->declared->datatype == DT_BYTES) {
        if (row == builder->row_end_capacity) {
            uint32_t want = row ? row * 2 : 16;
            void *grown =
                arena_grow(builder->arena, builder->row_end, row * sizeof(uint32_t), want * sizeof(uint32_t));
            if (!grown)
                return false;
            builder->row_end = static_cast<uint32_t *>(grown);
            builder->row_end_capacity = want;
        }
        builder->row_end[row] = static_cast<uint32_t>(builder->bytes);
    }
    builder->shape[0]++;
    return true;
}

static enum gw_status append_row(struct at at, ondemand::value &value, struct tensor_builder *builder)
{
    if (builder->shape[0] >= builder->max_rows)
        return fail_at(at, GW_E_TOO_LARGE, "more rows than the limit of %" PRIu32, builder->max_rows);
    if (!builder->data && !reserve_first_row(builder))
        return no_memory(at.err);
    enum gw_status status =
        builder->declared->dims == 1 ? append_scalar(at, value, builder) : append_shaped(at, value, builder);
    return status == GW_OK && !builder_end_row(builder) ? no_memory(at.err) : status;
}

/* ---- whole tensors -> builder ---- */

/* Every element of the tensor in one list. */
static enum gw_status append_all(struct at at, ondemand::value &value, struct tensor_builder *builder)
{
    struct tensor_spec spec = *builder->declared;
    size_t count, expected;
    memcpy(spec.shape, builder->shape, sizeof spec.shape);
    enum gw_status status = append_list(at, value, builder, &count);
    if (status != GW_OK)
        return status;
    if (!tensor_row_elements(&spec, &expected) ||
        __builtin_mul_overflow(expected, static_cast<size_t>(spec.shape[0]), &expected))
        expected = INT64_MAX; /* more than anybody can send */
    if (expected == count)
        return GW_OK;
    return refuse_count(at, element_noun(builder->declared), static_cast<int64_t>(expected), count);
}

/* Where the rows of a BYTES tensor end; their number is known to be within the limit. */
static enum gw_status index_rows(struct at at, struct tensor_builder *builder)
{
    struct tensor_spec spec = *builder->declared;
    size_t elements;
    memcpy(spec.shape, builder->shape, sizeof spec.shape);
    builder->row_end_capacity = static_cast<uint32_t>(builder->shape[0]);
    builder->row_end =
        static_cast<uint32_t *>(arena_array(builder->arena, builder->row_end_capacity, sizeof(uint32_t)));
    if (!builder->row_end)
        return no_memory(at.err);
    if (!tensor_row_elements(&spec, &elements) ||
        tensor_index_bytes(builder->data, builder->bytes, builder->row_end_capacity, elements,
                           builder->row_end) != GW_OK)
        return fail_at(at, GW_E_INVALID, "the rows are not of one length");
    return GW_OK;
}

static enum gw_status append_tensor(struct at at, ondemand::value &value, struct tensor_builder *builder)
{
    if (builder->shape[0] > builder->max_rows)
        return fail_at(at, GW_E_TOO_LARGE, "more rows than the limit of %" PRIu32, builder->max_rows);
    if (!reserve_first_row(builder))
        return no_memory(at.err);
    if (kind_of(value) != JSON_LIST)
        return wrong_kind(at, value, "a list");
    string_view bracket = value.raw_json_token();
    bool nested = bracket.data()[bracket.size()] == '['; /* the token behind it */
    enum gw_status status = nested ? append_nested(at, value, builder, 0) : append_all(at, value, builder);
    return status == GW_OK && builder->declared->datatype == DT_BYTES ? index_rows(at, builder) : status;
}

/* ---- the contract ---- */

extern "C" enum gw_status json_int(struct json_value *value, int64_t *integer, struct gw_err *err)
{
    static const struct tensor_spec spec = {"", DT_INT64, TENSOR_TEXT, 1, {TENSOR_ANY}};
    struct at at = value_at(value, err);
    return integer_element<int64_t>::read(value->value, integer) ? GW_OK
                                                                 : refuse_element(at, value->value, &spec);
}

extern "C" void tensor_builder_init(struct tensor_builder *builder, struct arena *arena,
                                    const struct tensor_spec *declared, uint32_t max_rows)
{
    *builder = {};
    builder->arena = arena;
    builder->declared = declared;
    builder->max_rows = max_rows;
    for (int dim = 1; dim < declared->dims; dim++)
        builder->shape[dim] = declared->shape[dim];
}

extern "C" enum gw_status json_append_row(struct json_value *value, struct tensor_builder *builder,
                                          struct gw_err *err)
{
    return append_row(value_at(value, err), value->value, builder);
}

extern "C" enum gw_status json_append_rows(struct json_value *value, struct tensor_builder *builder,
                                           struct gw_err *err)
{
    ondemand::array list;
    size_t count;
    struct at at = value_at(value, err);
    enum gw_status status = open_list(at, value->value, &list);
    if (status != GW_OK)
        return status;
    return for_each(at, list, &count,
                    [=](struct at here, ondemand::value &row) { return append_row(here, row, builder); });
}

extern "C" enum gw_status json_append_tensor(struct json_value *value, struct tensor_builder *builder,
                                             const int64_t *shape, struct gw_err *err)
{
    for (int dim = 0; dim < builder->declared->dims; dim++)
        builder->shape[dim] = shape[dim];
    return append_tensor(value_at(value, err), value->value, builder);
}

extern "C" struct tensor tensor_builder_take(const struct tensor_builder *builder)
{
    struct tensor tensor = {*builder->declared, builder->data, builder->bytes, builder->row_end};
    for (int dim = 0; dim < tensor.spec.dims; dim++)
        tensor.spec.shape[dim] = builder->shape[dim] == TENSOR_ANY ? 0 : builder->shape[dim];
    return tensor;
}
