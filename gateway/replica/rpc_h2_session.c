/*
 * rpc_h2_session: nghttp2's callbacks, and what each means to a call.
 *
 * nghttp2 knows a stream as our struct h2_stream only while that is in the session: whoever takes it out
 * tells nghttp2 first to forget it, so a late frame of a cancelled stream finds nothing.
 */
#include "replica/rpc_h2_session.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * How much a peer may send before we have read it. 64 KiB, the default, makes every large reply wait for us
 * once in 64 KiB: a round trip each, and far more where the peer delays its small packets. We take in what
 * comes at once, and bound it by rpc_channel_options.max_message_bytes: so the window only has to be larger
 * than what travels during one round trip (1.25 MB at 10 Gbit/s and 1 ms), for every stream, and for the
 * streams together.
 */
enum { STREAM_WINDOW = 4 << 20, CONNECTION_WINDOW = 16 << 20 };

/*
 * What a peer may send in one frame. gRPC core makes its frames as large as it may: those are received where
 * they stay, without a copy.
 */
enum { FRAME_BYTES = 1 << 20, FRAME_LARGE = 32 << 10 };

enum { FRAME_HEADER_BYTES = 9 };

struct h2_session {
    nghttp2_session *nghttp2;
    struct h2_stream *streams;
    struct h2_outbox *outbox; /* while it is being filled */
    void (*ended)(struct h2_stream *stream);
    uint32_t calls_left;
    int32_t data_of;  /* the stream of the DATA frame that is being read, */
    size_t data_left; /* and how much of it is to come; padded ones do not count */
    bool data_large;  /* the latest frame of them */
    bool open, going;
    char why[128];
};

static nghttp2_session *nghttp2_open(struct h2_session *session);
static void stream_link(struct h2_session *session, struct h2_stream *stream);
static void stream_end(struct h2_stream *stream);
static void stream_drop(struct h2_stream *stream, uint32_t error_code);
static bool session_over(struct h2_session *session, const char *what, const char *detail);

/* --- the session --- */

struct h2_session *h2_session_new(uint32_t max_calls, void (*ended)(struct h2_stream *stream))
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_REPLY_HEADER_BYTES},
    };
    struct h2_session *session = calloc(1, sizeof *session);
    if (!session)
        return NULL;
    session->calls_left = max_calls;
    session->ended = ended;
    session->nghttp2 = nghttp2_open(session);
    if (session->nghttp2 &&
        nghttp2_submit_settings(session->nghttp2, NGHTTP2_FLAG_NONE, settings,
                                sizeof settings / sizeof *settings) == 0 &&
        nghttp2_session_set_local_window_size(session->nghttp2, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) == 0)
        return session;
    h2_session_free(session);
    return NULL;
}

void h2_session_free(struct h2_session *session)
{
    if (!session)
        return;
    nghttp2_session_del(session->nghttp2);
    free(session);
}

bool h2_session_is_open(const struct h2_session *session)
{
    return session->open;
}

bool h2_session_is_going(const struct h2_session *session)
{
    return session->going;
}

bool h2_session_is_idle(const struct h2_session *session)
{
    return !session->streams;
}

const char *h2_session_why(const struct h2_session *session)
{
    return session->why;
}

/* The first reason counts: what follows is its consequence. */
static bool session_over(struct h2_session *session, const char *what, const char *detail)
{
    if (!session->why[0])
        snprintf(session->why, sizeof session->why, "%s%s", what, detail);
    return false;
}

void h2_session_end(struct h2_session *session, enum gw_status why, const char *words)
{
    while (session->streams) {
        struct h2_stream *stream = session->streams;
        h2_reply_fail(&stream->reply, why, words);
        nghttp2_session_set_stream_user_data(session->nghttp2, stream->id, NULL);
        stream_end(stream);
    }
}

/* --- a call --- */

/* At most eight digits and a unit. */
static size_t timeout_write(char *text, size_t room, uint64_t us)
{
    enum { DIGITS = 99999999 };
    if (us <= DIGITS)
        return (size_t)snprintf(text, room, "%uu", (unsigned)us);
    uint64_t ms = us / 1000;
    return (size_t)snprintf(text, room, "%um", ms < DIGITS ? (unsigned)ms : DIGITS);
}

#define STATIC_NV(name, value)                                                                               \
    {                                                                                                        \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1,                          \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                                     \
    }

