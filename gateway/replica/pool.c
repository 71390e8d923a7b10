/*
 * pool: the replicas of one model version, put together: the set (members), who gets a call (choice), the
 * calls (attempts). Replicas look after themselves (replica.c). After every event, pool_changed() first
 * serves calls that wait, then tells the owner.
 */
#include "replica/pool.h"

#include <stdio.h>
#include <stdlib.h>

#include "replica/attempts.h"

struct pool {
    struct replica_home home;
    struct metrics *metrics;
    struct members members;
    struct attempts attempts;
    bool closed;
    void (*ready)(void *owner);
    void *owner;
};

static bool pool_measure(struct pool *pool, const char *name);
static void pool_release(struct pool *pool);
static void pool_changed(struct replica_home *home, const struct replica *replica);

/* --- open and close --- */

struct pool *pool_new(struct loop *loop, struct rpc_client *client, struct metrics *metrics,
                      const struct pool_version *version, void (*ready)(void *owner), void *owner)
{
    struct pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    char name[160]; /* two names of 64 and the @ */
    snprintf(name, sizeof name, "%s@%s", version->model, version->version);
    pool->home =
        (struct replica_home){.loop = loop, .client = client, .version = version, .changed = pool_changed};
    pthread_mutex_init(&pool->home.lock, NULL);
    pool->ready = ready;
    pool->owner = owner;
    pool->members.home = &pool->home;
    pool->metrics = metrics;
    bool measures = pool_measure(pool, name);
    if (attempts_init(&pool->attempts, &pool->home, &pool->members, metrics, name) == GW_OK && measures &&
        members_init(&pool->members, &pool->home, metrics) == GW_OK)
        return pool;
    pool_free(pool);
    return NULL;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    pool->closed = true;
    attempts_end(&pool->attempts);
    members_clear(&pool->members);
    attempts_clear(&pool->attempts);
    pool_release(pool);
    pthread_mutex_destroy(&pool->home.lock);
    free(pool);
}

/* What replicas write. */
static bool pool_measure(struct pool *pool, const char *name)
{
    bool all = true;
    for (int state = 0; state < REPLICA_STATE_COUNT; state++) {
        const char *how = replica_state_name((enum replica_state)state);
        pool->home.states[state] = metrics_series(pool->metrics, METRIC_REPLICA_STATES,
                                                  METRIC_LABELS("version", name, "state", how));
        all = all && pool->home.states[state];
    }
    pool->home.up = metrics_series(pool->metrics, METRIC_REPLICAS_UP, METRIC_LABELS("version", name));
    pool->home.ejections = metrics_series(pool->metrics, METRIC_EJECTIONS, METRIC_LABELS("version", name));
    return all && pool->home.up && pool->home.ejections;
}

static void pool_release(struct pool *pool)
{
    metrics_release(pool->metrics, pool->home.up);
    metrics_release(pool->metrics, pool->home.ejections);
    for (int state = 0; state < REPLICA_STATE_COUNT; state++)
        metrics_release(pool->metrics, pool->home.states[state]);
}

/* None is left: then the ejected are better than nothing. */
static void pool_pardon(struct pool *pool)
{
    for (uint32_t i = 0; i < pool->members.n; i++)
        if (pool->members.all[i]->trust.state == TRUST_EJECTED)
            replica_trust(pool->members.all[i], TRUST_ON_TRIAL, "on trial, because no other is left");
}

static void pool_changed(struct replica_home *home, const struct replica *replica)
{
    struct pool *pool = container_of(home, struct pool, home);
    members_changed(&pool->members, replica);
    if (!pool_any_ready(pool))
        pool_pardon(pool);
    attempts_serve(&pool->attempts);
    pool->ready(pool->owner);
}

/* --- what it can take --- */

bool pool_any_ready(const struct pool *pool)
{
    return atomic_load_explicit(&pool->home.n_ready, memory_order_relaxed) > 0;
}

uint32_t pool_free_slots(const struct pool *pool)
{
    return choice_free_slots(&pool->members);
}

bool pool_any_idle(const struct pool *pool)
{
    return choice_any_idle(&pool->members);
}

struct busy_outlook pool_outlook(const struct pool *pool, uint64_t now_us)
{
    return choice_outlook(&pool->members, now_us);
}

uint32_t pool_max_rows(const struct pool *pool)
{
    return choice_max_rows(&pool->members);
}

/* --- calls --- */

enum gw_status pool_predict(struct pool *pool, struct pool_call *call)
{
    return pool->closed ? GW_E_NO_REPLICA : attempts_begin(&pool->attempts, call);
}

void pool_cancel(struct pool *pool, struct pool_call *call)
{
    attempts_cancel(&pool->attempts, call);
}

bool pool_call_is_stranded(const struct pool *pool, const struct pool_call *call)
{
    return attempts_is_waiting(call) && !pool_any_ready(pool);
}

/* --- what is told of it --- */

bool pool_digest(const struct pool *pool, uint64_t digest[2])
{
    return shared_digest_read(&pool->home.digest, digest);
}

uint64_t pool_crashes(const struct pool *pool)
{
    return atomic_load_explicit(&pool->attempts.crashes, memory_order_relaxed);
}

uint32_t pool_status(const struct pool *pool, struct replica_status *out, uint32_t room)
{
    return members_status(&pool->members, out, room);
}

uint32_t pool_names(const struct pool *pool, struct discovery_status *out, uint32_t room)
{
    return members_names(&pool->members, out, room);
}
