/*
 * float16: the two 16-bit floating-point formats, as bits. FP16 is IEEE 754 binary16; BF16 is the upper half
 * of a binary32.
 */
#ifndef XEBEC_SUPPORT_FLOAT16_H
#define XEBEC_SUPPORT_FLOAT16_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The nearest, ties to even. False: beyond the largest finite number. NaN and infinities stay what they are.
 */
bool fp16_from_double(double number, uint16_t *bits);
bool bf16_from_double(double number, uint16_t *bits);
/* Exact: every one of them is a float. */
float fp16_to_float(uint16_t bits);
float bf16_to_float(uint16_t bits);

#ifdef __cplusplus
}
#endif
#endif
