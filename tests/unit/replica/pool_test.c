/* pool: against puppets; everything starts inside the test, for Criterion forks. */
#include "replica/pool.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "puppet.h"
#include "support/log.h"
#include "support/tls_context.h"
#include "transport.h"
#include "turn.h"

#define SOON_MS  5000
#define LATER_US 5000000
#define PUPPETS  3

struct scene {
    struct loop *loop;
    struct rpc_client *client;
    struct metrics *metrics;
    struct pool *pool;
    struct puppet *puppets[PUPPETS];
    char addresses[PUPPETS][64];
    const char *address_list[PUPPETS];
    struct tensor_spec specs[2];
    struct signature signature;
    struct pool_version version;
    struct tls_context *tls;
    unsigned readies, done_inside;
    uint32_t wanted_ready; /* what is_up() waits for */
};

struct ask {
    struct pool_call call;
    struct row_piece piece;
    struct tensor x;
    uint32_t rows[8];
    float data[8][2];
    unsigned times;
    enum gw_status status;
    char what[256];
    uint64_t rpc_us;
    uint64_t digest[2];
    bool right; /* the answer is the question */
};

static void on_ready(void *owner)
{
    ((struct scene *)owner)->readies++;
}

static uint32_t count_in(struct scene *scene, enum replica_state state)
{
    struct replica_status status[PUPPETS];
    uint32_t n = pool_status(scene->pool, status, PUPPETS), count = 0;
    for (uint32_t i = 0; i < n; i++)
        count += status[i].state == state;
    return count;
}

static struct replica_status status_of(struct scene *scene, unsigned i)
{
    struct replica_status status[PUPPETS];
    pool_status(scene->pool, status, PUPPETS);
    return status[i];
}

static bool is_up(void *scene)
{
    return count_in(scene, REPLICA_READY) == ((struct scene *)scene)->wanted_ready;
}
static bool is_refused(void *scene)
{
    return count_in(scene, REPLICA_REFUSED) == 1;
}
static bool is_unhealthy(void *scene)
{
    return count_in(scene, REPLICA_UNHEALTHY) == 1;
}
static bool is_down(void *scene)
{
    return count_in(scene, REPLICA_DOWN) == 1;
}
static bool is_done(void *ask)
{
    return ((struct ask *)ask)->times > 0;
}
static bool has_predict(void *puppet)
{
    return puppet_predicts(puppet) > 0;
}

static bool expect_up(struct scene *scene, uint32_t replicas, unsigned within_ms)
{
    scene->wanted_ready = replicas;
    return turn_until(scene->loop, is_up, scene, within_ms);
}

/* A pool over the addresses in scene->addresses, connecting. */
static void scene_open(struct scene *scene, uint32_t n, const struct pool_limits *limits)
{
    log_open(STDERR_FILENO, LOG_ERROR_LEVEL);
    scene->loop = loop_new();
    scene->client = rpc_client_new(scene->loop, transport_of_test(), NULL);
    scene->metrics = metrics_new();
    scene->specs[0] = (struct tensor_spec){.name = "x", .datatype = DT_FP32, .dims = 2, .shape = {-1, 2}};
    scene->specs[1] = (struct tensor_spec){.name = "y", .datatype = DT_FP32, .dims = 2, .shape = {-1, 2}};
    scene->signature = (struct signature){
        .inputs = &scene->specs[0], .outputs = &scene->specs[1], .n_inputs = 1, .n_outputs = 1};
    for (uint32_t i = 0; i < n; i++)
        scene->address_list[i] = scene->addresses[i];
    scene->tls = transport_tls();
    scene->version = (struct pool_version){.model = "digits",
                                           .version = "forest",
                                           .signature = &scene->signature,
                                           .addresses = scene->address_list,
                                           .n_addresses = n,
                                           .tls = scene->tls,
                                           .limits = *limits};
    scene->pool = pool_new(scene->loop, scene->client, scene->metrics, &scene->version, on_ready, scene);
    cr_assert(scene->pool);
}

static const struct pool_limits usual = {.calls_per_replica = 2,
                                         .attempts = 3,
                                         .retry_percent = 20,
                                         .hedge_percent = 5,
                                         .health_interval_us = 50000,
                                         .health_timeout_us = 500000,
                                         .max_message_bytes = 1 << 18};

/* Puppets, and a pool that has them all ready. */
static void scene_start(struct scene *scene, uint32_t n, const struct puppet_script *scripts,
                        const struct pool_limits *limits)
{
    memset(scene, 0, sizeof *scene);
    for (uint32_t i = 0; i < n; i++) {
        scene->puppets[i] = puppet_start("127.0.0.1:0", &scripts[i]);
        snprintf(scene->addresses[i], sizeof scene->addresses[i], "%s", puppet_address(scene->puppets[i]));
    }
    scene_open(scene, n, limits);
    cr_assert(expect_up(scene, n, SOON_MS));
}

static void scene_close(struct scene *scene)
{
    pool_free(scene->pool);
    rpc_client_free(scene->client);
    loop_free(scene->loop);
    metrics_free(scene->metrics);
    tls_context_unref(scene->tls);
    for (unsigned i = 0; i < PUPPETS; i++)
        if (scene->puppets[i])
            puppet_stop(scene->puppets[i]);
}

static void on_done(struct pool_call *call, struct predict_result *result, const struct gw_err *err,
                    uint64_t rpc_us)
{
    struct ask *ask = container_of(call, struct ask, call);
    ask->times++;
    ask->status = err->status;
    ask->rpc_us = rpc_us;
    snprintf(ask->what, sizeof ask->what, "%s", err->what);
    cr_assert_eq(result != NULL, err->status == GW_OK);
    if (!result)
        return;
    ask->right = result->n_rows == ask->piece.count &&
                 memcmp(result->outputs[0].data, ask->data, ask->piece.count * sizeof ask->data[0]) == 0;
    memcpy(ask->digest, result->digest, sizeof ask->digest);
    predict_result_unref(result);
}

