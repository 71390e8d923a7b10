/* transport: which one a test is to use. CTest runs what touches replicas over each of them. */
#ifndef XEBEC_TESTS_SUPPORT_TRANSPORT_H
#define XEBEC_TESTS_SUPPORT_TRANSPORT_H

#include "replica/rpc.h"

/* As the environment says: XEBEC_TRANSPORT=nghttp2, which is the default, or grpc. Aborts on anything else. */
enum rpc_kind transport_of_test(void);
/*
 * Over TLS, where XEBEC_TLS names the directory that tests/support/certificates.py has filled: what a client goes by, the test's
 * own reference; else NULL.
 */
struct tls_context *transport_tls(void);
const char *transport_name(enum rpc_kind kind); /* as in the configuration */

#endif
