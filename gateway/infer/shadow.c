/* shadow: a run's life in order: drawn, admitted, sent, home, compared; then what is read of it all. */
#include "infer/shadow.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/request.h"
#include "infer/shadow_metrics.h"
#include "infer/shadow_run.h"

/* What one shard counts. */
struct shadow_part {
    struct shadow_report report;
    struct metric compared[SHADOW_ERRANDS], disagreed[SHADOW_ERRANDS]; /* read by any thread */
    struct worst *worst;                                               /* NULL: no examples are kept */
    struct shadow_metrics *metrics;
};

struct shadow {
    _Atomic uint32_t refs;
    _Atomic uint64_t rows_open, bytes_held; /* of runs under way, from all shards */
    struct config *whole;                   /* one reference */
    const struct config_endpoint *endpoint;
    const struct config_shadow *config;
    struct compare_limits limits;
    uint64_t salt, noise_salt;
    uint32_t n_parts;
    struct shadow_part parts[]; /* by shard */
};

static struct shadow_part *run_part(const struct shadow_run *run)
{
    return &run->shadow->parts[run->shard];
}

/* --- a shadow --- */

static bool open_worst(struct shadow *shadow)
{
    struct worst_limits limits = {.examples = shadow->config->examples,
                                  .row_bytes = shadow->config->example_bytes,
                                  .inputs = (enum worst_inputs)shadow->config->inputs};
    bool all = true;
    randombytes_buf(limits.key, sizeof limits.key); /* one key, so that equal rows look equal in all shards */
    for (uint32_t i = 0; limits.examples && i < shadow->n_parts; i++)
        all = (shadow->parts[i].worst = worst_new(&limits)) && all;
    return all;
}

static bool open_metrics(struct shadow *shadow, struct metrics *metrics)
{
    bool all = true;
    for (uint32_t i = 0; i < shadow->n_parts; i++) {
        shadow->parts[i].metrics =
            shadow_metrics_new(metrics, shadow->endpoint->name, shadow->config->version->full_name);
        all = all && shadow->parts[i].metrics;
    }
    return all;
}

struct shadow *shadow_new(const struct config_endpoint *endpoint, const struct config_shadow *config,
                          struct config *whole, struct metrics *metrics)
{
    struct shadow *shadow = calloc(1, sizeof *shadow + whole->shards * sizeof shadow->parts[0]);
    if (!shadow)
        return NULL;
    atomic_init(&shadow->refs, 1);
    shadow->whole = config_ref(whole);
    shadow->endpoint = endpoint;
    shadow->config = config;
    shadow->limits = (struct compare_limits){config->absolute, config->relative, config->top_k};
    shadow->salt = shadow_salt(endpoint->name, config->version->full_name);
    shadow->noise_salt = shadow_salt(config->version->full_name, "noise");
    shadow->n_parts = whole->shards;
    if (open_worst(shadow) && open_metrics(shadow, metrics))
        return shadow;
    shadow_unref(shadow);
    return NULL;
}

struct shadow *shadow_ref(struct shadow *shadow)
{
    atomic_fetch_add_explicit(&shadow->refs, 1, memory_order_relaxed);
    return shadow;
}

