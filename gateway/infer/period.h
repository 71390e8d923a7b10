/*
 * period: what a shard goes by, and since when. The gateway's plans follow one another; each shard takes up a new one in a turn of
 * its own, so that a request has one plan from its beginning to its end:
 *
 *   period_new() -> infer_enter(): in force --- another is entered ---> over --- its last request is freed ---> freed
 *
 * struct infer is the rest of what the requests of a shard share, and outlives the periods. Belongs to the shard's thread.
 */
#ifndef XEBEC_INFER_PERIOD_H
#define XEBEC_INFER_PERIOD_H

#include <stdbool.h>
#include <stdint.h>

#include "infer/cache.h"
#include "infer/cache_redis.h"
#include "infer/codec.h"
#include "infer/plan.h"
#include "infer/shadow.h"
#include "support/buf.h"
#include "support/loop.h"
#include "support/metrics.h"

/* What is known of a version: the shared part of its rows' cache keys, where it is always the same. */
struct known_context {
    uint64_t digest[2];
    struct cache_key key;
    struct cache_value_key redis;
    struct cache_redis_part *redis_part; /* NULL until it was asked for */
    bool is_known, is_redis_known;
};

/* One shard's side of a plan: from the turn in which it comes into force until the last request that went by it is freed. */
struct period {
    struct plan *plan;                /* one reference */
    struct infer_metrics *metrics;    /* infer/request_metrics.c's */
    struct known_context *contexts;   /* by config_version.index */
    uint32_t open;                    /* requests not yet freed */
    bool over;                        /* another has come into force */
    struct buf description;           /* the edge's: of its endpoints, as OpenAPI; empty until somebody asked */
};
/* Any thread. NULL: out of memory. */
struct period *period_new(struct metrics *metrics, struct plan *plan) GW_MUST_CHECK;
void period_free(struct period *period); /* one that never came into force; NULL is harmless */
void period_leave(struct period *period); /* a request of it is freed; that may have been the last that it waited for */

/* What all requests of one shard share. */
struct infer {
    struct loop *loop;
    struct period *period;            /* in force: what new requests go by */
    struct cache *cache;              /* of 0 bytes where it is off */
    struct cache_redis *redis;        /* borrowed; NULL: none. Set after infer_init() */
    struct json_reader *json;
    uint32_t shard;                   /* its number */
    struct shadow_line shadows;       /* under way from here */
    uint64_t next_id, id_step;        /* query ids: unique in this gateway, < 2^53 */
    uint32_t open;                    /* requests not yet freed, of all periods */
};
/* shard: 0 .. shards - 1. Takes period over. GW_E_NO_MEMORY; then infer_clear() is still owed. */
GW_MUST_CHECK enum gw_status infer_init(struct infer *infer, struct loop *loop, struct period *period,
                                        struct cache *cache, uint32_t shard, uint32_t shards);
/* Requests started from now on go by `period`, which is taken over; those in flight finish by theirs. The shard's thread. */
void infer_enter(struct infer *infer, struct period *period);
void infer_clear(struct infer *infer); /* no request may be open, and no shadow under way */

#endif
