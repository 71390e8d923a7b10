/* changes: how soon a change of the model's speed is followed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "reports.h"
#include "simulate.h"

/* Until when, after `from`, windows were seen in which less than 95 % were in time; in seconds. */
static double settled_s(const struct score *score, double from_us, double until_us)
{
    int first = (int)(from_us / WINDOW), last = (int)(until_us / WINDOW) - 1;
    while (last >= first && (double)score->kept[last] >= 0.95 * (double)score->came[last])
        last--;
    return (last + 1 - first) * WINDOW / SECOND;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_settled(const char *what, double *seconds, uint64_t n)
{
    qsort(seconds, n, sizeof *seconds, by_size);
    printf("    %-22s %5.1f %5.1f %5.1f %5.1f\n", what, seconds[n / 2], seconds[n * 9 / 10],
           seconds[n * 99 / 100], seconds[n - 1]);
}

/* Steady at 0.7 of what the model can while it is slow, so that all could be in time, before and after. */
static void follow_change(const struct options *options, double change, const struct policy *policy,
                          double *slower, double *faster)
{
    static struct workload load;
    uint64_t seed = options->seed * 1000003;
    for (uint64_t n = 0; n < options->workloads; seed++) {
        draw(&load, STEADY, seed);
        load.family = CHANGE;
        load.change = load.slowest = change;
        load.load = 0.7;
        load.peak = peak_of(&load);
        load.duration_us = CHANGE_END + load.slo_us[0];
        double rows = load.peak * load.load * load.duration_us;
        bool is_possible = load.row_us + load.fixed_us < 0.4 * load.slo_us[0] / likely_noise(&load) / change;
        if (!is_possible || rows > 400e3 || load.peak * load.load * WINDOW < 20)
            continue;
        struct score score = {0};
        simulate(&load, policy, &score);
        slower[n] = settled_s(&score, SLOW_FROM, SLOW_UNTIL);
        faster[n++] = settled_s(&score, SLOW_UNTIL, CHANGE_END);
    }
}

int measure_changes(const struct options *options)
{
    int failures = 0;
    static const double changes[] = {1.5, 2, 3};
    double *slower = calloc(options->workloads, sizeof *slower);
    double *faster = calloc(options->workloads, sizeof *faster);
    for (size_t i = 0; slower && faster && i < sizeof changes / sizeof *changes; i++) {
        printf("\n%.1f times as slow for 3 s: seconds until 95 %% are in time and stay so\n", changes[i]);
        printf("    %-22s %5s %5s %5s %5s\n", "", "p50", "p90", "p99", "most");
        for (int p = FIXED; p < POLICIES; p++) {
            char what[32];
            follow_change(options, changes[i], &policies[p], slower, faster);
            snprintf(what, sizeof what, "%s, slower", policies[p].name);
            print_settled(what, slower, options->workloads);
            snprintf(what, sizeof what, "%s, as before", policies[p].name);
            print_settled(what, faster, options->workloads);
            if (options->check && p == ADAPTIVE && changes[i] <= 2) {
                uint64_t at = options->workloads * 9 / 10;
                expect(slower[at] <= 1, "a slower model is followed within a second", STEADY, slower[at],
                       &failures);
                expect(faster[at] <= 1, "a model that recovers is, too", STEADY, faster[at], &failures);
            }
        }
    }
    free(slower);
    free(faster);
    return failures;
}
