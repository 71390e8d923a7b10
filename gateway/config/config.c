/*
 * config: from a file to a configuration that can be relied on.
 *
 *   bytes -> yaml          a tree of nodes with places
 *         -> keys          the table walks the tree and fills the structs; scalars, models, endpoints and the
 *                          others read the values
 *         -> here          what concerns several keys, and what follows from them
 *
 * Problems gather on the way (problems.h); with any of them there is no configuration.
 */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/keys.h"

#define FILE_BYTES_MAX ((size_t)1 << 20)
#define TREE_BYTES_MAX ((size_t)256 << 20) /* a megabyte of brackets and commas stays under it */

/* What a struct config lies in. */
struct config_whole {
    struct config config;
    struct arena arena;                     /* everything the configuration points at */
    const struct config_endpoint **by_name; /* the endpoints, sorted */
};

static struct config_whole *whole_of(const struct config *config);
static struct config_whole *read_whole(const char *path, const char *bytes, size_t length,
                                       struct problem_list *problems);
static void check_together(struct config_reader *reader, const struct node *root);
static void finish(struct config_reader *reader, struct config_whole *whole);

struct config *config_load(const char *path, struct config_problems *problems)
{
    struct problem_list found = {.count = 0};
    struct config *config = NULL;
    size_t length = 0;
    char *bytes = malloc(FILE_BYTES_MAX + 1); /* one more tells a file that is too large */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = bytes && fd >= 0 ? 1 : -1;

    *problems = (struct config_problems){.count = 0};
    while (n > 0 && length <= FILE_BYTES_MAX) {
        do
            n = read(fd, bytes + length, FILE_BYTES_MAX + 1 - length);
        while (n < 0 && errno == EINTR);
        if (n > 0)
            length += (size_t)n;
    }
    if (n >= 0) {
        config = config_parse(path, bytes, length, problems);
    } else {
        found.no_memory = !bytes;
        problem_add(&found, 0, 0, "cannot be read: %s", strerror(errno));
        problem_publish(&found, problems);
    }
    if (fd >= 0)
        close(fd);
    free(bytes);
    return config;
}

struct config *config_parse(const char *path, const char *bytes, size_t length,
                            struct config_problems *problems)
{
    struct problem_list found = {.count = 0};
    struct config_whole *whole = NULL;
    *problems = (struct config_problems){.count = 0};
    if (length > FILE_BYTES_MAX)
        problem_add(&found, 0, 0, "the file is larger than 1 MiB; is this the configuration?");
    else
        whole = read_whole(path, bytes, length, &found);
    if (!problem_any(&found))
        return &whole->config;
    problem_publish(&found, problems);
    if (whole)
        config_unref(&whole->config);
    return NULL;
}

struct config *config_ref(struct config *config)
{
    atomic_fetch_add_explicit(&config->refs, 1, memory_order_relaxed);
    return config;
}

void config_unref(struct config *config)
{
    if (!config || atomic_fetch_sub_explicit(&config->refs, 1, memory_order_acq_rel) > 1)
        return;
    struct config_whole *whole = whole_of(config);
    tls_context_unref(config->tls.context);
    for (uint32_t i = 0; i < config->n_models; i++)
        tls_context_unref(config->models[i]->tls.context);
    arena_clear(&whole->arena);
    free(whole);
}

