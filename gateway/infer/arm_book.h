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
#ifndef XEBEC_INFER_ARM_BOOK_H
#define XEBEC_INFER_ARM_BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "infer/evidence_quantiles.h"

enum { BOOK_ARMS = 2 }; /* [0]: the baseline, [1]: the candidate */

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

#endif
