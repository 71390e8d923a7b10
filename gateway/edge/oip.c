/*
 * oip: the paths below /v2. What is about a model is /v2/models/{endpoint}[/versions/{version}][/{verb}]: an
 * endpoint is what the protocol calls a model, and without a version its rollout decides which one answers.
 */
#include "edge/oip.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "edge/oip_stats.h"
#include "edge/oip_tensors.h"
#include "edge/predict.h"
#include "infer/route.h"

struct segment {
    const char *text; /* not terminated */
    size_t length;
};

static bool segment_is(struct segment segment, const char *name)
{
    return segment.length == strlen(name) && memcmp(segment.text, name, segment.length) == 0;
}

/* The next segment of the path; empty at its end, and where two slashes meet. */
static struct segment next_segment(const char **path)
{
    struct segment segment = {*path, 0};
    if (**path != '/')
        return segment;
    segment.text = *path + 1;
    segment.length = strcspn(segment.text, "/");
    *path = segment.text + segment.length;
    return segment;
}

/* What a path names. */
struct place {
    struct infer *infer;
    struct exchange *exchange;
    const struct config_endpoint *endpoint;
    const struct config_arm *arm; /* of the version that is named; NULL: the endpoint as a whole */
};

static void not_found(struct exchange *exchange)
{
    reply_not_found(exchange, &oip_dialect, exchange->message.path, exchange->message.path_length,
                    ": no such path");
}

/* --- is it well? --- */

bool oip_version_serves(const struct infer *infer, const struct config_version *version)
{
    return version_is_ready(infer->period->plan->versions[version->index]);
}

bool oip_endpoint_serves(const struct infer *infer, const struct config_endpoint *endpoint)
{
    const double *weights = infer->period->plan->endpoints[endpoint->index].weights;
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        if (weights[i] > 0 && oip_version_serves(infer, endpoint->arms[i].version))
            return true;
    return false;
}

bool oip_all_serve(const struct infer *infer)
{
    const struct config *config = infer->period->plan->config;
    for (uint32_t i = 0; i < config->n_endpoints; i++)
        if (!oip_endpoint_serves(infer, config->endpoints[i]))
            return false;
    return true;
}

/* Under both names, since the specification uses one for the other's question. */
static void reply_health(struct exchange *exchange, bool ready)
{
    struct buf body = {0};
    buf_printf(&body, "{\"live\":true,\"ready\":%s}", ready ? "true" : "false");
    reply_json(exchange, ready ? GW_OK : GW_E_NO_REPLICA, NULL, &body);
}

static void reply_model_ready(const struct place *place)
{
    bool ready = place->arm ? oip_version_serves(place->infer, place->arm->version)
                            : oip_endpoint_serves(place->infer, place->endpoint);
    struct buf body = {0};
    buf_text(&body, "{\"name\":");
    buf_json_text(&body, place->endpoint->name, strlen(place->endpoint->name));
    buf_printf(&body, ",\"ready\":%s}", ready ? "true" : "false");
    reply_json(place->exchange, ready ? GW_OK : GW_E_NO_REPLICA, NULL, &body);
}

/* --- what is it? --- */

static void reply_server(struct exchange *exchange)
{
    struct buf body = {0};
    buf_text(&body, "{\"name\":\"xebec\",\"version\":\"" XEBEC_VERSION "\",\"extensions\":"
                    "[\"binary_tensor_data\",\"model_configuration\",\"model_repository\",\"parameters\","
                    "\"statistics\"]}");
    reply_json(exchange, GW_OK, NULL, &body);
}

static void write_name(struct buf *out, const char *before, const char *name)
{
    buf_text(out, before);
    buf_json_text(out, name, strlen(name));
}

static void write_sizes(struct buf *out, const char *name, const struct tensor_spec *spec, unsigned from)
{
    buf_printf(out, ",\"%s\":[", name);
    for (unsigned i = from; i < spec->dims; i++)
        buf_printf(out, "%s%" PRId64, i > from ? "," : "", spec->shape[i]);
    buf_text(out, "]}");
}

static void write_specs(struct buf *out, const struct tensor_spec *specs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        write_name(out, i ? ",{\"name\":" : "{\"name\":", specs[i].name);
        buf_printf(out, ",\"datatype\":\"%s\"", datatype_name(specs[i].datatype));
        write_sizes(out, "shape", &specs[i], 0);
    }
}

static void write_versions(struct buf *out, const struct place *place)
{
    const struct config_endpoint *endpoint = place->endpoint;
    bool first = true;
    buf_text(out, ",\"versions\":[");
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        if (place->arm && place->arm != &endpoint->arms[i])
            continue;
        write_name(out, first ? "" : ",", oip_version_name(endpoint, endpoint->arms[i].version));
        first = false;
    }
    buf_text(out, "]");
}

