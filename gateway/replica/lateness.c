/* lateness: one step up or down for each call. */
#include "replica/lateness.h"

#define STEP_UP   1.1
#define STEP_DOWN 0.99499628 /* 1.1 to the power of -1/19 */
#define FIRST     2.0
#define MOST      16.0

enum { KNOWN_CALLS = 20 };

void lateness_observe(struct lateness *lateness, uint64_t expected_us, uint64_t took_us)
{
    if (!expected_us)
        return;
    if (!lateness->calls)
        lateness->factor = FIRST;
    lateness->calls += lateness->calls < KNOWN_CALLS;
    lateness->factor *= (double)took_us > (double)expected_us * lateness->factor ? STEP_UP : STEP_DOWN;
    lateness->factor = lateness->factor < 1 ? 1 : lateness->factor > MOST ? MOST : lateness->factor;
}

uint64_t lateness_after_us(const struct lateness *lateness, uint64_t expected_us)
{
    if (!expected_us || lateness->calls < KNOWN_CALLS)
        return UINT64_MAX;
    return (uint64_t)((double)expected_us * lateness->factor);
}
