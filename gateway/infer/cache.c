/* cache: keys, then the life of an entry from its first lookup to its eviction, one segment at a time. */
#include "infer/cache.h"

#include <malloc.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE_BYTES = 64, /* of the processor's cache: segments and sets of ghosts do not share one */
    SEGMENTS_MAX = 16,
    SEGMENT_BYTES_LEAST = 256 * 1024, /* a smaller budget has fewer segments, so that answers still fit */
    ANSWER_SHARE = 8,                 /* of a segment, at most one in so many parts for one answer */
    SMALL_SHARE = 10,         /* of a segment, one in so many parts for newcomers (the paper's tenth) */
    ROW_BYTES_EXPECTED = 512, /* sizes table and ghosts */
    GHOST_SET = LINE_BYTES / sizeof(uint64_t),
    ASKED_MAX = 3, /* lookups that an entry is given credit for (the paper's two bits) */
    CHANCES_MAX =
        64, /* entries that one eviction passes over: no lookup pays for a walk through a whole queue */
};

/*
 * An entry is where its place says; entry_move() alone changes it.
 *
 *                 fill                asked for again
 *   NOWHERE -> PENDING --------> SMALL ------------> MAIN --. second chance
 *      ^        |  ^  '--------------------------->   ^ |   |
 *      |        |  |      fill, a ghost knew it       '-+---'
 *      |        |  '------------- expired ----- SMALL, MAIN
 *      '--------'-- failed, abandoned, not stored; evicted
 */
enum place { PENDING, SMALL, MAIN, NOWHERE, PLACE_COUNT = NOWHERE };

struct entry {
    struct cache_key key;
    struct entry *chain;           /* the next of the bucket */
    struct entry *older, *newer;   /* in the queue of its place */
    struct cache_waiter *waiters;  /* while PENDING */
    struct predict_result *answer; /* while SMALL or MAIN */
    uint64_t expires_us;
    size_t bytes; /* of memory, the answer's too */
    enum place place;
    uint8_t asked;
    bool leader_waits; /* while PENDING: for a replica, if there is none; who would not must not join then */
};

struct queue {
    struct entry *oldest, *newest;
    size_t bytes;
};

/* Who was evicted from SMALL of late, newest first, by a half of the key that stands for it. */
struct ghost_set {
    uint64_t half_key[GHOST_SET];
};

struct segment {
    _Alignas(LINE_BYTES) pthread_mutex_t lock;
    size_t budget, used; /* bytes */
    struct queue queues[PLACE_COUNT];
    /*
     * Made in full at the start: growing it would hold the lock for as long as all entries take to move, and
     * memory that is not touched costs nothing.
     */
    struct entry **buckets;
    struct ghost_set *ghosts;
    size_t mask; /* number of buckets, less 1: a power of two, as is that of ghost sets */
    struct metric *hits, *joins, *misses, *evictions, *bytes, *rows;
};

struct cache {
    struct cache_key secret;
    size_t n_segments; /* a power of two */
    struct segment segments[];
};

static bool segment_open(struct segment *segment, size_t budget, struct metrics *metrics);
static void segment_close(struct segment *segment);
static enum cache_outcome segment_lookup(struct segment *segment, struct cache_key key, uint64_t now_us,
                                         struct cache_waiter *waiter, struct predict_result **answer);
static bool segment_store(struct segment *segment, struct entry *entry, struct predict_result *answer);
static bool segment_make_room(struct segment *segment, size_t bytes);
static struct entry *entry_find(const struct segment *segment, struct cache_key key);
static void entry_drop(struct segment *segment, struct entry *entry);
static void waiters_wake(struct cache_waiter *waiters, int how, struct predict_result *answer,
                         const struct gw_err *err);

static size_t power_of_two_within(size_t n)
{
    size_t power = 1;
    while (power <= n / 2)
        power *= 2;
    return power;
}

