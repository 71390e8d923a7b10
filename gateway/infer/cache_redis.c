/* cache_redis: lookups in the order of their life, then what operators see. */
#include "infer/cache_redis.h"

#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/cache_redis_part.h"
#include "infer/cache_redis_stores.h"

enum {
    KEYS_A_COMMAND = 64,
    REPLY_BYTES_MAX = KEYS_A_COMMAND * (CACHE_REDIS_VALUE_MAX + 1024),
    COMMANDS_MAX = 4096, /* unanswered; and answers that wait to be stored */
    UNSENT_BYTES_MAX = 16 << 20,
    TIMEOUTS_IN_A_ROW = 5,
    PROBE_LEAST_US = 100000,
    PROBE_MOST_US = 5000000,
};

struct cache_redis {
    struct cache_redis_setup setup;
    struct redis *redis;
    char name[32];
    uint64_t no_digest[2]; /* what the digest of a model that tells none hashes to */
    struct cache_redis_part *parts;
    pthread_mutex_t lock; /* of the list of parts, where another thread reads it */
    struct histogram *seconds;
    struct cache_redis_stores stores;
};

/* One MGET of a lookup. */
struct ask {
    struct cache_redis_lookup *lookup;
    uint64_t ticket; /* 0: over, or never sent */
    uint32_t first, count;
};

/* Lies in one piece: itself, its asks, keys, and what was found. */
struct cache_redis_lookup {
    struct cache_redis_part *part;
    struct cache_redis_question question;
    uint64_t asked_us;
    uint32_t n_asks, n_open;
    struct ask *asks;
    struct cache_redis_found *found; /* NULL where nobody waits */
    struct cache_value_key keys[];
};

/* --- set-up and take-down --- */

static struct cache_redis_part *part_find(const struct cache_redis *cache, const char *version)
{
    struct cache_redis_part *part = cache->parts;
    while (part && strcmp(part->version, version) != 0)
        part = part->next;
    return part;
}

struct cache_redis_part *cache_redis_part(struct cache_redis *cache, const char *version)
{
    struct cache_redis_part *part = part_find(cache, version);
    if (part ||
        !(part = cache_redis_part_new(cache->setup.metrics, cache->setup.config->redis.prefix, version)))
        return part;
    part->cache = cache;
    part->sink = &cache->stores;
    pthread_mutex_lock(&cache->lock);
    part->next = cache->parts;
    cache->parts = part;
    pthread_mutex_unlock(&cache->lock);
    return part;
}

static struct redis *cache_connect(struct cache_redis *cache)
{
    const struct config_redis *config = &cache->setup.config->redis;
    snprintf(cache->name, sizeof cache->name, "xebec-shard-%" PRIu32, cache->setup.shard);
    const struct redis_setup setup = {
        .loop = cache->setup.loop,
        .resolver = cache->setup.resolver,
        .metrics = cache->setup.metrics,
        .server = &config->server,
        .use = "cache",
        .name = cache->name,
        .voice = cache->setup.voice,
        .connect_timeout_us = config->connect_timeout_us,
        .command_timeout_us = config->command_timeout_us,
        .breaker = {TIMEOUTS_IN_A_ROW, PROBE_LEAST_US, PROBE_MOST_US},
        .commands_max = COMMANDS_MAX,
        .unsent_bytes_max = UNSENT_BYTES_MAX,
        .reply_bytes_max = REPLY_BYTES_MAX,
    };
    return redis_new(&setup);
}

struct cache_redis *cache_redis_new(const struct cache_redis_setup *setup)
{
    struct cache_redis *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    cache->setup = *setup;
    config_ref(cache->setup.config);
    pthread_mutex_init(&cache->lock, NULL);
    crypto_generichash((unsigned char *)cache->no_digest, sizeof cache->no_digest, NULL, 0, NULL, 0);
    cache->seconds = metrics_histogram(setup->metrics, METRIC_CACHE_REDIS_SECONDS, NULL);
    if (cache->seconds)
        cache->redis = cache_connect(cache);
    if (cache_redis_stores_init(&cache->stores, setup->loop, cache->redis, cache->name, COMMANDS_MAX) ==
            GW_OK &&
        cache->redis)
        return cache;
    cache_redis_free(cache);
    return NULL;
}

static void cache_destroy(struct cache_redis_stores *stores)
{
    struct cache_redis *cache = container_of(stores, struct cache_redis, stores);
    for (struct cache_redis_part *part = cache->parts, *next; part; part = next) {
        next = part->next;
        cache_redis_part_free(part, cache->setup.metrics);
    }
    pthread_mutex_destroy(&cache->lock);
    config_unref(cache->setup.config);
    free(cache);
}

void cache_redis_free(struct cache_redis *cache)
{
    if (!cache)
        return;
    redis_free(cache->redis);
    cache_redis_stores_close(&cache->stores, cache_destroy);
}

