#include "support/arena.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

Test(arena, gives_aligned_memory_that_does_not_overlap)
{
    struct arena arena = {0};
    unsigned char *got[1000];
    for (size_t i = 0; i < 1000; i++) {
        size_t bytes = i * 37 % 400;
        got[i] = arena_alloc(&arena, bytes);
        cr_assert_not_null(got[i]);
        cr_assert_eq((uintptr_t)got[i] % 16, 0);
        memset(got[i], (int)(i & 0xFF), bytes);
    }
    for (size_t i = 0; i < 1000; i++)
        for (size_t at = 0; at < i * 37 % 400; at++)
            cr_assert_eq(got[i][at], i & 0xFF, "allocation %zu was overwritten", i);
    arena_clear(&arena);
    cr_assert_eq(arena.bytes, 0);
    cr_assert_null(arena.blocks);
}

Test(arena, zeroes_on_request)
{
    struct arena arena = {0};
    memset(arena_alloc(&arena, 1000), 0xFF, 1000);
    arena_clear(&arena);
    char *zeroed = arena_zalloc(&arena, 1000);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(zeroed[i], 0);
    arena_clear(&arena);
}

Test(arena, refuses_beyond_its_limit_and_stays_usable)
{
    struct arena arena = {.limit = 10000};
    size_t got = 0;
    while (arena_alloc(&arena, 100))
        got += 100;
    cr_assert_leq(arena.bytes, arena.limit);
    cr_assert_geq(got, arena.limit / 2, "only %zu of %zu bytes were of use", got, arena.limit);
    cr_assert_null(arena_alloc(&arena, 9000));
    cr_assert_null(arena_alloc(&arena, 100));
    arena_clear(&arena);
    cr_assert_eq(arena.limit, 10000);
    cr_assert_not_null(arena_alloc(&arena, 9000));
    arena_clear(&arena);
}

Test(arena, refuses_sizes_that_overflow)
{
    struct arena arena = {0};
    cr_assert_null(arena_alloc(&arena, SIZE_MAX));
    cr_assert_null(arena_alloc(&arena, SIZE_MAX - 15));
    cr_assert_null(arena_array(&arena, SIZE_MAX / 2, 3));
    cr_assert_null(arena_array(&arena, (size_t)1 << 32, (size_t)1 << 32));
    cr_assert_null(arena_grow(&arena, NULL, 0, SIZE_MAX));
    cr_assert_not_null(arena_array(&arena, 0, 8), "nothing is not an overflow");
    arena_clear(&arena);
}

Test(arena, grows_the_newest_in_place_and_copies_the_others)
{
    struct arena arena = {0};
    char *first = arena_grow(&arena, NULL, 0, 10);
    memcpy(first, "0123456789", 10);
    char *grown = arena_grow(&arena, first, 10, 100);
    cr_assert_eq(grown, first);
    cr_assert_not_null(arena_alloc(&arena, 1));
    char *moved = arena_grow(&arena, grown, 100, 200);
    cr_assert_neq(moved, grown);
    cr_assert_arr_eq(moved, "0123456789", 10);
    char *large = arena_grow(&arena, moved, 200, 1 << 20); /* beyond its block */
    cr_assert_arr_eq(large, "0123456789", 10);
    memset(large, 'x', 1 << 20);
    arena_clear(&arena);
}

Test(arena, grows_step_by_step_without_loss)
{
    struct arena arena = {.limit = 1 << 20};
    uint32_t *numbers = NULL;
    size_t count = 0;
    for (size_t room = 1; room <= 16384; room *= 2) {
        numbers = arena_grow(&arena, numbers, count * sizeof *numbers, room * sizeof *numbers);
        cr_assert_not_null(numbers);
        for (; count < room; count++)
            numbers[count] = (uint32_t)count * 7;
        cr_assert_not_null(arena_alloc(&arena, 1)); /* every other step it is not the newest */
    }
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(numbers[i], i * 7);
    arena_clear(&arena);
}

Test(arena, copies_text_and_prints)
{
    struct arena arena = {0};
    cr_assert_str_eq(arena_text(&arena, "hello, world", 5), "hello");
    cr_assert_str_eq(arena_text(&arena, NULL, 0), "");
    cr_assert_str_eq(arena_printf(&arena, "%s-%d", "a", 7), "a-7");
    char *large = arena_printf(&arena, "%0*d", 100000, 5);
    cr_assert_eq(strlen(large), 100000);
    cr_assert_eq(large[99999], '5');
    arena.limit = arena.bytes;
    cr_assert_null(arena_printf(&arena, "%0*d", 100000, 5));
    arena_clear(&arena);
}

Test(arena, a_budget_bounds_arenas_together_and_gets_back_what_they_free)
{
    struct arena_budget budget = {.limit = 100000};
    struct arena one = {.budget = &budget}, other = {.budget = &budget};
    cr_assert(arena_alloc(&one, 60000));
    cr_assert_not(arena_alloc(&other, 60000));
    cr_assert(arena_alloc(&other, 30000));
    cr_assert_eq(budget.bytes, one.bytes + other.bytes);
    arena_clear(&one);
    cr_assert_eq(budget.bytes, other.bytes);
    cr_assert(arena_alloc(&other, 60000));
    budget.limit = 1000; /* lowered below what is taken */
    cr_assert_not(arena_alloc(&one, 8));
    arena_clear(&other);
    cr_assert_eq(budget.bytes, 0);
    cr_assert(arena_alloc(&one, 8));
    arena_clear(&one);
    arena_budget_clear(&budget);
}

Test(arena, a_budget_keeps_blocks_for_the_next_arena)
{
    struct arena_budget budget = {.limit = 100000};
    struct arena arenas[4] = {
        {.budget = &budget}, {.budget = &budget}, {.budget = &budget}, {.budget = &budget}};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 4; i++)
            memset(arena_alloc(&arenas[i], 1000), (int)i, 1000);
        cr_assert_eq(budget.bytes, 4 * arenas[0].bytes, "what is kept is not what is taken");
        for (size_t i = 0; i < 4; i++)
            arena_clear(&arenas[i]);
        cr_assert_eq(budget.bytes, 0);
        cr_assert_leq(budget.n_spares, 4);
    }
    arena_budget_clear(&budget);
    cr_assert_null(budget.spares);
    cr_assert_eq(budget.limit, 100000);
}

Test(arena, joins)
{
    struct arena arena = {0};
    const char *const parts[] = {"a: b\r\n", NULL, "", "c: d\r\n"};
    cr_assert_str_eq(arena_join(&arena, parts, 4), "a: b\r\nc: d\r\n");
    cr_assert_str_eq(arena_join(&arena, parts + 1, 1), "");
    cr_assert_str_eq(arena_join(&arena, NULL, 0), "");
    arena.limit = arena.bytes;
    const char large[8000] = {[0 ... 7998] = 'x'};
    cr_assert_null(arena_join(&arena, (const char *const[]){large, large}, 2));
    arena_clear(&arena);
}
