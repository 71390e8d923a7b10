/*
 * health: asks a running gateway whether it takes requests. What a container's HEALTHCHECK runs, where there is
 * neither curl nor a shell.
 */
#ifndef XEBEC_COMMANDS_HEALTH_H
#define XEBEC_COMMANDS_HEALTH_H

#include <stdbool.h>

#include "support/buf.h"

/*
 * GET /health/serving of the admin listener at `address`: host:port, [v6]:port or unix:/path; hosts are numeric.
 * Blocks, two seconds at most, and reads 64 KiB at most.
 * True: it answered 200. `said`, the caller's to clear, is what it answered, or why there is no answer: one line for a person.
 */
bool health_ask(const char *address, struct buf *said);

#endif
