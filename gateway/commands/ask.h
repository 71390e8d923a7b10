/*
 * ask: one question to the admin listener of a running gateway, on one blocking socket, bounded in time and bytes. What the
 * command line is made of.
 */
#ifndef XEBEC_COMMANDS_ASK_H
#define XEBEC_COMMANDS_ASK_H

#include <stdint.h>

#include "support/buf.h"
#include "support/err.h"

struct ask {
    const char *address;      /* host:port, [v6]:port or unix:/path; hosts are numeric */
    const char *method, *path;
    const char *token;        /* NULL: none */
    const struct buf *body;   /* JSON; NULL: none */
    uint64_t patience_us;     /* for all of it */
    size_t bytes_max;         /* of the answer, its header too */
};

struct answer {
    int status;               /* of HTTP; 0: there is no answer */
    struct buf body;          /* the caller's to clear; with status 0: why, one line for a person */
};
void admin_ask(const struct ask *ask, struct answer *answer);

#endif
