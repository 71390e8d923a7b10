/* endpoint: which dialect a path speaks, or a content type. Every dialect is a row here, and a file of its
 * own. */
#include "edge/endpoint.h"

#include <string.h>
#include <strings.h>

#include "edge/clipper.h"
#include "edge/grpc.h"
#include "edge/mlflow.h"
#include "edge/oip.h"
#include "edge/oip_grpc.h"
#include "edge/openapi.h"
#include "edge/predict.h"
#include "edge/tfs.h"

static const struct speech {
    const char *prefix; /* of whole segments of the path */
    const struct dialect *dialect;
    void (*handle)(struct infer *infer, struct exchange *exchange);
} speeches[] = {
    {"/inference.GRPCInferenceService", &oip_grpc_dialect, grpc_handle},
    {"/grpc.health.v1.Health", &oip_grpc_dialect, grpc_handle},
    {"/grpc.reflection.v1.ServerReflection", &oip_grpc_dialect, grpc_handle},
    {"/grpc.reflection.v1alpha.ServerReflection", &oip_grpc_dialect, grpc_handle},
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

static const struct speech grpc_speech = {"", &oip_grpc_dialect, grpc_handle}; /* by its content type */

static bool has_prefix(const char *path, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncasecmp(path, prefix, length) == 0 && (path[length] == '/' || !path[length] || !length);
}

/* Clipper's paths begin with any name, also with one that begins another dialect's: they are told by their
 * end. */
static const struct speech *speech_of(const struct http_message *message)
{
    const struct speech *speech = speeches, *last = &speeches[sizeof speeches / sizeof *speeches - 1];
    const char *path = message->path;
    if (grpc_is_meant(message))
        return &grpc_speech;
    if (!path || clipper_owns(path))
        return last;
    while (speech != last && !has_prefix(path, speech->prefix))
        speech++;
    return speech;
}

bool endpoint_is_enough(const struct http_message *message)
{
    return grpc_is_meant(message) && grpc_is_enough(message);
}

void endpoint_handle(void *infer, struct exchange *exchange)
{
    speech_of(&exchange->message)->handle(infer, exchange);
}

void endpoint_refuse(void *owner, struct exchange *exchange, const struct gw_err *err,
                     struct http_reply *reply)
{
    const struct dialect *dialect = speech_of(&exchange->message)->dialect;
    (void)owner;
    reply->status = gw_status_http(err->status);
    reply->content_type = "application/json";
    reply->headers = reply_retry_header(err->status);
    dialect->write_error(&reply->body, err->status, err->what);
    if (dialect->seal && exchange->message.takes_trailers)
        dialect->seal(reply, err->status, err->what, &exchange->arena);
}
