/*
 * served: one shard of the real gateway inside the test's own process, in front of replicas that are processes of
 * their own. So a test can put something between the gateway and its C library and ask it over a socket.
 * What cannot be set up, or ends wrongly, aborts the test with words.
 *
 *   model   replica       input             cache   called as
 *   echo    xebec-echo    FP32 [-1, 4]      on      /echo (with a shadow, echo@next), /echo-default (with a default)
 *   said    xebec-echo    BYTES [-1]        on      /said: text in, the same as JSON out
 *   picky   picky_worker  FP32 [-1, 2]      off     /picky, /picky-default, /picky-long (an SLO that outlasts it)
 */
#ifndef XEBEC_TESTS_SUPPORT_SERVED_H
#define XEBEC_TESTS_SUPPORT_SERVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/err.h"

struct served_replicas;
/* The paths of the executables. Before any thread is started. They end with this process, whatever befalls it. */
struct served_replicas *served_replicas_start(const char *echo, const char *picky);
void served_replicas_stop(struct served_replicas *replicas); /* every one must have been well to the end */

/*
 * A redis-server beside them. Gateways that are made while it runs keep nothing in memory and everything there, and are
 * ready when they have it.
 */
void served_redis_start(struct served_replicas *replicas);
void served_redis_stop(struct served_replicas *replicas);

struct served;
/* more: further lines of configuration. */
struct served *served_new(const struct served_replicas *replicas, const char *more);
/* GW_OK, or what the gateway said about why it does not start; then it may be tried again. */
enum gw_status served_try(struct served *served);
void served_wait_ready(const struct served *served);
struct served *served_start(const struct served_replicas *replicas, const char *more); /* all three */
/* The sum of a family's series, as /metrics would show it. */
int64_t served_sum(const struct served *served, const char *family);
void served_wait_sum(const struct served *served, const char *family, int64_t sum); /* until it is this */
/*
 * All clients have left: waits until nothing is open or queued, and the gateway must say so too when it stops. Frees;
 * it may never have started.
 */
void served_stop(struct served *served);

/* --- a client: plain read(2) and write(2) --------------------------------------------------------- */

enum { REPLY_BYTES_MAX = 1 << 18, REPLY_WITHIN_MS = 2000 };

struct client {
    int fd;
    size_t length;                   /* of bytes: read, and not yet handed out */
    char bytes[REPLY_BYTES_MAX + 1]; /* terminated */
    char reply[REPLY_BYTES_MAX + 1]; /* the latest */
};

enum reply_how {
    REPLY_WHOLE,
    REPLY_NONE,     /* the connection was closed before its first byte */
    REPLY_LATE,     /* not within the time given */
    REPLY_MALFORMED /* not HTTP, or cut off */
};

struct reply {
    enum reply_how how;
    int status;
    const char *head, *body; /* the client's, until its next reply; terminated */
    size_t body_length;
};

int served_connect(const struct served *served); /* a socket, the caller's */

void client_open(struct client *client, const struct served *served);
void client_send(struct client *client, const char *bytes, size_t length); /* a client that was hung up on is none the wiser */
/* The next one; "100 Continue" is passed over. */
struct reply client_reply(struct client *client, unsigned within_ms);
/* Sends no more, and waits for the gateway to close as well. True: it did, and without another byte. */
bool client_close(struct client *client);

#endif
