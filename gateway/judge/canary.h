/*
 * canary: whether a candidate may have more requests: a state machine of numbers. No clock, no memory, no threads: time and
 * counts are passed in, the weight and the reason are asked for. Used by one thread at a time.
 *
 *                      each step, on evidence; the last one is 100 %
 *                        .--.
 *   canary_start() -> RUNNING ------ 100 % held for a dwell -------> PROMOTED      weight 1
 *                       |  ^'------- a gate rejects, a hard stop --> ROLLED_BACK   weight 0
 *      canary_pause()   v  |         the arms' shares are wrong ---> STOPPED       weight 0: the experiment is void
 *                      PAUSED ------ the same three ---------------------^         holds its weight, is still guarded
 *
 * canary_promote() and canary_rollback() go to their phases from any other. PROMOTED, ROLLED_BACK and STOPPED end it: what
 * comes then is canary_start(), on the same memory.
 *
 * The weight is 0 until the candidate is first seen ready; then it is the step's. A step is left for the next when ALL hold:
 *   1. the candidate is ready;
 *   2. the dwell is over: time RUNNING with a ready candidate, as canary_judge() saw it. A clock that jumps adds five
 *      seconds at most, and one that goes back adds nothing;
 *   3. the candidate has min_requests compared requests (arm_book.h) in this step;
 *   4. no gate is near rejection: its e is below the root of what it rejects at (with alpha 5 % and 4 gates: 80, so 9);
 *   5. before the last step, where nobody is left to compare with, non-inferiority is shown: the upper end of a confidence
 *      sequence (rates_difference_interval(), 1 - alpha, this step's counts) for the candidate's error rate less the
 *      baseline's is below the margin, gates.errors. Before other steps that is not waited for: it takes thousands of requests,
 *      which at a small weight would be days, and what a small step risks is bounded by its weight. With steps: [100%] there is
 *      no step before, and so no proof: that is what such a file asks for.
 * At 100 % only the hard stops and the disagreement are left. So the last step but one should be long enough to trust.
 *
 * Gates, each with an equal share of alpha (evidence.h): errors and latency where the candidate is worse, disagreement where
 * a shadow compares, and the shares of the arms. Under its null no gate ever rejects with a larger chance than alpha / gates,
 * and so a canary that is as good as its baseline is stopped with at most alpha, however long it lasts and however often
 * canary_judge() is called.
 *
 * Errors, and "slower than the baseline's quantile": evidence_draws, in blocks. Not by the lot that gave the arm, because what
 * is compared leaves out answers from a cache, and a candidate's cache is cold: of what is left, its part is larger than its
 * weight. So each call's new requests are a block of n_b and n_c requests, and the judge is given the weight w = n_c / (n_b +
 * n_c) for it. Valid: let B and C be the expected payoffs of a request of each arm, which the judge lays so that (1 - w) B + w C
 * <= 1 for all of the null. Given who is in it, the block's expected payoff is B^n_b C^n_c = (B^(1-w) C^w)^n <= ((1 - w) B + w
 * C)^n <= 1, geometric means being at most arithmetic ones. These are the blocks of Turner, Ly and Grünwald, "Generic
 * E-variables for exact sequential k-sample tests that allow for optional stopping", 2021/2024. Traffic may drift from block to block, weights
 * may change, and answers may come in any order; only within a block (a quarter of a second) are the arms' rates taken to
 * be constant.
 *
 * Slow is: above the baseline's quantile (gates.latency.quantile) as far as it was known BEFORE the block; for the candidate,
 * above 1 + gates.latency.slower times that, rounded up to a bucket. The null, P(candidate slow) <= P(baseline slow), holds
 * whenever the candidate is at most 1 + slower times as slow. Not by the bands of evidence_quantiles: they need latencies that do
 * not drift while the weights do. The quantile follows the traffic: it is made anew of every 20 / (1 -
 * quantile) compared requests of the baseline, 500 at least.
 *
 * Shares: evidence_shares, of requests as they are drawn, against the buckets that the arms own.
 */
#ifndef XEBEC_JUDGE_CANARY_H
#define XEBEC_JUDGE_CANARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "judge/arm_book.h"
#include "judge/canary_guard.h"
#include "judge/evidence_draws.h"
#include "judge/evidence_shares.h"
#include "support/buf.h"

