/* scalars: reads the values of the key table that are one value: numbers, words, addresses, shapes. */
#include "config/keys.h"
#include "config/units.h"

#include <arpa/inet.h>
#include <sched.h>
#include <string.h>

#define UNIX_PATH_MAX  107                 /* sockaddr_un.sun_path, less its terminator */
#define HOST_BYTES_MAX 253                 /* RFC 1035 */
#define ELEMENTS_MAX   ((uint64_t)1 << 31) /* of a row, and so of a size */

/* A network address in its parts, borrowed from the text. */
struct host_port {
    const char *host, *port;
    size_t host_length, port_length;
    bool bracketed; /* [v6] */
};

static bool split_host_port(const char *text, size_t length, struct host_port *parts);
static bool port_is_valid(const struct host_port *parts, bool zero_allowed);
static bool host_is_name(const struct host_port *parts);
static bool numeric_host(const struct host_port *parts, char out[INET6_ADDRSTRLEN]);
static const char *unix_path(struct config_reader *reader, const struct node *node, bool *is_unix);

/* --- numbers --- */

static const struct {
    enum quantity quantity;
    const char *expected;
} number_forms[] = {
    [KEY_INTEGER] = {QUANTITY_INTEGER, "an integer such as 8"},
    [KEY_DURATION] = {QUANTITY_DURATION, "a duration such as 20ms"},
    [KEY_SIZE] = {QUANTITY_SIZE, "a size such as 64MiB"},
    [KEY_PERCENT] = {QUANTITY_PERCENT, "a percentage such as 25%"},
};

static void store_number(const struct key *key, uint64_t value, void *base)
{
    char *field = (char *)base + key->offset;
    uint32_t narrow = (uint32_t)value;
    if (key->width == sizeof narrow)
        memcpy(field, &narrow, sizeof narrow);
    else
        memcpy(field, &value, sizeof value);
}

/* A bound of the table; it always parses. */
static uint64_t bound(enum quantity quantity, const char *text)
{
    uint64_t value = 0;
    quantity_parse(quantity, text, strlen(text), &value);
    return value;
}

void read_number(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    enum quantity quantity = number_forms[key->type].quantity;
    const char *expected = number_forms[key->type].expected;
    uint64_t value;
    if (!reader_expects(reader, node, NODE_SCALAR, expected))
        return;
    struct quoted written = quote(node->text, node->length);
    enum quantity_fault fault = quantity_parse(quantity, node->text, node->length, &value);
    if (node_is_null(node))
        node_problem(reader->problems, node, "expected %s, got nothing", expected);
    else if (fault == QUANTITY_NOT_A_NUMBER || fault == QUANTITY_NO_UNIT)
        node_problem(reader->problems, node, "expected %s, got %s", expected, written.text);
    else if (fault == QUANTITY_UNKNOWN_UNIT)
        node_problem(reader->problems, node, "expected %s, got %s; the units are %s", expected, written.text,
                     quantity_units(quantity));
    else if (fault == QUANTITY_OUT_OF_RANGE || value < bound(quantity, key->least) ||
             value > bound(quantity, key->most))
        node_problem(reader->problems, node, "expected %s to %s, got %s", key->least, key->most,
                     written.text);
    else if (quantity == QUANTITY_INTEGER && node->quoted)
        node_problem(reader->problems, node, "expected %s, got the text %s; remove the quotes", expected,
                     written.text);
    else
        store_number(key, value, base);
}

void read_shards(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct key as_integer = *key;
    as_integer.type = KEY_INTEGER;
    if (!node_is(node, "cores")) {
        read_number(reader, &as_integer, node, base);
        return;
    }
    cpu_set_t cores;
    uint64_t count = 1;
    if (sched_getaffinity(0, sizeof cores, &cores) == 0)
        count = (uint64_t)CPU_COUNT(&cores);
    uint64_t most = bound(QUANTITY_INTEGER, key->most);
    store_number(key, count < most ? count : most, base);
}

/* --- words --- */

static bool node_is_one_of(const struct node *node, const char *const *words)
{
    for (; *words; words++)
        if (node_is(node, *words))
            return true;
    return false;
}

void read_boolean(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    static const char *const truths[] = {"true", "True", "TRUE", "on", NULL};
    static const char *const falsehoods[] = {"false", "False", "FALSE", "off", NULL};
    bool value = node_is_one_of(node, truths);
    if (!reader_expects(reader, node, NODE_SCALAR, "true or false"))
        return;
    if (!value && !node_is_one_of(node, falsehoods))
        node_problem(reader->problems, node, "expected true or false, got %s",
                     quote(node->text, node->length).text);
    else
        memcpy((char *)base + key->offset, &value, sizeof value);
}

