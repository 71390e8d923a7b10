/*
 * worker_split: takes the large fields out of a protobuf message, so that they are used where they lie, and the rest of
 * it is small enough to be unpacked, which copies. Bytes in, places out; every byte is hostile. Internal to worker_judge.
 */
#ifndef XEBEC_REPLICA_WORKER_SPLIT_H
#define XEBEC_REPLICA_WORKER_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/err.h"

struct split_count {
    size_t n;    /* times that the field is there, with a length */
    size_t rest; /* bytes of all other fields */
};
/* Looks at the outermost fields alone. False: these bytes are no protobuf message. */
GW_MUST_CHECK bool split_measure(const uint8_t *bytes, size_t size, uint32_t field, struct split_count *count);

struct split_place {
    const uint8_t *bytes;
    size_t size;
};
/* Of bytes that were measured: places[n] of the field, in order, and the other fields, copied to rest. */
void split_message(const uint8_t *bytes, size_t size, uint32_t field, struct split_place *places, uint8_t *rest);

#endif
