/* Canary: every edge of the state machine under scripted counts, and what its gates promise under random
 * ones. */
#include "judge/canary.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SECOND ((uint64_t)1000000)
#define TICK   (SECOND / 4)

static const struct config_version baseline = {.full_name = "m@old"}, candidate = {.full_name = "m@new"};
static const double steps[] = {0.05, 0.5, 1};
static const struct config_canary usual = {.baseline = &baseline,
                                           .candidate = &candidate,
                                           .steps = steps,
                                           .n_steps = 3,
                                           .dwell_us = 10 * SECOND,
                                           .alpha = 0.05,
                                           .min_requests = 50,
                                           .errors = 0.02,
                                           .latency_quantile = 0.99,
                                           .latency_slower = 0.2,
                                           .disagreement = -1};

/* A gateway as the canary sees it: two books, a split, a clock. */
struct world {
    struct config_canary config;
    struct canary canary;
    struct arm_counts counts[BOOK_ARMS];
    uint64_t now_us, random;
    double error_rate[BOOK_ARMS];
    uint64_t latency_us[BOOK_ARMS];
    bool ready;
};

static double chance(struct world *world)
{
    world->random ^= world->random << 13, world->random ^= world->random >> 7,
        world->random ^= world->random << 17;
    return (double)(world->random >> 11) * 0x1p-53;
}

/* What gateways do when the weight changes: another split, whose draws are counted from 0. */
static void split_anew(struct world *world)
{
    double weight = canary_weight(&world->canary);
    for (int arm = 0; arm < BOOK_ARMS; arm++) {
        world->counts[arm].lot++;
        world->counts[arm].drawn = 0;
        world->counts[arm].share = arm ? weight : 1 - weight;
    }
}

static struct world *begin(const struct config_canary *config)
{
    struct world *world = calloc(1, sizeof *world);
    world->config = *config;
    world->now_us = 1000 * SECOND;
    world->random = 0x9E3779B97F4A7C15u;
    world->ready = true;
    world->latency_us[0] = world->latency_us[1] = 5000;
    canary_start(&world->canary, &world->config, world->now_us);
    split_anew(world);
    return world;
}

static void serve(struct world *world, int arm, bool bad)
{
    struct arm_counts *counts = &world->counts[arm];
    counts->drawn++;
    counts->requests++;
    counts->bad += bad;
    /* exponential above a floor */
    double spread = (double)world->latency_us[arm] / 2;
    uint64_t latency_us = (uint64_t)(spread - log(1 - chance(world)) * spread);
    latency_counts_observe(&counts->latency, latency_us);
}

static bool judge(struct world *world)
{
    bool changed = canary_judge(&world->canary, world->counts, world->ready, world->now_us);
    if (changed)
        split_anew(world);
    return changed;
}

/* A quarter of a second with this many requests. */
static bool tick(struct world *world, int requests)
{
    double weight = canary_weight(&world->canary);
    for (int i = 0; i < requests; i++) {
        int arm = chance(world) < weight;
        serve(world, arm, chance(world) < world->error_rate[arm]);
    }
    world->now_us += TICK;
    return judge(world);
}

/* Until something changes; at most so many seconds. */
static void run(struct world *world, int seconds)
{
    for (int i = 0; i < 4 * seconds && !tick(world, 100); i++)
        ;
}

static void expect_wait(const struct world *world, const char *words)
{
    struct buf out = {0};
    canary_print_wait(&world->canary, &out);
    cr_expect(out.length >= strlen(words) && !memcmp(out.bytes, words, strlen(words)),
              "waits for \"%.*s\", not \"%s\"", (int)out.length, out.bytes ? out.bytes : "", words);
    buf_clear(&out);
}

#define EXPECT_PHASE(world, name)                                                                            \
    cr_assert_str_eq(canary_phase_name((world)->canary.phase), name, "%s", canary_why(&(world)->canary))

/* --- the way up --- */

Test(canary, a_good_candidate_is_promoted_step_by_step)
{
    struct world *world = begin(&usual);
    world->error_rate[0] = world->error_rate[1] = 0.01;
    cr_assert(canary_weight(&world->canary) == 0, "until it has been seen ready");
    cr_assert(judge(world));
    for (uint32_t step = 0; step < 3; step++) {
        EXPECT_PHASE(world, "running");
        cr_assert(canary_weight(&world->canary) == steps[step]);
        cr_assert_eq(world->canary.step, step);
        uint64_t since = world->now_us;
        run(world, 100);
        cr_assert_geq(world->now_us - since, 10 * SECOND, "the dwell");
    }
    EXPECT_PHASE(world, "promoted");
    cr_assert(canary_weight(&world->canary) == 1);
    world->error_rate[1] = 1;
    run(world, 20);
    EXPECT_PHASE(world, "promoted");
    free(world);
}

