/*
 * http2_alloc_test: every allocation of an HTTP/2 connection fails in turn, nghttp2's too, which are given to
 * it by our own: while it is made, greeted, asked for pages with and without bodies, answered, and cut off.
 * One stream or the connection fails; each request ends exactly once, nothing leaks (LeakSanitizer), and what
 * comes back is frames, to a client that understands them.
 */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/http2.h"
#include "h2_peer.h"

static long failing_in = -1; /* allocations until one fails; -1: none does */
static bool all_after;       /* and then every one */
static long allocations;
static bool spared = true; /* the client's */

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
    return true;
}

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes)
{
    return fails_now() ? NULL : __real_malloc(bytes);
}

void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails_now() ? NULL : __real_calloc(count, bytes);
}

void *__real_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes)
{
    return fails_now() ? NULL : __real_realloc(old, bytes);
}

/* What nghttp2 asks for, by the same rule. */
static void *lend(size_t bytes, void *owner)
{
    (void)owner;
    return __wrap_malloc(bytes);
}
static void take_back(void *memory, void *owner)
{
    (void)owner;
    free(memory);
}
static void *lend_zeroed(size_t count, size_t bytes, void *owner)
{
    (void)owner;
    return __wrap_calloc(count, bytes);
}
static void *lend_more(void *memory, size_t bytes, void *owner)
{
    (void)owner;
    return __wrap_realloc(memory, bytes);
}

int __wrap_nghttp2_session_server_new2(nghttp2_session **session, const nghttp2_session_callbacks *callbacks,
                                       void *owner, const nghttp2_option *option);
int __wrap_nghttp2_session_server_new2(nghttp2_session **session, const nghttp2_session_callbacks *callbacks,
                                       void *owner, const nghttp2_option *option)
{
    static nghttp2_mem memory = {NULL, lend, take_back, lend_zeroed, lend_more};
    return nghttp2_session_server_new3(session, callbacks, owner, option, &memory);
}

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "http2_alloc_test: allocation %ld: %s\n", allocations, what);
    abort();
}

/* --- the owner of the connection --- */

enum { REQUESTS_MAX = 8, ROOM = 16384 };

struct request {
    struct http2_stream *stream; /* NULL: ended */
    struct http_message message;
    struct arena arena;
    unsigned begun, ended;
    bool whole;
};

struct rig {
    struct http2 *http2;
    struct request requests[REQUESTS_MAX];
    unsigned n_requests, answered, gone;
    uint64_t now_us;
};

static void end_request(struct request *request)
{
    request->stream = NULL;
    request->ended++;
    arena_clear(&request->arena);
}

static void answer(struct rig *rig, struct request *request, int status)
{
    struct http_reply reply = {.status = status,
                               .content_type = "application/json",
                               .headers = "X-Arm: a\r\n",
                               .trailers = "grpc-status: 0\r\n"};
    for (int i = 0; i < 200; i++)
        buf_text(&reply.body, "{\"answer\": [0.25, 0.5, 1]}");
    if (reply.body.failed) { /* as conn_http2.c does */
        buf_clear(&reply.body);
        reply.status = gw_status_http(GW_E_NO_MEMORY);
    }
    rig->answered += http2_reply(request->stream, &reply, "now", rig->now_us) > 0;
    buf_clear(&reply.body);
    end_request(request);
}

static void on_event(void *owner, struct http2_stream *stream, enum http2_event event,
                     const struct gw_err *err)
{
    struct rig *rig = owner;
    struct request *request = http2_holder(stream);
    if (event == HTTP2_BEGIN) {
        check(!request && rig->n_requests < REQUESTS_MAX, "a request begins once");
        request = &rig->requests[rig->n_requests++];
        *request = (struct request){.stream = stream, .begun = 1};
        http2_accept(stream, &request->message, &request->arena, request);
        return;
    }
    check(request && request->stream == stream && !request->ended, "an event for one that has ended");
    if (event == HTTP2_PART)
        return;
    if (event == HTTP2_MESSAGE)
        request->whole = true;
    else if (event == HTTP2_REFUSED)
        answer(rig, request, gw_status_http(err->status));
    else
        end_request(request);
    rig->gone += event == HTTP2_GONE;
}

/* --- what the client says --- */

static void frame(struct buf *out, enum h2_type type, uint8_t flags, int32_t id, const void *payload,
                  size_t length)
{
    const uint8_t head[] = {(uint8_t)(length >> 16),
                            (uint8_t)(length >> 8),
                            (uint8_t)length,
                            (uint8_t)type,
                            flags,
                            0,
                            0,
                            0,
                            (uint8_t)id};
    buf_append(out, head, sizeof head);
    if (length)
        buf_append(out, payload, length);
}

static void headers(struct buf *out, uint8_t flags, int32_t id, const char *lines)
{
    struct buf block = {0};
    h2_block_write(&block, lines);
    frame(out, H2_HEADERS, flags, id, block.bytes, block.length);
    buf_clear(&block);
}