void read_choice(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct words words;
    if (!reader_expects(reader, node, NODE_SCALAR, "one word"))
        return;
    words_init(&words, node->text, node->length);
    for (uint32_t i = 0; key->words[i]; i++) {
        if (strcmp(key->words[i], node->text) == 0) {
            store_number(key, i, base);
            return;
        }
        words_offer(&words, key->words[i]);
    }
    node_problem(reader->problems, node, "expected one of %s, got %s%s", words.list,
                 quote(node->text, node->length).text, words_hint(&words, NULL));
}

void read_datatype(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct words words;
    if (!reader_expects(reader, node, NODE_SCALAR, "a datatype such as FP32"))
        return;
    enum datatype datatype = datatype_parse(node->text, node->length);
    if (datatype != DT_INVALID) {
        store_number(key, datatype, base);
        return;
    }
    words_init(&words, node->text, node->length);
    for (enum datatype known = DT_INVALID + 1; known < DT_COUNT; known++)
        words_offer(&words, datatype_name(known));
    node_problem(reader->problems, node, "expected a datatype such as FP32, got %s%s",
                 quote(node->text, node->length).text, words_hint(&words, "the datatypes are"));
}

void read_access_log(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    (void)key;
    struct config *config = base;
    const char *expected = "off, stdout or the absolute path of a file";
    if (!reader_expects(reader, node, NODE_SCALAR, expected) || node_is(node, "off") ||
        node_is(node, "false"))
        return;
    if (node->text[0] != '/' && strcmp(node->text, "stdout") != 0)
        node_problem(reader->problems, node, "expected %s, got %s", expected,
                     quote(node->text, node->length).text);
    else
        config->access_log = reader_text(reader, node->text, node->length);
}

void read_file_path(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    const char *expected = "the absolute path of a file";
    const char **field = (const char **)(void *)((char *)base + key->offset);
    if (!reader_expects(reader, node, NODE_SCALAR, expected))
        return;
    if (node->text[0] != '/')
        node_problem(reader->problems, node, "expected %s, got %s", expected,
                     quote(node->text, node->length).text);
    else
        *field = reader_text(reader, node->text, node->length);
}

/* --- addresses --- */

void read_listen(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    const char *expected = "an address such as 127.0.0.1:8080, \"*:8080\", \"[::]:8080\" or unix:/path";
    struct config_address *address = (struct config_address *)(void *)((char *)base + key->offset);
    struct host_port parts;
    char host[INET6_ADDRSTRLEN];
    bool is_unix;
    if (!reader_expects(reader, node, NODE_SCALAR, expected))
        return;
    address->text = reader_text(reader, node->text, node->length);
    address->unix_path = unix_path(reader, node, &is_unix);
    if (is_unix)
        return;
    if (split_host_port(node->text, node->length, &parts) && numeric_host(&parts, host) &&
        port_is_valid(&parts, true)) {
        address->host = reader_text(reader, host, strlen(host));
        address->port = reader_text(reader, parts.port, parts.port_length);
        return;
    }
    node_problem(reader->problems, node, "expected %s, got %s", expected,
                 quote(node->text, node->length).text);
}

const char *read_target(struct config_reader *reader, const struct node *node)
{
    const char *expected = "an address such as 127.0.0.1:9000, host:9000, dns:host:9000 or unix:/path";
    struct host_port parts;
    char host[INET6_ADDRSTRLEN];
    bool is_unix;
    if (node->kind == NODE_REFUSED || !reader_expects(reader, node, NODE_SCALAR, expected))
        return NULL;
    const char *path = unix_path(reader, node, &is_unix);
    if (is_unix)
        return path ? reader_text(reader, node->text, node->length) : NULL;
    size_t prefix = strncmp(node->text, "dns:", 4) == 0 ? 4 : 0;
    if (split_host_port(node->text + prefix, node->length - prefix, &parts) && port_is_valid(&parts, false) &&
        (parts.bracketed ? !prefix && numeric_host(&parts, host) : host_is_name(&parts)))
        return reader_text(reader, node->text, node->length);
    node_problem(reader->problems, node, "expected %s, got %s", expected,
                 quote(node->text, node->length).text);
    return NULL;
}

