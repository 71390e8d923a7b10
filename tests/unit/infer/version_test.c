/*
 * version: jobs in, jobs home, exactly once each. The pool is a fake in this file: it keeps the calls that
 * version sends, and the test answers them when it likes.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "infer/version.h"

/* --- the fake pool --- */

enum { CALLS_MAX = 32 };

struct pool {
    void (*ready)(void *owner);
    void *owner;
    bool any_ready, stranded; /* stranded: its calls wait for a replica */
    uint32_t slots;
    uint64_t start_us; /* 0: a replica is idle */
    struct pool_call *calls[CALLS_MAX];
    uint32_t n_calls, n_answered, cancelled;
};

static struct pool fake;

struct pool *pool_new(struct loop *loop, struct rpc_client *client, struct metrics *metrics,
                      const struct pool_version *version, void (*ready)(void *), void *owner)
{
    (void)loop, (void)client, (void)metrics, (void)version;
    fake = (struct pool){.ready = ready, .owner = owner, .any_ready = true, .slots = 1};
    return &fake;
}
void pool_free(struct pool *pool)
{
    (void)pool;
}
bool pool_any_ready(const struct pool *pool)
{
    return pool->any_ready;
}
uint32_t pool_free_slots(const struct pool *pool)
{
    return pool->slots;
}
bool pool_any_idle(const struct pool *pool)
{
    return pool->n_calls == pool->n_answered;
}
uint32_t pool_max_rows(const struct pool *pool)
{
    return (void)pool, UINT32_MAX;
}
struct busy_outlook pool_outlook(const struct pool *pool, uint64_t now_us)
{
    return (struct busy_outlook){.ready = pool->any_ready,
                                 .max_rows = UINT32_MAX,
                                 .start_us = pool->start_us ? pool->start_us : now_us,
                                 .slowness = 1};
}
bool pool_digest(const struct pool *pool, uint64_t digest[2])
{
    return (void)pool, (void)digest, false;
}
uint32_t pool_status(const struct pool *pool, struct replica_status *out, uint32_t room)
{
    return (void)pool, (void)out, (void)room, 0;
}
uint32_t pool_names(const struct pool *pool, struct discovery_status *out, uint32_t room)
{
    return (void)pool, (void)out, (void)room, 0;
}
uint64_t pool_crashes(const struct pool *pool)
{
    return (void)pool, 0;
}
bool pool_call_is_stranded(const struct pool *pool, const struct pool_call *call)
{
    return (void)call, pool->stranded;
}
void pool_cancel(struct pool *pool, struct pool_call *call)
{
    (void)call, pool->cancelled++;
}
enum gw_status pool_predict(struct pool *pool, struct pool_call *call)
{
    pool->calls[pool->n_calls++] = call;
    pool->slots--;
    return GW_OK;
}

/* Answers the i-th call: every row gets one shared result; row `bad` (if any) an error of its own. */
static void answer_after(uint32_t i, int bad, uint64_t busy_us)
{
    struct pool_call *call = fake.calls[i];
    struct predict_result *result = predict_result_new();
    const char **errors = arena_zalloc(&result->arena, call->input.n_rows * sizeof *errors);
    result->n_rows = call->input.n_rows;
    if (bad >= 0) {
        errors[bad] = "ValueError: no";
        result->row_errors = errors;
    }
    fake.slots++;
    fake.n_answered++;
    call->busy_us = busy_us;
    call->slowness = 1;
    call->done(call, result, NULL, busy_us);
}

static void answer(uint32_t i, int bad)
{
    answer_after(i, bad, 100);
}

static void fail(uint32_t i, enum gw_status status, const char *what)
{
    struct gw_err err;
    gw_err_set(&err, status, "%s", what);
    fake.slots++;
    fake.n_answered++;
    fake.calls[i]->done(fake.calls[i], NULL, &err, 100);
}

/* --- a version on a loop that only this test turns --- */

static struct loop *loop;
static struct metrics *metrics;
static struct version *version;
static struct config_model model;
static uint32_t calls_in_flight = 1;
static struct config_version config;
static struct config whole = {.refs = 1, .limits = {.message_bytes = 64 << 20}};

