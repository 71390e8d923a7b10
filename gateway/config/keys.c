/* keys: a mapping is read by the table of keys; and what all readers share. */
#include "config/keys.h"

#include <stdio.h>
#include <string.h>

#define SCOPE_ROOM 80 /* longer than any path of the table */

static void read_section(struct config_reader *reader, const struct key *key, const struct node *node,
                         void *base)
{
    keys_read(reader, node, key->path, base);
}
static key_reader read_switch;

static const struct {
    const char *name; /* for the documentation */
    key_reader *read;
} types[] = {
    [KEY_SECTION] = {"mapping", read_section},
    [KEY_SWITCH] = {"mapping, or off", read_switch},
    [KEY_INTEGER] = {"integer", read_number},
    [KEY_DURATION] = {"duration", read_number},
    [KEY_SIZE] = {"size", read_number},
    [KEY_PERCENT] = {"percent", read_number},
    [KEY_BOOLEAN] = {"boolean", read_boolean},
    [KEY_CHOICE] = {"one of", read_choice},
    [KEY_SHARDS] = {"integer, or cores", read_shards},
    [KEY_ACCESS_LOG] = {"off, stdout, or path", read_access_log},
    [KEY_TLS] = {"mapping", read_tls},
    [KEY_MODEL_TLS] = {"mapping", read_model_tls},
    [KEY_SERVER_NAME] = {"word", read_server_name},
    [KEY_FILE] = {"path", read_file_path},
    [KEY_LISTEN] = {"address", read_listen},
    [KEY_REDIS] = {"mapping, or URL", read_redis},
    [KEY_REDIS_URL] = {"URL", read_redis_url},
    [KEY_REDIS_PREFIX] = {"word", read_redis_prefix},
    [KEY_PASSWORD_FILE] = {"path", read_password_file},
    [KEY_DATATYPE] = {"datatype", read_datatype},
    [KEY_SHAPE] = {"list of integers", read_shape},
    [KEY_MODELS] = {"mapping of names", read_models},
    [KEY_TENSORS] = {"mapping of names", read_tensors},
    [KEY_VERSIONS] = {"mapping of names", read_versions},
    [KEY_REPLICAS] = {"list of addresses", read_replicas},
    [KEY_ENDPOINTS] = {"mapping of names", read_endpoints},
    [KEY_ENDPOINT] = {"endpoint", read_endpoint_name},
    [KEY_SOLE_ARM] = {"model@version", read_sole_arm},
    [KEY_SPLIT] = {"list of mappings", read_split},
    [KEY_ARM_VERSION] = {"model@version", read_arm_version},
    [KEY_ANSWER] = {"mapping of values", read_answer},
    [KEY_WEIGHT] = {"number", read_weight},
    [KEY_ARM_NAME] = {"word", read_arm_name},
    [KEY_FRACTION] = {"percent", read_fraction},
    [KEY_CANARY] = {"mapping", read_canary},
    [KEY_STEPS] = {"list of percents", read_steps},
    [KEY_SHADOWS] = {"list of mappings", read_shadows},
    [KEY_REAL] = {"number", read_real},
    [KEY_STICKY] = {"word", read_sticky},
};

static const char *name_in_scope(const struct key *key, const char *scope);
static void refuse_unknown_keys(struct config_reader *reader, const struct node *node, const char *scope);
static void read_key(struct config_reader *reader, const struct key *key, const struct node *node,
                     const char *name, void *base);

void keys_read(struct config_reader *reader, const struct node *node, const char *scope, void *base)
{
    if (node && !node_is_null(node)) {
        if (!reader_expects(reader, node, NODE_MAP, "a mapping of keys"))
            node = NULL;
        else
            refuse_unknown_keys(reader, node, scope);
    }
    for (size_t i = 0; i < key_table_size; i++) {
        const char *name = name_in_scope(&key_table[i], scope);
        if (name)
            read_key(reader, &key_table[i], node, name, base);
    }
}

void keys_read_member(struct config_reader *reader, const struct key *key, const struct node *member,
                      void *base)
{
    char scope[SCOPE_ROOM];
    snprintf(scope, sizeof scope, "%s%s", key->path, member->key ? ".NAME" : "[]");
    keys_read(reader, member, scope, base);
}

