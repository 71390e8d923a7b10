/*
 * conn_tls: TLS around all that a connection says: the handshake, plain HTTP answered in words, what is received opened and
 * what is sent sealed. A part of conn, on its thread, for connections that have `tls`.
 */
#ifndef XEBEC_EDGE_CONN_TLS_H
#define XEBEC_EDGE_CONN_TLS_H

#include "edge/conn_parts.h"

/* One recv() of at most `room` bytes, 0 being none, and whatever it brings about. */
void conn_tls_receive(struct conn *conn, size_t room);

/* As send_both() in conn_send, which calls it: seals no more than the client takes, but for the last that it was offered. */
ssize_t conn_tls_send(struct conn *conn, const struct buf *head, const struct buf *body, size_t skip);
/* What is sealed, as far as the client takes it. False: it has gone. */
bool conn_tls_flush(struct conn *conn);
size_t conn_tls_left(const struct conn *conn); /* sealed, and not yet taken; 0 without TLS */
/* close_notify, as far as there is room for it. */
void conn_tls_close(struct conn *conn);

#endif
