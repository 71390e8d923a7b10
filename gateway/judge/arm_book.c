/* arm_book: pages that are written, pages that are added up, and a filter of keys. */
#include "judge/arm_book.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define FILTER_BITS  ((uint64_t)1 << 23)
#define FILTER_WORDS (FILTER_BITS / 64)

/* Written by one shard. */
struct arm_page {
    _Alignas(64) _Atomic uint64_t requests;
    _Atomic uint64_t bad, contract, nan;
    _Atomic uint64_t latency[LATENCY_BUCKETS];
};
struct arm_books {
    _Atomic uint32_t refs, lots;
    uint32_t shards;
    uint64_t began_us;
    _Atomic uint64_t *keys;  /* FILTER_WORDS of them; NULL: keys are not told apart */
    struct arm_page pages[]; /* by shard, then arm */
};

struct draw_page {
    _Alignas(64) _Atomic uint64_t drawn[BOOK_ARMS];
};
struct arm_lot {
    uint64_t number;
    double share;
    uint32_t shards;
    struct draw_page pages[];
};

/* One writer. */
static void count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static uint64_t read_counter(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Zeroed, on lines of its own. */
static void *pages_new(size_t head, size_t page, uint32_t shards)
{
    size_t bytes = (head + page * shards + 63) / 64 * 64;
    void *memory = aligned_alloc(64, bytes);
    return memory ? memset(memory, 0, bytes) : NULL;
}

struct arm_books *arm_books_new(uint32_t shards, bool with_keys, uint64_t now_us)
{
    struct arm_books *books = pages_new(sizeof *books, sizeof books->pages[0] * BOOK_ARMS, shards);
    if (!books)
        return NULL;
    atomic_init(&books->refs, 1);
    books->shards = shards;
    books->began_us = now_us;
    books->keys = with_keys ? calloc(FILTER_WORDS, sizeof *books->keys) : NULL;
    if (!with_keys || books->keys)
        return books;
    free(books);
    return NULL;
}

struct arm_books *arm_books_ref(struct arm_books *books)
{
    atomic_fetch_add_explicit(&books->refs, 1, memory_order_relaxed);
    return books;
}

void arm_books_unref(struct arm_books *books)
{
    if (!books || atomic_fetch_sub_explicit(&books->refs, 1, memory_order_acq_rel) > 1)
        return;
    free(books->keys);
    free(books);
}

struct arm_lot *arm_lot_new(struct arm_books *books, double share)
{
    struct arm_lot *lot = pages_new(sizeof *lot, sizeof lot->pages[0], books->shards);
    if (!lot)
        return NULL;
    lot->number = 1 + atomic_fetch_add_explicit(&books->lots, 1, memory_order_relaxed);
    lot->share = share;
    lot->shards = books->shards;
    return lot;
}

void arm_lot_free(struct arm_lot *lot)
{
    free(lot);
}

/* --- shards --- */

bool arm_books_is_first(struct arm_books *books, uint64_t key)
{
    if (!books->keys)
        return true;
    uint64_t mixed = key * 0x9E3779B97F4A7C15u, at = mixed >> 41; /* other bits than the bucket's */
    _Atomic uint64_t *word = &books->keys[at / 64];
    uint64_t bit = (uint64_t)1 << at % 64;
    if (atomic_load_explicit(word, memory_order_relaxed) & bit)
        return false;
    return !(atomic_fetch_or_explicit(word, bit, memory_order_relaxed) & bit);
}

void arm_lot_draw(struct arm_lot *lot, uint32_t shard, uint32_t arm)
{
    count(&lot->pages[shard].drawn[arm]);
}

void arm_books_count(struct arm_books *books, uint32_t shard, uint32_t arm, const struct arm_outcome *outcome)
{
    struct arm_page *page = &books->pages[shard * BOOK_ARMS + arm];
    if (outcome->contract)
        count(&page->contract);
    if (outcome->nan)
        count(&page->nan);
    if (!outcome->compared)
        return;
    count(&page->requests);
    if (outcome->bad)
        count(&page->bad);
    count(&page->latency[latency_bucket(outcome->latency_us)]);
}

/* --- the main thread --- */

void arm_books_read(const struct arm_books *books, const struct arm_lot *lot,
                    struct arm_counts counts[BOOK_ARMS])
{
    memset(counts, 0, BOOK_ARMS * sizeof *counts);
    for (uint32_t arm = 0; arm < BOOK_ARMS; arm++) {
        struct arm_counts *sum = &counts[arm];
        sum->began_us = books->began_us;
        sum->lot = lot->number;
        sum->share = arm ? lot->share : 1 - lot->share;
        for (uint32_t shard = 0; shard < books->shards; shard++) {
            const struct arm_page *page = &books->pages[shard * BOOK_ARMS + arm];
            sum->drawn += read_counter(&lot->pages[shard].drawn[arm]);
            sum->bad += read_counter(&page->bad);
            sum->requests += read_counter(&page->requests);
            sum->contract += read_counter(&page->contract);
            sum->nan += read_counter(&page->nan);
            for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
                uint64_t n = read_counter(&page->latency[i]);
                sum->latency.bucket[i] += n;
                sum->latency.n += n;
            }
        }
    }
}
