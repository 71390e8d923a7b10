/*
 * http1: one state a piece of the message, one function a state.
 *
 *   START -> HEAD -> LENGTH_BODY --------------------------------------------------------------> DONE
 *             |  '-> CHUNK_SIZE -> [CHUNK_EXTENSION] -> CHUNK_SIZE_LF -> CHUNK_DATA -> CHUNK_END
 *             |        ^                                   |                              |
 *             |        '-----------------------------------|------------------------------'
 *             |                                            '-- size 0 --> TRAILER -------------> DONE
 *             '-- no body ---------------------------------------------------------------------> DONE
 *
 * The header is collected whole, while its raw bytes are judged line by line; only then the library takes it
 * apart, in one call, so that its callbacks see whole names and values and how the bytes arrived cannot
 * matter. Bodies are framed here: Debian builds the library without HTTP_PARSER_STRICT, and then it neither
 * looks at what ends a chunk nor minds a space before a colon.
 */
#include "edge/http1.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define http_method library_method /* the library has an enum of this name too */
#include <http_parser.h>
#undef http_method

#include "edge/http_body.h"
#include "edge/http_target.h"

enum {
    FIELDS_MAX = 100,
    HEAD_STEP = 1024, /* first room for a header that comes in pieces */
    CHUNK_DIGITS_MAX = 16,
    CHUNK_LARGE = 16 << 10, /* from here on a chunk is worth being received where it stays, */
    CHUNK_LINE = 32,        /* and what is read of its size line no more than this */
};

enum http1_state {
    HTTP1_START,
    HTTP1_HEAD,
    HTTP1_LENGTH_BODY,
    HTTP1_CHUNK_SIZE,
    HTTP1_CHUNK_EXTENSION,
    HTTP1_CHUNK_SIZE_LF,
    HTTP1_CHUNK_DATA,
    HTTP1_CHUNK_END,
    HTTP1_TRAILER,
    HTTP1_DONE,
    HTTP1_STATE_COUNT
};

/* Lines ended by CRLF up to an empty one, judged byte by byte. */
struct lines {
    uint32_t count;  /* the empty one apart */
    uint32_t length; /* of the one being read */
    bool after_cr;
};

struct http1_parser {
    const struct http1_limits *given;
    struct http1_limits limits; /* what was given when this message began */
    struct http_message *message;
    struct arena *arena;
    enum http1_state state;
    struct lines lines;
    char *head; /* the header's bytes, in the arena; the message's names and values point into it */
    size_t head_length, head_room;
    size_t body_left; /* of the announced length, or of the chunk */
    bool chunk_large; /* the latest one */
    struct http_body body;
    size_t framing_bytes; /* chunk extensions and trailers so far */
    uint8_t step;         /* START: bytes of an empty line; CHUNK_SIZE: digits; CHUNK_END: bytes of CRLF */
    bool expects_continue;
};

struct http1_parser *http1_new(const struct http1_limits *limits)
{
    struct http1_parser *parser = calloc(1, sizeof *parser);
    if (parser) {
        parser->given = limits;
        parser->state = HTTP1_DONE;
    }
    return parser;
}

void http1_free(struct http1_parser *parser)
{
    free(parser);
}

void http1_begin(struct http1_parser *parser, struct http_message *message, struct arena *arena)
{
    *parser = (struct http1_parser){
        .given = parser->given, .limits = *parser->given, .message = message, .arena = arena};
    parser->body = (struct http_body){.message = message, .arena = arena};
    *message = (struct http_message){.method = HTTP_M_OTHER, .query = ""};
}

bool http1_started(const struct http1_parser *parser)
{
    return parser->state != HTTP1_START;
}

bool http1_in_body(const struct http1_parser *parser)
{
    return parser->state > HTTP1_HEAD;
}

bool http1_expects_continue(const struct http1_parser *parser)
{
    return parser->expects_continue;
}

/* Consumes a byte or more, sets *used; or only moves on to another state. */
typedef enum http1_event feed_fn(struct http1_parser *parser, const char *bytes, size_t length, size_t *used,
                                 struct gw_err *err);
static feed_fn feed_start, feed_head, feed_length_body, feed_chunk_size, feed_chunk_extension,
    feed_chunk_size_lf, feed_chunk_data, feed_chunk_end, feed_trailer;

