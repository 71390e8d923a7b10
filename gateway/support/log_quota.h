/*
 * log_quota: how many lines one thing may write to the log: some at once, then one in so long, so that what comes and goes
 * without end does not fill the disk. What had to be left out is counted, for the next line to say. Pure: time is passed in.
 */
#ifndef XEBEC_SUPPORT_LOG_QUOTA_H
#define XEBEC_SUPPORT_LOG_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

struct log_quota {
    uint32_t burst, left;
    uint64_t every_us, topped_up_us;
    uint32_t unsaid;
};

void log_quota_init(struct log_quota *quota, uint32_t burst, uint64_t every_us, uint64_t now_us);
/* One line is to be written. False: it is to be left out, and counted. */
bool log_quota_take(struct log_quota *quota, uint64_t now_us);
/* How many were left out since this was last asked: for the line that is being written. */
uint32_t log_quota_unsaid(struct log_quota *quota);

#endif