static void open_version(enum batching_policy policy, uint32_t max_rows, uint32_t max_queued_rows)
{
    loop = loop_new();
    metrics = metrics_new();
    model = (struct config_model){.name = "m",
                                  .batching = {.policy = policy,
                                               .max_rows = max_rows,
                                               .max_queued_rows = max_queued_rows,
                                               .calls = calls_in_flight}};
    config = (struct config_version){.name = "v", .full_name = "m@v", .model = &model};
    const struct version_setup setup = {.config = &config, .whole = &whole, .loop = loop, .metrics = metrics};
    version = version_new(&setup);
    cr_assert_not_null(version);
}

static void close_version(void)
{
    version_unref(version);
    loop_free(loop);
    metrics_free(metrics);
}

enum { ROWS_MAX = 8 };

struct asker {
    struct job job;
    struct row_outcome outcomes[ROWS_MAX];
    uint32_t rows[ROWS_MAX];
    uint32_t homecomings;
};

static void came_home(struct job *job)
{
    container_of(job, struct asker, job)->homecomings++;
}

static void ask_in(uint32_t background_calls, struct asker *asker, uint32_t n_rows, uint64_t slo_us)
{
    *asker = (struct asker){.job = {.loop = loop, .home = came_home, .background_calls = background_calls}};
    for (uint32_t i = 0; i < n_rows; i++)
        asker->rows[i] = i;
    asker->job.rows = asker->rows;
    asker->job.outcomes = asker->outcomes;
    asker->job.entry.n_rows = n_rows;
    asker->job.entry.deadline_us = loop_now_us() + slo_us;
    version_submit(version, &asker->job);
}

static void ask(struct asker *asker, uint32_t n_rows, uint64_t slo_us)
{
    ask_in(0, asker, n_rows, slo_us);
}

static void release(struct asker *asker)
{
    for (uint32_t i = 0; i < asker->job.entry.n_rows; i++)
        predict_result_unref(asker->outcomes[i].result);
}

static void expect_all(const struct asker *asker, enum gw_status status)
{
    cr_assert_eq(asker->homecomings, 1);
    for (uint32_t i = 0; i < asker->job.entry.n_rows; i++)
        cr_assert_eq(asker->outcomes[i].status, status, "row %u: %s", i,
                     gw_status_cause(asker->outcomes[i].status));
}

Test(version, jobs_of_one_turn_share_a_batch_and_each_gets_its_own_rows)
{
    struct asker a, b;
    open_version(BATCHING_FIXED, 8, 100);
    ask(&a, 2, 1000000);
    ask(&b, 3, 2000000);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 1);
    cr_assert_eq(fake.calls[0]->input.n_rows, 5);
    cr_assert_eq(fake.calls[0]->deadline_us, b.job.entry.deadline_us);
    answer(0, 3); /* the second row of b */
    loop_flush(loop);
    expect_all(&a, GW_OK);
    cr_assert_eq(b.homecomings, 1);
    cr_assert_eq(b.outcomes[1].status, GW_E_MODEL);
    cr_assert_str_eq(b.outcomes[1].message, "ValueError: no");
    cr_assert_eq(b.outcomes[2].status, GW_OK);
    cr_assert_eq(b.outcomes[2].row, 4);
    release(&a);
    release(&b);
    close_version();
}

Test(version, a_job_larger_than_a_batch_comes_home_when_its_last_rows_are_answered)
{
    struct asker a;
    open_version(BATCHING_FIXED, 3, 100);
    fake.slots = 2;
    ask(&a, 5, 1000000);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 2);
    answer(1, -1);
    loop_flush(loop);
    cr_assert_eq(a.homecomings, 0);
    answer(0, -1);
    loop_flush(loop);
    expect_all(&a, GW_OK);
    release(&a);
    close_version();
}

Test(version, a_quick_replica_gets_one_call_at_a_time_unless_it_works_on_several)
{
    struct asker a, b, c;
    for (uint32_t calls = 2; calls <= 3; calls++) {
        calls_in_flight = calls;
        open_version(BATCHING_FIXED, 8, 100);
        fake.slots = calls;
        ask(&a, 1, 1000000);
        loop_flush(loop);
        answer(0, -1); /* within 100 us: quick */
        loop_flush(loop);
        ask(&b, 1, 1000000);
        loop_flush(loop);
        ask(&c, 1, 1000000);
        loop_flush(loop);
        cr_assert_eq(fake.n_calls, calls == 2 ? 2 : 3);
        answer(1, -1);
        loop_flush(loop);
        cr_assert_eq(fake.n_calls, 3);
        answer(2, -1);
        loop_flush(loop);
        expect_all(&c, GW_OK);
        release(&a), release(&b), release(&c);
        close_version();
    }
}

