/* The cache: keys, single-flight, time, the bound on bytes, and what survives a scan. */
#include "infer/cache.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- malloc, counted: all that the program holds, as the cache should see it --- */

#ifdef __has_feature /* clang's way to say it */
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)
enum { HEAP_IS_COUNTED = false }; /* the sanitizer's own malloc stands before ours */
static size_t heap_bytes;
#else
enum { HEAP_IS_COUNTED = true };
static _Atomic size_t heap_bytes;

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static size_t chunk_bytes(void *memory)
{
    return memory ? malloc_usable_size(memory) + sizeof(size_t) : 0;
}

static void *counted(void *memory)
{
    heap_bytes += chunk_bytes(memory);
    return memory;
}

void *malloc(size_t bytes)
{
    return counted(__libc_malloc(bytes));
}
void *calloc(size_t n, size_t bytes)
{
    return counted(__libc_calloc(n, bytes));
}
void *aligned_alloc(size_t alignment, size_t bytes)
{
    return counted(__libc_memalign(alignment, bytes));
}

void *realloc(void *old, size_t bytes)
{
    size_t had = chunk_bytes(old);
    void *memory = __libc_realloc(old, bytes);
    if (memory)
        heap_bytes -= had;
    return counted(memory);
}

void free(void *memory)
{
    heap_bytes -= chunk_bytes(memory);
    __libc_free(memory);
}
#endif

#define TTL 600000000ULL
#define KiB 1024ULL
#define MiB (1024 * KiB)

static struct metrics *metrics;
static struct cache *cache;
static struct loop *loop;

static void open_cache(size_t bytes)
{
    metrics = metrics_new();
    cache = cache_new(bytes, metrics);
    loop = loop_new();
    cr_assert(metrics && cache && loop);
}

static void close_cache(void)
{
    cache_free(cache);
    loop_free(loop);
    metrics_free(metrics);
}

/* A series without labels, as it is rendered. */
static uint64_t metric_read(const char *name)
{
    struct buf text = {0};
    char line[80];
    unsigned long long value = 0;
    metrics_render(metrics, &text);
    buf_append(&text, "", 1);
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = text.failed ? NULL : strstr(text.bytes, line);
    cr_assert_not_null(at, "%s is not rendered", name);
    cr_assert_eq(sscanf(at + strlen(line), "%llu", &value), 1);
    buf_clear(&text);
    return value;
}

/* Keys as siphash would make them: all bits vary. */
static struct cache_key key_of(uint64_t n)
{
    uint64_t z = n * 0x9E3779B97F4A7C15 + 1;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    z ^= z >> 31;
    return (struct cache_key){{z, z * 0xD6E8FEB86659FD93 ^ n}};
}

/* One output "label" of n_rows rows: row i holds `first + i`, `padding` more elements follow. */
static struct predict_result *answer_of(int64_t first, uint32_t n_rows, size_t padding)
{
    struct predict_result *result = predict_result_new();
    size_t elements = 1 + padding;
    int64_t *data = arena_zalloc(&result->arena, n_rows * elements * sizeof *data);
    struct tensor *output = arena_zalloc(&result->arena, sizeof *output);
    for (uint32_t row = 0; row < n_rows; row++)
        data[row * elements] = first + row;
    *output = (struct tensor){.data = (const uint8_t *)data, .bytes = n_rows * elements * sizeof *data};
    output->spec = (struct tensor_spec){
        .name = "label", .datatype = DT_INT64, .dims = 2, .shape = {n_rows, (int64_t)elements}};
    result->n_rows = n_rows;
    result->n_outputs = 1;
    result->outputs = output;
    return result;
}

static int64_t label(const struct predict_result *answer)
{
    int64_t value;
    cr_assert_eq(answer->n_rows, 1);
    memcpy(&value, answer->outputs[0].data, sizeof value);
    return value;
}

/* Takes the reference of a HIT. */
static int64_t take_label(struct predict_result *answer)
{
    int64_t value = label(answer);
    predict_result_unref(answer);
    return value;
}

static enum cache_outcome look(uint64_t n, uint64_t now_us, struct predict_result **answer)
{
    static struct cache_waiter nobody;
    return cache_lookup(cache, key_of(n), now_us, &nobody, answer);
}

