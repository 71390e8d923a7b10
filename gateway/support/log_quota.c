/* log_quota: a bucket of lines. */
#include "support/log_quota.h"

void log_quota_init(struct log_quota *quota, uint32_t burst, uint64_t every_us, uint64_t now_us)
{
    *quota = (struct log_quota){.burst = burst, .left = burst, .every_us = every_us, .topped_up_us = now_us};
}

bool log_quota_take(struct log_quota *quota, uint64_t now_us)
{
    uint64_t earned = (now_us - quota->topped_up_us) / quota->every_us;
    quota->topped_up_us += earned * quota->every_us;
    quota->left = quota->left + earned < quota->burst ? quota->left + (uint32_t)earned : quota->burst;
    if (!quota->left) {
        quota->unsaid++;
        return false;
    }
    quota->left--;
    return true;
}

uint32_t log_quota_unsaid(struct log_quota *quota)
{
    uint32_t unsaid = quota->unsaid;
    quota->unsaid = 0;
    return unsaid;
}
