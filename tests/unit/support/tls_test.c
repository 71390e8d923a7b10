/*
 * tls: both ends in one process, bytes carried by hand between them. Certificates are made before the tests
 * (tests/support/certificates.py); XEBEC_TLS says where.
 */
#include "support/tls.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEARD_MAX = 1 << 20 };

/* One side: what it was told, and how it is. */
struct end {
    struct tls *tls;
    enum tls_result result;
    size_t length;
    char heard[HEARD_MAX];
};

struct pair {
    struct tls_context *server_context, *client_context;
    struct end server, client;
};

static const char *path_of(const char *name)
{
    static char paths[8][512];
    static unsigned turn;
    const char *directory = getenv("XEBEC_TLS");
    cr_assert(directory, "XEBEC_TLS is to be a directory that tests/support/certificates.py has filled");
    char *path = paths[turn++ % 8];
    if (!name)
        return NULL;
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static struct tls_setup setup_of(enum tls_role role, const char *certificate, const char *key, const char *ca)
{
    return (struct tls_setup){.role = role, .files = {path_of(certificate), path_of(key), path_of(ca)}};
}

static struct tls_context *context_of(const struct tls_setup *setup)
{
    struct tls_words problem = {.what = ""};
    struct tls_context *context = tls_context_new(setup, &problem);
    cr_assert(context, "%s", problem.what);
    return context;
}

static struct pair *pair_of(const struct tls_setup *server, const struct tls_setup *client, const char *name)
{
    struct pair *pair = calloc(1, sizeof *pair);
    pair->server_context = context_of(server);
    pair->client_context = context_of(client);
    pair->server.tls = tls_new(pair->server_context, NULL);
    pair->client.tls = tls_new(pair->client_context, name);
    cr_assert(pair->server.tls && pair->client.tls);
    return pair;
}

static struct pair *plain_pair(void)
{
    const struct tls_setup server = setup_of(TLS_SERVER, "server.crt", "server.key", NULL);
    const struct tls_setup client = setup_of(TLS_CLIENT, NULL, NULL, "ca.crt");
    return pair_of(&server, &client, "localhost");
}

static void pair_free(struct pair *pair)
{
    tls_free(pair->server.tls);
    tls_free(pair->client.tls);
    tls_context_unref(pair->server_context);
    tls_context_unref(pair->client_context);
    free(pair);
}

static void hear(struct end *end, const char *bytes, size_t length)
{
    size_t got;
    tls_feed(end->tls, bytes, length);
    while ((end->result = tls_read(end->tls, end->heard + end->length, HEARD_MAX - end->length, &got)) ==
           TLS_OK) {
        cr_assert_gt(got, 0);
        end->length += got;
    }
}

/* Carries what `from` has to say, so many bytes at a time. False: it was silent. */
static bool carry(struct end *from, struct end *to, size_t step)
{
    size_t length;
    const char *bytes = tls_sealed(from->tls, &length);
    if (!length)
        return false;
    char *copy = malloc(length); /* so that a read behind the end of a step is seen */
    memcpy(copy, bytes, length);
    tls_sent(from->tls, length);
    for (size_t at = 0; at < length; at += step) {
        size_t n = length - at < step ? length - at : step;
        hear(to, copy + at, n);
    }
    free(copy);
    return true;
}

static void talk(struct pair *pair, size_t step)
{
    size_t got;
    char none[1];
    if (!tls_is_open(pair->client.tls))
        pair->client.result = tls_read(pair->client.tls, none, sizeof none, &got);
    while (carry(&pair->client, &pair->server, step) || carry(&pair->server, &pair->client, step)) {
    }
}

static size_t say(struct end *end, const void *bytes, size_t length)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    size_t taken;
    cr_assert_eq(tls_write(end->tls, &piece, 1, &taken), TLS_OK);
    return taken;
}

/* --- sessions --- */

Test(tls, what_one_side_says_the_other_hears_whatever_pieces_it_comes_in)
{
    static const size_t steps[] = {1, 7, 1000, 1 << 20};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct pair *pair = plain_pair();
        talk(pair, steps[i]);
        cr_assert(tls_is_open(pair->client.tls) && tls_is_open(pair->server.tls));
        cr_expect(tls_chose_h2(pair->client.tls) && tls_chose_h2(pair->server.tls));
        cr_expect_eq(say(&pair->client, "question", 8), 8);
        cr_expect_eq(say(&pair->server, "answer", 6), 6);
        talk(pair, steps[i]);
        cr_expect_arr_eq(pair->server.heard, "question", 8);
        cr_expect_arr_eq(pair->client.heard, "answer", 6);
        pair_free(pair);
    }
}

