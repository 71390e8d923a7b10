/* h2_peer: a socket, frames as bytes, and an inflater for what the client's headers say. */
#include "h2_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
enum { FRAME_HEADER = 9, PREFACE_BYTES = sizeof PREFACE - 1 };

static void must(bool truth, const char *what)
{
    if (truth)
        return;
    fprintf(stderr, "h2_peer: %s: %s\n", what, strerror(errno));
    abort();
}

/* --- sockets --- */

void h2_peer_open(struct h2_peer *peer)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    *peer = (struct h2_peer){.fd = -1};
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(peer->listener >= 0 && bind(peer->listener, (struct sockaddr *)&name, length) == 0 &&
             listen(peer->listener, 16) == 0 &&
             getsockname(peer->listener, (struct sockaddr *)&name, &length) == 0,
         "listen");
    snprintf(peer->address, sizeof peer->address, "127.0.0.1:%d", ntohs(name.sin_port));
}

static void forget(struct h2_peer *peer)
{
    for (unsigned i = 0; i < peer->n_streams; i++) {
        buf_clear(&peer->streams[i].headers);
        buf_clear(&peer->streams[i].data);
        peer->streams[i] = (struct h2_heard){0};
    }
    if (peer->inflater)
        nghttp2_hd_inflate_del(peer->inflater);
    peer->inflater = NULL;
    buf_clear(&peer->unread);
    peer->n_streams = peer->pings = peer->goodbyes = peer->settings = 0;
    peer->greeted = peer->closed = false;
}

void h2_peer_hang_up(struct h2_peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
    forget(peer);
}

void h2_peer_stop_listening(struct h2_peer *peer)
{
    close(peer->listener);
    peer->listener = -1;
}

void h2_peer_close(struct h2_peer *peer)
{
    h2_peer_hang_up(peer);
    if (peer->listener >= 0)
        h2_peer_stop_listening(peer);
}

static void begin(struct h2_peer *peer, int fd)
{
    peer->fd = fd;
    peer->connections++;
    must(nghttp2_hd_inflate_new(&peer->inflater) == 0, "inflater");
}

void h2_peer_adopt(struct h2_peer *peer, int fd)
{
    *peer = (struct h2_peer){.listener = -1};
    begin(peer, fd);
}

static void take_connection(struct h2_peer *peer)
{
    int fd = peer->listener < 0 ? -1 : accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    h2_peer_hang_up(peer);
    begin(peer, fd);
}

/* --- hearing --- */

static struct h2_heard *heard(struct h2_peer *peer, int32_t id)
{
    for (unsigned i = 0; i < peer->n_streams; i++)
        if (peer->streams[i].id == id)
            return &peer->streams[i];
    must(peer->n_streams < PEER_STREAMS_MAX, "streams");
    peer->streams[peer->n_streams] = (struct h2_heard){.id = id, .reset = -1};
    return &peer->streams[peer->n_streams++];
}

