/*
 * grpc_reflection: grpc.reflection.v1 and v1alpha: which services there are, and the files that describe them, for clients
 * that have no .proto (grpcurl).
 */
#ifndef XEBEC_EDGE_GRPC_REFLECTION_H
#define XEBEC_EDGE_GRPC_REFLECTION_H

#include "edge/grpc.h"

void grpc_reflection_answer(const struct grpc_call *call);

#endif
