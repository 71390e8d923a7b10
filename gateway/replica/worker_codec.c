/*
 * worker_codec: what the gateway says to a replica, and a row of an answer said again. Requests are written
 * by hand rather than by protobuf-c, so that rows are copied once, straight from the requests they came with.
 * worker_judge.c reads what comes back.
 */
#include "replica/worker_codec.h"

#include <limits.h>
#include <string.h>

/* Protobuf being written to `out`, or only measured where that is NULL: one writer serves both. */
struct wire {
    uint8_t *out;
    size_t room, length;
    bool overrun;
};

/* Moves on by `count` bytes, and returns where they go; NULL when measuring or out of room. */
static uint8_t *wire_take(struct wire *wire, size_t count)
{
    size_t at = wire->length, length;
    if (__builtin_add_overflow(at, count, &length) || (wire->out && length > wire->room)) {
        wire->overrun = true;
        return NULL;
    }
    wire->length = length;
    return wire->out ? wire->out + at : NULL;
}

static void put_bytes(struct wire *wire, const void *bytes, size_t count)
{
    uint8_t *room = wire_take(wire, count);
    if (room && count)
        memcpy(room, bytes, count);
}

static void put_varint(struct wire *wire, uint64_t value)
{
    uint8_t bytes[10];
    size_t count = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[count++] = (uint8_t)(value | 0x80);
    bytes[count++] = (uint8_t)value;
    put_bytes(wire, bytes, count);
}

enum wire_type { WIRE_VARINT = 0, WIRE_LENGTH = 2 };

static void put_key(struct wire *wire, uint32_t field, enum wire_type type)
{
    put_varint(wire, field << 3 | type);
}

static void put_number(struct wire *wire, uint32_t field, uint64_t value)
{
    if (value == 0) /* proto3: zero is said by saying nothing */
        return;
    put_key(wire, field, WIRE_VARINT);
    put_varint(wire, value);
}

static void put_block(struct wire *wire, uint32_t field, const void *bytes, size_t count)
{
    put_key(wire, field, WIRE_LENGTH);
    put_varint(wire, count);
    put_bytes(wire, bytes, count);
}

static void put_sizes(struct wire *wire, const struct tensor_spec *spec, uint32_t n_rows)
{
    put_varint(wire, n_rows);
    for (unsigned i = 1; i < spec->dims; i++)
        put_varint(wire, (uint64_t)spec->shape[i]);
}

static void put_spec_fields(struct wire *wire, const struct tensor_spec *spec, uint32_t n_rows)
{
    struct wire sizes = {0};
    put_sizes(&sizes, spec, n_rows);

    put_block(wire, 1, spec->name, strlen(spec->name));
    put_number(wire, 2, spec->datatype);
    put_key(wire, 3, WIRE_LENGTH);
    put_varint(wire, sizes.length);
    put_sizes(wire, spec, n_rows);
    put_number(wire, 4, spec->encoding);
}

static void put_spec(struct wire *wire, uint32_t field, const struct tensor_spec *spec, uint32_t n_rows)
{
    struct wire inner = {0};
    put_spec_fields(&inner, spec, n_rows);

    put_key(wire, field, WIRE_LENGTH);
    put_varint(wire, inner.length);
    put_spec_fields(wire, spec, n_rows);
}

/* Rows first..last, which lie side by side. */
static void put_rows(struct wire *wire, const struct tensor *tensor, uint32_t first, uint32_t last)
{
    size_t bytes;
    const uint8_t *from = tensor_row(tensor, first, &bytes);
    if (last != first) {
        const uint8_t *last_row = tensor_row(tensor, last, &bytes);
        bytes += (size_t)(last_row - from);
    }
    put_bytes(wire, from, bytes);
}

/* One memcpy for each run of consecutive row numbers. */
static void gather_rows(struct wire *wire, const struct predict_input *input, uint32_t index)
{
    for (uint32_t i = 0; i < input->n_pieces; i++) {
        const struct row_piece *piece = &input->pieces[i];
        for (uint32_t at = 0, next; at < piece->count; at = next) {
            for (next = at + 1; next < piece->count && piece->rows[next] == piece->rows[next - 1] + 1;)
                next++;
            put_rows(wire, &piece->inputs[index], piece->rows[at], piece->rows[next - 1]);
        }
    }
}

static void put_data(struct wire *wire, const struct predict_input *input, uint32_t index)
{
    struct wire measured = {0};
    gather_rows(&measured, input, index);

    wire->overrun |= measured.overrun;
    put_key(wire, 15, WIRE_LENGTH);
    put_varint(wire, measured.length);
    if (wire->out)
        gather_rows(wire, input, index);
    else
        (void)wire_take(wire, measured.length);
}

static void put_predict_request(struct wire *wire, const struct predict_input *input)
{
    put_number(wire, 1, input->id);
    for (uint32_t i = 0; i < input->n_inputs; i++)
        put_spec(wire, 2, &input->pieces[0].inputs[i].spec, input->n_rows);
    for (uint32_t i = 0; i < input->n_outputs; i++)
        put_block(wire, 3, input->outputs[i], strlen(input->outputs[i]));
    if (input->parameters_bytes)
        put_block(wire, 4, input->parameters, input->parameters_bytes);
    for (uint32_t i = 0; i < input->n_inputs; i++)
        put_data(wire, input, i);
}

size_t worker_predict_size(const struct predict_input *input)
{
    struct wire measured = {0};
    put_predict_request(&measured, input);
    return measured.overrun || measured.length > INT_MAX ? 0 : measured.length;
}

enum gw_status worker_predict_write(const struct predict_input *input, uint8_t *out, size_t size)
{
    struct wire wire = {.out = out, .room = size};
    put_predict_request(&wire, input);
    return wire.overrun || wire.length != size ? GW_E_INTERNAL : GW_OK;
}

static void put_answer(struct wire *wire, const struct predict_result *answer, uint32_t row)
{
    for (uint32_t i = 0; i < answer->n_outputs; i++)
        put_spec(wire, 1, &answer->outputs[i].spec, 1);
    for (uint32_t i = 0; i < answer->n_outputs; i++) {
        size_t bytes;
        const uint8_t *data = tensor_row(&answer->outputs[i], row, &bytes);
        put_block(wire, 15, data, bytes);
    }
}

size_t worker_answer_size(const struct predict_result *answer, uint32_t row)
{
    struct wire measured = {0};
    put_answer(&measured, answer, row);
    return measured.overrun || measured.length > INT_MAX ? 0 : measured.length;
}

enum gw_status worker_answer_write(const struct predict_result *answer, uint32_t row, uint8_t *out,
                                   size_t size)
{
    struct wire wire = {.out = out, .room = size};
    put_answer(&wire, answer, row);
    return wire.overrun || wire.length != size ? GW_E_INTERNAL : GW_OK;
}
