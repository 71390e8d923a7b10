/* The policies, against a simulated replica: base + per_row, one call at a time. What they do under load in
 * all its forms is tests/bench/batch_sim.c's to tell. */
#include "infer/batch_policy.h"

#include <criterion/criterion.h>

#define MS 1000ULL

static struct batch_policy policy_of(enum batching_policy kind, uint32_t max_rows, uint64_t slo_us)
{
    struct batch_policy policy;
    struct config_batching batching = {.policy = kind, .max_rows = max_rows, .calls = 2};
    batch_policy_init(&policy, &batching, slo_us);
    return policy;
}

static void observe(struct batch_policy *policy, uint32_t rows, uint32_t limit, uint64_t us)
{
    batch_policy_observe(policy, &(struct batch_observation){rows, limit, us, us, 1});
}

/* A serial replica under more load than it can bear: every batch is full, and the next waits behind it. */
struct replica {
    double base_us, row_us;
    struct {
        uint32_t limit;
        double sent_us;
    } flight[2];
    double free_at_us; /* when it is done with all that was sent before */
    double now_us;
};

static double replica_send(struct replica *replica, struct batch_policy *policy, int slot)
{
    uint32_t rows = batch_policy_most(policy);
    double start = replica->now_us > replica->free_at_us ? replica->now_us : replica->free_at_us;
    replica->flight[slot].limit = rows;
    replica->flight[slot].sent_us = replica->now_us;
    replica->free_at_us = start + replica->base_us + replica->row_us * rows;
    return replica->free_at_us;
}

/* Runs batches one after the other, the reply of each observed before the slot is used again. Returns the
 * last call's time. */
static double simulate(struct replica *replica, struct batch_policy *policy, int batches)
{
    double done[2], took_us = 0;
    replica->free_at_us = replica->now_us;
    done[0] = replica_send(replica, policy, 0);
    done[1] = replica_send(replica, policy, 1);
    for (int i = 0; i < batches; i++) {
        int slot = i & 1;
        replica->now_us = done[slot];
        took_us = replica->now_us - replica->flight[slot].sent_us;
        observe(policy, replica->flight[slot].limit, replica->flight[slot].limit, (uint64_t)took_us);
        done[slot] = replica_send(replica, policy, slot);
    }
    return took_us;
}

Test(batch_policy, none_is_one_and_fixed_is_max_rows_whatever_is_observed)
{
    struct batch_policy none = policy_of(BATCHING_NONE, 64, 20 * MS),
                        fixed = policy_of(BATCHING_FIXED, 64, 20 * MS);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(batch_policy_most(&none), 1);
        cr_assert_eq(batch_policy_most(&fixed), 64);
        observe(&none, 1, 1, i & 1 ? 1 : 1000 * MS);
        observe(&fixed, 64, 64, i & 1 ? 1 : 1000 * MS);
    }
}

Test(batch_policy, aimd_starts_at_one_and_never_leaves_its_bounds)
{
    struct batch_policy policy = policy_of(BATCHING_AIMD, 10, 20 * MS);
    cr_assert_eq(batch_policy_most(&policy), 1);
    for (int i = 0; i < 100; i++) {
        uint32_t limit = batch_policy_most(&policy);
        observe(&policy, limit, limit, 10);
    }
    cr_assert_eq(batch_policy_most(&policy), 10);
    for (int i = 0; i < 100; i++) {
        uint32_t limit = batch_policy_most(&policy);
        observe(&policy, limit, limit, 1000 * MS);
    }
    cr_assert_eq(batch_policy_most(&policy), 1);
    observe(&policy, 1, 1, 10);
    cr_assert_gt(batch_policy_most(&policy), 1, "and comes up again");
}

Test(batch_policy, aimd_says_nothing_of_batches_below_their_limit)
{
    struct batch_policy policy = policy_of(BATCHING_AIMD, 1000, 20 * MS);
    observe(&policy, 1, 1, 10);
    uint32_t limit = batch_policy_most(&policy);
    for (int i = 0; i < 100; i++) {
        observe(&policy, limit - 1, limit, 10);
        observe(&policy, 1, limit, 100 * MS);
    }
    cr_assert_eq(batch_policy_most(&policy), limit);
}