/* Rows that no other question has. expected_us: what is expected of it; 0: nothing, and it is not hedged. */
static enum gw_status ask_expecting(struct scene *scene, struct ask *ask, uint32_t n_rows, uint64_t within_us,
                                    uint64_t expected_us)
{
    static float serial;
    *ask = (struct ask){.call = {.done = on_done, .expected_us = expected_us, .may_hedge = expected_us > 0}};
    for (uint32_t i = 0; i < n_rows; i++) {
        ask->rows[i] = i;
        ask->data[i][0] = ++serial;
        ask->data[i][1] = -serial;
    }
    ask->x = (struct tensor){.spec = {.name = "x", .datatype = DT_FP32, .dims = 2, .shape = {n_rows, 2}},
                             .data = (uint8_t *)ask->data,
                             .bytes = n_rows * sizeof ask->data[0]};
    ask->piece = (struct row_piece){.inputs = &ask->x, .rows = ask->rows, .count = n_rows};
    ask->call.input =
        (struct predict_input){.pieces = &ask->piece, .n_pieces = 1, .n_inputs = 1, .n_rows = n_rows};
    ask->call.deadline_us = loop_now_us() + within_us;
    enum gw_status status = pool_predict(scene->pool, &ask->call);
    cr_assert_eq(ask->times, 0, "done ran inside pool_predict()");
    memset(&ask->call.input, 0xff, sizeof ask->call.input); /* borrowed until here */
    return status;
}

static enum gw_status ask(struct scene *scene, struct ask *one, uint32_t n_rows, uint64_t within_us)
{
    return ask_expecting(scene, one, n_rows, within_us, 0);
}

static void expect_right(struct scene *scene, struct ask *ask)
{
    cr_assert(turn_until(scene->loop, is_done, ask, SOON_MS));
    cr_assert_eq(ask->status, GW_OK, "%s", ask->what);
    cr_assert(ask->right);
    cr_assert_eq(ask->times, 1);
}

static void expect_failure(struct scene *scene, struct ask *ask, enum gw_status status, const char *words)
{
    cr_assert(turn_until(scene->loop, is_done, ask, SOON_MS));
    cr_assert_eq(ask->status, status, "%d %s", ask->status, ask->what);
    cr_assert(strstr(ask->what, words), "%s", ask->what);
    cr_assert_eq(ask->times, 1);
}

static void expect_metric(struct scene *scene, const char *line)
{
    struct buf text = {0};
    metrics_render(scene->metrics, &text);
    buf_append(&text, "", 1);
    cr_assert(strstr(text.bytes, line), "no %s in\n%s", line, text.bytes);
    buf_clear(&text);
}

/* --- coming and going --- */

Test(pool, a_replica_is_described_and_answers)
{
    struct scene scene;
    struct ask one;
    uint64_t digest[2];
    scene_start(&scene, 1, &(struct puppet_script){0}, &usual);
    cr_assert(pool_any_ready(scene.pool));
    cr_assert_eq(pool_free_slots(scene.pool), 2);
    cr_assert_eq(pool_max_rows(scene.pool), UINT32_MAX);
    cr_assert(pool_digest(scene.pool, digest));
    cr_assert_eq(ask(&scene, &one, 3, LATER_US), GW_OK);
    cr_assert_eq(pool_free_slots(scene.pool), 1);
    expect_right(&scene, &one);
    cr_assert_eq(pool_free_slots(scene.pool), 2);
    cr_assert(one.rpc_us > 0);
    cr_assert_arr_eq(one.digest, digest, sizeof digest);
    cr_assert(digest[0] | digest[1]);
    struct replica_status status = status_of(&scene, 0);
    cr_assert_str_eq(status.digest, "sha256:puppet");
    cr_assert_str_eq(status.address, scene.addresses[0]);
    cr_assert_str_eq(status.why, "");
    cr_assert_eq(status.calls, 1);
    cr_assert_eq(status.failures, 0);
    expect_metric(&scene, "xebec_rpcs_total{version=\"digits@forest\",outcome=\"ok\"} 1");
    expect_metric(&scene, "xebec_replicas_up{version=\"digits@forest\"} 1");
    expect_metric(&scene, "xebec_replicas{version=\"digits@forest\"} 1");
    expect_metric(&scene, "xebec_rpc_seconds_count{version=\"digits@forest\"} 1");
    scene_close(&scene);
}

Test(pool, nothing_is_ready_before_the_replica_exists)
{
    struct scene scene = {0};
    struct ask one;
    uint64_t digest[2];
    puppet_free_address(scene.addresses[0], sizeof scene.addresses[0]);
    scene_open(&scene, 1, &usual);
    cr_assert(turn_until(scene.loop, is_down, &scene, SOON_MS));
    cr_assert(!pool_any_ready(scene.pool));
    cr_assert(!pool_digest(scene.pool, digest));
    cr_assert_eq(pool_free_slots(scene.pool), 0);
    cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_E_NO_REPLICA);
    cr_assert_str_eq(status_of(&scene, 0).why, transport_of_test() == RPC_NGHTTP2
                                                   ? "it cannot be reached: Connection refused"
                                                   : "it cannot be reached");
    scene.puppets[0] = puppet_start(scene.addresses[0], &(struct puppet_script){0});
    cr_assert(expect_up(&scene, 1, SOON_MS));
    cr_assert(scene.readies > 0);
    cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_OK);
    expect_right(&scene, &one);
    scene_close(&scene);
}

Test(pool, a_replica_comes_goes_and_comes_back_over_a_unix_socket)
{
    struct scene scene = {0};
    struct ask one;
    char path[] = "/tmp/xebec-pool-XXXXXX";
    uint64_t before[2], after[2];
    cr_assert(mkdtemp(path));
    snprintf(scene.addresses[0], sizeof scene.addresses[0], "unix:%s/s", path);
    scene.puppets[0] = puppet_start(scene.addresses[0], &(struct puppet_script){0});
    scene_open(&scene, 1, &usual);
    cr_assert(expect_up(&scene, 1, SOON_MS));
    cr_assert(pool_digest(scene.pool, before));
    puppet_stop(scene.puppets[0]);
    cr_assert(turn_until(scene.loop, is_down, &scene, SOON_MS));
    cr_assert(!pool_any_ready(scene.pool));
    expect_metric(&scene, "xebec_replicas_up{version=\"digits@forest\"} 0");
    scene.puppets[0] = puppet_start(scene.addresses[0], &(struct puppet_script){.digest = "sha256:other"});
    cr_assert(expect_up(&scene, 1, SOON_MS));
    cr_assert(pool_digest(scene.pool, after));
    cr_assert(memcmp(before, after, sizeof before) != 0, "another model, another digest");
    cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_OK);
    expect_right(&scene, &one);
    scene_close(&scene);
    unlink(scene.addresses[0] + 5);
    rmdir(path);
}

