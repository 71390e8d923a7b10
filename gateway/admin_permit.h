/*
 * admin_permit: who may change something, or see clients' inputs: who bears the token; where there is none, this machine alone, and
 * no web page, which a browser here would let ask on its behalf.
 */
#ifndef XEBEC_ADMIN_PERMIT_H
#define XEBEC_ADMIN_PERMIT_H

#include "edge/http.h"
#include "support/err.h"

/* token_file: its first line is the token, read anew each time; NULL: none. GW_OK, or GW_E_UNAUTHENTICATED with words. */
GW_MUST_CHECK enum gw_status admin_permit(const char *token_file, const struct exchange *exchange, struct gw_err *err);

#endif
