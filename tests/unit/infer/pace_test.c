/* Who is let in, who gives way, and when a batch goes; a replica that takes 1 ms and 100 us a row. */
#include "infer/pace.h"

#include <criterion/criterion.h>

#define MS  1000ULL
#define NOW (1000 * MS)
#define SLO (20 * MS)

static struct pace pace_of(enum batching_policy policy)
{
    struct pace pace;
    const struct config_batching batching = {
        .policy = policy, .max_rows = 50, .max_queued_rows = 10000, .calls = 2, .admission = true};
    cr_assert_eq(pace_init(&pace, &batching, SLO, 0), GW_OK);
    for (uint32_t i = 0; i < 400; i++) {
        uint32_t rows = 1 + i % 50;
        pace_learn(&pace,
                   &(struct batch_observation){rows, rows, 1 * MS + 100 * rows, 1 * MS + 100 * rows, 1}, 0);
    }
    return pace;
}

static struct busy_outlook outlook_of(uint64_t start_us)
{
    return (struct busy_outlook){.ready = 1, .max_rows = UINT32_MAX, .start_us = start_us, .slowness = 1};
}

static struct batch_entry job(uint32_t endpoint, enum priority priority, uint32_t rows)
{
    return (struct batch_entry){
        .deadline_us = NOW + SLO, .n_rows = rows, .priority = priority, .endpoint = endpoint, .weight = 1};
}

static void empty(struct pace *pace)
{
    while (batch_any(pace->queue)) {
    }
    pace_clear(pace);
}

/* Lets jobs of one row in until one is refused; returns how many were let in. None gives way. */
static uint32_t fill(struct pace *pace, struct batch_entry *jobs, uint32_t room, uint32_t endpoint,
                     enum priority priority)
{
    struct busy_outlook outlook = outlook_of(NOW + 5 * MS);
    struct pace_verdict verdict;
    for (uint32_t i = 0; i < room; i++) {
        jobs[i] = job(endpoint, priority, 1);
        if (pace_arrive(pace, &jobs[i], &outlook, NOW, &verdict) != GW_OK) {
            cr_assert_geq(verdict.retry_us, SLO - 5 * MS);
            return i;
        }
        cr_assert_eq(verdict.n_yielding, 0);
    }
    return room;
}

Test(pace, lets_in_what_is_in_time_and_refuses_the_rest)
{
    static struct batch_entry jobs[1000];
    struct pace pace = pace_of(BATCHING_ADAPTIVE);
    uint32_t n = fill(&pace, jobs, 1000, 0, PRIORITY_NORMAL);
    /* 15 ms but for the margin: two full batches of 50 and a few rows more, at most */
    cr_assert(n >= 80 && n <= 140, "%u rows", n);
    empty(&pace);
}

Test(pace, lets_everybody_in_who_finds_a_replica_idle_or_a_model_unknown)
{
    static struct batch_entry jobs[1000];
    struct pace pace = pace_of(BATCHING_ADAPTIVE);
    struct busy_outlook idle = outlook_of(NOW), busy = outlook_of(NOW + 500 * MS);
    struct pace_verdict verdict;
    struct batch_entry hopeless = job(0, PRIORITY_NORMAL, 1), refused = job(0, PRIORITY_NORMAL, 1);
    hopeless.deadline_us = NOW + 10;
    cr_assert_eq(pace_arrive(&pace, &refused, &busy, NOW, &verdict), GW_E_OVERLOAD);
    cr_assert_eq(pace_arrive(&pace, &hopeless, &idle, NOW, &verdict), GW_OK);
    empty(&pace);
    const struct config_batching batching = {
        .policy = BATCHING_ADAPTIVE, .max_rows = 50, .max_queued_rows = 900, .calls = 2, .admission = true};
    cr_assert_eq(pace_init(&pace, &batching, SLO, 0), GW_OK);
    for (int i = 0; i < 900; i++) {
        jobs[i] = job(0, PRIORITY_NORMAL, 1);
        cr_assert_eq(pace_arrive(&pace, &jobs[i], &busy, NOW, &verdict), GW_OK);
    }
    jobs[900] = job(0, PRIORITY_NORMAL, 1);
    cr_assert_eq(pace_arrive(&pace, &jobs[900], &busy, NOW, &verdict), GW_E_OVERLOAD, "but for a full queue");
    empty(&pace);
}

