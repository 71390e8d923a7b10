/*
 * conn and listener: real sockets on a real loop, both ends on one thread: the loop is run turn by turn while
 * a client waits for what it should see.
 */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "edge/http2.h"
#include "edge/listener.h"
#include "h2_peer.h"
#include "support/log.h"

enum { PATIENCE_MS = 5000, BIG = 8 << 20, HELD_MAX = 8 };

struct rig {
    struct loop *loop;
    struct metrics *metrics;
    struct config_address address;
    struct config_limits limits;
    struct config_timeouts timeouts;
    struct edge_setup setup;
    struct listener *listener;
    struct loop_task stop;
    struct exchange *held[HELD_MAX]; /* by "/late", for the test to answer */
    unsigned n_held, n_handled, n_gone, depth, deepest;
};

/* --- the handler's side --- */

static void answer(struct exchange *exchange, const char *text)
{
    struct http_reply reply = {.status = 200, .content_type = "text/plain"};
    buf_text(&reply.body, text);
    exchange_reply(exchange, &reply);
}

static void answer_big(struct exchange *exchange)
{
    struct http_reply reply = {.status = 200};
    char *room = buf_reserve(&reply.body, BIG);
    for (size_t i = 0; i < BIG; i++)
        room[i] = (char)(i * 31 >> 8);
    reply.body.length = BIG;
    exchange_reply(exchange, &reply);
}

static void on_gone(struct exchange *exchange)
{
    ((struct rig *)exchange->handler)->n_gone++;
}

static void handle(void *owner, struct exchange *exchange)
{
    struct rig *rig = owner;
    const char *path = exchange->message.path;
    rig->n_handled++;
    rig->deepest = ++rig->depth > rig->deepest ? rig->depth : rig->deepest;
    cr_assert_gt(exchange->received_us, 0);
    if (strncmp(path, "/late", 5) == 0) {
        exchange->handler = rig;
        exchange->gone = on_gone;
        cr_assert_lt(rig->n_held, HELD_MAX);
        rig->held[rig->n_held++] = exchange;
    } else if (strcmp(path, "/big") == 0) {
        answer_big(exchange);
    } else if (strcmp(path, "/abandon") == 0) {
        exchange_abandon(exchange);
    } else if (strcmp(path, "/nomemory") == 0) {
        exchange_reply(exchange, &(struct http_reply){.status = 200, .body.failed = true});
    } else {
        answer(exchange, exchange->message.body_length ? exchange->message.body : path);
    }
    rig->depth--;
}

static void refuse(void *owner, struct exchange *exchange, const struct gw_err *err, struct http_reply *reply)
{
    const char *path = exchange->message.path;
    (void)owner;
    buf_printf(&reply->body, "%s: %s", path ? path : "-", err->what);
}

/* --- the rig --- */

static struct rig *rig_new(void)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig->loop = loop_new();
    rig->metrics = metrics_new();
    rig->address = (struct config_address){.text = "127.0.0.1:0", .host = "127.0.0.1", .port = "0"};
    rig->limits = (struct config_limits){.connections = 1100,
                                         .header_bytes = 4096,
                                         .body_bytes = 1 << 20,
                                         .held_bytes = 64 << 20,
                                         .streams = 100,
                                         .resets = 100,
                                         .controls = 100};
    rig->timeouts = (struct config_timeouts){
        .header_us = 60000000, .body_us = 60000000, .idle_us = 60000000, .write_us = 60000000};
    rig->setup = (struct edge_setup){.loop = rig->loop,
                                     .metrics = rig->metrics,
                                     .name = "clients",
                                     .address = &rig->address,
                                     .limits = &rig->limits,
                                     .timeouts = &rig->timeouts,
                                     .access_log_fd = -1,
                                     .handle = handle,
                                     .refuse = refuse,
                                     .owner = rig};
    return rig;
}

static void rig_listen(struct rig *rig)
{
    struct gw_err err = {0};
    rig->listener = listener_new(&rig->setup, &err);
    cr_assert(rig->listener, "%s", err.what);
}

static void rig_free(struct rig *rig)
{
    if (rig->listener)
        listener_free(rig->listener);
    for (unsigned i = 0; i < rig->n_held; i++)
        answer(rig->held[i], "");
    loop_free(rig->loop);
    metrics_free(rig->metrics);
    free(rig);
}

static void stop_loop(struct loop_task *task)
{
    loop_stop(container_of(task, struct rig, stop)->loop);
}

/* One turn of the loop, which sleeps for nothing. */
static void turn(struct rig *rig)
{
    rig->stop.run = stop_loop;
    loop_post(rig->loop, &rig->stop);
    loop_run(rig->loop);
}