Test(version, a_failed_call_fails_its_rows_with_its_words)
{
    struct asker a;
    open_version(BATCHING_FIXED, 8, 100);
    ask(&a, 2, 1000000);
    loop_flush(loop);
    fail(0, GW_E_CONTRACT, "output y has 1 row, 2 were asked for");
    loop_flush(loop);
    expect_all(&a, GW_E_CONTRACT);
    cr_assert_str_eq(a.outcomes[1].message, "output y has 1 row, 2 were asked for");
    close_version();
}

Test(version, without_a_replica_rows_fail_at_once_and_those_queued_when_the_last_one_goes)
{
    struct asker a, b, c;
    open_version(BATCHING_NONE, 8, 100);
    fake.any_ready = false;
    ask(&a, 1, 1000000);
    loop_flush(loop);
    expect_all(&a, GW_E_NO_REPLICA);
    fake.any_ready = true;
    ask(&b, 1, 1000000);
    ask(&c, 1, 2000000);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 1);
    fake.any_ready = false;
    fake.ready(fake.owner);
    loop_flush(loop);
    expect_all(&c, GW_E_NO_REPLICA);
    cr_assert_eq(b.homecomings, 0);
    fail(0, GW_E_NO_REPLICA, "gone");
    loop_flush(loop);
    expect_all(&b, GW_E_NO_REPLICA);
    close_version();
}

static void ask_patiently(struct asker *asker, uint32_t n_rows, uint64_t slo_us)
{
    ask(asker, n_rows, slo_us);
    asker->job.waits = true; /* not looked at before the loop turns */
    asker->job.entry.kind[1] = 1;
}

Test(version, rows_that_wait_are_sent_when_a_replica_becomes_ready)
{
    struct asker patient, hasty, late;
    open_version(BATCHING_FIXED, 8, 100);
    fake.any_ready = false;
    fake.slots = 0;
    ask_patiently(&patient, 2, 1000000);
    ask(&hasty, 1, 1000000);
    ask_patiently(&late, 1, 1000000);
    loop_flush(loop);
    expect_all(&hasty, GW_E_NO_REPLICA);
    cr_assert_eq(patient.homecomings + late.homecomings, 0);
    fake.any_ready = true;
    fake.slots = 1;
    fake.ready(fake.owner);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 1);
    cr_assert(fake.calls[0]->waits);
    cr_assert_eq(fake.calls[0]->input.n_rows, 3);
    answer(0, -1);
    loop_flush(loop);
    expect_all(&patient, GW_OK);
    expect_all(&late, GW_OK);
    release(&patient), release(&late);
    close_version();
}

Test(version, when_the_last_replica_goes_only_rows_that_do_not_wait_come_home)
{
    struct asker patient, hasty;
    open_version(BATCHING_FIXED, 8, 100);
    loop_flush(loop);
    fake.slots = 0;
    ask_patiently(&patient, 1, 1000000);
    ask(&hasty, 1, 1000000);
    loop_flush(loop);
    fake.any_ready = false;
    fake.ready(fake.owner);
    loop_flush(loop);
    expect_all(&hasty, GW_E_NO_REPLICA);
    cr_assert_eq(patient.homecomings, 0);
    version_recall(&patient.job, GW_E_DEADLINE);
    loop_flush(loop);
    expect_all(&patient, GW_E_NO_REPLICA); /* that, and not the model's slowness, is why */
    close_version();
}

Test(version, rows_recalled_from_a_call_that_waits_for_a_replica_are_told_so)
{
    struct asker a, b;
    open_version(BATCHING_FIXED, 8, 100);
    ask_patiently(&a, 1, 1000000);
    loop_flush(loop);
    fake.any_ready = false;
    fake.stranded = true;
    version_recall(&a.job, GW_E_DEADLINE);
    loop_flush(loop);
    expect_all(&a, GW_E_NO_REPLICA);
    fail(0, GW_E_CANCELLED, "cancelled");
    ask_patiently(&b, 1, 1000000);
    loop_flush(loop);
    version_recall(&b.job, GW_E_CANCELLED);
    loop_flush(loop);
    expect_all(&b, GW_E_CANCELLED);
    close_version();
}

