/*
 * open_loop: asks an HTTP server as clients in the world do, at times of their own choosing, and says how
 * long they waited.
 *
 *   open_loop --port P --requests FILE [--rate R] [--seconds S] [--connections N] [--seed X]
 *
 * Requests fall due as a Poisson process of R a second, the same one for the same seed, whether or not
 * earlier ones are answered; each waits for a free keep-alive connection, and its latency counts from when it
 * was due: a server that stalls cannot hide it by keeping the client from asking (no coordinated omission).
 * With --rate 0 every connection asks again as soon as it is answered: that finds the peak, not latencies.
 *
 * FILE holds what is asked, in turns: a line "REQUEST_BYTES ANSWER_BYTES", the whole HTTP/1.1 request, and
 * text that must stand in the body of its answer. So an answer that belongs to somebody else's row is seen.
 *
 * One thread, one line of JSON on stdout. A request that is refused, answered wrongly, lost, or not answered
 * at all has an infinite latency (null): percentiles are over all requests that fell due.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { REPLY_BYTES = 64 << 10, EVENTS = 128, DRAIN_US = 1000000 };
enum outcome { GOOD, WRONG, REFUSED, LOST };
static const uint32_t NEVER = UINT32_MAX;

struct question {
    const char *request, *answer; /* request: bytes on the wire; answer: what its body must contain */
    size_t request_bytes, answer_bytes;
};

struct connection {
    int fd; /* -1: closed */
    bool busy;
    const struct question *asked;
    uint64_t due_us;
    size_t sent, got;
    char reply[REPLY_BYTES];
};

struct load {
    /* What was asked for. */
    uint16_t port;
    double rate; /* requests a second; 0: as fast as they are answered */
    uint64_t seconds;
    uint32_t n_connections;
    uint64_t random;
    struct question *questions;
    size_t n_questions;
    /* Where it stands. */
    int epoll;
    struct connection *connections;
    uint32_t *idle, n_idle; /* a stack of those that may be asked over */
    uint64_t start_us, end_us;
    double next_due_us; /* of the next request, after start_us */
    size_t n_asked;
    /* What came of it. */
    uint32_t *latencies_us; /* one for each request that is over */
    size_t n_latencies, room;
    uint64_t outcomes[4], good_in_time;
};

static void die(const char *what)
{
    fprintf(stderr, "open_loop: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(EXIT_FAILURE);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The gap to the next request: exponential, from xorshift64. */
static double draw_gap_us(struct load *load)
{
    load->random ^= load->random << 13;
    load->random ^= load->random >> 7;
    load->random ^= load->random << 17;
    double uniform = ((double)(load->random >> 11) + 1) / 9007199254740993.0;
    return -log(uniform) * 1e6 / load->rate;
}

/* --- what came of a request
 * ----------------------------------------------------------------------------------------- */

static void note(struct load *load, enum outcome outcome, uint32_t latency_us)
{
    if (load->n_latencies == load->room) {
        load->room = load->room ? 2 * load->room : 1 << 16;
        load->latencies_us = realloc(load->latencies_us, load->room * sizeof(uint32_t));
        if (!load->latencies_us)
            die("out of memory");
    }
    load->latencies_us[load->n_latencies++] = outcome == GOOD ? latency_us : NEVER;
    load->outcomes[outcome]++;
}

static void rest(struct load *load, struct connection *connection)
{
    connection->busy = false;
    load->idle[load->n_idle++] = (uint32_t)(connection - load->connections);
}

static void over(struct load *load, struct connection *connection, enum outcome outcome)
{
    uint64_t now = now_us();
    note(load, outcome, (uint32_t)(now - connection->due_us));
    if (outcome == GOOD && now <= load->end_us)
        load->good_in_time++;
    rest(load, connection);
}

static void hang_up(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
}

/* --- asking
 * ---------------------------------------------------------------------------------------------------------
 */

static bool dial(struct load *load, struct connection *connection)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(load->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        fcntl(connection->fd, F_SETFL, O_NONBLOCK) != 0 ||
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) != 0 ||
        epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0) {
        hang_up(connection);
        return false;
    }
    return true;
}

static void send_more(struct load *load, struct connection *connection)
{
    const struct question *asked = connection->asked;
    while (connection->sent < asked->request_bytes) {
        ssize_t n = send(connection->fd, asked->request + connection->sent,
                         asked->request_bytes - connection->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            hang_up(connection);
            over(load, connection, LOST);
            return;
        }
        connection->sent += (size_t)n;
    }
}

static void ask(struct load *load, uint64_t due_us)
{
    struct connection *connection = &load->connections[load->idle[--load->n_idle]];
    connection->asked = &load->questions[load->n_asked++ % load->n_questions];
    connection->busy = true;
    connection->due_us = due_us;
    connection->sent = connection->got = 0;
    if (connection->fd < 0 && !dial(load, connection))
        over(load, connection, LOST);
    else
        send_more(load, connection);
}

