/* The queue of a version: what is asked of it one by one, then a random driver against a model that is
 * obviously right. */
#include "infer/batch.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define MS 1000ULL

static struct batch_queue *queue_of(uint32_t max_rows, uint64_t max_delay_us, uint32_t wait_rows)
{
    struct batch_queue *queue =
        batch_queue_new(&(struct batch_limits){max_rows, max_delay_us, wait_rows, 1000 * MS, 0});
    cr_assert_not_null(queue);
    return queue;
}

static struct batch_entry job(uint64_t kind, uint64_t deadline_us, uint32_t rows)
{
    return (struct batch_entry){.kind = {kind, ~kind}, .deadline_us = deadline_us, .n_rows = rows};
}

static void add(struct batch_queue *queue, struct batch_entry *entry, uint64_t now_us)
{
    cr_assert_eq(batch_add(queue, entry, now_us), GW_OK);
}

static void cr_piece(struct batch_piece piece, struct batch_entry *entry, uint32_t first, uint32_t count)
{
    cr_assert_eq(piece.entry, entry);
    cr_assert_eq(piece.first, first);
    cr_assert_eq(piece.count, count);
}

static void drain(struct batch_queue *queue)
{
    while (batch_any(queue)) {
    }
    cr_assert_eq(batch_queued_rows(queue), 0);
    batch_queue_free(queue);
}

Test(batch, serves_the_earliest_deadline_first_and_equals_in_the_order_they_came)
{
    struct batch_queue *queue = queue_of(100, 0, 0);
    struct batch_entry late = job(1, 30 * MS, 1), early = job(1, 10 * MS, 1), second = job(1, 20 * MS, 1),
                       third = job(1, 20 * MS, 1);
    struct batch_piece pieces[8];
    uint32_t rows;
    add(queue, &late, 0);
    add(queue, &second, 0);
    add(queue, &third, 0);
    add(queue, &early, 0);
    cr_assert_eq(batch_take(queue, 8, pieces, 8, &rows), 4);
    cr_assert_eq(rows, 4);
    cr_piece(pieces[0], &early, 0, 1);
    cr_piece(pieces[1], &second, 0, 1);
    cr_piece(pieces[2], &third, 0, 1);
    cr_piece(pieces[3], &late, 0, 1);
    cr_assert_null(late.lane);
    drain(queue);
}

Test(batch, never_mixes_kinds_and_serves_the_kind_that_is_due_first)
{
    struct batch_queue *queue = queue_of(100, 0, 0);
    struct batch_entry a1 = job(1, 20 * MS, 1), b1 = job(2, 10 * MS, 2), a2 = job(1, 5 * MS, 3),
                       b2 = job(2, 40 * MS, 1);
    struct batch_piece pieces[8];
    uint32_t rows;
    add(queue, &a1, 0);
    add(queue, &b1, 0);
    add(queue, &a2, 0);
    add(queue, &b2, 0);
    cr_assert_eq(batch_take(queue, 100, pieces, 8, &rows), 2);
    cr_assert_eq(rows, 4);
    cr_piece(pieces[0], &a2, 0, 3);
    cr_piece(pieces[1], &a1, 0, 1);
    cr_assert_eq(batch_take(queue, 100, pieces, 8, &rows), 2);
    cr_assert_eq(rows, 3);
    cr_piece(pieces[0], &b1, 0, 2);
    cr_piece(pieces[1], &b2, 0, 1);
    cr_assert_eq(batch_take(queue, 100, pieces, 8, &rows), 0);
    cr_assert_eq(rows, 0);
    drain(queue);
}

Test(batch, tells_kinds_apart_by_both_words)
{
    struct batch_queue *queue = queue_of(100, 0, 0);
    struct batch_entry a = {.kind = {7, 1}, .deadline_us = 1, .n_rows = 1};
    struct batch_entry b = {.kind = {7, 2}, .deadline_us = 2, .n_rows = 1};
    struct batch_piece pieces[2];
    uint32_t rows;
    add(queue, &a, 0);
    add(queue, &b, 0);
    cr_assert_eq(batch_take(queue, 10, pieces, 2, &rows), 1);
    cr_piece(pieces[0], &a, 0, 1);
    drain(queue);
}

