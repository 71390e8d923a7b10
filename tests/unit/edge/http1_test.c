/* http1: every rule in a table; each row in one piece, byte by byte, and cut in two at every place. */
#include "edge/http1.h"

#include <criterion/criterion.h>

#include "../../support/http1_outcome.h"

static const struct http1_limits limits = {.header_bytes = 256, .body_bytes = 64};

struct exchange_case {
    const char *in;
    size_t length;
    const char *out;
};
#define CASE(in, out)                                                                                        \
    {                                                                                                        \
        in, sizeof in - 1, out                                                                               \
    }
#define GET(fields)        "GET / HTTP/1.1\r\nHost: x\r\n" fields "\r\n"
#define POST(fields, body) "POST / HTTP/1.1\r\nHost: x\r\n" fields "\r\n" body
#define CHUNKED(body)      POST("Transfer-Encoding: chunked\r\n", body)
#define TARGET(target)     "GET " target " HTTP/1.1\r\nHost: x\r\n\r\n"
#define BAD(words)         "error 400 not valid HTTP: " words "\n"

static size_t single_bytes(struct http1_cutter *cutter)
{
    (void)cutter;
    return 1;
}

static size_t one_cut(struct http1_cutter *cutter)
{
    size_t piece = cutter->first;
    cutter->first = 0;
    return piece;
}

static void expect(const struct exchange_case *row, struct http1_cutter *cutter, const char *how, size_t at)
{
    struct buf out = {0};
    http1_outcome(&out, &limits, row->in, row->length, cutter);
    cr_expect_str_eq(out.bytes, row->out, "%s (%s, %zu):\n got %s want %s", row->in, how, at, out.bytes,
                     row->out);
    buf_clear(&out);
}

static void expect_all(const struct exchange_case *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct http1_cutter bytes = {.next = single_bytes};
        expect(&rows[i], NULL, "whole", i);
        expect(&rows[i], &bytes, "byte by byte", i);
        for (size_t at = 1; at < rows[i].length; at++) {
            struct http1_cutter two = {.next = one_cut, .first = at};
            expect(&rows[i], &two, "cut at", at);
        }
    }
}
#define EXPECT_ALL(rows) expect_all(rows, sizeof rows / sizeof rows[0])

Test(http1, messages)
{
    static const struct exchange_case rows[] = {
        CASE(GET(""), "GET / keep host=x\n"),
        CASE("\r\n" GET(""), "GET / keep host=x\n"),
        CASE("\r\n", ""),
        CASE(GET("X-One:  two words \t\r\nEmpty:\r\n"), "GET / keep host=x x-one=two words empty=\n"),
        CASE(GET("A:\r\nB: \t \r\nC: d\r\n"), "GET / keep host=x a= b= c=d\n"),
        CASE(GET("A: \xC3\xA9\r\n"), "GET / keep host=x a=\xC3\xA9\n"),
        CASE(POST("Content-Length: 5\r\n", "hello"), "POST / keep host=x content-length=5 body=hello\n"),
        CASE(POST("Content-Length: 0\r\n", ""), "POST / keep host=x content-length=0\n"),
        CASE(POST("Content-Length: 005\r\n", "hello"), "POST / keep host=x content-length=005 body=hello\n"),
        CASE(GET("") GET("A: b\r\n"), "GET / keep host=x\nGET / keep host=x a=b\n"),
        CASE(POST("Content-Length: 1\r\n", "a") "\r\n" POST("Content-Length: 1\r\n", "b"),
             "POST / keep host=x content-length=1 body=a\nPOST / keep host=x content-length=1 body=b\n"),
        CASE("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD / keep host=x\n"),
        CASE("DELETE / HTTP/1.1\r\nHost:\r\n\r\n", "DELETE / keep host=\n"),
        CASE("LOCK / HTTP/1.1\r\nHost: x\r\n\r\n", "? / keep host=x\n"),
        CASE(GET("Connection: upgrade\r\nUpgrade: h2c\r\n"),
             "GET / keep host=x connection=upgrade upgrade=h2c\n"),
        CASE("GET / HT", "more\n"),
        CASE(POST("Content-Length: 5\r\n", "hel"), "more body\n"),
    };
    EXPECT_ALL(rows);
}