/* Asks what is due, as far as connections are free. What is not asked now stays due since when it was. */
static void ask_due(struct load *load, uint64_t now)
{
    uint32_t turn = load->n_idle; /* each once a turn: a server that is gone must not keep us here */
    while (turn-- > 0 && load->n_idle > 0) {
        if (load->rate == 0) {
            ask(load, now);
            continue;
        }
        uint64_t due = load->start_us + (uint64_t)load->next_due_us;
        if (due > now)
            return;
        load->next_due_us += draw_gap_us(load);
        ask(load, due);
    }
}

/* --- answers
 * -------------------------------------------------------------------------------------------------------- */

/* The bytes of a whole reply whose header ends at `body`; 0: not known yet. */
static size_t reply_bytes(const struct connection *connection, const char *body)
{
    const char *length = strcasestr(connection->reply, "\r\nContent-Length:");
    if (length && length < body)
        return (size_t)(body - connection->reply) + strtoul(length + 17, NULL, 10);
    const char *chunked = strcasestr(connection->reply, "\r\nTransfer-Encoding: chunked");
    if (!chunked || chunked > body)
        return 0;
    const char *last = strstr(body - 2, "\r\n0\r\n\r\n"); /* answers are JSON: no bare CR in it */
    return last ? (size_t)(last - connection->reply) + 7 : 0;
}

static enum outcome judge(const struct connection *connection, const char *body, size_t body_bytes)
{
    if (strncmp(connection->reply, "HTTP/1.1 200", 12) != 0)
        return REFUSED;
    return memmem(body, body_bytes, connection->asked->answer, connection->asked->answer_bytes) ? GOOD
                                                                                                : WRONG;
}

/* One reply at a time, since one request at a time is asked over a connection. */
static void read_reply(struct load *load, struct connection *connection)
{
    char *end = strstr(connection->reply, "\r\n\r\n");
    size_t whole = end ? reply_bytes(connection, end + 4) : 0;
    if (whole == 0 || connection->got < whole)
        return;
    enum outcome outcome = judge(connection, end + 4, whole - (size_t)(end + 4 - connection->reply));
    const char *closes = strcasestr(connection->reply, "\r\nConnection: close");
    if (closes && closes < end)
        hang_up(connection);
    over(load, connection, outcome);
}

static void receive(struct load *load, struct connection *connection)
{
    for (;;) {
        size_t room = REPLY_BYTES - 1 - connection->got;
        ssize_t n = room ? recv(connection->fd, connection->reply + connection->got, room, 0) : 0;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            hang_up(connection);
            if (connection->busy)
                over(load, connection, LOST);
            return;
        }
        connection->got += (size_t)n;
        connection->reply[connection->got] = '\0';
        if (connection->busy)
            read_reply(load, connection);
        if (!connection->busy || (size_t)n < room)
            return; /* edge-triggered, yet a short read has emptied the socket */
    }
}

