/* rollout_canary: a state, the clock, the books, and what people see of them. */
#include "rollouts/rollout_canary.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CRASHED, CONTRACT, NOT_A_NUMBER, FAULTS };
static const char *const fault_names[FAULTS] = {"crash", "contract", "nan"};

struct rollout_canary {
    struct canary state;
    struct config *config; /* one reference */
    const struct config_endpoint *endpoint;
    struct metrics *metrics;
    struct metric *phases[CANARY_PHASES], *step, *p_values[CANARY_GATES], *faults[FAULTS];
};

/* --- from beginning to end --- */

static bool open_metrics(struct rollout_canary *canary)
{
    const char *name = canary->endpoint->name;
    bool all = true;
    for (int i = 0; i < CANARY_PHASES; i++) {
        const char *phase = canary_phase_name((enum canary_phase)i);
        canary->phases[i] = metrics_series(canary->metrics, METRIC_CANARY_PHASE,
                                           METRIC_LABELS("endpoint", name, "phase", phase));
        all = all && canary->phases[i];
    }
    for (int i = 0; i < CANARY_GATES; i++) {
        const char *gate = canary_gate_name((enum canary_gate)i);
        if (!canary_has_gate(&canary->state, (enum canary_gate)i))
            continue;
        canary->p_values[i] = metrics_series(canary->metrics, METRIC_CANARY_P_VALUE,
                                             METRIC_LABELS("endpoint", name, "gate", gate));
        all = all && canary->p_values[i];
    }
    for (int i = 0; i < FAULTS; i++) {
        canary->faults[i] = metrics_series(canary->metrics, METRIC_CANARY_FAULTS,
                                           METRIC_LABELS("endpoint", name, "fault", fault_names[i]));
        all = all && canary->faults[i];
    }
    canary->step = metrics_series(canary->metrics, METRIC_CANARY_STEP, METRIC_LABELS("endpoint", name));
    return all && canary->step;
}

struct rollout_canary *rollout_canary_new(struct metrics *metrics, struct config *config,
                                          const struct config_endpoint *endpoint, const char *text)
{
    struct rollout_canary *canary = calloc(1, sizeof *canary);
    if (!canary)
        return NULL;
    canary->config = config_ref(config);
    canary->endpoint = endpoint;
    canary->metrics = metrics;
    if (!text || !canary_read(&canary->state, endpoint->canary, text, strlen(text), loop_wall_us()))
        canary_start(&canary->state, endpoint->canary, loop_wall_us());
    if (open_metrics(canary))
        return canary;
    rollout_canary_free(canary);
    return NULL;
}

void rollout_canary_free(struct rollout_canary *canary)
{
    if (!canary)
        return;
    for (int i = 0; i < CANARY_PHASES; i++)
        metrics_release(canary->metrics, canary->phases[i]);
    for (int i = 0; i < CANARY_GATES; i++)
        metrics_release(canary->metrics, canary->p_values[i]);
    for (int i = 0; i < FAULTS; i++)
        metrics_release(canary->metrics, canary->faults[i]);
    metrics_release(canary->metrics, canary->step);
    config_unref(canary->config);
    free(canary);
}

bool rollout_canary_fits(const struct config_endpoint *endpoint, const char *text)
{
    struct canary *state = endpoint->canary ? malloc(sizeof *state) : NULL;
    bool fits = state && canary_read(state, endpoint->canary, text, strlen(text), loop_wall_us());
    free(state);
    return fits;
}

bool rollout_canary_is_of(const struct rollout_canary *canary, const struct config *config)
{
    return canary->config == config;
}

bool rollout_canary_is_over(const struct rollout_canary *canary)
{
    return !canary_is_live(&canary->state);
}

/* --- what happens to it --- */

void rollout_canary_meet(const struct rollout_canary *canary, struct canary_guard *guard,
                         const struct plan *plan, const struct config_endpoint *endpoint)
{
    struct arm_counts counts[BOOK_ARMS];
    plan_count_arms(plan, endpoint, counts);
    canary_guard_meet(guard, &canary->state, &counts[1]);
}

bool rollout_canary_judge(struct rollout_canary *canary, struct canary_guard *guard, const struct plan *plan,
                          enum canary_duty duty)
{
    struct arm_counts counts[BOOK_ARMS];
    const struct version *candidate = plan->versions[canary->endpoint->arms[1].version->index];
    bool may_advance = duty == DUTY_JUDGE && version_is_ready(candidate);
    uint64_t now_us = loop_wall_us();
    plan_count_arms(plan, canary->endpoint, counts);
    bool judged = duty != DUTY_GUARD && canary_judge(&canary->state, counts, may_advance, now_us);
    return canary_guard_watch(guard, &canary->state, &counts[1], now_us) || judged;
}