Test(http1, keep_alive)
{
    static const struct exchange_case rows[] = {
        CASE(GET("Connection: close\r\n"), "GET / close host=x connection=close\n"),
        CASE(GET("Connection: x, Close\r\n"), "GET / close host=x connection=x, Close\n"),
        CASE(GET("Connection: closed\r\n"), "GET / keep host=x connection=closed\n"),
        CASE("GET / HTTP/1.0\r\n\r\n", "GET / close\n"),
        CASE("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET / keep connection=Keep-Alive\n"),
        CASE("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
             "GET / close connection=keep-alive, close\n"),
    };
    EXPECT_ALL(rows);
}

Test(http1, chunked)
{
    static const struct exchange_case rows[] = {
        CASE(CHUNKED("5\r\nhello\r\n0\r\n\r\n"), "POST / keep host=x transfer-encoding=chunked body=hello\n"),
        CASE(CHUNKED("0\r\n\r\n"), "POST / keep host=x transfer-encoding=chunked\n"),
        CASE(CHUNKED("1\r\na\r\n0A\r\n0123456789\r\n00\r\n\r\n") GET(""),
             "POST / keep host=x transfer-encoding=chunked body=a0123456789\nGET / keep host=x\n"),
        CASE(CHUNKED("1;name=\"va;l\"\r\na\r\n0;last\r\n\r\n"),
             "POST / keep host=x transfer-encoding=chunked body=a\n"),
        CASE(CHUNKED("1\r\na\r\n0\r\nDigest: x\r\nMore: y\r\n\r\n") GET(""),
             "POST / keep host=x transfer-encoding=chunked body=a\nGET / keep host=x\n"),
        CASE(CHUNKED("5\r\nhel"), "more body\n"),
        CASE(CHUNKED("1\r\na\r\n0\r\nDigest: x\r\n"), "more body\n"),
        CASE(CHUNKED("\r\n"), BAD("a chunk's size is not hexadecimal digits")),
        CASE(CHUNKED("-1\r\n"), BAD("a chunk's size is not hexadecimal digits")),
        CASE(CHUNKED("0x5\r\nhello\r\n"), BAD("a chunk's size is not hexadecimal digits")),
        CASE(CHUNKED("5 \r\nhello\r\n"), BAD("a chunk's size is not hexadecimal digits")),
        CASE(CHUNKED("5\nhello\r\n"), BAD("a chunk's size is not hexadecimal digits")),
        CASE(CHUNKED("00000000000000005\r\nhello\r\n"), BAD("a chunk's size is not hexadecimal digits")),
        CASE(CHUNKED("5\rhello"), BAD("a bare CR after a chunk's size")),
        CASE(CHUNKED("5;a\nb\r\nhello\r\n"), BAD("a control character in a chunk's extension")),
        CASE(CHUNKED("5\r\nhelloXX0\r\n\r\n"), BAD("a chunk's data is not followed by CRLF")),
        CASE(CHUNKED("5\r\nhello\n0\r\n\r\n"), BAD("a chunk's data is not followed by CRLF")),
        CASE(CHUNKED("5\r\nhello0\r\n\r\n"), BAD("a chunk's data is not followed by CRLF")),
        CASE(CHUNKED("0\r\nA: b\nC: d\r\n\r\n"), BAD("a bare LF in the header")),
        CASE(CHUNKED("0\r\n folded\r\n\r\n"), BAD("a line of the header starts with white space")),
        CASE(CHUNKED("41\r\n"), "error 413 the body is larger than 64 bytes\n"),
        CASE(CHUNKED("FFFFFFFFFFFFFFFF\r\n"), "error 413 the body is larger than 64 bytes\n"),
        CASE(CHUNKED("20\r\n01234567890123456789012345678901\r\n21\r\n"),
             "error 413 the body is larger than 64 bytes\n"),
    };
    EXPECT_ALL(rows);
}

