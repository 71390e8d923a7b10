/*
 * arena: memory that lives as long as one request. Allocate freely, free once.
 * Not thread-safe. Zero-initialised memory is a valid, empty, unbounded arena.
 */
#ifndef XEBEC_SUPPORT_ARENA_H
#define XEBEC_SUPPORT_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "support/err.h"

struct arena_block;

/*
 * What several arenas may take together; of one thread. Outlives them. It keeps some first blocks of those that were
 * cleared, for the next: malloc is slow with blocks of that size.
 */
struct arena_budget {
    size_t bytes; /* taken by all of them so far */
    size_t limit;
    struct arena_block *spares;
    unsigned n_spares;
};
/* Frees what it keeps. */
void arena_budget_clear(struct arena_budget *budget);

struct arena {
    struct arena_block *blocks; /* newest first */
    char *at, *end;             /* free room in the newest block */
    size_t bytes;               /* taken from malloc so far */
    size_t limit;               /* arena_alloc() returns NULL beyond this many bytes; 0: no limit */
    struct arena_budget *budget; /* and beyond what is left of this; NULL: none */
};

/* 16-byte aligned, not zeroed. NULL when out of memory or over the limit; the arena stays usable. */
void *arena_alloc(struct arena *arena, size_t bytes) GW_MUST_CHECK;
void *arena_zalloc(struct arena *arena, size_t bytes) GW_MUST_CHECK;
/* As arena_alloc for count * size, NULL if that overflows. */
void *arena_array(struct arena *arena, size_t count, size_t size) GW_MUST_CHECK;
/* Grows the newest allocation in place where possible, else allocates and copies. old may be NULL with old_bytes 0. */
void *arena_grow(struct arena *arena, void *old, size_t old_bytes, size_t new_bytes) GW_MUST_CHECK;
/* A terminated copy of text[0..length). */
char *arena_text(struct arena *arena, const char *text, size_t length) GW_MUST_CHECK;
/* All parts, one after another; those that are NULL are nothing. */
char *arena_join(struct arena *arena, const char *const *parts, size_t n) GW_MUST_CHECK;
char *arena_printf(struct arena *arena, const char *format, ...) GW_MUST_CHECK GW_PRINTF(2, 3);
/* Frees everything; the arena is empty and usable again, its limit and budget kept. */
void arena_clear(struct arena *arena);

#endif
