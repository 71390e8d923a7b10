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

enum gw_status gw_err_set(struct gw_err *err, enum gw_status status, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->what, sizeof err->what, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}
