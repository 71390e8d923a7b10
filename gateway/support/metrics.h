/*
 * metrics: counters, gauges, histograms and sums of reals, and their Prometheus text.
 *
 * A family is a row of METRICS_TABLE. Code asks once, at set-up, for a series of a family with its
 * labels and keeps the pointer; each asker gets an instance of its own (so that a shard writes without
 * sharing a cache line), and instances with equal labels are summed when rendered; of a LARGEST the largest is shown.
 * One thread writes an instance, any thread may render. An instance given back keeps what it counted, and goes to the
 * next who asks for its labels: so series only grow, however often their writers come and go.
 */
#ifndef XEBEC_SUPPORT_METRICS_H
#define XEBEC_SUPPORT_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "support/buf.h"
#include "support/err.h"

/*    id                          type       name                                    unit of le / help */
#define METRICS_TABLE(X)                                                                                                      \
    X(METRIC_REQUESTS,            COUNTER,   "xebec_requests_total",                 "Requests answered, by endpoint, version and outcome (a cause, or ok).") \
    X(METRIC_REQUEST_SECONDS,     SECONDS,   "xebec_request_seconds",                "From the first byte of a request to its reply, by endpoint.") \
    X(METRIC_ARM_REQUESTS,        COUNTER,   "xebec_arm_requests_total",             "Requests answered, by endpoint, arm and outcome (a cause, ok, or default).") \
    X(METRIC_ARM_SECONDS,         SECONDS,   "xebec_arm_seconds",                    "From the first byte of a request to its reply, by endpoint and arm; without requests answered wholly from a cache.") \
    X(METRIC_ARM_ENDINGS,         AMOUNTS,   "xebec_arm_ending_seconds",             "From the first byte of a request to its reply, by endpoint, arm and ending: answered, cached (wholly), or failed (a default is a failure here).") \
    X(METRIC_ARM_LAST,            LARGEST,   "xebec_arm_last_answer_timestamp_seconds", "When the latest request was answered, since 1970, by endpoint and arm.") \
    X(METRIC_ARM_BUCKETS,         GAUGE,     "xebec_arm_buckets",                    "Buckets that an arm owns, of 10000, by endpoint and arm: the share of requests that it is given.") \
    X(METRIC_CANARY_PHASE,        GAUGE,     "xebec_canary_phase",                   "1 for the phase that a canary is in, by endpoint and phase.") \
    X(METRIC_CANARY_STEP,         GAUGE,     "xebec_canary_step",                    "Steps of a canary that were begun, by endpoint.") \
    X(METRIC_CANARY_P_VALUE,      GAUGE,     "xebec_canary_p_value_ppm",             "What a gate of a canary knows, by endpoint and gate: the smallest p-value so far, in millionths.") \
    X(METRIC_CANARY_FAULTS,       GAUGE,     "xebec_canary_faults",                  "What a canary is stopped for at once, as this gateway saw it since the canary began, by endpoint and fault: crash, contract or nan.") \
    X(METRIC_REQUESTS_OPEN,       GAUGE,     "xebec_requests_open",                  "Requests being worked on, by state.") \
    X(METRIC_ROWS,                COUNTER,   "xebec_rows_total",                     "Rows answered, by version and outcome.") \
    X(METRIC_QUEUE_SECONDS,       SECONDS,   "xebec_queue_seconds",                  "Time a row waited in its batch queue, by version.") \
    X(METRIC_QUEUE_ROWS,          GAUGE,     "xebec_queue_rows",                     "Rows waiting in the batch queue, by version.") \
    X(METRIC_BATCH_ROWS,          ROWS,      "xebec_batch_rows",                     "Rows in a batch, by version.") \
    X(METRIC_BATCHES,             COUNTER,   "xebec_batches_total",                  "Batches sent, by version and the reason of release.") \
    X(METRIC_BATCH_LIMIT,         GAUGE,     "xebec_batch_limit_rows",               "Largest batch the policy allows now, by version.") \
    X(METRIC_REFUSED_ROWS,        COUNTER,   "xebec_refused_rows_total",             "Rows refused at once, by version and reason: they or others would be late, the queue is full, or they yielded to others.") \
    X(METRIC_LEARNED_CALL,        GAUGE,     "xebec_learned_call_us",                "What a call takes besides its rows, in microseconds, as learned, by version.") \
    X(METRIC_LEARNED_ROW,         GAUGE,     "xebec_learned_row_ns",                 "What a row adds to its call, in nanoseconds, as learned, by version.") \
    X(METRIC_LEARNED_TAIL,        GAUGE,     "xebec_learned_tail_percent",           "The 98th percentile of what calls take, in percent of the usual, as learned, by version.") \
    X(METRIC_RPC_SECONDS,         SECONDS,   "xebec_rpc_seconds",                    "Time of one Predict call, by version.") \
    X(METRIC_RPCS,                COUNTER,   "xebec_rpcs_total",                     "Predict calls, by version and outcome.") \
    X(METRIC_RETRIES,             COUNTER,   "xebec_retries_total",                  "Calls sent again to another replica, by version.") \
    X(METRIC_HEDGES,              COUNTER,   "xebec_hedges_total",                   "Calls sent to a second replica because the first was late, by version and outcome: won (the second answered first), lost, or failed (neither answered).") \
    X(METRIC_EJECTIONS,           COUNTER,   "xebec_ejections_total",                "Times that a replica was ejected because it gave no answers while others did, by version.") \
    X(METRIC_SPILLED,             COUNTER,   "xebec_spilled_total",                  "Requests that another arm answered because no replica of this version was ready, by endpoint and version.") \
    X(METRIC_QUEUE_BACKGROUND,    GAUGE,     "xebec_queue_background_rows",          "Rows of shadows waiting for a version that has nothing else to do, by version.") \
    X(METRIC_SHADOW_SENT,         COUNTER,   "xebec_shadow_sent_rows_total",         "Rows sent to a shadow, by endpoint and the shadow's version.") \
    X(METRIC_SHADOW_ROWS,         COUNTER,   "xebec_shadow_rows_total",              "Rows of a shadow compared with what the client got, by endpoint, version and outcome.") \
    X(METRIC_SHADOW_DROPPED,      COUNTER,   "xebec_shadow_dropped_rows_total",      "Rows not compared, by endpoint, version and cause.") \
    X(METRIC_SHADOW_NOISE,        COUNTER,   "xebec_shadow_noise_rows_total",        "Rows that the primary was asked once more, by endpoint, the shadow's version and outcome: the noise floor.") \
    X(METRIC_SHADOW_CALL_SECONDS, SECONDS,   "xebec_shadow_call_seconds",            "Time of the models' calls for requests that both sides computed, by endpoint, version and side: primary or shadow.") \
    X(METRIC_SHADOW_OUTPUT_ROWS,  COUNTER,   "xebec_shadow_output_rows_total",       "Outputs of rows of a shadow, by endpoint, version, output and outcome: agrees, differs, or mismatched (not there, or of another type or shape).") \
    X(METRIC_SHADOW_OUTPUT_ERROR, AMOUNTS,   "xebec_shadow_output_error",            "How far a shadow's numbers are from the primary's, |shadow - primary|, by endpoint, version and output: _sum / _count is the mean.") \
    X(METRIC_SHADOW_OUTPUT_MOST,  LARGEST,   "xebec_shadow_output_error_max",        "The largest |shadow - primary| since the shadow began, by endpoint, version and output.") \
    X(METRIC_SHADOW_OUTPUT_NAN,   COUNTER,   "xebec_shadow_output_nan_total",        "Numbers that are NaN, by endpoint, version, output and side: primary or shadow.") \
    X(METRIC_SHADOW_OUTPUT_TOP_K, AMOUNTS,   "xebec_shadow_output_top_k_overlap",    "Of a row's k largest numbers those that both sides have, 0 to 1, by endpoint, version and output: _sum / _count is the mean.") \
    X(METRIC_REPLICAS_UP,         GAUGE,     "xebec_replicas_up",                    "Replicas ready to serve, by version.") \
    X(METRIC_REPLICAS,            GAUGE,     "xebec_replicas",                       "Replicas configured or found by name, by version; without those that drain.") \
    X(METRIC_REPLICA_STATES,      GAUGE,     "xebec_replica_states",                 "Replicas, by version and state.") \
    X(METRIC_REPLICAS_LEFT_OUT,   GAUGE,     "xebec_replicas_left_out",              "Addresses found by name and not used, because a version has 256 replicas at most.") \
    X(METRIC_DISCOVERY_LOOKUPS,   COUNTER,   "xebec_discovery_lookups_total",        "Questions for the addresses of dns: names, by version and outcome.") \
    X(METRIC_CACHE_HITS,          COUNTER,   "xebec_cache_hits_total",               "Rows answered from memory.") \
    X(METRIC_CACHE_JOINS,         COUNTER,   "xebec_cache_joins_total",              "Rows that joined an identical row in flight.") \
    X(METRIC_CACHE_MISSES,        COUNTER,   "xebec_cache_misses_total",             "Rows looked up and not found.") \
    X(METRIC_CACHE_EVICTIONS,     COUNTER,   "xebec_cache_evictions_total",          "Rows evicted to make room.") \
    X(METRIC_CACHE_BYTES,         GAUGE,     "xebec_cache_bytes",                    "Bytes the cache takes, everything counted.") \
    X(METRIC_CACHE_ROWS,          GAUGE,     "xebec_cache_rows",                     "Rows in the cache.") \
    X(METRIC_CACHE_REDIS_ROWS,    COUNTER,   "xebec_cache_redis_rows_total",         "Rows that memory missed, by version and how looking them up in Redis ended.") \
    X(METRIC_CACHE_REDIS_STORES,  COUNTER,   "xebec_cache_redis_stores_total",       "Answers for Redis, by version and how storing them ended.") \
    X(METRIC_CACHE_REDIS_SECONDS, SECONDS,   "xebec_cache_redis_seconds",            "Time that requests waited for a lookup in Redis.") \
    X(METRIC_CACHE_REDIS_AWAITING, GAUGE,    "xebec_cache_redis_awaiting",           "Shards whose lookups in Redis are waited for, rather than sampled, by version.") \
    X(METRIC_REDIS_BREAKERS,      GAUGE,     "xebec_redis_breakers",                 "Connections to Redis, by use and state of their circuit breaker: closed is well.") \
    X(METRIC_REDIS_OPENED,        COUNTER,   "xebec_redis_opened_total",             "Times that a connection to Redis was lost or given up, by use.") \
    X(METRIC_REDIS_COMMANDS,      COUNTER,   "xebec_redis_commands_total",           "Commands to Redis, by use and outcome.") \
    X(METRIC_REDIS_SECONDS,       SECONDS,   "xebec_redis_seconds",                  "From sending a command to Redis to its reply, by use.") \
    X(METRIC_CONNECTIONS,         GAUGE,     "xebec_connections",                    "Client connections open.") \
    X(METRIC_CONNECTIONS_TOTAL,   COUNTER,   "xebec_connections_total",              "Client connections accepted.") \
    X(METRIC_CONNECTIONS_REFUSED, COUNTER,   "xebec_connections_refused_total",      "Client connections closed at the cap.") \
    X(METRIC_TLS_HANDSHAKES,      COUNTER,   "xebec_tls_handshakes_total",           "TLS handshakes with clients, by listener and outcome.") \
    X(METRIC_TLS_EXPIRY,          GAUGE,     "xebec_tls_certificate_expiry_seconds", "When the gateway's own certificate expires, in seconds since 1970; its chain's, where that is sooner.") \
    X(METRIC_HTTP_ERRORS,         COUNTER,   "xebec_http_errors_total",              "Requests refused before they reached an endpoint, by cause.")