Test(pool, a_replica_that_contradicts_the_configuration_is_refused_in_words)
{
    static const struct {
        enum puppet_describe describe;
        const char *why;
    } cases[] = {{DESCRIBE_WRONG_TYPE, "FP64"},
                 {DESCRIBE_GARBAGE, ""},
                 {DESCRIBE_MISSING, "Describe: no such method"}};
    for (size_t i = 0; i < 3; i++) {
        struct scene scene = {0};
        struct puppet_script script = {.describe = cases[i].describe};
        struct ask one;
        scene.puppets[0] = puppet_start("127.0.0.1:0", &script);
        snprintf(scene.addresses[0], sizeof scene.addresses[0], "%s", puppet_address(scene.puppets[0]));
        scene_open(&scene, 1, &usual);
        cr_assert(turn_until(scene.loop, is_refused, &scene, SOON_MS));
        struct replica_status status = status_of(&scene, 0);
        cr_assert(status.why[0] && strstr(status.why, cases[i].why), "%s", status.why);
        cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_E_NO_REPLICA);

        puppet_tell(scene.puppets[0], &(struct puppet_script){0});
        puppet_cut(scene.puppets[0]);
        cr_assert(expect_up(&scene, 1, SOON_MS), "a new connection is a new chance");
        cr_assert_str_eq(status_of(&scene, 0).why, "");
        scene_close(&scene);
    }
}

Test(pool, a_replica_that_is_slow_to_describe_itself_is_asked_again)
{
    struct scene scene = {0};
    scene.puppets[0] = puppet_start("127.0.0.1:0", &(struct puppet_script){.describe = DESCRIBE_STALL});
    snprintf(scene.addresses[0], sizeof scene.addresses[0], "%s", puppet_address(scene.puppets[0]));
    scene_open(&scene, 1, &usual);
    turn_for(scene.loop, 200);
    cr_assert_eq(status_of(&scene, 0).state, REPLICA_DESCRIBING);
    puppet_tell(scene.puppets[0], &(struct puppet_script){0});
    cr_assert(expect_up(&scene, 1, 2000));
    cr_assert_eq(puppet_describes(scene.puppets[0]), 2);
    scene_close(&scene);
}

/* --- the choice --- */

Test(pool, calls_go_where_the_fewest_rows_are)
{
    struct scene scene;
    struct ask asks[4];
    const struct puppet_script slow[2] = {{.delay_ms = 100}, {.delay_ms = 100}};
    scene_start(&scene, 2, slow, &usual);
    const uint32_t rows[] = {5, 1, 2, 1}; /* 5 | 1, then 5 | 1+2, then the other has no slot: 5+1 | 3 */
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(ask(&scene, &asks[i], rows[i], LATER_US), GW_OK);
    struct ask fifth;
    cr_assert_eq(pool_free_slots(scene.pool), 0);
    cr_assert_eq(ask(&scene, &fifth, 1, LATER_US), GW_E_NO_REPLICA, "no slot");
    cr_assert_eq(status_of(&scene, 0).in_flight, 2);
    cr_assert_eq(status_of(&scene, 1).in_flight, 2);
    for (size_t i = 0; i < 4; i++)
        expect_right(&scene, &asks[i]);
    cr_assert_eq(status_of(&scene, 0).in_flight, 0);
    scene_close(&scene);
}

Test(pool, ties_rotate)
{
    struct scene scene;
    struct ask one;
    const struct puppet_script scripts[3] = {0};
    scene_start(&scene, 3, scripts, &usual);
    for (unsigned i = 0; i < 9; i++) {
        cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_OK);
        expect_right(&scene, &one);
    }
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(puppet_predicts(scene.puppets[i]), 3);
    scene_close(&scene);
}

Test(pool, a_replica_gets_no_more_rows_than_it_takes)
{
    struct scene scene;
    struct ask asks[3];
    const struct puppet_script scripts[2] = {{.max_rows = 2}, {.max_rows = 4}};
    scene_start(&scene, 2, scripts, &usual);
    cr_assert_eq(pool_max_rows(scene.pool), 2);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(ask(&scene, &asks[i], 3, LATER_US), GW_OK);
    cr_assert_eq(ask(&scene, &asks[2], 5, LATER_US), GW_E_NO_REPLICA);
    for (size_t i = 0; i < 2; i++)
        expect_right(&scene, &asks[i]);
    cr_assert_eq(puppet_predicts(scene.puppets[0]), 0);
    cr_assert_eq(puppet_predicts(scene.puppets[1]), 2);
    scene_close(&scene);
}

/* --- failing over --- */

Test(pool, calls_of_a_replica_that_dies_are_answered_by_another)
{
    struct scene scene;
    struct ask asks[4];
    const struct puppet_script scripts[2] = {{.predict = PUPPET_STALL}, {.delay_ms = 20}};
    scene_start(&scene, 2, scripts, &usual);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(ask(&scene, &asks[i], 1, LATER_US), GW_OK);
    cr_assert(turn_until(scene.loop, has_predict, scene.puppets[0], SOON_MS));
    puppet_stop(scene.puppets[0]);
    scene.puppets[0] = NULL;
    for (size_t i = 0; i < 4; i++)
        expect_right(&scene, &asks[i]);
    cr_assert_eq(puppet_predicts(scene.puppets[1]), 4);
    expect_metric(&scene, "xebec_retries_total{version=\"digits@forest\"} 2");
    expect_metric(&scene, "xebec_rpcs_total{version=\"digits@forest\",outcome=\"no_replica\"} 2");
    scene_close(&scene);
}

