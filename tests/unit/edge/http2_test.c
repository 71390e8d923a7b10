/*
 * http2: frames in, messages out, and back. Well-behaved clients are nghttp2's client session; hostile ones
 * are frames written by hand. Time is a number that the tests move.
 */
#include <criterion/criterion.h>

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/http2.h"
#include "h2_peer.h"

enum { EXCHANGES_MAX = 64, STREAMS_MAX = 256, SECOND = 1000000, ROOM = 64 << 10 };

struct request {
    struct http2_stream *stream; /* NULL: replied to, or gone */
    struct http_message message;
    struct arena arena;
    enum http2_event last;
    struct gw_err err;
    bool accepted;
};

struct heard { /* by the client */
    int status;
    struct buf headers, body;
    bool closed;
    uint32_t code;
    unsigned interim;
};

struct rig {
    struct http2_limits limits;
    struct http2 *http2;
    uint64_t now_us;
    struct request requests[EXCHANGES_MAX];
    unsigned n_requests, n_most, n_refused_streams;
    bool echo; /* messages and refusals are replied to at once */
    bool alive;
    nghttp2_session *client;
    struct heard heard[STREAMS_MAX]; /* by stream id / 2 */
    int64_t goaway;                  /* its code; -1: none */
    int32_t goaway_last;
    struct arena_budget budget;
};

/* --- the owner's side --- */

static void reply_text(struct rig *rig, struct request *request, int status, const char *text)
{
    struct http_reply reply = {.status = status, .content_type = "text/plain", .headers = "X-Arm: a\r\n"};
    buf_text(&reply.body, text);
    cr_assert(request->stream);
    http2_reply(request->stream, &reply, "now", rig->now_us);
    request->stream = NULL;
    buf_clear(&reply.body);
}

static void on_event(void *owner, struct http2_stream *stream, enum http2_event event,
                     const struct gw_err *err)
{
    struct rig *rig = owner;
    struct request *request = http2_holder(stream);
    if (event == HTTP2_BEGIN) {
        if (rig->n_requests == rig->n_most)
            return;
        request = &rig->requests[rig->n_requests++];
        request->arena.budget = &rig->budget;
        request->stream = stream;
        http2_accept(stream, &request->message, &request->arena, request);
    }
    request->last = event;
    if (err)
        request->err = *err;
    if (event == HTTP2_GONE)
        request->stream = NULL;
    if (rig->echo && event == HTTP2_MESSAGE)
        reply_text(rig, request, 200, request->message.body_length ? request->message.body : "empty");
    if (rig->echo && event == HTTP2_REFUSED)
        reply_text(rig, request, gw_status_http(err->status), err->what);
}

/* --- the client's side --- */

static struct heard *heard_of(struct rig *rig, int32_t id)
{
    cr_assert_lt(id / 2, STREAMS_MAX);
    return &rig->heard[id / 2];
}

static int client_header(nghttp2_session *client, const nghttp2_frame *frame, const uint8_t *name,
                         size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                         void *owner)
{
    struct heard *heard = heard_of(owner, frame->hd.stream_id);
    (void)client, (void)flags, (void)name_length;
    if (strcmp((const char *)name, ":status") == 0 && atoi((const char *)value) < 200)
        heard->interim++;
    else if (strcmp((const char *)name, ":status") == 0)
        heard->status = atoi((const char *)value);
    else
        buf_printf(&heard->headers, "%s: %.*s\n", (const char *)name, (int)value_length, (const char *)value);
    return 0;
}

static int client_data(nghttp2_session *client, uint8_t flags, int32_t id, const uint8_t *bytes,
                       size_t length, void *owner)
{
    (void)client, (void)flags;
    buf_append(&heard_of(owner, id)->body, bytes, length);
    return 0;
}

static int client_close(nghttp2_session *client, int32_t id, uint32_t code, void *owner)
{
    struct heard *heard = heard_of(owner, id);
    (void)client;
    heard->closed = true;
    heard->code = code;
    return 0;
}

