/* turn: runs a loop from a test until something is true. */
#ifndef XEBEC_TESTS_SUPPORT_TURN_H
#define XEBEC_TESTS_SUPPORT_TURN_H

#include <stdbool.h>

#include "support/loop.h"

/* Turns until is_true(what), looking every millisecond; false if it is not by then. */
bool turn_until(struct loop *loop, bool (*is_true)(void *what), void *what, unsigned within_ms);
/* Turns for so long. */
void turn_for(struct loop *loop, unsigned ms);

#endif
