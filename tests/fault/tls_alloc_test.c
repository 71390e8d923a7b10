/*
 * tls_alloc_test: fails every allocation of a TLS connection in turn, alone and with all after it: handshake,
 * a request with a body, its reply, the end; ours, and OpenSSL's own. The client gets the right reply, or
 * that there is no memory, or the connection ends; the listener has nothing left of it afterwards, and serves
 * the next. So it is with reading certificates: a context is not made, with words, or it is.
 *
 * The linker leads our objects' calls here (CMakeLists.txt: --wrap), OpenSSL is asked to call here. The
 * client and the server share a thread: what is the client's is spared.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/http2.h"
#include "edge/listener.h"
#include "h2_peer.h"
#include "support/log.h"

/* --- who is refused --- */

static long failing_in = -1; /* allocations until one fails; -1: none does */
static bool all_after;       /* and then every one */
static long allocations, failed;
static bool spared = true;

static bool fails_now(void)
{
    if (spared)
        return false;
    allocations++;
    if (failing_in < 0)
        return false;
    if (failing_in > 0) {
        failing_in--;
        return false;
    }
    if (!all_after)
        failing_in = -1;
    failed++;
    return true;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t bytes)
{
    return fails_now() ? NULL : __real_malloc(bytes);
}
void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails_now() ? NULL : __real_calloc(count, bytes);
}
void *__wrap_realloc(void *old, size_t bytes)
{
    return fails_now() ? NULL : __real_realloc(old, bytes);
}
char *__wrap_strdup(const char *text)
{
    return fails_now() ? NULL : __real_strdup(text);
}

static void *openssl_malloc(size_t bytes, const char *file, int line)
{
    (void)file, (void)line;
    return __wrap_malloc(bytes);
}
static void *openssl_realloc(void *old, size_t bytes, const char *file, int line)
{
    (void)file, (void)line;
    return __wrap_realloc(old, bytes);
}
static void openssl_free(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    free(memory);
}

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "tls_alloc_test: %ld allocations, %ld failed: %s\n", allocations, failed, what);
    abort();
}

/* --- the gateway's side: a listener whose handler gives the body back, longer --- */

enum { BODY = 20000, TIMES = 8, REPLY_MAX = 512 << 10, PATIENCE_US = 10000000, CALM_EACH = 32 };

static struct rig {
    struct loop *loop;
    struct loop_task stop;
    struct metrics *metrics;
    struct listener *listener;
    struct config_address address;
    struct config_limits limits;
    struct config_timeouts timeouts;
    struct tls_context *tls;
    char body[BODY];
} rig;

static void handle(void *owner, struct exchange *exchange)
{
    struct http_reply reply = {.status = 200, .content_type = "text/plain"};
    (void)owner;
    for (int i = 0; i < TIMES; i++)
        buf_append(&reply.body, exchange->message.body, exchange->message.body_length);
    exchange_reply(exchange, &reply);
}

static void refuse(void *owner, struct exchange *exchange, const struct gw_err *err, struct http_reply *reply)
{
    (void)owner, (void)exchange;
    buf_text(&reply->body, err->what);
}

static struct tls_context *context_new(struct tls_words *problem)
{
    static char paths[2][512];
    const char *directory = getenv("XEBEC_TLS");
    check(directory, "XEBEC_TLS is to be a directory that tests/support/certificates.py has filled");
    snprintf(paths[0], sizeof paths[0], "%s/server.crt", directory);
    snprintf(paths[1], sizeof paths[1], "%s/server.key", directory);
    const struct tls_setup setup = {.role = TLS_SERVER, .files = {paths[0], paths[1]}};
    return tls_context_new(&setup, problem);
}

static void stop_loop(struct loop_task *task)
{
    (void)task;
    loop_stop(rig.loop);
}

/* One turn of the loop, which sleeps for nothing. */
static void turn(void)
{
    spared = false;
    loop_post(rig.loop, &rig.stop);
    loop_run(rig.loop);
    spared = true;
}

static void rig_open(void)
{
    struct tls_words problem = {.what = ""};
    struct gw_err err = {0};
    rig.loop = loop_new();
    rig.metrics = metrics_new();
    rig.stop.run = stop_loop;
    rig.tls = context_new(&problem);
    rig.address = (struct config_address){.text = "127.0.0.1:0", .host = "127.0.0.1", .port = "0"};
    rig.limits = (struct config_limits){.connections = 10,
                                        .header_bytes = 4096,
                                        .body_bytes = 1 << 20,
                                        .held_bytes = 64 << 20,
                                        .streams = 100,
                                        .resets = 100,
                                        .controls = 100};
    rig.timeouts = (struct config_timeouts){.handshake_us = 60000000,
                                            .header_us = 60000000,
                                            .body_us = 60000000,
                                            .idle_us = 60000000,
                                            .write_us = 60000000};
    const struct edge_setup setup = {.loop = rig.loop,
                                     .metrics = rig.metrics,
                                     .name = "clients",
                                     .address = &rig.address,
                                     .limits = &rig.limits,
                                     .timeouts = &rig.timeouts,
                                     .tls = rig.tls,
                                     .access_log_fd = -1,
                                     .handle = handle,
                                     .refuse = refuse};
    check(rig.loop && rig.metrics && rig.tls, problem.what);
    rig.listener = listener_new(&setup, &err);
    check(rig.listener, err.what);
    memset(rig.body, 'z', sizeof rig.body);
}