void shadow_unref(struct shadow *shadow)
{
    if (!shadow || atomic_fetch_sub_explicit(&shadow->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < shadow->n_parts; i++) {
        worst_free(shadow->parts[i].worst);
        shadow_metrics_free(shadow->parts[i].metrics);
    }
    config_unref(shadow->whole);
    free(shadow);
}

bool shadow_is(const struct shadow *shadow, const struct config_endpoint *endpoint,
               const struct config_shadow *config)
{
    const struct config_shadow *own = shadow->config;
    return !strcmp(shadow->endpoint->name, endpoint->name) &&
           !strcmp(own->version->full_name, config->version->full_name) && own->sample == config->sample &&
           own->noise == config->noise && own->absolute == config->absolute &&
           own->relative == config->relative && own->top_k == config->top_k &&
           own->examples == config->examples && own->inputs == config->inputs &&
           own->example_bytes == config->example_bytes && own->max_rows == config->max_rows &&
           own->held_bytes == config->held_bytes && own->calls == config->calls &&
           own->timeout_us == config->timeout_us;
}

/* --- drawing --- */

/* splitmix64's finalizer (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t scatter(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* FNV-1a; names are the operator's, so nobody aims at it. The terminator between them counts. */
static uint64_t hash_name(uint64_t hash, const char *name)
{
    for (;; name++) {
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
        if (!*name)
            return hash;
    }
}

uint64_t shadow_salt(const char *endpoint, const char *version)
{
    return hash_name(hash_name(0xcbf29ce484222325u, endpoint), version);
}

bool shadow_draws(uint64_t salt, uint64_t request_id, double share)
{
    return (double)(scatter(scatter(request_id) + salt) >> 11) * 0x1p-53 < share;
}

/* --- counting --- */

const char *shadow_drop_name(enum shadow_drop drop)
{
    static const char *const names[SHADOW_DROPS] = {"rows_limit", "held_limit", "out_of_memory", "queue_full",
                                                    "no_replica", "deadline",   "stale",         "stopped"};
    return names[drop];
}

static void count_dropped(struct shadow *shadow, uint32_t shard, enum shadow_drop drop, uint32_t rows)
{
    struct shadow_part *part = &shadow->parts[shard];
    part->report.dropped[drop] += rows;
    shadow_metrics_dropped(part->metrics, drop, rows);
}

static void count_sent(struct shadow *shadow, uint32_t shard, uint32_t rows)
{
    struct shadow_part *part = &shadow->parts[shard];
    part->report.sent += rows;
    shadow_metrics_sent(part->metrics, rows);
}

static void count_compared(const struct shadow_run *run, const struct compare_summary *compared)
{
    struct shadow_part *part = run_part(run);
    bool is_noise = run->errand == SHADOW_NOISE;
    struct compare_summary *summary = is_noise ? &part->report.noise : &part->report.answers;
    compare_add(summary, compared);
    metric_set(&part->compared[run->errand], compare_answered(summary));
    metric_set(&part->disagreed[run->errand], compare_disagreed(summary));
    if (is_noise)
        shadow_metrics_noise(part->metrics, compared);
    else
        shadow_metrics_compared(part->metrics, compared);
}

/* Where models answered on both sides: what their calls took. */
static void count_calls(const struct shadow_run *run)
{
    struct shadow_part *part = run_part(run);
    if (run->errand == SHADOW_NOISE || !run->primary_call_us || !run->job.call_us)
        return;
    part->report.calls++;
    part->report.primary_call_us += run->primary_call_us;
    part->report.shadow_call_us += run->job.call_us;
    shadow_metrics_calls(part->metrics, run->primary_call_us, run->job.call_us);
}

/* --- admission: everything is counted before it is taken --- */

static bool reserve(_Atomic uint64_t *taken, uint64_t more, uint64_t most)
{
    if (atomic_fetch_add_explicit(taken, more, memory_order_relaxed) + more <= most)
        return true;
    atomic_fetch_sub_explicit(taken, more, memory_order_relaxed);
    return false;
}

static void release(struct shadow *shadow, uint32_t rows, size_t bytes)
{
    atomic_fetch_sub_explicit(&shadow->rows_open, rows, memory_order_relaxed);
    atomic_fetch_sub_explicit(&shadow->bytes_held, bytes, memory_order_relaxed);
}

/* SHADOW_DROPS: admitted; release() is owed. */
static enum shadow_drop admit(struct shadow *shadow, uint32_t rows, size_t bytes)
{
    if (!reserve(&shadow->rows_open, rows, shadow->config->max_rows))
        return SHADOW_DROP_ROWS;
    if (reserve(&shadow->bytes_held, bytes, shadow->config->held_bytes))
        return SHADOW_DROPS;
    atomic_fetch_sub_explicit(&shadow->rows_open, rows, memory_order_relaxed);
    return SHADOW_DROP_HELD;
}

/* --- a run sets out --- */

static void run_home(struct job *job);
static void run_is_late(struct loop_timer *timer);

static void run_over(struct shadow_run *run)
{
    release(run->shadow, run->job.entry.n_rows, run->bytes);
    shadow_unref(run->shadow);
    shadow_run_free(run);
}

/* To a version, with what admit() has let in. False: out of memory; nothing is held. */
static bool run_send(struct shadow *shadow, struct request *request, const struct config_version *to,
                     uint32_t n_rows, size_t bytes, enum shadow_errand errand)
{
    struct infer *infer = request->infer;
    struct shadow_run *run = shadow_run_new(request, to, n_rows);
    uint64_t deadline_us = loop_now_us() + shadow->config->timeout_us;
    if (!run) {
        release(shadow, n_rows, bytes);
        return false;
    }
    run->shadow = shadow_ref(shadow);
    run->bytes = bytes;
    run->errand = errand;
    run->timer.fire = run_is_late;
    run->job.home = run_home;
    run->job.background_calls = errand == SHADOW_NOISE ? 1 : shadow->config->calls;
    run->job.entry.deadline_us = deadline_us;
    if (loop_timer_set(infer->loop, &run->timer, deadline_us) != GW_OK) {
        run_over(run);
        return false;
    }
    shadow_line_enter(&infer->shadows, run);
    version_submit(run->version, &run->job);
    return true;
}

static void run_start(struct shadow *shadow, struct request *request, const struct config_version *to,
                      enum shadow_errand errand)
{
    uint32_t shard = request->infer->shard, n_rows = shadow_run_rows(request);
    if (!n_rows)
        return;
    size_t bytes = shadow_run_bytes(request, n_rows);
    enum shadow_drop drop = admit(shadow, n_rows, bytes);
    if (drop == SHADOW_DROPS && !run_send(shadow, request, to, n_rows, bytes, errand))
        drop = SHADOW_DROP_MEMORY;
    if (drop != SHADOW_DROPS)
        count_dropped(shadow, shard, drop, n_rows);
    else if (errand == SHADOW_ANSWERS)
        count_sent(shadow, shard, n_rows);
}

void shadow_follow(struct request *request)
{
    const struct config_endpoint *endpoint = request->endpoint;
    struct shadow *const *shadows = request->period->plan->endpoints[endpoint->index].shadows;
    if (!request->rows || !request->version || request->ending == GW_E_CANCELLED)
        return;
    for (uint32_t i = 0; shadows && i < endpoint->n_shadows; i++) {
        const struct config_version *version = endpoint->shadows[i].version;
        struct shadow *shadow = shadows[i];
        if (version == request->version || !shadow_draws(shadow->salt, request->id, shadow->config->sample))
            continue;
        run_start(shadow, request, version, SHADOW_ANSWERS);
        if (shadow_draws(shadow->noise_salt, request->id, shadow->config->noise))
            run_start(shadow, request, request->version, SHADOW_NOISE);
    }
}

/* --- a run comes home, or is called back --- */

static void run_recall(struct shadow_run *run, enum gw_status status)
{
    if (!run->job.recalled)
        version_recall(&run->job, status);
}

static void run_is_late(struct loop_timer *timer)
{
    run_recall(container_of(timer, struct shadow_run, timer), GW_E_DEADLINE);
}

void shadow_line_recall(struct shadow_line *line)
{
    for (struct shadow_run *run = line->first; run; run = run->next)
        run_recall(run, GW_E_DRAINING);
}

/* Whether the row came back without having been answered, by nobody's fault but time, room or the gateway's:
 * why. */
static enum shadow_drop drop_cause(const struct shadow_run *run, uint32_t row)
{
    const struct row_outcome *outcome = &run->job.outcomes[row];
    const struct predict_result *first = run->primary[row].result;
    switch (outcome->status) {
    case GW_E_NO_MEMORY:
        return SHADOW_DROP_MEMORY;
    case GW_E_OVERLOAD:
        return SHADOW_DROP_QUEUE;
    case GW_E_NO_REPLICA:
        return SHADOW_DROP_REPLICA;
    case GW_E_DEADLINE:
        return SHADOW_DROP_DEADLINE;
    case GW_E_DRAINING:
    case GW_E_CANCELLED:
        return SHADOW_DROP_STOPPED;
    default:
        break;
    }
    bool is_stale = run->errand == SHADOW_NOISE && first && outcome->result &&
                    memcmp(first->digest, outcome->result->digest, sizeof first->digest) != 0;
    return is_stale ? SHADOW_DROP_STALE : SHADOW_DROPS;
}

static void keep_example(const struct shadow_run *run, uint32_t row, struct compare_row compared)
{
    struct worst *worst = run_part(run)->worst;
    char id[24];
    if (!worst || !worst_admits(worst, compared))
        return;
    snprintf(id, sizeof id, "%llu", (unsigned long long)run->request_id);
    const struct worst_offer offer = {.row = compared,
                                      .request_id = id,
                                      .at_us = loop_wall_us(),
                                      .inputs = run->job.inputs,
                                      .n_inputs = run->job.n_inputs,
                                      .input_row = run->job.rows[row],
                                      .primary = run->primary[row].result,
                                      .primary_row = run->primary[row].row,
                                      .shadow = run->job.outcomes[row].result,
                                      .shadow_row = run->job.outcomes[row].row};
    if (worst_add(worst, &offer) != GW_OK)
        return; /* no memory: one example less, which nothing else depends on */
}

static void run_compare(const struct shadow_run *run, uint32_t row, struct compare_summary *summary)
{
    const struct row_outcome *primary = &run->primary[row], *shadow = &run->job.outcomes[row];
    struct compare_row compared = compare_row(primary->result, primary->row, shadow->result, shadow->row,
                                              &run->shadow->limits, summary);
    if (run->errand == SHADOW_ANSWERS)
        keep_example(run, row, compared);
}

static void run_home(struct job *job)
{
    struct shadow_run *run = container_of(job, struct shadow_run, job);
    struct compare_summary compared = {0};
    loop_timer_cancel(job->loop, &run->timer);
    shadow_line_leave(run);
    for (uint32_t i = 0; i < job->entry.n_rows; i++) {
        enum shadow_drop drop = drop_cause(run, i);
        if (drop != SHADOW_DROPS)
            count_dropped(run->shadow, run->shard, drop, 1);
        else
            run_compare(run, i, &compared);
    }
    count_compared(run, &compared);
    count_calls(run);
    run_over(run);
}

/* --- what it came to --- */

static uint64_t metric_read(const struct metric *metric)
{
    return atomic_load_explicit(&metric->value, memory_order_relaxed);
}

void shadow_counts(const struct shadow *shadow, struct shadow_counts *counts)
{
    *counts = (struct shadow_counts){0};
    for (uint32_t i = 0; i < shadow->n_parts; i++) {
        const struct shadow_part *part = &shadow->parts[i];
        counts->disagreed += metric_read(&part->disagreed[SHADOW_ANSWERS]);
        counts->noise_disagreed += metric_read(&part->disagreed[SHADOW_NOISE]);
        counts->compared += metric_read(&part->compared[SHADOW_ANSWERS]);
        counts->noise_compared += metric_read(&part->compared[SHADOW_NOISE]);
    }
    if (counts->disagreed > counts->compared)
        counts->disagreed = counts->compared;
    if (counts->noise_disagreed > counts->noise_compared)
        counts->noise_disagreed = counts->noise_compared;
}

void shadow_report_add(const struct shadow *shadow, uint32_t shard, struct shadow_report *report)
{
    const struct shadow_report *from = &shadow->parts[shard].report;
    report->sent += from->sent;
    for (int i = 0; i < SHADOW_DROPS; i++)
        report->dropped[i] += from->dropped[i];
    compare_add(&report->answers, &from->answers);
    compare_add(&report->noise, &from->noise);
    report->calls += from->calls;
    report->primary_call_us += from->primary_call_us;
    report->shadow_call_us += from->shadow_call_us;
}

uint32_t shadow_examples(const struct shadow *shadow, uint32_t shard, const struct worst_example **examples,
                         uint32_t room)
{
    const struct worst *worst = shadow->parts[shard].worst;
    return worst ? worst_list(worst, examples, room) : 0;
}

uint64_t shadow_rows_open(const struct shadow *shadow)
{
    return atomic_load_explicit(&shadow->rows_open, memory_order_relaxed);
}

uint64_t shadow_bytes_held(const struct shadow *shadow)
{
    return atomic_load_explicit(&shadow->bytes_held, memory_order_relaxed);
}
