/* choice: every question is a walk over the replicas: there are few of them, and all that is asked is at
 * hand. */
#include "replica/choice.h"

static uint32_t in_flight(const struct replica *replica)
{
    return atomic_load_explicit(&replica->in_flight, memory_order_relaxed);
}

static uint32_t slots_of(const struct replica *replica)
{
    return replica->trust.state == TRUST_ON_TRIAL ? 1 : replica->home->version->limits.calls_per_replica;
}

static uint32_t free_slots(const struct replica *replica)
{
    uint32_t calls = in_flight(replica), slots = slots_of(replica);
    return replica_is_ready(replica) && calls < slots ? slots - calls : 0;
}

/* Busy or not: not the one that failed this call, unless it became ready again. */
static bool suits(const struct replica *replica, const struct errand *errand)
{
    if (!replica_is_ready(replica))
        return false;
    if (replica->max_rows && errand->rows > replica->max_rows)
        return false;
    if (replica == errand->other_than)
        return false;
    return errand->shunned_id != replica->id || errand->shunned_spell != replica->spells;
}

/* When it can begin with another call. Who has more than two slots works on several at once. */
static uint64_t start_at(const struct replica *replica, uint64_t now_us)
{
    bool is_serial = replica->home->version->limits.calls_per_replica <= 2;
    return !is_serial && free_slots(replica) ? now_us : busy_until_us(&replica->busy, now_us);
}

/* What is to be least, in whatever is known of all of them: when it will be done, or the rows that it has. */
static uint64_t cost_of(const struct replica *replica, const struct errand *errand, uint64_t now_us)
{
    return errand->expected_us ? busy_done_us(&replica->busy, errand->expected_us, now_us)
                               : replica->rows_in_flight;
}

/* Whether it could have the call, and begin with it by then. */
static bool can_take(const struct replica *replica, const struct errand *errand, uint64_t by_us,
                     uint64_t now_us)
{
    return suits(replica, errand) && free_slots(replica) && start_at(replica, now_us) <= by_us;
}

/* Estimates that differ by less than a quarter of a call do not differ: such replicas take turns. */
static struct replica *best_of(const struct members *members, const struct errand *errand, uint32_t *turn,
                               uint64_t by_us, uint64_t now_us)
{
    uint64_t least = UINT64_MAX, alike = errand->expected_us / 4;
    uint32_t n = members->n;
    for (uint32_t i = 0; i < n; i++)
        if (can_take(members->all[i], errand, by_us, now_us)) {
            uint64_t cost = cost_of(members->all[i], errand, now_us);
            least = cost < least ? cost : least;
        }
    for (uint32_t i = 0; i < n && least < UINT64_MAX; i++) {
        uint32_t at = (*turn + i) % n;
        struct replica *replica = members->all[at];
        if (!can_take(replica, errand, by_us, now_us) || cost_of(replica, errand, now_us) > least + alike)
            continue;
        *turn = at + 1;
        return replica;
    }
    return NULL;
}

struct replica *choice_best(const struct members *members, const struct errand *errand, uint32_t *turn,
                            uint64_t now_us)
{
    return best_of(members, errand, turn, UINT64_MAX, now_us);
}

struct replica *choice_idle(const struct members *members, const struct errand *errand, uint32_t *turn,
                            uint64_t now_us)
{
    return best_of(members, errand, turn, now_us, now_us);
}

bool choice_can_do_without(const struct members *members, const struct replica *silent)
{
    uint32_t others = 0, answered = 0, ejected = 0;
    for (uint32_t i = 0; i < members->n; i++) {
        const struct replica *replica = members->all[i];
        if (replica->draining || replica->state != REPLICA_READY || replica == silent)
            continue;
        ejected += replica->trust.state == TRUST_EJECTED;
        others += replica->trust.state != TRUST_EJECTED;
        answered += replica->trust.state != TRUST_EJECTED &&
                    replica->trust.answered_us > silent->trust.silent_since_us;
    }
    return answered && 2 * answered >= others && ejected + 1 <= (ejected + others + 1) / 2;
}

bool choice_exists(const struct members *members, const struct errand *errand)
{
    for (uint32_t i = 0; i < members->n; i++)
        if (suits(members->all[i], errand))
            return true;
    return false;
}

uint32_t choice_free_slots(const struct members *members)
{
    uint32_t slots = 0;
    for (uint32_t i = 0; i < members->n; i++)
        slots += free_slots(members->all[i]);
    return slots;
}

bool choice_any_idle(const struct members *members)
{
    for (uint32_t i = 0; i < members->n; i++)
        if (replica_is_ready(members->all[i]) && !in_flight(members->all[i]))
            return true;
    return false;
}

uint32_t choice_max_rows(const struct members *members)
{
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < members->n; i++) {
        const struct replica *replica = members->all[i];
        if (replica_is_ready(replica) && replica->max_rows && replica->max_rows < least)
            least = replica->max_rows;
    }
    return least;
}

double choice_slowness(const struct members *members, const struct replica *replica)
{
    double sum = 0;
    uint32_t ready = 0;
    for (uint32_t i = 0; i < members->n; i++) {
        if (!replica_is_ready(members->all[i]))
            continue;
        sum += busy_slowness(&members->all[i]->busy);
        ready++;
    }
    return ready ? busy_slowness(&replica->busy) * ready / sum : 1;
}

struct busy_outlook choice_outlook(const struct members *members, uint64_t now_us)
{
    const struct replica *first = NULL;
    struct busy_outlook outlook = {
        .max_rows = choice_max_rows(members), .start_us = UINT64_MAX, .slowness = 1};
    for (uint32_t i = 0; i < members->n; i++) {
        const struct replica *replica = members->all[i];
        if (!replica_is_ready(replica))
            continue;
        uint64_t start_us = start_at(replica, now_us);
        outlook.ready++;
        if (start_us >= outlook.start_us)
            continue;
        outlook.start_us = start_us;
        first = replica;
    }
    if (first) {
        outlook.given_up_us = busy_given_up_us(&first->busy);
        outlook.slowness = choice_slowness(members, first);
    }
    return outlook;
}