/* Turns until `condition`, or until patience ends. */
#define TURN_UNTIL(rig, condition)                                                                           \
    for (uint64_t end_us = loop_now_us() + PATIENCE_MS * 1000; !(condition);) {                              \
        cr_assert_lt(loop_now_us(), end_us, "waited in vain for %s", #condition);                            \
        turn(rig);                                                                                           \
        poll(NULL, 0, 1);                                                                                    \
    }

static void answer_held(struct rig *rig, const char *text)
{
    cr_assert_gt(rig->n_held, 0u);
    struct exchange *exchange = rig->held[0];
    memmove(rig->held, rig->held + 1, --rig->n_held * sizeof *rig->held);
    answer(exchange, text);
}

/* --- the client's side --- */

static int dial_small(struct rig *rig, int receive_bytes)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(listener_port(rig->listener))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (receive_bytes)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static int dial(struct rig *rig)
{
    return dial_small(rig, 0);
}

static void say(struct rig *rig, int fd, const char *bytes, size_t length)
{
    for (uint64_t end_us = loop_now_us() + PATIENCE_MS * 1000; length;) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent > 0) {
            bytes += sent;
            length -= (size_t)sent;
            continue;
        }
        cr_assert(errno == EAGAIN, "cannot send: %s", strerror(errno));
        cr_assert_lt(loop_now_us(), end_us, "the gateway does not read");
        turn(rig);
    }
}
#define SAY(rig, fd, text) say(rig, fd, text, sizeof(text) - 1)

/* Reads until *got ends with `end` (NULL: until the gateway closes); false when it closed before that. */
static bool hear(struct rig *rig, int fd, struct buf *got, const char *end)
{
    for (uint64_t end_us = loop_now_us() + PATIENCE_MS * 1000; loop_now_us() < end_us;) {
        char bytes[65536];
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n > 0)
            buf_append(got, bytes, (size_t)n);
        size_t length = end ? strlen(end) : 0;
        if (end && got->length >= length && memcmp(got->bytes + got->length - length, end, length) == 0)
            return true;
        if (n == 0)
            return end == NULL;
        cr_assert(n > 0 || errno == EAGAIN, "the connection was reset: %s", strerror(errno));
        turn(rig);
        poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1);
    }
    cr_assert_fail("waited in vain for \"%s\", got \"%.*s\"", end ? end : "the end", (int)got->length,
                   got->bytes);
    return false;
}

/* All that comes up to `end` has this in it, in this order; both may be NULL. */
static void expect(struct rig *rig, int fd, const char *first, const char *second, const char *end)
{
    struct buf got = {0};
    cr_assert(hear(rig, fd, &got, end), "closed after \"%.*s\"", (int)got.length, got.bytes);
    buf_append(&got, "", 1);
    const char *at = first ? strstr(got.bytes, first) : got.bytes;
    cr_assert(at, "no \"%s\" in \"%s\"", first, got.bytes);
    cr_assert(!second || strstr(at, second), "no \"%s\" in \"%s\"", second, got.bytes);
    buf_clear(&got);
}

static void expect_silence(struct rig *rig, int fd)
{
    char byte;
    for (int i = 0; i < 5; i++)
        turn(rig);
    cr_assert(recv(fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN);
}

static void expect_end(struct rig *rig, int fd)
{
    struct buf got = {0};
    cr_assert(hear(rig, fd, &got, NULL));
    cr_assert_eq(got.length, 0u, "more than the end: \"%.*s\"", (int)got.length, got.bytes);
}

static void expect_metric(struct rig *rig, const char *line)
{
    struct buf text = {0};
    metrics_render(rig->metrics, &text);
    buf_append(&text, "", 1);
    cr_assert(strstr(text.bytes, line), "no \"%s\" in %s", line, text.bytes);
    buf_clear(&text);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

/* --- requests and replies --- */

Test(conn, keeps_alive)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    for (int i = 0; i < 3; i++) {
        SAY(rig, fd, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
        expect(rig, fd, "HTTP/1.1 200 OK\r\n", "Content-Length: 5\r\nConnection: keep-alive\r\n",
               "\r\n\r\nhello");
    }
    cr_expect_eq(listener_connections(rig->listener), 1u);
    SAY(rig, fd, "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect(rig, fd, "Connection: close\r\n", "/last", NULL);
    close(fd);
    TURN_UNTIL(rig, listener_connections(rig->listener) == 0);
    expect_metric(rig, "xebec_connections{listener=\"clients\"} 0\n");
    expect_metric(rig, "xebec_connections_total{listener=\"clients\"} 1\n");
    rig_free(rig);
}

Test(conn, takes_a_request_in_crumbs)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    static const char request[] = "\r\nPOST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    for (size_t i = 0; i < sizeof request - 1; i++) {
        say(rig, fd, request + i, 1);
        turn(rig);
    }
    expect(rig, fd, "HTTP/1.1 200 OK\r\n", NULL, "\r\n\r\nhello world");
    close(fd);
    rig_free(rig);
}

Test(conn, answers_pipelined_requests_in_order)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, GET("/late1") GET("/now") GET("/late2") GET("/now2"));
    TURN_UNTIL(rig, rig->n_held == 1);
    expect_silence(rig, fd);
    cr_expect_eq(rig->n_handled, 1u);
    answer_held(rig, "first");
    cr_expect_eq(rig->n_handled, 1u, "the next request is not handled inside its predecessor's reply");
    expect(rig, fd, "\r\n\r\nfirst", NULL, "\r\n\r\n/now");
    TURN_UNTIL(rig, rig->n_held == 1);
    expect_silence(rig, fd);
    answer_held(rig, "third");
    expect(rig, fd, "\r\n\r\nthird", NULL, "\r\n\r\n/now2");
    close(fd);
    rig_free(rig);
}

