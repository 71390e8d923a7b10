/*
 * members: the set of replicas of one pool, which changes while calls are in flight: who is in it and for which of the
 * configured addresses, who leaves, and who has left. The pool's own. Belongs to the pool's loop.
 *
 *   a fixed address, or one that a name has        no address of the configuration leads to it any more
 *            |                                                    |
 *            v                                                    v
 *         MEMBER  ------------------------------------------>  DRAINING  -- no call in flight --> closed, freed
 *            ^                                                    |
 *            '------- the address is there again -----------------'
 *
 * What an answer does to the replicas of a name:
 *   addresses     those it lacks become members, those it no longer has lose the name as a reason to stay
 *   no such name  those that are not ready lose it; who still answers health checks stays: DNS may be broken
 *   no answer     nothing
 * An address that two names have is one replica. Of a name with IPv4 addresses, IPv6 ones are left out: a container with
 * both would count twice.
 */
#ifndef XEBEC_REPLICA_MEMBERS_H
#define XEBEC_REPLICA_MEMBERS_H

#include "replica/discovery.h"
#include "replica/replica.h"

struct source;

struct members {
    struct replica_home *home;
    struct metrics *metrics;
    struct replica *all[POOL_REPLICAS_MAX]; /* written under home->lock */
    uint32_t n, n_draining;
    uint64_t next_id;
    struct source *sources; /* by the index of pool_version.addresses */
    struct discovery *discovery; /* NULL: every address is fixed */
    struct loop_timer burial; /* closes those that have left; never off, only far away */
    struct metric *configured, *left_out, *lookups[DISCOVERY_OUTCOME_COUNT];
    struct log_quota quota;
};

/* Opens a replica for each fixed address, and asks for the names. GW_E_NO_MEMORY; members_clear() is owed either way. */
GW_MUST_CHECK enum gw_status members_init(struct members *members, struct replica_home *home, struct metrics *metrics);
/* Not from within a callback. Calls in flight are cancelled; their callbacks must not look at replicas. */
void members_clear(struct members *members);

/* A replica's state changed, or a call of its came back: NULL: of any. Hurries discovery, buries who has left. */
void members_changed(struct members *members, const struct replica *replica);

/* Any thread. */
uint32_t members_status(const struct members *members, struct replica_status *out, uint32_t room);
uint32_t members_names(const struct members *members, struct discovery_status *out, uint32_t room);

#endif