static void reply_metadata(const struct place *place)
{
    const struct signature *signature = place->endpoint->signature;
    struct buf body = {0};
    write_name(&body, "{\"name\":", place->endpoint->name);
    write_versions(&body, place);
    buf_text(&body, ",\"platform\":\"" OIP_PLATFORM "\",\"inputs\":[");
    write_specs(&body, signature->inputs, signature->n_inputs);
    buf_text(&body, "],\"outputs\":[");
    write_specs(&body, signature->outputs, signature->n_outputs);
    buf_text(&body, "]}");
    reply_json(place->exchange, GW_OK, NULL, &body);
}

/* --- Triton's extensions --- */

/* Triton's names of datatypes in a configuration, and sizes without the rows. */
static void write_config_specs(struct buf *out, const char *key, const struct tensor_spec *specs, uint32_t n)
{
    buf_printf(out, ",\"%s\":[", key);
    for (uint32_t i = 0; i < n; i++) {
        const char *datatype = specs[i].datatype == DT_BYTES ? "STRING" : datatype_name(specs[i].datatype);
        write_name(out, i ? ",{\"name\":" : "{\"name\":", specs[i].name);
        buf_printf(out, ",\"data_type\":\"TYPE_%s\"", datatype);
        write_sizes(out, "dims", &specs[i], 1);
    }
    buf_text(out, "]");
}

static void reply_config(const struct place *place)
{
    const struct config *config = place->infer->period->plan->config;
    const struct config_model *model = (place->arm ? place->arm : place->endpoint->arms)->version->model;
    const struct signature *signature = place->endpoint->signature;
    struct buf body = {0};
    write_name(&body, "{\"name\":", place->endpoint->name);
    buf_printf(&body,
               ",\"platform\":\"" OIP_PLATFORM "\",\"backend\":\"" OIP_BACKEND
               "\",\"max_batch_size\":%" PRIu32,
               config->limits.rows);
    write_config_specs(&body, "input", signature->inputs, signature->n_inputs);
    write_config_specs(&body, "output", signature->outputs, signature->n_outputs);
    if (model->batching.policy != BATCHING_NONE)
        buf_printf(&body, ",\"dynamic_batching\":{\"max_queue_delay_microseconds\":%" PRIu64 "}",
                   model->batching.max_delay_us);
    bool caches = model->cache && (config->cache_bytes || config->redis.shown);
    buf_printf(&body, ",\"response_cache\":{\"enable\":%s}}", caches ? "true" : "false");
    reply_json(place->exchange, GW_OK, NULL, &body);
}

static void reply_stats(const struct place *place)
{
    struct buf body = {0};
    oip_stats_write(&body, place->infer, place->endpoint, place->arm);
    reply_json(place->exchange, GW_OK, NULL, &body);
}

struct index_reading {
    bool ready_alone;
};

static enum gw_status read_index_member(void *owner, const char *key, size_t length, struct json_value *value,
                                        struct gw_err *err)
{
    struct index_reading *reading = owner;
    if (length == 5 && memcmp(key, "ready", 5) == 0)
        return json_bool(value, &reading->ready_alone, err);
    return GW_OK;
}

static void write_index_entry(struct buf *out, const struct infer *infer,
                              const struct config_endpoint *endpoint, const struct config_version *version,
                              bool ready_alone)
{
    bool ready = oip_version_serves(infer, version);
    if (ready_alone && !ready)
        return;
    write_name(out, out->length > 1 ? ",{\"name\":" : "{\"name\":", endpoint->name);
    write_name(out, ",\"version\":", oip_version_name(endpoint, version));
    buf_printf(out, ",\"state\":\"%s\",\"reason\":\"%s\"}", ready ? "READY" : "UNAVAILABLE",
               ready ? "" : gw_status_words(GW_E_NO_REPLICA));
}

static void reply_index(struct infer *infer, struct exchange *exchange)
{
    const struct http_message *message = &exchange->message;
    const struct config *config = infer->period->plan->config;
    struct index_reading reading = {false};
    struct gw_err err = {0};
    enum gw_status status = GW_OK;
    struct buf body = {0};
    if (message->body_length)
        status =
            json_read(infer->json, message->body, message->body_length, read_index_member, &reading, &err);
    if (status != GW_OK) {
        reply_error(exchange, &oip_dialect, status, NULL, err.what);
        return;
    }
    buf_text(&body, "[");
    for (uint32_t i = 0; i < config->n_endpoints; i++)
        for (uint32_t arm = 0; arm < config->endpoints[i]->n_arms; arm++)
            write_index_entry(&body, infer, config->endpoints[i], config->endpoints[i]->arms[arm].version,
                              reading.ready_alone);
    buf_text(&body, "]");
    reply_json(exchange, GW_OK, NULL, &body);
}

static void reply_models(struct infer *infer, struct exchange *exchange)
{
    const struct config *config = infer->period->plan->config;
    struct buf body = {0};
    buf_text(&body, "{\"models\":[");
    for (uint32_t i = 0; i < config->n_endpoints; i++)
        write_name(&body, i ? "," : "", config->endpoints[i]->name);
    buf_text(&body, "]}");
    reply_json(exchange, GW_OK, NULL, &body);
}

