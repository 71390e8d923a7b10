/* rpc_attend: two numbers, and when they are worth a busy core. */
#include "replica/rpc_attend.h"

/* Replies slower than this are waited for asleep: a wake-up is small beside them. */
enum { ATTEND_MAX_US = 150 };
/* A quick reply is overdue after twice the usual time, and this. */
enum { OVERDUE_US = 30 };

void rpc_attend_expect(struct rpc_attend *attend, uint64_t now_us, uint64_t usual_us)
{
    attend->expected++;
    if (!usual_us || usual_us > ATTEND_MAX_US)
        return;
    uint64_t overdue_us = now_us + 2 * usual_us + OVERDUE_US;
    if (overdue_us > attend->until_us)
        attend->until_us = overdue_us;
}

void rpc_attend_ended(struct rpc_attend *attend)
{
    attend->expected--;
}

bool rpc_attend_pays(const struct rpc_attend *attend, uint64_t now_us)
{
    return attend->expected && now_us < attend->until_us;
}

/* An eighth of it is the newest. */
uint64_t rpc_attend_learn(uint64_t usual_us, uint64_t took_us)
{
    return usual_us ? (7 * usual_us + took_us) / 8 : took_us;
}
