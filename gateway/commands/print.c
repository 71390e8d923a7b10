/* print: from trees to lines. */
#include "commands/print.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "commands/table.h"

enum { BUCKETS = 10000 };

struct span {
    char text[32];
};

/* "45s", "3m 12s", "5h 2m", "12d 4h": two units of it. */
static struct span span_of(double seconds)
{
    struct span span;
    unsigned long long s = seconds > 0 ? (unsigned long long)seconds : 0;
    if (s < 60)
        snprintf(span.text, sizeof span.text, "%llus", s);
    else if (s < 3600)
        snprintf(span.text, sizeof span.text, "%llum %llus", s / 60, s % 60);
    else if (s < 86400)
        snprintf(span.text, sizeof span.text, "%lluh %llum", s / 3600, s % 3600 / 60);
    else
        snprintf(span.text, sizeof span.text, "%llud %lluh", s / 86400, s % 86400 / 3600);
    return span;
}

static const struct node *first_of(const struct node *node, const char *key)
{
    const struct node *list = node_get(node, key);
    return list && list->kind == NODE_LIST ? list->first : NULL;
}

/* --- status --- */

static void count_replicas(const struct node *version, uint32_t *known, double *in_flight, double *calls,
                           double *failures)
{
    *known = 0;
    *in_flight = *calls = *failures = 0;
    for (const struct node *replica = first_of(version, "replicas"); replica; replica = replica->next) {
        ++*known;
        *in_flight += node_number(replica, "in_flight", 0);
        *calls += node_number(replica, "calls", 0);
        *failures += node_number(replica, "failures", 0);
    }
}

/* Why a version is not well, by its first replica that is not; "" when all are. */
static const char *trouble_of(const struct node *version)
{
    for (const struct node *replica = first_of(version, "replicas"); replica; replica = replica->next)
        if (strcmp(node_text(replica, "state", ""), "ready") != 0)
            return node_text(replica, "why", node_text(replica, "state", ""));
    return "";
}

static void print_models(const struct print *print, const struct node *status)
{
    static const char *const headings[] = {"MODEL",  "VERSION", ">READY", ">IN FLIGHT",
                                           ">CALLS", ">FAILED", "TROUBLE"};
    struct table table;
    table_init(&table, headings, 7);
    for (const struct node *model = first_of(status, "models"); model; model = model->next)
        for (const struct node *version = first_of(model, "versions"); version; version = version->next) {
            uint32_t known;
            double in_flight, calls, failures, up = node_number(version, "replicas_up", 0);
            count_replicas(version, &known, &in_flight, &calls, &failures);
            enum ink ink = !(up > 0) ? INK_BAD : up < known ? INK_WARN : INK_GOOD;
            table_add(&table, INK_BOLD, "%s", version->index ? "" : node_text(model, "name", "?"));
            table_add(&table, INK_PLAIN, "%s", node_text(version, "version", "?"));
            table_add(&table, ink, "%.0f/%u", up, known);
            table_add(&table, INK_PLAIN, "%.0f", in_flight);
            table_add(&table, INK_PLAIN, "%.0f", calls);
            table_add(&table, failures > 0 ? INK_WARN : INK_PLAIN, "%.0f", failures);
            table_add(&table, INK_WARN, "%s", trouble_of(version));
        }
    table_print(&table, print->colour, print->out);
    table_clear(&table);
}

