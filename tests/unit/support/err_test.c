#include "support/err.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

Test(err, every_status_has_codes_a_cause_of_its_own_and_words)
{
    for (enum gw_status status = GW_OK; status < GW_STATUS_COUNT; status++) {
        int http = gw_status_http(status);
        cr_assert(http >= 200 && http <= 599, "%d has no HTTP code", status);
        cr_assert(gw_status_grpc(status) >= 0 && gw_status_grpc(status) <= 16);
        cr_assert_eq(gw_status_grpc(status) == 0, http < 300, "gRPC's OK is HTTP's");
        cr_assert_not_null(gw_status_words(status));
        cr_assert_eq(strspn(gw_status_cause(status), "abcdefghijklmnopqrstuvwxyz_"),
                     strlen(gw_status_cause(status)));
        for (enum gw_status other = GW_OK; other < status; other++)
            cr_assert_str_neq(gw_status_cause(status), gw_status_cause(other));
    }
    cr_assert_eq(gw_status_http(GW_E_OVERLOAD), 429);
    cr_assert_eq(gw_status_http(GW_E_DEADLINE), 504);
    cr_assert_str_eq(gw_status_cause(GW_E_DEADLINE), "slo_missed");
}

Test(err, sets_words_and_returns_the_status)
{
    struct gw_err err = {0};
    cr_assert_eq(gw_err_set(&err, GW_E_INVALID, "input[%d]: expected %s", 3, "numbers"), GW_E_INVALID);
    cr_assert_eq(err.status, GW_E_INVALID);
    cr_assert_str_eq(err.what, "input[3]: expected numbers");
    cr_assert_eq(gw_err_set(NULL, GW_E_MODEL, "nobody listens"), GW_E_MODEL);
}

static bool ends_inside_a_character(const char *text)
{
    size_t end = strlen(text), lead = end;
    while (lead > 0 && end - lead < 3 && ((unsigned char)text[lead - 1] & 0xC0) == 0x80)
        lead--;
    if (lead == 0)
        return false;
    unsigned char c = (unsigned char)text[lead - 1];
    size_t length = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    return lead - 1 + length != end;
}

Test(err, cuts_long_words_between_characters)
{
    struct gw_err err;
    char text[512];
    static const char *const characters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x8C\xB2"};
    for (int kind = 0; kind < 4; kind++)
        for (size_t shift = 0; shift < 4; shift++) {
            memset(text, 'x', shift);
            size_t length = shift;
            while (length + 4 < sizeof text) {
                strcpy(text + length, characters[kind]);
                length += strlen(characters[kind]);
            }
            gw_err_set(&err, GW_E_MODEL, "%s", text);
            cr_assert(strlen(err.what) < sizeof err.what && strlen(err.what) >= sizeof err.what - 4);
            cr_assert_eq(strncmp(err.what, text, strlen(err.what)), 0);
            cr_assert_not(ends_inside_a_character(err.what), "%zu-byte characters after %zu bytes",
                          strlen(characters[kind]), shift);
        }
}
