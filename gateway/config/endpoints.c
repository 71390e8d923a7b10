/* endpoints: reads endpoints: the versions that answer, their weights, and the default answer. */
#include "config/keys.h"

#include <string.h>

#include "config/json.h"

static void read_endpoint(struct config_reader *reader, const struct key *key, const struct node *node,
                          struct config_endpoint *endpoint);
static void check_who_answers(struct config_reader *reader, const struct node *node);
static void take_canary(struct config_reader *reader, struct config_endpoint *endpoint,
                        const struct node *node);
static bool arm_fits(struct config_reader *reader, const struct config_endpoint *endpoint,
                     const struct config_arm *arm, const struct node *node);
static void tell_difference(struct config_reader *reader, const struct node *node,
                            const struct config_version *first, const struct config_version *second,
                            const struct tensor_spec *difference);
static void check_gates(struct config_reader *reader, const struct config_endpoint *endpoint,
                        const struct node *canary);
static void check_answer(struct config_reader *reader, const struct config_endpoint *endpoint,
                         const struct node *answer);

void read_endpoints(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct config *config = base;
    if (!reader_expects(reader, node, NODE_MAP, "a mapping of endpoints"))
        return;
    struct config_endpoint **endpoints = reader_array(reader, node->count, sizeof *endpoints);
    if (!endpoints)
        return;
    config->endpoints = endpoints;
    for (const struct node *child = node->first; child; child = child->next) {
        struct config_endpoint *endpoint = reader_array(reader, 1, sizeof *endpoint);
        if (!endpoint)
            return;
        reader_name(reader, child, "an endpoint");
        endpoint->name = reader_text(reader, child->key, child->key_length);
        endpoint->index = config->n_endpoints;
        endpoints[config->n_endpoints++] = endpoint;
        if (child->kind != NODE_REFUSED)
            read_endpoint(reader, key, child, endpoint);
    }
}

static void read_endpoint(struct config_reader *reader, const struct key *key, const struct node *node,
                          struct config_endpoint *endpoint)
{
    endpoint->sticky = (struct config_sticky){.name = "", .salt = endpoint->name};
    keys_read_member(reader, key, node, endpoint);
    check_who_answers(reader, node);
    if (endpoint->canary)
        take_canary(reader, endpoint, node_get(node, "canary"));
    if (endpoint->n_arms && endpoint->arms[0].version)
        endpoint->signature = &endpoint->arms[0].version->model->signature;
    if (endpoint->signature && endpoint->n_shadows)
        check_shadows(reader, endpoint, node_get(node, "shadow"));
    if (endpoint->canary)
        check_gates(reader, endpoint, node_get(node, "canary"));
    const struct node *sticky = node_get(node, "sticky"), *salt = node_get(sticky, "salt");
    if (salt && sticky->count == 1)
        node_problem(reader->problems, sticky,
                     "needs header, cookie, field or client: what to tell clients apart by");
    const struct node *answer = node_get(node, "default");
    if (answer && endpoint->signature && endpoint->signature->n_outputs)
        check_answer(reader, endpoint, answer);
}

/* Exactly one of three keys; the last one of several is told of. */
static void check_who_answers(struct config_reader *reader, const struct node *node)
{
    static const char *const ways[] = {"model", "split", "canary"};
    const struct node *found = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const struct node *way = node_get(node, ways[i]);
        if (way && found)
            node_problem(reader->problems, way, "%s and %s exclude each other; keep one", found->key,
                         way->key);
        found = way ? way : found;
    }
    if (!found && (node->kind == NODE_MAP || node_is_null(node)))
        node_problem(reader->problems, node, "needs model, split or canary: which version answers");
}

/* --- arms --- */

