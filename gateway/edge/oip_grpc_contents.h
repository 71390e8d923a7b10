/*
 * oip_grpc_contents: InferTensorContents, the typed form of a tensor's elements: a list for each kind of them. Lists of
 * floats are the tensor as it is; integers, booleans and strings have another form on the wire.
 */
#ifndef XEBEC_EDGE_OIP_GRPC_CONTENTS_H
#define XEBEC_EDGE_OIP_GRPC_CONTENTS_H

#include "infer/request.h"
#include "support/wire.h"

/* Whether there is a list for it: FP16 and BF16 are always raw. */
bool oip_grpc_contents_have(enum datatype datatype);

/*
 * contents: the message, in the body, or a zeroed field: there was none. Sets the data of an input that oip_inputs_take() gave: it
 * points into the message, or to what was written anew, once, into the request's arena.
 * GW_E_INVALID (another list, not so many elements, out of range), GW_E_NO_MEMORY, with words in request->err.
 */
GW_MUST_CHECK enum gw_status oip_grpc_contents_read(struct request *request, struct tensor *input,
                                                    const struct wire_field *contents);

/* The fields of the message for all rows of an output of the answer, after answer_begin(). */
void oip_grpc_contents_write(struct request *request, const char *output, enum datatype datatype);

#endif