Test(conn, does_not_recurse_over_pipelined_requests)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    struct buf requests = {0};
    for (int i = 0; i < 5000; i++)
        buf_text(&requests, GET("/x"));
    buf_text(&requests, GET("/end"));
    struct buf got = {0};
    size_t said = 0;
    for (uint64_t end_us = loop_now_us() + PATIENCE_MS * 1000; rig->n_handled < 5001;) {
        char bytes[65536];
        ssize_t sent = send(fd, requests.bytes + said, requests.length - said, MSG_NOSIGNAL);
        said += sent > 0 ? (size_t)sent : 0;
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        buf_append(&got, bytes, n > 0 ? (size_t)n : 0);
        turn(rig);
        cr_assert_lt(loop_now_us(), end_us);
    }
    cr_assert(hear(rig, fd, &got, "\r\n\r\n/end"));
    cr_expect_eq(rig->deepest, 1u);
    buf_clear(&requests);
    buf_clear(&got);
    close(fd);
    rig_free(rig);
}

Test(conn, head_gets_the_header_alone)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, "HEAD /four HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(rig, fd, "Content-Length: 5\r\n", NULL, "\r\n\r\n");
    expect_silence(rig, fd);
    SAY(rig, fd, GET("/next"));
    expect(rig, fd, NULL, NULL, "\r\n\r\n/next");
    close(fd);
    rig_free(rig);
}

Test(conn, says_continue_only_when_it_will)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    expect(rig, fd, NULL, NULL, "HTTP/1.1 100 Continue\r\n\r\n");
    SAY(rig, fd, "ok");
    expect(rig, fd, "HTTP/1.1 200 OK\r\n", NULL, "\r\n\r\nok");
    SAY(rig, fd, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi");
    struct buf got = {0};
    cr_assert(hear(rig, fd, &got, "\r\n\r\nhi"));
    cr_expect(memmem(got.bytes, got.length, "100 Continue", 12) == NULL, "the body was there already");
    got.length = 0;
    SAY(rig, fd, "POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n");
    cr_assert(hear(rig, fd, &got, NULL));
    cr_expect(strncmp(got.bytes, "HTTP/1.1 413 ", 13) == 0, "%.*s", (int)got.length, got.bytes);
    buf_clear(&got);
    close(fd);
    rig_free(rig);
}

Test(conn, refusals_close_and_are_counted)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, GET("/fine") "GET /a HTTP/1.1\r\n\r\n" GET("/never"));
    expect(rig, fd, "/fine", "HTTP/1.1 400 Bad Request\r\n", NULL);
    cr_expect_eq(rig->n_handled, 1u);
    expect_metric(rig, "xebec_http_errors_total{listener=\"clients\",cause=\"invalid_input\"} 1\n");
    close(fd);
    TURN_UNTIL(rig, listener_connections(rig->listener) == 0);
    rig_free(rig);
}

/* The client is still sending when the refusal comes: it must be able to read it. */
Test(conn, lingers_so_that_a_refusal_is_read)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    char *body = calloc(1, 300000);
    SAY(rig, fd, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n");
    say(rig, fd, body, 300000);
    turn(rig);
    say(rig, fd, body, 300000);
    expect(rig, fd, "HTTP/1.1 413 Content Too Large\r\n", "/p: the body is larger than 1048576 bytes", NULL);
    cr_expect_eq(listener_connections(rig->listener), 1u);
    TURN_UNTIL(rig, listener_connections(rig->listener) == 0); /* though the client never closes */
    free(body);
    close(fd);
    rig_free(rig);
}

Test(conn, does_not_linger_for_ever)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    char *body = calloc(1, 65536);
    SAY(rig, fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n");
    uint64_t begun_us = loop_now_us();
    TURN_UNTIL(rig, send(fd, body, 65536, MSG_NOSIGNAL) < 0 && errno != EAGAIN);
    cr_expect_lt(loop_now_us() - begun_us, 900000u, "bounded by bytes, before it is by time");
    free(body);
    close(fd);
    rig_free(rig);
}

Test(conn, abandoning_closes_without_a_reply)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, GET("/abandon"));
    expect_end(rig, fd);
    cr_expect_eq(listener_connections(rig->listener), 0u);
    close(fd);
    rig_free(rig);
}

Test(conn, a_body_without_memory_is_503)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, GET("/nomemory"));
    expect(rig, fd, "HTTP/1.1 503 ", "Content-Length: 0\r\n", "\r\n\r\n");
    close(fd);
    rig_free(rig);
}

