#include "support/buf.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void cr_buf(struct buf *buf, const char *expected)
{
    cr_assert_not(buf->failed);
    cr_assert_eq(buf->length, strlen(expected), "'%.*s' is not '%s'", (int)buf->length, buf->bytes, expected);
    cr_assert_eq(memcmp(buf->bytes, expected, buf->length), 0, "'%.*s' is not '%s'", (int)buf->length,
                 buf->bytes, expected);
}

Test(buf, appends_in_order)
{
    struct buf buf = {0};
    buf_append(&buf, NULL, 0);
    cr_assert_not_null(buf_reserve(&buf, 0), "NULL is for a lack of memory");
    buf_text(&buf, "a");
    buf_printf(&buf, "%d%s", 12, "b");
    buf_append(&buf, "\0c", 2);
    cr_assert_eq(buf.length, 6);
    cr_assert_arr_eq(buf.bytes, "a12b\0c", 6);
    buf_clear(&buf);
    cr_assert_null(buf.bytes);
    buf_text(&buf, "again");
    cr_buf(&buf, "again");
    buf_clear(&buf);
}

Test(buf, grows_without_loss)
{
    struct buf buf = {0};
    for (int i = 0; i < 100000; i++)
        buf_printf(&buf, "%06d", i);
    cr_assert_eq(buf.length, 600000);
    for (int i = 0; i < 100000; i++)
        cr_assert_eq(strtol((char[7]){buf.bytes[6 * i], buf.bytes[6 * i + 1], buf.bytes[6 * i + 2],
                                      buf.bytes[6 * i + 3], buf.bytes[6 * i + 4], buf.bytes[6 * i + 5]},
                            NULL, 10),
                     i);
    buf_clear(&buf);
}

Test(buf, stays_failed_and_keeps_quiet)
{
    struct buf buf = {0};
    buf_text(&buf, "before");
    cr_assert_null(buf_reserve(&buf, SIZE_MAX - 100));
    cr_assert(buf.failed);
    buf_text(&buf, "after");
    buf_printf(&buf, "%d", 1);
    buf_json_text(&buf, "x", 1);
    cr_assert_null(buf_reserve(&buf, 1));
    cr_assert_eq(buf.length, 6);
    buf_clear(&buf);
    cr_assert_not(buf.failed);
}

static void cr_json(const char *text, size_t length, const char *expected)
{
    struct buf buf = {0};
    buf_json_text(&buf, text, length);
    cr_buf(&buf, expected);
    buf_clear(&buf);
}

#define REPLACED "\xEF\xBF\xBD"

Test(buf, writes_json_strings)
{
    cr_json("plain", 5, "\"plain\"");
    cr_json("", 0, "\"\"");
    cr_json(NULL, 0, "\"\"");
    cr_json("a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"");
    cr_json("\n\r\t\b\0\x1F", 6, "\"\\n\\r\\t\\u0008\\u0000\\u001f\"");
    cr_json("\xC2\x80\xC2\x9B\xC2\xA0", 6, "\"\\u0080\\u009b\xC2\xA0\"");
    cr_json("\xE2\x80\xA7\xE2\x80\xA8\xE2\x80\xA9", 9, "\"\xE2\x80\xA7\\u2028\\u2029\"");
    cr_json("\xEF\xBF\xBD\xEF\xBF\xBE\xEF\xBF\xBF", 9, "\"\xEF\xBF\xBD\\ufffe\\uffff\"");
    cr_json("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x8C\xB2", 9, "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x8C\xB2\"");
}

Test(buf, replaces_what_is_not_utf8)
{
    cr_json("\x80", 1, "\"" REPLACED "\"");                                        /* a lone continuation */
    cr_json("\xC0\xAF", 2, "\"" REPLACED REPLACED "\"");                           /* overlong */
    cr_json("\xE0\x80\x80", 3, "\"" REPLACED REPLACED REPLACED "\"");              /* overlong */
    cr_json("\xED\xA0\x80", 3, "\"" REPLACED REPLACED REPLACED "\"");              /* a surrogate */
    cr_json("\xF4\x90\x80\x80", 4, "\"" REPLACED REPLACED REPLACED REPLACED "\""); /* beyond U+10FFFF */
    cr_json("\xFF\xFE", 2, "\"" REPLACED REPLACED "\"");
    cr_json("a\xE2\x82", 3, "\"a" REPLACED REPLACED "\""); /* cut off */
    cr_json("\xC3x", 2, "\"" REPLACED "x\"");
    cr_json("\xF0\x9F\x8C\"", 4, "\"" REPLACED REPLACED REPLACED "\\\"\"");
}

/* The strictest reader of what is between the quotes: no control characters, only known escapes, whole UTF-8.
 */
static bool reads_back(const unsigned char *at, const unsigned char *end)
{
    if (end - at < 2 || *at++ != '"' || *--end != '"')
        return false;
    while (at < end) {
        unsigned char c = *at++;
        if (c < 0x20 || c == '"')
            return false;
        if (c == '\\') {
            if (at == end || !strchr("\"\\nrtu", *at))
                return false;
            if (*at++ == 'u') {
                for (int i = 0; i < 4; i++)
                    if (at == end || !strchr("0123456789abcdef", *at++))
                        return false;
            }
        } else if (c >= 0x80) {
            int more = c >= 0xC2 && c < 0xE0 ? 1 : c >= 0xE0 && c < 0xF0 ? 2 : c >= 0xF0 && c < 0xF5 ? 3 : 0;
            if (!more || end - at < more)
                return false;
            uint32_t code = c & (0x3F >> more);
            for (; more; more--, at++) {
                if ((*at & 0xC0) != 0x80)
                    return false;
                code = code << 6 | (*at & 0x3F);
            }
            if ((code >= 0xD800 && code < 0xE000) || code > 0x10FFFF)
                return false;
        }
    }
    return true;
}

Test(buf, writes_valid_json_of_any_bytes)
{
    uint64_t random = 1;
    for (int round = 0; round < 200000; round++) {
        char text[12];
        size_t length = (size_t)round % (sizeof text + 1);
        for (size_t i = 0; i < length; i++) {
            random = random * 6364136223846793005 + 1442695040888963407;
            /* mostly bytes near the edges of UTF-8 */
            static const unsigned char edges[] = {0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1,
                                                  0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF3,
                                                  0xF4, 0xF5, '"',  '\\', '\n', 'a'};
            text[i] = (char)(random >> 60 ? edges[(random >> 33) % sizeof edges] : random >> 40);
        }
        struct buf buf = {0};
        buf_json_text(&buf, text, length);
        cr_assert(reads_back((unsigned char *)buf.bytes, (unsigned char *)buf.bytes + buf.length),
                  "round %d: %.*s", round, (int)buf.length, buf.bytes);
        buf_clear(&buf);
    }
}

Test(buf, writes_numbers)
{
    static const int64_t numbers[] = {0, 7, 10, -1, 65536, -65536, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct buf written = {0}, printed = {0};
        buf_number(&written, numbers[i]);
        buf_printf(&printed, "%lld", (long long)numbers[i]);
        cr_assert_eq(written.length, printed.length);
        cr_assert_arr_eq(written.bytes, printed.bytes, printed.length);
        buf_clear(&written);
        buf_clear(&printed);
    }
}
