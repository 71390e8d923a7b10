/* shadow_run: what of a request a run takes along: measured, copied, and given back. */
#include "infer/shadow_run.h"

#include <stdlib.h>
#include <string.h>

/* Rows that the primary's model answered, or failed. The gateway's own failures say nothing of it. */
static bool is_comparable(const struct row_outcome *outcome)
{
    return outcome->status == GW_OK || outcome->status == GW_E_MODEL || outcome->status == GW_E_CONTRACT;
}

uint32_t shadow_run_rows(const struct request *request)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < request->n_rows; i++)
        n += is_comparable(&request->rows[i].outcome);
    return n;
}

size_t shadow_run_bytes(const struct request *request, uint32_t n_rows)
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

/* --- what it copies --- */

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
    memset(run->job.outcomes, 0, n_rows * sizeof *run->job.outcomes);
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

struct shadow_run *shadow_run_new(struct request *request, const struct config_version *to, uint32_t n_rows)
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
    run->version = version_ref(request->period->plan->versions[to->index]);
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

void shadow_run_free(struct shadow_run *run)
{
    for (uint32_t i = 0; i < run->job.entry.n_rows; i++) {
        predict_result_unref(run->primary[i].result);
        predict_result_unref(run->job.outcomes[i].result);
    }
    version_unref(run->version);
    run->deferred.free_fn = run_dies;
    loop_defer_free(run->job.loop, &run->deferred);
}

/* --- its line --- */

void shadow_line_enter(struct shadow_line *line, struct shadow_run *run)
{
    run->next = line->first;
    run->link = &line->first;
    if (run->next)
        run->next->link = &run->next;
    line->first = run;
}

void shadow_line_leave(struct shadow_run *run)
{
    *run->link = run->next;
    if (run->next)
        run->next->link = run->link;
}
