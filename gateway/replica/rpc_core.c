/*
 * rpc_core: the transport over gRPC core. With rpc_queue the home of gRPC: no other file of the gateway sees
 * its names.
 *
 *   loop thread                                    rpc_queue's thread, or the loop's itself
 *   core_call_start() -> grpc_call_start_batch ---> sockets
 *                                                  grpc_completion_queue_next: stamps the time,
 *   call_ended(): judge, done(), free  <---------- loop_post()
 *
 * That thread does no more than that, so everything else belongs to the loop's thread. What gRPC
 * completes is a struct completion, embedded in the call or channel that it is about: nothing is allocated on
 * the way back. A channel lives until its last call and its watch have come back, a client until its last
 * channel is gone; gRPC completes everything that was ever started, so nothing is lost.
 *
 * gRPC itself ends the process when it gets no memory; what grows with the size of a call (payload, reply)
 * is therefore allocated here, where it fails that call alone.
 */
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replica/rpc_attend.h"
#include "replica/rpc_locks.h"
#include "replica/rpc_queue.h"
#include "replica/rpc_transport.h"
#include "support/log.h"
#include "support/tls_context.h"

enum {
    KEEPALIVE_MS = 20000, /* a ping when calls hang that long: finds hosts that vanished without a word */
    KEEPALIVE_TIMEOUT_MS = 5000, /* no answer to it: the connection is dead */
    REPLIES_FIRST = 4,           /* for so many at a time there is memory from the start, */
    REPLIES_SPARE = 16 << 20,    /* and so much more for all else that gRPC remembers of a channel */
    ASK_NAMES_AGAIN_US =
        5000000, /* gRPC asks again for a name it did not find after up to 2 minutes: too long */
};

static const char QUOTA_FULL[] = "Buffers full"; /* how gRPC puts it */

struct core_client {
    struct rpc_client base;
    struct loop *loop;
    struct rpc_queue *queue;
    uint32_t refs; /* the owner's, and one a channel */
};

struct core_channel {
    struct rpc_channel base;
    struct core_client *client;
    grpc_channel *grpc;
    grpc_resource_quota *quota;  /* for the replies of so many */
    uint32_t quota_calls, calls; /* calls; how many there are */
    size_t max_message_bytes;
    uint32_t refs;               /* the owner's, one a call, the watch's */
    uint64_t usual_us;           /* what a call takes, smoothed; 0 until one came back */
    bool closed;                 /* the owner is gone */
    struct core_call *in_flight; /* newest first */
    struct completion watch;
    void (*changed)(void *owner, enum rpc_state state);
    void *owner;
    enum rpc_state told;
    struct loop_timer names_timer; /* set while RPC_DOWN */
};

struct core_call {
    struct rpc_call base;
    struct completion completion;
    struct core_channel *channel;
    struct core_call *next, **link; /* in channel->in_flight */
    void (*done)(void *owner, const struct rpc_reply *reply);
    void *owner;
    uint64_t sent_us;
    bool cancelled;
    grpc_call *grpc; /* NULL: never sent */
    grpc_byte_buffer *request, *reply;
    grpc_metadata_array headers, trailers;
    grpc_status_code code;
    grpc_slice details;
};

static void grpc_says(gpr_log_func_args *line);
static void client_release(struct core_client *client);
static grpc_channel *channel_open(const char *address, const struct rpc_channel_options *options,
                                  grpc_resource_quota *quota);
static void channel_expect(struct core_channel *channel, uint32_t calls);
static void channel_release(struct core_channel *channel);
static void channel_watch_on(struct core_channel *channel, grpc_connectivity_state last);
static void channel_changed(struct loop_task *task);
static void channel_ask_names(struct loop_timer *timer);
static void channel_ask_names_later(struct core_channel *channel);
static void core_call_cancel(struct rpc_call *base);
static void call_link(struct core_call *call, struct core_channel *channel);
static void call_send(struct core_call *call, const char *method, uint64_t deadline_us);
static void call_ended(struct loop_task *task);
static void call_free(struct core_call *call);

