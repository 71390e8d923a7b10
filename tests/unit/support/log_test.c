/* Log lines, through a pipe. */
#include "support/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int ends[2];

static void setup(void)
{
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    log_open(ends[1], LOG_INFO_LEVEL);
}

static void teardown(void)
{
    close(ends[0]);
    close(ends[1]);
}

TestSuite(log, .init = setup, .fini = teardown);

/* What was written so far, terminated. */
static const char *written(void)
{
    static char text[1 << 17];
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    ssize_t length = read(ends[0], text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    return text;
}

Test(log, writes_one_json_object_a_line)
{
    log_info("replica_up", LOG_TEXT("model", "digits@linear"), LOG_INT("rows", -3), LOG_REAL("load", 0.5),
             LOG_BOOL("ready", true), LOG_TEXT("why", NULL), LOG_TEXT("text", "a\"\n\xFF"));
    const char *line = written();
    int year, month, day, hour, minute, second, millisecond, length = 0;
    cr_assert_eq(sscanf(line, "{\"ts\":\"%4d-%2d-%2dT%2d:%2d:%2d.%3dZ\",%n", &year, &month, &day, &hour,
                        &minute, &second, &millisecond, &length),
                 7, "%s", line);
    cr_assert_str_eq(line + length,
                     "\"level\":\"info\",\"event\":\"replica_up\",\"model\":\"digits@linear\",\"rows\":-3,"
                     "\"load\":0.5,\"ready\":true,\"why\":null,\"text\":\"a\\\"\\n\xEF\xBF\xBD\"}\n");
}

Test(log, keeps_quiet_below_its_level)
{
    log_debug("quiet", LOG_INT("n", 1));
    cr_assert_not(log_enabled(LOG_DEBUG_LEVEL));
    cr_assert_str_eq(written(), "");
    log_open(ends[1], LOG_ERROR_LEVEL);
    log_warn("quiet", LOG_INT("n", 1));
    cr_assert_str_eq(written(), "");
    log_error("loud", LOG_INT("n", 1));
    cr_assert_not_null(strstr(written(), "\"level\":\"error\",\"event\":\"loud\",\"n\":1}\n"));
    cr_assert_eq(log_dropped(), 0);
}

Test(log, bounds_a_line_and_leaves_it_whole)
{
    char *large = malloc(100000);
    memset(large, '\x01', 99999); /* six bytes each once escaped */
    large[99999] = '\0';
    log_info("large", LOG_TEXT("a", large), LOG_TEXT("b", large), LOG_TEXT("c", large), LOG_INT("n", 1));
    const char *line = written();
    size_t length = strlen(line);
    cr_assert(length > 100 && length <= 4096, "%zu bytes", length);
    cr_assert_str_eq(line + length - 2, "}\n");
    cr_assert_eq(line[length - 3] == '"' || line[length - 3] == '1', true, "%s", line + length - 10);
    free(large);
}

Test(log, drops_and_counts_when_the_pipe_is_full)
{
    uint64_t lines = 0;
    fcntl(ends[1], F_SETPIPE_SZ, 4096);
    while (!log_dropped()) {
        log_info("fill", LOG_INT("n", lines));
        cr_assert_lt(++lines, 10000, "it must not wait, and not lose count");
    }
    log_info("fill", LOG_INT("n", lines));
    cr_assert_eq(log_dropped(), 2);
    const char *text = written();
    cr_assert_eq(text[strlen(text) - 1], '\n', "the last line is whole");
    log_info("again", LOG_INT("n", 1));
    cr_assert_not_null(strstr(written(), "again"));
}

Test(log, survives_a_closed_descriptor)
{
    log_open(-1, LOG_INFO_LEVEL);
    log_info("nowhere", LOG_INT("n", 1));
    cr_assert_eq(log_dropped(), 1);
}

enum { THREADS = 4, LINES = 50 };

static void *writes_lines(void *letter)
{
    char text[200];
    memset(text, *(const char *)letter, sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < LINES; i++)
        log_info("line", LOG_TEXT("text", text));
    return NULL;
}

Test(log, never_mixes_lines_of_threads)
{
    static char letters[] = "abcd";
    pthread_t threads[THREADS];
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 17);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, writes_lines, &letters[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    int lines = 0;
    for (char *line = strtok((char *)written(), "\n"); line; line = strtok(NULL, "\n"), lines++) {
        const char *text = strstr(line, "\"text\":\"");
        cr_assert_not_null(text, "%s", line);
        cr_assert_eq(strspn(text + 8, (char[]){text[8], '\0'}), 199, "%s", line);
        cr_assert_str_eq(text + 8 + 199, "\"}");
    }
    cr_assert_eq((uint64_t)lines + log_dropped(), THREADS * LINES);
    cr_assert_eq(log_dropped(), 0);
}