enum http1_event http1_feed(struct http1_parser *parser, const char *bytes, size_t length, size_t *consumed,
                            struct gw_err *err)
{
    static feed_fn *const feed[HTTP1_STATE_COUNT] = {
        [HTTP1_START] = feed_start,
        [HTTP1_HEAD] = feed_head,
        [HTTP1_LENGTH_BODY] = feed_length_body,
        [HTTP1_CHUNK_SIZE] = feed_chunk_size,
        [HTTP1_CHUNK_EXTENSION] = feed_chunk_extension,
        [HTTP1_CHUNK_SIZE_LF] = feed_chunk_size_lf,
        [HTTP1_CHUNK_DATA] = feed_chunk_data,
        [HTTP1_CHUNK_END] = feed_chunk_end,
        [HTTP1_TRAILER] = feed_trailer,
    };
    enum http1_event event = HTTP1_MORE;
    *consumed = 0;
    while (event == HTTP1_MORE && *consumed < length) {
        size_t used = 0;
        event = feed[parser->state](parser, bytes + *consumed, length - *consumed, &used, err);
        *consumed += used;
    }
    return event;
}

static enum http1_event invalid(struct gw_err *err, const char *problem)
{
    gw_err_set(err, GW_E_INVALID, "not valid HTTP: %s", problem);
    return HTTP1_ERROR;
}

static enum http1_event no_memory(struct gw_err *err)
{
    gw_err_set(err, GW_E_NO_MEMORY, "no memory for a request of this size now");
    return HTTP1_ERROR;
}

/* --- the header: its raw bytes --- */

/* RFC 9112, section 2.2: an empty line before the request line is skipped. One. */
static enum http1_event feed_start(struct http1_parser *parser, const char *bytes, size_t length,
                                   size_t *used, struct gw_err *err)
{
    (void)length;
    static const char empty_line[] = "\r\n";
    if (parser->step < 2 && bytes[0] == empty_line[parser->step]) {
        parser->step++;
        *used = 1;
        return HTTP1_MORE;
    }
    if (parser->step == 1)
        return invalid(err, "a bare CR");
    parser->state = HTTP1_HEAD;
    return HTTP1_MORE;
}

/* One of the two ends of a line, or a byte that may not be in a header at all. */
static const char *judge_control(struct lines *lines, char c)
{
    if (c == '\r') {
        lines->after_cr = true;
        return NULL;
    }
    return c == '\n' ? "a bare LF in the header" : "a control character in the header";
}

/*
 * Reads lines up to the empty one: then *ended. *used is what was read. Returns what is wrong, or NULL.
 */
static const char *judge_lines(struct lines *lines, const char *bytes, size_t length, size_t *used,
                               bool *ended)
{
    const char *problem = NULL;
    size_t i = 0;
    while (i < length && !problem && !*ended) {
        char c = bytes[i++];
        if (lines->after_cr) {
            lines->after_cr = false;
            problem = c == '\n' ? NULL : "a bare CR in the header";
            *ended = !problem && lines->length == 0;
            lines->count += lines->length != 0;
            lines->length = 0;
        } else if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7F) {
            problem = judge_control(lines, c);
        } else if (lines->length++ == 0 && (c == ' ' || c == '\t')) {
            problem = "a line of the header starts with white space";
        }
    }
    *used = i;
    return problem;
}

/* Keeps bytes; when they are all of the header, as they mostly are, in just the room they need. */
static bool keep_head(struct http1_parser *parser, const char *bytes, size_t length, bool whole)
{
    size_t needs = parser->head_length + length;
    if (needs > parser->head_room) {
        size_t room = whole ? needs : 2 * needs > HEAD_STEP ? 2 * needs : HEAD_STEP;
        char *head = arena_grow(parser->arena, parser->head, parser->head_length, room);
        if (!head)
            return false;
        parser->head = head;
        parser->head_room = room;
    }
    memcpy(parser->head + parser->head_length, bytes, length);
    parser->head_length = needs;
    return true;
}

static enum http1_event head_too_large(const struct http1_parser *parser, struct gw_err *err)
{
    size_t limit = parser->limits.header_bytes;
    if (parser->lines.count == 0)
        gw_err_set(err, GW_E_URI_TOO_LONG, "the request line is longer than %zu bytes", limit);
    else
        gw_err_set(err, GW_E_HEADER_LARGE, "the header is larger than %zu bytes", limit);
    return HTTP1_ERROR;
}

