/* rpc_h2: against a peer that says byte for byte what the test tells it, most of it wrong. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h2_peer.h"
#include "replica/rpc.h"
#include "support/resolve.h"
#include "turn.h"

#define METHOD   "/xebec.worker.v1.Worker/Predict"
#define SOON_MS  5000
#define LATER_US 5000000
#define GRPC     ":status: 200\ncontent-type: application/grpc\n"

enum { CALLS = 4, MESSAGE_MAX = 1 << 18, BACKOFF_MS = 100, CONNECT_MS = 300 };
enum { NO_ERROR = 0, CANCEL = 8, ENHANCE_YOUR_CALM = 11, REFUSED_STREAM = 7 };
enum { MAX_CONCURRENT_STREAMS = 3, INITIAL_WINDOW_SIZE = 4 };

struct answer {
    unsigned times;
    enum gw_status status;
    char message[600];
    char bytes[64];
    size_t size;
};

struct scene {
    struct h2_peer peer;
    struct loop *loop;
    struct resolver *resolver;
    struct rpc_client *client;
    struct rpc_channel *channel;
    enum rpc_state state;
    unsigned readies, downs;
    int32_t wanted;
    struct rpc_call *calls[CALLS];
    struct answer answers[CALLS];
};

static void on_change(void *owner, enum rpc_state state)
{
    struct scene *scene = owner;
    scene->state = state;
    scene->readies += state == RPC_READY;
    scene->downs += state == RPC_DOWN;
}

static void on_done(void *owner, const struct rpc_reply *reply)
{
    struct answer *answer = owner;
    answer->times++;
    answer->status = reply->status;
    answer->size = reply->size;
    snprintf(answer->message, sizeof answer->message, "%s", reply->message);
    if (reply->size)
        memcpy(answer->bytes, reply->bytes,
               reply->size < sizeof answer->bytes ? reply->size : sizeof answer->bytes);
}

static void scene_open_at(struct scene *scene, const char *address)
{
    const struct rpc_channel_options options = {.connect_timeout_ms = CONNECT_MS,
                                                .backoff_min_ms = BACKOFF_MS,
                                                .backoff_max_ms = BACKOFF_MS,
                                                .max_message_bytes = MESSAGE_MAX};
    scene->loop = loop_new();
    scene->client = rpc_client_new(scene->loop, RPC_NGHTTP2, scene->resolver);
    scene->channel = rpc_channel_new(scene->client, address, &options);
    rpc_channel_watch(scene->channel, on_change, scene);
}

/* Connected, and heard; the peer has not said a word. */
static bool is_heard(void *owner)
{
    struct scene *scene = owner;
    return h2_peer_hear(&scene->peer) && scene->peer.settings > 0;
}
static bool is_ready(void *owner)
{
    struct scene *scene = owner;
    h2_peer_hear(&scene->peer);
    return scene->state == RPC_READY;
}
static bool is_down(void *owner)
{
    struct scene *scene = owner;
    h2_peer_hear(&scene->peer);
    return scene->downs > 0;
}
static bool is_done(void *owner)
{
    struct scene *scene = owner;
    h2_peer_hear(&scene->peer);
    for (int i = 0; i < CALLS; i++)
        if (scene->calls[i] && !scene->answers[i].times)
            return false;
    return true;
}
static void turn(struct scene *scene, bool (*until)(void *owner))
{
    cr_assert(turn_until(scene->loop, until, scene, SOON_MS));
}

static void scene_open(struct scene *scene)
{
    *scene = (struct scene){0};
    h2_peer_open(&scene->peer);
    scene_open_at(scene, scene->peer.address);
    turn(scene, is_heard);
}

static void greet(struct scene *scene)
{
    h2_peer_settings(&scene->peer, 0, 0);
    h2_peer_frame(&scene->peer, H2_SETTINGS, H2_ACK, 0, NULL, 0);
    turn(scene, is_ready);
}

static void scene_ready(struct scene *scene)
{
    scene_open(scene);
    greet(scene);
}

static void scene_close(struct scene *scene)
{
    rpc_channel_free(scene->channel);
    rpc_client_free(scene->client);
    loop_free(scene->loop);
    resolver_free(scene->resolver);
    for (int i = 0; i < CALLS; i++)
        if (scene->calls[i])
            cr_expect_eq(scene->answers[i].times, 1);
    h2_peer_close(&scene->peer);
}

