/* rollout_change: from a decision to a record; applied; kept; told. */
#include "rollouts/rollout_change.h"

#include <stdio.h>
#include <stdlib.h>

#include "rollouts/rollout_file.h"
#include "support/log.h"

enum { CHANGE_TEXT = 1024 }; /* weights in a line of the log */

/* --- a decision becomes a record --- */

static uint64_t next_version(const struct rollout_place *place, const struct rollout_decision *decision,
                             uint64_t now_us)
{
    uint64_t known = place->rollout ? place->rollout->version : 0;
    return decision->by_judge ? known + 1 : rollout_next_version(known, now_us);
}

struct rollout *rollouts_draft(struct rollouts *rollouts, const struct rollout_place *place,
                               const struct config_endpoint *endpoint,
                               const struct rollout_decision *decision)
{
    struct buf state = {0};
    uint64_t now_us = loop_wall_us();
    if (place->canary && endpoint->canary) {
        rollout_canary_write_state(place->canary, &state);
        buf_append(&state, "", 1);
    }
    const struct rollout_draft words = {.endpoint = endpoint,
                                        .weights = decision->weights,
                                        .gateway = rollouts->id,
                                        .who = decision->who,
                                        .why = decision->why,
                                        .canary = state.bytes,
                                        .version = next_version(place, decision, now_us),
                                        .at_ms = now_us / 1000};
    struct rollout *rollout = state.failed ? NULL : rollout_new(&words);
    buf_clear(&state);
    return rollout;
}

enum gw_status rollouts_change(struct rollouts *rollouts, const struct config_endpoint *endpoint,
                               const struct rollout_decision *decision, struct gw_err *err)
{
    struct rollout_place *place = rollout_place_get(rollouts, endpoint->name);
    struct rollout *rollout = place ? rollouts_draft(rollouts, place, endpoint, decision) : NULL;
    if (!rollout)
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory; nothing was changed");
    if (rollouts_apply(rollouts, place, rollout, decision->action, err) != GW_OK)
        return err->status;
    place->shared = false;
    rollouts_tell(rollouts, place);
    return GW_OK;
}

enum gw_status rollouts_change_canary(struct rollouts *rollouts, struct rollout_place *place,
                                      const struct config_endpoint *endpoint,
                                      struct rollout_decision *decision, struct gw_err *err)
{
    double weights[BOOK_ARMS];
    rollout_canary_weights(place->canary, weights);
    decision->weights = weights;
    if (rollouts_change(rollouts, endpoint, decision, err) == GW_OK)
        return GW_OK;
    rollout_place_forget_canary(place);
    return err->status;
}

/* --- the record comes into force --- */

/* "m@v1=90 m@v2=10", cut when long. */
static void print_weights(const struct config_endpoint *endpoint, const double *weights,
                          char text[CHANGE_TEXT])
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < endpoint->n_arms && used < CHANGE_TEXT; i++)
        used += (size_t)snprintf(text + used, CHANGE_TEXT - used, "%s%s=%.15g", i ? " " : "",
                                 endpoint->arms[i].name, weights[i]);
}

static void audit(const struct rollouts *rollouts, const char *action, const struct config_endpoint *endpoint,
                  const struct rollout *rollout, const char *before)
{
    char after[CHANGE_TEXT];
    print_weights(endpoint, gateway_plan(rollouts->gateway)->endpoints[endpoint->index].weights, after);
    log_info("rollout_changed", LOG_TEXT("endpoint", endpoint->name), LOG_TEXT("action", action),
             LOG_TEXT("who", rollout->who), LOG_TEXT("why", rollout->why), LOG_TEXT("before", before),
             LOG_TEXT("after", after), LOG_INT("version", rollout->version),
             LOG_TEXT("gateway", rollout->gateway));
}

enum gw_status rollouts_apply(struct rollouts *rollouts, struct rollout_place *place, struct rollout *rollout,
                              const char *action, struct gw_err *err)
{
    const struct config_endpoint *endpoint = rollouts_endpoint(rollouts, place->name);
    struct rollout *former = place->rollout;
    bool counted = place->counted;
    char before[CHANGE_TEXT];
    print_weights(endpoint, gateway_plan(rollouts->gateway)->endpoints[endpoint->index].weights, before);
    place->rollout = rollout;
    place->counted = false;
    if (gateway_retune(rollouts->gateway, err) != GW_OK) {
        place->rollout = former;
        place->counted = counted;
        rollout_free(rollout);
        return err->status;
    }
    rollout_free(former);
    audit(rollouts, action, endpoint, rollout, before);
    rollouts_keep(rollouts);
    return GW_OK;
}

/* --- and is kept, and told --- */

static void take_kept(void *owner, struct rollout *rollout)
{
    struct rollouts *rollouts = owner;
    struct rollout_place *place = rollout_place_get(rollouts, rollout->endpoint);
    if (!place || place->rollout) {
        rollout_free(rollout);
        return;
    }
    place->rollout = rollout;
    place->counted =
        !rollouts->config->redis.shown; /* with Redis it may be about a file that is yet to come here */
}

static enum gw_status save(const struct rollouts *rollouts, struct gw_err *err)
{
    uint32_t n = 0, room = 0;
    for (const struct rollout_place *place = rollouts->places; place; place = place->next)
        room++;
    const struct rollout **records = calloc(room + 1, sizeof(struct rollout *));
    if (!records)
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory");
    for (const struct rollout_place *place = rollouts->places; place; place = place->next)
        if (place->rollout)
            records[n++] = place->rollout;
    enum gw_status status = rollout_file_save(rollouts->config->state_dir, records, n, err);
    free(records);
    return status;
}

void rollouts_keep(struct rollouts *rollouts)
{
    struct gw_err err;
    bool was_unkept = rollouts->unkept;
    if (!rollouts->config->state_dir)
        return;
    rollouts->unkept = save(rollouts, &err) != GW_OK;
    if (rollouts->unkept && !was_unkept)
        log_error("rollouts_not_kept", LOG_TEXT("why", err.what));
    else if (!rollouts->unkept && was_unkept)
        log_info("rollouts_kept", LOG_TEXT("folder", rollouts->config->state_dir));
}

enum gw_status rollouts_load(struct rollouts *rollouts, struct gw_err *err)
{
    const char *folder = rollouts->config->state_dir;
    enum gw_status status = folder ? rollout_file_load(folder, take_kept, rollouts, err) : GW_OK;
    if (status != GW_E_INVALID)
        return status;
    log_error("rollouts_set_aside", LOG_TEXT("folder", folder), LOG_TEXT("why", err->what));
    return GW_OK;
}

void rollouts_tell(struct rollouts *rollouts, struct rollout_place *place)
{
    if (rollouts->share && place->rollout && !place->shared && rollout_share_is_up(rollouts->share))
        rollout_share_tell(rollouts->share, place->rollout);
}