Test(pool, a_cut_connection_fails_its_calls_over_too)
{
    struct scene scene;
    struct ask asks[2];
    const struct puppet_script scripts[2] = {{.predict = PUPPET_STALL}, {0}};
    scene_start(&scene, 2, scripts, &usual);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(ask(&scene, &asks[i], 1, LATER_US), GW_OK);
    cr_assert(turn_until(scene.loop, has_predict, scene.puppets[0], SOON_MS));
    puppet_cut(scene.puppets[0]);
    for (size_t i = 0; i < 2; i++)
        expect_right(&scene, &asks[i]);
    cr_assert(expect_up(&scene, 2, SOON_MS), "it reconnects");
    scene_close(&scene);
}

Test(pool, the_only_replica_that_dies_fails_its_calls)
{
    struct scene scene;
    struct ask one;
    scene_start(&scene, 1, &(struct puppet_script){.predict = PUPPET_STALL}, &usual);
    cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_OK);
    cr_assert(turn_until(scene.loop, has_predict, scene.puppets[0], SOON_MS));
    puppet_stop(scene.puppets[0]);
    scene.puppets[0] = NULL;
    expect_failure(&scene, &one, GW_E_NO_REPLICA, "the replica was lost");
    scene_close(&scene);
}

Test(pool, a_shed_call_goes_elsewhere_and_waits_for_a_slot_there)
{
    struct scene scene;
    struct ask busy[2], shed;
    const struct puppet_script scripts[2] = {{.predict = PUPPET_SHED}, {.delay_ms = 60}};
    struct pool_limits limits = usual;
    limits.calls_per_replica = 1;
    scene_start(&scene, 2, scripts, &limits);
    cr_assert_eq(ask(&scene, &busy[0], 1, LATER_US),
                 GW_OK); /* one of these is shed, and waits for the other */
    cr_assert_eq(ask(&scene, &busy[1], 1, LATER_US), GW_OK);
    expect_right(&scene, &busy[0]);
    expect_right(&scene, &busy[1]);
    cr_assert_eq(puppet_predicts(scene.puppets[0]), 1);
    cr_assert_eq(puppet_predicts(scene.puppets[1]), 2);

    puppet_tell(scene.puppets[1], &(struct puppet_script){.predict = PUPPET_STALL});
    cr_assert_eq(ask(&scene, &busy[0], 1, 100000), GW_OK);
    cr_assert_eq(ask(&scene, &busy[1], 1, 100000), GW_OK);
    expect_failure(&scene, &busy[0], GW_E_DEADLINE, "");
    expect_failure(&scene, &busy[1], GW_E_DEADLINE, "");

    cr_assert_eq(ask(&scene, &busy[0], 1, LATER_US), GW_OK);
    cr_assert_eq(ask(&scene, &shed, 1, LATER_US), GW_OK);
    turn_for(scene.loop, 30);
    pool_cancel(scene.pool, &busy[0].call); /* one waits, one is stalled */
    pool_cancel(scene.pool, &shed.call);
    cr_assert_eq(busy[0].times + shed.times, 0, "done ran inside pool_cancel()");
    expect_failure(&scene, &busy[0], GW_E_CANCELLED, "");
    expect_failure(&scene, &shed, GW_E_CANCELLED, "");
    scene_close(&scene);
}

Test(pool, the_only_replica_that_sheds_is_not_asked_twice)
{
    struct scene scene;
    struct ask one;
    scene_start(&scene, 1, &(struct puppet_script){.predict = PUPPET_SHED}, &usual);
    cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_OK);
    expect_failure(&scene, &one, GW_E_OVERLOAD, "too much");
    cr_assert_eq(puppet_predicts(scene.puppets[0]), 1);
    scene_close(&scene);
}

Test(pool, attempts_and_the_budget_bound_the_retries)
{
    struct scene scene;
    struct ask one;
    const struct puppet_script shed[3] = {
        {.predict = PUPPET_SHED}, {.predict = PUPPET_SHED}, {.predict = PUPPET_SHED}};
    struct pool_limits limits = usual;
    limits.attempts = 2;
    scene_start(&scene, 3, shed, &limits);
    cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_OK);
    expect_failure(&scene, &one, GW_E_OVERLOAD, "too much");
    uint32_t sent = 0;
    for (unsigned i = 0; i < 3; i++)
        sent += puppet_predicts(scene.puppets[i]);
    cr_assert_eq(sent, 2);
    for (unsigned i = 0; i < 99; i++) {
        cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_OK);
        expect_failure(&scene, &one, GW_E_OVERLOAD, "too much");
    }
    sent = 0;
    for (unsigned i = 0; i < 3; i++)
        sent += puppet_predicts(scene.puppets[i]);
    cr_assert_geq(sent, 128); /* 100 calls, 10 retries saved up, 20 % of 100 more */
    cr_assert_leq(sent, 130);
    scene_close(&scene);
}

Test(pool, no_budget_no_retry)
{
    struct scene scene;
    struct ask one;
    const struct puppet_script shed[2] = {{.predict = PUPPET_SHED}, {.predict = PUPPET_SHED}};
    struct pool_limits limits = usual;
    limits.retry_percent = 0;
    scene_start(&scene, 2, shed, &limits);
    cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_OK);
    expect_failure(&scene, &one, GW_E_OVERLOAD, "too much");
    cr_assert_eq(puppet_predicts(scene.puppets[0]) + puppet_predicts(scene.puppets[1]), 1);
    scene_close(&scene);
}

/* --- slow ones, late ones, silent ones --- */

#define USUAL_US 20000 /* what the puppets below take */

/* So many calls, one after the other, so that it is known what they take. */
static void teach(struct scene *scene, unsigned calls)
{
    struct ask one;
    for (unsigned i = 0; i < calls; i++) {
        enum gw_status got = ask_expecting(scene, &one, 1, LATER_US, USUAL_US);
        cr_assert_eq(got, GW_OK, "status %d", got);
        expect_right(scene, &one);
    }
}

static uint32_t all_predicts(const struct scene *scene)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < PUPPETS; i++)
        sum += scene->puppets[i] ? puppet_predicts(scene->puppets[i]) : 0;
    return sum;
}

static const struct puppet_script in_time = {.delay_ms = USUAL_US / 1000};

