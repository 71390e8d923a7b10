/*
 * trust: whether a replica that is ready may have calls. Pure: time is passed in.
 *
 *   TRUSTED --- ejected ---> EJECTED --- rested, and its health check is well ---> ON_TRIAL --- three answers ---> TRUSTED
 *      ^                        ^                                                     |
 *      |                        '----------------- a call was given up ---------------'
 *      '--- it connected anew; from ON_TRIAL and EJECTED alike
 *
 * From EJECTED to ON_TRIAL at once, rested or not, when no other replica is left.
 *
 * It is silent from the first of its calls that was given up as late (by a deadline, by who had asked, because a copy elsewhere
 * was quicker) until it answers again, whatever it says. Three such calls, none answered between, are an accident of one
 * replica when the others answer meanwhile, and the weather when they don't: so who ejects it asks them (choice.h). On trial it
 * has one call at a time. It rests for 100 ms, and twice as long each time that it comes to be ejected from a trial, up to 10 s.
 */
#ifndef XEBEC_REPLICA_TRUST_H
#define XEBEC_REPLICA_TRUST_H

#include <stdbool.h>
#include <stdint.h>

enum trust_state { TRUSTED, TRUST_EJECTED, TRUST_ON_TRIAL };

/* Zeroed: trusted. */
struct trust {
    enum trust_state state;
    uint32_t given_up;        /* calls, since it last answered */
    uint32_t passed;          /* answers of the trial */
    uint32_t doublings;       /* of the rest */
    uint64_t since_us;        /* it is what it is; 0: since it connected */
    uint64_t silent_since_us; /* it last answered, or the first of those given up was sent */
    uint64_t answered_us;     /* when it last answered; 0: never */
    uint64_t rested_us;       /* EJECTED: when it may be tried */
};

/* A call came back with any answer. Returns what the replica is now to be: the same, or trusted again. */
enum trust_state trust_answered(struct trust *trust, uint64_t now_us);
/*
 * A call that was sent at sent_us was given up as late; one from before the last change does not count. Returns whether it is
 * enough to eject the replica, if the others answer.
 */
bool trust_given_up(struct trust *trust, uint64_t sent_us);
bool trust_has_rested(const struct trust *trust, uint64_t now_us);
/* The one place where the state changes. */
void trust_become(struct trust *trust, enum trust_state state, uint64_t now_us);
void trust_renew(struct trust *trust); /* another process, for all that is known */

#endif
