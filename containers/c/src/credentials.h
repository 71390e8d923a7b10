/* credentials: whether a worker serves TLS, and with what. */
#ifndef XEBEC_WORKER_CREDENTIALS_H
#define XEBEC_WORKER_CREDENTIALS_H

#include <grpc/grpc_security.h>

#include "xebec_worker.h"

/* Of the model's files, or the environment's; without any: plain. NULL: they cannot be read, which has been said. */
grpc_server_credentials *xebec_credentials(const struct xebec_model *model);

#endif
