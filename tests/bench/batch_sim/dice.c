/* dice: splitmix64 and what is made of it. */
#include "dice.h"

#include <math.h>

uint64_t random_bits(uint64_t *state) /* splitmix64 */
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

double uniform(uint64_t *state, double low, double high)
{
    return low + (high - low) * ((double)(random_bits(state) >> 11) + 0.5) * 0x1p-53;
}

double log_uniform(uint64_t *state, double low, double high)
{
    return exp(uniform(state, log(low), log(high)));
}

double exponential(uint64_t *state, double mean)
{
    return -mean * log(uniform(state, 0, 1));
}

double normal(uint64_t *state)
{
    return sqrt(-2 * log(uniform(state, 0, 1))) * cos(2 * M_PI * uniform(state, 0, 1));
}
