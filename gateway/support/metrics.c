/*
 * metrics: families hold series (a set of labels), series hold instances (one writer each).
 * The lock guards the lists, which only grow, and who has an instance; values are read without it.
 */
#include "support/metrics.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum metric_type { COUNTER, GAUGE, LARGEST, SECONDS, ROWS, AMOUNTS };

static const struct family {
    const char *name, *help;
    enum metric_type type;
} families[METRIC_COUNT] = {
#define X(id, type, name, help) [id] = {name, help, type},
    METRICS_TABLE(X)
#undef X
};

/*
 * Bucket i of a histogram holds values in (bound(i - 1), bound(i)]: 4 a power of two, exact up to 4.
 * POWERS is the largest power of two with a bound of its own; the last bucket takes the rest.
 */
enum { STEPS = 4, POWERS = 26, BUCKETS = STEPS + (POWERS - 2) * STEPS + 1 };
enum { ROWS_POWERS = 16 };

struct histogram {
    _Atomic uint64_t counts[BUCKETS];
    _Atomic uint64_t sum;
};

struct amounts {
    _Atomic uint64_t count;
    _Atomic uint64_t sum; /* a double's bits, as in a LARGEST */
};

struct instance {
    struct instance *next;
    bool idle; /* given back: nobody writes it */
    bool is_gauge;
    _Alignas(64) union { /* a cache line of its own: each has another writer */
        struct metric metric;
        struct histogram histogram;
        struct amounts amounts;
    };
};

struct series {
    struct series *next;
    struct instance *instances;
    char labels[];
};

struct metrics {
    pthread_mutex_t lock;
    struct series *series[METRIC_COUNT];
};

struct metrics *metrics_new(void)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics)
        pthread_mutex_init(&metrics->lock, NULL);
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    for (int id = 0; id < METRIC_COUNT; id++)
        for (struct series *series = metrics->series[id], *next_series; series; series = next_series) {
            next_series = series->next;
            for (struct instance *instance = series->instances, *next; instance; instance = next) {
                next = instance->next;
                free(instance);
            }
            free(series);
        }
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

/* The series with these labels, made if need be, at the end of its family. Called with the lock held. */
static struct series *series_find(struct metrics *metrics, enum metric_id id, const char *labels)
{
    struct series **at = &metrics->series[id];
    while (*at && strcmp((*at)->labels, labels) != 0)
        at = &(*at)->next;
    if (!*at) {
        size_t length = strlen(labels);
        *at = calloc(1, sizeof **at + length + 1);
        if (*at)
            memcpy((*at)->labels, labels, length + 1);
    }
    return *at;
}

/* `endpoint="digits",outcome="ok"`, as Prometheus wants it between the braces. */
static void write_labels(struct buf *out, const char *const *labels)
{
    for (size_t i = 0; labels && labels[i]; i += 2) {
        buf_printf(out, "%s%s=\"", i ? "," : "", labels[i]);
        for (const char *at = labels[i + 1]; *at; at++) {
            if (*at == '\n')
                buf_text(out, "\\n");
            else if (*at == '"' || *at == '\\')
                buf_printf(out, "\\%c", *at);
            else
                buf_append(out, at, 1);
        }
        buf_text(out, "\"");
    }
    buf_append(out, "", 1);
}

static struct instance *instance_new(enum metric_id id)
{
    bool is_histogram = families[id].type == SECONDS || families[id].type == ROWS;
    size_t bytes = is_histogram ? sizeof(struct instance)
                                : offsetof(struct instance, metric) + _Alignof(struct instance);
    struct instance *instance = aligned_alloc(_Alignof(struct instance), bytes);
    if (!instance)
        return NULL;
    memset(instance, 0, bytes);
    instance->is_gauge = families[id].type == GAUGE || families[id].type == LARGEST;
    return instance;
}

/* One that was given back, or a new one. Called with the lock held. */
static struct instance *series_lend(struct series *series, enum metric_id id)
{
    for (struct instance *instance = series->instances; instance; instance = instance->next)
        if (instance->idle) {
            instance->idle = false;
            return instance;
        }
    struct instance *instance = instance_new(id);
    if (instance) {
        instance->next = series->instances;
        series->instances = instance;
    }
    return instance;
}

static struct instance *instance_get(struct metrics *metrics, enum metric_id id, const char *const *labels)
{
    struct instance *instance = NULL;
    struct buf text = {0};
    write_labels(&text, labels);
    if (!text.failed) {
        pthread_mutex_lock(&metrics->lock);
        struct series *series = series_find(metrics, id, text.bytes);
        instance = series ? series_lend(series, id) : NULL;
        pthread_mutex_unlock(&metrics->lock);
    }
    buf_clear(&text);
    return instance;
}

struct metric *metrics_series(struct metrics *metrics, enum metric_id id, const char *const *labels)
{
    struct instance *instance = instance_get(metrics, id, labels);
    return instance ? &instance->metric : NULL;
}