Test(conn, held_bytes_are_bounded)
{
    struct rig *rig = rig_new();
    rig->limits.held_bytes = 200000;
    rig_listen(rig);
    int first = dial(rig), second = dial(rig);
    static const char request[] = "POST /late HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n";
    char *body = memset(calloc(1, 60001), 'b', 60000);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(rig);
        SAY(rig, fds[i], request);
        say(rig, fds[i], body, 60000);
        TURN_UNTIL(rig, rig->n_held == (unsigned)i + 1);
    }
    SAY(rig, first, request);
    expect(rig, first, "HTTP/1.1 503 ", "/late: no memory for a request of this size now", NULL);
    while (rig->n_held)
        answer_held(rig, "done");
    turn(rig);
    SAY(rig, second, "POST /now HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n");
    say(rig, second, body, 60000);
    expect(rig, second, "HTTP/1.1 200 OK\r\n", NULL, body);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    close(first);
    close(second);
    free(body);
    rig_free(rig);
}

/* --- time --- */

Test(conn, slow_loris_gets_408)
{
    struct rig *rig = rig_new();
    rig->timeouts.header_us = 100000;
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, GET("/fine"));
    expect(rig, fd, NULL, NULL, "/fine");
    uint64_t begun_us = loop_now_us();
    char byte;
    SAY(rig, fd, "GET / HTTP/1.1\r\n");
    while (recv(fd, &byte, 1, MSG_PEEK) < 0) { /* a crumb now and then does not help */
        SAY(rig, fd, "a: b\r\n");
        turn(rig);
        poll(NULL, 0, 5);
        cr_assert_lt(loop_now_us() - begun_us, 2000000u);
    }
    cr_expect_geq(loop_now_us() - begun_us, 100000u);
    expect(rig, fd, "HTTP/1.1 408 Request Timeout\r\n", "-: the request's header did not arrive in time",
           NULL);
    expect_metric(rig, "xebec_http_errors_total{listener=\"clients\",cause=\"request_timeout\"} 1\n");
    close(fd);
    rig_free(rig);
}

Test(conn, slow_body_gets_408)
{
    struct rig *rig = rig_new();
    rig->timeouts.body_us = 50000;
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nslow");
    expect(rig, fd, "HTTP/1.1 408 ", "/p: the request's body did not arrive in time", NULL);
    close(fd);
    rig_free(rig);
}

Test(conn, idle_connections_end_silently)
{
    struct rig *rig = rig_new();
    rig->timeouts.idle_us = 60000;
    rig_listen(rig);
    int fresh = dial(rig), used = dial(rig), busy = dial(rig);
    SAY(rig, busy, GET("/late"));
    SAY(rig, used, GET("/a"));
    expect(rig, used, NULL, NULL, "\r\n\r\n/a");
    expect_end(rig, fresh);
    expect_end(rig, used);
    cr_expect_eq(listener_connections(rig->listener), 1u, "the one that waits for its answer is not idle");
    answer_held(rig, "at last");
    expect(rig, busy, NULL, NULL, "\r\n\r\nat last");
    expect_end(rig, busy);
    close(fresh);
    close(used);
    close(busy);
    rig_free(rig);
}

/* --- large and slow replies --- */

Test(conn, a_slow_reader_gets_all_of_a_big_reply)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial_small(rig, 32768);
    SAY(rig, fd, GET("/big") GET("/after"));
    struct buf got = {0};
    cr_assert(hear(rig, fd, &got, "\r\n\r\n/after"));
    const char *body = memmem(got.bytes, got.length, "\r\n\r\n", 4);
    cr_assert_gt(got.length, (size_t)BIG);
    for (size_t i = 0; i < BIG; i++)
        cr_assert_eq(body[4 + i], (char)(i * 31 >> 8));
    cr_expect(memcmp(body + 4 + BIG, "HTTP/1.1 200 OK\r\n", 17) == 0);
    buf_clear(&got);
    close(fd);
    rig_free(rig);
}

Test(conn, a_reader_that_stops_is_cut_off)
{
    struct rig *rig = rig_new();
    rig->timeouts.write_us = 80000;
    rig_listen(rig);
    int fd = dial_small(rig, 32768);
    SAY(rig, fd, GET("/big"));
    TURN_UNTIL(rig, rig->n_handled == 1);
    cr_expect_eq(listener_connections(rig->listener), 1u);
    TURN_UNTIL(rig, listener_connections(rig->listener) == 0);
    close(fd);
    rig_free(rig);
}

Test(conn, a_reader_that_is_slow_is_not)
{
    struct rig *rig = rig_new();
    rig->timeouts.write_us = 150000;
    rig_listen(rig);
    int fd = dial_small(rig, 32768);
    SAY(rig, fd, GET("/big"));
    TURN_UNTIL(rig, rig->n_handled == 1);
    char sip[2048];
    for (uint64_t end_us = loop_now_us() + 600000; loop_now_us() < end_us;) {
        cr_assert(recv(fd, sip, sizeof sip, 0) != 0);
        turn(rig);
        poll(NULL, 0, 2);
    }
    cr_expect_eq(listener_connections(rig->listener), 1u);
    close(fd);
    rig_free(rig);
}

