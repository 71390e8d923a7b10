/*
 * batch: the queue of one model version, and the cutting of batches from it.
 * Pure: no sockets, no timers, no clock. The owner (version.c) passes the time in, asks what to do, sends what
 * batch_take() hands it, and sleeps until batch_decide() says. Belongs to the version's home shard.
 *
 * What waits is jobs: the rows of one request for this version. A job may be spread over several batches, and
 * a batch holds rows of several jobs. Only jobs of one kind (equal input names, datatypes, trailing shapes,
 * wanted outputs, parameters) share a batch. Each kind is a lane, at each priority; a lane is a heap by deadline. Of the
 * highest priority that has any, the lane whose first job is due earliest is served first; what room is left in
 * the batch goes to the same kind at lower priorities. No padding.
 *
 * Nothing costs more than O(log n), however many kinds there are:
 *
 *   by_kind  -> lane, lane, lane ...           a hash table: where a new job belongs
 *   by_due   -> lanes, a heap by their first job, for each priority: what expires next, what is served next
 *   lane     -> its jobs, a heap by (deadline, arrival)
 *   oldest   -> job -> job -> ... -> newest    all jobs in the order they came: who has waited longest
 *   backlog, shares                            rows by deadline (admission.h), and by endpoint (fair_shares.h)
 */
#ifndef XEBEC_INFER_BATCH_H
#define XEBEC_INFER_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "infer/admission.h"
#include "infer/fair_shares.h"
#include "support/err.h"

struct batch_lane;

/* The queue's view of a job; embedded in infer/job.h's struct job. */
struct batch_entry {
    uint64_t kind[2];      /* set by the owner: equal kinds may share a batch. A keyed hash: nobody can aim at it */
    uint64_t deadline_us;  /* set by the owner: CLOCK_MONOTONIC. Not changed while queued */
    uint32_t n_rows;       /* set by the owner: > 0 */
    size_t row_bytes;      /* set by the owner: of the largest row; 0: not counted */
    enum priority priority; /* set by the owner */
    uint32_t endpoint;     /* set by the owner: whose share it is of; small numbers */
    uint32_t weight;       /* set by the owner: of that share, against other endpoints' */
    bool is_foreseen;      /* the pace's: it was let in because it should be in time, not for want of knowing */
    uint64_t queued_us;    /* batch_add()'s now */
    uint32_t taken;        /* rows handed out so far: the next is this one */
    struct batch_lane *lane;             /* the queue's; NULL while not queued */
    uint32_t place;                      /* the queue's */
    uint32_t slot;                       /* the queue's: in its backlog */
    struct batch_entry *older, *newer;   /* the queue's */
    struct batch_entry *share_older, *share_newer; /* the queue's */
};

struct batch_limits {
    uint32_t max_queued_rows; /* beyond this, batch_add() refuses; a job larger than all of it is let in when the queue is empty */
    uint64_t max_delay_us;    /* how long a row may wait for company while a replica is idle */
    uint32_t wait_rows;       /* do not wait once so many rows are there; 0: never wait */
    uint64_t horizon_us;      /* deadlines further ahead are not told apart by admission */
    size_t max_bytes;         /* of a batch's rows, unless one row alone is larger; 0: any */
};

enum batch_reason { BATCH_FULL, BATCH_IDLE, BATCH_DELAY, BATCH_DEADLINE, BATCH_REASON_COUNT };
const char *batch_reason_name(enum batch_reason reason); /* full, idle, delay, deadline */

struct batch_queue;
struct batch_queue *batch_queue_new(const struct batch_limits *limits) GW_MUST_CHECK; /* copies limits */
void batch_queue_free(struct batch_queue *queue); /* must be empty; NULL is harmless */

/*
 * GW_OK; GW_E_OVERLOAD: the queue is full; GW_E_NO_MEMORY. On error not queued. The queue borrows the entry.
 * now_us must not be less than an earlier call's.
 */
GW_MUST_CHECK enum gw_status batch_add(struct batch_queue *queue, struct batch_entry *entry, uint64_t now_us);
/* Takes out what is left of the entry; harmless when it is not queued. */
void batch_remove(struct batch_queue *queue, struct batch_entry *entry);
/* Takes out and returns an entry whose deadline has passed, the earliest first; NULL when there is none. */
struct batch_entry *batch_expired(struct batch_queue *queue, uint64_t now_us);
/* The entry that has waited longest, where it is; entry->newer leads on. NULL when empty. */
struct batch_entry *batch_oldest(const struct batch_queue *queue);
/* Takes out and returns any entry; NULL when empty: to fail them all. */
struct batch_entry *batch_any(struct batch_queue *queue);

uint32_t batch_queued_rows(const struct batch_queue *queue);
uint64_t batch_next_deadline(const struct batch_queue *queue); /* UINT64_MAX when empty */
uint64_t batch_oldest_us(const struct batch_queue *queue); /* since when the oldest job waits; UINT64_MAX when empty */
/* Lanes of this priority and higher: kinds that wait, at each of them. */
uint32_t batch_kinds(const struct batch_queue *queue, enum priority priority);
const struct backlog *batch_backlog(const struct batch_queue *queue);
const struct fair_shares *batch_shares(const struct batch_queue *queue);

/*
 * A batch may have up to `limit` rows (> 0): send now, or wait for company?
 * Asked of the kind that batch_take() would serve; the first of these that holds:
 *   BATCH_FULL      limit rows are there
 *   (wait)          hold_until_us has not come: waiting pays, but for BATCH_DEADLINE, which comes first then
 *   BATCH_IDLE      max_delay_us or wait_rows is 0, or wait_rows are there: an idle replica is reason enough
 *   BATCH_DELAY     the oldest job, of any kind, has waited max_delay_us
 *   BATCH_DEADLINE  waiting longer would cost the earliest job its deadline: now + call_us >= deadline
 * True: send, *reason says why. False: nothing, until *wake_us (UINT64_MAX: until a batch_add()).
 * call_us: what a call is expected to take; 0 when unknown.
 */
bool batch_decide(const struct batch_queue *queue, uint32_t limit, uint64_t call_us, uint64_t hold_until_us,
                  uint64_t now_us, enum batch_reason *reason, uint64_t *wake_us);

/* Rows [first, first + count) of an entry. An entry all of whose rows are handed out is no longer queued. */
struct batch_piece {
    struct batch_entry *entry;
    uint32_t first, count;
};
/*
 * Cuts up to `limit` rows of one kind, highest priority and then earliest deadline first, into up to `room` pieces, and within
 * max_bytes; but one row whatever its size. Returns the number of pieces.
 */
uint32_t batch_take(struct batch_queue *queue, uint32_t limit, struct batch_piece *pieces, uint32_t room,
                    uint32_t *rows);

#endif
