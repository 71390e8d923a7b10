/* models: reads models: their signatures, versions and replicas. */
#include "config/keys.h"

#include <string.h>

#define NAME_BYTES_MAX        64
#define TENSOR_NAME_BYTES_MAX 256
#define TENSORS_MAX           64  /* inputs or outputs of one model */
#define REPLICAS_MAX          256 /* of one version */

static void read_tensor(struct config_reader *reader, const struct key *key, const struct node *node,
                        struct tensor_spec *spec);

bool reader_name(struct config_reader *reader, const struct node *node, const char *of_what)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    if (node->key_length > 0 && node->key_length <= NAME_BYTES_MAX &&
        strspn(node->key, letters) == node->key_length && !strchr("_-.", node->key[0]))
        return true;
    problem_add(reader->problems, node->key_line, node->key_column,
                "%s cannot be the name of %s; names are letters, digits, _ - and . up to %d, "
                "starting with a letter or digit",
                quote(node->key, node->key_length).text, of_what, NAME_BYTES_MAX);
    return false;
}

/* A mapping of names with at least one in it; reports otherwise. */
static bool some_names(struct config_reader *reader, const struct node *node, const char *expected)
{
    if (!reader_expects(reader, node, NODE_MAP, expected))
        return false;
    if (node->count == 0)
        node_problem(reader->problems, node, "expected %s, got none", expected);
    return node->count > 0;
}

void read_models(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct config *config = base;
    if (!some_names(reader, node, "a mapping of at least one model"))
        return;
    struct config_model **models = reader_array(reader, node->count, sizeof *models);
    if (!models)
        return;
    for (const struct node *child = node->first; child; child = child->next) {
        struct config_model *model = reader_array(reader, 1, sizeof *model);
        if (!model)
            return;
        reader_name(reader, child, "a model");
        model->name = reader_text(reader, child->key, child->key_length);
        models[config->n_models++] = model;
        config->models = models;
        if (child->kind != NODE_REFUSED)
            keys_read_member(reader, key, child, model);
    }
}

void read_tensors(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct config_model *model = base;
    struct tensor_spec **field = (struct tensor_spec **)(void *)((char *)base + key->offset);
    uint32_t *count =
        field == &model->signature.inputs ? &model->signature.n_inputs : &model->signature.n_outputs;
    if (!some_names(reader, node, "a mapping of at least one tensor"))
        return;
    if (node->count > TENSORS_MAX) {
        node_problem(reader->problems, node, "expected up to %d tensors, got %u", TENSORS_MAX, node->count);
        return;
    }
    *field = reader_array(reader, node->count, sizeof **field);
    if (!*field)
        return;
    for (const struct node *child = node->first; child; child = child->next)
        read_tensor(reader, key, child, &(*field)[(*count)++]);
}

static void read_tensor(struct config_reader *reader, const struct key *key, const struct node *node,
                        struct tensor_spec *spec)
{
    spec->name = reader_text(reader, node->key, node->key_length);
    if (node->key_length == 0 || node->key_length > TENSOR_NAME_BYTES_MAX)
        problem_add(reader->problems, node->key_line, node->key_column,
                    "%s cannot be the name of a tensor; names have 1 to %d bytes",
                    quote(node->key, node->key_length).text, TENSOR_NAME_BYTES_MAX);
    if (node->kind == NODE_REFUSED)
        return;
    keys_read_member(reader, key, node, spec);
    const struct node *encoding = node_get(node, "encoding");
    if (encoding && spec->datatype != DT_INVALID && spec->datatype != DT_BYTES)
        node_problem(reader->problems, encoding,
                     "is for BYTES alone; %s is always written as numbers: remove it",
                     datatype_name(spec->datatype));
}

/* "digits@linear"; as reader_text(). */
static const char *full_name(struct config_reader *reader, const struct config_model *model,
                             const struct config_version *version)
{
    const char *name = arena_printf(reader->arena, "%s@%s", model->name, version->name);
    reader->problems->no_memory |= !name;
    return name ? name : "";
}

void read_versions(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct config_model *model = base;
    if (!some_names(reader, node, "a mapping of at least one version"))
        return;
    struct config_version **versions = reader_array(reader, node->count, sizeof *versions);
    if (!versions)
        return;
    for (const struct node *child = node->first; child; child = child->next) {
        struct config_version *version = reader_array(reader, 1, sizeof *version);
        if (!version)
            return;
        reader_name(reader, child, "a version");
        version->name = reader_text(reader, child->key, child->key_length);
        version->full_name = full_name(reader, model, version);
        version->model = model;
        version->line = child->key_line;
        versions[model->n_versions++] = version;
        model->versions = versions;
        if (child->kind != NODE_REFUSED)
            keys_read_member(reader, key, child, version);
    }
}

void read_replicas(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    (void)key;
    struct config_version *version = base;
    if (!reader_expects(reader, node, NODE_LIST, "a list of addresses"))
        return;
    if (node->count == 0 || node->count > REPLICAS_MAX) {
        node_problem(reader->problems, node, "expected 1 to %d addresses, got %u", REPLICAS_MAX, node->count);
        return;
    }
    const char **replicas = reader_array(reader, node->count, sizeof *replicas);
    if (!replicas)
        return;
    version->replicas = replicas;
    for (const struct node *child = node->first; child; child = child->next) {
        const char *address = read_target(reader, child);
        if (!address)
            continue;
        for (uint32_t i = 0; i < version->n_replicas; i++)
            if (strcmp(replicas[i], address) == 0)
                node_problem(reader->problems, child, "%s is listed twice; list a replica once",
                             quote(address, strlen(address)).text);
        replicas[version->n_replicas++] = address;
    }
}
