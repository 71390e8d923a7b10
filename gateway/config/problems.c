/* problems: gathering problems in the order of the file, and finding the words for them. */
#include "config/problems.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DISTANCE_MAX 48 /* longer words are not compared: nothing we know is so long */

static bool comes_before(uint32_t line, uint32_t column, const struct problem *other);
static void cut_between_characters(char *text, size_t room);
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length);

void problem_add(struct problem_list *list, uint32_t line, uint32_t column, const char *format, ...)
{
    uint32_t at = list->count;
    while (at > 0 && comes_before(line, column, &list->kept[at - 1]))
        at--;
    list->total++;
    if (at == PROBLEMS_KEPT)
        return;
    uint32_t last = list->count < PROBLEMS_KEPT ? list->count++ : PROBLEMS_KEPT - 1;
    memmove(&list->kept[at + 1], &list->kept[at], (last - at) * sizeof list->kept[0]);

    struct problem *problem = &list->kept[at];
    problem->line = line;
    problem->column = column;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(problem->what, PROBLEM_ROOM, format, args);
    va_end(args);
    if (length >= PROBLEM_ROOM)
        cut_between_characters(problem->what, PROBLEM_ROOM);
}

bool problem_any(const struct problem_list *list)
{
    return list->total > 0 || list->no_memory;
}

void problem_publish(const struct problem_list *list, struct config_problems *out)
{
    uint32_t more = list->total - list->count;
    struct config_problem *entries = calloc((size_t)list->count + 1, sizeof *entries);
    size_t starts[PROBLEMS_KEPT + 1];
    if (!entries || list->no_memory)
        goto fail;
    for (uint32_t i = 0; i < list->count; i++) {
        starts[i] = out->text.length;
        buf_append(&out->text, list->kept[i].what, strlen(list->kept[i].what) + 1);
        entries[i] = (struct config_problem){list->kept[i].line, list->kept[i].column, NULL};
    }
    starts[list->count] = out->text.length;
    buf_printf(&out->text, "and %u more problems", more);
    buf_append(&out->text, "", 1);
    if (out->text.failed)
        goto fail;
    out->list = entries;
    out->count = list->count + (more > 0);
    for (uint32_t i = 0; i < out->count; i++)
        entries[i].what = out->text.bytes + starts[i];
    return;
fail:
    free(entries);
    buf_clear(&out->text);
    out->no_memory = (struct config_problem){.what = "out of memory while reading the file"};
    out->list = &out->no_memory;
    out->count = 1;
}

void config_problems_print(const struct config_problems *problems, const char *path, struct buf *out)
{
    for (uint32_t i = 0; i < problems->count; i++) {
        const struct config_problem *problem = &problems->list[i];
        if (problem->line)
            buf_printf(out, "%s:%u:%u: %s\n", path, problem->line, problem->column, problem->what);
        else
            buf_printf(out, "%s: %s\n", path, problem->what);
    }
}

void config_problems_clear(struct config_problems *problems)
{
    if (problems->list != &problems->no_memory)
        free(problems->list);
    buf_clear(&problems->text);
    problems->list = NULL;
    problems->count = 0;
}

struct quoted quote(const char *text, size_t length)
{
    struct quoted quoted;
    size_t used = 0;
    quoted.text[used++] = '"';
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (used > sizeof quoted.text - 12 && (c & 0xC0) != 0x80) {
            memcpy(quoted.text + used, "...", 3);
            used += 3;
            break;
        }
        if (c < 0x20 || c == 0x7F || (c == 0xC2 && i + 1 < length && (unsigned char)text[i + 1] < 0xA0))
            used +=
                (size_t)snprintf(quoted.text + used, 5, "\\x%02x", c == 0xC2 ? (unsigned char)text[++i] : c);
        else
            quoted.text[used++] = (char)c;
    }
    quoted.text[used++] = '"';
    quoted.text[used] = '\0';
    return quoted;
}

void words_init(struct words *words, const char *wanted, size_t wanted_length)
{
    *words = (struct words){.wanted = wanted, .wanted_length = wanted_length, .distance = SIZE_MAX};
}

void words_offer(struct words *words, const char *word)
{
    size_t distance = edit_distance(words->wanted, words->wanted_length, word, strlen(word));
    if (distance < words->distance) {
        words->distance = distance;
        words->nearest = word;
    }
    size_t room = sizeof words->list - words->used;
    int length = snprintf(words->list + words->used, room, "%s%s", words->used ? ", " : "", word);
    if ((size_t)length >= room) {
        cut_between_characters(words->list, sizeof words->list);
        length = (int)room - 1; /* full: later words add nothing */
    }
    words->used += (size_t)length;
}

const char *words_hint(struct words *words, const char *lead)
{
    size_t near = words->wanted_length < 6 ? 1 : words->wanted_length / 3;
    if (words->nearest && words->distance <= near)
        snprintf(words->hint, sizeof words->hint, "; did you mean \"%.64s\"?", words->nearest);
    else if (words->used && lead)
        snprintf(words->hint, sizeof words->hint, "; %.64s: %s", lead, words->list);
    return words->hint;
}

static bool comes_before(uint32_t line, uint32_t column, const struct problem *other)
{
    return line != other->line ? line < other->line : column < other->column;
}

/* `text` fills its room: ends it with "..." where no UTF-8 sequence is cut in two. */
static void cut_between_characters(char *text, size_t room)
{
    size_t at = room - 4;
    while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80)
        at--;
    memcpy(text + at, "...", 4);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool same_letter(char a, char b)
{
    return strncasecmp(&a, &b, 1) == 0;
}

/* Insertions, deletions, substitutions and swaps of neighbours, each costing one; SIZE_MAX for long words. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][DISTANCE_MAX + 1];
    if (a_length > DISTANCE_MAX || b_length > DISTANCE_MAX)
        return SIZE_MAX;
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++)
        above[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t same = same_letter(a[i - 1], b[j - 1]) ? 0 : 1;
            row[j] = least(above[j - 1] + same, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[b_length];
}
