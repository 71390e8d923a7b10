/*
 * rpc_queue: the completion queue of a client over gRPC core, and who waits on it. Internal to rpc_core.c.
 *
 * gRPC core has no descriptor to poll: somebody must wait inside grpc_completion_queue_next().
 *
 *   rests      a thread of ours waits there, and posts what completes to the loop. A reply costs two wake-ups:
 *              the thread's and the loop's.
 *   attended   replies are expected within microseconds: the thread rests, and the loop looks into the queue itself, at
 *              every turn, instead of sleeping. A reply costs no wake-up; the price is a busy core meanwhile, so it lasts
 *              only as long as an expected reply is not overdue, and others that want the core are let first.
 *
 * When the loop has nothing to expect any more it sleeps as ever, and the thread goes on resting for a moment: the next
 * call is likely to be like the last one. Then the thread takes over again, for connections change without calls, too.
 */
#ifndef XEBEC_REPLICA_RPC_QUEUE_H
#define XEBEC_REPLICA_RPC_QUEUE_H

#include <grpc/grpc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "support/loop.h"

struct rpc_queue;

/* Something that gRPC will complete: its tag. task.run runs on the loop. */
struct completion {
    struct loop_task task;
    uint64_t at_us; /* when it completed, CLOCK_MONOTONIC */
    /* released before gRPC gets it, acquired by who takes it out: the order that gRPC gives, in C's terms */
    _Atomic bool handed;
};

/* NULL: out of memory or threads. The loop must outlive it. */
struct rpc_queue *rpc_queue_new(struct loop *loop) GW_MUST_CHECK;
/* Shuts the queue down and takes out what still completes; no tag may be given to gRPC after it. */
void rpc_queue_stop(struct rpc_queue *queue);
void rpc_queue_free(struct rpc_queue *queue); /* stopped, or NULL */

grpc_completion_queue *rpc_queue_grpc(struct rpc_queue *queue);

/* Just before gRPC gets the tag. */
void rpc_queue_hand(struct completion *completion);

/*
 * On the loop: a call was sent, and its reply is expected usual_us from now (0: nobody knows). Every call is told once it
 * ended, whatever its end.
 */
void rpc_queue_expect(struct rpc_queue *queue, uint64_t now_us, uint64_t usual_us);
void rpc_queue_ended(struct rpc_queue *queue);

#endif
