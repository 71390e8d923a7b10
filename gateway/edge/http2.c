/*
 * http2: nghttp2's callbacks, and what each means to a request.
 *
 *   HEADER -> BODY -> HANDLED -> REPLYING -> freed, when nghttp2 closes the stream
 *      '--------'--------^  (HTTP2_MESSAGE, or HTTP2_REFUSED)
 *     HEADER    the header list comes; the connection can carry nothing else meanwhile
 *     BODY      DATA comes, and is stored
 *     HANDLED   the owner has it
 *     REPLYING  the owner has given it back; what it has given is sent as the client's windows allow
 *
 * nghttp2 keeps a pointer to each stream, and tells when it closes: there, and at the end, is the only place
 * where one is freed.
 */
#include "edge/http2.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "edge/http2_fields.h"
#include "edge/http_body.h"

/*
 * How much a client may send before we have stored it: more than travels in a round trip, for a stream and
 * for all of them. What it costs us is bounded by the arenas, not by these.
 */
enum { STREAM_WINDOW = 1 << 20, CONNECTION_WINDOW = 4 << 20 };
/* The largest frames that a client may send, HTTP/2's default, are received where they stay. */
enum { FRAME_LARGE = 16 << 10 };
enum {
    FRAME_HEADER_BYTES = 9,
    EARNED = 4,           /* controls that a request, or a piece of a reply, may bring along */
    REFILL_US = 10000000, /* a bucket that is full is empty so much later */
    PARTING_US = 1000000, /* for the client to hear that we drain, or that its request was answered early */
    CONTINUATIONS_SPARE = 64, /* Debian's nghttp2 counts the pieces that a block is fed in */
};
static const uint8_t DRAIN_PING[8] = "draining";

enum stream_state { STREAM_HEADER, STREAM_BODY, STREAM_HANDLED, STREAM_REPLYING };

struct http2_stream {
    struct http2 *http2;
    struct http2_stream *next, **link;
    int32_t id;
    enum stream_state state;
    bool whole; /* the client has said all */
    bool said;  /* and so have we */
    uint64_t deadline_us;
    uint64_t bytes_in;
    void *holder;
    struct http2_fields fields;
    struct http_body body;
    struct buf reply;
    size_t sent;
    char *trailers;
};

/* Something of which there may be so much at once, and a tenth as much again each second. */
struct bucket {
    uint64_t level, since_us;
};

struct http2 {
    nghttp2_session *nghttp2;
    const struct http2_limits *limits;
    http2_event_fn *event;
    void *owner;
    struct http2_stream *streams;
    struct http2_stream *latest; /* of those that were asked for: the next frame is often of the same one */
    struct buf *out;             /* while it is being filled */
    size_t room;
    struct buf scratch;
    int32_t data_of;  /* the stream of the DATA frame that is being read, */
    size_t data_left; /* and how much of it is to come; padded ones do not count */
    bool data_large;  /* the latest frame of them */
    struct bucket resets, controls;
    uint64_t now_us;
    uint64_t deadline_us; /* the earliest that is due, or earlier */
    uint64_t idle_until_us;
    int32_t newest;  /* the highest stream that the client has opened, */
    uint64_t opened; /* and which of the 64 up to it: bit 0 is that one */
    bool over, flooded, draining;
};

static nghttp2_session *nghttp2_open(struct http2 *http2);

/* --- the connection --- */

static void due(struct http2 *http2, uint64_t at_us)
{
    if (at_us < http2->deadline_us)
        http2->deadline_us = at_us;
}

static void become_idle(struct http2 *http2)
{
    http2->idle_until_us = http2->now_us + (http2->draining ? PARTING_US : http2->limits->idle_us);
    due(http2, http2->idle_until_us);
}

