/* oip_stats: statistics in Triton's words. */
#include "edge/oip_stats.h"

#include <inttypes.h>
#include <string.h>

#include "edge/oip_tensors.h"

static struct statistics_part sum_of(struct statistics_part a, struct statistics_part b)
{
    return (struct statistics_part){.count = a.count + b.count, .ns = a.ns + b.ns};
}

/*
 * What the gateway has no part in, or does not measure, is zero: inputs and outputs are copied within the
 * call, and looking up a row takes less than a clock is worth.
 */
static struct oip_stats stats_of(const struct infer *infer, const struct config_endpoint *endpoint,
                                 const struct config_arm *arm)
{
    const struct config *config = infer->period->plan->config;
    bool caches = arm->version->model->cache && (config->cache_bytes || config->redis.shown);
    struct statistics statistics;
    statistics_read(infer, endpoint, arm, &statistics);
    return (struct oip_stats){
        .endpoint = endpoint->name,
        .version = oip_version_name(endpoint, arm->version),
        .last_ms = statistics.last_ms,
        .rows = statistics.rows,
        .batches = statistics.batches,
        .parts = {[OIP_STATS_SUCCESS] = sum_of(statistics.answered, statistics.cached),
                  [OIP_STATS_FAIL] = statistics.failed,
                  [OIP_STATS_QUEUE] = statistics.queued,
                  [OIP_STATS_COMPUTE_INFER] = statistics.computed,
                  [OIP_STATS_CACHE_HIT] = {.count = statistics.cached.count},
                  [OIP_STATS_CACHE_MISS] = {.count = caches ? statistics.answered.count : 0}}};
}

void oip_stats_each(const struct infer *infer, const struct config_endpoint *endpoint,
                    const struct config_arm *arm, void (*take)(void *owner, const struct oip_stats *stats),
                    void *owner)
{
    const struct config *config = infer->period->plan->config;
    for (uint32_t i = 0; i < config->n_endpoints; i++) {
        const struct config_endpoint *each = config->endpoints[i];
        for (uint32_t a = 0; a < each->n_arms; a++) {
            if ((endpoint && endpoint != each) || (arm && arm != &each->arms[a]))
                continue;
            const struct oip_stats stats = stats_of(infer, each, &each->arms[a]);
            take(owner, &stats);
        }
    }
}

/* --- as JSON --- */

static void write_parts(struct buf *out, const struct statistics_part parts[OIP_STATS_PARTS])
{
    static const char *const names[OIP_STATS_PARTS] = {
        [OIP_STATS_SUCCESS] = "success",
        [OIP_STATS_FAIL] = "fail",
        [OIP_STATS_QUEUE] = "queue",
        [OIP_STATS_COMPUTE_INPUT] = "compute_input",
        [OIP_STATS_COMPUTE_INFER] = "compute_infer",
        [OIP_STATS_COMPUTE_OUTPUT] = "compute_output",
        [OIP_STATS_CACHE_HIT] = "cache_hit",
        [OIP_STATS_CACHE_MISS] = "cache_miss",
    };
    for (int i = 0; i < OIP_STATS_PARTS; i++)
        buf_printf(out, "%s\"%s\":{\"count\":%" PRIu64 ",\"ns\":%" PRIu64 "}", i ? "," : "", names[i],
                   parts[i].count, parts[i].ns);
}

static void write_stats(void *to, const struct oip_stats *stats)
{
    struct buf *out = to;
    if (out->failed)
        return;
    buf_text(out, out->bytes[out->length - 1] == '[' ? "{" : ",{");
    buf_json_member(out, "name", stats->endpoint);
    buf_text(out, ",");
    buf_json_member(out, "version", stats->version);
    buf_printf(out,
               ",\"last_inference\":%" PRIu64 ",\"inference_count\":%" PRIu64 ",\"execution_count\":%" PRIu64,
               stats->last_ms, stats->rows, stats->batches);
    buf_text(out, ",\"inference_stats\":{");
    write_parts(out, stats->parts);
    buf_text(out, "},\"response_stats\":{},\"batch_stats\":[],\"memory_usage\":[]}");
}

void oip_stats_write(struct buf *out, const struct infer *infer, const struct config_endpoint *endpoint,
                     const struct config_arm *arm)
{
    buf_text(out, "{\"model_stats\":[");
    oip_stats_each(infer, endpoint, arm, write_stats, out);
    buf_text(out, "]}");
}
