/*
 * clipper: Clipper's REST dialect: POST /{endpoint}/predict with {"input": X} or {"input_batch": [X, ...]}.
 * Source: Clipper 0.4's query frontend; docs/rest.md says what is kept and what is done better.
 */
#ifndef XEBEC_EDGE_CLIPPER_H
#define XEBEC_EDGE_CLIPPER_H

#include <stdbool.h>

#include "edge/http.h"
#include "infer/request.h"

/* Its errors are {"error": words, "cause": code}. */
extern const struct dialect clipper_dialect;

/* Whether a path is /{endpoint}/predict or /{endpoint}/update, with or without a slash at the end. */
bool clipper_owns(const char *path);
/* Replies to those, and with 404 to any other. */
void clipper_handle(struct infer *infer, struct exchange *exchange);

#endif