Test(canary, its_first_weight_waits_for_a_ready_candidate)
{
    struct world *world = begin(&usual);
    world->ready = false;
    run(world, 60);
    cr_assert(canary_weight(&world->canary) == 0);
    expect_wait(world, "a ready replica");
    world->ready = true;
    cr_assert(tick(world, 100));
    cr_assert(canary_weight(&world->canary) == steps[0]);
    expect_wait(world, "the dwell: 0.0 s of 10.0 s");
    free(world);
}

Test(canary, time_without_a_ready_candidate_is_no_dwell)
{
    struct world *world = begin(&usual);
    judge(world);
    for (int i = 0; i < 4 * 9; i++)
        tick(world, 100);
    world->ready = false;
    run(world, 30);
    cr_assert_eq(world->canary.step, 0);
    cr_assert(canary_weight(&world->canary) == steps[0], "it keeps what it has: who is not ready, spills");
    world->ready = true;
    run(world, 30);
    cr_assert_eq(world->canary.step, 1);
    free(world);
}

Test(canary, a_step_needs_requests_of_the_candidate)
{
    struct world *world = begin(&usual);
    judge(world);
    for (int i = 0; i < 4 * 60; i++)
        cr_assert_not(tick(world, i % 40 == 0 ? 10 : 0));
    expect_wait(world, "requests of the candidate: ");
    run(world, 60);
    cr_assert_eq(world->canary.step, 1);
    cr_assert_geq(world->canary.total[1].n, 50u);
    free(world);
}

Test(canary, before_all_requests_the_margin_is_proven)
{
    struct config_canary config = usual;
    config.errors = 0.005;
    config.min_requests = 0;
    struct world *world = begin(&config);
    judge(world);
    world->error_rate[0] = world->error_rate[1] = 0.05;
    run(world, 11);
    cr_assert_eq(world->canary.step, 1, "not at the first one");
    run(world, 11);
    cr_assert_eq(world->canary.step, 1);
    expect_wait(world, "proof that errors are at most 0.5 % more");
    world->error_rate[0] = 0.2; /* now it is better by far */
    run(world, 100);
    cr_assert_eq(world->canary.step, 2);
    free(world);
}

Test(canary, doubt_holds_a_step)
{
    struct config_canary config = usual;
    config.min_requests = 0;
    struct world *world = begin(&config);
    judge(world);
    for (int i = 0; i < 200; i++) /* one step of evidence at a time, until it is half of what rejects */
        if (draws_log_e(&world->canary.errors) < evidence_limit(0.05, 1.0 / 3) / 2) {
            for (int k = 0; k < 95; k++)
                serve(world, 0, false);
            for (int k = 0; k < 5; k++)
                serve(world, 1, k == 0);
            world->now_us += TICK;
            judge(world);
        }
    EXPECT_PHASE(world, "running");
    cr_assert_eq(world->canary.step, 0);
    world->canary.held_us = config.dwell_us;
    judge(world);
    expect_wait(world, "a gate that is near rejection");
    free(world);
}

/* --- the ways down --- */

Test(canary, more_errors_roll_it_back)
{
    struct world *world = begin(&usual);
    judge(world);
    world->error_rate[0] = 0.01, world->error_rate[1] = 0.2;
    run(world, 100);
    EXPECT_PHASE(world, "rolled_back");
    cr_assert(canary_weight(&world->canary) == 0);
    cr_assert_eq(strncmp(canary_why(&world->canary), "errors: ", 8), 0, "%s", canary_why(&world->canary));
    cr_assert_leq(canary_p_value(&world->canary, CANARY_ERRORS), canary_gate_alpha(&world->canary));
    cr_assert_float_eq(canary_gate_alpha(&world->canary), 0.05 / 3, 1e-12);
    cr_assert_not(tick(world, 100), "it stays");
    free(world);
}

Test(canary, a_slow_tail_rolls_it_back)
{
    struct world *world = begin(&usual);
    judge(world);
    world->latency_us[1] = 15000;
    run(world, 100);
    EXPECT_PHASE(world, "rolled_back");
    cr_assert_eq(strncmp(canary_why(&world->canary), "latency: ", 9), 0, "%s", canary_why(&world->canary));
    free(world);
}

