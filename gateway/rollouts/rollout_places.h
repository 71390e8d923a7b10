/*
 * rollout_places: what is known of each endpoint: its record, its canary, its guard. The rollouts' own; on the main thread.
 */
#ifndef XEBEC_ROLLOUTS_ROLLOUT_PLACES_H
#define XEBEC_ROLLOUTS_ROLLOUT_PLACES_H

#include "judge/canary_guard.h"
#include "rollouts/rollout.h"
#include "rollouts/rollout_canary.h"
#include "rollouts/rollout_share.h"
#include "rollouts/rollouts.h"

/* One endpoint's. Stays for as long as the process, should the endpoint leave the file and come back. */
struct rollout_place {
    struct rollout_place *next;
    struct rollout *rollout;       /* NULL: never changed */
    struct rollout_canary *canary; /* NULL: none, or not needed yet */
    struct canary_guard guard;     /* of all canaries that it had */
    bool counted;                  /* it was in force once: when the file objects, it is dropped */
    bool shared;                   /* Redis has it */
    char name[];
};

struct rollouts {
    struct loop *loop;
    struct metrics *metrics;
    struct gateway *gateway; /* NULL: not started */
    struct config *config;   /* one reference: the one that it began with, for what cannot change */
    struct rollout_place *places;
    struct rollout_share *share; /* NULL: no Redis */
    struct loop_timer poll;
    uint32_t polls;
    bool unkept; /* the file does not have all of it */
    char id[ROLLOUT_GATEWAY_ROOM];
};

/* NULL: nothing was ever changed, nor is there a canary. */
struct rollout_place *rollout_place_find(const struct rollouts *rollouts, const char *name);
struct rollout_place *rollout_place_get(struct rollouts *rollouts, const char *name) GW_MUST_CHECK; /* NULL: out of memory */
void rollout_places_free(struct rollouts *rollouts);

/* Its record, if it counts for the endpoint as the file has it; else NULL. place: may be NULL. */
const struct rollout *rollout_place_record(const struct rollout_place *place, const struct config_endpoint *endpoint);

/* Another canary than it had, taken over, or the same once more: before its weights are in force. */
void rollout_place_take_canary(const struct rollouts *rollouts, struct rollout_place *place, struct rollout_canary *canary);
/*
 * Its canary by this configuration: as it stood by another, or as the record says, or from its beginning.
 * False: out of memory; it is as it was.
 */
GW_MUST_CHECK bool rollout_place_bind_canary(const struct rollouts *rollouts, struct rollout_place *place,
                                             struct config *config, const struct config_endpoint *endpoint);
void rollout_place_forget_canary(struct rollout_place *place);

/* Of the configuration in force. NULL: there is none. */
const struct config_endpoint *rollouts_endpoint(const struct rollouts *rollouts, const char *name);
/* The same for who asked by this name: GW_E_NOT_FOUND, in words. */
GW_MUST_CHECK enum gw_status rollouts_find(const struct rollouts *rollouts, const char *name,
                                           const struct config_endpoint **endpoint, struct gw_err *err);

#endif
