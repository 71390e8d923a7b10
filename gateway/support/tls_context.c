/*
 * tls_context: from files to an SSL_CTX.
 *
 *   read the files -> certificate chain -> key, which must be its own -> the CAs of peers -> what is spoken
 *
 * Every file is read here, once and bounded, so that what was checked is what is used, and so that two
 * contexts can be told apart by the digest of what they were made of.
 */
#include "support/tls_context.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PEM_BYTES_MAX = 1 << 20, DIGEST_BYTES = 32, SOON_S = 7 * 24 * 3600 };

/* TLS 1.3 has only good ones. */
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"

/* What a server tells a client: the first of these that it knows. */
static const unsigned char alpn_offers[] = "\x02h2\x08http/1.1";

struct tls_context {
    _Atomic uint32_t refs;
    enum tls_role role;
    SSL_CTX *ssl;
    unsigned char digest[DIGEST_BYTES];
    int64_t begins_s, expires_s; /* of its own chain: the last begin, the first end; 0: it has none */
    bool key_is_exposed;
    char *paths[TLS_FILE_COUNT];
    char *pem[TLS_FILE_COUNT]; /* a client's are kept */
    size_t pem_bytes[TLS_FILE_COUNT];
};

static const char *const file_words[TLS_FILE_COUNT] = {
    [TLS_FILE_CERTIFICATE] = "certificate", [TLS_FILE_KEY] = "private key", [TLS_FILE_CA] = "certificate"};

static bool fail(struct tls_words *problem, enum tls_file about, const char *format, ...) GW_PRINTF(3, 4);
static bool fail(struct tls_words *problem, enum tls_file about, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    problem->about = about;
    vsnprintf(problem->what, sizeof problem->what, format, args);
    va_end(args);
    ERR_clear_error();
    return false;
}

/* OpenSSL's own words for what happened last. */
static const char *reason(void)
{
    const char *words = ERR_reason_error_string(ERR_peek_last_error());
    return words ? words : "out of memory";
}

/* --- files --- */

/* Whole and terminated; NULL with errno set. */
static char *read_whole(const char *path, size_t *length, mode_t *mode)
{
    struct stat info;
    char *bytes = NULL;
    ssize_t got = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *length = 0;
    if (fd < 0)
        return NULL;
    if (fstat(fd, &info) != 0)
        goto fail;
    errno = S_ISDIR(info.st_mode) ? EISDIR : !S_ISREG(info.st_mode) ? EINVAL : EFBIG;
    if (!S_ISREG(info.st_mode) || info.st_size > PEM_BYTES_MAX)
        goto fail;
    *mode = info.st_mode;
    bytes = malloc((size_t)info.st_size + 1);
    while (bytes && got > 0 && *length < (size_t)info.st_size) {
        got = read(fd, bytes + *length, (size_t)info.st_size - *length);
        if (got > 0)
            *length += (size_t)got;
    }
    if (!bytes || got < 0)
        goto fail;
    close(fd);
    bytes[*length] = '\0';
    return bytes;
fail:;
    int why = errno;
    close(fd);
    free(bytes);
    errno = why;
    return NULL;
}

static bool read_files(struct tls_context *context, const struct tls_setup *setup, struct tls_words *problem)
{
    for (enum tls_file file = 0; file < TLS_FILE_COUNT; file++) {
        mode_t mode = 0;
        if (!setup->files[file])
            continue;
        context->paths[file] = strdup(setup->files[file]);
        context->pem[file] = read_whole(setup->files[file], &context->pem_bytes[file], &mode);
        if (!context->pem[file] || !context->paths[file])
            return fail(problem, file, "cannot be read: %s", strerror(errno));
        if (file == TLS_FILE_KEY)
            context->key_is_exposed = mode & S_IROTH;
    }
    return true;
}

static bool take_digest(struct tls_context *context, const struct tls_setup *setup, struct tls_words *problem)
{
    const uint64_t manner[] = {setup->role, setup->least, setup->peers};
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool well = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(md, manner, sizeof manner) == 1;
    for (enum tls_file file = 0; well && file < TLS_FILE_COUNT; file++) {
        uint64_t length = context->pem[file] ? context->pem_bytes[file] : UINT64_MAX;
        well = EVP_DigestUpdate(md, &length, sizeof length) == 1 &&
               (!context->pem[file] || EVP_DigestUpdate(md, context->pem[file], (size_t)length) == 1);
    }
    well = well && EVP_DigestFinal_ex(md, context->digest, NULL) == 1;
    EVP_MD_CTX_free(md);
    return well || fail(problem, TLS_FILE_CERTIFICATE, "%s", reason());
}

/* --- certificates --- */

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm parts = {0};
    return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

