/*
 * grpc_alloc_test: fails every allocation on the path of a gRPC call in turn, of each method, of raw and
 * typed contents, with parameters and compressed, and then that one and all after it. Each call ends exactly
 * once: with the right answer, with grpc-status 8 (or an endpoint's default for that reason), or its stream
 * or connection does. Afterwards the same call is answered.
 *
 *     grpc_alloc_test xebec-echo picky_worker
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/http2.h"
#include "h2_peer.h"
#include "scarce.h"
#include "served.h"
#include "support/wire.h"

enum { STREAM = 1, FEWEST_ALLOCATIONS = 3, EXPECTED_MAX = 64, OUT_OF_MEMORY = 8 };

#define SERVICE "/inference.GRPCInferenceService/"

/* --- what is asked --- */

struct ask {
    const char *path, *headers; /* headers: further ones */
    struct buf message;
    bool compressed;
    int status;              /* gRPC's */
    char says[EXPECTED_MAX]; /* a part of the reply's message, or of its words */
    size_t says_length;
    bool defaults; /* its endpoint has a default */
};

static void expect(struct ask *ask, int status, const void *says, size_t length)
{
    ask->status = status;
    ask->says_length = length;
    memcpy(ask->says, says, length);
}

static void expect_words(struct ask *ask, int status, const char *words)
{
    expect(ask, status, words, strlen(words));
}

/* A row of floats for input x, and that it comes back, in one form or the other. */
static void ask_row(struct ask *ask, const char *endpoint, uint32_t floats, unsigned serial, bool raw)
{
    const float row[4] = {(float)serial, 1, 2, 0.5F};
    size_t bytes = floats * sizeof *row;
    struct buf *out = &ask->message;
    ask->path = SERVICE "ModelInfer";
    wire_put_text(out, 1, endpoint);
    size_t input = wire_open(out, 5);
    wire_put_text(out, 1, "x");
    wire_put_text(out, 2, "FP32");
    size_t shape = wire_open(out, 3);
    wire_add_number(out, 1);
    wire_add_number(out, floats);
    wire_close(out, shape);
    if (!raw) {
        size_t contents = wire_open(out, 5);
        wire_put_bytes(out, 6, row, bytes);
        wire_close(out, contents);
    }
    wire_close(out, input);
    if (raw)
        wire_put_bytes(out, 7, row, bytes);
    expect(ask, 0, row, bytes);
}

static void ask_raw(struct ask *ask, unsigned serial)
{
    ask_row(ask, "echo", 4, serial, true);
}

static void ask_typed(struct ask *ask, unsigned serial)
{
    ask_row(ask, "echo", 4, serial, false);
}

static void ask_cached(struct ask *ask, unsigned serial)
{
    (void)serial;
    ask_row(ask, "echo", 4, 7, true);
}

static void ask_default(struct ask *ask, unsigned serial)
{
    ask_row(ask, "echo-default", 4, serial, true);
    ask->defaults = true;
}

static void put_parameter(struct buf *out, const char *name, const char *text)
{
    size_t entry = wire_open(out, 4);
    wire_put_text(out, 1, name);
    size_t value = wire_open(out, 2);
    wire_put_text(out, 3, text);
    wire_close(out, value);
    wire_close(out, entry);
}

/* With all that a message may have. */
static void ask_full(struct ask *ask, unsigned serial)
{
    ask_row(ask, "echo", 4, serial, true);
    wire_put_text(&ask->message, 2, "1");
    wire_put_text(&ask->message, 3, "seven");
    put_parameter(&ask->message, "unit", "EUR");
    size_t output = wire_open(&ask->message, 6);
    wire_put_text(&ask->message, 1, "x");
    wire_close(&ask->message, output);
    ask->headers = "grpc-timeout: 9S\nx-xebec-priority: high\nblob-bin: AAAA\n";
}

/* zlib's format, in one block that is stored. Source: RFC 1950 and 1951. */
static void ask_compressed(struct ask *ask, unsigned serial)
{
    struct buf plain;
    uint32_t a = 1, b = 0;
    ask_row(ask, "echo", 4, serial, true);
    plain = ask->message;
    ask->message = (struct buf){0};
    const uint8_t head[] = {0x78,
                            0x01,
                            1,
                            (uint8_t)plain.length,
                            (uint8_t)(plain.length >> 8),
                            (uint8_t)~plain.length,
                            (uint8_t)(~plain.length >> 8)};
    for (size_t i = 0; i < plain.length; i++) {
        a = (a + (uint8_t)plain.bytes[i]) % 65521;
        b = (b + a) % 65521;
    }
    uint32_t sum = htonl(b << 16 | a);
    buf_append(&ask->message, head, sizeof head);
    buf_append(&ask->message, plain.bytes, plain.length);
    buf_append(&ask->message, &sum, sizeof sum);
    buf_clear(&plain);
    ask->compressed = true;
    ask->headers = "grpc-encoding: deflate\n";
}

