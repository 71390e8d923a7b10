/* period: made beside the one in force, entered, left. */
#include "infer/period.h"

#include <stdlib.h>

#include "infer/request_metrics.h"

struct period *period_new(struct metrics *metrics, struct plan *plan)
{
    struct period *period = calloc(1, sizeof *period);
    if (!period)
        return NULL;
    period->plan = plan_ref(plan);
    period->metrics = infer_metrics_new(metrics, plan->config);
    period->contexts = calloc(plan->config->n_versions + 1, sizeof *period->contexts);
    if (period->metrics && period->contexts)
        return period;
    period_free(period);
    return NULL;
}

void period_free(struct period *period)
{
    if (!period)
        return;
    infer_metrics_free(period->metrics);
    free(period->contexts);
    buf_clear(&period->description);
    plan_unref(period->plan);
    free(period);
}

static void period_end(struct period *period)
{
    period->over = true;
    if (!period->open)
        period_free(period);
}

void period_leave(struct period *period)
{
    if (!--period->open && period->over)
        period_free(period);
}

/* --- what outlives it --- */

enum gw_status infer_init(struct infer *infer, struct loop *loop, struct period *period, struct cache *cache,
                          uint32_t shard, uint32_t shards)
{
    *infer = (struct infer){.loop = loop,
                            .period = period,
                            .cache = cache,
                            .shard = shard,
                            .next_id = shard + 1,
                            .id_step = shards};
    infer->json = json_reader_new();
    return infer->json ? GW_OK : GW_E_NO_MEMORY;
}

void infer_enter(struct infer *infer, struct period *period)
{
    struct period *former = infer->period;
    infer->period = period;
    period_end(former);
}

void infer_clear(struct infer *infer)
{
    json_reader_free(infer->json);
    period_free(infer->period);
    *infer = (struct infer){0};
}
