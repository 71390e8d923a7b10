/*
 * tls: OpenSSL between two buffers. Its BIO reads where the owner's bytes lie, so they are not copied before
 * they are decrypted, and writes behind what is sealed already.
 */
#include "support/tls.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/buf.h"

enum {
    SEALED_MAX = 512 << 10, /* no answers to handshake messages are so long: nobody takes them */
    UNPROVOKED_MAX = 32,    /* handshake messages of an open session without data in between */
};

struct tls {
    struct tls_context *context;
    BIO_METHOD *method;
    SSL *ssl;
    const char *in; /* the owner's bytes */
    size_t in_left;
    struct buf out;
    size_t out_sent; /* of out */
    bool open, closed;
    unsigned unprovoked;
    enum tls_failure failure;
    char why[200];
};

/* --- the BIO --- */

static int bio_read(BIO *bio, char *into, size_t room, size_t *got)
{
    struct tls *tls = BIO_get_data(bio);
    size_t n = room < tls->in_left ? room : tls->in_left;
    BIO_clear_retry_flags(bio);
    *got = n;
    if (!n) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(into, tls->in, n);
    tls->in += n;
    tls->in_left -= n;
    return 1;
}

static int bio_write(BIO *bio, const char *bytes, size_t length, size_t *written)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->out.length - tls->out_sent > SEALED_MAX) {
        tls->failure = TLS_FAILURE_FLOOD;
        return 0;
    }
    if (tls->out_sent >= TLS_SEALED_BYTES) {
        tls->out.length -= tls->out_sent;
        memmove(tls->out.bytes, tls->out.bytes + tls->out_sent, tls->out.length);
        tls->out_sent = 0;
    }
    buf_append(&tls->out, bytes, length);
    *written = length;
    return !tls->out.failed;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO *bio_new(struct tls *tls)
{
    tls->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "xebec");
    if (!tls->method || !BIO_meth_set_read_ex(tls->method, bio_read) ||
        !BIO_meth_set_write_ex(tls->method, bio_write) || !BIO_meth_set_ctrl(tls->method, bio_control))
        return NULL;
    BIO *bio = BIO_new(tls->method);
    if (!bio)
        return NULL;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    return bio;
}

/* --- life --- */

/* Sees every message of the protocol itself go by. */
static void on_message(int is_ours, int version, int type, const void *bytes, size_t length, SSL *ssl,
                       void *owner)
{
    struct tls *tls = owner;
    (void)version, (void)bytes, (void)length, (void)ssl;
    if (!is_ours && type == SSL3_RT_HANDSHAKE && tls->open)
        tls->unprovoked++;
}

/* The peer's certificate must be for this name. */
static bool expect_peer(SSL *ssl, const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];
    X509_VERIFY_PARAM *wanted = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(wanted, name) == 1;
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

struct tls *tls_new(struct tls_context *context, const char *name)
{
    bool is_server = tls_context_role(context) == TLS_SERVER;
    struct tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return NULL;
    tls->context = tls_context_ref(context);
    tls->ssl = SSL_new(tls_context_ssl(context));
    BIO *bio = tls->ssl ? bio_new(tls) : NULL;
    if (!bio)
        goto fail;
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_msg_callback(tls->ssl, on_message);
    SSL_set_msg_callback_arg(tls->ssl, tls);
    if (is_server)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    if (is_server)
        return tls;
    if (!expect_peer(tls->ssl, name))
        goto fail;
    (void)SSL_do_handshake(tls->ssl); /* a client begins: its hello is sealed, and then it waits */
    ERR_clear_error();
    return tls;
fail:
    ERR_clear_error();
    tls_free(tls);
    return NULL;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    BIO_meth_free(tls->method);
    buf_clear(&tls->out);
    tls_context_unref(tls->context);
    free(tls);
}

/* --- how it fails --- */

static enum tls_failure failure_of(unsigned long error)
{
    int reason = ERR_GET_REASON(error);
    if (ERR_GET_LIB(error) != ERR_LIB_SSL)
        return reason == ERR_R_MALLOC_FAILURE ? TLS_FAILURE_MEMORY : TLS_FAILURE_MALFORMED;
    switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return TLS_FAILURE_CERTIFICATE;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
        return TLS_FAILURE_NO_AGREEMENT;
    case ERR_R_MALLOC_FAILURE:
        return TLS_FAILURE_MEMORY;
    default:
        return reason >= SSL_AD_REASON_OFFSET ? TLS_FAILURE_REFUSED : TLS_FAILURE_MALFORMED;
    }
}

static enum tls_result fail(struct tls *tls, enum tls_failure failure, const char *words, const char *more)
{
    if (tls->failure == TLS_FAILURE_NONE)
        tls->failure = failure;
    snprintf(tls->why, sizeof tls->why, "%s%s%s", words, more[0] ? ": " : "", more);
    ERR_clear_error();
    return TLS_FAILED;
}

