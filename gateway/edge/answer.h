/*
 * answer: the rows of a request that is answered whole or not at all, and the tensors that they make together. For
 * dialects that have no words for some rows that failed beside others that did not.
 */
#ifndef XEBEC_EDGE_ANSWER_H
#define XEBEC_EDGE_ANSWER_H

#include "infer/request.h"

/*
 * Rows that failed and have a default get that as their answer; GW_OK then, or the status of the first row that has none,
 * with its words in request->err. Before the following.
 */
GW_MUST_CHECK enum gw_status answer_begin(struct request *request);
/* Some row's answer is the endpoint's default: how it failed; NULL: none is. */
const struct row_outcome *answer_defaulted(const struct request *request);

struct answer_output {
    struct tensor_spec spec;      /* of all rows together */
    size_t bytes;                 /* of all rows together */
};
/* How many outputs there are, and their names, where none was named: those of the first row. */
uint32_t answer_outputs(const struct request *request);
const char *answer_output_name(const struct request *request, uint32_t index);
/* GW_E_CONTRACT: a row lacks it, or rows differ in datatype or shape, so that they make no tensor. */
GW_MUST_CHECK enum gw_status answer_output(struct request *request, const char *name,
                                           struct answer_output *output);
/* The tensor that holds a row of it, and the row's number there. */
const struct tensor *answer_row(const struct request *request, const char *name, uint32_t row, uint32_t *at);
/* Its bytes, where they lie. */
const uint8_t *answer_row_bytes(const struct request *request, const char *name, uint32_t row, size_t *bytes);
/* All rows of an output into the reply, as they lie. */
void answer_write_bytes(struct request *request, const char *name);

/* A row of an output into the reply, as JSON: codec.h's json_write_row(). GW_E_CONTRACT, GW_E_NO_MEMORY: request->err has words. */
GW_MUST_CHECK enum gw_status answer_write_cell(struct request *request, const char *name, uint32_t row);
/* Likewise all of a row: the only output's value, or an object of all outputs. */
GW_MUST_CHECK enum gw_status answer_write_row(struct request *request, uint32_t row);

#endif
