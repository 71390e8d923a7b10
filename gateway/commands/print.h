/*
 * print: what the admin listener answered, for a person: lines and tables. Reads leniently: what a gateway of another
 * build does not say is left out.
 */
#ifndef XEBEC_COMMANDS_PRINT_H
#define XEBEC_COMMANDS_PRINT_H

#include <stdbool.h>
#include <stdint.h>

#include "config/document.h"
#include "support/buf.h"

struct print {
    struct buf *out;
    bool colour;
    uint64_t now_s; /* the wall clock, for "3m ago" */
};

void print_status(const struct print *print, const struct node *status);     /* GET /status */
void print_rollouts(const struct print *print, const struct node *rollouts); /* GET /rollouts */
void print_rollout(const struct print *print, const struct node *rollout);   /* GET /rollouts/NAME */
void print_reload(const struct print *print, const struct node *reload);     /* POST /reload */

#endif
