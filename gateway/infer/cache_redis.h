/*
 * cache_redis: the second level behind infer/cache: answers that all gateways of one Redis share. One a shard. Knows
 * keys, values and when a lookup pays; the sockets are support/redis's.
 *
 *   rows that memory missed --> cache_redis_ask() --> MGET, pipelined --> told(): found, or not
 *                                                                        not found: the model computes them
 *   the reply is on its way --> cache_redis_store() -- later in the turn --> SET key value PX ttl; nobody waits
 *
 * Keys are PREFIX:FORMAT:MODEL@VERSION:HASH (infer/cache_value.h). What is found is judged like a replica's answer; what
 * is cut short, changed, too old, of another format or another signature is a miss, and counted.
 * While lookups do not pay (infer/cache_sample.h) they are sampled, and nobody waits. While Redis is gone they cost a
 * branch. A server that is full or read only (OOM, READONLY, MISCONF) gets no stores for a while; lookups go on.
 * A model whose replicas tell no digest is not kept: its builds could not be told apart.
 *
 * It outlives configurations: what it learned of a version, by name, is there after a reload.
 * Everything but cache_redis_status() and cache_redis_awaits() belongs to the loop's thread.
 */
#ifndef XEBEC_INFER_CACHE_REDIS_H
#define XEBEC_INFER_CACHE_REDIS_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "infer/cache_value.h"
#include "support/loop.h"
#include "support/metrics.h"
#include "support/redis.h"
#include "support/resolve.h"

struct cache_redis;
struct cache_redis_part; /* one model version of it */
struct cache_redis_lookup;

struct cache_redis_setup {
    struct config *config;       /* with a Redis; a reference is taken */
    struct loop *loop;
    struct resolver *resolver;
    struct metrics *metrics;
    struct redis_voice *voice;   /* of all shards; outlives them */
    uint32_t shard;
};
struct cache_redis *cache_redis_new(const struct cache_redis_setup *setup) GW_MUST_CHECK; /* NULL: out of memory */
/* Lookups that are waited for must be over or cancelled. NULL is harmless. */
void cache_redis_free(struct cache_redis *cache);

/* The part of a version, "digits@forest", made when it is first asked for. NULL: out of memory; then do without Redis. */
struct cache_redis_part *cache_redis_part(struct cache_redis *cache, const char *version) GW_MUST_CHECK;

/* What to do with n_rows rows that memory missed; OFF has been counted. */
enum cache_redis_mode { CACHE_REDIS_OFF, CACHE_REDIS_SAMPLED, CACHE_REDIS_AWAITED };
enum cache_redis_mode cache_redis_mode(struct cache_redis_part *part, const uint64_t digest[2], uint32_t n_rows);
/* Whether a row of this key is to be looked up, and stored when the model answered; one that is not has been counted. */
bool cache_redis_wants(struct cache_redis_part *part, enum cache_redis_mode mode, const struct cache_value_key *key);

/* A row that was found, or not: answer NULL. */
struct cache_redis_found {
    struct predict_result *answer; /* one row and one reference, for told() to take; what it leaves is dropped */
    uint64_t ttl_us;               /* what is left of the answer's time to live */
};

struct cache_redis_question {
    const struct signature *signature;     /* of the model; like outputs, borrowed while told() is to come */
    uint64_t ttl_us;
    uint64_t digest[2];
    const struct cache_value_key *keys;    /* n_rows; copied */
    uint32_t n_rows;
    const char *const *outputs;            /* wanted; n_outputs 0: all */
    uint32_t n_outputs;
    /* found[i] is about keys[i]. Runs once, never inside cache_redis_ask(). NULL: nobody waits, it is for the estimate. */
    void (*told)(void *owner, struct cache_redis_found *found);
    void *owner;
};
/* NULL: nothing was sent, told() will not run, and that has been counted. Of use to those alone who are told. */
struct cache_redis_lookup *cache_redis_ask(struct cache_redis_part *part,
                                           const struct cache_redis_question *question);
/* told() will not run. Between cache_redis_ask() and told(). */
void cache_redis_give_up(struct cache_redis_lookup *lookup);
/*
 * How long to wait for a lookup of a request that has until deadline_us: no longer than a command may take, nor than a
 * quarter of what is left.
 */
uint64_t cache_redis_patience_us(const struct cache_redis_part *part, uint64_t now_us, uint64_t deadline_us);

/* The model's answer to a row that was missed. Takes a reference; bounded, never waits. */
void cache_redis_store(struct cache_redis_part *part, const struct cache_value_key *key, struct predict_result *answer,
                       uint32_t row, uint64_t ttl_us);
/* What the model took for rows that were missed, from being sent to being home. */
void cache_redis_model_took(struct cache_redis_part *part, uint64_t us);

/* Any thread. */
struct cache_redis_status {
    struct redis_status redis;
    bool stores_off;
};
void cache_redis_status(struct cache_redis *cache, struct cache_redis_status *status);
bool cache_redis_awaits(struct cache_redis *cache, const char *version); /* whether lookups of it are waited for */

#endif
