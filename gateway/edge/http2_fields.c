/* http2_fields: what of a header list is the request line, what is framing, and what is handed on. */
#include "edge/http2_fields.h"

#include <string.h>
#include <strings.h>

#include "edge/http_target.h"

enum {
    FIELDS_MAX = 100,
    FIELDS_FIRST = 16,
    FIELD_OVERHEAD = 32, /* RFC 9113, section 6.5.2 */
};

/* --- a request --- */

void http2_fields_begin(struct http2_fields *fields, struct http_message *message, struct arena *arena)
{
    *fields = (struct http2_fields){.message = message, .arena = arena, .announced = SIZE_MAX};
    *message = (struct http_message){
        .method = HTTP_M_OTHER, .query = "", .keep_alive = true, .takes_trailers = true};
}

static void spoil(struct http2_fields *fields, enum gw_status problem, const char *what)
{
    if (fields->problem != GW_OK)
        return;
    fields->problem = problem;
    fields->what = what;
}

void http2_fields_spoil(struct http2_fields *fields)
{
    spoil(fields, GW_E_INVALID, "a field's name or value has a byte that may not be there");
}

static bool is(const char *name, size_t length, const char *other)
{
    return length == strlen(other) && memcmp(name, other, length) == 0;
}

static void read_method(struct http2_fields *fields, const char *value, size_t length)
{
    for (enum http_method method = 0; method < HTTP_M_OTHER; method++)
        if (is(value, length, http_method_name(method))) {
            fields->message->method = method;
            fields->method_known = true;
        }
}

/* The byte after it is written to, too. */
static void read_path(struct http2_fields *fields, const char *value, size_t length)
{
    fields->target = arena_text(fields->arena, value, length);
    fields->target_length = length;
    if (!fields->target)
        spoil(fields, GW_E_NO_MEMORY, NULL);
}

static size_t read_length(const char *value, size_t length)
{
    size_t number = 0;
    for (size_t i = 0; i < length; i++) /* digits: nghttp2 has seen to that */
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, value[i] - '0', &number))
            return SIZE_MAX - 1;
    return number;
}

static bool more_room(struct http2_fields *fields)
{
    uint32_t room = fields->room ? 2 * fields->room : FIELDS_FIRST;
    struct http_header *grown =
        arena_grow(fields->arena, fields->fields, fields->room * sizeof *grown, room * sizeof *grown);
    if (!grown)
        return false;
    fields->fields = grown;
    fields->room = room;
    return true;
}

/* Returns the value as it is kept, or NULL. */
static const char *keep(struct http2_fields *fields, const char *name, size_t name_length, const char *value,
                        size_t value_length)
{
    char *text;
    if (fields->n_fields == FIELDS_MAX) {
        spoil(fields, GW_E_HEADER_LARGE, NULL);
        return NULL;
    }
    if ((fields->n_fields == fields->room && !more_room(fields)) ||
        !(text = arena_alloc(fields->arena, name_length + value_length + 2))) {
        spoil(fields, GW_E_NO_MEMORY, NULL);
        return NULL;
    }
    memcpy(text, name, name_length);
    text[name_length] = '\0';
    memcpy(text + name_length + 1, value, value_length);
    text[name_length + 1 + value_length] = '\0';
    fields->fields[fields->n_fields++] = (struct http_header){.name = text,
                                                              .value = text + name_length + 1,
                                                              .name_length = name_length,
                                                              .value_length = value_length};
    return text + name_length + 1;
}

static void add_regular(struct http2_fields *fields, const char *name, size_t name_length, const char *value,
                        size_t value_length)
{
    const char *kept = keep(fields, name, name_length, value, value_length);
    if (!kept)
        return;
    if (is(name, name_length, "host"))
        fields->host = kept;
    else if (is(name, name_length, "content-length"))
        fields->announced = read_length(value, value_length);
    else if (is(name, name_length, "expect") && strcasecmp(kept, "100-continue") != 0)
        spoil(fields, GW_E_EXPECTATION, NULL);
    else if (is(name, name_length, "expect"))
        fields->expects_continue = true;
}

/* :authority is what HTTP/1.1 calls Host, and so handlers find it. */
void http2_fields_add(struct http2_fields *fields, const char *name, size_t name_length, const char *value,
                      size_t value_length, size_t limit)
{
    fields->bytes += name_length + value_length + FIELD_OVERHEAD;
    if (fields->bytes > limit)
        spoil(fields, GW_E_HEADER_LARGE, NULL);
    if (fields->problem != GW_OK)
        return;
    if (is(name, name_length, ":method"))
        read_method(fields, value, value_length);
    else if (is(name, name_length, ":path"))
        read_path(fields, value, value_length);
    else if (is(name, name_length, ":authority"))
        fields->authority = keep(fields, "host", 4, value, value_length);
    else if (name[0] != ':')
        add_regular(fields, name, name_length, value, value_length);
}

