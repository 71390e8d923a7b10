/* cache_redis: lookups in the order of their life, then stores, then what operators see. */
#include "infer/cache_redis.h"

#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "infer/cache_sample.h"
#include "support/buf.h"
#include "support/log.h"

enum {
    KEYS_A_COMMAND = 64,
    VALUE_BYTES_MAX = 256 * 1024, /* larger answers are not worth a network */
    REPLY_BYTES_MAX = KEYS_A_COMMAND * (VALUE_BYTES_MAX + 1024),
    COMMANDS_MAX = 4096, /* unanswered; and answers that wait to be stored */
    UNSENT_BYTES_MAX = 16 << 20,
    KEY_ROOM = 320, /* prefix, format, model@version, hash: the configuration bounds them */
    STORES_OFF_US = 5000000,
    TIMEOUTS_IN_A_ROW = 5,
    PROBE_LEAST_US = 100000,
    PROBE_MOST_US = 5000000,
};

/* How a row of a lookup ended. Order of row_words. */
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
static const char *const row_words[ROW_END_COUNT] = {
    "hit",  "miss",     "corrupt",      "expired",      "error",           "timeout",
    "lost", "given_up", "skipped_down", "skipped_full", "skipped_sampled", "skipped_digest"};

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
static const char *const store_words[STORE_END_COUNT] = {
    "stored", "error", "timeout", "lost", "skipped_down", "skipped_full", "skipped_off", "skipped_large"};

/* One model version, as this shard sees it. */
struct cache_redis_part {
    struct cache_redis_part *next;
    struct cache_redis *cache;
    struct cache_sample sample;
    _Atomic bool awaited; /* sample.awaited, for other threads */
    struct metric *rows[ROW_END_COUNT], *stores[STORE_END_COUNT], *awaiting;
    char prefix[KEY_ROOM - 2 * sizeof(struct cache_value_key)];
    size_t prefix_length;
    char version[];
};

/* An answer that waits for the end of the turn to be stored. */
struct store {
    struct cache_redis_part *part;
    struct predict_result *answer;
    uint32_t row;
    uint64_t ttl_us;
    struct cache_value_key key;
};

struct cache_redis {
    struct cache_redis_setup setup;
    struct redis *redis;
    char name[32];
    uint64_t no_digest[2]; /* what the digest of a model that tells none hashes to */
    struct cache_redis_part *parts;
    pthread_mutex_t lock; /* of the list of parts, where another thread reads it */
    struct histogram *seconds;
    struct loop_task storing;
    bool storing_posted, closing;
    struct store *stores; /* n_stores of COMMANDS_MAX */
    uint32_t n_stores;
    struct buf value;
    uint64_t stores_off_until_us; /* 0: on */
    _Atomic bool stores_off;
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

static uint64_t wall_ms(void)
{
    return loop_wall_us() / 1000;
}

/* --- set-up and take-down --- */

static void store_all(struct loop_task *task);

static bool part_open_metrics(struct cache_redis_part *part, struct metrics *metrics)
{
    const char *name = part->version;
    bool all = true;
    for (int i = 0; i < ROW_END_COUNT; i++) {
        part->rows[i] = metrics_series(metrics, METRIC_CACHE_REDIS_ROWS,
                                       METRIC_LABELS("version", name, "outcome", row_words[i]));
        all = all && part->rows[i];
    }
    for (int i = 0; i < STORE_END_COUNT; i++) {
        part->stores[i] = metrics_series(metrics, METRIC_CACHE_REDIS_STORES,
                                         METRIC_LABELS("version", name, "outcome", store_words[i]));
        all = all && part->stores[i];
    }
    part->awaiting = metrics_series(metrics, METRIC_CACHE_REDIS_AWAITING, METRIC_LABELS("version", name));
    return all && part->awaiting;
}

/* Its series are given back: a counter that was never written loses nothing. */
static void part_free(struct cache_redis_part *part)
{
    struct metrics *metrics = part->cache->setup.metrics;
    for (int i = 0; i < ROW_END_COUNT; i++)
        metrics_release(metrics, part->rows[i]);
    for (int i = 0; i < STORE_END_COUNT; i++)
        metrics_release(metrics, part->stores[i]);
    metrics_release(metrics, part->awaiting);
    free(part);
}

static struct cache_redis_part *part_new(struct cache_redis *cache, const char *version)
{
    size_t length = strlen(version) + 1;
    struct cache_redis_part *part = calloc(1, sizeof *part + length);
    if (!part)
        return NULL;
    part->cache = cache;
    memcpy(part->version, version, length);
    cache_sample_init(&part->sample);
    atomic_init(&part->awaited, part->sample.awaited);
    part->prefix_length =
        (size_t)snprintf(part->prefix, sizeof part->prefix, "%s:%d:%s:", cache->setup.config->redis.prefix,
                         CACHE_VALUE_FORMAT, version);
    if (!part_open_metrics(part, cache->setup.metrics)) {
        part_free(part);
        return NULL;
    }
    metric_set(part->awaiting, 1);
    return part;
}

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
    if (part || !(part = part_new(cache, version)))
        return part;
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
    cache->storing.run = store_all;
    crypto_generichash((unsigned char *)cache->no_digest, sizeof cache->no_digest, NULL, 0, NULL, 0);
    cache->stores = calloc(COMMANDS_MAX, sizeof *cache->stores);
    cache->seconds = metrics_histogram(setup->metrics, METRIC_CACHE_REDIS_SECONDS, NULL);
    if (cache->stores && cache->seconds)
        cache->redis = cache_connect(cache);
    if (!cache->redis) {
        cache_redis_free(cache);
        return NULL;
    }
    return cache;
}

