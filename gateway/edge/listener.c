/* listener: a bound socket and what its connections share; accepting, and not accepting. */
#include "edge/listener.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "edge/conn.h"
#include "support/log.h"

enum {
    BACKLOG = 4096,      /* the system bounds it by somaxconn */
    ACCEPTS_A_TURN = 64, /* connections that wait already get their turn in between */
    PAUSE_US = 100000,   /* without descriptors: as long as it may take to get some back */
};

struct listener {
    struct edge *edge;
    int fd; /* -1: no longer accepting */
    struct event *event;
    struct loop_timer pause;
};

/* --- binding --- */

/* Sets the one error that all of binding has; returns -1. */
static int cannot_listen(struct gw_err *err, const char *address, const char *why)
{
    gw_err_set(err, GW_E_INVALID, "cannot listen on %s: %c%s", address, tolower((unsigned char)why[0]),
               why + 1);
    return -1;
}

static int bind_socket(int family, const struct sockaddr *address, socklen_t length, bool shared)
{
    int on = 1, off = 0;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (shared)
            setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
    }
    if (bind(fd, address, length) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

/*
 * The first listener of an address must have it alone for a moment: SO_REUSEPORT would let a second gateway
 * of the same user start on it without a word, and take a share of the connections.
 */
static int bind_shared(const struct addrinfo *at, bool join)
{
    if (!join) {
        int alone = bind_socket(at->ai_family, at->ai_addr, at->ai_addrlen, false);
        if (alone < 0)
            return -1;
        close(alone);
    }
    return bind_socket(at->ai_family, at->ai_addr, at->ai_addrlen, true);
}

static int bind_tcp(const struct config_address *address, bool join, struct gw_err *err)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    bool any = strcmp(address->host, "*") == 0;
    int fd = -1, problem = getaddrinfo(any ? "::" : address->host, address->port, &hints, &found);
    if (problem)
        return cannot_listen(err, address->text, gai_strerror(problem));
    fd = bind_shared(found, join);
    int why = errno;
    freeaddrinfo(found);
    if (fd < 0 && any && why == EAFNOSUPPORT) { /* a system without IPv6 */
        const struct config_address v4 = {.text = address->text, .host = "0.0.0.0", .port = address->port};
        return bind_tcp(&v4, join, err);
    }
    return fd < 0 ? cannot_listen(err, address->text, strerrordesc_np(why)) : fd;
}

/* Whether the path is a socket that nobody listens on: what a killed process leaves behind. */
static bool is_stale(const struct sockaddr_un *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool stale =
        fd >= 0 && connect(fd, (const struct sockaddr *)path, sizeof *path) != 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return stale;
}

static int bind_unix(const struct config_address *address, struct gw_err *err)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    if (strlen(address->unix_path) >= sizeof path.sun_path)
        return cannot_listen(err, address->text, "the path is too long");
    memcpy(path.sun_path, address->unix_path, strlen(address->unix_path));
    int fd = bind_socket(AF_UNIX, (const struct sockaddr *)&path, sizeof path, false);
    if (fd < 0 && errno == EADDRINUSE && is_stale(&path) && unlink(path.sun_path) == 0)
        fd = bind_socket(AF_UNIX, (const struct sockaddr *)&path, sizeof path, false);
    return fd < 0 ? cannot_listen(err, address->text, strerrordesc_np(errno)) : fd;
}

/* --- what connections share --- */

static void edge_limit(struct edge *edge, const struct config_limits *limits,
                       const struct config_timeouts *timeouts)
{
    edge->config_limits = *limits;
    edge->config_timeouts = *timeouts;
    edge->held.limit = limits->held_bytes;
    edge->limits =
        (struct http1_limits){.header_bytes = limits->header_bytes, .body_bytes = limits->body_bytes};
    edge->http2_limits = (struct http2_limits){.header_bytes = limits->header_bytes,
                                               .body_bytes = limits->body_bytes,
                                               .streams = limits->streams,
                                               .resets = limits->resets,
                                               .controls = limits->controls,
                                               .header_us = timeouts->header_us,
                                               .body_us = timeouts->body_us,
                                               .idle_us = timeouts->idle_us,
                                               .write_us = timeouts->write_us};
}

