/* document: the parser's tree, and the ways to look at it. */
#include "config/document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TREE_BYTES_MAX = 64 << 20 };

static enum gw_status refuse(const struct problem_list *problems, const char *what, struct gw_err *err)
{
    if (problems->no_memory || !problems->count)
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory for %s", what);
    return gw_err_set(err, GW_E_INVALID, "%s cannot be read: line %u: %s", what, problems->kept[0].line,
                      problems->kept[0].what);
}

enum gw_status document_read(struct document *document, const char *what, const char *bytes, size_t length,
                             struct gw_err *err)
{
    struct problem_list *problems = calloc(1, sizeof *problems); /* large for a stack */
    *document = (struct document){.arena = {.limit = TREE_BYTES_MAX}};
    if (!problems)
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory for %s", what);
    document->root = node_read(&document->arena, bytes, length, problems);
    enum gw_status status = GW_OK;
    if (!document->root || problem_any(problems)) {
        status = refuse(problems, what, err);
        document_clear(document);
    }
    free(problems);
    return status;
}

void document_clear(struct document *document)
{
    arena_clear(&document->arena);
    document->root = NULL;
}

const char *node_text(const struct node *node, const char *key, const char *absent)
{
    const struct node *value = node_get(node, key);
    return value && value->kind == NODE_SCALAR && !node_is_null(value) ? value->text : absent;
}

bool node_to_number(const struct node *node, double *number)
{
    char *end;
    if (!node || node->kind != NODE_SCALAR || node->quoted || !node->length)
        return false;
    double read = strtod(node->text, &end);
    if (*end || !isfinite(read) || strpbrk(node->text, "xX \t\n"))
        return false;
    *number = read;
    return true;
}

double node_number(const struct node *node, const char *key, double absent)
{
    double number;
    return node_to_number(node_get(node, key), &number) ? number : absent;
}

bool node_true(const struct node *node, const char *key)
{
    const struct node *value = node_get(node, key);
    return value && node_is(value, "true");
}
