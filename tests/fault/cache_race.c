/*
 * Threads hammer one small cache: each leads, joins, fills, fails, abandons, leaves and hits as chance has
 * it. Checked: an answer is the one of its key; each waiter is woken once, or left and never woken; nobody is
 * forgotten; a key never has two leaders. ThreadSanitizer and AddressSanitizer check the rest.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/cache.h"

enum { THREADS = 4, KEYS = 300, WAITERS = 64, LEADS = 16 };
#define RUN_US 2000000ULL
#define BUDGET (64 * 1024)

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                          \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

struct hammer {
    struct cache *cache;
    _Atomic uint32_t leaders[KEYS]; /* who leads a key: 0 or 1, at any time */
    _Atomic uint64_t hits, joined, answers, failures, retries, left;
};

struct seat {
    struct cache_waiter waiter;
    struct actor *actor;
    uint64_t n;                                /* the key it waits for */
    enum { FREE, IN_LINE, TO_BE_WOKEN } state; /* TO_BE_WOKEN: it wanted to leave, too late */
};

/* One thread: its loop, its rows that wait, and the keys it owes the cache. */
struct actor {
    struct hammer *hammer;
    struct loop *loop;
    struct loop_task step;
    uint64_t random, end_us;
    uint64_t leads[LEADS];
    uint32_t n_leads;
    struct seat seats[WAITERS];
    uint32_t n_waiting;
};

static uint32_t dice(struct actor *actor, uint32_t sides)
{
    actor->random = actor->random * 6364136223846793005 + 1442695040888963407;
    return (uint32_t)(actor->random >> 33) % sides;
}

static struct cache_key key_of(uint64_t n)
{
    uint64_t z = (n + 1) * 0x9E3779B97F4A7C15;
    return (struct cache_key){{z ^ z >> 29, z * 0xD6E8FEB86659FD93}};
}

static struct predict_result *answer_of(uint64_t n)
{
    struct predict_result *result = predict_result_new();
    CHECK(result);
    struct tensor *output = arena_zalloc(&result->arena, sizeof *output);
    uint64_t *data = arena_alloc(&result->arena, 64 * sizeof *data);
    CHECK(output && data);
    for (int i = 0; i < 64; i++)
        data[i] = n;
    *output = (struct tensor){.spec = {.name = "n", .datatype = DT_UINT64, .dims = 2, .shape = {1, 64}},
                              .data = (const uint8_t *)data,
                              .bytes = 64 * sizeof *data};
    result->n_rows = 1;
    result->n_outputs = 1;
    result->outputs = output;
    return result;
}

static void check_answer(struct predict_result *answer, uint64_t n)
{
    uint64_t data[64];
    CHECK(answer && answer->n_rows == 1 && answer->outputs[0].bytes == sizeof data);
    memcpy(data, answer->outputs[0].data, sizeof data);
    CHECK(data[0] == n && data[63] == n);
    predict_result_unref(answer);
}

static void on_woken(struct cache_waiter *waiter)
{
    struct seat *seat = container_of(waiter, struct seat, waiter);
    struct hammer *hammer = seat->actor->hammer;
    CHECK(seat->state != FREE);
    if (waiter->how == CACHE_WOKEN_ANSWER) {
        check_answer(waiter->answer, seat->n);
        hammer->answers++;
    } else if (waiter->how == CACHE_WOKEN_FAILED) {
        CHECK(waiter->err.status == GW_E_MODEL && strtoull(waiter->err.what, NULL, 10) == seat->n);
        hammer->failures++;
    } else {
        hammer->retries++;
    }
    seat->state = FREE;
    seat->actor->n_waiting--;
}

static void look(struct actor *actor)
{
    struct seat *seat = &actor->seats[dice(actor, WAITERS)];
    struct hammer *hammer = actor->hammer;
    struct predict_result *answer = NULL;
    if (seat->state != FREE || actor->n_leads == LEADS)
        return;
    uint64_t n = dice(actor, 4) ? dice(actor, KEYS / 10) : dice(actor, KEYS);
    seat->waiter = (struct cache_waiter){.loop = actor->loop, .woken = on_woken};
    seat->n = n;
    switch (cache_lookup(hammer->cache, key_of(n), loop_now_us(), &seat->waiter, &answer)) {
    case CACHE_HIT:
        check_answer(answer, n);
        hammer->hits++;
        break;
    case CACHE_LEAD:
        CHECK(atomic_fetch_add(&hammer->leaders[n], 1) == 0);
        actor->leads[actor->n_leads++] = n;
        break;
    case CACHE_JOINED:
        seat->state = IN_LINE;
        actor->n_waiting++;
        hammer->joined++;
        break;
    case CACHE_PASS:
        break;
    }
}

