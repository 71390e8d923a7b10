/* Bodies in and out of gzip and deflate: what comes back, what is refused, and how much memory it may take.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "edge/coding.h"

enum { LIMIT = 1 << 16 };

struct fixture {
    struct exchange exchange;
    struct http_header headers[2];
    struct gw_err err;
    char *body;
};

static void open_fixture(struct fixture *f, const char *name, const char *value)
{
    memset(f, 0, sizeof *f);
    f->headers[0] = (struct http_header){name, value, strlen(name), strlen(value)};
    f->exchange.message.headers = f->headers;
    f->exchange.message.n_headers = 1;
}

static void close_fixture(struct fixture *f)
{
    arena_clear(&f->exchange.arena);
    free(f->body);
}

static void set_body(struct fixture *f, const void *bytes, size_t length)
{
    f->body = calloc(1, length + HTTP_BODY_PADDING);
    memcpy(f->body, bytes, length);
    f->exchange.message.body = f->body;
    f->exchange.message.body_length = length;
}

/* length bytes of 'a', compressed; more: bytes that follow; cut: how many are missing at the end. */
static void set_coded(struct fixture *f, int bits, size_t length, size_t more, size_t cut)
{
    char *plain = malloc(length + 1), *coded = calloc(1, length + 1024 + more);
    z_stream stream = {0};
    memset(plain, 'a', length);
    cr_assert_eq(deflateInit2(&stream, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)plain;
    stream.avail_in = (uInt)length;
    stream.next_out = (Bytef *)coded;
    stream.avail_out = (uInt)(length + 1024);
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    set_body(f, coded, stream.total_out + more - cut);
    deflateEnd(&stream);
    free(plain);
    free(coded);
}

static enum gw_status read_body(struct fixture *f)
{
    return coding_read_body(&f->exchange, LIMIT, &f->err);
}

Test(read, every_coding)
{
    static const struct {
        const char *name;
        int bits;
    } codings[] = {{"gzip", 31}, {"GZip", 31}, {"x-gzip", 31}, {"deflate", 15}};
    static const size_t lengths[] = {0, 1, 4095, 4096, 4097, LIMIT - 1, LIMIT};
    for (size_t i = 0; i < sizeof codings / sizeof *codings; i++)
        for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++) {
            struct fixture f;
            open_fixture(&f, "content-encoding", codings[i].name);
            set_coded(&f, codings[i].bits, lengths[n], 0, 0);
            cr_assert_eq(read_body(&f), GW_OK, "%s %zu: %s", codings[i].name, lengths[n], f.err.what);
            const struct http_message *message = &f.exchange.message;
            cr_assert_eq(message->body_length, lengths[n]);
            for (size_t at = 0; at < lengths[n]; at++)
                cr_assert_eq(message->body[at], 'a');
            for (size_t at = 0; at < HTTP_BODY_PADDING; at++)
                cr_assert_eq(message->body[lengths[n] + at], 0, "its padding is readable");
            close_fixture(&f);
        }
}

Test(read, a_body_without_a_coding_stays)
{
    static const char *const names[] = {"identity", ""};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        open_fixture(&f, "content-encoding", names[i]);
        set_body(&f, "abc", 3);
        cr_expect_eq(read_body(&f), GW_OK);
        cr_expect_eq(f.exchange.message.body, f.body);
        close_fixture(&f);
    }
}

