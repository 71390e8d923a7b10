/* Arm books: what is counted of which request, and clients that are known again. */
#include "judge/arm_book.h"

#include <criterion/criterion.h>

static struct arm_counts counts[BOOK_ARMS];

Test(arm_book, sums_what_shards_counted_by_arm)
{
    struct arm_books *books = arm_books_new(3, false, 42);
    struct arm_lot *lot = arm_lot_new(books, 0.25);
    for (uint32_t shard = 0; shard < 3; shard++) {
        arm_lot_draw(lot, shard, 1);
        arm_books_count(books, shard, 1, &(struct arm_outcome){.compared = true, .latency_us = 10});
        arm_books_count(
            books, shard, 1,
            &(struct arm_outcome){.compared = true, .bad = true, .nan = true, .latency_us = 5000});
        arm_books_count(books, shard, 0,
                        &(struct arm_outcome){.bad = true, .contract = true, .latency_us = 9});
    }
    arm_books_read(books, lot, counts);
    cr_expect_eq(counts[1].drawn, 3);
    cr_expect_eq(counts[1].requests, 6);
    cr_expect_eq(counts[1].bad, 3);
    cr_expect_eq(counts[1].nan, 3);
    cr_expect_eq(counts[1].latency.n, 6);
    cr_expect_eq(counts[1].latency.bucket[latency_bucket(10)], 3);
    cr_expect_eq(counts[0].requests, 0, "what is not compared counts for hard stops alone");
    cr_expect_eq(counts[0].bad, 0);
    cr_expect_eq(counts[0].contract, 3);
    cr_expect(counts[0].share == 0.75 && counts[1].share == 0.25 && counts[1].began_us == 42);
    arm_lot_free(lot);
    arm_books_unref(books);
}

Test(arm_book, every_split_counts_its_own_draws)
{
    struct arm_books *books = arm_books_new(1, false, 1);
    struct arm_lot *first = arm_lot_new(books, 0.01), *second = arm_lot_new(books, 0.01);
    arm_lot_draw(first, 0, 0);
    arm_books_read(books, first, counts);
    uint64_t number = counts[0].lot;
    cr_expect_eq(counts[0].drawn, 1);
    arm_books_read(books, second, counts);
    cr_expect_eq(counts[0].drawn, 0);
    cr_expect_neq(counts[0].lot, number);
    arm_lot_free(first);
    arm_lot_free(second);
    arm_books_unref(books);
}

static uint64_t hash_of(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

Test(arm_book, a_client_is_new_once)
{
    struct arm_books *books = arm_books_new(1, true, 1);
    uint64_t mistaken = 0;
    for (uint64_t i = 0; i < 100000; i++)
        mistaken += !arm_books_is_first(books, hash_of(i));
    cr_expect_lt(mistaken, 900, "of the order of n / 2 / 8 Mi: %lu", mistaken);
    for (uint64_t i = 0; i < 100000; i++)
        cr_assert_not(arm_books_is_first(books, hash_of(i)), "none is forgotten");
    arm_books_unref(books);
}

Test(arm_book, without_keys_all_are_new)
{
    struct arm_books *books = arm_books_new(1, false, 1);
    cr_expect(arm_books_is_first(books, 1) && arm_books_is_first(books, 1));
    arm_books_unref(books);
}