static void fill(uint64_t n, uint64_t now_us, uint64_t ttl_us, size_t padding)
{
    struct predict_result *answer = answer_of((int64_t)n, 1, padding);
    cache_fill(cache, key_of(n), answer, 0, now_us, ttl_us, true);
    predict_result_unref(answer);
}

/* What a request does: look up; compute and fill when it leads. True on a hit. */
static bool ask(uint64_t n, uint64_t now_us)
{
    struct predict_result *answer;
    enum cache_outcome outcome = look(n, now_us, &answer);
    if (outcome == CACHE_LEAD)
        fill(n, now_us, TTL, 0);
    else if (outcome == CACHE_HIT)
        cr_assert_eq(take_label(answer), (int64_t)n);
    return outcome == CACHE_HIT;
}

/* --- hits, time --- */

Test(cache, answers_what_was_filled_until_its_time_is_over)
{
    struct predict_result *answer = NULL;
    open_cache(MiB);
    cr_assert_eq(look(1, 1000, &answer), CACHE_LEAD);
    fill(1, 1000, 500, 0);
    cr_assert_eq(look(1, 1499, &answer), CACHE_HIT);
    cr_assert_eq(take_label(answer), 1);
    cr_assert_eq(metric_read("xebec_cache_rows"), 1);
    cr_assert_eq(look(1, 1500, &answer), CACHE_LEAD, "its time is over");
    cr_assert_eq(metric_read("xebec_cache_rows"), 0);
    fill(1, 1500, UINT64_MAX, 0);
    cr_assert_eq(look(1, UINT64_MAX - 1, &answer), CACHE_HIT, "a time to live that overflows is for ever");
    predict_result_unref(answer);
    cr_assert_eq(metric_read("xebec_cache_hits_total"), 2);
    cr_assert_eq(metric_read("xebec_cache_misses_total"), 2);
    cr_assert_eq(metric_read("xebec_cache_evictions_total"), 0);
    close_cache();
}

Test(cache, copies_the_one_row_and_outlives_eviction_by_reference)
{
    struct predict_result *answer = NULL, *batch = answer_of(40, 3, 0);
    open_cache(MiB);
    cr_assert_eq(look(1, 0, &answer), CACHE_LEAD);
    cache_fill(cache, key_of(1), batch, 2, 0, TTL, true);
    predict_result_unref(batch);
    cr_assert_eq(look(1, 1, &answer), CACHE_HIT);
    close_cache();
    cr_assert_eq(take_label(answer), 42);
}

Test(cache, keeps_nothing_that_it_must_not_store_or_that_is_too_large)
{
    struct predict_result *answer, *one = answer_of(1, 1, 0);
    open_cache(MiB);
    cr_assert_eq(look(1, 0, &answer), CACHE_LEAD);
    cache_fill(cache, key_of(1), one, 0, 0, TTL, false);
    cr_assert_eq(look(1, 0, &answer), CACHE_LEAD);
    cache_fill(cache, key_of(1), one, 0, 0, TTL, true);

    cr_assert_eq(look(2, 0, &answer), CACHE_LEAD);
    fill(2, 0, TTL, 100 * KiB); /* 800 KiB */
    cr_assert_eq(look(2, 0, &answer), CACHE_LEAD);
    cr_assert_eq(look(1, 0, &answer), CACHE_HIT, "and nothing was evicted for it");
    predict_result_unref(answer);
    predict_result_unref(one);
    close_cache();
}

Test(cache, forgives_a_leader_that_nobody_knows)
{
    struct predict_result *answer, *one = answer_of(1, 1, 0), *two = answer_of(2, 1, 0);
    struct gw_err err = {.status = GW_E_MODEL, .what = "no"};
    open_cache(MiB);
    cache_fill(cache, key_of(1), one, 0, 0, TTL, true);
    cache_fail(cache, key_of(1), &err);
    cache_abandon(cache, key_of(1));
    cr_assert_eq(look(1, 0, &answer), CACHE_LEAD);
    cache_fill(cache, key_of(1), one, 0, 0, TTL, true);
    cache_fill(cache, key_of(1), two, 0, 0, TTL, true);
    cache_fail(cache, key_of(1), &err);
    cache_abandon(cache, key_of(1));
    cr_assert_eq(look(1, 0, &answer), CACHE_HIT, "what is stored does not change by it");
    cr_assert_eq(take_label(answer), 1);
    predict_result_unref(one);
    predict_result_unref(two);
    close_cache();
}