struct histogram *metrics_histogram(struct metrics *metrics, enum metric_id id, const char *const *labels)
{
    struct instance *instance = instance_get(metrics, id, labels);
    return instance ? &instance->histogram : NULL;
}

struct amounts *metrics_amounts(struct metrics *metrics, enum metric_id id, const char *const *labels)
{
    struct instance *instance = instance_get(metrics, id, labels);
    return instance ? &instance->amounts : NULL;
}

void metrics_release(struct metrics *metrics, void *of)
{
    if (!of)
        return;
    struct instance *instance = (struct instance *)((char *)of - offsetof(struct instance, metric));
    pthread_mutex_lock(&metrics->lock);
    if (instance->is_gauge)
        metric_set(&instance->metric, 0);
    instance->idle = true;
    pthread_mutex_unlock(&metrics->lock);
}

/* --- histograms --- */

static uint32_t bucket_of(uint64_t value)
{
    if (value <= STEPS)
        return value ? (uint32_t)value - 1 : 0;
    uint64_t below = value - 1; /* so that a bound belongs to the bucket it closes */
    uint32_t power = 63 - (uint32_t)__builtin_clzll(below);
    if (power >= POWERS)
        return BUCKETS - 1;
    uint32_t step = (uint32_t)(below >> (power - 2)) & (STEPS - 1);
    return STEPS + (power - 2) * STEPS + step;
}

static uint64_t bucket_bound(uint32_t bucket)
{
    if (bucket < STEPS)
        return bucket + 1;
    uint32_t power = (bucket - STEPS) / STEPS + 2, step = (bucket - STEPS) % STEPS;
    return ((uint64_t)STEPS + step + 1) << (power - 2);
}

static void bump(_Atomic uint64_t *cell, uint64_t n)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

void histogram_observe(struct histogram *histogram, uint64_t value)
{
    bump(&histogram->counts[bucket_of(value)], 1);
    bump(&histogram->sum, value);
}

uint64_t histogram_quantile(const struct histogram *histogram, double q)
{
    uint64_t counts[BUCKETS], total = 0, seen = 0;
    for (uint32_t i = 0; i < BUCKETS; i++)
        total += counts[i] = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
    for (uint32_t i = 0; i < BUCKETS && total; i++) {
        seen += counts[i];
        if ((double)seen >= q * (double)total && seen) {
            /* 4/9 of the way through a bucket of (4k, 5k] is equally far, in proportion, from both its ends
             */
            uint64_t low = i ? bucket_bound(i - 1) : 0;
            return low + ((bucket_bound(i) - low) * 4 + 8) / 9;
        }
    }
    return total ? bucket_bound(BUCKETS - 1) : 0;
}

/* --- reals --- */

