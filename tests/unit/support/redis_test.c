/* redis: the client against a server that greets, answers, lies, stalls, floods and hangs up as the test
 * says. */
#include "support/redis.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "resp_puppet.h"
#include "support/log.h"
#include "turn.h"

static char path[64], missing[] = "/nonexistent/redis.sock";
static struct redis_server server;
static struct redis_voice voice;
static struct redis_setup redis_setup_;
static struct resp_puppet *puppet;
static struct loop *loop;
static struct metrics *metrics;
static struct redis *redis;

static void setup(void)
{
    log_open(-1, LOG_ERROR_LEVEL);
    snprintf(path, sizeof path, "/tmp/xebec-redis-test-%d.sock", (int)getpid());
    server = (struct redis_server){.unix_path = path};
    redis_voice_init(&voice);
    loop = loop_new();
    metrics = metrics_new();
    puppet = resp_puppet_start(path);
    redis_setup_ = (struct redis_setup){
        .loop = loop,
        .metrics = metrics,
        .server = &server,
        .use = "test",
        .name = "tester",
        .voice = &voice,
        .connect_timeout_us = 300000,
        .command_timeout_us = 150000,
        .breaker = {.timeouts = 3, .wait_least_us = 10000, .wait_most_us = 40000},
        .commands_max = 16,
        .unsent_bytes_max = 1 << 20,
        .reply_bytes_max = 1 << 20,
    };
}

static void teardown(void)
{
    redis_free(redis);
    redis = NULL;
    cr_expect_eq(voice.clients + voice.up, 0, "nobody is left behind");
    redis_voice_clear(&voice);
    loop_free(loop);
    metrics_free(metrics);
    resp_puppet_stop(puppet);
    unlink(path);
}

TestSuite(redis, .init = setup, .fini = teardown, .timeout = 30);

static bool is_up(void *unused)
{
    (void)unused;
    return redis_is_up(redis);
}
static bool is_down(void *unused)
{
    struct redis_status status;
    (void)unused;
    redis_status(redis, &status);
    return status.state != BREAKER_CLOSED && strcmp(status.why, "connecting") != 0;
}

static void connect_redis(void)
{
    redis = redis_new(&redis_setup_);
    cr_assert(turn_until(loop, is_up, NULL, 5000));
}

static const char *why(void)
{
    static struct redis_status status;
    redis_status(redis, &status);
    return status.why;
}

/* --- what comes back, kept for the test --- */

struct heard {
    unsigned times;
    enum redis_kind kind, second;
    char bytes[64];
    size_t length, n_elements;
    int64_t integer;
    struct redis *send_again; /* from inside */
};

static void keep(void *owner, const struct redis_reply *reply)
{
    struct heard *heard = owner;
    heard->times++;
    heard->kind = reply->kind;
    heard->length = reply->length;
    heard->integer = reply->integer;
    heard->n_elements = reply->n_elements;
    snprintf(heard->bytes, sizeof heard->bytes, "%s", reply->bytes);
    if (reply->n_elements > 1)
        heard->second = reply->elements[1]->kind;
}

static bool was_heard(void *owner)
{
    return ((struct heard *)owner)->times > 0;
}

static uint64_t send_words(struct heard *heard, const char *command, const char *argument)
{
    const struct redis_word words[] = {{command, strlen(command)}, {argument, strlen(argument)}};
    return redis_send(redis, words, 2, keep, heard);
}

static struct heard ask(const char *command, const char *argument)
{
    struct heard heard = {0};
    cr_assert(send_words(&heard, command, argument));
    cr_assert_eq(heard.times, 0, "never inside redis_send()");
    cr_assert(turn_until(loop, was_heard, &heard, 5000));
    return heard;
}

/* --- well --- */

Test(redis, greets_with_all_that_it_knows)
{
    server.user = "me", server.password = "secret", server.database = 3;
    connect_redis();
    cr_assert(resp_puppet_heard(puppet, "AUTH me secret"));
    cr_assert(resp_puppet_heard(puppet, "SELECT 3"));
    cr_assert(resp_puppet_heard(puppet, "CLIENT SETNAME tester"));
    cr_assert_eq(resp_puppet_commands(puppet), 4);
    cr_assert_str_empty(why());
}

