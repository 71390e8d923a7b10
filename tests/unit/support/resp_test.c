/* resp: commands as bytes; replies from bytes in whatever pieces they come, whatever they claim. */
#include "support/resp.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { REPLY_BYTES_MAX = 4096 };
static struct resp_reader reader;
static char why[RESP_WHY_ROOM];

static void setup(void)
{
    cr_assert(resp_open(&reader, REPLY_BYTES_MAX));
}

static void teardown(void)
{
    resp_clear(&reader);
}

TestSuite(resp, .init = setup, .fini = teardown, .timeout = 30);

static void feed(const char *text)
{
    cr_assert(resp_feed(&reader, text, strlen(text)));
}

static const struct redis_reply *expect_reply(enum redis_kind kind)
{
    const struct redis_reply *reply = NULL;
    cr_assert_eq(resp_next(&reader, &reply, why), RESP_REPLY);
    cr_assert_eq(reply->kind, kind);
    return reply;
}

static void expect_more(void)
{
    const struct redis_reply *reply;
    cr_assert_eq(resp_next(&reader, &reply, why), RESP_MORE);
}

static void expect_broken(const char *words)
{
    const struct redis_reply *reply;
    cr_assert_eq(resp_next(&reader, &reply, why), RESP_BROKEN);
    cr_assert(strstr(why, words), "%s", why);
    cr_assert_eq(resp_next(&reader, &reply, why), RESP_BROKEN, "and stays so");
}

Test(resp, a_command_is_its_words_with_their_lengths)
{
    struct buf out = {0};
    const struct redis_word words[] = {{"SET", 3}, {"a\r\n", 3}, {"", 0}};
    static const char expected[] = "*3\r\n$3\r\nSET\r\n$3\r\na\r\n\r\n$0\r\n\r\n";
    cr_assert(resp_put(&out, words, 3));
    cr_assert_eq(out.length, sizeof expected - 1);
    cr_assert_arr_eq(out.bytes, expected, sizeof expected - 1);
    buf_clear(&out);
}

Test(resp, a_reply_may_come_byte_by_byte)
{
    static const char text[] = "*3\r\n$5\r\na\r\nbc\r\n*2\r\n:-7\r\n$-1\r\n-ERR no\r\n";
    for (size_t i = 0; i + 1 < sizeof text - 1; i++) {
        cr_assert(resp_feed(&reader, text + i, 1));
        expect_more();
    }
    cr_assert(resp_feed(&reader, "\n", 1));
    const struct redis_reply *reply = expect_reply(REDIS_ARRAY);
    cr_assert_eq(reply->n_elements, 3);
    cr_assert_eq(reply->elements[0]->kind, REDIS_TEXT);
    cr_assert_eq(reply->elements[0]->length, 5);
    cr_assert_str_eq(reply->elements[0]->bytes, "a\r\nbc");
    cr_assert_eq(reply->elements[1]->elements[0]->integer, -7);
    cr_assert_eq(reply->elements[1]->elements[1]->kind, REDIS_NIL);
    cr_assert_eq(reply->elements[2]->kind, REDIS_ERROR);
    cr_assert_str_eq(reply->elements[2]->bytes, "ERR no");
}

Test(resp, replies_that_come_together_are_handed_out_one_by_one)
{
    feed("+OK\r\n:1\r\n$1\r\nx");
    cr_assert_str_eq(expect_reply(REDIS_LINE)->bytes, "OK");
    cr_assert_eq(expect_reply(REDIS_INTEGER)->integer, 1);
    expect_more();
    feed("\r\n");
    cr_assert_str_eq(expect_reply(REDIS_TEXT)->bytes, "x");
}

/* The bound is of one reply: many of them in a row are none of its business. */
Test(resp, the_room_of_a_reply_is_free_for_the_next)
{
    char text[REPLY_BYTES_MAX];
    snprintf(text, sizeof text, "$2000\r\n%02000d\r\n", 7);
    for (int i = 0; i < 50; i++) {
        feed(text);
        cr_assert_eq(expect_reply(REDIS_TEXT)->length, 2000);
    }
}

Test(resp, a_reply_with_too_many_parts_is_broken)
{
    feed("*1000000\r\n");
    expect_broken("larger than 4096 bytes");
}

Test(resp, a_text_that_only_claims_to_be_large_is_broken_before_it_is_there)
{
    char text[REPLY_BYTES_MAX + 64];
    memset(text, 'x', sizeof text);
    feed("$1000000\r\n");
    expect_more();
    cr_assert(resp_feed(&reader, text, sizeof text));
    expect_broken("larger than 4096 bytes");
}

Test(resp, what_is_no_resp_is_broken)
{
    feed("HTTP/1.1 400 Bad Request\r\n\r\n");
    expect_broken("protocol");
}

Test(resp, a_reply_outlives_the_reader_until_it_is_opened_again)
{
    feed("$6\r\nstayed\r\n$3\r\nhal");
    const struct redis_reply *reply = expect_reply(REDIS_TEXT);
    resp_close(&reader);
    cr_assert_not(resp_is_open(&reader));
    cr_assert_str_eq(reply->bytes, "stayed");
    cr_assert(resp_open(&reader, REPLY_BYTES_MAX));
    expect_more();
    feed("+OK\r\n");
    cr_assert_str_eq(expect_reply(REDIS_LINE)->bytes, "OK");
}
