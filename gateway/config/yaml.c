/* yaml: libyaml's events -> a tree of nodes, and the problems that YAML itself can have. */
#include "config/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#define UTF8_BOM "\xEF\xBB\xBF"
#define CORE_TAG "tag:yaml.org,2002:" /* what !! stands for */

struct tree_builder {
    struct arena *arena;
    struct problem_list *problems;
    const char *bytes; /* what the parser reads */
    size_t length;
    yaml_parser_t parser;
    struct node *root;
    struct node *open; /* the innermost list or map that has not ended */
    uint32_t depth;
    struct { /* the key that waits for its value */
        const char *text;
        size_t length;
        uint32_t line, column;
        bool refused;
    } key;
};

/* What an event does to the reading of the file. */
enum turn { TURN_ON, TURN_END };

static enum turn take_event(struct tree_builder *builder, const yaml_event_t *event);
static enum turn take_document(struct tree_builder *builder, const yaml_event_t *event);
static enum turn take_scalar(struct tree_builder *builder, const yaml_event_t *event);
static enum turn take_key(struct tree_builder *builder, const yaml_event_t *event);
static enum turn take_alias(struct tree_builder *builder, const yaml_event_t *event);
static enum turn open_container(struct tree_builder *builder, const yaml_event_t *event);
static enum turn close_container(struct tree_builder *builder);
static struct node *new_node(struct tree_builder *builder, enum node_kind kind, const yaml_event_t *event);
static void refuse_properties(struct tree_builder *builder, const yaml_event_t *event);
static void refuse_duplicates(struct tree_builder *builder, struct node *map);
static void tell_parser_error(struct tree_builder *builder);
static struct node *judge_root(struct tree_builder *builder);

static uint32_t line_of(const yaml_mark_t *mark)
{
    return (uint32_t)mark->line + 1;
}
static uint32_t column_of(const yaml_mark_t *mark)
{
    return (uint32_t)mark->column + 1;
}

struct node *node_read(struct arena *arena, const char *bytes, size_t length, struct problem_list *problems)
{
    if (length >= 3 && memcmp(bytes, UTF8_BOM, 3) == 0) {
        bytes += 3;
        length -= 3;
    }
    struct tree_builder builder = {.arena = arena, .problems = problems, .bytes = bytes, .length = length};
    if (!yaml_parser_initialize(&builder.parser)) {
        problems->no_memory = true;
        return NULL;
    }
    yaml_parser_set_encoding(&builder.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&builder.parser, (const unsigned char *)bytes, length);

