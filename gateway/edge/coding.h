/*
 * coding: HTTP's content codings, gzip and deflate (RFC 9110, section 8.4.1), of bodies in both directions. The only file
 * that knows zlib.
 */
#ifndef XEBEC_EDGE_CODING_H
#define XEBEC_EDGE_CODING_H

#include "edge/http.h"

#define CODING_PAYS_FROM 16384 /* bytes: a shorter reply is on its way before it is compressed */

/*
 * A body that came in a coding becomes what it was, in the exchange's arena, with its padding; any other stays. limit: its
 * bytes then, so that a small body cannot be a large one's disguise. Returns GW_E_MEDIA_TYPE: a coding that is not known;
 * GW_E_TOO_LARGE; GW_E_INVALID: not in that coding, cut off, or more behind it; GW_E_NO_MEMORY. Then err has words.
 */
GW_MUST_CHECK enum gw_status coding_read_body(struct exchange *exchange, size_t limit, struct gw_err *err);
/* The same of a gRPC message, which is the body by now, and is compressed as grpc-encoding says; also GW_E_INVALID: that says nothing known. */
GW_MUST_CHECK enum gw_status coding_read_message(struct exchange *exchange, size_t limit, struct gw_err *err);
/*
 * Compresses a reply's body where the message's Accept-Encoding asks for it and it pays. The headers that say so; NULL: the
 * body is as it was, also when there is no memory to compress it.
 */
const char *coding_write_body(const struct http_message *message, struct buf *body);

#endif
