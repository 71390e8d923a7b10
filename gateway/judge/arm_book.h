/*
 * arm_book: what is known of the two arms of a canary: counted by every shard, read by the main thread, for the judges.
 *
 * Each shard has a page of its own for each arm and is its only writer: relaxed loads and stores, no locked instruction,
 * a few nanoseconds a request. The main thread adds the pages up whenever it likes; counts of one request may then be seen
 * one without the other, which makes one of them late by one reading, never lost.
 *
 * What is compared is a request that says something of its version:
 *   - its arm was drawn: not asked for by a header or by name, not spilled from another arm;
 *   - it was not answered wholly from a cache: such an answer costs the same whoever gave it, once, and a new version's
 *     cache is cold;
 *   - of a sticky endpoint, it is the first of its key: a key is one draw, however often it comes back. A filter of 8 Mbit
 *     for all shards remembers keys. It forgets none; it takes a new key for a known one in n / 8.4 million cases when n keys
 *     are known, whatever their arm: those are not compared. It begins empty with the gateway and with new versions.
 *
 * Bad is one that ended, in whole or in a row, in an error, or in the endpoint's default for one. Not a client that left, and not a
 * gateway that shuts down. Input that does not fit the signature never gets as far as an arm; a row that the MODEL calls
 * invalid is bad: a candidate may refuse what the baseline takes, and what both refuse is bad for both.
 */
#ifndef XEBEC_JUDGE_ARM_BOOK_H
#define XEBEC_JUDGE_ARM_BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "judge/evidence_quantiles.h"
#include "support/err.h"

enum { BOOK_ARMS = 2 }; /* [0]: the baseline, [1]: the candidate */

struct arm_books; /* counted; go on from plan to plan */
struct arm_lot;   /* what is counted of one split alone: the draws. One a plan */

/* Of one arm, cumulative since its books began; summed over shards. */
struct arm_counts {
    uint64_t drawn;                /* requests that fell to it by the split of number `lot`, firsts of a key */
    uint64_t requests, bad;        /* compared, as above */
    uint64_t contract;             /* requests, compared or not, for which its replicas broke their contract */
    uint64_t nan;                  /* requests, compared or not, that it answered with a NaN */
    uint64_t crashed;              /* replicas of the version that died with calls in flight, whoever's calls */
    struct latency_counts latency; /* of those compared: from the first byte to the reply */
    struct tally disagreement;     /* [1] only: rows that a shadow compared with the baseline's. Not in the books: whoever has it adds it */
    uint64_t began_us;             /* which books these are: all of the above began anew with them */
    uint64_t lot;                  /* of those books, which split; `drawn` begins anew with it */
    double share;                  /* of the buckets of both arms, those that are this one's by that split: 0..1 */
};

/* How a request ended. */
struct arm_outcome {
    bool compared, bad, contract, nan;
    uint64_t latency_us;
};

/* with_keys: 1 MiB to know keys again. now_us: tells these books from others. NULL: out of memory. Any thread. */
struct arm_books *arm_books_new(uint32_t shards, bool with_keys, uint64_t now_us) GW_MUST_CHECK;
struct arm_books *arm_books_ref(struct arm_books *books);
void arm_books_unref(struct arm_books *books); /* NULL is harmless */
/* share: the candidate's, as in arm_counts. NULL: out of memory. */
struct arm_lot *arm_lot_new(struct arm_books *books, double share) GW_MUST_CHECK;
void arm_lot_free(struct arm_lot *lot); /* NULL is harmless */

/* By a shard, under its own number. */
void arm_lot_draw(struct arm_lot *lot, uint32_t shard, uint32_t arm);
void arm_books_count(struct arm_books *books, uint32_t shard, uint32_t arm, const struct arm_outcome *outcome);
/* Whether this key (a hash) comes for the first time; always, without keys. Any thread. */
bool arm_books_is_first(struct arm_books *books, uint64_t key);

/* crashed and disagreement are 0. Any thread. */
void arm_books_read(const struct arm_books *books, const struct arm_lot *lot, struct arm_counts counts[BOOK_ARMS]);

#endif
