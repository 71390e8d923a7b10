/* discovery: one timer and one question a name. The timer is never off, only far away: so moving it can't
 * fail. */
#include "replica/discovery.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX "dns:"

enum {
    WANT_US = 250000,  /* between questions while no replica of the name is ready */
    HURRY_US = 200000, /* between questions whoever hurries */
    JITTER = 8,        /* the interval, give or take an eighth of it */
};

struct name {
    struct discovery *discovery;
    uint32_t index; /* in addresses */
    char *host;     /* the port lies behind it */
    const char *port;
    struct resolve_question *question;
    struct loop_timer timer; /* the next question */
    uint64_t asked_us;
};

struct discovery {
    struct discovery_setup setup;
    uint64_t dice;
    uint32_t n_names;
    struct name names[];
};

static bool name_open(struct name *name, struct discovery *discovery, uint32_t index);
static void name_due(struct loop_timer *timer);
static void name_answered(void *owner, const struct resolve_answer *answer);
static void name_wake(struct name *name, uint64_t at_us);

bool discovery_is_name(const char *address)
{
    return strncmp(address, PREFIX, strlen(PREFIX)) == 0;
}

struct discovery *discovery_new(const struct discovery_setup *setup)
{
    uint32_t n_names = 0;
    for (uint32_t i = 0; i < setup->n_addresses; i++)
        n_names += discovery_is_name(setup->addresses[i]);
    struct discovery *discovery = calloc(1, sizeof *discovery + n_names * sizeof discovery->names[0]);
    if (!discovery)
        return NULL;
    discovery->setup = *setup;
    discovery->dice = loop_now_us() | 1;
    for (uint32_t i = 0; i < setup->n_addresses; i++)
        if (discovery_is_name(setup->addresses[i]) &&
            !name_open(&discovery->names[discovery->n_names++], discovery, i)) {
            discovery_free(discovery);
            return NULL;
        }
    return discovery;
}

void discovery_free(struct discovery *discovery)
{
    if (!discovery)
        return;
    for (uint32_t i = 0; i < discovery->n_names; i++) {
        struct name *name = &discovery->names[i];
        if (name->question)
            resolve_cancel(name->question);
        loop_timer_cancel(discovery->setup.loop, &name->timer);
        free(name->host);
    }
    free(discovery);
}

void discovery_hurry(struct discovery *discovery, uint32_t index)
{
    for (uint32_t i = 0; i < discovery->n_names; i++) {
        struct name *name = &discovery->names[i];
        if (name->index != index || name->question)
            continue;
        uint64_t at_us = name->asked_us + HURRY_US;
        if (at_us < name->timer.at_us)
            name_wake(name, at_us);
    }
}

static bool name_open(struct name *name, struct discovery *discovery, uint32_t index)
{
    name->discovery = discovery;
    name->index = index;
    name->timer.fire = name_due;
    name->host = strdup(discovery->setup.addresses[index] + strlen(PREFIX));
    if (!name->host)
        return false;
    char *colon = strrchr(name->host, ':');
    *colon = '\0';
    name->port = colon + 1;
    return loop_timer_set(discovery->setup.loop, &name->timer, 0) == GW_OK;
}

/* The timer is always set but while it fires, and then its place is free: this can't fail. */
static void name_wake(struct name *name, uint64_t at_us)
{
    (void)!loop_timer_set(name->discovery->setup.loop, &name->timer, at_us);
}

static void name_due(struct loop_timer *timer)
{
    static const struct resolve_answer no_memory = {.status = GW_E_NO_MEMORY, .why = "out of memory"};
    struct name *name = container_of(timer, struct name, timer);
    const struct discovery_setup *setup = &name->discovery->setup;
    name_wake(name, UINT64_MAX); /* first, while its place in the heap is free */
    name->asked_us = loop_now_us();
    name->question = resolve_start(setup->resolver, setup->loop, name->host, name->port, name_answered, name);
    if (!name->question)
        name_answered(name, &no_memory);
}

/* xorshift64 (Marsaglia 2003): chance enough to part gateways. */
static uint64_t discovery_chance(struct discovery *discovery, uint64_t below)
{
    discovery->dice ^= discovery->dice << 13;
    discovery->dice ^= discovery->dice >> 7;
    discovery->dice ^= discovery->dice << 17;
    return discovery->dice % below;
}

static void name_answered(void *owner, const struct resolve_answer *answer)
{
    struct name *name = owner;
    struct discovery *discovery = name->discovery;
    const struct discovery_setup *setup = &discovery->setup;
    name->question = NULL;
    bool in_want = setup->answered(setup->owner, name->index, answer);
    uint64_t pause_us = setup->interval_us;
    if (in_want && pause_us > WANT_US)
        pause_us = WANT_US;
    uint64_t swing_us = pause_us / JITTER;
    name_wake(name, loop_now_us() + pause_us - swing_us + discovery_chance(discovery, 2 * swing_us + 1));
}
