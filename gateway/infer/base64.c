/* base64: four characters, three bytes. */
#include "infer/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* One more than the value of each character of the alphabet; 0 for all others. */
static const uint8_t value_plus_one[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

size_t base64_decoded_bytes(size_t text_length)
{
    return text_length / 4 * 3;
}
size_t base64_text_length(size_t bytes)
{
    return (bytes + 2) / 3 * 4;
}

/* The 24 bits of four characters, `used` of which count; the others must be padding. False: not so. */
static bool quad_bits(const uint8_t *quad, size_t used, uint32_t *bits)
{
    *bits = 0;
    for (size_t i = 0; i < 4; i++) {
        uint8_t value = i < used ? value_plus_one[quad[i]] : (uint8_t)(quad[i] == '=');
        if (value == 0)
            return false;
        *bits = *bits << 6 | (uint32_t)(value - 1);
    }
    return used == 4 || (*bits & (used == 3 ? 0xFFu : 0xFFFFu)) == 0;
}

bool base64_decode(const char *text, size_t length, uint8_t *out, size_t *bytes)
{
    const uint8_t *at = (const uint8_t *)text;
    uint8_t *start = out;
    if (length % 4)
        return false;
    for (size_t left = length; left; left -= 4, at += 4) {
        size_t used = left > 4 || at[3] != '=' ? 4 : at[2] != '=' ? 3 : 2;
        uint32_t bits;
        if (!quad_bits(at, used, &bits))
            return false;
        *out++ = (uint8_t)(bits >> 16);
        if (used > 2)
            *out++ = (uint8_t)(bits >> 8);
        if (used > 3)
            *out++ = (uint8_t)bits;
    }
    *bytes = (size_t)(out - start);
    return true;
}

void base64_encode(const uint8_t *data, size_t bytes, char *out)
{
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        uint32_t bits = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                        (left > 2 ? (uint32_t)data[i + 2] : 0);
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? alphabet[bits & 63] : '=';
    }
}