void read_endpoint_name(struct config_reader *reader, const struct key *key, const struct node *node,
                        void *base)
{
    const struct config *config = reader->config;
    struct words words;
    if (!reader_expects(reader, node, NODE_SCALAR, "the name of an endpoint"))
        return;
    words_init(&words, node->text, node->length);
    for (uint32_t i = 0; i < config->n_endpoints; i++) {
        const char *name = config->endpoints[i]->name;
        if (node->length == strlen(name) && !memcmp(node->text, name, node->length)) {
            *(const struct config_endpoint **)(void *)((char *)base + key->offset) = config->endpoints[i];
            return;
        }
        words_offer(&words, name);
    }
    node_problem(reader->problems, node, "no endpoint %s%s", quote(node->text, node->length).text,
                 words_hint(&words, "the endpoints are"));
}

void read_sole_arm(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    (void)key;
    struct config_endpoint *endpoint = base;
    struct config_arm *arm = reader_array(reader, 1, sizeof *arm);
    if (!arm)
        return;
    arm->version = reader_version(reader, node);
    arm->weight = 1;
    arm->name = arm->version ? arm->version->full_name : "";
    endpoint->arms = arm;
    endpoint->n_arms = 1;
    endpoint->weight_sum = 1;
}

void read_split(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct config_endpoint *endpoint = base;
    bool weighed = true;
    if (!reader_expects(reader, node, NODE_LIST, "a list of {model: ..., weight: ...}"))
        return;
    if (node->count == 0 || node->count > CONFIG_ARMS_MAX) {
        node_problem(reader->problems, node, "expected 1 to %d arms, got %u", CONFIG_ARMS_MAX, node->count);
        return;
    }
    struct config_arm *arms = reader_array(reader, node->count, sizeof *arms);
    if (!arms)
        return;
    endpoint->arms = arms;
    endpoint->n_arms = 0; /* whatever `model` put there */
    endpoint->weight_sum = 0;
    for (const struct node *child = node->first; child; child = child->next) {
        struct config_arm *arm = &arms[endpoint->n_arms];
        *arm = (struct config_arm){.weight = 0}; /* the one before may not have stayed */
        if (child->kind != NODE_REFUSED)
            keys_read_member(reader, key, child, arm);
        const struct node *weight = node_get(child, "weight");
        weighed &= arm->weight > 0 || (weight && weight_is_zero(weight));
        endpoint->weight_sum += arm->weight;
        if (!arm->name && arm->version)
            arm->name = arm->version->full_name;
        if (arm->version && arm_fits(reader, endpoint, arm, child))
            endpoint->n_arms++;
    }
    if (weighed && !(endpoint->weight_sum > 0))
        node_problem(reader->problems, node,
                     "the weights add up to 0; give at least one arm a weight above 0");
}

void read_arm_version(struct config_reader *reader, const struct key *key, const struct node *node,
                      void *base)
{
    const struct config_version *version = reader_version(reader, node);
    memcpy((char *)base + key->offset, &version, sizeof version);
}

/* The two arms of a canary: the baseline, which has all requests until the canary begins, and the candidate.
 */
static void take_canary(struct config_reader *reader, struct config_endpoint *endpoint,
                        const struct node *node)
{
    const struct config_canary *canary = endpoint->canary;
    struct config_arm *arms = reader_array(reader, 2, sizeof *arms);
    if (!arms || !canary->baseline || !canary->candidate)
        return;
    const struct config_version *versions[] = {canary->baseline, canary->candidate};
    for (uint32_t i = 0; i < 2; i++)
        arms[i] = (struct config_arm){.version = versions[i], .name = versions[i]->full_name, .weight = !i};
    const struct tensor_spec *difference =
        signature_difference(&versions[0]->model->signature, &versions[1]->model->signature);
    const struct node *candidate = node_get(node, "candidate");
    if (versions[0] == versions[1])
        node_problem(reader->problems, candidate, "%s is the baseline already; name another version",
                     versions[1]->full_name);
    else if (difference)
        tell_difference(reader, candidate, versions[0], versions[1], difference);
    endpoint->arms = arms;
    endpoint->n_arms = 2;
    endpoint->weight_sum = 1;
}