void listener_set_limits(struct listener *listener, const struct config_limits *limits,
                         const struct config_timeouts *timeouts)
{
    edge_limit(listener->edge, limits, timeouts);
}

void listener_set_tls(struct listener *listener, struct tls_context *tls)
{
    struct tls_context *before = listener->edge->tls;
    listener->edge->tls = tls_context_ref(tls);
    tls_context_unref(before);
}

static struct edge *edge_new(const struct edge_setup *setup)
{
    struct edge *edge = calloc(1, sizeof *edge);
    if (!edge)
        return NULL;
    edge->setup = *setup;
    edge->refs = 1;
    edge->tls = tls_context_ref(setup->tls);
    edge->setup.limits = &edge->config_limits;
    edge->setup.timeouts = &edge->config_timeouts;
    edge_limit(edge, setup->limits, setup->timeouts);
    const char *const *labels = METRIC_LABELS("listener", setup->name);
    edge->connections = metrics_series(setup->metrics, METRIC_CONNECTIONS, labels);
    edge->connections_total = metrics_series(setup->metrics, METRIC_CONNECTIONS_TOTAL, labels);
    edge->connections_refused = metrics_series(setup->metrics, METRIC_CONNECTIONS_REFUSED, labels);
    if (setup->access_log_fd >= 0)
        edge->access_log = access_log_new(setup->loop, setup->access_log_fd);
    if (edge->connections && edge->connections_total && edge->connections_refused &&
        (edge->access_log || setup->access_log_fd < 0))
        return edge;
    edge_unref(edge);
    return NULL;
}

void edge_unref(struct edge *edge)
{
    if (--edge->refs)
        return;
    access_log_free(edge->access_log);
    tls_context_unref(edge->tls);
    buf_clear(&edge->head);
    arena_budget_clear(&edge->held);
    free(edge);
}

void edge_count_error(struct edge *edge, enum gw_status status)
{
    const char *cause = gw_status_cause(status);
    if (!edge->errors[status])
        edge->errors[status] = metrics_series(edge->setup.metrics, METRIC_HTTP_ERRORS,
                                              METRIC_LABELS("listener", edge->setup.name, "cause", cause));
    if (edge->errors[status])
        metric_add(edge->errors[status], 1);
}

void edge_count_handshake(struct edge *edge, enum handshake how)
{
    static const char *const outcomes[HANDSHAKE_COUNT] = {
        [HANDSHAKE_OK] = "ok",
        [HANDSHAKE_RESUMED] = "resumed",
        [HANDSHAKE_MALFORMED] = "malformed",
        [HANDSHAKE_NO_AGREEMENT] = "no_agreement",
        [HANDSHAKE_CERTIFICATE] = "certificate",
        [HANDSHAKE_REFUSED] = "refused",
        [HANDSHAKE_PLAIN_HTTP] = "plain_http",
        [HANDSHAKE_TIMEOUT] = "timeout",
        [HANDSHAKE_GONE] = "gone",
        [HANDSHAKE_NO_MEMORY] = "no_memory",
    };
    if (!edge->handshakes[how])
        edge->handshakes[how] =
            metrics_series(edge->setup.metrics, METRIC_TLS_HANDSHAKES,
                           METRIC_LABELS("listener", edge->setup.name, "outcome", outcomes[how]));
    if (edge->handshakes[how])
        metric_add(edge->handshakes[how], 1);
}

const char *edge_date(struct edge *edge)
{
    time_t now = time(NULL);
    struct tm utc;
    if (now != edge->date_s) {
        edge->date_s = now;
        strftime(edge->date, sizeof edge->date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &utc));
    }
    return edge->date;
}

/* --- accepting --- */

static void describe_client(const struct sockaddr_storage *from, char *text, socklen_t room)
{
    const void *address = from->ss_family == AF_INET
                              ? (const void *)&((const struct sockaddr_in *)from)->sin_addr
                              : (const void *)&((const struct sockaddr_in6 *)from)->sin6_addr;
    if (from->ss_family == AF_UNIX || !inet_ntop(from->ss_family, address, text, room))
        memcpy(text, "unix", sizeof "unix");
}

