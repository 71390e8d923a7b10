/* asks: a function a kind, then the table of all. Rows are numbered, so that every answer tells whose it is.
 */
#include "asks.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PADDING = 20000, /* of a large body: white space */
    MANY_ROWS = 600,
};

static void expect(struct ask *ask, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void expect(struct ask *ask, int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ask->replies[ask->n_replies].says, sizeof ask->replies[0].says, format, args);
    ask->replies[ask->n_replies++].status = status;
    va_end(args);
}

static void post(struct ask *ask, const char *endpoint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void post(struct ask *ask, const char *endpoint, const char *format, ...)
{
    char body[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(body, sizeof body, format, args);
    va_end(args);
    buf_printf(&ask->bytes, "POST /%s/predict HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s",
               endpoint, length, body);
}

/* --- predictions --- */

static void ask_single(struct ask *ask, unsigned serial)
{
    post(ask, "echo", "{\"input\":[%u,1,2,0.5]}", serial);
    expect(ask, 200, "\"output\":[%u,1,2,0.5],\"default\":false,\"model\":\"echo@1\"}", serial);
}

static void ask_default(struct ask *ask, unsigned serial)
{
    post(ask, "echo-default", "{\"input\":[%u,1,2,1.5]}", serial);
    expect(ask, 200, "\"output\":[%u,1,2,1.5],\"default\":false", serial);
    ask->defaults = true;
}

/* Two rows are the same: one of them waits for the other. */
static void ask_batch(struct ask *ask, unsigned serial)
{
    post(ask, "echo", "{\"version\":\"1\",\"input_batch\":[[%u,3,3,3],[%u,3,3,3],[%u,4,4,4]]}", serial,
         serial, serial);
    expect(ask, 200, "\"output\":[%u,4,4,4],\"default\":false,\"model\":\"echo@1\"}]}", serial);
}

static void ask_cached(struct ask *ask, unsigned serial)
{
    (void)serial;
    post(ask, "echo", "{\"input\":[7,7,7,7]}");
    expect(ask, 200, "\"output\":[7,7,7,7],\"default\":false");
}

static void ask_chunked(struct ask *ask, unsigned serial)
{
    char row[32];
    int length = snprintf(row, sizeof row, "%u,5,5,5]}", serial);
    buf_printf(&ask->bytes,
               "POST /echo/predict HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
               "a\r\n{\"input\":[\r\n%x;why=not\r\n%s\r\n0\r\nTrailer: yes\r\n\r\n",
               (unsigned)length, row);
    expect(ask, 200, "\"output\":[%u,5,5,5],\"default\":false", serial);
}

static void ask_large(struct ask *ask, unsigned serial)
{
    char row[32];
    int length = snprintf(row, sizeof row, "{\"input\":[%u,6,6,6]", serial);
    buf_printf(&ask->bytes, "POST /echo/predict HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s",
               length + PADDING + 1, row);
    char *room = buf_reserve(&ask->bytes, PADDING + 1);
    if (!room)
        abort();
    memset(room, ' ', PADDING);
    room[PADDING] = '}';
    ask->bytes.length += PADDING + 1;
    expect(ask, 200, "\"output\":[%u,6,6,6],\"default\":false", serial);
}

static void ask_pipelined(struct ask *ask, unsigned serial)
{
    post(ask, "echo", "{\"input\":[%u,8,8,8]}", serial);
    post(ask, "echo", "{\"input\":[%u,9,9,9]}", serial);
    expect(ask, 200, "\"output\":[%u,8,8,8],\"default\":false", serial);
    expect(ask, 200, "\"output\":[%u,9,9,9],\"default\":false", serial);
}

static void ask_json_output(struct ask *ask, unsigned serial)
{
    post(ask, "said", "{\"input\":\"{\\\"\\u00e9\\\": [%u, null]}\"}", serial);
    expect(ask, 200, "\"output\":{\"\u00e9\": [%u, null]},\"default\":false,\"model\":\"said@1\"}", serial);
}

static void ask_several_outputs(struct ask *ask, unsigned serial)
{
    post(ask, "picky", "{\"input\":[3,%u]}", serial);
    expect(ask, 200, "\"output\":{\"y\":9,\"words\":\"row ");
}

static void ask_expecting(struct ask *ask, unsigned serial)
{
    char body[64];
    int length = snprintf(body, sizeof body, "{\"input\":[%u,1,1,1]}", serial);
    buf_printf(
        &ask->bytes,
        "POST /echo/predict HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s",
        length, body);
    expect(ask, 200, "\"output\":[%u,1,1,1],\"default\":false", serial);
}

/* A reply that does not come from the replica in one piece. */
static void ask_many_rows(struct ask *ask, unsigned serial)
{
    struct buf body = {0};
    buf_text(&body, "{\"input_batch\":[");
    for (unsigned i = 0; i < MANY_ROWS; i++)
        buf_printf(&body, "%s[%u,%u]", i ? "," : "", i, serial);
    buf_text(&body, "]}");
    buf_printf(&ask->bytes, "POST /picky/predict HTTP/1.1\r\nHost: test\r\nContent-Length: %zu\r\n\r\n%.*s",
               body.length, (int)body.length, body.bytes);
    buf_clear(&body);
    expect(ask, 200, "\"output\":{\"y\":%u,\"words\":\"row ", (MANY_ROWS - 1) * (MANY_ROWS - 1));
}

/* --- failures --- */

static void ask_not_json_output(struct ask *ask, unsigned serial)
{
    post(ask, "said", "{\"input\":\"[%u\"}", serial);
    expect(ask, 502, "\"error\":\"output t is declared as JSON, and the model's answer is not\"");
}

static void ask_model_raises(struct ask *ask, unsigned serial)
{
    post(ask, "picky", "{\"input\":[777,%u]}", serial);
    expect(ask, 500, "{\"error\":\"the model is out of sorts\",\"cause\":\"model_error\"}");
}

static void ask_row_raises(struct ask *ask, unsigned serial)
{
    post(ask, "picky", "{\"input_batch\":[[2,%u],[-1,%u]]}", serial, serial);
    expect(ask, 207, "\"error\":\"x is negative\",\"cause\":\"model_error\",\"model\":\"picky@1\"}]}");
}

static void ask_bad_json(struct ask *ask, unsigned serial)
{
    post(ask, "echo", "{\"input\":[%u,1,2,}", serial);
    expect(ask, 400, "\"cause\":\"invalid_input\"}");
}

static void ask_bad_version(struct ask *ask, unsigned serial)
{
    post(ask, "echo", "{\"version\":\"none\",\"input\":[%u,1,2,3]}", serial);
    expect(ask, 400, "Requested version: none does not exist for model: echo");
}

static void ask_nowhere(struct ask *ask, unsigned serial)
{
    buf_printf(&ask->bytes, "POST /nowhere/%u HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}", serial);
    expect(ask, 404, "\"cause\":\"not_found\"}");
}

static void ask_wrong_method(struct ask *ask, unsigned serial)
{
    buf_printf(&ask->bytes, "GET /echo/predict?%u HTTP/1.1\r\nHost: test\r\n\r\n", serial);
    expect(ask, 405, "\"cause\":\"method_not_allowed\"}");
}

static void ask_not_http(struct ask *ask, unsigned serial)
{
    buf_printf(&ask->bytes,
               "GET /%u HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", serial);
    expect(ask, 400, "\"cause\":\"invalid_input\"}");
    ask->ends = true;
}

static const struct {
    const char *name;
    void (*write)(struct ask *ask, unsigned serial);
} kinds[ASK_KINDS] = {
    {"single", ask_single},
    {"with a default", ask_default},
    {"batch", ask_batch},
    [ASK_CACHED] = {"cached", ask_cached},
    {"chunked", ask_chunked},
    {"large", ask_large},
    {"pipelined", ask_pipelined},
    {"JSON output", ask_json_output},
    {"several outputs", ask_several_outputs},
    {"output that is no JSON", ask_not_json_output},
    [ASK_MODEL_RAISES] = {"model raises", ask_model_raises},
    {"row raises", ask_row_raises},
    {"bad JSON", ask_bad_json},
    {"bad version", ask_bad_version},
    {"nowhere", ask_nowhere},
    {"wrong method", ask_wrong_method},
    {"not HTTP", ask_not_http},
    {"expecting 100", ask_expecting},
    {"many rows", ask_many_rows},
};

const char *ask_name(unsigned kind)
{
    return kinds[kind].name;
}

void ask_write(struct ask *ask, unsigned kind, unsigned serial)
{
    *ask = (struct ask){.n_replies = 0};
    kinds[kind].write(ask, serial);
    if (ask->bytes.failed)
        abort();
}

void ask_clear(struct ask *ask)
{
    buf_clear(&ask->bytes);
}

/* --- what comes back --- */

const char *ask_judge(const struct ask *ask, unsigned i, const struct reply *reply)
{
    switch (reply->how) {
    case REPLY_NONE:
        return "no reply";
    case REPLY_LATE:
        return "no reply in time";
    case REPLY_MALFORMED:
        return "not HTTP";
    case REPLY_WHOLE:
        break;
    }
    if (reply->status != ask->replies[i].status)
        return "another status";
    return strstr(reply->body, ask->replies[i].says) ? NULL : "another body";
}

void ask_calmly(const struct served *served, unsigned kind, unsigned serial)
{
    static struct client client; /* large, and one at a time */
    struct ask ask;
    ask_write(&ask, kind, serial);
    client_open(&client, served);
    client_send(&client, ask.bytes.bytes, ask.bytes.length);
    for (unsigned i = 0; i < ask.n_replies; i++) {
        struct reply reply = client_reply(&client, REPLY_WITHIN_MS);
        const char *wrong = ask_judge(&ask, i, &reply);
        if (wrong) {
            fprintf(stderr, "%s, reply %u: %s: %d %.400s\n", ask_name(kind), i, wrong, reply.status,
                    reply.body ? reply.body : "");
            abort();
        }
    }
    if (!client_close(&client)) {
        fprintf(stderr, "%s: more than was due came back\n", ask_name(kind));
        abort();
    }
    ask_clear(&ask);
}
