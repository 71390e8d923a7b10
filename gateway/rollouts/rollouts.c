/* rollouts: records by endpoint: kept, applied, changed, told to others. */
#include "rollouts/rollouts.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "infer/route.h"
#include "rollouts/rollout.h"
#include "rollouts/rollout_canary.h"
#include "rollouts/rollout_file.h"
#include "rollouts/rollout_share.h"
#include "support/log.h"

enum {
    POLL_US = 250000,
    SHARE_POLLS = 4,    /* of them between two questions to Redis, and two tries of a disk */
    STATE_POLLS = 40,   /* of them between two times that a canary's evidence is kept */
    CHANGE_TEXT = 1024, /* weights in a line of the log */
};

/* One endpoint's. Stays for as long as the process, should the endpoint leave the file and come back. */
struct place {
    struct place *next;
    struct rollout *rollout;       /* NULL: never changed */
    struct rollout_canary *canary; /* NULL: none, or not needed yet */
    struct canary_guard guard;     /* of all canaries that it had */
    bool counted;                  /* it was in force once: when the file objects, it is dropped */
    bool shared;                   /* Redis has it */
    char name[];
};

struct rollouts {
    struct loop *loop;
    struct metrics *metrics;
    struct gateway *gateway; /* NULL: not started */
    struct config *config;   /* one reference: the one that it began with, for what cannot change */
    struct place *places;
    struct rollout_share *share; /* NULL: no Redis */
    struct loop_timer poll;
    uint32_t polls;
    bool unkept; /* the file does not have all of it */
    char id[ROLLOUT_GATEWAY_ROOM];
};

/* --- places --- */

static struct place *place_find(const struct rollouts *rollouts, const char *name)
{
    struct place *place = rollouts->places;
    while (place && strcmp(place->name, name) != 0)
        place = place->next;
    return place;
}

/* NULL: out of memory. */
static struct place *place_get(struct rollouts *rollouts, const char *name)
{
    struct place *place = place_find(rollouts, name);
    if (place || !(place = calloc(1, sizeof *place + strlen(name) + 1)))
        return place;
    strcpy(place->name, name);
    place->next = rollouts->places;
    rollouts->places = place;
    return place;
}

/* Its record, if it counts. */
static const struct rollout *place_rollout(const struct place *place, const struct config_endpoint *endpoint)
{
    const struct rollout *rollout = place ? place->rollout : NULL;
    return rollout && rollout->is_set && !rollout_objection(rollout, endpoint) ? rollout : NULL;
}

static const struct config_endpoint *endpoint_named(const struct rollouts *rollouts, const char *name)
{
    return config_endpoint(gateway_config(rollouts->gateway), name, strlen(name));
}

/* --- what is in force --- */

/* Another canary than it had, or the same once more: before its weights are in force. */
static void take_canary(const struct rollouts *rollouts, struct place *place, struct rollout_canary *canary)
{
    const struct config_endpoint *now = rollouts->gateway ? endpoint_named(rollouts, place->name) : NULL;
    rollout_canary_free(place->canary);
    place->canary = canary;
    if (now && now->canary)
        rollout_canary_meet(canary, &place->guard, gateway_plan(rollouts->gateway), now);
}

/*
 * Its canary by this configuration: as it stood by another, or as the record says, or from its beginning.
 * False: out of memory; it is as it was.
 */
static bool bind_canary(const struct rollouts *rollouts, struct place *place, struct config *config,
                        const struct config_endpoint *endpoint)
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
    take_canary(rollouts, place, bound);
    return true;
}

static void note_counted(struct place *place, const struct config_endpoint *endpoint)
{
    if (place_rollout(place, endpoint))
        place->counted = true;
}

