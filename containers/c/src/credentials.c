/* credentials: three PEM files, named by the model or by the environment -> what gRPC core serves with. */
#include "credentials.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PEM_BYTES_MAX = 1 << 20 };

struct names {
    const char *certificate, *key, *client_ca; /* NULL: none */
};

static const char *from_environment(const char *variable)
{
    const char *text = getenv(variable);
    return text && *text ? text : NULL;
}

static struct names names_of(const struct xebec_model *model)
{
    if (model->tls_certificate || model->tls_key || model->tls_client_ca)
        return (struct names){model->tls_certificate, model->tls_key, model->tls_client_ca};
    return (struct names){from_environment("XEBEC_TLS_CERTIFICATE"), from_environment("XEBEC_TLS_KEY"),
                          from_environment("XEBEC_TLS_CLIENT_CA")};
}

/* A file's text, terminated. NULL, with words on stderr. */
static char *read_pem(const char *path)
{
    char *text = malloc(PEM_BYTES_MAX + 1);
    FILE *file = text ? fopen(path, "r") : NULL;
    size_t length = file ? fread(text, 1, PEM_BYTES_MAX, file) : 0;
    bool well = file && !ferror(file) && length;
    if (!well)
        fprintf(stderr, "%s: %s\n", path, file && !ferror(file) ? "it is empty" : strerror(errno));
    if (file)
        fclose(file);
    if (well) {
        text[length] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

static grpc_server_credentials *from_files(const struct names *names)
{
    grpc_server_credentials *credentials = NULL;
    char *certificate = read_pem(names->certificate), *key = read_pem(names->key);
    char *client_ca = names->client_ca ? read_pem(names->client_ca) : NULL;
    grpc_ssl_pem_key_cert_pair pair = {.private_key = key, .cert_chain = certificate};
    if (certificate && key && (client_ca || !names->client_ca))
        credentials = grpc_ssl_server_credentials_create_ex(
            client_ca, &pair, 1,
            client_ca ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                      : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            NULL);
    free(certificate);
    free(key);
    free(client_ca);
    return credentials;
}

grpc_server_credentials *xebec_credentials(const struct xebec_model *model)
{
    struct names names = names_of(model);
    if (!names.certificate && !names.key && !names.client_ca)
        return grpc_insecure_server_credentials_create();
    if (names.certificate && names.key)
        return from_files(&names);
    fprintf(stderr, "TLS needs a certificate and its key: --tls-certificate and --tls-key, or "
                    "XEBEC_TLS_CERTIFICATE and XEBEC_TLS_KEY\n");
    return NULL;
}
