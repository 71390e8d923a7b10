/*
 * rollout_canary: the canary of one endpoint, as the gateway runs it: its state (judge/canary.h) bound to the configuration
 * that it goes by, fed with what the shards counted, shown in metrics and as JSON. On the main thread.
 */
#ifndef XEBEC_ROLLOUTS_ROLLOUT_CANARY_H
#define XEBEC_ROLLOUTS_ROLLOUT_CANARY_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "judge/canary.h"
#include "infer/plan.h"
#include "support/buf.h"
#include "support/metrics.h"

struct rollout_canary;

/*
 * For an endpoint of config that has a canary. text: a state that canary_write() wrote, to go on from; NULL, or of no use (of
 * another pair of versions): from the beginning. NULL: out of memory. Takes a reference to config.
 */
struct rollout_canary *rollout_canary_new(struct metrics *metrics, struct config *config,
                                          const struct config_endpoint *endpoint, const char *text) GW_MUST_CHECK;
void rollout_canary_free(struct rollout_canary *canary); /* NULL is harmless */

/* Whether a state is one of this endpoint's canary, that is of its pair of versions. */
bool rollout_canary_fits(const struct config_endpoint *endpoint, const char *text);
bool rollout_canary_is_of(const struct rollout_canary *canary, const struct config *config);
bool rollout_canary_is_over(const struct rollout_canary *canary);

/* canary_guard_meet(). plan: in force until now; with a canary for `endpoint`, which is one of its. */
void rollout_canary_meet(const struct rollout_canary *canary, struct canary_guard *guard, const struct plan *plan,
                         const struct config_endpoint *endpoint);

enum canary_duty {
    DUTY_GUARD, /* another gateway judges: only what this one saw itself and nobody can tolerate ends it */
    DUTY_HOLD,  /* it is judged, but takes no step */
    DUTY_JUDGE,
};
/*
 * Feeds it what `plan` counted by now. guard: this gateway's, of this endpoint; it outlives canaries. Returns true when phase, step
 * or weight changed.
 */
bool rollout_canary_judge(struct rollout_canary *canary, struct canary_guard *guard, const struct plan *plan,
                          enum canary_duty duty);

enum canary_order { ORDER_PROMOTE, ORDER_ROLLBACK, ORDER_PAUSE, ORDER_RESUME };
/* By a person. False: not in its phase. */
bool rollout_canary_order(struct rollout_canary *canary, enum canary_order order, const char *why);

void rollout_canary_weights(const struct rollout_canary *canary, double weights[BOOK_ARMS]);
const char *rollout_canary_phase(const struct rollout_canary *canary);
const char *rollout_canary_why(const struct rollout_canary *canary);
void rollout_canary_write_state(const struct rollout_canary *canary, struct buf *out); /* canary_write() */
void rollout_canary_write(const struct rollout_canary *canary, struct buf *out);       /* for operators */
/* "errors p=0.2 of 0.0125, latency p=...": the evidence, for a line of the log. */
void rollout_canary_evidence(const struct rollout_canary *canary, struct buf *out);
void rollout_canary_show(const struct rollout_canary *canary, const struct canary_guard *guard); /* in the metrics */

#endif
