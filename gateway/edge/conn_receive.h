/*
 * conn_receive: from the socket to a whole message, which the handler gets. A part of conn, on its thread; whatever it calls
 * may close the connection: its state says so.
 */
#ifndef XEBEC_EDGE_CONN_RECEIVE_H
#define XEBEC_EDGE_CONN_RECEIVE_H

#include "edge/conn_parts.h"

/* What the socket has, as far as there is room: what is small with one system call, of a large body as much as there is. */
void conn_receive(struct conn *conn);
/* What was read while an earlier request was handled. */
void conn_feed_pending(struct conn *conn);
/* How many bytes may be read now: none while a reply is being written, for who does not take answers gets no more. */
size_t conn_readable_room(const struct conn *conn);

/* --- conn_tls's, which receives for itself --- */

/* Plaintext has come. */
void conn_take(struct conn *conn, const char *bytes, size_t length);
/* The rest of a large body is received where it stays. NULL: what comes is small, or is no body. */
char *conn_body_room(struct conn *conn, size_t *room);
/* How much to read of what does not stay where it is read: of a large body in pieces no more than lies between two of them. */
size_t conn_read_ahead(const struct conn *conn);
/* False: out of memory. */
GW_MUST_CHECK bool conn_begin_exchange(struct conn *conn);
/* From IDLE or HEADER to STREAMS; or, without memory, to CLOSED. */
void conn_speak_http2(struct conn *conn);

#endif