Test(http1, targets)
{
    static const struct exchange_case rows[] = {
        CASE(TARGET("/a/b?c=d&e=%zz?"), "GET /a/b?c=d&e=%zz? keep host=x\n"),
        CASE(TARGET("/?"), "GET / keep host=x\n"),
        CASE(TARGET("/a%20b%2Fc%c3%A9"), "GET /a b/c\xC3\xA9 keep host=x\n"),
        CASE(TARGET("http://h:80/a%41?q"), "GET /aA?q keep host=x\n"),
        CASE(TARGET("HTTPS://h"), "GET / keep host=x\n"),
        CASE(TARGET("http://h?q"), "GET /?q keep host=x\n"),
        CASE(TARGET("//a"), "GET //a keep host=x\n"),
        CASE("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * keep host=x\n"),
        CASE(TARGET("/%"), BAD("bad percent-encoding in the path")),
        CASE(TARGET("/%4"), BAD("bad percent-encoding in the path")),
        CASE(TARGET("/%4g"), BAD("bad percent-encoding in the path")),
        CASE(TARGET("/a%00"), BAD("%00 in the path")),
        CASE(TARGET("/\xC3\xA9"), BAD("a byte in the target that has to be percent-encoded")),
        CASE(TARGET("/a#b"), BAD("a byte in the target that has to be percent-encoded")),
    };
    EXPECT_ALL(rows);
}

Test(http1, what_is_not_http_is_not_answered)
{
    static const struct exchange_case rows[] = {
        CASE("INVALID CONNECTION PREFACE\r\n\r\n", "alien\n"),
        CASE("EHLO example.org\r\n\r\n", "alien\n"),
        CASE("BREW / HTTP/1.1\r\n\r\n", "error 501 this method is not known\n"),
    };
    expect_all(rows, sizeof rows / sizeof rows[0]);
}