/* --- hanging up --- */

static void expect_gone(struct rig *rig)
{
    TURN_UNTIL(rig, rig->n_gone == 1);
    for (int i = 0; i < 5; i++)
        turn(rig);
    cr_expect_eq(rig->n_gone, 1u);
    cr_expect_eq(listener_connections(rig->listener), 0u);
    answer_held(rig, "to nobody");
    turn(rig);
}

Test(conn, hearing_of_a_close)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, GET("/late"));
    TURN_UNTIL(rig, rig->n_held == 1);
    cr_expect_eq(rig->n_gone, 0u);
    close(fd);
    expect_gone(rig);
    rig_free(rig);
}

Test(conn, hearing_of_a_half_close)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, GET("/late"));
    shutdown(fd, SHUT_WR);
    expect_gone(rig);
    expect_end(rig, fd);
    close(fd);
    rig_free(rig);
}

Test(conn, hearing_of_a_reset)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, GET("/late") GET("/next"));
    TURN_UNTIL(rig, rig->n_held == 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(fd);
    expect_gone(rig);
    rig_free(rig);
}

/* More is pipelined than is kept: reading stops, and the client's end is still noticed. */
Test(conn, hearing_of_a_close_behind_a_full_buffer)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    struct buf more = {0};
    SAY(rig, fd, GET("/late"));
    TURN_UNTIL(rig, rig->n_held == 1);
    while (more.length < 100000)
        buf_text(&more, GET("/x"));
    say(rig, fd, more.bytes, more.length);
    for (int i = 0; i < 20; i++)
        turn(rig);
    cr_expect_eq(rig->n_gone, 0u);
    close(fd);
    expect_gone(rig);
    buf_clear(&more);
    rig_free(rig);
}

Test(conn, a_full_buffer_is_worked_off)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    struct buf more = {0};
    SAY(rig, fd, GET("/late"));
    TURN_UNTIL(rig, rig->n_held == 1);
    for (int i = 0; i < 4000; i++)
        buf_text(&more, GET("/x"));
    buf_text(&more, GET("/end"));
    say(rig, fd, more.bytes, more.length);
    for (int i = 0; i < 20; i++)
        turn(rig);
    answer_held(rig, "first");
    expect(rig, fd, "\r\n\r\nfirst", NULL, "\r\n\r\n/end");
    cr_expect_eq(rig->n_handled, 4002u);
    buf_clear(&more);
    close(fd);
    rig_free(rig);
}

Test(conn, a_client_that_goes_in_mid_request)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig), other = dial(rig);
    SAY(rig, fd, "POST /late HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf");
    SAY(rig, other, "POST /la");
    turn(rig);
    close(fd);
    close(other);
    TURN_UNTIL(rig, listener_connections(rig->listener) == 0);
    cr_expect_eq(rig->n_handled, 0u);
    cr_expect_eq(rig->n_gone, 0u);
    rig_free(rig);
}

/* --- the listener --- */

/* --- HTTP/2 ------------------------------------------------------------------------------------------ */

#define H2_GREETING HTTP2_PREFACE "\0\0\0\4\0\0\0\0\0"

static void say_frame(struct rig *rig, int fd, enum h2_type type, uint8_t flags, uint8_t stream,
                      const void *payload, size_t length)
{
    const char head[] = {0, 0, (char)length, (char)type, (char)flags, 0, 0, 0, (char)stream};
    say(rig, fd, head, sizeof head);
    say(rig, fd, payload, length);
}

static void say_get(struct rig *rig, int fd, uint8_t stream, const char *path)
{
    struct buf block = {0}, lines = {0};
    buf_printf(&lines, ":method: GET\n:scheme: http\n:authority: x\n:path: %s\n", path);
    buf_append(&lines, "", 1);
    h2_block_write(&block, lines.bytes);
    say_frame(rig, fd, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, stream, block.bytes, block.length);
    buf_clear(&lines);
    buf_clear(&block);
}

/* Of a reply the body comes last, as it is. */
static void expect_last(struct rig *rig, int fd, const char *body)
{
    struct buf got = {0};
    cr_assert(hear(rig, fd, &got, body));
    buf_clear(&got);
}

Test(conn, speaks_http2_to_whom_begins_with_its_preface)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig), crumbs = dial(rig);
    SAY(rig, fd, H2_GREETING);
    for (size_t i = 0; i < sizeof H2_GREETING - 1; i++) {
        say(rig, crumbs, &H2_GREETING[i], 1);
        turn(rig);
    }
    for (uint8_t stream = 1; stream < 6; stream += 2) {
        say_get(rig, fd, stream, "/one");
        say_get(rig, crumbs, stream, "/other");
        expect_last(rig, fd, "/one");
        expect_last(rig, crumbs, "/other");
    }
    cr_expect_eq(rig->n_handled, 6u);
    close(fd);
    close(crumbs);
    TURN_UNTIL(rig, listener_connections(rig->listener) == 0);
    rig_free(rig);
}

