/* evidence_draws: eight bets on how much worse the candidate is, each against the null nearest to it. */
#include "judge/evidence_draws.h"

#include <math.h>
#include <stdbool.h>

#include "judge/evidence_rates.h"

static const double odds_ratios[DRAWS_BETS] = {1.25, 1.5, 2, 3, 5, 10, 30, 100};

#define PRIOR_BAD   0.5
#define LEARN_AFTER 16 /* a sixteenth more */
#define RATE_LEAST  1e-12

/* A request's chance of each outcome, by arm. */
struct rates {
    double baseline, candidate;
};

static double baseline_rate(const struct draws *draws)
{
    return ((double)draws->baseline.bad + PRIOR_BAD) /
           ((double)draws->baseline.n + PRIOR_BAD / DRAWS_PRIOR_RATE);
}

static double expectation(const double payoff[DRAWS_ARMS][DRAWS_OUTCOMES], double weight, struct rates truth)
{
    return (1 - weight) * (truth.baseline * payoff[DRAWS_BASELINE][DRAWS_BAD] +
                           (1 - truth.baseline) * payoff[DRAWS_BASELINE][DRAWS_GOOD]) +
           weight * (truth.candidate * payoff[DRAWS_CANDIDATE][DRAWS_BAD] +
                     (1 - truth.candidate) * payoff[DRAWS_CANDIDATE][DRAWS_GOOD]);
}

/* The largest over the null: it is linear, so it is that of a corner of the polygon. */
static double worst_expectation(const double payoff[DRAWS_ARMS][DRAWS_OUTCOMES], double weight, double margin)
{
    const struct rates corners[] = {{0, 0}, {0, margin}, {1 - margin, 1}, {1, 1}, {1, 0}};
    double worst = 0;
    for (unsigned i = 0; i < sizeof corners / sizeof *corners; i++)
        worst = fmax(worst, expectation(payoff, weight, corners[i]));
    return worst;
}

static void lay_no_bet(struct draws *draws, int bet)
{
    for (int arm = 0; arm < DRAWS_ARMS; arm++)
        for (int outcome = 0; outcome < DRAWS_OUTCOMES; outcome++)
            draws->bet[arm][outcome][bet] = 0;
}

static void lay_bet(struct draws *draws, int bet, struct rates alternative)
{
    double weight = draws->weight, margin = draws->margin;
    double p = rates_nearest(1 - weight, alternative.baseline, weight, alternative.candidate, margin);
    double payoff[DRAWS_ARMS][DRAWS_OUTCOMES] = {
        {(1 - alternative.baseline) / (1 - p), alternative.baseline / p},
        {(1 - alternative.candidate) / (1 - p - margin), alternative.candidate / (p + margin)}};
    double worst = fmax(worst_expectation(payoff, weight, margin), 1);

    if (!isfinite(worst)) {
        lay_no_bet(draws, bet);
        return;
    }
    for (int arm = 0; arm < DRAWS_ARMS; arm++)
        for (int outcome = 0; outcome < DRAWS_OUTCOMES; outcome++)
            draws->bet[arm][outcome][bet] = evidence_clamp(log(payoff[arm][outcome] / worst));
}

/* Lays the bets for what comes next, from what came before. */
static void learn(struct draws *draws)
{
    double baseline = baseline_rate(draws), from = baseline + draws->margin;
    bool betting = draws->weight > 0 && draws->weight < 1 && from < 1;
    for (int bet = 0; bet < DRAWS_BETS; bet++) {
        double odds = odds_ratios[bet] * from / (1 - from), candidate = odds / (1 + odds);
        if (betting && candidate > from && 1 - candidate > RATE_LEAST && baseline > RATE_LEAST)
            lay_bet(draws, bet, (struct rates){baseline, candidate});
        else
            lay_no_bet(draws, bet);
    }
    draws->next_learning = draws->seen + draws->seen / LEARN_AFTER + 1;
}

void draws_init(struct draws *draws, double margin, double weight)
{
    *draws = (struct draws){.margin = margin >= 0 && margin < 1 ? margin : 1};
    draws_reweigh(draws, weight);
}

void draws_reweigh(struct draws *draws, double weight)
{
    draws->weight = weight > 0 && weight < 1 ? weight : 0;
    learn(draws);
}

/* What the baseline's rate is learned from, and when. */
static void note(struct draws *draws, enum draws_arm arm, enum draws_outcome outcome, uint64_t count)
{
    draws->seen += count;
    if (arm != DRAWS_BASELINE)
        return;
    draws->baseline.n += count;
    draws->baseline.bad += outcome == DRAWS_BAD ? count : 0;
}

void draws_observe(struct draws *draws, enum draws_arm arm, enum draws_outcome outcome)
{
    for (int bet = 0; bet < DRAWS_BETS; bet++)
        draws->log_e[bet] += draws->bet[arm][outcome][bet];
    note(draws, arm, outcome, 1);
    if (draws->seen >= draws->next_learning)
        learn(draws);
}

void draws_observe_batch(struct draws *draws, const struct draws_counts *counts)
{
    for (int arm = 0; arm < DRAWS_ARMS; arm++)
        for (int outcome = 0; outcome < DRAWS_OUTCOMES; outcome++) {
            uint64_t count = counts->n[arm][outcome];
            for (int bet = 0; bet < DRAWS_BETS; bet++)
                draws->log_e[bet] += draws->bet[arm][outcome][bet] * (double)count;
            note(draws, (enum draws_arm)arm, (enum draws_outcome)outcome, count);
        }
    if (draws->seen >= draws->next_learning)
        learn(draws);
}

double draws_most(const struct draws *draws)
{
    double most = draws->log_e[0];
    for (int bet = 1; bet < DRAWS_BETS; bet++)
        most = draws->log_e[bet] > most ? draws->log_e[bet] : most;
    return evidence_clamp(most);
}

double draws_log_e(const struct draws *draws)
{
    double most = draws_most(draws), sum = 0;
    for (int bet = 0; bet < DRAWS_BETS; bet++)
        sum += exp(draws->log_e[bet] - most);
    return evidence_clamp(most + log(sum / DRAWS_BETS));
}