Test(canary, latency_can_be_left_out)
{
    struct config_canary config = usual;
    config.latency_quantile = 0;
    struct world *world = begin(&config);
    judge(world);
    world->latency_us[1] = 15000;
    run(world, 30);
    cr_assert_eq(world->canary.step, 1);
    cr_assert_not(canary_has_gate(&world->canary, CANARY_LATENCY));
    cr_assert_float_eq(canary_gate_alpha(&world->canary), 0.05 / 2, 1e-12);
    cr_assert(canary_p_value(&world->canary, CANARY_LATENCY) == 1);
    free(world);
}

Test(canary, answers_that_differ_from_the_baselines_roll_it_back)
{
    struct config_canary config = usual;
    config.disagreement = 0.05;
    struct world *world = begin(&config);
    judge(world);
    for (int i = 0; i < 30 && world->canary.phase == CANARY_RUNNING; i++) {
        world->counts[1].disagreement.n += 20;
        world->counts[1].disagreement.bad += 4;
        tick(world, 100);
    }
    EXPECT_PHASE(world, "rolled_back");
    cr_assert_eq(strncmp(canary_why(&world->canary), "disagreement: 20 % of ", 22), 0, "%s",
                 canary_why(&world->canary));
    free(world);
}

Test(canary, wrong_shares_void_the_experiment)
{
    struct world *world = begin(&usual);
    judge(world);
    for (int i = 0; i < 100 && world->canary.phase == CANARY_RUNNING; i++) {
        for (int k = 0; k < 100; k++)
            serve(world, k % 5 == 0, false); /* 20 % where 5 % are due */
        world->now_us += TICK;
        judge(world);
    }
    EXPECT_PHASE(world, "stopped");
    cr_assert(canary_weight(&world->canary) == 0);
    free(world);
}

Test(canary, a_request_to_an_arm_without_a_share_is_proof_enough)
{
    struct world *world = begin(&usual);
    world->ready = false;
    judge(world);
    cr_assert_not(tick(world, 100));
    world->counts[1].drawn++;
    cr_assert(tick(world, 0));
    EXPECT_PHASE(world, "stopped");
    free(world);
}

Test(canary, what_no_test_is_needed_for_stops_it_at_once)
{
    static const size_t faults[] = {offsetof(struct arm_counts, crashed),
                                    offsetof(struct arm_counts, contract), offsetof(struct arm_counts, nan)};
    for (int tolerated = 0; tolerated < 3; tolerated += 2) {
        for (size_t i = 0; i < 3; i++) {
            struct config_canary config = usual;
            config.crashes = config.contract = config.nan = (uint32_t)tolerated;
            struct world *world = begin(&config);
            judge(world);
            uint64_t *fault = (uint64_t *)((char *)&world->counts[1] + faults[i]);
            uint64_t *of_baseline = (uint64_t *)((char *)&world->counts[0] + faults[i]);
            *of_baseline += 1000;
            for (int n = 0; n < tolerated; n++) {
                ++*fault;
                cr_assert_not(tick(world, 1), "%d are tolerated", tolerated);
            }
            ++*fault;
            cr_assert(tick(world, 1));
            EXPECT_PHASE(world, "rolled_back");
            cr_assert_eq(strncmp(canary_why(&world->canary), "hard stop: ", 11), 0);
            free(world);
        }
    }
}

Test(canary, at_100_percent_hard_stops_are_left)
{
    struct config_canary config = usual;
    static const double all[] = {1};
    config.steps = all, config.n_steps = 1;
    struct world *world = begin(&config);
    judge(world);
    world->error_rate[1] = 0.5;
    for (int i = 0; i < 20; i++)
        cr_assert_not(tick(world, 100));
    world->counts[1].nan++;
    cr_assert(tick(world, 100));
    EXPECT_PHASE(world, "rolled_back");
    free(world);
}

/* --- people --- */

Test(canary, a_pause_holds_the_weight_and_guards_on)
{
    struct world *world = begin(&usual);
    judge(world);
    run(world, 5);
    uint64_t held = world->canary.held_us;
    cr_assert(canary_pause(&world->canary, "lunch", world->now_us));
    cr_assert_not(canary_pause(&world->canary, "again", world->now_us));
    run(world, 60);
    EXPECT_PHASE(world, "paused");
    cr_assert_str_eq(canary_why(&world->canary), "lunch");
    cr_assert_eq(world->canary.held_us, held);
    cr_assert(canary_weight(&world->canary) == steps[0]);
    cr_assert(canary_resume(&world->canary, "back", world->now_us));
    cr_assert_not(canary_resume(&world->canary, "again", world->now_us));
    run(world, 60);
    cr_assert_eq(world->canary.step, 1);
    cr_assert(canary_pause(&world->canary, "tea", world->now_us));
    world->error_rate[1] = 0.5;
    run(world, 60);
    EXPECT_PHASE(world, "rolled_back");
    free(world);
}

