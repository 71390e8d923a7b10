/*
 * admission: would a row be answered in time behind those that wait already? Pure: time is passed in.
 *
 * The backlog counts the rows that wait, by priority and by when they are due:
 *
 *            due: |now ............................. horizon| later
 *     high        | 3 | 0 | 7 | 0 | 0 | 12 | ...            |
 *     normal      | 9 | 4 | 0 | 1 |  ...                    |
 *     batch       | 0 | 0 |  ...                            |
 *
 * Rows are served by priority, within one by deadline. So before a row come those of higher priorities, and those
 * of its own that are due earlier; after it, and later by its time, those of its own that are due later. It is admitted
 * if it and all of them are still in time. What waits at a lower priority is not asked for its consent.
 */
#ifndef XEBEC_INFER_ADMISSION_H
#define XEBEC_INFER_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "infer/latency.h"

enum { BACKLOG_SLOTS = 64 };

struct backlog {
    uint64_t slot_us;                                 /* a slot's width */
    uint32_t rows[PRIORITY_COUNT][BACKLOG_SLOTS];     /* a ring by deadline; the last before now: that and all later */
    uint32_t sum[PRIORITY_COUNT];
};

/* horizon_us: deadlines further ahead are not told apart; 0: there are no objectives. */
void backlog_init(struct backlog *backlog, uint64_t horizon_us);
/* Returns the slot that they are in, to be taken out of. */
uint32_t backlog_add(struct backlog *backlog, enum priority priority, uint32_t rows, uint64_t deadline_us, uint64_t now_us);
void backlog_take(struct backlog *backlog, enum priority priority, uint32_t rows, uint32_t slot);

/* How fast what waits is worked off. */
struct admission_pace {
    const struct latency *latency;
    uint64_t now_us;
    uint64_t start_us;    /* when a replica will begin with the next call */
    double caution;       /* how much of the calls' tail is allowed for; 1: its 98th percentile */
    uint64_t margin_us;   /* between the reply of the replica and the deadline */
    uint32_t batch_rows;  /* of a full batch; > 0 */
    uint32_t servers;     /* calls worked on at once; > 0 */
    uint32_t kinds;       /* of rows that go before, or with it, that can't share a batch */
    double rate;          /* rows a microsecond that come: they join the batch until it is cut */
    double higher_rate;   /* ... of them, those of higher priorities: they are served before */
};

/* When so many rows, all that wait and more, will likely be answered. */
uint64_t admission_finish_us(const struct admission_pace *pace, uint32_t rows);
/* Whether so many rows more will be in time, and nobody late for them. */
bool admission_fits(const struct admission_pace *pace, const struct backlog *backlog, enum priority priority,
                    uint32_t rows, uint64_t deadline_us);

#endif
