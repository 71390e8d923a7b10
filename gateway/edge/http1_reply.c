/* http1_reply: the head of a reply, the other half of http1.h. */
#include "edge/http1.h"

static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {207, "Multi-Status"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "";
}

static void write_number(struct buf *out, size_t number)
{
    char digits[24];
    char *at = digits + sizeof digits;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    buf_append(out, at, (size_t)(digits + sizeof digits - at));
}

void http1_write_head(struct buf *out, const struct http_reply *reply, size_t body_length, bool keep_alive,
                      const char *date)
{
    buf_text(out, "HTTP/1.1 ");
    write_number(out, (size_t)reply->status);
    buf_text(out, " ");
    buf_text(out, reason_phrase(reply->status));
    buf_text(out, "\r\nServer: xebec\r\nDate: ");
    buf_text(out, date);
    if (reply->content_type) {
        buf_text(out, "\r\nContent-Type: ");
        buf_text(out, reply->content_type);
    }
    if (reply->status != 204) { /* RFC 9110, section 8.6: must not be sent with it */
        buf_text(out, "\r\nContent-Length: ");
        write_number(out, body_length);
    }
    buf_text(out, keep_alive ? "\r\nConnection: keep-alive\r\n" : "\r\nConnection: close\r\n");
    if (reply->headers)
        buf_text(out, reply->headers);
    buf_text(out, "\r\n");
}