static enum http1_event finish_head(struct http1_parser *parser, struct gw_err *err);

static enum http1_event feed_head(struct http1_parser *parser, const char *bytes, size_t length, size_t *used,
                                  struct gw_err *err)
{
    size_t room = parser->limits.header_bytes - parser->head_length;
    bool ended = false;
    const char *problem = judge_lines(&parser->lines, bytes, length < room ? length : room, used, &ended);
    if (problem)
        return invalid(err, problem);
    if (!keep_head(parser, bytes, *used, ended && parser->head_length == 0))
        return no_memory(err);
    if (ended)
        return finish_head(parser, err);
    return *used == room ? head_too_large(parser, err) : HTTP1_MORE;
}

/* --- the header: taken apart --- */

/* What the library finds, while it runs over a whole header. */
struct head {
    char *bytes;
    struct http_header *fields;
    uint32_t n_fields, room;
    char *target;
    size_t target_length;
};

/* The library hands out const pointers into bytes that are ours. */
static char *writable(const struct head *head, const char *at)
{
    return head->bytes + (at - head->bytes);
}

/* RFC 9110, section 5.6.2. */
static bool is_token_byte(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static int on_target(http_parser *library, const char *at, size_t length)
{
    struct head *head = library->data;
    head->target = writable(head, at);
    head->target_length = length;
    return 0;
}

static int on_field(http_parser *library, const char *at, size_t length)
{
    struct head *head = library->data;
    char *name = writable(head, at);
    if (head->n_fields == head->room)
        return 1;
    for (size_t i = 0; i < length; i++) {
        if (!is_token_byte((unsigned char)name[i]))
            return 1;
        if (name[i] >= 'A' && name[i] <= 'Z')
            name[i] = (char)(name[i] | 0x20);
    }
    head->fields[head->n_fields++] =
        (struct http_header){.name = name, .name_length = length, .value = name + length};
    return 0;
}

static int on_value(http_parser *library, const char *at, size_t length)
{
    struct head *head = library->data;
    struct http_header *field = &head->fields[head->n_fields - 1];
    while (length && (at[length - 1] == ' ' || at[length - 1] == '\t'))
        length--;
    if (length) { /* else `at` is in the next line */
        field->value = at;
        field->value_length = length;
    }
    return 0;
}

/* Whether the header begins with what could be a method, if an unknown one. */
static bool starts_with_token(const struct http1_parser *parser)
{
    size_t i = 0;
    while (is_token_byte((unsigned char)parser->head[i]))
        i++; /* ends at the CR at the latest */
    return i > 0 && parser->head[i] == ' ';
}

/* Whether " HTTP/" stands in the first line. */
static bool names_http(const struct http1_parser *parser)
{
    const char *end = memchr(parser->head, '\r', parser->head_length);
    return memmem(parser->head, (size_t)(end - parser->head), " HTTP/", 6) != NULL;
}

static enum http1_event refuse_head(const struct http1_parser *parser, enum http_errno problem,
                                    struct gw_err *err)
{
    switch (problem) {
    case HPE_INVALID_METHOD:
        if (!starts_with_token(parser))
            return invalid(err, "no request line");
        if (!names_http(parser)) {
            gw_err_set(err, GW_E_INVALID, "not HTTP");
            return HTTP1_ALIEN;
        }
        gw_err_set(err, GW_E_NOT_IMPLEMENTED, "this method is not known");
        return HTTP1_ERROR;
    case HPE_HEADER_OVERFLOW:
        return head_too_large(parser, err);
    case HPE_CB_header_field:
        return invalid(err, "a field's name is not a token followed by a colon");
    default:
        return invalid(err, http_errno_description(problem));
    }
}

/* Lets the library take the header apart. Names and values are terminated only afterwards: it reads on behind
 * them. */
static enum http1_event split_head(struct http1_parser *parser, http_parser *library, struct head *head,
                                   struct gw_err *err)
{
    static const http_parser_settings settings = {
        .on_url = on_target, .on_header_field = on_field, .on_header_value = on_value};
    http_parser_init(library, HTTP_REQUEST);
    library->data = head;
    http_parser_execute(library, &settings, parser->head, parser->head_length);
    if (HTTP_PARSER_ERRNO(library) != HPE_OK)
        return refuse_head(parser, HTTP_PARSER_ERRNO(library), err);
    if (!head->target)
        return invalid(err, "no target");
    for (uint32_t i = 0; i < head->n_fields; i++) {
        *writable(head, head->fields[i].name + head->fields[i].name_length) = '\0';
        *writable(head, head->fields[i].value + head->fields[i].value_length) = '\0';
    }
    parser->message->headers = head->fields;
    parser->message->n_headers = head->n_fields;
    return HTTP1_MORE;
}

/*
 * "METHOD target HTTP/1.x" and single spaces. The library has seen a version there, but not looked at its
 * letters.
 */
static const char *judge_request_line(const struct head *head)
{
    const char *version = head->target + head->target_length;
    bool exact = head->target[-2] != ' ' && memcmp(version, " HTTP/1.", 8) == 0 && version[9] == '\r';
    return exact ? NULL : "the request line is not a method, a target and a version";
}

static enum http_method method_of(const http_parser *library)
{
    switch (library->method) {
    case HTTP_GET:
        return HTTP_M_GET;
    case HTTP_HEAD:
        return HTTP_M_HEAD;
    case HTTP_POST:
        return HTTP_M_POST;
    case HTTP_PUT:
        return HTTP_M_PUT;
    case HTTP_DELETE:
        return HTTP_M_DELETE;
    case HTTP_OPTIONS:
        return HTTP_M_OPTIONS;
    case HTTP_PATCH:
        return HTTP_M_PATCH;
    default:
        return HTTP_M_OTHER;
    }
}

/* --- the fields that frame --- */

struct framing {
    const struct http_header *length, *encoding, *host, *expect;
    bool twice, close, keep_alive;
};

/* Whether a comma-separated list has this token. */
static bool list_has(const char *list, const char *token)
{
    size_t length = strlen(token);
    while (*list) {
        list += strspn(list, ", \t");
        size_t item = strcspn(list, ", \t");
        if (item == length && strncasecmp(list, token, length) == 0)
            return true;
        list += item;
    }
    return false;
}

static inline bool is_named(const struct http_header *field, const char *name)
{
    return field->name_length == strlen(name) && memcmp(field->name, name, field->name_length) == 0;
}

static void note(struct framing *framing, const struct http_header **place, const struct http_header *field)
{
    framing->twice |= *place != NULL;
    *place = field;
}

static struct framing find_framing(const struct http_message *message)
{
    struct framing framing = {0};
    for (uint32_t i = 0; i < message->n_headers; i++) {
        const struct http_header *field = &message->headers[i];
        if (is_named(field, "host")) {
            note(&framing, &framing.host, field);
        } else if (is_named(field, "content-length")) {
            note(&framing, &framing.length, field);
        } else if (is_named(field, "transfer-encoding")) {
            note(&framing, &framing.encoding, field);
        } else if (is_named(field, "expect")) {
            note(&framing, &framing.expect, field);
        } else if (is_named(field, "connection")) {
            framing.close |= list_has(field->value, "close");
            framing.keep_alive |= list_has(field->value, "keep-alive");
        }
    }
    return framing;
}

/* What is wrong with the framing, whatever the library thought of it; or NULL. */
static const char *judge_framing(const struct framing *framing, bool is_1_0)
{
    if (framing->twice)
        return "two of a field that there may be one of";
    if (framing->length && framing->encoding)
        return "both Content-Length and Transfer-Encoding";
    if (framing->encoding && is_1_0)
        return "Transfer-Encoding in HTTP/1.0";
    if (framing->encoding && strcasecmp(framing->encoding->value, "chunked") != 0)
        return "a Transfer-Encoding other than chunked";
    if (framing->length && (!framing->length->value_length ||
                            strspn(framing->length->value, "0123456789") != framing->length->value_length))
        return "a Content-Length that is not a number";
    if (!framing->host)
        return is_1_0 ? NULL : "no Host";
    return strpbrk(framing->host->value, " \t,/?#@\\") ? "a Host that is none" : NULL;
}

static size_t announced_length(const struct http_header *field)
{
    size_t length = 0;
    for (const char *digit = field->value; *digit; digit++)
        if (__builtin_mul_overflow(length, 10, &length) ||
            __builtin_add_overflow(length, *digit - '0', &length))
            return SIZE_MAX;
    return length;
}

static enum http1_event body_too_large(const struct http1_parser *parser, struct gw_err *err)
{
    gw_err_set(err, GW_E_TOO_LARGE, "the body is larger than %zu bytes", parser->limits.body_bytes);
    return HTTP1_ERROR;
}

static enum http1_event finish_body(struct http1_parser *parser, struct gw_err *err);

static enum http1_event begin_body(struct http1_parser *parser, const struct framing *framing,
                                   struct gw_err *err)
{
    if (framing->encoding) {
        parser->state = HTTP1_CHUNK_SIZE;
        return HTTP1_HEADERS;
    }
    size_t length = framing->length ? announced_length(framing->length) : 0;
    if (length > parser->limits.body_bytes)
        return body_too_large(parser, err);
    if (!length) {
        parser->expects_continue = false;
        return finish_body(parser, err);
    }
    parser->body_left = length;
    parser->state = HTTP1_LENGTH_BODY;
    return http_body_reserve(&parser->body, 0, length) ? HTTP1_HEADERS : no_memory(err);
}

static enum http1_event judge_head(struct http1_parser *parser, const http_parser *library,
                                   struct gw_err *err)
{
    bool is_1_0 = library->http_minor == 0;
    struct framing framing = find_framing(parser->message);
    const char *problem = judge_framing(&framing, is_1_0);
    if (problem)
        return invalid(err, problem);
    if (framing.expect && !is_1_0) {
        parser->expects_continue = strcasecmp(framing.expect->value, "100-continue") == 0;
        if (!parser->expects_continue) {
            gw_err_set(err, GW_E_EXPECTATION, "only 100-continue can be expected");
            return HTTP1_ERROR;
        }
    }
    parser->message->keep_alive = !framing.close && (!is_1_0 || framing.keep_alive);
    return begin_body(parser, &framing, err);
}

static enum http1_event finish_head(struct http1_parser *parser, struct gw_err *err)
{
    struct http_message *message = parser->message;
    struct head head = {.bytes = parser->head, .room = parser->lines.count ? parser->lines.count - 1 : 0};
    http_parser library;
    if (head.room > FIELDS_MAX) {
        gw_err_set(err, GW_E_HEADER_LARGE, "more than %d header fields", FIELDS_MAX);
        return HTTP1_ERROR;
    }
    head.fields = arena_array(parser->arena, head.room, sizeof *head.fields);
    if (!head.fields)
        return no_memory(err);
    enum http1_event event = split_head(parser, &library, &head, err);
    if (event != HTTP1_MORE)
        return event;
    if (library.http_major != 1 || library.http_minor > 1) {
        gw_err_set(err, GW_E_HTTP_VERSION, "%s", gw_status_words(GW_E_HTTP_VERSION));
        return HTTP1_ERROR;
    }
    message->method = method_of(&library);
    const char *problem = judge_request_line(&head);
    if (!problem)
        problem = http_read_target(message, head.target, head.target_length);
    return problem ? invalid(err, problem) : judge_head(parser, &library, err);
}

/* --- the body --- */

char *http1_body_room(struct http1_parser *parser, size_t *room)
{
    const struct http_message *message = parser->message;
    size_t length = message->body_length;
    bool announced = parser->state == HTTP1_LENGTH_BODY;
    if (!announced && parser->state != HTTP1_CHUNK_DATA)
        return NULL;
    size_t ceiling = announced ? length + parser->body_left : parser->limits.body_bytes;
    if (!http_body_reserve(&parser->body, length + 1, ceiling))
        return NULL;
    size_t free_room = parser->body.room - length;
    *room = free_room < parser->body_left ? free_room : parser->body_left;
    return message->body + length;
}

size_t http1_read_ahead(const struct http1_parser *parser)
{
    bool in_chunks = parser->state >= HTTP1_CHUNK_SIZE && parser->state <= HTTP1_CHUNK_END;
    if (!in_chunks || !parser->chunk_large)
        return SIZE_MAX;
    return CHUNK_LINE + (parser->state == HTTP1_CHUNK_DATA ? parser->body_left : 0);
}

static enum http1_event finish_body(struct http1_parser *parser, struct gw_err *err)
{
    if (!http_body_finish(&parser->body))
        return no_memory(err);
    parser->state = HTTP1_DONE;
    return HTTP1_MESSAGE;
}

/* Takes what there is of the body_left bytes of the body, or of the chunk. */
static bool keep_body(struct http1_parser *parser, const char *bytes, size_t length, size_t ceiling,
                      size_t *used)
{
    size_t take = length < parser->body_left ? length : parser->body_left;
    if (!http_body_add(&parser->body, bytes, take, ceiling))
        return false;
    parser->body_left -= take;
    *used = take;
    return true;
}

static enum http1_event feed_length_body(struct http1_parser *parser, const char *bytes, size_t length,
                                         size_t *used, struct gw_err *err)
{
    size_t announced = parser->message->body_length + parser->body_left;
    if (!keep_body(parser, bytes, length, announced, used))
        return no_memory(err);
    return parser->body_left ? HTTP1_MORE : finish_body(parser, err);
}

static enum http1_event feed_chunk_size(struct http1_parser *parser, const char *bytes, size_t length,
                                        size_t *used, struct gw_err *err)
{
    (void)length;
    int digit = http_hex_digit(bytes[0]);
    *used = 1;
    if (digit >= 0 && parser->step < CHUNK_DIGITS_MAX) {
        parser->step++;
        parser->body_left = parser->body_left << 4 | (size_t)digit;
        return HTTP1_MORE;
    }
    if (!parser->step || (bytes[0] != '\r' && bytes[0] != ';'))
        return invalid(err, "a chunk's size is not hexadecimal digits");
    if (parser->body_left > parser->limits.body_bytes - parser->message->body_length)
        return body_too_large(parser, err);
    parser->chunk_large = parser->body_left >= CHUNK_LARGE;
    parser->state = bytes[0] == ';' ? HTTP1_CHUNK_EXTENSION : HTTP1_CHUNK_SIZE_LF;
    return HTTP1_MORE;
}

/* What is neither body nor header has the header's limit, over the whole message. */
static enum http1_event framing_too_large(const struct http1_parser *parser, struct gw_err *err)
{
    gw_err_set(err, GW_E_HEADER_LARGE, "chunk extensions and trailers are larger than %zu bytes",
               parser->limits.header_bytes);
    return HTTP1_ERROR;
}

static enum http1_event feed_chunk_extension(struct http1_parser *parser, const char *bytes, size_t length,
                                             size_t *used, struct gw_err *err)
{
    (void)length;
    unsigned char c = (unsigned char)bytes[0];
    *used = 1;
    if (c == '\r')
        parser->state = HTTP1_CHUNK_SIZE_LF;
    else if ((c < 0x20 && c != '\t') || c == 0x7F)
        return invalid(err, "a control character in a chunk's extension");
    else if (++parser->framing_bytes > parser->limits.header_bytes)
        return framing_too_large(parser, err);
    return HTTP1_MORE;
}

static enum http1_event feed_chunk_size_lf(struct http1_parser *parser, const char *bytes, size_t length,
                                           size_t *used, struct gw_err *err)
{
    (void)length;
    *used = 1;
    if (bytes[0] != '\n')
        return invalid(err, "a bare CR after a chunk's size");
    parser->step = 0;
    parser->lines = (struct lines){0};
    parser->state = parser->body_left ? HTTP1_CHUNK_DATA : HTTP1_TRAILER;
    return HTTP1_MORE;
}

static enum http1_event feed_chunk_data(struct http1_parser *parser, const char *bytes, size_t length,
                                        size_t *used, struct gw_err *err)
{
    if (!keep_body(parser, bytes, length, parser->limits.body_bytes, used))
        return no_memory(err);
    if (!parser->body_left)
        parser->state = HTTP1_CHUNK_END;
    return HTTP1_MORE;
}

static enum http1_event feed_chunk_end(struct http1_parser *parser, const char *bytes, size_t length,
                                       size_t *used, struct gw_err *err)
{
    (void)length;
    *used = 1;
    if (bytes[0] != "\r\n"[parser->step])
        return invalid(err, "a chunk's data is not followed by CRLF");
    if (++parser->step == 2) {
        parser->step = 0;
        parser->state = HTTP1_CHUNK_SIZE;
    }
    return HTTP1_MORE;
}

static enum http1_event feed_trailer(struct http1_parser *parser, const char *bytes, size_t length,
                                     size_t *used, struct gw_err *err)
{
    size_t room = parser->limits.header_bytes - parser->framing_bytes;
    bool ended = false;
    const char *problem = judge_lines(&parser->lines, bytes, length < room ? length : room, used, &ended);
    parser->framing_bytes += *used;
    if (problem)
        return invalid(err, problem);
    if (ended)
        return finish_body(parser, err);
    return *used == room ? framing_too_large(parser, err) : HTTP1_MORE;
}
