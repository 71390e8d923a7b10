/* arena: blocks from malloc, newest first, doubling up to 64 KiB; an allocation is a pointer moved on. */
#include "support/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 16, FIRST_BLOCK = 4096, LARGEST_BLOCK = 65536 };

/* Under AddressSanitizer every block is malloc's, so that it sees who uses one that was freed. */
#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { SPARES_MAX = 0 };
#else
enum { SPARES_MAX = 128 };
#endif

struct arena_block {
    struct arena_block *next;
    size_t bytes; /* of the whole block, this header included */
    _Alignas(ALIGNMENT) char room[];
};

static size_t align_up(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* What the arena may still take: the least of its own limit and what is left of the budget that it shares. */
static size_t room_left(const struct arena *arena)
{
    const struct arena_budget *budget = arena->budget;
    size_t left = arena->limit ? arena->limit - arena->bytes : SIZE_MAX;
    size_t shared = !budget ? SIZE_MAX : budget->bytes < budget->limit ? budget->limit - budget->bytes : 0;
    return left < shared ? left : shared;
}

static void arena_count(struct arena *arena, size_t bytes)
{
    arena->bytes += bytes;
    if (arena->budget)
        arena->budget->bytes += bytes;
}

static struct arena_block *block_new(struct arena_budget *budget, size_t bytes)
{
    struct arena_block *block = budget ? budget->spares : NULL;
    if (!block || bytes != FIRST_BLOCK)
        return malloc(bytes);
    budget->spares = block->next;
    budget->n_spares--;
    return block;
}

static void block_free(struct arena_budget *budget, struct arena_block *block)
{
    if (!budget || block->bytes != FIRST_BLOCK || budget->n_spares == SPARES_MAX) {
        free(block);
        return;
    }
    block->next = budget->spares;
    budget->spares = block;
    budget->n_spares++;
}

void arena_budget_clear(struct arena_budget *budget)
{
    for (struct arena_block *block = budget->spares, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    *budget = (struct arena_budget){.bytes = budget->bytes, .limit = budget->limit};
}

/* A new block that holds at least `bytes`; what was left of the old one is given up. */
static bool arena_extend(struct arena *arena, size_t bytes)
{
    size_t left = room_left(arena), want = arena->blocks ? arena->blocks->bytes * 2 : FIRST_BLOCK;
    if (want > LARGEST_BLOCK)
        want = LARGEST_BLOCK;
    if (want < sizeof(struct arena_block) + bytes)
        want = sizeof(struct arena_block) + bytes;
    if (want > left) {
        want = sizeof(struct arena_block) + bytes; /* the exact size may still fit */
        if (want > left)
            return false;
    }
    struct arena_block *block = block_new(arena->budget, want);
    if (!block)
        return false;
    block->next = arena->blocks;
    block->bytes = want;
    arena->blocks = block;
    arena_count(arena, want);
    arena->at = block->room;
    arena->end = (char *)block + want;
    return true;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = align_up(bytes ? bytes : 1);
    if ((size_t)(arena->end - arena->at) < bytes && !arena_extend(arena, bytes))
        return NULL;
    void *room = arena->at;
    arena->at += bytes;
    return room;
}

void *arena_zalloc(struct arena *arena, size_t bytes)
{
    void *room = arena_alloc(arena, bytes);
    return room ? memset(room, 0, bytes) : NULL;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : arena_alloc(arena, bytes);
}

void *arena_grow(struct arena *arena, void *old, size_t old_bytes, size_t new_bytes)
{
    if (new_bytes > SIZE_MAX / 2)
        return NULL;
    size_t had = align_up(old_bytes ? old_bytes : 1), wants = align_up(new_bytes ? new_bytes : 1);
    bool newest = old && (char *)old + had == arena->at;
    if (newest && (size_t)(arena->end - (char *)old) >= wants) {
        arena->at = (char *)old + wants;
        return old;
    }
    void *room = arena_alloc(arena, new_bytes);
    if (room && old)
        memcpy(room, old, old_bytes < new_bytes ? old_bytes : new_bytes);
    return room;
}

char *arena_text(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);
    if (!copy)
        return NULL;
    if (length)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *arena_join(struct arena *arena, const char *const *parts, size_t n)
{
    size_t length = 0;
    for (size_t i = 0; i < n; i++)
        length += parts[i] ? strlen(parts[i]) : 0;
    char *text = arena_alloc(arena, length + 1), *at = text;
    for (size_t i = 0; text && i < n; i++)
        at = parts[i] ? stpcpy(at, parts[i]) : at;
    if (text)
        *at = '\0';
    return text;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : arena_alloc(arena, (size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

void arena_clear(struct arena *arena)
{
    for (struct arena_block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        block_free(arena->budget, block);
    }
    if (arena->budget)
        arena->budget->bytes -= arena->bytes;
    *arena = (struct arena){.limit = arena->limit, .budget = arena->budget};
}
