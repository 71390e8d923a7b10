/*
 * units: how numbers are written: 1024, 20ms, 64MiB, 25%. Whole numbers with a unit that must be
 * there, but for 0, which is 0 in any.
 */
#ifndef XEBEC_CONFIG_UNITS_H
#define XEBEC_CONFIG_UNITS_H

#include <stddef.h>
#include <stdint.h>

enum quantity {
    QUANTITY_INTEGER,
    QUANTITY_DURATION, /* in microseconds */
    QUANTITY_SIZE,     /* in bytes */
    QUANTITY_PERCENT,
};
enum quantity_fault {
    QUANTITY_OK,
    QUANTITY_NOT_A_NUMBER,
    QUANTITY_NO_UNIT,
    QUANTITY_UNKNOWN_UNIT,
    QUANTITY_OUT_OF_RANGE, /* negative, or more than 64 bits hold */
};

enum quantity_fault quantity_parse(enum quantity quantity, const char *text, size_t length, uint64_t *value);
/* How much of the text is digits, and perhaps digits behind a point; 0: it does not begin so. */
size_t decimal_length(const char *text);
const char *quantity_units(enum quantity quantity); /* "us, ms, s, m, h"; "" for integers */

#endif