/* One row that found a replica idle, and was late all the same, says nothing of those that are judged. */
Test(pace, only_who_was_judged_can_be_misjudged)
{
    struct pace pace = pace_of(BATCHING_ADAPTIVE);
    struct busy_outlook idle = outlook_of(NOW), busy = outlook_of(NOW + 5 * MS);
    struct pace_verdict verdict;
    struct batch_entry unjudged = job(0, PRIORITY_NORMAL, 1), judged = job(0, PRIORITY_NORMAL, 1);
    cr_assert_eq(pace_arrive(&pace, &unjudged, &idle, NOW, &verdict), GW_OK);
    cr_assert_eq(pace_arrive(&pace, &judged, &busy, NOW, &verdict), GW_OK);
    cr_expect_not(pace_is_misjudged(&pace, &unjudged, NOW + 2 * SLO));
    cr_expect_not(pace_is_misjudged(&pace, &judged, NOW + SLO / 2));
    cr_expect(pace_is_misjudged(&pace, &judged, NOW + 2 * SLO));
    empty(&pace);
}

Test(pace, lets_everybody_in_where_admission_is_off)
{
    struct pace pace = pace_of(BATCHING_ADAPTIVE);
    struct busy_outlook busy = outlook_of(NOW + 500 * MS);
    struct pace_verdict verdict;
    struct batch_entry entry = job(0, PRIORITY_NORMAL, 1);
    pace.admits = false;
    cr_assert_eq(pace_arrive(&pace, &entry, &busy, NOW, &verdict), GW_OK);
    empty(&pace);
}

Test(pace, lower_priorities_give_way_the_newest_first)
{
    static struct batch_entry jobs[1000];
    struct pace pace = pace_of(BATCHING_ADAPTIVE);
    uint32_t n = fill(&pace, jobs, 1000, 0, PRIORITY_NORMAL);
    struct busy_outlook outlook = outlook_of(NOW + 5 * MS);
    struct pace_verdict verdict;
    struct batch_entry high = job(0, PRIORITY_HIGH, 1), low = job(1, PRIORITY_BATCH, 1);
    cr_assert_eq(pace_arrive(&pace, &high, &outlook, NOW, &verdict), GW_OK);
    cr_assert_eq(verdict.n_yielding, 0, "goes before them all; whether they are late is not asked");
    cr_assert_eq(pace_arrive(&pace, &low, &outlook, NOW, &verdict), GW_E_OVERLOAD);
    cr_assert_eq(batch_queued_rows(pace.queue), n + 1);
    empty(&pace);
}

/* Nothing is known of the model yet, or nobody asks whether rows are late: what is left to be shared out is
 * room. */
Test(pace, a_full_queue_is_shared_by_the_same_rules)
{
    static struct batch_entry jobs[12];
    struct pace pace;
    const struct config_batching batching = {.max_rows = 4, .max_queued_rows = 10, .calls = 2};
    struct busy_outlook outlook = outlook_of(NOW);
    struct pace_verdict verdict;
    cr_assert_eq(pace_init(&pace, &batching, SLO, 0), GW_OK);
    for (int i = 0; i < 5; i++) {
        jobs[i] = job(0, PRIORITY_BATCH, 2);
        cr_assert_eq(pace_arrive(&pace, &jobs[i], &outlook, NOW, &verdict), GW_OK);
    }
    jobs[5] = job(0, PRIORITY_BATCH, 1);
    cr_assert_eq(pace_arrive(&pace, &jobs[5], &outlook, NOW, &verdict), GW_E_OVERLOAD);
    cr_assert_eq(verdict.refusal, PACE_FULL);
    cr_assert_eq(verdict.retry_us, 0);
    jobs[6] = job(0, PRIORITY_HIGH, 3);
    cr_assert_eq(pace_arrive(&pace, &jobs[6], &outlook, NOW, &verdict), GW_OK);
    cr_assert_eq(verdict.n_yielding, 2, "of two rows each, for three");
    cr_assert_eq(verdict.yielding[0], &jobs[4]);
    cr_assert_eq(verdict.yielding[1], &jobs[3]);
    cr_assert_eq(batch_queued_rows(pace.queue), 9);
    jobs[7] = job(1, PRIORITY_BATCH, 2);
    cr_assert_eq(pace_arrive(&pace, &jobs[7], &outlook, NOW, &verdict), GW_OK, "another endpoint's share");
    cr_assert_eq(verdict.n_yielding, 1);
    cr_assert_eq(verdict.yielding[0], &jobs[2]);
    jobs[8] = job(1, PRIORITY_HIGH, 11);
    cr_assert_eq(pace_arrive(&pace, &jobs[8], &outlook, NOW, &verdict), GW_E_OVERLOAD);
    cr_assert_eq(verdict.n_yielding, 0, "more than all of it");
    cr_assert_eq(batch_queued_rows(pace.queue), 9);
    empty(&pace);
}

