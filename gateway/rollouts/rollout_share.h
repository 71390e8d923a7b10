/*
 * rollout_share: run-time changes of several gateways, in one Redis. On the main loop, over one connection of its own.
 *
 *     PREFIX:rollouts:1:ENDPOINT    rollout_write_ordered(): texts compare as records do (rollout_is_later())
 *     PREFIX:judge:1                the gateway that judges canaries, for LEASE_US at a time
 *
 * A record is stored by compare-and-set, in one script: it replaces an earlier one only, and who comes too late is told the later
 * one. So all gateways end with the same record of an endpoint, in whatever order they talk to Redis. Each asks for all
 * records once a second.
 *
 * Redis gone: nothing waits for it. Changes are in force where they were made; when it is back each gateway
 * tells what it has, and the later record wins.
 */
#ifndef XEBEC_ROLLOUTS_ROLLOUT_SHARE_H
#define XEBEC_ROLLOUTS_ROLLOUT_SHARE_H

#include "config/config.h"
#include "rollouts/rollout.h"
#include "support/loop.h"
#include "support/metrics.h"
#include "support/resolve.h"

struct rollout_share;

struct rollout_share_setup {
    struct loop *loop;
    struct resolver *resolver;   /* outlives it */
    struct metrics *metrics;
    const struct config *config; /* its cache.redis; a reference is taken */
    const char *gateway;         /* ours, borrowed */
    /* What Redis has of an endpoint by now, perhaps what was told just before; NULL: nothing. Not from inside a call. */
    void (*heard)(void *owner, const char *endpoint, struct rollout *record); /* taken over */
    void *owner;
};
struct rollout_share *rollout_share_new(const struct rollout_share_setup *setup) GW_MUST_CHECK; /* NULL: out of memory */
void rollout_share_free(struct rollout_share *share); /* NULL is harmless */

bool rollout_share_is_up(const struct rollout_share *share);
/* Nothing is owed: heard() runs if it goes well. One question at a time; others are not asked. */
void rollout_share_ask(struct rollout_share *share, const struct config *config);
void rollout_share_tell(struct rollout_share *share, const struct rollout *record);
/* Asks for the lease, or for more of it. */
void rollout_share_lease(struct rollout_share *share);
/* Whether we may judge: the lease is ours for a moment more; or nobody could be asked, and it was ours last. */
bool rollout_share_judges(const struct rollout_share *share);

#endif
