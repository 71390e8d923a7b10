/*
 * shadow: other versions are asked what a client asked, and their answers compared with the client's. Nobody waits for them.
 *
 *   request_free(): the reply is sent, the outcomes are known
 *     -> shadow_follow(): drawn? room left? then inputs are copied and answers kept: a run
 *        -> a background job at the shadow's version (infer/version.h): cut only while no client's row waits there
 *           -> home: each row is compared (judge/compare.h), the worst kept (judge/worst.h), the run freed
 *
 * So a shadow knows its client's outcome from the start, owns all it needs, and outlives request, period and plan. It never
 * delays: what it costs comes after the reply. It never crowds out: rows and bytes of runs under way are bounded per shadow,
 * over all shards, and what is over, late, or without a replica is dropped and counted, never retried here.
 *
 * Drawn: by the request's id and the shadow's name, not by the sticky key: each request on its own, so that the sample goes
 * through all clients, none of which can make up the whole of it. Shadows draw independently of each other.
 * Compared: rows that the primary answered or failed itself; not those that the gateway gave up (late, shed, no replica).
 * Also rows answered from a cache: what counts is what the client got. Their latency does not count. Requests that the shadow's
 * version itself answered, as an arm, are passed over. Shadows read no cache and fill none.
 * Noise floor: of the requests that a shadow follows, a share is asked of the primary's own version once more, past the
 * cache, and compared in the same way: what a model that is not deterministic disagrees with itself. A replica with another
 * model digest says nothing of that: dropped as stale.
 *
 * Threads: a shadow has a part for each shard, written there alone. Counts may be read by any thread.
 */
#ifndef XEBEC_INFER_SHADOW_H
#define XEBEC_INFER_SHADOW_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "judge/compare.h"
#include "judge/worst.h"
#include "support/loop.h"
#include "support/metrics.h"

struct request;
struct shadow;
struct shadow_run;

/* One shadow of one endpoint. Takes a reference to `whole`, in which the other two lie. NULL: out of memory. Counted. */
struct shadow *shadow_new(const struct config_endpoint *endpoint, const struct config_shadow *config, struct config *whole,
                          struct metrics *metrics) GW_MUST_CHECK;
struct shadow *shadow_ref(struct shadow *shadow);
void shadow_unref(struct shadow *shadow); /* any thread; NULL is harmless */
/* Whether it is what a newer configuration asks for, so that it can go on counting. */
bool shadow_is(const struct shadow *shadow, const struct config_endpoint *endpoint, const struct config_shadow *config);

/* --- the request's shard --- */

/* Runs that set out from one shard and are not back. Zero-initialised it is empty. */
struct shadow_line {
    struct shadow_run *first;
};
/* A request that has its reply: every shadow of its endpoint that draws it sets out. Copies what it needs. */
void shadow_follow(struct request *request);
/* All are called back; they come home soon, and are dropped. */
void shadow_line_recall(struct shadow_line *line);

/* Of which name? What a shadow, or its noise floor, is drawn by. */
uint64_t shadow_salt(const char *endpoint, const char *version);
/* Whether a request belongs to the share (0..1) that follows. Pure; shares nest: who is drawn for 10 % is for 20 %. */
bool shadow_draws(uint64_t salt, uint64_t request_id, double share);

/* --- what it came to --- */

/* For the judges: since the shadow began, over all shards. Any thread. */
struct shadow_counts {
    uint64_t compared, disagreed;             /* rows that both answered; of them, those beyond tolerance */
    uint64_t noise_compared, noise_disagreed; /* the same of the primary with itself */
};
void shadow_counts(const struct shadow *shadow, struct shadow_counts *counts);

enum shadow_drop {
    SHADOW_DROP_ROWS,     /* max_rows were under way */
    SHADOW_DROP_HELD,     /* as many bytes as may be held were */
    SHADOW_DROP_MEMORY,
    SHADOW_DROP_QUEUE,    /* the version's background queue was full */
    SHADOW_DROP_REPLICA,  /* no replica was ready, or the last was lost */
    SHADOW_DROP_DEADLINE, /* not answered within the shadow's timeout */
    SHADOW_DROP_STALE,    /* noise floor: another model answered this time */
    SHADOW_DROP_STOPPED,  /* the gateway, or the version, went away */
    SHADOW_DROPS
};
const char *shadow_drop_name(enum shadow_drop drop); /* "rows_limit"; for metrics and people */

/* All that one shard knows of it, or several, added up. */
struct shadow_report {
    uint64_t sent;                                  /* rows */
    uint64_t dropped[SHADOW_DROPS];                 /* rows, sent or not; the noise floor's too */
    struct compare_summary answers, noise;
    uint64_t calls, primary_call_us, shadow_call_us; /* requests that models answered on both sides; sums of what their calls took */
};
/* Adds one shard's part. On that shard's thread. */
void shadow_report_add(const struct shadow *shadow, uint32_t shard, struct shadow_report *report);
/* One shard's worst examples: judge/worst.h's worst_list(), on that shard's thread. 0 where none are kept. */
uint32_t shadow_examples(const struct shadow *shadow, uint32_t shard, const struct worst_example **examples, uint32_t room);
/* Under way now: rows, and bytes held for them. Any thread. */
uint64_t shadow_rows_open(const struct shadow *shadow);
uint64_t shadow_bytes_held(const struct shadow *shadow);

#endif
