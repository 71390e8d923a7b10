/*
 * server: gRPC core around a model.
 *
 *   main thread      waits for SIGTERM, then for the drain
 *   network thread   polls the one completion queue: accepts calls, answers Describe and Check, runs a quick
 * model predict threads  take Predict calls from a queue, run the model, and start the reply themselves
 *
 * Each way to be called has slots, which are reused for ever:
 *
 *     IDLE -> ACCEPTING -> ANSWERING -> REPLYING -> IDLE -> ACCEPTING ...
 *               '--- the server shuts down ---------'
 *
 * A slot belongs to one thread at a time: ACCEPTING and REPLYING to gRPC core, ANSWERING to who answers.
 */
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "call.h"
#include "credentials.h"

enum {
    MESSAGE_BYTES_DEFAULT = 64 << 20,
    DRAIN_MS = 10000,
    LEFTOVERS_MS = 100, /* of the drain, once all calls that we were given have their replies */
    GIVE_UP_MS = 1000,  /* after the drain, for cancelled calls to end */
};

/* How many calls may be on their way at once; more wait inside gRPC core. */
enum { PREDICT_SLOTS = 64, OTHER_SLOTS = 2 };

enum method { METHOD_PREDICT, METHOD_DESCRIBE, METHOD_CHECK, METHOD_UNKNOWN, METHODS };

static const char *const method_paths[METHODS] = {
    [METHOD_PREDICT] = "/xebec.worker.v1.Worker/Predict",
    [METHOD_DESCRIBE] = "/xebec.worker.v1.Worker/Describe",
    [METHOD_CHECK] = "/grpc.health.v1.Health/Check",
};
enum { SLOTS = PREDICT_SLOTS + (METHODS - 1) * OTHER_SLOTS };

enum slot_state { SLOT_IDLE, SLOT_ACCEPTING, SLOT_ANSWERING, SLOT_REPLYING };

struct slot {
    struct server *server;
    enum method method;
    _Atomic enum slot_state state;
    grpc_call *rpc;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_call_details details; /* METHOD_UNKNOWN only */
    grpc_byte_buffer *payload;
    grpc_slice request; /* the payload in one piece */
    int cancelled;
    struct call call;  /* METHOD_PREDICT only */
    struct slot *next; /* in the queue */
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct slot *first, **last;
    bool closed;
};

struct server {
    const struct xebec_model *model;
    grpc_server *grpc;
    grpc_completion_queue *events;
    void *registered[METHODS];
    grpc_slice description, serving;
    struct slot slots[SLOTS];
    uint32_t in_flight; /* slots that are ANSWERING or REPLYING; the network thread's */
    struct queue queue;
    pthread_t network, *predictors;
    bool has_network;
    uint32_t n_predictors;
    atomic_bool draining;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t ended;
    bool network_ended;
};

/* --- accepting, replying
 * ------------------------------------------------------------------------------------ */

/*
 * The one place where a slot changes hands. Release, and acquire in slot_event(): gRPC core orders the two as
 * well, but by means that a race detector cannot see.
 */
static void slot_move(struct slot *slot, enum slot_state state)
{
    static const uint8_t legal[] = {[SLOT_IDLE] = 1 << SLOT_ACCEPTING,
                                    [SLOT_ACCEPTING] = 1 << SLOT_ANSWERING | 1 << SLOT_IDLE,
                                    [SLOT_ANSWERING] = 1 << SLOT_REPLYING,
                                    [SLOT_REPLYING] = 1 << SLOT_IDLE};
    if (!(legal[atomic_load_explicit(&slot->state, memory_order_relaxed)] & 1 << state))
        abort();
    atomic_store_explicit(&slot->state, state, memory_order_release);
}

static void slot_accept(struct slot *slot)
{
    struct server *server = slot->server;
    if (atomic_load_explicit(&server->draining, memory_order_relaxed))
        return;
    slot_move(slot, SLOT_ACCEPTING);
    if (slot->method == METHOD_UNKNOWN)
        grpc_server_request_call(server->grpc, &slot->rpc, &slot->details, &slot->metadata, server->events,
                                 server->events, slot);
    else
        grpc_server_request_registered_call(server->grpc, server->registered[slot->method], &slot->rpc,
                                            &slot->deadline, &slot->metadata, &slot->payload, server->events,
                                            server->events, slot);
}

