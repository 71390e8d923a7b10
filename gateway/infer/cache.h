/*
 * cache: answers to rows, in memory, shared by all shards; and the rows in flight, so that identical
 * ones are computed once.
 *
 * Eviction is S3-FIFO: a small queue takes newcomers, those asked for again while there move to the main
 * queue, and a ghost list of keys remembers who was evicted too early; a scan passes through the small queue only.
 *   Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.
 * Keys are 128-bit SipHash under a secret drawn at start, so nobody outside can aim at a collision.
 *   Source: Aumasson and Bernstein, "SipHash", 2012; libsodium's crypto_shorthash_siphashx24.
 *
 * Thread-safe: the table is cut in segments by key, each with a lock that is never held over a system call
 * other than malloc's.
 *
 *   a row:  cache_lookup -> HIT                                  the answer
 *                        -> LEAD    compute it, then exactly one of cache_fill / cache_fail / cache_abandon
 *                        -> JOINED  woken by the leader's fill (the answer), fail (its error), or abandon (look up again)
 *                        -> PASS    compute it and tell the cache nothing: no memory for an entry; or it is led by somebody who
 *                                   waits for a replica where there is none, and who asks does not
 */
#ifndef XEBEC_INFER_CACHE_H
#define XEBEC_INFER_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/result.h"
#include "replica/tensor.h"
#include "support/err.h"
#include "support/loop.h"
#include "support/metrics.h"

struct cache;

struct cache_key {
    uint64_t word[2];
};

/*
 * bytes: the bound on everything: entries (those in flight too), answers, table, ghosts, with malloc's own share.
 * One answer may take an eighth of a segment; larger ones are handed on, not stored. A cache of too few bytes,
 * or 0, keeps nothing: every lookup is PASS, and keys are still made. NULL: out of memory.
 */
struct cache *cache_new(size_t bytes, struct metrics *metrics) GW_MUST_CHECK;
void cache_free(struct cache *cache); /* nobody may be waiting; NULL is harmless */

/*
 * The part of the key that all rows of a request share: version, model digest, and the names, datatypes and
 * trailing shapes of its inputs, wanted outputs, parameters. Each part is hashed by itself, under the hash of those
 * before it, and lists begin with their length: no two contexts read alike. Serves as the kind of a batch_entry, too.
 */
struct cache_key cache_context_key(const struct cache *cache, const char *version, const uint64_t digest[2],
                                   const struct tensor *inputs, uint32_t n_inputs,
                                   const char *const *outputs, uint32_t n_outputs,
                                   const uint8_t *parameters, size_t parameters_bytes);
struct cache_key cache_row_key(struct cache_key context, const struct tensor *inputs, uint32_t n_inputs,
                               uint32_t row);

/*
 * Who waits for a row that another one computes. Embedded in the row; the cache's from JOINED until woken.
 * Zero-initialise it, set loop, woken and waits.
 */
struct cache_waiter {
    struct loop *loop;                      /* set by the caller: woken runs there */
    bool waits;                             /* likewise: when the version has no replica, for one to come */
    void (*woken)(struct cache_waiter *waiter);
    struct loop_task task;                  /* the cache's */
    struct cache_waiter *next, **link;      /* the cache's; link is NULL while nobody has it in line */
    enum { CACHE_WOKEN_ANSWER, CACHE_WOKEN_FAILED, CACHE_WOKEN_RETRY } how; /* when woken */
    struct predict_result *answer;          /* ANSWER: one reference, the waiter's now; one row */
    struct gw_err err;                      /* FAILED */
};

enum cache_outcome { CACHE_HIT, CACHE_LEAD, CACHE_JOINED, CACHE_PASS };

/* HIT: *answer holds one row and a reference, the caller's. JOINED: waiter is linked. now_us: CLOCK_MONOTONIC. */
enum cache_outcome cache_lookup(struct cache *cache, struct cache_key key, uint64_t now_us,
                                struct cache_waiter *waiter, struct predict_result **answer);

/*
 * The leader's answer: stored for ttl_us where `store` (else only handed to those who wait); `row` of
 * `answer`, which must be well, is copied. Without memory nothing is stored, and waiters are told to look up
 * again. Like fail and abandon, harmless when nobody leads this key.
 */
void cache_fill(struct cache *cache, struct cache_key key, const struct predict_result *answer, uint32_t row,
                uint64_t now_us, uint64_t ttl_us, bool store);
void cache_fail(struct cache *cache, struct cache_key key, const struct gw_err *err); /* waiters get err; nothing is stored */
void cache_abandon(struct cache *cache, struct cache_key key);                        /* the leader gave up: one waiter will lead */

/*
 * A waiter that no longer wants the row, from JOINED until woken. True: it is unlinked and will not be woken.
 * False: woken() is on its way, on the waiter's loop.
 */
bool cache_leave(struct cache *cache, struct cache_key key, struct cache_waiter *waiter);

#endif
