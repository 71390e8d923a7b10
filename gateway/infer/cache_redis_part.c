/* cache_redis_part: its series, its keys, its estimate. */
#include "infer/cache_redis_part.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/log.h"

/* Orders of enum row_end and enum store_end. */
static const char *const row_words[ROW_END_COUNT] = {
    "hit",  "miss",     "corrupt",      "expired",      "error",           "timeout",
    "lost", "given_up", "skipped_down", "skipped_full", "skipped_sampled", "skipped_digest"};
static const char *const store_words[STORE_END_COUNT] = {
    "stored", "error", "timeout", "lost", "skipped_down", "skipped_full", "skipped_off", "skipped_large"};

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
void cache_redis_part_free(struct cache_redis_part *part, struct metrics *metrics)
{
    for (int i = 0; i < ROW_END_COUNT; i++)
        metrics_release(metrics, part->rows[i]);
    for (int i = 0; i < STORE_END_COUNT; i++)
        metrics_release(metrics, part->stores[i]);
    metrics_release(metrics, part->awaiting);
    free(part);
}

struct cache_redis_part *cache_redis_part_new(struct metrics *metrics, const char *prefix,
                                              const char *version)
{
    size_t length = strlen(version) + 1;
    struct cache_redis_part *part = calloc(1, sizeof *part + length);
    if (!part)
        return NULL;
    memcpy(part->version, version, length);
    cache_sample_init(&part->sample);
    atomic_init(&part->awaited, part->sample.awaited);
    part->prefix_length =
        (size_t)snprintf(part->prefix, sizeof part->prefix, "%s:%d:%s:", prefix, CACHE_VALUE_FORMAT, version);
    if (!part_open_metrics(part, metrics)) {
        cache_redis_part_free(part, metrics);
        return NULL;
    }
    metric_set(part->awaiting, 1);
    return part;
}

size_t cache_redis_part_key(const struct cache_redis_part *part, const struct cache_value_key *key,
                            char text[CACHE_REDIS_KEY_ROOM])
{
    memcpy(text, part->prefix, part->prefix_length);
    sodium_bin2hex(text + part->prefix_length, CACHE_REDIS_KEY_ROOM - part->prefix_length, key->hash,
                   sizeof key->hash);
    return part->prefix_length + 2 * sizeof key->hash;
}

void cache_redis_part_decide(struct cache_redis_part *part)
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
