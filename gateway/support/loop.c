/*
 * loop: turns of libevent's base, with our own timers and mailbox around them.
 *
 *   other threads --loop_post--> inbox (lock-free stack) --.
 *   own thread ----loop_post--> local (list) --------------+--> tasks, at the end of the turn
 *
 * The inbox's first poster writes the eventfd; it is edge-triggered and never read. One timerfd is armed for
 * the earliest timer and left armed when that one is cancelled: it then fires for nothing, which is cheaper
 * than a system call a request.
 */
#include "support/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { TASK_ROUNDS = 8 }; /* tasks that post tasks: so often in one turn, then descriptors get theirs */

struct loop {
    struct event_base *base;
    struct event *wake_event, *timer_event;
    int wake_fd, timer_fd;
    _Atomic bool stopping;
    uint64_t armed_us; /* what the timerfd is set to; UINT64_MAX: not set */
    uint64_t fired_us; /* timers up to then have had their turn */
    struct loop_timer **timers;
    uint32_t n_timers, timers_room;
    struct loop_task *local, **local_end;
    struct loop_deferred *deferred;
    struct loop_poller *poller;
    _Alignas(64) _Atomic(struct loop_task *) inbox; /* on a line of its own: others write it */
};

static _Thread_local struct loop *current; /* the loop that this thread is running */

static void on_wake(evutil_socket_t fd, short what, void *owner)
{
    (void)fd, (void)what, (void)owner; /* to be awake is enough: the turn drains the inbox */
}