static void admit(struct edge *edge, int fd, const struct sockaddr_storage *from)
{
    char client[INET6_ADDRSTRLEN];
    if (edge->n_conns >= edge->setup.limits->connections) {
        metric_add(edge->connections_refused, 1);
        close(fd);
        return;
    }
    describe_client(from, client, sizeof client);
    if (!conn_open(edge, fd, client))
        metric_add(edge->connections_refused, 1);
}

static void resume_accepting(struct loop_timer *timer)
{
    struct listener *listener = container_of(timer, struct listener, pause);
    if (event_add(listener->event, NULL) != 0)
        log_error("accept_failed", LOG_TEXT("address", listener->edge->setup.address->text));
}

/* Whoever waits in the backlog would wake the loop again at once, for nothing. */
static void pause_accepting(struct listener *listener, int why)
{
    struct loop *loop = listener->edge->setup.loop;
    log_warn("accept_paused", LOG_TEXT("address", listener->edge->setup.address->text),
             LOG_TEXT("why", strerrordesc_np(why)));
    if (loop_timer_set(loop, &listener->pause, loop_now_us() + PAUSE_US) == GW_OK)
        event_del(listener->event);
}

static void on_connections(evutil_socket_t fd, short what, void *owner)
{
    struct listener *listener = owner;
    (void)what;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage from = {0};
        socklen_t length = sizeof from;
        int client = accept4(fd, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0) {
            admit(listener->edge, client, &from);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(listener, errno);
            return;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } /* else that one connection failed: the next */
    }
}

/* --- life --- */

struct listener *listener_new(const struct edge_setup *setup, struct gw_err *err)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        goto no_memory;
    listener->fd = -1;
    listener->pause.fire = resume_accepting;
    listener->edge = edge_new(setup);
    if (!listener->edge)
        goto no_memory;
    listener->fd = setup->address->unix_path ? bind_unix(setup->address, err)
                                             : bind_tcp(setup->address, setup->join, err);
    if (listener->fd < 0)
        goto fail;
    listener->event =
        event_new(loop_base(setup->loop), listener->fd, EV_READ | EV_PERSIST, on_connections, listener);
    if (!listener->event || event_add(listener->event, NULL) != 0)
        goto no_memory;
    return listener;

no_memory:
    gw_err_set(err, GW_E_NO_MEMORY, "cannot listen on %s: out of memory", setup->address->text);
fail:
    if (listener)
        listener_free(listener);
    return NULL;
}

uint16_t listener_port(const struct listener *listener)
{
    struct sockaddr_storage bound = {0};
    socklen_t length = sizeof bound;
    if (getsockname(listener->fd, (struct sockaddr *)&bound, &length) != 0)
        return 0;
    return ntohs(bound.ss_family == AF_INET    ? ((const struct sockaddr_in *)&bound)->sin_port
                 : bound.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&bound)->sin6_port
                                               : 0);
}

static void stop_accepting(struct listener *listener)
{
    const struct edge_setup *setup = &listener->edge->setup;
    loop_timer_cancel(setup->loop, &listener->pause);
    if (listener->event)
        event_free(listener->event);
    listener->event = NULL;
    if (listener->fd < 0)
        return;
    close(listener->fd);
    listener->fd = -1;
    if (setup->address->unix_path)
        unlink(setup->address->unix_path);
}

void listener_drain(struct listener *listener)
{
    stop_accepting(listener);
    listener->edge->draining = true;
    for (struct conn *conn = listener->edge->conns; conn; conn = conn_next(conn))
        conn_drain(conn);
}

uint32_t listener_connections(const struct listener *listener)
{
    return listener->edge->n_conns;
}

void listener_free(struct listener *listener)
{
    if (listener->edge) {
        stop_accepting(listener);
        for (struct conn *conn = listener->edge->conns; conn; conn = conn_next(conn))
            conn_close(conn);
        edge_unref(listener->edge);
    }
    free(listener);
}
