/*
 * canary_guard: what needs no statistics: a candidate that crashes, breaks its contract or answers with a NaN more often than the
 * configuration tolerates is rolled back at once (a hard stop). Pure, as judge/canary.h.
 *
 * Of several gateways one judges, by its own traffic; every one of them guards. A guard holds what its own gateway saw since
 * the canary began, so that `tolerate` counts for each gateway alone: a replica that dies is seen by all who called it, and adding
 * that up would count one death several times. It is not in the canary's state: a state that comes from the judge every few
 * seconds must not take what this gateway saw along. A restart forgets it.
 */
#ifndef XEBEC_JUDGE_CANARY_GUARD_H
#define XEBEC_JUDGE_CANARY_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "judge/arm_book.h"

struct canary;

/* Of a candidate. */
struct canary_faults {
    uint64_t crashed, contract, nan; /* as in arm_counts */
};
/* What is new since `before`: of other books all of it is. */
void canary_faults_add(struct canary_faults *faults, const struct arm_counts *now, const struct canary_faults *before, bool same_books);
/* Whether there is more of one than is tolerated; then `why` says which, in words. */
bool canary_faults_exceed(const struct canary_faults *faults, const struct config_canary *config, char *why, size_t room);

/* Zero-initialised it has seen nothing of any canary. */
struct canary_guard {
    uint64_t canary_us;             /* which canary it is about: canary.began_us */
    uint64_t books_us;              /* which books were read last */
    struct canary_faults seen;      /* in them */
    struct canary_faults faults;    /* since the canary began */
};
/*
 * For a canary that is perhaps another one, before its weights are in force: what was counted of the candidate until now is not
 * its. A canary that nobody made it meet has all that is in the books.
 */
void canary_guard_meet(struct canary_guard *guard, const struct canary *canary, const struct arm_counts *candidate);
/*
 * candidate: what is counted of it, as for canary_judge(), a few times a second. Returns true when it rolled the canary back.
 */
bool canary_guard_watch(struct canary_guard *guard, struct canary *canary, const struct arm_counts *candidate, uint64_t now_us);

#endif
