/* members: a pool whose replicas are found by names that the test dictates, against puppets. */
#include "replica/members.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "names.h"
#include "puppet.h"
#include "support/log.h"
#include "support/tls_context.h"
#include "transport.h"
#include "turn.h"

#define SOON_MS  5000
#define LATER_US 5000000
#define PUPPETS  3

static struct tensor_spec specs[] = {{.name = "x", .datatype = DT_FP32, .dims = 2, .shape = {-1, 2}},
                                     {.name = "y", .datatype = DT_FP32, .dims = 2, .shape = {-1, 2}}};
static const struct signature signature = {
    .inputs = &specs[0], .outputs = &specs[1], .n_inputs = 1, .n_outputs = 1};

static struct scene {
    struct loop *loop;
    struct rpc_client *client;
    struct metrics *metrics;
    struct resolver *resolver;
    struct pool *pool;
    struct puppet *puppets[PUPPETS];
    char at[PUPPETS][64]; /* their addresses */
    const char *addresses[PUPPETS];
    struct pool_version version;
    struct tls_context *tls;
} scene;

static struct replica_status status[POOL_REPLICAS_MAX];

static void on_ready(void *owner)
{
    (void)owner;
}

static void open_puppets(const struct puppet_script *script)
{
    log_open(STDERR_FILENO, LOG_ERROR_LEVEL);
    scene = (struct scene){.loop = loop_new()};
    for (unsigned i = 0; i < PUPPETS; i++) {
        scene.puppets[i] = puppet_start("127.0.0.1:0", script);
        snprintf(scene.at[i], sizeof scene.at[i], "%s", puppet_address(scene.puppets[i]));
    }
}

/* A pool of what these addresses lead to. */
static void open_pool(const char *first, const char *second, uint64_t interval_us)
{
    scene.client = rpc_client_new(scene.loop, transport_of_test(), NULL);
    scene.metrics = metrics_new();
    scene.resolver = resolver_new_with(names_look_up, 1000000);
    scene.addresses[0] = first;
    scene.addresses[1] = second;
    scene.tls = transport_tls();
    scene.version = (struct pool_version){.model = "digits",
                                          .version = "forest",
                                          .signature = &signature,
                                          .addresses = scene.addresses,
                                          .n_addresses = second ? 2 : 1,
                                          .tls = scene.tls,
                                          .tls_name = scene.tls ? "localhost" : NULL,
                                          .resolver = scene.resolver,
                                          .limits = {.calls_per_replica = 2,
                                                     .attempts = 3,
                                                     .retry_percent = 20,
                                                     .health_interval_us = 50000,
                                                     .health_timeout_us = 100000,
                                                     .discovery_interval_us = interval_us,
                                                     .max_message_bytes = 1 << 18}};
    scene.pool = pool_new(scene.loop, scene.client, scene.metrics, &scene.version, on_ready, NULL);
    cr_assert_not_null(scene.pool);
}

static void close_scene(void)
{
    pool_free(scene.pool);
    rpc_client_free(scene.client);
    loop_free(scene.loop);
    resolver_free(scene.resolver);
    metrics_free(scene.metrics);
    tls_context_unref(scene.tls);
    for (unsigned i = 0; i < PUPPETS; i++)
        if (scene.puppets[i])
            puppet_stop(scene.puppets[i]);
}

static void name_has(const char *name, const char *a, const char *b)
{
    char text[256];
    snprintf(text, sizeof text, "%s %s", a, b ? b : "");
    names_say(name, text);
}

/* --- what is waited for --- */

struct expected {
    uint32_t n, n_ready, n_draining;
};

static bool is_as_expected(void *what)
{
    const struct expected *expected = what;
    struct expected now = {.n = pool_status(scene.pool, status, POOL_REPLICAS_MAX)};
    for (uint32_t i = 0; i < now.n; i++) {
        now.n_ready += status[i].state == REPLICA_READY;
        now.n_draining += status[i].state == REPLICA_DRAINING;
    }
    return now.n == expected->n && now.n_ready == expected->n_ready && now.n_draining == expected->n_draining;
}

