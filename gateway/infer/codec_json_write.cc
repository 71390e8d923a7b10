/* codec_json_write: tensors -> JSON, straight into the reply. std::to_chars finds the shortest digits. */
#include <charconv>
#include <math.h>
#include <string.h>

extern "C" {
#include "infer/base64.h"
#include "infer/codec.h"
#include "support/float16.h"
}

/* The longest element is "-2.2250738585072014e-308", or 20 digits and a sign; and a comma. */
static const size_t NUMBER_ROOM = 32, NUMBERS_AT_ONCE = 1024;

/* ---- one element; `to` has NUMBER_ROOM ---- */

template <size_t size> static char *write_literal(char *to, const char (&text)[size])
{
    memcpy(to, text, size - 1);
    return to + size - 1;
}

template <typename T> static char *write_float(char *to, T number)
{
    if (isnan(number))
        return write_literal(to, "\"NaN\"");
    if (isinf(number))
        return number < 0 ? write_literal(to, "\"-Infinity\"") : write_literal(to, "\"Infinity\"");
    return std::to_chars(to, to + NUMBER_ROOM, number).ptr;
}

template <typename T> struct integer_element {
    using type = T;
    static char *write(char *to, T number) { return std::to_chars(to, to + NUMBER_ROOM, number).ptr; }
};
template <typename T> struct float_element {
    using type = T;
    static char *write(char *to, T number) { return write_float(to, number); }
};
template <float to_float(uint16_t)> struct float16_element {
    using type = uint16_t;
    static char *write(char *to, uint16_t bits) { return write_float(to, to_float(bits)); }
};
struct bool_element {
    using type = uint8_t;
    static char *write(char *to, uint8_t truth)
    {
        return truth ? write_literal(to, "true") : write_literal(to, "false");
    }
};

/* All but BYTES. */
#define ELEMENT_TABLE(X)                                                                                     \
    X(DT_BOOL, bool_element)                                                                                 \
    X(DT_UINT8, integer_element<uint8_t>)                                                                    \
    X(DT_UINT16, integer_element<uint16_t>)                                                                  \
    X(DT_UINT32, integer_element<uint32_t>)                                                                  \
    X(DT_UINT64, integer_element<uint64_t>)                                                                  \
    X(DT_INT8, integer_element<int8_t>)                                                                      \
    X(DT_INT16, integer_element<int16_t>)                                                                    \
    X(DT_INT32, integer_element<int32_t>)                                                                    \
    X(DT_INT64, integer_element<int64_t>)                                                                    \
    X(DT_FP16, float16_element<fp16_to_float>)                                                               \
    X(DT_FP32, float_element<float>)                                                                         \
    X(DT_FP64, float_element<double>)                                                                        \
    X(DT_BF16, float16_element<bf16_to_float>)

/* ---- lists of elements ---- */

/* What is being written: `data` is the next element, and moves on. */
struct writer {
    struct buf *out;
    struct json_reader *checker;
    const struct tensor_spec *spec;
    const uint8_t *data;
};

template <typename Element> static enum gw_status write_numbers(struct writer *writer, size_t count)
{
    using T = typename Element::type;
    for (size_t done = 0; done < count;) {
        size_t some = count - done < NUMBERS_AT_ONCE ? count - done : NUMBERS_AT_ONCE;
        char *start = buf_reserve(writer->out, some * NUMBER_ROOM), *to = start;
        if (!start)
            return GW_E_NO_MEMORY;
        for (size_t end = done + some; done < end; done++, writer->data += sizeof(T)) {
            T number;
            memcpy(&number, writer->data, sizeof number);
            if (done)
                *to++ = ',';
            to = Element::write(to, number);
        }
        writer->out->length += static_cast<size_t>(to - start);
    }
    return GW_OK;
}

static enum gw_status write_base64(struct buf *out, const uint8_t *bytes, size_t length)
{
    size_t text = base64_text_length(length);
    char *to = buf_reserve(out, text + 2);
    if (!to)
        return GW_E_NO_MEMORY;
    to[0] = to[text + 1] = '"';
    base64_encode(bytes, length, to + 1);
    out->length += text + 2;
    return GW_OK;
}

