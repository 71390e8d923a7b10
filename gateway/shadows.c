/* shadows: shards' parts gathered, then written. */
#include "shadows.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "infer/codec.h"
#include "infer/shadow.h"

/* One shadow, from all shards. */
struct gathered {
    const struct shadow *shadow;
    struct shadow_report report;
    struct worst_example
        *examples; /* copies, with references to their rows; NULL: none were wanted, or no memory */
    uint32_t n_examples, room;
    const struct worst_example **list; /* room for one shard's */
};

/* --- gathering: runs on each shard --- */

static void gather_examples(struct gathered *gathered, uint32_t shard)
{
    uint32_t n = shadow_examples(gathered->shadow, shard, gathered->list, WORST_EXAMPLES_MAX);
    for (uint32_t i = 0; i < n && i < WORST_EXAMPLES_MAX && gathered->n_examples < gathered->room; i++) {
        struct worst_example *copy = &gathered->examples[gathered->n_examples++];
        *copy = *gathered->list[i];
        struct predict_result *const rows[] = {copy->inputs, copy->primary, copy->shadow};
        for (size_t each = 0; each < sizeof rows / sizeof *rows; each++)
            if (rows[each])
                predict_result_ref(rows[each]);
    }
}

static void gather_part(void *arg, uint32_t shard)
{
    struct gathered *gathered = arg;
    shadow_report_add(gathered->shadow, shard, &gathered->report);
    if (gathered->examples)
        gather_examples(gathered, shard);
}

static int by_badness(const void *a, const void *b)
{
    const struct worst_example *left = a, *right = b;
    return left->row.badness > right->row.badness ? -1
           : left->row.badness < right->row.badness
               ? 1
               : (left->at_us > right->at_us) - (left->at_us < right->at_us);
}

static void gathered_clear(struct gathered *gathered)
{
    for (uint32_t i = 0; i < gathered->n_examples; i++) {
        predict_result_unref(gathered->examples[i].inputs);
        predict_result_unref(gathered->examples[i].primary);
        predict_result_unref(gathered->examples[i].shadow);
    }
    free(gathered->examples);
    free(gathered->list);
}

/* examples: of each shard at most; 0: none are wanted. gathered_clear() is owed in any case. */
static enum gw_status gather(struct gateway *gateway, const struct shadow *shadow, uint32_t examples,
                             struct gathered *gathered)
{
    *gathered = (struct gathered){.shadow = shadow, .room = examples * gateway_config(gateway)->shards};
    if (examples) {
        gathered->examples = calloc(gathered->room, sizeof *gathered->examples);
        gathered->list = calloc(WORST_EXAMPLES_MAX, sizeof *gathered->list);
        if (!gathered->examples || !gathered->list)
            return GW_E_NO_MEMORY;
    }
    if (!gateway_round(gateway, gather_part, gathered))
        return GW_E_DRAINING;
    if (gathered->n_examples)
        qsort(gathered->examples, gathered->n_examples, sizeof *gathered->examples, by_badness);
    return GW_OK;
}

/* --- writing --- */

