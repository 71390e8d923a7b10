/* rollout_judging: whose turn it is to judge; what came of it, in force, in the log and in the record. */
#include "rollouts/rollout_judging.h"

#include "rollouts/rollout_change.h"
#include "support/log.h"

enum { STATE_POLLS = 40 }; /* of them between two times that a canary's evidence is kept */

/* Phase, step or weight are others now: in force, and one line of the log with the evidence. */
static void tell_verdict(struct rollouts *rollouts, struct rollout_place *place,
                         const struct config_endpoint *endpoint)
{
    struct buf why = {0};
    struct buf evidence = {0};
    struct gw_err err;
    rollout_canary_evidence(place->canary, &evidence);
    buf_printf(&why, "%s (%.*s)", rollout_canary_why(place->canary), (int)evidence.length,
               evidence.length ? evidence.bytes : "");
    buf_append(&why, "", 1);
    struct rollout_decision decision = {.action = rollout_canary_phase(place->canary),
                                        .who = "canary",
                                        .why = why.failed ? "" : why.bytes,
                                        .by_judge = true};
    if (rollouts_change_canary(rollouts, place, endpoint, &decision, &err) != GW_OK)
        log_error("canary_not_applied", LOG_TEXT("endpoint", endpoint->name), LOG_TEXT("why", err.what));
    buf_clear(&evidence);
    buf_clear(&why);
}

/* The evidence so far, for a restart and for whoever judges next: nobody's change, so not in the log. */
static void keep_evidence(struct rollouts *rollouts, struct rollout_place *place,
                          const struct config_endpoint *endpoint)
{
    double weights[BOOK_ARMS];
    rollout_canary_weights(place->canary, weights);
    const struct rollout *now = place->rollout;
    const struct rollout_decision decision = {
        .who = now ? now->who : "canary", .why = now ? now->why : "", .weights = weights, .by_judge = true};
    struct rollout *record = rollouts_draft(rollouts, place, endpoint, &decision);
    if (!record)
        return; /* next time */
    rollout_free(place->rollout);
    place->rollout = record;
    place->shared = false;
    rollouts_keep(rollouts);
    rollouts_tell(rollouts, place);
}

static enum canary_duty duty(const struct rollouts *rollouts)
{
    if (!rollouts->share)
        return DUTY_JUDGE;
    if (!rollout_share_judges(rollouts->share))
        return DUTY_GUARD;
    return rollout_share_is_up(rollouts->share) ? DUTY_JUDGE : DUTY_HOLD;
}

static void judge_one(struct rollouts *rollouts, const struct config_endpoint *endpoint)
{
    const struct plan *plan = gateway_plan(rollouts->gateway);
    struct rollout_place *place = rollout_place_get(rollouts, endpoint->name);
    if (!place || !rollout_place_bind_canary(rollouts, place, plan->config, endpoint))
        return; /* out of memory: next time */
    enum canary_duty ours = duty(rollouts);
    if (rollout_canary_judge(place->canary, &place->guard, plan, ours))
        tell_verdict(rollouts, place, endpoint);
    else if (ours != DUTY_GUARD && !rollout_canary_is_over(place->canary) &&
             rollouts->polls % STATE_POLLS == 0)
        keep_evidence(rollouts, place, endpoint);
    if (place->canary)
        rollout_canary_show(place->canary, &place->guard);
}

void rollouts_judge(struct rollouts *rollouts)
{
    const struct config *config = gateway_config(rollouts->gateway);
    for (uint32_t i = 0; i < config->n_endpoints; i++)
        if (config->endpoints[i]->canary)
            judge_one(rollouts, config->endpoints[i]);
    for (struct rollout_place *place = rollouts->places; place; place = place->next) {
        const struct config_endpoint *endpoint =
            place->canary ? rollouts_endpoint(rollouts, place->name) : NULL;
        if (endpoint && endpoint->canary)
            continue;
        rollout_place_forget_canary(place); /* the file has none any more */
    }
}
