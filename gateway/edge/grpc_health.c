/* grpc_health: SERVING while replicas are ready. */
#include "edge/grpc_health.h"

#include <string.h>

#include "edge/oip.h"
#include "edge/oip_grpc.h"
#include "support/wire.h"

enum { SERVING = 1, NOT_SERVING = 2 };

/* The service that is asked about; NULL: the message cannot be read. */
static const uint8_t *read_service(const struct http_message *message, size_t *length)
{
    struct wire wire = wire_of(message->body, message->body_length);
    struct wire_field field;
    const uint8_t *service = (const uint8_t *)"";
    *length = 0;
    while (wire_next(&wire, &field)) {
        if (field.number != 1)
            continue;
        wire.malformed |= field.type != WIRE_BYTES;
        service = field.bytes;
        *length = field.length;
    }
    return wire.malformed ? NULL : service;
}

static bool is_service_of_ours(const char *name, size_t length)
{
    return length == 0 || (length == strlen(OIP_GRPC_SERVICE) && !memcmp(name, OIP_GRPC_SERVICE, length));
}

void grpc_health_check(const struct grpc_call *call)
{
    const struct config *config = call->infer->period->plan->config;
    struct buf out = {0};
    size_t length;
    const char *name = (const char *)read_service(&call->exchange->message, &length);
    if (!name) {
        grpc_reply_error(call->exchange, GW_E_INVALID, "HealthCheckRequest: not such a message");
        return;
    }
    bool is_all = is_service_of_ours(name, length);
    const struct config_endpoint *endpoint = is_all ? NULL : config_endpoint(config, name, length);
    if (!is_all && !endpoint) {
        grpc_reply_error(call->exchange, GW_E_NOT_FOUND, "no service or endpoint has this name");
        return;
    }
    bool serves = is_all ? oip_all_serve(call->infer) : oip_endpoint_serves(call->infer, endpoint);
    grpc_begin(&out);
    wire_put_number(&out, 1, serves ? SERVING : NOT_SERVING);
    grpc_reply(call->exchange, &out);
}
