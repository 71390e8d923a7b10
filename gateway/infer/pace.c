/* pace: the scene is set once for each question, from queue and replicas; then the parts are asked. */
#include "infer/pace.h"

/* Deadlines are told apart as far as so many times the smallest objective. */
#define HORIZON_SLOS 8

enum { QUICK_CALL_US = 300 };

/*
 * Of the rows that are let in so many may be late: half of the hundredth that is promised. A batch that is
 * late as a whole adds half of the tail to what is allowed for; 200 in time take as much away that two were.
 */
#define LATE_SHARE    0.005
#define CAUTION_STEP  0.5
#define CAUTION_FIRST 1.0
#define CAUTION_MOST  2.0

enum gw_status pace_init(struct pace *pace, const struct config_batching *batching, uint64_t slo_us,
                         size_t max_bytes)
{
    bool waits_blindly = batching->policy != BATCHING_NONE && batching->policy != BATCHING_ADAPTIVE;
    const struct batch_limits limits = {
        .max_queued_rows = batching->max_queued_rows,
        .max_delay_us = waits_blindly ? batching->max_delay_us : 0,
        .wait_rows = batching->max_rows,
        .horizon_us = slo_us * HORIZON_SLOS,
        .max_bytes = max_bytes,
    };
    *pace = (struct pace){
        .queue = batch_queue_new(&limits),
        .max_queued_rows = batching->max_queued_rows,
        .admits = batching->admission && slo_us,
        .caution = CAUTION_FIRST,
    };
    batch_policy_init(&pace->policy, batching, slo_us);
    return pace->queue ? GW_OK : GW_E_NO_MEMORY;
}

void pace_clear(struct pace *pace)
{
    batch_queue_free(pace->queue);
    pace->queue = NULL;
}

static uint32_t servers_of(const struct pace *pace, const struct busy_outlook *replicas)
{
    uint32_t ready = replicas->ready ? replicas->ready : 1;
    return batch_policy_is_serial(&pace->policy) ? ready : ready * pace->policy.calls;
}

