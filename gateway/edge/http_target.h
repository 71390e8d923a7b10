/*
 * http_target: what a request asks for: the target of its request line, or HTTP/2's :path, as path and query.
 */
#ifndef XEBEC_EDGE_HTTP_TARGET_H
#define XEBEC_EDGE_HTTP_TARGET_H

#include <stddef.h>

#include "edge/http.h"

/*
 * Sets message->path (percent-decoded), path_length and query; message->method is known already. Accepts origin-form,
 * absolute-form of http and https without user information, and "*" for OPTIONS (RFC 9112, section 3.2).
 * target[0..length) and the byte after it are written to, and pointed at.
 * Returns what is wrong, for a person; NULL when nothing is.
 */
const char *http_read_target(struct http_message *message, char *target, size_t length) GW_MUST_CHECK;

/* The value of one; -1: it is none. */
int http_hex_digit(char c);

#endif