static bool tune_endpoint(struct rollouts *rollouts, struct plan *plan,
                          const struct config_endpoint *endpoint)
{
    const double *now = plan->endpoints[endpoint->index].weights;
    struct place *place =
        endpoint->canary ? place_get(rollouts, endpoint->name) : place_find(rollouts, endpoint->name);
    double weights[CONFIG_ARMS_MAX];
    if (endpoint->canary && (!place || !bind_canary(rollouts, place, plan->config, endpoint)))
        return false;
    if (endpoint->canary)
        rollout_canary_weights(place->canary, weights);
    else
        rollout_weights(place_rollout(place, endpoint), endpoint, weights);
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

/* --- what is kept --- */

static void take_kept(void *owner, struct rollout *rollout)
{
    struct rollouts *rollouts = owner;
    struct place *place = place_get(rollouts, rollout->endpoint);
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
    for (const struct place *place = rollouts->places; place; place = place->next)
        room++;
    const struct rollout **records = calloc(room + 1, sizeof(struct rollout *));
    if (!records)
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory");
    for (const struct place *place = rollouts->places; place; place = place->next)
        if (place->rollout)
            records[n++] = place->rollout;
    enum gw_status status = rollout_file_save(rollouts->config->state_dir, records, n, err);
    free(records);
    return status;
}

/* What cannot be kept now is tried again; said once. */
static void keep(struct rollouts *rollouts)
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

static enum gw_status load(struct rollouts *rollouts, struct gw_err *err)
{
    const char *folder = rollouts->config->state_dir;
    enum gw_status status = folder ? rollout_file_load(folder, take_kept, rollouts, err) : GW_OK;
    if (status != GW_E_INVALID)
        return status;
    log_error("rollouts_set_aside", LOG_TEXT("folder", folder), LOG_TEXT("why", err->what));
    return GW_OK;
}

/* --- a change --- */

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

static void tell(struct rollouts *rollouts, struct place *place)
{
    if (rollouts->share && place->rollout && !place->shared && rollout_share_is_up(rollouts->share))
        rollout_share_tell(rollouts->share, place->rollout);
}

/* Takes the record over. On an error nothing was changed. */
static enum gw_status apply(struct rollouts *rollouts, struct place *place, struct rollout *rollout,
                            const char *action, struct gw_err *err)
{
    const struct config_endpoint *endpoint = endpoint_named(rollouts, place->name);
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
    keep(rollouts);
    return GW_OK;
}

/* Somebody decided something. */
struct decision {
    const char *action, *who, *why;
    const double *weights; /* NULL: by the file again */
    bool by_judge;         /* of a canary: it gives way to a person's that it has not heard of */
};

static uint64_t next_version(const struct place *place, const struct decision *decision, uint64_t now_us)
{
    uint64_t known = place->rollout ? place->rollout->version : 0;
    return decision->by_judge ? known + 1 : rollout_next_version(known, now_us);
}

static struct rollout *draft(struct rollouts *rollouts, const struct place *place,
                             const struct config_endpoint *endpoint, const struct decision *decision)
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

static enum gw_status change(struct rollouts *rollouts, const struct config_endpoint *endpoint,
                             const struct decision *decision, struct gw_err *err)
{
    struct place *place = place_get(rollouts, endpoint->name);
    struct rollout *rollout = place ? draft(rollouts, place, endpoint, decision) : NULL;
    if (!rollout)
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory; nothing was changed");
    if (apply(rollouts, place, rollout, decision->action, err) != GW_OK)
        return err->status;
    place->shared = false;
    tell(rollouts, place);
    return GW_OK;
}

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

static enum gw_status find(const struct rollouts *rollouts, const char *name,
                           const struct config_endpoint **endpoint, struct gw_err *err)
{
    *endpoint = endpoint_named(rollouts, name);
    return *endpoint ? GW_OK
                     : gw_err_set(err, GW_E_NOT_FOUND, "no endpoint %s", quote(name, strlen(name)).text);
}

enum gw_status rollouts_set(struct rollouts *rollouts, const struct rollout_ask *ask, struct gw_err *err)
{
    const struct config_endpoint *endpoint;
    double weights[CONFIG_ARMS_MAX];
    const struct decision decision = {.action = "set", .who = ask->who, .why = ask->why, .weights = weights};
    if (find(rollouts, ask->endpoint, &endpoint, err) != GW_OK)
        return err->status;
    if (endpoint->canary)
        return gw_err_set(err, GW_E_INVALID,
                          "%.64s has a canary, which sets the weights: promote it, roll it back, or pause it",
                          endpoint->name);
    if (read_weights(rollouts, endpoint, ask->weights, weights, err) != GW_OK)
        return err->status;
    return change(rollouts, endpoint, &decision, err);
}

/* From the canary's state to the plan. What cannot be applied is forgotten: it stands as the record says. */
static enum gw_status change_canary(struct rollouts *rollouts, struct place *place,
                                    const struct config_endpoint *endpoint, struct decision *decision,
                                    struct gw_err *err)
{
    double weights[BOOK_ARMS];
    rollout_canary_weights(place->canary, weights);
    decision->weights = weights;
    if (change(rollouts, endpoint, decision, err) == GW_OK)
        return GW_OK;
    rollout_canary_free(place->canary);
    place->canary = NULL;
    return err->status;
}

static enum gw_status reset_canary(struct rollouts *rollouts, struct place *place,
                                   const struct config_endpoint *endpoint, struct decision *decision,
                                   struct gw_err *err)
{
    struct rollout_canary *fresh =
        rollout_canary_new(rollouts->metrics, gateway_plan(rollouts->gateway)->config, endpoint, NULL);
    if (!fresh)
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory; nothing was changed");
    take_canary(rollouts, place, fresh);
    return change_canary(rollouts, place, endpoint, decision, err);
}

enum gw_status rollouts_reset(struct rollouts *rollouts, const struct rollout_ask *ask, struct gw_err *err)
{
    const struct config_endpoint *endpoint;
    struct decision decision = {.action = "reset", .who = ask->who, .why = ask->why};
    if (find(rollouts, ask->endpoint, &endpoint, err) != GW_OK)
        return err->status;
    struct place *place = place_get(rollouts, endpoint->name);
    if (!place)
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory; nothing was changed");
    return endpoint->canary ? reset_canary(rollouts, place, endpoint, &decision, err)
                            : change(rollouts, endpoint, &decision, err);
}

static enum gw_status order(struct rollouts *rollouts, const struct rollout_ask *ask, enum canary_order what,
                            const char *action, struct gw_err *err)
{
    const struct config_endpoint *endpoint;
    struct decision decision = {.action = action, .who = ask->who, .why = ask->why};
    if (find(rollouts, ask->endpoint, &endpoint, err) != GW_OK)
        return err->status;
    if (!endpoint->canary)
        return gw_err_set(err, GW_E_INVALID, "%.64s has no canary; its weights are set", endpoint->name);
    struct place *place = place_get(rollouts, endpoint->name);
    if (!place || !bind_canary(rollouts, place, gateway_plan(rollouts->gateway)->config, endpoint))
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory; nothing was changed");
    if (!rollout_canary_order(place->canary, what, ask->why[0] ? ask->why : ask->who))
        return gw_err_set(err, GW_E_INVALID, "the canary of %.64s is %s: %s changes nothing of that%s",
                          endpoint->name, rollout_canary_phase(place->canary), action,
                          rollout_canary_is_over(place->canary) ? "; reset begins it anew" : "");
    return change_canary(rollouts, place, endpoint, &decision, err);
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

/* --- what others changed --- */

/* Redis has `record` of the endpoint by now; NULL: nothing. */
static void heard(void *owner, const char *name, struct rollout *record)
{
    struct rollouts *rollouts = owner;
    struct place *place = place_get(rollouts, name);
    struct gw_err err;
    if (!place || !record || !rollout_is_later(record, place->rollout)) {
        if (place)
            place->shared = record && place->rollout && !rollout_is_later(place->rollout, record);
        rollout_free(record);
        return;
    }
    const struct config_endpoint *endpoint = endpoint_named(rollouts, name);
    if (!endpoint) { /* gone from the file since the question */
        rollout_free(record);
        return;
    }
    if (record->canary && rollout_canary_fits(endpoint, record->canary)) {
        rollout_canary_free(place->canary); /* it goes on from the record */
        place->canary = NULL;
    }
    bool counts = !rollout_objection(record, endpoint);
    if (apply(rollouts, place, record, counts ? "adopted" : "noted", &err) == GW_OK)
        place->shared = true;
}

/* --- canaries --- */

/* Phase, step or weight are others now: in force, and one line of the log with the evidence. */
static void tell_verdict(struct rollouts *rollouts, struct place *place,
                         const struct config_endpoint *endpoint)
{
    struct buf why = {0};
    struct buf evidence = {0};
    struct gw_err err;
    rollout_canary_evidence(place->canary, &evidence);
    buf_printf(&why, "%s (%.*s)", rollout_canary_why(place->canary), (int)evidence.length,
               evidence.length ? evidence.bytes : "");
    buf_append(&why, "", 1);
    struct decision decision = {.action = rollout_canary_phase(place->canary),
                                .who = "canary",
                                .why = why.failed ? "" : why.bytes,
                                .by_judge = true};
    if (change_canary(rollouts, place, endpoint, &decision, &err) != GW_OK)
        log_error("canary_not_applied", LOG_TEXT("endpoint", endpoint->name), LOG_TEXT("why", err.what));
    buf_clear(&evidence);
    buf_clear(&why);
}

/* The evidence so far, for a restart and for whoever judges next: nobody's change, so not in the log. */
static void keep_evidence(struct rollouts *rollouts, struct place *place,
                          const struct config_endpoint *endpoint)
{
    double weights[BOOK_ARMS];
    rollout_canary_weights(place->canary, weights);
    const struct rollout *now = place->rollout;
    const struct decision decision = {
        .who = now ? now->who : "canary", .why = now ? now->why : "", .weights = weights, .by_judge = true};
    struct rollout *record = draft(rollouts, place, endpoint, &decision);
    if (!record)
        return; /* next time */
    rollout_free(place->rollout);
    place->rollout = record;
    place->shared = false;
    keep(rollouts);
    tell(rollouts, place);
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
    struct place *place = place_get(rollouts, endpoint->name);
    if (!place || !bind_canary(rollouts, place, plan->config, endpoint))
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

static void judge_all(struct rollouts *rollouts)
{
    const struct config *config = gateway_config(rollouts->gateway);
    for (uint32_t i = 0; i < config->n_endpoints; i++)
        if (config->endpoints[i]->canary)
            judge_one(rollouts, config->endpoints[i]);
    for (struct place *place = rollouts->places; place; place = place->next) {
        const struct config_endpoint *endpoint = place->canary ? endpoint_named(rollouts, place->name) : NULL;
        if (endpoint && endpoint->canary)
            continue;
        rollout_canary_free(place->canary); /* the file has none any more */
        place->canary = NULL;
    }
}

/* --- now and then --- */

/* What counted once and does not any more, because the file changed, is over: it does not come back with the
 * file. */
static void drop(struct rollouts *rollouts, struct place *place, const struct config_endpoint *endpoint,
                 const char *why)
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
    keep(rollouts);
}

static void drop_what_is_over(struct rollouts *rollouts)
{
    for (struct place *place = rollouts->places; place; place = place->next) {
        const struct config_endpoint *endpoint = endpoint_named(rollouts, place->name);
        const char *why = place->rollout && place->rollout->is_set && place->counted && endpoint
                              ? rollout_objection(place->rollout, endpoint)
                              : NULL;
        if (why)
            drop(rollouts, place, endpoint, why);
    }
}

static void share_all(struct rollouts *rollouts)
{
    for (struct place *place = rollouts->places; place; place = place->next)
        tell(rollouts, place);
    rollout_share_ask(rollouts->share, gateway_config(rollouts->gateway));
    rollout_share_lease(rollouts->share);
}

static void poll_all(struct loop_timer *timer)
{
    struct rollouts *rollouts = container_of(timer, struct rollouts, poll);
    bool whole = ++rollouts->polls % SHARE_POLLS == 0;
    drop_what_is_over(rollouts);
    judge_all(rollouts);
    if (whole && rollouts->unkept)
        keep(rollouts);
    if (whole && rollouts->share && rollout_share_is_up(rollouts->share))
        share_all(rollouts);
    if (loop_timer_set(rollouts->loop, timer, loop_now_us() + POLL_US) != GW_OK)
        log_error("rollouts_stopped", LOG_TEXT("why", "out of memory"));
}

/* --- what operators see --- */

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
    const struct place *place = place_find(rollouts, endpoint->name);
    const struct rollout *rollout = place ? place->rollout : NULL;
    buf_text(out, "{");
    buf_json_member(out, "endpoint", endpoint->name);
    buf_printf(out, ",\"source\":\"%s\",",
               endpoint->canary                 ? "canary"
               : place_rollout(place, endpoint) ? "set"
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
    if (find(rollouts, name, &endpoint, err) != GW_OK)
        return err->status;
    write_endpoint(rollouts, endpoint, out);
    buf_text(out, "\n");
    return GW_OK;
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
    if (load(rollouts, err) == GW_OK)
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
    for (struct place *place = rollouts->places, *next; place; place = next) {
        next = place->next;
        rollout_free(place->rollout);
        rollout_canary_free(place->canary);
        free(place);
    }
    config_unref(rollouts->config);
    free(rollouts);
}
