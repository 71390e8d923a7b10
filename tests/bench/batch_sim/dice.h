/* dice: random numbers of a seed: the same on every machine. */
#ifndef XEBEC_BATCH_SIM_DICE_H
#define XEBEC_BATCH_SIM_DICE_H

#include <stdint.h>

uint64_t random_bits(uint64_t *state);
double uniform(uint64_t *state, double low, double high); /* between them, never one of them */
double log_uniform(uint64_t *state, double low, double high);
double exponential(uint64_t *state, double mean);
double normal(uint64_t *state); /* mean 0, deviation 1 */

#endif
