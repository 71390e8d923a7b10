/*
 * alloc_test: fails every allocation on the path of a request in turn, the lazy ones of a gateway that has
 * just started too, and again with a Redis behind it: of rows that are not there, and of those that are. Each
 * request gets exactly one well-formed answer all the same: the right one, or that there is no memory, or,
 * where there is not even enough to say so, a closed connection. Afterwards everything works as before.
 *
 * Memory is scarce.h's; this thread, the client's, is spared. What gRPC cannot get ends the process, by its
 * own decision.
 *
 *     alloc_test xebec-echo picky_worker
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "asks.h"
#include "infer/codec.h"
#include "scarce.h"
#include "served.h"

/* --- what may come back --- */

static struct json_reader *json;
static unsigned long tally[3]; /* answers: right, without memory, none */

static void wrong(const char *kind, long n, const char *what, const struct reply *reply)
{
    fprintf(stderr, "alloc_test: %s, allocation %ld fails: %s\n", kind, n, what);
    if (reply->how == REPLY_WHOLE)
        fprintf(stderr, "%s\n%s\n", reply->head, reply->body);
    abort();
}

/* 503, rows that failed for want of memory among others, or the default for that reason. */
static bool says_no_memory(const struct ask *ask, const struct reply *reply)
{
    if (reply->how != REPLY_WHOLE)
        return false;
    if (reply->status == 503 && reply->body_length == 0)
        return true; /* not even for the words */
    if (!json_valid(json, reply->body, reply->body_length) ||
        !strstr(reply->body, "\"cause\":\"out_of_memory\""))
        return false;
    return reply->status == 503 || reply->status == 207 ||
           (reply->status == 200 && ask->defaults && strstr(reply->body, "\"default\":true"));
}

/* Takes what is due; the gateway may hang up instead, and then it owes nothing more. */
static void take_replies(struct client *client, const struct ask *ask, const char *kind, long n)
{
    bool hung_up = false;
    for (unsigned i = 0; i < ask->n_replies && !hung_up; i++) {
        struct reply reply = client_reply(client, REPLY_WITHIN_MS);
        const char *what = ask_judge(ask, i, &reply);
        hung_up = reply.how == REPLY_NONE;
        if (what && !hung_up && !says_no_memory(ask, &reply))
            wrong(kind, n, what, &reply);
        tally[!what ? 0 : hung_up ? 2 : 1]++;
        if (what && !hung_up && strstr(reply.head, "\r\nConnection: close"))
            hung_up = true;
    }
}

static struct client client;

/* One request on a connection of its own. False: no allocation failed, for there were fewer. */
static bool ask_failing(const struct served *served, unsigned kind, unsigned serial, long from, long every)
{
    struct ask ask;
    ask_write(&ask, kind, serial);
    scarce_from(from, every);
    client_open(&client, served);
    client_send(&client, ask.bytes.bytes, ask.bytes.length);
    take_replies(&client, &ask, ask_name(kind), from);
    bool any = scarce_no_more();
    if (!client_close(&client))
        wrong(ask_name(kind), from, "more than was due came back", &(struct reply){.how = REPLY_LATE});
    ask_clear(&ask);
    return any;
}

/* --- the runs --- */

enum { BURST_CLIENTS = 8, BURST_ROUNDS = 25, FEWEST_ALLOCATIONS = 3 };

static const struct served_replicas *replicas;
static unsigned next_serial = 1;

/* Where so few fail, the linker was not told to wrap, and nothing was tested. */
static void check_failed(long n, const char *what)
{
    if (n > FEWEST_ALLOCATIONS)
        return;
    fprintf(stderr, "alloc_test: %s: hardly anything was allocated\n", what);
    abort();
}

/* A gateway that has been asked before has kept some memory for the next. every: 0, or 1: all that follow
 * fail too. */
static void fail_each_when_warm(const struct served *served, unsigned kind, long every)
{
    long n = 1;
    ask_calmly(served, kind, next_serial++);
    for (bool any = true; any; n++) {
        unsigned serial = next_serial++;
        any = ask_failing(served, kind, serial, n, every);
        ask_calmly(served, kind, serial);
    }
    check_failed(n, ask_name(kind));
}

/* The first request of a gateway's life. */
static void fail_each_when_cold(unsigned kind)
{
    long n = 1;
    for (bool any = true; any; n++) {
        struct served *served = served_start(replicas, "");
        any = ask_failing(served, kind, next_serial, n, 0);
        ask_calmly(served, kind, next_serial);
        served_stop(served);
    }
    check_failed(n, ask_name(kind));
}