#define PSEUDO(method, path) ":method: " method "\n:scheme: http\n:authority: x:80\n:path: " path "\n"

/* A page, a body, one that is cut off, one without its end, a ping. */
static void say(struct buf *out)
{
    static char body[9000];
    memset(body, 'z', sizeof body);
    buf_append(out, HTTP2_PREFACE, HTTP2_PREFACE_BYTES);
    frame(out, H2_SETTINGS, 0, 0, NULL, 0);
    headers(out, H2_END_STREAM | H2_END_HEADERS, 1,
            PSEUDO("GET", "/a%20page?q=1") "accept: */*\ncookie: a=1\ncookie: b=2\n");
    headers(out, H2_END_HEADERS, 3, PSEUDO("POST", "/e/predict") "content-type: application/json\n");
    frame(out, H2_DATA, 0, 3, body, sizeof body);
    frame(out, H2_DATA, H2_END_STREAM, 3, body, 100);
    headers(out, H2_END_HEADERS, 5, PSEUDO("POST", "/e/predict"));
    frame(out, H2_RST_STREAM, 0, 5, "\0\0\0\10", 4);
    headers(out, H2_END_HEADERS, 7, PSEUDO("POST", "/e/predict") "content-length: 10\n");
    frame(out, H2_DATA, 0, 7, "12345", 5);
    frame(out, H2_PING, 0, 0, "12345678", 8);
}

/* --- one life of a connection --- */

/* What comes back must be whole frames, unless there is no room for it: then conn.c closes. False: it was the
 * last. */
static bool hear(struct rig *rig)
{
    struct buf out = {0};
    bool alive = http2_fill(rig->http2, &out, ROOM, rig->now_us);
    size_t at = 0;
    while (!out.failed && out.length - at >= 9) {
        const uint8_t *head = (const uint8_t *)out.bytes + at;
        at += 9 + ((size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2]);
        check(at <= out.length, "half a frame");
    }
    check(at == out.length || out.failed, "half a frame's head");
    bool any = out.length > 0 && !out.failed;
    buf_clear(&out);
    return alive && any;
}

static void answer_all(struct rig *rig)
{
    for (unsigned i = 0; i < rig->n_requests; i++)
        if (rig->requests[i].stream && rig->requests[i].whole)
            answer(rig, &rig->requests[i], 200);
}

static void live(struct rig *rig, const struct buf *said)
{
    const struct http2_limits limits = {.header_bytes = 4096,
                                        .body_bytes = 1 << 16,
                                        .streams = 8,
                                        .resets = 50,
                                        .controls = 50,
                                        .header_us = 1000000,
                                        .body_us = 1000000,
                                        .idle_us = 5000000,
                                        .write_us = 1000000};
    *rig = (struct rig){.now_us = 1000000000};
    spared = false;
    rig->http2 = http2_new(&limits, on_event, rig, rig->now_us);
    if (rig->http2) {
        for (size_t at = 0; at < said->length; at += 500) {
            size_t left = said->length - at;
            http2_feed(rig->http2, said->bytes + at, left < 500 ? left : 500, rig->now_us);
        }
        answer_all(rig);
        while (hear(rig))
            ;
        rig->now_us += 2000000; /* who has not ended its body hears so */
        http2_expire(rig->http2, rig->now_us);
        answer_all(rig);
        while (hear(rig))
            ;
        http2_drain(rig->http2, rig->now_us);
        (void)hear(rig);
        http2_end(rig->http2);
        http2_free(rig->http2);
    }
    spared = true;
    for (unsigned i = 0; i < rig->n_requests; i++)
        check(rig->requests[i].ended == 1, "a request that did not end exactly once");
}

static long fail_each(const struct buf *said, bool and_all_after)
{
    struct rig rig;
    long n = 0;
    unsigned least = UINT32_MAX;
    all_after = and_all_after;
    for (bool any = true; any; n++) {
        failing_in = n;
        allocations = 0;
        live(&rig, said);
        any = all_after ? allocations > n : failing_in < 0;
        least = any && rig.answered < least ? rig.answered : least;
    }
    failing_in = -1;
    check(least < 3, "no failure was felt");
    return n - 1;
}

int main(void)
{
    struct rig rig;
    struct buf said = {0};
    say(&said);
    allocations = 0;
    live(&rig, &said);
    check(rig.n_requests == 4 && rig.answered == 3 && rig.gone == 1, "without a failure");
    long once = fail_each(&said, false), on = fail_each(&said, true);
    check(once > 10 && on > 10, "hardly anything was allocated: is the linker told to wrap?");
    live(&rig, &said);
    check(rig.answered == 3, "afterwards");
    buf_clear(&said);
    printf("http2_alloc_test: %ld allocations failed alone, %ld with all after them\n", once, on);
    return 0;
}