/* --- single-flight --- */

enum { WAITERS = 20 };

struct crowd {
    struct cache_waiter waiters[WAITERS];
    bool woken[WAITERS];
    int n_woken;
};
static struct crowd crowd;

static void on_woken(struct cache_waiter *waiter)
{
    long i = waiter - crowd.waiters;
    cr_assert_not(crowd.woken[i], "waiter %ld was woken twice", i);
    crowd.woken[i] = true;
    crowd.n_woken++;
}

static void stop_loop(struct loop_task *task)
{
    (void)task;
    loop_stop(loop);
}

/* Runs what was posted to the loop so far. */
static void run_posted(void)
{
    struct loop_task stop = {.run = stop_loop};
    loop_post(loop, &stop);
    loop_run(loop);
}

/* One leads, the others join. */
static void gather(uint64_t n)
{
    struct predict_result *answer;
    memset(&crowd, 0, sizeof crowd);
    cr_assert_eq(look(n, 0, &answer), CACHE_LEAD);
    for (int i = 0; i < WAITERS; i++) {
        crowd.waiters[i] = (struct cache_waiter){.loop = loop, .woken = on_woken};
        cr_assert_eq(cache_lookup(cache, key_of(n), 0, &crowd.waiters[i], &answer), CACHE_JOINED);
    }
}

Test(cache, computes_identical_rows_once_and_gives_each_the_answer)
{
    open_cache(MiB);
    gather(7);
    fill(7, 0, TTL, 0);
    cr_assert_eq(crowd.n_woken, 0, "never inside cache_fill()");
    run_posted();
    cr_assert_eq(crowd.n_woken, WAITERS);
    for (int i = 0; i < WAITERS; i++) {
        cr_assert_eq(crowd.waiters[i].how, CACHE_WOKEN_ANSWER);
        cr_assert_eq(take_label(crowd.waiters[i].answer), 7); /* each its own reference, or ASan speaks up */
    }
    cr_assert_eq(metric_read("xebec_cache_joins_total"), WAITERS);
    cr_assert_eq(metric_read("xebec_cache_misses_total"), 1);
    close_cache();
}

/* Of two who lead and follow: whether each waits for a replica where there is none. */
static enum cache_outcome follow(uint64_t n, bool leader_waits, bool follower_waits)
{
    static struct cache_waiter leader, follower;
    struct predict_result *answer;
    leader = (struct cache_waiter){.waits = leader_waits};
    follower = (struct cache_waiter){.loop = loop, .waits = follower_waits};
    cr_assert_eq(cache_lookup(cache, key_of(n), n * TTL, &leader, &answer), CACHE_LEAD);
    enum cache_outcome outcome = cache_lookup(cache, key_of(n), n * TTL, &follower, &answer);
    if (outcome == CACHE_JOINED)
        cr_assert(cache_leave(cache, key_of(n), &follower));
    return outcome;
}

Test(cache, who_does_not_wait_for_a_replica_does_not_wait_for_those_who_do)
{
    struct predict_result *answer;
    open_cache(MiB);
    cr_expect_eq(follow(1, false, false), CACHE_JOINED);
    cr_expect_eq(follow(2, false, true), CACHE_JOINED);
    cr_expect_eq(follow(3, true, true), CACHE_JOINED);
    cr_expect_eq(follow(4, true, false), CACHE_PASS);
    fill(4, 0, TTL, 0);
    cr_expect_eq(look(4, 0, &answer), CACHE_HIT, "an answer is for all");
    cr_expect_eq(take_label(answer), 4);
    cr_expect_eq(follow(4, true, false), CACHE_PASS, "also of a row that is led anew, having expired");
    close_cache();
}

