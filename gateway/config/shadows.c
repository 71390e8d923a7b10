/* shadows: reads who is asked beside the arms of an endpoint, how often, and when answers agree. */
#include "config/keys.h"
#include "config/units.h"

#include <stdlib.h>
#include <string.h>

#define REAL_LENGTH_MAX  32
#define REAL_MOST        1e300
#define TIMEOUT_OF_SLO   10 /* where none is written: so many SLOs */
#define TIMEOUT_LEAST_US 1000
#define DIGITS           "0123456789"

/* A decimal, perhaps with an exponent: how much of the text that is; 0: it is none. */
static size_t real_length(const char *text)
{
    size_t at = decimal_length(text);
    if (at && (text[at] == 'e' || text[at] == 'E')) {
        size_t sign = text[at + 1] == '-' || text[at + 1] == '+',
               power = strspn(text + at + 1 + sign, DIGITS);
        at = power ? at + 1 + sign + power : 0;
    }
    return at;
}

void read_real(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    const char *expected = "a number such as 0.001 or 1e-3";
    if (!reader_expects(reader, node, NODE_SCALAR, expected))
        return;
    size_t length = real_length(node->text);
    double value = length && length <= REAL_LENGTH_MAX ? strtod(node->text, NULL) : -1;
    if (node->quoted || length != node->length || !(value >= 0 && value <= REAL_MOST))
        node_problem(reader->problems, node, "expected %s, got %s", expected,
                     quote(node->text, node->length).text);
    else
        memcpy((char *)base + key->offset, &value, sizeof value);
}

void read_shadows(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct config_endpoint *endpoint = base;
    if (!reader_expects(reader, node, NODE_LIST, "a list of {model: ..., sample: ...}"))
        return;
    if (node->count == 0 || node->count > CONFIG_SHADOWS_MAX) {
        node_problem(reader->problems, node, "expected 1 to %d shadows, got %u; without any, remove the key",
                     CONFIG_SHADOWS_MAX, node->count);
        return;
    }
    struct config_shadow *shadows = reader_array(reader, node->count, sizeof *shadows);
    if (!shadows)
        return;
    endpoint->shadows = shadows;
    for (const struct node *child = node->first; child; child = child->next) {
        struct config_shadow *shadow = &shadows[endpoint->n_shadows++];
        if (child->kind == NODE_REFUSED)
            continue;
        keys_read_member(reader, key, child, shadow);
        if (!shadow->timeout_us)
            shadow->timeout_us = endpoint->slo_us * TIMEOUT_OF_SLO;
        if (shadow->timeout_us < TIMEOUT_LEAST_US)
            shadow->timeout_us = TIMEOUT_LEAST_US;
    }
}

static bool is_there_before(const struct config_endpoint *endpoint, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (endpoint->shadows[i].version == endpoint->shadows[index].version)
            return true;
    return false;
}

/* Whether the version is new to the list, not the only one that answers, and takes and answers the same. */
static void check_shadow(struct config_reader *reader, const struct config_endpoint *endpoint, uint32_t index,
                         const struct node *model)
{
    const struct config_version *version = endpoint->shadows[index].version;
    const struct config_version *first = endpoint->arms[0].version;
    const struct tensor_spec *difference =
        signature_difference(&first->model->signature, &version->model->signature);
    if (is_there_before(endpoint, index))
        node_problem(reader->problems, model, "%s is a shadow of this endpoint already; remove one",
                     version->full_name);
    else if (endpoint->n_arms == 1 && first == version)
        node_problem(reader->problems, model,
                     "%s answers this endpoint itself; name another version, or remove the shadow: noise "
                     "compares a version with itself",
                     version->full_name);
    else if (difference)
        node_problem(reader->problems, model,
                     "%s and %s differ in %s; a shadow must take and answer the same tensors as the arms",
                     first->full_name, version->full_name,
                     quote(difference->name, strlen(difference->name)).text);
}

void check_shadows(struct config_reader *reader, const struct config_endpoint *endpoint,
                   const struct node *shadows)
{
    const struct node *child = shadows->first;
    for (uint32_t i = 0; i < endpoint->n_shadows; i++, child = child->next)
        if (endpoint->shadows[i].version)
            check_shadow(reader, endpoint, i, node_get(child, "model"));
}
