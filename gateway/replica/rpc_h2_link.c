/*
 * rpc_h2_link: recv() -> session -> ended calls; calls -> session -> outbox -> sendmsg().
 *
 * A turn that starts calls posts one flush, which runs after the turn's other work, so they leave together. A
 * peer that takes nothing leaves the outbox full: then the session is not asked for more until the socket
 * takes bytes again.
 *
 * With TLS: recv() -> tls -> session, and outbox -> tls -> send(). Then what is sealed stands for the outbox:
 * no more is sealed while the socket does not take it.
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

#define CLOSED "the replica closed the connection"

struct h2_link {
    struct h2_link_setup setup;
    enum h2_link_state state;
    struct h2_session *session;
    struct event readable, writable;
    bool blocked; /* `writable` is awaited */
    bool agreed;  /* TLS: on HTTP/2 */
    struct loop_task flush;
    bool flush_posted;
    bool closed;
    struct loop_timer life;
    uint64_t heard_us;
    uint64_t ping_us; /* a ping is out since then; 0: none */
    uint32_t pings;   /* since a call was started */
    struct loop_deferred deferred;
    char why[220];
    struct h2_outbox outbox;
};

static void link_readable(evutil_socket_t fd, short what, void *owner);
static void link_writable(evutil_socket_t fd, short what, void *owner);
static void link_flush_due(struct loop_task *task);
static void link_check_life(struct loop_timer *timer);
static void link_flush_later(struct h2_link *link);
static bool link_flush(struct h2_link *link);
static ssize_t link_send_sealed(struct h2_link *link);
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
    tls_free(link->setup.tls);
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

/* Where to receive to, and how much: what is large where it stays, all else in the room given. */
static uint8_t *link_room(struct h2_link *link, uint8_t *spare, size_t spare_bytes, size_t *room)
{
    uint8_t *into = h2_session_room(link->session, room);
    if (into && *room >= READ_LEAST)
        return into;
    size_t ahead = h2_session_read_ahead(link->session);
    *room = ahead < spare_bytes ? ahead : spare_bytes;
    return spare;
}

/* gRPC is HTTP/2, and says so. */
static bool link_judge_tls(struct h2_link *link)
{
    link->agreed = tls_is_open(link->setup.tls);
    if (!link->agreed || tls_chose_h2(link->setup.tls))
        return true;
    snprintf(link->why, sizeof link->why,
             "TLS: the peer does not offer HTTP/2 (h2 by ALPN): is it a gRPC server?");
    return false;
}

static bool link_open_sealed(struct h2_link *link, const uint8_t *bytes, size_t length)
{
    uint8_t opened[TLS_RECORD_BYTES];
    enum tls_result result = TLS_OK;
    tls_feed(link->setup.tls, bytes, length);
    while (result == TLS_OK) {
        size_t got, room;
        uint8_t *into = link_room(link, opened, sizeof opened, &room);
        result = tls_read(link->setup.tls, into, room, &got);
        if (!link->agreed && !link_judge_tls(link))
            return false;
        if (result == TLS_OK && !h2_session_feed(link->session, into, got))
            return false;
    }
    if (result == TLS_FAILED)
        snprintf(link->why, sizeof link->why, "TLS: %s", tls_why(link->setup.tls));
    else if (result == TLS_ENDED)
        snprintf(link->why, sizeof link->why, "%s", CLOSED);
    if (result != TLS_MORE)
        (void)link_send_sealed(link); /* an alert, so that the peer knows why */
    return result == TLS_MORE;
}

/* Bytes of the socket. False: the connection is over. */
static bool link_take(struct h2_link *link, const uint8_t *bytes, size_t length)
{
    return link->setup.tls ? link_open_sealed(link, bytes, length)
                           : h2_session_feed(link->session, bytes, length);
}

/* False: the connection is over. */
static bool link_receive(struct h2_link *link)
{
    for (size_t total = 0; total < TURN_BYTES;) {
        size_t room = H2_LINK_ROOM;
        uint8_t *into =
            link->setup.tls ? link->setup.room : link_room(link, link->setup.room, H2_LINK_ROOM, &room);
        ssize_t got = recv(link->setup.fd, into, room, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (got <= 0) {
            snprintf(link->why, sizeof link->why, "%s", got < 0 ? strerror(errno) : CLOSED);
            return false;
        }
        if (!link_take(link, into, (size_t)got))
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

/* The rest of what is sealed; 0: all has gone. As send(). */
static ssize_t link_send_sealed(struct h2_link *link)
{
    size_t length;
    const char *bytes = tls_sealed(link->setup.tls, &length);
    ssize_t sent = length ? send(link->setup.fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (sent > 0)
        tls_sent(link->setup.tls, (size_t)sent);
    return sent;
}

/* As sendmsg(), in TLS; 0: the handshake is not done, and has nothing to say now. */
static ssize_t link_seal(struct h2_link *link, const struct msghdr *message)
{
    size_t taken, left;
    ssize_t sent = link_send_sealed(link);
    if (sent < 0)
        return sent;
    (void)tls_sealed(link->setup.tls, &left);
    if (left) {
        errno = EAGAIN;
        return -1;
    }
    if (tls_write(link->setup.tls, message->msg_iov, (int)message->msg_iovlen, &taken) == TLS_OK)
        return (ssize_t)taken;
    errno = EPROTO;
    return -1;
}

/* Sends until nothing is left or the socket takes no more. */
static bool link_flush(struct h2_link *link)
{
    for (;;) {
        struct iovec *pieces;
        if (!h2_session_fill(link->session, &link->outbox))
            return false;
        struct msghdr message = {.msg_iovlen = h2_outbox_pieces(&link->outbox, &pieces)};
        message.msg_iov = pieces;
        bool sealed = link->setup.tls != NULL;
        if (!message.msg_iovlen && !sealed)
            return link_await_writable(link, false);
        ssize_t sent = sealed ? link_seal(link, &message)
                              : sendmsg(link->setup.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == 0 && sealed)
            return link_await_writable(link, false);
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
