/* float16: rounding by hand, in integers, once for both formats. */
#include "support/float16.h"

#include <math.h>
#include <string.h>

/* 1 sign bit, then these. */
struct format {
    int exponent_bits, fraction_bits;
};
static const struct format fp16 = {5, 10}, bf16 = {8, 7};

enum { DOUBLE_FRACTION_BITS = 52, DOUBLE_BIAS = 1023 };

/* significand / 2^shift, to nearest, ties to even. 0 < shift < 64. */
static uint64_t shift_to_nearest(uint64_t significand, int shift)
{
    uint64_t kept = significand >> shift;
    uint64_t rest = significand & ((UINT64_C(1) << shift) - 1), half = UINT64_C(1) << (shift - 1);
    return kept + (rest > half || (rest == half && (kept & 1)));
}

/* The bits of |number|, which is finite; those of infinity when it is too large. */
static uint64_t magnitude_bits(struct format format, double number)
{
    uint64_t bits, fraction_mask = (UINT64_C(1) << DOUBLE_FRACTION_BITS) - 1;
    memcpy(&bits, &number, sizeof bits);
    int bias = (1 << (format.exponent_bits - 1)) - 1;
    int exponent = (int)(bits >> DOUBLE_FRACTION_BITS & 0x7FF) - DOUBLE_BIAS + bias;
    int shift = DOUBLE_FRACTION_BITS - format.fraction_bits + (exponent < 1 ? 1 - exponent : 0);
    if (shift > DOUBLE_FRACTION_BITS + 1)
        return 0; /* under half of the smallest; also every subnormal double */
    /* The significand's leading one adds 1 to the exponent's field, as does a carry out of the rounding. */
    uint64_t rounded = shift_to_nearest((bits & fraction_mask) | (fraction_mask + 1), shift);
    uint64_t above = exponent < 1 ? 0 : (uint64_t)(exponent - 1);
    uint64_t infinity = ((UINT64_C(1) << format.exponent_bits) - 1) << format.fraction_bits;
    uint64_t whole = (above << format.fraction_bits) + rounded;
    return whole < infinity ? whole : infinity;
}

static bool from_double(struct format format, double number, uint16_t *out)
{
    uint64_t infinity = ((UINT64_C(1) << format.exponent_bits) - 1) << format.fraction_bits;
    uint64_t bits = isnan(number)   ? infinity | UINT64_C(1) << (format.fraction_bits - 1)
                    : isinf(number) ? infinity
                                    : magnitude_bits(format, number);
    *out = (uint16_t)(bits | (signbit(number) ? 0x8000 : 0));
    return bits != infinity || isinf(number);
}

static float to_float(struct format format, uint16_t bits)
{
    int exponent = bits >> format.fraction_bits & ((1 << format.exponent_bits) - 1);
    int fraction = bits & ((1 << format.fraction_bits) - 1);
    int bias = (1 << (format.exponent_bits - 1)) - 1;
    float magnitude;
    if (exponent == (1 << format.exponent_bits) - 1)
        magnitude = fraction ? NAN : INFINITY;
    else if (exponent == 0)
        magnitude = ldexpf((float)fraction, 1 - bias - format.fraction_bits);
    else
        magnitude =
            ldexpf((float)(fraction | 1 << format.fraction_bits), exponent - bias - format.fraction_bits);
    return bits & 0x8000 ? -magnitude : magnitude;
}

bool fp16_from_double(double number, uint16_t *bits)
{
    return from_double(fp16, number, bits);
}
bool bf16_from_double(double number, uint16_t *bits)
{
    return from_double(bf16, number, bits);
}
float fp16_to_float(uint16_t bits)
{
    return to_float(fp16, bits);
}
float bf16_to_float(uint16_t bits)
{
    return to_float(bf16, bits);
}
