/* health: the one question of a health check. */
#include "commands/health.h"

#include "commands/ask.h"

enum { ANSWER_US = 2000000, ANSWER_BYTES = 65536 };

bool health_ask(const char *address, struct buf *said)
{
    const struct ask ask = {.address = address,
                            .method = "GET",
                            .path = "/health/serving",
                            .patience_us = ANSWER_US,
                            .bytes_max = ANSWER_BYTES};
    struct answer answer;
    admin_ask(&ask, &answer);
    *said = answer.body;
    return answer.status == 200;
}
