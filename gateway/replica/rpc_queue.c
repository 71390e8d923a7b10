/* rpc_queue: the thread that waits, the loop that looks, and the handing over between them. */
#include "replica/rpc_queue.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "replica/rpc_attend.h"

/* How long the thread rests on when nothing is expected. */
enum { REST_US = 20000 };

struct rpc_queue {
    struct loop *loop;
    grpc_completion_queue *grpc;
    struct loop_poller poller;
    struct loop_timer rest;   /* set while nothing is expected and the thread rests */
    struct rpc_attend attend; /* when to look */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool attended; /* written under the lock, by the loop's thread alone */
};

static void *queue_wait(void *owner);
static bool queue_look(struct loop_poller *poller);
static void queue_rested(struct loop_timer *timer);

struct rpc_queue *rpc_queue_new(struct loop *loop)
{
    struct rpc_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return NULL;
    queue->loop = loop;
    queue->grpc = grpc_completion_queue_create_for_next(NULL);
    queue->poller.poll = queue_look;
    queue->rest.fire = queue_rested;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, NULL);
    queue->started = pthread_create(&queue->thread, NULL, queue_wait, queue) == 0;
    if (!queue->started) {
        rpc_queue_stop(queue);
        rpc_queue_free(queue);
        return NULL;
    }
    pthread_setname_np(queue->thread, "xebec-rpc");
    loop_set_poller(loop, &queue->poller);
    return queue;
}

grpc_completion_queue *rpc_queue_grpc(struct rpc_queue *queue)
{
    return queue->grpc;
}

/* --- completions --- */

void rpc_queue_hand(struct completion *completion)
{
    atomic_store_explicit(&completion->handed, true, memory_order_release);
}

static void queue_took(struct rpc_queue *queue, grpc_event event)
{
    struct completion *completion = event.tag;
    (void)atomic_load_explicit(&completion->handed, memory_order_acquire);
    completion->at_us = loop_now_us();
    loop_post(queue->loop, &completion->task);
}

/* --- the thread --- */

static void queue_rest(struct rpc_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->attended)
        pthread_cond_wait(&queue->changed, &queue->lock);
    pthread_mutex_unlock(&queue->lock);
}

static void *queue_wait(void *owner)
{
    struct rpc_queue *queue = owner;
    for (;;) {
        queue_rest(queue);
        grpc_event event = grpc_completion_queue_next(queue->grpc, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        queue_took(queue, event);
    }
}

/* --- the loop --- */

static void queue_attend(struct rpc_queue *queue, bool attended)
{
    if (queue->attended == attended)
        return;
    pthread_mutex_lock(&queue->lock);
    queue->attended = attended;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

static void queue_rested(struct loop_timer *timer)
{
    struct rpc_queue *queue = container_of(timer, struct rpc_queue, rest);
    if (!queue->attend.expected)
        queue_attend(queue, false);
}

/* Nothing is expected: the thread rests on, for a while. */
static bool queue_idle(struct rpc_queue *queue)
{
    if (queue->attended && !loop_timer_is_set(&queue->rest) &&
        loop_timer_set(queue->loop, &queue->rest, loop_now_us() + REST_US) != GW_OK)
        queue_attend(queue, false);
    return false;
}

/* Once a turn: takes what has completed; true while it is worth looking again rather than sleeping. */
static bool queue_look(struct loop_poller *poller)
{
    struct rpc_queue *queue = container_of(poller, struct rpc_queue, poller);
    if (!queue->attend.expected)
        return queue_idle(queue);
    if (!rpc_attend_pays(&queue->attend, loop_now_us())) {
        queue_attend(queue, false);
        return false;
    }
    queue_attend(queue, true);
    bool any = false;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(queue->grpc, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type != GRPC_OP_COMPLETE)
            break;
        queue_took(queue, event);
        any = true;
    }
    if (!any)
        sched_yield();
    return true;
}

void rpc_queue_expect(struct rpc_queue *queue, uint64_t now_us, uint64_t usual_us)
{
    rpc_attend_expect(&queue->attend, now_us, usual_us);
}

void rpc_queue_ended(struct rpc_queue *queue)
{
    rpc_attend_ended(&queue->attend);
}

/* --- the end --- */

void rpc_queue_stop(struct rpc_queue *queue)
{
    loop_set_poller(queue->loop, NULL);
    loop_timer_cancel(queue->loop, &queue->rest);
    queue_attend(queue, false);
    grpc_completion_queue_shutdown(queue->grpc);
    if (queue->started)
        pthread_join(queue->thread, NULL);
}

void rpc_queue_free(struct rpc_queue *queue)
{
    if (!queue)
        return;
    grpc_completion_queue_destroy(queue->grpc);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}
