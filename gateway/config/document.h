/*
 * document: a JSON text that somebody else wrote (an operator, a file of our own, Redis, another gateway), as a tree. Read by
 * the parser of the configuration, of whose language JSON is a part; so it is as bounded, and as used to hostile bytes.
 */
#ifndef XEBEC_CONFIG_DOCUMENT_H
#define XEBEC_CONFIG_DOCUMENT_H

#include "config/json.h"
#include "config/yaml.h"
#include "support/arena.h"
#include "support/err.h"

struct document {
    struct arena arena;      /* the tree's, and the caller's too */
    const struct node *root; /* a map */
};

/* bytes: any at all. On an error (GW_E_INVALID, GW_E_NO_MEMORY) there is nothing to clear. what: what it is, for its words. */
GW_MUST_CHECK enum gw_status document_read(struct document *document, const char *what, const char *bytes, size_t length,
                                           struct gw_err *err);
void document_clear(struct document *document);

/* A member of a map, read leniently: a member that is not there, or is null, or of another kind, is what `absent` says. */
const char *node_text(const struct node *node, const char *key, const char *absent);
double node_number(const struct node *node, const char *key, double absent);
bool node_true(const struct node *node, const char *key);

/* A scalar that is a finite number, written as JSON writes it. */
bool node_to_number(const struct node *node, double *number);

#endif