Test(conn, what_only_begins_like_the_preface_is_http1)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int post = dial(rig), pri = dial(rig), silent = dial(rig), alien = dial(rig);
    SAY(rig, post, "P");
    turn(rig);
    SAY(rig, post, "OST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
    expect(rig, post, NULL, "HTTP/1.1 200 OK\r\n", "body");
    SAY(rig, pri, "PRI * HTTP/");
    turn(rig);
    SAY(rig, pri, "1.1\r\nHost: x\r\n\r\n");
    expect(rig, pri, "HTTP/1.1 501 Not Implemented\r\n", NULL, NULL);
    SAY(rig, alien, "HELLO THERE\r\n\r\n");
    expect_end(rig, alien);
    rig->timeouts.header_us = 50000;
    listener_set_limits(rig->listener, &rig->limits, &rig->timeouts);
    SAY(rig, silent, "PRI * HT");
    expect(rig, silent, "HTTP/1.1 408 Request Timeout\r\n", NULL, NULL);
    close(post);
    close(pri);
    close(silent);
    close(alien);
    rig_free(rig);
}

Test(conn, http2_replies_go_when_they_are_there)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, H2_GREETING);
    for (uint8_t stream = 1; stream < 8; stream += 2)
        say_get(rig, fd, stream, "/late");
    TURN_UNTIL(rig, rig->n_held == 4);
    struct exchange *last = rig->held[--rig->n_held];
    answer(last, "last of all");
    expect_last(rig, fd, "last of all");
    answer_held(rig, "first");
    expect_last(rig, fd, "first");
    say_frame(rig, fd, H2_RST_STREAM, 0, 3, "\0\0\0\10", 4);
    TURN_UNTIL(rig, rig->n_gone == 1);
    answer_held(rig, "nobody hears this");
    close(fd);
    TURN_UNTIL(rig, rig->n_gone == 2);
    answer_held(rig, "nor this");
    turn(rig);
    cr_expect_eq(listener_connections(rig->listener), 0u);
    rig_free(rig);
}

Test(conn, abandoning_resets_a_stream_alone)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, H2_GREETING);
    say_get(rig, fd, 1, "/abandon");
    expect_last(rig, fd, "\x02"); /* INTERNAL_ERROR */
    say_get(rig, fd, 3, "/nomemory");
    say_get(rig, fd, 5, "/x");
    expect_last(rig, fd, "/x");
    close(fd);
    TURN_UNTIL(rig, listener_connections(rig->listener) == 0);
    rig_free(rig);
}

Test(conn, an_http2_client_that_stops_reading_is_cut_off)
{
    struct rig *rig = rig_new();
    rig->timeouts.write_us = 200000;
    rig_listen(rig);
    int fd = dial_small(rig, 4096);
    SAY(rig, fd, HTTP2_PREFACE "\0\0\6\4\0\0\0\0\0\0\4\x7f\xff\xff\xff");
    say_frame(rig, fd, H2_WINDOW_UPDATE, 0, 0, "\x7f\0\0\0", 4);
    say_get(rig, fd, 1, "/big");
    TURN_UNTIL(rig, rig->n_handled == 1);
    TURN_UNTIL(rig, listener_connections(rig->listener) == 0);
    close(fd);
    rig_free(rig);
}

Test(conn, an_http2_client_that_is_slow_gets_all_of_a_big_reply)
{
    struct rig *rig = rig_new();
    struct buf got = {0};
    rig_listen(rig);
    int fd = dial_small(rig, 16384);
    SAY(rig, fd, HTTP2_PREFACE "\0\0\6\4\0\0\0\0\0\0\4\x7f\xff\xff\xff");
    say_frame(rig, fd, H2_WINDOW_UPDATE, 0, 0, "\x7f\0\0\0", 4);
    say_get(rig, fd, 1, "/big");
    TURN_UNTIL(rig, rig->n_handled == 1);
    while (got.length < BIG) {
        char bytes[65536];
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n > 0)
            buf_append(&got, bytes, (size_t)n);
        cr_assert(n > 0 || (n < 0 && errno == EAGAIN));
        turn(rig);
    }
    buf_clear(&got);
    close(fd);
    TURN_UNTIL(rig, listener_connections(rig->listener) == 0);
    rig_free(rig);
}

Test(listener, drains_http2)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int busy = dial(rig), idle = dial(rig);
    SAY(rig, busy, H2_GREETING);
    SAY(rig, idle, H2_GREETING);
    say_get(rig, busy, 1, "/late");
    say_get(rig, idle, 1, "/x");
    expect_last(rig, idle, "/x");
    TURN_UNTIL(rig, rig->n_held == 1);
    listener_drain(rig->listener);
    say_frame(rig, busy, H2_PING, H2_ACK, 0, "draining", 8);
    say_frame(rig, idle, H2_PING, H2_ACK, 0, "draining", 8);
    struct buf got = {0};
    cr_assert(hear(rig, idle, &got, NULL), "the end");
    answer_held(rig, "the last");
    hear(rig, busy, &got, NULL);
    cr_expect(memmem(got.bytes, got.length, "the last", 8));
    buf_clear(&got);
    close(busy);
    close(idle);
    TURN_UNTIL(rig, listener_connections(rig->listener) == 0);
    rig_free(rig);
}