struct cache *cache_new(size_t bytes, struct metrics *metrics)
{
    size_t budget = bytes > sizeof(struct cache) ? bytes - sizeof(struct cache) : 0;
    size_t n_segments = power_of_two_within(budget / SEGMENT_BYTES_LEAST);
    if (n_segments > SEGMENTS_MAX)
        n_segments = SEGMENTS_MAX;
    size_t size = sizeof(struct cache) + n_segments * sizeof(struct segment);
    struct cache *cache = sodium_init() < 0 ? NULL : aligned_alloc(LINE_BYTES, size);
    if (!cache)
        return NULL;
    memset(cache, 0, size);
    randombytes_buf(&cache->secret, sizeof cache->secret);
    while (cache->n_segments < n_segments) {
        struct segment *segment = &cache->segments[cache->n_segments++];
        if (!segment_open(segment, budget / n_segments, metrics))
            goto fail;
    }
    return cache;
fail:
    cache_free(cache);
    return NULL;
}

void cache_free(struct cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < cache->n_segments; i++)
        segment_close(&cache->segments[i]);
    free(cache);
}

/* --- keys --- */

_Static_assert(sizeof(struct cache_key) == crypto_shorthash_siphashx24_BYTES, "a hash is a key");
_Static_assert(sizeof(struct cache_key) == crypto_shorthash_siphashx24_KEYBYTES, "of the next hash");

/* The hash of all that was absorbed before, and these bytes. */
static struct cache_key absorb(struct cache_key before, const void *bytes, size_t length)
{
    struct cache_key after;
    crypto_shorthash_siphashx24((unsigned char *)&after, bytes, length, (const unsigned char *)&before);
    return after;
}

static struct cache_key absorb_text(struct cache_key key, const char *text)
{
    return absorb(key, text, strlen(text));
}

/* Name, datatype and trailing shape: what lies before and behind shape[1..dims) is not of the row. */
static struct cache_key absorb_spec(struct cache_key key, const struct tensor_spec *spec)
{
    int64_t form[TENSOR_DIMS_MAX + 1] = {spec->datatype, spec->dims};
    for (unsigned i = 1; i < spec->dims; i++)
        form[i + 1] = spec->shape[i];
    return absorb(absorb_text(key, spec->name), form, sizeof form);
}

struct cache_key cache_context_key(const struct cache *cache, const char *version, const uint64_t digest[2],
                                   const struct tensor *inputs, uint32_t n_inputs, const char *const *outputs,
                                   uint32_t n_outputs, const uint8_t *parameters, size_t parameters_bytes)
{
    struct cache_key key = absorb_text(cache->secret, version);
    key = absorb(key, digest, 2 * sizeof digest[0]);
    key = absorb(key, &n_inputs, sizeof n_inputs);
    for (uint32_t i = 0; i < n_inputs; i++)
        key = absorb_spec(key, &inputs[i].spec);
    key = absorb(key, &n_outputs, sizeof n_outputs);
    for (uint32_t i = 0; i < n_outputs; i++)
        key = absorb_text(key, outputs[i]);
    return absorb(key, parameters, parameters_bytes);
}

struct cache_key cache_row_key(struct cache_key context, const struct tensor *inputs, uint32_t n_inputs,
                               uint32_t row)
{
    struct cache_key key = context;
    for (uint32_t i = 0; i < n_inputs; i++) {
        size_t bytes;
        const uint8_t *data = tensor_row(&inputs[i], row, &bytes);
        key = absorb(key, data, bytes);
    }
    return key;
}

/* --- a row's way: segments by the key's first bits, buckets by its last --- */

static struct segment *segment_lock(struct cache *cache, struct cache_key key)
{
    struct segment *segment = &cache->segments[(key.word[0] >> 60) & (cache->n_segments - 1)];
    pthread_mutex_lock(&segment->lock);
    return segment;
}

static void segment_unlock(struct segment *segment)
{
    metric_set(segment->bytes, segment->used);
    pthread_mutex_unlock(&segment->lock);
}

enum cache_outcome cache_lookup(struct cache *cache, struct cache_key key, uint64_t now_us,
                                struct cache_waiter *waiter, struct predict_result **answer)
{
    struct segment *segment = segment_lock(cache, key);
    enum cache_outcome outcome = segment_lookup(segment, key, now_us, waiter, answer);
    segment_unlock(segment);
    return outcome;
}

