/* canary: what is new is observed by the judges; then they may end it; else the step may be left. */
#include "judge/canary.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "judge/evidence_rates.h"

#define JUMP_MOST_US                                                                                         \
    (5 * 1000 * 1000)   /* more between two calls is a clock that jumped, or nobody who looked */
#define SLOW_ONES   20  /* of the baseline, that a quantile is made from */
#define SLOW_FEWEST 500 /* requests, however low the quantile */

/* What came between two calls. */
struct block {
    struct tally requests[BOOK_ARMS]; /* bad: errors */
    struct tally slow[BOOK_ARMS];     /* n is 0 while the baseline's quantile is not known */
    struct tally disagreement;
    uint64_t drawn[BOOK_ARMS];
};

static void set_phase(struct canary *canary, enum canary_phase phase, uint64_t now_us, const char *format,
                      ...) GW_PRINTF(4, 5);
static void begin_step(struct canary *canary, uint32_t step, uint64_t now_us);
static uint64_t time_passed(struct canary *canary, uint64_t now_us);
static void take_block(struct canary *canary, const struct arm_counts counts[BOOK_ARMS], struct block *block);
static void observe(struct canary *canary, const struct block *block);
static bool stop_hard(struct canary *canary, uint64_t now_us);
static bool stop_on_evidence(struct canary *canary, uint64_t now_us);
static enum canary_wait what_is_waited_for(const struct canary *canary, bool ready);
static double log_e_of(const struct canary *canary, enum canary_gate gate);

/* --- a life --- */

void canary_start(struct canary *canary, const struct config_canary *config, uint64_t now_us)
{
    memset(canary, 0, sizeof *canary);
    canary->config = config;
    canary->began_us = canary->last_us = now_us;
    draws_init(&canary->errors, config->errors, 0);
    draws_init(&canary->slow, 0, 0);
    canary->slow_quantile = config->latency_quantile;
    canary->slow_margin = config->latency_slower;
    set_phase(canary, CANARY_RUNNING, now_us, "started");
    canary->wait = CANARY_WAITS_READY;
}

bool canary_judge(struct canary *canary, const struct arm_counts counts[BOOK_ARMS], bool candidate_ready,
                  uint64_t now_us)
{
    struct block block = {0};
    double weight = canary_weight(canary);
    enum canary_phase phase = canary->phase;
    uint32_t step = canary->step;
    uint64_t passed_us = time_passed(canary, now_us);
    if (!canary_is_live(canary))
        return false;
    take_block(canary, counts, &block);
    observe(canary, &block);
    if (stop_hard(canary, now_us) || stop_on_evidence(canary, now_us))
        return true;
    if (canary->phase == CANARY_RUNNING && candidate_ready) {
        canary->held_us += canary->begun ? passed_us : 0;
        canary->begun = true;
    }
    canary->wait = what_is_waited_for(canary, candidate_ready);
    if (canary->phase == CANARY_RUNNING && canary->wait == CANARY_NO_WAIT) {
        if (canary->step + 1 < canary->config->n_steps)
            begin_step(canary, canary->step + 1, now_us);
        else
            set_phase(canary, CANARY_PROMOTED, now_us, "all steps were passed");
    }
    return canary->phase != phase || canary->step != step || canary_weight(canary) != weight;
}

bool canary_is_live(const struct canary *canary)
{
    return canary->phase == CANARY_RUNNING || canary->phase == CANARY_PAUSED;
}

double canary_weight(const struct canary *canary)
{
    if (canary_is_live(canary))
        return canary->begun ? canary->config->steps[canary->step] : 0;
    return canary->phase == CANARY_PROMOTED ? 1 : 0;
}

bool canary_pause(struct canary *canary, const char *why, uint64_t now_us)
{
    if (canary->phase != CANARY_RUNNING)
        return false;
    set_phase(canary, CANARY_PAUSED, now_us, "%s", why);
    return true;
}

