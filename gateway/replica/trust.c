/* trust: counts of calls in a row. */
#include "replica/trust.h"

enum {
    CALLS_GIVEN_UP = 3, /* in a row, and it is suspect; one is enough on trial */
    CALLS_PASSED = 3,   /* of a trial */
    REST_US = 100000,
    DOUBLINGS_MOST = 7, /* 12.8 s, cut to */
    REST_MOST_US = 10000000,
};

enum trust_state trust_answered(struct trust *trust, uint64_t now_us)
{
    trust->given_up = 0;
    trust->answered_us = now_us;
    if (trust->state != TRUST_ON_TRIAL)
        return trust->state;
    return ++trust->passed >= CALLS_PASSED ? TRUSTED : TRUST_ON_TRIAL;
}

bool trust_given_up(struct trust *trust, uint64_t sent_us)
{
    uint64_t since_us = sent_us > trust->answered_us ? sent_us : trust->answered_us;
    if (sent_us < trust->since_us) /* of another time */
        return false;
    if (!trust->given_up++ || since_us < trust->silent_since_us)
        trust->silent_since_us = since_us;
    return trust->given_up >= (trust->state == TRUST_ON_TRIAL ? 1 : CALLS_GIVEN_UP);
}

bool trust_has_rested(const struct trust *trust, uint64_t now_us)
{
    return trust->state == TRUST_EJECTED && now_us >= trust->rested_us;
}

void trust_become(struct trust *trust, enum trust_state state, uint64_t now_us)
{
    bool failed_trial = trust->state == TRUST_ON_TRIAL && state == TRUST_EJECTED;
    if (state == TRUSTED || (state == TRUST_EJECTED && !failed_trial))
        trust->doublings = 0;
    else if (failed_trial && trust->doublings < DOUBLINGS_MOST)
        trust->doublings++;
    uint64_t rest_us = (uint64_t)REST_US << trust->doublings;
    trust->state = state;
    trust->since_us = now_us;
    trust->given_up = 0;
    trust->passed = 0;
    trust->rested_us = now_us + (rest_us < REST_MOST_US ? rest_us : REST_MOST_US);
}

void trust_renew(struct trust *trust)
{
    *trust = (struct trust){.state = TRUSTED};
}
