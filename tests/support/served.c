/* served: replicas, the gateway, and a client, in that order. */
#include "served.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "config/config.h"
#include "shard.h"
#include "transport.h"

enum { REPLICAS = 4, ADDRESS_BYTES = 64, READY_WITHIN_MS = 10000, SETTLED_WITHIN_MS = 5000 };

static const char *const replica_names[REPLICAS] = {"echo", "said", "picky", "next"};

struct served_replicas {
    char folder[32];
    pid_t processes[REPLICAS];
    pid_t redis; /* 0: none */
};

struct served {
    struct config *config;
    struct metrics *metrics;
    struct gateway *gateway; /* NULL: not started */
    uint16_t port;
    int access_log;
};

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "served: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

/* Not the gateway's clock, which a test may bend. */
static uint64_t now_ms(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void wait_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
}

/* --- replicas --- */

static pid_t start_process(char *const argv[])
{
    pid_t process = fork();
    if (process < 0)
        fail("fork: %s", strerror(errno));
    if (process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(argv[0], argv);
        _exit(127);
    }
    return process;
}

struct served_replicas *served_replicas_start(const char *echo, const char *picky)
{
    struct served_replicas *replicas = calloc(1, sizeof *replicas);
    char address[REPLICAS][ADDRESS_BYTES], *echo_path = (char *)(uintptr_t)echo,
                                           *picky_path = (char *)(uintptr_t)picky;
    if (!replicas)
        fail("no memory");
    strcpy(replicas->folder, "/tmp/xebec-served.XXXXXX");
    if (!mkdtemp(replicas->folder))
        fail("mkdtemp: %s", strerror(errno));
    for (int i = 0; i < REPLICAS; i++)
        snprintf(address[i], ADDRESS_BYTES, "unix:%s/%s", replicas->folder, replica_names[i]);
    replicas->processes[0] =
        start_process((char *const[]){echo_path, "--listen", address[0], "--digest", "d1", NULL});
    replicas->processes[1] = start_process(
        (char *const[]){echo_path, "--listen", address[1], "--model", "said", "--input", "t:BYTES:-1", NULL});
    replicas->processes[2] = start_process((char *const[]){picky_path, address[2], NULL});
    replicas->processes[3] =
        start_process((char *const[]){echo_path, "--listen", address[3], "--version", "next", NULL});
    signal(SIGPIPE, SIG_IGN);
    return replicas;
}

void served_replicas_stop(struct served_replicas *replicas)
{
    for (int i = 0; i < REPLICAS; i++) {
        char path[ADDRESS_BYTES];
        int status = -1;
        kill(replicas->processes[i], SIGTERM);
        if (waitpid(replicas->processes[i], &status, 0) < 0 || status != 0)
            fail("replica %s ended with %#x", replica_names[i], (unsigned)status);
        snprintf(path, sizeof path, "%s/%s", replicas->folder, replica_names[i]);
        unlink(path);
    }
    rmdir(replicas->folder);
    free(replicas);
}

void served_redis_start(struct served_replicas *replicas)
{
    char path[ADDRESS_BYTES], redis[] = "/usr/bin/redis-server";
    snprintf(path, sizeof path, "%s/redis", replicas->folder);
    replicas->redis =
        start_process((char *const[]){redis, "--port", "0", "--unixsocket", path, "--save", "", "--dir",
                                      replicas->folder, "--logfile", "/dev/null", NULL});
}

void served_redis_stop(struct served_replicas *replicas)
{
    char path[ADDRESS_BYTES];
    int status = -1;
    snprintf(path, sizeof path, "%s/redis", replicas->folder);
    kill(replicas->redis, SIGTERM);
    if (waitpid(replicas->redis, &status, 0) < 0 || status != 0)
        fail("redis-server ended with %#x", (unsigned)status);
    unlink(path);
    replicas->redis = 0;
}

/* --- the gateway --- */

