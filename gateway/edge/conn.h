/*
 * conn: one client socket: buffers, timeouts, and the order of replies. HTTP/1.1 today.
 * Requests of one connection are answered one after another; pipelined ones wait in the socket or in a
 * bounded buffer. Reads go through one scratch buffer a listener, so an idle connection holds no buffer.
 *
 *   conn states:  IDLE -> HEADER -> BODY -> HANDLING -> WRITING -> IDLE | CLOSING -> (freed)
 *   one timer a connection, by state: idle, header, body, -, write
 *   CLOSING: the error reply is out; what the client still sends is read away for a moment, so that the
 *            reply is not lost to a reset, then the socket closes.
 */
#ifndef XEBEC_EDGE_CONN_H
#define XEBEC_EDGE_CONN_H

#include "edge/listener.h"

struct conn;
struct edge; /* listener.c and conn.c share it: edge/edge_internal.h is not needed by anyone else */

#endif
