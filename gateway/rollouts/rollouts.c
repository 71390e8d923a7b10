/*
 * rollouts: what is in force in every plan; what other gateways changed; what is looked at now and then; the
 * beginning and the end. What people ask for is in rollout_asks, what they are shown in rollout_view.
 */
#include "rollouts/rollouts.h"

#include <sodium.h>
#include <stdlib.h>

#include "rollouts/rollout_change.h"
#include "rollouts/rollout_judging.h"
#include "support/log.h"

enum {
    POLL_US = 250000,
    SHARE_POLLS = 4, /* of them between two questions to Redis, and two tries of a disk */
};

/* --- what is in force --- */

static void note_counted(struct rollout_place *place, const struct config_endpoint *endpoint)
{
    if (rollout_place_record(place, endpoint))
        place->counted = true;
}

static bool tune_endpoint(struct rollouts *rollouts, struct plan *plan,
                          const struct config_endpoint *endpoint)
{
    const double *now = plan->endpoints[endpoint->index].weights;
    struct rollout_place *place = endpoint->canary ? rollout_place_get(rollouts, endpoint->name)
                                                   : rollout_place_find(rollouts, endpoint->name);
    double weights[CONFIG_ARMS_MAX];
    if (endpoint->canary && (!place || !rollout_place_bind_canary(rollouts, place, plan->config, endpoint)))
        return false;
    if (endpoint->canary)
        rollout_canary_weights(place->canary, weights);
    else
        rollout_weights(rollout_place_record(place, endpoint), endpoint, weights);
    if (place)
        note_counted(place, endpoint);
    bool same = true;
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        same = same && !(weights[i] < now[i]) && !(weights[i] > now[i]);
    return same || plan_set_weights(plan, endpoint, weights);
}

static bool tune(void *owner, struct plan *plan)
{
    struct rollouts *rollouts = owner;
    for (uint32_t i = 0; i < plan->config->n_endpoints; i++)
        if (!tune_endpoint(rollouts, plan, plan->config->endpoints[i]))
            return false;
    return true;
}

struct gateway_tuner rollouts_tuner(struct rollouts *rollouts)
{
    return (struct gateway_tuner){.tune = tune, .owner = rollouts};
}

/* --- what others changed --- */

/* Redis has `record` of the endpoint by now; NULL: nothing. */
static void heard(void *owner, const char *name, struct rollout *record)
{
    struct rollouts *rollouts = owner;
    struct rollout_place *place = rollout_place_get(rollouts, name);
    struct gw_err err;
    if (!place || !record || !rollout_is_later(record, place->rollout)) {
        if (place)
            place->shared = record && place->rollout && !rollout_is_later(place->rollout, record);
        rollout_free(record);
        return;
    }
    const struct config_endpoint *endpoint = rollouts_endpoint(rollouts, name);
    if (!endpoint) { /* gone from the file since the question */
        rollout_free(record);
        return;
    }
    if (record->canary && rollout_canary_fits(endpoint, record->canary))
        rollout_place_forget_canary(place); /* it goes on from the record */
    bool counts = !rollout_objection(record, endpoint);
    if (rollouts_apply(rollouts, place, record, counts ? "adopted" : "noted", &err) == GW_OK)
        place->shared = true;
}

/* --- now and then --- */

/* What counted once and does not any more, because the file changed, is over: it does not come back with the
 * file. */
static void drop(struct rollouts *rollouts, struct rollout_place *place,
                 const struct config_endpoint *endpoint, const char *why)
{
    struct rollout *rollout = place->rollout;
    const struct rollout_draft draft = {.endpoint = endpoint,
                                        .gateway = rollout->gateway,
                                        .who = rollout->who,
                                        .why = rollout->why,
                                        .version =
                                            rollout->version, /* not a change of anybody's: nothing to tell */
                                        .at_ms = rollout->at_ms};
    struct rollout *over = rollout_new(&draft);
    if (!over)
        return; /* tried again */
    log_warn("rollout_dropped", LOG_TEXT("endpoint", endpoint->name), LOG_TEXT("why", why),
             LOG_TEXT("who", rollout->who), LOG_INT("version", rollout->version));
    rollout_free(rollout);
    place->rollout = over;
    place->counted = false;
    rollouts_keep(rollouts);
}

