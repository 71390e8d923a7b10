/*
 * reload: reads the configuration file again and has the gateway serve by it. Asked for by SIGHUP, by POST /reload, and,
 * with `watch: on`, by a change of the file. A bad file changes nothing, and the answer says what is wrong with it.
 * Belongs to the thread of the gateway's caller, like gateway_change().
 */
#ifndef XEBEC_RELOAD_H
#define XEBEC_RELOAD_H

#include "config/config.h"
#include "shard.h"
#include "support/loop.h"

struct reload; /* one a gateway */

struct reload *reload_new(struct loop *loop, struct gateway *gateway) GW_MUST_CHECK; /* NULL: out of memory */
/* After gateway_stop() or gateway_drain(): no answer is owed then. NULL is harmless. */
void reload_free(struct reload *reload);

/* How it went. */
struct reload_answer {
    struct gw_err err;                      /* GW_OK: requests go by the file now. Else nothing was changed */
    const struct config_problems *problems; /* of the file; none where err is about something else */
};

/* The caller's memory until done has run: once, perhaps inside reload_ask(). */
struct reload_ask {
    const char *who; /* for the log: "SIGHUP" */
    void (*done)(struct reload_ask *ask, const struct reload_answer *answer);
};
/* While another is under way: GW_E_OVERLOAD. */
void reload_ask(struct reload *reload, struct reload_ask *ask);
/* Nobody waits for the answer, which is in the log; while another is under way, it is done after that one. */
void reload_soon(struct reload *reload, const char *who);

#endif