static void ask_model_raises(struct ask *ask, unsigned serial)
{
    ask_row(ask, "picky", 2, serial, true);
    const float bad[] = {-1, 1};
    memcpy(ask->message.bytes + ask->message.length - sizeof bad, bad, sizeof bad);
    expect_words(ask, 2, "x is negative");
}

static void ask_nobody(struct ask *ask, unsigned serial)
{
    ask_row(ask, "nobody", 4, serial, true);
    expect_words(ask, 5, "nobody: no endpoint has this name");
}

static void ask_cut_off(struct ask *ask, unsigned serial)
{
    ask_row(ask, "echo", 4, serial, true);
    ask->message.length -= 3;
    expect_words(ask, 3, "ModelInferRequest");
}

static void ask_about(struct ask *ask, const char *path, const char *says)
{
    ask->path = path;
    wire_put_text(&ask->message, 1, "echo");
    expect_words(ask, 0, says);
}

static void ask_metadata(struct ask *ask, unsigned serial)
{
    (void)serial;
    ask_about(ask, SERVICE "ModelMetadata", "xebec_worker");
}

static void ask_configuration(struct ask *ask, unsigned serial)
{
    (void)serial;
    ask_about(ask, SERVICE "ModelConfig", "xebec_worker");
}

static void ask_statistics(struct ask *ask, unsigned serial)
{
    (void)serial;
    ask_about(ask, SERVICE "ModelStatistics", "echo");
}

static void ask_index(struct ask *ask, unsigned serial)
{
    (void)serial;
    ask->path = SERVICE "RepositoryIndex";
    expect_words(ask, 0, "READY");
}

static void ask_health(struct ask *ask, unsigned serial)
{
    (void)serial;
    ask->path = "/grpc.health.v1.Health/Check";
    expect(ask, 0, "\x08\x01", 2);
}

static void ask_reflection(struct ask *ask, unsigned serial)
{
    (void)serial;
    ask->path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    wire_put_text(&ask->message, 4, "inference.GRPCInferenceService");
    expect_words(ask, 0, "ModelInferRequest");
}