static void print_endpoints(const struct print *print, const struct node *status)
{
    static const char *const headings[] = {"ENDPOINT", ">SLO",    "STICKY BY", "ARM",
                                           "VERSION",  ">WEIGHT", ">SHARE"};
    struct table table;
    table_init(&table, headings, 7);
    for (const struct node *endpoint = first_of(status, "endpoints"); endpoint; endpoint = endpoint->next) {
        const struct node *sticky = node_get(endpoint, "sticky");
        for (const struct node *arm = first_of(endpoint, "split"); arm; arm = arm->next) {
            double weight = node_number(arm, "weight", 0);
            enum ink ink = weight > 0 ? INK_PLAIN : INK_DIM;
            table_add(&table, INK_BOLD, "%s", arm->index ? "" : node_text(endpoint, "name", "?"));
            if (arm->index) {
                table_add(&table, INK_PLAIN, "%s", "");
                table_add(&table, INK_PLAIN, "%s", "");
            } else {
                table_add(&table, INK_PLAIN, "%.15gms", node_number(endpoint, "slo_us", 0) / 1000);
                table_add(&table, INK_PLAIN, "%s %s", node_text(sticky, "by", "-"),
                          node_text(sticky, "name", ""));
            }
            table_add(&table, ink, "%s", node_text(arm, "name", "?"));
            table_add(&table, ink, "%s", node_text(arm, "model", "?"));
            table_add(&table, ink, "%.15g", weight);
            table_add(&table, ink, "%.2f%%", node_number(arm, "buckets", 0) * 100 / BUCKETS);
        }
    }
    table_print(&table, print->colour, print->out);
    table_clear(&table);
}

static void print_redis(const struct print *print, const struct node *status)
{
    const struct node *redis = node_get(status, "redis");
    uint32_t shards = 0, closed = 0;
    const char *why = "";
    if (!redis || redis->kind != NODE_MAP)
        return;
    for (const struct node *shard = first_of(redis, "shards"); shard; shard = shard->next) {
        bool well = strcmp(node_text(shard, "breaker", ""), "closed") == 0;
        shards++;
        closed += well;
        why = well ? why : node_text(shard, "why", "");
    }
    buf_printf(print->out, "\nRedis %s: ", node_text(redis, "url", "?"));
    ink_text(print->out, print->colour, closed == shards ? INK_GOOD : INK_BAD,
             closed == shards ? "connected"
             : closed         ? "connected in part"
                              : "not connected");
    buf_printf(print->out, "%s%s\n", why[0] ? ": " : "", why);
}

void print_status(const struct print *print, const struct node *status)
{
    buf_printf(print->out, "xebec %s, up %s, %.0f shards, %s", node_text(status, "version", "?"),
               span_of(node_number(status, "uptime_s", 0)).text, node_number(status, "shards", 0),
               node_text(status, "config", "?"));
    if (node_true(status, "draining"))
        ink_text(print->out, print->colour, INK_WARN, ", draining");
    if (node_number(status, "log_lines_dropped", 0) > 0)
        buf_printf(print->out, ", %.0f log lines dropped", node_number(status, "log_lines_dropped", 0));
    buf_text(print->out, "\n\n");
    print_models(print, status);
    if (first_of(status, "endpoints")) {
        buf_text(print->out, "\n");
        print_endpoints(print, status);
    }
    print_redis(print, status);
}

/* --- rollouts --- */

/* "2026-01-31T12:00:00Z"; 0: it is none. */
static uint64_t seconds_at(const char *text)
{
    struct tm parts = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    time_t at = end && !*end ? timegm(&parts) : -1;
    return at > 0 ? (uint64_t)at : 0;
}

static struct span ago(const struct print *print, const struct node *changed)
{
    uint64_t at = seconds_at(node_text(changed, "at", ""));
    return span_of(at && at < print->now_s ? (double)(print->now_s - at) : 0);
}

static bool is_set(const struct node *rollout)
{
    return strcmp(node_text(rollout, "source", "file"), "set") == 0;
}

/* How a phase is called where people read it. */
static const char *phase_of(const struct node *canary)
{
    const char *phase = node_text(canary, "phase", "?");
    return strcmp(phase, "rolled_back") == 0 ? "rolled back" : phase;
}

static bool is_live(const struct node *canary)
{
    const char *phase = node_text(canary, "phase", "?");
    return !strcmp(phase, "running") || !strcmp(phase, "paused");
}