/* Two replicas that take what is usual, known to do so; and the second script from then on for both. */
static void scene_of_two(struct scene *scene, const struct pool_limits *limits)
{
    const struct puppet_script scripts[2] = {in_time, in_time};
    scene_start(scene, 2, scripts, limits);
    teach(scene, 24);
}

/* Sends one and says who has it: 0 or 1. */
static unsigned ask_one(struct scene *scene, struct ask *one, uint64_t within_us)
{
    uint32_t before = status_of(scene, 0).in_flight;
    cr_assert_eq(ask_expecting(scene, one, 1, within_us, USUAL_US), GW_OK);
    return status_of(scene, 0).in_flight > before ? 0 : 1;
}

Test(pool, a_slow_replica_gets_less)
{
    struct scene scene;
    struct ask one;
    const struct puppet_script scripts[2] = {{.delay_ms = 10}, {.delay_ms = 40}};
    struct pool_limits limits = usual;
    limits.hedge_percent = 0;
    scene_start(&scene, 2, scripts, &limits);
    for (unsigned i = 0; i < 80; i++) {
        cr_assert_eq(ask_expecting(&scene, &one, 1, LATER_US, 10000), GW_OK);
        expect_right(&scene, &one);
    }
    uint32_t quick = puppet_predicts(scene.puppets[0]), slow = puppet_predicts(scene.puppets[1]);
    cr_assert_geq(quick, 70, "%u to %u, one at a time", quick, slow);
    struct ask asks[4];
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(ask_expecting(&scene, &asks[i], 1, LATER_US, 10000), GW_OK);
    cr_assert_eq(status_of(&scene, 1).in_flight, 2, "but its slots are used when there are no others");
    for (unsigned i = 0; i < 4; i++)
        expect_right(&scene, &asks[i]);
    scene_close(&scene);
}

Test(pool, a_late_call_is_answered_by_a_second_replica)
{
    struct scene scene;
    struct ask one;
    scene_of_two(&scene, &usual);
    uint32_t before = all_predicts(&scene);
    puppet_tell(scene.puppets[0], &(struct puppet_script){.predict = PUPPET_STALL});
    puppet_tell(scene.puppets[1], &(struct puppet_script){.predict = PUPPET_STALL});
    unsigned at = ask_one(&scene, &one, LATER_US);
    while (all_predicts(&scene) == before)
        turn_for(scene.loop, 1);
    puppet_tell(scene.puppets[1 - at], &in_time);
    uint64_t start_us = loop_now_us();
    expect_right(&scene, &one);
    cr_assert_leq(loop_now_us() - start_us, 1000000, "long before its deadline");
    cr_assert_geq(loop_now_us() - start_us, USUAL_US, "but not at once");
    cr_assert_eq(all_predicts(&scene), before + 2);
    cr_assert_eq(status_of(&scene, 0).in_flight + status_of(&scene, 1).in_flight, 0);
    cr_assert_eq(pool_free_slots(scene.pool), 4, "the loser's is free again");
    expect_metric(&scene, "xebec_hedges_total{version=\"digits@forest\",outcome=\"won\"} 1");
    expect_metric(&scene, "xebec_rpcs_total{version=\"digits@forest\",outcome=\"cancelled\"} 1");
    expect_metric(&scene, "xebec_retries_total{version=\"digits@forest\"} 0");
    turn_for(scene.loop, 100);
    cr_assert_eq(one.times, 1, "answered once");
    scene_close(&scene);
}

static bool both_have_it(void *scene)
{
    return status_of(scene, 0).in_flight == 1 && status_of(scene, 1).in_flight == 1;
}

/* One call at both replicas, of which the second will do as its script says. */
static unsigned hedged(struct scene *scene, struct ask *one, uint64_t within_us,
                       const struct puppet_script *second)
{
    puppet_tell(scene->puppets[0], &(struct puppet_script){.predict = PUPPET_STALL});
    puppet_tell(scene->puppets[1], &(struct puppet_script){.predict = PUPPET_STALL});
    uint32_t before[2] = {puppet_predicts(scene->puppets[0]), puppet_predicts(scene->puppets[1])};
    unsigned first = ask_one(scene, one, within_us);
    while (puppet_predicts(scene->puppets[first]) == before[first])
        turn_for(scene->loop, 1);
    puppet_tell(scene->puppets[1 - first], second);
    cr_assert(turn_until(scene->loop, both_have_it, scene, SOON_MS));
    return first;
}

Test(pool, a_second_copy_that_fails_leaves_the_call_to_the_first)
{
    static const enum puppet_predict failures[] = {PUPPET_SHED, PUPPET_AWAY, PUPPET_LIE_ROWS, PUPPET_ABORT};
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        struct scene scene;
        struct ask one;
        scene_of_two(&scene, &usual);
        unsigned first =
            hedged(&scene, &one, LATER_US, &(struct puppet_script){.predict = failures[i], .delay_ms = 20});
        turn_for(scene.loop, 100);
        cr_assert_eq(one.times, 0, "case %zu: the first may still answer", i);
        puppet_stop(scene.puppets[first]); /* which answers what it holds, if it can; or drops it */
        scene.puppets[first] = NULL;
        cr_assert(turn_until(scene.loop, is_done, &one, SOON_MS));
        turn_for(scene.loop, 50);
        cr_assert_eq(one.times, 1);
        scene_close(&scene);
    }
}

Test(pool, a_replica_that_dies_with_one_of_two_copies_costs_nothing)
{
    for (unsigned dies = 0; dies < 2; dies++) {
        struct scene scene;
        struct ask one;
        scene_of_two(&scene, &usual);
        unsigned first =
            hedged(&scene, &one, LATER_US, &(struct puppet_script){.delay_ms = dies ? 5000 : 200});
        unsigned dying = dies ? 1 - first : first;
        if (dies) /* what they hold stalls on; what comes next is answered */
            for (unsigned i = 0; i < 2; i++)
                puppet_tell(scene.puppets[i], &in_time);
        puppet_cut(scene.puppets[dying]);
        turn_for(scene.loop, 50);
        cr_assert_eq(one.times, 0);
        cr_assert(expect_up(&scene, 2, SOON_MS));
        if (dies)
            puppet_cut(scene.puppets[first]);
        expect_right(&scene, &one);
        turn_for(scene.loop, 300);
        cr_assert_eq(one.times, 1);
        cr_assert_eq(status_of(&scene, 0).in_flight + status_of(&scene, 1).in_flight, 0);
        scene_close(&scene);
    }
}

