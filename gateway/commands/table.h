/*
 * table: rows of cells for a person: columns as wide as their widest cell, numbers to the right, colour where the reader can
 * see it. Cells that are not needed any more are never kept: a table is printed whole, once.
 */
#ifndef XEBEC_COMMANDS_TABLE_H
#define XEBEC_COMMANDS_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "support/arena.h"
#include "support/buf.h"
#include "support/err.h"

enum { TABLE_COLUMNS_MAX = 12 };
enum ink { INK_PLAIN, INK_DIM, INK_BOLD, INK_GOOD, INK_WARN, INK_BAD };

struct table_cell;

struct table {
    struct arena arena;
    uint32_t n_columns, n_cells, room;
    struct table_cell *cells;
    bool numeric[TABLE_COLUMNS_MAX]; /* to the right */
    bool failed;                     /* out of memory, sticky */
};

/* headings: n of them; one that begins with '>' is of numbers. */
void table_init(struct table *table, const char *const *headings, uint32_t n);
/* The next cell, left to right, row by row. */
void table_add(struct table *table, enum ink ink, const char *format, ...) GW_PRINTF(3, 4);
void table_print(const struct table *table, bool colour, struct buf *out); /* two spaces before each line */
void table_clear(struct table *table);

/* One piece of text in an ink. */
void ink_text(struct buf *out, bool colour, enum ink ink, const char *text);

#endif
