/* rollout: made, compared, measured against the file; written and read. */
#include "rollouts/rollout.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_MAX    ((uint64_t)1 << 53) /* a JSON number still tells it from the next */
#define WEIGHT_MAX     1e6                 /* as in the configuration */
#define KEY_LENGTH_MAX 64

static struct rollout *rollout_empty(uint32_t n_arms, struct rollout_arm **arms)
{
    struct rollout *rollout = calloc(1, sizeof *rollout);
    *arms = rollout ? arena_array(&rollout->arena, n_arms, sizeof **arms) : NULL;
    if (*arms) {
        rollout->arms = *arms;
        rollout->n_arms = n_arms;
        return rollout;
    }
    rollout_free(rollout);
    return NULL;
}

/* "" where there is none. No more than ROLLOUT_WORDS_MAX bytes of it. */
static const char *keep(struct rollout *rollout, const char *text)
{
    return arena_text(&rollout->arena, text ? text : "", text ? strnlen(text, ROLLOUT_WORDS_MAX) : 0);
}

static bool keep_words(struct rollout *rollout, const char *endpoint, const char *gateway, const char *who,
                       const char *why)
{
    rollout->endpoint = keep(rollout, endpoint);
    rollout->gateway = keep(rollout, gateway);
    rollout->who = keep(rollout, who);
    rollout->why = keep(rollout, why);
    return rollout->endpoint && rollout->gateway && rollout->who && rollout->why;
}

struct rollout *rollout_new(const struct rollout_draft *draft)
{
    const struct config_endpoint *endpoint = draft->endpoint;
    struct rollout_arm *arms;
    struct rollout *rollout = rollout_empty(endpoint->n_arms, &arms);
    if (!rollout)
        return NULL;
    bool all = keep_words(rollout, endpoint->name, draft->gateway, draft->who, draft->why);
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        double file = endpoint->arms[i].weight;
        arms[i] = (struct rollout_arm){.name = keep(rollout, endpoint->arms[i].name),
                                       .file = file,
                                       .weight = draft->weights ? draft->weights[i] : file};
        all = all && arms[i].name;
    }
    rollout->version = draft->version;
    rollout->at_ms = draft->at_ms;
    rollout->is_set = draft->weights != NULL;
    if (draft->canary) {
        rollout->canary = arena_text(&rollout->arena, draft->canary, strlen(draft->canary));
        all = all && rollout->canary;
    }
    if (all)
        return rollout;
    rollout_free(rollout);
    return NULL;
}

void rollout_free(struct rollout *rollout)
{
    if (!rollout)
        return;
    arena_clear(&rollout->arena);
    free(rollout);
}

/* --- which one counts --- */

uint64_t rollout_next_version(uint64_t known, uint64_t wall_us)
{
    return known + ROLLOUT_ROOM > wall_us ? known + ROLLOUT_ROOM : wall_us;
}

bool rollout_is_later(const struct rollout *rollout, const struct rollout *other)
{
    if (!other || rollout->version != other->version)
        return !other || rollout->version > other->version;
    return strcmp(rollout->gateway, other->gateway) > 0;
}

static const struct rollout_arm *arm_named(const struct rollout *rollout, const char *name)
{
    for (uint32_t i = 0; i < rollout->n_arms; i++)
        if (strcmp(rollout->arms[i].name, name) == 0)
            return &rollout->arms[i];
    return NULL;
}

static bool endpoint_has(const struct config_endpoint *endpoint, const char *name)
{
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        if (strcmp(endpoint->arms[i].name, name) == 0)
            return true;
    return false;
}

static bool same(double a, double b)
{
    return !(a < b) && !(a > b);
}

const char *rollout_objection(const struct rollout *rollout, const struct config_endpoint *endpoint)
{
    if (!rollout->canary != !endpoint->canary)
        return endpoint->canary ? "the file has a canary now" : "the file has no canary any more";
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        const struct rollout_arm *arm = arm_named(rollout, endpoint->arms[i].name);
        if (!same(arm ? arm->file : 0, endpoint->arms[i].weight))
            return "the file has other weights now";
    }
    for (uint32_t i = 0; i < rollout->n_arms; i++)
        if ((rollout->arms[i].file > 0 || rollout->arms[i].weight > 0) &&
            !endpoint_has(endpoint, rollout->arms[i].name))
            return "an arm with a weight is gone from the file";
    return NULL;
}

void rollout_weights(const struct rollout *rollout, const struct config_endpoint *endpoint, double *weights)
{
    bool counts = rollout && rollout->is_set && !rollout_objection(rollout, endpoint);
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        const struct rollout_arm *arm = counts ? arm_named(rollout, endpoint->arms[i].name) : NULL;
        weights[i] = arm ? arm->weight : counts ? 0 : endpoint->arms[i].weight;
    }
}

/* --- as JSON --- */

static void write_text(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, ",\"%s\":", key);
    buf_json_text(out, text, strlen(text));
}

void rollout_write(const struct rollout *rollout, struct buf *out)
{
    buf_printf(out, "{\"version\":%llu,\"at_ms\":%llu", (unsigned long long)rollout->version,
               (unsigned long long)rollout->at_ms);
    write_text(out, "endpoint", rollout->endpoint);
    write_text(out, "gateway", rollout->gateway);
    write_text(out, "who", rollout->who);
    write_text(out, "why", rollout->why);
    if (rollout->canary)
        buf_printf(out, ",\"canary\":%s", rollout->canary);
    buf_printf(out, ",\"set\":%s,\"arms\":[", rollout->is_set ? "true" : "false");
    for (uint32_t i = 0; i < rollout->n_arms; i++) {
        const struct rollout_arm *arm = &rollout->arms[i];
        buf_printf(out, "%s{\"file\":%.17g,\"weight\":%.17g", i ? "," : "", arm->file, arm->weight);
        write_text(out, "name", arm->name);
        buf_text(out, "}");
    }
    buf_text(out, "]}");
}