/* Disagreement is what a shadow of the candidate sees: without one the gate would take its share of alpha and
 * see nothing. */
static void check_gates(struct config_reader *reader, const struct config_endpoint *endpoint,
                        const struct node *canary)
{
    const struct config_version *candidate = endpoint->canary->candidate;
    bool has_shadow = false;
    for (uint32_t i = 0; i < endpoint->n_shadows; i++)
        has_shadow |= endpoint->shadows[i].version == candidate;
    if (candidate && endpoint->canary->disagreement >= 0 && !has_shadow)
        node_problem(reader->problems, node_get(node_get(canary, "gates"), "disagreement"),
                     "needs a shadow of the candidate, whose answers are compared; add to the endpoint "
                     "shadow: [{model: "
                     "%s, sample: 10%%}], or remove this gate",
                     candidate->full_name);
}

static const struct config_model *find_model(const struct config *config, const char *name, size_t length)
{
    for (uint32_t i = 0; i < config->n_models; i++)
        if (strlen(config->models[i]->name) == length && memcmp(config->models[i]->name, name, length) == 0)
            return config->models[i];
    return NULL;
}

static void tell_unknown_model(struct config_reader *reader, const struct node *node, size_t name_length)
{
    struct words words;
    if (reader->config->n_models == 0) /* which has been told */
        return;
    words_init(&words, node->text, name_length);
    for (uint32_t i = 0; i < reader->config->n_models; i++)
        words_offer(&words, reader->config->models[i]->name);
    node_problem(reader->problems, node, "no model %s%s", quote(node->text, name_length).text,
                 words_hint(&words, "the models are"));
}

static void tell_unknown_version(struct config_reader *reader, const struct node *node,
                                 const struct config_model *model, const char *what)
{
    struct words words;
    words_init(&words, "", 0);
    for (uint32_t i = 0; i < model->n_versions; i++)
        words_offer(&words, model->versions[i]->name);
    node_problem(reader->problems, node, "%s %s; model %.64s has: %s", what,
                 quote(node->text, node->length).text, model->name, words.used ? words.list : "none");
}

const struct config_version *reader_version(struct config_reader *reader, const struct node *node)
{
    if (!reader_expects(reader, node, NODE_SCALAR, "model@version such as digits@linear"))
        return NULL;
    const char *at = memchr(node->text, '@', node->length);
    size_t model_length = at ? (size_t)(at - node->text) : node->length;
    const struct config_model *model = find_model(reader->config, node->text, model_length);
    if (!at && !model)
        node_problem(reader->problems, node, "expected model@version such as digits@linear, got %s",
                     quote(node->text, node->length).text);
    else if (!at)
        tell_unknown_version(reader, node, model, "expected model@version, got");
    else if (!model)
        tell_unknown_model(reader, node, model_length);
    if (!at || !model)
        return NULL;
    for (uint32_t i = 0; i < model->n_versions; i++)
        if (strcmp(model->versions[i]->name, at + 1) == 0)
            return model->versions[i];
    tell_unknown_version(reader, node, model, "no version");
    return NULL;
}

/* --- agreement --- */

static const struct tensor_spec *find_tensor(const struct tensor_spec *specs, uint32_t count,
                                             const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(specs[i].name, name) == 0)
            return &specs[i];
    return NULL;
}

/* The first tensor of `a` that `b` has not, or has differently. */
static const struct tensor_spec *first_difference(const struct tensor_spec *a, uint32_t n_a,
                                                  const struct tensor_spec *b, uint32_t n_b)
{
    for (uint32_t i = 0; i < n_a; i++) {
        const struct tensor_spec *other = find_tensor(b, n_b, a[i].name);
        if (!other || !tensor_spec_same(&a[i], other))
            return &a[i];
    }
    return NULL;
}