Test(batch_policy, aimd_reaches_128_rows_within_a_second_at_200_batches_a_second)
{
    struct batch_policy policy = policy_of(BATCHING_AIMD, 1024, 100 * MS);
    struct replica replica = {.base_us = 5 * MS};
    int batches = 0;
    while (batch_policy_most(&policy) < 128 && batches++ < 1000)
        simulate(&replica, &policy, 1);
    cr_assert_leq(batches, 200);
    policy = policy_of(BATCHING_AIMD, 1024, 100 * MS);
    replica.now_us = 0;
    simulate(&replica, &policy, 200);
    cr_assert_geq(batch_policy_most(&policy), 128, "only %u with two in flight", batch_policy_most(&policy));
    cr_assert_leq(replica.now_us, 1.1e6);
}

/* The most rows whose call, behind another like it, is within 0.4 of the SLO. */
static double ideal_rows(const struct replica *replica, double slo_us)
{
    return (0.4 * slo_us / 2 - replica->base_us) / replica->row_us;
}

static void cr_settled(struct replica *replica, struct batch_policy *policy, double slo_us)
{
    double least = 1e9, most = 0, slowest = 0;
    for (int i = 0; i < 200; i++) {
        double took_us = simulate(replica, policy, 2);
        double limit = batch_policy_most(policy);
        least = limit < least ? limit : least;
        most = limit > most ? limit : most;
        slowest = took_us > slowest ? took_us : slowest;
    }
    double ideal = ideal_rows(replica, slo_us);
    cr_assert_geq(least, ideal * 0.85, "fell to %.0f, where %.0f would do", least, ideal);
    cr_assert_leq(most, ideal * 1.02 + 2, "rose to %.0f, where %.0f would do", most, ideal);
    cr_assert_leq(slowest, 0.4 * slo_us * 1.05, "a call took %.0f us", slowest);
}

Test(batch_policy, aimd_settles_under_the_target_adapts_to_a_slower_model_and_recovers)
{
    double slo_us = 20 * MS;
    struct batch_policy policy = policy_of(BATCHING_AIMD, 1024, 20 * MS);
    struct replica replica = {.base_us = 500, .row_us = 10};
    simulate(&replica, &policy, 500);
    cr_settled(&replica, &policy, slo_us);

    replica.row_us = 20;
    simulate(&replica, &policy, 24);
    cr_assert_leq(batch_policy_most(&policy), ideal_rows(&replica, slo_us) * 1.02 + 2,
                  "a model twice as slow must be obeyed within 24 batches");
    simulate(&replica, &policy, 100);
    cr_settled(&replica, &policy, slo_us);

    replica.row_us = 10;
    simulate(&replica, &policy, 200);
    cr_settled(&replica, &policy, slo_us);
}

Test(batch_policy, aimd_pays_once_for_a_pause_however_many_calls_it_slowed)
{
    struct batch_policy policy = policy_of(BATCHING_AIMD, 1024, 20 * MS);
    while (batch_policy_most(&policy) < 100)
        observe(&policy, batch_policy_most(&policy), batch_policy_most(&policy), 100);
    uint32_t limit = batch_policy_most(&policy);
    for (int call = 0; call < 32; call++)
        observe(&policy, limit, limit, 500 * MS);
    cr_assert_eq(batch_policy_most(&policy), limit * 9 / 10);
    for (int batch = 0; batch < 10; batch++)
        observe(&policy, batch_policy_most(&policy), batch_policy_most(&policy), 100);
    cr_assert_geq(batch_policy_most(&policy), limit, "and soon has it back");
}

