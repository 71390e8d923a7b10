/* The loop: tasks from here and from other threads, timers that change one another, deferred frees. */
#include "support/loop.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct loop *loop;

static void setup(void)
{
    loop = loop_new();
    cr_assert_not_null(loop);
}

static void teardown(void)
{
    loop_free(loop);
}

TestSuite(loop, .init = setup, .fini = teardown);

/* What ran, in order. */
static char story[4096];

struct named_task {
    struct loop_task task;
    char name;
    void (*also)(void);
};

static void tell(char name)
{
    size_t length = strlen(story);
    cr_assert_lt(length + 1, sizeof story);
    story[length] = name;
}

static void task_tells(struct loop_task *task)
{
    struct named_task *named = container_of(task, struct named_task, task);
    tell(named->name);
    if (named->also)
        named->also();
}

static void stop(void)
{
    loop_stop(loop);
}

static struct named_task a = {{.run = task_tells}, 'a', NULL}, b = {{.run = task_tells}, 'b', NULL},
                         c = {{.run = task_tells}, 'c', NULL}, last = {{.run = task_tells}, '.', stop};

/* --- tasks --- */

static void post_b_c_and_last(void)
{
    loop_post(loop, &b.task);
    loop_post(loop, &c.task);
    loop_post(loop, &last.task);
}

Test(loop, runs_posted_tasks_in_order)
{
    a.also = post_b_c_and_last;
    loop_post(loop, &a.task);
    loop_run(loop);
    cr_assert_str_eq(story, "abc.");
}

static int rounds;

static void post_a_again(void)
{
    if (++rounds < 1000)
        loop_post(loop, &a.task); /* the task is ours again once it runs */
    else
        loop_stop(loop);
}

Test(loop, a_task_may_post_itself)
{
    a.also = post_a_again;
    loop_post(loop, &a.task);
    loop_run(loop);
    cr_assert_eq(rounds, 1000);
}

static bool timer_ran;

static void timer_stops(struct loop_timer *timer)
{
    (void)timer;
    timer_ran = true;
    loop_stop(loop);
}

static void post_again_until_timer(struct loop_task *task)
{
    if (!timer_ran)
        loop_post(loop, task);
}

Test(loop, tasks_that_post_themselves_do_not_starve_timers)
{
    struct loop_timer timer = {.fire = timer_stops};
    struct loop_task task = {.run = post_again_until_timer};
    loop_post(loop, &task);
    cr_assert_eq(loop_timer_set(loop, &timer, loop_now_us() + 1000), GW_OK);
    loop_run(loop);
    cr_assert(timer_ran);
}

static void post_b_and_last(struct loop_timer *timer)
{
    (void)timer;
    loop_post(loop, &b.task);
    loop_post(loop, &last.task);
}

Test(loop, what_was_posted_before_it_ran_comes_first)
{
    struct loop_timer timer = {.fire = post_b_and_last};
    loop_post(loop, &a.task);
    cr_assert_eq(loop_timer_set(loop, &timer, 0), GW_OK);
    loop_run(loop);
    cr_assert_str_eq(story, "ab.");
}

Test(loop, can_be_stopped_before_it_runs_and_run_again)
{
    loop_stop(loop);
    loop_run(loop);
    loop_post(loop, &last.task);
    loop_run(loop);
    cr_assert_str_eq(story, ".");
}

Test(loop, runs_what_is_left_when_it_is_freed)
{
    struct loop *other = loop_new();
    loop_post(other, &a.task);
    loop_post(other, &b.task);
    loop_free(other);
    cr_assert_str_eq(story, "ab");
}

enum { POSTERS = 4, POSTS = 20000 };

struct numbered_task {
    struct loop_task task;
    int poster, number;
};

static int next_number[POSTERS], n_ran;

static void task_counts(struct loop_task *task)
{
    struct numbered_task *numbered = container_of(task, struct numbered_task, task);
    cr_assert_eq(numbered->number, next_number[numbered->poster], "poster %d is out of order",
                 numbered->poster);
    next_number[numbered->poster]++;
    if (++n_ran == POSTERS * POSTS)
        loop_stop(loop);
    free(numbered);
}