Test(tls, nothing_is_taken_before_the_handshake_is_done)
{
    struct pair *pair = plain_pair();
    cr_expect_eq(say(&pair->client, "early", 5), 0);
    cr_expect_not(tls_is_open(pair->client.tls));
    pair_free(pair);
}

Test(tls, small_pieces_share_a_record_and_large_ones_fill_theirs)
{
    static char body[3 * TLS_RECORD_BYTES];
    struct pair *pair = plain_pair();
    size_t taken, sealed;
    char head[100] = "head";
    struct iovec pieces[] = {{head, sizeof head}, {body, 50}};
    talk(pair, 1 << 20);
    cr_assert_eq(tls_write(pair->server.tls, pieces, 2, &taken), TLS_OK);
    cr_expect_eq(taken, 150);
    tls_sealed(pair->server.tls, &sealed);
    cr_expect_lt(sealed, 150 + 30, "one record: %zu", sealed);
    talk(pair, 1 << 20);
    pieces[1].iov_len = sizeof body;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)(i * 31 >> 8);
    cr_assert_eq(tls_write(pair->server.tls, pieces, 2, &taken), TLS_OK);
    cr_expect_eq(taken, sizeof head + sizeof body);
    tls_sealed(pair->server.tls, &sealed);
    cr_expect_lt(sealed, taken + 4 * 30, "four records: %zu", sealed);
    talk(pair, 1 << 20);
    cr_expect_eq(pair->client.length, 150 + taken);
    cr_expect_eq(memcmp(pair->client.heard + 250, body, sizeof body), 0);
    pair_free(pair);
}

Test(tls, no_more_is_sealed_than_may_wait)
{
    static char body[1 << 20];
    struct pair *pair = plain_pair();
    size_t sealed;
    talk(pair, 1 << 20);
    size_t taken = say(&pair->server, body, sizeof body);
    cr_expect_geq(taken, TLS_SEALED_BYTES - 1000);
    cr_expect_leq(taken, TLS_SEALED_BYTES + TLS_RECORD_BYTES);
    cr_expect_eq(say(&pair->server, body, sizeof body), 0);
    tls_sealed(pair->server.tls, &sealed);
    tls_sent(pair->server.tls, sealed - 10); /* a little is left: so much may follow, no more */
    cr_expect_leq(say(&pair->server, body, sizeof body), TLS_SEALED_BYTES + TLS_RECORD_BYTES);
    pair_free(pair);
}

Test(tls, a_goodbye_is_told_from_silence)
{
    struct pair *pair = plain_pair();
    talk(pair, 1 << 20);
    cr_expect_eq(say(&pair->server, "bye", 3), 3);
    tls_close(pair->server.tls);
    tls_close(pair->server.tls);
    cr_expect_eq(say(&pair->server, "more", 4), 0);
    talk(pair, 1 << 20);
    cr_expect_eq(pair->client.length, 3);
    cr_expect_eq(pair->client.result, TLS_ENDED);
    pair_free(pair);
}

/* --- who is whom --- */

static void refused_by_client(const char *certificate, const char *key, const char *name, const char *words)
{
    const struct tls_setup server = setup_of(TLS_SERVER, certificate, key, NULL);
    const struct tls_setup client = setup_of(TLS_CLIENT, NULL, NULL, "ca.crt");
    struct pair *pair = pair_of(&server, &client, name);
    talk(pair, 1 << 20);
    cr_expect_eq(pair->client.result, TLS_FAILED, "%s as %s", certificate, name);
    cr_expect_eq(tls_failure(pair->client.tls), TLS_FAILURE_CERTIFICATE);
    cr_expect(strstr(tls_why(pair->client.tls), words), "%s", tls_why(pair->client.tls));
    cr_expect_eq(tls_failure(pair->server.tls), TLS_FAILURE_REFUSED, "%s", tls_why(pair->server.tls));
    pair_free(pair);
}