Test(pool, a_model_that_raises_has_answered)
{
    struct scene scene;
    struct ask one;
    scene_of_two(&scene, &usual);
    hedged(&scene, &one, LATER_US, &(struct puppet_script){.predict = PUPPET_RAISE, .delay_ms = 20});
    expect_failure(&scene, &one, GW_E_MODEL, "ValueError: puppet");
    cr_assert_eq(status_of(&scene, 0).in_flight + status_of(&scene, 1).in_flight, 0);
    scene_close(&scene);
}

Test(pool, both_copies_may_be_cancelled_and_time_out_and_be_freed)
{
    struct scene scene;
    struct ask one;
    scene_of_two(&scene, &usual);
    hedged(&scene, &one, LATER_US, &(struct puppet_script){.predict = PUPPET_STALL});
    pool_cancel(scene.pool, &one.call);
    cr_assert_eq(one.times, 0, "done ran inside pool_cancel()");
    expect_failure(&scene, &one, GW_E_CANCELLED, "");
    hedged(&scene, &one, 300000, &(struct puppet_script){.predict = PUPPET_STALL});
    expect_failure(&scene, &one, GW_E_DEADLINE, "");
    expect_metric(&scene, "xebec_hedges_total{version=\"digits@forest\",outcome=\"failed\"} 2");
    hedged(&scene, &one, LATER_US, &(struct puppet_script){.predict = PUPPET_STALL});
    pool_free(scene.pool);
    scene.pool = NULL;
    cr_assert_eq(one.times, 1);
    cr_assert_eq(one.status, GW_E_CANCELLED);
    turn_for(scene.loop, 50);
    cr_assert_eq(one.times, 1);
    scene_close(&scene);
}

static void expect_no_hedge(const struct pool_limits *limits, bool busy)
{
    struct scene scene;
    struct ask one, other;
    scene_of_two(&scene, limits);
    uint32_t before = all_predicts(&scene);
    puppet_tell(scene.puppets[0], &(struct puppet_script){.predict = PUPPET_STALL});
    puppet_tell(scene.puppets[1], &(struct puppet_script){.predict = PUPPET_STALL});
    ask_one(&scene, &one, 300000);
    if (busy)
        ask_one(&scene, &other, 300000);
    turn_for(scene.loop,
             200); /* ten times what is usual; when one of them times out, its replica is idle again */
    cr_assert_eq(all_predicts(&scene), before + 1 + busy);
    expect_failure(&scene, &one, GW_E_DEADLINE, "");
    if (busy)
        expect_failure(&scene, &other, GW_E_DEADLINE, "");
    scene_close(&scene);
}

Test(pool, there_is_no_hedge_without_a_budget_or_an_attempt_left_or_an_idle_replica)
{
    struct pool_limits limits = usual;
    limits.hedge_percent = 0;
    expect_no_hedge(&limits, false);
    limits = usual;
    limits.attempts = 1;
    expect_no_hedge(&limits, false);
    expect_no_hedge(&usual, true);
}

static bool is_ejected(void *scene)
{
    return count_in(scene, REPLICA_EJECTED) == 1;
}

Test(pool, a_silent_replica_is_ejected_and_comes_back_by_itself)
{
    struct scene scene;
    struct ask one;
    scene_of_two(&scene, &usual);
    puppet_tell(scene.puppets[0], &(struct puppet_script){.predict = PUPPET_STALL});
    unsigned asked = 0;
    while (!is_ejected(&scene) && asked++ < 20) { /* its health checks are well all the time */
        cr_assert_eq(ask_expecting(&scene, &one, 1, LATER_US, USUAL_US), GW_OK);
        expect_right(&scene, &one);
    }
    cr_assert(is_ejected(&scene), "after %u calls", asked);
    cr_assert_eq(status_of(&scene, 0).state, REPLICA_EJECTED);
    cr_assert(strstr(status_of(&scene, 0).why, "3 calls without an answer"), "%s", status_of(&scene, 0).why);
    expect_metric(&scene, "xebec_ejections_total{version=\"digits@forest\"} 1");
    expect_metric(&scene, "xebec_replica_states{version=\"digits@forest\",state=\"ejected\"} 1");
    expect_metric(&scene, "xebec_replicas_up{version=\"digits@forest\"} 1");
    cr_assert_eq(pool_free_slots(scene.pool), 2);
    uint32_t before = puppet_predicts(scene.puppets[0]);
    teach(&scene, 3);
    cr_assert_eq(puppet_predicts(scene.puppets[0]), before, "no more calls");

    puppet_tell(scene.puppets[0], &in_time);
    for (unsigned i = 0; i < 300 && status_of(&scene, 0).state != REPLICA_READY; i++)
        teach(&scene, 1);
    cr_assert_eq(status_of(&scene, 0).state, REPLICA_READY);
    cr_assert_str_eq(status_of(&scene, 0).why, "");
    cr_assert_eq(pool_free_slots(scene.pool), 4);
    expect_metric(&scene, "xebec_replica_states{version=\"digits@forest\",state=\"on_trial\"} 0");
    scene_close(&scene);
}

Test(pool, the_only_replica_and_the_last_one_are_never_ejected)
{
    struct scene scene;
    struct ask one;
    scene_start(&scene, 1, &in_time, &usual);
    teach(&scene, 24);
    puppet_tell(scene.puppets[0], &(struct puppet_script){.predict = PUPPET_STALL});
    for (unsigned i = 0; i < 6; i++) {
        cr_assert_eq(ask_expecting(&scene, &one, 1, 60000, USUAL_US), GW_OK);
        expect_failure(&scene, &one, GW_E_DEADLINE, "");
    }
    cr_assert_eq(status_of(&scene, 0).state, REPLICA_READY);
    scene_close(&scene);

    scene_of_two(&scene, &usual);
    puppet_tell(scene.puppets[0], &(struct puppet_script){.predict = PUPPET_STALL});
    for (unsigned i = 0; i < 20 && !is_ejected(&scene); i++)
        teach(&scene, 1);
    cr_assert(is_ejected(&scene));
    puppet_tell(scene.puppets[0], &in_time);
    puppet_stop(scene.puppets[1]);
    scene.puppets[1] = NULL;
    cr_assert(turn_until(scene.loop, is_down, &scene, SOON_MS));
    cr_assert(pool_any_ready(scene.pool), "it is all that is left");
    cr_assert_eq(status_of(&scene, 0).state, REPLICA_ON_TRIAL);
    cr_assert_eq(pool_free_slots(scene.pool), 1);
    teach(&scene, 3);
    cr_assert_eq(status_of(&scene, 0).state, REPLICA_READY);
    scene_close(&scene);
}