static void rig_close(void)
{
    listener_free(rig.listener);
    loop_free(rig.loop);
    metrics_free(rig.metrics);
    tls_context_unref(rig.tls);
}

/* --- the client's side: OpenSSL's own --- */

static const struct manner {
    const char *name;
    int version;
    bool h2;
} manners[] = {{"TLS 1.3", TLS1_3_VERSION, false},
               {"TLS 1.2", TLS1_2_VERSION, false},
               {"TLS 1.3, HTTP/2", TLS1_3_VERSION, true}};

enum outcome { RIGHT, NO_MEMORY, ENDED, UNDER_WAY, OUTCOMES };

struct client {
    const struct manner *manner;
    SSL_CTX *context;
    SSL *ssl;
    int fd;
    bool greeted;
    size_t length, at; /* at: of HTTP/2's frames, those that have been looked at */
    char reply[REPLY_MAX];
};

static void client_open(struct client *client, const struct manner *manner)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(listener_port(rig.listener))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->manner = manner;
    client->greeted = false;
    client->length = client->at = 0;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(connect(client->fd, (struct sockaddr *)&to, sizeof to) == 0, "no connection");
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    client->context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(client->context, manner->version);
    SSL_CTX_set_max_proto_version(client->context, manner->version);
    SSL_CTX_set_mode(client->context, SSL_MODE_ENABLE_PARTIAL_WRITE);
    client->ssl = SSL_new(client->context);
    if (manner->h2)
        SSL_set_alpn_protos(client->ssl, (const unsigned char *)"\x02h2", 3);
    SSL_set_fd(client->ssl, client->fd);
    SSL_set_connect_state(client->ssl);
}

static void client_close(struct client *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    close(client->fd);
    ERR_clear_error();
}

static void put(struct buf *out, enum h2_type type, uint8_t flags, const char *payload, size_t length)
{
    const unsigned char head[] = {
        0, (unsigned char)(length >> 8),         (unsigned char)length, (unsigned char)type, flags, 0, 0,
        0, type == H2_HEADERS || type == H2_DATA};
    buf_append(out, (const char *)head, sizeof head);
    buf_append(out, payload, length);
}

/* The whole request at once: no reply is so early that the socket would not take it. */
static void greet(struct client *client)
{
    struct buf said = {0}, block = {0};
    if (client->manner->h2) {
        static const char window[] =
            "\0\4\0\x7f\xff\xff"; /* SETTINGS_INITIAL_WINDOW_SIZE, and as much for all streams */
        buf_append(&said, HTTP2_PREFACE, HTTP2_PREFACE_BYTES);
        put(&said, H2_SETTINGS, 0, window, sizeof window - 1);
        put(&said, H2_WINDOW_UPDATE, 0, window + 2, 4);
        h2_block_write(&block, ":method: POST\n:scheme: https\n:authority: x\n:path: /a\n");
        put(&said, H2_HEADERS, H2_END_HEADERS, block.bytes, block.length);
        put(&said, H2_DATA, 0, rig.body, 10000);
        put(&said, H2_DATA, H2_END_STREAM, rig.body, 10000);
    } else {
        buf_printf(&said, "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n",
                   BODY);
        buf_append(&said, rig.body, BODY);
    }
    for (size_t at = 0; at < said.length;) {
        int n = SSL_write(client->ssl, said.bytes + at, (int)(said.length - at));
        if (n <= 0)
            break; /* it has ended already */
        at += (size_t)n;
    }
    buf_clear(&said);
    buf_clear(&block);
    client->greeted = true;
}

/* Whole frames, up to the end of the stream. */
static enum outcome judge_frames(struct client *client)
{
    size_t data = 0;
    const unsigned char *bytes = (const unsigned char *)client->reply;
    for (size_t at = 0; client->length - at >= 9;) {
        size_t length = (size_t)bytes[at] << 16 | (size_t)bytes[at + 1] << 8 | bytes[at + 2];
        unsigned type = bytes[at + 3], flags = bytes[at + 4];
        if (client->length - at - 9 < length)
            break;
        at += 9 + length;
        data += type == H2_DATA ? length : 0;
        if (type == H2_RST_STREAM || type == H2_GOAWAY)
            return NO_MEMORY;
        if ((type == H2_DATA || type == H2_HEADERS) && flags & H2_END_STREAM)
            return data == BODY * TIMES ? RIGHT : NO_MEMORY;
    }
    return UNDER_WAY;
}

