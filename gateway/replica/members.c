/* members: an answer comes in, replicas join, leave, drain, and are buried; then what is told of it. */
#include "replica/members.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/log.h"

enum {
    LOG_BURST = 600,        /* lines about one pool's members; after that, */
    LOG_EVERY_US = 1000000, /* one in so long: a name server that raves must not fill the disk */
};

/* One configured address. */
struct source {
    struct discovery_status last; /* how its name was answered; under home->lock */
};

static bool members_measure(struct members *members, struct metrics *metrics);
static void members_release(struct members *members);
static bool members_answered(void *owner, uint32_t index, const struct resolve_answer *answer);
static bool members_found(struct members *members, uint32_t index, const struct resolve_answer *answer,
                          uint32_t *left_out);
static bool members_not_found(struct members *members, uint32_t index, const char *why);
static void members_note(struct members *members, uint32_t index, const struct resolve_answer *answer,
                         uint32_t left_out);
static struct replica *members_add(struct members *members, uint32_t index, const char *address);
static bool replica_join(struct members *members, struct replica *replica, uint32_t index);
static bool replica_leave(struct members *members, struct replica *replica, uint32_t index, const char *why);
static void members_bury(struct loop_timer *timer);
static void members_count(struct members *members);
static void members_say(struct members *members, enum log_level level, const char *event, const char *address,
                        const char *why);

/* --- open and close --- */

enum gw_status members_init(struct members *members, struct replica_home *home, struct metrics *metrics)
{
    const struct pool_version *version = home->version;
    members->home = home;
    members->metrics = metrics;
    members->burial.fire = members_bury;
    log_quota_init(&members->quota, LOG_BURST, LOG_EVERY_US, loop_now_us());
    members->sources = calloc(version->n_addresses + 1, sizeof *members->sources);
    if (!members->sources || !members_measure(members, metrics) ||
        loop_timer_set(home->loop, &members->burial, UINT64_MAX) != GW_OK)
        return GW_E_NO_MEMORY;
    bool any_names = false;
    for (uint32_t i = 0; i < version->n_addresses; i++) {
        members->sources[i].last.name = version->addresses[i];
        if (discovery_is_name(version->addresses[i]))
            any_names = true;
        else if (!members_add(members, i, version->addresses[i]))
            return GW_E_NO_MEMORY;
    }
    members_count(members);
    const struct discovery_setup setup = {.loop = home->loop,
                                          .resolver = version->resolver,
                                          .interval_us = version->limits.discovery_interval_us,
                                          .addresses = version->addresses,
                                          .n_addresses = version->n_addresses,
                                          .answered = members_answered,
                                          .owner = members};
    if (any_names)
        members->discovery = discovery_new(&setup);
    return any_names && !members->discovery ? GW_E_NO_MEMORY : GW_OK;
}

void members_clear(struct members *members)
{
    discovery_free(members->discovery);
    loop_timer_cancel(members->home->loop, &members->burial);
    while (members->n)
        replica_free(members->all[--members->n]);
    if (members->metrics)
        members_release(members);
    free(members->sources);
}

static bool members_measure(struct members *members, struct metrics *metrics)
{
    const struct pool_version *version = members->home->version;
    char name[160]; /* two names of 64 and the @ */
    snprintf(name, sizeof name, "%s@%s", version->model, version->version);
    bool all = true;
    for (int outcome = 0; outcome < DISCOVERY_OUTCOME_COUNT; outcome++) {
        const char *how = discovery_outcome_name((enum discovery_outcome)outcome);
        members->lookups[outcome] =
            metrics_series(metrics, METRIC_DISCOVERY_LOOKUPS, METRIC_LABELS("version", name, "outcome", how));
        all = all && members->lookups[outcome];
    }
    members->configured = metrics_series(metrics, METRIC_REPLICAS, METRIC_LABELS("version", name));
    members->left_out = metrics_series(metrics, METRIC_REPLICAS_LEFT_OUT, METRIC_LABELS("version", name));
    return all && members->configured && members->left_out;
}

static void members_release(struct members *members)
{
    metrics_release(members->metrics, members->configured);
    metrics_release(members->metrics, members->left_out);
    for (int outcome = 0; outcome < DISCOVERY_OUTCOME_COUNT; outcome++)
        metrics_release(members->metrics, members->lookups[outcome]);
}

/* --- an answer --- */

const char *discovery_outcome_name(enum discovery_outcome outcome)
{
    static const char *const names[DISCOVERY_OUTCOME_COUNT] = {[DISCOVERY_FOUND] = "found",
                                                               [DISCOVERY_NO_SUCH_NAME] = "no_such_name",
                                                               [DISCOVERY_TIMEOUT] = "timeout",
                                                               [DISCOVERY_FAILED] = "failed"};
    return names[outcome];
}

