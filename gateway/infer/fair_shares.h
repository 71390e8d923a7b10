/*
 * fair_shares: who gives way when a version has more to do than it can. Endpoints that share a version have weights, and each
 * of them at each priority is one share of its queue: the rows of it that wait.
 *
 * While all that comes is in time nobody gives way, and who asks alone may use all of the version: the shares are
 * work-conserving. When a row would be late behind those that wait, rows that came last give way to it: first those of
 * the lowest priority below its own; else those of the share of its own priority that has most for its weight, as
 * long as that has more than the newcomer's. Rows are served by deadline all the while. As what waits is so kept in
 * the proportion of the weights, so is what is served.
 * Source: longest queue drop, Suter et al., "Buffer management schemes for supporting TCP in gigabit routers with
 * per-flow queueing", IEEE JSAC 17 (1999); over start-time fair queueing, because that would serve by turns, not by
 * deadline, and lose the short objectives next to long ones.
 */
#ifndef XEBEC_INFER_FAIR_SHARES_H
#define XEBEC_INFER_FAIR_SHARES_H

#include <stdbool.h>
#include <stdint.h>

struct batch_entry;

struct fair_share {
    uint32_t rows;   /* that wait */
    uint32_t weight; /* as its newest entry says */
    struct batch_entry *newest;
};

/* Zeroed: empty. */
struct fair_shares {
    struct fair_share *at; /* by endpoint and priority */
    uint32_t count;
};

void fair_shares_clear(struct fair_shares *shares);
/* Makes sure that the entry's share exists. False: out of memory. */
bool fair_shares_reserve(struct fair_shares *shares, const struct batch_entry *entry);
void fair_shares_add(struct fair_shares *shares, struct batch_entry *entry, uint32_t rows);
/* Rows of an entry were handed out; the entry goes. */
void fair_shares_take(struct fair_shares *shares, const struct batch_entry *entry, uint32_t rows);
void fair_shares_remove(struct fair_shares *shares, struct batch_entry *entry);

/*
 * Who would give way to `entry`, which is not there yet: up to `room` entries, the newest first, of one share, with as many
 * rows as it has, if there are. Entries of which rows are in flight already stay. Returns their number.
 */
uint32_t fair_shares_yield(const struct fair_shares *shares, const struct batch_entry *entry, struct batch_entry **yielding,
                      uint32_t room);

#endif