Test(tls, a_client_takes_the_right_server_alone)
{
    refused_by_client("server.crt", "server.key", "elsewhere", "hostname mismatch");
    refused_by_client("server.crt", "server.key", "10.9.8.7", "IP address mismatch");
    refused_by_client("stranger.crt", "stranger.key", "localhost", "unable to get local issuer certificate");
    refused_by_client("expired.crt", "expired.key", "localhost", "certificate has expired");
    const struct tls_setup server = setup_of(TLS_SERVER, "server.crt", "server.key", NULL);
    const struct tls_setup client = setup_of(TLS_CLIENT, NULL, NULL, "ca.crt");
    struct pair *pair = pair_of(&server, &client, "127.0.0.1");
    talk(pair, 1 << 20);
    cr_expect(tls_is_open(pair->client.tls), "%s", tls_why(pair->client.tls));
    pair_free(pair);
}

static struct pair *mutual(const char *certificate, const char *key, enum tls_peers peers)
{
    struct tls_setup server = setup_of(TLS_SERVER, "server.crt", "server.key", "ca.crt");
    const struct tls_setup client = setup_of(TLS_CLIENT, certificate, key, "ca.crt");
    server.peers = peers;
    struct pair *pair = pair_of(&server, &client, "localhost");
    talk(pair, 1 << 20);
    return pair;
}

Test(tls, a_server_may_want_to_know_its_clients)
{
    struct pair *pair = mutual("client.crt", "client.key", TLS_PEERS_REQUIRED);
    cr_expect(tls_is_open(pair->server.tls), "%s", tls_why(pair->server.tls));
    pair_free(pair);
    pair = mutual(NULL, NULL, TLS_PEERS_REQUIRED);
    cr_expect_eq(tls_failure(pair->server.tls), TLS_FAILURE_CERTIFICATE);
    cr_expect_not(tls_is_open(pair->server.tls));
    cr_expect_eq(tls_failure(pair->client.tls), TLS_FAILURE_REFUSED, "%s", tls_why(pair->client.tls));
    pair_free(pair);
    pair = mutual(NULL, NULL, TLS_PEERS_OPTIONAL);
    cr_expect(tls_is_open(pair->server.tls), "%s", tls_why(pair->server.tls));
    pair_free(pair);
    pair = mutual("stranger.crt", "stranger.key", TLS_PEERS_OPTIONAL);
    cr_expect_eq(tls_failure(pair->server.tls), TLS_FAILURE_CERTIFICATE, "%s", tls_why(pair->server.tls));
    pair_free(pair);
}

/* --- what is no TLS, or is broken on the way --- */

Test(tls, garbage_fails_and_says_so)
{
    static const char *const said[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff garbage",
                                       "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
                                       "\x80\x00\x00\x00\x00\x00\x00"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        struct pair *pair = plain_pair();
        hear(&pair->server, said[i], i < 1 ? strlen(said[i]) : i == 1 ? 13 : i == 2 ? 10 : 7);
        cr_expect_eq(pair->server.result, TLS_FAILED, "%zu", i);
        cr_expect_eq(tls_failure(pair->server.tls), TLS_FAILURE_MALFORMED, "%zu: %s", i,
                     tls_why(pair->server.tls));
        cr_expect(tls_why(pair->server.tls)[0]);
        size_t taken;
        cr_expect_eq(tls_write(pair->server.tls, NULL, 0, &taken), TLS_FAILED);
        pair_free(pair);
    }
}

Test(tls, a_bit_that_flips_is_noticed)
{
    struct pair *pair = plain_pair();
    size_t length;
    talk(pair, 1 << 20);
    say(&pair->client, "the truth", 9);
    char *bytes = (char *)(uintptr_t)tls_sealed(pair->client.tls, &length);
    bytes[length - 1] ^= 1;
    talk(pair, 1 << 20);
    cr_expect_eq(pair->server.result, TLS_FAILED);
    cr_expect_eq(pair->server.length, 0);
    pair_free(pair);
}

Test(tls, half_a_record_is_waited_for)
{
    struct pair *pair = plain_pair();
    size_t length;
    talk(pair, 1 << 20);
    say(&pair->client, "all or nothing", 14);
    const char *bytes = tls_sealed(pair->client.tls, &length);
    hear(&pair->server, bytes, length - 1);
    cr_expect_eq(pair->server.result, TLS_MORE);
    cr_expect_eq(pair->server.length, 0);
    hear(&pair->server, bytes + length - 1, 1);
    cr_expect_eq(pair->server.length, 14);
    pair_free(pair);
}

/* --- contexts --- */