/* The path of "unix:/path"; *is_unix even when it is refused, which then has been told. */
static const char *unix_path(struct config_reader *reader, const struct node *node, bool *is_unix)
{
    const char *path = node->text + 5;
    *is_unix = strncmp(node->text, "unix:", 5) == 0;
    if (!*is_unix)
        return NULL;
    if (path[0] == '/' && strlen(path) <= UNIX_PATH_MAX)
        return reader_text(reader, path, strlen(path));
    node_problem(reader->problems, node, "expected unix: and an absolute path of up to %d bytes, got %s",
                 UNIX_PATH_MAX, quote(node->text, node->length).text);
    return NULL;
}

static bool split_host_port(const char *text, size_t length, struct host_port *parts)
{
    const char *colon = memrchr(text, ':', length);
    if (!colon)
        return false;
    *parts = (struct host_port){.host = text, .host_length = (size_t)(colon - text), .port = colon + 1};
    parts->port_length = length - parts->host_length - 1;
    parts->bracketed = parts->host_length >= 2 && text[0] == '[' && colon[-1] == ']';
    if (parts->bracketed) {
        parts->host++;
        parts->host_length -= 2;
    }
    return parts->host_length > 0 && (parts->bracketed || !memchr(parts->host, ':', parts->host_length));
}

static bool port_is_valid(const struct host_port *parts, bool zero_allowed)
{
    uint64_t port;
    bool padded = parts->port_length > 1 && parts->port[0] == '0';
    return !padded &&
           quantity_parse(QUANTITY_INTEGER, parts->port, parts->port_length, &port) == QUANTITY_OK &&
           port <= UINT16_MAX && (port > 0 || zero_allowed);
}

static bool host_is_name(const struct host_port *parts)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return parts->host_length <= HOST_BYTES_MAX && strspn(parts->host, letters) == parts->host_length &&
           parts->host[0] != '-' && parts->host[0] != '.';
}

/* Into `out` as the system writes it, so that equal addresses look equal. `*` is every IPv4 address. */
static bool numeric_host(const struct host_port *parts, char out[INET6_ADDRSTRLEN])
{
    char text[INET6_ADDRSTRLEN];
    unsigned char bytes[sizeof(struct in6_addr)];
    int family = parts->bracketed ? AF_INET6 : AF_INET;
    if (parts->host_length >= sizeof text)
        return false;
    memcpy(text, parts->host, parts->host_length);
    text[parts->host_length] = '\0';
    if (!parts->bracketed && strcmp(text, "*") == 0)
        strcpy(text, "0.0.0.0");
    return inet_pton(family, text, bytes) == 1 && inet_ntop(family, bytes, out, INET6_ADDRSTRLEN);
}

/* --- shapes --- */

/* TENSOR_ANY where it is that, or where it is wrong, which then has been told. */
static int64_t read_dimension(struct config_reader *reader, const struct node *node)
{
    uint64_t size;
    if (node->kind == NODE_REFUSED || !reader_expects(reader, node, NODE_SCALAR, "-1 or a size") ||
        node_is(node, "-1"))
        return TENSOR_ANY;
    struct quoted written = quote(node->text, node->length);
    if (node->index == 0) {
        node_problem(reader->problems, node, "the first size is the row dimension and must be -1, got %s",
                     written.text);
        return TENSOR_ANY;
    }
    if (!node->quoted && quantity_parse(QUANTITY_INTEGER, node->text, node->length, &size) == QUANTITY_OK &&
        size > 0 && size <= ELEMENTS_MAX)
        return (int64_t)size;
    node_problem(reader->problems, node, "expected -1 or 1 to 2147483648, got %s", written.text);
    return TENSOR_ANY;
}

void read_shape(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    (void)key;
    struct tensor_spec *spec = base;
    uint64_t elements = 1;
    if (!reader_expects(reader, node, NODE_LIST, "a list of sizes such as [-1, 64]"))
        return;
    if (node->count == 0 || node->count > TENSOR_DIMS_MAX) {
        node_problem(reader->problems, node, "expected 1 to %d sizes such as [-1, 64], got %u",
                     TENSOR_DIMS_MAX, node->count);
        return;
    }
    for (const struct node *child = node->first; child; child = child->next) {
        int64_t size = read_dimension(reader, child);
        spec->shape[spec->dims++] = size;
        if (size != TENSOR_ANY && __builtin_mul_overflow(elements, (uint64_t)size, &elements))
            elements = UINT64_MAX;
    }
    if (elements > ELEMENTS_MAX)
        node_problem(reader->problems, node, "a row of this shape has more than 2147483648 elements");
}