static nghttp2_nv nv_of(const char *name, const char *value, size_t length, uint8_t flags)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), length,
                        (uint8_t)(NGHTTP2_NV_FLAG_NO_COPY_NAME | flags)};
}

static ssize_t message_read(nghttp2_session *nghttp2, int32_t id, uint8_t *buffer, size_t length,
                            uint32_t *flags, nghttp2_data_source *source, void *owner);

/* The timeout differs from call to call: it would push the others out of the peer's table. */
static int32_t request_submit(struct h2_session *session, struct h2_stream *stream,
                              const struct h2_request *request)
{
    char timeout[16];
    size_t timeout_length = timeout_write(timeout, sizeof timeout, request->timeout_us);
    const nghttp2_nv plain = STATIC_NV(":scheme", "http"), secure = STATIC_NV(":scheme", "https");
    const nghttp2_nv headers[] = {
        STATIC_NV(":method", "POST"),
        request->secure ? secure : plain,
        nv_of(":path", request->method, strlen(request->method), NGHTTP2_NV_FLAG_NO_COPY_VALUE),
        nv_of(":authority", request->authority, strlen(request->authority), NGHTTP2_NV_FLAG_NO_COPY_VALUE),
        STATIC_NV("te", "trailers"),
        STATIC_NV("content-type", "application/grpc"),
        STATIC_NV("user-agent", "xebec/" XEBEC_VERSION),
        nv_of("grpc-timeout", timeout, timeout_length, NGHTTP2_NV_FLAG_NO_INDEX),
    };
    const nghttp2_data_provider message = {.read_callback = message_read};
    return nghttp2_submit_request(session->nghttp2, NULL, headers, sizeof headers / sizeof *headers, &message,
                                  stream);
}

bool h2_session_start(struct h2_session *session, struct h2_stream *stream, const struct h2_request *request)
{
    stream->sent = 0;
    stream->payload = request->payload;
    h2_reply_init(&stream->reply, request->max_bytes);
    stream->id = request_submit(session, stream, request);
    if (stream->id < 0)
        return false;
    if (stream->payload)
        rpc_payload_ref(stream->payload);
    stream_link(session, stream);
    if (session->calls_left > 0 && --session->calls_left == 0)
        session->going = true;
    return true;
}

/* Without memory for the reset the peer works for nothing; that is all. */
static void stream_drop(struct h2_stream *stream, uint32_t error_code)
{
    nghttp2_session *nghttp2 = stream->session->nghttp2;
    nghttp2_session_set_stream_user_data(nghttp2, stream->id, NULL);
    (void)!nghttp2_submit_rst_stream(nghttp2, NGHTTP2_FLAG_NONE, stream->id, error_code);
    stream_end(stream);
}

void h2_session_cancel(struct h2_stream *stream, enum gw_status why)
{
    if (!stream->session)
        return;
    h2_reply_fail(&stream->reply, why,
                  why == GW_E_DEADLINE ? "no answer by the deadline" : gw_status_words(why));
    stream_drop(stream, NGHTTP2_CANCEL);
}

static void stream_link(struct h2_session *session, struct h2_stream *stream)
{
    stream->session = session;
    stream->next = session->streams;
    stream->link = &session->streams;
    if (stream->next)
        stream->next->link = &stream->next;
    session->streams = stream;
}

static void stream_end(struct h2_stream *stream)
{
    struct h2_session *session = stream->session;
    *stream->link = stream->next;
    if (stream->next)
        stream->next->link = stream->link;
    stream->session = NULL;
    if (stream->payload)
        rpc_payload_unref(stream->payload);
    session->ended(stream);
}

/* --- bytes in --- */

bool h2_session_feed(struct h2_session *session, const uint8_t *bytes, size_t length)
{
    ssize_t taken = nghttp2_session_mem_recv(session->nghttp2, bytes, length);
    return taken >= 0 || session_over(session, "HTTP/2: ", nghttp2_strerror((int)taken));
}

static struct h2_stream *stream_of(nghttp2_session *nghttp2, int32_t id)
{
    return nghttp2_session_get_stream_user_data(nghttp2, id);
}

