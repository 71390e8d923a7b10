/*
 * tls, and peers that know the protocol and abuse it. What OpenSSL itself would do (renew keys, once more and
 * once more) it is told to; what it would not, is forged: records of TLS 1.2, sealed with the session's own
 * keys.
 */
#include "support/tls.h"

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGES_MAX = 33, FLOOD = 1000, HELLO_BYTES = 200 };

/* Our server, and a client of which this test has the strings. */
struct rig {
    struct tls_context *context;
    struct tls *server;
    enum tls_result result; /* of the server's last read */
    size_t heard, sealed_most;
    SSL_CTX *client_context;
    SSL *client;
    BIO *to_client, *from_client;
};

static const char *path_of(const char *name)
{
    static char paths[4][512];
    static unsigned turn;
    const char *directory = getenv("XEBEC_TLS");
    cr_assert(directory, "XEBEC_TLS is to be a directory that tests/support/certificates.py has filled");
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static struct rig *rig_new(int version)
{
    const struct tls_setup setup = {.role = TLS_SERVER,
                                    .files = {path_of("server.crt"), path_of("server.key")}};
    struct tls_words problem = {.what = ""};
    struct rig *rig = calloc(1, sizeof *rig);
    rig->context = tls_context_new(&setup, &problem);
    cr_assert(rig->context, "%s", problem.what);
    rig->server = tls_new(rig->context, NULL);
    rig->client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(rig->client_context, version);
    SSL_CTX_set_max_proto_version(rig->client_context, version);
    SSL_CTX_set_cipher_list(rig->client_context, "ECDHE-ECDSA-AES128-GCM-SHA256");
    rig->client = SSL_new(rig->client_context);
    rig->to_client = BIO_new(BIO_s_mem());
    rig->from_client = BIO_new(BIO_s_mem());
    SSL_set_bio(rig->client, rig->to_client, rig->from_client);
    SSL_set_connect_state(rig->client);
    return rig;
}

static void rig_free(struct rig *rig)
{
    SSL_free(rig->client);
    SSL_CTX_free(rig->client_context);
    tls_free(rig->server);
    tls_context_unref(rig->context);
    free(rig);
}

/* The server hears this, and what it answers is counted. */
static void hear(struct rig *rig, const void *bytes, size_t length)
{
    char into[TLS_RECORD_BYTES];
    size_t got, sealed;
    tls_feed(rig->server, bytes, length);
    while ((rig->result = tls_read(rig->server, into, sizeof into, &got)) == TLS_OK)
        rig->heard += got;
    (void)tls_sealed(rig->server, &sealed);
    rig->sealed_most = sealed > rig->sealed_most ? sealed : rig->sealed_most;
}

/* Both ways, until both are silent. */
static void carry(struct rig *rig)
{
    char none[64];
    for (bool any = true; any;) {
        char *bytes;
        size_t length;
        (void)SSL_read(rig->client, none, sizeof none);
        long n = BIO_get_mem_data(rig->from_client, &bytes);
        any = n > 0;
        if (any)
            hear(rig, bytes, (size_t)n);
        (void)BIO_reset(rig->from_client);
        const char *answer = tls_sealed(rig->server, &length);
        if (length) {
            any = true;
            BIO_write(rig->to_client, answer, (int)length);
            tls_sent(rig->server, length);
        }
    }
}

static struct rig *rig_open(int version)
{
    struct rig *rig = rig_new(version);
    carry(rig);
    cr_assert(tls_is_open(rig->server) && SSL_is_init_finished(rig->client), "%s", tls_why(rig->server));
    rig->sealed_most = 0;
    return rig;
}

/* It has been shown out, for this reason, and said what it says; nothing more comes of it. */
static void shown_out(struct rig *rig)
{
    const struct iovec piece = {.iov_base = "x", .iov_len = 1};
    size_t taken;
    cr_expect_eq(rig->result, TLS_FAILED);
    cr_expect_eq(tls_failure(rig->server), TLS_FAILURE_FLOOD, "%s", tls_why(rig->server));
    cr_expect_eq(tls_write(rig->server, &piece, 1, &taken), TLS_FAILED);
    cr_expect_leq(rig->sealed_most, TLS_SEALED_BYTES, "%zu bytes of answers", rig->sealed_most);
}

/* --- keys, renewed (TLS 1.3) --- */

static void renew_keys(struct rig *rig)
{
    cr_assert_eq(SSL_key_update(rig->client, SSL_KEY_UPDATE_REQUESTED), 1);
    cr_assert_eq(SSL_do_handshake(rig->client), 1);
}

Test(tls_hostile, keys_are_renewed_and_the_session_goes_on)
{
    struct rig *rig = rig_open(TLS1_3_VERSION);
    for (int i = 0; i < 3 * MESSAGES_MAX; i++) {
        renew_keys(rig);
        cr_assert_eq(SSL_write(rig->client, "data", 4), 4);
        carry(rig);
    }
    cr_expect_eq(rig->heard, 3 * MESSAGES_MAX * 4);
    cr_expect_eq(rig->result, TLS_MORE, "%s", tls_why(rig->server));
    rig_free(rig);
}

Test(tls_hostile, who_renews_keys_again_and_again_is_shown_out)
{
    struct rig *rig = rig_open(TLS1_3_VERSION);
    int renewed = 0;
    for (; renewed < FLOOD && rig->result != TLS_FAILED; renewed++) {
        renew_keys(rig);
        carry(rig);
    }
    cr_expect_eq(renewed, MESSAGES_MAX);
    shown_out(rig);
    rig_free(rig);
}

Test(tls_hostile, a_flood_of_renewals_in_one_go_is_bounded_too)
{
    struct rig *rig = rig_open(TLS1_3_VERSION);
    for (int i = 0; i < FLOOD; i++) {
        cr_assert_eq(
            SSL_key_update(rig->client, i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        cr_assert_eq(SSL_do_handshake(rig->client), 1);
    }
    carry(rig);
    shown_out(rig);
    rig_free(rig);
}

/* --- forged records (TLS 1.2, AES-128-GCM) --- */

enum { ALERT = 21, HANDSHAKE_RECORD = 22, DATA = 23, KEY = 16, SALT = 4, NONCE = 8, TAG = 16 };

struct forger {
    unsigned char key[KEY], salt[SALT];
    uint64_t number; /* of the next record */
};

/* The client's keys, as RFC 5246 6.3 derives them; its Finished was record 0. */
static struct forger forger_of(SSL *client)
{
    unsigned char master[48], randoms[2 * SSL3_RANDOM_SIZE], block[2 * (KEY + SALT)];
    struct forger forger = {.number = 1};
    cr_assert_eq(SSL_SESSION_get_master_key(SSL_get_session(client), master, sizeof master), sizeof master);
    SSL_get_server_random(client, randoms, SSL3_RANDOM_SIZE);
    SSL_get_client_random(client, randoms + SSL3_RANDOM_SIZE, SSL3_RANDOM_SIZE);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    char label[] = "key expansion", digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, master, sizeof master),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, label, strlen(label)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, randoms, sizeof randoms),
        OSSL_PARAM_construct_end()};
    cr_assert_eq(EVP_KDF_derive(context, block, sizeof block, parameters), 1);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    memcpy(forger.key, block, KEY);
    memcpy(forger.salt, block + 2 * KEY, SALT);
    return forger;
}

