/*
 * breaker: a circuit breaker for something outside that may be slow or gone: while it is open nobody tries, so that it
 * costs next to nothing; now and then one probe finds out whether it is back. Pure policy: no sockets, no timers,
 * no clock; the owner passes the time in and does the probing.
 *
 *             n timeouts in a row, or a failure
 *     CLOSED ------------------------------------> OPEN <---------.
 *        ^                                          | wait over    | the probe failed: twice the wait
 *        |                                          v              |
 *        '--------- the probe was answered ---- HALF_OPEN ---------'
 *
 * The wait begins at its least again only when the circuit was closed for as long as the longest wait: what answers
 * a probe and then nothing else is not asked more and more often.
 *   Source: Nygard, "Release It!", 2007, chapter 5.
 */
#ifndef XEBEC_SUPPORT_BREAKER_H
#define XEBEC_SUPPORT_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_STATE_COUNT };
const char *breaker_state_name(enum breaker_state state); /* "closed", "open", "half_open" */

struct breaker_limits {
    uint32_t timeouts;                     /* so many in a row open it; at least 1 */
    uint64_t wait_least_us, wait_most_us;  /* until the next probe */
};

struct breaker {
    struct breaker_limits limits;
    enum breaker_state state;
    uint32_t timeouts;   /* in a row */
    uint64_t wait_us;    /* the next one */
    uint64_t since_us;   /* when it came into its state */
};

/* Begins half open: what it guards has never answered yet. */
void breaker_init(struct breaker *breaker, const struct breaker_limits *limits, uint64_t now_us);

/* While CLOSED: something came back, or did not in time. True: that is once too often, and it should be opened. */
void breaker_answered(struct breaker *breaker);
bool breaker_timed_out(struct breaker *breaker);

/*
 * Opens it, from any other state. Returns when to probe: the wait, less up to a quarter of it that `random` picks,
 * so that many who lost the same thing do not all come back at once.
 */
uint64_t breaker_open(struct breaker *breaker, uint64_t now_us, uint32_t random);
void breaker_probe(struct breaker *breaker, uint64_t now_us); /* OPEN -> HALF_OPEN */
void breaker_close(struct breaker *breaker, uint64_t now_us); /* HALF_OPEN -> CLOSED */

#endif