Test(batch, spreads_a_large_job_over_batches_in_order)
{
    struct batch_queue *queue = queue_of(100, 0, 0);
    struct batch_entry large = job(1, 10 * MS, 7), small = job(1, 20 * MS, 2);
    struct batch_piece pieces[4];
    uint32_t rows;
    add(queue, &large, 0);
    add(queue, &small, 0);
    cr_assert_eq(batch_take(queue, 3, pieces, 4, &rows), 1);
    cr_piece(pieces[0], &large, 0, 3);
    cr_assert_eq(batch_queued_rows(queue), 6);
    cr_assert_not_null(large.lane, "some of its rows still wait");
    cr_assert_eq(batch_take(queue, 3, pieces, 4, &rows), 1);
    cr_piece(pieces[0], &large, 3, 3);
    cr_assert_eq(batch_take(queue, 3, pieces, 4, &rows), 2);
    cr_assert_eq(rows, 3);
    cr_piece(pieces[0], &large, 6, 1);
    cr_piece(pieces[1], &small, 0, 2);
    drain(queue);
}

Test(batch, respects_the_room_for_pieces)
{
    struct batch_queue *queue = queue_of(100, 0, 0);
    struct batch_entry jobs[5];
    struct batch_piece pieces[3] = {{0}};
    uint32_t rows;
    for (int i = 0; i < 5; i++) {
        jobs[i] = job(1, (uint64_t)i, 2);
        add(queue, &jobs[i], 0);
    }
    cr_assert_eq(batch_take(queue, 100, pieces, 2, &rows), 2);
    cr_assert_eq(rows, 4);
    cr_assert_null(pieces[2].entry);
    cr_assert_eq(batch_queued_rows(queue), 6);
    cr_assert_eq(batch_take(queue, 100, pieces, 0, &rows), 0);
    drain(queue);
}

Test(batch, refuses_beyond_its_bound_but_lets_one_large_job_in_alone)
{
    struct batch_queue *queue = queue_of(10, 0, 0);
    struct batch_entry large = job(1, 10, 11), one = job(1, 10, 1), ten = job(2, 10, 10),
                       huge = job(1, 10, UINT32_MAX);
    add(queue, &large, 0);
    cr_assert_eq(batch_add(queue, &one, 0), GW_E_OVERLOAD);
    cr_assert_null(one.lane);
    batch_remove(queue, &large);
    add(queue, &ten, 0);
    cr_assert_eq(batch_add(queue, &one, 0), GW_E_OVERLOAD);
    cr_assert_eq(batch_add(queue, &huge, 0), GW_E_OVERLOAD, "the sum must not wrap around");
    batch_remove(queue, &ten);
    add(queue, &one, 0);
    cr_assert_eq(batch_queued_rows(queue), 1);
    drain(queue);
}

Test(batch, removes_what_is_left_and_forgives_a_second_time)
{
    struct batch_queue *queue = queue_of(100, 0, 0);
    struct batch_entry entry = job(1, 10, 5), other = job(1, 20, 1);
    struct batch_piece piece;
    uint32_t rows;
    add(queue, &entry, 0);
    add(queue, &other, 0);
    cr_assert_eq(batch_take(queue, 2, &piece, 1, &rows), 1);
    batch_remove(queue, &entry);
    cr_assert_eq(entry.taken, 2);
    cr_assert_eq(batch_queued_rows(queue), 1);
    batch_remove(queue, &entry);
    cr_assert_eq(batch_queued_rows(queue), 1);
    cr_assert_eq(batch_any(queue), &other);
    cr_assert_null(batch_any(queue));
    drain(queue);
}

Test(batch, hands_back_the_expired_of_all_kinds_earliest_first)
{
    struct batch_queue *queue = queue_of(100, 0, 0);
    struct batch_entry a = job(1, 30, 1), b = job(2, 10, 1), c = job(1, 20, 1);
    cr_assert_eq(batch_next_deadline(queue), UINT64_MAX);
    cr_assert_null(batch_expired(queue, UINT64_MAX));
    add(queue, &a, 0);
    add(queue, &b, 0);
    add(queue, &c, 0);
    cr_assert_eq(batch_next_deadline(queue), 10);
    cr_assert_null(batch_expired(queue, 9));
    cr_assert_eq(batch_expired(queue, 20), &b);
    cr_assert_eq(batch_expired(queue, 20), &c);
    cr_assert_null(batch_expired(queue, 20));
    cr_assert_eq(batch_next_deadline(queue), 30);
    drain(queue);
}