/* Which of two rules refuses is the library's business; that it is 400 is ours. */
Test(http1, refused_somehow)
{
    static const struct exchange_case rows[] = {
        CASE(TARGET("*"), "400"),
        CASE(TARGET("a"), "400"),
        CASE(TARGET("h:80"), "400"),
        CASE(TARGET("ftp://h/a"), "400"),
        CASE(TARGET("http:///a"), "400"),
        CASE(TARGET("http://u@h/a"), "400"),
        CASE(TARGET(""), "400"),
        CASE(TARGET("/a b"), "400"),
        CASE("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", "400"),
        CASE("\r\n\r\n", "400"),
        CASE("hello\r\n\r\n", "400"),
        CASE("GET /\r\n\r\n", "505"),
        CASE("GET / HTTX/1.1\r\nHost: x\r\n\r\n", "400"),
        CASE("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        CASE("GET /  HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        CASE("GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        CASE("get / HTTP/1.1\r\nHost: x\r\n\r\n", "501"),
        CASE("GET / http/1.1\r\nHost: x\r\n\r\n", "400"),
        CASE("GET / HTTP/01.1\r\nHost: x\r\n\r\n", "400"),
        CASE("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "400"),
        CASE("GET / HTTP/11\r\nHost: x\r\n\r\n", "400"),
        CASE("GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505"),
        CASE("GET / HTTP/1.2\r\nHost: x\r\n\r\n", "505"),
        CASE("BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "501"),
        CASE(POST("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), "400"),
        CASE(POST("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), "400"),
        CASE(POST("Content-Length: 5, 5\r\n", "hello"), "400"),
        CASE(POST("Content-Length: +5\r\n", "hello"), "400"),
        CASE(POST("Content-Length: -5\r\n", "hello"), "400"),
        CASE(POST("Content-Length: 5 5\r\n", "hello"), "400"),
        CASE(POST("Content-Length: 0x5\r\n", "hello"), "400"),
        CASE(POST("Content-Length:\r\n", "hello"), "400"),
        CASE(POST("Content-Length: 99999999999999999999999\r\n", "hello"), "400"),
        CASE(POST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400"),
        CASE(POST("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), "400"),
        CASE(POST("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), "400"),
        CASE(POST("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), "400"),
        CASE(POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400"),
        CASE(POST("Transfer-Encoding: identity\r\n", "0\r\n\r\n"), "400"),
        CASE(POST("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), "400"),
        CASE(POST("Transfer-Encoding: \x0b"
                  "chunked\r\n",
                  "0\r\n\r\n"),
             "400"),
        CASE("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        CASE(POST("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), "400"),
        CASE(GET("A : b\r\n"), "400"),
        CASE(GET("A b: c\r\n"), "400"),
        CASE(GET(": b\r\n"), "400"),
        CASE(GET("nocolon\r\n"), "400"),
        CASE(GET("A\x80: b\r\n"), "400"),
        CASE(GET("A\": b\r\n"), "400"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http1_cutter bytes = {.next = single_bytes};
        struct buf whole = {0}, cut = {0};
        char want[16];
        http1_outcome(&whole, &limits, rows[i].in, rows[i].length, NULL);
        http1_outcome(&cut, &limits, rows[i].in, rows[i].length, &bytes);
        snprintf(want, sizeof want, "error %s ", rows[i].out);
        cr_expect(strncmp(whole.bytes, want, strlen(want)) == 0, "%s: %s", rows[i].in, whole.bytes);
        cr_expect_str_eq(whole.bytes, cut.bytes, "%s", rows[i].in);
        buf_clear(&whole);
        buf_clear(&cut);
    }
}

Test(http1, refused_bytes)
{
    static const struct exchange_case rows[] = {
        CASE("GET / HTTP/1.1\nHost: x\n\n", BAD("a bare LF in the header")),
        CASE(GET("A: b\n"), BAD("a bare LF in the header")),
        CASE(GET("A: b\rc\r\n"), BAD("a bare CR in the header")),
        CASE(GET("A: b\r\r\n"), BAD("a bare CR in the header")),
        CASE(GET("A: b\0c\r\n"), BAD("a control character in the header")),
        CASE(GET("A: b\x7F\r\n"), BAD("a control character in the header")),
        CASE(GET("A: b\r\n c\r\n"), BAD("a line of the header starts with white space")),
        CASE(GET("A: b\r\n\tc\r\n"), BAD("a line of the header starts with white space")),
        CASE(" GET / HTTP/1.1\r\nHost: x\r\n\r\n", BAD("a line of the header starts with white space")),
        CASE("\rGET / HTTP/1.1\r\nHost: x\r\n\r\n", BAD("a bare CR")),
        CASE("\x16\x03\x01\x02", BAD("a control character in the header")), /* TLS */
        CASE("GET / HTTP/1.1\r\n\r\n", BAD("no Host")),
        CASE(GET("Host: y\r\n"), BAD("two of a field that there may be one of")),
        CASE("GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", BAD("two of a field that there may be one of")),
        CASE("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BAD("a Host that is none")),
        CASE("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", BAD("a Host that is none")),
    };
    EXPECT_ALL(rows);
}

Test(http1, expectations)
{
    static const struct exchange_case rows[] = {
        CASE(POST("Expect: 100-Continue\r\nContent-Length: 1\r\n", "a"),
             "POST / keep host=x expect=100-Continue content-length=1 (expects 100) body=a\n"),
        CASE(POST("Expect: 100-continue\r\nContent-Length: 0\r\n", ""),
             "POST / keep host=x expect=100-continue content-length=0\n"),
        CASE(POST("Expect: 100-continue\r\nContent-Length: 65\r\n", ""),
             "error 413 the body is larger than 64 bytes\n"),
        CASE(POST("Expect: 200-ok\r\nContent-Length: 1\r\n", "a"),
             "error 417 only 100-continue can be expected\n"),
        CASE("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
             "POST / close expect=100-continue content-length=1 body=a\n"),
    };
    EXPECT_ALL(rows);
}

static void repeat(struct buf *out, const char *text, unsigned times)
{
    while (times--)
        buf_text(out, text);
}

static void expect_built(struct buf *in, const char *out)
{
    struct exchange_case row = {in->bytes, in->length, out};
    cr_assert_not(in->failed);
    expect_all(&row, 1);
    buf_clear(in);
}

Test(http1, limits_are_exact)
{
    struct buf in = {0};
    buf_text(&in, "GET / HTTP/1.0\r\nA: "); /* 19 bytes, then 4 that end the header */
    repeat(&in, "b", 256 - 23);
    buf_text(&in, "\r\n\r\n");
    struct buf out = {0};
    http1_outcome(&out, &limits, in.bytes, in.length, NULL);
    cr_expect(strncmp(out.bytes, "GET / close a=bbb", 17) == 0, "%s", out.bytes);
    buf_clear(&out);
    in.length -= 4;
    buf_text(&in, "b\r\n\r\n");
    expect_built(&in, "error 431 the header is larger than 256 bytes\n");

    buf_text(&in, "GET /");
    repeat(&in, "a", 300);
    expect_built(&in, "error 414 the request line is longer than 256 bytes\n");

    buf_text(&in, CHUNKED("1;"));
    repeat(&in, "e", 257);
    expect_built(&in, "error 431 chunk extensions and trailers are larger than 256 bytes\n");

    buf_text(&in, CHUNKED("0;"));
    repeat(&in, "e", 200);
    buf_text(&in, "\r\nT: ");
    repeat(&in, "t", 100);
    expect_built(&in, "error 431 chunk extensions and trailers are larger than 256 bytes\n");
}

Test(http1, fields_are_counted)
{
    const struct http1_limits wide = {.header_bytes = 16384, .body_bytes = 0};
    for (unsigned fields = 99; fields <= 101; fields++) {
        struct buf in = {0}, out = {0};
        buf_text(&in, "GET / HTTP/1.0\r\n");
        repeat(&in, "a: b\r\n", fields);
        buf_text(&in, "\r\n");
        http1_outcome(&out, &wide, in.bytes, in.length, NULL);
        cr_expect_eq(strncmp(out.bytes, "error 431 ", 10) == 0, fields > 100, "%u: %s", fields, out.bytes);
        buf_clear(&in);
        buf_clear(&out);
    }
}

/* What an attacker announces is not allocated; what arrives grows by no more than a factor. */
Test(http1, room_follows_arrival)
{
    const struct http1_limits wide = {.header_bytes = 1024, .body_bytes = 64 << 20};
    static const char head[] = POST("Content-Length: 33554432\r\n", "");
    static char block[1 << 16];
    struct http1_parser *parser = http1_new(&wide);
    struct http_message message;
    struct arena arena = {0};
    struct gw_err err;
    size_t consumed, sent = 0;
    http1_begin(parser, &message, &arena);
    cr_assert_eq(http1_feed(parser, head, sizeof head - 1, &consumed, &err), HTTP1_HEADERS);
    cr_expect_lt(arena.bytes, 128u << 10);
    enum http1_event event = HTTP1_MORE;
    while (event == HTTP1_MORE) {
        memset(block, (int)('a' + sent / sizeof block % 26), sizeof block);
        event = http1_feed(parser, block, sizeof block, &consumed, &err);
        sent += consumed;
        cr_expect_lt(arena.bytes, 6 * sent + (256 << 10));
    }
    cr_assert_eq(event, HTTP1_MESSAGE);
    cr_expect_eq(message.body_length, 33554432u);
    cr_expect_eq(sent, 33554432u);
    for (size_t i = 0; i < sent; i += 4099)
        cr_assert_eq(message.body[i], (char)('a' + i / sizeof block % 26));
    arena_clear(&arena);
    http1_free(parser);
}

Test(http1, no_memory_is_an_answer)
{
    const struct http1_limits wide = {.header_bytes = 1024, .body_bytes = 1 << 20};
    static const char in[] = POST("Content-Length: 300000\r\n", "");
    for (size_t limit = 1; limit < 200000; limit = limit * 3 / 2 + 1) {
        struct http1_parser *parser = http1_new(&wide);
        struct http_message message;
        struct arena arena = {.limit = limit};
        struct gw_err err;
        size_t consumed;
        char block[4096] = {0};
        http1_begin(parser, &message, &arena);
        enum http1_event event = http1_feed(parser, in, sizeof in - 1, &consumed, &err);
        while (event == HTTP1_HEADERS || event == HTTP1_MORE)
            event = http1_feed(parser, block, sizeof block, &consumed, &err);
        cr_expect_eq(event, HTTP1_ERROR);
        cr_expect_eq(err.status, GW_E_NO_MEMORY);
        cr_expect_leq(arena.bytes, limit);
        arena_clear(&arena);
        http1_free(parser);
    }
}

Test(http1, reply_head)
{
    struct buf out = {0};
    struct http_reply reply = {
        .status = 429, .content_type = "application/json", .headers = "Retry-After: 1\r\n"};
    http1_write_head(&out, &reply, 12, false, "Thu, 01 Jan 1970 00:00:00 GMT");
    buf_append(&out, "", 1);
    cr_expect_str_eq(out.bytes, "HTTP/1.1 429 Too Many Requests\r\nServer: xebec\r\n"
                                "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: application/json\r\n"
                                "Content-Length: 12\r\nConnection: close\r\nRetry-After: 1\r\n\r\n");
    out.length = 0;
    http1_write_head(&out, &(struct http_reply){.status = 200}, 0, true, "now");
    buf_append(&out, "", 1);
    cr_expect_str_eq(out.bytes, "HTTP/1.1 200 OK\r\nServer: xebec\r\nDate: now\r\nContent-Length: 0\r\n"
                                "Connection: keep-alive\r\n\r\n");
    buf_clear(&out);
}

Test(http, media_types)
{
    struct http_header type = {.name = "content-type", .name_length = 12};
    struct http_message message = {.headers = &type, .n_headers = 1};
    type.value = "Application/JSON; charset=utf-8";
    cr_expect(http_message_is(&message, "application/json", false));
    type.value = "application/jsonx";
    cr_expect_not(http_message_is(&message, "application/json", false));
    type.value = "application/jso";
    cr_expect_not(http_message_is(&message, "application/json", true));
    message.n_headers = 0;
    cr_expect(http_message_is(&message, "application/json", true));
    cr_expect_not(http_message_is(&message, "application/json", false));
}

/* A body that is received where it stays is the body, whole, and ends where it was announced to end. */
Test(http1, a_body_may_be_received_in_place)
{
    enum { LENGTH = 300000 };
    static const char head[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n";
    const struct http1_limits wide = {.header_bytes = 256, .body_bytes = LENGTH};
    struct http1_parser *parser = http1_new(&wide);
    struct http_message message;
    struct arena arena = {0};
    struct gw_err err;
    size_t used, room = 0, fed = 0;
    enum http1_event event = HTTP1_MORE;
    http1_begin(parser, &message, &arena);
    cr_assert_null(http1_body_room(parser, &room), "there is no body yet");
    cr_assert_eq(http1_feed(parser, head, sizeof head - 1, &used, &err), HTTP1_HEADERS);
    while (event == HTTP1_MORE) {
        char *into = http1_body_room(parser, &room);
        cr_assert(into && room > 0 && fed + room <= LENGTH);
        for (size_t i = 0; i < room; i++)
            into[i] = (char)('a' + (fed + i) % 23);
        event = http1_feed(parser, into, room, &used, &err);
        cr_assert_eq(used, room);
        fed += used;
    }
    cr_assert_eq(event, HTTP1_MESSAGE);
    cr_assert_eq(fed, LENGTH);
    cr_assert_eq(message.body_length, LENGTH);
    for (size_t i = 0; i < LENGTH; i++)
        cr_assert_eq(message.body[i], (char)('a' + i % 23));
    cr_assert_null(http1_body_room(parser, &room), "the body is over");
    arena_clear(&arena);
    http1_free(parser);
}
