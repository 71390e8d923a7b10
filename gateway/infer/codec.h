/*
 * codec: JSON <-> tensors. simdjson (On-Demand) reads, std::to_chars writes; both live in codec_json.cc,
 * the only C++ of the gateway, behind this C header. Nothing here throws or aborts; depth is bounded
 * to 64; every problem is GW_E_INVALID with words that name the place ("input[3]: expected 64 numbers, got
 * 63"): a value knows the way to itself from the document's root.
 *
 * Reading is one pass, in document order: a value handed to a callback is read there, once, or skipped; when
 * reading it failed, the callback returns that error.
 */
#ifndef XEBEC_INFER_CODEC_H
#define XEBEC_INFER_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/tensor.h"
#include "support/arena.h"
#include "support/buf.h"
#include "support/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CODEC_PADDING 64 /* readable bytes that must follow a document handed to json_read() */

/*
 * One a shard: keeps its memory between documents, but not that of a document over 1 MiB. Not thread-safe;
 * one document at a time: no json_read(), json_write_row() or json_valid() inside a callback.
 */
struct json_reader;
struct json_value; /* on the reader's stack, while a callback runs */

struct json_reader *json_reader_new(void) GW_MUST_CHECK;
void json_reader_free(struct json_reader *reader);

/* Called for each member or element. A value that it does not read is skipped, and must be valid JSON even
 * so. */
typedef enum gw_status json_member_fn(void *owner, const char *key, size_t key_length,
                                      struct json_value *value, struct gw_err *err);
typedef enum gw_status json_element_fn(void *owner, uint32_t index, struct json_value *value,
                                       struct gw_err *err);

/*
 * Reads a document that must be one object, and nothing after it. text[length..length+CODEC_PADDING) must be
 * readable. Returns the first error of the document or of a callback; GW_E_NO_MEMORY.
 */
GW_MUST_CHECK enum gw_status json_read(struct json_reader *reader, const char *text, size_t length,
                                       json_member_fn *member, void *owner, struct gw_err *err);
GW_MUST_CHECK enum gw_status json_object(struct json_value *value, json_member_fn *member, void *owner,
                                         struct gw_err *err);
GW_MUST_CHECK enum gw_status json_array(struct json_value *value, json_element_fn *element, void *owner,
                                        struct gw_err *err);
enum json_kind { JSON_INVALID, JSON_NULL, JSON_BOOLEAN, JSON_NUMBER, JSON_STRING, JSON_LIST, JSON_OBJECT };
/* What it looks like, from its first character; looking is not reading. */
enum json_kind json_kind(const struct json_value *value);
/* GW_E_INVALID, with the value's place before the words: "input.pixels: given twice". */
enum gw_status json_refuse(const struct json_value *value, struct gw_err *err, const char *format, ...)
    GW_PRINTF(3, 4);
/* A string, unescaped, terminated, in the arena. */
GW_MUST_CHECK enum gw_status json_text(struct json_value *value, struct arena *arena, const char **text,
                                       size_t *length, struct gw_err *err);
GW_MUST_CHECK enum gw_status json_int(struct json_value *value, int64_t *integer, struct gw_err *err);
/* Text, or an integer as it is written, as text in the arena. null leaves *text as it is. */
GW_MUST_CHECK enum gw_status json_word(struct json_value *value, struct arena *arena, const char **text,
                                       size_t *length, struct gw_err *err);
GW_MUST_CHECK enum gw_status json_bool(struct json_value *value, bool *truth, struct gw_err *err);
/* The value as it stands in the document, checked and copied, terminated, in the arena. */
GW_MUST_CHECK enum gw_status json_raw(struct json_value *value, struct arena *arena, const char **text,
                                      size_t *length, struct gw_err *err);