/* "canary running, step 2 of 5"; "canary promoted". */
static void add_canary(struct table *table, const struct node *canary)
{
    const struct node *steps = node_get(canary, "steps");
    const char *phase = phase_of(canary);
    bool well = !strcmp(phase, "running") || !strcmp(phase, "promoted");
    enum ink ink = well ? INK_GOOD : !strcmp(phase, "paused") ? INK_WARN : INK_BAD;
    if (is_live(canary))
        table_add(table, ink, "canary %s, step %.0f of %u", phase, node_number(canary, "step", 0),
                  steps ? steps->count : 0);
    else
        table_add(table, ink, "canary %s", phase);
}

static bool has_canary(const struct node *rollout)
{
    const struct node *canary = node_get(rollout, "canary");
    return canary && canary->kind == NODE_MAP;
}

static void add_state(const struct print *print, struct table *table, const struct node *rollout)
{
    const struct node *changed = node_get(rollout, "changed");
    if (has_canary(rollout))
        add_canary(table, node_get(rollout, "canary"));
    else if (is_set(rollout))
        table_add(table, INK_WARN, "set by %s %s ago", node_text(changed, "who", "?"),
                  ago(print, changed).text);
    else
        table_add(table, INK_DIM, "by the file");
}

static void add_arm(struct table *table, const struct node *arm)
{
    double weight = node_number(arm, "weight", 0);
    enum ink ink = weight > 0 ? INK_PLAIN : INK_DIM;
    bool ready = node_true(arm, "ready");
    table_add(table, ink, "%s", node_text(arm, "name", "?"));
    table_add(table, ink, "%s", node_text(arm, "model", "?"));
    table_add(table, ready ? INK_GOOD : weight > 0 ? INK_BAD : INK_WARN, "%s", ready ? "yes" : "no");
    table_add(table, ink, "%.15g", weight);
    table_add(table, ink, "%.2f%%", node_number(arm, "buckets", 0) * 100 / BUCKETS);
}

void print_rollouts(const struct print *print, const struct node *rollouts)
{
    static const char *const headings[] = {"ENDPOINT", "ARM",    "VERSION", "READY",
                                           ">WEIGHT",  ">SHARE", "STATE"};
    struct table table;
    if (!first_of(rollouts, "rollouts")) {
        buf_text(print->out, "no endpoints\n");
        return;
    }
    table_init(&table, headings, 7);
    for (const struct node *rollout = first_of(rollouts, "rollouts"); rollout; rollout = rollout->next)
        for (const struct node *arm = first_of(rollout, "arms"); arm; arm = arm->next) {
            table_add(&table, INK_BOLD, "%s", arm->index ? "" : node_text(rollout, "endpoint", "?"));
            add_arm(&table, arm);
            if (arm->index)
                table_add(&table, INK_PLAIN, "%s", "");
            else
                add_state(print, &table, rollout);
        }
    table_print(&table, print->colour, print->out);
    table_clear(&table);
}

static void print_field(const struct print *print, const char *name, enum ink ink, const char *text)
{
    buf_printf(print->out, "  %-8s ", name);
    ink_text(print->out, print->colour, ink, text);
    buf_text(print->out, "\n");
}

static void print_changed(const struct print *print, const struct node *rollout)
{
    const struct node *changed = node_get(rollout, "changed");
    const char *why = node_text(changed, "why", "");
    struct buf words = {0};
    buf_printf(&words, "%s",
               has_canary(rollout) ? "by the canary"
               : is_set(rollout)   ? "set at run time"
                                   : "by the file");
    if (changed && changed->kind == NODE_MAP)
        buf_printf(&words, "; %s by %s, %s ago",
                   is_set(rollout) || has_canary(rollout) ? "changed" : "last changed",
                   node_text(changed, "who", "?"), ago(print, changed).text);
    buf_printf(&words, "%s%s", why[0] ? ": " : "", why);
    buf_append(&words, "", 1);
    if (!words.failed)
        print_field(print, "weights", is_set(rollout) ? INK_WARN : INK_PLAIN, words.bytes);
    buf_clear(&words);
}

