/*
 * asks: one of each kind of what clients send, and what has to come back: predictions that hit, miss and join the
 * cache, batches, chunks, pipelines, models that fail, and what is no request at all.
 */
#ifndef XEBEC_TESTS_SUPPORT_ASKS_H
#define XEBEC_TESTS_SUPPORT_ASKS_H

#include <stdbool.h>
#include <stddef.h>

#include "served.h"
#include "support/buf.h"

enum { ASK_REPLIES_MAX = 2 };

struct ask {
    struct buf bytes;
    unsigned n_replies;
    struct {
        int status;
        char says[192]; /* a part of the body */
    } replies[ASK_REPLIES_MAX];
    bool defaults; /* its endpoint has a default */
    bool ends;     /* the gateway closes the connection after it */
};

enum { ASK_KINDS = 19, ASK_CACHED = 3, ASK_MODEL_RAISES = 10 }; /* which fails the rows batched with it, too */

const char *ask_name(unsigned kind);
/* Rows that nobody asked before, unless `serial` is that of an earlier one; those of ASK_CACHED are always the same. */
void ask_write(struct ask *ask, unsigned kind, unsigned serial);
void ask_clear(struct ask *ask);

/* NULL: the reply is the i-th that is due. Else what is wrong with it. */
const char *ask_judge(const struct ask *ask, unsigned i, const struct reply *reply);
/* Sends it on a connection of its own, without anything in the way: aborts the test unless all is well. */
void ask_calmly(const struct served *served, unsigned kind, unsigned serial);

#endif