    enum turn turn = TURN_ON;
    while (turn == TURN_ON) {
        yaml_event_t event;
        if (!yaml_parser_parse(&builder.parser, &event)) {
            tell_parser_error(&builder);
            builder.root = NULL;
            break;
        }
        turn = event.type == YAML_STREAM_END_EVENT ? TURN_END : take_event(&builder, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&builder.parser);
    return judge_root(&builder);
}

const struct node *node_get(const struct node *node, const char *key)
{
    if (node && node->kind == NODE_MAP)
        for (const struct node *child = node->first; child; child = child->next)
            if (strcmp(child->key, key) == 0)
                return child;
    return NULL;
}

bool node_is(const struct node *node, const char *plain_text)
{
    return node->kind == NODE_SCALAR && !node->quoted && strcmp(node->text, plain_text) == 0;
}

bool node_is_null(const struct node *node)
{
    return node_is(node, "") || node_is(node, "~") || node_is(node, "null") || node_is(node, "Null") ||
           node_is(node, "NULL");
}

const char *node_kind_name(const struct node *node)
{
    if (node_is_null(node))
        return "nothing";
    return node->kind == NODE_LIST ? "a list" : node->kind == NODE_MAP ? "a mapping" : "a single value";
}

static void append_path(struct node_path *path, size_t *used, const struct node *node)
{
    if (!node->parent)
        return;
    append_path(path, used, node->parent);
    size_t room = sizeof path->text - *used;
    int length;
    if (node->key) {
        struct quoted key = quote(node->key, node->key_length);
        size_t bare = strlen(key.text) - 2;
        length = snprintf(path->text + *used, room, "%s%.*s", *used ? "." : "", (int)bare, key.text + 1);
    } else {
        length = snprintf(path->text + *used, room, "[%u]", node->index);
    }
    if ((size_t)length < room)
        *used += (size_t)length;
    else
        path->text[*used] = '\0'; /* the inner end of a path that long is left out */
}

struct node_path node_path(const struct node *node)
{
    struct node_path path = {""};
    size_t used = 0;
    append_path(&path, &used, node);
    return path;
}

void node_problem(struct problem_list *list, const struct node *node, const char *format, ...)
{
    char what[PROBLEM_ROOM];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    bool at_key = node->key && (node->kind == NODE_LIST || node->kind == NODE_MAP);
    uint32_t line = at_key ? node->key_line : node->parent ? node->line : 0;
    uint32_t column = at_key ? node->key_column : node->parent ? node->column : 0;
    struct node_path path = node_path(node);
    problem_add(list, line, column, "%s%s%s", path.text, path.text[0] ? ": " : "", what);
}

/* --- events --- */

static enum turn take_event(struct tree_builder *builder, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return take_document(builder, event);
    case YAML_SCALAR_EVENT:
        return take_scalar(builder, event);
    case YAML_ALIAS_EVENT:
        return take_alias(builder, event);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return open_container(builder, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return close_container(builder);
    default:
        return TURN_ON;
    }
}

static enum turn take_document(struct tree_builder *builder, const yaml_event_t *event)
{
    if (!builder->root)
        return TURN_ON;
    problem_add(builder->problems, line_of(&event->start_mark), column_of(&event->start_mark),
                "a second document starts here; a configuration is one document: remove the ---");
    return TURN_END;
}

static bool key_expected(const struct tree_builder *builder)
{
    return builder->open && builder->open->kind == NODE_MAP && !builder->key.text;
}

static enum turn take_scalar(struct tree_builder *builder, const yaml_event_t *event)
{
    refuse_properties(builder, event);
    if (key_expected(builder))
        return take_key(builder, event);
    const char *text = (const char *)event->data.scalar.value;
    struct node *node = new_node(builder, NODE_SCALAR, event);
    if (!node)
        return TURN_END;
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->length = event->data.scalar.length;
    node->text = arena_text(builder->arena, text, node->length);
    if (!node->text) {
        builder->problems->no_memory = true;
        return TURN_END;
    }
    if (memchr(text, '\0', node->length)) {
        node_problem(builder->problems, node, "contains a NUL character; remove the \\0");
        node->kind = NODE_REFUSED;
    }
    return TURN_ON;
}

static enum turn take_key(struct tree_builder *builder, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    bool merge = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(text, "<<") == 0;
    bool nul = memchr(text, '\0', length) != NULL;
    builder->key.text = arena_text(builder->arena, text, length);
    if (!builder->key.text) {
        builder->problems->no_memory = true;
        return TURN_END;
    }
    builder->key.length = length;
    builder->key.line = line_of(&event->start_mark);
    builder->key.column = column_of(&event->start_mark);
    builder->key.refused = merge || nul;
    if (merge)
        problem_add(builder->problems, builder->key.line, builder->key.column,
                    "merge keys (<<) are not read; write the keys out");
    if (nul)
        problem_add(builder->problems, builder->key.line, builder->key.column,
                    "key %s contains a NUL character; remove the \\0", quote(text, length).text);
    return TURN_ON;
}

static enum turn take_alias(struct tree_builder *builder, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    problem_add(builder->problems, line_of(&event->start_mark), column_of(&event->start_mark),
                "aliases (*%.40s) are not read; write the value out", name);
    if (key_expected(builder)) { /* a key that nobody can name */
        builder->root = NULL;
        return TURN_END;
    }
    return new_node(builder, NODE_REFUSED, event) ? TURN_ON : TURN_END;
}

static enum turn open_container(struct tree_builder *builder, const yaml_event_t *event)
{
    refuse_properties(builder, event);
    const char *refusal = NULL;
    if (key_expected(builder))
        refusal = "a list or mapping cannot be a key; write a name";
    else if (builder->depth == NODE_DEPTH_MAX)
        refusal = "nested deeper than 32 levels";
    if (refusal) {
        problem_add(builder->problems, line_of(&event->start_mark), column_of(&event->start_mark), "%s",
                    refusal);
        builder->root = NULL;
        return TURN_END;
    }
    struct node *node =
        new_node(builder, event->type == YAML_MAPPING_START_EVENT ? NODE_MAP : NODE_LIST, event);
    if (!node)
        return TURN_END;
    builder->open = node;
    builder->depth++;
    return TURN_ON;
}

static enum turn close_container(struct tree_builder *builder)
{
    struct node *ended = builder->open;
    if (ended->kind == NODE_MAP)
        refuse_duplicates(builder, ended);
    builder->open = (struct node *)ended->parent;
    builder->depth--;
    return TURN_ON;
}

/* A node in its place: under the pending key, at the end of the open list, or as the root. */
static struct node *new_node(struct tree_builder *builder, enum node_kind kind, const yaml_event_t *event)
{
    struct node *node = arena_zalloc(builder->arena, sizeof *node);
    if (!node) {
        builder->problems->no_memory = true;
        builder->root = NULL;
        return NULL;
    }
    struct node *parent = builder->open;
    node->kind = kind;
    node->text = "";
    node->line = line_of(&event->start_mark);
    node->column = column_of(&event->start_mark);
    node->parent = parent;
    bool refused = builder->key.text && builder->key.refused;
    if (builder->key.text) {
        node->key = builder->key.text;
        node->key_length = builder->key.length;
        node->key_line = builder->key.line;
        node->key_column = builder->key.column;
        builder->key.text = NULL;
    }
    if (!parent) {
        builder->root = node;
    } else if (!refused) { /* under a refused key it is read, and belongs to nobody */
        node->index = parent->count++;
        *(parent->last ? &parent->last->next : &parent->first) = node;
        parent->last = node;
    }
    return node;
}

static void refuse_properties(struct tree_builder *builder, const yaml_event_t *event)
{
    const char *anchor, *tag;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = (const char *)event->data.scalar.anchor;
        tag = (const char *)event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = (const char *)event->data.sequence_start.anchor;
        tag = (const char *)event->data.sequence_start.tag;
    } else {
        anchor = (const char *)event->data.mapping_start.anchor;
        tag = (const char *)event->data.mapping_start.tag;
    }
    uint32_t line = line_of(&event->start_mark), column = column_of(&event->start_mark);
    if (anchor)
        problem_add(builder->problems, line, column,
                    "anchors (&%.40s) are not read; write the value out where it is needed", anchor);
    if (tag) {
        char name[64];
        bool core = strncmp(tag, CORE_TAG, strlen(CORE_TAG)) == 0;
        snprintf(name, sizeof name, "%s%s", core ? "!!" : "", core ? tag + strlen(CORE_TAG) : tag);
        problem_add(builder->problems, line, column, "tags (%s) are not read; quote what must stay text",
                    quote(name, strlen(name)).text);
    }
}

