/*
 * attempts: the pool's side of its calls: each is sent to a replica, perhaps to another one when that fails it, perhaps to a
 * second one as well when the first is late, and done once. The pool's own. Belongs to the pool's loop.
 *
 *   attempts_begin() -> SENT -> judged -> done()
 *                        ^        |
 *                        |        v  could not be reached, or shed; attempts, budget and deadline allow
 *                        '---- WAITING  (while every replica that could take it is busy; or, if the call waits
 *                                        for that, until one is ready)
 *
 *   hedged:  first copy  SENT ---------- late ------------------ answers? whichever does first ends the call; the other
 *            second copy                   '- SENT, elsewhere -- answers?   copy is recalled, and nobody looks at its end
 *            A copy that is lost, shed, or no answer for another reason leaves the call to the other one.
 *
 * A copy that is recalled frees its slot at once, but goes on keeping its replica busy: models can't be interrupted.
 * One timer looks after all calls: a call that comes back in time costs no setting of a clock.
 */
#ifndef XEBEC_REPLICA_ATTEMPTS_H
#define XEBEC_REPLICA_ATTEMPTS_H

#include "replica/budget.h"
#include "replica/choice.h"
#include "replica/lateness.h"

enum hedge_outcome { HEDGE_WON, HEDGE_LOST, HEDGE_FAILED, HEDGE_OUTCOME_COUNT };

struct attempts {
    struct replica_home *home;
    const struct members *members;
    struct metrics *metrics;
    uint32_t turn;             /* where the choice starts, so that ties rotate */
    struct budget retries, hedges;
    struct lateness lateness;  /* of first copies */
    struct loop_timer watch;   /* when the first of the calls is late; never off, only far away */
    struct pool_attempt *all;  /* one for each call */
    uint32_t n_waiting;
    struct metric *rpcs[GW_STATUS_COUNT]; /* NULL: an outcome that does not happen here */
    struct metric *retried, *hedged[HEDGE_OUTCOME_COUNT];
    struct histogram *rpc_seconds;
    _Atomic uint64_t crashes;  /* written by the loop, read by any thread */
};

/* name: "digits@forest". GW_E_NO_MEMORY; attempts_clear() is owed either way. */
GW_MUST_CHECK enum gw_status attempts_init(struct attempts *attempts, struct replica_home *home,
                                           const struct members *members, struct metrics *metrics, const char *name);
/* Calls end with GW_E_CANCELLED before this returns. What is in flight is not looked at any more: the replicas may go then. */
void attempts_end(struct attempts *attempts);
void attempts_clear(struct attempts *attempts);

GW_MUST_CHECK enum gw_status attempts_begin(struct attempts *attempts, struct pool_call *call); /* as pool_predict() */
void attempts_cancel(struct attempts *attempts, struct pool_call *call);                        /* as pool_cancel() */
bool attempts_is_waiting(const struct pool_call *call); /* it is at no replica */
/* Something changed: calls that wait are sent if they can be, and end when no replica is left to wait for. */
void attempts_serve(struct attempts *attempts);

#endif