Test(listener, drains)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int idle = dial(rig), busy = dial(rig), reading = dial(rig), arrived = dial(rig);
    SAY(rig, busy, GET("/late") GET("/never"));
    SAY(rig, reading, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n");
    TURN_UNTIL(rig, rig->n_held == 1 && listener_connections(rig->listener) == 4);
    SAY(rig, arrived, GET("/arrived")); /* in the socket, not yet read */
    poll(NULL, 0, 10);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(listener_port(rig->listener))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener_drain(rig->listener);
    expect_end(rig, idle);
    expect(rig, arrived, "Connection: close\r\n", "/arrived", NULL);
    SAY(rig, reading, "body");
    expect(rig, reading, "Connection: close\r\n", "\r\n\r\nbody", NULL);
    answer_held(rig, "late");
    expect(rig, busy, "Connection: close\r\n", "\r\n\r\nlate", NULL);
    cr_expect_eq(rig->n_handled, 3u);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_expect(connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno == ECONNREFUSED);
    close(fd);
    close(idle);
    close(busy);
    close(reading);
    close(arrived);
    TURN_UNTIL(rig, listener_connections(rig->listener) == 0);
    rig_free(rig);
}

Test(listener, caps_connections)
{
    struct rig *rig = rig_new();
    rig->limits.connections = 2;
    rig_listen(rig);
    int first = dial(rig), second = dial(rig), third = dial(rig);
    expect_end(rig, third);
    cr_expect_eq(listener_connections(rig->listener), 2u);
    expect_metric(rig, "xebec_connections_refused_total{listener=\"clients\"} 1\n");
    close(first);
    TURN_UNTIL(rig, listener_connections(rig->listener) == 1);
    int fourth = dial(rig);
    SAY(rig, fourth, GET("/in"));
    expect(rig, fourth, NULL, NULL, "\r\n\r\n/in");
    close(second);
    close(third);
    close(fourth);
    rig_free(rig);
}

Test(listener, survives_without_descriptors)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int client = dial(rig);
    struct rlimit before;
    int log[2];
    char lines[4096];
    cr_assert_eq(pipe(log), 0);
    log_open(log[1], LOG_WARN_LEVEL);
    getrlimit(RLIMIT_NOFILE, &before);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = (rlim_t)log[1] + 1, .rlim_max = before.rlim_max});
    for (int i = 0; i < 20; i++)
        turn(rig);
    cr_expect_eq(listener_connections(rig->listener), 0u);
    setrlimit(RLIMIT_NOFILE, &before);
    ssize_t n = read(log[0], lines, sizeof lines);
    cr_expect(n > 0 && memchr(lines, '\n', (size_t)n) == lines + n - 1, "once, not in every turn");
    SAY(rig, client, GET("/in"));
    expect(rig, client, NULL, NULL, "\r\n\r\n/in"); /* 100 ms later */
    close(client);
    close(log[0]);
    close(log[1]);
    rig_free(rig);
}

Test(listener, tells_handlers_before_it_goes)
{
    struct rig *rig = rig_new();
    rig_listen(rig);
    int fd = dial(rig);
    SAY(rig, fd, GET("/late"));
    TURN_UNTIL(rig, rig->n_held == 1);
    listener_free(rig->listener);
    rig->listener = NULL;
    cr_expect_eq(rig->n_gone, 1u);
    answer_held(rig, "to nobody"); /* the edge lives on for it */
    close(fd);
    rig_free(rig);
}

Test(listener, says_why_it_cannot)
{
    struct rig *rig = rig_new();
    struct gw_err err;
    struct sockaddr_in taken = {.sin_family = AF_INET};
    socklen_t length = sizeof taken;
    char text[32], port[8], want[96];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    taken.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert(bind(fd, (struct sockaddr *)&taken, sizeof taken) == 0 && listen(fd, 1) == 0);
    getsockname(fd, (struct sockaddr *)&taken, &length);
    snprintf(port, sizeof port, "%u", ntohs(taken.sin_port));
    snprintf(text, sizeof text, "127.0.0.1:%s", port);
    snprintf(want, sizeof want, "cannot listen on %s: address already in use", text);
    rig->address = (struct config_address){.text = text, .host = "127.0.0.1", .port = port};
    cr_expect_null(listener_new(&rig->setup, &err));
    cr_expect_str_eq(err.what, want);
    rig->address = (struct config_address){.text = "192.0.2.1:0", .host = "192.0.2.1", .port = "0"};
    cr_expect_null(listener_new(&rig->setup, &err));
    cr_expect_str_eq(err.what, "cannot listen on 192.0.2.1:0: cannot assign requested address");
    close(fd);
    rig_free(rig);
}

