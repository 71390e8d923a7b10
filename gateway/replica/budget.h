/*
 * budget: what may be done besides the calls themselves, as a share of them: a bucket that each call fills a little, so that
 * a storm of retries or hedges ends by itself. Pure.
 */
#ifndef XEBEC_REPLICA_BUDGET_H
#define XEBEC_REPLICA_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BUDGET_ONE = 100,  /* what one of them costs; a call earns its percentage */
    BUDGET_SAVED = 10, /* so many may be saved up */
};

struct budget {
    uint32_t percent, tokens;
};

/* Full; percent 0: nothing is ever allowed that costs something. */
static inline void budget_init(struct budget *budget, uint32_t percent)
{
    *budget = (struct budget){.percent = percent, .tokens = percent ? BUDGET_SAVED * BUDGET_ONE : 0};
}

/* A call was made. */
static inline void budget_earn(struct budget *budget)
{
    budget->tokens += budget->percent;
    if (budget->tokens > BUDGET_SAVED * BUDGET_ONE)
        budget->tokens = BUDGET_SAVED * BUDGET_ONE;
}

static inline bool budget_allows(const struct budget *budget, uint32_t cost)
{
    return budget->tokens >= cost;
}

/* As much as it allows. */
static inline void budget_spend(struct budget *budget, uint32_t cost)
{
    budget->tokens -= cost;
}

#endif
