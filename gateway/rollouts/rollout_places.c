/* rollout_places: a list by endpoint, and how a canary comes into its place. */
#include "rollouts/rollout_places.h"

#include <stdlib.h>
#include <string.h>

struct rollout_place *rollout_place_find(const struct rollouts *rollouts, const char *name)
{
    struct rollout_place *place = rollouts->places;
    while (place && strcmp(place->name, name) != 0)
        place = place->next;
    return place;
}

struct rollout_place *rollout_place_get(struct rollouts *rollouts, const char *name)
{
    struct rollout_place *place = rollout_place_find(rollouts, name);
    if (place || !(place = calloc(1, sizeof *place + strlen(name) + 1)))
        return place;
    strcpy(place->name, name);
    place->next = rollouts->places;
    rollouts->places = place;
    return place;
}

const struct rollout *rollout_place_record(const struct rollout_place *place,
                                           const struct config_endpoint *endpoint)
{
    const struct rollout *rollout = place ? place->rollout : NULL;
    return rollout && rollout->is_set && !rollout_objection(rollout, endpoint) ? rollout : NULL;
}

void rollout_places_free(struct rollouts *rollouts)
{
    for (struct rollout_place *place = rollouts->places, *next; place; place = next) {
        next = place->next;
        rollout_free(place->rollout);
        rollout_canary_free(place->canary);
        free(place);
    }
    rollouts->places = NULL;
}

const struct config_endpoint *rollouts_endpoint(const struct rollouts *rollouts, const char *name)
{
    return config_endpoint(gateway_config(rollouts->gateway), name, strlen(name));
}

enum gw_status rollouts_find(const struct rollouts *rollouts, const char *name,
                             const struct config_endpoint **endpoint, struct gw_err *err)
{
    *endpoint = rollouts_endpoint(rollouts, name);
    return *endpoint ? GW_OK
                     : gw_err_set(err, GW_E_NOT_FOUND, "no endpoint %s", quote(name, strlen(name)).text);
}

/* --- canaries --- */

void rollout_place_take_canary(const struct rollouts *rollouts, struct rollout_place *place,
                               struct rollout_canary *canary)
{
    const struct config_endpoint *now = rollouts->gateway ? rollouts_endpoint(rollouts, place->name) : NULL;
    rollout_canary_free(place->canary);
    place->canary = canary;
    if (now && now->canary)
        rollout_canary_meet(canary, &place->guard, gateway_plan(rollouts->gateway), now);
}

bool rollout_place_bind_canary(const struct rollouts *rollouts, struct rollout_place *place,
                               struct config *config, const struct config_endpoint *endpoint)
{
    struct buf state = {0};
    const char *kept = place->rollout ? place->rollout->canary : NULL;
    if (place->canary && rollout_canary_is_of(place->canary, config))
        return true;
    if (place->canary) {
        rollout_canary_write_state(place->canary, &state);
        buf_append(&state, "", 1);
        kept = state.bytes;
    }
    struct rollout_canary *bound =
        state.failed ? NULL : rollout_canary_new(rollouts->metrics, config, endpoint, kept);
    buf_clear(&state);
    if (!bound)
        return false;
    rollout_place_take_canary(rollouts, place, bound);
    return true;
}

void rollout_place_forget_canary(struct rollout_place *place)
{
    rollout_canary_free(place->canary);
    place->canary = NULL;
}
