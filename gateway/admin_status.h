/*
 * admin_status: what /status says of models, versions, replicas, endpoints and Redis: JSON, from snapshots. On the main thread.
 */
#ifndef XEBEC_ADMIN_STATUS_H
#define XEBEC_ADMIN_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "replica/pool.h"
#include "shard.h"
#include "support/buf.h"

struct admin_status {
    struct gateway *gateway;
    uint64_t started_us;
    struct replica_status *replicas; /* room for one version's */
    struct discovery_status *names;  /* likewise */
};
/* Zeroed before. False: out of memory; to be cleared all the same. */
bool admin_status_init(struct admin_status *status, struct gateway *gateway) GW_MUST_CHECK;
void admin_status_clear(struct admin_status *status);

uint32_t admin_status_ready(struct admin_status *status, uint32_t version); /* replicas of a version that are ready now */
void admin_status_write(struct admin_status *status, bool draining, struct buf *out);

#endif