Test(redis, a_password_alone_and_database_0)
{
    server.password = "secret";
    connect_redis();
    cr_assert(resp_puppet_heard(puppet, "AUTH secret"));
    cr_assert_eq(resp_puppet_commands(puppet), 3);
}

Test(redis, every_kind_of_reply)
{
    connect_redis();
    resp_puppet_tell(puppet, "GET", "$5\r\na\r\nbc\r\n");
    struct heard heard = ask("GET", "k");
    cr_assert_eq(heard.kind, REDIS_TEXT);
    cr_assert_eq(heard.length, 5);
    cr_assert_str_eq(heard.bytes, "a\r\nbc");
    resp_puppet_tell(puppet, "GET", "$-1\r\n");
    cr_assert_eq(ask("GET", "k").kind, REDIS_NIL);
    resp_puppet_tell(puppet, "GET", ":-42\r\n");
    heard = ask("GET", "k");
    cr_assert(heard.kind == REDIS_INTEGER && heard.integer == -42);
    resp_puppet_tell(puppet, "GET", "-OOM no room\r\n");
    heard = ask("GET", "k");
    cr_assert_eq(heard.kind, REDIS_ERROR);
    cr_assert_str_eq(heard.bytes, "OOM no room");
    resp_puppet_tell(puppet, "GET", "*3\r\n$1\r\na\r\n$-1\r\n$0\r\n\r\n");
    heard = ask("GET", "k");
    cr_assert(heard.kind == REDIS_ARRAY && heard.n_elements == 3 && heard.second == REDIS_NIL);
    cr_assert_eq(ask("SET", "k").kind, REDIS_LINE);
    cr_assert(redis_is_up(redis));
}

Test(redis, commands_of_a_turn_are_answered_in_order)
{
    struct heard heard[16] = {{0}};
    connect_redis();
    resp_puppet_tell(puppet, "GET", ":7\r\n");
    for (int i = 0; i < 16; i++)
        cr_assert(send_words(&heard[i], i % 2 ? "GET" : "SET", "k"));
    cr_assert(turn_until(loop, was_heard, &heard[15], 5000));
    for (int i = 0; i < 16; i++)
        cr_assert(heard[i].times == 1 && heard[i].kind == (i % 2 ? REDIS_INTEGER : REDIS_LINE));
}

Test(redis, more_than_the_bound_is_refused)
{
    struct heard heard[17] = {{0}};
    connect_redis();
    for (int i = 0; i < 16; i++)
        cr_assert(send_words(&heard[i], "SET", "k"));
    cr_assert_not(send_words(&heard[16], "SET", "k"));
    cr_assert(turn_until(loop, was_heard, &heard[15], 5000));
    cr_assert(send_words(&heard[16], "SET", "k"));
    cr_assert(turn_until(loop, was_heard, &heard[16], 5000));
}

Test(redis, bytes_beyond_the_bound_are_refused)
{
    static char large[(1 << 20) + 1];
    struct heard heard = {0};
    const struct redis_word words[] = {{"SET", 3}, {large, sizeof large}};
    connect_redis();
    cr_assert_not(redis_send(redis, words, 2, keep, &heard));
    cr_assert_eq(ask("SET", "k").kind, REDIS_LINE);
}

Test(redis, a_cancelled_command_is_not_heard_of_and_shifts_nobody)
{
    struct heard first = {0}, second = {0};
    connect_redis();
    resp_puppet_tell(puppet, "GET", ":7\r\n");
    uint64_t ticket = send_words(&first, "GET", "k");
    cr_assert(send_words(&second, "SET", "k"));
    redis_cancel(redis, ticket);
    cr_assert(turn_until(loop, was_heard, &second, 5000));
    cr_assert_eq(second.kind, REDIS_LINE);
    cr_assert_eq(first.times, 0);
}

/* --- not let in --- */

static void expect_never_up(const char *command, const char *reply, const char *words)
{
    resp_puppet_tell(puppet, command, reply);
    redis = redis_new(&redis_setup_);
    cr_assert(turn_until(loop, is_down, NULL, 5000));
    cr_assert(strstr(why(), words), "%s", why());
    turn_for(loop, 100);
    cr_assert_not(redis_is_up(redis));
    cr_assert_gt(resp_puppet_connections(puppet), 1, "it tries again");
    resp_puppet_tell(puppet, command, NULL);
    cr_assert(turn_until(loop, is_up, NULL, 5000), "and gets in as soon as it may");
}

