/*
 * split: which arm a key falls to, by 10,000 buckets. Immutable once made, counted, any thread.
 *
 * A key is hashed into a bucket, and a bucket belongs to the arm that wins it: of every arm a number u in (0, 1) is drawn by
 * hash of arm and bucket, and the least -ln(u) / weight wins (weighted rendezvous hashing: Thaler and Ravishankar, "Using
 * name-based mappings to increase hit rates", 1998; with weights: Resch, "New hashing algorithms for data storage", 2015). So:
 *
 *   - who owns a bucket depends on names, salt and weights alone: the same after a restart, in every gateway;
 *   - an arm whose weight grows, measured by any other arm's, only wins buckets, and one whose weight falls only loses: no
 *     client goes back and forth while an arm grows;
 *   - an arm of weight 0 owns nothing; one above 0 owns a bucket at least (the one that it comes nearest to winning);
 *   - shares are as near to the weights as 10,000 draws come: 10 % +- 0.3. split_owned() tells.
 */
#ifndef XEBEC_INFER_SPLIT_H
#define XEBEC_INFER_SPLIT_H

#include <stddef.h>
#include <stdint.h>

#include "support/err.h"

enum { SPLIT_BUCKETS = 10000 };

struct split;

struct split_arm {
    const char *name; /* read while the split is made */
    double weight;    /* finite, >= 0; one of them is > 0 */
};

/* n_arms: 1 .. 256. salt: endpoints with other salts split independently. NULL: out of memory. */
struct split *split_new(const char *salt, const struct split_arm *arms, uint32_t n_arms) GW_MUST_CHECK;
struct split *split_ref(struct split *split);
void split_unref(struct split *split); /* NULL is harmless */

/* What a sticky key (any bytes, foreign ones too) is hashed to: the same in every gateway. */
uint64_t split_hash(const struct split *split, const void *key, size_t length);
/* The arm that owns bucket (hash mod SPLIT_BUCKETS). */
uint32_t split_arm(const struct split *split, uint64_t hash);
uint32_t split_owned(const struct split *split, uint32_t arm);  /* buckets; all arms' add up to SPLIT_BUCKETS */

#endif
