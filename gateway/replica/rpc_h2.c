/*
 * rpc_h2: the transport over nghttp2, inside the loop: no thread, no queue, no second wake-up, and none at
 * all while a quick reply is due (rpc_attend.h).
 *
 *   h2_call_start() -> link -> session -> outbox --one sendmsg() a turn--> socket
 *   call_end()  <- loop_post <- session <- link <--recv()-------------- socket
 *
 * A channel is one connection at a time, and those that the peer is leaving, until their calls are done:
 *
 *   IDLE --watch--> CONNECTING --connected, and SETTINGS came--> READY
 *                     ^    |                                       |
 *                     |    v refused, timed out                    | lost, or the peer is leaving
 *                     '-- DOWN <-----------------------------------'
 *                         until an attempt is due again: they begin at least a backoff apart
 *
 * Everything belongs to the loop's thread. A channel lives until its last call and its last report have run,
 * a client until its last channel is gone.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "replica/rpc_attend.h"
#include "replica/rpc_dial.h"
#include "replica/rpc_h2_link.h"
#include "replica/rpc_transport.h"

enum {
    LEAVING_MAX = 4,       /* connections that the peer is leaving; more: the oldest is cut */
    SILENCE_US = 20000000, /* as gRPC core's keepalive: finds hosts that vanished without a word */
    PATIENCE_US = 5000000,
};

struct h2_client {
    struct rpc_client base;
    struct loop *loop;
    struct resolver *resolver;
    uint32_t refs;   /* the owner's, and one a channel */
    uint64_t random; /* for jitter */
    struct loop_poller poller;
    struct rpc_attend attend; /* when the loop looks at its sockets again and again, rather than sleep */
    uint8_t room[H2_LINK_ROOM];
};

struct h2_channel {
    struct rpc_channel base;
    struct h2_client *client;
    struct rpc_channel_options options;
    uint32_t refs; /* the owner's, one a call, the report's */
    enum rpc_state state;
    bool readable; /* the address: else it is down for good */
    bool closed;   /* the owner is gone */
    struct rpc_dial dial;
    struct h2_link *link; /* connecting or ready */
    struct h2_link *leaving[LEAVING_MAX];
    struct loop_timer timer; /* CONNECTING: the peer should have greeted; DOWN: the next attempt. Never off,
                                only far away: so moving it can't fail */
    uint64_t attempt_us;     /* when the last attempt began */
    uint32_t backoff_ms;
    uint32_t connections; /* that became READY, so far */
    uint64_t usual_us;    /* what a call takes, smoothed; 0 until one came back */
    struct loop_task report;
    bool report_posted;
    enum rpc_state told;
    uint32_t told_connections;
    void (*changed)(void *owner, enum rpc_state state);
    void *owner;
    struct tls_context *tls; /* a reference; NULL: plain */
    char peer[RPC_NAME_BYTES];
    char why[400]; /* of the last loss */
    char authority[];
};

struct h2_call {
    struct rpc_call base;
    struct h2_channel *channel;
    struct h2_link *link; /* that it was sent over; NULL: it was not */
    struct h2_stream stream;
    struct loop_timer deadline;
    struct loop_task end;
    void (*done)(void *owner, const struct rpc_reply *reply);
    void *owner;
    uint64_t sent_us, done_us;
};

static bool client_attend(struct loop_poller *poller);
static void client_release(struct h2_client *client);
static void channel_release(struct h2_channel *channel);
static void channel_attempt(struct h2_channel *channel);
static void channel_dialled(struct rpc_dial *dial, int fd);
static void channel_link_changed(void *owner, struct h2_link *link, enum h2_link_state state);
static void channel_lose(struct h2_channel *channel, const char *why);
static void channel_timer_fired(struct loop_timer *timer);
static void channel_wake(struct h2_channel *channel, uint64_t at_us);
static void channel_become(struct h2_channel *channel, enum rpc_state state);
static void channel_tell(struct loop_task *task);
static void call_stream_ended(struct h2_stream *stream);
static void call_timed_out(struct loop_timer *timer);
static void call_end(struct loop_task *task);

/* --- client --- */

static struct rpc_client *h2_client_new(struct loop *loop, struct resolver *resolver)
{
    struct h2_client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    client->base.transport = &rpc_h2;
    client->loop = loop;
    client->resolver = resolver;
    client->refs = 1;
    client->poller.poll = client_attend;
    loop_set_poller(loop, &client->poller);
    if (getrandom(&client->random, sizeof client->random, GRND_NONBLOCK) < 0)
        client->random = loop_now_us();
    return &client->base;
}