static bool decide(struct batch_queue *queue, uint32_t limit, uint64_t call_us, uint64_t now_us, int expected,
                   uint64_t expected_wake_us)
{
    enum batch_reason reason = BATCH_REASON_COUNT;
    uint64_t wake_us = 1;
    bool send = batch_decide(queue, limit, call_us, 0, now_us, &reason, &wake_us);
    cr_assert_eq((int)reason, send ? expected : BATCH_REASON_COUNT, "reason %d at %lu", reason, now_us);
    if (!send)
        cr_assert_eq(wake_us, expected_wake_us, "wakes at %lu, not %lu", wake_us, expected_wake_us);
    return send;
}

Test(batch, sends_to_an_idle_replica_at_once_when_nothing_is_to_be_waited_for)
{
    struct batch_queue *no_delay = queue_of(100, 0, 50), *no_rows = queue_of(100, 5 * MS, 0);
    struct batch_entry a = job(1, 10 * MS, 1), b = job(1, 10 * MS, 1);
    cr_assert_not(decide(no_delay, 8, 0, 0, 0, UINT64_MAX));
    add(no_delay, &a, 0);
    add(no_rows, &b, 0);
    cr_assert(decide(no_delay, 8, 0, 0, BATCH_IDLE, 0));
    cr_assert(decide(no_rows, 8, 0, 0, BATCH_IDLE, 0));
    cr_assert(decide(no_rows, 1, 0, 0, BATCH_FULL, 0));
    cr_assert(decide(no_rows, 8, 0, 20 * MS, BATCH_IDLE, 0));
    drain(no_delay);
    drain(no_rows);
}

Test(batch, waits_for_company_until_the_delay)
{
    struct batch_queue *queue = queue_of(100, 5 * MS, 4);
    struct batch_entry a = job(1, 100 * MS, 1), b = job(1, 90 * MS, 2), c = job(1, 95 * MS, 1);
    add(queue, &a, 10 * MS);
    cr_assert_not(decide(queue, 8, 2 * MS, 10 * MS, 0, 15 * MS));
    add(queue, &b, 12 * MS);
    cr_assert_not(decide(queue, 8, 2 * MS, 12 * MS, 0, 15 * MS));
    cr_assert_not(decide(queue, 8, 2 * MS, 15 * MS - 1, 0, 15 * MS));
    cr_assert(decide(queue, 8, 2 * MS, 15 * MS, BATCH_DELAY, 0));
    cr_assert(decide(queue, 3, 2 * MS, 12 * MS, BATCH_FULL, 0));
    batch_remove(queue, &a); /* now b is the oldest, since 12 ms */
    cr_assert_not(decide(queue, 8, 2 * MS, 15 * MS, 0, 17 * MS));
    add(queue, &a, 15 * MS);
    add(queue, &c, 15 * MS);
    cr_assert(decide(queue, 8, 2 * MS, 15 * MS, BATCH_IDLE, 0), "four rows are company enough");
    drain(queue);
}

Test(batch, does_not_wait_away_the_earliest_deadline)
{
    struct batch_queue *queue = queue_of(100, 50 * MS, 10);
    struct batch_entry a = job(1, 30 * MS, 1), b = job(2, 20 * MS, 1);
    add(queue, &a, 0);
    cr_assert_not(decide(queue, 8, 5 * MS, 0, 0, 25 * MS));
    add(queue, &b, 0);
    cr_assert_not(decide(queue, 8, 5 * MS, 0, 0, 15 * MS));
    cr_assert(decide(queue, 8, 5 * MS, 15 * MS, BATCH_DEADLINE, 0));
    cr_assert(decide(queue, 8, 40 * MS, 0, BATCH_DEADLINE, 0),
              "it cannot be met any more: all the more reason");
    cr_assert_not(decide(queue, 8, 0, 15 * MS, 0, 20 * MS), "an unknown call is taken for none");
    drain(queue);
}

Test(batch, is_full_only_by_rows_that_may_share_the_batch)
{
    struct batch_queue *queue = queue_of(100, 5 * MS, 50);
    struct batch_entry a = job(1, 90 * MS, 1), b = job(2, 95 * MS, 8);
    add(queue, &a, 0);
    add(queue, &b, 0);
    cr_assert_not(decide(queue, 8, 0, 0, 0, 5 * MS));
    batch_remove(queue, &a);
    cr_assert(decide(queue, 8, 0, 0, BATCH_FULL, 0));
    drain(queue);
}

