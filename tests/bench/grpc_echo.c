/*
 * grpc_echo PORT: nghttp2 alone, one thread, which sends every call's message back as a gRPC reply: the same
 * frames as a unary infer, and nothing behind them. What the gateway's gRPC is held against.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/buf.h"

#define FIELD(name, value)                                                                                   \
    {                                                                                                        \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1, NGHTTP2_NV_FLAG_NONE     \
    }

struct client {
    int fd;
    nghttp2_session *session;
    struct buf out;
};

struct call {
    struct buf message;
    size_t sent;
};

static struct call *call_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* --- a call --- */

static ssize_t read_message(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                            nghttp2_data_source *source, void *owner)
{
    static const nghttp2_nv trailers[] = {FIELD("grpc-status", "0")};
    struct call *call = call_of(session, id);
    size_t left = call->message.length - call->sent, take = left < room ? left : room;
    (void)source, (void)owner;
    if (take)
        memcpy(to, call->message.bytes + call->sent, take);
    call->sent += take;
    if (take == left) {
        *flags = NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, id, trailers, 1);
    }
    return (ssize_t)take;
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
    (void)owner;
    struct call *call = calloc(1, sizeof *call);
    return call ? nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call)
                : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t length,
                   void *owner)
{
    (void)flags, (void)owner;
    buf_append(&call_of(session, id)->message, bytes, length);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
    static const nghttp2_nv head[] = {FIELD(":status", "200"), FIELD("server", "echo"),
                                      FIELD("content-type", "application/grpc")};
    const nghttp2_data_provider body = {.read_callback = read_message};
    (void)owner;
    bool ends = frame->hd.type == NGHTTP2_DATA && frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    return ends ? nghttp2_submit_response(session, frame->hd.stream_id, head, 3, &body) : 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *owner)
{
    struct call *call = call_of(session, id);
    (void)error_code, (void)owner;
    if (call)
        buf_clear(&call->message);
    free(call);
    return 0;
}

/* --- a connection --- */

static struct client *client_new(int fd, const nghttp2_session_callbacks *callbacks)
{
    static const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 128},
                                                      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}};
    struct client *client = calloc(1, sizeof *client);
    if (!client || nghttp2_session_server_new(&client->session, callbacks, client) != 0)
        abort();
    client->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(client->session, NGHTTP2_FLAG_NONE, 0, 4 << 20);
    return client;
}

static void client_free(struct client *client)
{
    nghttp2_session_del(client->session);
    buf_clear(&client->out);
    close(client->fd);
    free(client);
}

/* All that is to be said, in one write where the socket takes it. */
static bool flush(struct client *client)
{
    const uint8_t *bytes;
    ssize_t length;
    client->out.length = 0;
    while ((length = nghttp2_session_mem_send(client->session, &bytes)) > 0)
        buf_append(&client->out, bytes, (size_t)length);
    for (size_t sent = 0; sent < client->out.length; sent += (size_t)length) {
        length = send(client->fd, client->out.bytes + sent, client->out.length - sent, MSG_NOSIGNAL);
        if (length <= 0)
            return false;
    }
    return true;
}

static bool serve(struct client *client)
{
    static uint8_t bytes[64 << 10];
    ssize_t length = recv(client->fd, bytes, sizeof bytes, 0);
    return length > 0 && nghttp2_session_mem_recv(client->session, bytes, (size_t)length) >= 0 &&
           flush(client);
}

static int listen_at(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 128) != 0) {
        perror("grpc_echo");
        exit(EXIT_FAILURE);
    }
    return fd;
}

int main(int argc, char **argv)
{
    nghttp2_session_callbacks *callbacks;
    int listening = listen_at((uint16_t)atoi(argc > 1 ? argv[1] : "0")), epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || nghttp2_session_callbacks_new(&callbacks) != 0)
        return EXIT_FAILURE;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &(struct epoll_event){.events = EPOLLIN});
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            if (client && !serve(client)) {
                client_free(client);
            } else if (!client) {
                int fd = accept(listening, NULL, NULL);
                struct epoll_event event = {.events = EPOLLIN};
                if (fd < 0)
                    continue;
                event.data.ptr = client_new(fd, callbacks);
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