static enum tls_result fail_as_said(struct tls *tls)
{
    unsigned long error = ERR_peek_error();
    enum tls_failure failure = tls->out.failed ? TLS_FAILURE_MEMORY : failure_of(error);
    const char *words = ERR_reason_error_string(error), *more = "";
    if (ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        more = X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl));
    return fail(tls, failure, words ? words : "the session broke", more);
}

static enum tls_result flooded(struct tls *tls)
{
    return fail(tls, TLS_FAILURE_FLOOD, "the peer renegotiates, or renews keys, again and again", "");
}

/* --- plaintext out --- */

void tls_feed(struct tls *tls, const void *bytes, size_t length)
{
    tls->in = bytes;
    tls->in_left = length;
}

enum tls_result tls_read(struct tls *tls, void *into, size_t room, size_t *got)
{
    *got = 0;
    if (tls->why[0])
        return TLS_FAILED;
    ERR_clear_error();
    bool read = SSL_read_ex(tls->ssl, into, room, got) == 1;
    tls->open = tls->open || SSL_is_init_finished(tls->ssl);
    if (tls->failure == TLS_FAILURE_FLOOD || tls->unprovoked > UNPROVOKED_MAX)
        return flooded(tls);
    if (read) {
        tls->unprovoked = 0;
        return TLS_OK;
    }
    switch (SSL_get_error(tls->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_ENDED;
    default:
        return fail_as_said(tls);
    }
}

/* --- plaintext in --- */

/* A place in the pieces. */
struct cursor {
    const struct iovec *piece, *end;
    size_t skip; /* of the piece */
};

/*
 * The plaintext of the next record: a full one where it lies, or gathered into `room` from small pieces.
 * Returns its length; 0: there is no more.
 */
static size_t next_record(struct cursor *at, char room[TLS_RECORD_BYTES], const char **record)
{
    size_t gathered = 0;
    for (; at->piece < at->end && gathered < TLS_RECORD_BYTES; at->piece++, at->skip = 0) {
        const char *bytes = (const char *)at->piece->iov_base + at->skip;
        size_t left = at->piece->iov_len - at->skip, space = TLS_RECORD_BYTES - gathered;
        if (!gathered && left >= space) {
            *record = bytes;
            at->skip += space;
            return space;
        }
        size_t n = left < space ? left : space;
        memcpy(room + gathered, bytes, n);
        gathered += n;
        if (n < left) {
            at->skip += n;
            break;
        }
    }
    *record = room;
    return gathered;
}

enum tls_result tls_write(struct tls *tls, const struct iovec *pieces, int n_pieces, size_t *taken)
{
    char room[TLS_RECORD_BYTES];
    const char *record;
    struct cursor at = {.piece = pieces, .end = pieces + n_pieces};
    *taken = 0;
    if (tls->why[0])
        return TLS_FAILED;
    if (!tls->open || tls->closed)
        return TLS_OK;
    while (tls->out.length - tls->out_sent < TLS_SEALED_BYTES) {
        size_t written, length = next_record(&at, room, &record);
        if (!length)
            break;
        ERR_clear_error();
        if (SSL_write_ex(tls->ssl, record, length, &written) != 1)
            return fail_as_said(tls);
        *taken += written;
    }
    return TLS_OK;
}

void tls_close(struct tls *tls)
{
    if (!tls->open || tls->closed || tls->why[0])
        return;
    tls->closed = true; /* a second time it would read */
    (void)SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

/* --- ciphertext out --- */

const char *tls_sealed(const struct tls *tls, size_t *length)
{
    *length = tls->out.length - tls->out_sent;
    return *length ? tls->out.bytes + tls->out_sent : NULL;
}

/* An idle session keeps no buffer; a large one is not moved about for each piece that goes. */
void tls_sent(struct tls *tls, size_t length)
{
    tls->out_sent += length;
    if (tls->out_sent < tls->out.length)
        return;
    buf_clear(&tls->out);
    tls->out_sent = 0;
}

/* --- what is known of it --- */

bool tls_is_open(const struct tls *tls)
{
    return tls->open;
}

bool tls_is_resumed(const struct tls *tls)
{
    return SSL_session_reused(tls->ssl) == 1;
}

bool tls_chose_h2(const struct tls *tls)
{
    const unsigned char *name;
    unsigned length;
    SSL_get0_alpn_selected(tls->ssl, &name, &length);
    return length == 2 && memcmp(name, "h2", 2) == 0;
}

enum tls_failure tls_failure(const struct tls *tls)
{
    return tls->failure;
}

const char *tls_why(const struct tls *tls)
{
    return tls->why;
}
