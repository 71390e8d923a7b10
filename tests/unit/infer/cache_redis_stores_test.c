/* cache_redis_stores: kept to the end of the turn, bounded, turned off by a server that takes no writes.
 * Redis is a fake. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "infer/cache_redis_stores.h"

enum { MOST = 3, TTL_US = 5000000, ANSWER_FLOATS = 4 };

/* --- the fake Redis --- */

static struct {
    bool is_up;
    uint32_t n_sent;
    char last_name[8], last_key[CACHE_REDIS_KEY_ROOM], last_ttl[8];
    redis_done *done;
    void *owner;
} server;

bool redis_is_up(const struct redis *redis)
{
    return (void)redis, server.is_up;
}
uint64_t redis_send(struct redis *redis, const struct redis_word *words, uint32_t n_words, redis_done *done,
                    void *owner)
{
    (void)redis;
    cr_assert_eq(n_words, 5);
    snprintf(server.last_name, sizeof server.last_name, "%.*s", (int)words[0].length,
             (const char *)words[0].bytes);
    snprintf(server.last_key, sizeof server.last_key, "%.*s", (int)words[1].length,
             (const char *)words[1].bytes);
    snprintf(server.last_ttl, sizeof server.last_ttl, "%.*s", (int)words[4].length,
             (const char *)words[4].bytes);
    server.done = done;
    server.owner = owner;
    return ++server.n_sent;
}

static void reply(enum redis_kind kind, const char *words)
{
    server.done(server.owner, &(struct redis_reply){.kind = kind, .bytes = words, .length = strlen(words)});
}

/* --- stores on a loop that only this test turns --- */

static struct loop *loop;
static struct metrics *metrics;
static struct cache_redis_part *part;
static struct cache_redis_stores stores;
static struct predict_result *answer;
static struct tensor output;
static const float floats[ANSWER_FLOATS] = {1, 2, 3, 4};
static uint32_t closed;

static void has_closed(struct cache_redis_stores *which)
{
    cr_assert_eq(which, &stores);
    closed++;
}

static void set_up(void)
{
    loop = loop_new();
    metrics = metrics_new();
    part = cache_redis_part_new(metrics, "xebec", "m@v");
    memset(&server, 0, sizeof server);
    server.is_up = true;
    cr_assert_eq(cache_redis_stores_init(&stores, loop, NULL, "test", MOST), GW_OK);
    part->sink = &stores;
    output =
        (struct tensor){.spec = {.name = "y", .datatype = DT_FP32, .dims = 2, .shape = {1, ANSWER_FLOATS}},
                        .data = (const uint8_t *)floats,
                        .bytes = sizeof floats};
    answer = predict_result_new();
    answer->n_rows = answer->n_outputs = 1;
    answer->outputs = &output;
}

static void tear_down(void)
{
    cr_assert_eq(answer->refs, 1, "who kept it has dropped it");
    predict_result_unref(answer);
    cache_redis_part_free(part, metrics);
    loop_free(loop);
    metrics_free(metrics);
}

TestSuite(stores, .init = set_up, .fini = tear_down);

static void add(void)
{
    const struct cache_value_key key = {{0xAB}};
    cache_redis_stores_add(&stores, part, &key, answer, 0, TTL_US);
}

static uint64_t count(enum store_end end)
{
    return atomic_load(&part->stores[end]->value);
}

static void close_stores(void)
{
    cache_redis_stores_close(&stores, has_closed);
}

Test(stores, an_answer_is_sent_at_the_end_of_the_turn_with_its_time_to_live)
{
    add();
    cr_assert_eq(server.n_sent, 0);
    loop_flush(loop);
    cr_assert_eq(server.n_sent, 1);
    cr_assert_str_eq(server.last_name, "SET");
    cr_assert_eq(strncmp(server.last_key, "xebec:1:m@v:ab00", 16), 0, "%s", server.last_key);
    cr_assert_str_eq(server.last_ttl, "5000");
    cr_assert_eq(count(STORE_STORED), 0, "not before the server says so");
    reply(REDIS_LINE, "OK");
    cr_assert_eq(count(STORE_STORED), 1);
    close_stores();
    cr_assert_eq(closed, 1);
}

Test(stores, no_more_wait_than_may_and_none_for_a_server_that_is_down)
{
    for (int i = 0; i < MOST + 2; i++)
        add();
    server.is_up = false;
    add();
    server.is_up = true;
    cr_assert_eq(count(STORE_SKIPPED_FULL), 2);
    cr_assert_eq(count(STORE_SKIPPED_DOWN), 1);
    loop_flush(loop);
    cr_assert_eq(server.n_sent, MOST);
    close_stores();
}

Test(stores, a_server_that_takes_no_writes_gets_none_until_one_succeeds)
{
    add();
    loop_flush(loop);
    reply(REDIS_ERROR, "OOM command not allowed");
    cr_assert(cache_redis_stores_are_off(&stores));
    add();
    loop_flush(loop);
    cr_assert_eq(server.n_sent, 1);
    cr_assert_eq(count(STORE_SKIPPED_OFF), 1);
    stores.off_until_us = 1; /* the while is over */
    add();
    loop_flush(loop);
    cr_assert(cache_redis_stores_are_off(&stores), "it has only been asked");
    reply(REDIS_LINE, "OK");
    cr_assert_not(cache_redis_stores_are_off(&stores));
    close_stores();
}

Test(stores, other_errors_and_lost_connections_turn_nothing_off)
{
    add();
    loop_flush(loop);
    reply(REDIS_ERROR, "ERR unknown");
    reply(REDIS_LOST, "");
    reply(REDIS_TIMEOUT, "");
    cr_assert_not(cache_redis_stores_are_off(&stores));
    cr_assert_eq(count(STORE_ERROR) + 10 * count(STORE_LOST) + 100 * count(STORE_TIMEOUT), 111);
    close_stores();
}

Test(stores, an_answer_too_large_for_a_network_is_left_out)
{
    static float many[CACHE_REDIS_VALUE_MAX / sizeof(float)];
    output.spec.shape[1] = CACHE_REDIS_VALUE_MAX / sizeof(float);
    output.data = (const uint8_t *)many;
    output.bytes = sizeof many;
    add();
    loop_flush(loop);
    cr_assert_eq(server.n_sent, 0);
    cr_assert_eq(count(STORE_SKIPPED_LARGE), 1);
    close_stores();
}

Test(stores, what_waits_when_they_close_is_dropped_and_the_end_is_told_when_the_turn_is_over)
{
    add();
    close_stores();
    cr_assert_eq(answer->refs, 1);
    cr_assert_eq(closed, 0, "the task still points at them");
    loop_flush(loop);
    cr_assert_eq(closed, 1);
    cr_assert_eq(server.n_sent, 0);
}