static enum discovery_outcome outcome_of(enum gw_status status)
{
    switch (status) {
    case GW_OK:
        return DISCOVERY_FOUND;
    case GW_E_NOT_FOUND:
        return DISCOVERY_NO_SUCH_NAME;
    case GW_E_DEADLINE:
        return DISCOVERY_TIMEOUT;
    default:
        return DISCOVERY_FAILED;
    }
}

static bool replica_has_source(const struct replica *replica, uint32_t index)
{
    return replica->sources[index / 64] >> index % 64 & 1;
}

static bool members_serve(const struct members *members, uint32_t index)
{
    for (uint32_t i = 0; i < members->n; i++)
        if (replica_has_source(members->all[i], index) && replica_is_ready(members->all[i]))
            return true;
    return false;
}

static bool members_answered(void *owner, uint32_t index, const struct resolve_answer *answer)
{
    struct members *members = owner;
    enum discovery_outcome outcome = outcome_of(answer->status);
    bool changed = false;
    uint32_t left_out = 0;
    metric_add(members->lookups[outcome], 1);
    if (outcome == DISCOVERY_FOUND)
        changed = members_found(members, index, answer, &left_out);
    else if (outcome == DISCOVERY_NO_SUCH_NAME)
        changed = members_not_found(members, index, answer->why);
    members_note(members, index, answer, left_out);
    if (changed) {
        members_count(members);
        members->home->changed(members->home, NULL);
    }
    return !members_serve(members, index);
}

/* Sorted as they are, IPv6 addresses come last; those of a name that has others do not count. */
static uint32_t addresses_that_count(const struct resolve_answer *answer)
{
    uint32_t n = answer->n_addresses;
    if (answer->addresses[0][0] != '[')
        while (answer->addresses[n - 1][0] == '[')
            n--;
    return n;
}

static int by_address(const void *address, const void *element)
{
    return strcmp(address, *(const char *const *)element);
}

/* Returns whether the set has changed. */
static bool members_found(struct members *members, uint32_t index, const struct resolve_answer *answer,
                          uint32_t *left_out)
{
    bool known[RESOLVE_ADDRESSES_MAX] = {false}, changed = false;
    uint32_t n = addresses_that_count(answer);
    for (uint32_t i = 0; i < members->n; i++) {
        struct replica *replica = members->all[i];
        const char *const *found =
            bsearch(replica->address, answer->addresses, n, sizeof *answer->addresses, by_address);
        if (found)
            known[found - answer->addresses] = true;
        changed |= found ? replica_join(members, replica, index)
                         : replica_leave(members, replica, index, "the name no longer has this address");
    }
    *left_out = n == answer->n_addresses ? answer->n_found - n : 0;
    for (uint32_t i = 0; i < n; i++) {
        if (known[i])
            continue;
        if (members->n == POOL_REPLICAS_MAX)
            ++*left_out;
        else if (members_add(members, index,
                             answer->addresses[i])) /* else: no memory; the next answer has it too */
            changed = true;
    }
    return changed;
}

static bool members_not_found(struct members *members, uint32_t index, const char *why)
{
    bool changed = false;
    for (uint32_t i = 0; i < members->n; i++)
        if (!replica_is_ready(members->all[i]))
            changed |= replica_leave(members, members->all[i], index, why);
    return changed;
}

/* --- the set --- */

static void replica_add_source(struct members *members, struct replica *replica, uint32_t index)
{
    pthread_mutex_lock(&members->home->lock);
    replica->sources[index / 64] |= UINT64_C(1) << index % 64;
    replica->source = members->home->version->addresses[index];
    pthread_mutex_unlock(&members->home->lock);
}

/* NULL: out of memory. There must be room. */
static struct replica *members_add(struct members *members, uint32_t index, const char *address)
{
    struct replica *replica =
        replica_new(members->home, address, members->home->version->addresses[index], ++members->next_id);
    if (!replica)
        return NULL;
    replica_add_source(members, replica, index);
    pthread_mutex_lock(&members->home->lock);
    members->all[members->n++] = replica;
    pthread_mutex_unlock(&members->home->lock);
    if (discovery_is_name(replica->source))
        members_say(members, LOG_INFO_LEVEL, "replica_added", address, replica->source);
    return replica;
}

/* Both return whether the set has changed. */
static bool replica_join(struct members *members, struct replica *replica, uint32_t index)
{
    if (!replica_has_source(replica, index))
        replica_add_source(members, replica, index);
    if (!replica->draining)
        return false;
    replica_drain(replica, false);
    members_say(members, LOG_INFO_LEVEL, "replica_back", replica->address, replica->source);
    return true;
}