static struct entry *entry_pending(const struct segment *segment, struct cache_key key)
{
    struct entry *entry = entry_find(segment, key);
    return entry && entry->place == PENDING ? entry : NULL;
}

static struct cache_waiter *waiters_take(struct entry *entry)
{
    struct cache_waiter *waiters = entry->waiters;
    entry->waiters = NULL;
    for (struct cache_waiter *waiter = waiters; waiter; waiter = waiter->next)
        waiter->link = NULL;
    return waiters;
}

/* Waiters are woken, and the answer copied, outside the lock: both are longer than what it protects. */
void cache_fill(struct cache *cache, struct cache_key key, const struct predict_result *answer, uint32_t row,
                uint64_t now_us, uint64_t ttl_us, bool store)
{
    struct predict_result *copy = predict_result_row(answer, row);
    struct cache_waiter *waiters = NULL;
    struct segment *segment = segment_lock(cache, key);
    struct entry *entry = entry_pending(segment, key);
    if (entry) {
        waiters = waiters_take(entry);
        entry->expires_us = ttl_us > UINT64_MAX - now_us ? UINT64_MAX : now_us + ttl_us;
        if (!copy || !store || !segment_store(segment, entry, copy))
            entry_drop(segment, entry);
    }
    segment_unlock(segment);
    waiters_wake(waiters, copy ? CACHE_WOKEN_ANSWER : CACHE_WOKEN_RETRY, copy, NULL);
    predict_result_unref(copy);
}

static struct cache_waiter *give_up(struct cache *cache, struct cache_key key)
{
    struct cache_waiter *waiters = NULL;
    struct segment *segment = segment_lock(cache, key);
    struct entry *entry = entry_pending(segment, key);
    if (entry) {
        waiters = waiters_take(entry);
        entry_drop(segment, entry);
    }
    segment_unlock(segment);
    return waiters;
}

void cache_fail(struct cache *cache, struct cache_key key, const struct gw_err *err)
{
    waiters_wake(give_up(cache, key), CACHE_WOKEN_FAILED, NULL, err);
}

void cache_abandon(struct cache *cache, struct cache_key key)
{
    waiters_wake(give_up(cache, key), CACHE_WOKEN_RETRY, NULL, NULL);
}

/* --- waiters --- */

static void waiter_join(struct entry *entry, struct cache_waiter *waiter)
{
    waiter->next = entry->waiters;
    waiter->link = &entry->waiters;
    if (waiter->next)
        waiter->next->link = &waiter->next;
    entry->waiters = waiter;
}

bool cache_leave(struct cache *cache, struct cache_key key, struct cache_waiter *waiter)
{
    struct segment *segment = segment_lock(cache, key);
    bool in_line = waiter->link != NULL;
    if (in_line) {
        *waiter->link = waiter->next;
        if (waiter->next)
            waiter->next->link = waiter->link;
        waiter->link = NULL;
    }
    segment_unlock(segment);
    return in_line;
}

static void waiter_run(struct loop_task *task)
{
    struct cache_waiter *waiter = container_of(task, struct cache_waiter, task);
    waiter->woken(waiter);
}

/* A waiter is its loop's as soon as it is posted. */
static void waiters_wake(struct cache_waiter *waiters, int how, struct predict_result *answer,
                         const struct gw_err *err)
{
    for (struct cache_waiter *waiter = waiters, *next; waiter; waiter = next) {
        next = waiter->next;
        waiter->how = how;
        waiter->answer = answer ? predict_result_ref(answer) : NULL;
        if (err)
            waiter->err = *err;
        waiter->task.run = waiter_run;
        loop_post(waiter->loop, &waiter->task);
    }
}

/* --- entries; from here on the segment's lock is held --- */

/* What malloc gave for this, with the word that it keeps for itself. */
static size_t memory_bytes(void *memory)
{
    return malloc_usable_size(memory) + sizeof(size_t);
}

