/* transport: reads the environment. */
#include "transport.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/tls_context.h"

static const char *const names[] = {[RPC_NGHTTP2] = "nghttp2", [RPC_GRPC_CORE] = "grpc"};

const char *transport_name(enum rpc_kind kind)
{
    return names[kind];
}

struct tls_context *transport_tls(void)
{
    char ca[512];
    struct tls_words problem;
    const char *directory = getenv("XEBEC_TLS");
    if (!directory)
        return NULL;
    snprintf(ca, sizeof ca, "%s/ca.crt", directory);
    const struct tls_setup setup = {.role = TLS_CLIENT, .files[TLS_FILE_CA] = ca};
    struct tls_context *context = tls_context_new(&setup, &problem);
    if (context)
        return context;
    fprintf(stderr, "%s: %s\n", ca, problem.what);
    abort();
}

/*
 * A puppet's gRPC leaves threads that end when they like. What OpenSSL remembers for each is freed as it
 * ends, unless exit() was quicker and OpenSSL has cleaned up: then it would be a leak. So at exit it shall
 * not.
 */
__attribute__((constructor)) static void outlive_threads(void)
{
    (void)!OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
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