/* --- client --- */

/* gRPC resolves names itself. */
static struct rpc_client *core_client_new(struct loop *loop, struct resolver *resolver)
{
    (void)resolver;
    struct core_client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    rpc_locks_relax();
    gpr_set_log_function(grpc_says);
    grpc_init();
    *client = (struct core_client){
        .base.transport = &rpc_core, .loop = loop, .queue = rpc_queue_new(loop), .refs = 1};
    if (client->queue)
        return &client->base;
    client_release(client);
    return NULL;
}

static void core_client_free(struct rpc_client *base)
{
    struct core_client *client = container_of(base, struct core_client, base);
    rpc_queue_stop(client->queue);
    client_release(client);
}

/* gRPC's own lines would not be JSON; what matters of them comes back as a status too. Any thread. */
static void grpc_says(gpr_log_func_args *line)
{
    log_debug("grpc", LOG_TEXT("says", line->message), LOG_TEXT("file", line->file),
              LOG_INT("line", line->line));
}

static void client_release(struct core_client *client)
{
    if (--client->refs)
        return;
    rpc_queue_free(client->queue);
    grpc_shutdown();
    free(client);
}

/* --- channel --- */

static struct rpc_channel *core_channel_new(struct rpc_client *base, const char *address,
                                            const struct rpc_channel_options *options)
{
    struct core_client *client = container_of(base, struct core_client, base);
    struct core_channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return NULL;
    channel->base.transport = &rpc_core;
    channel->client = client;
    channel->max_message_bytes = options->max_message_bytes;
    channel->quota = grpc_resource_quota_create(NULL);
    channel_expect(channel, REPLIES_FIRST);
    channel->grpc = channel_open(address, options, channel->quota);
    channel->refs = 1;
    channel->watch.task.run = channel_changed;
    channel->names_timer.fire = channel_ask_names;
    client->refs++;
    return &channel->base;
}

static void core_channel_free(struct rpc_channel *base)
{
    struct core_channel *channel = container_of(base, struct core_channel, base);
    channel->closed = true;
    loop_timer_cancel(channel->client->loop, &channel->names_timer);
    for (struct core_call *call = channel->in_flight; call; call = call->next)
        core_call_cancel(&call->base);
    grpc_channel_destroy(channel->grpc);
    channel_release(channel);
}

static void core_channel_watch(struct rpc_channel *base, void (*changed)(void *owner, enum rpc_state state),
                               void *owner)
{
    struct core_channel *channel = container_of(base, struct core_channel, base);
    channel->changed = changed;
    channel->owner = owner;
    channel->refs++;
    if (grpc_channel_support_connectivity_watcher(channel->grpc))
        channel_watch_on(channel, grpc_channel_check_connectivity_state(channel->grpc, 1));
    else
        loop_post(channel->client->loop,
                  &channel->watch.task); /* gRPC could not read the address: down for good */
}

static grpc_arg arg_int(const char *key, size_t value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER,
                      .key = (char *)(uintptr_t)key,
                      .value.integer = value < INT_MAX ? (int)value : INT_MAX};
}

static grpc_channel_credentials *credentials_of(const struct tls_context *tls)
{
    if (!tls)
        return grpc_insecure_credentials_create();
    const char *certificate = tls_context_pem(tls, TLS_FILE_CERTIFICATE);
    grpc_ssl_pem_key_cert_pair ours = {.private_key = tls_context_pem(tls, TLS_FILE_KEY),
                                       .cert_chain = certificate};
    return grpc_ssl_credentials_create(tls_context_pem(tls, TLS_FILE_CA), certificate ? &ours : NULL, NULL,
                                       NULL);
}