/* Frames as they are, whatever the client's session would make of them. */
static void note_goodbye(struct rig *rig, const struct buf *out)
{
    for (size_t at = 0; at + 9 <= out->length;) {
        const uint8_t *frame = (const uint8_t *)out->bytes + at;
        if (frame[3] == H2_GOAWAY) {
            rig->goaway = frame[13] << 24 | frame[14] << 16 | frame[15] << 8 | frame[16];
            rig->goaway_last = frame[9] << 24 | frame[10] << 16 | frame[11] << 8 | frame[12];
        }
        at += 9 + ((size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2]);
    }
}

static struct rig *rig_new(void)
{
    struct rig *rig = calloc(1, sizeof *rig);
    nghttp2_session_callbacks *callbacks;
    rig->limits = (struct http2_limits){.header_bytes = 4096,
                                        .body_bytes = 1 << 20,
                                        .streams = 20,
                                        .resets = 50,
                                        .controls = 50,
                                        .header_us = 10 * SECOND,
                                        .body_us = 30 * SECOND,
                                        .idle_us = 75 * SECOND,
                                        .write_us = 20 * SECOND};
    rig->n_most = EXCHANGES_MAX;
    rig->now_us = 1000 * (uint64_t)SECOND;
    rig->goaway = -1;
    rig->alive = true;
    rig->budget.limit = 16 << 20;
    rig->http2 = http2_new(&rig->limits, on_event, rig, rig->now_us);
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, client_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, client_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, client_close);
    nghttp2_session_client_new(&rig->client, callbacks, rig);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(rig->client, NGHTTP2_FLAG_NONE, NULL, 0);
    cr_assert(rig->http2);
    return rig;
}

static void rig_free(struct rig *rig)
{
    http2_end(rig->http2);
    http2_free(rig->http2);
    nghttp2_session_del(rig->client);
    for (unsigned i = 0; i < rig->n_requests; i++) {
        cr_expect_not(rig->requests[i].stream, "request %u was never ended", i);
        arena_clear(&rig->requests[i].arena);
    }
    for (unsigned i = 0; i < STREAMS_MAX; i++) {
        buf_clear(&rig->heard[i].headers);
        buf_clear(&rig->heard[i].body);
    }
    cr_expect_eq(rig->budget.bytes, 0);
    free(rig);
}

/* To the client goes all that there is. */
static void fill(struct rig *rig)
{
    for (size_t length = 1; length;) {
        struct buf out = {0};
        rig->alive = http2_fill(rig->http2, &out, ROOM, rig->now_us);
        length = out.length;
        cr_assert_leq(length, (size_t)ROOM + 20000, "no more than is asked for, and a frame");
        note_goodbye(rig, &out);
        if (length)
            (void)!nghttp2_session_mem_recv(rig->client, (const uint8_t *)out.bytes, length);
        buf_clear(&out);
    }
}

/* Both have said all that they have to say. */
static void pump(struct rig *rig)
{
    fill(rig);
    for (bool said = true; said;) {
        const uint8_t *bytes;
        ssize_t length = nghttp2_session_mem_send(rig->client, &bytes);
        said = length > 0;
        if (said)
            http2_feed(rig->http2, (const char *)bytes, (size_t)length, rig->now_us);
        fill(rig);
    }
}

static void wait_us(struct rig *rig, uint64_t us)
{
    rig->now_us += us;
    if (http2_deadline_us(rig->http2) <= rig->now_us)
        http2_expire(rig->http2, rig->now_us);
    pump(rig);
}

struct upload {
    const char *bytes;
    size_t length, sent;
    bool stalls; /* after its bytes, rather than to end */
};

static ssize_t upload_read(nghttp2_session *client, int32_t id, uint8_t *buffer, size_t length,
                           uint32_t *flags, nghttp2_data_source *source, void *owner)
{
    struct upload *upload = source->ptr;
    size_t left = upload->length - upload->sent, take = left < length ? left : length;
    (void)client, (void)id, (void)owner;
    if (!take && upload->stalls)
        return NGHTTP2_ERR_DEFERRED;
    if (upload->bytes)
        memcpy(buffer, upload->bytes + upload->sent, take);
    else
        memset(buffer, 'z', take);
    upload->sent += take;
    if (upload->sent == upload->length && !upload->stalls)
        *flags = NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)take;
}

