/* access_log: lines gathered in a buffer, written by size or by timer, dropped rather than waited for. */
#include "edge/access_log.h"

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FLUSH_BYTES = 16 << 10, FLUSH_US = 100000, PATH_MAX_SHOWN = 256 };

struct access_log {
    struct loop *loop;
    int fd;
    struct buf lines;
    uint64_t lost;
    struct loop_timer timer;
};

static void access_log_flush(struct access_log *log);

static void on_timer(struct loop_timer *timer)
{
    access_log_flush(container_of(timer, struct access_log, timer));
}

struct access_log *access_log_new(struct loop *loop, int fd)
{
    struct access_log *log = calloc(1, sizeof *log);
    if (log) {
        log->loop = loop;
        log->fd = fd;
        log->timer.fire = on_timer;
    }
    return log;
}

void access_log_free(struct access_log *log)
{
    if (!log)
        return;
    access_log_flush(log);
    loop_timer_cancel(log->loop, &log->timer);
    buf_clear(&log->lines);
    free(log);
}

static void begin_line(struct buf *lines)
{
    struct timespec now;
    struct tm utc;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
    buf_printf(lines, "{\"ts\":\"%s.%03ldZ\",", text, now.tv_nsec / 1000000);
}

static void append_entry(struct buf *lines, const struct access_entry *entry)
{
    const struct http_message *message = entry->message;
    begin_line(lines);
    buf_printf(lines, "\"client\":\"%s\",\"method\":\"%s\",\"path\":", entry->client,
               http_method_name(message->method));
    if (message->path)
        buf_json_text(lines, message->path,
                      message->path_length < PATH_MAX_SHOWN ? message->path_length : PATH_MAX_SHOWN);
    else
        buf_text(lines, "null");
    buf_printf(lines, ",\"status\":%d,\"bytes_in\":%llu,\"bytes_out\":%llu,\"duration_us\":%llu}\n",
               entry->status, (unsigned long long)entry->bytes_in, (unsigned long long)entry->bytes_out,
               (unsigned long long)entry->duration_us);
}

void access_log_write(struct access_log *log, const struct access_entry *entry)
{
    if (log->lost) {
        begin_line(&log->lines);
        buf_printf(&log->lines, "\"lost_lines\":%llu}\n", (unsigned long long)log->lost);
        log->lost = 0;
    }
    append_entry(&log->lines, entry);
    if (log->lines.failed) { /* whatever was gathered is gone: without memory a log is the first to suffer */
        buf_clear(&log->lines);
        log->lost++;
    } else if (log->lines.length >= FLUSH_BYTES) {
        access_log_flush(log);
    } else if (!loop_timer_is_set(&log->timer) &&
               loop_timer_set(log->loop, &log->timer, loop_now_us() + FLUSH_US) != GW_OK) {
        access_log_flush(log);
    }
}

/* The most whole lines that fit in PIPE_BUF, which a pipe takes in one piece; one line at least. */
static size_t next_piece(const char *bytes, size_t length)
{
    if (length <= PIPE_BUF)
        return length;
    const char *end = memrchr(bytes, '\n', PIPE_BUF);
    if (!end)
        end = memchr(bytes, '\n', length);
    return (size_t)(end - bytes) + 1;
}

static uint64_t count_lines(const char *bytes, size_t length)
{
    uint64_t lines = 0;
    for (const char *end = bytes + length; (bytes = memchr(bytes, '\n', (size_t)(end - bytes))); bytes++)
        lines++;
    return lines;
}

static void access_log_flush(struct access_log *log)
{
    struct buf *lines = &log->lines;
    struct pollfd room = {.fd = log->fd, .events = POLLOUT};
    size_t done = 0;
    while (done < lines->length && poll(&room, 1, 0) == 1 && (room.revents & POLLOUT)) {
        size_t piece = next_piece(lines->bytes + done, lines->length - done);
        if (write(log->fd, lines->bytes + done, piece) < 0)
            break;
        done += piece;
    }
    if (done < lines->length)
        log->lost += count_lines(lines->bytes + done, lines->length - done);
    lines->length = 0; /* the room is kept */
}