Test(batch_policy, aimd_raises_the_limit_once_for_all_that_were_full_under_it)
{
    struct batch_policy policy = policy_of(BATCHING_AIMD, 1024, 20 * MS);
    observe(&policy, 1, 1, 100);
    uint32_t once = batch_policy_most(&policy);
    observe(&policy, 1, 1, 100);
    cr_assert_eq(batch_policy_most(&policy), once);
}

Test(batch_policy, aimd_does_not_give_up_throughput_where_no_limit_meets_the_target)
{
    /* A forest: 5 ms for one row, 6 ms for a hundred; two in flight never come back within 8 ms. */
    struct batch_policy policy = policy_of(BATCHING_AIMD, 1024, 20 * MS);
    struct replica replica = {.base_us = 5000, .row_us = 10};
    observe(&policy, 1, 1, 5010); /* one row, before there was any load */
    simulate(&replica, &policy, 500);
    cr_assert_geq(batch_policy_most(&policy), 100);
    cr_assert_leq(batch_policy_most(&policy), 260, "nor does it grow until the SLO itself is hopeless");
}

Test(batch_policy, aimd_without_any_slo_grows_to_max_rows)
{
    struct batch_policy policy = policy_of(BATCHING_AIMD, 300, 0);
    struct replica replica = {.base_us = 50 * MS, .row_us = 1000};
    simulate(&replica, &policy, 500);
    cr_assert_eq(batch_policy_most(&policy), 300);
}

/* --- quantile ----------------------------------------------------------------------------------------------
 */

Test(batch_policy, quantile_settles_where_the_slowest_hundredth_meets_the_target)
{
    struct batch_policy policy = policy_of(BATCHING_QUANTILE, 1024, 20 * MS);
    uint64_t random = 1;
    uint32_t slow = 0, calls = 0;
    for (int i = 0; i < 20000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint32_t limit = batch_policy_most(&policy);
        double us = (500 + 10.0 * limit) * (1 + 0.3 * (double)(random >> 40) / (1 << 24));
        observe(&policy, limit, limit, (uint64_t)us);
        calls += i > 5000;
        slow += i > 5000 && us > 8.0 * MS;
    }
    cr_assert_leq(slow, calls / 20, "%u of %u calls took longer than the target", slow, calls);
    cr_assert_geq(batch_policy_most(&policy), 150, "only %u rows", batch_policy_most(&policy));
}

/* --- adaptive ----------------------------------------------------------------------------------------------
 */

#define SLO (20 * MS)

static uint32_t rows_for(const struct batch_policy *policy, uint64_t left_us)
{
    const struct batch_scene scene = {.now_us = 1000 * MS,
                                      .start_us = 1000 * MS,
                                      .deadline_us = 1000 * MS + left_us,
                                      .rows = 5000,
                                      .servers = 1,
                                      .slowness = 1};
    return batch_policy_limit(policy, &scene);
}

/* What full batches of a + b * n rows teach, `calls` of them. */
static void teach(struct batch_policy *policy, double fixed_us, double row_us, int calls)
{
    for (int i = 0; i < calls; i++) {
        uint32_t rows = rows_for(policy, SLO);
        observe(policy, rows, rows, (uint64_t)(fixed_us + row_us * rows));
    }
}

static struct batch_policy taught(double fixed_us, double row_us)
{
    struct batch_policy policy = policy_of(BATCHING_ADAPTIVE, 4096, SLO);
    teach(&policy, fixed_us, row_us, 300);
    return policy;
}

Test(batch_policy, adaptive_starts_at_one_row_and_finds_half_of_the_objective_within_ten_calls)
{
    struct batch_policy policy = policy_of(BATCHING_ADAPTIVE, 4096, SLO);
    cr_assert_eq(rows_for(&policy, SLO), 1);
    for (int i = 0; i < 10; i++) {
        uint32_t rows = rows_for(&policy, SLO), before = (uint32_t)policy.largest_rows;
        cr_assert_leq(rows, before ? 8 * before : 1, "no leap into the unknown");
        observe(&policy, rows, rows, 500 + 10 * rows);
    }
    double us = 500 + 10.0 * rows_for(&policy, SLO);
    cr_assert_geq(us, 0.3 * SLO);
    cr_assert_leq(us, 0.5 * SLO);
}

