/*
 * oip_tensors: what the Open Inference Protocol says of tensors, whatever carries it: which of a signature's inputs is
 * meant, tensors as bytes, and which outputs are wanted. answer.h makes tensors of rows again.
 *
 * OIP's shapes have the rows as their first size, as signatures do: [-1, 64] in the configuration is [-1, 64] in metadata
 * and [rows, 64] in a request. Every error is GW_E_INVALID unless it says otherwise, with words in err.
 */
#ifndef XEBEC_EDGE_OIP_TENSORS_H
#define XEBEC_EDGE_OIP_TENSORS_H

#include "infer/request.h"

/* --- a request's inputs --- */

/* What a client says of one of its inputs. */
struct oip_told {
    const char *name;             /* terminated; NULL: it did not say */
    const char *datatype;         /* likewise */
    int64_t shape[TENSOR_DIMS_MAX];
    uint32_t dims;                /* 0: it did not say */
};

/* Room for all inputs of the signature, none of them given yet. GW_E_NO_MEMORY. */
GW_MUST_CHECK enum gw_status oip_inputs_begin(struct request *request);
/*
 * The input that is told of, with its spec set and its data still to come; all inputs must agree in their rows. Also
 * GW_E_TOO_LARGE (more rows than the limit).
 */
GW_MUST_CHECK enum gw_status oip_inputs_take(struct request *request, const struct oip_told *told,
                                             struct tensor **input);
/* Its elements are these little-endian, row-major bytes, which must outlive the request. Also GW_E_NO_MEMORY. */
GW_MUST_CHECK enum gw_status oip_input_set_bytes(struct request *request, struct tensor *input,
                                                 const uint8_t *bytes, size_t length);
/* Every input was given, and those declared as JSON documents are. */
GW_MUST_CHECK enum gw_status oip_inputs_end(struct request *request);

/* --- the outputs that it wants --- */

/*
 * Has the model asked for these alone: nothing is said to it where they are all that it has, so that such requests share
 * their batches and answers with those that name none. Names are terminated, in the arena, each once. Also GW_E_NO_MEMORY.
 */
GW_MUST_CHECK enum gw_status oip_outputs_want(struct request *request, const char *const *names, uint32_t n);

/* --- names --- */

/* What a version of an endpoint is called: "forest", or "digits@forest" where its arms are of several models. */
const char *oip_version_name(const struct config_endpoint *endpoint, const struct config_version *version);

#endif
