/*
 * json_rows: JSON values -> the rows of a request, one after the other or a whole column at a time. What an element looks
 * like is codec.h's: json_append_row(). Every error is codec.h's, and leaves words in err.
 */
#ifndef XEBEC_EDGE_JSON_ROWS_H
#define XEBEC_EDGE_JSON_ROWS_H

#include "infer/request.h"

struct json_rows {
    struct request *request;
    struct tensor_builder *builders; /* by the signature's inputs */
    uint32_t n_rows;                 /* complete ones */
    /* A row of a model's only input may be an object that names it, too; with BYTES, {"b64": ...} is still a value. */
    bool names_only_input;
};

/* With names_only_input false. GW_E_NO_MEMORY. */
GW_MUST_CHECK enum gw_status json_rows_begin(struct json_rows *rows, struct request *request);
/* A row: of a model's only input the bare value; of several an object that names each of them once. */
GW_MUST_CHECK enum gw_status json_rows_append(struct json_rows *rows, struct json_value *value,
                                              struct gw_err *err);
/* A list of them, of at least one. */
GW_MUST_CHECK enum gw_status json_rows_append_all(struct json_rows *rows, struct json_value *value,
                                                  struct gw_err *err);
/* All rows of one input, as a list; name NULL: of the only one. Not with any of the above. */
GW_MUST_CHECK enum gw_status json_rows_append_column(struct json_rows *rows, const char *name, size_t length,
                                                     struct json_value *value, struct gw_err *err);
/* A name that is none of the signature's inputs: says which there are. */
GW_MUST_CHECK enum gw_status json_rows_refuse_name(const struct signature *signature, const struct json_value *value,
                                                   struct gw_err *err);
/* Every input has rows, and as many as the others: they are the request's. */
GW_MUST_CHECK enum gw_status json_rows_end(struct json_rows *rows);

#endif