enum metric_id {
#define X(id, type, name, help) id,
    METRICS_TABLE(X)
#undef X
    METRIC_COUNT
};

struct metrics; /* the registry; one a process */

/* One writer: relaxed load and store, no locked instruction. Gauges may go down; they read as signed. */
struct metric {
    _Atomic uint64_t value;
};
static inline void metric_add(struct metric *metric, uint64_t n)
{
    atomic_store_explicit(&metric->value,
                          atomic_load_explicit(&metric->value, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline void metric_sub(struct metric *metric, uint64_t n) { metric_add(metric, 0 - n); }
static inline void metric_set(struct metric *metric, uint64_t n)
{
    atomic_store_explicit(&metric->value, n, memory_order_relaxed);
}

/*
 * Bounds are powers of two: SECONDS from 1 us to 67 s (given in microseconds, rendered in seconds),
 * ROWS from 1 to 65536. Finer buckets inside (4 a power of two) serve histogram_quantile().
 */
struct histogram;
void histogram_observe(struct histogram *histogram, uint64_t value);
/* The value below which q (0..1) of the observations lie, within 12 %; 0 when there are none. */
uint64_t histogram_quantile(const struct histogram *histogram, double q);

/* A sum of reals, and of how many: a Prometheus summary without quantiles. It stays finite. */
struct amounts;
void amounts_add(struct amounts *amounts, double sum, uint64_t n);
/* Of a LARGEST, a real that is 0 at first: to `value`, if that is more. */
void metric_raise(struct metric *metric, double value);

struct metrics *metrics_new(void) GW_MUST_CHECK;
void metrics_free(struct metrics *metrics); /* frees every instance too */

/* Name, value, name, value: METRIC_LABELS("endpoint", "digits", "outcome", "ok"). NULL: no labels. */
#define METRIC_LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})

/*
 * An instance of the series with these labels, the caller's to write; values may be any text. Any thread. NULL: out of
 * memory. Owned by the registry; given back by metrics_release(), or never.
 */
struct metric *metrics_series(struct metrics *metrics, enum metric_id id, const char *const *labels) GW_MUST_CHECK;
struct histogram *metrics_histogram(struct metrics *metrics, enum metric_id id, const char *const *labels) GW_MUST_CHECK;
struct amounts *metrics_amounts(struct metrics *metrics, enum metric_id id, const char *const *labels) GW_MUST_CHECK;

/*
 * The writer is done with it: `instance` is what one of the three above returned; NULL is harmless. Counts stay, a gauge
 * and a LARGEST go to zero. Any thread.
 */
void metrics_release(struct metrics *metrics, void *instance);

/* What all instances of a series say together. */
struct metrics_sum {
    uint64_t count; /* of a histogram and AMOUNTS: how many; of a COUNTER or GAUGE its value; of a LARGEST 0 */
    double sum;     /* of what was observed, as it was given, SECONDS in microseconds; of a LARGEST its value */
};
/* All zero where there is no such series. Any thread. */
struct metrics_sum metrics_read(struct metrics *metrics, enum metric_id id, const char *const *labels);

/* Prometheus text format 0.0.4: HELP, TYPE, and every series, families in table order. */
void metrics_render(struct metrics *metrics, struct buf *out);

#endif