static const char configuration[] =
    "listen: 127.0.0.1:0\n"
    "shards: 1\n"
    "transport: %4$s\n"
    "log: {level: error}\n"
    "cache: {%3$s}\n"
    "models:\n"
    "  echo:\n"
    "    input: {x: {datatype: FP32, shape: [-1, 4]}}\n"
    "    versions:\n"
    "      '1': {replicas: ['unix:%1$s/echo', 'dns:localhost:1']}\n"
    "      next: {replicas: ['unix:%1$s/next']}\n"
    "    health: {interval: 250ms}\n"
    "  said:\n"
    "    input: {t: {datatype: BYTES, shape: [-1], encoding: text}}\n"
    "    output: {t: {datatype: BYTES, shape: [-1], encoding: json}}\n"
    "    versions: {'1': {replicas: ['unix:%1$s/said']}}\n"
    "    health: {interval: 250ms}\n"
    "  picky:\n"
    "    input: {x: {datatype: FP32, shape: [-1, 2]}}\n"
    "    versions: {'1': {replicas: ['unix:%1$s/picky']}}\n"
    "    cache: off\n"
    "    batching: {policy: fixed}\n"
    "    health: {interval: 250ms}\n"
    "endpoints:\n"
    "  echo: {slo: 10s, model: echo@1, shadow: [{model: echo@next, noise: 50%%}]}\n"
    "  echo-default: {slo: 10s, model: echo@1, default: {x: [0, 0, 0, 0]}}\n"
    "  said: {slo: 10s, model: said@1}\n"
    "  picky: {slo: 10s, model: picky@1}\n"
    "  picky-default: {slo: 10s, model: picky@1, default: {y: -1, words: none}}\n"
    "  picky-long: {slo: 60s, model: picky@1}\n"
    "%2$s";

static struct config *read_configuration(const struct served_replicas *replicas, const char *more)
{
    char text[4096], cache[256] = "memory: 64MiB";
    struct config_problems problems;
    if (replicas->redis)
        snprintf(cache, sizeof cache,
                 "memory: 0, redis: {url: 'unix:%s/redis', timeout: {connect: 5s, command: 1s}}",
                 replicas->folder);
    int length = snprintf(text, sizeof text, configuration, replicas->folder, more, cache,
                          transport_name(transport_of_test()));
    struct config *config = config_parse("served.yaml", text, (size_t)length, &problems);
    for (uint32_t i = 0; i < problems.count; i++)
        fprintf(stderr, "served.yaml:%u: %s\n", problems.list[i].line, problems.list[i].what);
    config_problems_clear(&problems);
    return config;
}

struct served *served_new(const struct served_replicas *replicas, const char *more)
{
    struct served *served = calloc(1, sizeof *served);
    if (!served || !(served->config = read_configuration(replicas, more)))
        fail("no configuration");
    log_open(STDERR_FILENO, served->config->log_level);
    served->access_log = open("/dev/null", O_WRONLY | O_CLOEXEC);
    return served;
}

enum gw_status served_try(struct served *served)
{
    struct gw_err err = {.status = GW_E_NO_MEMORY};
    metrics_free(served->metrics);
    served->metrics = metrics_new();
    if (served->metrics)
        served->gateway =
            gateway_start(served->config, served->metrics, served->access_log, NULL, NULL, &err);
    if (!served->gateway)
        return err.status;
    served->port = gateway_port(served->gateway);
    return GW_OK;
}

static bool is_ready(const struct served *served)
{
    for (uint32_t i = 0; i < gateway_config(served->gateway)->n_versions; i++) {
        struct replica_status replica;
        pool_status(version_pool(gateway_version(served->gateway, i)), &replica, 1);
        if (replica.state != REPLICA_READY)
            return false;
    }
    struct cache_redis *redis = gateway_redis(served->gateway, 0);
    struct cache_redis_status status = {.redis.state = BREAKER_CLOSED};
    if (redis)
        cache_redis_status(redis, &status);
    return status.redis.state == BREAKER_CLOSED;
}

void served_wait_ready(const struct served *served)
{
    for (uint64_t end_ms = now_ms() + READY_WITHIN_MS; !is_ready(served); wait_a_little())
        if (now_ms() > end_ms)
            fail("the replicas are not ready");
}

struct served *served_start(const struct served_replicas *replicas, const char *more)
{
    struct served *served = served_new(replicas, more);
    enum gw_status status = served_try(served);
    if (status != GW_OK)
        fail("the gateway does not start: %s", gw_status_words(status));
    served_wait_ready(served);
    return served;
}

int64_t served_sum(const struct served *served, const char *family)
{
    struct buf text = {0};
    int64_t sum = 0;
    size_t length = strlen(family);
    metrics_render(served->metrics, &text);
    buf_append(&text, "", 1);
    if (text.failed)
        fail("no memory");
    for (const char *line = text.bytes; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, family, length) == 0 && (line[length] == '{' || line[length] == ' '))
            sum += strtoll(strchr(line[length] == '{' ? strchr(line, '}') : line, ' '), NULL, 10);
    }
    buf_clear(&text);
    return sum;
}

