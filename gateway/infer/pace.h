/*
 * pace: every decision about the batches of one model version, put together: who is let in (admission, shares), when a
 * batch goes and how many rows it has (batch_policy, batch), and what is learned when it is back (latency).
 * Pure: no sockets, no timers, no clock. version.c drives it with gRPC calls and real time, tests/bench/batch_sim with
 * simulated ones.
 *
 *   pace_arrive()  -> queue ->  pace_next()  -> batch_take() ... pace_learn()
 *        '-> refused, or others give way            '-> wait until then
 */
#ifndef XEBEC_INFER_PACE_H
#define XEBEC_INFER_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "infer/batch.h"
#include "infer/batch_policy.h"
#include "replica/busy.h"

enum { PACE_YIELDING_MAX = 16 };

struct pace {
    struct batch_queue *queue;
    struct batch_policy policy;
    uint32_t max_queued_rows; /* the queue's */
    bool admits;      /* by deadline: whether rows that would be late are refused */
    double caution;   /* how much of the calls' tail admission allows for: more when rows it let in were late */
    uint64_t call_us; /* what a call takes from sending to reply, smoothed; 0 until one came back */
};

/*
 * slo_us: the smallest of those who use the version; 0: nobody does. max_bytes: batch_limits.max_bytes. GW_E_NO_MEMORY; then
 * there is nothing to clear.
 */
GW_MUST_CHECK enum gw_status pace_init(struct pace *pace, const struct config_batching *batching, uint64_t slo_us,
                                       size_t max_bytes);
void pace_clear(struct pace *pace); /* the queue must be empty; harmless when zeroed */

/* Why rows were refused: they, or who waits already, would be late; there is no room; they waited, and gave way to others. */
enum pace_refusal { PACE_LATE, PACE_FULL, PACE_YIELDED, PACE_REFUSAL_COUNT };

const char *pace_refusal_name(enum pace_refusal refusal);

struct pace_verdict {
    enum pace_refusal refusal; /* of the entry: PACE_LATE or PACE_FULL */
    uint64_t retry_us; /* refused: when there will be room again, from now; 0: nobody knows */
    struct batch_entry *yielding[PACE_YIELDING_MAX]; /* who gave way: no longer queued; the caller ends them with GW_E_OVERLOAD */
    uint32_t n_yielding;
};
/*
 * Queues the entry, as batch_add(). GW_E_OVERLOAD: the queue is full, or rows would be late, and nobody gives way.
 * A full queue takes nobody for whom nobody gives way. One with room takes all while too little is known of the model to tell,
 * and when a replica would else be idle: so a model that has become fast again is found out.
 */
GW_MUST_CHECK enum gw_status pace_arrive(struct pace *pace, struct batch_entry *entry,
                                         const struct busy_outlook *replicas, uint64_t now_us,
                                         struct pace_verdict *verdict);

/*
 * Whether the next call is to go to a replica that has none at all. The second call to a busy replica keeps it busy
 * while the first one's reply travels; to a replica as quick as the travelling it would only make two small calls of
 * one. Who configures more than two says that the replica works on several at once.
 */
bool pace_needs_idle(const struct pace *pace);
/*
 * A call could be sent, if that is worth it: true, with the rows it may have in *limit, and why. False: not before *wake_us
 * (UINT64_MAX: until something changes).
 */
bool pace_next(const struct pace *pace, const struct busy_outlook *replicas, uint64_t now_us, uint32_t *limit,
               enum batch_reason *reason, uint64_t *wake_us);
/* Rows that a batch cut from `queue` now may have: the pace's own, or another that the version has. */
uint32_t pace_limit(const struct pace *pace, const struct batch_queue *queue, const struct busy_outlook *replicas,
                    uint64_t now_us);
/* What a call of so many rows is expected to take, so that it is known when the replica will be free; 0 when unknown. */
uint64_t pace_expected_us(const struct pace *pace, uint32_t rows);
/*
 * Whether rows of the entry, answered now at their version, are too late for their deadline when they are at their client's, though
 * it was foreseen that they would not be. Those that were let in without being judged teach nothing about judging.
 */
bool pace_is_misjudged(const struct pace *pace, const struct batch_entry *entry, uint64_t now_us);
/* A call came back well, with so many rows misjudged. */
void pace_learn(struct pace *pace, const struct batch_observation *observed, uint32_t misjudged_rows);

#endif
