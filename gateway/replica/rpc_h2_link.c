/*
 * rpc_h2_link: recv() -> session -> ended calls; calls -> session -> outbox -> sendmsg().
 *
 * A turn that starts calls posts one flush, which runs after the turn's other work, so they leave together. A
 * peer that takes nothing leaves the outbox full: then the session is not asked for more until the socket
 * takes bytes again.
 */
#include "replica/rpc_h2_link.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TURN_BYTES = 1 << 20,  /* then others have their turn */
    READ_LEAST = 16 << 10, /* of a large reply: less is not worth a system call of its own */
    PINGS_UNPROVOKED =
        2, /* gRPC servers hang up on clients that send more while they themselves say nothing */
};

struct h2_link {
    struct h2_link_setup setup;
    enum h2_link_state state;
    struct h2_session *session;
    struct event readable, writable;
    bool blocked; /* `writable` is awaited */
    struct loop_task flush;
    bool flush_posted;
    bool closed;
    struct loop_timer life;
    uint64_t heard_us;
    uint64_t ping_us; /* a ping is out since then; 0: none */
    uint32_t pings;   /* since a call was started */
    struct loop_deferred deferred;
    char why[160];
    struct h2_outbox outbox;
};

static void link_readable(evutil_socket_t fd, short what, void *owner);
static void link_writable(evutil_socket_t fd, short what, void *owner);
static void link_flush_due(struct loop_task *task);
static void link_check_life(struct loop_timer *timer);
static void link_flush_later(struct h2_link *link);
static bool link_flush(struct h2_link *link);
static void link_settle(struct h2_link *link, bool alive);
static void link_become(struct h2_link *link, enum h2_link_state state);
static void link_free(struct loop_deferred *deferred);

/* --- open and close --- */

struct h2_link *h2_link_open(const struct h2_link_setup *setup)
{
    struct h2_link *link = calloc(1, sizeof *link);
    if (!link)
        return NULL;
    struct event_base *base = loop_base(setup->loop);
    link->setup = *setup;
    link->flush.run = link_flush_due;
    link->life.fire = link_check_life;
    link->heard_us = loop_now_us();
    event_assign(&link->readable, base, setup->fd, EV_READ | EV_PERSIST, link_readable, link);
    event_assign(&link->writable, base, setup->fd, EV_WRITE | EV_PERSIST, link_writable, link);
    link->session = h2_session_new(setup->max_calls, setup->ended);
    if (!link->session || event_add(&link->readable, NULL) != 0 ||
        loop_timer_set(setup->loop, &link->life, link->heard_us + setup->patience_us) != GW_OK)
        goto fail;
    link_flush_later(link);
    return link;
fail:
    event_del(&link->readable);
    h2_session_free(link->session);
    free(link);
    return NULL;
}

/* With a flush on its way the memory waits for that. */
void h2_link_close(struct h2_link *link, enum gw_status why)
{
    h2_session_end(link->session, why, gw_status_words(why));
    event_del(&link->readable);
    event_del(&link->writable);
    loop_timer_cancel(link->setup.loop, &link->life);
    close(link->setup.fd);
    link->closed = true;
    link->deferred.free_fn = link_free;
    if (!link->flush_posted)
        loop_defer_free(link->setup.loop, &link->deferred);
}

static void link_free(struct loop_deferred *deferred)
{
    struct h2_link *link = container_of(deferred, struct h2_link, deferred);
    h2_outbox_clear(&link->outbox);
    h2_session_free(link->session);
    free(link);
}

const char *h2_link_why(const struct h2_link *link)
{
    return link->why;
}

/* --- calls --- */

bool h2_link_start(struct h2_link *link, struct h2_stream *stream, const struct h2_request *request)
{
    if (!h2_session_start(link->session, stream, request))
        return false;
    link->pings = 0;
    link_flush_later(link);
    return true;
}

void h2_link_cancel(struct h2_link *link, struct h2_stream *stream, enum gw_status why)
{
    h2_session_cancel(stream, why);
    link_flush_later(link);
}

/* --- states --- */

static void link_become(struct h2_link *link, enum h2_link_state state)
{
    assert(state > link->state);
    link->state = state;
    link->setup.changed(link->setup.owner, link, state);
}

/* The session's reason, where it has one, is the cause of what befell the socket. */
static void link_lose(struct h2_link *link)
{
    const char *why = h2_session_why(link->session);
    if (why[0])
        snprintf(link->why, sizeof link->why, "%s", why);
    h2_session_end(link->session, GW_E_NO_REPLICA, link->why);
    link_become(link, LINK_LOST);
}

