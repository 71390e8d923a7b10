/*
 * problems: what is wrong with a configuration file, gathered while it is read, kept in the order
 * of the file, and put in words that show the fix. Never allocates while gathering, so a file full of
 * mistakes costs no more than one.
 */
#ifndef XEBEC_CONFIG_PROBLEMS_H
#define XEBEC_CONFIG_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "support/err.h"

#define PROBLEMS_KEPT 100
#define PROBLEM_ROOM  400

struct problem {
    uint32_t line, column;
    char what[PROBLEM_ROOM];
};
/* Zero-initialised memory is a valid, empty list. */
struct problem_list {
    struct problem kept[PROBLEMS_KEPT]; /* the first ones in the order of the file */
    uint32_t count;                     /* of them */
    uint32_t total;                     /* of all */
    bool no_memory;                     /* the file could not be read to its end for a lack of memory */
};

/* Words longer than PROBLEM_ROOM are cut, between characters. */
void problem_add(struct problem_list *list, uint32_t line, uint32_t column, const char *format, ...)
    GW_PRINTF(4, 5);
bool problem_any(const struct problem_list *list);
/* Copies the list out for the caller of config_parse(). */
void problem_publish(const struct problem_list *list, struct config_problems *out);

/* Text from the file, quoted for a message: control characters escaped, cut when long. Used in place:
 * quote(...).text */
struct quoted {
    char text[80];
};
struct quoted quote(const char *text, size_t length);

/*
 * What could have been meant: offer every word that would have been right, then ask for the hint, which is
 * `; did you mean "weight"?` when one of them is near (edit distance, case aside), else `; LEAD: a, b, c`, or
 * nothing when lead is NULL.
 */
struct words {
    const char *wanted; /* what was written */
    size_t wanted_length;
    const char *nearest; /* of those offered, borrowed */
    size_t distance;
    char list[160]; /* "a, b, c", cut when long */
    size_t used;
    char hint[256];
};
void words_init(struct words *words, const char *wanted, size_t wanted_length);
void words_offer(struct words *words, const char *word);
const char *words_hint(struct words *words, const char *lead);

#endif