struct http2 *http2_new(const struct http2_limits *limits, http2_event_fn *event, void *owner,
                        uint64_t now_us)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->header_bytes},
    };
    struct http2 *http2 = calloc(1, sizeof *http2);
    if (!http2)
        return NULL;
    *http2 = (struct http2){
        .limits = limits, .event = event, .owner = owner, .now_us = now_us, .deadline_us = UINT64_MAX};
    http2->nghttp2 = nghttp2_open(http2);
    if (http2->nghttp2 &&
        nghttp2_submit_settings(http2->nghttp2, NGHTTP2_FLAG_NONE, settings,
                                sizeof settings / sizeof *settings) == 0 &&
        nghttp2_session_set_local_window_size(http2->nghttp2, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) == 0) {
        become_idle(http2);
        return http2;
    }
    http2_free(http2);
    return NULL;
}

void http2_free(struct http2 *http2)
{
    if (!http2)
        return;
    nghttp2_session_del(http2->nghttp2);
    buf_clear(&http2->scratch);
    free(http2);
}

/* The last word, with the reason. Without memory for it the connection just closes. */
static void say_goodbye(struct http2 *http2, uint32_t error_code)
{
    http2->over = true;
    (void)!nghttp2_session_terminate_session(http2->nghttp2, error_code);
}

static void leak(struct bucket *bucket, uint32_t most, uint64_t now_us)
{
    uint64_t leaked = (now_us - bucket->since_us) * most / REFILL_US;
    if (!leaked)
        return;
    bucket->level -= leaked < bucket->level ? leaked : bucket->level;
    bucket->since_us = now_us;
}

/* One more of what there may be so much of. False: the client has gone too far. */
static bool put_up_with(struct http2 *http2, struct bucket *bucket, uint32_t most)
{
    leak(bucket, most, http2->now_us);
    if (++bucket->level <= most)
        return true;
    http2->flooded = true;
    say_goodbye(http2, NGHTTP2_ENHANCE_YOUR_CALM);
    return false;
}

static void earn_controls(struct http2 *http2)
{
    uint64_t *level = &http2->controls.level;
    *level -= *level < EARNED ? *level : EARNED;
}

bool http2_was_flooded(const struct http2 *http2)
{
    return http2->flooded;
}

void http2_drain(struct http2 *http2, uint64_t now_us)
{
    http2->now_us = now_us;
    if (http2->draining || http2->over)
        return;
    http2->draining = true;
    if (!http2->streams)
        become_idle(http2);
    if (nghttp2_submit_shutdown_notice(http2->nghttp2) != 0 ||
        nghttp2_submit_ping(http2->nghttp2, NGHTTP2_FLAG_NONE, DRAIN_PING) != 0)
        say_goodbye(http2, NGHTTP2_NO_ERROR);
}

/* The client has heard it: what is not here now will not come. */
static void drain_heard(struct http2 *http2)
{
    int32_t last = nghttp2_session_get_last_proc_stream_id(http2->nghttp2);
    if (nghttp2_submit_goaway(http2->nghttp2, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) != 0)
        say_goodbye(http2, NGHTTP2_NO_ERROR);
}

/* --- streams --- */

static void stream_wait(struct http2_stream *stream, enum stream_state state, uint64_t us)
{
    stream->state = state;
    stream->deadline_us = us == UINT64_MAX ? us : stream->http2->now_us + us;
    due(stream->http2, stream->deadline_us);
}

static struct http2_stream *stream_new(struct http2 *http2, int32_t id)
{
    struct http2_stream *stream = malloc(sizeof *stream); /* calloc() has no quick lists */
    if (!stream)
        return NULL;
    *stream =
        (struct http2_stream){.http2 = http2, .id = id, .next = http2->streams, .link = &http2->streams};
    if (stream->next)
        stream->next->link = &stream->next;
    http2->streams = stream;
    stream_wait(stream, STREAM_HEADER, http2->limits->header_us);
    return stream;
}

static void stream_free(struct http2_stream *stream)
{
    *stream->link = stream->next;
    if (stream->next)
        stream->next->link = stream->link;
    if (!stream->http2->streams)
        become_idle(stream->http2);
    if (stream->http2->latest == stream)
        stream->http2->latest = NULL;
    buf_clear(&stream->reply);
    free(stream->trailers);
    free(stream);
}

