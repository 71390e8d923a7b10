/*
 * admin: the operators' listener: /health/live, /health/ready, /health/serving, /status, /shadows, /metrics, /rollouts. Runs on
 * the main thread's own loop, so that it answers whatever the shards are doing.
 * POST /reload and POST /rollouts/... change something, and /shadows/ENDPOINT shows clients' inputs: they are for who has the token of
 * admin_token_file, or, where there is none, for this
 * machine alone.
 */
#ifndef XEBEC_ADMIN_H
#define XEBEC_ADMIN_H

#include "reload.h"
#include "rollouts/rollouts.h"
#include "shard.h"
#include "support/loop.h"

struct admin;
struct admin *admin_new(struct loop *loop, struct gateway *gateway, struct reload *reload,
                        struct rollouts *rollouts, struct gw_err *err) GW_MUST_CHECK;
uint16_t admin_port(const struct admin *admin);
void admin_drain(struct admin *admin); /* ready and serving answer 503 from now on */
void admin_free(struct admin *admin);

#endif