static const char *judge_host(const struct http2_fields *fields)
{
    const char *host = fields->authority ? fields->authority : fields->host;
    if (fields->authority && fields->host && strcasecmp(fields->authority, fields->host) != 0)
        return "Host and :authority differ";
    return host && strpbrk(host, " \t,/?#@\\") ? "a Host that is none" : NULL;
}

static void judge(struct http2_fields *fields, size_t body_limit)
{
    struct http_message *message = fields->message;
    if (fields->problem != GW_OK)
        return;
    if (!fields->method_known) {
        spoil(fields, GW_E_NOT_IMPLEMENTED, "this method is not known");
        return;
    }
    const char *problem = fields->target ? http_read_target(message, fields->target, fields->target_length)
                                         : "no target"; /* nghttp2 lets none through but CONNECT */
    if (!problem)
        problem = judge_host(fields);
    if (problem)
        spoil(fields, GW_E_INVALID, problem);
    else if (fields->announced != SIZE_MAX && fields->announced > body_limit)
        spoil(fields, GW_E_TOO_LARGE, NULL);
}

enum gw_status http2_fields_finish(struct http2_fields *fields, size_t header_limit, size_t body_limit,
                                   struct gw_err *err)
{
    fields->message->headers = fields->fields;
    fields->message->n_headers = fields->n_fields;
    judge(fields, body_limit);
    switch (fields->problem) {
    case GW_OK:
        return GW_OK;
    case GW_E_NO_MEMORY:
        return gw_err_set(err, GW_E_NO_MEMORY, "no memory for a request of this size now");
    case GW_E_TOO_LARGE:
        return gw_err_set(err, GW_E_TOO_LARGE, "the body is larger than %zu bytes", body_limit);
    case GW_E_EXPECTATION:
        return gw_err_set(err, GW_E_EXPECTATION, "only 100-continue can be expected");
    case GW_E_HEADER_LARGE:
        return fields->n_fields == FIELDS_MAX
                   ? gw_err_set(err, GW_E_HEADER_LARGE, "more than %d header fields", FIELDS_MAX)
                   : gw_err_set(err, GW_E_HEADER_LARGE, "the header is larger than %zu bytes", header_limit);
    case GW_E_INVALID:
        return gw_err_set(err, GW_E_INVALID, "not valid HTTP: %s", fields->what);
    default:
        return gw_err_set(err, fields->problem, "%s", fields->what);
    }
}

/* --- a reply --- */

static uint32_t add(struct http_header *fields, uint32_t n, const char *name, const char *value)
{
    fields[n] = (struct http_header){
        .name = name, .value = value, .name_length = strlen(name), .value_length = strlen(value)};
    return n + 1;
}

uint32_t http2_split_lines(char *lines, struct http_header fields[HTTP2_REPLY_FIELDS_MAX], uint32_t n)
{
    for (char *end; *lines; lines = end + 2) {
        end = strchr(lines, '\r');
        char *colon = end ? memchr(lines, ':', (size_t)(end - lines)) : NULL;
        if (!colon || end[1] != '\n' || n == HTTP2_REPLY_FIELDS_MAX)
            return 0;
        for (char *c = lines; c < colon; c++)
            if (*c >= 'A' && *c <= 'Z')
                *c = (char)(*c | 0x20);
        const char *value = colon + 1 + strspn(colon + 1, " ");
        fields[n++] = (struct http_header){.name = lines,
                                           .value = value,
                                           .name_length = (size_t)(colon - lines),
                                           .value_length = (size_t)(end - value)};
    }
    return n;
}

uint32_t http2_reply_fields(const struct http_reply *reply, size_t body_length, const char *date,
                            struct buf *scratch, struct http_header fields[HTTP2_REPLY_FIELDS_MAX])
{
    const char *headers = reply->headers ? reply->headers : "";
    uint32_t n = 0;
    scratch->length = 0;
    buf_number(scratch, reply->status);
    buf_append(scratch, "", 1);
    size_t length_at = scratch->length;
    buf_number(scratch, (int64_t)body_length);
    buf_append(scratch, "", 1);
    size_t lines_at = scratch->length;
    buf_append(scratch, headers, strlen(headers) + 1);
    if (scratch->failed)
        return 0;
    const char *status = scratch->bytes, *length = scratch->bytes + length_at;
    n = add(fields, n, ":status", status);
    n = add(fields, n, "server", "xebec");
    n = add(fields, n, "date", date);
    if (reply->content_type)
        n = add(fields, n, "content-type", reply->content_type);
    if (reply->status != 204 && !reply->trailers) /* with trailers it is the end of the stream that counts */
        n = add(fields, n, "content-length", length);
    return http2_split_lines(scratch->bytes + lines_at, fields, n);
}
