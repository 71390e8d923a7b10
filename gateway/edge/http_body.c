/* http_body: a body that grows. */
#include "edge/http_body.h"

#include <string.h>

enum { FIRST_ROOM = 64 << 10 }; /* for a body that does not come with its header */

/*
 * Grows fourfold, as the arena keeps the old room until the end: what is given up is a third of what is held;
 * but to no more than `ceiling`, or what is needed.
 */
bool http_body_reserve(struct http_body *body, size_t needs, size_t ceiling)
{
    struct http_message *message = body->message;
    if (message->body && needs <= body->room)
        return true;
    size_t room = body->room > FIRST_ROOM / 4 ? 4 * body->room : FIRST_ROOM;
    room = room < ceiling ? room : ceiling;
    room = room > needs ? room : needs;
    char *bytes = arena_grow(body->arena, message->body, message->body_length, room + HTTP_BODY_PADDING);
    if (!bytes)
        return false;
    message->body = bytes;
    body->room = room;
    return true;
}

bool http_body_add(struct http_body *body, const char *bytes, size_t length, size_t ceiling)
{
    struct http_message *message = body->message;
    if (!http_body_reserve(body, message->body_length + length, ceiling))
        return false;
    if (bytes != message->body + message->body_length) /* received in place: http1_body_room() */
        memcpy(message->body + message->body_length, bytes, length);
    message->body_length += length;
    return true;
}

bool http_body_finish(struct http_body *body)
{
    struct http_message *message = body->message;
    if (!http_body_reserve(body, message->body_length, message->body_length))
        return false;
    memset(message->body + message->body_length, 0, HTTP_BODY_PADDING);
    return true;
}
