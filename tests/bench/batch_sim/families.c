/* families: every policy over workloads of every family, and a table of each. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "reports.h"
#include "simulate.h"

void expect(bool holds, const char *what, enum family family, double got, int *failures)
{
    if (holds)
        return;
    printf("NOT: %s: %s (%.4f)\n", families[family].name, what, got);
    ++*failures;
}

/* --- sums --- */

/* Of one family and policy. */
struct summary {
    uint32_t workloads, kept;            /* kept: with at least 99 % in time */
    double attainment, least_attainment; /* rows in time of rows offered: mean, and of the worst workload */
    double goodput;                      /* rows in time a second, of the peak: mean */
    double least_goodput;
    double admitted; /* rows in time of those not refused: mean */
    double p99;      /* latency of answered rows, of the objective: mean */
    double batch;
};

static double quantile_of(const struct score *score, double q)
{
    uint64_t all = 0, below = 0;
    for (int i = 0; i <= LATENCY_BINS; i++)
        all += score->latency[i];
    for (int i = 0; i <= LATENCY_BINS; i++)
        if ((double)(below += score->latency[i]) >= q * (double)all)
            return (i + 1) / 100.0;
    return 0;
}

static void sum_up(struct summary *sum, const struct workload *load, const struct score *score)
{
    double attainment = score->offered ? (double)score->in_time / (double)score->offered : 1;
    double goodput = (double)score->in_time / score->us / load->peak;
    uint64_t kept = score->in_time + score->late;
    sum->least_attainment =
        sum->workloads && sum->least_attainment < attainment ? sum->least_attainment : attainment;
    sum->least_goodput = sum->workloads && sum->least_goodput < goodput ? sum->least_goodput : goodput;
    sum->workloads++;
    sum->kept += attainment >= 0.99;
    sum->attainment += attainment;
    sum->goodput += goodput;
    sum->admitted += kept ? (double)score->in_time / (double)kept : 1;
    sum->p99 += quantile_of(score, 0.99);
    sum->batch += score->batches ? (double)score->batched_rows / (double)score->batches : 0;
}

/* --- the tables --- */

static void print_family(enum family family, const struct summary *sums)
{
    double n = sums[0].workloads;
    if (!sums[0].workloads)
        return;
    printf("\n%s: %s; %u workloads\n", families[family].name, families[family].what, sums[0].workloads);
    printf("  %-9s %9s %9s %9s %9s %9s %9s %9s %9s %7s\n", "policy", "attained", "worst", "99 %", "of oracle",
           "of peak", "worst", "admitted", "p99/SLO", "batch");
    for (int i = 0; i < POLICIES; i++) {
        const struct summary *sum = &sums[i];
        printf("  %-9s %8.2f%% %8.2f%% %8.0f%% %9.3f %9.3f %9.3f %8.2f%% %9.2f %7.1f\n", policies[i].name,
               100 * sum->attainment / n, 100 * sum->least_attainment, 100 * sum->kept / n,
               sum->goodput / sums[ORACLE].goodput, sum->goodput / n, sum->least_goodput,
               100 * sum->admitted / n, sum->p99 / n, sum->batch / n);
    }
}

static void check_family(enum family family, const struct summary *sums, int *failures)
{
    double n = sums[0].workloads;
    const struct summary *ours = &sums[ADAPTIVE];
    if (!families[family].is_overload)
        expect(ours->attainment / n >= 0.99, "adaptive keeps 99 % up to 90 % of peak", family,
               ours->attainment / n, failures);
    if (family == BURSTY || family == FLASH) {
        expect(ours->attainment >= sums[FIXED].attainment, "adaptive keeps as many as fixed", family,
               ours->attainment / n, failures);
        expect(ours->attainment >= sums[AIMD].attainment, "adaptive keeps as many as aimd", family,
               ours->attainment / n, failures);
    }
    if (family == TWICE || family == TENFOLD) {
        expect(ours->goodput / n >= 0.95, "goodput of 95 % of peak", family, ours->goodput / n, failures);
        expect(ours->p99 / n <= 1, "p99 of admitted rows within the objective", family, ours->p99 / n,
               failures);
    }
}

/* --- families, in turns --- */

static void print_workload(const struct workload *load, uint64_t number)
{
    printf("%s %" PRIu64 ": slo %.0f a %.0f b %.1f sigma %.2f max %u replicas %u load %.2f peak %.0f/s:",
           families[load->family].name, number, load->slo_us[0], load->fixed_us, load->row_us, load->sigma,
           load->max_rows, load->replicas, load->load, load->peak * SECOND);
}

static void try_all(const struct workload *load, struct summary *sums, bool each)
{
    for (int p = 0; p < POLICIES; p++) {
        struct score score = {0};
        simulate(load, &policies[p], &score);
        sum_up(&sums[p], load, &score);
        if (each)
            printf(" %s %.4f/%.3f", policies[p].name, (double)score.in_time / (double)score.offered,
                   (double)score.in_time / score.us / load->peak);
    }
    if (each)
        puts("");
}

/* The families that are not asked for more than the peak, as one. */
static void print_total(struct summary sums[FAMILY_COUNT][POLICIES])
{
    printf("\nall up to 0.9 of the peak\n  %-9s %9s %9s %9s\n", "policy", "attained", "worst", "99 %");
    for (int p = 0; p < POLICIES; p++) {
        struct summary total = {.least_attainment = 1};
        for (int family = 0; family < FAMILY_COUNT; family++) {
            const struct summary *sum = &sums[family][p];
            if (families[family].is_overload || !sum->workloads)
                continue;
            total.workloads += sum->workloads;
            total.kept += sum->kept;
            total.attainment += sum->attainment;
            total.least_attainment = fmin(total.least_attainment, sum->least_attainment);
        }
        if (total.workloads)
            printf("  %-9s %8.2f%% %8.2f%% %4u of %u\n", policies[p].name,
                   100 * total.attainment / total.workloads, 100 * total.least_attainment, total.kept,
                   total.workloads);
    }
}

int compare_policies(const struct options *options)
{
    int failures = 0;
    static struct summary sums[FAMILY_COUNT][POLICIES];
    static struct workload load;
    for (uint64_t i = 0; i < options->workloads; i++) {
        enum family family = (enum family)(i % FAMILY_COUNT);
        if (options->only && strcmp(options->only, families[family].name) != 0)
            continue;
        draw(&load, family, options->seed * 1000003 + i);
        if (options->each)
            print_workload(&load, i);
        try_all(&load, sums[family], options->each);
    }
    for (int family = 0; family < FAMILY_COUNT; family++) {
        print_family((enum family)family, sums[family]);
        if (options->check && sums[family][0].workloads)
            check_family((enum family)family, sums[family], &failures);
    }
    print_total(sums);
    return failures;
}