/* "name: value\n" lines; a name may begin with a colon. */
static int32_t ask(struct rig *rig, const char *lines, struct upload *upload)
{
    nghttp2_nv fields[128];
    size_t n = 0;
    nghttp2_data_provider body = {.source.ptr = upload, .read_callback = upload_read};
    for (const char *end; *lines; lines = end + 1) {
        const char *colon = strchr(lines + 1, ':');
        end = strchr(lines, '\n');
        cr_assert_lt(n, 128u);
        fields[n++] = (nghttp2_nv){(uint8_t *)(uintptr_t)lines, (uint8_t *)(uintptr_t)colon + 2,
                                   (size_t)(colon - lines), (size_t)(end - colon - 2), 0};
    }
    int32_t id = nghttp2_submit_request(rig->client, NULL, fields, n, upload ? &body : NULL, NULL);
    cr_assert_gt(id, 0);
    return id;
}

#define PSEUDO(method, path) ":method: " method "\n:scheme: http\n:authority: x:80\n:path: " path "\n"

static const char *text_of(struct buf *buf)
{
    buf_append(buf, "", 1);
    buf->length--;
    return buf->bytes;
}

/* --- hostile clients: frames by hand --- */

static void say_frame(struct rig *rig, enum h2_type type, uint8_t flags, int32_t id, const void *payload,
                      size_t length)
{
    struct buf frame = {0};
    const uint8_t head[] = {
        (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length, (uint8_t)type, flags, 0,
        (uint8_t)(id >> 16),     (uint8_t)(id >> 8),     (uint8_t)id};
    buf_append(&frame, head, sizeof head);
    if (length)
        buf_append(&frame, payload, length);
    http2_feed(rig->http2, frame.bytes, frame.length, rig->now_us);
    buf_clear(&frame);
}

static void say_headers(struct rig *rig, uint8_t flags, int32_t id, const char *lines)
{
    struct buf block = {0};
    h2_block_write(&block, lines);
    say_frame(rig, H2_HEADERS, flags, id, block.bytes, block.length);
    buf_clear(&block);
}

static void greet(struct rig *rig)
{
    http2_feed(rig->http2, HTTP2_PREFACE, HTTP2_PREFACE_BYTES, rig->now_us);
    say_frame(rig, H2_SETTINGS, 0, 0, NULL, 0);
}

/* What the client is told at the end; -1: nothing. */
static int64_t goodbye(struct rig *rig)
{
    fill(rig);
    cr_expect_not(rig->alive);
    return rig->goaway;
}

/* --- requests --- */

Test(http2, a_request_becomes_a_message)
{
    struct rig *rig = rig_new();
    struct upload body = {.bytes = "hello", .length = 5};
    int32_t id = ask(rig,
                     PSEUDO("POST", "/a%20b?c=d") "content-type: application/json\nte: trailers\n"
                                                  "cookie: a=1\ncookie: b=2\n",
                     &body);
    pump(rig);
    struct request *request = &rig->requests[0];
    cr_assert_eq(rig->n_requests, 1);
    cr_assert_eq(request->last, HTTP2_MESSAGE);
    const struct http_message *message = &request->message;
    cr_expect_eq(message->method, HTTP_M_POST);
    cr_expect_str_eq(message->path, "/a b");
    cr_expect_str_eq(message->query, "c=d");
    cr_expect_str_eq(http_message_header(message, "host")->value, "x:80");
    cr_expect_str_eq(http_message_header(message, "te")->value, "trailers");
    cr_expect(http_message_is(message, "application/json", false));
    size_t length;
    cr_expect_eq(http_message_cookie(message, "b", &length)[0], '2');
    cr_expect_not(http_message_header(message, ":path"));
    cr_expect_eq(message->body_length, 5);
    cr_expect_str_eq(message->body, "hello", "and padded");
    cr_expect(message->keep_alive);
    reply_text(rig, request, 200, "answer");
    pump(rig);
    struct heard *heard = heard_of(rig, id);
    cr_expect_eq(heard->status, 200);
    cr_expect_str_eq(text_of(&heard->headers), "server: xebec\ndate: now\ncontent-type: text/plain\n"
                                               "content-length: 6\nx-arm: a\n");
    cr_expect_str_eq(text_of(&heard->body), "answer");
    cr_expect(heard->closed && heard->code == NGHTTP2_NO_ERROR);
    rig_free(rig);
}

Test(http2, replies_come_in_any_order)
{
    struct rig *rig = rig_new();
    int32_t ids[3];
    for (int i = 0; i < 3; i++)
        ids[i] = ask(rig, PSEUDO("GET", "/"), NULL);
    pump(rig);
    cr_assert_eq(rig->n_requests, 3);
    for (int i = 2; i >= 0; i--) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        reply_text(rig, &rig->requests[i], 200, text);
        pump(rig);
        cr_expect_str_eq(text_of(&heard_of(rig, ids[i])->body), text);
        cr_expect_eq(heard_of(rig, ids[0])->closed, i == 0);
    }
    rig_free(rig);
}