Test(batch, has_a_name_for_every_reason)
{
    cr_assert_str_eq(batch_reason_name(BATCH_FULL), "full");
    cr_assert_str_eq(batch_reason_name(BATCH_IDLE), "idle");
    cr_assert_str_eq(batch_reason_name(BATCH_DELAY), "delay");
    cr_assert_str_eq(batch_reason_name(BATCH_DEADLINE), "deadline");
}

/* A client that makes every request a kind of its own. Were an operation linear in kinds, this would take
 * minutes. */
Test(batch, copes_with_a_hundred_thousand_kinds)
{
    enum { KINDS = 100000 };
    struct batch_queue *queue = queue_of(UINT32_MAX, 5 * MS, 10);
    struct batch_entry *jobs = calloc(KINDS, sizeof *jobs);
    struct batch_piece piece;
    uint64_t last = 0, wake_us;
    enum batch_reason reason;
    uint32_t rows, seen = 0;
    for (uint64_t i = 0; i < KINDS; i++) {
        jobs[i] = job(i, i * 7919 % KINDS + 1, 1);
        add(queue, &jobs[i], 0);
        cr_assert_not(batch_decide(queue, 8, 0, 0, 0, &reason, &wake_us));
    }
    for (uint64_t i = 0; i < KINDS; i += 3)
        batch_remove(queue, &jobs[i]);
    while (batch_take(queue, 8, &piece, 1, &rows)) {
        cr_assert_geq(piece.entry->deadline_us, last);
        last = piece.entry->deadline_us;
        seen++;
    }
    cr_assert_eq(seen, KINDS - (KINDS + 2) / 3);
    drain(queue);
    free(jobs);
}

/* --- a random driver against a list --- */

enum { MODEL_JOBS = 64, MODEL_STEPS = 200000, MODEL_BOUND = 120 };

struct model_job {
    struct batch_entry entry;
    bool queued;
    uint32_t taken;
    uint64_t arrival;
};

struct model {
    struct batch_queue *queue;
    struct model_job jobs[MODEL_JOBS];
    uint64_t arrivals, now_us;
    uint64_t random;
};

static uint32_t dice(struct model *model,
                     uint32_t sides) /* splitmix64: the same run for the same seed, everywhere */
{
    uint64_t z = model->random += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return (uint32_t)((z ^ z >> 31) % sides);
}

static uint32_t model_rows(const struct model *model)
{
    uint32_t rows = 0;
    for (int i = 0; i < MODEL_JOBS; i++)
        rows += model->jobs[i].queued ? model->jobs[i].entry.n_rows - model->jobs[i].taken : 0;
    return rows;
}

static bool model_due_before(const struct model_job *a, const struct model_job *b)
{
    return a->entry.deadline_us != b->entry.deadline_us ? a->entry.deadline_us < b->entry.deadline_us
                                                        : a->arrival < b->arrival;
}

static bool model_before(const struct model_job *a, const struct model_job *b)
{
    return a->entry.priority != b->entry.priority ? a->entry.priority < b->entry.priority
                                                  : model_due_before(a, b);
}

/* The queued job due first, whatever its priority. */
static struct model_job *model_due(struct model *model)
{
    struct model_job *first = NULL;
    for (int i = 0; i < MODEL_JOBS; i++) {
        struct model_job *each = &model->jobs[i];
        if (each->queued && (!first || model_due_before(each, first)))
            first = each;
    }
    return first;
}

/* The queued job served first, of this kind or (NULL) of any. */
static struct model_job *model_first(struct model *model, const uint64_t *kind)
{
    struct model_job *first = NULL;
    for (int i = 0; i < MODEL_JOBS; i++) {
        struct model_job *each = &model->jobs[i];
        if (each->queued && (!kind || each->entry.kind[0] == *kind) && (!first || model_before(each, first)))
            first = each;
    }
    return first;
}

/* What backlog and shares count is what waits. */
static void cr_counts(struct model *model)
{
    uint32_t rows[4][PRIORITY_COUNT] = {0};
    for (int i = 0; i < MODEL_JOBS; i++) {
        const struct model_job *each = &model->jobs[i];
        if (each->queued)
            rows[each->entry.endpoint][each->entry.priority] += each->entry.n_rows - each->taken;
    }
    const struct fair_shares *shares = batch_shares(model->queue);
    for (uint32_t priority = 0; priority < PRIORITY_COUNT; priority++) {
        uint32_t sum = 0;
        for (uint32_t endpoint = 0; endpoint < 4; endpoint++) {
            uint32_t at = endpoint * PRIORITY_COUNT + priority;
            cr_assert_eq(at < shares->count ? shares->at[at].rows : 0, rows[endpoint][priority]);
            sum += rows[endpoint][priority];
        }
        cr_assert_eq(batch_backlog(model->queue)->sum[priority], sum);
    }
}

