/* The policies, and aimd against a simulated replica: base + per_row, one call at a time, `calls` in flight.
 */
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
    uint32_t rows = batch_policy_limit(policy);
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
        batch_policy_observe(policy, replica->flight[slot].limit, replica->flight[slot].limit,
                             (uint64_t)took_us);
        done[slot] = replica_send(replica, policy, slot);
    }
    return took_us;
}

Test(batch_policy, none_is_one_and_fixed_is_max_rows_whatever_is_observed)
{
    struct batch_policy none = policy_of(BATCHING_NONE, 64, 20 * MS),
                        fixed = policy_of(BATCHING_FIXED, 64, 20 * MS);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(batch_policy_limit(&none), 1);
        cr_assert_eq(batch_policy_limit(&fixed), 64);
        batch_policy_observe(&none, 1, 1, i & 1 ? 1 : 1000 * MS);
        batch_policy_observe(&fixed, 64, 64, i & 1 ? 1 : 1000 * MS);
    }
}

Test(batch_policy, aimd_starts_at_one_and_never_leaves_its_bounds)
{
    struct batch_policy policy = policy_of(BATCHING_AIMD, 10, 20 * MS);
    cr_assert_eq(batch_policy_limit(&policy), 1);
    for (int i = 0; i < 100; i++) {
        uint32_t limit = batch_policy_limit(&policy);
        batch_policy_observe(&policy, limit, limit, 10);
    }
    cr_assert_eq(batch_policy_limit(&policy), 10);
    for (int i = 0; i < 100; i++) {
        uint32_t limit = batch_policy_limit(&policy);
        batch_policy_observe(&policy, limit, limit, 1000 * MS);
    }
    cr_assert_eq(batch_policy_limit(&policy), 1);
    batch_policy_observe(&policy, 1, 1, 10);
    cr_assert_gt(batch_policy_limit(&policy), 1, "and comes up again");
}

Test(batch_policy, aimd_says_nothing_of_batches_below_their_limit)
{
    struct batch_policy policy = policy_of(BATCHING_AIMD, 1000, 20 * MS);
    batch_policy_observe(&policy, 1, 1, 10);
    uint32_t limit = batch_policy_limit(&policy);
    for (int i = 0; i < 100; i++) {
        batch_policy_observe(&policy, limit - 1, limit, 10);
        batch_policy_observe(&policy, 1, limit, 100 * MS);
    }
    cr_assert_eq(batch_policy_limit(&policy), limit);
}

Test(batch_policy, aimd_reaches_128_rows_within_a_second_at_200_batches_a_second)
{
    struct batch_policy policy = policy_of(BATCHING_AIMD, 1024, 100 * MS);
    struct replica replica = {.base_us = 5 * MS};
    int batches = 0;
    while (batch_policy_limit(&policy) < 128 && batches++ < 1000)
        simulate(&replica, &policy, 1);
    cr_assert_leq(batches, 200);
    policy = policy_of(BATCHING_AIMD, 1024, 100 * MS);
    replica.now_us = 0;
    simulate(&replica, &policy, 200);
    cr_assert_geq(batch_policy_limit(&policy), 128, "only %u with two in flight",
                  batch_policy_limit(&policy));
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
        double limit = batch_policy_limit(policy);
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
    cr_assert_leq(batch_policy_limit(&policy), ideal_rows(&replica, slo_us) * 1.02 + 2,
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
    while (batch_policy_limit(&policy) < 100)
        batch_policy_observe(&policy, batch_policy_limit(&policy), batch_policy_limit(&policy), 100);
    uint32_t limit = batch_policy_limit(&policy);
    for (int call = 0; call < 32; call++)
        batch_policy_observe(&policy, limit, limit, 500 * MS);
    cr_assert_eq(batch_policy_limit(&policy), limit * 9 / 10);
    for (int batch = 0; batch < 10; batch++)
        batch_policy_observe(&policy, batch_policy_limit(&policy), batch_policy_limit(&policy), 100);
    cr_assert_geq(batch_policy_limit(&policy), limit, "and soon has it back");
}

Test(batch_policy, aimd_raises_the_limit_once_for_all_that_were_full_under_it)
{
    struct batch_policy policy = policy_of(BATCHING_AIMD, 1024, 20 * MS);
    batch_policy_observe(&policy, 1, 1, 100);
    uint32_t once = batch_policy_limit(&policy);
    batch_policy_observe(&policy, 1, 1, 100);
    cr_assert_eq(batch_policy_limit(&policy), once);
}

Test(batch_policy, aimd_does_not_give_up_throughput_where_no_limit_meets_the_target)
{
    /* A forest: 5 ms for one row, 6 ms for a hundred; two in flight never come back within 8 ms. */
    struct batch_policy policy = policy_of(BATCHING_AIMD, 1024, 20 * MS);
    struct replica replica = {.base_us = 5000, .row_us = 10};
    batch_policy_observe(&policy, 1, 1, 5010); /* one row, before there was any load */
    simulate(&replica, &policy, 500);
    cr_assert_geq(batch_policy_limit(&policy), 100);
    cr_assert_leq(batch_policy_limit(&policy), 260, "nor does it grow until the SLO itself is hopeless");
}

Test(batch_policy, aimd_without_any_slo_grows_to_max_rows)
{
    struct batch_policy policy = policy_of(BATCHING_AIMD, 300, 0);
    struct replica replica = {.base_us = 50 * MS, .row_us = 1000};
    simulate(&replica, &policy, 500);
    cr_assert_eq(batch_policy_limit(&policy), 300);
}
