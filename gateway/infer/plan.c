/* plan: references kept, and versions found again. */
#include "infer/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/shadow.h"

/* The candidate's part of the buckets. */
static bool draw_anew(struct plan_endpoint *place, const struct split *split)
{
    struct arm_lot *lot = arm_lot_new(place->books, split_owned(split, 1) / (double)SPLIT_BUCKETS);
    if (!lot)
        return false;
    arm_lot_free(place->lot);
    place->lot = lot;
    return true;
}

bool plan_set_weights(struct plan *plan, const struct config_endpoint *endpoint, const double *weights)
{
    struct plan_endpoint *place = &plan->endpoints[endpoint->index];
    struct split_arm *arms = calloc(endpoint->n_arms, sizeof *arms);
    double *kept = calloc(endpoint->n_arms, sizeof *kept);
    for (uint32_t i = 0; arms && kept && i < endpoint->n_arms; i++) {
        arms[i] = (struct split_arm){.name = endpoint->arms[i].name, .weight = weights[i]};
        kept[i] = weights[i];
    }
    struct split *split = arms && kept ? split_new(endpoint->sticky.salt, arms, endpoint->n_arms) : NULL;
    free(arms);
    if (!split || (place->books && !draw_anew(place, split))) {
        split_unref(split);
        free(kept);
        return false;
    }
    split_unref(place->split);
    free((void *)place->weights);
    place->split = split;
    place->weights = kept;
    return true;
}

static void headers_free(const char *const *headers, uint32_t n)
{
    for (uint32_t i = 0; headers && i < n; i++)
        free((void *)headers[i]);
    free((void *)headers);
}

/* Names are letters, digits and a few signs: nothing that a header could not carry. */
static const char *const *headers_new(const struct config_endpoint *endpoint)
{
    char **headers = calloc(endpoint->n_arms, sizeof *headers);
    for (uint32_t i = 0; headers && i < endpoint->n_arms; i++) {
        const struct config_arm *arm = &endpoint->arms[i];
        if (asprintf(&headers[i], "X-Xebec-Version: %s\r\nX-Xebec-Arm: %s\r\n", arm->version->full_name,
                     arm->name) < 0) {
            headers[i] = NULL;
            headers_free((const char *const *)headers, i);
            return NULL;
        }
    }
    return (const char *const *)headers;
}

static bool plan_split(struct plan *plan, const struct config_endpoint *endpoint)
{
    struct plan_endpoint *place = &plan->endpoints[endpoint->index];
    if (endpoint->canary) {
        place->books =
            arm_books_new(plan->config->shards, endpoint->sticky.kind != STICKY_NONE, loop_now_us());
        if (!place->books)
            return false;
    }
    double *weights = calloc(endpoint->n_arms, sizeof *weights);
    for (uint32_t i = 0; weights && i < endpoint->n_arms; i++)
        weights[i] = endpoint->arms[i].weight;
    bool done = weights && plan_set_weights(plan, endpoint, weights);
    free(weights);
    place->headers = done ? headers_new(endpoint) : NULL;
    return done && place->headers;
}

/* With room for what it is about. */
static struct plan *plan_empty(struct config *config)
{
    struct plan *plan = calloc(1, sizeof *plan + config->n_versions * sizeof plan->versions[0]);
    if (!plan)
        return NULL;
    atomic_init(&plan->refs, 1);
    plan->config = config_ref(config);
    plan->endpoints = calloc(config->n_endpoints + 1, sizeof *plan->endpoints);
    if (plan->endpoints)
        return plan;
    plan_unref(plan);
    return NULL;
}

struct plan *plan_new(struct config *config)
{
    struct plan *plan = plan_empty(config);
    for (uint32_t i = 0; plan && i < config->n_endpoints; i++)
        if (!plan_split(plan, config->endpoints[i])) {
            plan_unref(plan);
            return NULL;
        }
    return plan;
}

/* References to the same. */
static struct shadow **shadows_again(struct shadow *const *shadows, uint32_t n)
{
    struct shadow **again = calloc(n + 1, sizeof(struct shadow *));
    for (uint32_t i = 0; again && shadows && i < n; i++)
        again[i] = shadow_ref(shadows[i]);
    return again;
}

