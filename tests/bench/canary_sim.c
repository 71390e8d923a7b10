/*
 * canary_sim: canaries as they are shipped (judge/canary.c, its own steps and weights), in simulated traffic.
 * rollout_sim judges the judges one by one, after every request; here the state machine drives, a block at a
 * time.
 *
 *   canary_sim [--runs 2000] [--seed N]     both tables, as Markdown
 *   canary_sim --check [--runs 200]         exits 1 if good canaries are stopped more often than alpha allows
 *
 * 400 requests a second, judged four times a second, 50,000 requests a run. The baseline's cache is warm:
 * four of five of its requests are answered from it. The candidate's is cold.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "judge/canary.h"

#define ALPHA     0.05
#define PER_BLOCK 100
#define BLOCKS    500
#define BLOCK_US  250000
#define WARM      0.8  /* of the baseline's requests are in its cache */
#define SHADOWED  0.1  /* of all rows */
#define TOLERATED 0.02 /* disagreement */

struct world {
    const char *name;
    double error_rate[BOOK_ARMS], margin, slower, disagreement;
    bool
        drift; /* from the middle to three quarters errors are five times as many, and all is twice as slow */
};

static const struct world good[] = {
    {"0", {0, 0}, 0.005, 1, TOLERATED, false},
    {"0.1 %", {0.001, 0.001}, 0.005, 1, TOLERATED, false},
    {"1 %", {0.01, 0.01}, 0.005, 1, TOLERATED, false},
    {"20 %", {0.2, 0.2}, 0.02, 1, TOLERATED, false},
    {"1 %, 1.5 %, margin 0.5 %", {0.01, 0.015}, 0.005, 1, TOLERATED, false},
    {"1 %, 20 % slower, which is the margin", {0.01, 0.01}, 0.005, 1.2, TOLERATED, false},
    {"1 %, then 5 %, and slower", {0.01, 0.01}, 0.005, 1, TOLERATED, true},
};
static const struct world bad[] = {
    {"errors 1 % -> 3 %", {0.01, 0.03}, 0.005, 1, 0.01, false},
    {"errors 0.1 % -> 5 %", {0.001, 0.05}, 0.005, 1, 0.01, false},
    {"latency doubled", {0.001, 0.001}, 0.005, 2, 0.01, false},
    {"10 % disagreement", {0.001, 0.001}, 0.005, 1, 0.1, false},
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016. */
static double chance(uint64_t *state)
{
    *state ^= *state >> 12, *state ^= *state << 25, *state ^= *state >> 27;
    return (double)(*state * 0x2545F4914F6CDD1Du >> 11) * 0x1p-53;
}

struct run {
    const struct world *world;
    struct canary canary;
    struct arm_counts counts[BOOK_ARMS];
    uint64_t random, requests;
};

static void split_anew(struct run *run)
{
    double weight = canary_weight(&run->canary);
    for (int arm = 0; arm < BOOK_ARMS; arm++) {
        run->counts[arm].lot++;
        run->counts[arm].drawn = 0;
        run->counts[arm].share = arm ? weight : 1 - weight;
    }
}

/* Lomax, shape 2, above 5 ms: p50 9 ms, p99 95 ms, infinite variance. */
static uint64_t latency_us(struct run *run, int arm, bool rush)
{
    double us = 5000 + 10000 * (1 / sqrt(1 - chance(&run->random)) - 1);
    return (uint64_t)(us * (arm ? run->world->slower : 1) * (rush ? 2 : 1));
}

static void serve(struct run *run, int arm, bool rush)
{
    const struct world *world = run->world;
    struct arm_counts *counts = &run->counts[arm];
    counts->drawn++;
    if (chance(&run->random) < SHADOWED) {
        run->counts[1].disagreement.n++;
        run->counts[1].disagreement.bad += chance(&run->random) < world->disagreement;
    }
    if (!arm && chance(&run->random) < WARM)
        return;
    counts->requests++;
    counts->bad += chance(&run->random) < world->error_rate[arm] * (rush ? 5 : 1);
    latency_counts_observe(&counts->latency, latency_us(run, arm, rush));
}

static void run_canary(struct run *run, const struct config_canary *config, uint64_t seed)
{
    const struct world *world = run->world;
    uint64_t now_us = 1;
    memset(run, 0, sizeof *run);
    run->world = world;
    run->random = (seed + 1) * 0x9E3779B97F4A7C15u;
    canary_start(&run->canary, config, now_us);
    split_anew(run);
    for (int block = 0; block < BLOCKS && run->canary.phase == CANARY_RUNNING; block++) {
        double weight = canary_weight(&run->canary);
        bool rush = world->drift && block >= BLOCKS / 2 && block < BLOCKS / 4 * 3;
        for (int i = 0; i < PER_BLOCK; i++)
            serve(run, chance(&run->random) < weight, rush);
        run->requests += PER_BLOCK;
        if (canary_judge(&run->canary, run->counts, true, now_us += BLOCK_US))
            split_anew(run);
    }
}

struct tally_of_runs {
    int stopped, promoted, by_gate[CANARY_GATES];
};

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* at: requests until it was stopped, sorted; those that were not come last. */
static struct tally_of_runs run_all(const struct world *world, int runs, uint64_t seed, uint64_t *at)
{
    static const double steps[] = {0.01, 0.05, 0.25, 0.5, 1};
    static const struct config_version versions[BOOK_ARMS] = {{.full_name = "m@old"}, {.full_name = "m@new"}};
    const struct config_canary config = {.baseline = &versions[0],
                                         .candidate = &versions[1],
                                         .steps = steps,
                                         .n_steps = COUNT(steps),
                                         .dwell_us = 20 * 1000000,
                                         .min_requests = 20,
                                         .alpha = ALPHA,
                                         .errors = world->margin,
                                         .latency_quantile = 0.99,
                                         .latency_slower = 0.2,
                                         .disagreement = TOLERATED};
    struct tally_of_runs tally = {0};
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        abort();
    for (int i = 0; i < runs; i++) {
        run->world = world;
        run_canary(run, &config, seed * 1000003 + (uint64_t)i);
        bool stopped = run->canary.phase == CANARY_ROLLED_BACK || run->canary.phase == CANARY_STOPPED;
        at[i] = stopped ? run->requests : UINT64_MAX;
        tally.stopped += stopped;
        tally.promoted += run->canary.phase == CANARY_PROMOTED;
        for (enum canary_gate gate = 0; gate < CANARY_GATES; gate++)
            tally.by_gate[gate] += canary_p_value(&run->canary, gate) <= canary_gate_alpha(&run->canary);
    }
    free(run);
    qsort(at, (size_t)runs, sizeof *at, by_size);
    return tally;
}

/* The fewest stops out of n that a chance of ALPHA each exceeds with less than 1e-7. */
static int allowed(int n)
{
    int k = -1;
    double tail = 1;
    while (tail >= 1e-7) {
        k++;
        tail -=
            exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(ALPHA) + (n - k) * log1p(-ALPHA));
    }
    return k;
}