static void write_key_count(struct buf *out, const char *key, uint64_t count)
{
    buf_printf(out, ",\"%s\":%llu", key, (unsigned long long)count);
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static void write_summary(struct buf *out, const struct compare_summary *summary)
{
    buf_printf(out, "\"compared\":%llu,\"disagreed\":%llu,\"outcomes\":{",
               (unsigned long long)compare_answered(summary), (unsigned long long)compare_disagreed(summary));
    for (int i = 0; i < COMPARE_VERDICTS; i++)
        buf_printf(out, "%s\"%s\":%llu", i ? "," : "", compare_verdict_name((enum compare_verdict)i),
                   (unsigned long long)summary->verdict[i]);
    buf_text(out, "}");
}

static void write_dropped(struct buf *out, const struct shadow_report *report)
{
    buf_text(out, ",\"dropped\":{");
    for (int i = 0; i < SHADOW_DROPS; i++)
        buf_printf(out, "%s\"%s\":%llu", i ? "," : "", shadow_drop_name((enum shadow_drop)i),
                   (unsigned long long)report->dropped[i]);
    buf_text(out, "}");
}

static void write_output(struct buf *out, const struct compare_output *output)
{
    buf_text(out, "{");
    buf_json_member(out, "name", output->name);
    write_key_count(out, "rows", output->rows);
    write_key_count(out, "rows_agree", output->rows_agree);
    write_key_count(out, "rows_mismatched", output->rows_mismatched);
    write_key_count(out, "numbers", output->numbers);
    buf_printf(out, ",\"error_mean\":%.9g,\"error_max\":%.9g",
               ratio(output->error_sum, (double)output->numbers), output->error_most);
    write_key_count(out, "primary_nan", output->primary_nan);
    write_key_count(out, "shadow_nan", output->shadow_nan);
    write_key_count(out, "primary_infinite", output->primary_inf);
    write_key_count(out, "shadow_infinite", output->shadow_inf);
    write_key_count(out, "not_finite_differ", output->not_finite_differ);
    if (output->top_wanted)
        buf_printf(out, ",\"top_k_overlap\":%.9g",
                   ratio((double)output->top_shared, (double)output->top_wanted));
    buf_text(out, "}");
}

/* One row, as if it were outputs: {"label": 7}; null where it is not there. */
static enum gw_status write_row(struct buf *out, struct json_reader *checker, const char *key,
                                const struct predict_result *row)
{
    buf_printf(out, ",\"%s\":%s", key, row ? "{" : "null");
    for (uint32_t i = 0; row && i < row->n_outputs; i++) {
        const struct tensor *tensor = &row->outputs[i];
        buf_text(out, i ? "," : "");
        buf_json_text(out, tensor->spec.name, strlen(tensor->spec.name));
        buf_text(out, ":");
        enum gw_status status = json_write_row(out, checker, tensor, 0);
        if (status == GW_E_CONTRACT)
            buf_text(out, "null"); /* it says it is JSON and is not */
        else if (status != GW_OK)
            return status;
    }
    buf_text(out, row ? "}" : "");
    return GW_OK;
}

static void write_time(struct buf *out, uint64_t at_us)
{
    time_t seconds = (time_t)(at_us / 1000000);
    struct tm utc;
    char text[32];
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    buf_printf(out, ",\"at\":\"%s.%03uZ\"", text, (unsigned)(at_us / 1000 % 1000));
}

static void write_hash(struct buf *out, const uint8_t hash[WORST_HASH_BYTES])
{
    buf_text(out, ",\"input_hash\":\"");
    for (int i = 0; i < WORST_HASH_BYTES; i++)
        buf_printf(out, "%02x", hash[i]);
    buf_text(out, "\"");
}

static enum gw_status write_example(struct buf *out, struct json_reader *checker,
                                    const struct worst_example *example, enum shadow_inputs inputs)
{
    buf_text(out, "{");
    buf_json_member(out, "request", example->request_id);
    write_time(out, example->at_us);
    buf_printf(out, ",\"outcome\":\"%s\",\"badness\":%.9g", compare_verdict_name(example->row.verdict),
               example->row.badness);
    write_key_count(out, "input_bytes", example->input_bytes);
    if (inputs == SHADOW_INPUTS_HASHED)
        write_hash(out, example->input_hash);
    enum gw_status status = write_row(out, checker, "input", example->inputs);
    if (status == GW_OK)
        status = write_row(out, checker, "primary", example->primary);
    if (status == GW_OK)
        status = write_row(out, checker, "shadow", example->shadow);
    buf_text(out, "}");
    return status;
}

/* Outputs, calls, and the worst examples of all shards. */
static enum gw_status write_full(struct buf *out, const struct gathered *gathered,
                                 const struct config_shadow *config)
{
    const struct shadow_report *report = &gathered->report;
    double calls = (double)report->calls;
    buf_text(out, ",\"outputs\":[");
    for (uint32_t i = 0; i < report->answers.n_outputs; i++) {
        buf_text(out, i ? "," : "");
        write_output(out, &report->answers.output[i]);
    }
    buf_printf(out, "],\"calls\":{\"requests\":%llu,\"primary_mean_us\":%.0f,\"shadow_mean_us\":%.0f}",
               (unsigned long long)report->calls, ratio((double)report->primary_call_us, calls),
               ratio((double)report->shadow_call_us, calls));
    buf_text(out, ",\"examples\":[");
    struct json_reader *checker = json_reader_new();
    enum gw_status status = checker ? GW_OK : GW_E_NO_MEMORY;
    for (uint32_t i = 0; status == GW_OK && i < gathered->n_examples && i < config->examples; i++) {
        buf_text(out, i ? "," : "");
        status = write_example(out, checker, &gathered->examples[i], config->inputs);
    }
    json_reader_free(checker);
    buf_text(out, "]");
    return status;
}

static enum gw_status write_shadow(struct gateway *gateway, const struct config_endpoint *endpoint,
                                   uint32_t index, bool in_full, struct buf *out)
{
    const struct config_shadow *config = &endpoint->shadows[index];
    const struct shadow *shadow = gateway_plan(gateway)->endpoints[endpoint->index].shadows[index];
    struct gathered gathered;
    enum gw_status status = gather(gateway, shadow, in_full ? config->examples : 0, &gathered);
    buf_text(out, "{");
    buf_json_member(out, "endpoint", endpoint->name);
    buf_text(out, ",");
    buf_json_member(out, "version", config->version->full_name);
    buf_printf(out, ",\"sample\":%.9g", config->sample);
    write_key_count(out, "sent", gathered.report.sent);
    write_key_count(out, "open", shadow_rows_open(shadow));
    write_key_count(out, "held_bytes", shadow_bytes_held(shadow));
    buf_text(out, ",");
    write_summary(out, &gathered.report.answers);
    write_dropped(out, &gathered.report);
    buf_text(out, ",\"noise\":{");
    write_summary(out, &gathered.report.noise);
    buf_text(out, "}");
    if (status == GW_OK && in_full)
        status = write_full(out, &gathered, config);
    buf_text(out, "}");
    gathered_clear(&gathered);
    return status;
}

enum gw_status shadows_write(struct gateway *gateway, const char *endpoint, struct buf *out)
{
    const struct config *config = gateway_config(gateway);
    uint32_t n = 0;
    buf_text(out, "{\"shadows\":[");
    for (uint32_t i = 0; i < config->n_endpoints; i++)
        for (uint32_t j = 0; j < config->endpoints[i]->n_shadows; j++) {
            if (endpoint && strcmp(endpoint, config->endpoints[i]->name) != 0)
                continue;
            buf_text(out, n++ ? "," : "");
            enum gw_status status = write_shadow(gateway, config->endpoints[i], j, endpoint != NULL, out);
            if (status != GW_OK)
                return status;
        }
    buf_text(out, "]}\n");
    return out->failed ? GW_E_NO_MEMORY : endpoint && !n ? GW_E_NOT_FOUND : GW_OK;
}