static int by_key_then_place(const void *a, const void *b)
{
    const struct node *left = *(struct node *const *)a, *right = *(struct node *const *)b;
    int order = strcmp(left->key, right->key);
    return order ? order : left->index < right->index ? -1 : 1;
}

/* The first of several equal keys stays; sorting keeps a map of a hundred thousand keys affordable. */
static void refuse_duplicates(struct tree_builder *builder, struct node *map)
{
    if (map->count < 2)
        return;
    struct node **sorted = arena_array(builder->arena, map->count, sizeof *sorted);
    if (!sorted) {
        builder->problems->no_memory = true;
        return;
    }
    uint32_t n = 0;
    for (struct node *child = map->first; child; child = child->next)
        sorted[n++] = child;
    qsort(sorted, n, sizeof *sorted, by_key_then_place);
    const struct node *kept = sorted[0];
    for (uint32_t i = 1; i < n; i++) {
        if (strcmp(kept->key, sorted[i]->key) != 0) {
            kept = sorted[i];
            continue;
        }
        struct node_path path = node_path(map);
        problem_add(builder->problems, sorted[i]->key_line, sorted[i]->key_column,
                    "duplicate key %s %s%s; it is first at line %u", quote(kept->key, kept->key_length).text,
                    path.text[0] ? "in " : "at the top level", path.text, kept->key_line);
        sorted[i]->key = NULL; /* marked for removal */
    }
    struct node **link = &map->first;
    map->last = NULL;
    map->count = 0;
    for (struct node *child = map->first; child; child = child->next)
        if (child->key) {
            child->index = map->count++;
            *link = map->last = child;
            link = &child->next;
        }
    *link = NULL;
}

