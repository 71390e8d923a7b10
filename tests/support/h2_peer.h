/*
 * h2_peer: the other end of an HTTP/2 connection, in the test's own thread and hand: it says byte for byte what it is
 * told to, true or not, and notes what it hears. Aborts the test when its own sockets fail.
 */
#ifndef XEBEC_TESTS_SUPPORT_H2_PEER_H
#define XEBEC_TESTS_SUPPORT_H2_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/buf.h"

enum h2_type { H2_DATA, H2_HEADERS, H2_PRIORITY, H2_RST_STREAM, H2_SETTINGS, H2_PUSH_PROMISE, H2_PING, H2_GOAWAY,
               H2_WINDOW_UPDATE, H2_CONTINUATION };
enum { H2_END_STREAM = 1, H2_ACK = 1, H2_END_HEADERS = 4 };
enum { PEER_STREAMS_MAX = 64 };

struct h2_heard {            /* of one stream of the client's */
    int32_t id;              /* 0: nothing yet */
    struct buf headers;      /* "name: value\n" each */
    struct buf data;
    bool ended;
    int64_t reset;           /* the code; -1: it was not */
};

struct h2_peer {
    int listener, fd;        /* fd -1: nobody has connected */
    char address[80];        /* for rpc_channel_new() */
    bool deaf;               /* h2_peer_hear() takes nothing */
    struct buf unread;       /* bytes that are no whole frame yet */
    bool greeted;            /* the client's preface has been taken off */
    struct nghttp2_hd_inflater *inflater;
    struct h2_heard streams[PEER_STREAMS_MAX];
    unsigned n_streams, pings, goodbyes, settings, connections;
    bool closed;             /* by the client */
};

void h2_peer_open(struct h2_peer *peer); /* listens on a port of 127.0.0.1 */
void h2_peer_adopt(struct h2_peer *peer, int fd); /* is connected already, and its own from now on */
void h2_peer_close(struct h2_peer *peer);
void h2_peer_hang_up(struct h2_peer *peer); /* this connection; it goes on listening */
void h2_peer_stop_listening(struct h2_peer *peer);

/* Accepts, and takes in what is there, without waiting. For turn_until(): true once the client has connected. */
bool h2_peer_hear(struct h2_peer *peer);

void h2_peer_say(struct h2_peer *peer, const void *bytes, size_t length);
void h2_peer_frame(struct h2_peer *peer, enum h2_type type, uint8_t flags, int32_t stream, const void *payload, size_t length);
/* "name: value\n" lines, each as a literal. */
void h2_peer_headers(struct h2_peer *peer, uint8_t flags, int32_t stream, const char *lines);
void h2_peer_settings(struct h2_peer *peer, uint16_t id, uint32_t value); /* id 0: an empty frame */
void h2_peer_code(struct h2_peer *peer, enum h2_type type, int32_t stream, uint32_t code); /* RST_STREAM, WINDOW_UPDATE */
void h2_peer_goaway(struct h2_peer *peer, int32_t last, uint32_t code);
/* A whole reply: headers, one message, grpc-status 0. */
void h2_peer_answer(struct h2_peer *peer, int32_t stream, const char *message);

void h2_block_write(struct buf *block, const char *lines); /* a header block as h2_peer_headers() sends it */

#endif
