/* json: a tree of nodes -> JSON text. */
#include "config/json.h"

#include <string.h>

static void write_scalar(const struct node *node, struct buf *out);
static bool write_constant(const struct node *node, struct buf *out);
static bool write_based_integer(const char *text, struct buf *out);
static bool write_number(const char *text, struct buf *out);

void node_write_json(const struct node *node, struct buf *out)
{
    if (node->kind == NODE_SCALAR) {
        write_scalar(node, out);
        return;
    }
    bool map = node->kind == NODE_MAP;
    buf_text(out, map ? "{" : "[");
    for (const struct node *child = node->first; child; child = child->next) {
        if (child->index)
            buf_text(out, ", ");
        if (map) {
            buf_json_text(out, child->key, child->key_length);
            buf_text(out, ": ");
        }
        node_write_json(child, out);
    }
    buf_text(out, map ? "}" : "]");
}

static void write_scalar(const struct node *node, struct buf *out)
{
    if (!node->quoted &&
        (write_constant(node, out) || write_based_integer(node->text, out) || write_number(node->text, out)))
        return;
    buf_json_text(out, node->text, node->length);
}

static bool write_constant(const struct node *node, struct buf *out)
{
    static const char *const constants[][2] = {
        {"true", "true"},    {"True", "true"},         {"TRUE", "true"},         {"false", "false"},
        {"False", "false"},  {"FALSE", "false"},       {".nan", "\"NaN\""},      {".NaN", "\"NaN\""},
        {".NAN", "\"NaN\""}, {".inf", "\"Infinity\""}, {".Inf", "\"Infinity\""}, {".INF", "\"Infinity\""},
    };
    if (node_is_null(node)) {
        buf_text(out, "null");
        return true;
    }
    bool minus = node->text[0] == '-' && node->text[1] == '.',
         plus = node->text[0] == '+' && node->text[1] == '.';
    const char *text = node->text + (minus || plus);
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++) {
        const char *json = constants[i][1];
        bool infinity = strcmp(json, "\"Infinity\"") == 0;
        if (strcmp(text, constants[i][0]) != 0 || ((minus || plus) && !infinity))
            continue;
        buf_text(out, minus ? "\"-Infinity\"" : json);
        return true;
    }
    return false;
}

/* 0o17 and 0xff, up to 64 bits; larger ones stay text. */
static bool write_based_integer(const char *text, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";
    unsigned long long base = strncmp(text, "0x", 2) == 0   ? 16
                              : strncmp(text, "0o", 2) == 0 ? 8
                                                            : 0,
                       value = 0;
    if (!base || !text[2])
        return false;
    for (const char *at = text + 2; *at; at++) {
        char lower = *at >= 'A' && *at <= 'F' ? (char)(*at + 32) : *at;
        const char *digit = strchr(digits, lower);
        if (!digit || digit - digits >= (long long)base || __builtin_mul_overflow(value, base, &value))
            return false;
        value += (unsigned long long)(digit - digits);
    }
    buf_printf(out, "%llu", value);
    return true;
}

static size_t count_digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* [-+]? digits [. digits] [e [-+] digits], with a digit on one side of the point; written as JSON wants it.
 */
static bool write_number(const char *text, struct buf *out)
{
    bool minus = *text == '-';
    const char *whole = text + (*text == '-' || *text == '+');
    size_t whole_digits = count_digits(whole);
    const char *fraction = whole + whole_digits + (whole[whole_digits] == '.');
    size_t fraction_digits = fraction > whole + whole_digits ? count_digits(fraction) : 0;
    const char *exponent = fraction + fraction_digits;
    if (whole_digits + fraction_digits == 0)
        return false;
    if (*exponent == 'e' || *exponent == 'E') {
        const char *power = exponent + 1 + (exponent[1] == '-' || exponent[1] == '+');
        size_t power_digits = count_digits(power);
        if (power_digits == 0 || power[power_digits])
            return false;
    } else if (*exponent) {
        return false;
    }
    for (; whole_digits > 1 && *whole == '0'; whole_digits--)
        whole++;
    if (minus)
        buf_text(out, "-");
    buf_append(out, whole_digits ? whole : "0", whole_digits ? whole_digits : 1);
    if (fraction_digits) {
        buf_text(out, ".");
        buf_append(out, fraction, fraction_digits);
    }
    buf_text(out, exponent);
    return true;
}