static enum outcome judge_reply(const struct client *client)
{
    const char *end = memmem(client->reply, client->length, "\r\n\r\n", 4);
    const char *length = memmem(client->reply, client->length, "Content-Length: ", 16);
    if (!end || !length)
        return UNDER_WAY;
    size_t body = client->length - (size_t)(end + 4 - client->reply), due = strtoul(length + 16, NULL, 10);
    if (body < due)
        return UNDER_WAY;
    check(body == due, "more than a reply");
    int status = atoi(client->reply + 9);
    check(status == 200 || status == 503, "an answer that is neither right nor about memory");
    check(status == 503 || due == BODY * TIMES, "a reply that is cut off");
    return status == 200 ? RIGHT : NO_MEMORY;
}

/* Takes what is there. */
static enum outcome client_step(struct client *client)
{
    ERR_clear_error();
    if (!client->greeted) {
        int done = SSL_do_handshake(client->ssl);
        if (done == 1)
            greet(client);
        else
            return SSL_get_error(client->ssl, done) == SSL_ERROR_WANT_READ ? UNDER_WAY : ENDED;
    }
    for (;;) {
        check(client->length < REPLY_MAX, "a reply without end");
        int n = SSL_read(client->ssl, client->reply + client->length, (int)(REPLY_MAX - client->length));
        if (n <= 0) {
            enum outcome so_far = client->manner->h2 ? judge_frames(client) : judge_reply(client);
            bool waits = SSL_get_error(client->ssl, n) == SSL_ERROR_WANT_READ;
            return so_far != UNDER_WAY ? so_far : waits ? UNDER_WAY : ENDED;
        }
        client->length += (size_t)n;
    }
}

/* --- one life of a connection --- */

static enum outcome live(const struct manner *manner)
{
    static struct client client;
    enum outcome outcome = UNDER_WAY;
    uint64_t end_us = loop_now_us() + PATIENCE_US;
    client_open(&client, manner);
    for (; outcome == UNDER_WAY; outcome = client_step(&client)) {
        check(loop_now_us() < end_us, "no answer, and no end");
        turn();
    }
    client_close(&client);
    long rest = failing_in;
    failing_in = -1; /* the end of it is not to be made harder */
    for (turn(); listener_connections(rig.listener) > 0; turn())
        check(loop_now_us() < end_us, "a connection is left");
    failing_in = rest;
    return outcome;
}

static void live_calmly(const struct manner *manner)
{
    long rest = failing_in;
    failing_in = -1;
    check(live(manner) == RIGHT, "without a failure");
    failing_in = rest;
}

static void fail_each(const struct manner *manner, bool and_all_after)
{
    long tally[OUTCOMES] = {0}, n = 0;
    all_after = and_all_after;
    live_calmly(manner);
    for (bool any = true; any; n++) {
        failing_in = n;
        allocations = failed = 0;
        tally[live(manner)]++;
        any = failed > 0;
        failing_in = -1;
        if (n % CALM_EACH == 0)
            live_calmly(manner);
    }
    live_calmly(manner);
    printf("%s, %s: %ld lives; %ld right, %ld without memory, %ld ended\n", manner->name,
           and_all_after ? "all from one on" : "one alone", n, tally[RIGHT], tally[NO_MEMORY], tally[ENDED]);
    fflush(stdout);
    check(n > 100, "hardly anything was allocated: is the linker told to wrap?");
    check(tally[ENDED] > 0, "no failure was felt");
}

/* --- certificates --- */

/*
 * One that is made in spite of a failure serves, but for what SSL_CTX_new() has left out without a word, as
 * if this machine did not know that cipher; then its handshakes end.
 */
static bool serves(struct tls_context *context)
{
    listener_set_tls(rig.listener, context);
    bool well = live(&manners[0]) == RIGHT;
    listener_set_tls(rig.listener, rig.tls);
    return well;
}

static void fail_each_of_context(void)
{
    long n = 0, made = 0, crippled = 0;
    all_after = false;
    for (bool any = true; any; n++) {
        struct tls_words problem = {.what = ""};
        failing_in = n;
        allocations = failed = 0;
        spared = false;
        struct tls_context *context = context_new(&problem);
        spared = true;
        any = failed > 0;
        failing_in = -1;
        check(context || (any && problem.what[0]), "no context without a reason, or without words");
        if (context && any && made++ % CALM_EACH == 0)
            crippled += !serves(context);
        tls_context_unref(context);
    }
    live_calmly(&manners[0]);
    printf("contexts: %ld tried, %ld made in spite of a failure\n", n, made);
    fflush(stdout);
    check(n - made > 100, "hardly a failure was felt");
    check(crippled < made / CALM_EACH / 10, "contexts that do not serve");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* the client writes by OpenSSL, which does not say MSG_NOSIGNAL */
    check(CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) == 1,
          "OpenSSL has begun already");
    rig_open();
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++) {
        fail_each(&manners[i], false);
        fail_each(&manners[i], true);
    }
    fail_each_of_context();
    rig_close();
    return 0;
}