static int on_begin_frame(nghttp2_session *nghttp2, const nghttp2_frame_hd *frame, void *owner)
{
    struct h2_session *session = owner;
    bool is_plain = frame->type == NGHTTP2_DATA && !(frame->flags & NGHTTP2_FLAG_PADDED);
    (void)nghttp2;
    session->data_of = frame->stream_id;
    session->data_left = is_plain ? frame->length : 0;
    session->data_large = session->data_left >= FRAME_LARGE;
    return 0;
}

uint8_t *h2_session_room(struct h2_session *session, size_t *room)
{
    struct h2_stream *stream = session->data_large ? stream_of(session->nghttp2, session->data_of) : NULL;
    return stream ? h2_reply_room(&stream->reply, session->data_left, room) : NULL;
}

size_t h2_session_read_ahead(const struct h2_session *session)
{
    return session->data_large ? session->data_left + FRAME_HEADER_BYTES : SIZE_MAX;
}

static int on_header(nghttp2_session *nghttp2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *owner)
{
    struct h2_stream *stream = stream_of(nghttp2, frame->hd.stream_id);
    (void)flags, (void)owner;
    if (stream && !h2_reply_header(&stream->reply, name, name_length, value, value_length))
        stream_drop(stream, NGHTTP2_CANCEL);
    return 0;
}

static int on_data(nghttp2_session *nghttp2, uint8_t flags, int32_t id, const uint8_t *bytes, size_t length,
                   void *owner)
{
    struct h2_stream *stream = stream_of(nghttp2, id);
    struct h2_session *session = owner;
    (void)flags;
    session->data_left -= length < session->data_left ? length : session->data_left;
    if (stream && !h2_reply_data(&stream->reply, bytes, length))
        stream_drop(stream, NGHTTP2_CANCEL);
    return 0;
}

static size_t message_length(const struct h2_stream *stream)
{
    return RPC_PREFIX_BYTES + (stream->payload ? stream->payload->size : 0);
}

/* The peer has said all. It may do so before it has heard all; then the rest is not sent. */
static void stream_answered(struct h2_stream *stream)
{
    if (stream->sent < message_length(stream)) {
        stream_drop(stream, NGHTTP2_NO_ERROR);
        return;
    }
    nghttp2_session_set_stream_user_data(stream->session->nghttp2, stream->id, NULL);
    stream_end(stream);
}

/* The stream closes next. */
static void stream_reset(struct h2_stream *stream, uint32_t error_code)
{
    char words[64];
    snprintf(words, sizeof words, "the stream was reset: %s", nghttp2_http2_strerror(error_code));
    h2_reply_fail(&stream->reply, error_code == NGHTTP2_ENHANCE_YOUR_CALM ? GW_E_OVERLOAD : GW_E_NO_REPLICA,
                  words);
}

static void session_leave(struct h2_session *session, const nghttp2_goaway *goaway)
{
    session->going = true;
    session_over(session, "the replica closed the connection: ", nghttp2_http2_strerror(goaway->error_code));
}

static int on_frame(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *owner)
{
    struct h2_session *session = owner;
    struct h2_stream *stream = frame->hd.stream_id ? stream_of(nghttp2, frame->hd.stream_id) : NULL;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        if (stream && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
            stream_answered(stream);
        break;
    case NGHTTP2_RST_STREAM:
        if (stream)
            stream_reset(stream, frame->rst_stream.error_code);
        break;
    case NGHTTP2_SETTINGS:
        session->open = true;
        break;
    case NGHTTP2_GOAWAY:
        session_leave(session, &frame->goaway);
        break;
    default:
        break;
    }
    return 0;
}

/*
 * Closed, and not answered: reset by the peer, then there are words already; above the last stream that a
 * leaving peer works on (nghttp2 says "refused"); or nghttp2 found fault with it.
 */
static int on_close(nghttp2_session *nghttp2, int32_t id, uint32_t error_code, void *owner)
{
    struct h2_stream *stream = stream_of(nghttp2, id);
    (void)owner;
    if (!stream)
        return 0;
    if (error_code == NGHTTP2_REFUSED_STREAM)
        h2_reply_fail(&stream->reply, GW_E_NO_REPLICA, "the replica is closing the connection");
    else
        h2_reply_fail(&stream->reply, GW_E_CONTRACT, "the reply is not valid HTTP/2");
    nghttp2_session_set_stream_user_data(nghttp2, id, NULL);
    stream_end(stream);
    return 0;
}