Test(cache, hands_on_answers_that_are_not_stored)
{
    struct predict_result *answer, *one = answer_of(9, 1, 0);
    open_cache(MiB);
    gather(7);
    cache_fill(cache, key_of(7), one, 0, 0, TTL, false);
    run_posted();
    for (int i = 0; i < WAITERS; i++)
        cr_assert_eq(take_label(crowd.waiters[i].answer), 9);
    gather(8);
    fill(8, 0, TTL, 100 * KiB);
    run_posted();
    for (int i = 0; i < WAITERS; i++)
        cr_assert_eq(take_label(crowd.waiters[i].answer), 8);
    cr_assert_eq(look(7, 0, &answer), CACHE_LEAD);
    cr_assert_eq(look(8, 0, &answer), CACHE_LEAD);
    predict_result_unref(one);
    close_cache();
}

Test(cache, fails_all_who_wait_and_stores_nothing)
{
    struct predict_result *answer;
    struct gw_err err = {.status = GW_E_MODEL, .what = "ValueError: no"};
    open_cache(MiB);
    gather(7);
    cache_fail(cache, key_of(7), &err);
    memset(&err, 0, sizeof err); /* copied */
    run_posted();
    cr_assert_eq(crowd.n_woken, WAITERS);
    for (int i = 0; i < WAITERS; i++) {
        cr_assert_eq(crowd.waiters[i].how, CACHE_WOKEN_FAILED);
        cr_assert_null(crowd.waiters[i].answer);
        cr_assert_eq(crowd.waiters[i].err.status, GW_E_MODEL);
        cr_assert_str_eq(crowd.waiters[i].err.what, "ValueError: no");
    }
    cr_assert_eq(look(7, 0, &answer), CACHE_LEAD);
    close_cache();
}

Test(cache, finds_exactly_one_new_leader_when_the_first_gives_up)
{
    struct predict_result *answer;
    int leaders = 0;
    open_cache(MiB);
    gather(7);
    cache_abandon(cache, key_of(7));
    run_posted();
    cr_assert_eq(crowd.n_woken, WAITERS);
    for (int i = 0; i < WAITERS; i++) {
        cr_assert_eq(crowd.waiters[i].how, CACHE_WOKEN_RETRY);
        enum cache_outcome outcome = cache_lookup(cache, key_of(7), 0, &crowd.waiters[i], &answer);
        cr_assert(outcome == CACHE_LEAD || outcome == CACHE_JOINED);
        leaders += outcome == CACHE_LEAD;
    }
    cr_assert_eq(leaders, 1);
    memset(crowd.woken, 0, sizeof crowd.woken);
    fill(7, 0, TTL, 0);
    run_posted();
    cr_assert_eq(crowd.n_woken, 2 * WAITERS - 1);
    for (int i = 0; i < WAITERS; i++)
        if (crowd.woken[i])
            predict_result_unref(crowd.waiters[i].answer);
    close_cache();
}

Test(cache, lets_waiters_leave_in_any_order_and_never_wakes_them)
{
    static const int leavers[] = {0, WAITERS - 1, 5, 6, 4, 10};
    enum { LEAVERS = sizeof leavers / sizeof leavers[0] };
    open_cache(MiB);
    gather(7);
    for (int i = 0; i < LEAVERS; i++) {
        cr_assert(cache_leave(cache, key_of(7), &crowd.waiters[leavers[i]]));
        cr_assert_not(cache_leave(cache, key_of(7), &crowd.waiters[leavers[i]]), "gone already");
    }
    fill(7, 0, TTL, 0);
    cr_assert_not(cache_leave(cache, key_of(7), &crowd.waiters[1]), "its answer is on the way");
    run_posted();
    cr_assert_eq(crowd.n_woken, WAITERS - LEAVERS);
    for (int i = 0; i < LEAVERS; i++)
        cr_assert_not(crowd.woken[leavers[i]]);
    for (int i = 0; i < WAITERS; i++)
        if (crowd.woken[i])
            predict_result_unref(crowd.waiters[i].answer);

    gather(8);
    for (int i = 0; i < WAITERS; i++)
        cr_assert(cache_leave(cache, key_of(8), &crowd.waiters[i]));
    cache_abandon(cache, key_of(8));
    close_cache();
}

/* --- the bound --- */

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005 + 1442695040888963407;
    return *state >> 33;
}

