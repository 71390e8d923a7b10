/*
 * tensor: named, typed arrays of rows; the one currency between the client's bytes and the model's.
 * Little-endian, row-major. Dimension 0 is the row dimension: row i of every input belongs together.
 */
#ifndef XEBEC_REPLICA_TENSOR_H
#define XEBEC_REPLICA_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/err.h"

/*    name  bytes an element; BYTES: each element is a u32 length, then that many bytes. Order = worker.proto */
#define DATATYPE_TABLE(X)                                                                          \
    X(BOOL, 1) X(UINT8, 1) X(UINT16, 2) X(UINT32, 4) X(UINT64, 8) X(INT8, 1) X(INT16, 2)           \
    X(INT32, 4) X(INT64, 8) X(FP16, 2) X(FP32, 4) X(FP64, 8) X(BYTES, 0) X(BF16, 2)

enum datatype {
    DT_INVALID,
#define X(name, bytes) DT_##name,
    DATATYPE_TABLE(X)
#undef X
    DT_COUNT
};

const char *datatype_name(enum datatype datatype);                    /* "FP32"; "?" when invalid */
enum datatype datatype_parse(const char *name, size_t length);        /* DT_INVALID when unknown */
size_t datatype_bytes(enum datatype datatype);                        /* 0 for BYTES */

#define TENSOR_DIMS_MAX 8
#define TENSOR_ANY (-1) /* in a signature: any size */

/* How BYTES look in JSON: text is a JSON string; base64 a string of that; json is a JSON value. */
enum tensor_encoding { TENSOR_TEXT, TENSOR_BASE64, TENSOR_JSON };

struct tensor_spec {
    const char *name;
    enum datatype datatype;
    enum tensor_encoding encoding; /* BYTES only */
    uint8_t dims;                  /* 1..TENSOR_DIMS_MAX: shape[0] is the row dimension */
    int64_t shape[TENSOR_DIMS_MAX];
};

struct signature {
    struct tensor_spec *inputs, *outputs;
    uint32_t n_inputs, n_outputs; /* n_outputs 0: not declared, anything goes */
};

struct tensor {
    struct tensor_spec spec;      /* every size known, none is TENSOR_ANY */
    const uint8_t *data;          /* borrowed from the arena or message it was decoded into */
    size_t bytes;
    const uint32_t *row_end;      /* BYTES only: where each row ends in data; shape[0] of them */
};

/* Elements in one row (product of shape[1..]); false if that overflows or a size is negative. */
bool tensor_row_elements(const struct tensor_spec *spec, size_t *elements);
/* Whether a floating-point row has a NaN. Other datatypes have none. row < shape[0]. */
bool tensor_row_has_nan(const struct tensor *tensor, uint32_t row);
/* The bytes of one row. row < shape[0]. */
const uint8_t *tensor_row(const struct tensor *tensor, uint32_t row, size_t *bytes);
/* Whether a concrete or declared spec fits a declared one: datatype, dims, every size equal or TENSOR_ANY. */
bool tensor_spec_fits(const struct tensor_spec *declared, const struct tensor_spec *other);
/* The same but perhaps for their names, TENSOR_ANY in the same places. */
bool tensor_spec_same(const struct tensor_spec *a, const struct tensor_spec *b);
/*
 * Fills row_end[0..rows) from length-prefixed elements. GW_E_INVALID if the lengths do not exactly fill
 * `bytes`, or there are not rows * elements_a_row elements. `bytes` must be under 4 GiB.
 */
GW_MUST_CHECK enum gw_status tensor_index_bytes(const uint8_t *data, size_t bytes, uint32_t rows,
                                                size_t elements_a_row, uint32_t *row_end);
/* "FP32[-1,64]" into text; returns text. */
char *tensor_spec_text(const struct tensor_spec *spec, char *text, size_t room);
/* "pixels, caption", for people; cut with "..." where the room ends. Returns text. */
enum { TENSOR_NAMES_ROOM = 128 };
char *tensor_spec_names(const struct tensor_spec *specs, uint32_t n, char text[TENSOR_NAMES_ROOM]);

#endif
