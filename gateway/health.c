/* health: one question to the admin listener, on one blocking socket, bounded in time and bytes. */
#include "health.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/loop.h"

enum { ANSWER_US = 2000000, ANSWER_BYTES = 8192 };

static const char question[] = "GET /health/serving HTTP/1.1\r\nHost: xebec\r\nConnection: close\r\n\r\n";

struct asking {
    int fd;
    uint64_t until_us;
    char answer[ANSWER_BYTES + 1];
    size_t length;
};

/* --- where it listens ----------------------------------------------------------------------------------- */

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

/* --- asking --------------------------------------------------------------------------------------------- */

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

/* Until it closes, or the room is full. */
static bool read_answer(struct asking *asking)
{
    while (asking->length < ANSWER_BYTES) {
        if (!wait_for(asking, POLLIN))
            return false;
        ssize_t n = recv(asking->fd, asking->answer + asking->length, ANSWER_BYTES - asking->length, 0);
        if (n <= 0)
            return n == 0;
        asking->length += (size_t)n;
    }
    return true;
}

static bool exchange_words(struct asking *asking, const struct sockaddr_storage *to, socklen_t length)
{
    const size_t asked = sizeof question - 1; /* far less than the room of any new socket */
    return dial(asking, to, length) && send(asking->fd, question, asked, MSG_NOSIGNAL) == (ssize_t)asked &&
           read_answer(asking);
}

static bool judge(struct asking *asking, const char *address, struct buf *said)
{
    asking->answer[asking->length] = '\0';
    const char *body = strstr(asking->answer, "\r\n\r\n");
    if (strncmp(asking->answer, "HTTP/1.1 ", 9) != 0 || !body) {
        buf_printf(said, "%s does not answer as the admin listener of a gateway\n", address);
        return false;
    }
    buf_text(said, body + 4);
    return strncmp(asking->answer + 9, "200 ", 4) == 0;
}

bool health_ask(const char *address, struct buf *said)
{
    struct asking asking = {.fd = -1, .until_us = loop_now_us() + ANSWER_US};
    struct sockaddr_storage to = {0};
    socklen_t length = 0;
    bool healthy = false;
    if (strncmp(address, "unix:", 5) == 0 ? !parse_unix(address + 5, &to, &length)
                                          : !parse_tcp(address, &to, &length))
        buf_printf(said, "%s is no address: as 127.0.0.1:8081, [::1]:8081 or unix:/path\n", address);
    else if (!exchange_words(&asking, &to, length))
        buf_printf(said, "no answer from %s: %s\n", address, strerror(errno));
    else
        healthy = judge(&asking, address, said);
    if (asking.fd >= 0)
        close(asking.fd);
    return healthy;
}
