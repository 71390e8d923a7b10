/*
 * pool: the replicas of one model version: which are up, which will be done first, and one Predict call to that, sent
 * again elsewhere when a replica dies under it. Which replicas there are changes while calls are in flight: names are asked
 * for again and again (discovery.h), who comes and leaves is drawn in members.h. Belongs to its home shard's thread, but for
 * what says "any thread".
 *
 *   replica states:
 *     CONNECTING -> DESCRIBING -> READY <-> UNHEALTHY   (READY only after a health check; UNHEALTHY if it fails)
 *       ^    |         | |          ^
 *       |    v         | v          |      from each of them to DOWN: the connection was lost; the channel
 *       '- DOWN ->-----' REFUSED ---'      reconnects by itself
 *   DESCRIBING: connected, asked what it is, then whether it serves; asked again while it does not answer.
 *   REFUSED: what it says contradicts the configuration; asked again every 10 s, and when it reconnects.
 *   UNHEALTHY: the health check says NOT_SERVING, or fails or stalls; or a call came back as "unavailable", then it
 *   is checked at once; or three replies in a row broke the contract, then it is left alone for 10 s at least.
 *   EJECTED: ready, but three of its calls in a row were given up as late while the others answered: it gets none, until it has
 *   rested and a health check is well. ON_TRIAL: then one call at a time, until three were answered (trust.h). At most half of
 *   the replicas are ejected at once, and never the last that is ready. Shown instead of READY.
 *   DRAINING: its address has left. No new calls; those in flight finish, then it is closed. Whatever its connection does
 *   meanwhile; it is shown instead of the states above, and they go on below it, so that a replica whose address
 *   comes back is at once what it was.
 */
#ifndef XEBEC_REPLICA_POOL_H
#define XEBEC_REPLICA_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "replica/busy.h"
#include "replica/rpc.h"
#include "replica/worker_codec.h"
#include "support/loop.h"
#include "support/metrics.h"
#include "support/resolve.h"

enum { POOL_REPLICAS_MAX = 256, POOL_ADDRESSES_MAX = 256, REPLICA_ADDRESS_BYTES = 280 };

enum replica_state {
    REPLICA_CONNECTING, REPLICA_DESCRIBING, REPLICA_READY, REPLICA_UNHEALTHY, REPLICA_REFUSED, REPLICA_DOWN,
    REPLICA_DRAINING, REPLICA_EJECTED, REPLICA_ON_TRIAL, REPLICA_STATE_COUNT
};
const char *replica_state_name(enum replica_state state); /* "ready" */

struct pool_limits {
    uint32_t calls_per_replica;   /* in flight at once; 2 keeps the replica busy while a reply travels */
    uint32_t attempts;            /* a call is sent at most this often, first time included */
    uint32_t retry_percent;       /* retries at most this share of calls, over a bucket of 10 saved up */
    uint32_t hedge_percent;       /* hedges likewise; 0: none */
    uint64_t health_interval_us, health_timeout_us;
    uint64_t discovery_interval_us; /* between questions for a name */
    size_t max_message_bytes; /* of a call and of its reply; beyond: GW_E_TOO_LARGE, GW_E_CONTRACT */
};

/* What the pool must know of the version it serves; borrowed for the pool's life. */
struct pool_version {
    const char *model, *version;   /* names */
    const struct signature *signature;
    const char *const *addresses;  /* "host:port", "[::1]:port", "unix:/path": one replica; "dns:NAME:PORT": as many as it has */
    uint32_t n_addresses;          /* at most POOL_ADDRESSES_MAX */
    struct resolver *resolver;     /* for the dns: ones; NULL where there is none */
    struct tls_context *tls;       /* NULL: plain */
    const char *tls_name;          /* what replicas' certificates must be for; NULL: the host of their address, for dns: the name */
    struct pool_limits limits;
};

struct pool;

/*
 * ready: called on the loop when a replica becomes ready, ceases to be, or has a free slot again.
 * Connecting starts at once.
 */
struct pool *pool_new(struct loop *loop, struct rpc_client *client, struct metrics *metrics,
                      const struct pool_version *version, void (*ready)(void *owner), void *owner) GW_MUST_CHECK;
/* Not from within a callback. Calls in flight end with GW_E_CANCELLED before this returns. Before rpc_client_free(). */
void pool_free(struct pool *pool);

