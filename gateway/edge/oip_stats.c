/* oip_stats: statistics in Triton's words. */
#include "edge/oip_stats.h"

#include <inttypes.h>
#include <string.h>

#include "edge/oip_tensors.h"
#include "infer/statistics.h"

static void write_part(struct buf *out, const char *name, struct statistics_part part)
{
    buf_printf(out, "\"%s\":{\"count\":%" PRIu64 ",\"ns\":%" PRIu64 "}", name, part.count, part.ns);
}

static struct statistics_part sum_of(struct statistics_part a, struct statistics_part b)
{
    return (struct statistics_part){.count = a.count + b.count, .ns = a.ns + b.ns};
}

/*
 * What the gateway has no part in, or does not measure, is zero: inputs and outputs are copied within the
 * call, and looking up a row takes less than a clock is worth.
 */
static void write_parts(struct buf *out, const struct statistics *statistics, bool caches)
{
    const struct {
        const char *name;
        struct statistics_part part;
    } parts[] = {
        {"success", sum_of(statistics->answered, statistics->cached)},
        {"fail", statistics->failed},
        {"queue", statistics->queued},
        {"compute_input", {0}},
        {"compute_infer", statistics->computed},
        {"compute_output", {0}},
        {"cache_hit", {.count = statistics->cached.count}},
        {"cache_miss", {.count = caches ? statistics->answered.count : 0}},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        buf_text(out, i ? "," : "");
        write_part(out, parts[i].name, parts[i].part);
    }
}

static void write_arm(struct buf *out, const struct infer *infer, const struct config_endpoint *endpoint,
                      const struct config_arm *arm)
{
    const struct config *config = infer->period->plan->config;
    bool caches = arm->version->model->cache && (config->cache_bytes || config->redis.shown);
    struct statistics statistics;
    statistics_read(infer, endpoint, arm, &statistics);
    buf_text(out, "{");
    buf_json_member(out, "name", endpoint->name);
    buf_text(out, ",");
    buf_json_member(out, "version", oip_version_name(endpoint, arm->version));
    buf_printf(out,
               ",\"last_inference\":%" PRIu64 ",\"inference_count\":%" PRIu64 ",\"execution_count\":%" PRIu64,
               statistics.last_ms, statistics.rows, statistics.batches);
    buf_text(out, ",\"inference_stats\":{");
    write_parts(out, &statistics, caches);
    buf_text(out, "},\"response_stats\":{},\"batch_stats\":[],\"memory_usage\":[]}");
}

static void write_endpoint(struct buf *out, const struct infer *infer, const struct config_endpoint *endpoint,
                           const struct config_arm *arm)
{
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        if (arm && arm != &endpoint->arms[i])
            continue;
        buf_text(out, out->bytes[out->length - 1] == '[' ? "" : ",");
        write_arm(out, infer, endpoint, &endpoint->arms[i]);
    }
}

void oip_stats_write(struct buf *out, const struct infer *infer, const struct config_endpoint *endpoint,
                     const struct config_arm *arm)
{
    const struct config *config = infer->period->plan->config;
    buf_text(out, "{\"model_stats\":[");
    for (uint32_t i = 0; i < config->n_endpoints && !out->failed; i++)
        if (!endpoint || endpoint == config->endpoints[i])
            write_endpoint(out, infer, config->endpoints[i], arm);
    buf_text(out, "]}");
}
