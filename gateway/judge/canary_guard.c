/* canary_guard: faults counted, and held against what is tolerated. */
#include "judge/canary_guard.h"

#include <inttypes.h>
#include <stdio.h>

#include "judge/canary.h"

static uint64_t new_of(uint64_t now, uint64_t before, bool same_books)
{
    return !same_books ? now : now > before ? now - before : 0;
}

void canary_faults_add(struct canary_faults *faults, const struct arm_counts *now,
                       const struct canary_faults *before, bool same_books)
{
    faults->crashed += new_of(now->crashed, before->crashed, same_books);
    faults->contract += new_of(now->contract, before->contract, same_books);
    faults->nan += new_of(now->nan, before->nan, same_books);
}

bool canary_faults_exceed(const struct canary_faults *faults, const struct config_canary *config, char *why,
                          size_t room)
{
    const struct {
        uint64_t n, tolerated;
        const char *what;
    } each[] = {{faults->crashed, config->crashes, "replicas lost with calls in flight"},
                {faults->contract, config->contract, "requests for which the replica broke its contract"},
                {faults->nan, config->nan, "requests answered with a NaN"}};
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++)
        if (each[i].n > each[i].tolerated) {
            snprintf(why, room, "hard stop: %s: %" PRIu64 ", tolerated %" PRIu64, each[i].what, each[i].n,
                     each[i].tolerated);
            return true;
        }
    return false;
}

static void see(struct canary_guard *guard, const struct arm_counts *candidate)
{
    guard->books_us = candidate->began_us;
    guard->seen = (struct canary_faults){candidate->crashed, candidate->contract, candidate->nan};
}

void canary_guard_meet(struct canary_guard *guard, const struct canary *canary,
                       const struct arm_counts *candidate)
{
    if (guard->canary_us == canary->began_us)
        return;
    *guard = (struct canary_guard){.canary_us = canary->began_us};
    see(guard, candidate);
}

bool canary_guard_watch(struct canary_guard *guard, struct canary *canary, const struct arm_counts *candidate,
                        uint64_t now_us)
{
    char why[CANARY_WHY_ROOM];
    if (guard->canary_us != canary->began_us)
        *guard = (struct canary_guard){.canary_us = canary->began_us};
    canary_faults_add(&guard->faults, candidate, &guard->seen, guard->books_us == candidate->began_us);
    see(guard, candidate);
    return canary_is_live(canary) && canary_faults_exceed(&guard->faults, canary->config, why, sizeof why) &&
           canary_rollback(canary, why, now_us);
}
