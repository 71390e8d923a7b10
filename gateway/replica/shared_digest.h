/*
 * shared_digest: a hash of 128 bits that one thread writes and any reads, without a lock: what the replicas of a version last
 * said that their model is. Zeroed: there is none.
 */
#ifndef XEBEC_REPLICA_SHARED_DIGEST_H
#define XEBEC_REPLICA_SHARED_DIGEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct shared_digest {
    _Atomic uint32_t turn; /* odd while being written; 0: there is none */
    _Atomic uint64_t half[2];
};

void shared_digest_write(struct shared_digest *digest, const uint64_t value[2]);
/* Any thread; waits while it is being written, which is two stores. False: there is none. */
bool shared_digest_read(const struct shared_digest *digest, uint64_t value[2]);

#endif
