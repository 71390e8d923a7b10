/*
 * access_log: one JSON line a request, for those who want them:
 *   {"ts":"2026-01-31T12:00:00.123Z","client":"127.0.0.1","method":"POST","path":"/digits/predict","status":200,
 *    "bytes_in":312,"bytes_out":187,"duration_us":412}
 * Lines are gathered and written 16 KiB or 100 ms later, whole lines at a time and never waited for: what a full pipe
 * does not take is dropped, and a line {"ts":...,"lost_lines":12} says so once there is room again.
 */
#ifndef XEBEC_EDGE_ACCESS_LOG_H
#define XEBEC_EDGE_ACCESS_LOG_H

#include <stdint.h>

#include "edge/http.h"
#include "support/loop.h"

struct access_log;

struct access_entry {
    const char *client;
    const struct http_message *message; /* path NULL: prints null */
    int status;                         /* 0: hung up on without a reply */
    uint64_t bytes_in, bytes_out, duration_us;
};

/* Borrows both. NULL: out of memory. */
struct access_log *access_log_new(struct loop *loop, int fd) GW_MUST_CHECK;
void access_log_free(struct access_log *log); /* writes what is left; NULL is harmless */
void access_log_write(struct access_log *log, const struct access_entry *entry);

#endif
