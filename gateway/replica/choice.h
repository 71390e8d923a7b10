/*
 * choice: which replica gets a call, and what all of them could take. The pool's own; looks at replicas and changes none.
 */
#ifndef XEBEC_REPLICA_CHOICE_H
#define XEBEC_REPLICA_CHOICE_H

#include "replica/members.h"

/* What a replica is wanted for. */
struct errand {
    uint32_t rows;
    uint64_t expected_us;   /* what it takes a replica on average; 0: unknown */
    uint64_t shunned_id;    /* who failed it last: not that one ... 0: nobody did */
    uint32_t shunned_spell; /* ... unless it became ready again since */
    const struct replica *other_than; /* who has it already; NULL: nobody */
};

/*
 * Of the ready ones with a free slot that take so many rows, the one that is expected to be done with it first; where nothing
 * is expected, the one with the fewest rows in flight; in turn, where several are alike (within a quarter of the call).
 * turn: where they are looked at from; moved on. NULL: there is none.
 */
struct replica *choice_best(const struct members *members, const struct errand *errand, uint32_t *turn, uint64_t now_us);
/* Likewise, of those that could begin with it at once. */
struct replica *choice_idle(const struct members *members, const struct errand *errand, uint32_t *turn, uint64_t now_us);
/*
 * Whether a replica that is silent is to be ejected: at least half of the others that are ready, and one at all, have answered
 * since, and with it no more than half are ejected.
 */
bool choice_can_do_without(const struct members *members, const struct replica *silent);
/* Whether one of them would do, busy or not. */
bool choice_exists(const struct members *members, const struct errand *errand);

/*
 * What its calls take, of what those of all that are ready take on average; 1 where it is the only one. When all change at
 * once that is no replica's slowness, but what a call takes.
 */
double choice_slowness(const struct members *members, const struct replica *replica);

/* As the pool's functions of these names; a replica on trial has one slot. */
uint32_t choice_free_slots(const struct members *members);
bool choice_any_idle(const struct members *members);
uint32_t choice_max_rows(const struct members *members);
struct busy_outlook choice_outlook(const struct members *members, uint64_t now_us);

#endif
