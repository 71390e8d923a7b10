/* resp: commands out; replies in, which redisReader builds from our parts, in an arena with a bound. */
#include "support/resp.h"

#include <hiredis/read.h>
#include <stdio.h>

/* --- commands out --- */

/* A prefix of RESP: its letter, a number, the end of the line. */
static void put_number(struct buf *out, char letter, size_t number)
{
    char text[24], *at = text + sizeof text;
    *--at = '\n';
    *--at = '\r';
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    *--at = letter;
    buf_append(out, at, (size_t)(text + sizeof text - at));
}

bool resp_put(struct buf *out, const struct redis_word *words, uint32_t n_words)
{
    size_t before = out->length;
    put_number(out, '*', n_words);
    for (uint32_t i = 0; i < n_words; i++) {
        put_number(out, '$', words[i].length);
        buf_append(out, words[i].bytes, words[i].length);
        buf_append(out, "\r\n", 2);
    }
    if (!out->failed)
        return true;
    out->length = before;
    out->failed = false;
    return false;
}

/* --- the parts of replies --- */

static struct redis_reply *reply_part(const redisReadTask *task, enum redis_kind kind)
{
    struct arena *arena = task->privdata;
    struct redis_reply *part = arena_alloc(arena, sizeof *part);
    if (!part)
        return NULL;
    *part = (struct redis_reply){.kind = kind, .bytes = ""};
    if (task->parent)
        ((struct redis_reply **)((struct redis_reply *)task->parent->obj)->elements)[task->idx] = part;
    return part;
}

static void *reply_string(const redisReadTask *task, char *bytes, size_t length)
{
    struct arena *arena = task->privdata;
    struct redis_reply *part = reply_part(task, task->type == REDIS_REPLY_ERROR    ? REDIS_ERROR
                                                : task->type == REDIS_REPLY_STATUS ? REDIS_LINE
                                                                                   : REDIS_TEXT);
    char *copy = part ? arena_text(arena, bytes, length) : NULL;
    if (!copy)
        return NULL;
    part->bytes = copy;
    part->length = length;
    return part;
}

static void *reply_array(const redisReadTask *task, int n_elements)
{
    struct arena *arena = task->privdata;
    struct redis_reply *part = reply_part(task, REDIS_ARRAY);
    struct redis_reply **elements = part ? arena_array(arena, (size_t)n_elements, sizeof *elements) : NULL;
    if (!elements)
        return NULL;
    part->elements = elements;
    part->n_elements = (size_t)n_elements;
    return part;
}

static void *reply_integer(const redisReadTask *task, long long value)
{
    struct redis_reply *part = reply_part(task, REDIS_INTEGER);
    if (part)
        part->integer = value;
    return part;
}

static void *reply_nil(const redisReadTask *task)
{
    return reply_part(task, REDIS_NIL);
}

static void reply_keep(void *reply)
{
    (void)reply; /* goes with the arena */
}

/* --- replies in --- */

bool resp_open(struct resp_reader *reader, size_t reply_bytes_max)
{
    static redisReplyObjectFunctions parts = {.createString = reply_string,
                                              .createArray = reply_array,
                                              .createInteger = reply_integer,
                                              .createNil = reply_nil,
                                              .freeObject = reply_keep};
    arena_clear(&reader->arena);
    reader->arena.limit = reader->reply_bytes_max = reply_bytes_max;
    reader->handed_out = false;
    reader->parser = redisReaderCreateWithFunctions(&parts);
    if (reader->parser)
        reader->parser->privdata = &reader->arena;
    return reader->parser != NULL;
}

bool resp_is_open(const struct resp_reader *reader)
{
    return reader->parser != NULL;
}

bool resp_feed(struct resp_reader *reader, const char *bytes, size_t length)
{
    return redisReaderFeed(reader->parser, bytes, length) == REDIS_OK;
}

static enum resp_next resp_judge(const struct resp_reader *reader, char why[RESP_WHY_ROOM])
{
    const redisReader *parser = reader->parser;
    if (parser->err == REDIS_ERR_OOM)
        snprintf(why, RESP_WHY_ROOM, "a reply is larger than %zu bytes, or there is no memory for it",
                 reader->reply_bytes_max);
    else if (parser->err)
        snprintf(why, RESP_WHY_ROOM, "it does not speak the protocol: %.100s", parser->errstr);
    else if (parser->len - parser->pos > reader->reply_bytes_max)
        snprintf(why, RESP_WHY_ROOM, "a reply is larger than %zu bytes", reader->reply_bytes_max);
    else
        return RESP_MORE;
    return RESP_BROKEN;
}

enum resp_next resp_next(struct resp_reader *reader, const struct redis_reply **reply,
                         char why[RESP_WHY_ROOM])
{
    void *whole = NULL;
    if (reader->handed_out)
        arena_clear(&reader->arena);
    reader->handed_out = redisReaderGetReply(reader->parser, &whole) == REDIS_OK && whole;
    if (!reader->handed_out)
        return resp_judge(reader, why);
    *reply = whole;
    return RESP_REPLY;
}

void resp_close(struct resp_reader *reader)
{
    if (reader->parser)
        redisReaderFree(reader->parser);
    reader->parser = NULL;
}

void resp_clear(struct resp_reader *reader)
{
    resp_close(reader);
    arena_clear(&reader->arena);
}
