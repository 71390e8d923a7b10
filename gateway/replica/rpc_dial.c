/*
 * rpc_dial: look up, connect, and the next address when that fails.
 *
 *   rpc_dial_start() -> [dial_found()] -> dial_next() -> dial_writable() -> done(fd)
 *                             |               ^  |            |
 *                             v               '--+------------'  refused, timed out: the next one
 *                         done(-1)               '-> none is left: done(-1)
 */
#include "replica/rpc_dial.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIX_PREFIX "unix:"

enum { UNHEARD_MS = 3000 };

static enum gw_status dial_read_unix(struct rpc_dial *dial, const char *path);
static enum gw_status dial_read_host(struct rpc_dial *dial, const char *address);
static void dial_found(void *owner, const struct resolve_answer *answer);
static void dial_next(struct rpc_dial *dial);
static void dial_timed_out(struct loop_timer *timer);
static void dial_hang_up(struct rpc_dial *dial);
static void dial_fail(struct rpc_dial *dial, const char *why);

/* --- the address --- */

enum gw_status rpc_dial_init(struct rpc_dial *dial, struct loop *loop, struct resolver *resolver,
                             const char *address, uint64_t timeout_us)
{
    *dial = (struct rpc_dial){.loop = loop, .resolver = resolver, .timeout_us = timeout_us, .fd = -1};
    dial->timer.fire = dial_timed_out;
    if (strncmp(address, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return dial_read_unix(dial, address + strlen(UNIX_PREFIX));
    return dial_read_host(dial, address);
}

void rpc_dial_clear(struct rpc_dial *dial)
{
    rpc_dial_cancel(dial);
    free(dial->host);
    dial->host = NULL;
}

static enum gw_status dial_read_unix(struct rpc_dial *dial, const char *path)
{
    struct dial_address *address = &dial->addresses[0];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address->name.un.sun_path)
        return GW_E_INVALID;
    address->name.un.sun_family = AF_UNIX;
    memcpy(address->name.un.sun_path, path, length + 1);
    address->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    dial->n = 1;
    return GW_OK;
}

/* Adds a numeric address. False: it is none. */
static bool dial_add(struct rpc_dial *dial, const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found;
    struct dial_address *address = &dial->addresses[dial->n];
    if (dial->n == DIAL_ADDRESSES_MAX || getaddrinfo(host, port, &hints, &found) != 0)
        return false;
    address->length = found->ai_addrlen;
    memcpy(&address->name, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    dial->n++;
    return true;
}

/* "host:port" or "[v6]:port" -> *host, without brackets, and *port, in one allocation. */
static enum gw_status split(const char *address, char **host, const char **port)
{
    const char *colon = strrchr(address, ':');
    bool bracketed = address[0] == '[';
    if (!colon || colon == address || !colon[1] || (bracketed && colon[-1] != ']'))
        return GW_E_INVALID;
    char *copy = strdup(address + bracketed);
    if (!copy)
        return GW_E_NO_MEMORY;
    copy[colon - address - 2 * bracketed] = '\0';
    *host = copy;
    *port = copy + (colon - address) - bracketed + 1;
    return GW_OK;
}

static enum gw_status dial_read_host(struct rpc_dial *dial, const char *address)
{
    char *host;
    enum gw_status status = split(address, &host, &dial->port);
    if (status != GW_OK)
        return status;
    if (dial_add(dial, host, dial->port))
        free(host);
    else
        dial->host = host;
    return GW_OK;
}

/* --- an attempt --- */

void rpc_dial_start(struct rpc_dial *dial)
{
    dial->at = 0;
    if (!dial->host) {
        dial_next(dial);
        return;
    }
    dial->n = 0;
    if (dial->resolver)
        dial->question = resolve_start(dial->resolver, dial->loop, dial->host, dial->port, dial_found, dial);
    if (!dial->question)
        dial_fail(dial, "the name cannot be looked up");
}

void rpc_dial_cancel(struct rpc_dial *dial)
{
    if (dial->question)
        resolve_cancel(dial->question);
    dial->question = NULL;
    dial_hang_up(dial);
}

static void dial_found(void *owner, const struct resolve_answer *answer)
{
    struct rpc_dial *dial = owner;
    dial->question = NULL;
    for (uint32_t i = 0; i < answer->n_addresses && dial->n < DIAL_ADDRESSES_MAX; i++) {
        char *host;
        const char *port;
        if (split(answer->addresses[i], &host, &port) != GW_OK)
            break;
        (void)dial_add(dial, host, port);
        free(host);
    }
    if (dial->n)
        dial_next(dial);
    else
        dial_fail(dial, answer->status == GW_OK ? gw_status_words(GW_E_NO_MEMORY) : answer->why);
}

static void dial_fail(struct rpc_dial *dial, const char *why)
{
    snprintf(dial->why, sizeof dial->why, "%s", why);
    dial->done(dial, -1);
}

static void dial_hang_up(struct rpc_dial *dial)
{
    if (dial->fd < 0)
        return;
    event_del(&dial->writable);
    loop_timer_cancel(dial->loop, &dial->timer);
    close(dial->fd);
    dial->fd = -1;
}

/* The socket is somebody else's from now on. */
static void dial_hand_over(struct rpc_dial *dial)
{
    int fd = dial->fd, on = 1, unheard_ms = UNHEARD_MS;
    event_del(&dial->writable);
    loop_timer_cancel(dial->loop, &dial->timer);
    dial->fd = -1;
    /* Unix sockets have no such options, and need none. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unheard_ms, sizeof unheard_ms);
    dial->done(dial, fd);
}

static void dial_writable(evutil_socket_t fd, short what, void *owner)
{
    struct rpc_dial *dial = owner;
    int error = 0;
    socklen_t length = sizeof error;
    (void)what;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0) {
        dial_hand_over(dial);
        return;
    }
    errno = error;
    dial_hang_up(dial);
    dial_next(dial);
}

static void dial_timed_out(struct loop_timer *timer)
{
    struct rpc_dial *dial = container_of(timer, struct rpc_dial, timer);
    dial_hang_up(dial);
    errno = ETIMEDOUT;
    dial_next(dial);
}

/* Begins to connect; the event says how it went, even where it is done at once. */
static bool dial_connect(struct rpc_dial *dial, const struct dial_address *address)
{
    int fd = socket(address->name.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, &address->name.any, address->length) != 0 && errno != EINPROGRESS)
        goto fail;
    event_assign(&dial->writable, loop_base(dial->loop), fd, EV_WRITE, dial_writable, dial);
    errno = ENOMEM;
    if (event_add(&dial->writable, NULL) != 0)
        goto fail;
    dial->fd = fd;
    if (loop_timer_set(dial->loop, &dial->timer, loop_now_us() + dial->timeout_us) == GW_OK)
        return true;
    dial->fd = -1;
    event_del(&dial->writable);
fail:
    close(fd);
    return false;
}

/* errno: why the last one failed, when there was one. */
static void dial_next(struct rpc_dial *dial)
{
    while (dial->at < dial->n)
        if (dial_connect(dial, &dial->addresses[dial->at++]))
            return;
    dial_fail(dial, strerror(errno));
}
