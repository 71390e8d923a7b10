/*
 * rpc_race: starts, cancels and frees calls, channels, clients and pools in every order that chance finds,
 * for two seconds, while puppets answer, stall and lose their connections, names lead to them and no longer
 * do, and another thread looks at it all. Every call must be answered exactly once. Plain main(), so that
 * ThreadSanitizer can watch. Run with a seed to repeat a choice: rpc_race 42
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "names.h"
#include "puppet.h"
#include "replica/pool.h"
#include "replica/rpc.h"
#include "support/log.h"
#include "transport.h"
#include "turn.h"

enum { RUN_US = 2000000, LEAST_ROUNDS = 20, CALLS = 8, PUPPETS = 3, TURN_MS = 3 };

static void check(bool truth, const char *what)
{
    if (truth)
        return;
    fprintf(stderr, "rpc_race: %s\n", what);
    abort();
}

struct tally {
    unsigned started, ended, ok;
};

static bool all_ended(void *owner)
{
    struct tally *tally = owner;
    return tally->started == tally->ended;
}

/* --- rpc --- */

static void on_reply(void *owner, const struct rpc_reply *reply)
{
    struct tally *tally = owner;
    tally->ended++;
    tally->ok += reply->status == GW_OK;
}

static void on_state(void *owner, enum rpc_state state)
{
    *(enum rpc_state *)owner = state;
}

static bool is_ready(void *state)
{
    return *(enum rpc_state *)state == RPC_READY;
}

/* Several calls, some cancelled at once; freed after a few milliseconds, or after the last answer. */
static void race_rpc(struct puppet *puppet, struct tally *tally)
{
    const struct rpc_channel_options options = {
        .connect_timeout_ms = 1000, .backoff_min_ms = 100, .backoff_max_ms = 100, .max_message_bytes = 4096};
    enum rpc_state state = RPC_IDLE;
    struct loop *loop = loop_new();
    struct rpc_client *client = rpc_client_new(loop, transport_of_test(), NULL);
    struct rpc_channel *channel = rpc_channel_new(client, puppet_address(puppet), &options);
    check(loop && client && channel, "no memory");
    rpc_channel_watch(channel, on_state, &state);
    if (rand() % 4)
        turn_until(loop, is_ready, &state, 500);
    for (int i = 0; i < CALLS; i++) {
        uint64_t deadline_us = loop_now_us() + (rand() % 2 ? 1000 : 200000);
        struct rpc_call *call =
            rpc_call_start(channel, NULL, "/grpc.health.v1.Health/Check", deadline_us, on_reply, tally);
        check(call, "no memory");
        tally->started++;
        if (rand() % 3 == 0)
            rpc_call_cancel(call);
        if (rand() % 8 == 0)
            puppet_cut(puppet);
        if (rand() % 3 == 0)
            turn_for(loop, 1);
    }
    if (rand() % 2)
        check(turn_until(loop, all_ended, tally, 5000), "a call was never answered");
    rpc_channel_free(channel);
    if (rand() % 2)
        turn_for(loop, TURN_MS);
    rpc_client_free(client);
    loop_free(loop);
    check(all_ended(tally), "a call was not answered exactly once");
}

/* --- pool --- */

struct ask {
    struct pool_call call;
    struct tally *tally;
};

static void on_done(struct pool_call *call, struct predict_result *result, const struct gw_err *err,
                    uint64_t rpc_us)
{
    struct ask *ask = container_of(call, struct ask, call);
    (void)rpc_us;
    check((result != NULL) == (err->status == GW_OK), "a result with an error, or without a result");
    ask->tally->ended++;
    ask->tally->ok += result != NULL;
    predict_result_unref(result);
    free(ask);
}

static void on_ready(void *owner)
{
    (void)owner;
}

static void ask_pool(struct pool *pool, struct tally *tally)
{
    static const float data[2] = {1, 2};
    static const uint32_t rows[1] = {0};
    const struct tensor x = {.spec = {.name = "x", .datatype = DT_FP32, .dims = 2, .shape = {1, 2}},
                             .data = (const uint8_t *)data,
                             .bytes = sizeof data};
    const struct row_piece piece = {.inputs = &x, .rows = rows, .count = 1};
    struct ask *ask = calloc(1, sizeof *ask);
    check(ask, "no memory");
    ask->tally = tally;
    ask->call.done = on_done;
    ask->call.waits = rand() % 2;
    ask->call.deadline_us = loop_now_us() + (rand() % 2 ? 2000 : 200000);
    ask->call.input = (struct predict_input){.pieces = &piece, .n_pieces = 1, .n_inputs = 1, .n_rows = 1};
    if (pool_predict(pool, &ask->call) != GW_OK) {
        free(ask);
        return;
    }
    tally->started++;
    if (rand() % 4 == 0)
        pool_cancel(pool, &ask->call);
}

static bool any_ready(void *pool)
{
    return pool_any_ready(pool);
}

