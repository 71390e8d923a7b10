/*
 * What a hostile client may say on an HTTP/2 connection. The first byte says whether it has greeted, and when
 * the handler answers: at once, later, or never; the rest are its bytes. Cut anywhere they mean the same;
 * every request ends exactly once, within its limits, and what comes back is bounded.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/http2.h"

/*
 * A GOAWAY of the client's: nghttp2 ignores what comes in calls after it while no stream is open, but not
 * what came in the same call, so that what follows depends on the pieces.
 */
static bool client_leaves(bool greeted, const uint8_t *data, size_t size)
{
    size_t at = greeted || size < HTTP2_PREFACE_BYTES ? 0 : HTTP2_PREFACE_BYTES;
    while (at < size && size - at >= 9) {
        if (data[at + 3] == 7)
            return true;
        at += 9 + ((size_t)data[at] << 16 | (size_t)data[at + 1] << 8 | data[at + 2]);
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HELD_MAX = 8, BODY_MAX = 3000, HEADER_MAX = 600, ROOM = 4096 };
enum answers { AT_ONCE, LATER, NEVER };

struct request {
    struct http2_stream *stream; /* NULL: not in use */
    struct http_message message;
    struct arena arena;
    bool whole;
};

struct client {
    struct http2 *http2;
    struct request requests[HELD_MAX];
    enum answers answers;
    uint64_t now_us;
    struct buf *outcome;
    struct arena_budget budget;
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void end_request(struct request *request)
{
    request->stream = NULL;
    arena_clear(&request->arena);
}

static void describe(struct buf *out, const struct http_message *message)
{
    require(message->path && message->path_length == strlen(message->path));
    require(message->body_length <= BODY_MAX && message->n_headers <= 100);
    for (size_t i = 0; i < HTTP_BODY_PADDING; i++)
        require(message->body[message->body_length + i] == 0);
    buf_printf(out, "%s %s?%s", http_method_name(message->method), message->path, message->query);
    for (uint32_t i = 0; i < message->n_headers; i++) {
        const struct http_header *header = &message->headers[i];
        require(strlen(header->name) == header->name_length && strlen(header->value) == header->value_length);
        buf_printf(out, " %s=%s", header->name, header->value);
    }
    buf_append(out, message->body, message->body_length);
    buf_text(out, "\n");
}

static void answer(struct client *client, struct request *request, int status)
{
    struct http_reply reply = {.status = status, .trailers = status == 200 ? "grpc-status: 0\r\n" : NULL};
    buf_append(&reply.body, "an answer", 9);
    http2_reply(request->stream, &reply, "now", client->now_us);
    buf_clear(&reply.body);
    end_request(request);
}

static void begin(struct client *client, struct http2_stream *stream)
{
    for (struct request *request = client->requests; request < client->requests + HELD_MAX; request++) {
        if (request->stream)
            continue;
        *request = (struct request){.stream = stream, .arena.budget = &client->budget};
        http2_accept(stream, &request->message, &request->arena, request);
        return;
    }
}

static void on_event(void *owner, struct http2_stream *stream, enum http2_event event,
                     const struct gw_err *err)
{
    struct client *client = owner;
    struct request *request = http2_holder(stream);
    require(event == HTTP2_BEGIN ? !request : request && request->stream == stream);
    switch (event) {
    case HTTP2_BEGIN:
        begin(client, stream);
        break;
    case HTTP2_PART:
        break;
    case HTTP2_MESSAGE:
        require(!request->whole);
        request->whole = true;
        describe(client->outcome, &request->message);
        if (client->answers == AT_ONCE)
            answer(client, request, 200);
        break;
    case HTTP2_REFUSED:
        buf_printf(client->outcome, "refused %s\n", err->what);
        answer(client, request, gw_status_http(err->status));
        break;
    case HTTP2_GONE:
        end_request(request);
        break;
    }
}

/* What comes back, forgotten. False: it was the last. */
static bool drain(struct client *client)
{
    struct buf out = {0};
    bool alive = true;
    for (size_t before = 1; alive && before; before = out.length) {
        out.length = 0;
        alive = http2_fill(client->http2, &out, ROOM, client->now_us);
        require(out.length <= ROOM + 20000);
    }
    buf_clear(&out);
    return alive;
}

static void answer_late(struct client *client)
{
    for (struct request *request = client->requests; request < client->requests + HELD_MAX; request++)
        if (request->stream && request->whole)
            answer(client, request, 200);
}

/* False: it ended by a count that depends on the pieces (Debian's nghttp2 counts those of a header block). */
static bool play(struct buf *outcome, enum answers answers, bool greeted, const uint8_t *data, size_t size,
                 size_t piece)
{
    static const char settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    const struct http2_limits limits = {.header_bytes = HEADER_MAX,
                                        .body_bytes = BODY_MAX,
                                        .streams = HELD_MAX,
                                        .resets = 20,
                                        .controls = 50,
                                        .header_us = 1000000,
                                        .body_us = 1000000,
                                        .idle_us = 1000000,
                                        .write_us = 1000000};
    struct client client = {.answers = answers, .now_us = 1, .outcome = outcome, .budget.limit = 1 << 20};
    client.http2 = http2_new(&limits, on_event, &client, client.now_us);
    require(client.http2);
    if (greeted) {
        http2_feed(client.http2, HTTP2_PREFACE, HTTP2_PREFACE_BYTES, client.now_us);
        http2_feed(client.http2, settings, sizeof settings, client.now_us);
    }
    for (size_t at = 0; at < size;) {
        size_t length = size - at < piece ? size - at : piece;
        http2_feed(client.http2, (const char *)data + at, length, client.now_us);
        at += length;
    }
    bool alive = drain(&client);
    if (answers == LATER)
        answer_late(&client);
    alive = drain(&client) && alive;
    buf_printf(outcome, "%s\n", alive ? "alive" : "over");
    bool comparable = !http2_was_flooded(client.http2);
    for (int i = 0; alive && i < 2; i++) { /* as conn.c does: what is over is closed, not waited for */
        client.now_us += 3000000;
        http2_expire(client.http2, client.now_us);
        alive = drain(&client);
    }
    http2_end(client.http2);
    http2_free(client.http2);
    for (size_t i = 0; i < HELD_MAX; i++)
        require(!client.requests[i].stream);
    require(client.budget.bytes == 0);
    return comparable;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    enum answers answers = data[0] % 3;
    bool greeted = !(data[0] & 0x80);
    size_t piece = 1 + data[1] % 40;
    struct buf whole = {0}, cut = {0};
    bool comparable = play(&whole, answers, greeted, data + 2, size - 2, size);
    comparable = play(&cut, answers, greeted, data + 2, size - 2, piece) && comparable;
    if (comparable && !client_leaves(greeted, data + 2, size - 2))
        require(whole.length == cut.length && memcmp(whole.bytes, cut.bytes, whole.length) == 0);
    buf_clear(&whole);
    buf_clear(&cut);
    return 0;
}