void config_print_keys(struct buf *out)
{
    for (size_t i = 0; i < key_table_size; i++) {
        const struct key *key = &key_table[i];
        if (key->type == KEY_SECTION)
            continue;
        buf_printf(out, "%s\t%s", key->path, types[key->type].name);
        for (uint32_t word = 0; key->words && key->words[word]; word++)
            buf_printf(out, "%s%s", word ? ", " : " ", key->words[word]);
        buf_printf(out, "\t%s\t%s",
                   key->fallback   ? key->fallback
                   : key->required ? "required"
                                   : "none",
                   key->meaning);
        if (key->least)
            buf_printf(out, " (%s to %s)", key->least, key->most);
        buf_text(out, "\n");
    }
}

void *reader_array(struct config_reader *reader, size_t count, size_t size)
{
    size_t bytes;
    void *array = __builtin_mul_overflow(count, size, &bytes) ? NULL : arena_zalloc(reader->arena, bytes);
    reader->problems->no_memory |= !array;
    return array;
}

const char *reader_text(struct config_reader *reader, const char *text, size_t length)
{
    const char *copy = arena_text(reader->arena, text, length);
    reader->problems->no_memory |= !copy;
    return copy ? copy : "";
}

bool reader_expects(struct config_reader *reader, const struct node *node, enum node_kind kind,
                    const char *expected)
{
    if (node->kind == kind)
        return true;
    if (node->kind == NODE_SCALAR && !node_is_null(node))
        node_problem(reader->problems, node, "expected %s, got %s", expected,
                     quote(node->text, node->length).text);
    else if (node->kind != NODE_REFUSED)
        node_problem(reader->problems, node, "expected %s, got %s", expected, node_kind_name(node));
    return false;
}

/* The last part of a key's path if the rest is `scope`, else NULL. */
static const char *name_in_scope(const struct key *key, const char *scope)
{
    size_t length = strlen(scope);
    if (strncmp(key->path, scope, length) != 0)
        return NULL;
    const char *name = key->path + length;
    if (length && *name++ != '.')
        return NULL;
    return strchr(name, '.') ? NULL : name;
}

static void refuse_unknown_keys(struct config_reader *reader, const struct node *node, const char *scope)
{
    for (const struct node *child = node->first; child; child = child->next) {
        struct words words;
        bool known = false;
        words_init(&words, child->key, child->key_length);
        for (size_t i = 0; i < key_table_size && !known; i++) {
            const char *name = name_in_scope(&key_table[i], scope);
            if (name) {
                known = strcmp(name, child->key) == 0;
                words_offer(&words, name);
            }
        }
        if (known)
            continue;
        struct node_path path = node_path(node);
        problem_add(reader->problems, child->key_line, child->key_column, "unknown key %s %s%s%s",
                    quote(child->key, child->key_length).text, path.text[0] ? "in " : "at the top level",
                    path.text, words_hint(&words, "the keys here are"));
    }
}

/* One key of `node`, which is NULL where nothing is asked for. */
static void read_key(struct config_reader *reader, const struct key *key, const struct node *node,
                     const char *name, void *base)
{
    const struct node *value = node_get(node, name);
    if (value && value->kind == NODE_REFUSED)
        return;
    if (value || key->type == KEY_SECTION || key->type == KEY_SWITCH) {
        types[key->type].read(reader, key, value, base);
    } else if (key->fallback) {
        struct node fallback = {.kind = NODE_SCALAR, .text = key->fallback, .length = strlen(key->fallback)};
        types[key->type].read(reader, key, &fallback, base);
    } else if (key->required && node) {
        node_problem(reader->problems, node, "needs %s: %s", name, key->meaning);
    }
}

static void read_switch(struct config_reader *reader, const struct key *key, const struct node *node,
                        void *base)
{
    bool off = node && (node_is(node, "off") || node_is(node, "false"));
    bool on = node && (node_is(node, "on") || node_is(node, "true"));
    if (node && !off && !on && !node_is_null(node) &&
        !reader_expects(reader, node, NODE_MAP, "a mapping of keys, or off"))
        node = NULL;
    keys_read(reader, off || on ? NULL : node, key->path, base);
    if (off)
        memset((char *)base + key->offset, 0, key->width);
}
