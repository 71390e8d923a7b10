/*
 * mlflow: MLflow's scoring server: POST /invocations, in JSON's four forms and CSV, for the endpoint that the
 * configuration's `mlflow` names; GET /ping, /health, /version.
 * Source: mlflow/pyfunc/scoring_server/__init__.py of 2.x; docs/protocols.md says what is not there.
 */
#ifndef XEBEC_EDGE_MLFLOW_H
#define XEBEC_EDGE_MLFLOW_H

#include "edge/http.h"
#include "infer/request.h"

/* Its errors are {"error_code": code, "message": words}. request->own: not NULL where the body is CSV. */
extern const struct dialect mlflow_dialect;

/* Replies to those four paths. */
void mlflow_handle(struct infer *infer, struct exchange *exchange);

#endif