/* After every event, and last: `changed` may have closed the link. */
static void link_settle(struct h2_link *link, bool alive)
{
    const struct h2_session *session = link->session;
    if (!alive || (link->state == LINK_GOING && h2_session_is_idle(session)))
        link_lose(link);
    else if (link->state < LINK_GOING && h2_session_is_going(session))
        link_become(link, LINK_GOING);
    else if (link->state == LINK_GREETING && h2_session_is_open(session))
        link_become(link, LINK_OPEN);
}

/* --- reading --- */

/* Where to receive to, and how much: what is large where it stays, all else in the room that links share. */
static uint8_t *link_room(struct h2_link *link, size_t *room)
{
    uint8_t *into = h2_session_room(link->session, room);
    if (into && *room >= READ_LEAST)
        return into;
    size_t ahead = h2_session_read_ahead(link->session);
    *room = ahead < H2_LINK_ROOM ? ahead : H2_LINK_ROOM;
    return link->setup.room;
}

/* False: the connection is over. */
static bool link_receive(struct h2_link *link)
{
    for (size_t total = 0; total < TURN_BYTES;) {
        size_t room;
        uint8_t *into = link_room(link, &room);
        ssize_t got = recv(link->setup.fd, into, room, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (got <= 0) {
            snprintf(link->why, sizeof link->why, "%s",
                     got < 0 ? strerror(errno) : "the replica closed the connection");
            return false;
        }
        if (!h2_session_feed(link->session, into, (size_t)got))
            return false;
        if ((size_t)got < room)
            break; /* that was all: another recv() would only say so */
        total += (size_t)got;
    }
    return true;
}

static void link_readable(evutil_socket_t fd, short what, void *owner)
{
    struct h2_link *link = owner;
    (void)fd, (void)what;
    link->heard_us = loop_now_us();
    link->ping_us = 0;
    bool alive = link_receive(link);
    if (alive)
        link_flush_later(link);
    link_settle(link, alive);
}

/* --- writing --- */

static void link_flush_later(struct h2_link *link)
{
    if (link->flush_posted || link->blocked)
        return;
    link->flush_posted = true;
    loop_post(link->setup.loop, &link->flush);
}

static void link_flush_due(struct loop_task *task)
{
    struct h2_link *link = container_of(task, struct h2_link, flush);
    link->flush_posted = false;
    if (link->closed)
        loop_defer_free(link->setup.loop, &link->deferred);
    else if (!link->blocked)
        link_settle(link, link_flush(link));
}

static void link_writable(evutil_socket_t fd, short what, void *owner)
{
    struct h2_link *link = owner;
    (void)fd, (void)what;
    link_settle(link, link_flush(link));
}

/* False: the connection is over. */
static bool link_await_writable(struct h2_link *link, bool blocked)
{
    if (blocked == link->blocked)
        return true;
    link->blocked = blocked;
    return (blocked ? event_add(&link->writable, NULL) : event_del(&link->writable)) == 0;
}

/* Sends until nothing is left or the socket takes no more. */
static bool link_flush(struct h2_link *link)
{
    for (;;) {
        struct iovec *pieces;
        if (!h2_session_fill(link->session, &link->outbox))
            return false;
        struct msghdr message = {.msg_iovlen = h2_outbox_pieces(&link->outbox, &pieces)};
        if (!message.msg_iovlen)
            return link_await_writable(link, false);
        message.msg_iov = pieces;
        ssize_t sent = sendmsg(link->setup.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN)
            return link_await_writable(link, true);
        if (sent < 0 && errno != EINTR) {
            snprintf(link->why, sizeof link->why, "%s", strerror(errno));
            return false;
        }
        if (sent > 0)
            h2_outbox_sent(&link->outbox, (size_t)sent);
    }
}

/* --- life --- */

/* Pings when it is time to. False: there is no memory to. */
static bool link_ask_life(struct h2_link *link, uint64_t now_us)
{
    if (link->pings == PINGS_UNPROVOKED || h2_session_is_idle(link->session) ||
        now_us < link->heard_us + link->setup.silence_us)
        return true;
    link->pings++;
    link->ping_us = now_us;
    link_flush_later(link);
    return h2_session_ping(link->session);
}

static void link_check_life(struct loop_timer *timer)
{
    struct h2_link *link = container_of(timer, struct h2_link, life);
    uint64_t now_us = loop_now_us();
    bool dead = link->ping_us && now_us >= link->ping_us + link->setup.patience_us;
    if (dead)
        snprintf(link->why, sizeof link->why, "the replica does not answer: it has vanished, or hangs");
    /* Its place among the timers is free: it has just fired. */
    (void)!loop_timer_set(link->setup.loop, timer, now_us + link->setup.patience_us);
    link_settle(link, !dead && link_ask_life(link, now_us));
}
