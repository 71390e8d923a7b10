/*
 * clock_test: the monotonic clock leaps forward, as it does when a virtual machine was paused. What is due
 * then ends once and rightly, what is not goes on, and nothing else notices.
 *
 * The linker leads our own objects' clock_gettime() and timerfd_settime() here (CMakeLists.txt: --wrap): the
 * clock is ahead by what it has leapt, and the loop's timer is told the real time. gRPC and the replicas keep
 * theirs.
 *
 *     clock_test xebec-echo picky_worker
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

#include "asks.h"
#include "served.h"

/* --- the clock --- */

static atomic_llong leapt_s;
static pthread_mutex_t timer_lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows: the only loop's timer */
static int timer_fd = -1;
static struct itimerspec timer_when;

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __real_timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *before);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *before);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc = __real_clock_gettime(clock, now);
    if (clock == CLOCK_MONOTONIC)
        now->tv_sec += atomic_load(&leapt_s);
    return rc;
}

/* Due at once where its time has been leapt over; a time of 0 would disarm it. */
static int timer_arm(void)
{
    struct itimerspec when = timer_when;
    when.it_value.tv_sec -= atomic_load(&leapt_s);
    if (when.it_value.tv_sec < 0)
        when.it_value = (struct timespec){.tv_nsec = 1};
    return __real_timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *before)
{
    if (flags != TFD_TIMER_ABSTIME || before || (timer_fd >= 0 && fd != timer_fd))
        abort(); /* there is one loop, and this is how it sets its timer */
    pthread_mutex_lock(&timer_lock);
    timer_fd = fd;
    timer_when = *when;
    int rc = timer_arm();
    pthread_mutex_unlock(&timer_lock);
    return rc;
}

static void leap(int seconds)
{
    pthread_mutex_lock(&timer_lock);
    atomic_fetch_add(&leapt_s, seconds);
    if (timer_arm() != 0)
        abort();
    pthread_mutex_unlock(&timer_lock);
}

/* --- what happens meanwhile --- */

enum {
    LEAP_S = 30,  /* the SLO is 10 s, that of picky-long 60 s */
    READ_S = 20,  /* what a client may take to send its header, or its body, */
    IDLE_S = 200, /* and before it sends another; TRIES * READ_S are not enough for that */
    CLIENTS = 3,
    TRIES = 5,
    WITHIN_MS = 10000, /* the model may be at work on calls that were given up, a second each */
};

static const char limits[] = "timeouts: {header: 20s, body: 20s, idle: 200s}\n";
static struct client clients[CLIENTS];

static void expect(struct client *client, int status, const char *says)
{
    struct reply reply = client_reply(client, WITHIN_MS);
    if (reply.how == REPLY_WHOLE && reply.status == status && strstr(reply.body, says))
        return;
    fprintf(stderr, "clock_test: expected %d %s, got %d (%d)\n%s\n", status, says, reply.status, reply.how,
            reply.how == REPLY_WHOLE ? reply.body : "");
    abort();
}

static void ask(struct client *client, const char *endpoint, const char *body)
{
    char request[512];
    int length = snprintf(request, sizeof request,
                          "POST /%s/predict HTTP/1.1\r\nHost: test\r\nContent-Length: %zu\r\n\r\n%s",
                          endpoint, strlen(body), body);
    client_send(client, request, (size_t)length);
}

static void leave(struct client *client)
{
    if (client_close(client))
        return;
    fprintf(stderr, "clock_test: more than was due came back\n");
    abort();
}

/* Asks for what takes the model a second, and waits until that is on its way; no more than two are at once.
 */
static void ask_slowly(const struct served *served, unsigned n_clients, const char *endpoint)
{
    int64_t before = served_sum(served, "xebec_batches_total");
    for (unsigned i = 0; i < n_clients; i++) {
        client_open(&clients[i], served);
        ask(&clients[i], endpoint, "{\"input\":[2000,0]}");
        if (i < 2)
            served_wait_sum(served, "xebec_batches_total", before + i + 1);
        served_wait_sum(served, "xebec_queue_rows", i < 2 ? 0 : i - 1);
    }
}

