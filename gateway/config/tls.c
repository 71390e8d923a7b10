/*
 * tls: reads tls and models.NAME.tls: the files' names, and then the files themselves, so that what is wrong
 * with a certificate is a problem of the configuration, with its place, before anything is served or changed
 * by it.
 */
#include "config/keys.h"

#include <stdio.h>
#include <string.h>

#include "support/log.h"
#include "support/loop.h"

#define NAME_BYTES_MAX 253

/* The key of each file, by whose TLS it is. */
static const char *const file_keys[][TLS_FILE_COUNT] = {
    [TLS_SERVER] =
        {[TLS_FILE_CERTIFICATE] = "certificate", [TLS_FILE_KEY] = "key", [TLS_FILE_CA] = "client_ca"},
    [TLS_CLIENT] = {[TLS_FILE_CERTIFICATE] = "certificate", [TLS_FILE_KEY] = "key", [TLS_FILE_CA] = "ca"},
};

void read_server_name(struct config_reader *reader, const struct key *key, const struct node *node,
                      void *base)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:";
    const char **field = (const char **)(void *)((char *)base + key->offset);
    const char *expected = "a host's name, or a numeric address, without a port";
    if (!reader_expects(reader, node, NODE_SCALAR, expected))
        return;
    if (!node->length || node->length > NAME_BYTES_MAX || strspn(node->text, letters) != node->length)
        node_problem(reader->problems, node, "expected %s, got %s", expected,
                     quote(node->text, node->length).text);
    else
        *field = reader_text(reader, node->text, node->length);
}

/* Room for a few more; they are few. */
static void add_warning(struct config_reader *reader, const struct node *node, const char *path,
                        const char *what)
{
    struct config *config = reader->config;
    struct config_problem *more = reader_array(reader, config->n_warnings + 1, sizeof *more);
    const char *words = arena_printf(reader->arena, "%s: %s %s", node_path(node).text, path, what);
    reader->problems->no_memory |= !words;
    if (!more || !words)
        return;
    if (config->n_warnings)
        memcpy(more, config->warnings, config->n_warnings * sizeof *more);
    more[config->n_warnings++] = (struct config_problem){node->line, node->column, words};
    config->warnings = more;
}

/* What the files are: a context; or a problem, where the file is named. */
static void open_files(struct config_reader *reader, const struct node *node, enum tls_role role,
                       struct config_tls *tls)
{
    struct tls_setup setup = {.role = role, .least = tls->least, .peers = tls->clients};
    struct tls_words words, warnings[TLS_WARNINGS_MAX];
    memcpy(setup.files, tls->files, sizeof setup.files);
    tls->context = tls_context_new(&setup, &words);
    if (!tls->context) {
        const struct node *at = node_get(node, file_keys[role][words.about]);
        node_problem(reader->problems, at ? at : node, "%.100s %s", at ? tls->files[words.about] : "TLS",
                     words.what);
        return;
    }
    uint32_t n = tls_context_warnings(tls->context, (int64_t)(loop_wall_us() / 1000000), warnings);
    for (uint32_t i = 0; i < n; i++)
        add_warning(reader, node_get(node, file_keys[role][warnings[i].about]), tls->files[warnings[i].about],
                    warnings[i].what);
}

/* Whether every file that was named is an absolute path; else that has been told. */
static bool all_named(const struct node *node, enum tls_role role, const struct config_tls *tls)
{
    for (enum tls_file file = 0; file < TLS_FILE_COUNT; file++)
        if (node_get(node, file_keys[role][file]) && !tls->files[file])
            return false;
    return true;
}

void read_tls(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct config_tls *tls = &((struct config *)base)->tls;
    if (node_is_null(node) || node_is(node, "off") || node_is(node, "false"))
        return;
    if (!reader_expects(reader, node, NODE_MAP, "a mapping with certificate and key, or off"))
        return;
    keys_read(reader, node, key->path, base);
    if (node_get(node, "clients") && !node_get(node, "client_ca"))
        node_problem(reader->problems, node_get(node, "clients"),
                     "says whether clients must show a certificate, and needs client_ca: whose those may be");
    if (tls->files[TLS_FILE_CERTIFICATE] && tls->files[TLS_FILE_KEY] && all_named(node, TLS_SERVER, tls))
        open_files(reader, node, TLS_SERVER, tls);
}

void read_model_tls(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct config_tls *tls = &((struct config_model *)base)->tls;
    if (node_is_null(node) || node_is(node, "off") || node_is(node, "false"))
        return;
    if (!reader_expects(reader, node, NODE_MAP, "a mapping with ca, or off"))
        return;
    keys_read(reader, node, key->path, base);
    const struct node *certificate = node_get(node, "certificate"), *private = node_get(node, "key");
    if (!certificate != !private)
        node_problem(reader->problems, certificate ? certificate : private,
                     "certificate and key go together: give both, or neither");
    else if (tls->files[TLS_FILE_CA] && all_named(node, TLS_CLIENT, tls))
        open_files(reader, node, TLS_CLIENT, tls);
}

/* --- what others ask --- */

void config_warnings_print(const struct config *config, struct buf *out)
{
    for (uint32_t i = 0; i < config->n_warnings; i++)
        buf_printf(out, "%s:%u:%u: warning: %s\n", config->path, config->warnings[i].line,
                   config->warnings[i].column, config->warnings[i].what);
}

void config_warnings_log(const struct config *config)
{
    for (uint32_t i = 0; i < config->n_warnings; i++)
        log_warn("config_warning", LOG_TEXT("file", config->path), LOG_INT("line", config->warnings[i].line),
                 LOG_TEXT("what", config->warnings[i].what));
}

static void see_files(const struct config_tls *tls, void (*see)(void *owner, const char *path), void *owner)
{
    for (enum tls_file file = 0; file < TLS_FILE_COUNT; file++)
        if (tls->files[file])
            see(owner, tls->files[file]);
}

void config_each_file(const struct config *config, void (*see)(void *owner, const char *path), void *owner)
{
    see(owner, config->path);
    see_files(&config->tls, see, owner);
    for (uint32_t i = 0; i < config->n_models; i++)
        see_files(&config->models[i]->tls, see, owner);
}