static void h2_client_free(struct rpc_client *base)
{
    struct h2_client *client = container_of(base, struct h2_client, base);
    loop_set_poller(client->loop, NULL);
    client_release(client);
}

/* Whoever else wants the core is let first. */
static bool client_attend(struct loop_poller *poller)
{
    const struct h2_client *client = container_of(poller, struct h2_client, poller);
    if (!rpc_attend_pays(&client->attend, loop_now_us()))
        return false;
    sched_yield();
    return true;
}

static void client_release(struct h2_client *client)
{
    if (--client->refs == 0)
        free(client);
}

/* Around `middle`, a fifth to either side: replicas that went down together are not dialled together. */
static uint64_t client_jitter(struct h2_client *client, uint64_t middle)
{
    client->random = client->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return middle - middle / 5 + (client->random >> 33) % (2 * middle / 5 + 1);
}

/* --- channel --- */

static struct rpc_channel *h2_channel_new(struct rpc_client *base, const char *address,
                                          const struct rpc_channel_options *options)
{
    struct h2_client *client = container_of(base, struct h2_client, base);
    bool is_unix = strncmp(address, "unix:", 5) == 0;
    const char *authority = is_unix ? "localhost" : address;
    struct h2_channel *channel = calloc(1, sizeof *channel + strlen(authority) + 1);
    if (!channel)
        return NULL;
    channel->base.transport = &rpc_h2;
    channel->client = client;
    channel->options = *options;
    channel->refs = 1;
    channel->backoff_ms = options->backoff_min_ms;
    channel->timer.fire = channel_timer_fired;
    channel->report.run = channel_tell;
    memcpy(channel->authority, authority, strlen(authority) + 1);
    rpc_peer_name(address, options, channel->peer);
    channel->tls = tls_context_ref(options->tls);
    enum gw_status status = rpc_dial_init(&channel->dial, client->loop, client->resolver, address,
                                          options->connect_timeout_ms * UINT64_C(1000));
    channel->readable = status == GW_OK;
    channel->dial.done = channel_dialled;
    if (status == GW_E_NO_MEMORY || loop_timer_set(client->loop, &channel->timer, UINT64_MAX) != GW_OK)
        goto fail;
    client->refs++;
    return &channel->base;
fail:
    rpc_dial_clear(&channel->dial);
    tls_context_unref(channel->tls);
    free(channel);
    return NULL;
}

static void h2_channel_free(struct rpc_channel *base)
{
    struct h2_channel *channel = container_of(base, struct h2_channel, base);
    channel->closed = true;
    loop_timer_cancel(channel->client->loop, &channel->timer);
    rpc_dial_clear(&channel->dial);
    if (channel->link)
        h2_link_close(channel->link, GW_E_CANCELLED);
    channel->link = NULL;
    for (int i = 0; i < LEAVING_MAX; i++)
        if (channel->leaving[i])
            h2_link_close(channel->leaving[i], GW_E_CANCELLED);
    channel_release(channel);
}

static void channel_release(struct h2_channel *channel)
{
    if (--channel->refs)
        return;
    client_release(channel->client);
    tls_context_unref(channel->tls);
    free(channel);
}

static void h2_channel_watch(struct rpc_channel *base, void (*changed)(void *owner, enum rpc_state state),
                             void *owner)
{
    struct h2_channel *channel = container_of(base, struct h2_channel, base);
    channel->changed = changed;
    channel->owner = owner;
    if (channel->readable)
        channel_attempt(channel);
    else
        channel_become(channel, RPC_DOWN);
}

/* --- connecting --- */

static void channel_attempt(struct h2_channel *channel)
{
    channel->attempt_us = loop_now_us();
    channel_become(channel, RPC_CONNECTING);
    rpc_dial_start(&channel->dial);
}

/* NULL: out of memory, and fd is closed. */
static struct h2_link *channel_open_link(struct h2_channel *channel, int fd)
{
    struct tls *tls = channel->tls ? tls_new(channel->tls, channel->peer) : NULL;
    const struct h2_link_setup setup = {.loop = channel->client->loop,
                                        .fd = fd,
                                        .tls = tls,
                                        .max_calls = H2_CALLS_MAX,
                                        .silence_us = SILENCE_US,
                                        .patience_us = PATIENCE_US,
                                        .room = channel->client->room,
                                        .ended = call_stream_ended,
                                        .changed = channel_link_changed,
                                        .owner = channel};
    struct h2_link *link = channel->tls && !tls ? NULL : h2_link_open(&setup);
    if (link)
        return link;
    tls_free(tls);
    close(fd);
    return NULL;
}