static void drop_what_is_over(struct rollouts *rollouts)
{
    for (struct rollout_place *place = rollouts->places; place; place = place->next) {
        const struct config_endpoint *endpoint = rollouts_endpoint(rollouts, place->name);
        const char *why = place->rollout && place->rollout->is_set && place->counted && endpoint
                              ? rollout_objection(place->rollout, endpoint)
                              : NULL;
        if (why)
            drop(rollouts, place, endpoint, why);
    }
}

static void share_all(struct rollouts *rollouts)
{
    for (struct rollout_place *place = rollouts->places; place; place = place->next)
        rollouts_tell(rollouts, place);
    rollout_share_ask(rollouts->share, gateway_config(rollouts->gateway));
    rollout_share_lease(rollouts->share);
}

static void poll_all(struct loop_timer *timer)
{
    struct rollouts *rollouts = container_of(timer, struct rollouts, poll);
    bool whole = ++rollouts->polls % SHARE_POLLS == 0;
    drop_what_is_over(rollouts);
    rollouts_judge(rollouts);
    if (whole && rollouts->unkept)
        rollouts_keep(rollouts);
    if (whole && rollouts->share && rollout_share_is_up(rollouts->share))
        share_all(rollouts);
    if (loop_timer_set(rollouts->loop, timer, loop_now_us() + POLL_US) != GW_OK)
        log_error("rollouts_stopped", LOG_TEXT("why", "out of memory"));
}

/* --- from beginning to end --- */

struct rollouts *rollouts_new(struct loop *loop, struct metrics *metrics, const struct config *config,
                              struct gw_err *err)
{
    struct rollouts *rollouts = calloc(1, sizeof *rollouts);
    unsigned char id[(ROLLOUT_GATEWAY_ROOM - 1) / 2];
    gw_err_set(err, GW_E_NO_MEMORY, "out of memory while starting");
    if (!rollouts)
        return NULL;
    rollouts->loop = loop;
    rollouts->metrics = metrics;
    rollouts->config = config_ref((struct config *)config);
    rollouts->poll.fire = poll_all;
    randombytes_buf(id, sizeof id);
    sodium_bin2hex(rollouts->id, sizeof rollouts->id, id, sizeof id);
    if (rollouts_load(rollouts, err) == GW_OK)
        return rollouts;
    rollouts_free(rollouts);
    return NULL;
}

static bool open_share(struct rollouts *rollouts)
{
    const struct rollout_share_setup setup = {.loop = rollouts->loop,
                                              .resolver = gateway_resolver(rollouts->gateway),
                                              .metrics = rollouts->metrics,
                                              .config = rollouts->config,
                                              .gateway = rollouts->id,
                                              .heard = heard,
                                              .owner = rollouts};
    rollouts->share = rollouts->config->redis.shown ? rollout_share_new(&setup) : NULL;
    return rollouts->share || !rollouts->config->redis.shown;
}

bool rollouts_start(struct rollouts *rollouts, struct gateway *gateway)
{
    rollouts->gateway = gateway;
    return open_share(rollouts) &&
           loop_timer_set(rollouts->loop, &rollouts->poll, loop_now_us() + POLL_US) == GW_OK;
}

void rollouts_stop(struct rollouts *rollouts)
{
    loop_timer_cancel(rollouts->loop, &rollouts->poll);
    rollout_share_free(rollouts->share);
    rollouts->share = NULL;
}

void rollouts_free(struct rollouts *rollouts)
{
    if (!rollouts)
        return;
    rollouts_stop(rollouts);
    rollout_places_free(rollouts);
    config_unref(rollouts->config);
    free(rollouts);
}