Test(listener, any_address)
{
    struct rig *rig = rig_new();
    rig->address = (struct config_address){.text = "*:0", .host = "*", .port = "0"};
    rig_listen(rig);
    int fd = dial(rig); /* IPv4, on what may be an IPv6 socket */
    SAY(rig, fd, GET("/any"));
    expect(rig, fd, NULL, NULL, "\r\n\r\n/any");
    close(fd);
    rig_free(rig);
}

Test(listener, unix_paths)
{
    struct rig *rig = rig_new();
    struct gw_err err;
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    char folder[] = "/tmp/xebec-conn-XXXXXX";
    cr_assert(mkdtemp(folder));
    snprintf(path.sun_path, sizeof path.sun_path, "%s/s", folder);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0); /* what a killed gateway leaves behind */
    cr_assert(bind(dead, (struct sockaddr *)&path, sizeof path) == 0);
    close(dead);
    rig->address = (struct config_address){.text = "unix:s", .unix_path = path.sun_path};
    rig_listen(rig);
    cr_expect_null(listener_new(&rig->setup, &err), "one that answers is left alone");
    cr_expect_str_eq(err.what, "cannot listen on unix:s: address already in use");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&path, sizeof path), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(rig, fd, GET("/unix"));
    expect(rig, fd, NULL, NULL, "\r\n\r\n/unix");
    close(fd);
    rig_free(rig);
    cr_expect(access(path.sun_path, F_OK) != 0, "removed at the end");
    rmdir(folder);
}

Test(listener, logs_access)
{
    struct rig *rig = rig_new();
    int ends[2];
    char text[4096];
    cr_assert_eq(pipe(ends), 0);
    rig->setup.access_log_fd = ends[1];
    rig_listen(rig);
    int fd = dial(rig), gone = dial(rig);
    SAY(rig, fd, "POST /a%22b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" GET("bad"));
    expect(rig, fd, "200 OK", "400 Bad", NULL);
    SAY(rig, gone, GET("/late"));
    TURN_UNTIL(rig, rig->n_held == 1);
    close(gone);
    TURN_UNTIL(rig, rig->n_gone == 1);
    TURN_UNTIL(rig, poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, 0) == 1);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    cr_assert_gt(n, 0);
    text[n] = '\0';
    cr_expect(strstr(text, "\"client\":\"127.0.0.1\",\"method\":\"POST\",\"path\":\"/"
                           "a\\\"b\",\"status\":200,\"bytes_in\":54,"),
              "%s", text);
    cr_expect(strstr(text, "\"path\":null,\"status\":400,"), "%s", text);
    cr_expect(strstr(text, "\"path\":\"/late\",\"status\":499,"), "%s", text);
    close(fd);
    rig_free(rig);
    close(ends[0]);
    close(ends[1]);
}

Test(listener, a_full_access_log_stops_nobody)
{
    struct rig *rig = rig_new();
    int ends[2];
    char text[65536];
    cr_assert_eq(pipe(ends), 0);
    fcntl(ends[1], F_SETPIPE_SZ, 4096);
    rig->setup.access_log_fd = ends[1]; /* a blocking one */
    rig_listen(rig);
    int fd = dial(rig);
    for (int i = 0; i < 500; i++) {
        SAY(rig, fd, GET("/x"));
        expect(rig, fd, NULL, NULL, "\r\n\r\n/x");
    }
    ssize_t n = read(ends[0], text, sizeof text - 1);
    cr_assert_gt(n, 0);
    cr_expect_eq(text[n - 1], '\n', "whole lines only");
    SAY(rig, fd, GET("/x"));
    expect(rig, fd, NULL, NULL, "\r\n\r\n/x");
    listener_free(rig->listener);
    rig->listener = NULL;
    turn(rig);
    n = read(ends[0], text, sizeof text - 1);
    cr_assert_gt(n, 0);
    text[n] = '\0';
    cr_expect(strstr(text, "\"lost_lines\":"), "%s", text);
    close(fd);
    rig_free(rig);
    close(ends[0]);
    close(ends[1]);
}

/* What the issue of 10,000 idle connections comes down to. (Says nothing under AddressSanitizer.) */
Test(listener, an_idle_connection_is_small)
{
    struct rig *rig = rig_new();
    enum { CONNECTIONS = 400 };
    int fds[CONNECTIONS];
    rig_listen(rig);
    for (int i = 0; i < CONNECTIONS; i++) {
        if (i == 200) {
            TURN_UNTIL(rig, listener_connections(rig->listener) == 200);
        }
        fds[i] = dial(rig);
    }
    size_t before = mallinfo2().uordblks;
    TURN_UNTIL(rig, listener_connections(rig->listener) == CONNECTIONS);
    for (int i = 200; i < CONNECTIONS; i++) {
        SAY(rig, fds[i], GET("/x"));
        expect(rig, fds[i], NULL, NULL, "\r\n\r\n/x");
    }
    turn(rig);
    cr_expect_lt(mallinfo2().uordblks - before, 200u * 2048u);
    for (int i = 0; i < CONNECTIONS; i++)
        close(fds[i]);
    rig_free(rig);
}
