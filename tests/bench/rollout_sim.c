/*
 * rollout_sim: do the gates of a canary keep their promise, and how soon do they see what is wrong?
 *
 *   rollout_sim [--runs 2000] [--requests 50000] [--threads 2] [--seed N]     all tables, as Markdown
 *   rollout_sim --check [--runs 300] ...    false alarms only; exits 1 if a claim fails, or if the naive
 * z-test that peeks does not fail: then the harness sees nothing
 *
 * Every request is drawn, given to an arm, observed by every gate, and every gate is looked at after it; a
 * run's result is the largest log e that each gate ever had. Runs have their own random numbers, made of the
 * seed and the run's number, so threads change nothing.
 */
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "judge/evidence_draws.h"
#include "judge/evidence_quantiles.h"
#include "judge/evidence_rates.h"
#include "judge/evidence_shares.h"

/* --- random numbers: xoshiro256++, seeded by splitmix64 (Blackman and Vigna) --- */

struct random {
    uint64_t s[4];
};

static void random_seed(struct random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        random->s[i] = z ^ z >> 31;
    }
}

static inline uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static inline uint64_t random_bits(struct random *random)
{
    uint64_t *s = random->s, result = rotate(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3];
    s[2] ^= t, s[3] = rotate(s[3], 45);
    return result;
}

static inline bool random_event(struct random *random, double chance)
{
    return (double)(random_bits(random) >> 11) * 0x1p-53 < chance;
}

/* --- the world --- */

#define STEPS_MAX    4
#define SHADOWED     0.1  /* of the requests are also answered by a shadow */
#define TOLERATED    0.02 /* disagreement with it */
#define P99          0.99
#define LATENCY_BITS 16

/* Heavy-tailed: Lomax with shape 2 (infinite variance) above 5 ms. p50 9 ms, p99 95 ms. */
static uint32_t latency_table[1 << LATENCY_BITS];

static void make_latencies(void)
{
    for (int i = 0; i < 1 << LATENCY_BITS; i++) {
        double u = (i + 0.5) / (1 << LATENCY_BITS);
        latency_table[i] = (uint32_t)(5000 + 10000 * (1 / sqrt(1 - u) - 1));
    }
}

/* A canary's gates, which stand traffic that drifts; then judges that do not, and one that nothing stands. */
enum judge { BY_LOT, TAIL_BY_LOT, SHARES, DISAGREEMENT, GATES, BY_COUNTS = GATES, P99_BAND, NAIVE, JUDGES };
static const char *const judge_names[JUDGES] = {"errors, by lot", "slow tail, by lot", "shares",
                                                "disagreement",   "errors, by counts", "p99",
                                                "naive z-test"};

struct plan {
    const char *name;
    int n_steps;
    double weight[STEPS_MAX]; /* the candidate's; steps are equally long */
};

struct world {
    const char *name;
    double error_rate[2]; /* baseline, candidate */
    double slower;        /* the candidate's latency is this many times the baseline's */
    double disagreement;
    enum judge judges[2]; /* of which the delay is of interest here */
    bool drift;    /* in the last quarter of a run errors are five times as many and all is twice as slow */
    double margin; /* that the judges of errors allow; the rates differ by just as much: the null's border */
};

struct request {
    uint64_t number; /* 0.. */
    int arm;         /* 0 baseline, 1 candidate */
    bool bad, shadowed, disagrees;
    uint64_t latency_us;
};

static struct request draw_request(const struct world *world, double weight, bool rush, struct random *random)
{
    struct request request = {.arm = random_event(random, weight)};
    uint64_t bits = random_bits(random);
    double latency_us = latency_table[bits >> (64 - LATENCY_BITS)] * (request.arm ? world->slower : 1);
    request.latency_us = (uint64_t)(rush ? 2 * latency_us : latency_us);
    request.bad = random_event(random, world->error_rate[request.arm] * (rush ? 5 : 1));
    request.shadowed = (double)(bits & 0xFFFFF) < SHADOWED * 0x100000;
    request.disagrees = request.shadowed && random_event(random, world->disagreement);
    return request;
}

/* --- the gates --- */

#define FLOOR                                                                                                \
    2.9957 /* log(1 / 0.05): the least that any table asks about; below it a largest log e is not kept */