static void note_validity(struct tls_context *context, const X509 *certificate)
{
    int64_t begins_s = seconds_of(X509_get0_notBefore(certificate));
    int64_t expires_s = seconds_of(X509_get0_notAfter(certificate));
    if (begins_s > context->begins_s)
        context->begins_s = begins_s;
    if (!context->expires_s || expires_s < context->expires_s)
        context->expires_s = expires_s;
}

/* Runs use() on every certificate of a file, which takes it over; false: it could not. */
static bool each_certificate(const struct tls_context *context, enum tls_file file, struct tls_words *problem,
                             bool (*use)(void *owner, X509 *certificate, unsigned place), void *owner)
{
    unsigned n = 0;
    bool used = true;
    X509 *certificate;
    BIO *bio = BIO_new_mem_buf(context->pem[file], (int)context->pem_bytes[file]);
    while (bio && used && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
        used = use(owner, certificate, n++);
    BIO_free(bio);
    unsigned long last = ERR_peek_last_error();
    if (!bio || !used)
        return fail(problem, file, "cannot be used: %s", reason());
    if (!n)
        return fail(problem, file, "holds no %s in PEM form: nothing in it reads -----BEGIN CERTIFICATE-----",
                    file_words[file]);
    if (ERR_GET_REASON(last) != PEM_R_NO_START_LINE)
        return fail(problem, file, "certificate %u in it is broken: %s", n + 1, reason());
    ERR_clear_error();
    return true;
}

static bool use_own(void *owner, X509 *certificate, unsigned place)
{
    struct tls_context *context = owner;
    note_validity(context, certificate);
    if (place == 0) {
        bool used = SSL_CTX_use_certificate(context->ssl, certificate) == 1;
        X509_free(certificate);
        return used;
    }
    if (SSL_CTX_add0_chain_cert(context->ssl, certificate) == 1)
        return true;
    X509_free(certificate);
    return false;
}

/* Nobody is asked for a pass phrase; that one was wanted is noted. */
static int no_pass_phrase(char *into, int room, int writing, void *asked)
{
    (void)into, (void)room, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static bool use_key(struct tls_context *context, struct tls_words *problem)
{
    bool is_encrypted = false;
    BIO *bio = BIO_new_mem_buf(context->pem[TLS_FILE_KEY], (int)context->pem_bytes[TLS_FILE_KEY]);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, &is_encrypted) : NULL;
    BIO_free(bio);
    if (!key && is_encrypted)
        return fail(problem, TLS_FILE_KEY,
                    "is encrypted, and nobody is asked for a pass phrase: openssl pkey -in KEY -out PLAIN");
    if (!key)
        return fail(problem, TLS_FILE_KEY,
                    "holds no private key in PEM form: nothing in it reads -----BEGIN PRIVATE KEY-----");
    bool used = SSL_CTX_use_PrivateKey(context->ssl, key) == 1;
    EVP_PKEY_free(key);
    if (used && SSL_CTX_check_private_key(context->ssl) == 1)
        return true;
    return fail(problem, TLS_FILE_KEY, "is not the key of %.128s (%.64s): give the two that belong together",
                context->paths[TLS_FILE_CERTIFICATE], reason());
}

static bool use_ca(void *owner, X509 *certificate, unsigned place)
{
    struct tls_context *context = owner;
    (void)place;
    bool used = X509_STORE_add_cert(SSL_CTX_get_cert_store(context->ssl), certificate) == 1 &&
                (context->role == TLS_CLIENT || SSL_CTX_add_client_CA(context->ssl, certificate) == 1);
    X509_free(certificate);
    return used;
}

static bool use_files(struct tls_context *context, const struct tls_setup *setup, struct tls_words *problem)
{
    int verify = SSL_VERIFY_PEER;
    if (context->pem[TLS_FILE_CERTIFICATE] &&
        (!each_certificate(context, TLS_FILE_CERTIFICATE, problem, use_own, context) ||
         !use_key(context, problem)))
        return false;
    if (!context->pem[TLS_FILE_CA])
        return true;
    if (!each_certificate(context, TLS_FILE_CA, problem, use_ca, context))
        return false;
    if (setup->role == TLS_SERVER && setup->peers == TLS_PEERS_REQUIRED)
        verify |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(context->ssl, verify, NULL);
    return true;
}

/* --- what is spoken --- */

static int choose_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *length,
                       const unsigned char *theirs, unsigned n_theirs, void *owner)
{
    unsigned char *match;
    (void)ssl, (void)owner;
    if (SSL_select_next_proto(&match, length, alpn_offers, sizeof alpn_offers - 1, theirs, n_theirs) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = match;
    return SSL_TLSEXT_ERR_OK;
}

static bool speak(struct tls_context *context, const struct tls_setup *setup, struct tls_words *problem)
{
    static const unsigned char only_h2[] = "\x02h2", resumption[] = "xebec";
    int least = setup->least == TLS_LEAST_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    SSL_CTX *ssl = context->ssl =
        SSL_CTX_new(setup->role == TLS_SERVER ? TLS_server_method() : TLS_client_method());
    if (!ssl || SSL_CTX_set_min_proto_version(ssl, least) != 1 ||
        SSL_CTX_set_cipher_list(ssl, CIPHERS_1_2) != 1 ||
        SSL_CTX_set_session_id_context(ssl, resumption, sizeof resumption - 1) != 1)
        return fail(problem, TLS_FILE_CERTIFICATE, "OpenSSL: %s", reason());
    SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF); /* tickets: clients remember, we do not */
    if (setup->role == TLS_CLIENT)
        return SSL_CTX_set_alpn_protos(ssl, only_h2, sizeof only_h2 - 1) == 0 ||
               fail(problem, TLS_FILE_CA, "OpenSSL: %s", reason());
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_alpn_select_cb(ssl, choose_alpn, NULL);
    return true;
}

