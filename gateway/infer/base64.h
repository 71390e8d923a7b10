/*
 * base64: RFC 4648, the standard alphabet, padding required. Strict: no line breaks, no bits left over, so
 * that one text stands for one sequence of bytes.
 */
#ifndef XEBEC_INFER_BASE64_H
#define XEBEC_INFER_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How many bytes text of this length can hold, at most; and how long the text of so many bytes is. */
size_t base64_decoded_bytes(size_t text_length);
size_t base64_text_length(size_t bytes);

/* Writes at most base64_decoded_bytes() and says how many. False: not base64. */
bool base64_decode(const char *text, size_t length, uint8_t *out, size_t *bytes);
/* Writes exactly base64_text_length() characters, not terminated. */
void base64_encode(const uint8_t *data, size_t bytes, char *out);

#ifdef __cplusplus
}
#endif
#endif