struct gates {
    struct draws errors, tail;
    uint64_t tail_threshold_us,
        next_threshold; /* learned from the baseline's past, at this many requests of it */
    struct tally rates[2], disagreement;
    struct latency_watch p99;
    struct shares shares;
    double shares_headroom;
    double largest[JUDGES];      /* log e; of the z-test log(1 / p) */
    uint64_t crossed_at[JUDGES]; /* requests until `limit`; 0: not yet */
    double limit, margin;
};

static void seen(struct gates *gates, enum judge gate, double log_e, uint64_t requests)
{
    if (log_e <= gates->largest[gate])
        return;
    gates->largest[gate] = log_e;
    if (log_e >= gates->limit && !gates->crossed_at[gate])
        gates->crossed_at[gate] = requests;
}

static void gates_init(struct gates *gates, double weight, double limit, double margin)
{
    memset(gates, 0, sizeof *gates);
    gates->limit = limit, gates->margin = margin;
    for (int gate = 0; gate < JUDGES; gate++)
        gates->largest[gate] = FLOOR;
    draws_init(&gates->errors, margin, weight);
    draws_init(&gates->tail, 0, weight);
    latency_watch_init(&gates->p99, P99, 0, FLOOR);
    if (!shares_init(&gates->shares, (double[]){1 - weight, weight}, 2))
        abort();
    gates->next_threshold = 256;
}

static void gates_reweigh(struct gates *gates, double weight)
{
    draws_reweigh(&gates->errors, weight);
    draws_reweigh(&gates->tail, weight);
    if (!shares_step(&gates->shares, (double[]){1 - weight, weight}, 2))
        abort();
    gates->shares_headroom = 0;
}

static void see_draws(struct gates *gates, enum judge gate, struct draws *draws, int arm, bool bad,
                      uint64_t requests)
{
    draws_observe(draws, arm ? DRAWS_CANDIDATE : DRAWS_BASELINE, bad ? DRAWS_BAD : DRAWS_GOOD);
    if (draws_most(draws) > gates->largest[gate])
        seen(gates, gate, draws_log_e(draws), requests);
}

static void see_latency(struct gates *gates, const struct request *request, uint64_t requests)
{
    struct latency_watch *watch = &gates->p99;
    bool worse = request->arm ? latency_watch_candidate(watch, request->latency_us)
                              : latency_watch_baseline(watch, request->latency_us);
    if (worse) { /* ask again above this, for the largest */
        seen(gates, P99_BAND, latency_worse_log_e(&watch->baseline, &watch->candidate, P99, 0), requests);
        watch->limit = gates->largest[P99_BAND] * (1 + 1e-9) + 1e-9;
        watch->worse = false;
    }
    if (gates->tail_threshold_us)
        see_draws(gates, TAIL_BY_LOT, &gates->tail, request->arm,
                  request->latency_us > gates->tail_threshold_us, requests);
    if (watch->baseline.n >= gates->next_threshold) {
        gates->tail_threshold_us = latency_quantile(&watch->baseline, P99);
        gates->next_threshold += gates->next_threshold / 16;
    }
}

/* A request raises log e by at most log(1 / share): looking again when that could matter is looking every
 * time. */
static void see_share(struct gates *gates, int arm, uint64_t requests)
{
    shares_observe(&gates->shares, (uint32_t)arm, 1);
    gates->shares_headroom -= arm ? -log(gates->shares.share[1]) : -log(gates->shares.share[0]);
    if (gates->shares_headroom > 0)
        return;
    double log_e = shares_log_e(&gates->shares);
    seen(gates, SHARES, log_e, requests);
    gates->shares_headroom = gates->largest[SHARES] - log_e;
}

/* What everybody writes first: two proportions, one-sided, looked at after each request. */
static double naive_log_p(const struct tally *rates)
{
    double n0 = (double)rates[0].n, n1 = (double)rates[1].n, bad0 = (double)rates[0].bad,
           bad1 = (double)rates[1].bad;
    double pooled = (bad0 + bad1) / (n0 + n1);
    if (bad0 + bad1 < 10 || n0 * n1 <= 0)
        return 0;
    double z = (bad1 / n1 - bad0 / n0) / sqrt(pooled * (1 - pooled) * (1 / n0 + 1 / n1));
    return -log(erfc(z / sqrt(2)) / 2);
}

static void see_errors(struct gates *gates, const struct request *request, uint64_t requests)
{
    struct tally *rates = gates->rates;
    rates[request->arm].n++, rates[request->arm].bad += request->bad;
    see_draws(gates, BY_LOT, &gates->errors, request->arm, request->bad, requests);
    if (!request->bad && requests % 64)
        return; /* between failures these two hardly move */
    seen(gates, BY_COUNTS, rates_worse_log_e(rates[0], rates[1], gates->margin), requests);
    seen(gates, NAIVE, naive_log_p(rates), requests);
}

