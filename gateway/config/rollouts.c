/* rollouts: reads how an endpoint's requests are shared out: weights, names of arms, what is sticky.
 */
#include "config/keys.h"
#include "config/units.h"

#include <stdlib.h>
#include <string.h>

#define WEIGHT_MOST       1e6
#define WEIGHT_LENGTH_MAX 32
#define WORD_LENGTH_MAX   64
#define FIELD_LENGTH_MAX  128
#define DIGITS            "0123456789"
#define LETTERS           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* --- arms --- */

/* Digits, and digits behind a point. */
static bool parse_decimal(const struct node *node, double *value)
{
    size_t length = decimal_length(node->text);
    if (node->quoted || !length || length != node->length || length > WEIGHT_LENGTH_MAX)
        return false;
    *value = strtod(node->text, NULL);
    return true;
}

bool weight_is_zero(const struct node *node)
{
    double value;
    return node->kind == NODE_SCALAR && parse_decimal(node, &value) && !(value > 0);
}

void read_weight(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    double value;
    const char *expected = "a number from 0 to 1000000, such as 10 or 0.5";
    if (!reader_expects(reader, node, NODE_SCALAR, expected))
        return;
    if (!parse_decimal(node, &value) || value > WEIGHT_MOST)
        node_problem(reader->problems, node, "expected %s, got %s", expected,
                     quote(node->text, node->length).text);
    else
        memcpy((char *)base + key->offset, &value, sizeof value);
}

/* Of characters that headers, cookies and labels can carry as they are. */
static bool is_word(const struct node *node, const char *more)
{
    size_t length = strspn(node->text, LETTERS DIGITS);
    while (node->text[length] && strchr(more, node->text[length]))
        length += 1 + strspn(node->text + length + 1, LETTERS DIGITS);
    return length && length == node->length && length <= WORD_LENGTH_MAX;
}

void read_arm_name(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    const char *expected = "at most 64 letters, digits, _ - . and @";
    const char **name = (const char **)(void *)((char *)base + key->offset);
    if (!reader_expects(reader, node, NODE_SCALAR, expected))
        return;
    if (!is_word(node, "_-.@"))
        node_problem(reader->problems, node, "expected %s, got %s", expected,
                     quote(node->text, node->length).text);
    else
        *name = reader_text(reader, node->text, node->length);
}

/* --- sticky --- */

static const char *lower_case(struct config_reader *reader, const struct node *node)
{
    char *name = reader_array(reader, (uint32_t)node->length + 1, 1);
    for (size_t i = 0; name && i < node->length; i++)
        name[i] = (char)(node->text[i] | (node->text[i] >= 'A' && node->text[i] <= 'Z' ? 0x20 : 0));
    return name ? name : "";
}

static bool sticky_fits(struct config_reader *reader, enum sticky_kind kind, const struct node *node)
{
    const char *expected = kind == STICKY_HEADER   ? "the name of a header such as x-user-id"
                           : kind == STICKY_COOKIE ? "the name of a cookie such as session"
                           : kind == STICKY_CLIENT ? "true; leave the key out for false"
                                                   : "the name of a field such as user_id";
    bool fits = reader_expects(reader, node, NODE_SCALAR, expected);
    if (!fits)
        return false;
    fits = kind == STICKY_CLIENT  ? node_is(node, "true")
           : kind == STICKY_FIELD ? node->length && node->length <= FIELD_LENGTH_MAX
                                  : is_word(node, "_-.!#$%&'*+^`|~");
    if (!fits)
        node_problem(reader->problems, node, "expected %s, got %s", expected,
                     quote(node->text, node->length).text);
    return fits;
}

/* sticky.header, .cookie, .field, .client and .salt, told apart by the last word of their path. */
void read_sticky(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct config_sticky *sticky = (struct config_sticky *)(void *)((char *)base + key->offset);
    const char *word = strrchr(key->path, '.') + 1;
    enum sticky_kind kind = !strcmp(word, "header")   ? STICKY_HEADER
                            : !strcmp(word, "cookie") ? STICKY_COOKIE
                            : !strcmp(word, "field")  ? STICKY_FIELD
                            : !strcmp(word, "client") ? STICKY_CLIENT
                                                      : STICKY_NONE;
    if (!sticky_fits(reader, kind == STICKY_NONE ? STICKY_FIELD : kind, node))
        return;
    if (kind == STICKY_NONE) {
        sticky->salt = reader_text(reader, node->text, node->length);
        return;
    }
    if (sticky->kind != STICKY_NONE) {
        node_problem(reader->problems, node, "clients are told apart in one way; keep one of these keys");
        return;
    }
    sticky->kind = kind;
    sticky->name = kind == STICKY_HEADER   ? lower_case(reader, node)
                   : kind == STICKY_CLIENT ? ""
                                           : reader_text(reader, node->text, node->length);
}