Test(batch_policy, adaptive_keeps_the_earliest_deadline_also_behind_a_busy_replica)
{
    struct batch_policy policy = taught(500, 10);
    uint64_t margin_us = batch_policy_margin_us(&policy);
    for (uint64_t left_us = 2 * MS; left_us <= SLO; left_us += MS) {
        double us = 500 + 10.0 * rows_for(&policy, left_us);
        cr_assert_leq(us, (double)(left_us - margin_us) + 20, "%.0f us of %lu", us, left_us);
    }
    cr_assert_geq(500 + 10.0 * rows_for(&policy, 6 * MS), 0.8 * (double)(6 * MS - margin_us),
                  "and wastes little");
    struct batch_scene scene = {
        .start_us = 4 * MS, .deadline_us = 10 * MS, .rows = 500, .servers = 1, .slowness = 1};
    cr_assert_eq(batch_policy_limit(&policy, &scene), rows_for(&policy, 6 * MS));
    scene.slowness = 2;
    cr_assert_lt(batch_policy_limit(&policy, &scene), rows_for(&policy, 6 * MS) / 2 + 1,
                 "a slow replica gets less");
}

Test(batch_policy, adaptive_does_not_fall_behind_the_arrivals_for_one_late_row)
{
    struct batch_policy policy = taught(2000, 10);
    cr_assert_eq(rows_for(&policy, 0), 1, "nobody comes: the late row goes alone");
    for (int i = 0; i < 2000; i++) /* 50 rows a millisecond: half of what the model can */
        batch_policy_arrived(&policy, PRIORITY_NORMAL, 5, 800 * MS + (uint64_t)i * 100);
    /* n = rate * (2000 + 10 n) = 200 at 0.05 a microsecond */
    cr_assert_geq(rows_for(&policy, 0), 190);
    cr_assert_leq(rows_for(&policy, 0), 300);
}

Test(batch_policy, adaptive_follows_a_model_twice_as_slow_within_a_few_calls_and_back)
{
    struct batch_policy policy = taught(500, 10);
    uint32_t fast = rows_for(&policy, SLO);
    teach(&policy, 1000, 20, 5); /* at 9 ms a call: a twentieth of a second */
    uint32_t slow = rows_for(&policy, SLO);
    cr_assert_leq(1000 + 20.0 * slow, 0.5 * SLO);
    cr_assert_geq(1000 + 20.0 * slow, 0.3 * SLO);
    teach(&policy, 500, 10, 8);
    cr_assert_geq(rows_for(&policy, SLO), fast * 8 / 10, "%u rows, it was %u", rows_for(&policy, SLO), fast);
}

Test(batch_policy, adaptive_forgets_a_pause_soon)
{
    struct batch_policy policy = taught(500, 10);
    uint32_t before = rows_for(&policy, SLO);
    observe(&policy, before, before, 5000 * MS);
    cr_assert_geq(rows_for(&policy, SLO), before * 8 / 10, "one outlier: %u of %u rows",
                  rows_for(&policy, SLO), before);
    teach(&policy, 500, 10, 64);
    cr_assert_geq(rows_for(&policy, SLO), before * 9 / 10);
}

Test(batch_policy, adaptive_keeps_the_throughput_of_a_model_that_is_slow_whatever_its_rows)
{
    struct batch_policy policy = policy_of(BATCHING_ADAPTIVE, 4096, SLO);
    for (int i = 0; i < 1000; i++) /* more than one row at a time could bear */
        batch_policy_arrived(&policy, PRIORITY_NORMAL, 1, 900 * MS + (uint64_t)i * 100);
    teach(&policy, 15000, 10, 300);
    cr_assert_geq(batch_policy_most(&policy), 200);
    cr_assert_leq(15000 + 10.0 * batch_policy_most(&policy), 40000);
}