static void gates_see(struct gates *gates, const struct request *request)
{
    uint64_t requests = request->number + 1;
    see_share(gates, request->arm, requests);
    see_errors(gates, request, requests);
    see_latency(gates, request, requests);
    if (!request->shadowed)
        return;
    gates->disagreement.n++, gates->disagreement.bad += request->disagrees;
    if (request->disagrees) /* agreement never raises it */
        seen(gates, DISAGREEMENT, rate_above_log_e(gates->disagreement, TOLERATED, RATE_PRIOR_WIDE),
             requests);
}

/* --- fixed thresholds, polled --- */

/* Once a minute, over that minute's requests of the canary: success < 99 %, or p99 > 1.25 times the
 * baseline's true one. */
#define SUCCESS_LEAST    0.99
#define P99_TOLERATED_US (1.25 * 95000)
#define FLAGGER_FAILURES 5 /* threshold: 5 failed checks stop it; they need not follow each other */
#define ARGO_FAILURES    4 /* failureLimit: 3 may fail */

enum rule { FLAGGER, ARGO, RULES };
static const int rule_failures[RULES] = {FLAGGER_FAILURES, ARGO_FAILURES};

struct thresholds {
    uint64_t per_second, n, bad, slow;
    int failures;
    uint64_t stopped_minute[RULES]; /* 0: not yet */
};

static void thresholds_see(struct thresholds *rule, const struct request *request)
{
    if (request->arm) {
        rule->n++, rule->bad += request->bad;
        rule->slow += (double)request->latency_us > P99_TOLERATED_US;
    }
    if ((request->number + 1) % (rule->per_second * 60))
        return;
    double n = (double)rule->n;
    rule->failures += (double)rule->bad > (1 - SUCCESS_LEAST) * n || (double)rule->slow > (1 - P99) * n;
    for (int each = 0; each < RULES; each++)
        if (rule->failures >= rule_failures[each] && !rule->stopped_minute[each])
            rule->stopped_minute[each] = (request->number + 1) / (rule->per_second * 60);
    rule->n = rule->bad = rule->slow = 0;
}

/* --- runs --- */

#define SPEEDS 2
static const uint64_t speeds[SPEEDS] = {100, 1000}; /* requests a second */

struct outcome {
    double largest[JUDGES];
    uint64_t crossed_at[JUDGES];
    uint64_t stopped_minute[SPEEDS][RULES];
};

struct job {
    const struct world *world;
    const struct plan *plan;
    uint64_t requests, seed;
    double limit;    /* of log e: when does each judge cross it? */
    bool thresholds; /* also run the polled rules; the gates stop once they have told all */
    int first, n, stride;
    struct outcome *outcomes;
};

/* Whether the run has told all that is asked of it: every judge of interest, and so some gate, has rejected.
 */
static bool told(const struct gates *gates, const struct world *world)
{
    return gates->crossed_at[world->judges[0]] && gates->crossed_at[world->judges[1]];
}

static void run_once(const struct job *job, int run, struct gates *gates, struct outcome *outcome)
{
    struct random random;
    struct thresholds rules[SPEEDS] = {{.per_second = speeds[0]}, {.per_second = speeds[1]}};
    const struct plan *plan = job->plan;
    uint64_t step_length = job->requests / (uint64_t)plan->n_steps;
    int step = 0;
    bool gated = true;

    random_seed(&random, job->seed * 1000003 + (uint64_t)run);
    gates_init(gates, plan->weight[0], job->limit, job->world->margin);
    for (uint64_t i = 0; i < job->requests; i++) {
        if (step + 1 < plan->n_steps && i == step_length * (uint64_t)(step + 1))
            gates_reweigh(gates, plan->weight[++step]);
        bool rush = job->world->drift && i >= job->requests / 4 * 3;
        struct request request = draw_request(job->world, plan->weight[step], rush, &random);
        request.number = i;
        if (gated)
            gates_see(gates, &request);
        if (!job->thresholds)
            continue;
        for (int speed = 0; speed < SPEEDS; speed++)
            thresholds_see(&rules[speed], &request);
        gated = gated && !told(gates, job->world);
    }
    memcpy(outcome->largest, gates->largest, sizeof outcome->largest);
    memcpy(outcome->crossed_at, gates->crossed_at, sizeof outcome->crossed_at);
    for (int speed = 0; speed < SPEEDS; speed++)
        memcpy(outcome->stopped_minute[speed], rules[speed].stopped_minute,
               sizeof rules[speed].stopped_minute);
}

