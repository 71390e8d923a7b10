/*
 * request_cache: a request's dealings with the two levels of the cache (infer/cache.h, infer/cache_redis.h): the state
 * CACHE_WAIT of request.h, row by row. The other half of request.c and for it alone; all of it on the request's shard.
 */
#ifndef XEBEC_INFER_REQUEST_CACHE_H
#define XEBEC_INFER_REQUEST_CACHE_H

#include "infer/request.h"
#include "infer/version.h"

/* Every row is looked up, or, without a cache, missing: afterwards each is DONE, WAITING or MISSING. */
void request_look_up(struct request *request);
/* Whether rows that memory missed now wait for Redis; request_go_on() once it has answered. Each row is asked about once. */
bool request_ask_redis(struct request *request);
/* Only while request->lookup: what was asked about is MISSING, and the clock is the SLO's again. */
void request_give_up_lookup(struct request *request);
/* Rows that wait for others' answers end with `status`, but for one that is just being woken. */
void request_leave_line(struct request *request, enum gw_status status);
/* What the leader of a row (row->leads) owes those who wait for it, once it has an outcome. */
void row_settle(struct request *request, struct row *row, uint64_t now_us);
/* What the model answered goes to Redis, later in the turn. */
void request_share(struct request *request, const struct job *job, uint64_t now_us);
/* batch_entry.kind: equal for rows that may share a batch. */
void request_kind(struct request *request, uint64_t kind[2]);

/* request.c's, for request_cache.c: a row has its outcome, whose result it owns from now on; then what that changes. */
void row_end(struct request *request, struct row *row, struct row_outcome outcome);
void row_end_failed(struct request *request, struct row *row, enum gw_status status);
void request_go_on(struct request *request);

#endif
