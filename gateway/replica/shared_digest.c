/*
 * shared_digest: a sequence lock. Readers take both halves and then see whether the turn has moved meanwhile:
 * who sees a half of a later value sees its turn, too, for that was stored before. Source: Boehm, "Can
 * seqlocks get along with programming language memory models?", MSPC 2012.
 */
#include "replica/shared_digest.h"

void shared_digest_write(struct shared_digest *digest, const uint64_t value[2])
{
    uint32_t turn = atomic_load_explicit(&digest->turn, memory_order_relaxed);
    atomic_store_explicit(&digest->turn, turn + 1, memory_order_relaxed);
    atomic_store_explicit(&digest->half[0], value[0], memory_order_release);
    atomic_store_explicit(&digest->half[1], value[1], memory_order_release);
    turn = turn + 2 ? turn + 2 : 2;
    atomic_store_explicit(&digest->turn, turn, memory_order_release);
}

bool shared_digest_read(const struct shared_digest *digest, uint64_t value[2])
{
    for (;;) {
        uint32_t turn = atomic_load_explicit(&digest->turn, memory_order_acquire);
        value[0] = atomic_load_explicit(&digest->half[0], memory_order_acquire);
        value[1] = atomic_load_explicit(&digest->half[1], memory_order_acquire);
        if (turn % 2 == 0 && turn == atomic_load_explicit(&digest->turn, memory_order_relaxed))
            return turn != 0;
    }
}
