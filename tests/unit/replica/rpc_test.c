/* rpc: against a puppet; everything starts inside the test, for Criterion forks. */
#include "replica/rpc.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "puppet.h"
#include "replica/worker_codec.h"
#include "support/tls_context.h"
#include "transport.h"
#include "turn.h"

#define PREDICT  "/xebec.worker.v1.Worker/Predict"
#define CHECK    "/grpc.health.v1.Health/Check"
#define SOON_MS  5000
#define LATER_US 5000000

struct scene {
    struct loop *loop;
    struct rpc_client *client;
    struct rpc_channel *channel;
    enum rpc_state state;
    unsigned changes, readies;
};

struct answer {
    unsigned times;
    enum gw_status status;
    char message[200];
    uint8_t *bytes;
    size_t size;
    uint64_t took_us;
};

static void on_change(void *owner, enum rpc_state state)
{
    struct scene *scene = owner;
    scene->state = state;
    scene->changes++;
    scene->readies += state == RPC_READY;
}

static void on_done(void *owner, const struct rpc_reply *reply)
{
    struct answer *answer = owner;
    answer->times++;
    answer->status = reply->status;
    snprintf(answer->message, sizeof answer->message, "%s", reply->message);
    answer->size = reply->size;
    answer->bytes = malloc(reply->size + 1);
    if (reply->size)
        memcpy(answer->bytes, reply->bytes, reply->size);
    answer->took_us = reply->done_us - reply->sent_us;
}

static size_t message_max = 1 << 18;

static void scene_open(struct scene *scene, const char *address)
{
    const struct rpc_channel_options options = {.connect_timeout_ms = 1000,
                                                .backoff_min_ms = 100,
                                                .backoff_max_ms = 200,
                                                .max_message_bytes = message_max,
                                                .tls = transport_tls()};
    *scene = (struct scene){.loop = loop_new()};
    scene->client = rpc_client_new(scene->loop, transport_of_test(), NULL);
    scene->channel = rpc_channel_new(scene->client, address, &options);
    tls_context_unref(options.tls);
    rpc_channel_watch(scene->channel, on_change, scene);
}

static void scene_close(struct scene *scene)
{
    rpc_channel_free(scene->channel);
    rpc_client_free(scene->client);
    loop_free(scene->loop);
}

static bool is_ready(void *scene)
{
    return ((struct scene *)scene)->state == RPC_READY;
}
static bool is_down(void *scene)
{
    return ((struct scene *)scene)->state == RPC_DOWN;
}
static bool is_ready_twice(void *scene)
{
    return ((struct scene *)scene)->readies == 2;
}
static bool is_done(void *answer)
{
    return ((struct answer *)answer)->times > 0;
}

static void connect_to(struct scene *scene, struct puppet *puppet)
{
    scene_open(scene, puppet_address(puppet));
    cr_assert(turn_until(scene->loop, is_ready, scene, SOON_MS));
}

static struct rpc_call *send_check(struct scene *scene, struct answer *answer, uint64_t deadline_us)
{
    return rpc_call_start(scene->channel, NULL, CHECK, deadline_us, on_done, answer);
}

/* A Predict of so many rows of two floats each: row i is {i, -i}. */
static struct rpc_call *send_predict(struct scene *scene, uint32_t n_rows, struct answer *answer,
                                     uint64_t deadline_us)
{
    float *data = malloc(n_rows * 2 * sizeof *data);
    uint32_t *rows = malloc(n_rows * sizeof *rows);
    for (uint32_t i = 0; i < n_rows; i++) {
        data[2 * i] = (float)i;
        data[2 * i + 1] = -(float)i;
        rows[i] = i;
    }
    struct tensor x = {.spec = {.name = "x", .datatype = DT_FP32, .dims = 2, .shape = {n_rows, 2}},
                       .data = (uint8_t *)data,
                       .bytes = n_rows * 2 * sizeof *data};
    struct row_piece piece = {.inputs = &x, .rows = rows, .count = n_rows};
    struct predict_input input = {.pieces = &piece, .n_pieces = 1, .n_inputs = 1, .n_rows = n_rows};
    size_t size = worker_predict_size(&input);
    uint8_t *bytes;
    struct rpc_payload *payload = rpc_payload_new(size, &bytes);
    cr_assert(worker_predict_write(&input, bytes, size) == GW_OK);
    struct rpc_call *call = rpc_call_start(scene->channel, payload, PREDICT, deadline_us, on_done, answer);
    rpc_payload_free(payload);
    free(data);
    free(rows);
    return call;
}