/* Sends reply (which it destroys) or, where that is NULL, the status alone. */
static void slot_reply(struct slot *slot, grpc_byte_buffer *reply, grpc_status_code status,
                       const char *message)
{
    grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}};
    size_t count = 1;
    grpc_slice details = grpc_slice_from_copied_string(message);
    if (reply)
        ops[count++] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = reply};
    ops[count++] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                             .data.send_status_from_server = {.status = status, .status_details = &details}};
    ops[count++] = (grpc_op){.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                             .data.recv_close_on_server.cancelled = &slot->cancelled};
    grpc_call *rpc = slot->rpc;
    slot_move(slot, SLOT_REPLYING); /* from here on it is another thread's */
    if (grpc_call_start_batch(rpc, ops, count, slot, NULL) != GRPC_CALL_OK)
        abort(); /* only a wrong use of the API comes back here */
    grpc_slice_unref(details);
    grpc_byte_buffer_destroy(reply);
}

static void slot_reply_slice(struct slot *slot, grpc_slice message)
{
    slot_reply(slot, grpc_raw_byte_buffer_create(&message, 1), GRPC_STATUS_OK, "");
}

/* The call is over: gives back what it held. */
static void slot_release(struct slot *slot)
{
    if (slot->method == METHOD_PREDICT)
        xebec_call_reset(&slot->call);
    grpc_slice_unref(slot->request);
    slot->request = grpc_empty_slice();
    grpc_byte_buffer_destroy(slot->payload);
    slot->payload = NULL;
    grpc_metadata_array_destroy(&slot->metadata);
    grpc_metadata_array_init(&slot->metadata);
    if (slot->method == METHOD_UNKNOWN) {
        grpc_call_details_destroy(&slot->details);
        grpc_call_details_init(&slot->details);
    }
    if (slot->rpc)
        grpc_call_unref(slot->rpc);
    slot->rpc = NULL;
}

/* The request in one piece; without a copy where it came so. */
static void slot_gather(struct slot *slot)
{
    grpc_byte_buffer_reader reader;
    grpc_slice *piece;
    if (!slot->payload || !grpc_byte_buffer_reader_init(&reader, slot->payload))
        return;
    if (grpc_byte_buffer_reader_peek(&reader, &piece) &&
        GRPC_SLICE_LENGTH(*piece) == grpc_byte_buffer_length(slot->payload)) {
        slot->request = grpc_slice_ref(*piece);
    } else {
        grpc_byte_buffer_reader_destroy(&reader);
        if (!grpc_byte_buffer_reader_init(&reader, slot->payload))
            return;
        slot->request = grpc_byte_buffer_reader_readall(&reader);
    }
    grpc_byte_buffer_reader_destroy(&reader);
}

/* --- answering
 * -------------------------------------------------------------------------------------------------- */

static void run_model(struct slot *slot)
{
    struct call *call = &slot->call;
    grpc_byte_buffer *reply = NULL;
    slot_gather(slot);
    if (xebec_call_read(call, GRPC_SLICE_START_PTR(slot->request), GRPC_SLICE_LENGTH(slot->request))) {
        if (call->model->predict(&call->batch) == 0)
            reply = xebec_call_write(call);
        else
            xebec_call_fail(call, GRPC_STATUS_UNKNOWN, "the model failed");
    }
    slot_reply(slot, reply, call->status, call->status == GRPC_STATUS_OK ? "" : call->message);
}

static void queue_put(struct queue *queue, struct slot *slot)
{
    pthread_mutex_lock(&queue->lock);
    slot->next = NULL;
    *queue->last = slot;
    queue->last = &slot->next;
    pthread_cond_signal(&queue->wake);
    pthread_mutex_unlock(&queue->lock);
}

/* The next slot; waits for one. NULL: the queue is closed and empty. */
static struct slot *queue_take(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    while (!queue->first && !queue->closed)
        pthread_cond_wait(&queue->wake, &queue->lock);
    struct slot *slot = queue->first;
    if (slot)
        queue->first = slot->next;
    if (!queue->first)
        queue->last = &queue->first;
    pthread_mutex_unlock(&queue->lock);
    return slot;
}

static void queue_close(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->wake);
    pthread_mutex_unlock(&queue->lock);
}

static void *predict_thread(void *data)
{
    struct server *server = data;
    for (struct slot *slot; (slot = queue_take(&server->queue));)
        run_model(slot);
    return NULL;
}