static void send_bytes(struct scene *scene, int i, const char *fill, size_t size, uint64_t within_us)
{
    uint8_t *bytes;
    struct rpc_payload *payload = rpc_payload_new(size, &bytes);
    for (size_t at = 0; at < size; at++)
        bytes[at] = (uint8_t)fill[at % strlen(fill)];
    scene->calls[i] = rpc_call_start(scene->channel, payload, METHOD, loop_now_us() + within_us, on_done,
                                     &scene->answers[i]);
    cr_assert(scene->calls[i]);
    cr_assert_eq(scene->answers[i].times, 0, "done ran inside rpc_call_start()");
    rpc_payload_free(payload);
}

static const struct h2_heard *stream(const struct scene *scene, int32_t id)
{
    static const struct h2_heard nothing = {.reset = -1};
    for (unsigned i = 0; i < scene->peer.n_streams; i++)
        if (scene->peer.streams[i].id == id)
            return &scene->peer.streams[i];
    return &nothing;
}

static bool is_wanted_heard(void *owner)
{
    struct scene *scene = owner;
    h2_peer_hear(&scene->peer);
    return stream(scene, scene->wanted)->ended;
}

static bool is_first_heard(void *owner)
{
    ((struct scene *)owner)->wanted = 1;
    return is_wanted_heard(owner);
}

static void send_first(struct scene *scene)
{
    send_bytes(scene, 0, "hello", 5, LATER_US);
    turn(scene, is_first_heard);
}

static void expect_answer(const struct scene *scene, int i, enum gw_status status, const char *words)
{
    cr_expect_eq(scene->answers[i].status, status, "%d: %s", scene->answers[i].status,
                 scene->answers[i].message);
    cr_expect(strstr(scene->answers[i].message, words), "%s", scene->answers[i].message);
}

/* The connection is as good as new. */
static void expect_well(struct scene *scene, int i, int32_t id)
{
    send_bytes(scene, i, "again", 5, LATER_US);
    scene->wanted = id;
    turn(scene, is_wanted_heard);
    h2_peer_answer(&scene->peer, id, "well");
    turn(scene, is_done);
    expect_answer(scene, i, GW_OK, "");
    cr_expect_eq(scene->readies, 1);
}

/* --- what goes out --- */

static bool has_line(const struct h2_heard *heard, const char *line)
{
    return memmem(heard->headers.bytes, heard->headers.length, line, strlen(line)) != NULL;
}

Test(rpc_h2, a_call_is_what_grpc_says_a_call_is)
{
    struct scene scene;
    char authority[100];
    scene_ready(&scene);
    send_first(&scene);
    const struct h2_heard *heard = stream(&scene, 1);
    snprintf(authority, sizeof authority, ":authority: %s\n", scene.peer.address);
    cr_expect(has_line(heard, ":method: POST\n:scheme: http\n:path: " METHOD "\n"));
    cr_expect(has_line(heard, authority));
    cr_expect(has_line(heard, "te: trailers\ncontent-type: application/grpc\nuser-agent: xebec/"));
    const char *timeout = memmem(heard->headers.bytes, heard->headers.length, "grpc-timeout: ", 14);
    cr_assert(timeout);
    cr_expect(strtol(timeout + 14, NULL, 10) > LATER_US - 1000000 &&
              strtol(timeout + 14, NULL, 10) <= LATER_US);
    cr_expect_eq(heard->data.length, 10);
    cr_expect_eq(memcmp(heard->data.bytes, "\0\0\0\0\5hello", 10), 0);
    h2_peer_answer(&scene.peer, 1, "world");
    turn(&scene, is_done);
    expect_answer(&scene, 0, GW_OK, "");
    cr_expect_eq(scene.answers[0].size, 5);
    cr_expect_eq(memcmp(scene.answers[0].bytes, "world", 5), 0);
    scene_close(&scene);
}

Test(rpc_h2, a_long_deadline_is_told_in_at_most_eight_digits)
{
    struct scene scene;
    scene_ready(&scene);
    send_bytes(&scene, 0, "x", 1, UINT64_C(3600) * 1000000);
    turn(&scene, is_first_heard);
    cr_expect(has_line(stream(&scene, 1), "grpc-timeout: 3600000m\n") ||
              has_line(stream(&scene, 1), "grpc-timeout: 3599999m\n"));
    scene_close(&scene);
}

