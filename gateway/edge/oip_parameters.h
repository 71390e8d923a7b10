/*
 * oip_parameters: what the parameters of an OIP request mean, whatever carries them. Some are the gateway's, some the
 * protocol keeps for itself, and any other goes to the model as a member of a JSON object.
 */
#ifndef XEBEC_EDGE_OIP_PARAMETERS_H
#define XEBEC_EDGE_OIP_PARAMETERS_H

#include "infer/request.h"

enum oip_parameter {
    OIP_TIMEOUT,     /* an integer for oip_take_timeout() */
    OIP_SEQUENCE,    /* refused, unless it is 0 or "": there are none */
    OIP_STICKY,      /* what tells the endpoint's clients apart */
    OIP_BINARY,      /* binary_data_output: of REST */
    OIP_PASSED_OVER,
    OIP_MODELS       /* the model's own */
};
enum oip_parameter oip_parameter_of(const struct request *request, const char *name, size_t length);

/* In microseconds, and never longer than the endpoint's own objective; 0: none. False: negative. */
GW_MUST_CHECK bool oip_take_timeout(struct request *request, int64_t timeout_us);
/* GW_E_NOT_IMPLEMENTED, with words. */
enum gw_status oip_refuse_sequence(struct gw_err *err);

/* --- those of the model: an object being written, without its end --- */

/* The member's value comes next. */
void oip_parameters_name(struct buf *parameters, const char *name, size_t length);
/* To the request, if there are any; clears the buf. GW_E_NO_MEMORY, with words in request->err. */
GW_MUST_CHECK enum gw_status oip_parameters_keep(struct request *request, struct buf *parameters);

#endif