static struct entry **bucket_of(const struct segment *segment, struct cache_key key)
{
    return &segment->buckets[key.word[0] & segment->mask];
}

static struct entry *entry_find(const struct segment *segment, struct cache_key key)
{
    struct entry *entry = *bucket_of(segment, key);
    while (entry && (entry->key.word[0] != key.word[0] || entry->key.word[1] != key.word[1]))
        entry = entry->chain;
    return entry;
}

/* To the newest end of a place's queue, or out of all. */
static void entry_move(struct segment *segment, struct entry *entry, enum place place)
{
    if (entry->place != NOWHERE) {
        struct queue *from = &segment->queues[entry->place];
        *(entry->older ? &entry->older->newer : &from->oldest) = entry->newer;
        *(entry->newer ? &entry->newer->older : &from->newest) = entry->older;
        from->bytes -= entry->bytes;
    }
    entry->place = place;
    if (place != NOWHERE) {
        struct queue *to = &segment->queues[place];
        entry->older = to->newest;
        entry->newer = NULL;
        *(to->newest ? &to->newest->newer : &to->oldest) = entry;
        to->newest = entry;
        to->bytes += entry->bytes;
    }
}

/* Gives an entry its answer, or takes it away (NULL). */
static void entry_set_answer(struct segment *segment, struct entry *entry, struct predict_result *answer)
{
    size_t bytes = memory_bytes(entry) + (answer ? answer->bytes : 0);
    segment->queues[entry->place].bytes += bytes - entry->bytes;
    segment->used += bytes - entry->bytes;
    metric_add(segment->rows, (answer ? 1u : 0u) - (entry->answer ? 1ull : 0ull));
    predict_result_unref(entry->answer);
    entry->answer = answer;
    entry->bytes = bytes;
}

static void entry_drop(struct segment *segment, struct entry *entry)
{
    struct entry **at = bucket_of(segment, entry->key);
    while (*at != entry)
        at = &(*at)->chain;
    *at = entry->chain;
    entry_set_answer(segment, entry, NULL);
    entry_move(segment, entry, NOWHERE);
    segment->used -= entry->bytes;
    free(entry);
}

/* A row that somebody now computes. NULL: no memory, within the budget or at all. */
static struct entry *entry_new(struct segment *segment, struct cache_key key, bool leader_waits)
{
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->bytes = memory_bytes(entry);
    if (!segment_make_room(segment, entry->bytes)) {
        free(entry);
        return NULL;
    }
    entry->key = key;
    entry->leader_waits = leader_waits;
    entry->place = NOWHERE;
    entry->chain = *bucket_of(segment, key);
    *bucket_of(segment, key) = entry;
    segment->used += entry->bytes;
    entry_move(segment, entry, PENDING);
    return entry;
}

static enum cache_outcome segment_lookup(struct segment *segment, struct cache_key key, uint64_t now_us,
                                         struct cache_waiter *waiter, struct predict_result **answer)
{
    struct entry *entry = entry_find(segment, key);
    if (!entry) {
        metric_add(segment->misses, 1);
        return entry_new(segment, key, waiter->waits) ? CACHE_LEAD : CACHE_PASS;
    }
    if (entry->asked < ASKED_MAX)
        entry->asked++;
    if (entry->place == PENDING && entry->leader_waits && !waiter->waits) {
        metric_add(segment->misses, 1);
        return CACHE_PASS;
    }
    if (entry->place == PENDING) {
        metric_add(segment->joins, 1);
        waiter_join(entry, waiter);
        return CACHE_JOINED;
    }
    if (now_us >= entry->expires_us) {
        metric_add(segment->misses, 1);
        entry_set_answer(segment, entry, NULL);
        entry->leader_waits = waiter->waits;
        entry_move(segment, entry, PENDING);
        return CACHE_LEAD;
    }
    metric_add(segment->hits, 1);
    *answer = predict_result_ref(entry->answer);
    return CACHE_HIT;
}

/* --- ghosts --- */

static struct ghost_set *ghost_set_of(const struct segment *segment, struct cache_key key)
{
    return &segment->ghosts[key.word[0] & (segment->mask / GHOST_SET)];
}