static void tell(struct http2_stream *stream, enum http2_event event, const struct gw_err *err)
{
    stream->http2->event(stream->http2->owner, stream, event, err);
}

/* Closed: the owner hears of it unless it has replied. */
static void stream_end(struct http2_stream *stream)
{
    if (stream->state != STREAM_REPLYING)
        tell(stream, HTTP2_GONE, NULL);
    stream_free(stream);
}

/* Without memory for the reset, the stream is there until the connection ends. */
static void stream_reset(struct http2_stream *stream, uint32_t error_code)
{
    (void)!nghttp2_submit_rst_stream(stream->http2->nghttp2, NGHTTP2_FLAG_NONE, stream->id, error_code);
}

void http2_end(struct http2 *http2)
{
    while (http2->streams) {
        struct http2_stream *stream = http2->streams;
        nghttp2_session_set_stream_user_data(http2->nghttp2, stream->id, NULL);
        stream_end(stream);
    }
}

void http2_accept(struct http2_stream *stream, struct http_message *message, struct arena *arena,
                  void *holder)
{
    stream->holder = holder;
    stream->body = (struct http_body){.message = message, .arena = arena};
    http2_fields_begin(&stream->fields, message, arena);
}

void *http2_holder(const struct http2_stream *stream)
{
    return stream->holder;
}

uint64_t http2_bytes_in(const struct http2_stream *stream)
{
    return stream->bytes_in;
}

/* --- what has taken too long --- */

uint64_t http2_deadline_us(const struct http2 *http2)
{
    return http2->deadline_us;
}

static void refuse(struct http2_stream *stream, const struct gw_err *err)
{
    stream_wait(stream, STREAM_HANDLED, UINT64_MAX);
    tell(stream, HTTP2_REFUSED, err);
}