static const struct {
    const char *name;
    void (*write)(struct ask *ask, unsigned serial);
} kinds[] = {{"raw", ask_raw},
             {"typed", ask_typed},
             {"cached", ask_cached},
             {"default", ask_default},
             {"full", ask_full},
             {"compressed", ask_compressed},
             {"a model that raises", ask_model_raises},
             {"no such model", ask_nobody},
             {"cut off", ask_cut_off},
             {"metadata", ask_metadata},
             {"configuration", ask_configuration},
             {"statistics", ask_statistics},
             {"index", ask_index},
             {"health", ask_health},
             {"reflection", ask_reflection}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void wrong(unsigned kind, long n, const char *what, const struct h2_heard *heard)
{
    fprintf(stderr, "grpc_alloc_test: %s, allocation %ld fails: %s\n", kinds[kind].name, n, what);
    if (heard && heard->headers.length)
        fprintf(stderr, "%.*s%zu bytes, reset %lld\n", (int)heard->headers.length, heard->headers.bytes,
                heard->data.length, (long long)heard->reset);
    abort();
}

/* --- a call --- */

static void say(struct h2_peer *peer, const struct ask *ask)
{
    struct buf head = {0}, body = {0};
    uint32_t length = htonl((uint32_t)ask->message.length);
    buf_printf(&head,
               ":method: POST\n:scheme: http\n:authority: test\n:path: %s\nte: trailers\ncontent-type: "
               "application/grpc\n%s",
               ask->path, ask->headers ? ask->headers : "");
    buf_append(&head, "", 1);
    buf_append(&body, ask->compressed ? "\1" : "\0", 1);
    buf_append(&body, &length, sizeof length);
    if (ask->message.length)
        buf_append(&body, ask->message.bytes, ask->message.length);
    h2_peer_say(peer, HTTP2_PREFACE, HTTP2_PREFACE_BYTES);
    h2_peer_settings(peer, 0, 0);
    h2_peer_headers(peer, H2_END_HEADERS, STREAM, head.bytes);
    h2_peer_frame(peer, H2_DATA, H2_END_STREAM, STREAM, body.bytes, body.length);
    buf_clear(&head);
    buf_clear(&body);
}

/* NULL: nothing of the stream was heard before the connection ended. */
static const struct h2_heard *hear(struct h2_peer *peer, unsigned kind, long n)
{
    for (;;) {
        struct pollfd wait = {.fd = peer->fd, .events = POLLIN};
        if (poll(&wait, 1, REPLY_WITHIN_MS) != 1)
            wrong(kind, n, "nothing came back", NULL);
        h2_peer_hear(peer);
        const struct h2_heard *heard = peer->n_streams ? &peer->streams[0] : NULL;
        if (peer->closed || (heard && (heard->ended || heard->reset >= 0)))
            return heard;
    }
}

static bool has(const struct buf *bytes, const void *part, size_t length)
{
    return bytes->length >= length && memmem(bytes->bytes, bytes->length, part, length);
}

static bool says(const struct buf *bytes, const char *words)
{
    return has(bytes, words, strlen(words));
}

static bool is_status(const struct h2_heard *heard, int status)
{
    char line[32];
    snprintf(line, sizeof line, "grpc-status: %d\n", status);
    return says(&heard->headers, line);
}

static bool is_right(const struct ask *ask, const struct h2_heard *heard)
{
    return heard && heard->ended && is_status(heard, ask->status) &&
           has(ask->status ? &heard->headers : &heard->data, ask->says, ask->says_length);
}

/* Or there was not even memory for a word; or not for the header, so that nobody knew it for gRPC: 503, which
 * its clients take for UNAVAILABLE. */
static bool says_no_memory(const struct ask *ask, const struct h2_heard *heard)
{
    if (!heard || !heard->ended)
        return true;
    return says(&heard->headers, ":status: 503\n") || is_status(heard, OUT_OF_MEMORY) ||
           (ask->defaults && is_status(heard, 0) && says(&heard->data, "out_of_memory"));
}

static unsigned long tally[3]; /* right, without memory, cut off */

/* from 0: nothing fails, and all must be right. False: no allocation failed, for there were fewer. */
static bool call(const struct served *served, unsigned kind, unsigned serial, long from, long every)
{
    struct ask ask = {0};
    struct h2_peer peer;
    kinds[kind].write(&ask, serial);
    if (from)
        scarce_from(from, every);
    int fd = served_connect(served);
    h2_peer_adopt(&peer, fd);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    peer.greeted = true; /* what comes is a server's */
    say(&peer, &ask);
    const struct h2_heard *heard = hear(&peer, kind, from);
    bool any = from && scarce_no_more();
    bool right = is_right(&ask, heard);
    if (!right && (!from || !says_no_memory(&ask, heard)))
        wrong(kind, from, "that is no answer", heard);
    tally[right ? 0 : heard && heard->ended ? 1 : 2]++;
    h2_peer_close(&peer);
    buf_clear(&ask.message);
    return any;
}

/* --- the runs --- */

static unsigned next_serial = 1;

/* every: 0, or 1: all that follow fail too. */
static void fail_each(const struct served *served, unsigned kind, long every)
{
    long n = 1;
    call(served, kind, next_serial++, 0, 0);
    for (bool any = true; any; n++) {
        unsigned serial = next_serial++;
        any = call(served, kind, serial, n, every);
        call(served, kind, serial, 0, 0);
    }
    if (n <= FEWEST_ALLOCATIONS)
        wrong(kind, n, "hardly anything was allocated: was the linker told to wrap?", NULL);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: grpc_alloc_test xebec-echo picky_worker\n");
        return 2;
    }
    scarce_spare(true);
    struct served_replicas *replicas = served_replicas_start(argv[1], argv[2]);
    struct served *served = served_start(replicas, "");
    for (long every = 0; every <= 1; every++)
        for (unsigned kind = 0; kind < KINDS; kind++) {
            fail_each(served, kind, every);
            printf("%s%s: %lu right, %lu without memory, %lu cut off\n", kinds[kind].name,
                   every ? ", and all after it" : "", tally[0], tally[1], tally[2]);
            fflush(stdout);
            memset(tally, 0, sizeof tally);
        }
    served_stop(served);
    served_replicas_stop(replicas);
    return 0;
}
