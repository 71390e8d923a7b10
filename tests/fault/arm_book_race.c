/*
 * Races in the books of a canary: shards write their pages and share the filter of keys, while a reader adds
 * up. For ThreadSanitizer; and at the end nothing may be missing, and every key was new to just one shard.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "judge/arm_book.h"

enum { SHARDS = 4, REQUESTS = 20000, KEYS = 1000 };

static struct arm_books *books;
static struct arm_lot *lot;
static _Atomic uint32_t firsts;

static void *shard(void *number)
{
    uint32_t shard = (uint32_t)(uintptr_t)number;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        arm_lot_draw(lot, shard, i % 2);
        arm_books_count(books, shard, i % 2,
                        &(struct arm_outcome){.compared = true, .bad = i % 5 == 0, .latency_us = i});
        if (arm_books_is_first(books, (uint64_t)(i % KEYS) << 41))
            atomic_fetch_add(&firsts, 1);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[SHARDS];
    struct arm_counts *counts = calloc(BOOK_ARMS, sizeof *counts);
    books = arm_books_new(SHARDS, true, 1);
    lot = books ? arm_lot_new(books, 0.5) : NULL;
    if (!counts || !lot)
        return 1;
    for (uintptr_t i = 0; i < SHARDS; i++)
        if (pthread_create(&threads[i], NULL, shard, (void *)i))
            return 1;
    uint64_t before = 0;
    do {
        before = counts[0].requests;
        arm_books_read(books, lot, counts);
        if (counts[0].requests < before) {
            fprintf(stderr, "a count fell\n");
            return 1;
        }
    } while (counts[0].requests < SHARDS * REQUESTS / 2);
    for (uint32_t i = 0; i < SHARDS; i++)
        pthread_join(threads[i], NULL);
    arm_books_read(books, lot, counts);
    uint64_t requests = counts[0].requests + counts[1].requests, bad = counts[0].bad + counts[1].bad;
    uint64_t latencies = counts[0].latency.n + counts[1].latency.n;
    printf("%lu requests, %lu bad, %lu latencies, %lu draws, %u keys\n", (unsigned long)requests,
           (unsigned long)bad, (unsigned long)latencies, (unsigned long)(counts[0].drawn + counts[1].drawn),
           atomic_load(&firsts));
    bool whole = requests == SHARDS * REQUESTS && bad == requests / 5 && latencies == requests &&
                 counts[0].drawn + counts[1].drawn == requests && atomic_load(&firsts) == KEYS;
    arm_lot_free(lot);
    arm_books_unref(books);
    free(counts);
    return whole ? 0 : 1;
}