Test(redis, wrong_password)
{
    server.password = "secret";
    expect_never_up("AUTH", "-WRONGPASS invalid username-password pair\r\n", "WRONGPASS");
    cr_assert_not(strstr(why(), "secret"));
}
Test(redis, wrong_database)
{
    server.database = 99;
    expect_never_up("SELECT", "-ERR DB index is out of range\r\n", "out of range");
}
Test(redis, still_loading)
{
    expect_never_up("PING", "-LOADING Redis is loading the dataset in memory\r\n", "LOADING");
}
Test(redis, not_redis_at_all)
{
    expect_never_up("CLIENT", "HTTP/1.1 400 Bad Request\r\n\r\n", "protocol");
}
Test(redis, answers_ping_with_nonsense)
{
    expect_never_up("PING", "*1\r\n:1\r\n", "PING");
}
Test(redis, connects_and_says_nothing)
{
    redis_setup_.connect_timeout_us = 20000;
    expect_never_up("PING", RESP_STALL, "no connection within 20 ms");
}
Test(redis, hangs_up_on_the_greeting)
{
    expect_never_up("PING", RESP_HANGUP, "closed the connection");
}
Test(redis, a_user_who_may_neither_ping_nor_have_a_name)
{
    resp_puppet_tell(puppet, "CLIENT", "-NOPERM no\r\n");
    resp_puppet_tell(puppet, "PING", "-NOPERM no\r\n");
    connect_redis();
}

Test(redis, nobody_there)
{
    struct heard heard = {0};
    server.unix_path = missing;
    redis = redis_new(&redis_setup_);
    cr_assert(turn_until(loop, is_down, NULL, 5000));
    cr_assert(strstr(why(), "cannot connect: No such file"), "%s", why());
    cr_assert_not(send_words(&heard, "GET", "k"));
    turn_for(loop, 60);
    cr_assert_eq(heard.times, 0);
    server.unix_path = path;
    cr_assert(turn_until(loop, is_up, NULL, 5000));
}

static int look_up(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found)
{
    return strcmp(host, "redis.test") == 0 ? getaddrinfo("127.0.0.1", port, hints, found) : EAI_NONAME;
}

Test(redis, names_are_resolved)
{
    struct resolver *resolver = resolver_new_with(look_up, 1000000);
    redis_setup_.resolver = resolver;
    server = (struct redis_server){.host = "nowhere.test", .port = "1"};
    redis = redis_new(&redis_setup_);
    cr_assert(turn_until(loop, is_down, NULL, 5000));
    cr_assert(strstr(why(), "nowhere.test: "), "%s", why());
    redis_free(redis);
    server.host = "redis.test"; /* nothing listens on port 1 */
    redis = redis_new(&redis_setup_);
    cr_assert(turn_until(loop, is_down, NULL, 5000));
    cr_assert(strstr(why(), "refused"), "%s", why());
    redis_free(redis);
    redis = redis_new(&redis_setup_);
    redis_free(redis); /* while it is being looked up */
    redis = NULL;
    resolver_free(resolver);
}

/* --- faults once it was well --- */

/* One command is answered so, ends with `kind`, and the connection comes back. */
static void expect_reconnect(const char *reply, enum redis_kind kind, const char *words)
{
    connect_redis();
    resp_puppet_tell(puppet, "GET", reply);
    cr_assert_eq(ask("GET", "k").kind, kind);
    cr_assert(turn_until(loop, is_down, NULL, 5000));
    cr_assert(strstr(why(), words), "%s", why());
    resp_puppet_tell(puppet, "GET", NULL);
    cr_assert(turn_until(loop, is_up, NULL, 5000));
    cr_assert_eq(ask("GET", "k").kind, REDIS_LINE);
}

Test(redis, hangs_up)
{
    expect_reconnect(RESP_HANGUP, REDIS_LOST, "closed the connection");
}
Test(redis, breaks_the_protocol)
{
    expect_reconnect("!what\r\n", REDIS_LOST, "protocol");
}
Test(redis, a_bulk_of_impossible_length)
{
    expect_reconnect("$-77\r\nx\r\n", REDIS_LOST, "protocol");
}
Test(redis, an_array_of_two_billion)
{
    expect_reconnect("*2147483647\r\n", REDIS_LOST, "larger than");
}
Test(redis, an_array_within_arrays_without_end)
{
    expect_reconnect("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", REDIS_LOST,
                     "protocol");
}
Test(redis, a_bulk_that_never_ends)
{
    expect_reconnect(RESP_FLOOD, REDIS_LOST, "larger than");
}
Test(redis, two_replies_to_one_command)
{
    expect_reconnect(":1\r\n:2\r\n", REDIS_INTEGER, "nobody asked");
}

