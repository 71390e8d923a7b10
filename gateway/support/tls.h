/*
 * tls: one TLS session, sans-I/O: ciphertext in, plaintext out, and the other way round. Sockets, time and patience are the
 * owner's. Belongs to one thread.
 *
 *   socket -> tls_feed() -> tls_read() -> plaintext            plaintext -> tls_write() -> tls_sealed() -> socket
 *
 * The handshake goes by itself inside tls_read(), and what it has to say is among what is sealed: so after every
 * tls_read() the owner looks whether something is to be sent.
 *
 * Memory is bounded: what a peer may leave half-said is a record (16 KiB) or a handshake message (100 KiB of certificates);
 * what is sealed and not yet sent is TLS_SEALED_BYTES and a record. A peer that renegotiates, or renews keys again and again
 * without saying anything, ends the session.
 */
#ifndef XEBEC_SUPPORT_TLS_H
#define XEBEC_SUPPORT_TLS_H

#include <sys/uio.h>

#include "support/tls_context.h"

enum {
    TLS_RECORD_BYTES = 16384,    /* plaintext of one record at most: no read gets more at once */
    TLS_SEALED_BYTES = 64 << 10, /* tls_write() takes no more once so much is waiting to be sent */
};

struct tls;

/*
 * name: a client's: the peer's certificate must be for this name or numeric address; NULL for a server. Takes a reference to
 * the context. NULL: out of memory.
 */
struct tls *tls_new(struct tls_context *context, const char *name) GW_MUST_CHECK;
void tls_free(struct tls *tls); /* NULL is harmless */

enum tls_result {
    TLS_OK,
    TLS_MORE,   /* nothing (more) before further bytes have come, or gone */
    TLS_ENDED,  /* the peer has said that it will send no more */
    TLS_FAILED, /* for good; tls_why(). An alert for the peer may be among what is sealed */
};

/* Bytes from the peer: borrowed until tls_read() returns anything but TLS_OK, which is to be waited for. */
void tls_feed(struct tls *tls, const void *bytes, size_t length);
/* TLS_OK: got > 0 bytes of plaintext. */
GW_MUST_CHECK enum tls_result tls_read(struct tls *tls, void *into, size_t room, size_t *got);
/*
 * Seals, in few and full records, as much as may wait to be sent: none before the handshake is done. taken: of all
 * pieces together. TLS_OK or TLS_FAILED.
 */
GW_MUST_CHECK enum tls_result tls_write(struct tls *tls, const struct iovec *pieces, int n_pieces, size_t *taken);
/* "I shall send no more." */
void tls_close(struct tls *tls);

/* What is to be sent now; tls_sent() takes it out. */
const char *tls_sealed(const struct tls *tls, size_t *length);
void tls_sent(struct tls *tls, size_t length);

bool tls_is_open(const struct tls *tls);   /* the handshake is done */
bool tls_is_resumed(const struct tls *tls);
bool tls_chose_h2(const struct tls *tls);  /* by ALPN */

/* How a handshake, or a session, ended. */
enum tls_failure {
    TLS_FAILURE_NONE,
    TLS_FAILURE_MALFORMED,    /* what came is no TLS */
    TLS_FAILURE_NO_AGREEMENT, /* no version, cipher or protocol (ALPN) in common */
    TLS_FAILURE_CERTIFICATE,  /* the peer's is missing, or not to be trusted */
    TLS_FAILURE_REFUSED,      /* the peer sent an alert: it does not like ours, mostly */
    TLS_FAILURE_FLOOD,
    TLS_FAILURE_MEMORY,
};
enum tls_failure tls_failure(const struct tls *tls);
const char *tls_why(const struct tls *tls); /* for a person: "certificate verify failed: self-signed certificate"; "" */

#endif
