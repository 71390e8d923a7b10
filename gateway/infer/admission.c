/* admission: the ring of what waits, and the walk over it. */
#include "infer/admission.h"

#include <math.h>

/* Rows of a priority whose betters take it all wait for no longer than 20 times their due. */
#define SHARE_LEAST 0.05

/*
 * The most that is allowed for of the tail by rows that go with the very next batch. To refuse them makes it
 * smaller, and hardly earlier; calls of one row, each of them late by chance, would keep all others out.
 */
#define CAUTION_NEXT 0.25

void backlog_init(struct backlog *backlog, uint64_t horizon_us)
{
    uint64_t slot_us = horizon_us / BACKLOG_SLOTS;
    *backlog = (struct backlog){.slot_us = slot_us ? slot_us : 1};
}

/* Slots from now until the one that holds the deadline: 0 .. BACKLOG_SLOTS - 1. */
static uint32_t slots_ahead(const struct backlog *backlog, uint64_t deadline_us, uint64_t now_us)
{
    if (deadline_us <= now_us)
        return 0;
    uint64_t ahead = deadline_us / backlog->slot_us - now_us / backlog->slot_us;
    return ahead < BACKLOG_SLOTS ? (uint32_t)ahead : BACKLOG_SLOTS - 1;
}

static uint32_t slot_at(const struct backlog *backlog, uint64_t now_us, uint32_t ahead)
{
    return (uint32_t)((now_us / backlog->slot_us + ahead) % BACKLOG_SLOTS);
}

uint32_t backlog_add(struct backlog *backlog, enum priority priority, uint32_t rows, uint64_t deadline_us,
                     uint64_t now_us)
{
    uint32_t slot = slot_at(backlog, now_us, slots_ahead(backlog, deadline_us, now_us));
    backlog->rows[priority][slot] += rows;
    backlog->sum[priority] += rows;
    return slot;
}

void backlog_take(struct backlog *backlog, enum priority priority, uint32_t rows, uint32_t slot)
{
    backlog->rows[priority][slot] -= rows;
    backlog->sum[priority] -= rows;
}

/* Of what the servers can do, what is left beside those of higher priorities that are still to come. */
static double share_left(const struct admission_pace *pace)
{
    double row_us = latency_typical_us(pace->latency, pace->batch_rows) / pace->batch_rows / pace->servers;
    double left = 1 - pace->higher_rate * row_us;
    return left > SHARE_LEAST ? left : SHARE_LEAST;
}

/*
 * Full batches at the usual time, and a call more for each other kind, spread over the servers; then the last
 * one, with who joins it until it is cut. Each may take longer than usual, but not all of them will: what is
 * independent adds up as its squares do.
 */
uint64_t admission_finish_us(const struct admission_pace *pace, uint32_t rows)
{
    uint32_t full = rows ? (rows - 1) / pace->batch_rows : 0, kinds = pace->kinds > 1 ? pace->kinds - 1 : 0;
    double rounds = ((double)full + kinds) / pace->servers, last = rows - full * pace->batch_rows;
    double before_us = (full * latency_typical_us(pace->latency, pace->batch_rows) +
                        kinds * latency_typical_us(pace->latency, 0)) /
                       pace->servers;
    double cut_us = (double)(pace->start_us - pace->now_us) + before_us / share_left(pace);
    last += pace->rate * cut_us;
    if (last > pace->batch_rows)
        last = pace->batch_rows;
    double last_us = latency_typical_us(pace->latency, (uint32_t)last);
    double excess_us = latency_likely_us(pace->latency, (uint32_t)last) - last_us;
    double caution = full ? pace->caution : fmin(pace->caution, CAUTION_NEXT);
    double us = cut_us + last_us + caution * excess_us * sqrt(1 + (pace->start_us > pace->now_us) + rounds);
    return pace->now_us + (uint64_t)us + pace->margin_us;
}

bool admission_fits(const struct admission_pace *pace, const struct backlog *backlog, enum priority priority,
                    uint32_t rows, uint64_t deadline_us)
{
    uint32_t ahead = slots_ahead(backlog, deadline_us, pace->now_us), sum = rows;
    uint32_t later = backlog->sum[priority]; /* of its own priority, what was not looked at yet */
    for (uint32_t i = 0; i <= ahead; i++)
        later -= backlog->rows[priority][slot_at(backlog, pace->now_us, i)];
    for (uint32_t higher = 0; higher < (uint32_t)priority; higher++)
        sum += backlog->sum[higher];
    sum += backlog->sum[priority] - later;
    if (admission_finish_us(pace, sum) > deadline_us)
        return false;
    for (uint32_t i = ahead + 1; later && i < BACKLOG_SLOTS - 1; i++) { /* the last slot has no end */
        uint32_t there = backlog->rows[priority][slot_at(backlog, pace->now_us, i)];
        uint64_t end_us = (pace->now_us / backlog->slot_us + i + 1) * backlog->slot_us;
        sum += there;
        later -= there;
        if (there && admission_finish_us(pace, sum) > end_us)
            return false;
    }
    return true;
}
