/*
 * names: a lookup for a resolver that a test dictates: resolver_new_with(names_look_up, ...). One for the process, for
 * lookups know no owner; safe from any thread.
 */
#ifndef XEBEC_TESTS_SUPPORT_NAMES_H
#define XEBEC_TESTS_SUPPORT_NAMES_H

#include <stdint.h>

#include "support/resolve.h"

/* "127.0.0.1:4711 127.0.0.1:4712": what `name` has from now on, whatever port is asked for. NULL: there is no such name. */
void names_say(const char *name, const char *addresses);
void names_fail(int failure);   /* every lookup from now on: EAI_AGAIN; 0: none */
uint32_t names_asked(void);     /* lookups so far */
resolver_lookup names_look_up;

#endif