bool canary_resume(struct canary *canary, const char *why, uint64_t now_us)
{
    if (canary->phase != CANARY_PAUSED)
        return false;
    set_phase(canary, CANARY_RUNNING, now_us, "%s", why);
    return true;
}

bool canary_promote(struct canary *canary, const char *why, uint64_t now_us)
{
    if (canary->phase == CANARY_PROMOTED)
        return false;
    set_phase(canary, CANARY_PROMOTED, now_us, "%s", why);
    return true;
}

bool canary_rollback(struct canary *canary, const char *why, uint64_t now_us)
{
    if (canary->phase == CANARY_ROLLED_BACK)
        return false;
    set_phase(canary, CANARY_ROLLED_BACK, now_us, "%s", why);
    return true;
}

/* --- state --- */

/* The only place that changes the phase. Words stay on one line. */
static void set_phase(struct canary *canary, enum canary_phase phase, uint64_t now_us, const char *format,
                      ...)
{
    va_list args;
    canary->phase = phase;
    canary->since_us = now_us;
    canary->wait = CANARY_NO_WAIT;
    va_start(args, format);
    vsnprintf(canary->why, sizeof canary->why, format, args);
    va_end(args);
    for (char *c = canary->why; *c; c++)
        *c = (unsigned char)*c < ' ' || *c == 0x7f ? ' ' : *c;
}

static void begin_step(struct canary *canary, uint32_t step, uint64_t now_us)
{
    canary->step = step;
    canary->since_us = now_us;
    snprintf(canary->why, sizeof canary->why, "the dwell was over and nothing spoke against it");
    canary->held_us = 0;
    memset(canary->step_counts, 0, sizeof canary->step_counts);
}

static uint64_t time_passed(struct canary *canary, uint64_t now_us)
{
    uint64_t passed_us = now_us > canary->last_us ? now_us - canary->last_us : 0;
    canary->last_us = now_us;
    return passed_us < JUMP_MOST_US ? passed_us : JUMP_MOST_US;
}

/* --- what is new --- */

static uint64_t new_of(uint64_t now, uint64_t before, bool same)
{
    return !same ? now : now > before ? now - before : 0;
}

static bool same_books(const struct arm_counts *now, const struct arm_counts *before)
{
    return now->began_us == before->began_us && now->requests >= before->requests;
}

/* Counts are read while they are written: an error may be seen before its request; then it is kept for later.
 */
static struct tally new_requests(struct arm_counts *seen, const struct arm_counts *counts, bool same)
{
    uint64_t bad_before = same ? seen->bad : 0;
    struct tally tally = {.n = new_of(counts->requests, seen->requests, same),
                          .bad = new_of(counts->bad, seen->bad, same)};
    tally.bad = tally.bad < tally.n ? tally.bad : tally.n;
    seen->bad = bad_before + tally.bad;
    seen->requests = counts->requests;
    return tally;
}

static struct tally new_latencies(const struct arm_counts *seen, const struct arm_counts *counts, bool same,
                                  uint64_t slow_us)
{
    struct tally tally = {0};
    uint32_t slowest_good = latency_bucket(slow_us);
    for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
        uint64_t n = new_of(counts->latency.bucket[i], seen->latency.bucket[i], same);
        tally.n += n;
        tally.bad += i > slowest_good ? n : 0;
    }
    return tally;
}

/* The baseline's quantile, for blocks to come. */
static void learn_slow(struct canary *canary, const struct arm_counts *counts, bool same)
{
    double quantile = canary->config->latency_quantile,
           enough = fmax(SLOW_ONES / (1 - quantile), SLOW_FEWEST);
    struct latency_counts *recent = &canary->recent;
    for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
        uint64_t n = new_of(counts->latency.bucket[i], canary->seen[0].latency.bucket[i], same);
        recent->bucket[i] += n;
        recent->n += n;
    }
    if ((double)recent->n < enough)
        return;
    canary->slow_us = latency_quantile(recent, quantile);
    memset(recent, 0, sizeof *recent);
}

