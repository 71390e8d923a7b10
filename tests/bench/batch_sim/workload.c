/* workload: families, and how one of a family is drawn. */
#include "workload.h"

#include <math.h>

#include "dice.h"

const struct family_words families[FAMILY_COUNT] = {
    [STEADY] = {"steady", "Poisson", false},
    [BURSTY] = {"bursty", "MMPP: bursts of 20 to 200 ms at the load, a tenth of it between", false},
    [DIURNAL] = {"diurnal", "a sine between a tenth of the load and all of it", false},
    [STEP] = {"step", "0.2, 1, 0.5 and 1 of the load", false},
    [HETEROGENEOUS] = {"heterogeneous", "replicas whose speeds differ up to threefold", false},
    [PAUSES] = {"pauses", "replicas stop for a tenth to a half of the objective, every two seconds or so",
                false},
    [DRIFT] = {"drift", "slows down to 1.8 of its time, and comes back", false},
    [HEAVY_TAIL] = {"heavy tail", "noise with a Pareto tail", false},
    [SLOWER] = {"slower", "twice as slow from one call to the next, for a while", false},
    [MIXED] = {"mixed", "three objectives, requests of 1 to 8 rows", false},
    [FLASH] = {"flash", "bursts of 1.5 to 3 times the peak, for 100 to 400 ms a second", true},
    [TWICE] = {"2x", "twice the peak", true},
    [TENFOLD] = {"10x", "ten times the peak", true},
};

double slowness(const struct workload *load, double now_us)
{
    double at = now_us / load->duration_us;
    if (load->family == DRIFT)
        return 1 + 0.8 * sin(M_PI * at) * sin(M_PI * at);
    if (load->family == CHANGE)
        return now_us >= SLOW_FROM && now_us < SLOW_UNTIL ? load->change : 1;
    if (load->family == SLOWER)
        return (at > 0.35 && at < 0.6) || at > 0.85 ? 2 : 1;
    return 1;
}

double likely_noise(const struct workload *load)
{
    return exp(2.054 * load->sigma) * (load->tail > 0 ? 1.3 : 1);
}

double peak_of(const struct workload *load)
{
    double rows = ((load->slo_us[0] - OTHER_US - 3 * TRAVEL_US) / 2 / likely_noise(load) / load->slowest -
                   load->fixed_us) /
                  load->row_us;
    rows = rows < 1 ? 1 : rows > load->max_rows ? load->max_rows : floor(rows);
    double mean_us = (load->fixed_us + load->row_us * rows) * load->slowest *
                     exp(load->sigma * load->sigma / 2) * (1 + 1.2 * load->tail);
    double peak = 0;
    for (uint32_t i = 0; i < load->replicas; i++)
        peak += rows / (mean_us * load->speed[i]);
    return peak * (load->family == PAUSES ? 0.88 : 1);
}

static void make_pauses(struct workload *load, uint64_t *dice)
{
    for (uint32_t i = 0; i < load->replicas; i++)
        for (double at = WARM_UP; load->n_pauses[i] < PAUSES_MAX; load->n_pauses[i]++) {
            at += exponential(dice, 2 * SECOND) + load->slo_us[0];
            load->pauses[i][load->n_pauses[i]] =
                (struct pause){at, uniform(dice, 0.1, 0.5) * load->slo_us[0]};
        }
}

static double draw_load(enum family family, uint64_t *dice)
{
    if (family == TWICE || family == TENFOLD)
        return family == TWICE ? 2 : 10;
    if (family == FLASH)
        return uniform(dice, 1.5, 3);
    static const double loads[] = {0.3, 0.5, 0.7, 0.8, 0.9, 0.9};
    return loads[random_bits(dice) % (sizeof loads / sizeof *loads)];
}

void draw(struct workload *load, enum family family, uint64_t seed)
{
    static const double slos[] = {10e3, 20e3, 50e3, 100e3, 200e3};
    static const uint32_t replicas[] = {1, 1, 2, 4, 8}, max_rows[] = {64, 256, 1024};
    uint64_t dice = seed;
    do {
        *load = (struct workload){
            .family = family, .seed = random_bits(&dice), .request_rows = 1, .n_slos = 1, .slowest = 1};
        load->slo_us[0] = slos[random_bits(&dice) % 5];
        load->fixed_us = log_uniform(&dice, 0.01, 0.15) * load->slo_us[0];
        load->row_us = log_uniform(&dice, 0.0005, 0.03) * load->slo_us[0];
        load->sigma = uniform(&dice, 0.02, 0.2);
        load->tail = family == HEAVY_TAIL ? uniform(&dice, 0.002, 0.01) : 0;
        load->replicas = replicas[random_bits(&dice) % 5];
        load->max_rows = max_rows[random_bits(&dice) % 3];
        if (family == HETEROGENEOUS && load->replicas == 1)
            load->replicas = 4;
        for (uint32_t i = 0; i < load->replicas; i++)
            load->speed[i] = family == HETEROGENEOUS ? log_uniform(&dice, 0.6, 1.8) : 1;
        load->slowest = family == DRIFT ? 1.8 : family == SLOWER ? 2 : 1;
        if (family == MIXED) {
            load->n_slos = 3;
            load->slo_us[1] = 3 * load->slo_us[0];
            load->slo_us[2] = 10 * load->slo_us[0];
            load->request_rows = 8;
        }
        load->load = draw_load(family, &dice);
        load->peak = peak_of(load);
        double rows = load->peak * load->load * SECOND;
        load->duration_us = WARM_UP + fmin(10, fmax(2, 40e3 / rows)) * SECOND;
    } while (load->peak * load->load * load->duration_us > 400e3);
    if (family == PAUSES)
        make_pauses(load, &dice);
}
