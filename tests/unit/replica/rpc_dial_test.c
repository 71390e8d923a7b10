/* rpc_dial: addresses in words, names with several addresses, and those where nobody is. */
#include "replica/rpc_dial.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "puppet.h"
#include "turn.h"

#define SOON_MS    5000
#define TIMEOUT_US 300000

struct scene {
    struct loop *loop;
    struct rpc_dial dial;
    unsigned times;
    int fd;
};

static void on_done(struct rpc_dial *dial, int fd)
{
    struct scene *scene = container_of(dial, struct scene, dial);
    scene->times++;
    scene->fd = fd;
}

static bool is_done(void *scene)
{
    return ((struct scene *)scene)->times > 0;
}

static enum gw_status scene_open(struct scene *scene, struct resolver *resolver, const char *address)
{
    *scene = (struct scene){.loop = loop_new(), .fd = -1};
    enum gw_status status = rpc_dial_init(&scene->dial, scene->loop, resolver, address, TIMEOUT_US);
    scene->dial.done = on_done;
    return status;
}

static void scene_close(struct scene *scene)
{
    rpc_dial_clear(&scene->dial);
    loop_free(scene->loop);
    if (scene->fd >= 0)
        close(scene->fd);
}

static int listen_on(uint16_t *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&name, length) == 0 && listen(fd, 8) == 0 &&
              getsockname(fd, (struct sockaddr *)&name, &length) == 0);
    *port = ntohs(name.sin_port);
    return fd;
}

/* 127.0.0.9, where nobody listens on this port, 127.0.0.1, where somebody does. */
static int two_addresses(const char *host, const char *port, const struct addrinfo *hints,
                         struct addrinfo **found)
{
    struct addrinfo *second = NULL;
    if (strcmp(host, "two.test") != 0)
        return EAI_NONAME;
    int failure = getaddrinfo("127.0.0.9", port, hints, found);
    if (!failure)
        failure = getaddrinfo("127.0.0.1", port, hints, &second);
    if (!failure)
        (*found)->ai_next = second;
    return failure;
}

static void expect_connected(const char *format, struct resolver *resolver)
{
    struct scene scene;
    uint16_t port;
    int listener = listen_on(&port);
    char address[64];
    snprintf(address, sizeof address, format, port);
    cr_assert_eq(scene_open(&scene, resolver, address), GW_OK);
    rpc_dial_start(&scene.dial);
    cr_assert_eq(scene.times, 0, "done ran inside rpc_dial_start() with a connection");
    cr_assert(turn_until(scene.loop, is_done, &scene, SOON_MS));
    cr_assert(scene.fd >= 0, "%s: %s", address, scene.dial.why);
    cr_expect_eq(scene.times, 1);
    scene_close(&scene);
    resolver_free(resolver);
    close(listener);
}

Test(rpc_dial, connects_to_a_number)
{
    expect_connected("127.0.0.1:%u", NULL);
}

Test(rpc_dial, connects_to_the_first_address_of_a_name_that_answers)
{
    expect_connected("two.test:%u", resolver_new_with(two_addresses, 5000000));
}

static void expect_failure(struct scene *scene, const char *why)
{
    for (unsigned attempt = 1; attempt <= 2; attempt++) {
        scene->times = 0;
        rpc_dial_start(&scene->dial);
        cr_assert(turn_until(scene->loop, is_done, scene, SOON_MS));
        cr_expect_eq(scene->times, 1);
        cr_expect_eq(scene->fd, -1);
        cr_expect(strstr(scene->dial.why, why), "%s", scene->dial.why);
    }
}

Test(rpc_dial, says_why_nobody_is_there)
{
    struct scene scene;
    char address[64];
    puppet_free_address(address, sizeof address);
    cr_assert_eq(scene_open(&scene, NULL, address), GW_OK);
    expect_failure(&scene, "refused");
    scene_close(&scene);
    cr_assert_eq(scene_open(&scene, NULL, "unix:/tmp/xebec-nobody-is-here"), GW_OK);
    expect_failure(&scene, "No such file");
    scene_close(&scene);
}

Test(rpc_dial, says_that_a_name_is_not_known)
{
    struct scene scene;
    struct resolver *resolver = resolver_new_with(two_addresses, 5000000);
    cr_assert_eq(scene_open(&scene, resolver, "three.test:1"), GW_OK);
    expect_failure(&scene, "not known");
    scene_close(&scene);
    resolver_free(resolver);
    cr_assert_eq(scene_open(&scene, NULL, "three.test:1"), GW_OK);
    expect_failure(&scene, "cannot be looked up");
    scene_close(&scene);
}

/* A queue for one, which is full: whoever comes next is not answered. */
Test(rpc_dial, gives_up_on_an_address_that_does_not_answer)
{
    struct scene scene;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint16_t port;
    int listener = listen_on(&port), waiting[4];
    char address[64];
    cr_assert_eq(listen(listener, 0), 0);
    name.sin_port = htons(port);
    for (int i = 0; i < 4; i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(waiting[i], (struct sockaddr *)&name, sizeof name);
    }
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    cr_assert_eq(scene_open(&scene, NULL, address), GW_OK);
    uint64_t begin_us = loop_now_us();
    rpc_dial_start(&scene.dial);
    cr_assert(turn_until(scene.loop, is_done, &scene, SOON_MS));
    cr_expect_eq(scene.fd, -1);
    cr_expect(strstr(scene.dial.why, "timed out"), "%s", scene.dial.why);
    cr_expect_geq(loop_now_us() - begin_us, TIMEOUT_US);
    scene_close(&scene);
    for (int i = 0; i < 4; i++)
        close(waiting[i]);
    close(listener);
}

Test(rpc_dial, a_cancelled_attempt_says_nothing)
{
    struct scene scene;
    uint16_t port;
    int listener = listen_on(&port);
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    cr_assert_eq(scene_open(&scene, NULL, address), GW_OK);
    rpc_dial_start(&scene.dial);
    rpc_dial_cancel(&scene.dial);
    rpc_dial_cancel(&scene.dial);
    turn_for(scene.loop, 20);
    cr_expect_eq(scene.times, 0);
    scene_close(&scene);

    struct resolver *resolver = resolver_new_with(two_addresses, 5000000);
    cr_assert_eq(scene_open(&scene, resolver, "two.test:1"), GW_OK);
    rpc_dial_start(&scene.dial);
    rpc_dial_cancel(&scene.dial);
    turn_for(scene.loop, 20);
    cr_expect_eq(scene.times, 0);
    scene_close(&scene);
    resolver_free(resolver);
    close(listener);
}

Test(rpc_dial, refuses_what_is_no_address)
{
    static const char *const wrong[] = {"", ":", ":80", "host", "host:", "[::1]", "[::1:80", "unix:"};
    char path[200];
    struct scene scene;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_eq(scene_open(&scene, NULL, wrong[i]), GW_E_INVALID, "%s", wrong[i]);
        loop_free(scene.loop);
    }
    memset(path, 'x', sizeof path - 1);
    memcpy(path, "unix:/", 6);
    path[sizeof path - 1] = '\0';
    cr_expect_eq(scene_open(&scene, NULL, path), GW_E_INVALID);
    loop_free(scene.loop);
    cr_expect_eq(scene_open(&scene, NULL, "[::1]:80"), GW_OK);
    cr_expect_eq(scene.dial.addresses[0].name.any.sa_family, AF_INET6);
    scene_close(&scene);
}