/* HealthCheckRequest{service = 1}: all of the process, or our service by name. */
static bool is_our_service(grpc_slice request)
{
    static const char named[] = "\x0A\x16xebec.worker.v1.Worker";
    size_t size = GRPC_SLICE_LENGTH(request);
    return size == 0 || (size == sizeof named - 1 && memcmp(GRPC_SLICE_START_PTR(request), named, size) == 0);
}

static void slot_answer(struct slot *slot)
{
    struct server *server = slot->server;
    slot_move(slot, SLOT_ANSWERING);
    switch (slot->method) {
    case METHOD_PREDICT:
        if (server->model->quick)
            run_model(slot);
        else
            queue_put(&server->queue, slot);
        return;
    case METHOD_DESCRIBE:
        slot_reply_slice(slot, server->description);
        return;
    case METHOD_CHECK:
        slot_gather(slot);
        if (is_our_service(slot->request))
            slot_reply_slice(slot, server->serving);
        else
            slot_reply(slot, NULL, GRPC_STATUS_NOT_FOUND, "no such service");
        return;
    default:
        slot_reply(slot, NULL, GRPC_STATUS_UNIMPLEMENTED, "a worker has Describe, Predict and Health/Check");
    }
}

static void slot_event(struct slot *slot, bool ok)
{
    enum slot_state state = atomic_load_explicit(&slot->state, memory_order_acquire);
    if (state == SLOT_ACCEPTING && ok) {
        slot->server->in_flight++;
        slot_answer(slot);
        return;
    }
    if (state == SLOT_REPLYING)
        slot->server->in_flight--;
    slot_release(slot); /* replied, or the server shuts down */
    slot_move(slot, SLOT_IDLE);
    slot_accept(slot);
}

/* Whether the server shuts down, and every call that gRPC core will ever give us has its reply. */
static bool server_has_replied(const struct server *server)
{
    if (!atomic_load_explicit(&server->draining, memory_order_relaxed))
        return false;
    for (const struct slot *slot = server->slots; slot < server->slots + SLOTS; slot++)
        if (atomic_load_explicit(&slot->state, memory_order_relaxed) != SLOT_IDLE)
            return false;
    return true;
}

/*
 * A call that arrives in the very instant of the shutdown may stay inside gRPC core: queued for us after core
 * has looked for the last time at what is queued, it is neither handed out nor refused (MatchOrQueue() in
 * core's server.cc does not ask again). Its client would wait until its deadline, and we until the end of the
 * drain. So what is left after our last reply is cut off after a moment, and the client asks elsewhere.
 */
static grpc_event server_next_event(struct server *server)
{
    gpr_timespec until = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (server_has_replied(server))
        until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(LEFTOVERS_MS, GPR_TIMESPAN));
    grpc_event event = grpc_completion_queue_next(server->events, until, NULL);
    if (event.type == GRPC_QUEUE_TIMEOUT)
        grpc_server_cancel_all_calls(server->grpc);
    return event;
}

/*
 * The tag of the server's own shutdown is the server. A model may still be at work on a call that is over,
 * because it was cancelled: its reply goes through the queue too.
 */