/* --- life --- */

static void forget_pem(struct tls_context *context)
{
    for (enum tls_file file = 0; file < TLS_FILE_COUNT; file++) {
        if (context->pem[file])
            OPENSSL_cleanse(context->pem[file], context->pem_bytes[file]);
        free(context->pem[file]);
        context->pem[file] = NULL;
    }
}

struct tls_context *tls_context_new(const struct tls_setup *setup, struct tls_words *problem)
{
    struct tls_context *context = calloc(1, sizeof *context);
    if (!context) {
        (void)fail(problem, TLS_FILE_CERTIFICATE, "out of memory");
        return NULL;
    }
    atomic_init(&context->refs, 1);
    context->role = setup->role;
    ERR_clear_error();
    if (!read_files(context, setup, problem) || !take_digest(context, setup, problem) ||
        !speak(context, setup, problem) || !use_files(context, setup, problem)) {
        tls_context_unref(context);
        return NULL;
    }
    if (setup->role == TLS_SERVER)
        forget_pem(context);
    return context;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    if (context)
        atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (!context || atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) > 1)
        return;
    SSL_CTX_free(context->ssl);
    forget_pem(context);
    for (enum tls_file file = 0; file < TLS_FILE_COUNT; file++)
        free(context->paths[file]);
    free(context);
}

/* --- what is known of it --- */

static void warn(struct tls_words *warnings, uint32_t *n, enum tls_file about, const char *format,
                 int64_t at_s)
{
    struct tm utc;
    char date[32];
    time_t at = (time_t)at_s;
    struct tls_words *warning = &warnings[(*n)++];
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&at, &utc));
    warning->about = about;
    snprintf(warning->what, sizeof warning->what, "%s%s", format, at_s ? date : "");
}

uint32_t tls_context_warnings(const struct tls_context *context, int64_t now_s,
                              struct tls_words warnings[TLS_WARNINGS_MAX])
{
    uint32_t n = 0;
    if (context->expires_s && context->expires_s <= now_s)
        warn(warnings, &n, TLS_FILE_CERTIFICATE,
             "has expired, and peers will refuse it; renew it: it ended on ", context->expires_s);
    else if (context->expires_s && context->expires_s - now_s < SOON_S)
        warn(warnings, &n, TLS_FILE_CERTIFICATE, "expires within a week; renew it: it ends on ",
             context->expires_s);
    if (context->begins_s > now_s)
        warn(warnings, &n, TLS_FILE_CERTIFICATE,
             "is not valid yet, and peers will refuse it; wait, or look at the clock: it begins on ",
             context->begins_s);
    if (context->key_is_exposed)
        warn(warnings, &n, TLS_FILE_KEY, "can be read by every user of this machine; chmod o-r it", 0);
    return n;
}

int64_t tls_context_expires_s(const struct tls_context *context)
{
    return context->expires_s;
}

bool tls_context_same(const struct tls_context *a, const struct tls_context *b)
{
    return a && b ? memcmp(a->digest, b->digest, DIGEST_BYTES) == 0 : a == b;
}

const char *tls_context_path(const struct tls_context *context, enum tls_file file)
{
    return context->paths[file];
}

const char *tls_context_pem(const struct tls_context *context, enum tls_file file)
{
    return context->pem[file];
}

struct ssl_ctx_st *tls_context_ssl(const struct tls_context *context)
{
    return context->ssl;
}

enum tls_role tls_context_role(const struct tls_context *context)
{
    return context->role;
}