Test(read, refusals)
{
    static const struct {
        const char *name;
        int bits;
        size_t length, more, cut;
        enum gw_status status;
    } cases[] = {
        {"gzip", 31, LIMIT + 1, 0, 0, GW_E_TOO_LARGE}, {"gzip", 31, 200 << 20, 0, 0, GW_E_TOO_LARGE},
        {"gzip", 31, 100, 0, 1, GW_E_INVALID},         {"gzip", 31, 100, 0, 20, GW_E_INVALID},
        {"gzip", 31, 100, 1, 0, GW_E_INVALID},         {"gzip", 15, 100, 0, 0, GW_E_INVALID},
        {"deflate", 31, 100, 0, 0, GW_E_INVALID},      {"deflate", -15, 100, 0, 0, GW_E_INVALID},
        {"br", 31, 100, 0, 0, GW_E_MEDIA_TYPE},        {"gzip, gzip", 31, 100, 0, 0, GW_E_MEDIA_TYPE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        open_fixture(&f, "content-encoding", cases[i].name);
        set_coded(&f, cases[i].bits, cases[i].length, cases[i].more, cases[i].cut);
        cr_expect_eq(read_body(&f), cases[i].status, "%zu: %d", i, f.err.status);
        cr_expect_eq(f.err.status, cases[i].status);
        cr_expect_neq(f.err.what[0], '\0');
        cr_expect_lt(f.exchange.arena.bytes, 4 * LIMIT, "bounded, however much it would be");
        close_fixture(&f);
    }
}

Test(read, an_empty_body_is_no_gzip)
{
    struct fixture f;
    open_fixture(&f, "content-encoding", "gzip");
    set_body(&f, "", 0);
    cr_expect_eq(read_body(&f), GW_E_INVALID);
    close_fixture(&f);
}

Test(read, without_memory)
{
    struct fixture f;
    open_fixture(&f, "content-encoding", "gzip");
    set_coded(&f, 31, LIMIT, 0, 0);
    f.exchange.arena.limit = 8192;
    cr_expect_eq(read_body(&f), GW_E_NO_MEMORY);
    close_fixture(&f);
}

static struct buf text_of(size_t length, bool random)
{
    struct buf body = {0};
    char *to = buf_reserve(&body, length);
    uint32_t state = 1;
    for (size_t i = 0; i < length; i++) {
        state = state * 1664525 + 1013904223;
        to[i] = random ? (char)(state >> 24) : "0.125,"[i % 6];
    }
    body.length = length;
    return body;
}

Test(write, where_it_is_asked_for_and_pays)
{
    static const struct {
        const char *accept;
        size_t length;
        bool random;
        const char *coding; /* NULL: stays */
        int bits;
    } cases[] = {
        {"gzip", CODING_PAYS_FROM, false, "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n", 31},
        {"br, deflate, GZIP;q=0.5", 100000, false, "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n", 31},
        {"deflate", 100000, false, "Content-Encoding: deflate\r\nVary: Accept-Encoding\r\n", 15},
        {"gzip;q=0, deflate", 100000, false, "Content-Encoding: deflate\r\nVary: Accept-Encoding\r\n", 15},
        {"gzip", CODING_PAYS_FROM - 1, false, NULL, 0},
        {"gzip", 100000, true, NULL, 0},
        {"identity, br;q=1, gzip; q=0.0", 100000, false, NULL, 0},
        {"", 100000, false, NULL, 0},
        {"gzipped", 100000, false, NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        open_fixture(&f, "accept-encoding", cases[i].accept);
        struct buf body = text_of(cases[i].length, cases[i].random);
        const char *headers = coding_write_body(&f.exchange.message, &body);
        if (!cases[i].coding) {
            cr_expect_null(headers, "%s", cases[i].accept);
            cr_expect_eq(body.length, cases[i].length);
        } else {
            cr_assert_not_null(headers, "%s", cases[i].accept);
            cr_expect_str_eq(headers, cases[i].coding);
            char *back = malloc(cases[i].length);
            z_stream stream = {.next_in = (Bytef *)body.bytes,
                               .avail_in = (uInt)body.length,
                               .next_out = (Bytef *)back,
                               .avail_out = (uInt)cases[i].length};
            struct buf plain = text_of(cases[i].length, false);
            cr_assert_eq(inflateInit2(&stream, cases[i].bits), Z_OK);
            cr_expect_eq(inflate(&stream, Z_FINISH), Z_STREAM_END);
            cr_expect_arr_eq(back, plain.bytes, plain.length);
            inflateEnd(&stream);
            buf_clear(&plain);
            free(back);
        }
        buf_clear(&body);
        close_fixture(&f);
    }
}
