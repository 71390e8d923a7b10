/*
 * json: a YAML value as JSON text. Plain scalars are typed by YAML 1.2's core schema (null, booleans,
 * integers, floats), everything quoted is a string.
 */
#ifndef XEBEC_CONFIG_JSON_H
#define XEBEC_CONFIG_JSON_H

#include "config/yaml.h"
#include "support/buf.h"

/* Appended to out; check out->failed at the end. Integers keep every digit; .nan and .inf are "NaN" and
 * "Infinity". */
void node_write_json(const struct node *node, struct buf *out);

#endif