Test(http2, bodies_up_to_the_limit_pass_whatever_their_size)
{
    struct rig *rig = rig_new();
    rig->limits.body_bytes = 5 << 20; /* more than a window */
    struct upload body = {.length = 5 << 20}, one_more = {.length = (5 << 20) + 1};
    ask(rig, PSEUDO("POST", "/"), &body);
    pump(rig);
    cr_assert_eq(rig->requests[0].last, HTTP2_MESSAGE);
    cr_expect_eq(rig->requests[0].message.body_length, body.length);
    reply_text(rig, &rig->requests[0], 200, "");
    arena_clear(&rig->requests[0].arena);
    rig->echo = true;
    int32_t id = ask(rig, PSEUDO("POST", "/"), &one_more);
    pump(rig);
    cr_expect_eq(heard_of(rig, id)->status, 413);
    rig_free(rig);
}

Test(http2, refusals_are_answered)
{
    struct {
        const char *lines;
        int status;
        const char *words;
    } rows[] = {
        {PSEUDO("BREW", "/"), 501, "this method is not known"},
        {":method: CONNECT\n:authority: x:80\n", 501, "this method is not known"},
        {PSEUDO("GET", "/%zz"), 400, "not valid HTTP: bad percent-encoding in the path"},
        {PSEUDO("GET", "/%00"), 400, "not valid HTTP: %00 in the path"},
        {PSEUDO("GET", "/") "host: y\n", 400, "not valid HTTP: Host and :authority differ"},
        {PSEUDO("POST", "/") "content-length: 1048577\n", 413, "the body is larger than 1048576 bytes"},
        {PSEUDO("POST", "/") "content-length: 99999999999999999\n", 413,
         "the body is larger than 1048576 bytes"},
        {PSEUDO("POST", "/") "expect: the unexpected\n", 417, "only 100-continue can be expected"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig *rig = rig_new();
        struct upload body = {.stalls = true};
        bool has_body = strstr(rows[i].lines, "POST") || strstr(rows[i].lines, "CONNECT");
        rig->echo = true;
        int32_t id = ask(rig, rows[i].lines, has_body ? &body : NULL);
        pump(rig);
        cr_expect_eq(heard_of(rig, id)->status, rows[i].status, "%s: %d", rows[i].lines,
                     heard_of(rig, id)->status);
        cr_expect_str_eq(text_of(&heard_of(rig, id)->body), rows[i].words);
        cr_expect_eq(rig->goaway, -1);
        rig_free(rig);
    }
}

Test(http2, header_lists_are_bounded)
{
    struct rig *rig = rig_new();
    struct buf lines = {0};
    rig->echo = true;
    buf_text(&lines, PSEUDO("GET", "/"));
    buf_printf(&lines, "x: %04000d\n", 1);
    int32_t large = ask(rig, text_of(&lines), NULL);
    pump(rig);
    cr_expect_eq(heard_of(rig, large)->status, 431);
    rig->limits.header_bytes = 16384;
    lines.length = 0;
    buf_text(&lines, PSEUDO("GET", "/"));
    for (int i = 0; i < 99; i++) /* and one for the authority */
        buf_printf(&lines, "x%d: y\n", i);
    int32_t most = ask(rig, text_of(&lines), NULL);
    buf_text(&lines, "one-more: y\n");
    int32_t many = ask(rig, text_of(&lines), NULL);
    pump(rig);
    cr_expect_eq(heard_of(rig, most)->status, 200);
    cr_expect_eq(heard_of(rig, many)->status, 431);
    buf_clear(&lines);
    rig_free(rig);
}

Test(http2, malformed_requests_are_reset_and_never_seen)
{
    static const char *const rows[] = {
        ":method: GET\n:scheme: http\n:authority: x\n",
        ":method: GET\n:scheme: http\n:path: /\n",
        PSEUDO("GET", "/") ":path: /\n",
        PSEUDO("GET", "/") "a: b\n:method: GET\n",
        PSEUDO("GET", "/") ":unknown: x\n",
        PSEUDO("GET", "/") "Upper: x\n",
        PSEUDO("GET", "/") "connection: close\n",
        PSEUDO("GET", "/") "transfer-encoding: chunked\n",
        PSEUDO("GET", "/") "te: gzip\n",
        PSEUDO("GET", "/") "content-length: 5\n",
        PSEUDO("GET", "/") "content-length: 0\ncontent-length: 1\n",
        PSEUDO("GET", "/") "content-length: -1\n",
        PSEUDO("GET", "") "a: b\n",
        PSEUDO("GET", "a"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig *rig = rig_new();
        rig->echo = true;
        greet(rig);
        say_headers(rig, H2_END_HEADERS | H2_END_STREAM, 1, rows[i]);
        fill(rig);
        for (unsigned r = 0; r < rig->n_requests; r++)
            cr_expect_eq(rig->requests[r].last, HTTP2_GONE, "%s", rows[i]);
        cr_expect_eq(heard_of(rig, 1)->status, 0);
        rig_free(rig);
    }
}

Test(http2, a_field_that_is_none_is_answered)
{
    struct rig *rig = rig_new();
    greet(rig);
    say_headers(rig, H2_END_HEADERS | H2_END_STREAM, 1, PSEUDO("GET", "/") "a: b\x01\n");
    say_headers(rig, H2_END_HEADERS | H2_END_STREAM, 3, PSEUDO("GET", "/") "a b: c\n");
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(rig->requests[i].last, HTTP2_REFUSED);
        cr_expect_eq(rig->requests[i].err.status, GW_E_INVALID);
    }
    rig_free(rig);
}

Test(http2, expect_continue_is_answered_once)
{
    struct rig *rig = rig_new();
    struct upload body = {.bytes = "x", .length = 1};
    rig->echo = true;
    int32_t id = ask(rig, PSEUDO("POST", "/") "expect: 100-continue\n", &body);
    int32_t none = ask(rig, PSEUDO("POST", "/") "expect: 100-continue\n", NULL);
    pump(rig);
    cr_expect_eq(heard_of(rig, id)->interim, 1);
    cr_expect_eq(heard_of(rig, id)->status, 200);
    cr_expect_eq(heard_of(rig, none)->interim, 0);
    cr_expect_eq(heard_of(rig, none)->status, 200);
    rig_free(rig);
}

Test(http2, without_memory_a_request_is_refused_and_the_next_is_served)
{
    struct rig *rig = rig_new();
    struct upload body = {.length = 500000};
    rig->echo = true;
    rig->budget.limit = 100000;
    int32_t id = ask(rig, PSEUDO("POST", "/"), &body);
    pump(rig);
    cr_expect_eq(heard_of(rig, id)->status, 503);
    arena_clear(&rig->requests[0].arena);
    int32_t next = ask(rig, PSEUDO("GET", "/"), NULL);
    pump(rig);
    cr_expect_eq(heard_of(rig, next)->status, 200);
    rig_free(rig);
}

/* --- replies --- */

Test(http2, head_has_no_body_and_trailers_come_last)
{
    struct rig *rig = rig_new();
    int32_t head = ask(rig, PSEUDO("HEAD", "/"), NULL), get = ask(rig, PSEUDO("GET", "/"), NULL);
    pump(rig);
    reply_text(rig, &rig->requests[0], 200, "12345");
    struct http_reply reply = {.status = 200, .trailers = "Grpc-Status: 5\r\ngrpc-message: no\r\n"};
    buf_text(&reply.body, "body");
    http2_reply(rig->requests[1].stream, &reply, "now", rig->now_us);
    rig->requests[1].stream = NULL;
    pump(rig);
    cr_expect(strstr(text_of(&heard_of(rig, head)->headers), "content-length: 5\n"));
    cr_expect_eq(heard_of(rig, head)->body.length, 0);
    cr_expect_str_eq(text_of(&heard_of(rig, get)->headers),
                     "server: xebec\ndate: now\ngrpc-status: 5\ngrpc-message: no\n");
    cr_expect_str_eq(text_of(&heard_of(rig, get)->body), "body");
    cr_expect(heard_of(rig, get)->closed);
    rig_free(rig);
}

/* A reply goes no faster than the client's window, and a client that never opens it is not waited for. */
Test(http2, a_client_that_takes_nothing_loses_its_stream)
{
    struct rig *rig = rig_new();
    const nghttp2_settings_entry small = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 10};
    nghttp2_submit_settings(rig->client, NGHTTP2_FLAG_NONE, &small, 1);
    nghttp2_session_set_local_window_size(rig->client, NGHTTP2_FLAG_NONE, 0, 65535);
    int32_t id = ask(rig, PSEUDO("GET", "/"), NULL);
    pump(rig);
    struct http_reply reply = {.status = 200};
    for (int i = 0; i < 10000; i++)
        buf_text(&reply.body, "0123456789");
    http2_reply(rig->requests[0].stream, &reply, "now", rig->now_us);
    rig->requests[0].stream = NULL;
    struct buf out = {0};
    cr_assert(http2_fill(rig->http2, &out, ROOM, rig->now_us));
    cr_expect_lt(out.length, 200u, "the header and ten bytes");
    buf_clear(&out);
    cr_expect_eq(http2_deadline_us(rig->http2) > rig->now_us, true);
    wait_us(rig, rig->limits.write_us + 1);
    cr_expect(heard_of(rig, id)->closed);
    cr_expect_eq(heard_of(rig, id)->code, NGHTTP2_CANCEL);
    rig_free(rig);
}