/* Builds one input of a request, row by row, in the request's arena. */
struct tensor_builder {
    struct arena *arena;
    const struct tensor_spec *declared;
    int64_t shape[TENSOR_DIMS_MAX]; /* [0] counts the rows; TENSOR_ANY until the first row tells */
    uint8_t *data;
    size_t bytes, capacity;
    uint32_t *row_end; /* BYTES only */
    uint32_t row_end_capacity;
    uint32_t max_rows;
};
/* declared is borrowed. More than max_rows rows: GW_E_TOO_LARGE. */
void tensor_builder_init(struct tensor_builder *builder, struct arena *arena,
                         const struct tensor_spec *declared, uint32_t max_rows);
/*
 * Appends one row: numbers, booleans or strings as the declared datatype says.
 *
 * Shapes:  nested as the declared shape says; or flat, where at most one size is left open. A bare scalar
 *          where a row is one element; for shape [-1] a list of that one, too.
 *          A variable size is taken from the first row; later ones must agree with it.
 * Numbers: integer literals serve for floats; 1.0 or 1e3 does not serve for an integer; what is out of the
 *          datatype's range is refused; floats are rounded to nearest, ties to even, and may also be "NaN",
 *          "Infinity" and "-Infinity". BOOL: true, false, 1, 0.
 * BYTES:   by the declared encoding, or {"b64": "..."}. TENSOR_JSON takes any value as it stands, so its
 *          rows are never flat, and for shape [-1] the value is the row.
 * Returns: GW_E_INVALID; GW_E_TOO_LARGE (more than max_rows); GW_E_NO_MEMORY. After any of them the builder
 *          is of no more use, and its request must fail.
 */
GW_MUST_CHECK enum gw_status json_append_row(struct json_value *value, struct tensor_builder *builder,
                                             struct gw_err *err);
/* value is an array of rows: json_append_row() of each, fast. */
GW_MUST_CHECK enum gw_status json_append_rows(struct json_value *value, struct tensor_builder *builder,
                                              struct gw_err *err);
/*
 * value is all rows of a tensor of this concrete shape, whose sizes are none of them negative and whose first is its
 * rows: nested as the shape says, or one flat list of every element, also where its declared sizes are open. The
 * builder is fresh; the declared dims count. Elements, and what is returned: as json_append_row().
 */
GW_MUST_CHECK enum gw_status json_append_tensor(struct json_value *value, struct tensor_builder *builder,
                                                const int64_t *shape, struct gw_err *err);
/* The finished tensor; its memory is the arena's. A size that no row told (every list was empty) is 0. */
struct tensor tensor_builder_take(const struct tensor_builder *builder);

/*
 * Row `row` as JSON: a scalar where a row is one element without dimensions of its own (shape [-1]), else
 * nested arrays as the shape says; [] when the row has no elements at all.
 *
 * Numbers: the shortest text that reads back the same. NaN and infinities: "NaN", "Infinity", "-Infinity"
 *          (protobuf's JSON mapping; JSON has no such numbers).
 * BYTES:   by the tensor's encoding. TEXT that is not UTF-8: U+FFFD for what is not.
 * Returns: GW_E_CONTRACT (JSON that is not JSON), GW_E_NO_MEMORY; then nothing is appended.
 */
GW_MUST_CHECK enum gw_status json_write_row(struct buf *out, struct json_reader *checker,
                                            const struct tensor *tensor, uint32_t row);

/* The elements of a row as json_write_row() writes them, with commas between them and nothing around them. */
GW_MUST_CHECK enum gw_status json_write_elements(struct buf *out, struct json_reader *checker,
                                                 const struct tensor *tensor, uint32_t row);

/* A number without the detour through printf. */
void json_write_uint(struct buf *out, uint64_t number);

/*
 * GW_OK when text is one JSON document of any kind, nested no deeper than 64; GW_E_INVALID; GW_E_NO_MEMORY.
 * text need not be padded.
 */
GW_MUST_CHECK enum gw_status json_check(struct json_reader *reader, const char *text, size_t length,
                                        struct gw_err *err);
static inline bool json_valid(struct json_reader *reader, const char *text, size_t length)
{
    return json_check(reader, text, length, NULL) == GW_OK;
}

#ifdef __cplusplus
}
#endif
#endif