static void channel_dialled(struct rpc_dial *dial, int fd)
{
    struct h2_channel *channel = container_of(dial, struct h2_channel, dial);
    if (fd >= 0)
        channel->link = channel_open_link(channel, fd);
    if (channel->link)
        channel_wake(channel, loop_now_us() + channel->options.connect_timeout_ms * UINT64_C(1000));
    else
        channel_lose(channel, fd < 0 ? dial->why : gw_status_words(GW_E_NO_MEMORY));
}

static void channel_timer_fired(struct loop_timer *timer)
{
    struct h2_channel *channel = container_of(timer, struct h2_channel, timer);
    channel_wake(channel, UINT64_MAX);
    if (channel->state == RPC_DOWN) {
        channel_attempt(channel);
    } else if (channel->state == RPC_CONNECTING && channel->link) {
        h2_link_close(channel->link, GW_E_NO_REPLICA); /* it accepts, and does not greet */
        channel->link = NULL;
        channel_lose(channel, "it accepts connections, and says nothing");
    }
}

/* No connection (any more): tries again as soon as an attempt is due, in the next turn at the earliest. */
static void channel_lose(struct h2_channel *channel, const char *why)
{
    snprintf(channel->why, sizeof channel->why, "%s", why);
    uint64_t due_us =
        channel->attempt_us + client_jitter(channel->client, channel->backoff_ms * UINT64_C(1000));
    channel->backoff_ms += channel->backoff_ms / 2;
    if (channel->backoff_ms > channel->options.backoff_max_ms)
        channel->backoff_ms = channel->options.backoff_max_ms;
    channel_become(channel, RPC_DOWN);
    channel_wake(channel, due_us);
}

/* The peer finishes what it has; new calls go over a new connection. */
static void channel_let_leave(struct h2_channel *channel)
{
    struct h2_link **last = &channel->leaving[LEAVING_MAX - 1];
    if (*last)
        h2_link_close(*last, GW_E_NO_REPLICA);
    memmove(&channel->leaving[1], &channel->leaving[0], (LEAVING_MAX - 1) * sizeof(struct h2_link *));
    channel->leaving[0] = channel->link;
    channel->link = NULL;
}

static void channel_forget_leaving(struct h2_channel *channel, const struct h2_link *link)
{
    for (int i = 0; i < LEAVING_MAX; i++)
        if (channel->leaving[i] == link)
            channel->leaving[i] = NULL;
}

/* With what there is to be done about it: what the peer's certificate was checked against. */
static void channel_say_why(const struct h2_channel *channel, const struct h2_link *link,
                            enum h2_link_state state, char *why, size_t room)
{
    const char *words = state == LINK_GOING ? "the replica is leaving" : h2_link_why(link);
    bool checked = strstr(words, "verify failed") != NULL;
    if (checked)
        snprintf(why, room, "%s; expected %.64s by tls.ca %.100s", words, channel->peer,
                 tls_context_path(channel->tls, TLS_FILE_CA));
    else
        snprintf(why, room, "%s", words);
}

static void channel_link_changed(void *owner, struct h2_link *link, enum h2_link_state state)
{
    struct h2_channel *channel = owner;
    bool present = link == channel->link;
    char why[sizeof channel->why];
    if (state == LINK_OPEN) {
        channel->connections++;
        channel->backoff_ms = channel->options.backoff_min_ms;
        channel_wake(channel, UINT64_MAX);
        channel_become(channel, RPC_READY);
        return;
    }
    channel_say_why(channel, link, state, why, sizeof why);
    if (state == LINK_LOST) {
        h2_link_close(link, GW_E_NO_REPLICA);
        channel_forget_leaving(channel, link);
    }
    if (!present)
        return;
    if (state == LINK_GOING)
        channel_let_leave(channel);
    channel->link = NULL;
    channel_lose(channel, why);
}

static const char *h2_channel_why(const struct rpc_channel *base)
{
    return ((const struct h2_channel *)(const void *)base)->why;
}

static void channel_wake(struct h2_channel *channel, uint64_t at_us)
{
    (void)!loop_timer_set(channel->client->loop, &channel->timer, at_us);
}

/* --- what the owner is told --- */

/* The one place where the state changes. */
static void channel_become(struct h2_channel *channel, enum rpc_state state)
{
    channel->state = state;
    if (channel->report_posted)
        return;
    channel->report_posted = true;
    channel->refs++;
    loop_post(channel->client->loop, &channel->report);
}