static void *run_some(void *argument)
{
    struct job *job = argument;
    struct gates *gates = malloc(sizeof *gates);
    if (!gates)
        abort();
    for (int run = job->first; run < job->n; run += job->stride)
        run_once(job, run, gates, &job->outcomes[run]);
    free(gates);
    return NULL;
}

#define THREADS_MAX 64

static void run_all(struct job job, int threads)
{
    pthread_t thread[THREADS_MAX];
    struct job part[THREADS_MAX];
    for (int i = 0; i < threads; i++) {
        part[i] = job;
        part[i].first = i, part[i].stride = threads;
        if (pthread_create(&thread[i], NULL, run_some, &part[i]))
            abort();
    }
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
}

/* --- tables --- */

struct options {
    int runs, threads;
    uint64_t requests, seed;
    bool check;
};

static const struct plan plans[] = {
    {"50/50", 1, {0.5}}, {"95/5", 1, {0.05}}, {"1, 5, 25, 50 %", 4, {0.01, 0.05, 0.25, 0.5}}};
/* Nothing is wrong with the candidate in any of these. */
static const struct world harmless[] = {
    {"0", {0, 0}, 1, TOLERATED, {0}, false, 0},
    {"0.1 %", {0.001, 0.001}, 1, TOLERATED, {0}, false, 0},
    {"1 %", {0.01, 0.01}, 1, TOLERATED, {0}, false, 0},
    {"20 %", {0.2, 0.2}, 1, TOLERATED, {0}, false, 0},
    {"0.1 %, 0.6 %, margin 0.5 %", {0.001, 0.006}, 1, TOLERATED, {0}, false, 0.005},
    {"1 %, 2 %, margin 1 %", {0.01, 0.02}, 1, TOLERATED, {0}, false, 0.01},
    {"0.5 %, then 2.5 %, and slower", {0.005, 0.005}, 1, TOLERATED, {0}, true, 0},
};

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static int alarms(const struct outcome *outcomes, int runs, enum judge from, enum judge to, double limit)
{
    int n = 0;
    for (int run = 0; run < runs; run++) {
        bool alarm = false;
        for (int gate = (int)from; gate < (int)to; gate++)
            alarm |= outcomes[run].largest[gate] >= limit;
        n += alarm;
    }
    return n;
}

/* P(Binomial(n, p) > k) */
static double binomial_tail(int n, double p, int k)
{
    double sum = 0;
    for (int i = k + 1; i <= n; i++)
        sum += exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) + i * log(p) + (n - i) * log1p(-p));
    return sum;
}

/* All comparisons of a --check together fail with a chance below 1e-6 if every claim holds: 21 lines of 8. */
#define CHANCE_OF_ONE (1e-6 / 168)

/* The fewest alarms that a claim which holds exceeds with less than that chance. */
static int alarms_allowed(int runs, double alpha)
{
    int k = 0;
    while (binomial_tail(runs, alpha, k) >= CHANCE_OF_ONE)
        k++;
    return k;
}

static struct outcome *outcomes_new(int runs)
{
    struct outcome *outcomes = calloc((size_t)runs, sizeof *outcomes);
    if (!outcomes)
        abort();
    return outcomes;
}

static bool within(const char *what, int n, int runs, double alpha)
{
    int allowed = alarms_allowed(runs, alpha);
    if (n > allowed)
        fprintf(stderr, "FAILED: %s: %d of %d runs at alpha %g, more than the %d that chance explains\n",
                what, n, runs, alpha, allowed);
    return n <= allowed;
}

/* Whether a judge promises anything in this world. */
static bool promises(enum judge judge, const struct world *world)
{
    return judge < GATES || (judge != NAIVE && !world->drift);
}

/* In this world the naive z-test must fail, or the harness would not see a gate that peeks. */
static bool naive_must_fail(const struct world *world)
{
    return world->error_rate[0] >= 0.01 && !world->drift && world->margin <= 0;
}

