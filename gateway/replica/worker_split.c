/* worker_split: from key to key, over what lies between. Source:
 * https://protobuf.dev/programming-guides/encoding/ */
#include "replica/worker_split.h"

#include <string.h>

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 };
enum { VARINT_BYTES = 10, KEY_BYTES = 5 }; /* at most; of a key, or a length, no more than protobuf-c reads */

struct field {
    uint32_t number;
    unsigned wire;
    const uint8_t *start, *value, *end; /* value: behind the key and the length */
};

/* Moves on; false: it does not end within so many bytes. */
static bool read_varint(const uint8_t **at, const uint8_t *end, int most, uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < most && *at < end; i++) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* How long the value is; a length is read over. False: it is of no wire type that there may be. */
static bool value_size(struct field *field, const uint8_t *end, uint64_t *size)
{
    const uint8_t *at = field->value;
    uint64_t value;
    switch (field->wire) {
    case WIRE_VARINT:
        if (!read_varint(&at, end, VARINT_BYTES, &value))
            return false;
        *size = (uint64_t)(at - field->value);
        return true;
    case WIRE_LENGTH:
        return read_varint(&field->value, end, KEY_BYTES, size);
    case WIRE_64:
    case WIRE_32:
        *size = field->wire == WIRE_64 ? 8 : 4;
        return true;
    default:
        return false;
    }
}

/* The field that begins here. False: there is none. */
static bool read_field(const uint8_t *start, const uint8_t *end, struct field *field)
{
    uint64_t key, size;
    field->start = field->value = start;
    if (!read_varint(&field->value, end, KEY_BYTES, &key))
        return false;
    field->wire = key & 7;
    field->number = (uint32_t)(key >> 3);
    if (!value_size(field, end, &size) || size > (uint64_t)(end - field->value))
        return false;
    field->end = field->value + size;
    return true;
}

static bool is_wanted(const struct field *field, uint32_t number)
{
    return field->number == number && field->wire == WIRE_LENGTH;
}

bool split_measure(const uint8_t *bytes, size_t size, uint32_t field, struct split_count *count)
{
    struct field found;
    *count = (struct split_count){0};
    for (const uint8_t *end = bytes + size; bytes < end; bytes = found.end) {
        if (!read_field(bytes, end, &found))
            return false;
        if (is_wanted(&found, field))
            count->n++;
        else
            count->rest += (size_t)(found.end - found.start);
    }
    return true;
}

void split_message(const uint8_t *bytes, size_t size, uint32_t field, struct split_place *places,
                   uint8_t *rest)
{
    struct field found;
    for (const uint8_t *end = bytes + size; bytes < end && read_field(bytes, end, &found);
         bytes = found.end) {
        size_t length = (size_t)(found.end - found.start);
        if (is_wanted(&found, field)) {
            *places++ = (struct split_place){found.value, (size_t)(found.end - found.value)};
        } else {
            memcpy(rest, found.start, length);
            rest += length;
        }
    }
}