/* --- lookups: whether --- */

enum cache_redis_mode cache_redis_mode(struct cache_redis_part *part, const uint64_t digest[2],
                                       uint32_t n_rows)
{
    const struct cache_redis *cache = part->cache;
    if (!redis_is_up(cache->redis)) {
        metric_add(part->rows[ROW_SKIPPED_DOWN], n_rows);
        return CACHE_REDIS_OFF;
    }
    if (memcmp(digest, cache->no_digest, sizeof cache->no_digest) == 0) {
        metric_add(part->rows[ROW_SKIPPED_DIGEST], n_rows);
        return CACHE_REDIS_OFF;
    }
    return part->sample.awaited ? CACHE_REDIS_AWAITED : CACHE_REDIS_SAMPLED;
}

bool cache_redis_wants(struct cache_redis_part *part, enum cache_redis_mode mode,
                       const struct cache_value_key *key)
{
    bool wanted = mode == CACHE_REDIS_AWAITED || cache_sample_picks(key);
    metric_add(part->rows[ROW_SKIPPED_SAMPLED], !wanted);
    return wanted;
}

uint64_t cache_redis_patience_us(const struct cache_redis_part *part, uint64_t now_us, uint64_t deadline_us)
{
    uint64_t command_us = part->cache->setup.config->redis.command_timeout_us;
    uint64_t quarter_us = deadline_us > now_us ? (deadline_us - now_us) / 4 : 0;
    return quarter_us < command_us ? quarter_us : command_us;
}

void cache_redis_model_took(struct cache_redis_part *part, uint64_t us)
{
    cache_sample_model(&part->sample, us);
    cache_redis_part_decide(part);
}

/* --- lookups: asking --- */

static void ask_answered(void *owner, const struct redis_reply *reply);

static void ask_send(struct ask *ask)
{
    struct cache_redis_lookup *lookup = ask->lookup;
    struct cache_redis_part *part = lookup->part;
    struct redis_word words[KEYS_A_COMMAND + 1] = {{"MGET", 4}};
    char keys[KEYS_A_COMMAND][CACHE_REDIS_KEY_ROOM];
    for (uint32_t i = 0; i < ask->count; i++)
        words[i + 1] =
            (struct redis_word){keys[i], cache_redis_part_key(part, &lookup->keys[ask->first + i], keys[i])};
    ask->ticket = redis_send(part->cache->redis, words, ask->count + 1, ask_answered, ask);
    if (ask->ticket)
        lookup->n_open++;
    else
        metric_add(part->rows[ROW_SKIPPED_FULL], ask->count);
}

/* One allocation. Rows that nobody waits for need no room for answers. */
static struct cache_redis_lookup *lookup_new(struct cache_redis_part *part,
                                             const struct cache_redis_question *question)
{
    uint32_t n = question->n_rows, n_asks = (n - 1) / KEYS_A_COMMAND + 1;
    size_t keys = n * sizeof *question->keys,
           found = question->told ? n * sizeof(struct cache_redis_found) : 0;
    struct cache_redis_lookup *lookup = malloc(sizeof *lookup + keys + found + n_asks * sizeof(struct ask));
    if (!lookup)
        return NULL;
    char *behind_keys = (char *)lookup->keys + keys;
    *lookup = (struct cache_redis_lookup){
        .part = part, .question = *question, .asked_us = loop_now_us(), .n_asks = n_asks};
    memcpy(lookup->keys, question->keys, keys);
    lookup->found = found ? memset(behind_keys, 0, found) : NULL;
    lookup->asks = (struct ask *)(void *)(behind_keys + found);
    for (uint32_t i = 0, first = 0; i < n_asks; i++, first += KEYS_A_COMMAND)
        lookup->asks[i] = (struct ask){
            .lookup = lookup,
            .first = first,
            .count = n - first < KEYS_A_COMMAND ? n - first : KEYS_A_COMMAND,
        };
    return lookup;
}

static void lookup_free(struct cache_redis_lookup *lookup)
{
    for (uint32_t i = 0; lookup->found && i < lookup->question.n_rows; i++)
        predict_result_unref(lookup->found[i].answer);
    free(lookup);
}

struct cache_redis_lookup *cache_redis_ask(struct cache_redis_part *part,
                                           const struct cache_redis_question *question)
{
    struct cache_redis_lookup *lookup = lookup_new(part, question);
    if (!lookup) {
        metric_add(part->rows[ROW_SKIPPED_FULL], question->n_rows);
        return NULL;
    }
    for (uint32_t i = 0; i < lookup->n_asks; i++)
        ask_send(&lookup->asks[i]);
    if (lookup->n_open)
        return lookup;
    lookup_free(lookup);
    return NULL;
}

/* --- lookups: answers --- */

