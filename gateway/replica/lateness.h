/*
 * lateness: when a call is late enough for a second copy of it to be worth its while: after the 95th percentile of what
 * calls take, of what was expected of each (busy.h). Pure: no clock, sixteen bytes.
 *
 * The percentile is found by stochastic approximation on a logarithmic scale: up by a tenth when a call takes longer, down by
 * a nineteenth of that when not, so that it rests where one call of twenty takes longer. One call so late that its copy was
 * quicker counts as one that took longer, whatever it would have taken: what is cut off must not be left out, or the
 * percentile would sink, and hedges beget hedges.
 *
 * Sources: Dean and Barroso, "The Tail at Scale", CACM 56 (2013): hedged requests, deferred until the 95th percentile;
 * Robbins and Monro, Ann. Math. Stat. 22 (1951), for quantiles.
 */
#ifndef XEBEC_REPLICA_LATENESS_H
#define XEBEC_REPLICA_LATENESS_H

#include <stdint.h>

/* Zeroed: nothing is known. */
struct lateness {
    double factor;  /* the 95th percentile of what calls take, of what was expected of them: 1 to 16; 0: none was seen */
    uint32_t calls; /* seen, up to as many as it takes to be believed */
};

/* A call took so long (UINT64_MAX: nobody waited for its end), of which so much was expected; 0: nothing is learned. */
void lateness_observe(struct lateness *lateness, uint64_t expected_us, uint64_t took_us);
/* After how long such a call is late; UINT64_MAX while too little is known. */
uint64_t lateness_after_us(const struct lateness *lateness, uint64_t expected_us);

#endif
