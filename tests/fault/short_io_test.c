/*
 * short_io_test: clients whose bytes come and go one by one, while calls are interrupted or find nothing to
 * do. What the gateway answers must not depend on it.
 *
 * The linker leads our own objects' recv(), sendmsg() and accept4() here (CMakeLists.txt: --wrap). send()
 * stays as it is: it carries "100 Continue" alone, into an empty socket, and is not worth a second try.
 *
 *     short_io_test xebec-echo picky_worker
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "asks.h"
#include "served.h"

static const struct fault {
    const char *name;
    size_t bytes;                              /* at most so many at once */
    unsigned long interrupted_each, idle_each; /* so manyeth call fails with EINTR, EAGAIN; 0: none does */
} faults[] = {
    {"one byte", 1, 0, 0},
    {"seven bytes", 7, 0, 0},
    {"one byte, interrupted", 1, 3, 0},
    {"one byte, spurious events", 1, 0, 2},
    {"hundred bytes, both", 100, 2, 5},
    {"whole, both", SIZE_MAX, 2, 3},
};

static const struct fault none = {"none", SIZE_MAX, 0, 0};
static const struct fault *_Atomic fault = &none;
static atomic_ulong calls, shortened, failed;

static bool fails(void)
{
    const struct fault *now = fault;
    unsigned long n = atomic_fetch_add(&calls, 1) + 1;
    bool interrupted = now->interrupted_each && n % now->interrupted_each == 0;
    bool idle = now->idle_each && n % now->idle_each == 0;
    if (interrupted || idle) {
        errno = interrupted ? EINTR : EAGAIN;
        atomic_fetch_add(&failed, 1);
    }
    return interrupted || idle;
}

static size_t shorten(size_t length)
{
    size_t most = fault->bytes;
    if (length <= most)
        return length;
    atomic_fetch_add(&shortened, 1);
    return most;
}

ssize_t __real_recv(int fd, void *bytes, size_t length, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_accept4(int fd, struct sockaddr *from, socklen_t *length, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t length, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *length, int flags);

ssize_t __wrap_recv(int fd, void *bytes, size_t length, int flags)
{
    return fails() ? -1 : __real_recv(fd, bytes, shorten(length), flags);
}

/* Of the first part that has any bytes, as many as may be sent. */
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct iovec part = message->msg_iov[0];
    if (fails())
        return -1;
    if (fault == &none || fault->bytes == SIZE_MAX)
        return __real_sendmsg(fd, message, flags);
    part.iov_len = shorten(part.iov_len);
    return __real_sendmsg(fd, &(struct msghdr){.msg_iov = &part, .msg_iovlen = 1}, flags);
}

/* Of the first part, as many as may be received. */
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    struct iovec part = message->msg_iov[0];
    if (fails())
        return -1;
    if (fault->bytes == SIZE_MAX)
        return __real_recvmsg(fd, message, flags);
    part.iov_len = shorten(part.iov_len);
    return __real_recvmsg(fd, &(struct msghdr){.msg_iov = &part, .msg_iovlen = 1}, flags);
}

int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *length, int flags)
{
    return fails() ? -1 : __real_accept4(fd, from, length, flags);
}

/* Every kind of request, with its right answer. */
static void ask_all(const struct served *served, const struct fault *with, unsigned *serial)
{
    atomic_store(&calls, 0);
    atomic_store(&shortened, 0);
    atomic_store(&failed, 0);
    fault = with;
    for (unsigned kind = 0; kind < ASK_KINDS; kind++)
        ask_calmly(served, kind, (*serial)++);
    fault = &none;
    printf("%s: %lu calls, %lu cut short, %lu failed\n", with->name, calls, shortened, failed);
    bool cuts = with->bytes != SIZE_MAX, breaks = with->interrupted_each || with->idle_each;
    if (cuts != (shortened > 0) || breaks != (failed > 0)) {
        fprintf(stderr, "short_io_test: %s did not happen: is the linker told to wrap?\n", with->name);
        abort();
    }
}

int main(int argc, char **argv)
{
    unsigned serial = 1;
    if (argc != 3) {
        fprintf(stderr, "usage: short_io_test xebec-echo picky_worker\n");
        return 2;
    }
    struct served_replicas *replicas = served_replicas_start(argv[1], argv[2]);
    struct served *served = served_start(replicas, "");
    ask_all(served, &none, &serial);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        ask_all(served, &faults[i], &serial);
    served_stop(served);
    served_replicas_stop(replicas);
    return 0;
}
