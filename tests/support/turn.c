/* turn: a timer that looks, and stops the loop. */
#include "turn.h"

#include <stddef.h>
#include <stdlib.h>

struct turn {
    struct loop_timer timer;
    struct loop *loop;
    bool (*is_true)(void *what);
    void *what;
    uint64_t end_us;
    bool was_true;
};

static void look(struct loop_timer *timer)
{
    struct turn *turn = container_of(timer, struct turn, timer);
    uint64_t now_us = loop_now_us();
    turn->was_true = turn->is_true(turn->what);
    if (turn->was_true || now_us >= turn->end_us)
        loop_stop(turn->loop);
    else if (loop_timer_set(turn->loop, timer, now_us + 1000) != GW_OK)
        abort();
}

bool turn_until(struct loop *loop, bool (*is_true)(void *what), void *what, unsigned within_ms)
{
    struct turn turn = {.timer.fire = look,
                        .loop = loop,
                        .is_true = is_true,
                        .what = what,
                        .end_us = loop_now_us() + within_ms * UINT64_C(1000)};
    if (loop_timer_set(loop, &turn.timer, 0) != GW_OK)
        abort();
    loop_run(loop);
    return turn.was_true;
}

static bool never(void *what)
{
    (void)what;
    return false;
}

void turn_for(struct loop *loop, unsigned ms)
{
    turn_until(loop, never, NULL, ms);
}
