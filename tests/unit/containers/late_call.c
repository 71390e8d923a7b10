/*
 * late_call: put before gRPC core by LD_PRELOAD, has a server meet a call in the instant of its shutdown.
 *
 *   shutdown is called --> waits for a call                                  --> shuts down --> returns
 *   a call arrives     ------------------> core is about to queue it: waits -------------------> queues it
 *
 * The two functions are core's own, of version 1.51, under the names that C++ gives them.
 */
#include <dlfcn.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHUTDOWN "_ZN9grpc_core6Server17ShutdownAndNotifyEP21grpc_completion_queuePv"
#define QUEUE    "_ZN9grpc_core6Server18RealRequestMatcher12MatchOrQueueEmPNS0_8CallDataE"

void server_shutdown(void *server, void *events, void *tag) __asm__(SHUTDOWN);
void call_queue(void *matcher, size_t at, void *call) __asm__(QUEUE);

enum { LISTENERS_END_US = 200000 }; /* closed, they make core look at what is queued once more */

static atomic_bool shutting_down;
static sem_t arrived, over;

__attribute__((constructor)) static void late_call_init(void)
{
    sem_init(&arrived, 0, 0);
    sem_init(&over, 0, 0);
}

/* memcpy: ISO C knows no way from an object's address to a function's. */
#define CORES(function, name)                                                                                \
    do {                                                                                                     \
        void *found = dlsym(RTLD_NEXT, name);                                                                \
        if (!found)                                                                                          \
            abort();                                                                                         \
        memcpy(&(function), &found, sizeof found);                                                           \
    } while (0)

void server_shutdown(void *server, void *events, void *tag)
{
    void (*cores)(void *, void *, void *);
    CORES(cores, SHUTDOWN);
    atomic_store(&shutting_down, true);
    fputs("late_call: now\n", stderr);
    sem_wait(&arrived);
    cores(server, events, tag);
    usleep(LISTENERS_END_US);
    sem_post(&over);
}

void call_queue(void *matcher, size_t at, void *call)
{
    void (*cores)(void *, size_t, void *);
    CORES(cores, QUEUE);
    if (atomic_exchange(&shutting_down, false)) {
        sem_post(&arrived);
        sem_wait(&over);
    }
    cores(matcher, at, call);
}