Test(pool, when_all_are_silent_it_is_the_weather)
{
    struct scene scene;
    struct ask asks[2];
    scene_of_two(&scene, &usual);
    puppet_tell(scene.puppets[0], &(struct puppet_script){.predict = PUPPET_STALL});
    puppet_tell(scene.puppets[1], &(struct puppet_script){.predict = PUPPET_STALL});
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned j = 0; j < 2; j++)
            cr_assert_eq(ask_expecting(&scene, &asks[j], 1, 60000, USUAL_US), GW_OK);
        for (unsigned j = 0; j < 2; j++)
            expect_failure(&scene, &asks[j], GW_E_DEADLINE, "");
    }
    cr_assert_eq(count_in(&scene, REPLICA_READY), 2);
    scene_close(&scene);
}

Test(pool, a_new_connection_is_trusted)
{
    struct scene scene;
    scene_of_two(&scene, &usual);
    puppet_tell(scene.puppets[0], &(struct puppet_script){.predict = PUPPET_STALL});
    for (unsigned i = 0; i < 20 && !is_ejected(&scene); i++)
        teach(&scene, 1);
    cr_assert(is_ejected(&scene));
    puppet_tell(scene.puppets[0], &in_time);
    puppet_cut(scene.puppets[0]);
    cr_assert(expect_up(&scene, 2, SOON_MS), "without a trial");
    expect_metric(&scene, "xebec_replica_states{version=\"digits@forest\",state=\"ejected\"} 0");
    scene_close(&scene);
}

/* --- replies that are no answers --- */

Test(pool, what_the_replica_says_is_what_the_caller_hears)
{
    static const struct {
        enum puppet_predict predict;
        enum gw_status status;
        const char *words;
    } cases[] = {
        {PUPPET_RAISE, GW_E_MODEL, "ValueError: puppet"},
        {PUPPET_BAD_INPUT, GW_E_INVALID, "not a digit"},
        {PUPPET_LIE_ROWS, GW_E_CONTRACT, ""},
        {PUPPET_RAISE, GW_E_MODEL, "ValueError: puppet"},
        {PUPPET_LIE_TYPE, GW_E_CONTRACT, "FP64"},
        {PUPPET_RAISE, GW_E_MODEL, "ValueError: puppet"},
        {PUPPET_BIG, GW_E_CONTRACT, "larger than max"},
        {PUPPET_RAISE, GW_E_MODEL, "ValueError: puppet"},
        {PUPPET_GARBAGE, GW_E_CONTRACT, ""},
        {PUPPET_EMPTY, GW_E_CONTRACT, "no message"},
    };
    struct scene scene;
    struct ask one;
    scene_start(&scene, 1, &(struct puppet_script){0}, &usual);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        puppet_tell(scene.puppets[0], &(struct puppet_script){.predict = cases[i].predict});
        cr_assert_eq(ask(&scene, &one, 2, LATER_US), GW_OK, "case %zu", i);
        expect_failure(&scene, &one, cases[i].status, cases[i].words);
        cr_assert(one.what[0], "case %zu has no words", i);
    }
    cr_assert_eq(status_of(&scene, 0).failures, sizeof cases / sizeof *cases);
    scene_close(&scene);
}

Test(pool, three_lies_in_a_row_and_it_is_left_alone)
{
    struct scene scene;
    struct ask one;
    scene_start(&scene, 1, &(struct puppet_script){.predict = PUPPET_LIE_ROWS}, &usual);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(ask(&scene, &one, 2, LATER_US), GW_OK);
        expect_failure(&scene, &one, GW_E_CONTRACT, "");
    }
    cr_assert_eq(status_of(&scene, 0).state, REPLICA_UNHEALTHY);
    turn_for(scene.loop, 300); /* several health checks say that it is well */
    cr_assert_eq(status_of(&scene, 0).state, REPLICA_UNHEALTHY);
    cr_assert_eq(ask(&scene, &one, 2, LATER_US), GW_E_NO_REPLICA);
    scene_close(&scene);
}

/* --- time --- */

Test(pool, a_deadline_is_kept_while_the_replica_stalls)
{
    struct scene scene;
    struct ask one;
    scene_start(&scene, 1, &(struct puppet_script){.predict = PUPPET_STALL}, &usual);
    uint64_t start_us = loop_now_us();
    cr_assert_eq(ask(&scene, &one, 1, 50000), GW_OK);
    expect_failure(&scene, &one, GW_E_DEADLINE, "latency objective");
    cr_assert_leq(loop_now_us() - start_us, 150000);
    cr_assert_eq(status_of(&scene, 0).state, REPLICA_READY, "slow is not ill");
    cr_assert_eq(pool_free_slots(scene.pool), 2);
    scene_close(&scene);
}

Test(pool, a_cancelled_call_frees_its_slot)
{
    struct scene scene;
    struct ask one;
    scene_start(&scene, 1, &(struct puppet_script){.predict = PUPPET_STALL}, &usual);
    cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_OK);
    turn_for(scene.loop, 20);
    unsigned readies = scene.readies;
    pool_cancel(scene.pool, &one.call);
    pool_cancel(scene.pool, &one.call);
    cr_assert_eq(one.times, 0, "done ran inside pool_cancel()");
    expect_failure(&scene, &one, GW_E_CANCELLED, "");
    cr_assert_eq(pool_free_slots(scene.pool), 2);
    cr_assert(scene.readies > readies, "the owner is told of the slot");
    pool_cancel(scene.pool, &one.call); /* harmless when done */
    scene_close(&scene);
}

