/*
 * http_floor PORT: the edge alone, one thread, with a handler that sends the body back: how fast the rest
 * could be at best. To be held against `nginx` with `return 200` under the same wrk.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "edge/listener.h"

static struct loop *loop;

static void on_signal(int number)
{
    (void)number;
    loop_stop(loop);
}

static void echo(void *owner, struct exchange *exchange)
{
    (void)owner;
    struct http_reply reply = {.status = 200, .content_type = "application/json"};
    buf_append(&reply.body, exchange->message.body, exchange->message.body_length);
    exchange_reply(exchange, &reply);
}

static void refuse(void *owner, struct exchange *exchange, const struct gw_err *err, struct http_reply *reply)
{
    (void)owner, (void)exchange;
    buf_text(&reply->body, err->what);
}

int main(int argc, char **argv)
{
    struct gw_err err;
    struct metrics *metrics = metrics_new();
    loop = loop_new();
    const struct config_address address = {
        .text = "127.0.0.1", .host = "127.0.0.1", .port = argc > 1 ? argv[1] : "0"};
    const struct config_limits limits = {
        .connections = 20000, .header_bytes = 16 << 10, .body_bytes = 16 << 20, .held_bytes = 512 << 20};
    const struct config_timeouts timeouts = {
        .header_us = 10000000, .body_us = 30000000, .idle_us = 75000000, .write_us = 30000000};
    const struct edge_setup setup = {.loop = loop,
                                     .metrics = metrics,
                                     .name = "clients",
                                     .address = &address,
                                     .limits = &limits,
                                     .timeouts = &timeouts,
                                     .access_log_fd = -1,
                                     .handle = echo,
                                     .refuse = refuse};
    struct listener *listener = loop && metrics ? listener_new(&setup, &err) : NULL;
    if (!listener) {
        fprintf(stderr, "http_floor: %s\n", loop && metrics ? err.what : "out of memory");
        return EXIT_FAILURE;
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    printf("%u\n", listener_port(listener));
    fflush(stdout);
    loop_run(loop);
    listener_free(listener);
    loop_free(loop);
    metrics_free(metrics);
    return EXIT_SUCCESS;
}
