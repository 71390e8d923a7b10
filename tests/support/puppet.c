/*
 * puppet: the life of a call, all on the puppet's thread:
 *   ASKED (gRPC hands it over) -> READ (its message is there) -> held for the script's delay -> ANSWERED
 */
#include "puppet.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "health.pb-c.h"
#include "worker.pb-c.h"

#define NEVER UINT64_MAX

struct visit {
    enum { VISIT_ASKED, VISIT_READ, VISIT_HELD, VISIT_ANSWERED } state;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_byte_buffer *request, *reply;
    struct puppet_script script; /* as it was when the call came */
    uint64_t answer_at_ms;
    int cancelled;
    struct visit *next; /* in puppet->held */
};

struct puppet {
    char address[128];
    grpc_server *server;
    grpc_completion_queue *queue;
    pthread_t thread;
    pthread_mutex_t lock;
    struct puppet_script script; /* under lock */
    _Atomic uint32_t predicts, describes;
    /* the thread's */
    struct visit *held;
    uint32_t visits;
    bool stopping;
};

struct answer {
    grpc_status_code code;
    const char *details;
    uint8_t *bytes; /* malloc; NULL: no message */
    size_t size;
    bool compressed;
};

static void die(const char *what)
{
    fprintf(stderr, "puppet: %s\n", what);
    abort();
}