static uint64_t slow_for(const struct canary *canary, uint32_t arm)
{
    double slow_us = (double)canary->slow_us * (arm ? 1 + canary->config->latency_slower : 1);
    return slow_us < 1e15 ? (uint64_t)ceil(slow_us) : UINT64_MAX;
}

static void take_latencies(struct canary *canary, const struct arm_counts counts[BOOK_ARMS],
                           const bool same[BOOK_ARMS], struct block *block)
{
    if (!canary_has_gate(canary, CANARY_LATENCY))
        return;
    for (uint32_t i = 0; canary->slow_us && i < BOOK_ARMS; i++)
        block->slow[i] = new_latencies(&canary->seen[i], &counts[i], same[i], slow_for(canary, i));
    learn_slow(canary, &counts[0], same[0]);
}

static void take_disagreement(struct canary *canary, const struct arm_counts *counts, struct block *block)
{
    const struct tally *now = &counts->disagreement, *before = &canary->seen[1].disagreement;
    bool same = now->n >= before->n && now->bad >= before->bad;
    block->disagreement =
        (struct tally){.n = new_of(now->n, before->n, same), .bad = new_of(now->bad, before->bad, same)};
    if (block->disagreement.bad > block->disagreement.n)
        block->disagreement.bad = block->disagreement.n;
}

/* Draws by a split that the shares' judge does not know are its next step. */
static void take_draws(struct canary *canary, const struct arm_counts counts[BOOK_ARMS], struct block *block)
{
    const double share[BOOK_ARMS] = {counts[0].share, counts[1].share};
    const struct arm_counts *seen = &canary->seen[0];
    bool same = canary->has_seen && counts[0].began_us == seen->began_us && counts[0].lot == seen->lot;
    for (uint32_t i = 0; i < BOOK_ARMS; i++)
        block->drawn[i] = new_of(counts[i].drawn, canary->seen[i].drawn, same);
    if (same && canary->shares.n_arms)
        return;
    bool known = canary->shares.n_arms ? shares_step(&canary->shares, share, BOOK_ARMS)
                                       : shares_init(&canary->shares, share, BOOK_ARMS);
    if (!known || !canary->has_seen)
        memset(block->drawn, 0, sizeof block->drawn);
}

static void take_faults(struct canary *canary, const struct arm_counts *counts, bool same)
{
    const struct arm_counts *seen = &canary->seen[1];
    const struct canary_faults before = {seen->crashed, seen->contract, seen->nan};
    canary_faults_add(&canary->faults, counts, &before, same);
}

static void take_block(struct canary *canary, const struct arm_counts counts[BOOK_ARMS], struct block *block)
{
    bool same[BOOK_ARMS];
    take_draws(canary, counts, block);
    if (!canary->has_seen) {
        memcpy(canary->seen, counts, sizeof canary->seen);
        canary->has_seen = true;
        return;
    }
    for (uint32_t i = 0; i < BOOK_ARMS; i++)
        same[i] = same_books(&counts[i], &canary->seen[i]);
    take_latencies(canary, counts, same, block);
    take_disagreement(canary, &counts[1], block);
    take_faults(canary, &counts[1], same[1]);
    for (uint32_t i = 0; i < BOOK_ARMS; i++) {
        block->requests[i] = new_requests(&canary->seen[i], &counts[i], same[i]);
        uint64_t bad = canary->seen[i].bad;
        canary->seen[i] = counts[i];
        canary->seen[i].bad = bad;
    }
}

/* --- the judges --- */

/* One block of requests, whose composition is the weight (canary.h). */
static void observe_block(struct draws *draws, const struct tally tally[BOOK_ARMS])
{
    struct draws_counts counts;
    uint64_t n = tally[0].n + tally[1].n;
    if (!n)
        return;
    for (uint32_t i = 0; i < BOOK_ARMS; i++) {
        counts.n[i][DRAWS_GOOD] = tally[i].n - tally[i].bad;
        counts.n[i][DRAWS_BAD] = tally[i].bad;
    }
    draws_reweigh(draws, (double)tally[1].n / (double)n);
    draws_observe_batch(draws, &counts);
}