Test(batch_policy, adaptive_without_any_slo_takes_what_it_may)
{
    struct batch_policy policy = policy_of(BATCHING_ADAPTIVE, 300, 0);
    cr_assert_eq(batch_policy_most(&policy), 300);
}

Test(batch_policy, adaptive_holds_a_batch_back_while_no_replica_could_begin)
{
    struct batch_policy policy = taught(500, 10);
    struct batch_scene scene = {.now_us = 100 * MS,
                                .start_us = 106 * MS,
                                .oldest_us = 100 * MS,
                                .rows = 100,
                                .servers = 1,
                                .slowness = 1};
    uint64_t until_us = batch_policy_busy_until(&policy, &scene);
    cr_assert(until_us > 105 * MS && until_us < 106 * MS, "until %lu", until_us);
    scene.start_us = scene.now_us;
    cr_assert_leq(batch_policy_busy_until(&policy, &scene), scene.now_us);
    scene.start_us = 10000 * MS;
    until_us = batch_policy_busy_until(&policy, &scene);
    cr_assert(until_us < 200 * MS, "until %lu: a replica that is stuck may take another call yet", until_us);
    scene.given_up_us = 500 * MS;
    cr_assert_eq(batch_policy_busy_until(&policy, &scene), until_us + 400 * MS,
                 "one that works on what was given up is not");
    scene.start_us = scene.given_up_us;
    until_us = batch_policy_busy_until(&policy, &scene);
    cr_assert(until_us > 490 * MS && until_us < 500 * MS, "until %lu", until_us);
    struct batch_policy unknown = policy;
    unknown.latency = (struct latency){0};
    cr_assert_leq(batch_policy_busy_until(&unknown, &scene), scene.now_us);
}

Test(batch_policy, adaptive_is_not_patient_for_batches_that_nobody_has_sent)
{
    struct batch_policy policy = policy_of(BATCHING_ADAPTIVE, 1024, 60000 * MS);
    for (int i = 0; i < 10; i++)
        observe(&policy, 1, 8, 3 * MS);
    struct batch_scene scene = {.now_us = 100 * MS,
                                .start_us = 60000 * MS,
                                .oldest_us = 100 * MS,
                                .rows = 1,
                                .servers = 1,
                                .slowness = 1};
    cr_assert_leq(batch_policy_busy_until(&policy, &scene), 300 * MS);
}

Test(batch_policy, adaptive_waits_for_company_only_when_that_pays_and_only_so_long)
{
    struct batch_policy policy = taught(2000, 10);
    struct batch_scene scene = {.start_us = 0, .rows = 1, .servers = 1, .slowness = 1};
    policy.max_delay_us = 3 * MS;
    uint64_t now_us = 0;
    for (int i = 0; i < 1000; i++) /* a row each 200 us: to wait for the next costs 400, and saves 2000 */
        batch_policy_arrived(&policy, PRIORITY_NORMAL, 1, now_us += 200);
    scene.now_us = scene.start_us = scene.oldest_us = now_us;
    uint64_t until_us = batch_policy_hold_until(&policy, &scene);
    cr_assert(until_us > now_us && until_us <= now_us + 500, "until %lu at %lu", until_us, now_us);
    scene.oldest_us = now_us - 3 * MS;
    cr_assert_leq(batch_policy_hold_until(&policy, &scene), now_us, "max_delay is over");
    scene.oldest_us = now_us;
    scene.rows = 10;
    cr_assert_eq(batch_policy_hold_until(&policy, &scene), 0, "ten rows wait 2200 us for what saves 2000");
    scene.rows = 1;
    policy.max_delay_us = 0;
    cr_assert_eq(batch_policy_hold_until(&policy, &scene), 0, "nobody allowed it");
    policy.max_delay_us = 3 * MS;
    scene.now_us += 1000 * MS;
    cr_assert_eq(batch_policy_hold_until(&policy, &scene), 0, "nobody comes any more");
}