/* Asks at random, answers of random sizes; now and then one that is much larger. */
static void ask_at_random(uint64_t *random)
{
    struct predict_result *answer;
    uint64_t n = next_random(random) % 50000;
    enum cache_outcome outcome = look(n, 0, &answer);
    if (outcome == CACHE_HIT)
        cr_assert_eq(take_label(answer), (int64_t)n);
    else if (outcome == CACHE_LEAD)
        fill(n, 0, TTL, next_random(random) % (next_random(random) % 100 ? 100 : 4000));
}

static void bound_holds(size_t budget)
{
    uint64_t random = budget;
    metrics = metrics_new();
    size_t before = heap_bytes;
    cache_free(cache_new(budget, metrics));
    size_t instances = heap_bytes - before; /* of metrics: the registry's, and stay */
    before = heap_bytes;
    cache = cache_new(budget, metrics);
    for (int i = 0; i < 100000; i++) {
        ask_at_random(&random);
        if (i % 1000 == 0)
            cr_assert_leq(metric_read("xebec_cache_bytes"), budget);
    }
    size_t used = metric_read("xebec_cache_bytes"), taken = heap_bytes - before - instances;
    cr_assert_leq(used, budget);
    cr_assert_geq(used, budget / 10 * 8, "the budget is there to be used: %zu of %zu", used, budget);
    cr_assert_gt(metric_read("xebec_cache_rows"), 0);
    cr_assert_gt(metric_read("xebec_cache_evictions_total"), 0);
    if (HEAP_IS_COUNTED) {
        cr_assert_leq(taken, budget, "%zu bytes of heap for a budget of %zu", taken, budget);
        cr_assert(taken <= used + 1024 && used <= taken + 1024, "the gauge says %zu, malloc %zu", used,
                  taken);
    }
    cache_free(cache);
    cr_assert_eq(metric_read("xebec_cache_bytes"), 0);
    cr_assert_eq(metric_read("xebec_cache_rows"), 0);
    metrics_free(metrics);
}

Test(cache, keeps_its_bound_and_accounts_for_all_it_takes)
{
    bound_holds(64 * KiB);
    bound_holds(1 * MiB);
    bound_holds(8 * MiB);
}

Test(cache, counts_rows_in_flight_and_passes_when_they_fill_it)
{
    struct predict_result *answer;
    uint64_t leads = 0;
    open_cache(64 * KiB);
    while (look(leads, 0, &answer) == CACHE_LEAD)
        leads++;
    cr_assert(leads > 100 && leads < 64 * KiB / 64, "%lu rows in flight", leads);
    cr_assert_leq(metric_read("xebec_cache_bytes"), 64 * KiB);
    cr_assert_eq(look(leads, 0, &answer), CACHE_PASS);
    for (uint64_t n = 0; n < leads; n += 2)
        cache_abandon(cache, key_of(n));
    for (uint64_t n = 1; n < leads; n += 2)
        fill(n, 0, TTL, 0);
    cr_assert_gt(metric_read("xebec_cache_rows"), 0);
    cr_assert_leq(metric_read("xebec_cache_bytes"), 64 * KiB);
    close_cache();
}

Test(cache, of_no_bytes_passes_everything_and_still_makes_keys)
{
    struct predict_result *answer;
    uint64_t digest[2] = {0};
    open_cache(0);
    cr_assert_eq(look(1, 0, &answer), CACHE_PASS);
    fill(1, 0, TTL, 0);
    cr_assert_eq(look(1, 0, &answer), CACHE_PASS);
    struct cache_key a = cache_context_key(cache, "a@1", digest, NULL, 0, NULL, 0, NULL, 0);
    struct cache_key b = cache_context_key(cache, "a@2", digest, NULL, 0, NULL, 0, NULL, 0);
    cr_assert_neq(a.word[0], b.word[0]);
    close_cache();
}

/* --- what survives --- */

enum { HOT = 100, SCAN = 100000 };