/* A whole number from `least` on that a double holds exactly. */
static bool read_count(const struct node *node, const char *key, uint64_t least, uint64_t *count)
{
    double number = node_number(node, key, -1);
    if (!(number >= (double)least && number <= (double)VERSION_MAX))
        return false;
    *count = (uint64_t)number;
    return true;
}

static bool is_weight(double weight)
{
    return weight >= 0 && weight <= WEIGHT_MAX;
}

/* Names are short and CONFIG_ARMS_MAX of them at most. */
static bool is_named_before(const struct rollout_arm *arms, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(arms[i].name, name) == 0)
            return true;
    return false;
}

/* False: one of them is none, or there twice, or none has a weight. */
static bool read_arms(struct rollout *rollout, const struct node *list, struct rollout_arm *arms)
{
    double sum = 0;
    for (const struct node *child = list->first; child; child = child->next) {
        const char *name = node_text(child, "name", NULL);
        struct rollout_arm arm = {.name = name ? keep(rollout, name) : NULL,
                                  .file = node_number(child, "file", -1),
                                  .weight = node_number(child, "weight", -1)};
        if (!arm.name || !arm.name[0] || !is_weight(arm.file) || !is_weight(arm.weight) ||
            is_named_before(arms, child->index, arm.name))
            return false;
        sum += arm.weight;
        arms[child->index] = arm;
    }
    return sum > 0;
}

/* A canary's state has short ones. A parser of YAML takes no key of more than 1024 characters, once it is
 * quoted. */
static bool has_long_key(const struct node *node)
{
    for (const struct node *child = node->first; child; child = child->next)
        if (child->key_length > KEY_LENGTH_MAX || has_long_key(child))
            return true;
    return false;
}

/* As text again, for canary_read(), which judges it; what no canary wrote is left out. False: out of memory.
 */
static bool read_canary(struct rollout *rollout, const struct node *state)
{
    struct buf text = {0};
    if (!state || state->kind != NODE_MAP || has_long_key(state))
        return true;
    node_write_json(state, &text);
    rollout->canary = text.failed ? NULL : arena_text(&rollout->arena, text.bytes, text.length);
    buf_clear(&text);
    return rollout->canary;
}

enum gw_status rollout_read(const struct node *node, struct rollout **rollout, struct gw_err *err)
{
    const struct node *list = node_get(node, "arms");
    const char *endpoint = node_text(node, "endpoint", NULL), *gateway = node_text(node, "gateway", NULL);
    struct rollout_arm *arms;
    if (!list || list->kind != NODE_LIST || !list->count || list->count > CONFIG_ARMS_MAX || !endpoint ||
        !gateway || strlen(gateway) != ROLLOUT_GATEWAY_ROOM - 1)
        return gw_err_set(err, GW_E_INVALID, "it is no record of a rollout");
    struct rollout *read = rollout_empty(list->count, &arms);
    if (!read ||
        !keep_words(read, endpoint, gateway, node_text(node, "who", ""), node_text(node, "why", "")) ||
        !read_canary(read, node_get(node, "canary"))) {
        rollout_free(read);
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory");
    }
    read->is_set = node_true(node, "set");
    if (read_arms(read, list, arms) && read_count(node, "version", 1, &read->version) &&
        read_count(node, "at_ms", 0, &read->at_ms)) {
        *rollout = read;
        return GW_OK;
    }
    rollout_free(read);
    return gw_err_set(err, GW_E_INVALID, "the record of %s has a value that it cannot have", endpoint);
}

/* --- as a text that can be compared --- */

/* "VERSION GATEWAY\n" */
struct head {
    char text[32 + ROLLOUT_GATEWAY_ROOM];
};

static struct head head_of(const struct rollout *rollout)
{
    struct head head;
    snprintf(head.text, sizeof head.text, "%016" PRIu64 " %.*s\n", rollout->version, ROLLOUT_GATEWAY_ROOM - 1,
             rollout->gateway);
    return head;
}

void rollout_write_ordered(const struct rollout *rollout, struct buf *out)
{
    buf_text(out, head_of(rollout).text);
    rollout_write(rollout, out);
}

enum gw_status rollout_read_ordered(const char *bytes, size_t length, struct rollout **rollout,
                                    struct gw_err *err)
{
    struct document document;
    const size_t head_length = ROLLOUT_HEAD + 1;
    if (length <= head_length || bytes[ROLLOUT_HEAD] != '\n')
        return gw_err_set(err, GW_E_INVALID, "it does not begin as a record does");
    if (document_read(&document, "the record", bytes + head_length, length - head_length, err) != GW_OK)
        return err->status;
    enum gw_status status = rollout_read(document.root, rollout, err);
    document_clear(&document);
    if (status != GW_OK || memcmp(head_of(*rollout).text, bytes, head_length) == 0)
        return status;
    rollout_free(*rollout);
    return gw_err_set(err, GW_E_INVALID, "its first line is not its record's");
}
