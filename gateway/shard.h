/*
 * shard: one event-loop thread with everything that runs on it: a listener, the requests of its
 * connections, and the model versions whose home it is. The only file that knows every layer.
 */
#ifndef XEBEC_SHARD_H
#define XEBEC_SHARD_H

#include "config/config.h"
#include "infer/cache.h"
#include "infer/cache_redis.h"
#include "infer/plan.h"
#include "support/err.h"
#include "support/metrics.h"
#include "support/resolve.h"

struct gateway; /* all shards, and what they share */

/* Called with every plan before it comes into force: to set other weights than the file's. False: out of memory. */
struct gateway_tuner {
    bool (*tune)(void *owner, struct plan *plan);
    void *owner;
};
/*
 * Builds every shard, binds, and starts the threads. NULL with err filled. loop: the caller's, whose thread alone may call
 * what follows, and on which its callbacks run. Takes a reference to config. tuner: copied; NULL: none, the file's weights
 * stay.
 */
struct gateway *gateway_start(struct config *config, struct metrics *metrics, int access_log_fd, struct loop *loop,
                              const struct gateway_tuner *tuner, struct gw_err *err) GW_MUST_CHECK;
/*
 * Serves by another configuration from some moment on, without losing a request: versions that stay the same go on as they
 * are; new ones first get 5 s to have a ready replica, then every shard changes over, and requests in flight finish by
 * the old one. done runs once, perhaps inside: GW_OK, all shards have changed over; or nothing was changed. An error
 * returned: nothing was changed and done will not run; GW_E_INVALID: a key that only a restart can change, named;
 * GW_E_OVERLOAD: another change is under way. Takes a reference to config.
 */
GW_MUST_CHECK enum gw_status gateway_change(struct gateway *gateway, struct config *config,
                                            void (*done)(void *owner, const struct gw_err *err), void *owner,
                                            struct gw_err *err);
/*
 * Has the tuner look at the weights again: when this returns, all shards go by what it set. Quick, and never refused for a
 * change under way, which asks the tuner when its own time has come. GW_E_NO_MEMORY, GW_E_DRAINING: nothing was changed.
 */
GW_MUST_CHECK enum gw_status gateway_retune(struct gateway *gateway, struct gw_err *err);
/*
 * Stops accepting and finishes what is in flight, at most timeouts.drain. `drained` is posted to the caller's loop when the
 * last shard has stopped. Once.
 */
void gateway_drain(struct gateway *gateway, struct loop_task *drained);
/* Stops at once what still runs, joins the threads, frees. False: requests were cut off. */
bool gateway_stop(struct gateway *gateway);

/* In force; until the next turn of the loop. */
const struct config *gateway_config(const struct gateway *gateway);
const struct plan *gateway_plan(const struct gateway *gateway); /* likewise */
struct version *gateway_version(const struct gateway *gateway, uint32_t index);
struct cache_redis *gateway_redis(const struct gateway *gateway, uint32_t shard); /* NULL: none is configured */
/* Runs run(arg, shard) on the thread of each shard, one after another, and returns when all have. False: it drains; none did. */
GW_MUST_CHECK bool gateway_round(struct gateway *gateway, void (*run)(void *arg, uint32_t shard), void *arg);
struct metrics *gateway_metrics(const struct gateway *gateway);
struct resolver *gateway_resolver(const struct gateway *gateway); /* the one of all shards; any loop may ask */
uint16_t gateway_port(const struct gateway *gateway); /* the one listened on; 0: a unix socket */

#endif
