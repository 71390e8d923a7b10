/* shadow: a run's life in order: drawn, admitted, copied, sent, home, compared; then what is read of it all.
 */
#include "infer/shadow.h"

#include <assert.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "infer/request.h"
#include "infer/shadow_metrics.h"

/* Whose answers a run brings: the shadow's, or once more the primary's. */
enum errand { ERRAND_ANSWERS, ERRAND_NOISE, ERRANDS };

/* What one shard counts. */
struct shadow_part {
    struct shadow_report report;
    struct metric compared[ERRANDS], disagreed[ERRANDS]; /* read by any thread */
    struct worst *worst;                                 /* NULL: no examples are kept */
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

/* Rows of one request at a version, with all that is needed to judge the answer. */
struct shadow_run {
    struct job job;
    struct loop_timer timer; /* its deadline */
    struct loop_deferred deferred;
    struct shadow *shadow;           /* one reference */
    struct version *version;         /* one reference */
    struct shadow_run *next, **link; /* in the shard's line */
    struct row_outcome *primary;     /* by the job's rows; a reference each */
    struct arena arena;              /* what job and primary point at */
    size_t bytes;                    /* counted for it */
    uint64_t request_id, primary_call_us;
    uint32_t shard;
    enum errand errand;
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
    bool is_noise = run->errand == ERRAND_NOISE;
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
    if (run->errand == ERRAND_NOISE || !run->primary_call_us || !run->job.call_us)
        return;
    part->report.calls++;
    part->report.primary_call_us += run->primary_call_us;
    part->report.shadow_call_us += run->job.call_us;
    shadow_metrics_calls(part->metrics, run->primary_call_us, run->job.call_us);
}

/* --- admission: everything is counted before it is taken --- */

/* Rows that the primary's model answered, or failed. The gateway's own failures say nothing of it. */
static bool is_comparable(const struct row_outcome *outcome)
{
    return outcome->status == GW_OK || outcome->status == GW_E_MODEL || outcome->status == GW_E_CONTRACT;
}

static uint32_t comparable_rows(const struct request *request)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < request->n_rows; i++)
        n += is_comparable(&request->rows[i].outcome);
    return n;
}

/*
 * What a run holds: copies of inputs, and answers, which it shares with others but keeps alive all the same,
 * whole batches of them; one that several runs keep is counted by each.
 */
static size_t run_bytes(const struct request *request, uint32_t n_rows)
{
    size_t bytes = sizeof(struct shadow_run) +
                   (size_t)n_rows * (2 * sizeof(struct row_outcome) + sizeof(uint32_t)) +
                   request->parameters_bytes;
    for (uint32_t i = 0; i < request->n_inputs; i++) {
        const struct tensor *input = &request->inputs[i];
        bytes += sizeof *input + strlen(input->spec.name) + input->bytes;
        bytes += input->row_end ? request->n_rows * sizeof input->row_end[0] : 0;
    }
    for (uint32_t i = 0; i < request->n_outputs; i++)
        bytes += sizeof(char *) + strlen(request->outputs[i]);
    const struct predict_result *last = NULL;
    for (uint32_t i = 0; i < request->n_rows; i++) {
        const struct predict_result *result = request->rows[i].outcome.result;
        if (result && result != last)
            bytes += sizeof *result + result->bytes + result->arena.bytes;
        last = result;
    }
    return bytes;
}

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

/* --- a run: what it copies --- */

/* NULL only when there is no memory. */
static void *copy_bytes(struct arena *arena, const void *bytes, size_t length)
{
    void *copy = arena_alloc(arena, length ? length : 1);
    if (copy && length)
        memcpy(copy, bytes, length);
    return copy;
}

static bool copy_tensor(struct arena *arena, const struct tensor *from, struct tensor *to)
{
    *to = *from;
    to->spec.name = arena_text(arena, from->spec.name, strlen(from->spec.name));
    to->data = copy_bytes(arena, from->data, from->bytes);
    if (from->row_end)
        to->row_end = copy_bytes(arena, from->row_end, (size_t)from->spec.shape[0] * sizeof from->row_end[0]);
    return to->spec.name && to->data && (!from->row_end || to->row_end);
}