static void leap_in_flight(const struct served *served)
{
    ask_slowly(served, 1, "picky");
    leap(LEAP_S);
    expect(&clients[0], 504, "\"cause\":\"slo_missed\"");
    ask(&clients[0], "echo", "{\"input\":[1,2,3,4]}");
    expect(&clients[0], 200, "\"output\":[1,2,3,4]");
    leave(&clients[0]);
}

static void leap_with_a_default(const struct served *served)
{
    ask_slowly(served, 1, "picky-default");
    leap(LEAP_S);
    expect(&clients[0], 200, "\"default\":true");
    leave(&clients[0]);
}

static void leap_within_the_slo(const struct served *served)
{
    ask_slowly(served, 1, "picky-long");
    leap(LEAP_S);
    expect(&clients[0], 200, "\"output\":{\"y\":4e+06,\"words\":\"row 0\"}");
    leave(&clients[0]);
}

/* Two at the replica, the third behind them. */
static void leap_in_the_queue(const struct served *served)
{
    ask_slowly(served, 3, "picky");
    leap(LEAP_S);
    for (unsigned i = 0; i < 3; i++) {
        expect(&clients[i], 504, "\"cause\":\"slo_missed\"");
        leave(&clients[i]);
    }
}

/* Nobody tells when the gateway has seen what a client did last, so the clock leaps until it has. */
static struct reply leap_until_told(struct client *client, int seconds)
{
    struct reply reply = {.how = REPLY_LATE};
    for (int i = 0; i < TRIES && reply.how == REPLY_LATE; i++) {
        leap(seconds);
        reply = client_reply(client, REPLY_WITHIN_MS / TRIES);
    }
    return reply;
}

/* Between requests: not long enough, then longer than an idle client may stay. */
static void leap_while_idle(const struct served *served)
{
    client_open(&clients[0], served);
    for (int i = 0; i < 3; i++) {
        ask(&clients[0], "echo", "{\"input\":[4,3,2,1]}");
        expect(&clients[0], 200, "\"output\":[4,3,2,1]");
        leap(IDLE_S / 2);
    }
    struct reply reply = leap_until_told(&clients[0], IDLE_S);
    if (reply.how != REPLY_NONE) {
        fprintf(stderr, "clock_test: an idle client got %d, %d\n", reply.how, reply.status);
        abort();
    }
    leave(&clients[0]);
}

/* In the middle of a request. */
static void leap_while_reading(const struct served *served, const char *part)
{
    client_open(&clients[0], served);
    client_send(&clients[0], part, strlen(part));
    struct reply reply = leap_until_told(&clients[0], READ_S);
    if (reply.how != REPLY_WHOLE || reply.status != 408) {
        fprintf(stderr, "clock_test: a slow client got %d, %d\n", reply.how, reply.status);
        abort();
    }
    leave(&clients[0]);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: clock_test xebec-echo picky_worker\n");
        return 2;
    }
    struct served_replicas *replicas = served_replicas_start(argv[1], argv[2]);
    struct served *served = served_start(replicas, limits);
    leap_in_flight(served);
    leap_with_a_default(served);
    leap_within_the_slo(served);
    leap_in_the_queue(served);
    leap_while_idle(served);
    leap_while_reading(served, "POST /echo/predict HTTP/1.1\r\nHost:");
    leap_while_reading(served,
                       "POST /echo/predict HTTP/1.1\r\nHost: test\r\nContent-Length: 50\r\n\r\n{\"inp");
    for (unsigned kind = 0; kind < ASK_KINDS; kind++) {
        ask_calmly(served, kind, kind);
        leap(3600); /* longer than answers stay in the cache */
        ask_calmly(served, kind, kind);
    }
    served_stop(served);
    served_replicas_stop(replicas);
    return 0;
}