/* Judges one value. A found row's answer goes to `found`, where somebody waits. */
static enum row_end row_judge(const struct cache_redis_lookup *lookup, uint32_t row,
                              const struct redis_reply *value, struct cache_redis_found *found)
{
    const struct cache_redis_question *question = &lookup->question;
    const uint8_t *bytes = (const uint8_t *)value->bytes;
    uint64_t made_ms, now_ms = loop_wall_us() / 1000, ttl_ms = question->ttl_us / 1000;
    if (value->kind != REDIS_TEXT)
        return ROW_MISS;
    if (value->length > CACHE_REDIS_VALUE_MAX ||
        !cache_value_intact(&lookup->keys[row], bytes, value->length, &made_ms))
        return ROW_CORRUPT;
    uint64_t age_ms =
        now_ms > made_ms ? now_ms - made_ms : 0; /* clocks differ: an answer of the future is new */
    if (age_ms >= ttl_ms && age_ms)
        return ROW_EXPIRED;
    if (!found)
        return ROW_HIT;
    enum gw_status status = cache_value_read(bytes, value->length, question->signature, question->outputs,
                                             question->n_outputs, &found->answer);
    if (status != GW_OK)
        return status == GW_E_NO_MEMORY ? ROW_ERROR : ROW_CORRUPT;
    memcpy(found->answer->digest, question->digest, sizeof found->answer->digest);
    found->ttl_us = question->ttl_us - age_ms * 1000;
    return ROW_HIT;
}

static void row_over(struct cache_redis_lookup *lookup, uint32_t row, enum row_end end)
{
    struct cache_redis_part *part = lookup->part;
    metric_add(part->rows[end], 1);
    if (end != ROW_LOST && cache_sample_picks(&lookup->keys[row]))
        cache_sample_row(&part->sample, end == ROW_HIT);
}

static void ask_judge(struct ask *ask, const struct redis_reply *reply)
{
    struct cache_redis_lookup *lookup = ask->lookup;
    bool whole = reply->kind == REDIS_ARRAY && reply->n_elements == ask->count;
    enum row_end end = reply->kind == REDIS_TIMEOUT ? ROW_TIMEOUT
                       : reply->kind == REDIS_LOST  ? ROW_LOST
                                                    : ROW_ERROR;
    for (uint32_t i = 0; i < ask->count; i++) {
        uint32_t row = ask->first + i;
        if (whole)
            end = row_judge(lookup, row, reply->elements[i], lookup->found ? &lookup->found[row] : NULL);
        row_over(lookup, row, end);
    }
}

static void lookup_over(struct cache_redis_lookup *lookup)
{
    struct cache_redis_part *part = lookup->part;
    uint64_t took_us = loop_now_us() - lookup->asked_us;
    cache_sample_lookup(&part->sample, took_us);
    cache_redis_part_decide(part);
    if (lookup->question.told) {
        histogram_observe(part->cache->seconds, took_us);
        lookup->question.told(lookup->question.owner, lookup->found);
    }
    lookup_free(lookup);
}

static void ask_answered(void *owner, const struct redis_reply *reply)
{
    struct ask *ask = owner;
    struct cache_redis_lookup *lookup = ask->lookup;
    ask->ticket = 0;
    ask_judge(ask, reply);
    if (--lookup->n_open == 0)
        lookup_over(lookup);
}

void cache_redis_give_up(struct cache_redis_lookup *lookup)
{
    struct cache_redis_part *part = lookup->part;
    for (uint32_t i = 0; i < lookup->n_asks; i++) {
        struct ask *ask = &lookup->asks[i];
        if (!ask->ticket)
            continue;
        redis_cancel(part->cache->redis, ask->ticket);
        for (uint32_t row = ask->first; row < ask->first + ask->count; row++)
            row_over(lookup, row, ROW_GIVEN_UP);
    }
    lookup->question.told = NULL;
    lookup_over(lookup);
}

/* --- stores --- */

void cache_redis_store(struct cache_redis_part *part, const struct cache_value_key *key,
                       struct predict_result *answer, uint32_t row, uint64_t ttl_us)
{
    cache_redis_stores_add(part->sink, part, key, answer, row, ttl_us);
}

/* --- what operators see --- */

void cache_redis_status(struct cache_redis *cache, struct cache_redis_status *status)
{
    redis_status(cache->redis, &status->redis);
    status->stores_off = cache_redis_stores_are_off(&cache->stores);
}

bool cache_redis_awaits(struct cache_redis *cache, const char *version)
{
    pthread_mutex_lock(&cache->lock);
    const struct cache_redis_part *part = part_find(cache, version);
    pthread_mutex_unlock(&cache->lock); /* parts live as long as the cache */
    return !part || atomic_load_explicit(&part->awaited, memory_order_relaxed);
}
