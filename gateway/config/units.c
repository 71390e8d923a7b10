/* units: digits, then a unit from a table. */
#include "config/units.h"

#include <stdbool.h>
#include <string.h>

struct unit {
    const char *suffix;
    uint64_t scale;
};

static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
static const struct unit percents[] = {{"%", 1}, {NULL, 0}};
static const struct unit durations[] = {
    {"us", 1}, {"ms", 1000}, {"s", 1000000}, {"m", 60000000}, {"h", 3600000000}, {NULL, 0},
};
static const struct unit sizes[] = {
    {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1ULL << 40}, {NULL, 0},
};

static const struct {
    const struct unit *units;
    const char *names;
} quantities[] = {
    [QUANTITY_INTEGER] = {no_units, ""},
    [QUANTITY_DURATION] = {durations, "us, ms, s, m, h"},
    [QUANTITY_SIZE] = {sizes, "B, KiB, MiB, GiB, TiB"},
    [QUANTITY_PERCENT] = {percents, "%"},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const struct unit *find_unit(const struct unit *units, const char *suffix, size_t length)
{
    for (; units->suffix; units++)
        if (strlen(units->suffix) == length && memcmp(units->suffix, suffix, length) == 0)
            return units;
    return NULL;
}

enum quantity_fault quantity_parse(enum quantity quantity, const char *text, size_t length, uint64_t *value)
{
    size_t at = 0;
    uint64_t number = 0;
    bool overflow = false, negative = length > 1 && text[0] == '-' && is_digit(text[1]);
    if (negative)
        at++;
    size_t first = at;
    for (; at < length && is_digit(text[at]); at++) {
        overflow |= __builtin_mul_overflow(number, 10, &number);
        overflow |= __builtin_add_overflow(number, (uint64_t)(text[at] - '0'), &number);
    }
    if (at == first)
        return QUANTITY_NOT_A_NUMBER;
    const struct unit *unit = find_unit(quantities[quantity].units, text + at, length - at);
    if (!unit && (at < length || number > 0 || overflow))
        return quantity == QUANTITY_INTEGER ? QUANTITY_NOT_A_NUMBER
               : at == length               ? QUANTITY_NO_UNIT
                                            : QUANTITY_UNKNOWN_UNIT;
    overflow |= __builtin_mul_overflow(number, unit ? unit->scale : 1, value);
    return overflow || negative ? QUANTITY_OUT_OF_RANGE : QUANTITY_OK;
}

size_t decimal_length(const char *text)
{
    size_t whole = strspn(text, "0123456789");
    size_t part = whole && text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;
    return part ? whole + 1 + part : whole;
}

const char *quantity_units(enum quantity quantity)
{
    return quantities[quantity].names;
}
