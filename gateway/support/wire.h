/*
 * wire: protobuf's wire format: messages as fields one after another, read where they lie and written to a buf. For messages
 * that are looked at once: nothing is unpacked, copied or allocated.
 * Source: protobuf.dev, "Encoding".
 */
#ifndef XEBEC_SUPPORT_WIRE_H
#define XEBEC_SUPPORT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/buf.h"

/* --- reading --- */

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* What is left of a message. */
struct wire {
    const uint8_t *at, *end;
    bool malformed;
};

struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;       /* of numbers, as they are on the wire; */
    const uint8_t *bytes; /* of WIRE_BYTES, in the message, */
    size_t length;        /* so many; else 0 */
};

/* bytes: NULL where there are none. */
static inline struct wire wire_of(const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    return (struct wire){.at = at, .end = length ? at + length : at};
}
/*
 * The next field. False at the end, and where the bytes are no message: then wire->malformed. Groups, which proto3 has not, are
 * passed over, 16 deep at most.
 */
GW_MUST_CHECK bool wire_next(struct wire *wire, struct wire_field *field);
/* The number that begins here. False: there is none, and wire->malformed. */
GW_MUST_CHECK bool wire_varint(struct wire *wire, uint64_t *value);

/* --- writing: proto3's default values are written like any other; leave them out --- */

void wire_put_number(struct buf *out, uint32_t field, uint64_t number); /* of all integers but sint and fixed; bool; enum */
void wire_put_bytes(struct buf *out, uint32_t field, const void *bytes, size_t length);
void wire_put_text(struct buf *out, uint32_t field, const char *text);
/* The number alone, as in a packed list. */
void wire_add_number(struct buf *out, uint64_t number);
/* What comes before `length` bytes, which the caller appends. */
void wire_begin_bytes(struct buf *out, uint32_t field, size_t length);
/* A message or a packed list within, whose length is not known before it is written: its fields come between these two. */
size_t wire_open(struct buf *out, uint32_t field);
void wire_close(struct buf *out, size_t opened);

#endif