static double read_real(const _Atomic uint64_t *cell)
{
    uint64_t bits = atomic_load_explicit(cell, memory_order_relaxed);
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

static void write_real(_Atomic uint64_t *cell, double real)
{
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    atomic_store_explicit(cell, bits, memory_order_relaxed);
}

static double add_finite(double a, double b)
{
    return fmin(a + b, DBL_MAX);
}

void amounts_add(struct amounts *amounts, double sum, uint64_t n)
{
    write_real(&amounts->sum, add_finite(read_real(&amounts->sum), sum));
    bump(&amounts->count, n);
}

void metric_raise(struct metric *metric, double value)
{
    if (value > read_real(&metric->value))
        write_real(&metric->value, value);
}

/* --- one series --- */

static void sum_instance(struct metrics_sum *sum, const struct instance *instance, enum metric_type type)
{
    switch (type) {
    case COUNTER:
    case GAUGE:
        sum->count += atomic_load_explicit(&instance->metric.value, memory_order_relaxed);
        break;
    case LARGEST:
        sum->sum = fmax(sum->sum, read_real(&instance->metric.value));
        break;
    case SECONDS:
    case ROWS:
        for (uint32_t i = 0; i < BUCKETS; i++)
            sum->count += atomic_load_explicit(&instance->histogram.counts[i], memory_order_relaxed);
        sum->sum += (double)atomic_load_explicit(&instance->histogram.sum, memory_order_relaxed);
        break;
    case AMOUNTS:
        sum->count += atomic_load_explicit(&instance->amounts.count, memory_order_relaxed);
        sum->sum = add_finite(sum->sum, read_real(&instance->amounts.sum));
        break;
    }
}

struct metrics_sum metrics_read(struct metrics *metrics, enum metric_id id, const char *const *labels)
{
    struct metrics_sum sum = {0};
    struct buf text = {0};
    write_labels(&text, labels);
    pthread_mutex_lock(&metrics->lock);
    for (const struct series *series = metrics->series[id]; series && !text.failed; series = series->next)
        if (!strcmp(series->labels, text.bytes))
            for (const struct instance *at = series->instances; at; at = at->next)
                sum_instance(&sum, at, families[id].type);
    pthread_mutex_unlock(&metrics->lock);
    buf_clear(&text);
    return sum;
}

/* --- text --- */

static void render_value(struct buf *out, const char *name, const struct series *series, bool is_signed)
{
    uint64_t sum = 0;
    for (const struct instance *instance = series->instances; instance; instance = instance->next)
        sum += atomic_load_explicit(&instance->metric.value, memory_order_relaxed);
    buf_printf(out, series->labels[0] ? "%s{%s} " : "%s%s ", name, series->labels);
    if (is_signed)
        buf_printf(out, "%lld\n", (long long)sum);
    else
        buf_printf(out, "%llu\n", (unsigned long long)sum);
}

static void render_real(struct buf *out, const char *name, const char *suffix, const char *labels,
                        double real)
{
    buf_printf(out, labels[0] ? "%s%s{%s} %.9g\n" : "%s%s%s %.9g\n", name, suffix, labels, real);
}

static void render_largest(struct buf *out, const char *name, const struct series *series)
{
    double largest = 0;
    for (const struct instance *instance = series->instances; instance; instance = instance->next)
        largest = fmax(largest, read_real(&instance->metric.value));
    render_real(out, name, "", series->labels, largest);
}

static void render_amounts(struct buf *out, const char *name, const struct series *series)
{
    double sum = 0;
    uint64_t count = 0;
    for (const struct instance *instance = series->instances; instance; instance = instance->next) {
        sum = add_finite(sum, read_real(&instance->amounts.sum));
        count += atomic_load_explicit(&instance->amounts.count, memory_order_relaxed);
    }
    render_real(out, name, "_sum", series->labels, sum);
    buf_printf(out, series->labels[0] ? "%s_count{%s} %llu\n" : "%s_count%s %llu\n", name, series->labels,
               (unsigned long long)count);
}

static void render_bucket(struct buf *out, const char *name, const char *labels, const char *bound,
                          uint64_t count)
{
    buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %llu\n", name, labels, labels[0] ? "," : "", bound,
               (unsigned long long)count);
}

static void render_histogram(struct buf *out, const struct family *family, const struct series *series)
{
    uint64_t counts[BUCKETS] = {0}, sum = 0, seen = 0;
    for (const struct instance *instance = series->instances; instance; instance = instance->next) {
        for (uint32_t i = 0; i < BUCKETS; i++)
            counts[i] += atomic_load_explicit(&instance->histogram.counts[i], memory_order_relaxed);
        sum += atomic_load_explicit(&instance->histogram.sum, memory_order_relaxed);
    }
    double unit = family->type == SECONDS ? 1e-6 : 1;
    uint32_t powers = family->type == SECONDS ? POWERS : ROWS_POWERS;
    for (uint32_t i = 0, power = 0; i < BUCKETS; i++) {
        seen += counts[i];
        if (power > powers || i == BUCKETS - 1 || bucket_bound(i) != (uint64_t)1 << power)
            continue;
        char bound[32];
        snprintf(bound, sizeof bound, "%.9g", (double)((uint64_t)1 << power++) * unit);
        render_bucket(out, family->name, series->labels, bound, seen);
    }
    render_bucket(out, family->name, series->labels, "+Inf", seen);
    const char *open = series->labels[0] ? "{" : "", *close = series->labels[0] ? "}" : "";
    buf_printf(out, "%s_sum%s%s%s %.9g\n", family->name, open, series->labels, close, (double)sum * unit);
    buf_printf(out, "%s_count%s%s%s %llu\n", family->name, open, series->labels, close,
               (unsigned long long)seen);
}

static void render_series(struct buf *out, const struct family *family, const struct series *series)
{
    switch (family->type) {
    case COUNTER:
    case GAUGE:
        render_value(out, family->name, series, family->type == GAUGE);
        break;
    case LARGEST:
        render_largest(out, family->name, series);
        break;
    case SECONDS:
    case ROWS:
        render_histogram(out, family, series);
        break;
    case AMOUNTS:
        render_amounts(out, family->name, series);
        break;
    }
}

void metrics_render(struct metrics *metrics, struct buf *out)
{
    static const char *const types[] = {[COUNTER] = "counter",   [GAUGE] = "gauge",    [LARGEST] = "gauge",
                                        [SECONDS] = "histogram", [ROWS] = "histogram", [AMOUNTS] = "summary"};
    pthread_mutex_lock(&metrics->lock);
    for (int id = 0; id < METRIC_COUNT; id++) {
        const struct family *family = &families[id];
        if (!metrics->series[id])
            continue;
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                   types[family->type]);
        for (const struct series *series = metrics->series[id]; series; series = series->next)
            render_series(out, family, series);
    }
    pthread_mutex_unlock(&metrics->lock);
}
