/*
 * oip_grpc_infer: ModelInfer, a call about one endpoint: the dialect, in rooms of its own.
 *
 *   oip_grpc_request      the message -> tensors, and what is wanted of the reply
 *   oip_grpc_contents     tensors' elements, typed;  oip_grpc_parameters: parameters: both ways
 *   oip_grpc_reply        outcomes -> the message
 */
#include "edge/oip.h"
#include "edge/oip_grpc.h"
#include "edge/oip_grpc_reply.h"
#include "edge/oip_grpc_request.h"
#include "edge/predict.h"

enum gw_status oip_grpc_unreadable(struct gw_err *err, const char *what)
{
    return gw_err_set(err, GW_E_INVALID, "%s: not such a message", what);
}

/* For those who speak no gRPC. */
static void oip_grpc_write_error(struct buf *out, enum gw_status status, const char *what)
{
    oip_dialect.write_error(out, status, what);
}

const struct dialect oip_grpc_dialect = {"oip_grpc", oip_grpc_decode, oip_grpc_encode, oip_grpc_write_error,
                                         grpc_seal};

void oip_grpc_infer(const struct grpc_call *call)
{
    struct exchange *exchange = call->exchange;
    struct oip_grpc_ask *own = arena_zalloc(&exchange->arena, sizeof *own);
    struct oip_grpc_place place;
    struct oip_grpc_heading heading;
    struct gw_err err;
    enum gw_status status =
        own ? oip_grpc_read_heading(&exchange->message, &heading, own, &err) : gw_err_no_memory(&err);
    if (status == GW_OK)
        status = oip_grpc_find(call->infer, &heading.model, &heading.version, &place, &err);
    if (status != GW_OK) {
        grpc_reply_error(exchange, status, err.what);
        return;
    }
    own->deadline_us = call->deadline_us;
    struct predict_ask ask = {.dialect = &oip_grpc_dialect, .endpoint = place.endpoint, .own = own};
    if (place.arm)
        ask.version = place.arm->version->full_name;
    predict_start(call->infer, exchange, &ask);
}