Test(cache, keeps_a_hot_set_through_a_scan)
{
    int hits = 0;
    open_cache(MiB); /* some 2,000 rows */
    for (int round = 0; round < 3; round++)
        for (uint64_t n = 0; n < HOT; n++)
            ask(n, 0);
    for (uint64_t n = 0; n < SCAN; n++)
        cr_assert_not(ask(1000000 + n, 0));
    cr_assert_gt(metric_read("xebec_cache_evictions_total"), SCAN / 2,
                 "a FIFO would have turned over many times");
    for (uint64_t n = 0; n < HOT; n++)
        hits += ask(n, 0);
    cr_assert_gt(hits, HOT * 9 / 10, "%d of %d survived", hits, HOT);
    close_cache();
}

Test(cache, welcomes_back_whom_it_evicted_too_early)
{
    open_cache(256 * KiB);
    int again = 0;
    for (uint64_t n = 0; n < 200; n++) /* never asked for again in time */
        ask(n, 0);
    for (uint64_t n = 1000; n < 1750; n++)
        ask(n, 0);
    for (uint64_t n = 0; n < 200; n++) /* evicted, but remembered: straight to the main queue */
        again += ask(n, 0);
    for (uint64_t n = 2000; n < 5000; n++) /* newcomers, several times what fits */
        ask(n, 0);
    int hits = 0;
    for (uint64_t n = 0; n < 200; n++)
        hits += ask(n, 0);
    cr_assert_lt(again, 100, "%d were not evicted to begin with", again);
    /* Full sets of ghosts forget some, by what malloc() hands out; without ghosts none would stay. */
    cr_assert_gt(hits, 100, "only %d of 200 stayed", hits);
    close_cache();
}

/* --- keys --- */

struct question {
    const char *version;
    uint64_t digest[2];
    struct tensor inputs[2];
    uint32_t n_inputs;
    const char *outputs[3];
    uint32_t n_outputs;
    const char *parameters;
    size_t parameters_bytes;
};

static struct question question(void)
{
    return (struct question){
        .version = "digits@forest",
        .digest = {1, 2},
        .inputs = {{.spec = {.name = "pixels", .datatype = DT_FP32, .dims = 3, .shape = {5, 2, 3}}},
                   {.spec = {.name = "mask", .datatype = DT_UINT8, .dims = 1, .shape = {5}}}},
        .n_inputs = 2,
        .outputs = {"label", "score"},
        .n_outputs = 2,
        .parameters = "abc",
        .parameters_bytes = 3,
    };
}

static struct cache_key context_of(const struct question *q)
{
    return cache_context_key(cache, q->version, q->digest, q->inputs, q->n_inputs, q->outputs, q->n_outputs,
                             (const uint8_t *)q->parameters, q->parameters_bytes);
}