Test(version, who_waits_shares_no_batch_with_who_does_not)
{
    struct asker a, b;
    open_version(BATCHING_FIXED, 8, 100);
    ask_patiently(&a, 1, 1000000);
    ask(&b, 1, 1000000);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 1);
    bool first_waits = fake.calls[0]->waits;
    answer(0, -1);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 2);
    cr_assert_neq(fake.calls[1]->waits, first_waits);
    answer(1, -1);
    loop_flush(loop);
    release(&a), release(&b);
    close_version();
}

Test(version, freed_while_its_pump_is_under_way)
{
    struct asker a;
    open_version(BATCHING_FIXED, 8, 100);
    fake.slots = 0;
    ask(&a, 1, 1000000);
    loop_flush(loop);
    fake.ready(fake.owner);
    version_unref(version);
    loop_flush(loop);
    expect_all(&a, GW_E_DRAINING);
    loop_free(loop);
    metrics_free(metrics);
}

Test(version, a_full_queue_refuses_and_an_expired_row_is_never_sent)
{
    struct asker a, b, c;
    open_version(BATCHING_NONE, 8, 2);
    fake.slots = 0;
    ask(&a, 2, 1000000);
    ask(&b, 1, 1000000);
    ask(&c, 1, 0);
    loop_flush(loop);
    expect_all(&b, GW_E_OVERLOAD);
    expect_all(&c, GW_E_DEADLINE);
    cr_assert_eq(fake.n_calls, 0);
    version_recall(&a.job, GW_E_CANCELLED);
    loop_flush(loop);
    expect_all(&a, GW_E_CANCELLED);
    close_version();
}

/* Knows that a call takes 100 us; the SLO is 10 ms. */
static void open_taught_version(void)
{
    struct asker asker;
    open_version(BATCHING_FIXED, 8, 8);
    version_unref(version);
    loop_flush(loop);
    model.batching.admission = true;
    config.least_slo_us = 10000;
    version = version_new(
        &(struct version_setup){.config = &config, .whole = &whole, .loop = loop, .metrics = metrics});
    for (uint32_t i = 0; i < 10; i++) {
        ask(&asker, 1, 1000000);
        loop_flush(loop);
        answer(i, -1);
        loop_flush(loop);
        release(&asker);
    }
}

Test(version, a_row_that_would_be_late_is_refused_at_once_and_told_when_to_come_again)
{
    struct asker late, in_time;
    open_taught_version();
    fake.slots = 0;
    fake.start_us = loop_now_us() + 3000000;
    ask(&late, 1, 2000000);
    ask(&in_time, 1, 9000000);
    loop_flush(loop);
    expect_all(&late, GW_E_OVERLOAD);
    cr_assert_geq(late.job.retry_us, 2900000);
    cr_assert_eq(in_time.homecomings, 0);
    cr_assert_eq(in_time.job.retry_us, 0);
    version_recall(&in_time.job, GW_E_CANCELLED);
    loop_flush(loop);
    close_version();
}

Test(version, who_gives_way_to_a_higher_priority_goes_home_at_once)
{
    struct asker first, low, high;
    open_taught_version();
    ask(&first, 1, 9000000);
    loop_flush(loop);
    ask(&low, 8, 9000000);
    low.job.entry.priority = PRIORITY_BATCH;
    loop_flush(loop);
    cr_assert_eq(low.homecomings, 0);
    ask(&high, 1, 9000000);
    loop_flush(loop);
    expect_all(&low, GW_E_OVERLOAD);
    cr_assert_eq(low.job.retry_us, 0, "nobody knows");
    cr_assert_eq(high.homecomings, 0);
    answer(10, -1);
    loop_flush(loop);
    answer(11, -1);
    loop_flush(loop);
    expect_all(&first, GW_OK), expect_all(&high, GW_OK);
    release(&first), release(&high);
    close_version();
}

/* Else a version's idea of its clients' calls would be one of calls an eighth as large, made while nothing
 * else was. */
