/* batch: one hash table of lanes, heaps of lanes and of jobs, and the list of who has waited longest. */
#include "infer/batch.h"

#include <assert.h>
#include <stdlib.h>

enum { HEAP_FIRST_ROOM = 8, TABLE_FIRST_SIZE = 16 };

/* What is due first is at the top. Ties go to who came first, so that no job overtakes its equal. */
struct due {
    uint64_t deadline_us, arrival;
    void *item;      /* an entry, or a lane */
    uint32_t *place; /* where the item keeps its place in the heap */
};

struct heap {
    struct due *at;
    uint32_t count, room;
};

struct batch_lane {
    uint64_t kind[2];
    enum priority priority;
    struct batch_lane *next; /* of the same bucket */
    uint32_t place;          /* in by_due of its priority */
    uint32_t rows;           /* not yet handed out */
    struct heap jobs;
};

struct batch_queue {
    struct batch_limits limits;
    uint32_t rows; /* not yet handed out */
    uint64_t arrivals;
    struct batch_entry *oldest, *newest;
    struct heap by_due[PRIORITY_COUNT];
    uint32_t lanes; /* in all of them */
    struct backlog backlog;
    struct fair_shares shares;
    struct batch_lane **by_kind; /* buckets: a power of two */
    uint32_t buckets;
    struct batch_lane *spare; /* the last lane dropped: a queue that runs empty makes it again at once */
};

static bool heap_reserve(struct heap *heap);
static bool is_before(const struct due *a, const struct due *b);
static void heap_insert(struct heap *heap, struct due due);
static void heap_remove(struct heap *heap, uint32_t place);
static void heap_update(struct heap *heap, uint32_t place, uint64_t deadline_us, uint64_t arrival);
static struct batch_lane *lane_find(const struct batch_queue *queue, const uint64_t kind[2],
                                    enum priority priority);
static struct batch_lane *lane_make(struct batch_queue *queue, const uint64_t kind[2],
                                    enum priority priority);
static void lane_settle(struct batch_queue *queue, struct batch_lane *lane);
static void lane_free(struct batch_lane *lane);

const char *batch_reason_name(enum batch_reason reason)
{
    static const char *const names[BATCH_REASON_COUNT] = {
        [BATCH_FULL] = "full", [BATCH_IDLE] = "idle", [BATCH_DELAY] = "delay", [BATCH_DEADLINE] = "deadline"};
    return names[reason];
}

struct batch_queue *batch_queue_new(const struct batch_limits *limits)
{
    struct batch_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return NULL;
    queue->limits = *limits;
    backlog_init(&queue->backlog, limits->horizon_us);
    queue->buckets = TABLE_FIRST_SIZE;
    queue->by_kind = calloc(queue->buckets, sizeof(struct batch_lane *));
    if (!queue->by_kind) {
        free(queue);
        return NULL;
    }
    return queue;
}

void batch_queue_free(struct batch_queue *queue)
{
    if (!queue)
        return;
    assert(!queue->oldest);
    lane_free(queue->spare);
    for (int priority = 0; priority < PRIORITY_COUNT; priority++)
        free(queue->by_due[priority].at);
    fair_shares_clear(&queue->shares);
    free(queue->by_kind);
    free(queue);
}

static uint32_t rows_left(const struct batch_entry *entry)
{
    return entry->n_rows - entry->taken;
}

static void count_in(struct batch_queue *queue, struct batch_entry *entry, uint64_t now_us)
{
    queue->rows += entry->n_rows;
    entry->lane->rows += entry->n_rows;
    entry->slot = backlog_add(&queue->backlog, entry->priority, entry->n_rows, entry->deadline_us, now_us);
    fair_shares_add(&queue->shares, entry, entry->n_rows);
}

static void count_out(struct batch_queue *queue, const struct batch_entry *entry, uint32_t rows)
{
    queue->rows -= rows;
    entry->lane->rows -= rows;
    backlog_take(&queue->backlog, entry->priority, rows, entry->slot);
    fair_shares_take(&queue->shares, entry, rows);
}

static void link_newest(struct batch_queue *queue, struct batch_entry *entry)
{
    entry->older = queue->newest;
    entry->newer = NULL;
    *(queue->newest ? &queue->newest->newer : &queue->oldest) = entry;
    queue->newest = entry;
}

static void unlink_entry(struct batch_queue *queue, struct batch_entry *entry)
{
    *(entry->older ? &entry->older->newer : &queue->oldest) = entry->newer;
    *(entry->newer ? &entry->newer->older : &queue->newest) = entry->older;
}

