/* breaker: three states, one count, one wait that doubles. */
#include "support/breaker.h"

#include <stdlib.h>

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[BREAKER_STATE_COUNT] = {"closed", "open", "half_open"};
    return names[state];
}

void breaker_init(struct breaker *breaker, const struct breaker_limits *limits, uint64_t now_us)
{
    *breaker = (struct breaker){
        .limits = *limits, .state = BREAKER_HALF_OPEN, .wait_us = limits->wait_least_us, .since_us = now_us};
}

/* The only place that changes the state. */
static void breaker_enter(struct breaker *breaker, enum breaker_state next, uint64_t now_us)
{
#define TO(state) (1u << BREAKER_##state)
    static const unsigned legal[BREAKER_STATE_COUNT] = {
        [BREAKER_CLOSED] = TO(OPEN),
        [BREAKER_OPEN] = TO(HALF_OPEN),
        [BREAKER_HALF_OPEN] = TO(OPEN) | TO(CLOSED),
    };
#undef TO
    if (!(legal[breaker->state] & (1u << next)))
        abort(); /* a bug of ours, nothing that comes from outside */
    breaker->state = next;
    breaker->since_us = now_us;
    breaker->timeouts = 0;
}

void breaker_answered(struct breaker *breaker)
{
    breaker->timeouts = 0;
}

bool breaker_timed_out(struct breaker *breaker)
{
    return ++breaker->timeouts >= breaker->limits.timeouts;
}

uint64_t breaker_open(struct breaker *breaker, uint64_t now_us, uint32_t random)
{
    const struct breaker_limits *limits = &breaker->limits;
    bool was_well = breaker->state == BREAKER_CLOSED && now_us - breaker->since_us >= limits->wait_most_us;
    uint64_t wait_us = was_well ? limits->wait_least_us : breaker->wait_us;
    breaker->wait_us = wait_us > limits->wait_most_us / 2 ? limits->wait_most_us : 2 * wait_us;
    breaker_enter(breaker, BREAKER_OPEN, now_us);
    return now_us + wait_us - wait_us / 4 * random / UINT32_MAX;
}

void breaker_probe(struct breaker *breaker, uint64_t now_us)
{
    breaker_enter(breaker, BREAKER_HALF_OPEN, now_us);
}

void breaker_close(struct breaker *breaker, uint64_t now_us)
{
    breaker_enter(breaker, BREAKER_CLOSED, now_us);
}
