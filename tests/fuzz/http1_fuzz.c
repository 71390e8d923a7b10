/* Any bytes, cut anywhere: the outcome is that of the same bytes in one piece. The cuts are drawn from the
 * bytes. */
#include <stdint.h>

#include "../support/http1_outcome.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t random_piece(struct http1_cutter *cutter)
{
    cutter->seed = cutter->seed * 1103515245u + 12345u;
    unsigned draw = cutter->seed >> 16;
    return draw % 4 == 0 ? 1 : 1 + draw / 4 % 97;
}

static unsigned digest(const uint8_t *data, size_t size)
{
    unsigned sum = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ data[i]) * 16777619u;
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct http1_limits limits = {.header_bytes = 600, .body_bytes = 300};
    struct http1_cutter cutter = {.next = random_piece, .seed = digest(data, size)};
    struct buf whole = {0}, cut = {0};
    http1_outcome(&whole, &limits, (const char *)data, size, NULL);
    http1_outcome(&cut, &limits, (const char *)data, size, &cutter);
    MUST(whole.length == cut.length && memcmp(whole.bytes, cut.bytes, whole.length) == 0);
    buf_clear(&whole);
    buf_clear(&cut);
    return 0;
}
