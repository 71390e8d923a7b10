/*
 * conn_send: from a reply, or HTTP/2's frames, to the socket; with exchange_reply() and exchange_abandon() of http.h. A part of
 * conn, on its thread; whatever it calls may close the connection: its state says so.
 */
#ifndef XEBEC_EDGE_CONN_SEND_H
#define XEBEC_EDGE_CONN_SEND_H

#include <sys/uio.h>

#include "edge/conn_parts.h"

/* The request at hand never gets to the handler, and the connection ends: what follows cannot be trusted. */
void conn_refuse(struct conn *conn, struct gw_err *err);
/* 100: the body may come. */
void conn_send_continue(struct conn *conn);

/* WRITING: goes on with what the client would not take before. */
void conn_flush_reply(struct conn *conn);
/* STREAMS: all that there is to say, as far as the client takes it; then, if that was the last of it, the end. */
void conn_flush_streams(struct conn *conn);
/* Nothing more will be said; what the client still says is read away: CLOSING. */
void conn_say_goodbye(struct conn *conn);

/* What the client has yet to take. */
size_t conn_out_left(const struct conn *conn);
bool conn_is_writing(const struct conn *conn);
/* Slow, but not stalled: it took some, though too little to make the socket writable. Then its time starts anew. */
GW_MUST_CHECK bool conn_takes_slowly(struct conn *conn);

/* conn_tls's, too: what follows the first `skip` bytes of both, as pieces; returns how many. */
int conn_pieces_of(const struct buf *head, const struct buf *body, size_t skip, struct iovec pieces[2]);

#endif