static void step_add(struct model *model)
{
    struct model_job *chosen = &model->jobs[dice(model, MODEL_JOBS)];
    if (chosen->queued)
        return;
    uint64_t deadline_us = model->now_us + dice(model, 50);
    chosen->entry = job(dice(model, 5), deadline_us, 1 + dice(model, dice(model, 20) ? 6 : 200));
    chosen->entry.priority = (enum priority)dice(model, PRIORITY_COUNT);
    chosen->entry.endpoint = (uint32_t)dice(model, 4);
    uint32_t rows = model_rows(model);
    bool fits = rows == 0 || rows + chosen->entry.n_rows <= MODEL_BOUND;
    cr_assert_eq(batch_add(model->queue, &chosen->entry, model->now_us), fits ? GW_OK : GW_E_OVERLOAD);
    chosen->queued = fits;
    chosen->taken = 0;
    chosen->arrival = model->arrivals++;
}

static void step_take(struct model *model)
{
    struct batch_piece pieces[8];
    uint32_t limit = 1 + dice(model, 12), room = 1 + dice(model, 8), rows, sum = 0;
    struct model_job *first = model_first(model, NULL);
    uint32_t n = batch_take(model->queue, limit, pieces, room, &rows);
    cr_assert_leq(n, room);
    for (uint32_t i = 0; i < n; i++) {
        struct model_job *expected = model_first(model, &first->entry.kind[0]);
        uint32_t left = expected->entry.n_rows - expected->taken;
        cr_piece(pieces[i], &expected->entry, expected->taken, left < limit - sum ? left : limit - sum);
        expected->taken += pieces[i].count;
        expected->queued = expected->taken < expected->entry.n_rows;
        sum += pieces[i].count;
    }
    cr_assert_eq(rows, sum);
    bool more = first && model_first(model, &first->entry.kind[0]);
    cr_assert(!more || n == room || rows == limit,
              "a batch is cut short only by limit, room or lack of rows");
}

static void step_expire(struct model *model)
{
    model->now_us += dice(model, 20);
    struct model_job *first = model_due(model);
    struct batch_entry *expired = batch_expired(model->queue, model->now_us);
    bool due = first && first->entry.deadline_us <= model->now_us;
    cr_assert_eq(expired, due ? &first->entry : NULL);
    if (due)
        first->queued = false;
}

static void step_remove(struct model *model)
{
    struct model_job *chosen = &model->jobs[dice(model, MODEL_JOBS)];
    batch_remove(model->queue, &chosen->entry);
    chosen->queued = false;
}

static void step_decide(struct model *model)
{
    uint64_t oldest_us = UINT64_MAX, wake_us;
    uint32_t rows = 0, limit = 1 + dice(model, 12);
    struct model_job *first = model_first(model, NULL), *earliest = model_due(model);
    for (int i = 0; i < MODEL_JOBS; i++) {
        const struct model_job *each = &model->jobs[i];
        if (each->queued && each->entry.queued_us < oldest_us)
            oldest_us = each->entry.queued_us;
        if (each->queued && each->entry.kind[0] == first->entry.kind[0])
            rows += each->entry.n_rows - each->taken;
    }
    enum batch_reason reason;
    bool send = batch_decide(model->queue, limit, 3, 0, model->now_us, &reason, &wake_us);
    bool due = first && (oldest_us + 10 <= model->now_us || earliest->entry.deadline_us <= model->now_us + 3);
    cr_assert_eq(send, first && (rows >= limit || rows >= 9 || due));
    if (send)
        cr_assert_eq(reason == BATCH_FULL, rows >= limit);
    else if (first)
        cr_assert(wake_us > model->now_us && wake_us <= oldest_us + 10 &&
                  wake_us + 3 <= earliest->entry.deadline_us);
}