static void expect(uint32_t n, uint32_t n_ready, uint32_t n_draining)
{
    struct expected expected = {n, n_ready, n_draining};
    cr_assert(turn_until(scene.loop, is_as_expected, &expected, SOON_MS),
              "%u replicas, not %u, %u ready, %u draining",
              pool_status(scene.pool, status, POOL_REPLICAS_MAX), n, n_ready, n_draining);
}

static bool is_asked_again(void *before)
{
    return names_asked() >= *(uint32_t *)before + 3; /* the first of these may have been under way */
}

static void expect_asked_again(void)
{
    uint32_t before = names_asked();
    cr_assert(turn_until(scene.loop, is_asked_again, &before, SOON_MS));
}

static const struct replica_status *find(const char *address)
{
    uint32_t n = pool_status(scene.pool, status, POOL_REPLICAS_MAX);
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(status[i].address, address))
            return &status[i];
    return NULL;
}

static bool is_known(void *address)
{
    return find(address) != NULL;
}

static void expect_metric(const char *line)
{
    struct buf text = {0};
    metrics_render(scene.metrics, &text);
    buf_append(&text, "", 1);
    cr_assert(strstr(text.bytes, line), "no %s in\n%s", line, text.bytes);
    buf_clear(&text);
}

/* --- a call --- */

struct ask {
    struct pool_call call;
    unsigned times;
    enum gw_status status;
};

static void on_done(struct pool_call *call, struct predict_result *result, const struct gw_err *err,
                    uint64_t rpc_us)
{
    struct ask *ask = container_of(call, struct ask, call);
    (void)rpc_us;
    ask->times++;
    ask->status = err->status;
    predict_result_unref(result);
}

static enum gw_status ask(struct ask *ask, bool waits, uint64_t within_us)
{
    static const float data[2] = {1, 2};
    static const uint32_t rows[1] = {0};
    const struct tensor x = {.spec = {.name = "x", .datatype = DT_FP32, .dims = 2, .shape = {1, 2}},
                             .data = (const uint8_t *)data,
                             .bytes = sizeof data};
    const struct row_piece piece = {.inputs = &x, .rows = rows, .count = 1};
    *ask = (struct ask){.call = {.done = on_done, .waits = waits, .deadline_us = loop_now_us() + within_us}};
    ask->call.input = (struct predict_input){.pieces = &piece, .n_pieces = 1, .n_inputs = 1, .n_rows = 1};
    return pool_predict(scene.pool, &ask->call);
}

static bool is_done(void *ask)
{
    return ((struct ask *)ask)->times > 0;
}

static void expect_end(struct ask *ask, enum gw_status expected)
{
    cr_assert(turn_until(scene.loop, is_done, ask, SOON_MS));
    cr_assert_eq(ask->status, expected, "%s", gw_status_cause(ask->status));
    cr_assert_eq(ask->times, 1);
}

static bool has_predict(void *puppet)
{
    return puppet_predicts(puppet) > 0;
}

/* --- names have addresses --- */

Test(members, come_and_go_as_the_name_says)
{
    open_puppets(&(struct puppet_script){0});
    name_has("one", scene.at[0], scene.at[1]);
    open_pool("dns:one:9", NULL, 20000);
    expect(2, 2, 0);
    cr_assert_str_eq(find(scene.at[0])->source, "dns:one:9");
    expect_metric("xebec_replica_states{version=\"digits@forest\",state=\"ready\"} 2");
    name_has("one", scene.at[1], scene.at[2]);
    cr_assert(turn_until(scene.loop, is_known, scene.at[2], SOON_MS));
    expect(2, 2, 0);
    cr_assert_null(find(scene.at[0]));
    expect_metric("xebec_replicas{version=\"digits@forest\"} 2");
    expect_metric("xebec_replicas_up{version=\"digits@forest\"} 2");
    expect_metric("xebec_replica_states{version=\"digits@forest\",state=\"draining\"} 0");
    close_scene();
}

