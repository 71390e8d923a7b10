/* http: what every version of HTTP has in common: methods, header fields, media types. */
#include "edge/http.h"

#include <string.h>
#include <strings.h>

const char *http_method_name(enum http_method method)
{
    static const char *const names[] = {
        [HTTP_M_GET] = "GET",     [HTTP_M_HEAD] = "HEAD",     [HTTP_M_POST] = "POST",
        [HTTP_M_PUT] = "PUT",     [HTTP_M_DELETE] = "DELETE", [HTTP_M_OPTIONS] = "OPTIONS",
        [HTTP_M_PATCH] = "PATCH", [HTTP_M_OTHER] = "?",
    };
    return names[method];
}

const struct http_header *http_message_find(const struct http_message *message, const char *name,
                                            size_t length)
{
    for (uint32_t i = 0; i < message->n_headers; i++) {
        const struct http_header *header = &message->headers[i];
        if (header->name_length == length && memcmp(header->name, name, length) == 0)
            return header;
    }
    return NULL;
}

/* In one header's `a=1; b=2`. A value in quotes keeps them. */
static const char *find_cookie(const char *at, const char *name, size_t name_length, size_t *length)
{
    for (;;) {
        at += strspn(at, "; \t");
        if (!*at)
            return NULL;
        size_t pair = strcspn(at, ";"), key = strcspn(at, "=;");
        if (key == name_length && at[key] == '=' && memcmp(at, name, key) == 0) {
            *length = pair - key - 1;
            return at + key + 1;
        }
        at += pair;
    }
}

const char *http_message_cookie(const struct http_message *message, const char *name, size_t *length)
{
    size_t name_length = strlen(name);
    for (uint32_t i = 0; i < message->n_headers; i++) {
        const struct http_header *header = &message->headers[i];
        const char *value = header->name_length == 6 && memcmp(header->name, "cookie", 6) == 0
                                ? find_cookie(header->value, name, name_length, length)
                                : NULL;
        if (value)
            return value;
    }
    return NULL;
}

bool http_message_is(const struct http_message *message, const char *media_type, bool absent)
{
    const struct http_header *header = http_message_header(message, "content-type");
    if (!header)
        return absent;
    size_t length = strcspn(header->value, "; \t");
    return length == strlen(media_type) && strncasecmp(header->value, media_type, length) == 0;
}