Test(version, shadows_teach_nothing_where_clients_are_served)
{
    struct asker shadow, client;
    uint64_t expected_us[2];
    open_taught_version();
    for (uint32_t i = 10, turn = 0; turn < 2; turn++, i++) {
        fake.slots = 2;
        ask(&client, 1, 1000000);
        loop_flush(loop);
        cr_assert_not(fake.calls[i]->is_untypical);
        expected_us[turn] = fake.calls[i]->expected_us;
        answer(i, -1);
        loop_flush(loop);
        release(&client);
        for (uint32_t last = i + 4; i < last;) {
            ask_in(1, &shadow, 1, 1000000);
            loop_flush(loop);
            cr_assert(fake.calls[++i]->is_untypical);
            answer_after(i, -1, 50000);
            loop_flush(loop);
            release(&shadow);
        }
    }
    cr_assert_eq(expected_us[0], expected_us[1]);
    close_version();
}

Test(version, shadows_alone_teach)
{
    struct asker shadow;
    open_version(BATCHING_FIXED, 8, 100);
    for (uint32_t i = 0; i < 3; i++) {
        ask_in(1, &shadow, 1, 1000000);
        loop_flush(loop);
        cr_assert_not(fake.calls[i]->is_untypical);
        cr_assert_eq(fake.calls[i]->expected_us, i ? 50000 : 0);
        answer_after(i, -1, 50000);
        loop_flush(loop);
        release(&shadow);
    }
    close_version();
}

Test(version, shadows_wait_for_as_long_as_it_takes_and_nobody_waits_behind_them)
{
    struct asker shadow, client;
    open_taught_version();
    fake.slots = 0;
    fake.start_us = loop_now_us() + 3000000;
    ask_in(1, &shadow, 8, 2000000);
    ask(&client, 1, 4000000);
    loop_flush(loop);
    cr_assert_eq(shadow.homecomings, 0, "it would be late, and is not asked");
    cr_assert_eq(client.homecomings, 0);
    version_recall(&shadow.job, GW_E_CANCELLED);
    version_recall(&client.job, GW_E_CANCELLED);
    loop_flush(loop);
    close_version();
}

Test(version, a_job_recalled_in_flight_comes_home_at_once_and_its_late_rows_are_dropped)
{
    struct asker a, b;
    open_version(BATCHING_FIXED, 8, 100);
    ask(&a, 2, 1000000);
    ask(&b, 1, 1000000);
    loop_flush(loop);
    version_recall(&a.job, GW_E_DEADLINE);
    loop_flush(loop);
    expect_all(&a, GW_E_DEADLINE);
    cr_assert_eq(fake.cancelled, 0, "b still wants the batch");
    memset(&a, 0xAA, sizeof a); /* its memory is the request's again, and may be gone */
    version_recall(&b.job, GW_E_CANCELLED);
    loop_flush(loop);
    expect_all(&b, GW_E_CANCELLED);
    cr_assert_eq(fake.cancelled, 1, "nobody wants the batch");
    answer(0, -1);
    loop_flush(loop);
    close_version();
}

Test(version, a_recall_that_crosses_the_answer_still_brings_the_job_home_once)
{
    struct asker a;
    open_version(BATCHING_FIXED, 8, 100);
    ask(&a, 1, 1000000);
    loop_flush(loop);
    answer(0, -1);                         /* posts it home ... */
    version_recall(&a.job, GW_E_DEADLINE); /* ... while the request calls it back */
    loop_flush(loop);
    expect_all(&a, GW_OK);
    release(&a);
    close_version();
}

Test(version, what_is_queued_at_the_end_comes_home)
{
    struct asker a;
    open_version(BATCHING_FIXED, 8, 100);
    fake.slots = 0;
    ask(&a, 2, 1000000);
    loop_flush(loop);
    version_unref(version);
    loop_flush(loop);
    expect_all(&a, GW_E_DRAINING);
    loop_free(loop);
    metrics_free(metrics);
}

/* --- rows that nobody waits for --- */

