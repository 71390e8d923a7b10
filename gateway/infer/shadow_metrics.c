/* shadow_metrics: rows by outcome and cause; then output by output. */
#include "infer/shadow_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum output_outcome { OUTPUT_AGREES, OUTPUT_DIFFERS, OUTPUT_MISMATCHED, OUTPUT_OUTCOMES };
enum side { SIDE_PRIMARY, SIDE_SHADOW, SIDES };
static const char *const outcome_names[OUTPUT_OUTCOMES] = {"agrees", "differs", "mismatched"};
static const char *const side_names[SIDES] = {"primary", "shadow"};

struct output_metrics {
    char name[COMPARE_NAME_ROOM];
    struct metric *rows[OUTPUT_OUTCOMES], *error_most, *nan[SIDES];
    struct amounts *error, *top_k;
};

struct shadow_metrics {
    struct metrics *metrics;
    const char *endpoint, *version;
    struct metric *sent, *dropped[SHADOW_DROPS], *answers[COMPARE_VERDICTS], *noise[COMPARE_VERDICTS];
    struct histogram *calls[SIDES];
    uint32_t n_outputs;
    struct output_metrics outputs[COMPARE_OUTPUTS_MAX];
};

/* --- series --- */

/* Of this shadow, with up to two labels more; NULL ends them. */
struct labels {
    const char *list[9];
};

static struct labels labels_of(const struct shadow_metrics *m, const char *label, const char *value,
                               const char *second, const char *second_value)
{
    return (struct labels){
        {"endpoint", m->endpoint, "version", m->version, label, value, second, second_value, NULL}};
}

static void count(const struct shadow_metrics *m, struct metric **series, enum metric_id id,
                  struct labels labels, uint64_t n)
{
    if (!*series && n)
        *series = metrics_series(m->metrics, id, labels.list);
    if (*series)
        metric_add(*series, n);
}

static void add_amounts(const struct shadow_metrics *m, struct amounts **series, enum metric_id id,
                        struct labels labels, double sum, uint64_t n)
{
    if (!*series && n)
        *series = metrics_amounts(m->metrics, id, labels.list);
    if (*series)
        amounts_add(*series, sum, n);
}

struct shadow_metrics *shadow_metrics_new(struct metrics *metrics, const char *endpoint, const char *version)
{
    struct shadow_metrics *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->metrics = metrics;
    m->endpoint = endpoint;
    m->version = version;
    return m;
}

static void release_all(struct shadow_metrics *m, struct metric *const *series, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        metrics_release(m->metrics, series[i]);
}

void shadow_metrics_free(struct shadow_metrics *m)
{
    if (!m)
        return;
    release_all(m, &m->sent, 1);
    release_all(m, m->dropped, SHADOW_DROPS);
    release_all(m, m->answers, COMPARE_VERDICTS);
    release_all(m, m->noise, COMPARE_VERDICTS);
    for (int side = 0; side < SIDES; side++)
        metrics_release(m->metrics, m->calls[side]);
    for (uint32_t i = 0; i < m->n_outputs; i++) {
        struct output_metrics *output = &m->outputs[i];
        release_all(m, output->rows, OUTPUT_OUTCOMES);
        release_all(m, output->nan, SIDES);
        metrics_release(m->metrics, output->error_most);
        metrics_release(m->metrics, output->error);
        metrics_release(m->metrics, output->top_k);
    }
    free(m);
}

/* --- rows --- */

void shadow_metrics_sent(struct shadow_metrics *m, uint32_t rows)
{
    count(m, &m->sent, METRIC_SHADOW_SENT, labels_of(m, NULL, NULL, NULL, NULL), rows);
}

void shadow_metrics_dropped(struct shadow_metrics *m, enum shadow_drop drop, uint32_t rows)
{
    count(m, &m->dropped[drop], METRIC_SHADOW_DROPPED,
          labels_of(m, "cause", shadow_drop_name(drop), NULL, NULL), rows);
}