/* One line of the table of false alarms; false when a claim fails. */
static bool false_alarm_line(int runs, const struct world *world, const struct plan *plan,
                             const struct outcome *outcomes)
{
    bool sound = true;
    printf("| %s | %s ", world->name, plan->name);
    for (int percent = 5; percent >= 1; percent -= 4) {
        double alpha = percent / 100.0;
        int n = alarms(outcomes, runs, 0, GATES, evidence_limit(alpha, 1.0 / GATES));
        printf("| %.2f %% ", 100.0 * n / runs);
        sound = within("any gate", n, runs, alpha) && sound;
    }
    for (int judge = 0; judge < JUDGES; judge++) {
        int n = alarms(outcomes, runs, (enum judge)judge, (enum judge)(judge + 1), evidence_limit(0.05, 1));
        printf("| %.2f %% ", 100.0 * n / runs);
        if (promises((enum judge)judge, world))
            sound = within(judge_names[judge], n, runs, 0.05) && sound;
        if (judge == NAIVE && naive_must_fail(world) && n <= alarms_allowed(runs, 0.05)) {
            fprintf(stderr,
                    "FAILED: the naive z-test kept 5 %%: this harness would not see a gate that peeks\n");
            sound = false;
        }
    }
    printf("|\n");
    fflush(stdout);
    return sound;
}