static grpc_channel *channel_open(const char *address, const struct rpc_channel_options *options,
                                  grpc_resource_quota *quota)
{
    grpc_arg args[] = {
        {.type = GRPC_ARG_POINTER,
         .key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
         .value.pointer = {quota, grpc_resource_quota_arg_vtable()}},
        arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, options->max_message_bytes),
        arg_int(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, options->backoff_min_ms),
        arg_int(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, options->backoff_max_ms),
        arg_int(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                options->connect_timeout_ms), /* is that, whatever its name */
        arg_int(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, options->backoff_max_ms),
        arg_int(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
        arg_int(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
        arg_int(GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS, INT_MAX),
        arg_int(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1), /* two channels are two connections */
        arg_int(GRPC_ARG_ENABLE_RETRIES, 0),            /* the pool decides */
        arg_int(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        arg_int(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        arg_int(GRPC_ARG_ENABLE_CHANNELZ, 0),
        /* A small compressed reply could unfold to fill the memory: none is asked for, none is unfolded. */
        arg_int(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1u << GRPC_COMPRESS_NONE),
        arg_int(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
        arg_int(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        {.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG},
    };
    char peer[RPC_NAME_BYTES];
    rpc_peer_name(address, options, peer);
    size_t n_args = sizeof args / sizeof *args - !options->tls; /* the last one is for TLS */
    args[sizeof args / sizeof *args - 1].value.string = peer;
    grpc_channel_credentials *credentials = credentials_of(options->tls);
    grpc_channel *channel =
        grpc_channel_create(address, credentials, &(grpc_channel_args){.num_args = n_args, .args = args});
    grpc_channel_credentials_release(credentials);
    return channel;
}

static void channel_release(struct core_channel *channel)
{
    if (--channel->refs)
        return;
    grpc_resource_quota_unref(channel->quota);
    client_release(channel->client);
    free(channel);
}

/* gRPC tells the callers of calls that it lets wait; ours fail fast. Its own log has it, at level debug. */
static const char *core_channel_why(const struct rpc_channel *base)
{
    (void)base;
    return "";
}

/*
 * gRPC judges the size of a reply when it has read all of it. What it has read of replies that nobody has
 * judged is therefore bounded by a quota: when that is full, one of the calls has too large a reply, and is
 * reset by gRPC.
 */
static void channel_expect(struct core_channel *channel, uint32_t calls)
{
    channel->quota_calls = calls;
    grpc_resource_quota_resize(channel->quota, REPLIES_SPARE + calls * channel->max_message_bytes);
}

/* Asks gRPC to say when the state is no longer `last`. */
static void channel_watch_on(struct core_channel *channel, grpc_connectivity_state last)
{
    rpc_queue_hand(&channel->watch);
    grpc_channel_watch_connectivity_state(channel->grpc, last, gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                          rpc_queue_grpc(channel->client->queue), &channel->watch);
}

static enum rpc_state state_of(grpc_connectivity_state state)
{
    switch (state) {
    case GRPC_CHANNEL_IDLE:
        return RPC_IDLE;
    case GRPC_CHANNEL_CONNECTING:
        return RPC_CONNECTING;
    case GRPC_CHANNEL_READY:
        return RPC_READY;
    default:
        return RPC_DOWN;
    }
}

static void channel_changed(struct loop_task *task)
{
    struct core_channel *channel = container_of(task, struct core_channel, watch.task);
    if (channel->closed) {
        channel_release(channel);
        return;
    }
    grpc_connectivity_state now = grpc_channel_check_connectivity_state(channel->grpc, 1);
    enum rpc_state state = state_of(now);
    if (grpc_channel_support_connectivity_watcher(channel->grpc))
        channel_watch_on(channel, now);
    else
        channel_release(channel); /* the watch's: it ends here */
    if (state != RPC_DOWN)
        loop_timer_cancel(channel->client->loop, &channel->names_timer);
    else if (!loop_timer_is_set(&channel->names_timer))
        channel_ask_names_later(channel);
    if (state == channel->told && state != RPC_READY)
        return;
    channel->told = state;
    channel->changed(channel->owner, state);
}

/* Without memory for the timer gRPC's own, slower rhythm remains. */
static void channel_ask_names_later(struct core_channel *channel)
{
    (void)!loop_timer_set(channel->client->loop, &channel->names_timer, loop_now_us() + ASK_NAMES_AGAIN_US);
}

static void channel_ask_names(struct loop_timer *timer)
{
    struct core_channel *channel = container_of(timer, struct core_channel, names_timer);
    grpc_channel_reset_connect_backoff(channel->grpc);
    channel_ask_names_later(channel);
}

/* --- call --- */

static void payload_let_go(void *payload)
{
    rpc_payload_unref(payload);
}

/* A slice of the payload where it lies, which the slice's last reference lets go, wherever in gRPC that is.
 */
static grpc_byte_buffer *payload_lend(const struct rpc_payload *payload)
{
    grpc_slice slice = grpc_empty_slice();
    if (payload) {
        rpc_payload_ref(payload);
        slice = grpc_slice_new_with_user_data((void *)(uintptr_t)payload->bytes, payload->size,
                                              payload_let_go, (void *)(uintptr_t)payload);
    }
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static struct rpc_call *core_call_start(struct rpc_channel *base, const struct rpc_payload *payload,
                                        const char *method, uint64_t deadline_us,
                                        void (*done)(void *owner, const struct rpc_reply *reply), void *owner)
{
    struct core_channel *channel = container_of(base, struct core_channel, base);
    struct core_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->base.transport = &rpc_core;
    call->request = payload_lend(payload);
    call->details = grpc_empty_slice();
    call->completion.task.run = call_ended;
    call->done = done;
    call->owner = owner;
    call->sent_us = loop_now_us();
    call_link(call, channel);
    rpc_queue_expect(channel->client->queue, call->sent_us, channel->usual_us);
    if (grpc_channel_check_connectivity_state(channel->grpc, 0) == GRPC_CHANNEL_READY)
        call_send(call, method, deadline_us);
    if (!call->grpc) {
        call->completion.at_us = call->sent_us;
        loop_post(channel->client->loop, &call->completion.task);
    }
    return &call->base;
}

static void core_call_cancel(struct rpc_call *base)
{
    struct core_call *call = container_of(base, struct core_call, base);
    call->cancelled = true;
    if (call->grpc)
        grpc_call_cancel(call->grpc, NULL);
}

static void call_link(struct core_call *call, struct core_channel *channel)
{
    call->channel = channel;
    channel->refs++;
    channel->calls++;
    if (channel->calls > channel->quota_calls)
        channel_expect(channel, 2 * channel->calls);
    call->next = channel->in_flight;
    call->link = &channel->in_flight;
    if (call->next)
        call->next->link = &call->next;
    channel->in_flight = call;
}

static void call_unlink(struct core_call *call)
{
    call->channel->calls--;
    *call->link = call->next;
    if (call->next)
        call->next->link = call->link;
}

/* gRPC's monotonic clock is ours. */
static gpr_timespec timespec_of(uint64_t at_us)
{
    return (gpr_timespec){.tv_sec = (int64_t)(at_us / 1000000),
                          .tv_nsec = (int32_t)(at_us % 1000000) * 1000,
                          .clock_type = GPR_CLOCK_MONOTONIC};
}

/* One batch of all six steps of a unary call: it completes once, when the status is there. */
static void call_send(struct core_call *call, const char *method, uint64_t deadline_us)
{
    const grpc_op ops[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->request},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA,
         .data.recv_initial_metadata.recv_initial_metadata = &call->headers},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->reply},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &call->trailers,
                                        .status = &call->code,
                                        .status_details = &call->details}},
    };
    struct core_channel *channel = call->channel;
    grpc_call *sent = grpc_channel_create_call(
        channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS, rpc_queue_grpc(channel->client->queue),
        grpc_slice_from_static_string(method), NULL, timespec_of(deadline_us), NULL);
    if (!sent)
        return;
    rpc_queue_hand(&call->completion);
    if (grpc_call_start_batch(sent, ops, sizeof ops / sizeof *ops, &call->completion, NULL) == GRPC_CALL_OK)
        call->grpc = sent;
    else
        grpc_call_unref(sent);
}

static bool says(const char *words, const char *what)
{
    return strstr(words, what) != NULL;
}

/*
 * Some codes are said both by the replica and, about it, by gRPC on this side; there only gRPC's own words
 * tell which: a stream that was removed or reset has no answer, but another replica may have one.
 */
static enum gw_status status_of(const struct core_call *call, const char *words)
{
    if (call->code == GRPC_STATUS_CANCELLED && call->cancelled)
        return GW_E_CANCELLED;
    if (call->code == GRPC_STATUS_RESOURCE_EXHAUSTED && says(words, QUOTA_FULL))
        return GW_E_CONTRACT;
    if ((call->code == GRPC_STATUS_UNKNOWN && says(words, "Stream removed")) ||
        (call->code == GRPC_STATUS_INTERNAL && says(words, "RST_STREAM")))
        return GW_E_NO_REPLICA;
    return rpc_status_of((int)call->code, words);
}

/* Gathers the slices into reply->holder. */
static void reply_read(struct rpc_reply *reply, const grpc_byte_buffer *buffer)
{
    if (!buffer || buffer->data.raw.compression != GRPC_COMPRESS_NONE) {
        reply->status = GW_E_CONTRACT;
        reply->message = buffer ? "the reply is compressed" : "there is no message in the reply";
        return;
    }
    const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
    reply->size = slices->length;
    uint8_t *at = arena_alloc(reply->holder, slices->length);
    reply->bytes = at;
    if (!at) {
        *reply = (struct rpc_reply){.status = GW_E_NO_MEMORY, .message = gw_status_words(GW_E_NO_MEMORY)};
        return;
    }
    for (size_t i = 0; i < slices->count; i++) {
        memcpy(at, GRPC_SLICE_START_PTR(slices->slices[i]), GRPC_SLICE_LENGTH(slices->slices[i]));
        at += GRPC_SLICE_LENGTH(slices->slices[i]);
    }
}

static void call_ended(struct loop_task *task)
{
    struct core_call *call = container_of(task, struct core_call, completion.task);
    char words[RPC_WORDS_BYTES];
    size_t length = GRPC_SLICE_LENGTH(call->details);
    length = length < sizeof words ? length : sizeof words - 1;
    memcpy(words, GRPC_SLICE_START_PTR(call->details), length);
    words[length] = '\0';

    struct arena arena = {0};
    struct rpc_reply reply = {.message = words, .holder = &arena};
    if (!call->grpc) {
        reply.status = call->cancelled ? GW_E_CANCELLED : GW_E_NO_REPLICA;
        reply.message = "not connected";
        reply.unsent = true;
    } else if ((reply.status = status_of(call, words)) == GW_E_CONTRACT && says(words, QUOTA_FULL)) {
        snprintf(words, sizeof words, "the reply is larger than max: limits.message allows %zu bytes",
                 call->channel->max_message_bytes);
    } else if (reply.status == GW_OK) {
        reply_read(&reply, call->reply);
    }
    reply.sent_us = call->sent_us;
    reply.done_us = call->completion.at_us;
    call_unlink(call);
    rpc_queue_ended(call->channel->client->queue);
    if (reply.status == GW_OK)
        call->channel->usual_us = rpc_attend_learn(call->channel->usual_us, reply.done_us - reply.sent_us);
    call->done(call->owner, &reply);
    arena_clear(&arena);
    call_free(call);
}

static void call_free(struct core_call *call)
{
    struct core_channel *channel = call->channel;
    grpc_byte_buffer_destroy(call->request);
    grpc_byte_buffer_destroy(call->reply);
    grpc_metadata_array_destroy(&call->headers);
    grpc_metadata_array_destroy(&call->trailers);
    grpc_slice_unref(call->details);
    if (call->grpc)
        grpc_call_unref(call->grpc);
    free(call);
    channel_release(channel);
}

const struct rpc_transport rpc_core = {
    .client_new = core_client_new,
    .client_free = core_client_free,
    .channel_new = core_channel_new,
    .channel_free = core_channel_free,
    .channel_watch = core_channel_watch,
    .channel_why = core_channel_why,
    .call_start = core_call_start,
    .call_cancel = core_call_cancel,
};
