/* ask: an address, a socket, a request, and its answer. */
#include "commands/ask.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/loop.h"

struct asking {
    const struct ask *ask;
    int fd;
    uint64_t until_us;
    struct buf answer;
};

/* --- where it listens --- */

static bool parse_unix(const char *path, struct sockaddr_storage *to, socklen_t *length)
{
    struct sockaddr_un *local = (struct sockaddr_un *)to;
    if (!path[0] || strlen(path) >= sizeof local->sun_path)
        return false;
    local->sun_family = AF_UNIX;
    strcpy(local->sun_path, path);
    *length = sizeof *local;
    return true;
}

/* "127.0.0.1:8081", "[::1]:8081": a host without its brackets, and a port. */
static bool parse_tcp(const char *address, struct sockaddr_storage *to, socklen_t *length)
{
    const struct addrinfo numeric = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(address, ':'), *end = colon;
    struct addrinfo *found;
    char host[64];
    if (colon && address[0] == '[' && colon[-1] == ']')
        address++, end--;
    if (!colon || !colon[1] || end <= address || (size_t)(end - address) >= sizeof host)
        return false;
    snprintf(host, sizeof host, "%.*s", (int)(end - address), address);
    if (getaddrinfo(host, colon + 1, &numeric, &found) != 0)
        return false;
    memcpy(to, found->ai_addr, found->ai_addrlen);
    *length = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

/* --- asking --- */

/* Waits for the socket; false, with errno, when time is up. */
static bool wait_for(struct asking *asking, short events)
{
    struct pollfd socket = {.fd = asking->fd, .events = events};
    uint64_t now = loop_now_us();
    int left_ms = now < asking->until_us ? (int)((asking->until_us - now + 999) / 1000) : 0;
    int ready = poll(&socket, 1, left_ms);
    if (ready == 0)
        errno = ETIMEDOUT;
    return ready > 0;
}

static bool dial(struct asking *asking, const struct sockaddr_storage *to, socklen_t length)
{
    int error = 0;
    socklen_t size = sizeof error;
    asking->fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (asking->fd < 0)
        return false;
    if (connect(asking->fd, (const struct sockaddr *)to, length) == 0)
        return true;
    if (errno != EINPROGRESS || !wait_for(asking, POLLOUT))
        return false;
    getsockopt(asking->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    return error == 0;
}

static bool send_all(struct asking *asking, const char *bytes, size_t length)
{
    while (length) {
        ssize_t n = send(asking->fd, bytes, length, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN && wait_for(asking, POLLOUT))
            continue;
        if (n < 0)
            return false;
        bytes += n;
        length -= (size_t)n;
    }
    return true;
}

static bool send_question(struct asking *asking)
{
    const struct ask *ask = asking->ask;
    struct buf question = {0};
    buf_printf(&question, "%s %s HTTP/1.1\r\nHost: xebec\r\nConnection: close\r\n", ask->method, ask->path);
    if (ask->token)
        buf_printf(&question, "Authorization: Bearer %s\r\n", ask->token);
    if (ask->body)
        buf_printf(&question, "Content-Type: application/json\r\nContent-Length: %zu\r\n", ask->body->length);
    buf_text(&question, "\r\n");
    if (ask->body)
        buf_append(&question, ask->body->bytes, ask->body->length);
    if (question.failed)
        errno = ENOMEM;
    bool sent = !question.failed && send_all(asking, question.bytes, question.length);
    buf_clear(&question);
    return sent;
}

/* Until it closes; terminated. */
static bool read_answer(struct asking *asking)
{
    enum { STEP = 16384 };
    for (;;) {
        char *room = buf_reserve(&asking->answer, STEP);
        if (!room || asking->answer.length > asking->ask->bytes_max) {
            errno = room ? EMSGSIZE : ENOMEM;
            return false;
        }
        if (!wait_for(asking, POLLIN))
            return false;
        ssize_t n = recv(asking->fd, room, STEP - 1, 0);
        if (n <= 0) {
            *room = '\0';
            return n == 0;
        }
        asking->answer.length += (size_t)n;
    }
}

/* HTTP/1.1, a status, and as many bytes of body as it says. NULL: it is not that. */
static const char *judge(const struct buf *answer, int *status)
{
    const char *body = answer->bytes ? strstr(answer->bytes, "\r\n\r\n") : NULL;
    const char *length = body ? strcasestr(answer->bytes, "\r\ncontent-length:") : NULL;
    if (!body || strncmp(answer->bytes, "HTTP/1.1 ", 9) != 0)
        return NULL;
    body += 4;
    if (!length || length > body ||
        strtoull(length + 17, NULL, 10) != answer->length - (size_t)(body - answer->bytes))
        return NULL;
    *status = atoi(answer->bytes + 9);
    return *status >= 100 ? body : NULL;
}

static void ask_at(struct asking *asking, const struct sockaddr_storage *to, socklen_t length,
                   struct answer *answer)
{
    const char *address = asking->ask->address, *body = NULL;
    if (!dial(asking, to, length) || !send_question(asking) || !read_answer(asking))
        buf_printf(&answer->body, "no answer from %s: %s\n", address, strerror(errno));
    else if (!(body = judge(&asking->answer, &answer->status)))
        buf_printf(&answer->body, "%s does not answer as the admin listener of a gateway\n", address);
    else
        buf_append(&answer->body, body, asking->answer.length - (size_t)(body - asking->answer.bytes));
}

void admin_ask(const struct ask *ask, struct answer *answer)
{
    struct asking asking = {.ask = ask, .fd = -1, .until_us = loop_now_us() + ask->patience_us};
    struct sockaddr_storage to = {0};
    socklen_t length = 0;
    const char *address = ask->address;
    *answer = (struct answer){.status = 0};
    if (strncmp(address, "unix:", 5) == 0 ? parse_unix(address + 5, &to, &length)
                                          : parse_tcp(address, &to, &length))
        ask_at(&asking, &to, length, answer);
    else
        buf_printf(&answer->body, "%s is no address: as 127.0.0.1:8081, [::1]:8081 or unix:/path\n", address);
    if (asking.fd >= 0)
        close(asking.fd);
    buf_clear(&asking.answer);
}