static void hear_headers(struct h2_peer *peer, struct h2_heard *stream, const uint8_t *block, size_t length)
{
    for (;;) {
        nghttp2_nv field;
        int flags = 0;
        ssize_t taken = nghttp2_hd_inflate_hd2(peer->inflater, &field, &flags, block, length, 1);
        must(taken >= 0, "the client's headers");
        block += taken;
        length -= (size_t)taken;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            buf_printf(&stream->headers, "%s: %s\n", (const char *)field.name, (const char *)field.value);
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    nghttp2_hd_inflate_end_headers(peer->inflater);
}

static uint32_t number(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void hear_frame(struct h2_peer *peer, const uint8_t *frame, size_t length)
{
    const uint8_t *payload = frame + FRAME_HEADER;
    int32_t id = (int32_t)(number(frame + 5) & INT32_MAX);
    struct h2_heard *stream = id ? heard(peer, id) : NULL;
    switch (frame[3]) {
    case H2_HEADERS:
        must(frame[4] & H2_END_HEADERS, "CONTINUATION is not expected");
        hear_headers(peer, stream, payload, length);
        break;
    case H2_DATA:
        buf_append(&stream->data, payload, length);
        break;
    case H2_RST_STREAM:
        stream->reset = number(payload);
        break;
    case H2_SETTINGS:
        peer->settings++;
        break;
    case H2_PING:
        peer->pings++;
        break;
    case H2_GOAWAY:
        peer->goodbyes++;
        break;
    default:
        break;
    }
    if (stream && (frame[3] == H2_HEADERS || frame[3] == H2_DATA) && frame[4] & H2_END_STREAM)
        stream->ended = true;
}

static void drop(struct buf *buf, size_t length)
{
    memmove(buf->bytes, buf->bytes + length, buf->length - length);
    buf->length -= length;
}

static void hear_frames(struct h2_peer *peer)
{
    size_t at = 0;
    if (!peer->greeted) {
        if (peer->unread.length < PREFACE_BYTES)
            return;
        must(memcmp(peer->unread.bytes, PREFACE, PREFACE_BYTES) == 0, "the client's preface");
        peer->greeted = true;
        at = PREFACE_BYTES;
    }
    while (peer->unread.length - at >= FRAME_HEADER) {
        const uint8_t *frame = (const uint8_t *)peer->unread.bytes + at;
        size_t length = number(frame) >> 8;
        if (peer->unread.length - at < FRAME_HEADER + length)
            break;
        hear_frame(peer, frame, length);
        at += FRAME_HEADER + length;
    }
    drop(&peer->unread, at);
}

bool h2_peer_hear(struct h2_peer *peer)
{
    char room[65536];
    take_connection(peer);
    while (peer->fd >= 0 && !peer->deaf && !peer->closed) {
        ssize_t got = recv(peer->fd, room, sizeof room, 0);
        if (got < 0 && errno == EAGAIN)
            break;
        if (got > 0)
            buf_append(&peer->unread, room, (size_t)got);
        else
            peer->closed = true;
    }
    if (peer->unread.length)
        hear_frames(peer);
    return peer->fd >= 0;
}

/* --- saying --- */

void h2_peer_say(struct h2_peer *peer, const void *bytes, size_t length)
{
    for (size_t said = 0; said < length;) {
        ssize_t n = send(peer->fd, (const char *)bytes + said, length - said, MSG_NOSIGNAL);
        if (n < 0)
            return; /* hung up on, or not listened to: the test will see */
        said += (size_t)n;
    }
}

void h2_peer_frame(struct h2_peer *peer, enum h2_type type, uint8_t flags, int32_t stream,
                   const void *payload, size_t length)
{
    const uint8_t head[FRAME_HEADER] = {
        (uint8_t)(length >> 16), (uint8_t)(length >> 8),  (uint8_t)length,        (uint8_t)type,  flags,
        (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    struct buf frame = {0};
    buf_append(&frame, head, sizeof head);
    if (length)
        buf_append(&frame, payload, length);
    h2_peer_say(peer, frame.bytes, frame.length);
    buf_clear(&frame);
}

/* HPACK's integer with a prefix of seven bits. */
static void block_length(struct buf *block, size_t length)
{
    uint8_t byte = (uint8_t)(length < 127 ? length : 127);
    buf_append(block, &byte, 1);
    if (length < 127)
        return;
    for (length -= 127; length >= 128; length >>= 7) {
        byte = (uint8_t)(length | 128);
        buf_append(block, &byte, 1);
    }
    byte = (uint8_t)length;
    buf_append(block, &byte, 1);
}

void h2_block_write(struct buf *block, const char *lines)
{
    for (const char *end; *lines; lines = end + 1) {
        const char *colon = strchr(lines + 1, ':');
        end = strchr(lines, '\n');
        must(colon && end && colon < end, "a header line");
        buf_append(block, "", 1); /* a literal, not indexed, with a new name */
        block_length(block, (size_t)(colon - lines));
        buf_append(block, lines, (size_t)(colon - lines));
        block_length(block, (size_t)(end - colon - 2));
        buf_append(block, colon + 2, (size_t)(end - colon - 2));
    }
}

void h2_peer_headers(struct h2_peer *peer, uint8_t flags, int32_t stream, const char *lines)
{
    struct buf block = {0};
    h2_block_write(&block, lines);
    h2_peer_frame(peer, H2_HEADERS, flags, stream, block.bytes, block.length);
    buf_clear(&block);
}

void h2_peer_settings(struct h2_peer *peer, uint16_t id, uint32_t value)
{
    const uint8_t setting[] = {(uint8_t)(id >> 8),     (uint8_t)id,           (uint8_t)(value >> 24),
                               (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    h2_peer_frame(peer, H2_SETTINGS, 0, 0, setting, id ? sizeof setting : 0);
}

void h2_peer_code(struct h2_peer *peer, enum h2_type type, int32_t stream, uint32_t code)
{
    uint32_t network = htonl(code);
    h2_peer_frame(peer, type, 0, stream, &network, sizeof network);
}

void h2_peer_goaway(struct h2_peer *peer, int32_t last, uint32_t code)
{
    const uint32_t words[] = {htonl((uint32_t)last), htonl(code)};
    h2_peer_frame(peer, H2_GOAWAY, 0, 0, words, sizeof words);
}

void h2_peer_answer(struct h2_peer *peer, int32_t stream, const char *message)
{
    struct buf data = {0};
    uint32_t length = htonl((uint32_t)strlen(message));
    h2_peer_headers(peer, H2_END_HEADERS, stream, ":status: 200\ncontent-type: application/grpc\n");
    buf_append(&data, "", 1);
    buf_append(&data, &length, sizeof length);
    buf_append(&data, message, strlen(message));
    h2_peer_frame(peer, H2_DATA, 0, stream, data.bytes, data.length);
    h2_peer_headers(peer, H2_END_HEADERS | H2_END_STREAM, stream, "grpc-status: 0\n");
    buf_clear(&data);
}
