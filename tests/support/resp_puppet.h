/*
 * resp_puppet: a Redis inside the test's own process that says what the test tells it: a thread that takes one
 * connection after another and answers each command with the reply that the script has for it, whatever it is.
 */
#ifndef XEBEC_TESTS_SUPPORT_RESP_PUPPET_H
#define XEBEC_TESTS_SUPPORT_RESP_PUPPET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct resp_puppet;

/* Beyond these, `reply` is sent as it is. */
#define RESP_STALL  "stall"  /* no reply, ever; the connection stays */
#define RESP_HANGUP "hangup" /* the connection is closed instead */
#define RESP_FLOOD  "flood"  /* a bulk string that never ends */

/* path: of a unix socket to listen on. Greets as Redis does: OK and PONG. Aborts the test when it cannot. */
struct resp_puppet *resp_puppet_start(const char *path);
void resp_puppet_stop(struct resp_puppet *puppet);
/* From now on, a command whose first word is `command` gets these bytes; a literal. NULL: as at first. */
void resp_puppet_tell(struct resp_puppet *puppet, const char *command, const char *reply);
/* Commands received so far, those of greetings too; how often it was connected to. */
uint32_t resp_puppet_commands(struct resp_puppet *puppet);
uint32_t resp_puppet_connections(struct resp_puppet *puppet);
/* Whether one of the latest 256 commands had these words, written with spaces between. */
bool resp_puppet_heard(struct resp_puppet *puppet, const char *words);

#endif