Test(rpc_h2, a_window_holds_a_large_message_back_until_it_opens)
{
    enum { SIZE = 300000, WINDOW = 65535 };
    struct scene scene;
    scene_ready(&scene);
    send_bytes(&scene, 0, "0123456789a", SIZE, LATER_US);
    turn_for(scene.loop, 20);
    is_done(&scene);
    cr_expect_eq(stream(&scene, 1)->data.length, WINDOW);
    h2_peer_code(&scene.peer, H2_WINDOW_UPDATE, 0, 1 << 20);
    h2_peer_code(&scene.peer, H2_WINDOW_UPDATE, 1, 1 << 20);
    turn(&scene, is_first_heard);
    const struct h2_heard *heard = stream(&scene, 1);
    cr_assert_eq(heard->data.length, SIZE + 5);
    for (size_t i = 0; i < SIZE; i++)
        cr_assert_eq(heard->data.bytes[5 + i], "0123456789a"[i % 11]);
    h2_peer_answer(&scene.peer, 1, "");
    turn(&scene, is_done);
    expect_answer(&scene, 0, GW_OK, "");
    scene_close(&scene);
}

Test(rpc_h2, calls_beyond_the_peers_limit_wait_for_their_turn)
{
    struct scene scene;
    scene_open(&scene);
    h2_peer_settings(&scene.peer, MAX_CONCURRENT_STREAMS, 1);
    turn(&scene, is_ready);
    for (int i = 0; i < 3; i++)
        send_bytes(&scene, i, "x", 1, LATER_US);
    turn(&scene, is_first_heard);
    turn_for(scene.loop, 20);
    is_done(&scene);
    cr_expect_eq(scene.peer.n_streams, 1, "the limit is one");
    for (scene.wanted = 1; scene.wanted <= 5; scene.wanted += 2) {
        turn(&scene, is_wanted_heard);
        h2_peer_answer(&scene.peer, scene.wanted, "done");
    }
    turn(&scene, is_done);
    for (int i = 0; i < 3; i++)
        expect_answer(&scene, i, GW_OK, "");
    scene_close(&scene);
}

/* --- what comes back: one stream --- */

struct told {
    const char *headers; /* NULL: none */
    const char *data;    /* NULL: none */
    size_t data_bytes;
    const char *trailers; /* NULL: the stream ends with what came before */
    enum gw_status status;
    const char *words;
};

/* One call, so answered; after it the connection serves another. */
static void expect_told(const struct told *told)
{
    struct scene scene;
    scene_ready(&scene);
    send_first(&scene);
    h2_peer_headers(&scene.peer,
                    (uint8_t)(H2_END_HEADERS | (told->data || told->trailers ? 0 : H2_END_STREAM)), 1,
                    told->headers);
    if (told->data)
        h2_peer_frame(&scene.peer, H2_DATA, told->trailers ? 0 : H2_END_STREAM, 1, told->data,
                      told->data_bytes);
    if (told->trailers)
        h2_peer_headers(&scene.peer, H2_END_HEADERS | H2_END_STREAM, 1, told->trailers);
    turn(&scene, is_done);
    expect_answer(&scene, 0, told->status, told->words);
    expect_well(&scene, 1, 3);
    scene_close(&scene);
}

