/*
 * rpc_attend: whether the loop should look for replies rather than sleep until one wakes it. Pure; time passed in.
 * Internal to rpc*.c.
 *
 * A wake-up costs more than a quick replica's whole answer. So while a reply is expected within microseconds, the loop
 * looks and looks again; the price is a busy core meanwhile, so it lasts only as long as a reply is not overdue.
 */
#ifndef XEBEC_REPLICA_RPC_ATTEND_H
#define XEBEC_REPLICA_RPC_ATTEND_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: nothing is expected. */
struct rpc_attend {
    uint32_t expected; /* calls that are out */
    uint64_t until_us; /* when the last of the quick ones is overdue */
};

/* A call was sent, whose reply is usual after usual_us; 0: nobody knows. Every call is told once it ended. */
void rpc_attend_expect(struct rpc_attend *attend, uint64_t now_us, uint64_t usual_us);
void rpc_attend_ended(struct rpc_attend *attend);
bool rpc_attend_pays(const struct rpc_attend *attend, uint64_t now_us);

/* What is usual after one more call, which took so long: an average that forgets. 0: nothing is known yet. */
uint64_t rpc_attend_learn(uint64_t usual_us, uint64_t took_us);

#endif