static bool false_alarms(const struct options *options)
{
    bool sound = true;
    struct outcome *outcomes = outcomes_new(options->runs);
    printf("## False alarms: %d runs of %llu requests, looked at after every request\n\n", options->runs,
           (unsigned long long)options->requests);
    printf("\"Any\": of the four gates, at alpha / 4 each. Then each judge alone at alpha 5 %%.\n\n");
    printf("| errors | weights | any, alpha 5 %% | any, alpha 1 %% ");
    for (int judge = 0; judge < JUDGES; judge++)
        printf("| %s ", judge_names[judge]);
    printf("|\n|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (int i = 0; i < COUNT(harmless); i++) {
        for (int each = 0; each < COUNT(plans); each++) {
            struct job job = {.world = &harmless[i],
                              .plan = &plans[each],
                              .requests = options->requests,
                              .seed = options->seed + (uint64_t)(10 * i + each),
                              .limit = EVIDENCE_LOG_MOST,
                              .n = options->runs,
                              .outcomes = outcomes};
            run_all(job, options->threads);
            sound = false_alarm_line(options->runs, &harmless[i], &plans[each], outcomes) && sound;
        }
    }
    free(outcomes);
    return sound;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* "median / p90" of what happened, with never as infinite; how many it happened to where not to all. */
static void print_delay(double *values, int n, const char *format)
{
    double at[2];
    int happened = 0;
    for (int i = 0; i < n; i++)
        happened += isfinite(values[i]);
    qsort(values, (size_t)n, sizeof *values, by_size);
    at[0] = values[(n - 1) / 2], at[1] = values[(n - 1) * 9 / 10];
    printf("| ");
    for (int i = 0; i < 2; i++) {
        if (isfinite(at[i]))
            printf(format, at[i]);
        else
            printf("never");
        printf(i ? " " : " / ");
    }
    if (happened < n && happened)
        printf("(%.1f %% of runs) ", 100.0 * happened / n);
}

static double first_gate(const struct outcome *outcome)
{
    double first = INFINITY;
    for (int gate = 0; gate < GATES; gate++)
        if (outcome->crossed_at[gate])
            first = fmin(first, (double)outcome->crossed_at[gate]);
    return first;
}

#define HORIZON_MINUTES 20
#define DETECTION_RUNS  200

static void print_minutes(const struct outcome *outcomes, int runs, int speed, double *values)
{
    for (int run = 0; run < runs; run++) {
        double minutes = first_gate(&outcomes[run]) / (double)(speeds[speed] * 60);
        values[run] = minutes <= HORIZON_MINUTES ? minutes : INFINITY;
    }
    print_delay(values, runs, "%.1f");
    for (int rule = 0; rule < RULES; rule++) {
        for (int run = 0; run < runs; run++) {
            uint64_t minute = outcomes[run].stopped_minute[speed][rule];
            values[run] = minute && minute <= HORIZON_MINUTES ? (double)minute : INFINITY;
        }
        print_delay(values, runs, "%.0f");
    }
}

static void print_requests(const struct outcome *outcomes, int runs, const struct world *world,
                           double *values)
{
    for (int run = 0; run < runs; run++)
        values[run] = first_gate(&outcomes[run]);
    print_delay(values, runs, "%.0f");
    for (int i = 0; i < 2; i++) {
        for (int run = 0; run < runs; run++) {
            uint64_t crossed_at = outcomes[run].crossed_at[world->judges[i]];
            values[run] = crossed_at ? (double)crossed_at : INFINITY;
        }
        print_delay(values, runs, "%.0f");
    }
}

static const struct world worse[] = {
    {"A/A, errors 1 %", {0.01, 0.01}, 1, 0.01, {BY_LOT, BY_COUNTS}, false, 0},
    {"A/A, errors 0.5 %", {0.005, 0.005}, 1, 0.01, {BY_LOT, BY_COUNTS}, false, 0},
    {"errors 1 % -> 2 %", {0.01, 0.02}, 1, 0.01, {BY_LOT, BY_COUNTS}, false, 0},
    {"errors 0.1 % -> 0.5 %", {0.001, 0.005}, 1, 0.01, {BY_LOT, BY_COUNTS}, false, 0},
    {"latency +20 %", {0.001, 0.001}, 1.2, 0.01, {TAIL_BY_LOT, P99_BAND}, false, 0},
    {"latency +50 %", {0.001, 0.001}, 1.5, 0.01, {TAIL_BY_LOT, P99_BAND}, false, 0},
    {"10 % disagreement, a tenth shadowed", {0.001, 0.001}, 1, 0.1, {DISAGREEMENT, DISAGREEMENT}, false, 0},
};

static void detections(const struct options *options)
{
    int runs = options->runs < DETECTION_RUNS ? options->runs : DETECTION_RUNS;
    struct outcome *outcomes = outcomes_new(runs);
    double *values = malloc((size_t)runs * sizeof *values);
    if (!values)
        abort();
    printf("\n## How soon: median / 90th percentile of %d runs\n\n", runs);
    printf(
        "The four gates share alpha 5 %%; the first that rejects counts. Minutes: of %d; beyond is never.\n\n"
        "| what | weights | requests, gates | by lot alone | by counts alone | min at 100/s, gates "
        "| Flagger-style | Argo-style | min at 1000/s, gates | Flagger-style | Argo-style |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|\n",
        HORIZON_MINUTES);
    for (int i = 0; i < COUNT(worse); i++) {
        for (int each = 0; each < 2; each++) {
            struct job job = {.world = &worse[i],
                              .plan = &plans[each],
                              .requests = speeds[SPEEDS - 1] * 60 * HORIZON_MINUTES,
                              .seed = options->seed + (uint64_t)(1000 + 10 * i + each),
                              .limit = evidence_limit(0.05, 1.0 / GATES),
                              .thresholds = true,
                              .n = runs,
                              .outcomes = outcomes};
            run_all(job, options->threads);
            printf("| %s | %s ", worse[i].name, plans[each].name);
            print_requests(outcomes, runs, &worse[i], values);
            for (int speed = 0; speed < SPEEDS; speed++)
                print_minutes(outcomes, runs, speed, values);
            printf("|\n");
            fflush(stdout);
        }
    }
    free(values);
    free(outcomes);
}

static bool parse(int argc, char **argv, struct options *options)
{
    bool runs_given = false;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(argv[i], "--check") == 0) {
            options->check = true;
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--runs") == 0)
            options->runs = atoi(value), runs_given = true;
        else if (strcmp(argv[i - 1], "--requests") == 0)
            options->requests = strtoull(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--threads") == 0)
            options->threads = atoi(value);
        else if (strcmp(argv[i - 1], "--seed") == 0)
            options->seed = strtoull(value, NULL, 10);
        else
            return false;
    }
    if (options->check && !runs_given)
        options->runs = 300;
    return options->runs > 0 && options->threads > 0 && options->threads <= THREADS_MAX &&
           options->requests >= 1000;
}

int main(int argc, char **argv)
{
    struct options options = {.runs = 2000, .threads = 2, .requests = 50000, .seed = 20220401};
    if (!parse(argc, argv, &options)) {
        fprintf(stderr, "rollout_sim [--check] [--runs N] [--requests N] [--threads 1..%d] [--seed N]\n",
                THREADS_MAX);
        return 2;
    }
    make_latencies();
    printf("Seed %llu.\n\n", (unsigned long long)options.seed);
    bool sound = false_alarms(&options);
    if (!options.check)
        detections(&options);
    printf("\n%s\n", sound ? "Every claim held." : "A claim failed: see above.");
    return sound ? 0 : 1;
}
