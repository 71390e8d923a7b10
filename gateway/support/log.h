/*
 * log: one JSON object a line, one line an event, written whole by one write(2) so that lines of several
 * threads never mix. {"ts":"2026-01-31T12:00:00.123Z","level":"info","event":"replica_up","model":"digits@linear"}
 *
 *     log_info("replica_up", LOG_TEXT("model", name), LOG_INT("rows", n));
 *
 * The level and the descriptor are the one process-wide state of the gateway; the descriptor is set once at start.
 * A write that fails or would block (stderr full) is dropped and counted, never waited for.
 */
#ifndef XEBEC_SUPPORT_LOG_H
#define XEBEC_SUPPORT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG_LEVEL, LOG_INFO_LEVEL, LOG_WARN_LEVEL, LOG_ERROR_LEVEL };

struct log_field {
    const char *key;
    enum { LOG_FIELD_TEXT, LOG_FIELD_INT, LOG_FIELD_REAL, LOG_FIELD_BOOL } type;
    union {
        const char *text; /* NULL prints null */
        int64_t integer;
        double real;
        bool truth;
    } value;
};

#define LOG_TEXT(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_TEXT, .value.text = (v)})
#define LOG_INT(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_INT, .value.integer = (int64_t)(v)})
#define LOG_REAL(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_REAL, .value.real = (v)})
#define LOG_BOOL(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_BOOL, .value.truth = (v)})

void log_open(int fd, enum log_level least);
void log_set_level(enum log_level least); /* any thread */
bool log_enabled(enum log_level level);
uint64_t log_dropped(void); /* lines lost because the descriptor would block or failed */
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count);

#define LOG_EVENT(level, event, ...)                                                               \
    log_write(level, event, (const struct log_field[]){__VA_ARGS__},                               \
              sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
#define log_debug(event, ...) LOG_EVENT(LOG_DEBUG_LEVEL, event, __VA_ARGS__)
#define log_info(event, ...) LOG_EVENT(LOG_INFO_LEVEL, event, __VA_ARGS__)
#define log_warn(event, ...) LOG_EVENT(LOG_WARN_LEVEL, event, __VA_ARGS__)
#define log_error(event, ...) LOG_EVENT(LOG_ERROR_LEVEL, event, __VA_ARGS__)

#endif
