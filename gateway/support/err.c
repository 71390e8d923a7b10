#include "support/err.h"

#include <stdio.h>

struct status_row {
    int http, grpc;
    const char *cause, *words;
};

static const struct status_row status_table[GW_STATUS_COUNT] = {
#define X(name, http, grpc, cause, words) [name] = {http, grpc, cause, words},
    GW_STATUS_TABLE(X)
#undef X
};

int gw_status_http(enum gw_status status)
{
    return status_table[status].http;
}
int gw_status_grpc(enum gw_status status)
{
    return status_table[status].grpc;
}
const char *gw_status_cause(enum gw_status status)
{
    return status_table[status].cause;
}
const char *gw_status_words(enum gw_status status)
{
    return status_table[status].words;
}

/* How much of text[0..length), which was cut off anywhere, is whole UTF-8 characters. */
static size_t whole_characters(const char *text, size_t length)
{
    size_t lead = length;
    while (lead > 0 && length - lead < 3 && ((unsigned char)text[lead - 1] & 0xC0) == 0x80)
        lead--;
    if (lead == 0)
        return length;
    unsigned char first = (unsigned char)text[--lead];
    size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
    return lead + bytes > length ? lead : length;
}

enum gw_status gw_err_set(struct gw_err *err, enum gw_status status, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        int length = vsnprintf(err->what, sizeof err->what, format, args);
        va_end(args);
        if (length >= (int)sizeof err->what)
            err->what[whole_characters(err->what, sizeof err->what - 1)] = '\0';
        err->status = status;
    }
    return status;
}

enum gw_status gw_err_no_memory(struct gw_err *err)
{
    return gw_err_set(err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
}
