/*
 * tls_context: what all TLS sessions of one side share: its certificate and key, whose certificates it takes, and how old
 * a TLS it still speaks. Read from PEM files once, whole, and checked; immutable from then on and counted, so that a
 * certificate is renewed by making another context, while sessions keep theirs. With tls.c the home of OpenSSL.
 *
 * Both sides: TLS 1.2 or newer; forward secrecy and authenticated ciphers alone; no compression, no renegotiation. A server
 * resumes sessions by tickets, which clients keep, so it remembers nothing of them; the key of the tickets is the context's.
 * Any thread.
 */
#ifndef XEBEC_SUPPORT_TLS_CONTEXT_H
#define XEBEC_SUPPORT_TLS_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/err.h"

struct tls_context;

enum tls_role { TLS_SERVER, TLS_CLIENT };
enum tls_least { TLS_LEAST_1_2, TLS_LEAST_1_3 };
enum tls_peers { TLS_PEERS_REQUIRED, TLS_PEERS_OPTIONAL }; /* of a server with a ca: whether clients must show a certificate */

/* The files that a context is made of. */
enum tls_file { TLS_FILE_CERTIFICATE, TLS_FILE_KEY, TLS_FILE_CA, TLS_FILE_COUNT };

struct tls_setup {
    enum tls_role role;
    const char *files[TLS_FILE_COUNT]; /* paths. A server needs certificate and key; a client a ca; both have the two, or neither */
    enum tls_least least;
    enum tls_peers peers;
};

enum { TLS_WARNINGS_MAX = 4, TLS_WORDS = 256 };
struct tls_words {
    enum tls_file about;
    char what[TLS_WORDS]; /* with the fix; without the path */
};

/* NULL, with `problem` filled. Certificates that have expired are no problem: see below. */
struct tls_context *tls_context_new(const struct tls_setup *setup, struct tls_words *problem) GW_MUST_CHECK;
struct tls_context *tls_context_ref(struct tls_context *context); /* NULL is harmless, in both */
void tls_context_unref(struct tls_context *context);

/* What is better seen to: certificates that are not valid at this moment, or soon will not be; a key that others may read. */
uint32_t tls_context_warnings(const struct tls_context *context, int64_t now_s, struct tls_words warnings[TLS_WARNINGS_MAX]);
/* When the first certificate of its own chain expires, in seconds since 1970; 0: it has none. */
int64_t tls_context_expires_s(const struct tls_context *context);
/* Whether both were made of the same bytes, for the same role, and take the same peers. NULL is like nothing but NULL. */
bool tls_context_same(const struct tls_context *a, const struct tls_context *b);
const char *tls_context_path(const struct tls_context *context, enum tls_file file); /* NULL: none */
/* A client's file as it was read, for others that speak TLS by themselves (gRPC core); terminated. NULL: none. */
const char *tls_context_pem(const struct tls_context *context, enum tls_file file);

/* tls.c's. */
struct ssl_ctx_st;
struct ssl_ctx_st *tls_context_ssl(const struct tls_context *context);
enum tls_role tls_context_role(const struct tls_context *context);

#endif
