/*
 * oip_tensors: what the Open Inference Protocol says of tensors, whatever carries it: which of a signature's inputs is
 * meant, tensors as bytes, which outputs are wanted, and outputs made of answered rows.
 *
 * OIP's shapes have the rows as their first size, as signatures do: [-1, 64] in the configuration is [-1, 64] in metadata
 * and [rows, 64] in a request. Every error is GW_E_INVALID unless it says otherwise, with words in err.
 */
#ifndef XEBEC_EDGE_OIP_TENSORS_H
#define XEBEC_EDGE_OIP_TENSORS_H

#include "infer/request.h"

/* --- a request's inputs ---------------------------------------------------------------------------------- */

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

/* --- the outputs that it wants --------------------------------------------------------------------------- */

/*
 * Has the model asked for these alone: nothing is said to it where they are all that it has, so that such requests share
 * their batches and answers with those that name none. Names are terminated, in the arena, each once. Also GW_E_NO_MEMORY.
 */
GW_MUST_CHECK enum gw_status oip_outputs_want(struct request *request, const char *const *names, uint32_t n);

/* --- the answer ------------------------------------------------------------------------------------------ */

/*
 * Rows that failed and have a default get that as their answer; GW_OK then, or the status of the first row that has none,
 * with its words in request->err. Before the following.
 */
GW_MUST_CHECK enum gw_status oip_answer_begin(struct request *request);
/* Some row's answer is the endpoint's default: how it failed; NULL: none is. */
const struct row_outcome *oip_answer_defaulted(const struct request *request);

struct oip_output {
    struct tensor_spec spec;      /* of all rows together */
    size_t bytes;                 /* of all rows together */
};
/* How many outputs there are, and their names, where none was named: those of the first row. */
uint32_t oip_answer_outputs(const struct request *request);
const char *oip_answer_output_name(const struct request *request, uint32_t index);
/* GW_E_CONTRACT: a row lacks it, or rows differ in datatype or shape, so that they make no tensor. */
GW_MUST_CHECK enum gw_status oip_answer_output(struct request *request, const char *name, struct oip_output *output);
/* The tensor that holds a row of it, and the row's number there. */
const struct tensor *oip_answer_row(const struct request *request, const char *name, uint32_t row, uint32_t *at);

/* --- names ----------------------------------------------------------------------------------------------- */

/* What a version of an endpoint is called: "forest", or "digits@forest" where its arms are of several models. */
const char *oip_version_name(const struct config_endpoint *endpoint, const struct config_version *version);

#endif