static void count_verdicts(const struct shadow_metrics *m, struct metric **series, enum metric_id id,
                           const struct compare_summary *run)
{
    for (int i = 0; i < COMPARE_VERDICTS; i++)
        count(m, &series[i], id,
              labels_of(m, "outcome", compare_verdict_name((enum compare_verdict)i), NULL, NULL),
              run->verdict[i]);
}

void shadow_metrics_noise(struct shadow_metrics *m, const struct compare_summary *run)
{
    count_verdicts(m, m->noise, METRIC_SHADOW_NOISE, run);
}

static void observe_call(const struct shadow_metrics *m, struct histogram **series, enum side side,
                         uint64_t call_us)
{
    struct labels labels = labels_of(m, "side", side_names[side], NULL, NULL);
    if (!*series)
        *series = metrics_histogram(m->metrics, METRIC_SHADOW_CALL_SECONDS, labels.list);
    if (*series)
        histogram_observe(*series, call_us);
}

void shadow_metrics_calls(struct shadow_metrics *m, uint64_t primary_us, uint64_t shadow_us)
{
    observe_call(m, &m->calls[SIDE_PRIMARY], SIDE_PRIMARY, primary_us);
    observe_call(m, &m->calls[SIDE_SHADOW], SIDE_SHADOW, shadow_us);
}

/* --- outputs --- */

/* Room for it is taken at its first time. NULL: there is none. */
static struct output_metrics *output_named(struct shadow_metrics *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_outputs; i++)
        if (strcmp(m->outputs[i].name, name) == 0)
            return &m->outputs[i];
    if (m->n_outputs == COMPARE_OUTPUTS_MAX)
        return NULL;
    struct output_metrics *output = &m->outputs[m->n_outputs++];
    snprintf(output->name, sizeof output->name, "%s", name);
    return output;
}

static void count_error(const struct shadow_metrics *m, struct output_metrics *output,
                        const struct compare_output *new)
{
    struct labels labels = labels_of(m, "output", output->name, NULL, NULL);
    add_amounts(m, &output->error, METRIC_SHADOW_OUTPUT_ERROR, labels, new->error_sum, new->numbers);
    if (!output->error_most && new->numbers)
        output->error_most = metrics_series(m->metrics, METRIC_SHADOW_OUTPUT_MOST, labels.list);
    if (output->error_most)
        metric_raise(output->error_most, new->error_most);
    double overlap = new->top_wanted ? (double)new->top_shared / (double)new->top_wanted : 0;
    add_amounts(m, &output->top_k, METRIC_SHADOW_OUTPUT_TOP_K, labels, overlap * (double)new->top_rows,
                new->top_rows);
}

static void count_output(const struct shadow_metrics *m, struct output_metrics *output,
                         const struct compare_output *new)
{
    const uint64_t rows[OUTPUT_OUTCOMES] = {new->rows_agree, new->rows - new->rows_agree,
                                            new->rows_mismatched};
    const uint64_t nan[SIDES] = {new->primary_nan, new->shadow_nan};
    for (int i = 0; i < OUTPUT_OUTCOMES; i++)
        count(m, &output->rows[i], METRIC_SHADOW_OUTPUT_ROWS,
              labels_of(m, "output", output->name, "outcome", outcome_names[i]), rows[i]);
    for (int i = 0; i < SIDES; i++)
        count(m, &output->nan[i], METRIC_SHADOW_OUTPUT_NAN,
              labels_of(m, "output", output->name, "side", side_names[i]), nan[i]);
    count_error(m, output, new);
}

void shadow_metrics_compared(struct shadow_metrics *m, const struct compare_summary *run)
{
    count_verdicts(m, m->answers, METRIC_SHADOW_ROWS, run);
    for (uint32_t i = 0; i < run->n_outputs; i++) {
        struct output_metrics *output = output_named(m, run->output[i].name);
        if (output)
            count_output(m, output, &run->output[i]);
    }
}
