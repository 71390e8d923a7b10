/* scarce: who is refused, and what malloc and its like lead to. */
#include "scarce.h"

#include <stdatomic.h>
#include <stddef.h>

static atomic_long failing_from = 0;  /* the first allocation that fails; 0: none does */
static atomic_long failing_every = 0; /* and then each so manyeth; 0: that one alone */
static atomic_long allocations;       /* since scarce_from() */
static _Thread_local bool spared;

void scarce_spare(bool spare)
{
    spared = spare;
}

void scarce_from(long from, long every)
{
    atomic_store(&failing_from, 0);
    atomic_store(&allocations, 0);
    atomic_store(&failing_every, every);
    atomic_store(&failing_from, from);
}

bool scarce_no_more(void)
{
    long from = atomic_exchange(&failing_from, 0);
    return atomic_load(&allocations) >= from;
}

static bool refuse(void)
{
    long from = atomic_load(&failing_from), every = atomic_load(&failing_every);
    if (!from || spared)
        return false;
    long past = atomic_fetch_add(&allocations, 1) + 1 - from;
    return past == 0 || (past > 0 && every && past % every == 0);
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__real__ZnwmRKSt9nothrow_t(size_t bytes, const void *nothrow);
void *__real__ZnamRKSt9nothrow_t(size_t bytes, const void *nothrow);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap__ZnwmRKSt9nothrow_t(size_t bytes, const void *nothrow);
void *__wrap__ZnamRKSt9nothrow_t(size_t bytes, const void *nothrow);

void *__wrap_malloc(size_t bytes)
{
    return refuse() ? NULL : __real_malloc(bytes);
}
void *__wrap_calloc(size_t count, size_t bytes)
{
    return refuse() ? NULL : __real_calloc(count, bytes);
}
void *__wrap_realloc(void *old, size_t bytes)
{
    return refuse() ? NULL : __real_realloc(old, bytes);
}
void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return refuse() ? NULL : __real_aligned_alloc(alignment, bytes);
}
/* new (std::nothrow), and its array form */
void *__wrap__ZnwmRKSt9nothrow_t(size_t bytes, const void *nothrow)
{
    return refuse() ? NULL : __real__ZnwmRKSt9nothrow_t(bytes, nothrow);
}
void *__wrap__ZnamRKSt9nothrow_t(size_t bytes, const void *nothrow)
{
    return refuse() ? NULL : __real__ZnamRKSt9nothrow_t(bytes, nothrow);
}