static bool copy_inputs(struct shadow_run *run, const struct request *request)
{
    struct tensor *inputs = arena_array(&run->arena, request->n_inputs, sizeof *inputs);
    bool all = inputs != NULL;
    for (uint32_t i = 0; all && i < request->n_inputs; i++)
        all = copy_tensor(&run->arena, &request->inputs[i], &inputs[i]);
    run->job.inputs = inputs;
    run->job.n_inputs = request->n_inputs;
    return all;
}

/* The outputs that were asked for, and parameters. */
static bool copy_wishes(struct shadow_run *run, const struct request *request)
{
    const char **outputs = arena_array(&run->arena, request->n_outputs + 1, sizeof *outputs);
    bool all = outputs != NULL;
    for (uint32_t i = 0; all && i < request->n_outputs; i++)
        all = (outputs[i] = arena_text(&run->arena, request->outputs[i], strlen(request->outputs[i])));
    run->job.outputs = outputs;
    run->job.n_outputs = request->n_outputs;
    run->job.parameters = copy_bytes(&run->arena, request->parameters, request->parameters_bytes);
    run->job.parameters_bytes = request->parameters_bytes;
    return all && run->job.parameters;
}

/* Which rows, and what the primary said of them. */
static bool keep_outcomes(struct shadow_run *run, const struct request *request, uint32_t n_rows)
{
    uint32_t *rows = arena_array(&run->arena, n_rows, sizeof *rows), at = 0;
    run->job.outcomes = arena_array(&run->arena, n_rows, sizeof *run->job.outcomes);
    run->primary = arena_array(&run->arena, n_rows, sizeof *run->primary);
    if (!rows || !run->job.outcomes || !run->primary)
        return false;
    for (uint32_t i = 0; i < request->n_rows; i++) {
        const struct row_outcome *outcome = &request->rows[i].outcome;
        if (!is_comparable(outcome))
            continue;
        rows[at] = i;
        run->primary[at] = *outcome;
        run->primary[at].message = NULL; /* it lies in the request */
        if (outcome->result)
            predict_result_ref(outcome->result);
        at++;
    }
    run->job.rows = rows;
    run->job.entry.n_rows = n_rows;
    return true;
}

static void run_home(struct job *job);
static void run_is_late(struct loop_timer *timer);

/* Rows that look alike from the outside may share a batch. */
static void run_kind(struct shadow_run *run, const struct request *request, const struct config_version *to)
{
    const uint64_t no_digest[2] = {0, 0};
    struct job *job = &run->job;
    struct cache_key key =
        cache_context_key(request->infer->cache, to->full_name, no_digest, job->inputs, job->n_inputs,
                          job->outputs, job->n_outputs, job->parameters, job->parameters_bytes);
    memcpy(job->entry.kind, key.word, sizeof job->entry.kind);
}

/* NULL: out of memory. What it holds has been admitted. */
static struct shadow_run *run_new(struct shadow *shadow, struct request *request,
                                  const struct config_version *to, uint32_t n_rows, size_t bytes)
{
    struct shadow_run *run = calloc(1, sizeof *run);
    if (!run)
        return NULL;
    if (!copy_inputs(run, request) || !copy_wishes(run, request) || !keep_outcomes(run, request, n_rows)) {
        arena_clear(&run->arena);
        free(run);
        return NULL;
    }
    run_kind(run, request, to);
    run->job.loop = request->infer->loop;
    run->job.home = run_home;
    run->timer.fire = run_is_late;
    run->shadow = shadow_ref(shadow);
    run->version = version_ref(request->period->plan->versions[to->index]);
    run->bytes = bytes;
    run->shard = request->infer->shard;
    run->request_id = request->id;
    run->primary_call_us = request->call_us;
    return run;
}

static void run_dies(struct loop_deferred *node)
{
    struct shadow_run *run = container_of(node, struct shadow_run, deferred);
    arena_clear(&run->arena);
    free(run);
}