static void *network_thread(void *data)
{
    struct server *server = data;
    bool calls_over = false;
    for (;;) {
        grpc_event event = server_next_event(server);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            break;
        if (event.type == GRPC_QUEUE_TIMEOUT)
            continue;
        if (event.tag == server)
            calls_over = true;
        else
            slot_event(event.tag, event.success);
        if (calls_over && server->in_flight == 0)
            grpc_completion_queue_shutdown(server->events);
    }
    pthread_mutex_lock(&server->lock);
    server->network_ended = true;
    pthread_cond_signal(&server->ended);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

/* --- starting
 * ----------------------------------------------------------------------------------------------------- */

static const char *spec_fault(const struct xebec_spec *spec)
{
    if (!spec->name || !*spec->name || strlen(spec->name) > 128)
        return "an input or output has no name, or one of more than 128 bytes";
    if (xebec_datatype_name(spec->datatype)[0] == '?')
        return "an input or output has no datatype";
    if (spec->dims < 1 || spec->dims > XEBEC_DIMS_MAX)
        return "an input or output has less than 1 or more than 8 dimensions";
    if (spec->shape[0] != XEBEC_ANY)
        return "the first dimension of an input or output is the rows, and must be XEBEC_ANY";
    for (uint32_t i = 1; i < spec->dims; i++)
        if (spec->shape[i] < XEBEC_ANY)
            return "an input or output has a negative size";
    return NULL;
}

/* What keeps the model from being served; NULL when nothing does. */
static const char *model_fault(const struct xebec_model *model)
{
    const char *fault = NULL;
    if (!model->name || !*model->name || !model->version || !*model->version)
        return "the model needs a name and a version";
    if (!model->predict)
        return "the model has no predict()";
    if (model->n_inputs == 0 || model->n_outputs == 0)
        return "the model needs an input and an output";
    for (uint32_t i = 0; i < model->n_inputs && !fault; i++)
        fault = spec_fault(&model->inputs[i]);
    for (uint32_t i = 0; i < model->n_outputs && !fault; i++)
        fault = spec_fault(&model->outputs[i]);
    return fault;
}

static void init_slots(struct server *server)
{
    struct slot *slot = server->slots;
    for (enum method method = 0; method < METHODS; method++)
        for (int i = 0; i < (method == METHOD_PREDICT ? PREDICT_SLOTS : OTHER_SLOTS); i++, slot++) {
            slot->server = server;
            slot->method = method;
            slot->request = grpc_empty_slice();
            grpc_metadata_array_init(&slot->metadata);
            grpc_call_details_init(&slot->details);
        }
}

/* NULL: out of memory. */
static struct server *server_new(const struct xebec_model *model)
{
    struct server *server = calloc(1, sizeof *server);
    if (!server)
        return NULL;
    server->model = model;
    server->queue.last = &server->queue.first;
    pthread_mutex_init(&server->queue.lock, NULL);
    pthread_cond_init(&server->queue.wake, NULL);
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&server->ended, &clock);
    pthread_condattr_destroy(&clock);
    server->description = xebec_describe_write(model);
    server->serving = grpc_slice_from_static_string("\x08\x01"); /* HealthCheckResponse{status = SERVING} */
    server->events = grpc_completion_queue_create_for_next(NULL);
    init_slots(server);
    return server;
}

static void server_free(struct server *server)
{
    for (struct slot *slot = server->slots; slot < server->slots + SLOTS; slot++) {
        grpc_metadata_array_destroy(&slot->metadata);
        grpc_call_details_destroy(&slot->details);
        if (slot->call.model)
            xebec_call_clear(&slot->call);
    }
    if (server->grpc)
        grpc_server_destroy(server->grpc);
    grpc_completion_queue_destroy(server->events);
    grpc_slice_unref(server->description);
    free(server->predictors);
    pthread_cond_destroy(&server->ended);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->queue.wake);
    pthread_mutex_destroy(&server->queue.lock);
    free(server);
}

static grpc_arg int_arg(const char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

/* The port it is bound to; 0 when the address, or what the TLS files hold, is not possible. */
static int server_bind(struct server *server, const char *address, grpc_server_credentials *credentials)
{
    uint32_t told = server->model->message_bytes;
    int message_bytes = !told ? MESSAGE_BYTES_DEFAULT : told < INT_MAX ? (int)told : INT_MAX;
    grpc_arg list[] = {
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, message_bytes),
        int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, message_bytes),
        int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0), /* two workers on one port would share it unnoticed */
        int_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES,
                0), /* a gateway may look after idle connections as it likes */
        int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
    };
    const grpc_channel_args args = {sizeof list / sizeof *list, list};
    server->grpc = grpc_server_create(&args, NULL);
    grpc_server_register_completion_queue(server->grpc, server->events, NULL);
    for (enum method method = 0; method < METHODS; method++)
        if (method_paths[method])
            server->registered[method] = grpc_server_register_method(
                server->grpc, method_paths[method], NULL, GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    int port = grpc_server_add_http2_port(server->grpc, address, credentials);
    return port;
}

/* False: out of memory or threads; what did start is for stop_threads(). */
static bool start_threads(struct server *server)
{
    uint32_t wanted = server->model->quick ? 0 : server->model->threads ? server->model->threads : 1;
    for (struct slot *slot = server->slots; slot < server->slots + PREDICT_SLOTS; slot++)
        if (!xebec_call_init(&slot->call, server->model))
            return false;
    server->predictors = calloc(wanted + 1, sizeof *server->predictors);
    server->has_network =
        server->predictors && pthread_create(&server->network, NULL, network_thread, server) == 0;
    while (server->has_network && server->n_predictors < wanted &&
           pthread_create(&server->predictors[server->n_predictors], NULL, predict_thread, server) == 0)
        server->n_predictors++;
    return server->has_network && server->n_predictors == wanted;
}

