/*
 * keys: the key table. One row a key: where it stands, its type, default and bounds, the field it
 * fills, and what it means. The table drives reading, unknown keys, defaults and the documentation's lint;
 * a new key is a new row (and a reader, if it is a new type).
 */
#ifndef XEBEC_CONFIG_KEYS_H
#define XEBEC_CONFIG_KEYS_H

#include "config/config.h"
#include "config/problems.h"
#include "config/yaml.h"
#include "support/arena.h"

enum key_type {
    KEY_SECTION, /* a mapping of the keys below it; they fill the same struct */
    KEY_SWITCH,  /* a section, or `off`, which zeroes its field */
    KEY_INTEGER,
    KEY_DURATION,
    KEY_SIZE,
    KEY_PERCENT,
    KEY_BOOLEAN,
    KEY_CHOICE,
    KEY_SHARDS,
    KEY_ACCESS_LOG,
    KEY_TLS,     /* a section, and a context of what it names */
    KEY_MODEL_TLS, /* the same for models.NAME */
    KEY_SERVER_NAME,
    KEY_FILE,    /* the absolute path of a file */
    KEY_LISTEN,
    KEY_REDIS, /* a section, or its url alone */
    KEY_REDIS_URL,
    KEY_REDIS_PREFIX,
    KEY_PASSWORD_FILE,
    KEY_DATATYPE,
    KEY_SHAPE,
    KEY_MODELS,
    KEY_TENSORS,
    KEY_VERSIONS,
    KEY_REPLICAS,
    KEY_ENDPOINTS,
    KEY_ENDPOINT,
    KEY_SOLE_ARM,
    KEY_SPLIT,
    KEY_ARM_VERSION,
    KEY_ANSWER,
    KEY_WEIGHT,
    KEY_ARM_NAME,
    KEY_FRACTION, /* a percentage with decimals, as 0..1 */
    KEY_CANARY,   /* a section, into a struct of its own */
    KEY_STEPS,
    KEY_SHADOWS,
    KEY_REAL,
    KEY_STICKY, /* one of the ways to tell clients apart, or their salt */
};

struct key {
    const char *path; /* "models.NAME.batching.max_rows"; NAME is any name, [] any element of a list */
    enum key_type type;
    const char *fallback;     /* as it would be written; NULL: none */
    const char *least, *most; /* inclusive, as they would be written; NULL: no bounds */
    const char *const *words; /* KEY_CHOICE: in the order of its enum, NULL after the last */
    bool required;
    size_t offset, width; /* of the field, in the struct that its scope fills */
    const char *meaning;
};

/* config/key_table.c: all of them, in the order of the documentation. */
extern const struct key key_table[];
extern const size_t key_table_size;

/* What all readers share. */
struct config_reader {
    struct arena *arena; /* the configuration's */
    struct problem_list *problems;
    struct config *config; /* models come before endpoints, which refer to them */
};

/* Reads one value into its field, reporting what is wrong. base: the struct that the key's scope fills,
 * zeroed at first. */
typedef void key_reader(struct config_reader *reader, const struct key *key, const struct node *node,
                        void *base);

/* Reads every key whose path is `scope` and one name more. node NULL: all defaults. */
void keys_read(struct config_reader *reader, const struct node *node, const char *scope, void *base);
/* The same for a member of a collection: key's path and .NAME or []. */
void keys_read_member(struct config_reader *reader, const struct key *key, const struct node *member,
                      void *base);

/* NULL with problems->no_memory set when there is none. Zeroed. */
void *reader_array(struct config_reader *reader, size_t count, size_t size) GW_MUST_CHECK;
/* A copy for the configuration; never NULL: "" with problems->no_memory set when there is no memory. */
const char *reader_text(struct config_reader *reader, const char *text, size_t length);
/* Whether a value is of this kind; if not, says what was expected: "a mapping of names". */
bool reader_expects(struct config_reader *reader, const struct node *node, enum node_kind kind,
                    const char *expected);

/* config.c: NULL is like nothing but NULL. */
bool texts_same(const char *a, const char *b);
/* scalars.c */
key_reader read_number, read_boolean, read_choice, read_shards, read_access_log, read_file_path, read_listen, read_datatype,
    read_shape;
/* "host:port", "[v6]:port", "dns:host:port" or "unix:/path" of replicas; reports and returns NULL otherwise. */
const char *read_target(struct config_reader *reader, const struct node *node);
/* redis.c */
key_reader read_redis, read_redis_url, read_redis_prefix, read_password_file;
bool config_redis_same(const struct config_redis *a, const struct config_redis *b);
/* tls.c */
key_reader read_tls, read_model_tls, read_server_name;
/* models.c */
key_reader read_models, read_tensors, read_versions, read_replicas;
/* endpoints.c */
key_reader read_endpoints, read_endpoint_name, read_sole_arm, read_split, read_arm_version, read_answer;
/* canary.c */
key_reader read_fraction, read_steps, read_canary;
/* rollouts.c */
key_reader read_weight, read_arm_name, read_sticky;
bool weight_is_zero(const struct node *node); /* and nothing is wrong with it */
/* shadows.c */
key_reader read_shadows, read_real;
/* Of an endpoint that has its arms: whether its shadows go with them; reports otherwise. shadows: their list. */
void check_shadows(struct config_reader *reader, const struct config_endpoint *endpoint, const struct node *shadows);

/* endpoints.c: the version that "digits@linear" names; NULL when there is none, which is reported. */
const struct config_version *reader_version(struct config_reader *reader, const struct node *node);
/* The first tensor in which two signatures differ; NULL: none. */
const struct tensor_spec *signature_difference(const struct signature *a, const struct signature *b);

/* Whether the name of a model, version or endpoint is one; reports otherwise. */
bool reader_name(struct config_reader *reader, const struct node *node, const char *of_what);

#endif