/* Some of the puppets, or none, or nowhere. */
static void name_some(struct puppet *const *puppets)
{
    char text[PUPPETS * 40 + 20] = "";
    for (int i = 0; i < PUPPETS; i++)
        if (rand() % 2)
            strcat(strcat(text, puppet_address(puppets[i])), " ");
    if (rand() % 4 == 0)
        strcat(text, "127.0.0.1:1");
    names_say("some", text);
    names_fail(rand() % 8 ? 0 : EAI_AGAIN);
}

/* As the admin's thread does. */
struct onlooker {
    const struct pool *pool;
    atomic_bool leaving;
    pthread_t thread;
};

static void *look_on(void *owner)
{
    static struct replica_status replicas[POOL_REPLICAS_MAX];
    struct discovery_status name;
    struct onlooker *onlooker = owner;
    uint32_t most = 0;
    while (!atomic_load(&onlooker->leaving)) {
        uint32_t n = pool_status(onlooker->pool, replicas, POOL_REPLICAS_MAX);
        most = n > most ? n : most;
        check(pool_names(onlooker->pool, &name, 1) == 1, "there is one name");
        (void)pool_any_ready(onlooker->pool);
        usleep(100);
    }
    check(most <= PUPPETS + 1, "more replicas than there are addresses");
    return NULL;
}

static void race_pool(struct puppet *const *puppets, struct tally *tally)
{
    static const enum puppet_predict tricks[] = {PUPPET_ECHO, PUPPET_ECHO, PUPPET_SHED, PUPPET_STALL,
                                                 PUPPET_AWAY};
    struct tensor_spec specs[] = {{.name = "x", .datatype = DT_FP32, .dims = 2, .shape = {-1, 2}},
                                  {.name = "y", .datatype = DT_FP32, .dims = 2, .shape = {-1, 2}}};
    const struct signature signature = {
        .inputs = &specs[0], .outputs = &specs[1], .n_inputs = 1, .n_outputs = 1};
    const char *const addresses[] = {"dns:some:1", puppet_address(puppets[0])};
    struct resolver *resolver = resolver_new_with(names_look_up, 100000);
    for (int i = 0; i < PUPPETS; i++)
        puppet_tell(puppets[i], &(struct puppet_script){.predict = tricks[rand() % 5]});
    name_some(puppets);
    const struct pool_version version = {.model = "digits",
                                         .version = "forest",
                                         .signature = &signature,
                                         .addresses = addresses,
                                         .n_addresses = rand() % 2 ? 2 : 1,
                                         .resolver = resolver,
                                         .limits = {.calls_per_replica = 2,
                                                    .attempts = 3,
                                                    .retry_percent = 100,
                                                    .discovery_interval_us = 1000,
                                                    .health_interval_us = 2000,
                                                    .health_timeout_us = 50000,
                                                    .max_message_bytes = 4096}};
    struct metrics *metrics = metrics_new();
    struct loop *loop = loop_new();
    struct rpc_client *client = rpc_client_new(loop, transport_of_test(), NULL);
    struct pool *pool = pool_new(loop, client, metrics, &version, on_ready, NULL);
    check(pool, "no memory");
    struct onlooker onlooker = {.pool = pool};
    check(pthread_create(&onlooker.thread, NULL, look_on, &onlooker) == 0, "no thread");
    turn_until(loop, any_ready, pool, 20);
    for (int i = 0; i < CALLS; i++) {
        ask_pool(pool, tally);
        if (rand() % 3 == 0)
            name_some(puppets);
        if (rand() % 6 == 0)
            puppet_cut(puppets[rand() % PUPPETS]);
        if (rand() % 3 == 0)
            turn_for(loop, TURN_MS);
    }
    atomic_store(&onlooker.leaving, true);
    pthread_join(onlooker.thread, NULL);
    pool_free(pool);
    check(all_ended(tally), "a call was not answered exactly once");
    if (rand() % 2)
        turn_for(loop, TURN_MS);
    rpc_client_free(client);
    resolver_free(resolver);
    loop_free(loop);
    metrics_free(metrics);
}

int main(int argc, char **argv)
{
    unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : (unsigned)loop_now_us(), rounds = 0;
    struct tally tally = {0};
    struct puppet *puppets[PUPPETS];
    uint64_t end_us = loop_now_us() + RUN_US;
    printf("seed %u\n", seed);
    srand(seed);
    log_open(STDERR_FILENO, LOG_ERROR_LEVEL);
    for (int i = 0; i < PUPPETS; i++)
        puppets[i] = puppet_start("127.0.0.1:0", &(struct puppet_script){0});
    for (; rounds < LEAST_ROUNDS || loop_now_us() < end_us; rounds++) {
        race_rpc(puppets[0], &tally);
        race_pool(puppets, &tally);
    }
    for (int i = 0; i < PUPPETS; i++)
        puppet_stop(puppets[i]);
    printf("%u rounds, %u calls, %u ok\n", rounds, tally.started, tally.ok);
    check(tally.ok > 0 && tally.ok < tally.started, "chance gave no mixture");
    return 0;
}