Test(redis, a_truncated_reply_times_out)
{
    connect_redis();
    resp_puppet_tell(puppet, "GET", "$10\r\nabc");
    cr_assert_eq(ask("GET", "k").kind, REDIS_TIMEOUT);
    cr_assert(redis_is_up(redis), "once is no reason to give up");
}

static void stall(void)
{
    redis_setup_.command_timeout_us = 20000;
    redis_setup_.connect_timeout_us = 30000;
    connect_redis();
    resp_puppet_tell(puppet, "GET", RESP_STALL);
}

Test(redis, timeouts_in_a_row_open_the_breaker)
{
    stall();
    for (int i = 0; i < 3; i++) {
        cr_assert(redis_is_up(redis));
        cr_assert_eq(ask("GET", "k").kind, REDIS_TIMEOUT);
    }
    cr_assert_not(redis_is_up(redis));
    cr_assert(strstr(why(), "3 commands in a row"), "%s", why());
    resp_puppet_tell(puppet, "PING", RESP_STALL);
    turn_for(loop, 100);
    cr_assert_not(redis_is_up(redis));
    resp_puppet_tell(puppet, "PING", NULL);
    resp_puppet_tell(puppet, "GET", NULL);
    cr_assert(turn_until(loop, is_up, NULL, 5000));
    cr_assert_eq(ask("GET", "k").kind, REDIS_LINE);
}

Test(redis, commands_that_time_out_together_are_one_sign_of_trouble)
{
    struct heard heard[8] = {{0}};
    stall();
    for (int i = 0; i < 8; i++)
        cr_assert(send_words(&heard[i], "GET", "k"));
    cr_assert(turn_until(loop, was_heard, &heard[7], 5000));
    for (int i = 0; i < 8; i++)
        cr_assert(heard[i].times == 1 && heard[i].kind == REDIS_TIMEOUT);
    cr_assert(redis_is_up(redis));
}

Test(redis, who_waits_when_the_client_goes_is_told)
{
    struct heard heard = {0};
    connect_redis();
    resp_puppet_tell(puppet, "GET", RESP_STALL);
    cr_assert(send_words(&heard, "GET", "k"));
    redis_free(redis);
    redis = NULL;
    cr_assert(heard.times == 1 && heard.kind == REDIS_LOST);
    turn_for(loop, 5);
}

static void send_more(void *owner, const struct redis_reply *reply)
{
    struct heard *heard = owner;
    struct redis *again = heard->send_again;
    keep(owner, reply);
    heard->send_again = NULL;
    if (again)
        cr_assert_not(redis_send(again, &(const struct redis_word){"GET", 3}, 1, keep, heard),
                      "there is no connection any more");
}

Test(redis, sending_from_inside_a_loss_is_refused)
{
    struct heard heard = {.send_again = NULL};
    connect_redis();
    heard.send_again = redis;
    resp_puppet_tell(puppet, "GET", RESP_HANGUP);
    cr_assert(redis_send(redis, &(const struct redis_word){"GET", 3}, 1, send_more, &heard));
    cr_assert(turn_until(loop, was_heard, &heard, 5000));
    cr_assert_eq(heard.times, 1);
}

/* More than a socket takes at once goes when it is writable. */
Test(redis, large_commands_are_written_in_parts)
{
    static char large[900000];
    struct heard heard[4] = {{0}};
    const struct redis_word words[] = {{"SET", 3}, {large, sizeof large}};
    memset(large, 'x', sizeof large);
    redis_setup_.unsent_bytes_max = 4 << 20;
    redis_setup_.command_timeout_us = 5000000;
    connect_redis();
    for (int i = 0; i < 4; i++)
        cr_assert(redis_send(redis, words, 2, keep, &heard[i]));
    cr_assert(turn_until(loop, was_heard, &heard[3], 10000));
    cr_assert_eq(heard[3].kind, REDIS_LINE);
}