static void *posts_many(void *which)
{
    for (int i = 0; i < POSTS; i++) {
        struct numbered_task *numbered = malloc(sizeof *numbered);
        *numbered = (struct numbered_task){{.run = task_counts}, (int)(intptr_t)which, i};
        loop_post(loop, &numbered->task);
        if (i % 1000 == 0) /* let the loop fall asleep now and then: a lost wake-up would hang it */
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return NULL;
}

Test(loop, loses_no_post_of_four_threads_and_keeps_the_order_of_each)
{
    pthread_t threads[POSTERS];
    for (intptr_t i = 0; i < POSTERS; i++)
        pthread_create(&threads[i], NULL, posts_many, (void *)i);
    loop_run(loop);
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(n_ran, POSTERS * POSTS);
}

/* Two loops throw one task to and fro: each catch is a wake-up that must not be lost. */
struct ball {
    struct loop_task task;
    struct loop *at[2];
    int throws;
};

static void throw_back(struct loop_task *task)
{
    struct ball *ball = container_of(task, struct ball, task);
    int throws = ++ball->throws;
    if (throws <= 10000) {
        loop_post(ball->at[throws & 1], task);
    } else {
        loop_stop(ball->at[0]);
        loop_stop(ball->at[1]);
    }
}

static void *runs_loop(void *owner)
{
    loop_run(owner);
    return NULL;
}

Test(loop, wakes_another_loop_every_time)
{
    struct ball ball = {.task.run = throw_back, .at = {loop, loop_new()}};
    pthread_t thread;
    pthread_create(&thread, NULL, runs_loop, ball.at[1]);
    loop_post(loop, &ball.task);
    loop_run(loop);
    pthread_join(thread, NULL);
    cr_assert_eq(ball.throws, 10001);
    loop_free(ball.at[1]);
}

/* --- timers --- */

enum { TIMERS = 500 };

struct numbered_timer {
    struct loop_timer timer;
    uint64_t due_us;
    bool fired;
};

static struct numbered_timer timers[TIMERS];
static uint64_t last_due_us;
static int n_fired, n_expected;

static void timer_in_order(struct loop_timer *timer)
{
    struct numbered_timer *numbered = container_of(timer, struct numbered_timer, timer);
    cr_assert_not(numbered->fired, "fires once");
    cr_assert_not(loop_timer_is_set(timer));
    cr_assert_geq(loop_now_us(), numbered->due_us, "never early");
    cr_assert_geq(numbered->due_us, last_due_us, "earliest first");
    last_due_us = numbered->due_us;
    numbered->fired = true;
    if (++n_fired == n_expected)
        loop_stop(loop);
}

static void timer_set(struct numbered_timer *numbered, uint64_t due_us)
{
    numbered->due_us = due_us;
    numbered->timer.fire = timer_in_order;
    cr_assert_eq(loop_timer_set(loop, &numbered->timer, due_us), GW_OK);
    cr_assert(loop_timer_is_set(&numbered->timer));
}

Test(loop, fires_timers_in_order_after_moves_and_cancels)
{
    uint64_t start_us = loop_now_us() + 5000, random = 1;
    for (int i = 0; i < TIMERS; i++) {
        random = random * 6364136223846793005 + 1442695040888963407;
        timer_set(&timers[i], start_us + (random >> 33) % 20000);
    }
    for (int i = 0; i < TIMERS; i += 3)
        timer_set(&timers[i], start_us + (uint64_t)(TIMERS - i) * 40); /* moved, to and fro */
    n_expected = TIMERS;
    for (int i = 1; i < TIMERS; i += 5, n_expected--) {
        loop_timer_cancel(loop, &timers[i].timer);
        loop_timer_cancel(loop, &timers[i].timer);
        cr_assert_not(loop_timer_is_set(&timers[i].timer));
    }
    loop_run(loop);
    for (int i = 0; i < TIMERS; i++)
        cr_assert_eq(timers[i].fired, i % 5 != 1, "timer %d", i);
}

static struct loop_timer first, second, third;

static void first_fires(struct loop_timer *timer)
{
    tell('1');
    loop_timer_cancel(loop, &second);                   /* due now as well */
    (void)!loop_timer_set(loop, &third, loop_now_us()); /* brought forward */
    loop_timer_cancel(loop, timer);                     /* itself: harmless */
}

static void second_fires(struct loop_timer *timer)
{
    (void)timer;
    tell('2');
}

static void third_fires(struct loop_timer *timer)
{
    static int times;
    tell('3');
    if (++times < 3)
        (void)!loop_timer_set(loop, timer, loop_now_us() + 100); /* sets itself again */
    else
        loop_stop(loop);
}

Test(loop, timers_may_cancel_move_and_set_one_another_while_firing)
{
    uint64_t now_us = loop_now_us();
    first.fire = first_fires;
    second.fire = second_fires;
    third.fire = third_fires;
    cr_assert_eq(loop_timer_set(loop, &first, now_us), GW_OK);
    cr_assert_eq(loop_timer_set(loop, &second, now_us + 1), GW_OK);
    cr_assert_eq(loop_timer_set(loop, &third, now_us + 3600000000ULL), GW_OK);
    loop_run(loop);
    cr_assert_str_eq(story, "1333");
}

static int n_fired_for_the_past;

static void fires_for_the_past(struct loop_timer *timer)
{
    cr_assert_lt(++n_fired_for_the_past, 100000, "tasks never get their turn");
    (void)!loop_timer_set(loop, timer, 0);
}

Test(loop, a_timer_set_again_for_the_past_does_not_starve_the_loop)
{
    struct loop_timer timer = {.fire = fires_for_the_past};
    cr_assert_eq(loop_timer_set(loop, &timer, 0), GW_OK);
    loop_post(loop, &last.task);
    loop_run(loop);
    cr_assert_gt(n_fired_for_the_past, 0);
    loop_timer_cancel(loop, &timer);
}

Test(loop, sleeps_when_there_is_nothing_to_do)
{
    struct loop_timer timer = {.fire = timer_stops};
    struct timespec before, after;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    cr_assert_eq(loop_timer_set(loop, &timer, loop_now_us() + 200000), GW_OK);
    loop_run(loop);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    int64_t cpu_us = (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
    cr_assert_lt(cpu_us, 20000, "%ld us of CPU for 200 ms of waiting", cpu_us);
}

/* --- frees --- */

struct thing {
    struct loop_deferred deferred;
    struct loop_task task;
};

static void thing_free(struct loop_deferred *node)
{
    tell('f');
    free(container_of(node, struct thing, deferred));
}

static void thing_dies(struct loop_task *task)
{
    struct thing *thing = container_of(task, struct thing, task);
    tell('d');
    loop_defer_free(loop, &thing->deferred);
    loop_post(loop, &last.task);
    tell('e');
    cr_assert_eq(thing->task.run, thing_dies, "still there, inside its own callback");
}

Test(loop, frees_at_the_end_of_the_turn)
{
    struct thing *thing = calloc(1, sizeof *thing);
    thing->task.run = thing_dies;
    thing->deferred.free_fn = thing_free;
    loop_post(loop, &thing->task);
    loop_run(loop);
    cr_assert_str_eq(story, "de.f");
}
