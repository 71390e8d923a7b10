/*
 * rollouts: what is changed at run time about how endpoints share out their requests: by a person (the admin listener,
 * `xebec rollout`), by another gateway (Redis), by the judge of a canary. Every change is a record (rollout.h), comes into force
 * in all shards before the answer, is one line of the log (rollout_changed: who, when, before, after), and survives a restart:
 *
 *     a change --> the plan (gateway_retune()) --> state_dir (rollout_file.h) --> Redis (rollout_share.h) --> other gateways
 *
 * Precedence: what was set stays until the file's weights of that endpoint change, while the gateway runs or while it does
 * not; then the file wins (rollout_dropped). A disk that is full or a Redis that is gone holds up no change: it is
 * in force, the answer says that it is not `kept` or not `shared`, and it is tried again every second.
 *
 * Canaries are judged here, four times a second. Of several gateways with one Redis one judges, whoever has the lease, by its
 * own traffic: its evidence alone decides, so the chance of a false alarm is alpha whatever the number of gateways, and when
 * another takes over it goes on from the evidence that the record has. What needs no statistics is everybody's: whichever gateway
 * sees more crashes, broken contracts or NaN than are tolerated rolls back (judge/canary_guard.h), and again, should a record
 * that the judge wrote at the same moment have won. (Were each to judge for itself and the first alarm to
 * win, that chance would grow with every gateway. The sum of all counts would see more, but a gateway that restarts takes its
 * counts along.) Without Redis the last to judge goes on guarding: it may roll back, but takes no step.
 *
 * On the main thread, like gateway_retune(). Saving blocks it for as long as the disk takes; no request is answered there.
 */
#ifndef XEBEC_ROLLOUTS_ROLLOUTS_H
#define XEBEC_ROLLOUTS_ROLLOUTS_H

#include "config/config.h"
#include "config/document.h"
#include "shard.h"
#include "support/buf.h"
#include "support/loop.h"
#include "support/metrics.h"

struct rollouts; /* one a gateway */

/* Before the gateway: reads what is kept in config->state_dir. NULL, with err, when there is no memory or no such folder. */
struct rollouts *rollouts_new(struct loop *loop, struct metrics *metrics, const struct config *config,
                              struct gw_err *err) GW_MUST_CHECK;
/* For gateway_start(): sets in every plan what was changed. */
struct gateway_tuner rollouts_tuner(struct rollouts *rollouts);
/* Begins to watch over the gateway: what follows is for a gateway that is there. False: out of memory. */
bool rollouts_start(struct rollouts *rollouts, struct gateway *gateway) GW_MUST_CHECK;
void rollouts_stop(struct rollouts *rollouts); /* nothing changes by itself any more. Before the gateway drains */
void rollouts_free(struct rollouts *rollouts); /* after the gateway. NULL is harmless */

/* A change that a person asks for: rollout_asks. */
struct rollout_ask {
    const char *endpoint, *who, *why;  /* who: where it came from, and a name if one was given */
    const struct node *weights;        /* rollouts_set(): a map from arms to numbers; arms that it does not name keep theirs */
};
/*
 * Returns GW_OK: in force. GW_E_NOT_FOUND: no such endpoint; GW_E_INVALID: not so, in words; GW_E_NO_MEMORY; GW_E_DRAINING:
 * nothing was changed.
 */
typedef enum gw_status rollout_action(struct rollouts *rollouts, const struct rollout_ask *ask, struct gw_err *err);
GW_MUST_CHECK rollout_action rollouts_set;
GW_MUST_CHECK rollout_action rollouts_reset; /* by the file again; a canary: from its beginning */
GW_MUST_CHECK rollout_action rollouts_promote, rollouts_rollback, rollouts_pause, rollouts_resume; /* a canary */

/* Where an endpoint stands, as JSON: of all of them, or of one: rollout_view. GW_E_NOT_FOUND. */
void rollouts_write_all(const struct rollouts *rollouts, struct buf *out);
GW_MUST_CHECK enum gw_status rollouts_write_one(const struct rollouts *rollouts, const char *endpoint, struct buf *out,
                                                struct gw_err *err);

#endif