/* --- bytes out --- */

bool h2_session_fill(struct h2_session *session, struct h2_outbox *outbox)
{
    session->outbox = outbox;
    while (h2_outbox_has_room(outbox, 1)) {
        const uint8_t *bytes;
        ssize_t length = nghttp2_session_mem_send(session->nghttp2, &bytes);
        if (length < 0)
            return session_over(session, "HTTP/2: ", nghttp2_strerror((int)length));
        if (length == 0)
            break;
        h2_outbox_copy(outbox, bytes, (size_t)length);
    }
    if (nghttp2_session_want_read(session->nghttp2) || nghttp2_session_want_write(session->nghttp2))
        return true;
    return session_over(session, "the connection has ended", "");
}

bool h2_session_ping(struct h2_session *session)
{
    return nghttp2_submit_ping(session->nghttp2, NGHTTP2_FLAG_NONE, NULL) == 0;
}

/* How much the next DATA frame takes. One call of nghttp2's may send many: each must leave room for what
 * follows. */
static ssize_t message_read(nghttp2_session *nghttp2, int32_t id, uint8_t *buffer, size_t length,
                            uint32_t *flags, nghttp2_data_source *source, void *owner)
{
    struct h2_session *session = owner;
    struct h2_stream *stream = stream_of(nghttp2, id);
    (void)buffer, (void)source;
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (!h2_outbox_has_room(session->outbox, 2))
        return NGHTTP2_ERR_PAUSE;
    size_t left = message_length(stream) - stream->sent;
    *flags = NGHTTP2_DATA_FLAG_NO_COPY | (left <= length ? NGHTTP2_DATA_FLAG_EOF : 0);
    return (ssize_t)(left < length ? left : length);
}

static int on_send_data(nghttp2_session *nghttp2, nghttp2_frame *frame, const uint8_t *header, size_t length,
                        nghttp2_data_source *source, void *owner)
{
    static const uint8_t no_bytes[RPC_PREFIX_BYTES];
    struct h2_session *session = owner;
    struct h2_stream *stream = stream_of(nghttp2, frame->hd.stream_id);
    (void)source;
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const uint8_t *message = stream->payload ? stream->payload->prefix : no_bytes;
    h2_outbox_copy(session->outbox, header, FRAME_HEADER_BYTES);
    h2_outbox_lend(session->outbox, message + stream->sent, length, stream->payload);
    stream->sent += length;
    return 0;
}

/* A request that never left: the peer has said goodbye before its turn came. */
static int on_not_sent(nghttp2_session *nghttp2, const nghttp2_frame *frame, int error, void *owner)
{
    struct h2_session *session = owner;
    (void)nghttp2;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    for (struct h2_stream *stream = session->streams; stream; stream = stream->next) {
        if (stream->id != frame->hd.stream_id)
            continue;
        if (error == NGHTTP2_ERR_NOMEM)
            h2_reply_fail(&stream->reply, GW_E_NO_MEMORY, gw_status_words(GW_E_NO_MEMORY));
        else
            h2_reply_fail(&stream->reply, GW_E_NO_REPLICA, "the replica is closing the connection");
        nghttp2_session_set_stream_user_data(session->nghttp2, stream->id, NULL);
        stream_end(stream);
        break;
    }
    return 0;
}

/* Our goodbye: nghttp2 found fault with the peer, and says which. */
static int on_sent(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *owner)
{
    (void)nghttp2;
    if (frame->hd.type != NGHTTP2_GOAWAY)
        return 0;
    char words[80];
    const nghttp2_goaway *goaway = &frame->goaway;
    snprintf(words, sizeof words, "%.*s", (int)goaway->opaque_data_len, (const char *)goaway->opaque_data);
    session_over(owner,
                 "the replica broke HTTP/2: ", words[0] ? words : nghttp2_http2_strerror(goaway->error_code));
    return 0;
}

static nghttp2_session *nghttp2_open(struct h2_session *session)
{
    nghttp2_session *nghttp2 = NULL;
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0)
        goto done;
    nghttp2_option_set_max_reserved_remote_streams(option, 0); /* a peer may promise before it knows better */
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_not_sent);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    if (nghttp2_session_client_new2(&nghttp2, callbacks, session, option) != 0)
        nghttp2 = NULL;
done:
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return nghttp2;
}
