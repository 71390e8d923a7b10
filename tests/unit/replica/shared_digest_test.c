/* shared_digest: none at first, then the last that was written, whole, to any thread. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "replica/shared_digest.h"

static struct shared_digest digest;

Test(shared_digest, there_is_none_before_one_is_written)
{
    uint64_t value[2];
    cr_assert_not(shared_digest_read(&digest, value));
}

Test(shared_digest, the_last_one_counts_also_when_turns_begin_anew)
{
    uint64_t value[2];
    atomic_store(&digest.turn, UINT32_MAX - 1);
    for (uint64_t i = 1; i < 4; i++) {
        shared_digest_write(&digest, (const uint64_t[]){i, ~i});
        cr_assert(shared_digest_read(&digest, value));
        cr_assert_eq(value[0], i);
        cr_assert_eq(value[1], ~i);
    }
}

static void *write_many(void *over)
{
    for (uint64_t i = 1; i <= 200000; i++)
        shared_digest_write(&digest, (const uint64_t[]){i, ~i});
    atomic_store((_Atomic bool *)over, true);
    return NULL;
}

Test(shared_digest, halves_belong_together_while_it_is_written)
{
    static _Atomic bool over;
    pthread_t writer;
    uint64_t value[2], last = 0;
    cr_assert_eq(pthread_create(&writer, NULL, write_many, &over), 0);
    while (!atomic_load(&over)) {
        if (!shared_digest_read(&digest, value))
            continue;
        cr_assert_eq(value[1], ~value[0]);
        cr_assert_geq(value[0], last, "it goes back");
        last = value[0];
    }
    pthread_join(writer, NULL);
}
