/* demands: two fields of the header, found and judged. */
#include "edge/demands.h"

#include <string.h>
#include <strings.h>

#define DEADLINE "x-xebec-deadline-ms"
#define PRIORITY "x-xebec-priority"

enum { DEADLINE_MOST_MS = 3600000 };

/* The header of this name, or NULL in *found; GW_E_INVALID: there are several. */
static enum gw_status find_one(const struct http_message *message, const char *name,
                               const struct http_header **found, struct gw_err *err)
{
    *found = NULL;
    size_t length = strlen(name);
    for (uint32_t i = 0; i < message->n_headers; i++) {
        const struct http_header *header = &message->headers[i];
        if (header->name_length != length || memcmp(header->name, name, length) != 0)
            continue;
        if (*found)
            return gw_err_set(err, GW_E_INVALID, "the header %s is given twice", name);
        *found = header;
    }
    return GW_OK;
}

static enum gw_status read_deadline(const struct http_header *header, uint64_t *ms, struct gw_err *err)
{
    *ms = 0;
    bool is_number = header->value_length > 0;
    for (size_t i = 0; i < header->value_length && is_number; i++) {
        char digit = header->value[i];
        is_number = digit >= '0' && digit <= '9' && *ms <= DEADLINE_MOST_MS;
        *ms = *ms * 10 + (uint64_t)(digit - '0');
    }
    if (is_number && *ms >= 1 && *ms <= DEADLINE_MOST_MS)
        return GW_OK;
    return gw_err_set(err, GW_E_INVALID,
                      "the header " DEADLINE ": expected whole milliseconds, 1 to %d, got \"%.32s\"",
                      DEADLINE_MOST_MS, header->value);
}

static enum gw_status read_priority(const struct http_header *header, enum priority *priority,
                                    struct gw_err *err)
{
    static const char *const names[PRIORITY_COUNT] = {
        [PRIORITY_HIGH] = "high", [PRIORITY_NORMAL] = "normal", [PRIORITY_BATCH] = "batch"};
    for (int i = 0; i < PRIORITY_COUNT; i++)
        if (strcasecmp(header->value, names[i]) == 0) {
            *priority = (enum priority)i;
            return GW_OK;
        }
    return gw_err_set(err, GW_E_INVALID,
                      "the header " PRIORITY ": expected high, normal or batch, got \"%.32s\"",
                      header->value);
}

enum gw_status demands_read(const struct http_message *message, struct request *request, struct gw_err *err)
{
    const struct http_header *deadline, *priority;
    enum priority asked = request->priority;
    uint64_t ms = DEADLINE_MOST_MS;
    enum gw_status status = find_one(message, DEADLINE, &deadline, err);
    if (status == GW_OK && deadline)
        status = read_deadline(deadline, &ms, err);
    if (status == GW_OK)
        status = find_one(message, PRIORITY, &priority, err);
    if (status == GW_OK && priority)
        status = read_priority(priority, &asked, err);
    if (status != GW_OK)
        return status;
    uint64_t deadline_us = request->received_us + ms * 1000;
    if (deadline && deadline_us < request->deadline_us)
        request->deadline_us = deadline_us;
    request->priority = asked;
    return GW_OK;
}
