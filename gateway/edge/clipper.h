/*
 * clipper: Clipper's REST dialect: POST /{endpoint}/predict with {"input": X} or {"input_batch": [X, ...]}.
 * Source: Clipper 0.4's query frontend; docs/rest.md says what is kept and what is done better.
 */
#ifndef XEBEC_EDGE_CLIPPER_H
#define XEBEC_EDGE_CLIPPER_H

#include "infer/request.h"

extern const struct dialect clipper_dialect;

/* {"error": words, "cause": code} */
void clipper_write_error(struct buf *out, enum gw_status status, const char *what);

#endif