static void settle_lead(struct actor *actor)
{
    struct hammer *hammer = actor->hammer;
    if (!actor->n_leads)
        return;
    uint32_t i = dice(actor, actor->n_leads);
    uint64_t n = actor->leads[i];
    actor->leads[i] = actor->leads[--actor->n_leads];
    CHECK(atomic_fetch_sub(&hammer->leaders[n], 1) == 1);
    uint32_t how = dice(actor, 8);
    if (how == 0) {
        cache_abandon(hammer->cache, key_of(n));
    } else if (how == 1) {
        struct gw_err err;
        gw_err_set(&err, GW_E_MODEL, "%llu", (unsigned long long)n);
        cache_fail(hammer->cache, key_of(n), &err);
    } else {
        struct predict_result *answer = answer_of(n);
        cache_fill(hammer->cache, key_of(n), answer, 0, loop_now_us(), dice(actor, 2000), how != 2);
        predict_result_unref(answer);
    }
}

static void leave(struct actor *actor)
{
    struct seat *seat = &actor->seats[dice(actor, WAITERS)];
    if (seat->state != IN_LINE)
        return;
    if (cache_leave(actor->hammer->cache, key_of(seat->n), &seat->waiter)) {
        seat->state = FREE; /* on_woken() would trip over it */
        actor->n_waiting--;
        actor->hammer->left++;
    } else {
        seat->state = TO_BE_WOKEN;
    }
}

/* A few moves, then others' wake-ups get their turn. At the end: settle what is owed, wait for what is due.
 */
static void step(struct loop_task *task)
{
    struct actor *actor = container_of(task, struct actor, step);
    bool over = loop_now_us() >= actor->end_us;
    for (int i = 0; i < 50 && !over; i++) {
        look(actor);
        if (dice(actor, 3) == 0)
            settle_lead(actor);
        if (dice(actor, 5) == 0)
            leave(actor);
    }
    while (over && actor->n_leads)
        settle_lead(actor);
    if (over && !actor->n_waiting)
        loop_stop(actor->loop);
    else
        loop_post(actor->loop, &actor->step);
}

static void *act(void *owner)
{
    struct actor *actor = owner;
    loop_post(actor->loop, &actor->step);
    loop_run(actor->loop);
    return NULL;
}

int main(void)
{
    static struct actor actors[THREADS];
    static struct hammer hammer;
    pthread_t threads[THREADS];
    struct metrics *metrics = metrics_new();
    hammer.cache = cache_new(BUDGET, metrics);
    CHECK(metrics && hammer.cache);
    for (int i = 0; i < THREADS; i++) {
        actors[i] = (struct actor){.hammer = &hammer, .loop = loop_new(), .random = (uint64_t)i + 1};
        actors[i].step.run = step;
        actors[i].end_us = loop_now_us() + RUN_US;
        CHECK(actors[i].loop);
        for (int seat = 0; seat < WAITERS; seat++)
            actors[i].seats[seat].actor = &actors[i];
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, act, &actors[i]) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        loop_free(actors[i].loop);
    cache_free(hammer.cache);
    metrics_free(metrics);

    uint64_t woken = hammer.answers + hammer.failures + hammer.retries;
    printf("%llu hits, %llu joined: %llu answered, %llu failed, %llu told to retry, %llu left\n",
           (unsigned long long)hammer.hits, (unsigned long long)hammer.joined,
           (unsigned long long)hammer.answers, (unsigned long long)hammer.failures,
           (unsigned long long)hammer.retries, (unsigned long long)hammer.left);
    CHECK(hammer.joined == woken + hammer.left);
    CHECK(hammer.hits && hammer.answers && hammer.failures && hammer.retries && hammer.left);
    return 0;
}
