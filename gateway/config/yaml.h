/*
 * yaml: YAML bytes -> a tree of nodes that know their line and column. The home of libyaml.
 * Knows no keys. What configuration has no use for is refused in words: several documents, anchors, aliases,
 * tags, merge keys, duplicate keys, deep nesting.
 */
#ifndef XEBEC_CONFIG_YAML_H
#define XEBEC_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/problems.h"
#include "support/arena.h"

#define NODE_DEPTH_MAX 32

enum node_kind {
    NODE_SCALAR,
    NODE_LIST,
    NODE_MAP,
    NODE_REFUSED, /* its problem has been told: whoever reads it need not tell another */
};

struct node {
    enum node_kind kind;
    bool quoted;           /* a scalar that was quoted or written as a block: text, never a number or null */
    uint32_t line, column; /* from 1; 0 for a node that is not from a file */
    const char *text;      /* a scalar's, terminated, no NUL inside */
    size_t length;
    const char *key; /* in a map: its key, terminated; else NULL */
    size_t key_length;
    uint32_t key_line, key_column;
    uint32_t index; /* place in its parent */
    uint32_t count; /* children, in the order of the file; keys are unique */
    const struct node *parent;
    struct node *first, *last, *next;
};

/*
 * The root, always a map; its memory and texts are the arena's. NULL with at least one problem (or
 * no_memory) when there is no tree at all; a tree may come with problems too. bytes: any bytes at all.
 */
struct node *node_read(struct arena *arena, const char *bytes, size_t length, struct problem_list *problems);

/* A map's value; NULL when there is none, or node is no map, or NULL. */
const struct node *node_get(const struct node *node, const char *key);
bool node_is(const struct node *node, const char *plain_text); /* an unquoted scalar that reads so */
bool node_is_null(const struct node *node);                    /* nothing, ~ or null */
const char *node_kind_name(const struct node *node);           /* "a list" */

/* Where it is, for a message: endpoints.digits.split[0]. Used in place: node_path(...).text */
struct node_path {
    char text[200];
};
struct node_path node_path(const struct node *node);

/* Adds "PATH: words" where a reader will look: at a scalar itself, at the key of a list or map. */
void node_problem(struct problem_list *list, const struct node *node, const char *format, ...)
    GW_PRINTF(3, 4);

#endif