static void add(struct tally *into, struct tally from)
{
    into->n += from.n;
    into->bad += from.bad;
}

static void observe(struct canary *canary, const struct block *block)
{
    observe_block(&canary->errors, block->requests);
    observe_block(&canary->slow, block->slow);
    add(&canary->disagreement, block->disagreement);
    for (uint32_t i = 0; i < BOOK_ARMS; i++) {
        shares_observe(&canary->shares, i, block->drawn[i]);
        add(&canary->step_counts[i], block->requests[i]);
        add(&canary->total[i], block->requests[i]);
        add(&canary->slow_total[i], block->slow[i]);
    }
    for (enum canary_gate gate = 0; gate < CANARY_GATES; gate++)
        if (canary_has_gate(canary, gate))
            canary->largest[gate] = fmax(canary->largest[gate], log_e_of(canary, gate));
}

static double log_e_of(const struct canary *canary, enum canary_gate gate)
{
    switch (gate) {
    case CANARY_ERRORS:
        return draws_log_e(&canary->errors);
    case CANARY_LATENCY:
        return draws_log_e(&canary->slow);
    case CANARY_DISAGREEMENT:
        return rate_above_log_e(canary->disagreement, canary->config->disagreement, RATE_PRIOR_WIDE);
    case CANARY_SHARES:
    case CANARY_GATES:
        break;
    }
    return shares_log_e(&canary->shares);
}

bool canary_has_gate(const struct canary *canary, enum canary_gate gate)
{
    return gate == CANARY_LATENCY        ? canary->config->latency_quantile > 0
           : gate == CANARY_DISAGREEMENT ? canary->config->disagreement >= 0
                                         : gate < CANARY_GATES;
}

static double gate_share(const struct canary *canary)
{
    return 1.0 / (2 + canary_has_gate(canary, CANARY_LATENCY) + canary_has_gate(canary, CANARY_DISAGREEMENT));
}

double canary_gate_alpha(const struct canary *canary)
{
    return canary->config->alpha * gate_share(canary);
}

double canary_p_value(const struct canary *canary, enum canary_gate gate)
{
    return canary_has_gate(canary, gate) ? evidence_p_value(canary->largest[gate]) : 1;
}

static double limit_of(const struct canary *canary)
{
    return evidence_limit(canary->config->alpha, gate_share(canary));
}

/* --- the end --- */

static bool stop_hard(struct canary *canary, uint64_t now_us)
{
    char why[CANARY_WHY_ROOM];
    if (!canary_faults_exceed(&canary->faults, canary->config, why, sizeof why))
        return false;
    set_phase(canary, CANARY_ROLLED_BACK, now_us, "%s", why);
    return true;
}

static double percent(struct tally tally)
{
    return tally.n ? 100 * (double)tally.bad / (double)tally.n : 0;
}

static void print_rates(const struct canary *canary, enum canary_gate gate, char *out, size_t room)
{
    const struct tally *pair = gate == CANARY_LATENCY ? canary->slow_total : canary->total;
    const char *verb = gate == CANARY_LATENCY ? "slow" : "failed";
    if (gate == CANARY_DISAGREEMENT)
        snprintf(out, room, "%.3g %% of %" PRIu64 " shadowed rows, %.3g %% are tolerated",
                 percent(canary->disagreement), canary->disagreement.n, canary->config->disagreement * 100);
    else if (gate == CANARY_SHARES)
        snprintf(out, room, "the arms do not get their shares; nothing else of this canary can be believed");
    else
        snprintf(out, room, "%.3g %% of %" PRIu64 " %s, of the baseline's %.3g %% of %" PRIu64,
                 percent(pair[1]), pair[1].n, verb, percent(pair[0]), pair[0].n);
}