static void put(unsigned char *to, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (unsigned char)(number >> 8 * (bytes - 1 - i));
}

/* One record of any type, sealed as the client would; returns its length. */
static size_t forge(struct forger *forger, unsigned char type, const void *said, size_t length,
                    unsigned char *record)
{
    unsigned char iv[SALT + NONCE], header[13];
    int n;
    put(header, forger->number, 8);
    header[8] = type;
    put(header + 9, TLS1_2_VERSION, 2);
    put(header + 11, length, 2);
    memcpy(iv, forger->salt, SALT);
    put(iv + SALT, forger->number++, NONCE);
    memcpy(record, header + 8, 3);
    put(record + 3, NONCE + length + TAG, 2);
    memcpy(record + 5, iv + SALT, NONCE);
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    cr_assert(EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, forger->key, iv) == 1 &&
              EVP_EncryptUpdate(cipher, NULL, &n, header, sizeof header) == 1 &&
              EVP_EncryptUpdate(cipher, record + 5 + NONCE, &n, said, (int)length) == 1 &&
              EVP_EncryptFinal_ex(cipher, record + 5 + NONCE + length, &n) == 1 &&
              EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG, record + 5 + NONCE + length) == 1);
    EVP_CIPHER_CTX_free(cipher);
    return 5 + NONCE + length + TAG;
}

static void say(struct rig *rig, struct forger *forger, unsigned char type, const void *said, size_t length)
{
    unsigned char record[512];
    hear(rig, record, forge(forger, type, said, length, record));
}

/* A ClientHello as short as one can be: what it says does not matter to who does not renegotiate. */
static size_t hello(unsigned char message[HELLO_BYTES])
{
    memset(message, 0, HELLO_BYTES);
    message[0] = 1;
    put(message + 1, HELLO_BYTES - 4, 3);
    put(message + 4, TLS1_2_VERSION, 2);
    return HELLO_BYTES;
}

Test(tls_hostile, forged_data_is_heard)
{
    struct rig *rig = rig_open(TLS1_2_VERSION);
    struct forger forger = forger_of(rig->client);
    say(rig, &forger, DATA, "as if OpenSSL said it", 21);
    cr_expect_eq(rig->heard, 21, "%s", tls_why(rig->server));
    rig_free(rig);
}

