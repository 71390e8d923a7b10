/* rpc_h2_link: what takes long in life, with short times: silence, and a connection that has had all its
 * calls. */
#include "replica/rpc_h2_link.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "h2_peer.h"
#include "turn.h"

enum { SILENCE_US = 50000, PATIENCE_US = 20000, SOON_MS = 5000, CALLS = 4 };

struct scene {
    struct loop *loop;
    struct h2_peer peer;
    struct h2_link *link;
    enum h2_link_state state;
    uint8_t room[H2_LINK_ROOM];
    struct h2_stream streams[CALLS];
    char why[200];
};
static unsigned ended;

static void on_ended(struct h2_stream *stream)
{
    h2_reply_clear(&stream->reply);
    ended++;
}

static void on_change(void *owner, struct h2_link *link, enum h2_link_state state)
{
    struct scene *scene = owner;
    scene->state = state;
    if (state != LINK_LOST)
        return;
    snprintf(scene->why, sizeof scene->why, "%s", h2_link_why(link));
    h2_link_close(link, GW_E_NO_REPLICA);
    scene->link = NULL;
}

static bool is_open(void *owner)
{
    struct scene *scene = owner;
    h2_peer_hear(&scene->peer);
    return scene->state == LINK_OPEN;
}
static bool is_pinged(void *owner)
{
    struct scene *scene = owner;
    h2_peer_hear(&scene->peer);
    return scene->peer.pings > 0;
}
static bool is_lost(void *owner)
{
    struct scene *scene = owner;
    h2_peer_hear(&scene->peer);
    return scene->state == LINK_LOST;
}

static void scene_open(struct scene *scene, uint32_t max_calls)
{
    int pair[2];
    memset(scene, 0, sizeof *scene);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    ended = 0;
    scene->loop = loop_new();
    h2_peer_adopt(&scene->peer, pair[1]);
    const struct h2_link_setup setup = {.loop = scene->loop,
                                        .fd = pair[0],
                                        .max_calls = max_calls,
                                        .silence_us = SILENCE_US,
                                        .patience_us = PATIENCE_US,
                                        .room = scene->room,
                                        .ended = on_ended,
                                        .changed = on_change,
                                        .owner = scene};
    scene->link = h2_link_open(&setup);
    cr_assert(scene->link);
    h2_peer_settings(&scene->peer, 0, 0);
    cr_assert(turn_until(scene->loop, is_open, scene, SOON_MS));
}

static void scene_close(struct scene *scene)
{
    if (scene->link)
        h2_link_close(scene->link, GW_E_CANCELLED);
    loop_free(scene->loop);
    h2_peer_close(&scene->peer);
}

static void start(struct scene *scene, int i)
{
    const struct h2_request request = {
        .method = "/x/y", .authority = "localhost", .timeout_us = 1000000, .max_bytes = 1000};
    cr_assert(h2_link_start(scene->link, &scene->streams[i], &request));
}

Test(rpc_h2_link, silence_while_a_call_is_out_is_asked_about_and_then_the_end)
{
    struct scene scene;
    scene_open(&scene, 100);
    start(&scene, 0);
    cr_assert(turn_until(scene.loop, is_pinged, &scene, SOON_MS));
    cr_expect_eq(ended, 0);
    cr_assert(turn_until(scene.loop, is_lost, &scene, SOON_MS));
    cr_expect_eq(ended, 1);
    cr_expect(strstr(scene.why, "does not answer"), "%s", scene.why);
    scene_close(&scene);
}

Test(rpc_h2_link, an_answer_to_the_question_is_life)
{
    struct scene scene;
    scene_open(&scene, 100);
    start(&scene, 0);
    cr_assert(turn_until(scene.loop, is_pinged, &scene, SOON_MS));
    h2_peer_frame(&scene.peer, H2_PING, H2_ACK, 0, "\0\0\0\0\0\0\0\0", 8);
    cr_expect_not(turn_until(scene.loop, is_lost, &scene, (SILENCE_US + PATIENCE_US) / 1000 / 2));
    h2_peer_answer(&scene.peer, 1, "ok");
    turn_for(scene.loop, 4 * SILENCE_US / 1000);
    cr_expect_eq(ended, 1);
    cr_expect_eq(scene.state, LINK_OPEN);
    scene_close(&scene);
}

/* More questions without a word of its own make a gRPC server hang up. */
Test(rpc_h2_link, a_long_call_is_asked_about_twice_at_most)
{
    struct scene scene;
    scene_open(&scene, 100);
    start(&scene, 0);
    unsigned answered = 0;
    for (uint64_t end_us = loop_now_us() + 8 * SILENCE_US; loop_now_us() < end_us; turn_for(scene.loop, 1)) {
        h2_peer_hear(&scene.peer);
        for (; answered < scene.peer.pings; answered++)
            h2_peer_frame(&scene.peer, H2_PING, H2_ACK, 0, "\0\0\0\0\0\0\0\0", 8);
    }
    cr_expect_eq(scene.peer.pings, 2);
    cr_expect_eq(scene.state, LINK_OPEN);
    scene_close(&scene);
}

Test(rpc_h2_link, an_idle_connection_is_left_in_peace)
{
    struct scene scene;
    scene_open(&scene, 100);
    turn_for(scene.loop, 4 * SILENCE_US / 1000);
    h2_peer_hear(&scene.peer);
    cr_expect_eq(scene.peer.pings, 0);
    cr_expect_eq(scene.state, LINK_OPEN);
    scene_close(&scene);
}

Test(rpc_h2_link, when_the_numbers_are_used_up_it_finishes_its_calls_and_ends)
{
    struct scene scene;
    scene_open(&scene, 2);
    start(&scene, 0);
    turn_for(scene.loop, 5);
    cr_expect_eq(scene.state, LINK_OPEN);
    start(&scene, 1);
    turn_for(scene.loop, 5);
    cr_expect_eq(scene.state, LINK_GOING);
    h2_peer_hear(&scene.peer);
    h2_peer_answer(&scene.peer, 1, "ok");
    turn_for(scene.loop, 5);
    cr_expect_eq(scene.state, LINK_GOING);
    h2_peer_answer(&scene.peer, 3, "ok");
    cr_assert(turn_until(scene.loop, is_lost, &scene, SOON_MS));
    cr_expect_eq(ended, 2);
    scene_close(&scene);
}