static void refused(const struct tls_setup *setup, enum tls_file about, const char *words)
{
    struct tls_words problem = {.what = ""};
    struct tls_context *context = tls_context_new(setup, &problem);
    cr_expect_null(context, "%s", words);
    cr_expect_eq(problem.about, about, "%s", problem.what);
    cr_expect(strstr(problem.what, words), "expected %s, got %s", words, problem.what);
    tls_context_unref(context);
}

Test(tls, what_is_wrong_with_a_file_is_said)
{
    struct tls_setup setup = setup_of(TLS_SERVER, "nowhere.crt", "server.key", NULL);
    refused(&setup, TLS_FILE_CERTIFICATE, "cannot be read: No such file or directory");
    setup = setup_of(TLS_SERVER, ".", "server.key", NULL);
    refused(&setup, TLS_FILE_CERTIFICATE, "cannot be read: Is a directory");
    setup = setup_of(TLS_SERVER, "server.key", "server.key", NULL);
    refused(&setup, TLS_FILE_CERTIFICATE, "holds no certificate");
    setup = setup_of(TLS_SERVER, "broken.crt", "server.key", NULL);
    refused(&setup, TLS_FILE_CERTIFICATE, "certificate 2 in it is broken");
    setup = setup_of(TLS_SERVER, "server.crt", "server.crt", NULL);
    refused(&setup, TLS_FILE_KEY, "holds no private key");
    setup = setup_of(TLS_SERVER, "server.crt", "encrypted.key", NULL);
    refused(&setup, TLS_FILE_KEY, "is encrypted");
    setup = setup_of(TLS_SERVER, "server.crt", "client.key", NULL);
    refused(&setup, TLS_FILE_KEY, "is not the key of");
    setup = setup_of(TLS_SERVER, "server.crt", "server.key", "empty.crt");
    refused(&setup, TLS_FILE_CA, "holds no certificate");
    setup = setup_of(TLS_SERVER, "server.crt", "server.key", "large.crt");
    refused(&setup, TLS_FILE_CA, "cannot be read: File too large");
}

Test(tls, what_is_better_seen_to_is_said)
{
    struct tls_words warnings[TLS_WARNINGS_MAX];
    struct tls_setup setup = setup_of(TLS_SERVER, "server.crt", "server.key", NULL);
    struct tls_context *context = context_of(&setup);
    int64_t expires_s = tls_context_expires_s(context), day_s = 24 * 3600;
    cr_expect_eq(tls_context_warnings(context, expires_s - 8 * day_s, warnings), 0);
    cr_expect_eq(tls_context_warnings(context, expires_s - 6 * day_s, warnings), 1);
    cr_expect(strstr(warnings[0].what, "within a week"), "%s", warnings[0].what);
    cr_expect_eq(tls_context_warnings(context, expires_s, warnings), 1);
    cr_expect(strstr(warnings[0].what, "has expired"), "%s", warnings[0].what);
    cr_expect_eq(tls_context_warnings(context, expires_s - 40 * day_s, warnings), 1);
    cr_expect(strstr(warnings[0].what, "not valid yet"), "%s", warnings[0].what);
    tls_context_unref(context);
    setup = setup_of(TLS_SERVER, "server.crt", "exposed.key", NULL);
    context = context_of(&setup);
    cr_expect_eq(tls_context_warnings(context, expires_s - 8 * day_s, warnings), 1);
    cr_expect_eq(warnings[0].about, TLS_FILE_KEY);
    cr_expect(strstr(warnings[0].what, "every user"), "%s", warnings[0].what);
    tls_context_unref(context);
}

Test(tls, contexts_are_the_same_when_made_of_the_same_bytes)
{
    struct tls_setup setup = setup_of(TLS_CLIENT, NULL, NULL, "ca.crt");
    struct tls_context *a = context_of(&setup), *b = context_of(&setup);
    setup = setup_of(TLS_CLIENT, NULL, NULL, "other_ca.crt");
    struct tls_context *c = context_of(&setup);
    cr_expect(tls_context_same(a, b));
    cr_expect_not(tls_context_same(a, c));
    cr_expect_not(tls_context_same(a, NULL));
    cr_expect(tls_context_same(NULL, NULL));
    cr_expect(strstr(tls_context_pem(a, TLS_FILE_CA), "BEGIN CERTIFICATE"));
    tls_context_unref(a);
    tls_context_unref(b);
    tls_context_unref(c);
}