static void channel_tell(struct loop_task *task)
{
    struct h2_channel *channel = container_of(task, struct h2_channel, report);
    bool other = channel->state == RPC_READY && channel->told_connections != channel->connections;
    channel->report_posted = false;
    if (!channel->closed && (other || channel->state != channel->told)) {
        channel->told = channel->state;
        channel->told_connections = channel->connections;
        channel->changed(channel->owner, channel->state);
    }
    channel_release(channel);
}

/* --- call --- */

static bool call_send(struct h2_call *call, const struct rpc_payload *payload, const char *method,
                      uint64_t deadline_us)
{
    struct h2_channel *channel = call->channel;
    const struct h2_request request = {.method = method,
                                       .authority = channel->authority,
                                       .payload = payload,
                                       .secure = channel->tls != NULL,
                                       .timeout_us =
                                           deadline_us > call->sent_us ? deadline_us - call->sent_us : 1,
                                       .max_bytes = channel->options.max_message_bytes};
    if (loop_timer_set(channel->client->loop, &call->deadline, deadline_us) != GW_OK)
        return false;
    if (!h2_link_start(channel->link, &call->stream, &request)) {
        loop_timer_cancel(channel->client->loop, &call->deadline);
        return false;
    }
    call->link = channel->link;
    rpc_attend_expect(&channel->client->attend, call->sent_us, channel->usual_us);
    return true;
}

static struct rpc_call *h2_call_start(struct rpc_channel *base, const struct rpc_payload *payload,
                                      const char *method, uint64_t deadline_us,
                                      void (*done)(void *owner, const struct rpc_reply *reply), void *owner)
{
    struct h2_channel *channel = container_of(base, struct h2_channel, base);
    struct h2_call *call = malloc(sizeof *call);
    if (!call)
        return NULL;
    *call = (struct h2_call){.base.transport = &rpc_h2,
                             .channel = channel,
                             .deadline.fire = call_timed_out,
                             .end.run = call_end,
                             .done = done,
                             .owner = owner,
                             .sent_us = loop_now_us()};
    if (channel->state != RPC_READY) {
        h2_reply_init(&call->stream.reply, 0);
        h2_reply_fail(&call->stream.reply, GW_E_NO_REPLICA, "not connected");
        call_stream_ended(&call->stream);
    } else if (!call_send(call, payload, method, deadline_us)) {
        free(call);
        return NULL;
    }
    channel->refs++;
    return &call->base;
}

static void h2_call_cancel(struct rpc_call *base)
{
    struct h2_call *call = container_of(base, struct h2_call, base);
    if (call->stream.session)
        h2_link_cancel(call->link, &call->stream, GW_E_CANCELLED);
}

static void call_timed_out(struct loop_timer *timer)
{
    struct h2_call *call = container_of(timer, struct h2_call, deadline);
    h2_link_cancel(call->link, &call->stream, GW_E_DEADLINE);
}

/* Somewhere inside the session: what `done` may do must wait until that is left. */
static void call_stream_ended(struct h2_stream *stream)
{
    struct h2_call *call = container_of(stream, struct h2_call, stream);
    struct loop *loop = call->channel->client->loop;
    loop_timer_cancel(loop, &call->deadline);
    call->done_us = loop_now_us();
    loop_post(loop, &call->end);
}

static void call_end(struct loop_task *task)
{
    struct h2_call *call = container_of(task, struct h2_call, end);
    struct h2_channel *channel = call->channel;
    struct rpc_reply reply;
    h2_reply_judge(&call->stream.reply, &reply);
    reply.sent_us = call->sent_us;
    reply.done_us = call->done_us;
    reply.unsent = !call->link;
    if (call->link)
        rpc_attend_ended(&channel->client->attend);
    if (reply.status == GW_OK)
        channel->usual_us = rpc_attend_learn(channel->usual_us, reply.done_us - reply.sent_us);
    call->done(call->owner, &reply);
    h2_reply_clear(&call->stream.reply);
    free(call);
    channel_release(channel);
}

const struct rpc_transport rpc_h2 = {
    .client_new = h2_client_new,
    .client_free = h2_client_free,
    .channel_new = h2_channel_new,
    .channel_free = h2_channel_free,
    .channel_watch = h2_channel_watch,
    .channel_why = h2_channel_why,
    .call_start = h2_call_start,
    .call_cancel = h2_call_cancel,
};