const struct tensor_spec *signature_difference(const struct signature *a, const struct signature *b)
{
    const struct tensor_spec *difference = first_difference(a->inputs, a->n_inputs, b->inputs, b->n_inputs);
    if (!difference)
        difference = first_difference(b->inputs, b->n_inputs, a->inputs, a->n_inputs);
    if (!difference)
        difference = first_difference(a->outputs, a->n_outputs, b->outputs, b->n_outputs);
    if (!difference)
        difference = first_difference(b->outputs, b->n_outputs, a->outputs, a->n_outputs);
    return difference;
}

static void tell_difference(struct config_reader *reader, const struct node *node,
                            const struct config_version *first, const struct config_version *second,
                            const struct tensor_spec *difference)
{
    node_problem(reader->problems, node,
                 "%s and %s differ in %s; the arms of a %s must take and answer the same tensors",
                 first->full_name, second->full_name, quote(difference->name, strlen(difference->name)).text,
                 strcmp(node->key, "candidate") == 0 ? "canary" : "split");
}

/* Whether an arm is new to the split and agrees with those before it; told here otherwise. */
static bool arm_fits(struct config_reader *reader, const struct config_endpoint *endpoint,
                     const struct config_arm *arm, const struct node *node)
{
    const struct node *model = node_get(node, "model");
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        if (endpoint->arms[i].version == arm->version) {
            node_problem(reader->problems, model, "%s is in this split already; add up the weights",
                         arm->version->full_name);
            return false;
        } else if (!strcmp(endpoint->arms[i].name, arm->name)) {
            node_problem(reader->problems, node_get(node, "name"),
                         "two arms of this split are called %s; rename one", arm->name);
            return false;
        }
    if (endpoint->n_arms == 0)
        return true;
    const struct config_version *first = endpoint->arms[0].version;
    const struct tensor_spec *difference =
        signature_difference(&first->model->signature, &arm->version->model->signature);
    if (difference)
        tell_difference(reader, model, first, arm->version, difference);
    return !difference;
}

/* --- default answer --- */

static const char *json_of(struct config_reader *reader, const struct node *node)
{
    struct buf json = {0};
    node_write_json(node, &json);
    const char *text = json.failed ? "" : reader_text(reader, json.bytes, json.length);
    reader->problems->no_memory |= json.failed;
    buf_clear(&json);
    return text;
}

void read_answer(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    (void)key;
    struct config_endpoint *endpoint = base;
    if (!reader_expects(reader, node, NODE_MAP, "output names and values such as {label: -1}"))
        return;
    if (node->count == 0) {
        node_problem(reader->problems, node,
                     "expected at least one output; without a default, remove the key");
        return;
    }
    struct config_default *defaults = reader_array(reader, node->count, sizeof *defaults);
    if (!defaults)
        return;
    endpoint->defaults = defaults;
    for (const struct node *child = node->first; child; child = child->next) {
        struct config_default *output = &defaults[endpoint->n_defaults++];
        output->name = reader_text(reader, child->key, child->key_length);
        output->json = json_of(reader, child);
    }
}

static void check_answer(struct config_reader *reader, const struct config_endpoint *endpoint,
                         const struct node *answer)
{
    const struct signature *signature = endpoint->signature;
    for (const struct node *child = answer->first; child; child = child->next) {
        struct words words;
        if (answer->kind != NODE_MAP || find_tensor(signature->outputs, signature->n_outputs, child->key))
            continue;
        words_init(&words, child->key, child->key_length);
        for (uint32_t i = 0; i < signature->n_outputs; i++)
            words_offer(&words, signature->outputs[i].name);
        problem_add(reader->problems, child->key_line, child->key_column,
                    "%s: model %.64s has no output %s%s", node_path(answer).text,
                    endpoint->arms[0].version->model->name, quote(child->key, child->key_length).text,
                    words_hint(&words, "its outputs are"));
    }
}