static void expect_echo(const struct answer *answer, uint32_t n_rows)
{
    struct predict_result *result = NULL;
    struct gw_err err;
    const struct signature anything = {0};
    cr_assert_eq(answer->status, GW_OK, "%s", answer->message);
    cr_assert(worker_predict_read(answer->bytes, answer->size, n_rows, &anything, NULL, 0, &result, &err) ==
              GW_OK);
    float last[2];
    size_t bytes;
    memcpy(last, tensor_row(&result->outputs[0], n_rows - 1, &bytes), sizeof last);
    cr_assert_eq(last[0], (float)(n_rows - 1));
    cr_assert_eq(last[1], -(float)(n_rows - 1));
    predict_result_unref(result);
}

static void expect_health_over(const char *address)
{
    struct scene scene;
    struct answer answer = {0};
    struct puppet *puppet = puppet_start(address, &(struct puppet_script){0});
    connect_to(&scene, puppet);
    send_check(&scene, &answer, loop_now_us() + LATER_US);
    cr_assert_eq(answer.times, 0, "done ran inside rpc_call_start()");
    cr_assert(turn_until(scene.loop, is_done, &answer, SOON_MS));
    cr_assert_eq(answer.status, GW_OK);
    cr_assert(worker_health_serving(answer.bytes, answer.size));
    cr_assert_eq(answer.times, 1);
    free(answer.bytes);
    scene_close(&scene);
    puppet_stop(puppet);
}

Test(rpc, calls_over_tcp)
{
    expect_health_over("127.0.0.1:0");
}

Test(rpc, calls_over_a_unix_socket)
{
    char path[] = "/tmp/xebec-rpc-XXXXXX", address[64];
    cr_assert(mkdtemp(path));
    snprintf(address, sizeof address, "unix:%s/s", path);
    expect_health_over(address);
    unlink(address + 5);
    rmdir(path);
}

Test(rpc, a_reply_of_one_slice_and_one_of_many_are_the_same_bytes)
{
    struct scene scene;
    struct puppet *puppet = puppet_start("127.0.0.1:0", &(struct puppet_script){0});
    connect_to(&scene, puppet);
    uint32_t rows[] = {1, 100, 30000}; /* 30000: 240 kB */
    for (size_t i = 0; i < 3; i++) {
        struct answer answer = {0};
        send_predict(&scene, rows[i], &answer, loop_now_us() + LATER_US);
        cr_assert(turn_until(scene.loop, is_done, &answer, SOON_MS));
        expect_echo(&answer, rows[i]);
        free(answer.bytes);
    }
    scene_close(&scene);
    puppet_stop(puppet);
}

/* As large as the gateway allows, several at once, both ways. */
Test(rpc, sixty_four_mebibytes_come_through)
{
    enum { ROWS = 8000000, CALLS = 2 };
    struct scene scene;
    struct answer answers[CALLS] = {0};
    struct puppet *puppet = puppet_start("127.0.0.1:0", &(struct puppet_script){0});
    message_max = 64 << 20;
    connect_to(&scene, puppet);
    for (int i = 0; i < CALLS; i++)
        send_predict(&scene, ROWS, &answers[i], loop_now_us() + 12 * (uint64_t)LATER_US);
    for (int i = 0; i < CALLS; i++) {
        cr_assert(turn_until(scene.loop, is_done, &answers[i], 12 * SOON_MS));
        expect_echo(&answers[i], ROWS);
        free(answers[i].bytes);
    }
    scene_close(&scene);
    puppet_stop(puppet);
}

Test(rpc, connects_before_the_server_exists)
{
    struct scene scene;
    char address[64];
    puppet_free_address(address, sizeof address);
    scene_open(&scene, address);
    cr_assert(turn_until(scene.loop, is_down, &scene, SOON_MS));
    struct puppet *puppet = puppet_start(address, &(struct puppet_script){0});
    cr_assert(turn_until(scene.loop, is_ready, &scene, SOON_MS));
    scene_close(&scene);
    puppet_stop(puppet);
}

Test(rpc, a_channel_that_is_not_connected_fails_the_call_at_once)
{
    struct scene scene;
    char address[64];
    struct answer answer = {0};
    puppet_free_address(address, sizeof address);
    scene_open(&scene, address);
    send_check(&scene, &answer, loop_now_us() + LATER_US);
    cr_assert_eq(answer.times, 0, "done ran inside rpc_call_start()");
    cr_assert(turn_until(scene.loop, is_done, &answer, 50));
    cr_assert_eq(answer.status, GW_E_NO_REPLICA);
    cr_assert_str_eq(answer.message, "not connected");
    free(answer.bytes);
    scene_close(&scene);
}