enum gw_status batch_add(struct batch_queue *queue, struct batch_entry *entry, uint64_t now_us)
{
    if (queue->oldest && (uint64_t)queue->rows + entry->n_rows > queue->limits.max_queued_rows)
        return GW_E_OVERLOAD;
    if (!fair_shares_reserve(&queue->shares, entry))
        return GW_E_NO_MEMORY;
    struct batch_lane *lane = lane_find(queue, entry->kind, entry->priority);
    if (!lane)
        lane = lane_make(queue, entry->kind, entry->priority);
    if (!lane)
        return GW_E_NO_MEMORY;
    if (!heap_reserve(&lane->jobs)) {
        lane_settle(queue, lane);
        return GW_E_NO_MEMORY;
    }
    entry->queued_us = now_us;
    entry->taken = 0;
    entry->lane = lane;
    count_in(queue, entry, now_us);
    link_newest(queue, entry);
    heap_insert(&lane->jobs, (struct due){entry->deadline_us, queue->arrivals++, entry, &entry->place});
    lane_settle(queue, lane);
    return GW_OK;
}

void batch_remove(struct batch_queue *queue, struct batch_entry *entry)
{
    struct batch_lane *lane = entry->lane;
    if (!lane)
        return;
    count_out(queue, entry, rows_left(entry));
    entry->lane = NULL;
    fair_shares_remove(&queue->shares, entry);
    unlink_entry(queue, entry);
    heap_remove(&lane->jobs, entry->place);
    lane_settle(queue, lane);
}

/* What is served next. */
static struct batch_lane *first_lane(const struct batch_queue *queue)
{
    for (int priority = 0; priority < PRIORITY_COUNT; priority++)
        if (queue->by_due[priority].count)
            return queue->by_due[priority].at[0].item;
    return NULL;
}

/* What is due first, whatever its priority; NULL when empty. */
static const struct due *first_due(const struct batch_queue *queue)
{
    const struct due *first = NULL;
    for (int priority = 0; priority < PRIORITY_COUNT; priority++) {
        const struct heap *by_due = &queue->by_due[priority];
        if (by_due->count && (!first || is_before(&by_due->at[0], first)))
            first = &by_due->at[0];
    }
    return first;
}

struct batch_entry *batch_expired(struct batch_queue *queue, uint64_t now_us)
{
    const struct due *first = first_due(queue);
    if (!first || first->deadline_us > now_us)
        return NULL;
    const struct batch_lane *lane = first->item;
    struct batch_entry *entry = lane->jobs.at[0].item;
    batch_remove(queue, entry);
    return entry;
}

struct batch_entry *batch_oldest(const struct batch_queue *queue)
{
    return queue->oldest;
}

struct batch_entry *batch_any(struct batch_queue *queue)
{
    struct batch_entry *entry = queue->oldest;
    if (entry)
        batch_remove(queue, entry);
    return entry;
}

uint32_t batch_queued_rows(const struct batch_queue *queue)
{
    return queue->rows;
}

uint64_t batch_next_deadline(const struct batch_queue *queue)
{
    const struct due *first = first_due(queue);
    return first ? first->deadline_us : UINT64_MAX;
}

uint64_t batch_oldest_us(const struct batch_queue *queue)
{
    return queue->oldest ? queue->oldest->queued_us : UINT64_MAX;
}

uint32_t batch_kinds(const struct batch_queue *queue, enum priority priority)
{
    uint32_t kinds = 0;
    for (int each = 0; each <= (int)priority; each++)
        kinds += queue->by_due[each].count;
    return kinds;
}

const struct backlog *batch_backlog(const struct batch_queue *queue)
{
    return &queue->backlog;
}

const struct fair_shares *batch_shares(const struct batch_queue *queue)
{
    return &queue->shares;
}

/* The lane of the same kind at the next lower priority; NULL: there is none. */
static const struct batch_lane *next_lane(const struct batch_queue *queue, const struct batch_lane *lane)
{
    const struct batch_lane *next = NULL;
    for (int priority = lane->priority + 1; priority < PRIORITY_COUNT && !next; priority++)
        if (queue->by_due[priority].count)
            next = lane_find(queue, lane->kind, (enum priority)priority);
    return next;
}