static void stream_expire(struct http2_stream *stream)
{
    struct gw_err err;
    switch (stream->state) {
    case STREAM_HEADER: /* nothing can be said in the middle of a header block, but goodbye */
        say_goodbye(stream->http2, NGHTTP2_ENHANCE_YOUR_CALM);
        break;
    case STREAM_BODY:
        gw_err_set(&err, GW_E_SLOW_CLIENT, "the request's body did not arrive in time");
        refuse(stream, &err);
        break;
    case STREAM_REPLYING:
        stream->deadline_us = UINT64_MAX;
        stream_reset(stream, stream->said ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
        break;
    case STREAM_HANDLED:
        break;
    }
}

void http2_expire(struct http2 *http2, uint64_t now_us)
{
    http2->now_us = now_us;
    if (now_us < http2->deadline_us)
        return;
    http2->deadline_us = UINT64_MAX;
    for (struct http2_stream *stream = http2->streams, *next; stream; stream = next) {
        next = stream->next; /* expiring frees nothing: nghttp2 closes streams when it sends */
        if (stream->deadline_us <= now_us)
            stream_expire(stream);
        due(http2, stream->deadline_us);
    }
    if (http2->streams || http2->over)
        return;
    if (now_us >= http2->idle_until_us)
        say_goodbye(http2, NGHTTP2_NO_ERROR);
    else
        due(http2, http2->idle_until_us);
}

/* --- bytes in --- */

void http2_feed(struct http2 *http2, const char *bytes, size_t length, uint64_t now_us)
{
    http2->now_us = now_us;
    if (http2->over)
        return;
    ssize_t taken = nghttp2_session_mem_recv(http2->nghttp2, (const uint8_t *)bytes, length);
    if (taken < 0 && !http2->over) {
        http2->flooded = taken == NGHTTP2_ERR_FLOODED || taken == NGHTTP2_ERR_TOO_MANY_SETTINGS ||
                         taken == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
        say_goodbye(http2, taken == NGHTTP2_ERR_NOMEM ? NGHTTP2_INTERNAL_ERROR
                           : http2->flooded           ? NGHTTP2_ENHANCE_YOUR_CALM
                                                      : NGHTTP2_PROTOCOL_ERROR);
    }
}

static struct http2_stream *stream_of(struct http2 *http2, int32_t id)
{
    if (http2->latest && http2->latest->id == id)
        return http2->latest;
    struct http2_stream *stream = id ? nghttp2_session_get_stream_user_data(http2->nghttp2, id) : NULL;
    if (stream)
        http2->latest = stream;
    return stream;
}

static size_t body_ceiling(const struct http2_stream *stream)
{
    size_t limit = stream->http2->limits->body_bytes, announced = stream->fields.announced;
    return announced < limit ? announced : limit;
}

char *http2_body_room(struct http2 *http2, size_t *room)
{
    struct http2_stream *stream = http2->data_left ? stream_of(http2, http2->data_of) : NULL;
    if (!stream || stream->state != STREAM_BODY || http2->over)
        return NULL;
    struct http_body *body = &stream->body;
    size_t length = body->message->body_length;
    if (http2->data_left > http2->limits->body_bytes - length || /* it will be refused */
        !http_body_reserve(body, length + 1, body_ceiling(stream)))
        return NULL;
    size_t free_room = body->room - length;
    *room = free_room < http2->data_left ? free_room : http2->data_left;
    return body->message->body + length;
}

size_t http2_read_ahead(const struct http2 *http2)
{
    return http2->data_large ? http2->data_left + FRAME_HEADER_BYTES : SIZE_MAX;
}

/*
 * A stream below the newest that was never opened (RFC 9113, section 5.1.1). nghttp2 takes it for one long
 * closed, and ignores what it may not.
 */
static bool opens_out_of_order(struct http2 *http2, int32_t id)
{
    if (id <= http2->newest) {
        uint32_t back = (uint32_t)(http2->newest - id) / 2;
        return back < 64 && !(http2->opened >> back & 1);
    }
    uint32_t on = (uint32_t)(id - http2->newest) / 2;
    http2->opened = (on < 64 ? http2->opened << on : 0) | 1;
    http2->newest = id;
    return false;
}

static void note_data(struct http2 *http2, const nghttp2_frame_hd *frame)
{
    bool is_plain = frame->type == NGHTTP2_DATA && !(frame->flags & NGHTTP2_FLAG_PADDED);
    http2->data_of = frame->stream_id;
    http2->data_left = is_plain ? frame->length : 0;
    http2->data_large = http2->data_left >= FRAME_LARGE;
}

/* Every frame's first nine bytes, of unknown types too. What carries a request is free, all else is counted.
 */
static int on_begin_frame(nghttp2_session *nghttp2, const nghttp2_frame_hd *frame, void *owner)
{
    struct http2 *http2 = owner;
    (void)nghttp2;
    note_data(http2, frame);
    if (http2->over)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (frame->type == NGHTTP2_HEADERS && frame->stream_id % 2 &&
        opens_out_of_order(http2, frame->stream_id)) {
        say_goodbye(http2, NGHTTP2_PROTOCOL_ERROR);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (frame->type == NGHTTP2_HEADERS || frame->type == NGHTTP2_CONTINUATION ||
        (frame->type == NGHTTP2_DATA && (frame->length || frame->flags & NGHTTP2_FLAG_END_STREAM)))
        return 0;
    bool resets = frame->type == NGHTTP2_RST_STREAM;
    return put_up_with(http2, resets ? &http2->resets : &http2->controls,
                       resets ? http2->limits->resets : http2->limits->controls)
               ? 0
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *owner)
{
    struct http2 *http2 = owner;
    int32_t id = frame->hd.stream_id;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct http2_stream *stream = stream_new(http2, id);
    if (stream)
        tell(stream, HTTP2_BEGIN, NULL);
    if (stream && stream->body.message) {
        nghttp2_session_set_stream_user_data(nghttp2, id, stream);
        return 0;
    }
    if (stream)
        stream_free(stream);
    return nghttp2_submit_rst_stream(nghttp2, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM) == 0
               ? 0
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* Trailers are read and dropped. */
static int on_header(nghttp2_session *nghttp2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *owner)
{
    struct http2 *http2 = owner;
    struct http2_stream *stream = stream_of(http2, frame->hd.stream_id);
    (void)nghttp2, (void)flags;
    if (stream && stream->state == STREAM_HEADER)
        http2_fields_add(&stream->fields, (const char *)name, name_length, (const char *)value, value_length,
                         http2->limits->header_bytes);
    return 0;
}

/* nghttp2 would go on without it; HTTP/1.1 would not. */
static int on_invalid_header(nghttp2_session *nghttp2, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                             void *owner)
{
    struct http2_stream *stream = stream_of(owner, frame->hd.stream_id);
    (void)nghttp2, (void)name, (void)name_length, (void)value, (void)value_length, (void)flags;
    if (stream && stream->state == STREAM_HEADER)
        http2_fields_spoil(&stream->fields);
    return 0;
}

/* Not while it is answered already; and not if nobody waits for it. */
static void send_continue(struct http2_stream *stream)
{
    static const nghttp2_nv status = {(uint8_t *)":status", (uint8_t *)"100", 7, 3, NGHTTP2_NV_FLAG_NONE};
    if (stream->fields.expects_continue && !stream->whole)
        (void)!nghttp2_submit_headers(stream->http2->nghttp2, NGHTTP2_FLAG_NONE, stream->id, NULL, &status, 1,
                                      NULL);
}

static void header_complete(struct http2_stream *stream)
{
    const struct http2_limits *limits = stream->http2->limits;
    struct gw_err err;
    stream->bytes_in = stream->fields.bytes;
    if (http2_fields_finish(&stream->fields, limits->header_bytes, limits->body_bytes, &err) != GW_OK) {
        refuse(stream, &err);
        return;
    }
    stream_wait(stream, STREAM_BODY, limits->body_us);
    send_continue(stream);
}

static void refuse_for_memory(struct http2_stream *stream)
{
    struct gw_err err;
    gw_err_set(&err, GW_E_NO_MEMORY, "no memory for a request of this size now");
    refuse(stream, &err);
}

static void message_complete(struct http2_stream *stream)
{
    if (!http_body_finish(&stream->body)) {
        refuse_for_memory(stream);
        return;
    }
    earn_controls(stream->http2);
    stream_wait(stream, STREAM_HANDLED, UINT64_MAX);
    tell(stream, HTTP2_MESSAGE, NULL);
}

static bool store(struct http2_stream *stream, const char *bytes, size_t length)
{
    size_t limit = stream->http2->limits->body_bytes, stored = stream->body.message->body_length;
    struct gw_err err;
    stream->bytes_in += length;
    if (length > limit - stored) {
        gw_err_set(&err, GW_E_TOO_LARGE, "the body is larger than %zu bytes", limit);
        refuse(stream, &err);
        return false;
    }
    if (http_body_add(&stream->body, bytes, length, body_ceiling(stream)))
        return true;
    refuse_for_memory(stream);
    return false;
}

/* The windows open again by what has been stored. Of what is thrown away a stream gets no more. */
static int on_data(nghttp2_session *nghttp2, uint8_t flags, int32_t id, const uint8_t *bytes, size_t length,
                   void *owner)
{
    struct http2 *http2 = owner;
    struct http2_stream *stream = stream_of(http2, id);
    (void)flags;
    http2->data_left -= length < http2->data_left ? length : http2->data_left;
    bool stored = stream && stream->state == STREAM_BODY && store(stream, (const char *)bytes, length);
    int failed = stored ? nghttp2_session_consume(nghttp2, id, length)
                        : nghttp2_session_consume_connection(nghttp2, length);
    return failed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void stream_progress(struct http2_stream *stream, const nghttp2_frame_hd *frame)
{
    stream->whole |= (frame->flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->type == NGHTTP2_HEADERS && stream->state == STREAM_HEADER)
        header_complete(stream);
    if (stream->state != STREAM_BODY)
        return;
    if (stream->whole)
        message_complete(stream);
    else
        tell(stream, HTTP2_PART, NULL);
}

void http2_suffice(struct http2_stream *stream)
{
    message_complete(stream);
}

static int on_frame(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *owner)
{
    struct http2 *http2 = owner;
    struct http2_stream *stream = stream_of(http2, frame->hd.stream_id);
    (void)nghttp2;
    if (stream && (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS))
        stream_progress(stream, &frame->hd);
    else if (frame->hd.type == NGHTTP2_PING && frame->hd.flags & NGHTTP2_FLAG_ACK && http2->draining &&
             memcmp(frame->ping.opaque_data, DRAIN_PING, sizeof DRAIN_PING) == 0)
        drain_heard(http2);
    return 0;
}

/* Answered in full, reset by the client, or malformed. */
static int on_close(nghttp2_session *nghttp2, int32_t id, uint32_t error_code, void *owner)
{
    struct http2_stream *stream = stream_of(owner, id);
    (void)error_code;
    if (stream) {
        nghttp2_session_set_stream_user_data(nghttp2, id, NULL);
        stream_end(stream);
    }
    return 0;
}

/* --- replies --- */

static ssize_t body_read(nghttp2_session *nghttp2, int32_t id, uint8_t *buffer, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *owner);

/* Returns the bytes of their texts. */
static size_t to_nghttp2(const struct http_header *fields, uint32_t n, nghttp2_nv *to)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        to[i] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)fields[i].name,
                             .value = (uint8_t *)(uintptr_t)fields[i].value,
                             .namelen = fields[i].name_length,
                             .valuelen = fields[i].value_length};
        bytes += fields[i].name_length + fields[i].value_length;
    }
    return bytes;
}

