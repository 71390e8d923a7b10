/* tensor: the arithmetic of typed arrays: names and sizes of datatypes, where a row lies, whether shapes fit.
 */
#include "replica/tensor.h"

#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors travel as little-endian bytes, uncopied");

static const struct {
    const char *name;
    size_t bytes;
} datatypes[DT_COUNT] = {[DT_INVALID] = {"?", 0},
#define X(name, bytes) [DT_##name] = {#name, bytes},
                         DATATYPE_TABLE(X)
#undef X
};

const char *datatype_name(enum datatype datatype)
{
    return datatypes[(unsigned)datatype < DT_COUNT ? datatype : DT_INVALID].name;
}

enum datatype datatype_parse(const char *name, size_t length)
{
    for (enum datatype each = DT_INVALID + 1; each < DT_COUNT; each++)
        if (strlen(datatypes[each].name) == length && memcmp(datatypes[each].name, name, length) == 0)
            return each;
    return DT_INVALID;
}

size_t datatype_bytes(enum datatype datatype)
{
    return datatypes[(unsigned)datatype < DT_COUNT ? datatype : DT_INVALID].bytes;
}

bool tensor_row_elements(const struct tensor_spec *spec, size_t *elements)
{
    bool empty = false, overflow = false;
    size_t product = 1;
    for (unsigned i = 1; i < spec->dims; i++) {
        if (spec->shape[i] < 0)
            return false;
        empty |= spec->shape[i] == 0;
        overflow |= __builtin_mul_overflow(product, (size_t)spec->shape[i], &product);
    }
    if (overflow && !empty) /* [huge, huge, 0] is still nothing */
        return false;
    *elements = empty ? 0 : product;
    return true;
}

/* All exponent bits are set, and one below. Of constant width, so that it becomes vector code: no early end.
 */
__attribute__((always_inline)) static inline bool has_nan(const uint8_t *data, size_t bytes, size_t width,
                                                          unsigned fraction_bits)
{
    uint64_t magnitude = UINT64_MAX >> (65 - 8 * width),
             infinity = magnitude >> fraction_bits << fraction_bits;
    bool found = false;
    for (size_t at = 0; at + width <= bytes; at += width) {
        uint64_t element = 0;
        memcpy(&element, data + at, width);
        found |= (element & magnitude) > infinity;
    }
    return found;
}

bool tensor_row_has_nan(const struct tensor *tensor, uint32_t row)
{
    enum datatype datatype = tensor->spec.datatype;
    size_t bytes = 0;
    const uint8_t *data = tensor_row(tensor, row, &bytes);
    switch (datatype) {
    case DT_FP64:
        return has_nan(data, bytes, 8, 52);
    case DT_FP32:
        return has_nan(data, bytes, 4, 23);
    case DT_FP16:
        return has_nan(data, bytes, 2, 10);
    case DT_BF16:
        return has_nan(data, bytes, 2, 7);
    default:
        return false;
    }
}

const uint8_t *tensor_row(const struct tensor *tensor, uint32_t row, size_t *bytes)
{
    if (tensor->spec.datatype == DT_BYTES) {
        size_t start = row ? tensor->row_end[row - 1] : 0;
        *bytes = tensor->row_end[row] - start;
        return tensor->data + start;
    }
    *bytes = tensor->bytes / (size_t)tensor->spec.shape[0];
    return *bytes ? tensor->data + row * *bytes : tensor->data;
}

bool tensor_spec_fits(const struct tensor_spec *declared, const struct tensor_spec *other)
{
    if (declared->datatype != other->datatype || declared->dims != other->dims)
        return false;
    for (unsigned i = 0; i < declared->dims; i++)
        if (declared->shape[i] != TENSOR_ANY && declared->shape[i] != other->shape[i])
            return false;
    return true;
}

bool tensor_spec_same(const struct tensor_spec *a, const struct tensor_spec *b)
{
    return a->datatype == b->datatype && a->encoding == b->encoding && a->dims == b->dims &&
           memcmp(a->shape, b->shape, a->dims * sizeof a->shape[0]) == 0;
}

/* Steps over `count` length-prefixed elements from *at; false when one of them reaches beyond `bytes`. */
static bool skip_elements(const uint8_t *data, size_t bytes, size_t count, size_t *at)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t length;
        if (bytes - *at < sizeof length)
            return false;
        memcpy(&length, data + *at, sizeof length);
        *at += sizeof length;
        if (bytes - *at < length)
            return false;
        *at += length;
    }
    return true;
}

enum gw_status tensor_index_bytes(const uint8_t *data, size_t bytes, uint32_t rows, size_t elements_a_row,
                                  uint32_t *row_end)
{
    size_t at = 0;
    if (bytes > UINT32_MAX)
        return GW_E_INVALID;
    for (uint32_t row = 0; row < rows; row++) {
        if (!skip_elements(data, bytes, elements_a_row, &at))
            return GW_E_INVALID;
        row_end[row] = (uint32_t)at;
    }
    return at == bytes ? GW_OK : GW_E_INVALID;
}

char *tensor_spec_text(const struct tensor_spec *spec, char *text, size_t room)
{
    int at = snprintf(text, room, "%s[", datatype_name(spec->datatype));
    for (unsigned i = 0; i < spec->dims && (size_t)at < room; i++)
        at += snprintf(text + at, room - (size_t)at, "%s%lld", i ? "," : "", (long long)spec->shape[i]);
    if ((size_t)at < room)
        snprintf(text + at, room - (size_t)at, "]");
    return text;
}

char *tensor_spec_names(const struct tensor_spec *specs, uint32_t n, char text[TENSOR_NAMES_ROOM])
{
    static const char more[] = "...";
    size_t length = 0, room = TENSOR_NAMES_ROOM - sizeof more; /* of what is shown, if more follows */
    text[0] = '\0';
    for (uint32_t i = 0; i < n; i++) {
        const char *between = i ? ", " : "";
        if (length + strlen(between) + strlen(specs[i].name) > room) {
            snprintf(text + length, TENSOR_NAMES_ROOM - length, "%s", more);
            break;
        }
        length += (size_t)snprintf(text + length, TENSOR_NAMES_ROOM - length, "%s%s", between, specs[i].name);
    }
    return text;
}