/* References go at once, the memory at the end of the turn. */
static void run_free(struct shadow_run *run)
{
    struct loop *loop = run->job.loop;
    for (uint32_t i = 0; i < run->job.entry.n_rows; i++) {
        predict_result_unref(run->primary[i].result);
        predict_result_unref(run->job.outcomes[i].result);
    }
    release(run->shadow, run->job.entry.n_rows, run->bytes);
    version_unref(run->version);
    shadow_unref(run->shadow);
    run->deferred.free_fn = run_dies;
    loop_defer_free(loop, &run->deferred);
}

/* --- a run sets out --- */

static void line_enter(struct shadow_line *line, struct shadow_run *run)
{
    run->next = line->first;
    run->link = &line->first;
    if (run->next)
        run->next->link = &run->next;
    line->first = run;
}

static void line_leave(struct shadow_run *run)
{
    *run->link = run->next;
    if (run->next)
        run->next->link = run->link;
}

/* To a version, with what admit() has let in. False: out of memory; nothing is held. */
static bool run_send(struct shadow *shadow, struct request *request, const struct config_version *to,
                     uint32_t n_rows, size_t bytes, enum errand errand)
{
    struct infer *infer = request->infer;
    struct shadow_run *run = run_new(shadow, request, to, n_rows, bytes);
    uint64_t deadline_us = loop_now_us() + shadow->config->timeout_us;
    if (!run) {
        release(shadow, n_rows, bytes);
        return false;
    }
    run->errand = errand;
    run->job.background_calls = errand == ERRAND_NOISE ? 1 : shadow->config->calls;
    run->job.entry.deadline_us = deadline_us;
    memset(run->job.outcomes, 0, n_rows * sizeof *run->job.outcomes);
    if (loop_timer_set(infer->loop, &run->timer, deadline_us) != GW_OK) {
        run_free(run);
        return false;
    }
    line_enter(&infer->shadows, run);
    version_submit(run->version, &run->job);
    return true;
}

static void run_start(struct shadow *shadow, struct request *request, const struct config_version *to,
                      enum errand errand)
{
    uint32_t shard = request->infer->shard, n_rows = comparable_rows(request);
    if (!n_rows)
        return;
    size_t bytes = run_bytes(request, n_rows);
    enum shadow_drop drop = admit(shadow, n_rows, bytes);
    if (drop == SHADOW_DROPS && !run_send(shadow, request, to, n_rows, bytes, errand))
        drop = SHADOW_DROP_MEMORY;
    if (drop != SHADOW_DROPS)
        count_dropped(shadow, shard, drop, n_rows);
    else if (errand == ERRAND_ANSWERS)
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
        run_start(shadow, request, version, ERRAND_ANSWERS);
        if (shadow_draws(shadow->noise_salt, request->id, shadow->config->noise))
            run_start(shadow, request, request->version, ERRAND_NOISE);
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
    bool is_stale = run->errand == ERRAND_NOISE && first && outcome->result &&
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
    if (run->errand == ERRAND_ANSWERS)
        keep_example(run, row, compared);
}

static void run_home(struct job *job)
{
    struct shadow_run *run = container_of(job, struct shadow_run, job);
    struct compare_summary compared = {0};
    loop_timer_cancel(job->loop, &run->timer);
    line_leave(run);
    for (uint32_t i = 0; i < job->entry.n_rows; i++) {
        enum shadow_drop drop = drop_cause(run, i);
        if (drop != SHADOW_DROPS)
            count_dropped(run->shadow, run->shard, drop, 1);
        else
            run_compare(run, i, &compared);
    }
    count_compared(run, &compared);
    count_calls(run);
    run_free(run);
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
        counts->disagreed += metric_read(&part->disagreed[ERRAND_ANSWERS]);
        counts->noise_disagreed += metric_read(&part->disagreed[ERRAND_NOISE]);
        counts->compared += metric_read(&part->compared[ERRAND_ANSWERS]);
        counts->noise_compared += metric_read(&part->compared[ERRAND_NOISE]);
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
