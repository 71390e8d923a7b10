/* split: the draws, who wins them, and a bucket for nobody who should have one. */
#include "infer/split.h"

#include <math.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct split {
    _Atomic uint32_t refs;
    unsigned char secret[crypto_shorthash_KEYBYTES]; /* of the salt; no secret from anybody */
    uint32_t n_arms;
    uint32_t *owned; /* by arm */
    uint8_t arm[SPLIT_BUCKETS];
};

_Static_assert(UINT8_MAX + 1 == 256, "an arm's number fits a byte");

static uint64_t hash(const unsigned char *secret, const void *bytes, size_t length)
{
    uint64_t out;
    unsigned char digest[crypto_shorthash_BYTES];
    crypto_shorthash(digest, bytes, length, secret);
    memcpy(&out, digest, sizeof out);
    return out;
}

/* -ln(u): what the arm's weight divides. Never 0, never infinite. */
static double draw(const struct split *split, uint64_t arm_hash, uint32_t bucket)
{
    const uint64_t words[2] = {arm_hash, bucket};
    double u = ((double)(hash(split->secret, words, sizeof words) >> 11) + 0.5) * 0x1p-53;
    return -log(u);
}

static uint64_t hash_name(const struct split *split, const char *name)
{
    return hash(split->secret, name, strlen(name));
}

/* The winner of a bucket, and how far it was from others: *won is the least quotient. */
static uint32_t winner(const struct split *split, const struct split_arm *arms, const uint64_t *hashes,
                       uint32_t bucket, double *won)
{
    uint32_t best = 0;
    *won = INFINITY;
    for (uint32_t i = 0; i < split->n_arms; i++) {
        if (!(arms[i].weight > 0))
            continue;
        double quotient = draw(split, hashes[i], bucket) / arms[i].weight;
        if (quotient < *won) {
            *won = quotient;
            best = i;
        }
    }
    return best;
}

static void give(struct split *split, uint32_t bucket, uint32_t arm)
{
    split->owned[split->arm[bucket]]--;
    split->arm[bucket] = (uint8_t)arm;
    split->owned[arm]++;
}

/* A small arm that won nothing gets the bucket that it would win first if it grew; not the only one of
 * another. */
static void give_one(struct split *split, const struct split_arm *arms, const uint64_t *hashes, uint32_t arm)
{
    double nearest = INFINITY;
    uint32_t chosen = SPLIT_BUCKETS;
    for (uint32_t bucket = 0; bucket < SPLIT_BUCKETS; bucket++) {
        double won;
        winner(split, arms, hashes, bucket, &won);
        double ratio = draw(split, hashes[arm], bucket) / won;
        if (ratio < nearest && split->owned[split->arm[bucket]] > 1) {
            nearest = ratio;
            chosen = bucket;
        }
    }
    if (chosen < SPLIT_BUCKETS)
        give(split, chosen, arm);
}

/* Of one arm with a weight, which is most endpoints': nothing to draw. */
static bool share_with_nobody(struct split *split, const struct split_arm *arms)
{
    uint32_t n = 0, only = 0;
    for (uint32_t i = 0; i < split->n_arms; i++)
        if (arms[i].weight > 0) {
            n++;
            only = i;
        }
    if (n > 1)
        return false;
    memset(split->arm, (int)only, sizeof split->arm);
    split->owned[only] = SPLIT_BUCKETS;
    return true;
}

static void share_out(struct split *split, const struct split_arm *arms, const uint64_t *hashes)
{
    if (share_with_nobody(split, arms))
        return;
    for (uint32_t bucket = 0; bucket < SPLIT_BUCKETS; bucket++) {
        double won;
        uint32_t arm = winner(split, arms, hashes, bucket, &won);
        split->arm[bucket] = (uint8_t)arm;
        split->owned[arm]++;
    }
    for (uint32_t i = 0; i < split->n_arms; i++)
        if (arms[i].weight > 0 && !split->owned[i])
            give_one(split, arms, hashes, i);
}

struct split *split_new(const char *salt, const struct split_arm *arms, uint32_t n_arms)
{
    struct split *split = calloc(1, sizeof *split);
    uint64_t *hashes = calloc(n_arms, sizeof *hashes);
    if (!split || !hashes || !(split->owned = calloc(n_arms, sizeof *split->owned))) {
        free(split);
        free(hashes);
        return NULL;
    }
    atomic_init(&split->refs, 1);
    split->n_arms = n_arms;
    crypto_generichash(split->secret, sizeof split->secret, (const unsigned char *)salt, strlen(salt), NULL,
                       0);
    for (uint32_t i = 0; i < n_arms; i++)
        hashes[i] = hash_name(split, arms[i].name);
    share_out(split, arms, hashes);
    free(hashes);
    return split;
}

struct split *split_ref(struct split *split)
{
    atomic_fetch_add_explicit(&split->refs, 1, memory_order_relaxed);
    return split;
}

void split_unref(struct split *split)
{
    if (!split || atomic_fetch_sub_explicit(&split->refs, 1, memory_order_acq_rel) > 1)
        return;
    free(split->owned);
    free(split);
}

uint64_t split_hash(const struct split *split, const void *key, size_t length)
{
    return hash(split->secret, key, length);
}

uint32_t split_arm(const struct split *split, uint64_t hash)
{
    return split->arm[hash % SPLIT_BUCKETS];
}

uint32_t split_owned(const struct split *split, uint32_t arm)
{
    return split->owned[arm];
}