static enum gw_status write_json(struct writer *writer, const char *text, size_t length)
{
    enum gw_status status = json_check(writer->checker, text, length, nullptr);
    if (status == GW_OK)
        buf_append(writer->out, text, length);
    return status == GW_OK || status == GW_E_NO_MEMORY ? status : GW_E_CONTRACT;
}

static enum gw_status write_bytes(struct writer *writer)
{
    const uint8_t *prefix = writer->data;
    size_t length = prefix[0] | static_cast<size_t>(prefix[1]) << 8 | static_cast<size_t>(prefix[2]) << 16 |
                    static_cast<size_t>(prefix[3]) << 24;
    const uint8_t *bytes = prefix + sizeof(uint32_t);
    writer->data = bytes + length;
    if (writer->spec->encoding == TENSOR_BASE64)
        return write_base64(writer->out, bytes, length);
    if (writer->spec->encoding == TENSOR_JSON)
        return write_json(writer, reinterpret_cast<const char *>(bytes), length);
    buf_json_text(writer->out, reinterpret_cast<const char *>(bytes), length);
    return GW_OK;
}

static enum gw_status write_elements(struct writer *writer, size_t count)
{
    switch (writer->spec->datatype) {
#define X(datatype, element)                                                                                 \
    case datatype:                                                                                           \
        return write_numbers<element>(writer, count);
        ELEMENT_TABLE(X)
#undef X
    default:
        break;
    }
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_append(writer->out, ",", 1);
        enum gw_status status = write_bytes(writer);
        if (status != GW_OK)
            return status;
    }
    return GW_OK;
}

/* ---- rows ---- */

/* Every size from `dim` on is at least one. */
static enum gw_status write_nested(struct writer *writer, int dim)
{
    const struct tensor_spec *spec = writer->spec;
    enum gw_status status = GW_OK;
    if (dim == spec->dims)
        return write_elements(writer, 1);
    size_t count = static_cast<size_t>(spec->shape[dim]);
    buf_append(writer->out, "[", 1);
    if (dim + 1 == spec->dims)
        status = write_elements(writer, count);
    for (size_t i = 0; dim + 1 < spec->dims && i < count && status == GW_OK; i++) {
        if (i)
            buf_append(writer->out, ",", 1);
        status = write_nested(writer, dim + 1);
    }
    buf_append(writer->out, "]", 1);
    return status;
}

extern "C" enum gw_status json_write_row(struct buf *out, struct json_reader *checker,
                                         const struct tensor *tensor, uint32_t row)
{
    size_t bytes, elements, before = out->length;
    struct writer writer = {out, checker, &tensor->spec, tensor_row(tensor, row, &bytes)};
    enum gw_status status = GW_OK;
    if (!tensor_row_elements(&tensor->spec, &elements))
        return GW_E_CONTRACT;
    if (elements == 0)
        buf_append(out, "[]", 2);
    else
        status = write_nested(&writer, 1);
    if (status != GW_OK)
        out->length = before;
    return out->failed ? GW_E_NO_MEMORY : status;
}

extern "C" enum gw_status json_write_elements(struct buf *out, struct json_reader *checker,
                                              const struct tensor *tensor, uint32_t row)
{
    size_t bytes, elements, before = out->length;
    struct writer writer = {out, checker, &tensor->spec, tensor_row(tensor, row, &bytes)};
    if (!tensor_row_elements(&tensor->spec, &elements))
        return GW_E_CONTRACT;
    enum gw_status status = write_elements(&writer, elements);
    if (status != GW_OK)
        out->length = before;
    return out->failed ? GW_E_NO_MEMORY : status;
}

extern "C" void json_write_uint(struct buf *out, uint64_t number)
{
    char text[NUMBER_ROOM];
    buf_append(out, text, static_cast<size_t>(integer_element<uint64_t>::write(text, number) - text));
}