static void print_row(const struct world *world, const struct tally_of_runs *tally, int runs)
{
    printf("| %s | %.2f %% | %.1f %% ", world->name, 100.0 * tally->stopped / runs,
           100.0 * tally->promoted / runs);
    for (int gate = 0; gate < CANARY_GATES; gate++)
        printf("| %.2f %% ", 100.0 * tally->by_gate[gate] / runs);
}

static bool good_ones(int runs, uint64_t seed, uint64_t *at)
{
    bool sound = true;
    printf("| errors | stopped, alpha 5 %% | promoted | errors | latency | disagreement | shares |\n"
           "|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < COUNT(good); i++) {
        struct tally_of_runs tally = run_all(&good[i], runs, seed + i, at);
        print_row(&good[i], &tally, runs);
        printf("|\n");
        fflush(stdout);
        if (tally.stopped > allowed(runs)) {
            fprintf(
                stderr,
                "FAILED: %s: %d of %d good canaries were stopped, more than the %d that chance explains\n",
                good[i].name, tally.stopped, runs, allowed(runs));
            sound = false;
        }
    }
    return sound;
}

static void print_at(uint64_t requests)
{
    if (requests == UINT64_MAX)
        printf("never");
    else
        printf("%llu", (unsigned long long)requests);
}

static bool bad_ones(int runs, uint64_t seed, uint64_t *at)
{
    bool sound = true;
    printf("\n| what | stopped | promoted | errors | latency | disagreement | shares | requests until: "
           "median | p90 |\n"
           "|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct tally_of_runs tally = run_all(&bad[i], runs, seed + 100 + i, at);
        print_row(&bad[i], &tally, runs);
        printf("| ");
        print_at(at[(runs - 1) / 2]);
        printf(" | ");
        print_at(at[(runs - 1) * 9 / 10]);
        printf(" |\n");
        fflush(stdout);
        sound = sound && tally.stopped * 10 >= runs * 9 && tally.promoted * 20 <= runs;
    }
    if (!sound)
        fprintf(stderr, "FAILED: bad canaries were let through\n");
    return sound;
}

int main(int argc, char **argv)
{
    int runs = 2000;
    uint64_t seed = 20220401;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--check"))
            runs = 200;
        else if (!strcmp(argv[i], "--runs") && i + 1 < argc)
            runs = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else
            runs = 0;
    }
    uint64_t *at = runs > 0 ? calloc((size_t)runs, sizeof *at) : NULL;
    if (!at) {
        fprintf(stderr, "canary_sim [--check] [--runs N] [--seed N]\n");
        return 2;
    }
    printf("%d runs of up to %d requests; seed %llu.\n\n", runs, BLOCKS * PER_BLOCK,
           (unsigned long long)seed);
    bool sound = good_ones(runs, seed, at);
    sound = bad_ones(runs, seed, at) && sound;
    free(at);
    return sound ? 0 : 1;
}
