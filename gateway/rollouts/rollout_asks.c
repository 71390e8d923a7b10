/* rollout_asks: what people ask for: weights set, given back to the file, a canary promoted, rolled back,
 * held up. */
#include <string.h>

#include "infer/route.h"
#include "rollouts/rollout_change.h"

static enum gw_status refuse_arm(const struct config_endpoint *endpoint, const char *name, struct gw_err *err)
{
    struct buf arms = {0};
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        buf_printf(&arms, "%s%s", i ? ", " : "", endpoint->arms[i].name);
    gw_err_set(err, GW_E_INVALID, "no arm %.64s; endpoint %.64s has: %.*s", quote(name, strlen(name)).text,
               endpoint->name, (int)arms.length, arms.length ? arms.bytes : "");
    buf_clear(&arms);
    return GW_E_INVALID;
}

static enum gw_status read_weight(const struct config_endpoint *endpoint, const struct node *asked,
                                  double *weights, struct gw_err *err)
{
    double weight;
    const struct config_arm *arm = route_arm(endpoint, asked->key);
    if (!arm)
        return refuse_arm(endpoint, asked->key, err);
    if (!node_to_number(asked, &weight) || weight < 0 || weight > 1e6)
        return gw_err_set(err, GW_E_INVALID,
                          "the weight of %s: expected a number from 0 to 1000000, such as 10 or 0.5",
                          asked->key);
    weights[arm - endpoint->arms] = weight;
    return GW_OK;
}

static enum gw_status read_weights(const struct rollouts *rollouts, const struct config_endpoint *endpoint,
                                   const struct node *asked, double *weights, struct gw_err *err)
{
    const double *now = gateway_plan(rollouts->gateway)->endpoints[endpoint->index].weights;
    double sum = 0;
    if (!asked || asked->kind != NODE_MAP || !asked->count)
        return gw_err_set(err, GW_E_INVALID, "needs weights: a map of arms to numbers, such as {\"%s\": 10}",
                          endpoint->arms[0].name);
    memcpy(weights, now, endpoint->n_arms * sizeof *weights);
    for (const struct node *child = asked->first; child; child = child->next)
        if (read_weight(endpoint, child, weights, err) != GW_OK)
            return err->status;
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        sum += weights[i];
    return sum > 0 ? GW_OK : gw_err_set(err, GW_E_INVALID, "all weights would be 0; give one arm some");
}

enum gw_status rollouts_set(struct rollouts *rollouts, const struct rollout_ask *ask, struct gw_err *err)
{
    const struct config_endpoint *endpoint;
    double weights[CONFIG_ARMS_MAX];
    const struct rollout_decision decision = {
        .action = "set", .who = ask->who, .why = ask->why, .weights = weights};
    if (rollouts_find(rollouts, ask->endpoint, &endpoint, err) != GW_OK)
        return err->status;
    if (endpoint->canary)
        return gw_err_set(err, GW_E_INVALID,
                          "%.64s has a canary, which sets the weights: promote it, roll it back, or pause it",
                          endpoint->name);
    if (read_weights(rollouts, endpoint, ask->weights, weights, err) != GW_OK)
        return err->status;
    return rollouts_change(rollouts, endpoint, &decision, err);
}

static enum gw_status reset_canary(struct rollouts *rollouts, struct rollout_place *place,
                                   const struct config_endpoint *endpoint, struct rollout_decision *decision,
                                   struct gw_err *err)
{
    struct rollout_canary *fresh =
        rollout_canary_new(rollouts->metrics, gateway_plan(rollouts->gateway)->config, endpoint, NULL);
    if (!fresh)
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory; nothing was changed");
    rollout_place_take_canary(rollouts, place, fresh);
    return rollouts_change_canary(rollouts, place, endpoint, decision, err);
}

enum gw_status rollouts_reset(struct rollouts *rollouts, const struct rollout_ask *ask, struct gw_err *err)
{
    const struct config_endpoint *endpoint;
    struct rollout_decision decision = {.action = "reset", .who = ask->who, .why = ask->why};
    if (rollouts_find(rollouts, ask->endpoint, &endpoint, err) != GW_OK)
        return err->status;
    struct rollout_place *place = rollout_place_get(rollouts, endpoint->name);
    if (!place)
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory; nothing was changed");
    return endpoint->canary ? reset_canary(rollouts, place, endpoint, &decision, err)
                            : rollouts_change(rollouts, endpoint, &decision, err);
}

static enum gw_status order(struct rollouts *rollouts, const struct rollout_ask *ask, enum canary_order what,
                            const char *action, struct gw_err *err)
{
    const struct config_endpoint *endpoint;
    struct rollout_decision decision = {.action = action, .who = ask->who, .why = ask->why};
    if (rollouts_find(rollouts, ask->endpoint, &endpoint, err) != GW_OK)
        return err->status;
    if (!endpoint->canary)
        return gw_err_set(err, GW_E_INVALID, "%.64s has no canary; its weights are set", endpoint->name);
    struct rollout_place *place = rollout_place_get(rollouts, endpoint->name);
    if (!place ||
        !rollout_place_bind_canary(rollouts, place, gateway_plan(rollouts->gateway)->config, endpoint))
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory; nothing was changed");
    if (!rollout_canary_order(place->canary, what, ask->why[0] ? ask->why : ask->who))
        return gw_err_set(err, GW_E_INVALID, "the canary of %.64s is %s: %s changes nothing of that%s",
                          endpoint->name, rollout_canary_phase(place->canary), action,
                          rollout_canary_is_over(place->canary) ? "; reset begins it anew" : "");
    return rollouts_change_canary(rollouts, place, endpoint, &decision, err);
}

enum gw_status rollouts_promote(struct rollouts *rollouts, const struct rollout_ask *ask, struct gw_err *err)
{
    return order(rollouts, ask, ORDER_PROMOTE, "promote", err);
}
enum gw_status rollouts_rollback(struct rollouts *rollouts, const struct rollout_ask *ask, struct gw_err *err)
{
    return order(rollouts, ask, ORDER_ROLLBACK, "rollback", err);
}
enum gw_status rollouts_pause(struct rollouts *rollouts, const struct rollout_ask *ask, struct gw_err *err)
{
    return order(rollouts, ask, ORDER_PAUSE, "pause", err);
}
enum gw_status rollouts_resume(struct rollouts *rollouts, const struct rollout_ask *ask, struct gw_err *err)
{
    return order(rollouts, ask, ORDER_RESUME, "resume", err);
}