static void stop_threads(struct server *server)
{
    if (server->has_network)
        pthread_join(server->network, NULL);
    queue_close(&server->queue);
    for (uint32_t i = 0; i < server->n_predictors; i++)
        pthread_join(server->predictors[i], NULL);
}

/* --- ending
 * ---------------------------------------------------------------------------------------------------------
 */

static bool wait_network_ended(struct server *server, uint32_t wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000)
        until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_mutex_lock(&server->lock);
    for (int rc = 0; !server->network_ended && rc == 0;)
        rc = pthread_cond_timedwait(&server->ended, &server->lock, &until);
    bool ended = server->network_ended;
    pthread_mutex_unlock(&server->lock);
    return ended;
}

/* Clients are told to go elsewhere, and calls in flight finish. False: some did not, and their thread still
 * runs. */
static bool server_drain(struct server *server)
{
    uint32_t drain_ms = server->model->drain_ms ? server->model->drain_ms : DRAIN_MS;
    atomic_store(&server->draining, true);
    grpc_server_shutdown_and_notify(server->grpc, server->events, server);
    if (!wait_network_ended(server, drain_ms)) {
        grpc_server_cancel_all_calls(server->grpc);
        if (!wait_network_ended(server, GIVE_UP_MS))
            return false;
    }
    stop_threads(server);
    return true;
}

static void say_where(const struct xebec_model *model, const char *address, int port)
{
    const char *colon = strrchr(address, ':');
    if (strncmp(address, "unix:", 5) == 0 || !colon)
        fprintf(stderr, "%s@%s serves at %s\n", model->name, model->version, address);
    else
        fprintf(stderr, "%s@%s serves at %.*s:%d\n", model->name, model->version, (int)(colon - address),
                address, port);
}

static void say_fault(const struct xebec_model *model, const char *fault, const char *of)
{
    fprintf(stderr, "%s@%s: %s%s\n", model->name ? model->name : "?", model->version ? model->version : "?",
            fault, of);
}

/* 0 when it served and drained; 1 with words when it could not; -1 when calls had to be given up. */
static int serve(struct server *server, const char *address, const sigset_t *signals)
{
    const struct xebec_model *model = server->model;
    int port = 0, signal;
    grpc_server_credentials *credentials = xebec_credentials(model);
    bool threads = credentials && start_threads(server);
    if (threads)
        port = server_bind(server, address, credentials);
    if (credentials)
        grpc_server_credentials_release(credentials);
    if (!port) {
        grpc_completion_queue_shutdown(server->events);
        stop_threads(server);
        if (credentials)
            say_fault(model, threads ? "cannot listen on " : "out of memory or threads",
                      threads ? address : "");
        return 1;
    }
    grpc_server_start(server->grpc);
    for (struct slot *slot = server->slots; slot < server->slots + SLOTS; slot++)
        slot_accept(slot);
    say_where(model, address, port);

    sigwait(signals, &signal);
    if (server_drain(server))
        return 0;
    say_fault(model, "gave up calls that did not end", "");
    return -1;
}

/* Where the caller leaves it to who runs the worker. */
static const char *default_address(void)
{
    const char *address = getenv("XEBEC_LISTEN");
    return address && *address ? address : "127.0.0.1:9000";
}

int xebec_worker_serve(const struct xebec_model *model, const char *address)
{
    sigset_t signals, before;
    const char *fault = model_fault(model);
    if (!address)
        address = default_address();
    if (fault) {
        say_fault(model, fault, "");
        return 1;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, &before); /* inherited by gRPC core's threads and ours */
    grpc_init();
    struct server *server = server_new(model);
    if (!server)
        say_fault(model, "out of memory", "");
    int rc = server ? serve(server, address, &signals) : 1;
    if (rc < 0) /* threads still use all of it */
        return 1;
    if (server)
        server_free(server);
    grpc_shutdown_blocking();

    while (sigtimedwait(&signals, NULL, &(struct timespec){0}) > 0)
        continue; /* asked to stop more than once */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}