static int compare_names(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

const struct config_endpoint *config_endpoint(const struct config *config, const char *name, size_t length)
{
    const struct config_endpoint *const *by_name = whole_of(config)->by_name;
    uint32_t low = 0, high = config->n_endpoints;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare_names(name, length, by_name[middle]->name, strlen(by_name[middle]->name));
        if (order == 0)
            return by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

bool texts_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

const char *config_fixed_difference(const struct config *now, const struct config *next)
{
    return strcmp(now->listen.text, next->listen.text) != 0 ? "listen"
           : strcmp(now->admin.text, next->admin.text) != 0 ? "admin"
           : now->shards != next->shards                    ? "shards"
           : now->transport != next->transport              ? "transport"
           : now->cache_bytes != next->cache_bytes          ? "cache.memory"
           : !config_redis_same(&now->redis, &next->redis)  ? "cache.redis"
           : !texts_same(now->access_log, next->access_log) ? "log.access"
           : !texts_same(now->state_dir, next->state_dir)   ? "state_dir"
                                                            : NULL;
}

static bool specs_same(const struct tensor_spec *a, uint32_t n_a, const struct tensor_spec *b, uint32_t n_b)
{
    if (n_a != n_b)
        return false;
    for (uint32_t i = 0; i < n_a; i++)
        if (strcmp(a[i].name, b[i].name) != 0 || !tensor_spec_same(&a[i], &b[i]))
            return false;
    return true;
}

static bool replicas_same(const struct config_version *a, const struct config_version *b)
{
    if (a->n_replicas != b->n_replicas)
        return false;
    for (uint32_t i = 0; i < a->n_replicas; i++)
        if (strcmp(a->replicas[i], b->replicas[i]) != 0)
            return false;
    return true;
}

static bool batching_same(const struct config_batching *a, const struct config_batching *b)
{
    return a->policy == b->policy && a->max_rows == b->max_rows && a->max_delay_us == b->max_delay_us &&
           a->max_queued_rows == b->max_queued_rows && a->calls == b->calls && a->admission == b->admission;
}

static bool models_same(const struct config_model *a, const struct config_model *b)
{
    const struct signature *left = &a->signature, *right = &b->signature;
    return specs_same(left->inputs, left->n_inputs, right->inputs, right->n_inputs) &&
           specs_same(left->outputs, left->n_outputs, right->outputs, right->n_outputs) &&
           batching_same(&a->batching, &b->batching) && a->health_interval_us == b->health_interval_us &&
           a->health_timeout_us == b->health_timeout_us && tls_context_same(a->tls.context, b->tls.context) &&
           texts_same(a->tls.server_name, b->tls.server_name) &&
           a->discovery_interval_us == b->discovery_interval_us && a->attempts == b->attempts &&
           a->retry_percent == b->retry_percent && a->hedge_percent == b->hedge_percent;
}

bool config_version_same(const struct config_version *a, const struct config_version *b)
{
    return strcmp(a->full_name, b->full_name) == 0 && a->least_slo_us == b->least_slo_us &&
           (a->least_slo_us || a->shadow_timeout_us == b->shadow_timeout_us) && replicas_same(a, b) &&
           models_same(a->model, b->model);
}

static struct config_whole *whole_of(const struct config *config)
{
    return (struct config_whole *)(void *)((char *)config - offsetof(struct config_whole, config));
}

/* NULL only when there was no memory or no tree; one with problems is not to be used. */
static struct config_whole *read_whole(const char *path, const char *bytes, size_t length,
                                       struct problem_list *problems)
{
    struct arena tree = {.limit = TREE_BYTES_MAX};
    struct config_whole *whole = NULL;
    const struct node *root = node_read(&tree, bytes, length, problems);
    if (!root)
        goto end;
    whole = calloc(1, sizeof *whole);
    if (!whole) {
        problems->no_memory = true;
        goto end;
    }
    atomic_init(&whole->config.refs, 1);
    struct config_reader reader = {.arena = &whole->arena, .problems = problems, .config = &whole->config};
    whole->config.path = reader_text(&reader, path, strlen(path));
    keys_read(&reader, root, "", &whole->config);
    if (!problems->no_memory)
        check_together(&reader, root);
    if (!problem_any(problems))
        finish(&reader, whole);
end:
    arena_clear(&tree);
    return whole;
}

/* --- what concerns several keys --- */

static bool is_wildcard(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* Whether two listeners would share clients between them: the kernel allows it, by SO_REUSEPORT. */
static bool addresses_collide(const struct config_address *a, const struct config_address *b)
{
    if (a->unix_path && b->unix_path)
        return strcmp(a->unix_path, b->unix_path) == 0;
    if (!a->host || !b->host || strcmp(a->port, b->port) != 0 || strcmp(a->port, "0") == 0)
        return false;
    return strcmp(a->host, b->host) == 0 || is_wildcard(a->host) || is_wildcard(b->host);
}

/* The node of the key that was written, of two: the later one, where someone would change it. */
static const struct node *written(const struct node *one, const struct node *other)
{
    if (!one || !other)
        return one ? one : other;
    return one->line > other->line ? one : other;
}

static void check_together(struct config_reader *reader, const struct node *root)
{
    const struct config *config = reader->config;
    const struct node *limits = node_get(root, "limits");
    if (addresses_collide(&config->listen, &config->admin))
        node_problem(reader->problems, written(node_get(root, "listen"), node_get(root, "admin")),
                     "listen (%.64s) and admin (%.64s) are the same address; change one", config->listen.text,
                     config->admin.text);
    if (config->limits.held_bytes && config->limits.held_bytes < config->limits.body_bytes)
        node_problem(reader->problems, written(node_get(limits, "held"), node_get(limits, "body")),
                     "limits.held is less than limits.body: no request of the largest size could be taken; "
                     "raise held or lower body");
}

/* --- what follows from them --- */

static void note_slo(const struct config_endpoint *endpoint, const struct config_arm *arm)
{
    struct config_version *version = (struct config_version *)arm->version; /* ours, and not yet shared */
    if (version->least_slo_us == 0 || endpoint->slo_us < version->least_slo_us)
        version->least_slo_us = endpoint->slo_us;
}

static void note_timeout(const struct config_shadow *shadow)
{
    struct config_version *version = (struct config_version *)shadow->version; /* likewise */
    if (version->shadow_timeout_us == 0 || shadow->timeout_us < version->shadow_timeout_us)
        version->shadow_timeout_us = shadow->timeout_us;
}

static int by_endpoint_name(const void *a, const void *b)
{
    const struct config_endpoint *left = *(const struct config_endpoint *const *)a;
    const struct config_endpoint *right = *(const struct config_endpoint *const *)b;
    return strcmp(left->name, right->name);
}

static void finish(struct config_reader *reader, struct config_whole *whole)
{
    struct config *config = &whole->config;
    uint32_t n_versions = 0;
    for (uint32_t i = 0; i < config->n_models; i++)
        n_versions += config->models[i]->n_versions;
    struct config_version **versions = reader_array(reader, n_versions, sizeof *versions);
    whole->by_name = reader_array(reader, config->n_endpoints, sizeof *whole->by_name);
    if (!versions || !whole->by_name)
        return;
    config->versions = versions;
    for (uint32_t i = 0; i < config->n_models; i++)
        for (uint32_t j = 0; j < config->models[i]->n_versions; j++) {
            struct config_version *version = config->models[i]->versions[j];
            version->index = config->n_versions;
            versions[config->n_versions++] = version;
        }
    for (uint32_t i = 0; i < config->n_endpoints; i++) {
        const struct config_endpoint *endpoint = whole->by_name[i] = config->endpoints[i];
        for (uint32_t j = 0; j < endpoint->n_arms; j++)
            note_slo(endpoint, &endpoint->arms[j]);
        for (uint32_t j = 0; j < endpoint->n_shadows; j++)
            note_timeout(&endpoint->shadows[j]);
    }
    qsort(whole->by_name, config->n_endpoints, sizeof *whole->by_name, by_endpoint_name);
}