static void on_timer(evutil_socket_t fd, short what, void *owner)
{
    struct loop *loop = owner;
    uint64_t expirations;
    (void)what;
    if (read(fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
        return; /* the timers are looked at in every turn anyway */
    loop->armed_us = UINT64_MAX;
}

static bool loop_open(struct loop *loop)
{
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct event_config *config = event_config_new();
    if (config) {
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
        event_config_require_features(config, EV_FEATURE_ET);
        loop->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (loop->wake_fd < 0 || loop->timer_fd < 0 || !loop->base)
        return false;
    loop->wake_event = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST | EV_ET, on_wake, loop);
    loop->timer_event = event_new(loop->base, loop->timer_fd, EV_READ | EV_PERSIST, on_timer, loop);
    return loop->wake_event && loop->timer_event && event_add(loop->wake_event, NULL) == 0 &&
           event_add(loop->timer_event, NULL) == 0;
}

struct loop *loop_new(void)
{
    struct loop *loop = aligned_alloc(_Alignof(struct loop), sizeof *loop);
    if (!loop)
        return NULL;
    *loop = (struct loop){.wake_fd = -1, .timer_fd = -1, .armed_us = UINT64_MAX};
    loop->local_end = &loop->local;
    if (!loop_open(loop)) {
        loop_free(loop);
        return NULL;
    }
    return loop;
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

uint64_t loop_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t loop_wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now); /* does not ask the processor: once a request it is seen */
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* --- tasks --- */

static void loop_wake(struct loop *loop)
{
    uint64_t one = 1;
    while (write(loop->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

void loop_post(struct loop *loop, struct loop_task *task)
{
    if (current == loop) {
        task->next = NULL;
        *loop->local_end = task;
        loop->local_end = &task->next;
        return;
    }
    struct loop_task *head = atomic_load_explicit(&loop->inbox, memory_order_relaxed);
    do
        task->next = head;
    while (!atomic_compare_exchange_weak_explicit(&loop->inbox, &head, task, memory_order_release,
                                                  memory_order_relaxed));
    if (!head)
        loop_wake(loop);
}

/* Moves the inbox behind the local tasks, oldest first. */
static void loop_collect(struct loop *loop)
{
    struct loop_task *task = atomic_exchange_explicit(&loop->inbox, NULL, memory_order_acquire);
    struct loop_task *oldest = NULL, *newest = task;
    while (task) {
        struct loop_task *next = task->next;
        task->next = oldest;
        oldest = task;
        task = next;
    }
    if (oldest) {
        *loop->local_end = oldest;
        loop->local_end = &newest->next;
    }
}

static bool loop_run_tasks(struct loop *loop)
{
    loop_collect(loop);
    struct loop_task *task = loop->local;
    loop->local = NULL;
    loop->local_end = &loop->local;
    bool any = task != NULL;
    while (task) {
        struct loop_task *next = task->next;
        task->run(task);
        task = next;
    }
    return any;
}

/* A task that somebody waits for. */
struct call {
    struct loop_task task;
    void (*run)(void *arg);
    void *arg;
    sem_t done;
};

static void call_run(struct loop_task *task)
{
    struct call *call = container_of(task, struct call, task);
    call->run(call->arg);
    sem_post(&call->done);
}

void loop_call(struct loop *loop, void (*run)(void *arg), void *arg)
{
    struct call call = {.task = {.run = call_run}, .run = run, .arg = arg};
    sem_init(&call.done, 0, 0);
    loop_post(loop, &call.task);
    while (sem_wait(&call.done) != 0 && errno == EINTR) {
    }
    sem_destroy(&call.done);
}

/* --- timers: a binary heap by at_us --- */

static void timer_place(struct loop *loop, struct loop_timer *timer, uint32_t place)
{
    loop->timers[place] = timer;
    timer->slot = place + 1;
}

static void timer_up(struct loop *loop, struct loop_timer *timer, uint32_t place)
{
    while (place > 0 && loop->timers[(place - 1) / 2]->at_us > timer->at_us) {
        timer_place(loop, loop->timers[(place - 1) / 2], place);
        place = (place - 1) / 2;
    }
    timer_place(loop, timer, place);
}

static void timer_down(struct loop *loop, struct loop_timer *timer, uint32_t place)
{
    for (uint32_t child; (child = 2 * place + 1) < loop->n_timers; place = child) {
        if (child + 1 < loop->n_timers && loop->timers[child + 1]->at_us < loop->timers[child]->at_us)
            child++;
        if (loop->timers[child]->at_us >= timer->at_us)
            break;
        timer_place(loop, loop->timers[child], place);
    }
    timer_place(loop, timer, place);
}

static void timer_sift(struct loop *loop, struct loop_timer *timer, uint32_t place)
{
    if (place > 0 && loop->timers[(place - 1) / 2]->at_us > timer->at_us)
        timer_up(loop, timer, place);
    else
        timer_down(loop, timer, place);
}

enum gw_status loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t at_us)
{
    timer->at_us = at_us > loop->fired_us ? at_us : loop->fired_us + 1; /* the past is over: the next turn */
    if (timer->slot) {
        timer_sift(loop, timer, timer->slot - 1);
        return GW_OK;
    }
    if (loop->n_timers == loop->timers_room) {
        uint32_t room = loop->timers_room ? loop->timers_room * 2 : 64;
        struct loop_timer **timers = realloc(loop->timers, room * sizeof(struct loop_timer *));
        if (!timers)
            return GW_E_NO_MEMORY;
        loop->timers = timers;
        loop->timers_room = room;
    }
    timer_up(loop, timer, loop->n_timers++);
    return GW_OK;
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
    if (!timer->slot)
        return;
    uint32_t place = timer->slot - 1;
    timer->slot = 0;
    struct loop_timer *last = loop->timers[--loop->n_timers];
    if (last != timer)
        timer_sift(loop, last, place);
}

/* Only timers due when the turn came to them: one that a callback sets for "now" waits for the next turn. */
static void loop_run_timers(struct loop *loop)
{
    if (!loop->n_timers)
        return;
    loop->fired_us = loop_now_us();
    while (loop->n_timers && loop->timers[0]->at_us <= loop->fired_us) {
        struct loop_timer *timer = loop->timers[0];
        loop_timer_cancel(loop, timer);
        timer->fire(timer);
    }
}

/* Before the loop sleeps: the timerfd must fire no later than the earliest timer. */
static void loop_arm(struct loop *loop)
{
    if (!loop->n_timers || loop->timers[0]->at_us >= loop->armed_us)
        return;
    uint64_t at_us = loop->timers[0]->at_us ? loop->timers[0]->at_us : 1; /* 0 would disarm */
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at_us / 1000000), .tv_nsec = (long)(at_us % 1000000) * 1000}};
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    loop->armed_us = at_us;
}

/* --- turns --- */

void loop_defer_free(struct loop *loop, struct loop_deferred *node)
{
    node->next = loop->deferred;
    loop->deferred = node;
}

static void loop_run_deferred(struct loop *loop)
{
    while (loop->deferred) {
        struct loop_deferred *node = loop->deferred;
        loop->deferred = node->next;
        node->free_fn(node);
    }
}

void loop_set_poller(struct loop *loop, struct loop_poller *poller)
{
    loop->poller = poller;
}

void loop_run(struct loop *loop)
{
    struct loop *outer = current;
    loop_collect(loop); /* what this thread posted before comes before what it posts from now on */
    current = loop;
    while (!atomic_load_explicit(&loop->stopping, memory_order_acquire)) {
        bool awake = loop->poller && loop->poller->poll(loop->poller);
        loop_arm(loop);
        event_base_loop(loop->base, EVLOOP_ONCE | (awake || loop->local ? EVLOOP_NONBLOCK : 0));
        loop_run_timers(loop);
        for (int round = 0; round < TASK_ROUNDS && loop_run_tasks(loop); round++) {
        }
        loop_run_deferred(loop);
    }
    atomic_store_explicit(&loop->stopping, false, memory_order_relaxed);
    current = outer;
}

void loop_stop(struct loop *loop)
{
    atomic_store_explicit(&loop->stopping, true, memory_order_release);
    loop_wake(loop);
}

bool loop_flush(struct loop *loop)
{
    struct loop *outer = current;
    bool any = false;
    current = loop;
    while (loop_run_tasks(loop) || loop->deferred) {
        loop_run_deferred(loop);
        any = true;
    }
    current = outer;
    return any;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    loop_flush(loop);
    if (loop->wake_event)
        event_free(loop->wake_event);
    if (loop->timer_event)
        event_free(loop->timer_event);
    if (loop->base)
        event_base_free(loop->base);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->timer_fd >= 0)
        close(loop->timer_fd);
    free(loop->timers);
    free(loop);
}