enum canary_phase { CANARY_RUNNING, CANARY_PAUSED, CANARY_PROMOTED, CANARY_ROLLED_BACK, CANARY_STOPPED, CANARY_PHASES };
enum canary_gate { CANARY_ERRORS, CANARY_LATENCY, CANARY_DISAGREEMENT, CANARY_SHARES, CANARY_GATES };
/* What the next step waits for: the first of the rules above that does not hold. */
enum canary_wait { CANARY_NO_WAIT, CANARY_WAITS_READY, CANARY_WAITS_DWELL, CANARY_WAITS_REQUESTS, CANARY_WAITS_DOUBT, CANARY_WAITS_PROOF };

enum { CANARY_WHY_ROOM = 256 };

/* Numbers, and one text: about 40 KiB. Read by functions below; written by canary.c alone. */
struct canary {
    const struct config_canary *config;   /* borrowed */
    enum canary_phase phase;
    uint32_t step;                        /* in config->steps */
    bool begun;                           /* the candidate has been ready: the step's weight is in force */
    enum canary_wait wait;
    uint64_t began_us;                    /* canary_start(): which canary it is, in every gateway */
    uint64_t since_us;                    /* of phase and step */
    uint64_t held_us;                     /* of the dwell */
    uint64_t last_us;                     /* the last call */
    char why[CANARY_WHY_ROOM];            /* of the phase, in words */

    struct draws errors, slow;
    double slow_quantile, slow_margin;    /* what `slow` is about: the configuration's */
    struct shares shares;                 /* n_arms 0: no split of two arms was seen yet */
    struct tally disagreement;
    double largest[CANARY_GATES];         /* log e that each gate ever had */
    struct tally step_counts[BOOK_ARMS];  /* compared in this step; bad: errors */
    struct tally total[BOOK_ARMS];        /* the same, since the start; for people */
    struct tally slow_total[BOOK_ARMS];   /* bad: slow; for people */
    struct canary_faults faults;          /* since the start; hard stops */

    uint64_t slow_us;                     /* the baseline's quantile; 0: not known yet */
    struct latency_counts recent;         /* of the baseline, from which the next one is made */
    struct arm_counts seen[BOOK_ARMS];    /* what the last call was given */
    bool has_seen;                        /* false: the next call's counts are where counting begins */
};

/* From the first step. now_us: any clock that people read, such as CLOCK_REALTIME, in microseconds; the same in all calls. */
void canary_start(struct canary *canary, const struct config_canary *config, uint64_t now_us);
/*
 * counts: [0] baseline, [1] candidate, of the plan in force. To be called a few times a second. The first call after
 * canary_start() or canary_read() only notes where counting begins. Books that began anew are read from their start.
 * Returns true when phase, step or weight changed.
 */
bool canary_judge(struct canary *canary, const struct arm_counts counts[BOOK_ARMS], bool candidate_ready, uint64_t now_us);
bool canary_is_live(const struct canary *canary);  /* RUNNING or PAUSED */
double canary_weight(const struct canary *canary); /* the candidate's share now, 0..1; the baseline has the rest */

/* By a person, with words (cut at CANARY_WHY_ROOM). False: not from this phase; nothing changed. */
bool canary_pause(struct canary *canary, const char *why, uint64_t now_us);    /* from RUNNING */
bool canary_resume(struct canary *canary, const char *why, uint64_t now_us);   /* from PAUSED */
bool canary_promote(struct canary *canary, const char *why, uint64_t now_us);  /* from all but PROMOTED */
bool canary_rollback(struct canary *canary, const char *why, uint64_t now_us); /* from all but ROLLED_BACK */

const char *canary_phase_name(enum canary_phase phase); /* "running", "rolled_back" */
const char *canary_gate_name(enum canary_gate gate);    /* "errors" */
const char *canary_why(const struct canary *canary);    /* never NULL */
/* What the next step waits for, for people: "the dwell: 3m 12s of 10m"; "" when it waits for nothing (or is over). */
void canary_print_wait(const struct canary *canary, struct buf *out);
/* Whether the configuration has this gate. */
bool canary_has_gate(const struct canary *canary, enum canary_gate gate);
/* Anytime-valid, 0..1; the gate rejects at canary_gate_alpha(). 1 where there is no such gate. */
double canary_p_value(const struct canary *canary, enum canary_gate gate);
double canary_gate_alpha(const struct canary *canary);

/* All that a restart needs, as one JSON object on one line. */
void canary_write(const struct canary *canary, struct buf *out);
/*
 * What canary_write() wrote, spaces between its tokens or not. Of other steps than the configuration's, the largest that is not
 * above the stored weight goes on. False: not that, of another pair of versions, or numbers that cannot be; *canary is then as
 * canary_start() makes it.
 */
GW_MUST_CHECK bool canary_read(struct canary *canary, const struct config_canary *config, const char *json, size_t length, uint64_t now_us);

#endif