Test(members, an_address_that_two_names_have_is_one_replica_and_stays_while_one_has_it)
{
    open_puppets(&(struct puppet_script){0});
    name_has("one", scene.at[0], scene.at[1]);
    name_has("two", scene.at[1], scene.at[2]);
    open_pool("dns:one:9", "dns:two:9", 20000);
    expect(3, 3, 0);
    name_has("two", scene.at[2], NULL);
    expect_asked_again();
    expect(3, 3, 0);
    name_has("one", scene.at[0], NULL);
    expect(2, 2, 0);
    cr_assert_null(find(scene.at[1]));
    close_scene();
}

Test(members, a_fixed_address_never_leaves)
{
    open_puppets(&(struct puppet_script){0});
    name_has("one", scene.at[0], scene.at[1]);
    open_pool(scene.at[0], "dns:one:9", 20000);
    expect(2, 2, 0);
    name_has("one", scene.at[1], NULL);
    expect_asked_again();
    expect(2, 2, 0);
    names_say("one", NULL);
    puppet_stop(scene.puppets[0]);
    scene.puppets[0] = NULL;
    puppet_stop(scene.puppets[1]);
    scene.puppets[1] = NULL;
    expect(1, 0, 0); /* the name's is closed, for it is not ready any more */
    cr_assert_not_null(find(scene.at[0]));
    close_scene();
}

Test(members, of_a_name_with_both_families_the_ipv4_addresses_count)
{
    open_puppets(&(struct puppet_script){0});
    name_has("one", "::1:9", scene.at[0]);
    open_pool("dns:one:9", NULL, 20000);
    expect(1, 1, 0);
    names_say("one", "::1:9");
    expect(1, 0, 0);
    cr_assert_not_null(find("[::1]:9"), "it is all there is");
    close_scene();
}

Test(members, are_256_at_most)
{
    static char many[8000];
    size_t at = 0;
    for (int i = 0; i < 300; i++)
        at += (size_t)snprintf(many + at, sizeof many - at, "127.1.%d.%d:9 ", i / 100 + 1, i % 100 + 1);
    open_puppets(&(struct puppet_script){0});
    names_say("one", many);
    open_pool(scene.at[0], "dns:one:9", 20000);
    expect(POOL_REPLICAS_MAX, 1, 0);
    expect_metric("xebec_replicas_left_out{version=\"digits@forest\"} 45");
    struct discovery_status name;
    cr_assert_eq(pool_names(scene.pool, &name, 1), 1);
    cr_assert_eq(name.addresses, 300);
    cr_assert_eq(name.left_out, 45);
    cr_assert_eq(name.outcome, DISCOVERY_FOUND);
    name_has("one", scene.at[1], NULL);
    expect(2, 2, 0);
    expect_metric("xebec_replicas_left_out{version=\"digits@forest\"} 0");
    close_scene();
}

/* --- names that fail --- */

Test(members, no_such_name_spares_who_is_ready)
{
    open_puppets(&(struct puppet_script){0});
    name_has("one", scene.at[0], scene.at[1]);
    open_pool("dns:one:9", NULL, 20000);
    expect(2, 2, 0);
    names_say("one", NULL);
    expect_asked_again();
    expect(2, 2, 0);
    puppet_tell(scene.puppets[0], &(struct puppet_script){.health = HEALTH_NOT_SERVING});
    expect(1, 1, 0);
    cr_assert_null(find(scene.at[0]));
    struct discovery_status name;
    pool_names(scene.pool, &name, 1);
    cr_assert_eq(name.outcome, DISCOVERY_NO_SUCH_NAME);
    cr_assert(name.why[0]);
    close_scene();
}