static bool plan_split_again(struct plan *plan, const struct plan_endpoint *as,
                             const struct config_endpoint *endpoint)
{
    struct plan_endpoint *place = &plan->endpoints[endpoint->index];
    double *weights = calloc(endpoint->n_arms, sizeof *weights);
    if (!weights)
        return false;
    memcpy(weights, as->weights, endpoint->n_arms * sizeof *weights);
    place->weights = weights;
    place->split = split_ref(as->split);
    place->headers = headers_new(endpoint);
    place->books = as->books ? arm_books_ref(as->books) : NULL;
    memcpy(place->crashed_before, as->crashed_before, sizeof place->crashed_before);
    place->shadows = shadows_again(as->shadows, endpoint->n_shadows);
    return place->headers && place->shadows && (!place->books || draw_anew(place, place->split));
}

struct plan *plan_again(const struct plan *plan)
{
    struct plan *again = plan_empty(plan->config);
    for (uint32_t i = 0; again && i < plan->config->n_versions; i++)
        again->versions[i] = version_ref(plan->versions[i]);
    for (uint32_t i = 0; again && i < plan->config->n_endpoints; i++)
        if (!plan_split_again(again, &plan->endpoints[i], plan->config->endpoints[i])) {
            plan_unref(again);
            return NULL;
        }
    return again;
}

/* Whether the same versions answer an endpoint in both plans. */
static bool same_parties(const struct plan *plan, const struct config_endpoint *endpoint,
                         const struct plan *other, const struct config_endpoint *others)
{
    if (endpoint->n_arms != others->n_arms)
        return false;
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        if (plan->versions[endpoint->arms[i].version->index] !=
            other->versions[others->arms[i].version->index])
            return false;
    return true;
}

/* What the plan before has under its name, where the same versions answer; NULL: nothing. */
static const struct config_endpoint *
former_endpoint(const struct plan *plan, const struct config_endpoint *endpoint, const struct plan *former)
{
    for (uint32_t i = 0; former && i < former->config->n_endpoints; i++) {
        const struct config_endpoint *before = former->config->endpoints[i];
        if (!strcmp(before->name, endpoint->name))
            return same_parties(plan, endpoint, former, before) ? before : NULL;
    }
    return NULL;
}

/* A reference to the shadow that counts for this one already; NULL: there is none. */
static struct shadow *former_shadow(const struct plan *plan, const struct config_endpoint *endpoint,
                                    const struct config_shadow *wanted, const struct plan *former)
{
    const struct config_endpoint *before = former_endpoint(plan, endpoint, former);
    for (uint32_t i = 0; before && i < before->n_shadows; i++)
        if (shadow_is(former->endpoints[before->index].shadows[i], endpoint, wanted) &&
            plan->versions[wanted->version->index] == former->versions[before->shadows[i].version->index])
            return shadow_ref(former->endpoints[before->index].shadows[i]);
    return NULL;
}

bool plan_open_shadows(struct plan *plan, const struct plan *former, struct metrics *metrics)
{
    for (uint32_t i = 0; i < plan->config->n_endpoints; i++) {
        const struct config_endpoint *endpoint = plan->config->endpoints[i];
        struct shadow **shadows = calloc(endpoint->n_shadows + 1, sizeof(struct shadow *));
        if (!shadows)
            return false;
        plan->endpoints[i].shadows = shadows;
        for (uint32_t j = 0; j < endpoint->n_shadows; j++) {
            const struct config_shadow *wanted = &endpoint->shadows[j];
            shadows[j] = former_shadow(plan, endpoint, wanted, former);
            if (!shadows[j] && !(shadows[j] = shadow_new(endpoint, wanted, plan->config, metrics)))
                return false;
        }
    }
    return true;
}

struct version *plan_find_version(const struct plan *plan, const struct config_version *wanted)
{
    for (uint32_t i = 0; i < plan->config->n_versions; i++)
        if (plan->versions[i] && config_version_same(plan->config->versions[i], wanted))
            return version_ref(plan->versions[i]);
    return NULL;
}

/* --- books --- */

static struct version *arm_version(const struct plan *plan, const struct config_endpoint *endpoint,
                                   uint32_t arm)
{
    return plan->versions[endpoint->arms[arm].version->index];
}

