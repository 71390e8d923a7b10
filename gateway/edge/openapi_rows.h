/*
 * openapi_rows: elements of each datatype, then rows of them, as JSON Schema: what the bodies of all dialects are made of.
 */
#ifndef XEBEC_EDGE_OPENAPI_ROWS_H
#define XEBEC_EDGE_OPENAPI_ROWS_H

#include "config/config.h"
#include "support/buf.h"

/* As buf_printf(), with a quote for every ' : JSON that can be read. No argument may have a ' in it. */
void openapi_put(struct buf *out, const char *format, ...) GW_PRINTF(2, 3);
/* The name of a schema of an endpoint's, "name.what", after a comma and before its value. */
void openapi_put_member(struct buf *out, const struct config_endpoint *endpoint, const char *what);

/* The first members of components.schemas: FP32 and so on, Text, Base64, Document. */
void openapi_put_elements(struct buf *out);
/* A reference to one of them. */
void openapi_put_element(struct buf *out, const struct tensor_spec *spec);

#define OPENAPI_WHOLE(least, most) "{'type':'integer','minimum':" least ",'maximum':" most "}"
/* Text, or a number that stands for it. */
#define OPENAPI_WORD "{'anyOf':[{'type':['string','null']}," OPENAPI_WHOLE("-9223372036854775808", "9223372036854775807") "]}"

/* A list of lists, as the sizes from `dim` on say. */
void openapi_put_nested(struct buf *out, const struct tensor_spec *spec, unsigned dim);
/* A row, in all the forms that json_append_row() takes. */
void openapi_put_row(struct buf *out, const struct tensor_spec *spec);
/* The endpoint's Row, Instance, Columns, Answer: openapi_schemas.h. */
void openapi_put_rows_of(struct buf *out, const struct config_endpoint *endpoint);

#endif