static void print_gates(const struct print *print, const struct node *canary)
{
    static const char *const headings[] = {"GATE", ">P", ">REJECTS AT"};
    struct table table;
    table_init(&table, headings, 3);
    for (const struct node *gate = first_of(canary, "gates"); gate; gate = gate->next) {
        double p = node_number(gate, "p", 1), alpha = node_number(gate, "alpha", 0);
        table_add(&table, INK_PLAIN, "%s", node_text(gate, "gate", "?"));
        table_add(&table, p <= alpha ? INK_BAD : p < 0.2 ? INK_WARN : INK_PLAIN, "%.3g", p);
        table_add(&table, INK_DIM, "%.3g", alpha);
    }
    buf_text(print->out, "\n");
    table_print(&table, print->colour, print->out);
    table_clear(&table);
}

static void print_canary(const struct print *print, const struct node *canary)
{
    const struct node *steps = node_get(canary, "steps");
    const char *wait = node_text(canary, "waits_for", ""), *why = node_text(canary, "why", "");
    struct buf words = {0};
    struct span since = span_of(node_number(canary, "since_s", 0));
    if (is_live(canary))
        buf_printf(&words, "%s for %s, step %.0f of %u (%.6g%%)", phase_of(canary), since.text,
                   node_number(canary, "step", 0), steps ? steps->count : 0,
                   node_number(canary, "weight", 0) * 100);
    else
        buf_printf(&words, "%s %s ago", phase_of(canary), since.text);
    buf_printf(&words, "%s%s", why[0] ? ": " : "", why);
    buf_append(&words, "", 1);
    if (!words.failed)
        print_field(print, "canary", INK_PLAIN, words.bytes);
    if (wait[0])
        print_field(print, "waits", INK_PLAIN, wait);
    buf_clear(&words);
}

static void print_safety(const struct print *print, const struct node *rollout)
{
    const char *kept = node_text(rollout, "kept", ""), *shared = node_text(rollout, "shared", "");
    print_field(print, "kept", !strcmp(kept, "false") ? INK_BAD : INK_PLAIN,
                !strcmp(kept, "true")    ? "yes, over a restart"
                : !strcmp(kept, "false") ? "not yet: see rollouts_not_kept in the log"
                                         : "no: there is no state_dir");
    print_field(print, "shared", !strcmp(shared, "false") ? INK_WARN : INK_PLAIN,
                !strcmp(shared, "true")    ? "yes, by Redis"
                : !strcmp(shared, "false") ? "not yet: Redis does not have it"
                                           : "no: there is no Redis");
}

void print_rollout(const struct print *print, const struct node *rollout)
{
    static const char *const headings[] = {"ARM", "VERSION", "READY", ">WEIGHT", ">SHARE", ">IN FILE"};
    struct table table;
    ink_text(print->out, print->colour, INK_BOLD, node_text(rollout, "endpoint", "?"));
    buf_text(print->out, "\n");
    if (has_canary(rollout))
        print_canary(print, node_get(rollout, "canary"));
    print_changed(print, rollout);
    print_safety(print, rollout);
    buf_text(print->out, "\n");
    table_init(&table, headings, 6);
    for (const struct node *arm = first_of(rollout, "arms"); arm; arm = arm->next) {
        add_arm(&table, arm);
        table_add(&table, INK_DIM, "%.15g", node_number(arm, "file", 0));
    }
    table_print(&table, print->colour, print->out);
    table_clear(&table);
    if (has_canary(rollout))
        print_gates(print, node_get(rollout, "canary"));
}

/* --- reload --- */

void print_reload(const struct print *print, const struct node *reload)
{
    const struct node *waiting = first_of(reload, "without_replica");
    buf_text(print->out, "reloaded: requests go by the file as it is now\n");
    for (; waiting; waiting = waiting->next) {
        ink_text(print->out, print->colour, INK_WARN, "  no replica is ready: ");
        buf_printf(print->out, "%s\n", waiting->text ? waiting->text : "?");
    }
}