/* Returns the bytes of the header list; 0: out of memory. */
static size_t submit_reply(struct http2_stream *stream, const struct http_reply *reply, const char *date)
{
    struct http2 *http2 = stream->http2;
    struct http_header fields[HTTP2_REPLY_FIELDS_MAX];
    nghttp2_nv header[HTTP2_REPLY_FIELDS_MAX];
    const nghttp2_data_provider body = {.read_callback = body_read};
    bool has_body = stream->fields.message->method != HTTP_M_HEAD && (reply->body.length || stream->trailers);
    uint32_t n = http2_reply_fields(reply, reply->body.length, date, &http2->scratch, fields);
    if (http2->scratch.failed)
        buf_clear(&http2->scratch);
    if (!n)
        return 0;
    size_t bytes = to_nghttp2(fields, n, header);
    if (has_body) {
        stream->reply = reply->body;
        return nghttp2_submit_response(http2->nghttp2, stream->id, header, n, &body) == 0 ? bytes : 0;
    }
    return nghttp2_submit_response(http2->nghttp2, stream->id, header, n, NULL) == 0 ? bytes : 0;
}

size_t http2_reply(struct http2_stream *stream, struct http_reply *reply, const char *date, uint64_t now_us)
{
    struct http2 *http2 = stream->http2;
    size_t bytes = 0;
    http2->now_us = now_us;
    stream_wait(stream, STREAM_REPLYING, http2->limits->write_us);
    if (reply->trailers)
        stream->trailers = strdup(reply->trailers);
    if (stream->trailers || !reply->trailers)
        bytes = submit_reply(stream, reply, date);
    if (stream->reply.bytes)
        reply->body = (struct buf){0}; /* is the stream's now */
    if (!bytes)
        stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
    stream->fields.message = NULL; /* as its arena, the owner's alone now */
    return bytes ? bytes + stream->reply.length : 0;
}

