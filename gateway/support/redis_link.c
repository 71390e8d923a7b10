/* redis_link: an attempt, what goes out, what comes in, the end. */
#include "support/redis_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 * 1024,  /* taken from the socket at once */
    READS_A_TURN = 4,        /* then the loop's other work gets its turn */
    KEEP_BYTES = 256 * 1024, /* an output buffer larger than this is given back when it is empty */
    WHY_ROOM = 160,
};

static void link_break(struct redis_link *link, const char *format, ...) GW_PRINTF(2, 3);
static void link_resolved(void *owner, const struct resolve_answer *answer);
static bool link_connect_numeric(struct redis_link *link, const char *host, const char *port);
static void link_connect_unix(struct redis_link *link);
static void on_readable(evutil_socket_t fd, short what, void *owner);
static void on_writable(evutil_socket_t fd, short what, void *owner);

void redis_link_open(struct redis_link *link)
{
    const struct redis_server *server = link->server;
    if (server->unix_path) {
        link_connect_unix(link);
    } else if (!link_connect_numeric(link, server->host, server->port)) {
        link->question = link->resolver ? resolve_start(link->resolver, link->loop, server->host,
                                                        server->port, link_resolved, link)
                                        : NULL;
        if (!link->question)
            link_break(link, "%s cannot be looked up", server->host);
    }
}

size_t redis_link_unsent(const struct redis_link *link)
{
    return link->out.length - link->out_at;
}

void redis_link_write(struct redis_link *link)
{
    struct buf *out = &link->out;
    if (link->fd < 0 || link->connecting)
        return;
    while (link->out_at < out->length) {
        ssize_t sent = send(link->fd, out->bytes + link->out_at, out->length - link->out_at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            memmove(out->bytes, out->bytes + link->out_at, out->length -= link->out_at);
            link->out_at = 0;
            if (event_add(&link->writable, NULL) != 0)
                link_break(link, "out of memory");
            return;
        }
        if (sent < 0) {
            link_break(link, "the connection broke: %s", strerror(errno));
            return;
        }
        link->out_at += (size_t)sent;
    }
    out->length = link->out_at = 0;
    if (out->capacity > KEEP_BYTES)
        buf_clear(out);
}

void redis_link_close(struct redis_link *link)
{
    if (link->question)
        resolve_cancel(link->question);
    link->question = NULL;
    if (link->fd >= 0) {
        event_del(&link->readable);
        event_del(&link->writable);
        close(link->fd);
    }
    link->fd = -1;
    link->connecting = false;
    buf_clear(&link->out);
    link->out_at = 0;
}

static void link_break(struct redis_link *link, const char *format, ...)
{
    char why[WHY_ROOM];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    link->heard(link->owner, NEWS_BROKE, why, strlen(why));
}

/* --- an attempt --- */

static void link_connect(struct redis_link *link, const struct sockaddr *to, socklen_t length)
{
    struct event_base *base = loop_base(link->loop);
    int one = 1;
    link->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0) {
        link_break(link, "no socket: %s", strerror(errno));
        return;
    }
    if (to->sa_family != AF_UNIX) {
        setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    }
    event_assign(&link->readable, base, link->fd, EV_READ | EV_PERSIST, on_readable, link);
    event_assign(&link->writable, base, link->fd, EV_WRITE, on_writable, link);
    link->connecting = true;
    if (connect(link->fd, to, length) != 0 && errno != EINPROGRESS)
        link_break(link, "cannot connect: %s", strerror(errno));
    else if (event_add(&link->writable, NULL) != 0)
        link_break(link, "out of memory");
}

static void link_connect_unix(struct redis_link *link)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", link->server->unix_path);
    link_connect(link, (const struct sockaddr *)&to, sizeof to);
}

/* False: `host` is a name. */
static bool link_connect_numeric(struct redis_link *link, const char *host, const char *port)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, port, &wanted, &found) != 0)
        return false;
    link_connect(link, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

/* A name with several addresses: each attempt takes the next. */
static void link_resolved(void *owner, const struct resolve_answer *answer)
{
    struct redis_link *link = owner;
    char host[INET6_ADDRSTRLEN + sizeof "[]"];
    link->question = NULL;
    if (answer->status != GW_OK) {
        link_break(link, "%s: %s", link->server->host, answer->why);
        return;
    }
    const char *address = answer->addresses[link->attempts++ % answer->n_addresses];
    bool bracketed = address[0] == '[';
    const char *end = strrchr(address, ':');
    snprintf(host, sizeof host, "%.*s", (int)(end - address) - 2 * bracketed, address + bracketed);
    if (!link_connect_numeric(link, host, end + 1))
        link_break(link, "%s is no address", host);
}

/* --- what the socket has to say --- */

static void on_readable(evutil_socket_t fd, short what, void *owner)
{
    struct redis_link *link = owner;
    char bytes[READ_BYTES];
    (void)what;
    for (int i = 0; i < READS_A_TURN && link->fd >= 0; i++) {
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0)
            link_break(link, got ? "the connection broke: %s" : "it closed the connection", strerror(errno));
        else
            link->heard(link->owner, NEWS_BYTES, bytes, (size_t)got);
        if (got < (ssize_t)sizeof bytes)
            return;
    }
}

/* Connected, or not; or there is room for more. */
static void on_writable(evutil_socket_t fd, short what, void *owner)
{
    struct redis_link *link = owner;
    int problem = 0;
    socklen_t length = sizeof problem;
    (void)what;
    if (!link->connecting) {
        redis_link_write(link);
        return;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &length) != 0)
        problem = errno;
    link->connecting = false;
    if (problem)
        link_break(link, "cannot connect: %s", strerror(problem));
    else if (event_add(&link->readable, NULL) != 0)
        link_break(link, "out of memory");
    else
        link->heard(link->owner, NEWS_CONNECTED, "", 0);
}
