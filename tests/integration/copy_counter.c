/*
 * copy_counter: preloaded into the gateway (LD_PRELOAD), it counts the bytes that the gateway copies, in a
 * file that a test reads while the gateway runs: what the system copies in and out for it, what it copies
 * itself, and what growing memory by realloc() copies. Small copies are not counted, as they are not about
 * bodies.
 *
 * What is written by other means, a number parsed from JSON, a byte from base64, is no copy to memcpy() and
 * is not seen: a test adds the size of what was decoded.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SMALL = 512 };

/* As the test reads them, in this order. */
struct counts {
    _Atomic uint64_t received, sent, copied, regrown;
};

static struct counts nowhere, *counts = &nowhere;

static void add(_Atomic uint64_t *count, size_t bytes)
{
    if (bytes >= SMALL)
        atomic_fetch_add_explicit(count, bytes, memory_order_relaxed);
}

__attribute__((constructor)) static void open_counts(void)
{
    const char *path = getenv("COPY_COUNTER");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0 || ftruncate(fd, sizeof *counts) != 0)
        abort();
    void *shared = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED)
        abort();
    counts = shared;
    close(fd);
}

/* --- the process's own copies, byte by byte: compilers would make a call to memcpy() of anything cleverer
 * --- */

#define KEEP_IT_A_LOOP __asm__ volatile("" : : : "memory")

static void copy_up(unsigned char *to, const unsigned char *from, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        to[i] = from[i];
        KEEP_IT_A_LOOP;
    }
}

static void copy_down(unsigned char *to, const unsigned char *from, size_t length)
{
    while (length--) {
        to[length] = from[length];
        KEEP_IT_A_LOOP;
    }
}

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    add(&counts->copied, length);
    copy_up(to, from, length);
    return to;
}

void *memmove(void *to, const void *from, size_t length)
{
    add(&counts->copied, length);
    if ((unsigned char *)to <= (const unsigned char *)from ||
        (unsigned char *)to >= (const unsigned char *)from + length)
        copy_up(to, from, length);
    else
        copy_down(to, from, length);
    return to;
}

/* Whether malloc() has it in a mapping of its own, which it makes longer without a copy: a bit before the
 * block. */
static bool is_mapped(const void *block)
{
    return ((const size_t *)block)[-1] & 2;
}

static void *next_of(const char *name)
{
    void *next = dlsym(RTLD_NEXT, name);
    if (!next)
        abort();
    return next;
}

void *realloc(void *block, size_t bytes)
{
    static void *(*next)(void *, size_t);
    if (!next)
        next = (void *(*)(void *, size_t))next_of("realloc");
    size_t had = block && !is_mapped(block) ? malloc_usable_size(block) : 0;
    void *grown = next(block, bytes);
    if (grown && grown != block)
        add(&counts->regrown, had < bytes ? had : bytes);
    return grown;
}

/* --- the system's --- */

ssize_t recv(int fd, void *bytes, size_t length, int flags)
{
    static ssize_t (*next)(int, void *, size_t, int);
    if (!next)
        next = (ssize_t(*)(int, void *, size_t, int))next_of("recv");
    ssize_t got = next(fd, bytes, length, flags);
    add(&counts->received, got > 0 ? (size_t)got : 0);
    return got;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    static ssize_t (*next)(int, struct msghdr *, int);
    if (!next)
        next = (ssize_t(*)(int, struct msghdr *, int))next_of("recvmsg");
    ssize_t got = next(fd, message, flags);
    add(&counts->received, got > 0 ? (size_t)got : 0);
    return got;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    static ssize_t (*next)(int, const struct msghdr *, int);
    if (!next)
        next = (ssize_t(*)(int, const struct msghdr *, int))next_of("sendmsg");
    ssize_t sent = next(fd, message, flags);
    add(&counts->sent, sent > 0 ? (size_t)sent : 0);
    return sent;
}