static bool same_clients(const struct config_sticky *a, const struct config_sticky *b)
{
    return a->kind == b->kind && !strcmp(a->name ? a->name : "", b->name ? b->name : "") &&
           !strcmp(a->salt, b->salt);
}

/* Where the plan before has the same canary; NULL: nowhere. */
static const struct plan_endpoint *
same_canary(const struct plan *plan, const struct config_endpoint *endpoint, const struct plan *former)
{
    const struct config_endpoint *before = former_endpoint(plan, endpoint, former);
    bool is_same = before && before->canary && same_clients(&before->sticky, &endpoint->sticky);
    return is_same ? &former->endpoints[before->index] : NULL;
}

static bool keep_books(struct plan *plan, const struct config_endpoint *endpoint, const struct plan *former)
{
    struct plan_endpoint *place = &plan->endpoints[endpoint->index];
    const struct plan_endpoint *before = same_canary(plan, endpoint, former);
    if (!before) {
        for (uint32_t arm = 0; arm < BOOK_ARMS; arm++)
            place->crashed_before[arm] = version_crashes(arm_version(plan, endpoint, arm));
        return true;
    }
    arm_books_unref(place->books);
    place->books = arm_books_ref(before->books);
    memcpy(place->crashed_before, before->crashed_before, sizeof place->crashed_before);
    return draw_anew(place, place->split);
}

bool plan_keep_books(struct plan *plan, const struct plan *former)
{
    for (uint32_t i = 0; i < plan->config->n_endpoints; i++)
        if (plan->config->endpoints[i]->canary && !keep_books(plan, plan->config->endpoints[i], former))
            return false;
    return true;
}

/* Where the candidate is a shadow as well: how its answers differ from those that clients got. Begins anew
 * with the shadow. */
static struct tally candidate_disagreement(const struct plan *plan, const struct config_endpoint *endpoint)
{
    struct shadow *const *shadows = plan->endpoints[endpoint->index].shadows;
    struct shadow_counts counts = {0};
    for (uint32_t i = 0; shadows && i < endpoint->n_shadows; i++)
        if (endpoint->shadows[i].version == endpoint->arms[1].version)
            shadow_counts(shadows[i], &counts);
    return (struct tally){.n = counts.compared, .bad = counts.disagreed};
}

void plan_count_arms(const struct plan *plan, const struct config_endpoint *endpoint,
                     struct arm_counts counts[BOOK_ARMS])
{
    const struct plan_endpoint *place = &plan->endpoints[endpoint->index];
    arm_books_read(place->books, place->lot, counts);
    for (uint32_t arm = 0; arm < BOOK_ARMS; arm++)
        counts[arm].crashed = version_crashes(arm_version(plan, endpoint, arm)) - place->crashed_before[arm];
    counts[1].disagreement = candidate_disagreement(plan, endpoint);
}

bool plan_has_version(const struct plan *plan, const struct version *version)
{
    for (uint32_t i = 0; i < plan->config->n_versions; i++)
        if (plan->versions[i] == version)
            return true;
    return false;
}

struct plan *plan_ref(struct plan *plan)
{
    atomic_fetch_add_explicit(&plan->refs, 1, memory_order_relaxed);
    return plan;
}

static void shadows_free(struct shadow **shadows, uint32_t n)
{
    for (uint32_t i = 0; shadows && i < n; i++)
        shadow_unref(shadows[i]);
    free(shadows);
}

void plan_unref(struct plan *plan)
{
    if (!plan || atomic_fetch_sub_explicit(&plan->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < plan->config->n_versions; i++)
        version_unref(plan->versions[i]);
    for (uint32_t i = 0; plan->endpoints && i < plan->config->n_endpoints; i++) {
        split_unref(plan->endpoints[i].split);
        arm_books_unref(plan->endpoints[i].books);
        arm_lot_free(plan->endpoints[i].lot);
        free((void *)plan->endpoints[i].weights);
        shadows_free(plan->endpoints[i].shadows, plan->config->endpoints[i]->n_shadows);
        headers_free(plan->endpoints[i].headers, plan->config->endpoints[i]->n_arms);
    }
    free(plan->endpoints);
    config_unref(plan->config);
    free(plan);
}