#define BYTES(literal) literal, sizeof(literal) - 1
static const struct told tales[] = {
    {GRPC, BYTES("\0\0\0\0\2ok"), "grpc-status: 0\n", GW_OK, ""},
    {":status: 200\ncontent-type: application/grpc+proto\n", BYTES("\0\0\0\0\2ok"),
     "grpc-status: 0\ngrpc-message: fine\nx-more: 1\n", GW_OK, "fine"},
    {GRPC "grpc-status: 2\ngrpc-message: ValueError: 1%2f0 %C3%A9 %zz %2\n", NULL, 0, NULL, GW_E_MODEL,
     "ValueError: 1/0 \u00e9 %zz %2"},
    {GRPC "grpc-status: 14\n", NULL, 0, NULL, GW_E_NO_REPLICA, ""},
    {GRPC "grpc-status: 12\n", NULL, 0, NULL, GW_E_NOT_IMPLEMENTED, ""},
    {GRPC "grpc-status: 4\n", NULL, 0, NULL, GW_E_DEADLINE, ""},
    {GRPC "grpc-status: 8\ngrpc-message: busy\n", NULL, 0, NULL, GW_E_OVERLOAD, "busy"},
    {GRPC "grpc-status: 8\ngrpc-message: Received message larger than max (9 vs. 4)\n", NULL, 0, NULL,
     GW_E_CONTRACT, "larger than max"},
    {GRPC "grpc-status: 99999\n", NULL, 0, NULL, GW_E_MODEL, ""},
    {GRPC "grpc-status: -1\n", NULL, 0, NULL, GW_E_MODEL, ""},
    {GRPC "grpc-status: 0\n", NULL, 0, NULL, GW_E_CONTRACT, "there is no message in the reply"},
    {GRPC, BYTES("\0\0\0\0\5ok"), "grpc-status: 0\n", GW_E_CONTRACT, "cut off"},
    {GRPC, BYTES("\0\0"), "grpc-status: 0\n", GW_E_CONTRACT, "cut off"},
    {GRPC, BYTES("\0\0\0\0\2ok\0\0\0\0\0"), "grpc-status: 0\n", GW_E_CONTRACT, "more than one message"},
    {GRPC, BYTES("\1\0\0\0\2ok"), "grpc-status: 0\n", GW_E_CONTRACT, "the reply is compressed"},
    {GRPC, BYTES("\7\0\0\0\2ok"), "grpc-status: 0\n", GW_E_CONTRACT, "no gRPC message"},
    {GRPC, BYTES("\0\377\377\377\377ok"), "grpc-status: 0\n", GW_E_CONTRACT,
     "larger than max: 4294967295 bytes"},
    {GRPC, BYTES("\0\0\0\0\2ok"), NULL, GW_E_CONTRACT, "without a grpc-status"},
    {":status: 200\ncontent-type: text/html\n", BYTES("<p>hello"), NULL, GW_E_CONTRACT, "no gRPC"},
    {":status: 200\ncontent-type: application/grpc-web\n", NULL, 0, NULL, GW_E_CONTRACT,
     "this is no gRPC server"},
    {":status: 404\n", NULL, 0, NULL, GW_E_NOT_IMPLEMENTED, "HTTP status 404"},
    {":status: 503\ncontent-type: text/plain\n", NULL, 0, NULL, GW_E_NO_REPLICA, "HTTP status 503"},
    {":status: 401\n", NULL, 0, NULL, GW_E_CONTRACT, "HTTP status 401"},
    {GRPC "content-length: 9\n", BYTES("\0\0\0\0\2ok"), "grpc-status: 0\n", GW_E_CONTRACT,
     "not valid HTTP/2"},
    {GRPC "content-length: 3\n", BYTES("\0\0\0\0\2ok"), "grpc-status: 0\n", GW_E_CONTRACT,
     "not valid HTTP/2"},
    {GRPC "Upper-Case: 1\n", BYTES("\0\0\0\0\2ok"), "grpc-status: 0\n", GW_E_CONTRACT, "not valid HTTP/2"},
    {"content-type: application/grpc\n", NULL, 0, NULL, GW_E_CONTRACT, "not valid HTTP/2"},
    {GRPC, BYTES("\0\0\0\0\2ok"), "grpc-status: 0\n:status: 200\n", GW_E_CONTRACT, "not valid HTTP/2"},
};

Test(rpc_h2, every_reply_is_judged_and_none_harms_the_next)
{
    for (size_t i = 0; i < sizeof tales / sizeof *tales; i++)
        expect_told(&tales[i]);
}

static void expect_reset(uint32_t code, enum gw_status status, const char *words)
{
    struct scene scene;
    scene_ready(&scene);
    send_first(&scene);
    h2_peer_code(&scene.peer, H2_RST_STREAM, 1, code);
    turn(&scene, is_done);
    expect_answer(&scene, 0, status, words);
    expect_well(&scene, 1, 3);
    scene_close(&scene);
}

Test(rpc_h2, a_stream_that_is_reset_may_be_tried_elsewhere)
{
    expect_reset(REFUSED_STREAM, GW_E_NO_REPLICA, "REFUSED_STREAM");
    expect_reset(CANCEL, GW_E_NO_REPLICA, "CANCEL");
    expect_reset(NO_ERROR, GW_E_NO_REPLICA, "NO_ERROR");
    expect_reset(ENHANCE_YOUR_CALM, GW_E_OVERLOAD, "ENHANCE_YOUR_CALM");
    expect_reset(4711, GW_E_NO_REPLICA, "reset");
}