Test(members, a_failing_resolver_changes_nothing)
{
    open_puppets(&(struct puppet_script){0});
    name_has("one", scene.at[0], scene.at[1]);
    open_pool("dns:one:9", NULL, 20000);
    expect(2, 2, 0);
    names_fail(EAI_AGAIN);
    puppet_tell(scene.puppets[0], &(struct puppet_script){.health = HEALTH_NOT_SERVING});
    expect(2, 1, 0);
    expect_asked_again();
    expect(2, 1, 0);
    struct discovery_status name;
    pool_names(scene.pool, &name, 1);
    cr_assert_eq(name.outcome, DISCOVERY_FAILED);
    cr_assert_eq(name.addresses, 2, "of the last answer that had any");
    names_fail(0);
    puppet_tell(scene.puppets[0], &(struct puppet_script){0});
    expect(2, 2, 0);
    close_scene();
}

Test(members, a_name_is_asked_for_at_once_when_its_replica_goes_down)
{
    open_puppets(&(struct puppet_script){0});
    name_has("one", scene.at[0], scene.at[1]);
    open_pool("dns:one:9", NULL, 3600000000); /* an hour */
    expect(2, 2, 0);
    turn_for(scene.loop, 600); /* whatever was asked while none was ready */
    name_has("one", scene.at[1], scene.at[2]);
    puppet_stop(scene.puppets[0]);
    scene.puppets[0] = NULL;
    cr_assert(turn_until(scene.loop, is_known, scene.at[2], SOON_MS), "an hour before its time");
    expect(2, 2, 0);
    close_scene();
}

/* --- draining --- */

Test(members, who_leaves_finishes_its_calls_and_gets_no_more)
{
    struct ask busy, later;
    open_puppets(&(struct puppet_script){.delay_ms = 300});
    name_has("one", scene.at[0], NULL);
    open_pool("dns:one:9", NULL, 20000);
    expect(1, 1, 0);
    cr_assert_eq(ask(&busy, false, LATER_US), GW_OK);
    name_has("one", scene.at[1], NULL);
    expect(2, 1, 1);
    cr_assert_eq(find(scene.at[0])->in_flight, 1);
    expect_metric("xebec_replica_states{version=\"digits@forest\",state=\"draining\"} 1");
    expect_metric("xebec_replicas{version=\"digits@forest\"} 1");
    cr_assert_eq(pool_free_slots(scene.pool), 2);
    cr_assert_eq(ask(&later, false, LATER_US), GW_OK);
    expect_end(&busy, GW_OK);
    expect(1, 1, 0);
    expect_end(&later, GW_OK);
    cr_assert_eq(puppet_predicts(scene.puppets[1]), 1);
    close_scene();
}

Test(members, who_comes_back_while_draining_is_taken_back)
{
    struct ask busy, later;
    open_puppets(&(struct puppet_script){.predict = PUPPET_STALL});
    name_has("one", scene.at[0], NULL);
    open_pool("dns:one:9", NULL, 20000);
    expect(1, 1, 0);
    cr_assert_eq(ask(&busy, false, LATER_US), GW_OK);
    cr_assert(turn_until(scene.loop, has_predict, scene.puppets[0], SOON_MS));
    name_has("one", scene.at[1], NULL);
    expect(2, 1, 1);
    puppet_tell(scene.puppets[0], &(struct puppet_script){0});
    name_has("one", scene.at[0], NULL);
    expect(1, 1, 0);
    cr_assert_eq(ask(&later, false, LATER_US), GW_OK);
    expect_end(&later, GW_OK);
    cr_assert_eq(puppet_describes(scene.puppets[0]), 1, "over the connection that it had");
    pool_cancel(scene.pool, &busy.call);
    expect_end(&busy, GW_E_CANCELLED);
    close_scene();
}