/* Of the kind that is served next. */
static uint32_t rows_alike(const struct batch_queue *queue)
{
    uint32_t rows = 0;
    for (const struct batch_lane *lane = first_lane(queue); lane; lane = next_lane(queue, lane))
        rows += lane->rows;
    return rows;
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

bool batch_decide(const struct batch_queue *queue, uint32_t limit, uint64_t call_us, uint64_t hold_until_us,
                  uint64_t now_us, enum batch_reason *reason, uint64_t *wake_us)
{
    assert(limit > 0);
    const struct batch_limits *limits = &queue->limits;
    *wake_us = UINT64_MAX;
    if (!queue->oldest)
        return false;
    uint32_t rows = rows_alike(queue);
    uint64_t delay_at = add_saturated(queue->oldest->queued_us, limits->max_delay_us);
    uint64_t deadline_us = batch_next_deadline(queue);
    uint64_t deadline_at = deadline_us > call_us ? deadline_us - call_us : 0;
    if (hold_until_us > now_us)
        delay_at = hold_until_us;
    if (rows >= limit)
        *reason = BATCH_FULL;
    else if (hold_until_us <= now_us && (!limits->max_delay_us || rows >= limits->wait_rows))
        *reason = BATCH_IDLE;
    else if (delay_at <= now_us)
        *reason = BATCH_DELAY;
    else if (deadline_at <= now_us)
        *reason = BATCH_DEADLINE;
    else {
        *wake_us = delay_at < deadline_at ? delay_at : deadline_at;
        return false;
    }
    return true;
}

/* Hands out up to `most` rows of the entry; the last of them take it out of the queue. */
static struct batch_piece cut_piece(struct batch_queue *queue, struct batch_entry *entry, uint32_t most)
{
    uint32_t left = rows_left(entry);
    struct batch_piece piece = {entry, entry->taken, left < most ? left : most};
    count_out(queue, entry, piece.count);
    entry->taken += piece.count;
    if (piece.count == left)
        batch_remove(queue, entry);
    return piece;
}

/* How many rows of the entry `bytes` have room for; where none does, one if it is the batch's first. */
static uint32_t rows_within(const struct batch_entry *entry, size_t bytes, bool first)
{
    size_t rows = entry->row_bytes ? bytes / entry->row_bytes : UINT32_MAX;
    if (!rows)
        return first;
    return rows < UINT32_MAX ? (uint32_t)rows : UINT32_MAX;
}

uint32_t batch_take(struct batch_queue *queue, uint32_t limit, struct batch_piece *pieces, uint32_t room,
                    uint32_t *rows)
{
    uint32_t n_pieces = 0;
    size_t bytes = queue->limits.max_bytes ? queue->limits.max_bytes : SIZE_MAX;
    *rows = 0;
    for (const struct batch_lane *lane = first_lane(queue), *next; lane; lane = next) {
        next = next_lane(queue, lane); /* before the last of its jobs takes it away */
        uint32_t in_lane = lane->rows, most = in_lane < limit - *rows ? *rows + in_lane : limit;
        while (*rows < most && n_pieces < room) {
            struct batch_entry *entry = lane->jobs.at[0].item;
            uint32_t fit = rows_within(entry, bytes, n_pieces == 0), left = most - *rows;
            if (!fit)
                return n_pieces;
            struct batch_piece piece = cut_piece(queue, entry, fit < left ? fit : left);
            size_t taken = entry->row_bytes * piece.count;
            bytes = taken < bytes ? bytes - taken : 0;
            pieces[n_pieces++] = piece;
            *rows += piece.count;
        }
    }
    return n_pieces;
}

/* --- lanes --- */

static struct batch_lane **bucket_of(const struct batch_queue *queue, const uint64_t kind[2])
{
    return &queue->by_kind[kind[0] & (queue->buckets - 1)];
}

static struct batch_lane *lane_find(const struct batch_queue *queue, const uint64_t kind[2],
                                    enum priority priority)
{
    struct batch_lane *lane = *bucket_of(queue, kind);
    while (lane && (lane->kind[0] != kind[0] || lane->kind[1] != kind[1] || lane->priority != priority))
        lane = lane->next;
    return lane;
}

static void lane_link(struct batch_queue *queue, struct batch_lane *lane)
{
    struct batch_lane **bucket = bucket_of(queue, lane->kind);
    lane->next = *bucket;
    *bucket = lane;
}

/* Doubles the table; without memory it stays as it is, and its chains grow instead. */
static void table_grow(struct batch_queue *queue)
{
    struct batch_lane **by_kind = calloc(queue->buckets * 2ULL, sizeof(struct batch_lane *));
    if (!by_kind)
        return;
    free(queue->by_kind);
    queue->by_kind = by_kind;
    queue->buckets *= 2;
    for (int priority = 0; priority < PRIORITY_COUNT; priority++)
        for (uint32_t i = 0; i < queue->by_due[priority].count; i++)
            lane_link(queue, queue->by_due[priority].at[i].item);
}

/* A lane without jobs, due never; the caller adds a job, or settles it away. */
static struct batch_lane *lane_make(struct batch_queue *queue, const uint64_t kind[2], enum priority priority)
{
    struct heap *by_due = &queue->by_due[priority];
    struct batch_lane *lane = queue->spare ? queue->spare : calloc(1, sizeof *lane);
    if (!lane || !heap_reserve(by_due)) {
        if (lane != queue->spare)
            lane_free(lane);
        return NULL;
    }
    queue->spare = NULL;
    lane->kind[0] = kind[0];
    lane->kind[1] = kind[1];
    lane->priority = priority;
    heap_insert(by_due, (struct due){UINT64_MAX, UINT64_MAX, lane, &lane->place});
    lane_link(queue, lane);
    if (++queue->lanes > queue->buckets)
        table_grow(queue);
    return lane;
}

static void lane_drop(struct batch_queue *queue, struct batch_lane *lane)
{
    struct batch_lane **at = bucket_of(queue, lane->kind);
    while (*at != lane)
        at = &(*at)->next;
    *at = lane->next;
    heap_remove(&queue->by_due[lane->priority], lane->place);
    queue->lanes--;
    lane_free(queue->spare);
    queue->spare = lane;
}

/* After any change of its jobs: a lane stands in by_due as its first job does; without jobs it goes. */
static void lane_settle(struct batch_queue *queue, struct batch_lane *lane)
{
    const struct due *first = lane->jobs.at;
    if (lane->jobs.count)
        heap_update(&queue->by_due[lane->priority], lane->place, first->deadline_us, first->arrival);
    else
        lane_drop(queue, lane);
}

static void lane_free(struct batch_lane *lane)
{
    if (!lane)
        return;
    free(lane->jobs.at);
    free(lane);
}

/* --- a binary heap whose items know their place --- */

/* Makes sure that one more fits. */
static bool heap_reserve(struct heap *heap)
{
    if (heap->count < heap->room)
        return true;
    uint32_t room = heap->room ? heap->room * 2 : HEAP_FIRST_ROOM;
    struct due *at = realloc(heap->at, room * sizeof *at);
    if (!at)
        return false;
    heap->at = at;
    heap->room = room;
    return true;
}

static bool is_before(const struct due *a, const struct due *b)
{
    return a->deadline_us != b->deadline_us ? a->deadline_us < b->deadline_us : a->arrival < b->arrival;
}

static void heap_put(struct heap *heap, uint32_t place, struct due due)
{
    heap->at[place] = due;
    *due.place = place;
}

static void heap_up(struct heap *heap, uint32_t place, struct due due)
{
    while (place > 0 && is_before(&due, &heap->at[(place - 1) / 2])) {
        heap_put(heap, place, heap->at[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    heap_put(heap, place, due);
}

static void heap_down(struct heap *heap, uint32_t place, struct due due)
{
    for (uint32_t child; (child = 2 * place + 1) < heap->count; place = child) {
        if (child + 1 < heap->count && is_before(&heap->at[child + 1], &heap->at[child]))
            child++;
        if (!is_before(&heap->at[child], &due))
            break;
        heap_put(heap, place, heap->at[child]);
    }
    heap_put(heap, place, due);
}

static void heap_sift(struct heap *heap, uint32_t place, struct due due)
{
    if (place > 0 && is_before(&due, &heap->at[(place - 1) / 2]))
        heap_up(heap, place, due);
    else
        heap_down(heap, place, due);
}

static void heap_insert(struct heap *heap, struct due due)
{
    heap_up(heap, heap->count++, due);
}

static void heap_remove(struct heap *heap, uint32_t place)
{
    struct due last = heap->at[--heap->count];
    if (place < heap->count)
        heap_sift(heap, place, last);
}

static void heap_update(struct heap *heap, uint32_t place, uint64_t deadline_us, uint64_t arrival)
{
    struct due due = heap->at[place];
    due.deadline_us = deadline_us;
    due.arrival = arrival;
    heap_sift(heap, place, due);
}
