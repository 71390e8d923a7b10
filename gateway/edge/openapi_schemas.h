/*
 * openapi_schemas: what the bodies of all dialects look like, as JSON Schema (2020-12): openapi.c's components.
 *
 * What a schema refuses the gateway refuses. The reverse holds where a schema can say it all; it cannot where sizes have to
 * agree (OIP's shape and data, columns of the same length, sizes that the signature leaves open).
 *
 * General ones have the names in openapi_schemas.c; those of an endpoint are its name, a dot, and
 *   Row, Instance, Columns     a row as Clipper takes it; as TFS and MLflow do; all rows by input
 *   Answer                     what the model says of a row
 *   ClipperRequest, ClipperReply, ClipperBatch, OipRequest, OipReply, TfsRequest, TfsReply, TfsExamples, MlflowRequest
 */
#ifndef XEBEC_EDGE_OPENAPI_SCHEMAS_H
#define XEBEC_EDGE_OPENAPI_SCHEMAS_H

#include "config/config.h"
#include "support/buf.h"

/* The members of components.schemas. */
void openapi_put_schemas(struct buf *out, const struct config *config);
/* How a version may be called in a request to this endpoint: a schema. */
void openapi_put_version_names(struct buf *out, const struct config_endpoint *endpoint);

#endif