static void expect_reconnect(const char *wanted)
{
    struct scene scene;
    char address[128];
    struct puppet *puppet = puppet_start(wanted, &(struct puppet_script){0});
    snprintf(address, sizeof address, "%s", puppet_address(puppet));
    connect_to(&scene, puppet);
    puppet_stop(puppet);
    cr_assert(turn_until(scene.loop, is_down, &scene, SOON_MS));
    puppet = puppet_start(address, &(struct puppet_script){0});
    cr_assert(turn_until(scene.loop, is_ready, &scene, SOON_MS));
    struct answer answer = {0};
    send_check(&scene, &answer, loop_now_us() + LATER_US);
    cr_assert(turn_until(scene.loop, is_done, &answer, SOON_MS));
    cr_assert_eq(answer.status, GW_OK);
    free(answer.bytes);
    scene_close(&scene);
    puppet_stop(puppet);
}

Test(rpc, reconnects_after_a_restart_on_the_same_port)
{
    expect_reconnect("127.0.0.1:0");
}

Test(rpc, reconnects_after_a_restart_on_the_same_path)
{
    char path[] = "/tmp/xebec-rpc-XXXXXX", address[64];
    cr_assert(mkdtemp(path));
    snprintf(address, sizeof address, "unix:%s/s", path);
    expect_reconnect(address);
    unlink(address + 5);
    rmdir(path);
}

Test(rpc, a_cut_connection_ends_its_calls_and_is_replaced)
{
    struct scene scene;
    struct answer answers[3] = {0};
    struct puppet *puppet = puppet_start("127.0.0.1:0", &(struct puppet_script){.predict = PUPPET_STALL});
    connect_to(&scene, puppet);
    for (size_t i = 0; i < 3; i++)
        send_predict(&scene, 1, &answers[i], loop_now_us() + LATER_US);
    turn_for(scene.loop, 50);
    puppet_cut(puppet);
    for (size_t i = 0; i < 3; i++) {
        cr_assert(turn_until(scene.loop, is_done, &answers[i], SOON_MS));
        cr_assert_eq(answers[i].status, GW_E_NO_REPLICA, "%s", answers[i].message);
        cr_assert_eq(answers[i].times, 1);
        free(answers[i].bytes);
    }
    cr_assert(turn_until(scene.loop, is_ready_twice, &scene, SOON_MS));
    scene_close(&scene);
    puppet_stop(puppet);
}

Test(rpc, every_way_to_end_has_its_status)
{
    static const struct {
        enum puppet_predict predict;
        enum gw_status status;
        const char *message;
    } cases[] = {
        {PUPPET_ECHO, GW_OK, ""},
        {PUPPET_RAISE, GW_E_MODEL, "ValueError: puppet"},
        {PUPPET_SHED, GW_E_OVERLOAD, "too much"},
        {PUPPET_AWAY, GW_E_NO_REPLICA, "going away"},
        {PUPPET_ABORT, GW_E_NO_REPLICA, "no reason"},
        {PUPPET_BAD_INPUT, GW_E_INVALID, "not a digit"},
        {PUPPET_EMPTY, GW_E_CONTRACT, "there is no message in the reply"},
        {PUPPET_COMPRESSED, GW_E_CONTRACT, "the reply is compressed"},
        {PUPPET_BIG, GW_E_CONTRACT, NULL},
    };
    struct scene scene;
    struct puppet *puppet = puppet_start("127.0.0.1:0", &(struct puppet_script){0});
    connect_to(&scene, puppet);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer answer = {0};
        puppet_tell(puppet, &(struct puppet_script){.predict = cases[i].predict});
        send_predict(&scene, 1, &answer, loop_now_us() + LATER_US);
        cr_assert(turn_until(scene.loop, is_done, &answer, SOON_MS));
        cr_expect_eq(answer.status, cases[i].status, "case %zu: %s", i, answer.message);
        if (cases[i].message)
            cr_expect_str_eq(answer.message, cases[i].message, "case %zu", i);
        free(answer.bytes);
    }
    scene_close(&scene);
    puppet_stop(puppet);
}

Test(rpc, an_unknown_method_is_not_implemented)
{
    struct scene scene;
    struct answer answer = {0};
    struct puppet *puppet = puppet_start("127.0.0.1:0", &(struct puppet_script){.health = HEALTH_MISSING});
    connect_to(&scene, puppet);
    send_check(&scene, &answer, loop_now_us() + LATER_US);
    cr_assert(turn_until(scene.loop, is_done, &answer, SOON_MS));
    cr_assert_eq(answer.status, GW_E_NOT_IMPLEMENTED);
    free(answer.bytes);
    scene_close(&scene);
    puppet_stop(puppet);
}

