/*
 * oip_grpc_parameters: map<string, InferParameter>, of requests, of their tensors, and of replies. What they mean is
 * oip_parameters.h's to say.
 */
#ifndef XEBEC_EDGE_OIP_GRPC_PARAMETERS_H
#define XEBEC_EDGE_OIP_GRPC_PARAMETERS_H

#include "infer/request.h"
#include "support/wire.h"

/*
 * One entry of a request's: taken, passed over, or, when it is the model's, appended to `models`, the members of an object
 * as oip_parameters_keep() takes them. The request may point into the message afterwards.
 * GW_E_INVALID, GW_E_NOT_IMPLEMENTED, GW_E_NO_MEMORY, with words in request->err.
 */
GW_MUST_CHECK enum gw_status oip_grpc_parameter_take(struct request *request, const struct wire_field *entry,
                                                     struct buf *models);
/* One entry of an input's or an output's: nothing that they may ask for is there. GW_E_INVALID, GW_E_NOT_IMPLEMENTED. */
GW_MUST_CHECK enum gw_status oip_grpc_parameter_of_tensor(const struct wire_field *entry, struct gw_err *err);

/* An entry of the map that is this field. */
void oip_grpc_parameter_put_text(struct buf *out, uint32_t field, const char *name, const char *text);
void oip_grpc_parameter_put_true(struct buf *out, uint32_t field, const char *name);

#endif
