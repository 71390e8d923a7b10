/* transport: reads the environment. */
#include "transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {[RPC_NGHTTP2] = "nghttp2", [RPC_GRPC_CORE] = "grpc"};

const char *transport_name(enum rpc_kind kind)
{
    return names[kind];
}

enum rpc_kind transport_of_test(void)
{
    const char *name = getenv("XEBEC_TRANSPORT");
    if (!name || strcmp(name, names[RPC_NGHTTP2]) == 0)
        return RPC_NGHTTP2;
    if (strcmp(name, names[RPC_GRPC_CORE]) == 0)
        return RPC_GRPC_CORE;
    fprintf(stderr, "XEBEC_TRANSPORT=%s: nghttp2 or grpc\n", name);
    abort();
}