/* Many clients at once, all kinds among them, while allocations fail by the way. */
static void burst(const struct served *served, long every)
{
    static struct client clients[BURST_CLIENTS];
    struct ask asks[BURST_CLIENTS];
    scarce_from(every, every);
    for (unsigned round = 0; round < BURST_ROUNDS; round++) {
        for (unsigned i = 0; i < BURST_CLIENTS; i++) {
            unsigned kind = (round + i) % ASK_KINDS;
            kind = kind == ASK_MODEL_RAISES ? ASK_CACHED : kind;
            ask_write(&asks[i], kind, next_serial + i / 2);
            client_open(&clients[i], served);
            client_send(&clients[i], asks[i].bytes.bytes, asks[i].bytes.length);
        }
        for (unsigned i = 0; i < BURST_CLIENTS; i++) {
            take_replies(&clients[i], &asks[i], "burst", every);
            if (!client_close(&clients[i]))
                wrong("burst", every, "more than was due came back", &(struct reply){.how = REPLY_LATE});
            ask_clear(&asks[i]);
        }
        next_serial += BURST_CLIENTS;
    }
    check_failed(scarce_no_more() ? FEWEST_ALLOCATIONS + 1 : 0, "burst");
}

/* A gateway either says why it does not start, or finds its replicas and serves. */
static void fail_each_at_start(void)
{
    long n = 1;
    for (bool any = true; any; n++) {
        struct served *served = served_new(replicas, "");
        scarce_from(n, 0);
        scarce_spare(false);
        enum gw_status status = served_try(served);
        scarce_spare(true);
        if (status == GW_OK)
            served_wait_ready(served);
        any = scarce_no_more();
        if (status != GW_OK && (status != GW_E_NO_MEMORY || !any))
            wrong("start", n, gw_status_words(status), &(struct reply){.how = REPLY_NONE});
        if (status == GW_OK)
            ask_calmly(served, ASK_CACHED, next_serial);
        served_stop(served);
    }
    check_failed(n, "start");
    printf("start: failed %ld times\n", n - 2);
}

/*
 * In a process of its own: gRPC leaves the sockets open of connections that it was just making when the last
 * user shut it down, and replicas would wait for them.
 */
static void fail_each_at_start_apart(void)
{
    int status = -1;
    pid_t process = fork();
    if (process == 0) {
        fail_each_at_start();
        exit(EXIT_SUCCESS);
    }
    if (process < 0 || waitpid(process, &status, 0) < 0 || status != 0) {
        fprintf(stderr, "alloc_test: starting ended with %#x\n", (unsigned)status);
        abort();
    }
}

static void say(const char *what)
{
    printf("%s: %lu right, %lu without memory, %lu hung up\n", what, tally[0], tally[1], tally[2]);
    fflush(stdout);
    memset(tally, 0, sizeof tally);
}

/* Of the shadow's rows some were dropped for want of memory, and others compared all the same. */
static void check_shadow(const struct served *served)
{
    if (!served_sum(served, "xebec_shadow_rows_total") ||
        !served_sum(served, "xebec_shadow_dropped_rows_total"))
        abort();
}

static void fail_when_warm(void)
{
    struct served *served = served_start(replicas, "");
    for (unsigned kind = 0; kind < ASK_KINDS; kind++) {
        fail_each_when_warm(served, kind, 0);
        say(ask_name(kind));
    }
    for (unsigned kind = 0; kind < ASK_KINDS; kind++)
        fail_each_when_warm(served, kind, 1);
    say("all from one on");
    for (long every = 2; every <= 7; every++)
        burst(served, every);
    say("every few");
    for (unsigned kind = 0; kind < ASK_KINDS; kind++)
        ask_calmly(served, kind, next_serial++);
    check_shadow(served);
    served_stop(served);
}

/* Every row is looked up in Redis, computed and stored; asked again, it is found there. */
static void fail_with_redis(struct served_replicas *started)
{
    served_redis_start(started);
    struct served *served = served_start(replicas, "");
    for (unsigned kind = 0; kind < ASK_KINDS; kind++) {
        long n = 1;
        for (bool any = true; any; n++) {
            unsigned serial = next_serial++;
            any = ask_failing(served, kind, serial, n, 0);
            ask_calmly(served, kind, serial);
            any = ask_failing(served, kind, serial, n, 0) || any;
            ask_calmly(served, kind, serial);
        }
        check_failed(n, ask_name(kind));
    }
    if (served_sum(served, "xebec_cache_redis_stores_total") == 0)
        abort();
    say("with Redis");
    for (long every = 2; every <= 7; every++)
        burst(served, every);
    served_stop(served);
    served_redis_stop(started);
    say("with Redis, every few");
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: alloc_test xebec-echo picky_worker\n");
        return 2;
    }
    scarce_spare(true);
    json = json_reader_new();
    if (!json)
        abort();
    struct served_replicas *started = served_replicas_start(argv[1], argv[2]);
    replicas = started;
    fail_each_at_start_apart(); /* both before this process has used gRPC: a fork would inherit it without its
                                   threads */
    served_redis_start(started);
    fail_each_at_start_apart();
    served_redis_stop(started);
    fail_when_warm();
    for (unsigned kind = 0; kind < ASK_KINDS; kind++)
        fail_each_when_cold(kind);
    say("first requests");
    fail_with_redis(started);
    served_replicas_stop(started);
    json_reader_free(json);
    return 0;
}
