/*
 * demands: what the header of a request asks of how it is handled, whatever the dialect of its body.
 *
 *   X-Xebec-Deadline-Ms: 50       answer within so many milliseconds; 1 to 3600000; only ever shortens the endpoint's slo
 *   X-Xebec-Priority: batch       high, normal or batch, instead of the endpoint's
 */
#ifndef XEBEC_EDGE_DEMANDS_H
#define XEBEC_EDGE_DEMANDS_H

#include "edge/http.h"
#include "infer/request.h"

/* Before request_start(). GW_E_INVALID with words: not such a value, or given twice; the request is as it was. */
GW_MUST_CHECK enum gw_status demands_read(const struct http_message *message, struct request *request,
                                          struct gw_err *err);

#endif
