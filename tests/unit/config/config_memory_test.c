/*
 * config without memory: every allocation fails in turn, libyaml's too. Each time there is no
 * configuration, there is a problem that says so, and nothing is left behind.
 * This program's malloc stands before the C library's; sanitizers bring their own and cannot be preceded.
 */
#include <criterion/criterion.h>

#include <stdint.h>
#include <string.h>

#include "config/config.h"

#ifndef __has_feature /* clang's; gcc defines a macro a sanitizer instead */
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) ||     \
    __has_feature(thread_sanitizer)
#define MALLOC_IS_OURS 0
#else
#define MALLOC_IS_OURS 1
#endif

static long allocations_left = -1; /* until one fails; negative: none ever does */
static long live;                  /* allocations not yet freed, while counting */

#if MALLOC_IS_OURS
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void __libc_free(void *memory);

static bool refused(void)
{
    if (allocations_left < 0)
        return false;
    if (allocations_left == 0)
        return true;
    allocations_left--;
    return false;
}

static void *counted(void *memory)
{
    live += memory != NULL;
    return memory;
}

void *malloc(size_t bytes)
{
    return refused() ? NULL : counted(__libc_malloc(bytes));
}
void *calloc(size_t count, size_t bytes)
{
    return refused() ? NULL : counted(__libc_calloc(count, bytes));
}
void *realloc(void *old, size_t bytes)
{
    if (refused())
        return NULL;
    void *grown = __libc_realloc(old, bytes);
    live += !old && grown;
    return grown;
}
void free(void *memory)
{
    live -= memory != NULL;
    __libc_free(memory);
}
#endif

static const char good[] = "cache: {memory: 1MiB}\n"
                           "models:\n"
                           "  digits:\n"
                           "    input: {pixels: {datatype: FP32, shape: [-1, 64]}}\n"
                           "    output: {label: {datatype: INT64, shape: [-1]}}\n"
                           "    versions: {a: {replicas: [\"h:1\", \"unix:/x\"]}, b: {replicas: [\"h:2\"]}}\n"
                           "endpoints:\n"
                           "  e: {default: {label: -1}, split: [{model: digits@a, weight: 1}, "
                           "{model: digits@b, weight: 2}]}\n";

/* Whether the n-th allocation was reached; checks what came of its failure. */
static bool fails_cleanly(const char *text, long n, const char *otherwise)
{
    struct config_problems problems;
    long before = live;
    allocations_left = n;
    struct config *config = config_parse("f.yaml", text, strlen(text), &problems);
    bool reached = allocations_left == 0;
    allocations_left = -1;
    if (config) {
        cr_assert_not(reached && otherwise, "allocation %ld", n);
        cr_assert_eq(config->n_endpoints, 1);
    } else {
        cr_assert_geq(problems.count, 1);
        if (!otherwise || strcmp(problems.list[0].what, otherwise) != 0)
            cr_assert_str_eq(problems.list[0].what, "out of memory while reading the file");
    }
    config_problems_clear(&problems);
    config_unref(config);
    cr_assert_eq(live, before, "allocation %ld leaves %ld behind", n, live - before);
    return reached;
}

Test(config_memory, every_allocation_of_a_good_file_fails_in_turn, .disabled = !MALLOC_IS_OURS)
{
    long n = 0;
    while (fails_cleanly(good, n, NULL))
        n++;
    cr_expect_gt(n, 20);
}

Test(config_memory, every_allocation_of_a_bad_file_fails_in_turn, .disabled = !MALLOC_IS_OURS)
{
    long n = 0;
    while (fails_cleanly("shards: 0\n", n, "needs models: the models, by name"))
        n++;
    cr_expect_gt(n, 10);
}
