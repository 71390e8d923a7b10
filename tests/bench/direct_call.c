/*
 * direct_call: the baseline of the latency benchmarks. Calls Predict of one replica straight over gRPC core,
 * from one thread, with so many calls in flight, and prints one line of JSON: p50 and p99 in microseconds,
 * calls a second.
 */
#include <getopt.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "replica/worker_codec.h"

enum { IN_FLIGHT_MAX = 1024, CALL_TIMEOUT_S = 10, WARM_UP_PERCENT = 10 };

struct options {
    const char *address, *input;
    uint32_t rows, floats, in_flight;
    double seconds;
};

struct call {
    grpc_call *rpc;
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *reply;
    grpc_slice details;
    grpc_status_code status;
    uint64_t started_ns;
};

struct client {
    const struct options *options;
    grpc_completion_queue *events;
    grpc_channel *channel;
    void *method;
    grpc_byte_buffer *request;
    struct call calls[IN_FLIGHT_MAX];
    uint32_t *latencies_ns; /* of calls since counting began */
    size_t n_latencies, capacity;
};

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "direct_call: %s: %s\n", what, why);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* --- one call --- */

static void call_start(struct client *client, struct call *call)
{
    gpr_timespec deadline =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(CALL_TIMEOUT_S, GPR_TIMESPAN));
    grpc_metadata_array_init(&call->initial);
    grpc_metadata_array_init(&call->trailing);
    grpc_byte_buffer *request =
        grpc_byte_buffer_copy(client->request); /* sending empties it; slices are shared */
    const grpc_op ops[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA, .flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = request},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA,
         .data.recv_initial_metadata.recv_initial_metadata = &call->initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->reply},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &call->trailing,
                                        .status = &call->status,
                                        .status_details = &call->details}}};
    call->started_ns = now_ns();
    call->rpc = grpc_channel_create_registered_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                                    client->events, client->method, deadline, NULL);
    if (grpc_call_start_batch(call->rpc, ops, sizeof ops / sizeof *ops, call, NULL) != GRPC_CALL_OK)
        fail("grpc_call_start_batch", "wrong use");
    grpc_byte_buffer_destroy(request);
}

