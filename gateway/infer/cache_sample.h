/*
 * cache_sample: whether a shared cache is worth waiting for, for one model version. Pure arithmetic: no sockets, no
 * clock; times are passed in.
 *
 *     pays:  hit ratio x what the model takes for a row  >  what a lookup takes + what it costs in CPU
 *
 *   AWAITED  every row is looked up, and waits for it           --- does not pay --->  SAMPLED
 *   SAMPLED  one key of CACHE_SAMPLE_ONE_OF is looked up and     <-- pays half as much again ---
 *            stored; nobody waits, the reply is for the estimate
 *
 * The keys of the sample are chosen by their hash, the same by all gateways, and they alone make the estimate in both
 * modes: what is not stored while sampling would look like a miss just afterwards, and the mode would flap.
 *   Source: the idea of spatial sampling: Waldspurger et al., "Efficient MRC Construction with SHARDS", FAST 2015.
 */
#ifndef XEBEC_INFER_CACHE_SAMPLE_H
#define XEBEC_INFER_CACHE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "infer/cache_value.h"

enum {
    CACHE_SAMPLE_ONE_OF = 16,
    CACHE_SAMPLE_LEAST = 16, /* lookups, and answers of the model, before anything is decided */
};

struct cache_sample {
    double hit_ratio, lookup_us, model_us; /* averages that forget */
    uint32_t lookups, models;              /* that made them, as far as it matters: CACHE_SAMPLE_LEAST */
    bool awaited;
};

/* Begins AWAITED and hopeful. */
void cache_sample_init(struct cache_sample *sample);
bool cache_sample_picks(const struct cache_value_key *key);
/* A picked row was looked up. */
void cache_sample_row(struct cache_sample *sample, bool hit);
/* A lookup, of any number of rows, took so long, or was given up after so long. */
void cache_sample_lookup(struct cache_sample *sample, uint64_t us);
/* The model's answer took so long, from the request's point of view: queue and call. */
void cache_sample_model(struct cache_sample *sample, uint64_t us);
/* Decides anew. True: the mode changed. */
bool cache_sample_decide(struct cache_sample *sample);

#endif