static bool stop_on_evidence(struct canary *canary, uint64_t now_us)
{
    for (enum canary_gate gate = CANARY_GATES; gate-- > 0;) { /* the one that voids the others comes first */
        char rates[CANARY_WHY_ROOM / 2];
        if (!canary_has_gate(canary, gate) || canary->largest[gate] < limit_of(canary))
            continue;
        print_rates(canary, gate, rates, sizeof rates);
        set_phase(canary, gate == CANARY_SHARES ? CANARY_STOPPED : CANARY_ROLLED_BACK, now_us,
                  "%s: %s (p = %.2g, the limit is %.2g)", canary_gate_name(gate), rates,
                  canary_p_value(canary, gate), canary_gate_alpha(canary));
        return true;
    }
    return false;
}

/* --- the next step --- */

static bool in_doubt(const struct canary *canary)
{
    for (enum canary_gate gate = 0; gate < CANARY_GATES; gate++)
        if (canary_has_gate(canary, gate) && log_e_of(canary, gate) >= limit_of(canary) / 2)
            return true;
    return false;
}

static double excess_at_most(const struct canary *canary)
{
    double low, high;
    rates_difference_interval(canary->step_counts[0], canary->step_counts[1], canary->config->alpha, &low,
                              &high);
    return high;
}

static bool needs_proof(const struct canary *canary)
{
    return canary->step + 2 == canary->config->n_steps;
}

/* What is costly to know comes last. */
static enum canary_wait what_is_waited_for(const struct canary *canary, bool ready)
{
    if (!ready)
        return CANARY_WAITS_READY;
    if (canary->held_us < canary->config->dwell_us)
        return CANARY_WAITS_DWELL;
    if (canary->step_counts[1].n < canary->config->min_requests)
        return CANARY_WAITS_REQUESTS;
    if (in_doubt(canary))
        return CANARY_WAITS_DOUBT;
    if (needs_proof(canary) && excess_at_most(canary) >= canary->config->errors)
        return CANARY_WAITS_PROOF;
    return CANARY_NO_WAIT;
}

/* --- for people --- */

static const char *const phase_names[CANARY_PHASES] = {"running", "paused", "promoted", "rolled_back",
                                                       "stopped"};

const char *canary_phase_name(enum canary_phase phase)
{
    return phase_names[phase];
}

const char *canary_gate_name(enum canary_gate gate)
{
    static const char *const names[CANARY_GATES] = {"errors", "latency", "disagreement", "shares"};
    return names[gate];
}

const char *canary_why(const struct canary *canary)
{
    return canary->why;
}

/* "45.2 s", "3m 12s", "10m", "5h 2m": for the eye. */
static void print_span(struct buf *out, uint64_t us)
{
    uint64_t s = us / 1000000, large = s < 3600 ? s / 60 : s / 3600, rest = s < 3600 ? s % 60 : s % 3600 / 60;
    if (s < 60) {
        buf_printf(out, "%.1f s", (double)us / 1e6);
        return;
    }
    buf_printf(out, "%" PRIu64 "%c", large, s < 3600 ? 'm' : 'h');
    if (rest)
        buf_printf(out, " %" PRIu64 "%c", rest, s < 3600 ? 's' : 'm');
}

void canary_print_wait(const struct canary *canary, struct buf *out)
{
    const struct config_canary *config = canary->config;
    switch (canary->wait) {
    case CANARY_NO_WAIT:
        break;
    case CANARY_WAITS_READY:
        buf_text(out, "a ready replica of the candidate");
        break;
    case CANARY_WAITS_DWELL:
        buf_text(out, "the dwell: ");
        print_span(out, canary->held_us);
        buf_text(out, " of ");
        print_span(out, config->dwell_us);
        break;
    case CANARY_WAITS_REQUESTS:
        buf_printf(out, "requests of the candidate: %" PRIu64 " of %" PRIu64, canary->step_counts[1].n,
                   config->min_requests);
        break;
    case CANARY_WAITS_DOUBT:
        buf_text(out, "a gate that is near rejection");
        break;
    case CANARY_WAITS_PROOF:
        buf_printf(out, "proof that errors are at most %.3g %% more; so far at most %.3g %%",
                   config->errors * 100, excess_at_most(canary) * 100);
        break;
    }
}