static void ghost_remember(struct segment *segment, struct cache_key key)
{
    uint64_t *ghost = ghost_set_of(segment, key)->half_key;
    memmove(ghost + 1, ghost, (GHOST_SET - 1) * sizeof *ghost);
    ghost[0] = key.word[1];
}

/* Whether this key was remembered; it no longer is. */
static bool ghost_forget(struct segment *segment, struct cache_key key)
{
    uint64_t *ghost = ghost_set_of(segment, key)->half_key;
    for (int i = 0; i < GHOST_SET; i++)
        if (ghost[i] == key.word[1]) {
            ghost[i] = 0;
            return true;
        }
    return false;
}

/* --- room: S3-FIFO --- */

static bool segment_store(struct segment *segment, struct entry *entry, struct predict_result *answer)
{
    if (answer->bytes > segment->budget / ANSWER_SHARE || !segment_make_room(segment, answer->bytes))
        return false;
    entry_set_answer(segment, entry, predict_result_ref(answer));
    entry_move(segment, entry, ghost_forget(segment, entry->key) ? MAIN : SMALL);
    return true;
}

/* Evicts one entry; false when there is none that could go. */
static bool segment_evict(struct segment *segment)
{
    struct queue *newcomers = &segment->queues[SMALL], *settled = &segment->queues[MAIN];
    for (int chances = CHANCES_MAX;; chances--) {
        bool is_small =
            newcomers->oldest && (newcomers->bytes > segment->budget / SMALL_SHARE || !settled->oldest);
        struct entry *entry = is_small ? newcomers->oldest : settled->oldest;
        if (!entry)
            return false;
        if (!entry->asked || !chances) {
            if (is_small)
                ghost_remember(segment, entry->key);
            entry_drop(segment, entry);
            metric_add(segment->evictions, 1);
            return true;
        }
        entry->asked = is_small ? 0 : (uint8_t)(entry->asked - 1);
        entry_move(segment, entry, MAIN);
    }
}

static bool segment_make_room(struct segment *segment, size_t bytes)
{
    while (segment->used + bytes > segment->budget)
        if (!segment_evict(segment))
            return false;
    return true;
}

static bool segment_open(struct segment *segment, size_t budget, struct metrics *metrics)
{
    size_t n_buckets = power_of_two_within(budget / ROW_BYTES_EXPECTED);
    size_t n_sets = (n_buckets - 1) / GHOST_SET + 1;
    pthread_mutex_init(&segment->lock, NULL);
    segment->mask = n_buckets - 1;
    segment->budget = budget;
    segment->buckets = calloc(n_buckets, sizeof(struct entry *));
    segment->ghosts = calloc(n_sets, sizeof *segment->ghosts);
    segment->hits = metrics_series(metrics, METRIC_CACHE_HITS, NULL);
    segment->joins = metrics_series(metrics, METRIC_CACHE_JOINS, NULL);
    segment->misses = metrics_series(metrics, METRIC_CACHE_MISSES, NULL);
    segment->evictions = metrics_series(metrics, METRIC_CACHE_EVICTIONS, NULL);
    segment->bytes = metrics_series(metrics, METRIC_CACHE_BYTES, NULL);
    segment->rows = metrics_series(metrics, METRIC_CACHE_ROWS, NULL);
    if (!segment->buckets || !segment->ghosts || !segment->hits || !segment->joins || !segment->misses ||
        !segment->evictions || !segment->bytes || !segment->rows)
        return false;
    segment->used = sizeof *segment + memory_bytes(segment->buckets) + memory_bytes(segment->ghosts);
    metric_set(segment->bytes, segment->used);
    return true;
}

static void segment_close(struct segment *segment)
{
    for (enum place place = PENDING; place < PLACE_COUNT; place++)
        while (segment->queues[place].oldest)
            entry_drop(segment, segment->queues[place].oldest);
    if (segment->bytes)
        metric_set(segment->bytes, 0);
    free(segment->buckets);
    free(segment->ghosts);
    pthread_mutex_destroy(&segment->lock);
}