void http2_abandon(struct http2_stream *stream)
{
    stream_wait(stream, STREAM_REPLYING, UINT64_MAX);
    stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
}

/* --- bytes out --- */

bool http2_fill(struct http2 *http2, struct buf *out, size_t room, uint64_t now_us)
{
    http2->now_us = now_us;
    http2->out = out;
    http2->room = room;
    while (out->length < room && !out->failed) {
        const uint8_t *bytes;
        ssize_t length = nghttp2_session_mem_send(http2->nghttp2, &bytes);
        if (length < 0) {
            http2->over = true;
            return false;
        }
        if (length == 0)
            break;
        buf_append(out, bytes, (size_t)length);
    }
    http2->out = NULL;
    return !out->failed && (nghttp2_session_want_write(http2->nghttp2) ||
                            (!http2->over && nghttp2_session_want_read(http2->nghttp2)));
}

/* After the body: the end of the stream, or the trailers. */
static int finish_body(struct http2_stream *stream, uint32_t *flags)
{
    struct http_header fields[HTTP2_REPLY_FIELDS_MAX];
    nghttp2_nv trailers[HTTP2_REPLY_FIELDS_MAX];
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!stream->trailers)
        return 0;
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    uint32_t n = http2_split_lines(stream->trailers, fields, 0);
    to_nghttp2(fields, n, trailers);
    return nghttp2_submit_trailer(stream->http2->nghttp2, stream->id, trailers, n);
}

