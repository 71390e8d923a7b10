/*
 * scarce: memory that runs out when a test says so, for every thread but those that are spared. In programs that the linker
 * is told to lead malloc and its like through here alone (tests/CMakeLists.txt: --wrap); libraries keep their memory.
 */
#ifndef XEBEC_TESTS_SUPPORT_SCARCE_H
#define XEBEC_TESTS_SUPPORT_SCARCE_H

#include <stdbool.h>

/* From now on allocation `from` fails, 1 being the first, and every `every`-th after it; 0: that one alone. */
void scarce_from(long from, long every);
/* No more of that. Whether any has failed. */
bool scarce_no_more(void);
/* This thread's allocations neither fail nor count. */
void scarce_spare(bool spare);

#endif