static void stores_drop(struct cache_redis *cache)
{
    while (cache->n_stores)
        predict_result_unref(cache->stores[--cache->n_stores].answer);
}

static void cache_destroy(struct cache_redis *cache)
{
    for (struct cache_redis_part *part = cache->parts, *next; part; part = next) {
        next = part->next;
        part_free(part);
    }
    buf_clear(&cache->value);
    pthread_mutex_destroy(&cache->lock);
    config_unref(cache->setup.config);
    free(cache->stores);
    free(cache);
}

void cache_redis_free(struct cache_redis *cache)
{
    if (!cache)
        return;
    redis_free(cache->redis);
    stores_drop(cache);
    cache->closing = true;
    if (!cache->storing_posted) /* else the task is the last to need it */
        cache_destroy(cache);
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

static void part_decide(struct cache_redis_part *part)
{
    const struct cache_sample *sample = &part->sample;
    if (!cache_sample_decide(&part->sample))
        return;
    atomic_store_explicit(&part->awaited, sample->awaited, memory_order_relaxed);
    metric_set(part->awaiting, sample->awaited);
    log_debug("redis_lookups", LOG_TEXT("version", part->version),
              LOG_TEXT("mode", sample->awaited ? "awaited" : "sampled"),
              LOG_REAL("hit_ratio", sample->hit_ratio), LOG_REAL("lookup_us", sample->lookup_us),
              LOG_REAL("model_us", sample->model_us));
}

void cache_redis_model_took(struct cache_redis_part *part, uint64_t us)
{
    cache_sample_model(&part->sample, us);
    part_decide(part);
}

/* --- lookups: asking --- */

static void ask_answered(void *owner, const struct redis_reply *reply);

/* A key as Redis knows it, into text; returns its length. */
static size_t key_text(const struct cache_redis_part *part, const struct cache_value_key *key,
                       char text[KEY_ROOM])
{
    memcpy(text, part->prefix, part->prefix_length);
    sodium_bin2hex(text + part->prefix_length, KEY_ROOM - part->prefix_length, key->hash, sizeof key->hash);
    return part->prefix_length + 2 * sizeof key->hash;
}

static void ask_send(struct ask *ask)
{
    struct cache_redis_lookup *lookup = ask->lookup;
    struct cache_redis_part *part = lookup->part;
    struct redis_word words[KEYS_A_COMMAND + 1] = {{"MGET", 4}};
    char keys[KEYS_A_COMMAND][KEY_ROOM];
    for (uint32_t i = 0; i < ask->count; i++)
        words[i + 1] = (struct redis_word){keys[i], key_text(part, &lookup->keys[ask->first + i], keys[i])};
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
    uint64_t made_ms, now_ms = wall_ms(), ttl_ms = question->ttl_us / 1000;
    if (value->kind != REDIS_TEXT)
        return ROW_MISS;
    if (value->length > VALUE_BYTES_MAX ||
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
    part_decide(part);
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
    struct cache_redis *cache = part->cache;
    if (!redis_is_up(cache->redis)) {
        metric_add(part->stores[STORE_SKIPPED_DOWN], 1);
    } else if (cache->stores_off_until_us && loop_now_us() < cache->stores_off_until_us) {
        metric_add(part->stores[STORE_SKIPPED_OFF], 1);
    } else if (cache->n_stores == COMMANDS_MAX) {
        metric_add(part->stores[STORE_SKIPPED_FULL], 1);
    } else {
        cache->stores[cache->n_stores++] = (struct store){
            .part = part, .answer = predict_result_ref(answer), .row = row, .ttl_us = ttl_us, .key = *key};
        if (!cache->storing_posted)
            loop_post(cache->setup.loop, &cache->storing);
        cache->storing_posted = true;
    }
}

/* The server takes no writes: it is full, a replica, or cannot save. */
static bool says_no_writes(const struct redis_reply *reply)
{
    return strncmp(reply->bytes, "OOM ", 4) == 0 || strncmp(reply->bytes, "READONLY ", 9) == 0 ||
           strncmp(reply->bytes, "MISCONF ", 8) == 0 || strncmp(reply->bytes, "NOPERM ", 7) == 0;
}

static void stores_turn_off(struct cache_redis *cache, const char *why)
{
    bool were_on = !cache->stores_off_until_us;
    cache->stores_off_until_us = loop_now_us() + STORES_OFF_US;
    atomic_store_explicit(&cache->stores_off, true, memory_order_relaxed);
    if (were_on)
        log_warn("redis_stores_off", LOG_TEXT("client", cache->name), LOG_TEXT("why", why));
}

static void stores_turn_on(struct cache_redis *cache)
{
    cache->stores_off_until_us = 0;
    atomic_store_explicit(&cache->stores_off, false, memory_order_relaxed);
    log_info("redis_stores_on", LOG_TEXT("client", cache->name));
}

static void stored(void *owner, const struct redis_reply *reply)
{
    struct cache_redis_part *part = owner;
    struct cache_redis *cache = part->cache;
    enum store_end end = reply->kind == REDIS_LINE      ? STORE_STORED
                         : reply->kind == REDIS_TIMEOUT ? STORE_TIMEOUT
                         : reply->kind == REDIS_LOST    ? STORE_LOST
                                                        : STORE_ERROR;
    metric_add(part->stores[end], 1);
    if (reply->kind == REDIS_ERROR && says_no_writes(reply))
        stores_turn_off(cache, reply->bytes);
    else if (end == STORE_STORED && cache->stores_off_until_us)
        stores_turn_on(cache);
}

static enum store_end store_send(struct cache_redis *cache, const struct store *store)
{
    struct cache_redis_part *part = store->part;
    char key[KEY_ROOM], ttl_ms[24];
    size_t size = cache_value_size(store->answer, store->row);
    if (!size || size > VALUE_BYTES_MAX)
        return STORE_SKIPPED_LARGE;
    cache->value.length = 0;
    uint8_t *value = (uint8_t *)buf_reserve(&cache->value, size);
    cache->value.failed = false; /* for the next one */
    if (!value || cache_value_write(&store->key, wall_ms(), store->answer, store->row, value, size) != GW_OK)
        return STORE_SKIPPED_FULL;
    uint64_t ttl = store->ttl_us / 1000;
    snprintf(ttl_ms, sizeof ttl_ms, "%" PRIu64, ttl ? ttl : 1);
    const struct redis_word words[] = {{"SET", 3},
                                       {key, key_text(part, &store->key, key)},
                                       {value, size},
                                       {"PX", 2},
                                       {ttl_ms, strlen(ttl_ms)}};
    bool sent = redis_send(cache->redis, words, sizeof words / sizeof words[0], stored, part) != 0;
    return sent ? STORE_STORED : STORE_SKIPPED_FULL;
}

/* Later in the turn, when the replies are on their way. A store that was sent is counted when it is answered.
 */
static void store_all(struct loop_task *task)
{
    struct cache_redis *cache = container_of(task, struct cache_redis, storing);
    cache->storing_posted = false;
    if (cache->closing) {
        cache_destroy(cache);
        return;
    }
    for (uint32_t i = 0; i < cache->n_stores; i++) {
        enum store_end end = store_send(cache, &cache->stores[i]);
        if (end != STORE_STORED)
            metric_add(cache->stores[i].part->stores[end], 1);
    }
    stores_drop(cache);
}

/* --- what operators see --- */

void cache_redis_status(struct cache_redis *cache, struct cache_redis_status *status)
{
    redis_status(cache->redis, &status->redis);
    status->stores_off = atomic_load_explicit(&cache->stores_off, memory_order_relaxed);
}

bool cache_redis_awaits(struct cache_redis *cache, const char *version)
{
    pthread_mutex_lock(&cache->lock);
    const struct cache_redis_part *part = part_find(cache, version);
    pthread_mutex_unlock(&cache->lock); /* parts live as long as the cache */
    return !part || atomic_load_explicit(&part->awaited, memory_order_relaxed);
}
