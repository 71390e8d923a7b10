/* cache_redis_stores: an answer is kept, sent, and its reply counted. */
#include "infer/cache_redis_stores.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/log.h"

enum { STORES_OFF_US = 5000000 };

struct cache_redis_pending {
    struct cache_redis_part *part;
    struct predict_result *answer;
    uint32_t row;
    uint64_t ttl_us;
    struct cache_value_key key;
};

void cache_redis_stores_add(struct cache_redis_stores *stores, struct cache_redis_part *part,
                            const struct cache_value_key *key, struct predict_result *answer, uint32_t row,
                            uint64_t ttl_us)
{
    if (!redis_is_up(stores->redis)) {
        metric_add(part->stores[STORE_SKIPPED_DOWN], 1);
    } else if (stores->off_until_us && loop_now_us() < stores->off_until_us) {
        metric_add(part->stores[STORE_SKIPPED_OFF], 1);
    } else if (stores->n == stores->max) {
        metric_add(part->stores[STORE_SKIPPED_FULL], 1);
    } else {
        stores->pending[stores->n++] = (struct cache_redis_pending){
            .part = part, .answer = predict_result_ref(answer), .row = row, .ttl_us = ttl_us, .key = *key};
        if (!stores->posted)
            loop_post(stores->loop, &stores->task);
        stores->posted = true;
    }
}

/* The server takes no writes: it is full, a replica, or cannot save. */
static bool says_no_writes(const struct redis_reply *reply)
{
    return strncmp(reply->bytes, "OOM ", 4) == 0 || strncmp(reply->bytes, "READONLY ", 9) == 0 ||
           strncmp(reply->bytes, "MISCONF ", 8) == 0 || strncmp(reply->bytes, "NOPERM ", 7) == 0;
}

static void stores_turn_off(struct cache_redis_stores *stores, const char *why)
{
    bool were_on = !stores->off_until_us;
    stores->off_until_us = loop_now_us() + STORES_OFF_US;
    atomic_store_explicit(&stores->off, true, memory_order_relaxed);
    if (were_on)
        log_warn("redis_stores_off", LOG_TEXT("client", stores->name), LOG_TEXT("why", why));
}

static void stores_turn_on(struct cache_redis_stores *stores)
{
    stores->off_until_us = 0;
    atomic_store_explicit(&stores->off, false, memory_order_relaxed);
    log_info("redis_stores_on", LOG_TEXT("client", stores->name));
}

static void stored(void *owner, const struct redis_reply *reply)
{
    struct cache_redis_part *part = owner;
    struct cache_redis_stores *stores = part->sink;
    enum store_end end = reply->kind == REDIS_LINE      ? STORE_STORED
                         : reply->kind == REDIS_TIMEOUT ? STORE_TIMEOUT
                         : reply->kind == REDIS_LOST    ? STORE_LOST
                                                        : STORE_ERROR;
    metric_add(part->stores[end], 1);
    if (reply->kind == REDIS_ERROR && says_no_writes(reply))
        stores_turn_off(stores, reply->bytes);
    else if (end == STORE_STORED && stores->off_until_us)
        stores_turn_on(stores);
}

static enum store_end pending_send(struct cache_redis_stores *stores,
                                   const struct cache_redis_pending *pending)
{
    struct cache_redis_part *part = pending->part;
    char key[CACHE_REDIS_KEY_ROOM], ttl_ms[24];
    size_t size = cache_value_size(pending->answer, pending->row);
    if (!size || size > CACHE_REDIS_VALUE_MAX)
        return STORE_SKIPPED_LARGE;
    stores->value.length = 0;
    uint8_t *value = (uint8_t *)buf_reserve(&stores->value, size);
    stores->value.failed = false; /* for the next one */
    if (!value || cache_value_write(&pending->key, loop_wall_us() / 1000, pending->answer, pending->row,
                                    value, size) != GW_OK)
        return STORE_SKIPPED_FULL;
    uint64_t ttl = pending->ttl_us / 1000;
    snprintf(ttl_ms, sizeof ttl_ms, "%" PRIu64, ttl ? ttl : 1);
    const struct redis_word words[] = {{"SET", 3},
                                       {key, cache_redis_part_key(part, &pending->key, key)},
                                       {value, size},
                                       {"PX", 2},
                                       {ttl_ms, strlen(ttl_ms)}};
    bool sent = redis_send(stores->redis, words, sizeof words / sizeof words[0], stored, part) != 0;
    return sent ? STORE_STORED : STORE_SKIPPED_FULL;
}

static void stores_drop(struct cache_redis_stores *stores)
{
    while (stores->n)
        predict_result_unref(stores->pending[--stores->n].answer);
}

/* A store that was sent is counted when it is answered. */
static void stores_send(struct loop_task *task)
{
    struct cache_redis_stores *stores = container_of(task, struct cache_redis_stores, task);
    stores->posted = false;
    if (stores->closed) {
        stores->closed(stores);
        return;
    }
    for (uint32_t i = 0; i < stores->n; i++) {
        enum store_end end = pending_send(stores, &stores->pending[i]);
        if (end != STORE_STORED)
            metric_add(stores->pending[i].part->stores[end], 1);
    }
    stores_drop(stores);
}

/* --- open and close --- */

enum gw_status cache_redis_stores_init(struct cache_redis_stores *stores, struct loop *loop,
                                       struct redis *redis, const char *name, uint32_t max)
{
    *stores = (struct cache_redis_stores){.loop = loop, .redis = redis, .name = name, .max = max};
    stores->task.run = stores_send;
    stores->pending = calloc(max, sizeof *stores->pending);
    return stores->pending ? GW_OK : GW_E_NO_MEMORY;
}

void cache_redis_stores_close(struct cache_redis_stores *stores,
                              void (*closed)(struct cache_redis_stores *stores))
{
    stores_drop(stores);
    free(stores->pending);
    stores->pending = NULL;
    buf_clear(&stores->value);
    stores->closed = closed;
    if (!stores->posted) /* else the task is the last to need it */
        closed(stores);
}

bool cache_redis_stores_are_off(const struct cache_redis_stores *stores)
{
    return atomic_load_explicit(&stores->off, memory_order_relaxed);
}
