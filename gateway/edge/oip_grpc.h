/*
 * oip_grpc: the Open Inference Protocol over gRPC: the methods of inference.GRPCInferenceService (proto/oip.proto), and those
 * of Triton's that ask about models. oip_grpc_infer.c is ModelInfer, with its dialect, oip_grpc.c is all the others.
 */
#ifndef XEBEC_EDGE_OIP_GRPC_H
#define XEBEC_EDGE_OIP_GRPC_H

#include "edge/grpc.h"
#include "infer/request.h"
#include "support/wire.h"

#define OIP_GRPC_SERVICE "inference.GRPCInferenceService"

/* Its request->own is a struct oip_grpc_ask, never NULL. Its errors are gRPC's statuses; without HTTP/2, OIP's JSON. */
extern const struct dialect oip_grpc_dialect;

struct oip_grpc_ask {
    uint64_t deadline_us; /* the call's */
    /* from the message */
    const char *id;
    size_t id_length;
    const char **wanted;  /* outputs, in the order of the reply */
    uint32_t n_wanted;    /* 0: all of them */
    bool raw;             /* its inputs were, and so are its outputs */
};

/* What a message asks about: an endpoint, and a version of it or none. */
struct oip_grpc_place {
    const struct config_endpoint *endpoint;
    const struct config_arm *arm; /* NULL: the endpoint as a whole */
};
/* name, version: fields of the message; of length 0: not there. GW_E_NOT_FOUND, GW_E_INVALID, with words. */
GW_MUST_CHECK enum gw_status oip_grpc_find(const struct infer *infer, const struct wire_field *name,
                                           const struct wire_field *version, struct oip_grpc_place *place,
                                           struct gw_err *err);

/* GW_E_INVALID: the bytes are no such thing. */
enum gw_status oip_grpc_unreadable(struct gw_err *err, const char *what);

/* Each replies, now or later. */
void oip_grpc_infer(const struct grpc_call *call);
void oip_grpc_server_live(const struct grpc_call *call);
void oip_grpc_server_ready(const struct grpc_call *call);
void oip_grpc_model_ready(const struct grpc_call *call);
void oip_grpc_server_metadata(const struct grpc_call *call);
void oip_grpc_model_metadata(const struct grpc_call *call);
void oip_grpc_model_config(const struct grpc_call *call);
void oip_grpc_repository_index(const struct grpc_call *call);
void oip_grpc_model_statistics(const struct grpc_call *call);

#endif
