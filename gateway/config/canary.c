/* canary: reads how a candidate is let in: its steps, and what stops it. */
#include "config/keys.h"
#include "config/units.h"

#include <stdlib.h>
#include <string.h>

#define STEPS_MAX     64
#define FRACTION_ROOM 16 /* of its digits */

static const double default_steps[] = {0.01, 0.05, 0.25, 0.5, 1};

/* --- 0.5% --- */

static bool parse_percent(const char *text, size_t length, double *fraction)
{
    size_t end = decimal_length(text);
    bool zero = length == 1 && text[0] == '0';
    if (!end || end > FRACTION_ROOM || (!zero && (end + 1 != length || text[end] != '%')))
        return false;
    *fraction = strtod(text, NULL) / 100;
    return true;
}

static bool percent_within(const struct key *key, double fraction)
{
    double least = 0, most = 1;
    bool parsed = parse_percent(key->least, strlen(key->least), &least) &&
                  parse_percent(key->most, strlen(key->most), &most);
    return parsed && fraction >= least && fraction <= most;
}

static bool read_percent(struct config_reader *reader, const struct key *key, const struct node *node,
                         double *fraction)
{
    const char *expected = "a percentage such as 0.5%";
    if (!reader_expects(reader, node, NODE_SCALAR, expected))
        return false;
    const struct quoted written = quote(node->text, node->length);
    if (!parse_percent(node->text, node->length, fraction))
        node_problem(reader->problems, node, "expected %s, got %s", expected, written.text);
    else if (!percent_within(key, *fraction))
        node_problem(reader->problems, node, "expected %s to %s, got %s", key->least, key->most,
                     written.text);
    else
        return true;
    return false;
}

void read_fraction(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    double fraction;
    if (read_percent(reader, key, node, &fraction))
        memcpy((char *)base + key->offset, &fraction, sizeof fraction);
}

/* --- canary --- */

/* Whether `step` may stand behind `before`; told here otherwise. */
static bool step_follows(struct config_reader *reader, const struct node *node, double before, double step)
{
    if (step > before)
        return true;
    node_problem(reader->problems, node, "steps grow; put one above %g%% here, or leave it out",
                 before * 100);
    return false;
}

void read_steps(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct config_canary *canary = base;
    if (node->text == key->fallback) {
        canary->steps = default_steps;
        canary->n_steps = sizeof default_steps / sizeof default_steps[0];
        return;
    }
    if (!reader_expects(reader, node, NODE_LIST, "a list of growing shares such as [5%, 50%, 100%]"))
        return;
    if (!node->count || node->count > STEPS_MAX) {
        node_problem(reader->problems, node, "expected 1 to %d steps, got %u", STEPS_MAX, node->count);
        return;
    }
    double *steps = reader_array(reader, node->count, sizeof *steps), before = 0;
    bool well = steps != NULL;
    canary->steps = steps;
    for (const struct node *child = node->first; well && child; child = child->next) {
        double *step = &steps[canary->n_steps++];
        well = read_percent(reader, key, child, step) && step_follows(reader, child, before, *step);
        before = *step;
    }
    if (well && before < 1)
        node_problem(reader->problems, node->last, "the last step is all requests; add 100%%");
}

void read_canary(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct config_canary *canary = reader_array(reader, 1, sizeof *canary);
    if (!canary || !reader_expects(reader, node, NODE_MAP, "a mapping with baseline and candidate"))
        return;
    canary->disagreement = -1;
    keys_read(reader, node, key->path, canary);
    memcpy((char *)base + key->offset, &canary, sizeof canary);
}