Test(rpc_h2, an_answer_before_the_request_was_heard_is_an_answer)
{
    struct scene scene;
    scene_ready(&scene);
    send_bytes(&scene, 0, "x", 200000, LATER_US); /* more than the window */
    turn_for(scene.loop, 20);
    is_done(&scene);
    h2_peer_headers(&scene.peer, H2_END_HEADERS | H2_END_STREAM, 1,
                    GRPC "grpc-status: 3\ngrpc-message: too long\n");
    turn(&scene, is_done);
    expect_answer(&scene, 0, GW_E_INVALID, "too long");
    turn_for(scene.loop, 20);
    is_done(&scene);
    cr_expect_eq(stream(&scene, 1)->reset, NO_ERROR, "the rest is not sent");
    scene_close(&scene);
}

/* Some fields of 1000 bytes, in one HEADERS and many CONTINUATIONs. */
static void say_many_headers(struct scene *scene, int32_t id, unsigned fields, uint8_t flags)
{
    char line[1100];
    struct buf block = {0};
    h2_block_write(&block, GRPC);
    for (unsigned i = 0; i < fields; i++) {
        snprintf(line, sizeof line, "x-%u: %01000d\n", i, 0);
        h2_block_write(&block, line);
    }
    size_t at = 0, piece;
    for (; at < block.length; at += piece) {
        piece = block.length - at < 16000 ? block.length - at : 16000;
        bool last = at + piece == block.length;
        h2_peer_frame(&scene->peer, at ? H2_CONTINUATION : H2_HEADERS,
                      (uint8_t)((last ? H2_END_HEADERS : 0) | (at ? 0 : flags)), id, block.bytes + at, piece);
    }
    buf_clear(&block);
}

Test(rpc_h2, a_flood_of_headers_is_cut_off)
{
    struct scene scene;
    scene_ready(&scene);
    send_first(&scene);
    say_many_headers(&scene, 1, 30, H2_END_STREAM);
    turn(&scene, is_done);
    expect_answer(&scene, 0, GW_E_CONTRACT, "16384 bytes of headers");
    expect_well(&scene, 1, 3);
    scene_close(&scene);
}

Test(rpc_h2, header_blocks_without_end_are_cut_off)
{
    struct scene scene;
    scene_ready(&scene);
    send_first(&scene);
    for (int i = 0; i < 1000; i++)
        h2_peer_headers(&scene.peer, H2_END_HEADERS, 1, ":status: 103\nlink: </style.css>\n");
    turn(&scene, is_done);
    expect_answer(&scene, 0, GW_E_CONTRACT, "bytes of headers");
    expect_well(&scene, 1, 3);
    scene_close(&scene);
}

Test(rpc_h2, a_reply_that_never_ends_meets_the_deadline)
{
    struct scene scene;
    scene_ready(&scene);
    send_bytes(&scene, 0, "x", 1, 100000);
    turn(&scene, is_first_heard);
    h2_peer_headers(&scene.peer, H2_END_HEADERS, 1, GRPC);
    h2_peer_frame(&scene.peer, H2_DATA, 0, 1, "\0\0\1\0\0", 5);
    while (!is_done(&scene)) {
        h2_peer_frame(&scene.peer, H2_DATA, 0, 1, "x", 1);
        turn_for(scene.loop, 2);
    }
    expect_answer(&scene, 0, GW_E_DEADLINE, "deadline");
    turn_for(scene.loop, 20);
    is_done(&scene);
    cr_expect_eq(stream(&scene, 1)->reset, CANCEL);
    h2_peer_headers(&scene.peer, H2_END_HEADERS | H2_END_STREAM, 1,
                    "grpc-status: 0\n"); /* too late, and harmless */
    expect_well(&scene, 1, 3);
    scene_close(&scene);
}

Test(rpc_h2, the_replica_hears_that_a_call_was_cancelled)
{
    struct scene scene;
    scene_ready(&scene);
    send_first(&scene);
    rpc_call_cancel(scene.calls[0]);
    rpc_call_cancel(scene.calls[0]);
    turn(&scene, is_done);
    expect_answer(&scene, 0, GW_E_CANCELLED, "");
    h2_peer_answer(&scene.peer, 1, "late");
    turn_for(scene.loop, 20);
    is_done(&scene);
    cr_expect_eq(stream(&scene, 1)->reset, CANCEL);
    cr_expect_eq(scene.answers[0].times, 1);
    expect_well(&scene, 1, 3);
    scene_close(&scene);
}