void served_wait_sum(const struct served *served, const char *family, int64_t sum)
{
    uint64_t end_ms = now_ms() + SETTLED_WITHIN_MS;
    for (int64_t is; (is = served_sum(served, family)) != sum; wait_a_little())
        if (now_ms() > end_ms)
            fail("%s is %lld and does not become %lld", family, (long long)is, (long long)sum);
}

void served_stop(struct served *served)
{
    if (served->gateway) {
        served_wait_sum(served, "xebec_connections", 0);
        served_wait_sum(served, "xebec_requests_open", 0);
        served_wait_sum(served, "xebec_queue_rows", 0);
        if (!gateway_stop(served->gateway))
            fail("the gateway says that it cut off requests");
    }
    metrics_free(served->metrics);
    config_unref(served->config);
    close(served->access_log);
    free(served);
}

/* --- a client --- */

int served_connect(const struct served *served)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(served->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
        fail("connect: %s", strerror(errno));
    return fd;
}

void client_open(struct client *client, const struct served *served)
{
    client->length = 0;
    client->bytes[0] = '\0';
    client->fd = served_connect(served);
}

void client_send(struct client *client, const char *bytes, size_t length)
{
    while (length) {
        ssize_t sent = write(client->fd, bytes, length);
        if (sent < 0 && errno != EINTR)
            return;
        bytes += sent > 0 ? sent : 0;
        length -= sent > 0 ? (size_t)sent : 0;
    }
}

/* How long the reply is that begins what was read, and its head; 0 while it is not all there, SIZE_MAX: not
 * HTTP. */
static size_t reply_length(const struct client *client, size_t *head)
{
    const char *end = strstr(client->bytes, "\r\n\r\n");
    const char *says = strcasestr(client->bytes, "\r\ncontent-length: ");
    if (!end)
        return 0;
    *head = (size_t)(end - client->bytes) + 4;
    if (strncmp(client->bytes, "HTTP/1.1 ", 9) != 0)
        return SIZE_MAX;
    if (client->bytes[9] == '1')
        return *head;
    if (!says || says > end)
        return SIZE_MAX;
    size_t length = *head + strtoul(says + 18, NULL, 10);
    return length <= client->length ? length : 0;
}

static struct reply client_take(struct client *client, size_t length, size_t head)
{
    memcpy(client->reply, client->bytes, length);
    client->reply[head - 1] = client->reply[length] = '\0';
    client->length -= length;
    memmove(client->bytes, client->bytes + length, client->length + 1);
    return (struct reply){.how = REPLY_WHOLE,
                          .status = atoi(client->reply + 9),
                          .head = client->reply,
                          .body = client->reply + head,
                          .body_length = length - head};
}

enum read_how { READ_SOME, READ_END, READ_LATE };

static enum read_how client_read(struct client *client, uint64_t end_ms)
{
    uint64_t at_ms = now_ms();
    struct pollfd wait = {.fd = client->fd, .events = POLLIN};
    if (poll(&wait, 1, at_ms < end_ms ? (int)(end_ms - at_ms) : 0) != 1)
        return READ_LATE;
    ssize_t got = read(client->fd, client->bytes + client->length, REPLY_BYTES_MAX - client->length);
    client->length += got > 0 ? (size_t)got : 0;
    client->bytes[client->length] = '\0';
    return got > 0 ? READ_SOME : READ_END;
}

static struct reply client_wait(struct client *client, uint64_t end_ms)
{
    size_t length, head;
    while ((length = reply_length(client, &head)) == 0) {
        enum read_how how = client_read(client, end_ms);
        if (how == READ_LATE)
            return (struct reply){.how = REPLY_LATE};
        if (how == READ_END)
            return (struct reply){.how = client->length ? REPLY_MALFORMED : REPLY_NONE};
    }
    return length == SIZE_MAX ? (struct reply){.how = REPLY_MALFORMED} : client_take(client, length, head);
}

struct reply client_reply(struct client *client, unsigned within_ms)
{
    uint64_t end_ms = now_ms() + within_ms;
    struct reply reply;
    do
        reply = client_wait(client, end_ms);
    while (reply.how == REPLY_WHOLE && reply.status == 100);
    return reply;
}

bool client_close(struct client *client)
{
    uint64_t end_ms = now_ms() + REPLY_WITHIN_MS;
    enum read_how how;
    shutdown(client->fd, SHUT_WR);
    while ((how = client_read(client, end_ms)) == READ_SOME) {
    }
    close(client->fd);
    return how == READ_END && client->length == 0;
}