Test(tls_hostile, renegotiation_is_refused_and_the_session_goes_on)
{
    unsigned char message[HELLO_BYTES];
    struct rig *rig = rig_open(TLS1_2_VERSION);
    struct forger forger = forger_of(rig->client);
    say(rig, &forger, HANDSHAKE_RECORD, message, hello(message));
    cr_expect_eq(rig->result, TLS_MORE, "%s", tls_why(rig->server));
    cr_expect_gt(rig->sealed_most, 0, "an alert");
    cr_expect_lt(rig->sealed_most, 100, "and no ServerHello");
    say(rig, &forger, DATA, "data", 4);
    cr_expect_eq(rig->heard, 4, "%s", tls_why(rig->server));
    rig_free(rig);
}

Test(tls_hostile, who_wants_to_renegotiate_again_and_again_is_shown_out)
{
    unsigned char message[HELLO_BYTES];
    struct rig *rig = rig_open(TLS1_2_VERSION);
    struct forger forger = forger_of(rig->client);
    int said = 0;
    size_t length = hello(message);
    for (; said < FLOOD && rig->result != TLS_FAILED; said++)
        say(rig, &forger, HANDSHAKE_RECORD, message, length);
    cr_expect_leq(said, MESSAGES_MAX);
    shown_out(rig);
    rig_free(rig);
}

/* Records that say nothing: OpenSSL itself has enough of them after a while. */
Test(tls_hostile, empty_records_and_warnings_do_not_go_on_for_ever)
{
    static const struct {
        unsigned char type;
        const char *said;
        size_t length;
    } nothings[] = {{DATA, "", 0}, {ALERT, "\1\x5a", 2}};
    for (size_t i = 0; i < sizeof nothings / sizeof *nothings; i++) {
        struct rig *rig = rig_open(TLS1_2_VERSION);
        struct forger forger = forger_of(rig->client);
        int n = 0;
        for (; n < FLOOD && rig->result != TLS_FAILED; n++)
            say(rig, &forger, nothings[i].type, nothings[i].said, nothings[i].length);
        cr_expect_lt(n, FLOOD, "type %d", nothings[i].type);
        cr_expect_leq(rig->sealed_most, 200);
        rig_free(rig);
    }
}

/* --- bytes that something has happened to --- */

/* Small and the same each time: Numerical Recipes' generator. */
static uint32_t draw(uint32_t *state)
{
    return (*state = *state * 1664525u + 1013904223u) >> 8;
}

/* What the client says in its handshake and after it, with some bytes changed, doubled or cut off. */
static void damaged_life(uint32_t seed)
{
    struct rig *rig = rig_new(seed % 2 ? TLS1_2_VERSION : TLS1_3_VERSION);
    uint32_t state = seed;
    unsigned flight = draw(&state) % 3;
    for (unsigned i = 0; i < 4; i++) {
        char *bytes, none[64];
        size_t length;
        (void)SSL_read(rig->client, none, sizeof none);
        (void)SSL_write(rig->client, "data", 4);
        long n = BIO_get_mem_data(rig->from_client, &bytes);
        if (n > 0 && i == flight) {
            for (unsigned k = draw(&state) % 4; k < 4; k++)
                bytes[draw(&state) % (uint32_t)n] = (char)draw(&state);
            n -= draw(&state) % 8 ? 0 : (long)(draw(&state) % (uint32_t)n);
        }
        if (n > 0)
            hear(rig, bytes, (size_t)n);
        (void)BIO_reset(rig->from_client);
        const char *answer = tls_sealed(rig->server, &length);
        if (length)
            BIO_write(rig->to_client, answer, (int)length);
        tls_sent(rig->server, length);
    }
    cr_assert_leq(rig->heard, 16);
    cr_assert_leq(rig->sealed_most, TLS_SEALED_BYTES);
    cr_assert(rig->result != TLS_FAILED || tls_why(rig->server)[0]);
    rig_free(rig);
}

Test(tls_hostile, damage_is_noticed_or_does_not_matter)
{
    for (uint32_t seed = 1; seed <= 300; seed++)
        damaged_life(seed);
}

Test(tls_hostile, noise_is_not_taken_for_tls)
{
    uint32_t state = 7;
    for (int i = 0; i < 300; i++) {
        struct rig *rig = rig_new(TLS1_3_VERSION);
        unsigned char noise[600];
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (unsigned char)draw(&state);
        if (i % 2)
            memcpy(noise, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11); /* a hello, if it were one */
        hear(rig, noise, sizeof noise);
        cr_assert_eq(rig->result, TLS_FAILED, "%d", i);
        cr_assert_not(tls_is_open(rig->server));
        rig_free(rig);
    }
}