Test(canary, people_decide_from_any_phase)
{
    for (enum canary_phase phase = 0; phase < CANARY_PHASES; phase++) {
        struct world *world = begin(&usual);
        world->canary.phase = phase;
        cr_assert_eq(canary_promote(&world->canary, "sure", world->now_us), phase != CANARY_PROMOTED);
        cr_assert(canary_weight(&world->canary) == 1);
        world->canary.phase = phase;
        cr_assert_eq(canary_rollback(&world->canary, "no\nway\x7f", world->now_us),
                     phase != CANARY_ROLLED_BACK);
        cr_assert(canary_weight(&world->canary) == 0);
        if (phase != CANARY_ROLLED_BACK)
            cr_assert_str_eq(canary_why(&world->canary), "no way ", "on one line");
        cr_assert_eq(canary_resume(&world->canary, "", world->now_us), false);
        free(world);
    }
}

/* --- clocks, books and restarts --- */

Test(canary, a_clock_that_jumps_is_no_dwell)
{
    struct world *world = begin(&usual);
    judge(world);
    tick(world, 1000);
    tick(world, 1000);
    world->now_us += 1000000 * SECOND;
    cr_assert_not(judge(world));
    cr_assert_leq(world->canary.held_us, 6 * SECOND);
    uint64_t held = world->canary.held_us;
    world->now_us -= 1000500 * SECOND;
    cr_assert_not(judge(world));
    cr_assert_eq(world->canary.held_us, held);
    run(world, 6);
    cr_assert_eq(world->canary.step, 1, "and it goes on from there");
    free(world);
}

Test(canary, what_was_counted_before_it_began_is_not_its)
{
    struct world *world = begin(&usual);
    world->error_rate[1] = 1;
    for (int i = 0; i < 1000; i++)
        serve(world, 1, true);
    world->counts[1].nan = world->counts[1].crashed = 7;
    cr_assert(judge(world));
    EXPECT_PHASE(world, "running");
    cr_assert_eq(world->canary.total[1].n, 0);
    free(world);
}

Test(canary, books_that_begin_anew_are_read_from_their_start)
{
    struct world *world = begin(&usual);
    judge(world);
    run(world, 3);
    uint64_t total = world->canary.total[0].n;
    memset(world->counts, 0, sizeof world->counts);
    world->counts[0].began_us = world->counts[1].began_us = 1;
    split_anew(world);
    for (int i = 0; i < 30; i++)
        serve(world, 0, i == 0);
    world->now_us += TICK;
    cr_assert_not(judge(world));
    cr_assert_eq(world->canary.total[0].n, total + 30);
    EXPECT_PHASE(world, "running");
    free(world);
}

Test(canary, an_error_seen_before_its_request_is_kept)
{
    struct world *world = begin(&usual);
    judge(world);
    world->counts[0].bad = 1;
    judge(world);
    cr_assert_eq(world->canary.total[0].bad, 0);
    world->counts[0].requests = 2;
    judge(world);
    cr_assert_eq(world->canary.total[0].bad, 1);
    cr_assert_eq(world->canary.total[0].n, 2);
    judge(world);
    cr_assert_eq(world->canary.total[0].bad, 1, "once");
    free(world);
}

static char *written(const struct canary *canary)
{
    struct buf out = {0};
    canary_write(canary, &out);
    buf_append(&out, "", 1);
    cr_assert_not(out.failed);
    return out.bytes;
}

Test(canary, a_restart_goes_on_where_it_was)
{
    struct world *world = begin(&usual);
    judge(world);
    run(world, 60);
    for (int i = 0; i < 20; i++)
        tick(world, 100);
    canary_pause(&world->canary, "a \"restart\" \\ of Zoë's", world->now_us);
    char *before = written(&world->canary);
    static struct canary after;
    cr_assert(canary_read(&after, &world->config, before, strlen(before), world->now_us));
    char *again = written(&after);
    cr_assert_str_eq(before, again, "nothing is lost on the way");
    cr_assert_eq(after.step, 1);
    cr_assert_eq(after.phase, CANARY_PAUSED);
    for (enum canary_gate gate = 0; gate < CANARY_GATES; gate++)
        cr_assert(canary_p_value(&after, gate) == canary_p_value(&world->canary, gate));

    cr_assert(canary_resume(&after, "", world->now_us));
    world->canary = after;
    memset(world->counts, 0, sizeof world->counts); /* books of another process */
    split_anew(world);
    world->error_rate[1] = 0.3;
    run(world, 60);
    EXPECT_PHASE(world, "rolled_back");
    free(before);
    free(again);
    free(world);
}

