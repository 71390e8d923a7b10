/*
 * rollout_change: the way of a change: a decision -> a record -> into force, into the log -> to the disk, to Redis. The rollouts' own;
 * on the main thread.
 *
 *     rollout_asks     people decide   --.
 *     rollout_judging  canaries decide --+-> rollouts_change() --.
 *     rollouts         other gateways decided -------------------+-> rollouts_apply() -> rollouts_keep(), rollouts_tell()
 */
#ifndef XEBEC_ROLLOUTS_ROLLOUT_CHANGE_H
#define XEBEC_ROLLOUTS_ROLLOUT_CHANGE_H

#include "rollouts/rollout_places.h"

/* Somebody decided something. */
struct rollout_decision {
    const char *action, *who, *why;
    const double *weights; /* NULL: by the file again */
    bool by_judge;         /* of a canary: it gives way to a person's that it has not heard of */
};

/* Returns GW_OK, GW_E_NO_MEMORY, GW_E_DRAINING; on an error nothing was changed, as for all of them. */
GW_MUST_CHECK enum gw_status rollouts_change(struct rollouts *rollouts, const struct config_endpoint *endpoint,
                                             const struct rollout_decision *decision, struct gw_err *err);
/* From the canary's state, which was moved, to the plan. What cannot be applied is forgotten: it stands as the record says. */
GW_MUST_CHECK enum gw_status rollouts_change_canary(struct rollouts *rollouts, struct rollout_place *place,
                                                    const struct config_endpoint *endpoint, struct rollout_decision *decision,
                                                    struct gw_err *err);
/* A record that is made already, taken over. */
GW_MUST_CHECK enum gw_status rollouts_apply(struct rollouts *rollouts, struct rollout_place *place, struct rollout *rollout,
                                            const char *action, struct gw_err *err);
/* A decision as a record, with the canary's state. NULL: out of memory. */
struct rollout *rollouts_draft(struct rollouts *rollouts, const struct rollout_place *place,
                               const struct config_endpoint *endpoint, const struct rollout_decision *decision) GW_MUST_CHECK;

/* At the start. A file of no use is set aside, and no error; GW_E_INTERNAL, GW_E_NO_MEMORY: no start. */
GW_MUST_CHECK enum gw_status rollouts_load(struct rollouts *rollouts, struct gw_err *err);
void rollouts_keep(struct rollouts *rollouts);                              /* what cannot be kept now is tried again; said once */
void rollouts_tell(struct rollouts *rollouts, struct rollout_place *place); /* what Redis does not have, if it is there */

#endif