static bool replica_leave(struct members *members, struct replica *replica, uint32_t index, const char *why)
{
    uint64_t left = 0;
    if (!replica_has_source(replica, index))
        return false;
    replica->sources[index / 64] &= ~(UINT64_C(1) << index % 64);
    for (uint32_t i = 0; i < POOL_ADDRESSES_MAX / 64; i++)
        left |= replica->sources[i];
    if (left)
        return false;
    replica_drain(replica, true);
    members_say(members, LOG_INFO_LEVEL, "replica_leaving", replica->address, why);
    return true;
}

static bool replica_has_left(const struct replica *replica)
{
    return replica->draining && !atomic_load_explicit(&replica->in_flight, memory_order_relaxed);
}

void members_changed(struct members *members, const struct replica *replica)
{
    if (replica && replica->state == REPLICA_DOWN && !replica->draining)
        for (uint32_t i = 0; members->discovery && i < members->home->version->n_addresses; i++)
            if (replica_has_source(replica, i))
                discovery_hurry(members->discovery, i);
    if (!members->n_draining)
        return;
    for (uint32_t i = 0; i < members->n; i++)
        if (replica_has_left(members->all[i])) /* moving a timer that is set can't fail */
            (void)!loop_timer_set(members->home->loop, &members->burial, 0);
}

/* From a timer, so that no replica is freed inside its own callback. */
static void members_bury(struct loop_timer *timer)
{
    struct members *members = container_of(timer, struct members, burial);
    (void)!loop_timer_set(members->home->loop, timer, UINT64_MAX); /* first, while its place is free */
    for (uint32_t i = members->n; i-- > 0;) {
        struct replica *replica = members->all[i];
        if (!replica_has_left(replica))
            continue;
        pthread_mutex_lock(&members->home->lock);
        memmove(&members->all[i], &members->all[i + 1], (--members->n - i) * sizeof replica);
        pthread_mutex_unlock(&members->home->lock);
        log_debug("replica_closed", LOG_TEXT("model", members->home->version->model),
                  LOG_TEXT("version", members->home->version->version),
                  LOG_TEXT("address", replica->address));
        replica_free(replica);
    }
    members_count(members);
}

/* --- what is told of it --- */

static void members_count(struct members *members)
{
    members->n_draining = 0;
    for (uint32_t i = 0; i < members->n; i++)
        members->n_draining += members->all[i]->draining;
    metric_set(members->configured, members->n - members->n_draining);
}

uint32_t members_status(const struct members *members, struct replica_status *out, uint32_t room)
{
    pthread_mutex_lock(&members->home->lock);
    uint32_t n = members->n;
    for (uint32_t i = 0; i < n && i < room; i++)
        replica_picture(members->all[i], &out[i]);
    pthread_mutex_unlock(&members->home->lock);
    return n;
}

uint32_t members_names(const struct members *members, struct discovery_status *out, uint32_t room)
{
    uint32_t n = 0;
    pthread_mutex_lock(&members->home->lock);
    for (uint32_t i = 0; i < members->home->version->n_addresses; i++) {
        if (!discovery_is_name(members->home->version->addresses[i]))
            continue;
        if (n < room)
            out[n] = members->sources[i].last;
        n++;
    }
    pthread_mutex_unlock(&members->home->lock);
    return n;
}

/* Keeps it for /status, and says in the log what is new of it. */
static void members_note(struct members *members, uint32_t index, const struct resolve_answer *answer,
                         uint32_t left_out)
{
    struct discovery_status *last = &members->sources[index].last, before = *last;
    pthread_mutex_lock(&members->home->lock);
    last->asked = true;
    last->outcome = outcome_of(answer->status);
    snprintf(last->why, sizeof last->why, "%s", answer->why);
    if (last->outcome == DISCOVERY_FOUND) {
        last->addresses = answer->n_found;
        last->left_out = left_out;
    }
    pthread_mutex_unlock(&members->home->lock);
    metric_add(members->left_out, (uint64_t)last->left_out - before.left_out);
    if (last->left_out && !before.left_out)
        members_say(members, LOG_WARN_LEVEL, "replicas_left_out", last->name,
                    "the name has more addresses than a version may have replicas");
    if (last->outcome != before.outcome || !before.asked) {
        if (last->outcome != DISCOVERY_FOUND)
            members_say(members, LOG_WARN_LEVEL, "discovery_failed", last->name, last->why);
        else if (before.asked)
            members_say(members, LOG_INFO_LEVEL, "discovery_recovered", last->name, NULL);
    }
}

static void members_say(struct members *members, enum log_level level, const char *event, const char *address,
                        const char *why)
{
    if (!log_quota_take(&members->quota, loop_now_us()))
        return;
    LOG_EVENT(level, event, LOG_TEXT("model", members->home->version->model),
              LOG_TEXT("version", members->home->version->version), LOG_TEXT("address", address),
              LOG_TEXT("why", why), LOG_INT("unsaid", log_quota_unsaid(&members->quota)));
}
