/*
 * What clients may send as Content-Encoding. Byte 0 picks the coding, byte 1 the limit, in 256 bytes. What is
 * inflated is within the limit, has its padding, and is what it was when it is compressed and sent again.
 */
#include <stdlib.h>
#include <string.h>

#include "edge/coding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static const char *const names[] = {"gzip", "deflate", "x-gzip", "identity", "br"};

struct fixture {
    struct exchange exchange;
    struct http_header header;
    struct gw_err err;
    char *body;
};

static void open_fixture(struct fixture *f, const char *name, const char *value, const void *body,
                         size_t length)
{
    memset(f, 0, sizeof *f);
    f->header = (struct http_header){name, value, strlen(name), strlen(value)};
    f->body = calloc(1, length + HTTP_BODY_PADDING);
    require(f->body);
    if (length)
        memcpy(f->body, body, length);
    f->exchange.message =
        (struct http_message){.headers = &f->header, .n_headers = 1, .body = f->body, .body_length = length};
}

static void close_fixture(struct fixture *f)
{
    arena_clear(&f->exchange.arena);
    free(f->body);
}

/* What was inflated, as a reply to a client that takes this coding, and inflated once more. */
static void require_same_again(const struct http_message *message, const char *coding)
{
    struct fixture reply, again;
    struct buf body = {0};
    buf_append(&body, message->body, message->body_length);
    open_fixture(&reply, "accept-encoding", coding, "", 0);
    if (coding_write_body(&reply.exchange.message, &body)) {
        open_fixture(&again, "content-encoding", coding, body.bytes, body.length);
        require(coding_read_body(&again.exchange, message->body_length, &again.err) == GW_OK);
        require(again.exchange.message.body_length == message->body_length &&
                memcmp(again.exchange.message.body, message->body, message->body_length) == 0);
        close_fixture(&again);
    }
    buf_clear(&body);
    close_fixture(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fixture f;
    if (size < 2)
        return 0;
    const char *name = names[data[0] % (sizeof names / sizeof *names)];
    size_t limit = (size_t)data[1] * 256;
    open_fixture(&f, "content-encoding", name, data + 2, size - 2);
    enum gw_status status = coding_read_body(&f.exchange, limit, &f.err);
    const struct http_message *message = &f.exchange.message;
    require(status == GW_OK || (f.err.status == status && f.err.what[0]));
    require(f.exchange.arena.bytes <= 4 * limit + 65536);
    if (status == GW_OK && message->body != f.body) {
        require(message->body_length <= limit);
        for (size_t i = 0; i < HTTP_BODY_PADDING; i++)
            require(!message->body[message->body_length + i]);
        require_same_again(message, name);
    }
    close_fixture(&f);
    return 0;
}