/* --- crashes --- */

/* One replica with a call out that it never answers; health checks come as often as `limits` has it. */
static void start_stalling(struct scene *scene, struct ask *one, const struct pool_limits *limits)
{
    scene_start(scene, 1, &(struct puppet_script){.predict = PUPPET_STALL}, limits);
    cr_assert_eq(ask(scene, one, 1, LATER_US), GW_OK);
    cr_assert(turn_until(scene->loop, has_predict, scene->puppets[0], SOON_MS));
    cr_assert_eq(pool_crashes(scene->pool), 0);
}

Test(pool, a_replica_lost_with_calls_out_is_one_crash)
{
    struct scene scene;
    struct ask one, another;
    start_stalling(&scene, &one, &usual);
    cr_assert_eq(ask(&scene, &another, 1, LATER_US), GW_OK);
    puppet_stop(scene.puppets[0]);
    scene.puppets[0] = NULL;
    expect_failure(&scene, &one, GW_E_NO_REPLICA, "the replica was lost");
    expect_failure(&scene, &another, GW_E_NO_REPLICA, "");
    cr_assert_eq(pool_crashes(scene.pool), 1, "its calls were lost together");
    scene_close(&scene);
}

Test(pool, a_replica_that_said_not_serving_before_it_was_lost_is_no_crash)
{
    struct scene scene;
    struct ask one;
    start_stalling(&scene, &one, &usual);
    puppet_tell(scene.puppets[0],
                &(struct puppet_script){.predict = PUPPET_STALL, .health = HEALTH_NOT_SERVING});
    cr_assert(turn_until(scene.loop, is_unhealthy, &scene, SOON_MS));
    puppet_stop(scene.puppets[0]);
    scene.puppets[0] = NULL;
    expect_failure(&scene, &one, GW_E_NO_REPLICA, "");
    cr_assert_eq(pool_crashes(scene.pool), 0, "it took its leave");
    scene_close(&scene);
}

/* A check without an answer is no word of the replica's: it may be dying. */
Test(pool, a_replica_whose_health_check_failed_before_it_was_lost_is_a_crash)
{
    struct scene scene;
    struct ask one;
    start_stalling(&scene, &one, &usual);
    puppet_tell(scene.puppets[0], &(struct puppet_script){.predict = PUPPET_STALL, .health = HEALTH_STALL});
    cr_assert(turn_until(scene.loop, is_unhealthy, &scene, SOON_MS), "the health check notices first");
    cr_assert_eq(one.times, 0);
    puppet_stop(scene.puppets[0]);
    scene.puppets[0] = NULL;
    expect_failure(&scene, &one, GW_E_NO_REPLICA, "");
    cr_assert_eq(pool_crashes(scene.pool), 1);
    scene_close(&scene);
}

/* --- health --- */

static void expect_illness(enum puppet_health health, const char *why)
{
    struct scene scene;
    struct ask one;
    scene_start(&scene, 1, &(struct puppet_script){0}, &usual);
    puppet_tell(scene.puppets[0], &(struct puppet_script){.health = health});
    cr_assert(turn_until(scene.loop, is_unhealthy, &scene, SOON_MS));
    cr_assert(strstr(status_of(&scene, 0).why, why), "%s", status_of(&scene, 0).why);
    cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_E_NO_REPLICA);
    puppet_tell(scene.puppets[0], &(struct puppet_script){0});
    cr_assert(expect_up(&scene, 1, SOON_MS));
    cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_OK);
    expect_right(&scene, &one);
    scene_close(&scene);
}

Test(pool, a_replica_that_says_not_serving_rests_until_it_serves)
{
    expect_illness(HEALTH_NOT_SERVING, "not serving");
}

Test(pool, a_replica_that_stalls_its_health_check_rests_until_it_answers)
{
    expect_illness(HEALTH_STALL, "eadline");
}

Test(pool, a_replica_without_the_health_service_is_well)
{
    struct scene scene;
    scene_start(&scene, 1, &(struct puppet_script){.health = HEALTH_MISSING}, &usual);
    turn_for(scene.loop, 300);
    cr_assert_eq(status_of(&scene, 0).state, REPLICA_READY);
    scene_close(&scene);
}

Test(pool, a_replica_that_calls_itself_unavailable_is_checked_at_once)
{
    struct scene scene;
    struct ask one;
    struct pool_limits limits = usual;
    limits.health_interval_us = 60 * 1000000;
    scene_start(&scene, 1, &(struct puppet_script){.predict = PUPPET_AWAY}, &limits);
    cr_assert_eq(ask(&scene, &one, 1, LATER_US), GW_OK);
    expect_failure(&scene, &one, GW_E_NO_REPLICA, "going away");
    cr_assert(expect_up(&scene, 1, 1000), "the check says it is well, a minute before its time");
    scene_close(&scene);
}

/* --- the end --- */

Test(pool, freeing_the_pool_ends_its_calls_at_once)
{
    struct scene scene;
    struct ask asks[3];
    const struct puppet_script scripts[2] = {{.predict = PUPPET_SHED}, {.predict = PUPPET_STALL}};
    struct pool_limits limits = usual;
    limits.calls_per_replica = 1;
    scene_start(&scene, 2, scripts, &limits);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(ask(&scene, &asks[i], 1, LATER_US), GW_OK);
    turn_for(scene.loop, 30); /* one has been shed and waits, one is stalled */
    cr_assert_eq(ask(&scene, &asks[2], 1, LATER_US), GW_OK, "to the one that sheds");
    pool_cancel(scene.pool, &asks[0].call);
    pool_free(scene.pool);
    scene.pool = NULL;
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(asks[i].times, 1);
        cr_assert_eq(asks[i].status, GW_E_CANCELLED);
    }
    turn_for(scene.loop, 50);
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(asks[i].times, 1);
    scene_close(&scene);
}

Test(pool, states_have_names)
{
    cr_assert_str_eq(replica_state_name(REPLICA_READY), "ready");
    cr_assert_str_eq(replica_state_name(REPLICA_DOWN), "down");
    cr_assert_str_eq(replica_state_name((enum replica_state)99), "?");
}
