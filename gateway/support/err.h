/*
 * err: every way a thing can end, and what each is called in HTTP, in gRPC and in words.
 * No other file names an HTTP or gRPC code for an outcome.
 */
#ifndef XEBEC_SUPPORT_ERR_H
#define XEBEC_SUPPORT_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define GW_MUST_CHECK __attribute__((warn_unused_result))
#define GW_PRINTF(at, args) __attribute__((format(printf, at, args)))

/*      name              HTTP gRPC cause                  default words */
#define GW_STATUS_TABLE(X)                                                                         \
    X(GW_OK,               200, 0,  "ok",                  "ok")                                   \
    X(GW_PARTIAL,          207, 0,  "partial",             "some rows failed")                     \
    X(GW_E_INVALID,        400, 3,  "invalid_input",       "the input is not valid")               \
    X(GW_E_UNAUTHENTICATED, 401, 16, "unauthenticated",    "this needs the admin token")           \
    X(GW_E_NOT_FOUND,      404, 5,  "not_found",           "nothing has this name")                \
    X(GW_E_METHOD,         405, 12, "method_not_allowed",  "this path does not take this method")  \
    X(GW_E_SLOW_CLIENT,    408, 4,  "request_timeout",     "the request did not arrive in time")   \
    X(GW_E_TOO_LARGE,      413, 8,  "too_large",           "the request is larger than the limit") \
    X(GW_E_URI_TOO_LONG,   414, 3,  "uri_too_long",        "the path is longer than the limit")    \
    X(GW_E_MEDIA_TYPE,     415, 3,  "unsupported_media_type", "this content type is not understood") \
    X(GW_E_EXPECTATION,    417, 3,  "expectation_failed",  "only 100-continue can be expected")    \
    X(GW_E_OVERLOAD,       429, 8,  "overloaded",          "this model has too much to do")         \
    X(GW_E_HEADER_LARGE,   431, 8,  "header_too_large",    "the header is larger than the limit")  \
    X(GW_E_CANCELLED,      499, 1,  "cancelled",           "the client went away")                 \
    X(GW_E_MODEL,          500, 2,  "model_error",         "the model raised an error")            \
    X(GW_E_INTERNAL,       500, 13, "internal",            "the gateway failed")                   \
    X(GW_E_NOT_IMPLEMENTED, 501, 12, "not_implemented",    "this is not implemented")              \
    X(GW_E_CONTRACT,       502, 13, "replica_contract",    "the replica broke its contract")       \
    X(GW_E_NO_REPLICA,     503, 14, "no_replica",          "no replica of this model is ready")    \
    X(GW_E_NO_MEMORY,      503, 8,  "out_of_memory",       "the gateway is out of memory")         \
    X(GW_E_DRAINING,       503, 14, "draining",            "the gateway is shutting down")         \
    X(GW_E_DEADLINE,       504, 4,  "slo_missed",          "the latency objective was missed")     \
    X(GW_E_HTTP_VERSION,   505, 3,  "http_version",        "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken")

enum gw_status {
#define X(name, http, grpc, cause, words) name,
    GW_STATUS_TABLE(X)
#undef X
    GW_STATUS_COUNT
};

int gw_status_http(enum gw_status status);
int gw_status_grpc(enum gw_status status);
const char *gw_status_cause(enum gw_status status); /* stable, for programs: "slo_missed" */
const char *gw_status_words(enum gw_status status); /* for people */

/* What went wrong, for a person. Filled only by config, codecs, endpoints and the judge of replies. */
struct gw_err {
    enum gw_status status;
    char what[256]; /* always terminated; cut, never overflowed; valid UTF-8 if its arguments are */
};

/* Sets status and words; returns status, so that `return gw_err_set(...)` reads well. err may be NULL. */
enum gw_status gw_err_set(struct gw_err *err, enum gw_status status, const char *format, ...)
    GW_PRINTF(3, 4);
/* GW_E_NO_MEMORY, with its words. */
enum gw_status gw_err_no_memory(struct gw_err *err);

#endif
