/*
 * loop: one thread's event loop: libevent for descriptors, our own heap for timers, and a mailbox
 * for tasks from other threads. The home of libevent's event_base.
 *
 * A turn:  poller -> wait -> descriptor events -> due timers -> tasks -> deferred frees -> wait ...
 *
 * Nothing is freed inside its own callback: what dies is handed to loop_defer_free() and goes at
 * the end of the turn. Everything but loop_post() and loop_stop() belongs to the loop's own thread.
 */
#ifndef XEBEC_SUPPORT_LOOP_H
#define XEBEC_SUPPORT_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/err.h"

struct event_base;
struct loop;

/* Embedded in what it is about; run() recovers its owner with container_of(). */
struct loop_task {
    struct loop_task *next; /* the mailbox's */
    void (*run)(struct loop_task *task);
};

/* Zero-initialise, set fire, then loop_timer_set(). */
struct loop_timer {
    void (*fire)(struct loop_timer *timer);
    uint64_t at_us;
    uint32_t slot; /* the heap's: 0 while not set, else place + 1 */
};

#define container_of(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

struct loop *loop_new(void) GW_MUST_CHECK; /* NULL: out of memory or descriptors */
void loop_free(struct loop *loop);         /* must not be running; flushes it first */

struct event_base *loop_base(struct loop *loop); /* for edge/, to add descriptor events */

/*
 * A source of events that has no descriptor. poll() is asked once a turn, takes what is there without waiting, and says
 * whether to ask again soon rather than sleep. One a loop; NULL: none.
 */
struct loop_poller {
    bool (*poll)(struct loop_poller *poller);
};
void loop_set_poller(struct loop *loop, struct loop_poller *poller);

/* Runs turns until loop_stop(); the turn in which it is seen is finished first. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop); /* any thread, and async-signal-safe */

/*
 * Runs tasks and deferred frees until there are none. For taking down what a stopped loop carried; any thread. False: there
 * were none.
 */
bool loop_flush(struct loop *loop);

/* CLOCK_MONOTONIC, microseconds. */
uint64_t loop_now_us(void);
/* CLOCK_REALTIME to a few milliseconds, in microseconds since 1970: for people, and for what outlives the process. It may jump. */
uint64_t loop_wall_us(void);

/*
 * Runs task->run() on the loop's thread, in the order of posting per poster. Any thread. Never
 * allocates and never fails: the task is the caller's memory, and is the caller's again once run()
 * has been entered. A task may be posted once at a time. A post from the loop's own thread runs later
 * in the same turn; tasks that post tasks do so a few rounds a turn, so that they cannot starve descriptors.
 */
void loop_post(struct loop *loop, struct loop_task *task);

/*
 * Runs run(arg) on the loop's thread, as a task, and returns when it has. From another thread; the loop must be running
 * and go on running until then, and must not wait for the caller.
 */
void loop_call(struct loop *loop, void (*run)(void *arg), void *arg);

/*
 * Sets or moves a timer; fires once, at or after at_us, on the loop's thread. GW_E_NO_MEMORY when the heap
 * of timers has to grow and cannot; moving a timer that is set never fails.
 */
GW_MUST_CHECK enum gw_status loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t at_us);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer); /* harmless when not set */
static inline bool loop_timer_is_set(const struct loop_timer *timer) { return timer->slot != 0; }

/* Calls free_fn(thing) at the end of this turn. Intrusive: thing starts with or contains `node`. */
struct loop_deferred {
    struct loop_deferred *next;
    void (*free_fn)(struct loop_deferred *node);
};
void loop_defer_free(struct loop *loop, struct loop_deferred *node);

#endif
