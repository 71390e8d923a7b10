/*
 * cache_redis_stores: the models' answers on their way to Redis: kept until the end of the turn, when the replies are on their
 * way, then sent; nobody waits. Bounded. A server that takes no writes (full, read only) gets none for a while: said once,
 * when it begins and when it ends. Internal to cache_redis. Belongs to the loop's thread, but for `off`.
 */
#ifndef XEBEC_INFER_CACHE_REDIS_STORES_H
#define XEBEC_INFER_CACHE_REDIS_STORES_H

#include "infer/cache_redis_part.h"
#include "replica/result.h"
#include "support/buf.h"
#include "support/loop.h"
#include "support/redis.h"

struct cache_redis_pending;

struct cache_redis_stores {
    struct loop *loop;
    struct redis *redis;
    const char *name;          /* of the client, for the log */
    struct loop_task task;
    bool posted;
    struct cache_redis_pending *pending; /* n of max */
    uint32_t n, max;
    struct buf value;
    uint64_t off_until_us;     /* 0: on */
    _Atomic bool off;          /* likewise, for any thread */
    void (*closed)(struct cache_redis_stores *stores); /* NULL: open */
};

/* GW_E_NO_MEMORY; cache_redis_stores_close() is owed either way. max: that may wait. */
GW_MUST_CHECK enum gw_status cache_redis_stores_init(struct cache_redis_stores *stores, struct loop *loop, struct redis *redis,
                                                     const char *name, uint32_t max);
/* What waits is dropped. closed() runs once nothing points at the stores any more: inside, or later in the turn. */
void cache_redis_stores_close(struct cache_redis_stores *stores, void (*closed)(struct cache_redis_stores *stores));

/* As cache_redis_store(). */
void cache_redis_stores_add(struct cache_redis_stores *stores, struct cache_redis_part *part, const struct cache_value_key *key,
                            struct predict_result *answer, uint32_t row, uint64_t ttl_us);
bool cache_redis_stores_are_off(const struct cache_redis_stores *stores); /* any thread */

#endif
