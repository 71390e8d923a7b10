/*
 * redis_link: one connection at a time to a server, attempt after attempt: a name -> an address -> a socket -> bytes, both ways.
 * Knows nothing of what the bytes say. On its loop.
 *
 *     redis_link_open() --> NEWS_CONNECTED --> NEWS_BYTES ... --.
 *                       '-------------------------------------> NEWS_BROKE --> redis_link_close()
 */
#ifndef XEBEC_SUPPORT_REDIS_LINK_H
#define XEBEC_SUPPORT_REDIS_LINK_H

#include <event2/event_struct.h>

#include "support/buf.h"
#include "support/redis.h"

enum redis_link_news {
    NEWS_CONNECTED,
    NEWS_BYTES, /* `bytes` came, `length` of them */
    NEWS_BROKE, /* or could not be; `bytes` is why, in words. It is to be closed, inside the call */
};

struct redis_link {
    /* set by the owner, who borrows it for the link's life */
    struct loop *loop;
    struct resolver *resolver; /* NULL where hosts are numeric */
    const struct redis_server *server;
    void (*heard)(void *owner, enum redis_link_news news, const char *bytes, size_t length); /* may close it */
    void *owner;
    struct buf out; /* the owner appends; goes with redis_link_write() */
    int fd;         /* -1 at first, and while there is none */

    /* the link's */
    struct resolve_question *question;
    uint32_t attempts; /* at names with several addresses */
    bool connecting;   /* the socket is not through yet */
    struct event readable, writable;
    size_t out_at; /* sent of `out` */
};

void redis_link_open(struct redis_link *link);  /* a closed one. heard() runs later, or, when it fails at once, inside */
void redis_link_write(struct redis_link *link); /* what `out` has, as soon as the socket takes it; harmless while there is none */
size_t redis_link_unsent(const struct redis_link *link); /* bytes */
void redis_link_close(struct redis_link *link); /* silent from now on; what was unsent is gone. Harmless when closed */

#endif
