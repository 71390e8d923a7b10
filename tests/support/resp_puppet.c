/* resp_puppet: blocking reads on a thread of its own; a command is an array of bulk strings, as clients write
 * it. */
#include "resp_puppet.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SCRIPTS_MAX = 8, HEARD_MAX = 256, INPUT_BYTES = 1 << 20, FLOOD_BYTES = 1 << 16 };

struct script {
    const char *command, *reply;
};

struct resp_puppet {
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    struct script scripts[SCRIPTS_MAX];
    char heard[HEARD_MAX][256];
    uint32_t n_heard, connections;
    bool stopping;
    /* the thread's */
    int listener, fd;
    char *input;
    size_t length;
};

static void fail(const char *what)
{
    perror(what);
    abort();
}

static bool is_stopping(struct resp_puppet *puppet)
{
    pthread_mutex_lock(&puppet->lock);
    bool stopping = puppet->stopping;
    pthread_mutex_unlock(&puppet->lock);
    return stopping;
}

/* Waits for input; false when told to stop. */
static bool wait_readable(struct resp_puppet *puppet, int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    while (poll(&wait, 1, 5) == 0)
        if (is_stopping(puppet))
            return false;
    return !is_stopping(puppet);
}

static bool say(struct resp_puppet *puppet, const char *bytes, size_t length)
{
    while (length) {
        ssize_t sent = send(puppet->fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

static bool flood(struct resp_puppet *puppet)
{
    static char noise[FLOOD_BYTES];
    memset(noise, 'x', sizeof noise);
    bool well = say(puppet, "$1000000000\r\n", 13);
    while (well && !is_stopping(puppet))
        well = say(puppet, noise, sizeof noise);
    return false;
}

/* One command, words joined by spaces: remembered and answered. False: the connection is over. */
static bool obey(struct resp_puppet *puppet, const char *words)
{
    const char *reply = strncmp(words, "PING", 4) == 0 ? "+PONG\r\n" : "+OK\r\n";
    pthread_mutex_lock(&puppet->lock);
    snprintf(puppet->heard[puppet->n_heard++ % HEARD_MAX], sizeof puppet->heard[0], "%.255s", words);
    for (int i = 0; i < SCRIPTS_MAX && puppet->scripts[i].command; i++) {
        size_t length = strlen(puppet->scripts[i].command);
        if (puppet->scripts[i].reply && strncmp(words, puppet->scripts[i].command, length) == 0)
            reply = puppet->scripts[i].reply;
    }
    pthread_mutex_unlock(&puppet->lock);
    if (strcmp(reply, RESP_STALL) == 0)
        return true;
    if (strcmp(reply, RESP_HANGUP) == 0)
        return false;
    return strcmp(reply, RESP_FLOOD) == 0 ? flood(puppet) : say(puppet, reply, strlen(reply));
}

/* The number after a prefix at *at; moves behind its line. False: not all there. */
static bool take_number(const struct resp_puppet *puppet, size_t *at, size_t *number)
{
    char *end = memchr(puppet->input + *at, '\n', puppet->length - *at);
    if (!end)
        return false;
    *number = strtoul(puppet->input + *at + 1, NULL, 10);
    *at = (size_t)(end - puppet->input) + 1;
    return true;
}

/* One whole command from the input into `words`; 0 when it is not there yet, else its length. */
static size_t take_command(const struct resp_puppet *puppet, char *words, size_t room)
{
    size_t at = 0, n_words, length, used = 0;
    words[0] = '\0';
    if (!take_number(puppet, &at, &n_words))
        return 0;
    for (size_t i = 0; i < n_words; i++) {
        if (!take_number(puppet, &at, &length) || puppet->length - at < length + 2)
            return 0;
        int n = snprintf(words + used, room - used, "%s%.*s", i ? " " : "", (int)length, puppet->input + at);
        used = used + (size_t)n < room ? used + (size_t)n : room - 1;
        at += length + 2;
    }
    return at;
}

static void serve(struct resp_puppet *puppet)
{
    char words[4096];
    puppet->length = 0;
    while (wait_readable(puppet, puppet->fd)) {
        ssize_t got = read(puppet->fd, puppet->input + puppet->length, INPUT_BYTES - puppet->length);
        if (got <= 0)
            return;
        puppet->length += (size_t)got;
        for (size_t taken; puppet->length && (taken = take_command(puppet, words, sizeof words)) > 0;) {
            memmove(puppet->input, puppet->input + taken, puppet->length -= taken);
            if (!obey(puppet, words))
                return;
        }
    }
}

static void *run(void *owner)
{
    struct resp_puppet *puppet = owner;
    while (wait_readable(puppet, puppet->listener)) {
        puppet->fd = accept(puppet->listener, NULL, NULL);
        if (puppet->fd < 0)
            fail("accept");
        pthread_mutex_lock(&puppet->lock);
        puppet->connections++;
        pthread_mutex_unlock(&puppet->lock);
        serve(puppet);
        close(puppet->fd);
    }
    return NULL;
}

struct resp_puppet *resp_puppet_start(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct resp_puppet *puppet = calloc(1, sizeof *puppet);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    unlink(path);
    if (!puppet || !(puppet->input = malloc(INPUT_BYTES)))
        fail("memory");
    pthread_mutex_init(&puppet->lock, NULL);
    puppet->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (puppet->listener < 0 || bind(puppet->listener, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(puppet->listener, 16) != 0)
        fail(path);
    if (pthread_create(&puppet->thread, NULL, run, puppet) != 0)
        fail("thread");
    return puppet;
}

void resp_puppet_stop(struct resp_puppet *puppet)
{
    pthread_mutex_lock(&puppet->lock);
    puppet->stopping = true;
    pthread_mutex_unlock(&puppet->lock);
    pthread_join(puppet->thread, NULL);
    close(puppet->listener);
    pthread_mutex_destroy(&puppet->lock);
    free(puppet->input);
    free(puppet);
}

void resp_puppet_tell(struct resp_puppet *puppet, const char *command, const char *reply)
{
    pthread_mutex_lock(&puppet->lock);
    int i = 0;
    while (i < SCRIPTS_MAX - 1 && puppet->scripts[i].command &&
           strcmp(puppet->scripts[i].command, command) != 0)
        i++;
    puppet->scripts[i] = (struct script){command, reply};
    pthread_mutex_unlock(&puppet->lock);
}

uint32_t resp_puppet_commands(struct resp_puppet *puppet)
{
    pthread_mutex_lock(&puppet->lock);
    uint32_t count = puppet->n_heard;
    pthread_mutex_unlock(&puppet->lock);
    return count;
}

uint32_t resp_puppet_connections(struct resp_puppet *puppet)
{
    pthread_mutex_lock(&puppet->lock);
    uint32_t count = puppet->connections;
    pthread_mutex_unlock(&puppet->lock);
    return count;
}

bool resp_puppet_heard(struct resp_puppet *puppet, const char *words)
{
    bool heard = false;
    pthread_mutex_lock(&puppet->lock);
    for (uint32_t i = 0; i < puppet->n_heard && i < HEARD_MAX; i++)
        heard = heard || strcmp(puppet->heard[i], words) == 0;
    pthread_mutex_unlock(&puppet->lock);
    return heard;
}