/* --- what comes back: the connection --- */

Test(rpc_h2, a_peer_that_does_not_greet_is_down)
{
    struct scene scene;
    scene_open(&scene);
    cr_expect_neq(scene.state, RPC_READY);
    turn(&scene, is_down);
    cr_expect_eq(scene.readies, 0);
    h2_peer_hang_up(&scene.peer);
    turn(&scene, is_heard);
    greet(&scene);
    cr_expect_geq(scene.peer.connections, 2);
    scene_close(&scene);
}

Test(rpc_h2, a_peer_that_speaks_something_else_is_down)
{
    struct scene scene;
    scene_open(&scene);
    h2_peer_say(&scene.peer, BYTES("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));
    turn(&scene, is_down);
    cr_expect_eq(scene.readies, 0);
    scene_close(&scene);
}

/* Whatever this does to the connection, its call may be tried elsewhere, and another connection is made. */
static void expect_end(void (*misbehave)(struct scene *scene), const char *words)
{
    struct scene scene;
    scene_ready(&scene);
    send_first(&scene);
    misbehave(&scene);
    turn(&scene, is_done);
    expect_answer(&scene, 0, GW_E_NO_REPLICA, words);
    cr_expect_eq(scene.readies, 1);
    scene.peer.deaf = false;
    h2_peer_hang_up(&scene.peer);
    turn(&scene, is_heard);
    greet(&scene);
    cr_expect_eq(scene.readies, 2);
    scene_close(&scene);
}

static void say_a_huge_frame(struct scene *scene)
{
    h2_peer_say(&scene->peer, BYTES("\377\377\377\0\0\0\0\0\1"));
}
static void speak_on_no_stream(struct scene *scene)
{
    h2_peer_headers(&scene->peer, H2_END_HEADERS, 99, GRPC);
}
static void speak_on_an_even_stream(struct scene *scene)
{
    h2_peer_headers(&scene->peer, H2_END_HEADERS, 2, GRPC);
}
static void push(struct scene *scene)
{
    h2_peer_frame(&scene->peer, H2_PUSH_PROMISE, H2_END_HEADERS, 1, "\0\0\0\2", 4);
}
static void say_nonsense_headers(struct scene *scene)
{
    h2_peer_frame(&scene->peer, H2_HEADERS, H2_END_HEADERS, 1, "\377\377\377\377\377\377\377", 7);
}
static void close_a_window_by_opening_it_too_far(struct scene *scene)
{
    h2_peer_code(&scene->peer, H2_WINDOW_UPDATE, 0, INT32_MAX);
}
static void never_end_a_header_block(struct scene *scene)
{
    h2_peer_frame(&scene->peer, H2_HEADERS, 0, 1, "", 0);
    for (int i = 0; i < 1000; i++)
        h2_peer_frame(&scene->peer, H2_CONTINUATION, 0, 1, "", 0);
}
static void hang_up(struct scene *scene)
{
    h2_peer_hang_up(&scene->peer);
}
static void hang_up_in_a_reply(struct scene *scene)
{
    h2_peer_headers(&scene->peer, H2_END_HEADERS, 1, GRPC);
    h2_peer_frame(&scene->peer, H2_DATA, 0, 1, "\0\0\0\0\5he", 7);
    h2_peer_hang_up(&scene->peer);
}

Test(rpc_h2, a_connection_that_breaks_the_rules_is_replaced)
{
    expect_end(say_a_huge_frame, "broke HTTP/2");
    expect_end(speak_on_no_stream, "broke HTTP/2");
    expect_end(speak_on_an_even_stream, "broke HTTP/2");
    expect_end(push, "broke HTTP/2");
    expect_end(say_nonsense_headers, "broke HTTP/2");
    expect_end(close_a_window_by_opening_it_too_far, "broke HTTP/2");
    expect_end(never_end_a_header_block, "HTTP/2");
}

Test(rpc_h2, a_connection_that_is_cut_is_replaced)
{
    expect_end(hang_up, "onnection");
    expect_end(hang_up_in_a_reply, "onnection");
}

/* Asks and asks, and does not listen to the answers. */
static void flood(struct scene *scene, enum h2_type type)
{
    scene->peer.deaf = true;
    for (unsigned i = 0; i < 1000000 && scene->state == RPC_READY; i++) {
        h2_peer_frame(&scene->peer, type, 0, 0, "12345678", type == H2_PING ? 8 : 0);
        if (i % 500 == 0)
            turn_for(scene->loop, 1);
    }
    cr_expect_neq(scene->state, RPC_READY);
}
static void flood_pings(struct scene *scene)
{
    flood(scene, H2_PING);
}
static void flood_settings(struct scene *scene)
{
    flood(scene, H2_SETTINGS);
}

Test(rpc_h2, a_flood_of_questions_ends_the_connection)
{
    expect_end(flood_pings, "HTTP/2");
    expect_end(flood_settings, "HTTP/2");
}

Test(rpc_h2, a_peer_that_stops_listening_delays_nobody_beyond_the_deadline)
{
    struct scene scene;
    scene_ready(&scene);
    h2_peer_code(&scene.peer, H2_WINDOW_UPDATE, 0, 1 << 30);
    h2_peer_settings(&scene.peer, INITIAL_WINDOW_SIZE, 1 << 30);
    turn_for(scene.loop, 20);
    scene.peer.deaf = true;
    for (int i = 0; i < CALLS; i++)
        send_bytes(&scene, i, "x", 8 << 20, 100000);
    turn(&scene, is_done);
    for (int i = 0; i < CALLS; i++)
        expect_answer(&scene, i, GW_E_DEADLINE, "deadline");
    scene_close(&scene);
}

/* --- a peer that leaves --- */

Test(rpc_h2, a_leaving_peer_finishes_what_it_took_and_the_rest_goes_elsewhere)
{
    struct scene scene;
    scene_ready(&scene);
    send_first(&scene);
    send_bytes(&scene, 1, "x", 1, LATER_US);
    scene.wanted = 3;
    turn(&scene, is_wanted_heard);
    struct h2_peer leaving = scene.peer; /* two connections, for once */
    h2_peer_goaway(&leaving, 1, NO_ERROR);
    while (!scene.answers[1].times)
        turn_for(scene.loop, 1);
    expect_answer(&scene, 1, GW_E_NO_REPLICA, "closing the connection");
    cr_expect_eq(scene.answers[0].times, 0);
    int old = scene.peer.fd;
    memset(&scene.peer, 0, sizeof scene.peer);
    scene.peer.fd = -1;
    scene.peer.listener = leaving.listener;
    turn(&scene, is_heard);
    greet(&scene);
    cr_expect_eq(scene.readies, 2);
    send_bytes(&scene, 2, "x", 1, LATER_US);
    turn(&scene, is_first_heard);
    leaving.fd = old;
    h2_peer_answer(&leaving, 1, "goodbye");
    h2_peer_answer(&scene.peer, 1, "hello");
    turn(&scene, is_done);
    expect_answer(&scene, 0, GW_OK, "");
    expect_answer(&scene, 2, GW_OK, "");
    cr_expect_eq(memcmp(scene.answers[0].bytes, "goodbye", 7), 0);
    cr_expect_eq(memcmp(scene.answers[2].bytes, "hello", 5), 0);
    while (!leaving.closed)
        turn_for(scene.loop, 1), h2_peer_hear(&leaving);
    leaving.listener = -1;
    h2_peer_close(&leaving);
    scene_close(&scene);
}

Test(rpc_h2, a_peer_that_leaves_at_once_is_not_dialled_in_a_hurry)
{
    struct scene scene;
    scene_ready(&scene);
    uint64_t end_us = loop_now_us() + 5 * BACKOFF_MS * UINT64_C(1000);
    while (loop_now_us() < end_us) {
        h2_peer_hear(&scene.peer);
        if (scene.peer.settings) {
            h2_peer_settings(&scene.peer, 0, 0);
            h2_peer_goaway(&scene.peer, 0, NO_ERROR);
            scene.peer.settings = 0;
        }
        turn_for(scene.loop, 1);
    }
    cr_expect_leq(scene.peer.connections, 8, "%u connections", scene.peer.connections);
    cr_expect_geq(scene.peer.connections, 3, "%u connections", scene.peer.connections);
    scene_close(&scene);
}
