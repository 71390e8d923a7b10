/*
 * tfs: TensorFlow Serving's REST API, v1: predict by row and by column, classify, regress, status and metadata, at
 * /v1/models/{endpoint}[/versions/{version}|/labels/{arm}][:verb]. As there, words of the path are of either case.
 * Source: tensorflow/serving, g3doc/api_rest.md and http_rest_api_util.cc; docs/protocols.md says what is not there.
 */
#ifndef XEBEC_EDGE_TFS_H
#define XEBEC_EDGE_TFS_H

#include "edge/http.h"
#include "infer/request.h"

enum tfs_verb { TFS_PREDICT, TFS_CLASSIFY, TFS_REGRESS };

/* What is asked of the model, by the path, then the body. */
struct tfs_ask {
    enum tfs_verb verb;
    bool by_column; /* the rows came as "inputs", and so the answer's do */
};

/* Its errors are {"error": words}. request->own is a struct tfs_ask, never NULL. */
extern const struct dialect tfs_dialect;

/* Replies to any path that begins with /v1. */
void tfs_handle(struct infer *infer, struct exchange *exchange);

#endif