static uint32_t lesser(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* --- who is let in --- */

const char *pace_refusal_name(enum pace_refusal refusal)
{
    static const char *const names[PACE_REFUSAL_COUNT] = {
        [PACE_LATE] = "late", [PACE_FULL] = "full", [PACE_YIELDED] = "yielded"};
    return names[refusal];
}

static uint64_t start_of(const struct busy_outlook *replicas, uint64_t now_us)
{
    return replicas->start_us > now_us ? replicas->start_us : now_us;
}

static struct admission_pace admission_scene(const struct pace *pace, enum priority priority,
                                             const struct busy_outlook *replicas, uint64_t now_us)
{
    return (struct admission_pace){
        .latency = &pace->policy.latency,
        .now_us = now_us,
        .start_us = start_of(replicas, now_us),
        .margin_us = batch_policy_margin_us(&pace->policy),
        .batch_rows = lesser(batch_policy_most(&pace->policy), replicas->max_rows),
        .servers = servers_of(pace, replicas),
        .kinds = batch_kinds(pace->queue, priority),
        .caution = pace->caution,
        .rate = batch_policy_rate(&pace->policy, PRIORITY_COUNT, now_us),
        .higher_rate = batch_policy_rate(&pace->policy, priority, now_us),
    };
}

/*
 * Whether the model is known well enough to refuse somebody for it; and a replica that would else be idle is
 * to be used, so that a model that has become fast again is found out.
 */
static bool foresees(const struct pace *pace, const struct busy_outlook *replicas, uint64_t now_us)
{
    bool is_idle = !batch_queued_rows(pace->queue) && replicas->start_us <= now_us;
    return pace->admits && replicas->ready && latency_is_known(&pace->policy.latency) && !is_idle;
}

/* Whether there is room behind so many rows, and, as far as is foreseen, nobody late. scene: NULL: nothing
 * is. */
static bool fits(const struct pace *pace, const struct admission_pace *scene, const struct backlog *backlog,
                 uint32_t queued, const struct batch_entry *entry)
{
    if (queued && (uint64_t)queued + entry->n_rows > pace->max_queued_rows)
        return false;
    return !scene || admission_fits(scene, backlog, entry->priority, entry->n_rows, entry->deadline_us);
}

/* Whether it would fit if those who yield to it had gone. */
static bool fits_instead(const struct pace *pace, const struct admission_pace *scene,
                         const struct batch_entry *entry, const struct pace_verdict *verdict)
{
    struct backlog without = *batch_backlog(pace->queue);
    uint32_t queued = batch_queued_rows(pace->queue);
    for (uint32_t i = 0; i < verdict->n_yielding; i++) {
        const struct batch_entry *yielding = verdict->yielding[i];
        backlog_take(&without, yielding->priority, yielding->n_rows, yielding->slot);
        queued -= yielding->n_rows;
    }
    return fits(pace, scene, &without, queued, entry);
}

static bool others_yield(struct pace *pace, const struct admission_pace *scene,
                         const struct batch_entry *entry, struct pace_verdict *verdict)
{
    verdict->n_yielding =
        fair_shares_yield(batch_shares(pace->queue), entry, verdict->yielding, PACE_YIELDING_MAX);
    if (!verdict->n_yielding || !fits_instead(pace, scene, entry, verdict)) {
        verdict->n_yielding = 0;
        return false;
    }
    for (uint32_t i = 0; i < verdict->n_yielding; i++)
        batch_remove(pace->queue, verdict->yielding[i]);
    return true;
}

static bool is_let_in(struct pace *pace, struct batch_entry *entry, const struct busy_outlook *replicas,
                      uint64_t now_us, struct pace_verdict *verdict)
{
    uint32_t queued = batch_queued_rows(pace->queue);
    struct admission_pace known;
    const struct admission_pace *scene = NULL;
    entry->is_foreseen = foresees(pace, replicas, now_us);
    if (entry->is_foreseen) {
        known = admission_scene(pace, entry->priority, replicas, now_us);
        scene = &known;
    }
    if (fits(pace, scene, batch_backlog(pace->queue), queued, entry) ||
        others_yield(pace, scene, entry, verdict))
        return true;
    verdict->refusal = fits(pace, NULL, NULL, queued, entry) ? PACE_LATE : PACE_FULL;
    verdict->retry_us = scene ? admission_finish_us(scene, queued) - now_us : 0;
    return false;
}

enum gw_status pace_arrive(struct pace *pace, struct batch_entry *entry, const struct busy_outlook *replicas,
                           uint64_t now_us, struct pace_verdict *verdict)
{
    *verdict = (struct pace_verdict){.refusal = PACE_FULL};
    batch_policy_arrived(&pace->policy, entry->priority, entry->n_rows, now_us);
    if (!is_let_in(pace, entry, replicas, now_us, verdict))
        return GW_E_OVERLOAD;
    return batch_add(pace->queue, entry, now_us);
}

/* --- what is sent, and when --- */

/*
 * What to allow for a call when rows wait for company: what it likely takes; a quarter of the objective at
 * least, for what is not the call, and while nothing is known.
 */
static uint64_t allowed_us(const struct batch_policy *policy, uint32_t rows)
{
    uint64_t quarter_us = policy->slo_us / 4;
    uint64_t likely_us = (uint64_t)latency_likely_us(&policy->latency, rows) + batch_policy_margin_us(policy);
    return likely_us > quarter_us ? likely_us : quarter_us;
}

bool pace_needs_idle(const struct pace *pace)
{
    return pace->call_us && pace->call_us < QUICK_CALL_US && batch_policy_is_serial(&pace->policy);
}

static struct batch_scene batch_scene(const struct pace *pace, const struct batch_queue *queue,
                                      const struct busy_outlook *replicas, uint64_t now_us)
{
    return (struct batch_scene){
        .now_us = now_us,
        .start_us = start_of(replicas, now_us),
        .given_up_us = replicas->given_up_us,
        .deadline_us = batch_next_deadline(queue),
        .oldest_us = batch_oldest_us(queue),
        .rows = batch_queued_rows(queue),
        .servers = servers_of(pace, replicas),
        .slowness = replicas->slowness,
    };
}

uint32_t pace_limit(const struct pace *pace, const struct batch_queue *queue,
                    const struct busy_outlook *replicas, uint64_t now_us)
{
    const struct batch_scene scene = batch_scene(pace, queue, replicas, now_us);
    return lesser(batch_policy_limit(&pace->policy, &scene), replicas->max_rows);
}

bool pace_next(const struct pace *pace, const struct busy_outlook *replicas, uint64_t now_us, uint32_t *limit,
               enum batch_reason *reason, uint64_t *wake_us)
{
    const struct batch_policy *policy = &pace->policy;
    uint32_t queued = batch_queued_rows(pace->queue);
    *wake_us = UINT64_MAX;
    if (!queued)
        return false;
    const struct batch_scene scene = batch_scene(pace, pace->queue, replicas, now_us);
    uint64_t busy_until_us = batch_policy_busy_until(policy, &scene);
    if (busy_until_us > now_us) {
        *wake_us = busy_until_us;
        return false;
    }
    *limit = pace_limit(pace, pace->queue, replicas, now_us);
    return batch_decide(pace->queue, *limit, allowed_us(policy, lesser(queued, *limit)),
                        batch_policy_hold_until(policy, &scene), now_us, reason, wake_us);
}

uint64_t pace_expected_us(const struct pace *pace, uint32_t rows)
{
    return (uint64_t)latency_typical_us(&pace->policy.latency, rows);
}

bool pace_is_misjudged(const struct pace *pace, const struct batch_entry *entry, uint64_t now_us)
{
    return entry->is_foreseen && now_us + batch_policy_margin_us(&pace->policy) / 2 > entry->deadline_us;
}

/* Robbins and Monro's, as latency.h's for its noise: it settles where LATE_SHARE is late. */
static void follow_lateness(struct pace *pace, uint32_t rows, uint32_t late_rows)
{
    pace->caution += CAUTION_STEP * ((double)late_rows / rows - LATE_SHARE);
    if (pace->caution < 0)
        pace->caution = 0;
    if (pace->caution > CAUTION_MOST)
        pace->caution = CAUTION_MOST;
}

void pace_learn(struct pace *pace, const struct batch_observation *observed, uint32_t misjudged_rows)
{
    batch_policy_observe(&pace->policy, observed);
    follow_lateness(pace, observed->rows, misjudged_rows);
    pace->call_us = pace->call_us ? (3 * pace->call_us + observed->rpc_us) / 4 : observed->rpc_us;
}