Test(canary, other_steps_go_on_from_the_weight)
{
    struct world *world = begin(&usual);
    judge(world);
    run(world, 60);
    cr_assert(canary_weight(&world->canary) == 0.5);
    char *state = written(&world->canary);
    static const double others[] = {0.1, 0.2, 0.4, 0.6, 1};
    struct config_canary config = usual;
    static struct canary after;
    config.steps = others, config.n_steps = 5;
    cr_assert(canary_read(&after, &config, state, strlen(state), 1));
    cr_assert(canary_weight(&after) == 0.4);
    config.errors = 0.1; /* evidence about another margin is none about this one */
    cr_assert(canary_read(&after, &config, state, strlen(state), 1));
    cr_assert(canary_p_value(&after, CANARY_ERRORS) == 1);
    cr_assert(canary_p_value(&after, CANARY_SHARES) == canary_p_value(&world->canary, CANARY_SHARES));
    free(state);
    free(world);
}

Test(canary, a_state_that_is_none_is_refused)
{
    static const char *const damage[][2] = {{"\"canary\":1", "\"canary\":2"},
                                            {"m@new", "m@other"},
                                            {"\"running\"", "\"walking\""},
                                            {"\"weight\":0.05", "\"weight\":5"},
                                            {"\"held_us\":[", "\"held_us\":[-"},
                                            {"\"crashed\":[0]", "\"crashed\":[1e9]"},
                                            {"\"nan\":[0]", "\"nan\":[0,0]"},
                                            {"\"largest\":[", "\"largest\":[nan"},
                                            {"\"disagreement\":[0,0]", "\"disagreement\":[0,1]"},
                                            {"\"shares\":[", "\"shares\":[9"},
                                            {"\"why\":\"started\"", "\"why\":\"started\\\\u00"}};
    struct world *world = begin(&usual);
    static struct canary after;
    judge(world);
    tick(world, 100);
    char *state = written(&world->canary), changed[4096];
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        const char *at = strstr(state, damage[i][0]);
        cr_assert_not_null(at, "%s in %s", damage[i][0], state);
        snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - state), state, damage[i][1],
                 at + strlen(damage[i][0]));
        cr_assert_not(canary_read(&after, &usual, changed, strlen(changed), 1), "%s", changed);
        cr_assert(after.phase == CANARY_RUNNING && canary_weight(&after) == 0, "as if it just began");
    }
    for (size_t length = 0; length < strlen(state); length++)
        cr_assert_not(canary_read(&after, &usual, state, length, 1), "%zu bytes of it", length);
    snprintf(changed, sizeof changed, "%s ", state);
    cr_assert(canary_read(&after, &usual, changed, strlen(changed), 1));
    snprintf(changed, sizeof changed, "%s}", state);
    cr_assert_not(canary_read(&after, &usual, changed, strlen(changed), 1));
    free(state);
    free(world);
}

/* --- what it promises --- */

/*
 * 400 canaries that are as good as their baseline, with a cache that is warm for the baseline alone (so
 * requests that are compared fall to the candidate more often than its weight says), traffic whose errors and
 * latency jump, and steps. At alpha 5 %, 37 stopped ones or more happen with a chance of 1e-4, were each
 * stopped with just 5 %.
 */
Test(canary, good_ones_are_stopped_with_less_than_alpha)
{
    struct config_canary config = usual;
    config.dwell_us = 2 * SECOND;
    config.min_requests = 0;
    int stopped = 0;
    for (int n = 0; n < 400; n++) {
        struct world *world = begin(&config);
        world->random += (uint64_t)n * 0xD1342543DE82EF95u;
        judge(world);
        for (int i = 0; i < 120 && world->canary.phase == CANARY_RUNNING; i++) {
            bool rush = i > 20 && i < 60;
            double weight = canary_weight(&world->canary);
            world->latency_us[0] = world->latency_us[1] = rush ? 20000 : 5000;
            for (int k = 0; k < 200; k++) {
                int arm = chance(world) < weight;
                if (!arm && chance(world) < 0.8)
                    world->counts[arm].drawn++; /* from the cache */
                else
                    serve(world, arm, chance(world) < (rush ? 0.2 : 0.02));
            }
            world->now_us += TICK;
            judge(world);
        }
        stopped += world->canary.phase == CANARY_ROLLED_BACK || world->canary.phase == CANARY_STOPPED;
        free(world);
    }
    cr_assert_lt(stopped, 37, "%d of 400", stopped);
}
