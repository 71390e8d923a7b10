/* coding: bodies in and out of gzip and deflate. */
#include "edge/coding.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

enum { WINDOW_BITS = 15, GZIP_BITS = WINDOW_BITS + 16, MEMORY_LEVEL = 8 };
static const size_t INFLATED_FIRST_BYTES = 4096;

/* In the order in which replies prefer them. */
static const struct coding {
    const char *name, *alias;
    int window_bits;
    const char *headers; /* of a reply */
} codings[] = {
    {"gzip", "x-gzip", GZIP_BITS, "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"},
    {"deflate", "deflate", WINDOW_BITS, "Content-Encoding: deflate\r\nVary: Accept-Encoding\r\n"},
};
enum { N_CODINGS = sizeof codings / sizeof *codings };

static bool is_word(const char *text, size_t length, const char *word)
{
    return length == strlen(word) && strncasecmp(text, word, length) == 0;
}

/* --- in --- */

/* What is being inflated into the arena. */
struct inflation {
    struct arena *arena;
    z_stream stream;
    char *bytes;
    size_t length, capacity, limit;
};

/* Room for more; one byte over the limit is enough to tell that there is one. */
static enum gw_status inflation_grow(struct inflation *inflation)
{
    size_t most = inflation->limit + 1, want = inflation->capacity * 2;
    want = want < INFLATED_FIRST_BYTES ? INFLATED_FIRST_BYTES : want;
    want = want > most ? most : want;
    if (inflation->length > inflation->limit)
        return GW_E_TOO_LARGE;
    char *grown =
        arena_grow(inflation->arena, inflation->bytes,
                   inflation->bytes ? inflation->capacity + HTTP_BODY_PADDING : 0, want + HTTP_BODY_PADDING);
    if (!grown)
        return GW_E_NO_MEMORY;
    inflation->bytes = grown;
    inflation->capacity = want;
    return GW_OK;
}

/* To the end of the stream, which must be the end of the body. */
static enum gw_status inflation_run(struct inflation *inflation)
{
    z_stream *stream = &inflation->stream;
    int code = Z_OK;
    while (code == Z_OK) {
        enum gw_status status = inflation->length < inflation->capacity ? GW_OK : inflation_grow(inflation);
        if (status != GW_OK)
            return status;
        size_t room = inflation->capacity - inflation->length;
        stream->next_out = (Bytef *)inflation->bytes + inflation->length;
        stream->avail_out = room < UINT32_MAX ? (uInt)room : UINT32_MAX;
        uInt before = stream->avail_out;
        code = inflate(stream, Z_NO_FLUSH);
        inflation->length += before - stream->avail_out;
    }
    if (code == Z_MEM_ERROR)
        return GW_E_NO_MEMORY;
    if (code != Z_STREAM_END || stream->avail_in)
        return GW_E_INVALID;
    return inflation->length > inflation->limit ? GW_E_TOO_LARGE : GW_OK;
}

/* header: the one that named the coding. */
static enum gw_status read_coded(struct exchange *exchange, const struct coding *coding, const char *header,
                                 size_t limit, struct gw_err *err)
{
    struct http_message *message = &exchange->message;
    struct inflation inflation = {.arena = &exchange->arena, .limit = limit};
    if (message->body_length > UINT32_MAX)
        return gw_err_set(err, GW_E_TOO_LARGE, "%s", gw_status_words(GW_E_TOO_LARGE));
    inflation.stream.next_in = (Bytef *)message->body;
    inflation.stream.avail_in = (uInt)message->body_length;
    if (inflateInit2(&inflation.stream, coding->window_bits) != Z_OK)
        return gw_err_set(err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
    enum gw_status status = inflation_run(&inflation);
    inflateEnd(&inflation.stream);
    if (status == GW_E_INVALID)
        return gw_err_set(err, status, "the body is not what %s: %s says", header, coding->name);
    if (status != GW_OK)
        return gw_err_set(err, status, "%s", gw_status_words(status));
    memset(inflation.bytes + inflation.length, 0, HTTP_BODY_PADDING);
    message->body = inflation.bytes;
    message->body_length = inflation.length;
    return GW_OK;
}

static const struct coding *find_coding(const struct http_header *header)
{
    for (int i = 0; i < N_CODINGS; i++)
        if (is_word(header->value, header->value_length, codings[i].name) ||
            is_word(header->value, header->value_length, codings[i].alias))
            return &codings[i];
    return NULL;
}

enum gw_status coding_read_body(struct exchange *exchange, size_t limit, struct gw_err *err)
{
    const struct http_header *header = http_message_header(&exchange->message, "content-encoding");
    if (!header || !header->value_length || is_word(header->value, header->value_length, "identity"))
        return GW_OK;
    const struct coding *coding = find_coding(header);
    if (coding)
        return read_coded(exchange, coding, "Content-Encoding", limit, err);
    return gw_err_set(err, GW_E_MEDIA_TYPE, "a body may come as gzip, deflate or as it is, not as %.32s",
                      header->value);
}

enum gw_status coding_read_message(struct exchange *exchange, size_t limit, struct gw_err *err)
{
    const struct http_header *header = http_message_header(&exchange->message, "grpc-encoding");
    const struct coding *coding = header ? find_coding(header) : NULL;
    if (coding)
        return read_coded(exchange, coding, "grpc-encoding", limit, err);
    return gw_err_set(err, GW_E_INVALID, "the message is compressed, and no grpc-encoding says how");
}

/* --- out --- */

/* "gzip;q=0" is a no. at: behind the coding's name. */
static bool is_refused(const char *at, const char *end)
{
    const char *q = memchr(at, '=', (size_t)(end - at));
    return q && strtod(q + 1, NULL) <= 0;
}

/* Whether an Accept-Encoding has it: "gzip, deflate;q=0.5". */
static bool accepts(const char *at, const struct coding *coding)
{
    for (;;) {
        at += strspn(at, ", \t");
        if (!*at)
            return false;
        size_t name = strcspn(at, ",; \t"), item = strcspn(at, ",");
        if (is_word(at, name, coding->name) || is_word(at, name, coding->alias))
            return !is_refused(at + name, at + item);
        at += item;
    }
}

static const struct coding *wanted_coding(const struct http_message *message)
{
    const struct http_header *header = http_message_header(message, "accept-encoding");
    for (int i = 0; header && i < N_CODINGS; i++)
        if (accepts(header->value, &codings[i]))
            return &codings[i];
    return NULL;
}

/* False: it does not become smaller, or there is no memory. */
static bool compress_body(const struct coding *coding, const struct buf *body, struct buf *out)
{
    z_stream stream = {0};
    if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, coding->window_bits, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    size_t room = body->length - body->length / 8; /* less is not worth the client's work */
    char *to = buf_reserve(out, room);
    bool done = false;
    if (to) {
        stream.next_in = (Bytef *)body->bytes;
        stream.avail_in = (uInt)body->length;
        stream.next_out = (Bytef *)to;
        stream.avail_out = (uInt)room;
        done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
        out->length = room - stream.avail_out;
    }
    deflateEnd(&stream);
    return done;
}

const char *coding_write_body(const struct http_message *message, struct buf *body)
{
    if (body->failed || body->length < CODING_PAYS_FROM || body->length > UINT32_MAX)
        return NULL;
    const struct coding *coding = wanted_coding(message);
    struct buf compressed = {0};
    if (!coding)
        return NULL;
    if (!compress_body(coding, body, &compressed)) {
        buf_clear(&compressed);
        return NULL;
    }
    buf_clear(body);
    *body = compressed;
    return coding->headers;
}
