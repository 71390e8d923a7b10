/* table: cells gathered, measured, printed. */
#include "commands/table.h"

#include <stdio.h>
#include <string.h>

struct table_cell {
    const char *text;
    enum ink ink;
    size_t width; /* characters, not bytes */
};

enum { CELL_ROOM = 512, GAP = 2 };

static const char *const inks[] = {"", "\033[2m", "\033[1m", "\033[32m", "\033[33m", "\033[31m"};

void ink_text(struct buf *out, bool colour, enum ink ink, const char *text)
{
    bool coloured = colour && ink != INK_PLAIN && text[0];
    buf_text(out, coloured ? inks[ink] : "");
    buf_text(out, text);
    buf_text(out, coloured ? "\033[0m" : "");
}

static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += (*text & 0xC0) != 0x80;
    return width;
}

static void add_cell(struct table *table, enum ink ink, const char *text)
{
    if (table->n_cells == table->room) {
        uint32_t room = table->room ? 2 * table->room : 64;
        size_t size = sizeof *table->cells;
        struct table_cell *grown = arena_grow(&table->arena, table->cells, table->room * size, room * size);
        table->failed = table->failed || !grown;
        if (!grown)
            return;
        table->cells = grown;
        table->room = room;
    }
    const char *kept = arena_text(&table->arena, text, strlen(text));
    table->failed = table->failed || !kept;
    if (kept)
        table->cells[table->n_cells++] = (struct table_cell){kept, ink, width_of(kept)};
}

void table_init(struct table *table, const char *const *headings, uint32_t n)
{
    *table = (struct table){.n_columns = n};
    for (uint32_t i = 0; i < n; i++) {
        table->numeric[i] = headings[i][0] == '>';
        add_cell(table, INK_DIM, headings[i] + table->numeric[i]);
    }
}

/* What somebody else wrote must not move the cursor or change the colour of a terminal. */
static void tame(char *text)
{
    for (; *text; text++) {
        unsigned char here = (unsigned char)text[0], next = (unsigned char)text[1];
        if (here < 0x20 || here == 0x7F)
            *text = '?';
        else if (here == 0xC2 && next >= 0x80 && next < 0xA0) /* C1: a terminal may take it for ESC [ */
            text[0] = text[1] = '?';
    }
}

void table_add(struct table *table, enum ink ink, const char *format, ...)
{
    char text[CELL_ROOM];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tame(text);
    add_cell(table, ink, text);
}

static void print_row(const struct table *table, const struct table_cell *row, const size_t *widths,
                      bool colour, struct buf *out)
{
    uint32_t last = table->n_columns;
    while (last && !row[last - 1].width)
        last--;
    for (uint32_t i = 0; i < last; i++) {
        int pad = (int)(widths[i] - row[i].width);
        buf_printf(out, "%*s", GAP + (table->numeric[i] ? pad : 0), "");
        ink_text(out, colour, row[i].ink, row[i].text);
        if (!table->numeric[i] && i + 1 < last)
            buf_printf(out, "%*s", pad, "");
    }
    buf_text(out, "\n");
}

void table_print(const struct table *table, bool colour, struct buf *out)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    uint32_t n_rows = table->n_columns ? table->n_cells / table->n_columns : 0;
    out->failed = out->failed || table->failed;
    for (uint32_t i = 0; i < n_rows * table->n_columns; i++)
        if (table->cells[i].width > widths[i % table->n_columns])
            widths[i % table->n_columns] = table->cells[i].width;
    for (uint32_t i = 0; i < n_rows; i++)
        print_row(table, &table->cells[i * table->n_columns], widths, colour, out);
}

void table_clear(struct table *table)
{
    arena_clear(&table->arena);
    *table = (struct table){0};
}