static uint64_t now_ms(void)
{
    gpr_timespec now = gpr_now(GPR_CLOCK_MONOTONIC);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- what it says --- */

static struct answer pack(const ProtobufCMessage *message)
{
    struct answer answer = {.size = protobuf_c_message_get_packed_size(message)};
    answer.bytes = malloc(answer.size + 1);
    protobuf_c_message_pack(message, answer.bytes);
    return answer;
}

static struct answer fill(char byte, size_t size)
{
    struct answer answer = {.bytes = malloc(size), .size = size};
    memset(answer.bytes, byte, size);
    return answer;
}

static struct answer failure(grpc_status_code code, const char *details)
{
    return (struct answer){.code = code, .details = details};
}

static struct answer describe(const struct puppet_script *script)
{
    Xebec__Worker__V1__TensorSpec x = XEBEC__WORKER__V1__TENSOR_SPEC__INIT, y = x, *inputs = &x,
                                  *outputs = &y;
    Xebec__Worker__V1__DescribeResponse description = XEBEC__WORKER__V1__DESCRIBE_RESPONSE__INIT;
    int64_t shape[] = {-1, 2};
    x.name = (char *)"x";
    y.name = (char *)"y";
    x.datatype = y.datatype = XEBEC__WORKER__V1__DATATYPE__FP32;
    x.shape = y.shape = shape;
    x.n_shape = y.n_shape = 2;
    if (script->describe == DESCRIBE_WRONG_TYPE)
        x.datatype = XEBEC__WORKER__V1__DATATYPE__FP64;
    description.model = (char *)"digits";
    description.version = (char *)"forest";
    description.digest = (char *)(script->digest ? script->digest : "sha256:puppet");
    description.max_rows = script->max_rows;
    description.inputs = &inputs;
    description.outputs = &outputs;
    description.n_inputs = description.n_outputs = 1;
    return pack(&description.base);
}

static struct answer check(const struct puppet_script *script)
{
    Grpc__Health__V1__HealthCheckResponse health = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    health.status = script->health == HEALTH_NOT_SERVING
                        ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
                        : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    return pack(&health.base);
}

static struct answer echo(const grpc_slice *bytes, const struct puppet_script *script)
{
    Xebec__Worker__V1__PredictRequest *request = xebec__worker__v1__predict_request__unpack(
        NULL, GRPC_SLICE_LENGTH(*bytes), GRPC_SLICE_START_PTR(*bytes));
    if (!request || request->n_inputs != 1 || request->n_data != 1)
        die("this is not what it was made for");
    Xebec__Worker__V1__PredictResponse response = XEBEC__WORKER__V1__PREDICT_RESPONSE__INIT;
    Xebec__Worker__V1__TensorSpec y = *request->inputs[0], *outputs = &y;
    ProtobufCBinaryData data = request->data[0];
    int64_t shape[2] = {y.shape[0], y.shape[1]};
    y.name = (char *)"y";
    y.shape = shape;
    if (script->predict == PUPPET_LIE_ROWS) {
        shape[0]--;
        data.len -= (size_t)shape[1] * sizeof(float);
    }
    if (script->predict == PUPPET_LIE_TYPE)
        y.datatype = XEBEC__WORKER__V1__DATATYPE__FP64;
    response.outputs = &outputs;
    response.n_outputs = 1;
    response.data = &data;
    response.n_data = 1;
    struct answer answer = pack(&response.base);
    xebec__worker__v1__predict_request__free_unpacked(request, NULL);
    return answer;
}

static struct answer predict(const grpc_slice *bytes, const struct puppet_script *script)
{
    struct answer answer;
    switch (script->predict) {
    case PUPPET_COMPRESSED:
        answer = fill('\0', 1000);
        answer.compressed = true;
        return answer;
    case PUPPET_GARBAGE:
        return fill('\xff', 100);
    case PUPPET_BIG:
        return fill('\xff', PUPPET_BIG_BYTES);
    case PUPPET_EMPTY:
        return failure(GRPC_STATUS_OK, "");
    case PUPPET_RAISE:
        return failure(GRPC_STATUS_UNKNOWN, "ValueError: puppet");
    case PUPPET_SHED:
        return failure(GRPC_STATUS_RESOURCE_EXHAUSTED, "too much");
    case PUPPET_AWAY:
        return failure(GRPC_STATUS_UNAVAILABLE, "going away");
    case PUPPET_ABORT:
        return failure(GRPC_STATUS_CANCELLED, "no reason");
    case PUPPET_BAD_INPUT:
        return failure(GRPC_STATUS_INVALID_ARGUMENT, "not a digit");
    default:
        return echo(bytes, script);
    }
}

static struct answer answer_to(const struct visit *visit)
{
    const struct puppet_script *script = &visit->script;
    grpc_byte_buffer_reader reader;
    if (!visit->request || !grpc_byte_buffer_reader_init(&reader, visit->request))
        return failure(GRPC_STATUS_INTERNAL, "no request");
    grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);
    struct answer answer = failure(GRPC_STATUS_UNIMPLEMENTED, "no such method");
    if (grpc_slice_str_cmp(visit->details.method, "/xebec.worker.v1.Worker/Predict") == 0)
        answer = predict(&bytes, script);
    else if (grpc_slice_str_cmp(visit->details.method, "/xebec.worker.v1.Worker/Describe") == 0 &&
             script->describe != DESCRIBE_MISSING)
        answer = script->describe == DESCRIBE_GARBAGE ? fill('\xff', 10) : describe(script);
    else if (grpc_slice_str_cmp(visit->details.method, "/grpc.health.v1.Health/Check") == 0 &&
             script->health != HEALTH_MISSING)
        answer = check(script);
    grpc_slice_unref(bytes);
    grpc_byte_buffer_reader_destroy(&reader);
    return answer;
}

/* --- calls --- */

static void must(grpc_call_error error)
{
    if (error != GRPC_CALL_OK)
        die(grpc_call_error_to_string(error));
}

static void visit_await(struct puppet *puppet)
{
    struct visit *visit = calloc(1, sizeof *visit);
    grpc_call_details_init(&visit->details);
    puppet->visits++;
    must(grpc_server_request_call(puppet->server, &visit->call, &visit->details, &visit->metadata,
                                  puppet->queue, puppet->queue, visit));
}

static void visit_end(struct puppet *puppet, struct visit *visit)
{
    grpc_byte_buffer_destroy(visit->request);
    grpc_byte_buffer_destroy(visit->reply);
    grpc_metadata_array_destroy(&visit->metadata);
    grpc_call_details_destroy(&visit->details);
    if (visit->call)
        grpc_call_unref(visit->call);
    free(visit);
    puppet->visits--;
}

static void visit_read(struct visit *visit)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &visit->request};
    visit->state = VISIT_READ;
    must(grpc_call_start_batch(visit->call, &op, 1, visit, NULL));
}

