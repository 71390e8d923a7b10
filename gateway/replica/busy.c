/* busy: a sum, from the last time that it was known to be right. */
#include "replica/busy.h"

#include <math.h>

#define MEMORY_CALLS 64
#define CLIP         4.0
#define FORGET_US    10e6 /* half of what was learned, in so long without a call */

enum { FRESH_US = 1000000 };

/* What is left of what was learned: it may be as quick as the others by now, and who is slow is asked seldom.
 */
static double excess_of(const struct busy *busy, uint64_t now_us)
{
    if (busy->calls || now_us < busy->since_us + FRESH_US)
        return busy->excess;
    return busy->excess * exp2(-(double)(now_us - busy->since_us) / FORGET_US);
}

void busy_sent(struct busy *busy, uint64_t expected_us, uint64_t now_us)
{
    busy->excess = excess_of(busy, now_us);
    if (!busy->calls++) {
        busy->since_us = busy->since_us > now_us ? busy->since_us : now_us;
        busy->expected_us = 0;
    }
    busy->expected_us += expected_us;
}

static void learn(struct busy *busy, double ratio)
{
    ratio = ratio > CLIP ? CLIP : ratio < 1 / CLIP ? 1 / CLIP : ratio;
    busy->excess += (ratio - 1 - busy->excess) / MEMORY_CALLS;
}

static uint64_t done_us(const struct busy *busy, uint64_t expected_us)
{
    return busy->since_us + (uint64_t)((double)expected_us * busy_slowness(busy));
}

uint64_t busy_lost(struct busy *busy, uint64_t expected_us, bool goes_on, uint64_t now_us)
{
    uint64_t took_us = now_us > busy->since_us ? now_us - busy->since_us : 0;
    uint64_t rest_us = goes_on ? done_us(busy, expected_us) : now_us;
    busy->since_us = rest_us > now_us ? rest_us : now_us;
    busy->expected_us -= expected_us < busy->expected_us ? expected_us : busy->expected_us;
    busy->calls--;
    return took_us;
}

uint64_t busy_back(struct busy *busy, uint64_t expected_us, uint64_t now_us)
{
    uint64_t took_us = busy_lost(busy, expected_us, false, now_us);
    if (expected_us)
        learn(busy, (double)took_us / (double)expected_us);
    return took_us;
}

uint64_t busy_until_us(const struct busy *busy, uint64_t now_us)
{
    if (!busy->calls)
        return busy->since_us > now_us ? busy->since_us : now_us;
    uint64_t free_us = done_us(busy, busy->expected_us);
    return free_us >= now_us ? free_us : 2 * now_us - free_us;
}

uint64_t busy_given_up_us(const struct busy *busy)
{
    return busy->since_us;
}

uint64_t busy_done_us(const struct busy *busy, uint64_t expected_us, uint64_t now_us)
{
    return busy_until_us(busy, now_us) + (uint64_t)((double)expected_us * (1 + excess_of(busy, now_us)));
}

double busy_slowness(const struct busy *busy)
{
    return 1 + busy->excess;
}