bool rollout_canary_order(struct rollout_canary *canary, enum canary_order order, const char *why)
{
    static bool (*const orders[])(struct canary *, const char *, uint64_t) = {
        [ORDER_PROMOTE] = canary_promote,
        [ORDER_ROLLBACK] = canary_rollback,
        [ORDER_PAUSE] = canary_pause,
        [ORDER_RESUME] = canary_resume,
    };
    return orders[order](&canary->state, why, loop_wall_us());
}

void rollout_canary_weights(const struct rollout_canary *canary, double weights[BOOK_ARMS])
{
    weights[1] = canary_weight(&canary->state);
    weights[0] = 1 - weights[1];
}

/* --- what people see --- */

const char *rollout_canary_phase(const struct rollout_canary *canary)
{
    return canary_phase_name(canary->state.phase);
}

const char *rollout_canary_why(const struct rollout_canary *canary)
{
    return canary_why(&canary->state);
}

void rollout_canary_write_state(const struct rollout_canary *canary, struct buf *out)
{
    canary_write(&canary->state, out);
}

static void write_gates(const struct canary *state, struct buf *out)
{
    bool any = false;
    buf_text(out, ",\"gates\":[");
    for (int i = 0; i < CANARY_GATES; i++)
        if (canary_has_gate(state, (enum canary_gate)i)) {
            buf_printf(out, "%s{\"gate\":\"%s\",\"p\":%.6g,\"alpha\":%.6g}", any ? "," : "",
                       canary_gate_name((enum canary_gate)i), canary_p_value(state, (enum canary_gate)i),
                       canary_gate_alpha(state));
            any = true;
        }
    buf_text(out, "]");
}

static void write_text(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, ",\"%s\":", key);
    buf_json_text(out, text, strlen(text));
}

void rollout_canary_write(const struct rollout_canary *canary, struct buf *out)
{
    const struct canary *state = &canary->state;
    uint64_t now_us = loop_wall_us();
    struct buf wait = {0};
    canary_print_wait(state, &wait);
    buf_append(&wait, "", 1);
    buf_printf(out, "{\"phase\":\"%s\",\"step\":%u,\"steps\":[", canary_phase_name(state->phase),
               state->step + 1);
    for (uint32_t i = 0; i < state->config->n_steps; i++)
        buf_printf(out, "%s%.6g", i ? "," : "", state->config->steps[i]);
    buf_printf(out, "],\"weight\":%.6g,\"since_s\":%.0f", canary_weight(state),
               now_us > state->since_us ? (double)(now_us - state->since_us) / 1e6 : 0);
    write_text(out, "why", canary_why(state));
    write_text(out, "waits_for", wait.failed ? "" : wait.bytes);
    write_gates(state, out);
    buf_text(out, "}");
    buf_clear(&wait);
}

void rollout_canary_evidence(const struct rollout_canary *canary, struct buf *out)
{
    const struct canary *state = &canary->state;
    for (int i = 0; i < CANARY_GATES; i++)
        if (canary_has_gate(state, (enum canary_gate)i))
            buf_printf(out, "%s%s p=%.3g", out->length ? ", " : "", canary_gate_name((enum canary_gate)i),
                       canary_p_value(state, (enum canary_gate)i));
    buf_printf(out, "; each rejects at %.3g", canary_gate_alpha(state));
}

void rollout_canary_show(const struct rollout_canary *canary, const struct canary_guard *guard)
{
    const struct canary *state = &canary->state;
    for (int i = 0; i < CANARY_PHASES; i++)
        metric_set(canary->phases[i], (int)state->phase == i);
    for (int i = 0; i < CANARY_GATES; i++)
        if (canary->p_values[i])
            metric_set(canary->p_values[i], (uint64_t)(canary_p_value(state, (enum canary_gate)i) * 1e6));
    metric_set(canary->faults[CRASHED], guard->faults.crashed);
    metric_set(canary->faults[CONTRACT], guard->faults.contract);
    metric_set(canary->faults[NOT_A_NUMBER], guard->faults.nan);
    metric_set(canary->step, state->begun ? state->step + 1 : 0);
}