static uint64_t when_to_answer(struct puppet *puppet, struct visit *visit)
{
    pthread_mutex_lock(&puppet->lock);
    visit->script = puppet->script;
    pthread_mutex_unlock(&puppet->lock);
    const struct puppet_script *script = &visit->script;
    if (grpc_slice_str_cmp(visit->details.method, "/xebec.worker.v1.Worker/Predict") == 0) {
        atomic_fetch_add(&puppet->predicts, 1);
        return script->predict == PUPPET_STALL ? NEVER : now_ms() + script->delay_ms;
    }
    if (grpc_slice_str_cmp(visit->details.method, "/xebec.worker.v1.Worker/Describe") == 0) {
        atomic_fetch_add(&puppet->describes, 1);
        return script->describe == DESCRIBE_STALL ? NEVER : 0;
    }
    return script->health == HEALTH_STALL ? NEVER : 0;
}

static void visit_answer(struct visit *visit)
{
    struct answer answer = answer_to(visit);
    grpc_slice details = grpc_slice_from_copied_string(answer.details ? answer.details : "");
    grpc_metadata gzip = {.key = grpc_slice_from_static_string("grpc-internal-encoding-request"),
                          .value = grpc_slice_from_static_string("gzip")};
    grpc_op ops[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA,
         .data.send_initial_metadata = {.metadata = &gzip, .count = answer.compressed}},
        {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &visit->cancelled},
        {.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
         .data.send_status_from_server = {.status = answer.code, .status_details = &details}},
        {.op = GRPC_OP_SEND_MESSAGE},
    };
    if (answer.bytes) {
        grpc_slice slice = grpc_slice_from_copied_buffer((char *)answer.bytes, answer.size);
        visit->reply = answer.compressed
                           ? grpc_raw_compressed_byte_buffer_create(&slice, 1, GRPC_COMPRESS_GZIP)
                           : grpc_raw_byte_buffer_create(&slice, 1);
        grpc_slice_unref(slice);
        ops[3].data.send_message.send_message = visit->reply;
    }
    visit->state = VISIT_ANSWERED;
    must(grpc_call_start_batch(visit->call, ops, answer.bytes ? 4 : 3, visit, NULL));
    grpc_slice_unref(details);
    free(answer.bytes);
}

/* Answers what is due, all of it when the puppet stops; returns when to look again. */
static uint64_t puppet_answer_held(struct puppet *puppet)
{
    uint64_t now = now_ms(), next = NEVER;
    for (struct visit **at = &puppet->held; *at;) {
        struct visit *visit = *at;
        if (puppet->stopping || visit->answer_at_ms <= now) {
            *at = visit->next;
            visit_answer(visit);
            continue;
        }
        if (visit->answer_at_ms < next)
            next = visit->answer_at_ms;
        at = &visit->next;
    }
    return next;
}

static void visit_step(struct puppet *puppet, struct visit *visit, bool success)
{
    switch (visit->state) {
    case VISIT_ASKED:
        if (!success) {
            visit_end(puppet, visit);
            return;
        }
        visit_await(puppet);
        visit_read(visit);
        return;
    case VISIT_READ:
        visit->answer_at_ms = when_to_answer(puppet, visit);
        visit->state = VISIT_HELD;
        visit->next = puppet->held;
        puppet->held = visit;
        return;
    default:
        visit_end(puppet, visit);
        return;
    }
}

static gpr_timespec when(uint64_t at_ms)
{
    if (at_ms == NEVER)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return (gpr_timespec){.tv_sec = (int64_t)(at_ms / 1000),
                          .tv_nsec = (int32_t)(at_ms % 1000) * 1000000,
                          .clock_type = GPR_CLOCK_MONOTONIC};
}

static void *puppet_run(void *arg)
{
    struct puppet *puppet = arg;
    visit_await(puppet);
    for (;;) {
        uint64_t next = puppet_answer_held(puppet);
        if (puppet->stopping && puppet->visits == 0)
            grpc_completion_queue_shutdown(puppet->queue);
        grpc_event event = grpc_completion_queue_next(puppet->queue, when(next), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE && event.tag == puppet)
            puppet->stopping = true;
        else if (event.type == GRPC_OP_COMPLETE)
            visit_step(puppet, event.tag, event.success);
    }
}

/* --- outside --- */

static char *read_text(const char *directory, const char *name)
{
    char path[512], *text = calloc(1, 1 << 16);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "r");
    if (!file || !fread(text, 1, (1 << 16) - 1, file))
        die(path);
    fclose(file);
    return text;
}

