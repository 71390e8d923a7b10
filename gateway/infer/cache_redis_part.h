/*
 * cache_redis_part: one model version of the second level, as one shard sees it: how its keys begin, whether its lookups pay,
 * and what became of its rows and stores. Internal to cache_redis*. Belongs to the loop's thread, but for `awaited`.
 */
#ifndef XEBEC_INFER_CACHE_REDIS_PART_H
#define XEBEC_INFER_CACHE_REDIS_PART_H

#include <stdatomic.h>
#include <stdbool.h>

#include "infer/cache_sample.h"
#include "infer/cache_value.h"
#include "support/metrics.h"

enum {
    CACHE_REDIS_VALUE_MAX = 256 * 1024, /* larger answers are not worth a network */
    CACHE_REDIS_KEY_ROOM = 320, /* prefix, format, model@version, hash: the configuration bounds them */
};

/* How a row of a lookup ended. */
enum row_end {
    ROW_HIT,
    ROW_MISS,
    ROW_CORRUPT,
    ROW_EXPIRED,
    ROW_ERROR,
    ROW_TIMEOUT,
    ROW_LOST,
    ROW_GIVEN_UP,
    ROW_SKIPPED_DOWN,
    ROW_SKIPPED_FULL,
    ROW_SKIPPED_SAMPLED,
    ROW_SKIPPED_DIGEST,
    ROW_END_COUNT
};

enum store_end {
    STORE_STORED,
    STORE_ERROR,
    STORE_TIMEOUT,
    STORE_LOST,
    STORE_SKIPPED_DOWN,
    STORE_SKIPPED_FULL,
    STORE_SKIPPED_OFF,
    STORE_SKIPPED_LARGE,
    STORE_END_COUNT
};

struct cache_redis_stores;

struct cache_redis_part {
    struct cache_redis_part *next;
    struct cache_redis *cache;       /* the owner's to set, as the next */
    struct cache_redis_stores *sink; /* where its answers go */
    struct cache_sample sample;
    _Atomic bool awaited; /* sample.awaited, for other threads */
    struct metric *rows[ROW_END_COUNT], *stores[STORE_END_COUNT], *awaiting;
    char prefix[CACHE_REDIS_KEY_ROOM - 2 * sizeof(struct cache_value_key)];
    size_t prefix_length;
    char version[];
};

/* version: "digits@forest"; prefix: of the Redis' keys. NULL: out of memory. */
struct cache_redis_part *cache_redis_part_new(struct metrics *metrics, const char *prefix, const char *version) GW_MUST_CHECK;
void cache_redis_part_free(struct cache_redis_part *part, struct metrics *metrics);

/* A key as Redis knows it, into text; returns its length. */
size_t cache_redis_part_key(const struct cache_redis_part *part, const struct cache_value_key *key,
                            char text[CACHE_REDIS_KEY_ROOM]);
/* The estimate has news: whether lookups are waited for from now on. */
void cache_redis_part_decide(struct cache_redis_part *part);

#endif