Test(http2, an_early_reply_stops_an_upload)
{
    struct rig *rig = rig_new();
    struct upload body = {.length = 100, .stalls = true};
    int32_t id = ask(rig, PSEUDO("POST", "/") "content-length: 9999999\n", &body);
    rig->echo = true;
    pump(rig);
    cr_expect_eq(heard_of(rig, id)->status, 413);
    cr_expect_not(heard_of(rig, id)->closed);
    wait_us(rig, SECOND + 1);
    cr_expect(heard_of(rig, id)->closed);
    cr_expect_eq(heard_of(rig, id)->code, NGHTTP2_NO_ERROR);
    rig_free(rig);
}

Test(http2, a_client_that_cancels_is_noticed)
{
    struct rig *rig = rig_new();
    int32_t id = ask(rig, PSEUDO("GET", "/"), NULL);
    pump(rig);
    nghttp2_submit_rst_stream(rig->client, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    pump(rig);
    cr_expect_eq(rig->requests[0].last, HTTP2_GONE);
    cr_expect_eq(rig->goaway, -1);
    rig_free(rig);
}

Test(http2, an_abandoned_request_is_reset)
{
    struct rig *rig = rig_new();
    int32_t id = ask(rig, PSEUDO("GET", "/"), NULL);
    pump(rig);
    http2_abandon(rig->requests[0].stream);
    rig->requests[0].stream = NULL;
    pump(rig);
    cr_expect_eq(heard_of(rig, id)->code, NGHTTP2_INTERNAL_ERROR);
    cr_expect_eq(rig->requests[0].last, HTTP2_MESSAGE);
    rig_free(rig);
}

/* --- limits --- */

Test(http2, who_cannot_be_taken_may_try_again)
{
    struct rig *rig = rig_new();
    rig->n_most = 0;
    int32_t id = ask(rig, PSEUDO("GET", "/"), NULL);
    pump(rig);
    cr_expect_eq(heard_of(rig, id)->code, NGHTTP2_REFUSED_STREAM);
    cr_expect_eq(rig->goaway, -1);
    rig_free(rig);
}

/* Each is put up with up to its limit; then again, slowly. */
enum flood { PINGS, SETTINGS, PRIORITIES, WINDOWS, NOTHINGS, RESETS, PROVOKED, FLOODS };

static void flood_once(struct rig *rig, enum flood flood, int32_t *id)
{
    static const uint8_t zeros[8], one[4] = {0, 0, 0, 1};
    switch (flood) {
    case PINGS:
        say_frame(rig, H2_PING, 0, 0, zeros, 8);
        break;
    case SETTINGS:
        say_frame(rig, H2_SETTINGS, 0, 0, NULL, 0);
        break;
    case PRIORITIES:
        say_frame(rig, H2_PRIORITY, 0, 101, zeros, 5);
        break;
    case WINDOWS:
        say_frame(rig, H2_WINDOW_UPDATE, 0, 0, one, 4);
        break;
    case NOTHINGS:
        if (!*id)
            say_headers(rig, H2_END_HEADERS, *id = 1, PSEUDO("POST", "/"));
        say_frame(rig, H2_DATA, 0, *id, NULL, 0);
        break;
    case RESETS:
        say_headers(rig, H2_END_HEADERS | H2_END_STREAM, *id = *id ? *id + 2 : 1, PSEUDO("GET", "/"));
        say_frame(rig, H2_RST_STREAM, 0, *id, zeros, 4);
        break;
    default: /* a reset of ours: malformed */
        say_headers(rig, H2_END_HEADERS | H2_END_STREAM, *id = *id ? *id + 2 : 1,
                    PSEUDO("POST", "/") "content-length: 5\n");
        break;
    }
}

Test(http2, floods_end_with_a_word_of_warning)
{
    for (enum flood flood = 0; flood < FLOODS; flood++) {
        struct rig *rig = rig_new();
        int32_t id = 0;
        unsigned n = 0;
        rig->n_most = 40; /* the rest is refused: that does not matter here */
        greet(rig);
        for (n = 1; rig->alive && n < 500; n++) {
            flood_once(rig, flood, &id);
            fill(rig);
        }
        cr_expect(http2_was_flooded(rig->http2), "flood %d", flood);
        cr_expect_eq(rig->goaway, NGHTTP2_ENHANCE_YOUR_CALM, "flood %d", flood);
        cr_expect(n > 30 && n < 60, "flood %d ended after %u", flood, n);
        rig_free(rig);
    }
}

Test(http2, what_comes_slowly_is_no_flood)
{
    for (enum flood flood = 0; flood < FLOODS; flood++) {
        struct rig *rig = rig_new();
        int32_t id = 0;
        rig->n_most = 0;
        rig->limits.body_us = rig->limits.idle_us = 1000 * (uint64_t)SECOND;
        greet(rig);
        for (unsigned n = 0; rig->alive && n < 200; n++) {
            if (flood != NOTHINGS) /* refused for good */
                flood_once(rig, flood, &id);
            fill(rig);
            rig->now_us += SECOND / 2;
        }
        cr_expect_not(http2_was_flooded(rig->http2), "flood %d", flood);
        rig_free(rig);
    }
}

Test(http2, endless_headers_end)
{
    for (int large = 0; large < 2; large++) {
        struct rig *rig = rig_new();
        struct buf block = {0};
        greet(rig);
        say_headers(rig, 0, 1, PSEUDO("GET", "/"));
        h2_block_write(&block, "x: 0123456789012345678901234567890123456789\n");
        for (int i = 0; i < 1000; i++)
            say_frame(rig, H2_CONTINUATION, 0, 1, block.bytes, large ? block.length : 0);
        cr_expect(http2_was_flooded(rig->http2));
        cr_expect_lt(rig->requests[0].arena.bytes, 20000u);
        cr_expect_eq(goodbye(rig), NGHTTP2_ENHANCE_YOUR_CALM);
        buf_clear(&block);
        rig_free(rig);
    }
}

Test(http2, streams_are_opened_in_order)
{
    struct rig *rig = rig_new();
    rig->echo = true;
    greet(rig);
    say_headers(rig, H2_END_HEADERS | H2_END_STREAM, 1, PSEUDO("GET", "/"));
    say_headers(rig, H2_END_HEADERS | H2_END_STREAM, 7, PSEUDO("GET", "/"));
    say_headers(rig, H2_END_HEADERS | H2_END_STREAM, 5, PSEUDO("GET", "/"));
    cr_expect_eq(rig->n_requests, 2);
    cr_expect_eq(goodbye(rig), NGHTTP2_PROTOCOL_ERROR);
    rig_free(rig);
}

Test(http2, what_is_not_http2_ends_at_once)
{
    struct rig *rig = rig_new();
    http2_feed(rig->http2, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, rig->now_us);
    cr_expect_eq(goodbye(rig), NGHTTP2_PROTOCOL_ERROR);
    cr_expect_eq(rig->n_requests, 0);
    rig_free(rig);
}

/* --- time --- */

Test(http2, a_slow_body_is_answered_and_others_go_on)
{
    struct rig *rig = rig_new();
    struct upload body = {.length = 100, .stalls = true};
    int32_t slow = ask(rig, PSEUDO("POST", "/"), &body);
    int32_t other = ask(rig, PSEUDO("GET", "/"), NULL);
    pump(rig);
    rig->echo = true;
    wait_us(rig, rig->limits.body_us - SECOND);
    cr_expect_eq(heard_of(rig, slow)->status, 0);
    wait_us(rig, 2 * SECOND);
    cr_expect_eq(heard_of(rig, slow)->status, 408);
    reply_text(rig, &rig->requests[1], 200, "late, and no matter");
    pump(rig);
    cr_expect_eq(heard_of(rig, other)->status, 200);
    cr_expect_eq(rig->goaway, -1);
    rig_free(rig);
}

Test(http2, a_header_that_never_ends_ends_the_connection)
{
    struct rig *rig = rig_new();
    greet(rig);
    say_headers(rig, 0, 1, PSEUDO("GET", "/"));
    rig->now_us += rig->limits.header_us + 1;
    http2_expire(rig->http2, rig->now_us);
    cr_expect_eq(goodbye(rig), NGHTTP2_ENHANCE_YOUR_CALM);
    rig_free(rig);
}

Test(http2, an_idle_connection_ends_and_pings_do_not_keep_it)
{
    struct rig *rig = rig_new();
    rig->echo = true;
    ask(rig, PSEUDO("GET", "/"), NULL);
    pump(rig);
    for (int i = 0; i < 74; i++) {
        nghttp2_submit_ping(rig->client, NGHTTP2_FLAG_NONE, NULL);
        wait_us(rig, SECOND);
    }
    cr_expect(rig->alive);
    wait_us(rig, 2 * SECOND);
    cr_expect_not(rig->alive);
    cr_expect_eq(rig->goaway, NGHTTP2_NO_ERROR);
    rig_free(rig);
}

Test(http2, draining_waits_for_replies_and_takes_what_is_on_its_way)
{
    struct rig *rig = rig_new();
    int32_t first = ask(rig, PSEUDO("GET", "/"), NULL);
    pump(rig);
    http2_drain(rig->http2, rig->now_us);
    int32_t crossing = ask(rig, PSEUDO("GET", "/"), NULL); /* before the client hears of it */
    const uint8_t *bytes;
    ssize_t length = nghttp2_session_mem_send(rig->client, &bytes);
    http2_feed(rig->http2, (const char *)bytes, (size_t)length, rig->now_us);
    pump(rig);
    cr_expect(rig->alive);
    cr_expect_eq(rig->goaway, NGHTTP2_NO_ERROR);
    cr_expect_eq(rig->goaway_last, crossing);
    reply_text(rig, &rig->requests[0], 200, "1");
    pump(rig);
    cr_expect(rig->alive);
    reply_text(rig, &rig->requests[1], 200, "2");
    pump(rig);
    cr_expect_not(rig->alive);
    cr_expect_eq(heard_of(rig, first)->status, 200);
    cr_expect_eq(heard_of(rig, crossing)->status, 200);
    rig_free(rig);
}

Test(http2, draining_does_not_wait_for_a_client_that_says_nothing)
{
    struct rig *rig = rig_new();
    greet(rig);
    fill(rig);
    http2_drain(rig->http2, rig->now_us);
    fill(rig);
    cr_expect(rig->alive);
    rig->now_us += SECOND + 1;
    cr_expect_leq(http2_deadline_us(rig->http2), rig->now_us);
    http2_expire(rig->http2, rig->now_us);
    fill(rig);
    cr_expect_not(rig->alive);
    rig_free(rig);
}