/* As transport_tls(). */
static grpc_server_credentials *credentials_of_test(void)
{
    const char *directory = getenv("XEBEC_TLS");
    if (!directory)
        return grpc_insecure_server_credentials_create();
    char *key = read_text(directory, "server.key"), *certificate = read_text(directory, "server.crt");
    grpc_ssl_pem_key_cert_pair pair = {.private_key = key, .cert_chain = certificate};
    grpc_server_credentials *credentials =
        grpc_ssl_server_credentials_create_ex(NULL, &pair, 1, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, NULL);
    free(key);
    free(certificate);
    return credentials;
}

struct puppet *puppet_start(const char *address, const struct puppet_script *script)
{
    struct puppet *puppet = calloc(1, sizeof *puppet);
    grpc_init();
    puppet->script = *script;
    pthread_mutex_init(&puppet->lock, NULL);
    puppet->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_arg unbounded = {
        .type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, .value.integer = -1};
    puppet->server = grpc_server_create(&(grpc_channel_args){1, &unbounded}, NULL);
    grpc_server_register_completion_queue(puppet->server, puppet->queue, NULL);
    grpc_server_credentials *credentials = credentials_of_test();
    int port = grpc_server_add_http2_port(puppet->server, address, credentials);
    grpc_server_credentials_release(credentials);
    if (port == 0)
        die("cannot listen");
    if (strncmp(address, "unix:", 5) == 0)
        snprintf(puppet->address, sizeof puppet->address, "%s", address);
    else
        snprintf(puppet->address, sizeof puppet->address, "127.0.0.1:%d", port);
    grpc_server_start(puppet->server);
    if (pthread_create(&puppet->thread, NULL, puppet_run, puppet) != 0)
        die("no thread");
    return puppet;
}

void puppet_stop(struct puppet *puppet)
{
    grpc_server_shutdown_and_notify(puppet->server, puppet->queue, puppet);
    grpc_server_cancel_all_calls(puppet->server);
    pthread_join(puppet->thread, NULL);
    grpc_server_destroy(puppet->server);
    grpc_completion_queue_destroy(puppet->queue);
    grpc_shutdown();
    pthread_mutex_destroy(&puppet->lock);
    free(puppet);
}

const char *puppet_address(const struct puppet *puppet)
{
    return puppet->address;
}

void puppet_tell(struct puppet *puppet, const struct puppet_script *script)
{
    pthread_mutex_lock(&puppet->lock);
    puppet->script = *script;
    pthread_mutex_unlock(&puppet->lock);
}

uint32_t puppet_predicts(const struct puppet *puppet)
{
    return atomic_load(&puppet->predicts);
}

uint32_t puppet_describes(const struct puppet *puppet)
{
    return atomic_load(&puppet->describes);
}

static bool is_own_connection(const struct puppet *puppet, int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_storage room;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } name = {0};
    socklen_t length = sizeof name, option_length = sizeof(int);
    int listening = 1;
    char own[sizeof puppet->address] = "";
    if (getsockname(fd, &name.any, &length) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &option_length) != 0 || listening)
        return false;
    if (name.any.sa_family == AF_UNIX)
        snprintf(own, sizeof own, "unix:%s", name.un.sun_path);
    else if (name.any.sa_family == AF_INET || name.any.sa_family == AF_INET6)
        snprintf(own, sizeof own, "127.0.0.1:%d",
                 ntohs(name.any.sa_family == AF_INET ? name.in.sin_port : name.in6.sin6_port));
    return strcmp(own, puppet->address) == 0;
}

void puppet_cut(const struct puppet *puppet)
{
    DIR *fds = opendir("/proc/self/fd");
    if (!fds)
        die("/proc is needed");
    for (struct dirent *entry; (entry = readdir(fds));) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && is_own_connection(puppet, fd))
            shutdown(fd, SHUT_RDWR);
    }
    closedir(fds);
}

void puppet_free_address(char *address, unsigned room)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, length) != 0 ||
        getsockname(fd, (struct sockaddr *)&name, &length) != 0)
        die("no free port");
    close(fd);
    snprintf(address, room, "127.0.0.1:%d", ntohs(name.sin_port));
}
