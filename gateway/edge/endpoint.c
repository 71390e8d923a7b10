/* endpoint: which dialect a path speaks. Every dialect is a row here, and a file of its own. */
#include "edge/endpoint.h"

#include <string.h>
#include <strings.h>

#include "edge/clipper.h"
#include "edge/mlflow.h"
#include "edge/oip.h"
#include "edge/openapi.h"
#include "edge/predict.h"
#include "edge/tfs.h"

static const struct speech {
    const char *prefix; /* of whole segments of the path */
    const struct dialect *dialect;
    void (*handle)(struct infer *infer, struct exchange *exchange);
} speeches[] = {
    {"/v2", &oip_dialect, oip_handle},
    {"/v1", &tfs_dialect, tfs_handle},
    {"/invocations", &mlflow_dialect, mlflow_handle},
    {"/ping", &mlflow_dialect, mlflow_handle},
    {"/health", &mlflow_dialect, mlflow_handle},
    {"/version", &mlflow_dialect, mlflow_handle},
    {"/openapi.json", &clipper_dialect, openapi_handle},
    /* any other */
    {"", &clipper_dialect, clipper_handle},
};

static bool has_prefix(const char *path, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncasecmp(path, prefix, length) == 0 && (path[length] == '/' || !path[length] || !length);
}

/* Clipper's paths begin with any name, also with one that begins another dialect's: they are told by their
 * end. */
static const struct speech *speech_of(const char *path)
{
    const struct speech *speech = speeches, *last = &speeches[sizeof speeches / sizeof *speeches - 1];
    if (!path || clipper_owns(path))
        return last;
    while (speech != last && !has_prefix(path, speech->prefix))
        speech++;
    return speech;
}

void endpoint_handle(void *infer, struct exchange *exchange)
{
    speech_of(exchange->message.path)->handle(infer, exchange);
}

void endpoint_refuse(void *owner, const char *path, const struct gw_err *err, struct http_reply *reply)
{
    (void)owner;
    reply->status = gw_status_http(err->status);
    reply->content_type = "application/json";
    reply->headers = reply_retry_header(err->status);
    speech_of(path)->dialect->write_error(&reply->body, err->status, err->what);
}