Test(batch, serves_priorities_in_their_order_and_fills_up_with_lower_ones)
{
    struct batch_queue *queue = queue_of(100, 0, 0);
    struct batch_entry low = job(1, 10 * MS, 2), high = job(1, 30 * MS, 2), other = job(2, 5 * MS, 2);
    struct batch_piece pieces[8];
    uint32_t rows;
    low.priority = PRIORITY_BATCH;
    other.priority = PRIORITY_NORMAL;
    high.priority = PRIORITY_HIGH;
    add(queue, &low, 0);
    add(queue, &other, 0);
    add(queue, &high, 0);
    cr_assert_eq(batch_next_deadline(queue), 5 * MS);
    cr_assert_eq(batch_take(queue, 3, pieces, 8, &rows), 2);
    cr_piece(pieces[0], &high, 0, 2);
    cr_piece(pieces[1], &low, 0, 1); /* of the same kind; the other has to wait for its turn */
    cr_assert_eq(batch_take(queue, 8, pieces, 8, &rows), 1);
    cr_piece(pieces[0], &other, 0, 2);
    cr_assert_eq(batch_take(queue, 8, pieces, 8, &rows), 1);
    cr_piece(pieces[0], &low, 1, 1);
    drain(queue);
}

Test(batch, holds_back_what_is_worth_waiting_for_but_not_a_full_batch_nor_past_a_deadline)
{
    struct batch_queue *queue = queue_of(100, 0, 0);
    struct batch_entry a = job(1, 10 * MS, 2);
    enum batch_reason reason;
    uint64_t wake_us;
    add(queue, &a, 0);
    cr_assert_not(batch_decide(queue, 8, 2 * MS, 5 * MS, 1 * MS, &reason, &wake_us));
    cr_assert_eq(wake_us, 5 * MS);
    cr_assert_not(batch_decide(queue, 8, 2 * MS, 20 * MS, 1 * MS, &reason, &wake_us));
    cr_assert_eq(wake_us, 8 * MS);
    cr_assert(batch_decide(queue, 8, 2 * MS, 20 * MS, 8 * MS, &reason, &wake_us));
    cr_assert_eq(reason, BATCH_DEADLINE);
    cr_assert(batch_decide(queue, 2, 2 * MS, 20 * MS, 1 * MS, &reason, &wake_us));
    cr_assert_eq(reason, BATCH_FULL);
    cr_assert(batch_decide(queue, 8, 2 * MS, 5 * MS, 5 * MS, &reason, &wake_us));
    cr_assert_eq(reason, BATCH_IDLE);
    drain(queue);
}

Test(batch, agrees_with_a_list_over_random_steps)
{
    static void (*const steps[])(struct model *) = {step_add,    step_add,    step_add,   step_take,
                                                    step_expire, step_remove, step_decide};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        static struct model model;
        model = (struct model){.random = seed, .queue = queue_of(MODEL_BOUND, 10, 9)};
        for (int i = 0; i < MODEL_STEPS; i++) {
            steps[dice(&model, sizeof steps / sizeof steps[0])](&model);
            const struct model_job *first = model_due(&model);
            cr_assert_eq(batch_queued_rows(model.queue), model_rows(&model));
            cr_assert_eq(batch_next_deadline(model.queue), first ? first->entry.deadline_us : UINT64_MAX);
            cr_counts(&model);
        }
        drain(model.queue);
    }
}

Test(batch, is_cut_by_bytes_but_never_below_one_row)
{
    struct batch_queue *queue =
        batch_queue_new(&(struct batch_limits){.max_queued_rows = 100, .max_bytes = 1000});
    struct batch_entry small = job(1, 10 * MS, 3), large = job(1, 20 * MS, 2), huge = job(1, 30 * MS, 2);
    struct batch_piece pieces[8];
    uint32_t rows;
    small.row_bytes = 200;
    large.row_bytes = 300;
    huge.row_bytes = 1001;
    add(queue, &small, 0);
    add(queue, &large, 0);
    add(queue, &huge, 0);
    cr_assert_eq(batch_take(queue, 8, pieces, 8, &rows), 2);
    cr_assert_eq(rows, 4);
    cr_piece(pieces[0], &small, 0, 3);
    cr_piece(pieces[1], &large, 0, 1);
    cr_assert_eq(batch_take(queue, 8, pieces, 8, &rows), 1);
    cr_piece(pieces[0], &large, 1, 1);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(batch_take(queue, 8, pieces, 8, &rows), 1);
        cr_piece(pieces[0], &huge, i, 1);
    }
    drain(queue);
}
