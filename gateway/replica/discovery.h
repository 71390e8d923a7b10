/*
 * discovery: asks for the addresses of a version's dns: names, again and again. Knows names and answers, no replicas
 * (members.h makes those of them). Belongs to its loop.
 *
 * A name is asked for every interval, a little earlier or later by chance, so that gateways that started together do not
 * ask together; every 250 ms while the owner says that it is in want; and soon after discovery_hurry().
 */
#ifndef XEBEC_REPLICA_DISCOVERY_H
#define XEBEC_REPLICA_DISCOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "support/err.h"
#include "support/loop.h"
#include "support/resolve.h"

struct discovery;

struct discovery_setup {
    struct loop *loop;
    struct resolver *resolver;
    uint64_t interval_us;
    const char *const *addresses; /* those that are "dns:NAME:PORT" are asked for; borrowed */
    uint32_t n_addresses;
    /*
     * An answer to addresses[index], or that there was none; on the loop, never inside a function of this header.
     * Returns whether the name is in want of a replica.
     */
    bool (*answered)(void *owner, uint32_t index, const struct resolve_answer *answer);
    void *owner;
};

bool discovery_is_name(const char *address); /* "dns:NAME:PORT" */

struct discovery *discovery_new(const struct discovery_setup *setup) GW_MUST_CHECK; /* asks at once; NULL: out of memory */
void discovery_free(struct discovery *discovery); /* not from within answered(), which will not run any more; NULL is harmless */

/* Ask for addresses[index] now, or as soon as 200 ms have passed since it was last asked for. Harmless for any index. */
void discovery_hurry(struct discovery *discovery, uint32_t index);

#endif
