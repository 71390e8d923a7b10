/* grpc_health: the standard health service, grpc.health.v1. "" is the gateway, and an endpoint's name is a service, too. */
#ifndef XEBEC_EDGE_GRPC_HEALTH_H
#define XEBEC_EDGE_GRPC_HEALTH_H

#include "edge/grpc.h"

void grpc_health_check(const struct grpc_call *call);

#endif