/* How much the next DATA frame takes; on_send_data() gives it. */
static ssize_t body_read(nghttp2_session *nghttp2, int32_t id, uint8_t *buffer, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *owner)
{
    struct http2 *http2 = owner;
    struct http2_stream *stream = stream_of(http2, id);
    (void)nghttp2, (void)buffer, (void)source;
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (http2->out->length >= http2->room)
        return NGHTTP2_ERR_PAUSE;
    size_t left = stream->reply.length - stream->sent;
    *flags = NGHTTP2_DATA_FLAG_NO_COPY;
    if (left <= length && finish_body(stream, flags) != 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return (ssize_t)(left < length ? left : length);
}

static int on_send_data(nghttp2_session *nghttp2, nghttp2_frame *frame, const uint8_t *header, size_t length,
                        nghttp2_data_source *source, void *owner)
{
    struct http2 *http2 = owner;
    struct http2_stream *stream = stream_of(http2, frame->hd.stream_id);
    (void)nghttp2, (void)source;
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    buf_append(http2->out, header, FRAME_HEADER_BYTES);
    if (length)
        buf_append(http2->out, stream->reply.bytes + stream->sent, length);
    if (http2->out->failed)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    stream->sent += length;
    stream_wait(stream, STREAM_REPLYING, http2->limits->write_us);
    earn_controls(http2);
    return 0;
}

/*
 * A reply that is out before its request is in: the client is told not to go on, if it does not see that for
 * itself (curl 7.88 takes a reset at once for a failure). And a reset of ours, for a fault of the client's,
 * counts like the client's own.
 */
static int on_sent(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *owner)
{
    struct http2 *http2 = owner;
    struct http2_stream *stream = stream_of(http2, frame->hd.stream_id);
    (void)nghttp2;
    bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (ends && stream) {
        stream->said = true;
        stream_wait(stream, STREAM_REPLYING, PARTING_US);
    }
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
        !http2->over)
        (void)put_up_with(http2, &http2->resets, http2->limits->resets);
    return 0;
}

static nghttp2_session *nghttp2_open(struct http2 *http2)
{
    nghttp2_session *nghttp2 = NULL;
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0)
        goto done;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_stream_reset_rate_limit(option, UINT64_MAX, UINT64_MAX); /* counted here */
    nghttp2_option_set_max_continuations(option, CONTINUATIONS_SPARE + http2->limits->header_bytes / 1024);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    if (nghttp2_session_server_new2(&nghttp2, callbacks, http2, option) != 0)
        nghttp2 = NULL;
done:
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return nghttp2;
}