Test(version, background_rows_go_when_no_client_waits_and_never_in_a_clients_batch)
{
    struct asker client, shadow, later;
    open_version(BATCHING_FIXED, 8, 100);
    ask_in(2, &shadow, 2, 1000000);
    ask(&client, 1, 2000000);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 1);
    cr_assert_eq(fake.calls[0]->input.n_rows, 1, "the client's alone, though it came later and is due later");
    ask(&later, 1, 2000000);
    loop_flush(loop);
    answer(0, -1);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 2);
    cr_assert_eq(fake.calls[1]->input.n_rows, 1, "the next client's");
    answer(1, -1);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 3);
    cr_assert_eq(fake.calls[2]->input.n_rows, 2);
    answer(2, -1);
    loop_flush(loop);
    expect_all(&client, GW_OK), expect_all(&later, GW_OK), expect_all(&shadow, GW_OK);
    cr_assert_eq(shadow.job.call_us, 100);
    release(&client), release(&later), release(&shadow);
    close_version();
}

Test(version, background_calls_are_bounded_by_the_job_that_waits_longest)
{
    struct asker shadows[4];
    calls_in_flight = 8; /* replicas that work on several at once */
    open_version(BATCHING_NONE, 1, 100);
    fake.slots = 8;
    for (int i = 0; i < 4; i++)
        ask_in(2, &shadows[i], 1, 1000000);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 2);
    answer(0, -1);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 3);
    for (uint32_t i = 1; i < 4; i++) {
        answer(i, -1);
        loop_flush(loop);
    }
    for (int i = 0; i < 4; i++)
        expect_all(&shadows[i], GW_OK), release(&shadows[i]);
    close_version();
}

Test(version, where_clients_are_served_background_batches_are_small_and_leave_a_slot)
{
    struct asker shadow;
    open_version(BATCHING_FIXED, 16, 100);
    config.least_slo_us = 1000000;
    ask_in(4, &shadow, 8, 1000000);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 0, "the one slot is the clients'");
    fake.slots = 2;
    fake.ready(fake.owner);
    loop_flush(loop);
    cr_assert_eq(fake.n_calls, 1, "and a replica at work is left in peace");
    cr_assert_eq(fake.calls[0]->input.n_rows, 3);
    for (uint32_t i = 0; i < 3; i++) {
        fake.slots = 1;
        answer(i, -1);
        loop_flush(loop);
    }
    expect_all(&shadow, GW_OK);
    release(&shadow);
    close_version();
}

Test(version, background_rows_do_not_wait_for_a_replica)
{
    struct asker first, second;
    open_version(BATCHING_FIXED, 8, 100);
    fake.slots = 0;
    ask_in(1, &first, 1, 1000000);
    loop_flush(loop);
    cr_assert_eq(first.homecomings, 0);
    fake.any_ready = false;
    fake.ready(fake.owner);
    loop_flush(loop);
    expect_all(&first, GW_E_NO_REPLICA);
    ask_in(1, &second, 1, 1000000);
    loop_flush(loop);
    expect_all(&second, GW_E_NO_REPLICA);
    close_version();
}

Test(version, a_background_job_is_recalled_from_its_queue_and_from_a_batch)
{
    struct asker queued, away;
    open_version(BATCHING_NONE, 1, 100);
    ask_in(1, &away, 1, 1000000);
    loop_flush(loop);
    ask_in(1, &queued, 1, 1000000);
    loop_flush(loop);
    version_recall(&queued.job, GW_E_DEADLINE);
    version_recall(&away.job, GW_E_DEADLINE);
    loop_flush(loop);
    expect_all(&queued, GW_E_DEADLINE), expect_all(&away, GW_E_DEADLINE);
    cr_assert_eq(fake.cancelled, 1);
    fail(0, GW_E_CANCELLED, "nobody wanted it");
    loop_flush(loop);
    close_version();
}

Test(version, a_full_background_queue_refuses_and_clients_do_not_feel_it)
{
    struct asker first, second, client;
    open_version(BATCHING_FIXED, 8, 2);
    fake.slots = 0;
    ask_in(1, &first, 2, 1000000);
    ask_in(1, &second, 1, 1000000);
    ask(&client, 2, 1000000);
    loop_flush(loop);
    expect_all(&second, GW_E_OVERLOAD);
    cr_assert_eq(client.homecomings, 0);
    version_recall(&first.job, GW_E_DRAINING);
    version_recall(&client.job, GW_E_CANCELLED);
    loop_flush(loop);
    expect_all(&client, GW_E_CANCELLED);
    close_version();
}