bool pool_any_ready(const struct pool *pool);   /* at least one replica READY or ON_TRIAL. Any thread */
uint32_t pool_free_slots(const struct pool *pool); /* calls that could be sent now */
bool pool_any_idle(const struct pool *pool);    /* a ready replica has no call at all */
/* When a call could be begun with, and by whom; start_us is UINT64_MAX when none is ready. */
struct busy_outlook pool_outlook(const struct pool *pool, uint64_t now_us);
uint32_t pool_max_rows(const struct pool *pool);   /* the smallest max_rows of ready replicas; UINT32_MAX: none has a bound */

/* How often a replica was lost with calls in flight; each time once, whatever their number. Any thread. */
uint64_t pool_crashes(const struct pool *pool);

/* A hash of the digest that ready replicas of this version last described; false while none ever did. Any thread. */
bool pool_digest(const struct pool *pool, uint64_t digest[2]);

struct pool_call {
    struct predict_input input; /* set by the caller; read inside pool_predict() only */
    uint64_t deadline_us;
    bool waits; /* when its replica is lost and no other is left: for one to become ready, until the deadline */
    uint64_t expected_us;       /* set by the caller: what such a call takes a replica on average; 0: unknown */
    bool is_untypical;          /* set by the caller: how long it takes tells nothing of the replica's speed */
    bool may_hedge;             /* set by the caller: somebody waits for it */
    uint64_t busy_us;           /* when it is done: how long it kept the replica that answered, or the last one, busy; */
    double slowness;            /* ... and what that replica's calls took so far, of the average */
    /*
     * Runs exactly once, on the loop, never inside pool_predict() or pool_cancel(). result is NULL unless
     * err->status is GW_OK; the callee takes over one reference. err->what is for a person.
     * rpc_us: the answering attempt, from its sending to its reply; 0: there was none.
     */
    void (*done)(struct pool_call *call, struct predict_result *result, const struct gw_err *err,
                 uint64_t rpc_us);
    struct pool_attempt *attempt; /* the pool's: zero */
};
/*
 * Sends to the ready replica that is expected to be done with it first; where nothing is expected, to the one with the fewest
 * rows in flight. GW_E_NO_REPLICA: none is ready, has a slot and takes so many rows; GW_E_TOO_LARGE: over max_message_bytes,
 * or 2 GiB; GW_E_NO_MEMORY; on error `done` will not run.
 * When the replica dies or sheds the call, and attempts, the retry budget and the deadline allow, it goes to
 * another replica, or to the same one once that has become ready again, by itself; it waits for a slot, and, if
 * it `waits`, for a replica to become ready. The budget is against storms of retries, so a replica that dies costs one
 * retry of it, whatever number of calls it takes along, and a call that never left the gateway costs none.
 *
 * A call that is later than 95 of 100 of its kind (lateness.h) and `may_hedge` is sent to a second replica as well, if one has
 * nothing to do, attempts and the budget of hedges allow; the first answer of the two counts, and the other copy is cancelled.
 */
GW_MUST_CHECK enum gw_status pool_predict(struct pool *pool, struct pool_call *call);
/* Nobody wants the rows any more: done still runs, soon. */
void pool_cancel(struct pool *pool, struct pool_call *call);

/* Whether the call, which is not done, is at no replica, because none is ready. */
bool pool_call_is_stranded(const struct pool *pool, const struct pool_call *call);

/* A picture for /status. Any thread: takes the pool's lock, which is held only to change a state or the set. */
struct replica_status {
    char address[REPLICA_ADDRESS_BYTES];
    const char *source;        /* the configured address that leads to it; "dns:digits:9000". Lives as long as the pool_version */
    enum replica_state state;
    char why[256];             /* of the last refusal or fault; "" when none */
    uint32_t in_flight;
    uint64_t calls, failures;
    char digest[72];
};
uint32_t pool_status(const struct pool *pool, struct replica_status *out, uint32_t room); /* number of replicas */

enum discovery_outcome {
    DISCOVERY_FOUND, DISCOVERY_NO_SUCH_NAME, DISCOVERY_TIMEOUT, DISCOVERY_FAILED, DISCOVERY_OUTCOME_COUNT
};
const char *discovery_outcome_name(enum discovery_outcome outcome); /* "found" */

/* A name, and how it was last answered. Any thread. */
struct discovery_status {
    const char *name;          /* "dns:digits:9000"; lives as long as the pool_version */
    bool asked;                /* and answered at least once; else what follows is zero */
    enum discovery_outcome outcome;
    char why[128];             /* not found, or failed: in words; else "" */
    uint32_t addresses;        /* of the last answer that had any */
    uint32_t left_out;         /* of them, because there would have been more than POOL_REPLICAS_MAX replicas */
};
uint32_t pool_names(const struct pool *pool, struct discovery_status *out, uint32_t room); /* number of dns: names */

#endif
