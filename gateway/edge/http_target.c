/* http_target: taken apart in place, from the front: authority, path, query. */
#include "edge/http_target.h"

#include <string.h>
#include <strings.h>

int http_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; returns what is wrong, or NULL. */
static const char *percent_decode(char *text, size_t *length)
{
    size_t to = 0;
    for (size_t from = 0; from < *length; from++) {
        char c = text[from];
        if (c == '%') {
            int high = *length - from > 2 ? http_hex_digit(text[from + 1]) : -1;
            int low = high >= 0 ? http_hex_digit(text[from + 2]) : -1;
            if (low < 0)
                return "bad percent-encoding in the path";
            c = (char)(high * 16 + low);
            if (!c)
                return "%00 in the path";
            from += 2;
        }
        text[to++] = c;
    }
    *length = to;
    return NULL;
}

/* The bytes of "http://authority" before an absolute-form's path; 0 when it is not one; -1: with a bad
 * authority. */
static ptrdiff_t authority_length(const char *target, size_t length)
{
    size_t scheme = length > 7 && strncasecmp(target, "http://", 7) == 0    ? 7
                    : length > 8 && strncasecmp(target, "https://", 8) == 0 ? 8
                                                                            : 0;
    size_t end = scheme;
    if (!scheme)
        return 0;
    while (end < length && target[end] != '/' && target[end] != '?')
        if (target[end++] == '@')
            return -1;
    return end == scheme ? -1 : (ptrdiff_t)end;
}

const char *http_read_target(struct http_message *message, char *target, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (target[i] <= 0x20 || target[i] == 0x7F || target[i] == '#') /* <: bytes over 0x7F too */
            return "a byte in the target that has to be percent-encoded";
    target[length] = '\0';
    if (message->method == HTTP_M_OPTIONS && strcmp(target, "*") == 0) {
        message->path = target;
        message->path_length = 1;
        return NULL;
    }
    ptrdiff_t before = authority_length(target, length);
    if (before < 0 || (before == 0 && target[0] != '/'))
        return "the target is neither a path nor a URL";
    target += before;
    char *mark = strchr(target, '?');
    size_t path_length = mark ? (size_t)(mark - target) : length - (size_t)before;
    const char *problem = percent_decode(target, &path_length);
    if (problem)
        return problem;
    target[path_length] = '\0';
    message->query = mark ? mark + 1 : "";
    message->path = path_length ? target : "/";
    message->path_length = path_length ? path_length : 1;
    return NULL;
}
