/*
 * conn_http2: the exchanges of one HTTP/2 connection: http2's streams on one side, the edge's handler on the other, many
 * at a time, each answered when its handler likes. conn has the socket, and hands bytes in and out.
 */
#ifndef XEBEC_EDGE_CONN_HTTP2_H
#define XEBEC_EDGE_CONN_HTTP2_H

#include "edge/held.h"

struct conn_http2;

/*
 * client: as in conn_open(), borrowed. wake(conn) is called when something is to be sent that conn does not ask for by
 * itself. NULL: out of memory.
 */
struct conn_http2 *conn_http2_new(struct edge *edge, struct conn *conn, const char *client,
                                  void (*wake)(struct conn *conn)) GW_MUST_CHECK;
/* The connection is no more: handlers that have its exchanges are told `gone`. It lives on until they have given them back. */
void conn_http2_close(struct conn_http2 *http2);

/* As http2_feed() and the others. */
void conn_http2_feed(struct conn_http2 *http2, const char *bytes, size_t length);
char *conn_http2_body_room(struct conn_http2 *http2, size_t *room);
size_t conn_http2_read_ahead(const struct conn_http2 *http2);
GW_MUST_CHECK bool conn_http2_fill(struct conn_http2 *http2, struct buf *out, size_t room);
uint64_t conn_http2_deadline_us(const struct conn_http2 *http2);
void conn_http2_expire(struct conn_http2 *http2);
void conn_http2_drain(struct conn_http2 *http2);

/* exchange_reply() and exchange_abandon() of an exchange that has `http2`. */
void conn_http2_reply(struct held_exchange *held, struct http_reply *reply);
void conn_http2_abandon(struct held_exchange *held);

#endif
