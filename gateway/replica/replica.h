/*
 * replica: one replica of a pool: its connection, what it says it is, whether it is well. The pool's own; others
 * include replica/pool.h, where the states are drawn. Belongs to the pool's loop.
 *
 *   connected -> Describe -> agrees with the configuration -> READY -> Check, every health_interval
 *
 * One timer and one probe (a Describe or a Check) at a time. The timer is never off, only far away: so moving
 * it can't fail.
 */
#ifndef XEBEC_REPLICA_REPLICA_H
#define XEBEC_REPLICA_REPLICA_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "replica/pool.h"
#include "replica/shared_digest.h"
#include "replica/trust.h"
#include "support/log_quota.h"

struct replica;
struct probe;

/* What the replicas of one pool share. */
struct replica_home {
    struct loop *loop;
    struct rpc_client *client;
    const struct pool_version *version;
    struct metric *up;    /* METRIC_REPLICAS_UP */
    struct metric *ejections; /* METRIC_EJECTIONS */
    struct metric *states[REPLICA_STATE_COUNT]; /* METRIC_REPLICA_STATES */
    pthread_mutex_t lock; /* of the set of replicas, and of each one's state, why and digest; held only to change or copy them */
    void (*changed)(struct replica_home *home, const struct replica *replica); /* became ready, ceases to be, is down */
    _Atomic uint32_t n_ready; /* written by the loop, read by any thread */
    struct shared_digest digest; /* the one last described; written by the loop */
};

struct replica {
    struct replica_home *home;
    uint64_t id;                /* never given again */
    struct rpc_channel *channel;
    enum replica_state state;   /* of the connection: never REPLICA_DRAINING, _EJECTED or _ON_TRIAL */

    /* members.c's: why it is here */
    uint64_t sources[POOL_ADDRESSES_MAX / 64]; /* a bit for each configured address that leads to it */
    const char *source;         /* one of them, or the last one */
    bool draining;              /* none is left; changed by replica_drain() alone */

    /* of the present connection */
    uint32_t connection;        /* its number */
    uint32_t spells;            /* how often it became READY: who failed a call may have it again in the next */
    uint32_t parted;            /* the last spell that ended in words (not serving), or whose lost calls were counted */
    uint32_t max_rows;          /* 0: no bound */
    uint64_t digest_hash[2];
    bool described;             /* since it connected: it is what the configuration says */
    uint32_t describe_failures; /* in a row */
    uint32_t breaches;          /* replies in a row that broke the contract */
    uint64_t shunned_until_us;  /* healthy or not */
    struct probe *probe;        /* in flight */
    struct loop_timer timer;    /* the next probe */

    /* load: written by the loop, read by pool_status() */
    _Atomic uint32_t in_flight;
    _Atomic uint64_t calls, failures;
    uint64_t rows_in_flight;
    struct busy busy;           /* the pool's */
    struct trust trust;         /* changed by replica_trust() alone, but for its counts */

    char why[sizeof((struct replica_status *)0)->why];
    char digest[sizeof((struct replica_status *)0)->digest];

    /* what the log was told */
    enum { SAID_NOTHING, SAID_UP, SAID_DOWN, SAID_REFUSED, SAID_EJECTED } said;
    struct log_quota quota;

    char address[];
};

/* Starts connecting. Copies the address. source: the configured address that leads to it. NULL: out of memory. */
struct replica *replica_new(struct replica_home *home, const char *address, const char *source, uint64_t id) GW_MUST_CHECK;
/*
 * Not from within a callback of its own. Calls in flight are cancelled; their callbacks still run, and must not look at
 * the replica.
 */
void replica_free(struct replica *replica);

/* Whether it may get calls. */
bool replica_is_ready(const struct replica *replica);
/* Gives it this standing, if it has another. why: for a person; NULL keeps the words that are there. */
void replica_trust(struct replica *replica, enum trust_state state, const char *why);
/* Its address has left, or is there again. */
void replica_drain(struct replica *replica, bool draining);

/* A call of so many rows goes to the replica; comes back. */
void replica_sent(struct replica *replica, uint32_t rows);
/* connection: replica->connection when it was sent. words: about the status, when it is an error. */
void replica_answered(struct replica *replica, uint32_t rows, uint32_t connection, enum gw_status status,
                      const char *words);

void replica_picture(const struct replica *replica, struct replica_status *out); /* any thread, under home->lock */

#endif
