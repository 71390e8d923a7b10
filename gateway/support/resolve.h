/*
 * resolve: host names to addresses, without holding a loop: getaddrinfo() on threads of the resolver's, so that
 * /etc/hosts, nsswitch, search domains and DNS over TCP all count.
 *
 *   a loop                               a thread, detached
 *   resolve_start() ---- lookup -------> getaddrinfo()
 *   done()          <--- loop_post ----- the answer, for all who asked the same
 *
 * getaddrinfo() cannot be interrupted and may take half a minute when a name server is silent. So a question has
 * patience of its own, a name that is being looked up is not looked up twice, and one name that hangs holds one thread.
 */
#ifndef XEBEC_SUPPORT_RESOLVE_H
#define XEBEC_SUPPORT_RESOLVE_H

#include <netdb.h>
#include <stdint.h>

#include "support/err.h"
#include "support/loop.h"

enum { RESOLVE_ADDRESSES_MAX = 256 };

struct resolver; /* one a gateway; any loop may ask */
struct resolve_question;

/* As getaddrinfo(), whose result freeaddrinfo() frees. Called on threads of the resolver's, several at once. */
typedef int resolver_lookup(const char *host, const char *port, const struct addrinfo *hints,
                            struct addrinfo **found);

struct resolver *resolver_new(void) GW_MUST_CHECK; /* NULL: out of memory */
/* For tests: a lookup that lies or hangs, and how long a question waits for it. */
struct resolver *resolver_new_with(resolver_lookup *look_up, uint64_t patience_us) GW_MUST_CHECK;
/*
 * Questions still open are cancelled, but answers already on their way still arrive; the loops that asked must not be
 * running, or be this thread's. A lookup that hangs is left behind, not waited for. NULL is harmless.
 */
void resolver_free(struct resolver *resolver);

struct resolve_answer {
    enum gw_status status; /* GW_OK: there are addresses; GW_E_NOT_FOUND: there is no such name, or it has none;
                              GW_E_DEADLINE, GW_E_INTERNAL, GW_E_NO_MEMORY: could not be asked, so nothing is known */
    const char *why;       /* for a person; never NULL, "" when GW_OK */
    const char *const *addresses; /* "10.0.0.3:9000", "[fd00::1]:9000"; sorted, distinct */
    uint32_t n_addresses;  /* at most RESOLVE_ADDRESSES_MAX */
    uint32_t n_found;      /* before that bound */
};

/*
 * host: a name or a numeric address. port: "0".."65535". Both are copied.
 * done runs once, on the loop, never inside resolve_start(); answer lives until it returns, the question is gone then.
 * NULL: out of memory or threads; done will not run.
 */
struct resolve_question *resolve_start(struct resolver *resolver, struct loop *loop, const char *host, const char *port,
                                       void (*done)(void *owner, const struct resolve_answer *answer),
                                       void *owner) GW_MUST_CHECK;
/* Between start and done, on the loop: done will not run. */
void resolve_cancel(struct resolve_question *question);

#endif