/* --- the file as a whole --- */

static struct node *judge_root(struct tree_builder *builder)
{
    struct node *root = builder->root;
    if (builder->problems->no_memory)
        return NULL;
    if (root && root->kind == NODE_MAP)
        return root;
    if (problem_any(builder->problems))
        return NULL;
    if (!root || node_is_null(root))
        problem_add(builder->problems, 0, 0,
                    "the file is empty; it needs at least a model: see configs/quickstart.yaml");
    else
        problem_add(builder->problems, root->line, root->column,
                    "expected keys such as models: at the top level, got %s", node_kind_name(root));
    return NULL;
}

/* The reader's errors carry an offset alone. */
static void place_of_offset(const char *bytes, size_t offset, uint32_t *line, uint32_t *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (bytes[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)bytes[i] & 0xC0) != 0x80) {
            ++*column;
        }
    }
}

static void tell_reader_error(struct tree_builder *builder)
{
    const yaml_parser_t *parser = &builder->parser;
    size_t offset = parser->problem_offset < builder->length ? parser->problem_offset : builder->length;
    uint32_t line, column;
    place_of_offset(builder->bytes, offset, &line, &column);
    unsigned byte = offset < builder->length ? (unsigned char)builder->bytes[offset] : 0;
    if (strcmp(parser->problem, "control characters are not allowed") != 0)
        problem_add(builder->problems, line, column, "not UTF-8 (byte 0x%02x); save the file as UTF-8", byte);
    else if (byte == 0)
        problem_add(builder->problems, line, column, "a NUL byte; is this a text file?");
    else
        problem_add(builder->problems, line, column, "a control character (U+%04X); remove it",
                    (unsigned)parser->problem_value);
}

/* The mistakes that people make, by what libyaml says to them: its words alone rarely show the fix. */
static const struct {
    const char *problem, *context, *fix;
} syntax_fixes[] = {
    {"cannot start any token", "",
     "; indent with spaces, not tabs, and quote text that starts with @, ` or %"},
    {"", "scanning an alias", "; quote text that starts with *"},
    {"", "scanning an anchor", "; quote text that starts with &"},
    {"", "flow node", "; quote text that contains [ ] { } or a comma"},
    {"", "flow sequence", "; close the ["},
    {"", "flow mapping", "; close the {"},
    {"", "quoted scalar", "; close the quote"},
    {"mapping values are not allowed", "",
     "; check the indentation, and quote text that contains a colon and a space"},
    {"did not find expected key", "", "; check the indentation"},
    {"expected <document start>", "", "; remove what follows the end of the document"},
};

static void tell_syntax_error(struct problem_list *problems, const yaml_parser_t *parser)
{
    const char *problem = parser->problem ? parser->problem : "it cannot be read";
    const char *context = parser->context ? parser->context : "";
    const char *fix = "";
    for (size_t i = 0; i < sizeof syntax_fixes / sizeof syntax_fixes[0] && !*fix; i++)
        if (strstr(problem, syntax_fixes[i].problem) && strstr(context, syntax_fixes[i].context))
            fix = syntax_fixes[i].fix;
    char since[32] = "";
    if (*context && parser->context_mark.line < parser->problem_mark.line)
        snprintf(since, sizeof since, " from line %u", line_of(&parser->context_mark));
    problem_add(problems, line_of(&parser->problem_mark), column_of(&parser->problem_mark),
                "not valid YAML: %s%s%s%s%s", problem, *context ? " " : "", context, since, fix);
}

static void tell_parser_error(struct tree_builder *builder)
{
    const yaml_parser_t *parser = &builder->parser;
    if (parser->error == YAML_MEMORY_ERROR) {
        builder->problems->no_memory = true;
        return;
    }
    if (parser->error == YAML_READER_ERROR) {
        tell_reader_error(builder);
        return;
    }
    tell_syntax_error(builder->problems, parser);
}