Test(members, who_dies_while_draining_loses_its_calls_to_others)
{
    struct ask busy;
    open_puppets(&(struct puppet_script){.predict = PUPPET_STALL});
    puppet_tell(scene.puppets[1], &(struct puppet_script){0});
    name_has("one", scene.at[0], NULL);
    open_pool("dns:one:9", NULL, 20000);
    expect(1, 1, 0);
    cr_assert_eq(ask(&busy, false, LATER_US), GW_OK);
    cr_assert(turn_until(scene.loop, has_predict, scene.puppets[0], SOON_MS));
    name_has("one", scene.at[1], NULL);
    expect(2, 1, 1);
    puppet_stop(scene.puppets[0]);
    scene.puppets[0] = NULL;
    expect_end(&busy, GW_OK);
    expect(1, 1, 0);
    close_scene();
}

Test(members, the_pool_may_be_freed_while_some_drain_and_a_question_is_open)
{
    struct ask busy;
    open_puppets(&(struct puppet_script){.predict = PUPPET_STALL});
    name_has("one", scene.at[0], NULL);
    open_pool("dns:one:9", NULL, 20000);
    expect(1, 1, 0);
    cr_assert_eq(ask(&busy, false, LATER_US), GW_OK);
    name_has("one", scene.at[1], NULL);
    expect(2, 1, 1);
    pool_free(scene.pool);
    cr_assert_eq(busy.status, GW_E_CANCELLED);
    turn_for(scene.loop, 50); /* a loop that runs on */
    cr_assert_eq(busy.times, 1);
    scene.pool = NULL;
    close_scene();
}

/* --- calls whose replica is lost --- */

Test(members, a_call_that_waits_survives_the_last_replica)
{
    struct ask patient, hasty, doomed;
    open_puppets(&(struct puppet_script){.predict = PUPPET_STALL});
    puppet_tell(scene.puppets[1], &(struct puppet_script){0});
    name_has("one", scene.at[0], NULL);
    open_pool("dns:one:9", NULL, 20000);
    expect(1, 1, 0);
    cr_assert_eq(ask(&patient, true, LATER_US), GW_OK);
    cr_assert_eq(ask(&hasty, false, LATER_US), GW_OK);
    cr_assert(turn_until(scene.loop, has_predict, scene.puppets[0], SOON_MS));
    names_say("one", NULL);
    puppet_stop(scene.puppets[0]);
    scene.puppets[0] = NULL;
    expect_end(&hasty, GW_E_NO_REPLICA);
    expect(0, 0, 0); /* the replica that it was at is gone for good */
    cr_assert(pool_call_is_stranded(scene.pool, &patient.call));
    cr_assert_eq(patient.times, 0);
    name_has("one", scene.at[1], NULL);
    expect_end(&patient, GW_OK);

    puppet_tell(scene.puppets[1], &(struct puppet_script){.predict = PUPPET_STALL});
    cr_assert_eq(ask(&doomed, true, 300000), GW_OK);
    turn_for(scene.loop, 50);
    names_say("one", NULL);
    puppet_stop(scene.puppets[1]);
    scene.puppets[1] = NULL;
    expect_end(&doomed, GW_E_NO_REPLICA); /* that none came, not that it was slow */
    close_scene();
}

Test(members, a_replica_that_dies_with_many_calls_costs_the_budget_one_retry)
{
    enum { CALLS = 32 };
    struct ask asks[CALLS];
    open_puppets(&(struct puppet_script){.predict = PUPPET_STALL});
    name_has("one", scene.at[0], NULL);
    open_pool("dns:one:9", NULL, 20000);
    scene.version.limits.calls_per_replica = CALLS;
    expect(1, 1, 0);
    for (int i = 0; i < CALLS; i++)
        cr_assert_eq(ask(&asks[i], false, LATER_US), GW_OK);
    puppet_tell(scene.puppets[1], &(struct puppet_script){0});
    name_has("one", scene.at[0], scene.at[1]);
    expect(2, 2, 0);
    puppet_stop(scene.puppets[0]);
    scene.puppets[0] = NULL;
    for (int i = 0; i < CALLS; i++)
        expect_end(&asks[i], GW_OK);
    expect_metric("xebec_retries_total{version=\"digits@forest\"} 32");
    close_scene();
}