static bool same(struct cache_key a, struct cache_key b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

#define DIFFERS(change)                                                                                      \
    do {                                                                                                     \
        struct question q = question();                                                                      \
        change;                                                                                              \
        cr_assert_not(same(context_of(&q), plain), #change " must change the key");                          \
        for (int i = 0; i < n_keys; i++)                                                                     \
            cr_assert_not(same(context_of(&q), keys[i]), #change " reads like an earlier one");              \
        keys[n_keys++] = context_of(&q);                                                                     \
    } while (0)

Test(cache, tells_contexts_apart_by_every_part)
{
    struct cache_key keys[40];
    int n_keys = 0;
    open_cache(MiB);
    struct question q0 = question();
    struct cache_key plain = context_of(&q0);
    cr_assert(same(context_of(&q0), plain), "the same question has the same key");
    q0.inputs[0].spec.shape[0] = 9;
    q0.inputs[0].data = (const uint8_t *)"x";
    cr_assert(same(context_of(&q0), plain), "how many rows came with it does not matter");

    DIFFERS(q.version = "digits@linear");
    DIFFERS(q.version = "digits@forestp");
    DIFFERS(q.version = "");
    DIFFERS(q.digest[0] = 9);
    DIFFERS(q.digest[1] = 9);
    DIFFERS((q.digest[0] = 2, q.digest[1] = 1));
    DIFFERS(q.n_inputs = 1);
    DIFFERS(q.inputs[0].spec.name = "pixel");
    DIFFERS(q.inputs[1].spec.name = "masks");
    DIFFERS((q.inputs[0].spec.name = "pixelsm", q.inputs[1].spec.name = "ask"));
    DIFFERS(q.inputs[0].spec.datatype = DT_INT32);
    DIFFERS(q.inputs[0].spec.shape[1] = 3);
    DIFFERS((q.inputs[0].spec.shape[1] = 3, q.inputs[0].spec.shape[2] = 2));
    DIFFERS((q.inputs[0].spec.shape[1] = 6, q.inputs[0].spec.dims = 2));
    DIFFERS((q.inputs[0].spec.dims = 4, q.inputs[0].spec.shape[3] = 0));
    DIFFERS((q.inputs[0].spec.dims = 4, q.inputs[0].spec.shape[3] = 1));
    DIFFERS(q.n_outputs = 0);
    DIFFERS(q.n_outputs = 1);
    DIFFERS((q.outputs[0] = "score", q.outputs[1] = "label"));
    DIFFERS((q.outputs[0] = "labels", q.outputs[1] = "core"));
    DIFFERS((q.outputs[2] = "", q.n_outputs = 3));
    DIFFERS((q.outputs[2] = "abc", q.n_outputs = 3, q.parameters_bytes = 0));
    DIFFERS(q.parameters = "abd");
    DIFFERS(q.parameters_bytes = 2);
    DIFFERS((q.parameters = NULL, q.parameters_bytes = 0));
    close_cache();
}

Test(cache, tells_rows_apart_by_their_bytes_and_nothing_else)
{
    static const float pixels[3][2] = {{1, 2}, {1, 3}, {1, 2}};
    static const uint8_t words[] = "\1\0\0\0a\2\0\0\0bc\2\0\0\0ab\1\0\0\0c\1\0\0\0a\2\0\0\0bc";
    static const uint32_t row_end[] = {11, 22, 33};
    struct tensor inputs[2] = {{.spec = {.name = "x", .datatype = DT_FP32, .dims = 2, .shape = {3, 2}},
                                .data = (const uint8_t *)pixels,
                                .bytes = sizeof pixels},
                               {.spec = {.name = "w", .datatype = DT_BYTES, .dims = 2, .shape = {3, 2}},
                                .data = words,
                                .bytes = 33,
                                .row_end = row_end}};
    open_cache(MiB);
    struct question q = question();
    struct cache_key context = context_of(&q);
    cr_assert_not(same(cache_row_key(context, inputs, 1, 0), cache_row_key(context, inputs, 1, 1)));
    cr_assert(same(cache_row_key(context, inputs, 1, 0), cache_row_key(context, inputs, 1, 2)));
    cr_assert_not(same(cache_row_key(context, inputs + 1, 1, 0), cache_row_key(context, inputs + 1, 1, 1)),
                  "a|bc is not ab|c");
    cr_assert(same(cache_row_key(context, inputs, 2, 0), cache_row_key(context, inputs, 2, 2)));
    cr_assert_not(same(cache_row_key(context, inputs, 2, 0), cache_row_key(context, inputs, 2, 1)));
    cr_assert_not(same(cache_row_key(context, inputs, 1, 0), context));
    q.version = "other";
    cr_assert_not(same(cache_row_key(context, inputs, 1, 0), cache_row_key(context_of(&q), inputs, 1, 0)));
    close_cache();
}

Test(cache, never_takes_a_row_for_a_context)
{
    static const uint8_t bytes[] = "abcd";
    struct tensor input = {
        .spec = {.name = "x", .datatype = DT_FP32, .dims = 1, .shape = {1}}, .data = bytes, .bytes = 4};
    open_cache(MiB);
    struct question q = question(), other = question();
    other.outputs[2] = q.parameters; /* the same texts one after the other, but each is something else */
    other.n_outputs = 3;
    other.parameters = (const char *)bytes;
    other.parameters_bytes = 4;
    cr_assert_not(same(cache_row_key(context_of(&q), &input, 1, 0), context_of(&other)));
    close_cache();
}

Test(cache, draws_a_secret_of_its_own)
{
    struct question q = question();
    open_cache(MiB);
    struct cache_key here = context_of(&q);
    close_cache();
    open_cache(MiB);
    cr_assert_not(same(here, context_of(&q)));
    close_cache();
}
