/* Protobuf's wire format: what is written is read again, what is hostile is refused. */
#include <criterion/criterion.h>
#include <string.h>

#include "support/wire.h"

static struct wire_field only_field(const void *bytes, size_t length)
{
    struct wire wire = wire_of(bytes, length);
    struct wire_field field, more;
    cr_assert(wire_next(&wire, &field));
    cr_assert(!wire_next(&wire, &more) && !wire.malformed);
    return field;
}

Test(write, numbers_of_every_length)
{
    static const uint64_t numbers[] = {0, 1, 127, 128, 300, UINT32_MAX, INT64_MAX, UINT64_MAX, (uint64_t)-1};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct buf out = {0};
        wire_put_number(&out, 536870911, numbers[i]);
        struct wire_field field = only_field(out.bytes, out.length);
        cr_expect_eq(field.number, 536870911);
        cr_expect_eq(field.value, numbers[i]);
        buf_clear(&out);
    }
}

Test(write, messages_within_messages_of_any_length)
{
    static const size_t lengths[] = {0, 1, 125, 126, 127, 128, 16382, 16383, 16384, 3000000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char *text = calloc(1, lengths[i] + 1);
        struct buf out = {0};
        memset(text, 'x', lengths[i]);
        size_t outer = wire_open(&out, 5), inner = wire_open(&out, 1);
        wire_put_text(&out, 2, text);
        wire_close(&out, inner);
        wire_close(&out, outer);
        struct wire_field field = only_field(out.bytes, out.length);
        cr_expect_eq(field.number, 5);
        field = only_field(field.bytes, field.length);
        field = only_field(field.bytes, field.length);
        cr_expect_eq(field.number, 2);
        cr_expect_eq(field.length, lengths[i]);
        cr_expect_arr_eq(field.bytes, text, lengths[i]);
        buf_clear(&out);
        free(text);
    }
}

Test(read, every_type_and_groups_passed_over)
{
    static const char bytes[] = "\x4b\x48\x01\x53\x54\x4c" /* group 9, with group 10 in it */
                                "\x0d\x01\x02\x03\x04"     /* 1: fixed32 */
                                "\x11\x01\x02\x03\x04\x05\x06\x07\x08"
                                "\x1a\x02hi";
    struct wire wire = wire_of(bytes, sizeof bytes - 1);
    struct wire_field field;
    cr_assert(wire_next(&wire, &field));
    cr_expect(field.number == 1 && field.type == WIRE_FIXED32 && field.value == 0x04030201);
    cr_assert(wire_next(&wire, &field));
    cr_expect(field.number == 2 && field.type == WIRE_FIXED64 && field.value == 0x0807060504030201);
    cr_assert(wire_next(&wire, &field));
    cr_expect(field.number == 3 && field.length == 2 && !memcmp(field.bytes, "hi", 2));
    cr_expect(!wire_next(&wire, &field) && !wire.malformed);
}

Test(read, what_is_no_message)
{
    static const struct {
        const char *bytes;
        size_t length;
    } bad[] = {
        {"\x08", 1},                                              /* no value */
        {"\x08\x80", 2},                                          /* a number that does not end */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12}, /* one that is too long */
        {"\x0a\x05hi", 4},                                        /* longer than there is */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},     /* longer than there can be */
        {"\x0d\x01\x02\x03", 4},                                  /* fixed32, cut off */
        {"\x09\x01", 2},                                          /* fixed64 */
        {"\x00\x01", 2},                                          /* field 0 */
        {"\x0e\x01", 2},                                          /* type 6 */
        {"\x4b", 1},                                              /* a group without its end */
        {"\x4b\x54", 2},                                          /* another group's end */
        {"\x4c", 1},                                              /* an end without a group */
        {"\x4b\x4b\x4b\x4b\x4b\x4b\x4b\x4b\x4b\x4b\x4b\x4b\x4b\x4b\x4b\x4b\x4b", 17}, /* 17 deep */
        {"\x80\x80\x80\x80\x80\x01\x01", 7}, /* a field beyond the last */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t *exact = malloc(bad[i].length); /* so that AddressSanitizer sees the first byte beyond */
        memcpy(exact, bad[i].bytes, bad[i].length);
        struct wire wire = wire_of(exact, bad[i].length);
        struct wire_field field;
        cr_expect(!wire_next(&wire, &field) && wire.malformed, "case %zu", i);
        cr_expect(!wire_next(&wire, &field), "nor after it");
        free(exact);
    }
}
