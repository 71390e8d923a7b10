/* log: builds a line in memory, asks whether it can be written without waiting, writes it whole. */
#include "support/log.h"

#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/buf.h"

/* A pipe takes this much whole or not at all, so lines of several threads do not mix (PIPE_BUF). */
enum { LINE_BYTES_MAX = 4096, TEXT_BYTES_MAX = 480 };

static struct {
    int fd;
    _Atomic enum log_level least;
    _Atomic uint64_t dropped;
} sink = {.fd = STDERR_FILENO, .least = LOG_INFO_LEVEL};

void log_open(int fd, enum log_level least)
{
    sink.fd = fd;
    log_set_level(least);
}

void log_set_level(enum log_level least)
{
    atomic_store_explicit(&sink.least, least, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return level >= atomic_load_explicit(&sink.least, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&sink.dropped, memory_order_relaxed);
}

static void log_head(struct buf *line, enum log_level level, const char *event)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    struct timespec now;
    struct tm utc;
    char stamp[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    buf_printf(line, "{\"ts\":\"%s.%03ldZ\",\"level\":\"%s\",\"event\":", stamp, now.tv_nsec / 1000000,
               names[level]);
    buf_json_text(line, event, strlen(event));
}

static void log_value(struct buf *line, const struct log_field *field)
{
    switch (field->type) {
    case LOG_FIELD_TEXT:
        if (field->value.text)
            buf_json_text(line, field->value.text, strnlen(field->value.text, TEXT_BYTES_MAX));
        else
            buf_text(line, "null");
        break;
    case LOG_FIELD_INT:
        buf_printf(line, "%lld", (long long)field->value.integer);
        break;
    case LOG_FIELD_REAL:
        buf_printf(line, "%.9g", field->value.real);
        break;
    case LOG_FIELD_BOOL:
        buf_text(line, field->value.truth ? "true" : "false");
        break;
    }
}

static bool log_send(const struct buf *line)
{
    struct pollfd out = {.fd = sink.fd, .events = POLLOUT};
    return !line->failed && poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) &&
           write(sink.fd, line->bytes, line->length) == (ssize_t)line->length;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    if (!log_enabled(level))
        return;
    struct buf line = {0};
    log_head(&line, level, event);
    for (size_t i = 0; i < count; i++) {
        size_t before = line.length;
        buf_text(&line, ",");
        buf_json_text(&line, fields[i].key, strlen(fields[i].key));
        buf_text(&line, ":");
        log_value(&line, &fields[i]);
        if (line.length > LINE_BYTES_MAX - 2) { /* what does not fit is left out, the line stays whole */
            line.length = before;
            break;
        }
    }
    buf_text(&line, "}\n");
    if (!log_send(&line))
        atomic_fetch_add_explicit(&sink.dropped, 1, memory_order_relaxed);
    buf_clear(&line);
}