/* --- inference --- */

/* Digits alone, no sign. */
static bool read_length(const char *text, size_t *length)
{
    size_t digits = strspn(text, "0123456789");
    *length = strtoull(text, NULL, 10);
    return digits && digits < 19 && !text[digits];
}

/* What the body's content type says is not looked at, as by Triton: clients of it send whatever theirs sends.
 */
static void infer_with(const struct place *place)
{
    struct exchange *exchange = place->exchange;
    const struct http_header *header =
        http_message_header(&exchange->message, "inference-header-content-length");
    struct oip_ask *own = arena_zalloc(&exchange->arena, sizeof *own);
    struct predict_ask ask = {.dialect = &oip_dialect, .endpoint = place->endpoint, .own = own};
    if (place->arm)
        ask.version = place->arm->version->full_name;
    if (!own) {
        reply_error(exchange, &oip_dialect, GW_E_NO_MEMORY, NULL, gw_status_words(GW_E_NO_MEMORY));
        return;
    }
    own->has_json_bytes = header;
    if (header && !read_length(header->value, &own->json_bytes)) {
        reply_error(exchange, &oip_dialect, GW_E_INVALID, NULL,
                    "Inference-Header-Content-Length is not a number of bytes");
        return;
    }
    predict_start(place->infer, exchange, &ask);
}

/* --- the path --- */

/* Replies and is false where the path does not take the method. */
static bool takes(struct exchange *exchange, bool post)
{
    enum http_method method = exchange->message.method;
    if (post ? method == HTTP_M_POST : method == HTTP_M_GET || method == HTTP_M_HEAD)
        return true;
    reply_error(exchange, &oip_dialect, GW_E_METHOD, post ? "Allow: POST\r\n" : "Allow: GET, HEAD\r\n",
                post ? "this is asked for with POST" : "this is asked for with GET");
    return false;
}

static void handle_verb(const struct place *place, struct segment verb)
{
    static const struct {
        const char *name;
        bool post;
        void (*reply)(const struct place *place);
    } verbs[] = {
        {"", false, reply_metadata},     {"infer", true, infer_with},   {"ready", false, reply_model_ready},
        {"config", false, reply_config}, {"stats", false, reply_stats},
    };
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (segment_is(verb, verbs[i].name)) {
            if (takes(place->exchange, verbs[i].post))
                verbs[i].reply(place);
            return;
        }
    not_found(place->exchange);
}

/* path: what stands behind /v2/models. */
static void handle_models(struct infer *infer, struct exchange *exchange, const char *path)
{
    struct segment name = next_segment(&path), verb = next_segment(&path);
    struct place place = {.infer = infer, .exchange = exchange};
    if (!name.length && !verb.length) {
        if (takes(exchange, false))
            reply_models(infer, exchange);
        return;
    }
    place.endpoint = config_endpoint(infer->period->plan->config, name.text, name.length);
    if (!place.endpoint && segment_is(name, "stats") && !verb.length && !*path) { /* of all of them */
        if (takes(exchange, false))
            reply_stats(&place);
        return;
    }
    if (!place.endpoint) {
        reply_not_found(exchange, &oip_dialect, name.text, name.length, NO_ENDPOINT);
        return;
    }
    if (segment_is(verb, "versions")) {
        struct segment version = next_segment(&path);
        place.arm = route_named(place.endpoint, version.text, version.length);
        if (!place.arm) {
            reply_not_found(exchange, &oip_dialect, version.text, version.length,
                            ": the endpoint has no such version; GET /v2/models/{endpoint} lists them");
            return;
        }
        verb = next_segment(&path);
    }
    if (next_segment(&path).length || *path)
        not_found(exchange);
    else
        handle_verb(&place, verb);
}

/* path: what stands behind /v2/repository. */
static void handle_repository(struct infer *infer, struct exchange *exchange, const char *path)
{
    if (!strcmp(path, "/index")) {
        if (takes(exchange, true))
            reply_index(infer, exchange);
    } else if (!strncmp(path, "/models/", 8)) {
        reply_error(exchange, &oip_dialect, GW_E_NOT_IMPLEMENTED, NULL,
                    "models are loaded and unloaded by the configuration");
    } else {
        not_found(exchange);
    }
}

void oip_handle(struct infer *infer, struct exchange *exchange)
{
    const char *path = exchange->message.path + strlen("/v2");
    const char *rest = path;
    struct segment first = next_segment(&rest);
    bool is_ready = !strcmp(path, "/health/ready");
    if (!*path || !strcmp(path, "/")) {
        if (takes(exchange, false))
            reply_server(exchange);
    } else if (is_ready || !strcmp(path, "/health/live")) {
        if (takes(exchange, false))
            reply_health(exchange, !is_ready || oip_all_serve(infer));
    } else if (segment_is(first, "models")) {
        handle_models(infer, exchange, rest);
    } else if (segment_is(first, "repository")) {
        handle_repository(infer, exchange, rest);
    } else {
        not_found(exchange);
    }
}