Test(rpc, a_deadline_is_kept_while_the_server_stalls)
{
    struct scene scene;
    struct puppet *puppet = puppet_start("127.0.0.1:0", &(struct puppet_script){.predict = PUPPET_STALL});
    connect_to(&scene, puppet);
    for (unsigned i = 0; i < 5; i++) {
        struct answer answer = {0};
        send_predict(&scene, 1, &answer, loop_now_us() + 50000);
        cr_assert(turn_until(scene.loop, is_done, &answer, SOON_MS));
        cr_assert_eq(answer.status, GW_E_DEADLINE, "%s", answer.message);
        cr_assert_geq(answer.took_us, 49000);
        free(answer.bytes);
    }
    scene_close(&scene);
    puppet_stop(puppet);
}

Test(rpc, a_cancelled_call_ends_soon)
{
    struct scene scene;
    struct answer answer = {0};
    struct puppet *puppet = puppet_start("127.0.0.1:0", &(struct puppet_script){.predict = PUPPET_STALL});
    connect_to(&scene, puppet);
    struct rpc_call *call = send_predict(&scene, 1, &answer, loop_now_us() + LATER_US);
    turn_for(scene.loop, 20);
    rpc_call_cancel(call);
    cr_assert_eq(answer.times, 0, "done ran inside rpc_call_cancel()");
    cr_assert(turn_until(scene.loop, is_done, &answer, 1000));
    cr_assert_eq(answer.status, GW_E_CANCELLED);
    free(answer.bytes);
    scene_close(&scene);
    puppet_stop(puppet);
}

Test(rpc, a_call_cancelled_at_once_ends_cancelled_or_answered)
{
    struct scene scene;
    struct puppet *puppet = puppet_start("127.0.0.1:0", &(struct puppet_script){0});
    connect_to(&scene, puppet);
    for (unsigned i = 0; i < 50; i++) {
        struct answer answer = {0};
        rpc_call_cancel(send_predict(&scene, 1, &answer, loop_now_us() + LATER_US));
        cr_assert(turn_until(scene.loop, is_done, &answer, SOON_MS));
        cr_assert(answer.status == GW_E_CANCELLED || answer.status == GW_OK, "%s", answer.message);
        free(answer.bytes);
    }
    scene_close(&scene);
    puppet_stop(puppet);
}

Test(rpc, freeing_a_channel_cancels_its_calls_and_silences_its_watch)
{
    struct scene scene;
    struct answer answers[2] = {0};
    struct puppet *puppet = puppet_start("127.0.0.1:0", &(struct puppet_script){.predict = PUPPET_STALL});
    connect_to(&scene, puppet);
    for (size_t i = 0; i < 2; i++)
        send_predict(&scene, 1, &answers[i], loop_now_us() + LATER_US);
    unsigned changes = scene.changes;
    rpc_channel_free(scene.channel);
    for (size_t i = 0; i < 2; i++) {
        cr_assert(turn_until(scene.loop, is_done, &answers[i], 1000));
        cr_assert_eq(answers[i].status, GW_E_CANCELLED);
        free(answers[i].bytes);
    }
    turn_for(scene.loop, 50);
    cr_assert_eq(scene.changes, changes);
    rpc_client_free(scene.client);
    loop_free(scene.loop);
    puppet_stop(puppet);
}

Test(rpc, freeing_everything_still_answers_every_call_once)
{
    struct scene scene;
    struct answer answers[2] = {0};
    struct puppet *puppet = puppet_start("127.0.0.1:0", &(struct puppet_script){.predict = PUPPET_STALL});
    connect_to(&scene, puppet);
    for (size_t i = 0; i < 2; i++)
        send_predict(&scene, 1, &answers[i], loop_now_us() + LATER_US);
    scene_close(&scene);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(answers[i].times, 1);
        cr_assert_eq(answers[i].status, GW_E_CANCELLED);
        free(answers[i].bytes);
    }
    puppet_stop(puppet);
}

Test(rpc, an_address_that_cannot_be_read_is_down_for_good)
{
    struct scene scene;
    struct answer answer = {0};
    scene_open(&scene, "unix:"); /* no path */
    cr_assert(turn_until(scene.loop, is_down, &scene, SOON_MS));
    send_check(&scene, &answer, loop_now_us() + LATER_US);
    cr_assert(turn_until(scene.loop, is_done, &answer, SOON_MS));
    cr_assert_eq(answer.status, GW_E_NO_REPLICA);
    free(answer.bytes);
    scene_close(&scene);
}
