/*
 * shard: one event-loop thread with everything that runs on it: a listener, the requests of its
 * connections, and the model versions whose home it is. The only file that knows every layer.
 */
#ifndef XEBEC_SHARD_H
#define XEBEC_SHARD_H

#include "config.h"
#include "infer/cache.h"
#include "infer/version.h"
#include "support/err.h"
#include "support/metrics.h"

struct gateway; /* all shards, and what they share */

/* Builds every shard, binds, and starts the threads. NULL with err filled. Takes a reference to config. */
struct gateway *gateway_start(struct config *config, struct metrics *metrics, int access_log_fd,
                              struct gw_err *err) GW_MUST_CHECK;
/*
 * Stops accepting and finishes what is in flight, at most timeouts.drain. `drained` is posted to `loop` when the last
 * shard has stopped. Once.
 */
void gateway_drain(struct gateway *gateway, struct loop *loop, struct loop_task *drained);
/* Stops at once what still runs, joins the threads, frees. False: requests were cut off. */
bool gateway_stop(struct gateway *gateway);

const struct config *gateway_config(const struct gateway *gateway);
struct version *gateway_version(const struct gateway *gateway, uint32_t index);
struct metrics *gateway_metrics(const struct gateway *gateway);
uint16_t gateway_port(const struct gateway *gateway); /* the one listened on; 0: a unix socket */

#endif
