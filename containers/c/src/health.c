/*
 * xebec-health [ADDRESS]: asks a worker by grpc.health.v1 whether it serves. Exit status 0: it does.
 *
 * For a container's HEALTHCHECK. HTTP/2 by hand: the question is always the same bytes, and the answer is the
 * only DATA frame that comes on its stream.
 */
#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { TIMEOUT_SECONDS = 2, FRAMES_MAX = 64, HEAD_BYTES = 9, PAYLOAD_BYTES_MAX = 16384 };
enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, GOAWAY = 7, END_STREAM = 1 };

/* Preface; no settings; HEADERS in HPACK without Huffman, names by their number in the static table; no
 * message. */
static const char QUESTION[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                               "\0\0\0\4\0\0\0\0\0"
                               "\0\0\113\1\4\0\0\0\1"
                               "\203\206"
                               "\4\34/grpc.health.v1.Health/Check"
                               "\1\11localhost"
                               "\17\20\20application/grpc"
                               "\0\2te\10trailers"
                               "\0\0\5\0\1\0\0\0\1"
                               "\0\0\0\0\0";
static const uint8_t SERVING[] = {0, 0, 0, 0, 2, 8, 1};

static bool read_all(int fd, uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t got = recv(fd, bytes, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        bytes += got, size -= (size_t)got;
    }
    return true;
}

static uint32_t big_endian(const uint8_t *bytes, int size)
{
    uint32_t number = 0;
    for (int i = 0; i < size; i++)
        number = number << 8 | bytes[i];
    return number;
}

/* Reads frames up to the answer, the call's end, or the server's. Workers answer within a handful. */
static bool read_answer(int fd)
{
    uint8_t head[HEAD_BYTES], payload[PAYLOAD_BYTES_MAX];
    for (int frames = 0; frames < FRAMES_MAX; frames++) {
        if (!read_all(fd, head, sizeof head))
            return false;
        uint32_t size = big_endian(head, 3), stream = big_endian(head + 5, 4);
        uint8_t type = head[3], flags = head[4];
        if (size > sizeof payload || !read_all(fd, payload, size) || type == GOAWAY)
            return false;
        if (stream != 1)
            continue;
        if (type == DATA)
            return size == sizeof SERVING && memcmp(payload, SERVING, size) == 0;
        if (type == RST_STREAM || (type == HEADERS && flags & END_STREAM))
            return false;
    }
    return false;
}

static int dial(int family, const struct sockaddr *address, socklen_t size)
{
    const struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout); /* bounds connect() too */
    if (connect(fd, address, size) == 0)
        return fd;
    close(fd);
    return -1;
}

static int dial_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, path);
    return dial(AF_UNIX, (const struct sockaddr *)&address, sizeof address);
}

/* "host:port", "[v6]:port": a worker that listens on every interface is asked on the loopback one. */
static int dial_tcp(const char *address)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host)
        return -1;
    bool bracketed = address[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - address) - 2 * bracketed, address + bracketed);
    if (strcmp(host, "0.0.0.0") == 0 || host[0] == '\0')
        strcpy(host, "127.0.0.1");
    else if (strcmp(host, "::") == 0)
        strcpy(host, "::1");

    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int fd = -1;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return -1;
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next)
        fd = dial(at->ai_family, at->ai_addr, at->ai_addrlen);
    freeaddrinfo(found);
    return fd;
}

int main(int argc, char **argv)
{
    const char *listen = getenv("XEBEC_LISTEN");
    const char *address = argc > 1 ? argv[1] : listen && *listen ? listen : "0.0.0.0:9000";
    int fd = strncmp(address, "unix:", 5) == 0 ? dial_unix(address + 5) : dial_tcp(address);
    if (fd < 0) {
        printf("%s: no answer: %s\n", address, strerror(errno));
        return 1;
    }
    bool serving = send(fd, QUESTION, sizeof QUESTION - 1, MSG_NOSIGNAL) == (ssize_t)(sizeof QUESTION - 1) &&
                   read_answer(fd);
    close(fd);
    printf("%s: %s\n", address, serving ? "SERVING" : "not serving");
    return !serving;
}
