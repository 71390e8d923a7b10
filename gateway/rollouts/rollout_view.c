/* rollout_view: where endpoints stand, as operators read it. */
#include <string.h>
#include <time.h>

#include "rollouts/rollout_places.h"

static void write_changed(struct buf *out, const struct rollout *rollout)
{
    char at[sizeof "2026-01-31T12:00:00Z"];
    time_t seconds = (time_t)(rollout->at_ms / 1000);
    struct tm parts;
    if (!gmtime_r(&seconds, &parts) || !strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &parts))
        at[0] = '\0';
    buf_text(out, "{");
    buf_json_member(out, "at", at);
    buf_text(out, ",");
    buf_json_member(out, "who", rollout->who);
    buf_text(out, ",");
    buf_json_member(out, "why", rollout->why);
    buf_printf(out, ",\"version\":%llu,", (unsigned long long)rollout->version);
    buf_json_member(out, "gateway", rollout->gateway);
    buf_text(out, "}");
}

static void write_arms(const struct rollouts *rollouts, const struct config_endpoint *endpoint,
                       struct buf *out)
{
    const struct plan *plan = gateway_plan(rollouts->gateway);
    const struct plan_endpoint *place = &plan->endpoints[endpoint->index];
    buf_text(out, "\"arms\":[");
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        const struct config_arm *arm = &endpoint->arms[i];
        buf_text(out, i ? ",{" : "{");
        buf_json_member(out, "name", arm->name);
        buf_text(out, ",");
        buf_json_member(out, "model", arm->version->full_name);
        buf_printf(out, ",\"weight\":%.15g,\"file\":%.15g,\"buckets\":%u,\"ready\":%s}", place->weights[i],
                   arm->weight, split_owned(place->split, i),
                   version_is_ready(plan->versions[arm->version->index]) ? "true" : "false");
    }
    buf_text(out, "]");
}

static void write_endpoint(const struct rollouts *rollouts, const struct config_endpoint *endpoint,
                           struct buf *out)
{
    const struct rollout_place *place = rollout_place_find(rollouts, endpoint->name);
    const struct rollout *rollout = place ? place->rollout : NULL;
    buf_text(out, "{");
    buf_json_member(out, "endpoint", endpoint->name);
    buf_printf(out, ",\"source\":\"%s\",",
               endpoint->canary                        ? "canary"
               : rollout_place_record(place, endpoint) ? "set"
                                                       : "file");
    buf_printf(out, "\"kept\":%s,\"shared\":%s,\"changed\":",
               !rollouts->config->state_dir ? "null"
               : rollouts->unkept           ? "false"
                                            : "true",
               !rollouts->share            ? "null"
               : !rollout || place->shared ? "true"
                                           : "false");
    if (rollout)
        write_changed(out, rollout);
    else
        buf_text(out, "null");
    buf_text(out, ",");
    write_arms(rollouts, endpoint, out);
    buf_text(out, ",\"canary\":");
    if (place && place->canary)
        rollout_canary_write(place->canary, out);
    else
        buf_text(out, "null");
    buf_text(out, "}");
}

void rollouts_write_all(const struct rollouts *rollouts, struct buf *out)
{
    buf_text(out, "{\"rollouts\":[");
    const struct config *config = gateway_config(rollouts->gateway);
    for (uint32_t i = 0; i < config->n_endpoints; i++) {
        buf_text(out, i ? "," : "");
        write_endpoint(rollouts, config->endpoints[i], out);
    }
    buf_text(out, "]}\n");
}

enum gw_status rollouts_write_one(const struct rollouts *rollouts, const char *name, struct buf *out,
                                  struct gw_err *err)
{
    const struct config_endpoint *endpoint;
    if (rollouts_find(rollouts, name, &endpoint, err) != GW_OK)
        return err->status;
    write_endpoint(rollouts, endpoint, out);
    buf_text(out, "\n");
    return GW_OK;
}