static void handle(struct load *load, const struct epoll_event *event)
{
    struct connection *connection = event->data.ptr;
    if (connection->fd >= 0 && connection->busy && (event->events & EPOLLOUT) && connection->sent > 0)
        send_more(load, connection);
    if (connection->fd >= 0 && (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        receive(load, connection);
}

/* --- the run
 * -------------------------------------------------------------------------------------------------------- */

static void wait_for_events(struct load *load, uint64_t until_us)
{
    struct epoll_event events[EVENTS];
    uint64_t now = now_us(), wait_us = until_us > now ? until_us - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(wait_us / 1000000),
                               .tv_nsec = (long)(wait_us % 1000000) * 1000};
    int n = epoll_pwait2(load->epoll, events, EVENTS, &timeout, NULL);
    if (n < 0 && errno != EINTR)
        die("epoll_pwait2");
    for (int i = 0; i < n; i++)
        handle(load, &events[i]);
}

/* When to look again, though no answer comes: when the next request is due, if there is a connection for it.
 */
static uint64_t wake_up_us(const struct load *load, uint64_t now)
{
    uint64_t latest = now + 10000;
    if (load->n_idle == 0 || load->rate == 0)
        return latest;
    uint64_t due = load->start_us + (uint64_t)load->next_due_us;
    return due < latest ? due : latest;
}

static void run(struct load *load)
{
    load->start_us = now_us();
    load->end_us = load->start_us + load->seconds * 1000000;
    load->next_due_us = load->rate > 0 ? draw_gap_us(load) : 0;
    for (uint64_t now = load->start_us; now < load->end_us; now = now_us()) {
        ask_due(load, now);
        wait_for_events(load, wake_up_us(load, now));
    }
    if (load->rate > 0)
        ask_due(load, load->end_us);
    while (load->n_idle < load->n_connections && now_us() < load->end_us + DRAIN_US)
        wait_for_events(load, load->end_us + DRAIN_US);
}

/* Requests that were due and never asked, and those that are still not answered. */
static uint64_t note_unanswered(struct load *load)
{
    uint64_t n = load->n_connections - load->n_idle;
    for (; load->rate > 0 && load->start_us + (uint64_t)load->next_due_us < load->end_us; n++)
        load->next_due_us += draw_gap_us(load);
    for (uint64_t i = 0; i < n; i++)
        note(load, LOST, NEVER);
    load->outcomes[LOST] -= n;
    return n;
}

static int by_value(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void print_percentile(const struct load *load, const char *name, double share)
{
    size_t at = (size_t)(share * (double)load->n_latencies);
    uint32_t us = load->n_latencies == 0
                      ? NEVER
                      : load->latencies_us[at < load->n_latencies ? at : load->n_latencies - 1];
    if (us == NEVER)
        printf(", \"%s_us\": null", name);
    else
        printf(", \"%s_us\": %u", name, us);
}

static void report(struct load *load)
{
    uint64_t unanswered = note_unanswered(load);
    qsort(load->latencies_us, load->n_latencies, sizeof(uint32_t), by_value);
    printf("{\"rps\": %.1f, \"due\": %zu, \"good\": %lu, \"wrong\": %lu, \"refused\": %lu, \"lost\": %lu, "
           "\"unanswered\": %lu",
           (double)load->good_in_time / (double)load->seconds, load->n_latencies, load->outcomes[GOOD],
           load->outcomes[WRONG], load->outcomes[REFUSED], load->outcomes[LOST], unanswered);
    print_percentile(load, "p50", 0.5);
    print_percentile(load, "p99", 0.99);
    print_percentile(load, "max", 1);
    printf("}\n");
}

/* --- getting ready
 * -------------------------------------------------------------------------------------------------- */

static char *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        die(path);
    long size = ftell(file);
    char *text = size >= 0 ? malloc((size_t)size + 1) : NULL;
    rewind(file);
    if (!text || fread(text, 1, (size_t)size, file) != (size_t)size)
        die(path);
    fclose(file);
    text[size] = '\0';
    *bytes = (size_t)size;
    return text;
}

/* The questions point into the file's text, which lives as long as the process. */
static void read_questions(struct load *load, const char *path)
{
    size_t bytes;
    char *at = read_file(path, &bytes), *end = at + bytes;
    while (at < end) {
        struct question question;
        char *text;
        question.request_bytes = strtoul(at, &text, 10);
        question.answer_bytes = strtoul(text, &text, 10);
        if (*text++ != '\n' || question.request_bytes > (size_t)(end - text) ||
            question.answer_bytes > (size_t)(end - text) - question.request_bytes)
            die("--requests: not the format that the comment on top describes");
        question.request = text;
        question.answer = text + question.request_bytes;
        at = text + question.request_bytes + question.answer_bytes;
        load->questions = realloc(load->questions, (load->n_questions + 1) * sizeof question);
        if (!load->questions)
            die("out of memory");
        load->questions[load->n_questions++] = question;
    }
    if (load->n_questions == 0)
        die("--requests: the file is empty");
}

static void connect_all(struct load *load)
{
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->connections = calloc(load->n_connections, sizeof *load->connections);
    load->idle = calloc(load->n_connections, sizeof *load->idle);
    if (load->epoll < 0 || !load->connections || !load->idle)
        die("out of memory");
    for (uint32_t i = 0; i < load->n_connections; i++) {
        if (!dial(load, &load->connections[i]))
            die("cannot connect");
        rest(load, &load->connections[i]);
    }
}

static void read_options(struct load *load, int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"port", required_argument, NULL, 'p'},
        {"requests", required_argument, NULL, 'f'},
        {"rate", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 's'},
        {"seed", required_argument, NULL, 'x'},
        {"connections", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        switch (option) {
        case 'p':
            load->port = (uint16_t)atoi(optarg);
            break;
        case 'f':
            read_questions(load, optarg);
            break;
        case 'r':
            load->rate = atof(optarg);
            break;
        case 's':
            load->seconds = strtoul(optarg, NULL, 10);
            break;
        case 'x':
            load->random = strtoul(optarg, NULL, 10);
            break;
        case 'c':
            load->n_connections = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        default:
            exit(2);
        }
    }
    errno = 0;
    if (!load->port || !load->questions || !load->seconds || !load->n_connections || !load->random ||
        load->rate < 0)
        die("wants --port and --requests; --rate is at least 0, all others at least 1");
}

int main(int argc, char **argv)
{
    struct load load = {.seconds = 2, .n_connections = 256, .random = 42};
    read_options(&load, argc, argv);
    connect_all(&load);
    run(&load);
    report(&load);
    return EXIT_SUCCESS;
}
