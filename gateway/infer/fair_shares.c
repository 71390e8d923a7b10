/* fair_shares: an array of lists, newest first. */
#include "infer/fair_shares.h"

#include <stdlib.h>
#include <string.h>

#include "infer/batch.h"

static uint32_t number_of(const struct batch_entry *entry)
{
    return entry->endpoint * PRIORITY_COUNT + entry->priority;
}

void fair_shares_clear(struct fair_shares *shares)
{
    free(shares->at);
    *shares = (struct fair_shares){0};
}

bool fair_shares_reserve(struct fair_shares *shares, const struct batch_entry *entry)
{
    uint32_t number = number_of(entry);
    if (number < shares->count)
        return true;
    uint32_t count = (entry->endpoint + 1) * PRIORITY_COUNT;
    struct fair_share *at = realloc(shares->at, count * sizeof *at);
    if (!at)
        return false;
    memset(at + shares->count, 0, (count - shares->count) * sizeof *at);
    shares->at = at;
    shares->count = count;
    return true;
}

void fair_shares_add(struct fair_shares *shares, struct batch_entry *entry, uint32_t rows)
{
    struct fair_share *share = &shares->at[number_of(entry)];
    share->weight = entry->weight;
    share->rows += rows;
    entry->share_newer = NULL;
    entry->share_older = share->newest;
    if (share->newest)
        share->newest->share_newer = entry;
    share->newest = entry;
}

void fair_shares_take(struct fair_shares *shares, const struct batch_entry *entry, uint32_t rows)
{
    shares->at[number_of(entry)].rows -= rows;
}

void fair_shares_remove(struct fair_shares *shares, struct batch_entry *entry)
{
    *(entry->share_newer ? &entry->share_newer->share_older : &shares->at[number_of(entry)].newest) =
        entry->share_older;
    if (entry->share_older)
        entry->share_older->share_newer = entry->share_newer;
}

static double load_of(uint64_t rows, uint32_t weight)
{
    return (double)rows / (weight ? weight : 1);
}

/* The share that gives way: of the lowest priority that has any below the entry's, else of its own; NULL:
 * none. */
static const struct fair_share *most_loaded(const struct fair_shares *shares, enum priority priority)
{
    const struct fair_share *most = NULL;
    for (uint32_t each = PRIORITY_COUNT; each-- > (uint32_t)priority && !most;)
        for (uint32_t i = each; i < shares->count; i += PRIORITY_COUNT) {
            const struct fair_share *share = &shares->at[i];
            if (share->rows &&
                (!most || load_of(share->rows, share->weight) > load_of(most->rows, most->weight)))
                most = share;
        }
    return most;
}

/* Where the share that gives way has to stop: at its own height with the newcomer among equals; never below
 * them. */
static double least_load(const struct fair_shares *shares, const struct fair_share *share,
                         const struct batch_entry *entry)
{
    uint32_t number = number_of(entry);
    uint64_t own_rows = number < shares->count ? shares->at[number].rows : 0;
    return share->newest->priority == entry->priority ? load_of(own_rows + entry->n_rows, entry->weight) : 0;
}

uint32_t fair_shares_yield(const struct fair_shares *shares, const struct batch_entry *entry,
                           struct batch_entry **yielding, uint32_t room)
{
    const struct fair_share *share = most_loaded(shares, entry->priority);
    if (!share)
        return 0;
    double least = least_load(shares, share, entry);
    uint32_t count = 0, rows = 0;
    for (struct batch_entry *each = share->newest; each && rows < entry->n_rows && count < room;
         each = each->share_older) {
        rows += each->n_rows;
        if (each->taken || load_of(share->rows - rows, share->weight) < least)
            break;
        yielding[count++] = each;
    }
    return count;
}
