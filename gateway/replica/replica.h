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

struct replica;
struct probe;

/* What the replicas of one pool share. */
struct replica_home {
    struct loop *loop;
    struct rpc_client *client;
    const struct pool_version *version;
    struct metric *up;    /* METRIC_REPLICAS_UP */
    pthread_mutex_t lock; /* of every replica's state, why and digest; held only to change or copy them */
    void (*changed)(struct replica_home *home); /* a replica became ready, or ceases to be */

    /* The digest last described: written by the loop, read by any thread; a torn read sees `turn` move. */
    _Atomic uint32_t digest_turn; /* odd while being written; 0: there is none */
    _Atomic uint64_t digest[2];
};

struct replica {
    struct replica_home *home;
    const char *address; /* borrowed */
    struct rpc_channel *channel;
    enum replica_state state;

    /* of the present connection */
    uint32_t connection;        /* its number */
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

    char why[sizeof((struct replica_status *)0)->why];
    char digest[sizeof((struct replica_status *)0)->digest];

    /* what the log was told */
    enum { SAID_NOTHING, SAID_UP, SAID_DOWN, SAID_REFUSED } said;
    uint32_t unsaid;            /* changes left out since the last line, because there were too many */
    uint32_t lines_left;
    uint64_t lines_us;          /* when lines_left was last topped up */
};

/* Starts connecting. GW_E_NO_MEMORY; then there is nothing to close. Zeroed before. */
GW_MUST_CHECK enum gw_status replica_open(struct replica *replica, struct replica_home *home, const char *address);
/* Calls in flight are cancelled; their callbacks still run, and must not look at the replica. */
void replica_close(struct replica *replica);

/* A call of so many rows goes to the replica; comes back. */
void replica_sent(struct replica *replica, uint32_t rows);
/* connection: replica->connection when it was sent. words: about the status, when it is an error. */
void replica_answered(struct replica *replica, uint32_t rows, uint32_t connection, enum gw_status status,
                      const char *words);

void replica_picture(const struct replica *replica, struct replica_status *out); /* any thread */
bool replica_home_digest(const struct replica_home *home, uint64_t digest[2]);   /* any thread */

#endif