Test(pace, shares_follow_the_weights_when_not_all_can_be_served)
{
    static struct batch_entry flood[1000], small[1000];
    struct pace pace = pace_of(BATCHING_ADAPTIVE);
    struct busy_outlook outlook = outlook_of(NOW + 5 * MS);
    struct pace_verdict verdict;
    uint32_t n = fill(&pace, flood, 1000, 0, PRIORITY_NORMAL), in = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        small[i] = job(1, PRIORITY_NORMAL, 1);
        small[i].weight = 3;
        if (pace_arrive(&pace, &small[i], &outlook, NOW, &verdict) != GW_OK)
            break;
        cr_assert_eq(verdict.n_yielding, 1);
        cr_assert_eq(verdict.yielding[0], &flood[n - 1 - i], "the newest of the flood");
        cr_assert_null(verdict.yielding[0]->lane);
        in++;
    }
    cr_assert(in >= n * 3 / 4 - 1 && in <= n * 3 / 4 + 1, "%u of %u rows at three to one", in, n);
    cr_assert_eq(batch_queued_rows(pace.queue), n, "nothing is left unused");
    struct batch_entry again = job(0, PRIORITY_NORMAL, 1);
    cr_assert_eq(pace_arrive(&pace, &again, &outlook, NOW, &verdict), GW_E_OVERLOAD, "no way back");
    empty(&pace);
}

Test(pace, nobody_gives_way_in_vain)
{
    static struct batch_entry jobs[1000];
    struct pace pace = pace_of(BATCHING_ADAPTIVE);
    struct busy_outlook outlook = outlook_of(NOW + 5 * MS);
    struct pace_verdict verdict;
    uint32_t n = fill(&pace, jobs, 1000, 0, PRIORITY_NORMAL);
    struct batch_entry hopeless = job(1, PRIORITY_NORMAL, 1);
    hopeless.deadline_us = NOW + 5 * MS + 100;
    cr_assert_eq(pace_arrive(&pace, &hopeless, &outlook, NOW, &verdict), GW_E_OVERLOAD);
    cr_assert_eq(verdict.n_yielding, 0);
    cr_assert_eq(batch_queued_rows(pace.queue), n);
    empty(&pace);
}

Test(pace, sends_at_once_to_an_idle_replica_and_just_in_time_to_a_busy_one)
{
    struct pace pace = pace_of(BATCHING_ADAPTIVE);
    struct busy_outlook idle = outlook_of(NOW), busy = outlook_of(NOW + 4 * MS);
    struct pace_verdict verdict;
    struct batch_entry entry = job(0, PRIORITY_NORMAL, 3);
    uint32_t limit;
    uint64_t wake_us;
    enum batch_reason reason;
    cr_assert_not(pace_next(&pace, &idle, NOW, &limit, &reason, &wake_us));
    cr_assert_eq(wake_us, UINT64_MAX);
    cr_assert_eq(pace_arrive(&pace, &entry, &idle, NOW, &verdict), GW_OK);
    cr_assert_not(pace_next(&pace, &busy, NOW, &limit, &reason, &wake_us));
    cr_assert(wake_us > NOW + 3 * MS && wake_us < NOW + 4 * MS, "at %llu",
              (unsigned long long)(wake_us - NOW));
    busy.start_us = busy.given_up_us = NOW + 900 * MS;
    cr_assert_not(pace_next(&pace, &busy, NOW, &limit, &reason, &wake_us));
    cr_assert(wake_us > NOW + 890 * MS && wake_us < NOW + 900 * MS, "at %llu",
              (unsigned long long)(wake_us - NOW));
    cr_assert(pace_next(&pace, &idle, NOW, &limit, &reason, &wake_us));
    cr_assert_eq(reason, BATCH_IDLE);
    cr_assert_geq(limit, 3);
    idle.max_rows = 2;
    cr_assert(pace_next(&pace, &idle, NOW, &limit, &reason, &wake_us));
    cr_assert_eq(limit, 2, "no more than a replica takes");
    cr_assert_eq(reason, BATCH_FULL);
    empty(&pace);
}

Test(pace, quick_calls_go_to_idle_replicas_alone)
{
    struct pace pace = pace_of(BATCHING_AIMD);
    cr_assert_not(pace_needs_idle(&pace));
    for (int i = 0; i < 50; i++)
        pace_learn(&pace, &(struct batch_observation){1, 1, 100, 100, 1}, 0);
    cr_assert(pace_needs_idle(&pace));
    pace.policy.calls = 4;
    cr_assert_not(pace_needs_idle(&pace));
    empty(&pace);
}