static struct call *next_done(struct client *client)
{
    grpc_event event = grpc_completion_queue_next(client->events, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    struct call *call = event.tag;
    if (call->status != GRPC_STATUS_OK) {
        char *details = grpc_slice_to_c_string(call->details);
        fail("the replica refused", details);
    }
    return call;
}

static void call_release(struct call *call)
{
    grpc_byte_buffer_destroy(call->reply);
    grpc_metadata_array_destroy(&call->initial);
    grpc_metadata_array_destroy(&call->trailing);
    grpc_slice_unref(call->details);
    grpc_call_unref(call->rpc);
    *call = (struct call){0};
}

/* --- the run --- */

static grpc_byte_buffer *make_request(const struct options *options)
{
    size_t bytes = (size_t)options->rows * options->floats * sizeof(float);
    float *data = calloc(1, bytes);
    uint32_t *rows = calloc(options->rows, sizeof *rows);
    if (!data || !rows)
        fail("request", "out of memory");
    for (size_t i = 0; i < bytes / sizeof *data; i++)
        data[i] = (float)i / 7;
    for (uint32_t i = 0; i < options->rows; i++)
        rows[i] = i;
    const struct tensor tensor = {.spec = {.name = options->input,
                                           .datatype = DT_FP32,
                                           .dims = 2,
                                           .shape = {options->rows, options->floats}},
                                  .data = (const uint8_t *)data,
                                  .bytes = bytes};
    const struct row_piece piece = {.inputs = &tensor, .rows = rows, .count = options->rows};
    const struct predict_input input = {
        .id = 1, .pieces = &piece, .n_pieces = 1, .n_inputs = 1, .n_rows = options->rows};
    size_t size = worker_predict_size(&input);
    grpc_slice slice = grpc_slice_malloc(size);
    if (size == 0 || worker_predict_write(&input, GRPC_SLICE_START_PTR(slice), size) != GW_OK)
        fail("request", "too large");
    grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    free(rows);
    free(data);
    return request;
}

/* A baseline that measures refusals would be worth nothing: the first answer is judged. */
static void judge_first(struct client *client)
{
    static const struct signature anything;
    struct predict_result *result = NULL;
    struct gw_err err = {.what = ""};
    grpc_byte_buffer_reader reader;
    call_start(client, &client->calls[0]);
    struct call *call = next_done(client);
    if (!call->reply || !grpc_byte_buffer_reader_init(&reader, call->reply))
        fail("first answer", "empty");
    grpc_slice reply = grpc_byte_buffer_reader_readall(&reader);
    if (worker_predict_read(GRPC_SLICE_START_PTR(reply), GRPC_SLICE_LENGTH(reply), client->options->rows,
                            &anything, NULL, 0, &result, &err) != GW_OK)
        fail("first answer", err.what);
    predict_result_unref(result);
    grpc_slice_unref(reply);
    grpc_byte_buffer_reader_destroy(&reader);
    call_release(call);
}

static void note_latency(struct client *client, uint64_t latency_ns)
{
    if (client->n_latencies == client->capacity) {
        client->capacity = client->capacity ? client->capacity * 2 : 1 << 20;
        client->latencies_ns = realloc(client->latencies_ns, client->capacity * sizeof *client->latencies_ns);
        if (!client->latencies_ns)
            fail("latencies", "out of memory");
    }
    client->latencies_ns[client->n_latencies++] = latency_ns < UINT32_MAX ? (uint32_t)latency_ns : UINT32_MAX;
}

/* Keeps in_flight calls going; counts those that end after the warm-up. Returns the seconds counted. */
static double run(struct client *client)
{
    const struct options *options = client->options;
    uint64_t length_ns = (uint64_t)(options->seconds * 1e9), begin_ns = now_ns();
    uint64_t count_ns = begin_ns + length_ns * WARM_UP_PERCENT / 100, end_ns = count_ns + length_ns,
             done_ns = 0;
    uint32_t open = options->in_flight;
    for (uint32_t i = 0; i < open; i++)
        call_start(client, &client->calls[i]);
    while (open > 0) {
        struct call *call = next_done(client);
        uint64_t at_ns = now_ns();
        if (at_ns >= count_ns && at_ns < end_ns) {
            note_latency(client, at_ns - call->started_ns);
            done_ns = at_ns;
        }
        call_release(call);
        if (at_ns < end_ns)
            call_start(client, call);
        else
            open--;
    }
    return done_ns > count_ns ? (double)(done_ns - count_ns) / 1e9 : 0;
}

static int by_size(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static double percentile_us(const struct client *client, double share)
{
    return client->latencies_ns[(size_t)(share * (double)(client->n_latencies - 1))] / 1e3;
}

static void report(struct client *client, double seconds)
{
    if (client->n_latencies == 0)
        fail("run", "no call ended in time");
    qsort(client->latencies_ns, client->n_latencies, sizeof *client->latencies_ns, by_size);
    printf("{\"p50_us\": %.1f, \"p99_us\": %.1f, \"calls_per_s\": %.0f, \"calls\": %zu, \"rows\": %" PRIu32
           ", \"floats\": %" PRIu32 ", \"inflight\": %" PRIu32 "}\n",
           percentile_us(client, 0.5), percentile_us(client, 0.99), (double)client->n_latencies / seconds,
           client->n_latencies, client->options->rows, client->options->floats, client->options->in_flight);
}

/* --- options --- */

static const char HELP[] =
    "usage: direct_call ADDRESS [--rows 1] [--floats 4] [--seconds 5] [--inflight 1] [--input x]\n"
    "Calls Predict of the replica at ADDRESS (host:port or unix:/path) and prints latencies as JSON.\n";

static double number(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        fail(text, "not a possible number");
    return value;
}

static struct options read_options(int argc, char **argv)
{
    static const struct option names[] = {{"rows", required_argument, NULL, 'r'},
                                          {"floats", required_argument, NULL, 'f'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"inflight", required_argument, NULL, 'k'},
                                          {"input", required_argument, NULL, 'i'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct options options = {.input = "x", .rows = 1, .floats = 4, .in_flight = 1, .seconds = 5};
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == 'r')
            options.rows = (uint32_t)number(optarg, 1, 1 << 20);
        else if (option == 'f')
            options.floats = (uint32_t)number(optarg, 1, 1 << 28);
        else if (option == 's')
            options.seconds = number(optarg, 0.01, 3600);
        else if (option == 'k')
            options.in_flight = (uint32_t)number(optarg, 1, IN_FLIGHT_MAX);
        else if (option == 'i')
            options.input = optarg;
        else {
            fputs(HELP, option == 'h' ? stdout : stderr);
            exit(option == 'h' ? 0 : 2);
        }
    }
    if (optind + 1 != argc) {
        fputs(HELP, stderr);
        exit(2);
    }
    options.address = argv[optind];
    return options;
}

int main(int argc, char **argv)
{
    const struct options options = read_options(argc, argv);
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        fail("client", "out of memory");
    client->options = &options;
    grpc_init();
    grpc_arg unbounded = {
        .type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, .value.integer = -1};
    grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
    client->channel = grpc_channel_create(options.address, insecure, &(grpc_channel_args){1, &unbounded});
    grpc_channel_credentials_release(insecure);
    client->method =
        grpc_channel_register_call(client->channel, "/xebec.worker.v1.Worker/Predict", NULL, NULL);
    client->events = grpc_completion_queue_create_for_next(NULL);
    client->request = make_request(&options);

    judge_first(client);
    report(client, run(client));

    grpc_byte_buffer_destroy(client->request);
    grpc_channel_destroy(client->channel);
    grpc_completion_queue_shutdown(client->events);
    while (grpc_completion_queue_next(client->events, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        continue;
    grpc_completion_queue_destroy(client->events);
    grpc_shutdown_blocking();
    free(client->latencies_ns);
    free(client);
    return 0;
}
