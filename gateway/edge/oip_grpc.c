/* oip_grpc: what is asked about the gateway and its models, as messages; the REST twin is oip.c. */
#include "edge/oip_grpc.h"

#include <string.h>

#include "edge/oip.h"
#include "edge/oip_stats.h"
#include "edge/oip_tensors.h"
#include "edge/predict.h"
#include "infer/route.h"

/* --- messages that name a model --- */

enum gw_status oip_grpc_find(const struct infer *infer, const struct wire_field *name,
                             const struct wire_field *version, struct oip_grpc_place *place,
                             struct gw_err *err)
{
    const char *endpoint = (const char *)name->bytes, *arm = (const char *)version->bytes;
    *place = (struct oip_grpc_place){0};
    if (!name->length)
        return gw_err_set(err, GW_E_INVALID, "the message names no model");
    if (!buf_is_utf8(endpoint, name->length) || !buf_is_utf8(arm, version->length))
        return gw_err_set(err, GW_E_INVALID, "a name is not UTF-8");
    place->endpoint = config_endpoint(infer->period->plan->config, endpoint, name->length);
    if (!place->endpoint)
        return gw_err_set(err, GW_E_NOT_FOUND, "%.*s: no endpoint has this name",
                          (int)(name->length < 80 ? name->length : 80), endpoint);
    if (!version->length)
        return GW_OK;
    place->arm = route_named(place->endpoint, arm, version->length);
    if (!place->arm)
        return gw_err_set(err, GW_E_NOT_FOUND, "%.*s: the endpoint has no such version",
                          (int)(version->length < 80 ? version->length : 80), arm);
    return GW_OK;
}

/* Fields 1 and 2 of a message are names, or 2 is a truth. What else there is is passed over. */
static enum gw_status read_pair(const struct grpc_call *call, struct wire_field *first,
                                struct wire_field *second, enum wire_type second_type, struct gw_err *err)
{
    const struct http_message *message = &call->exchange->message;
    struct wire wire = wire_of(message->body, message->body_length);
    struct wire_field field;
    *first = *second = (struct wire_field){.bytes = (const uint8_t *)""};
    while (wire_next(&wire, &field)) {
        if (field.number == 1 && field.type == WIRE_BYTES)
            *first = field;
        else if (field.number == 2 && field.type == second_type)
            *second = field;
        else if (field.number <= 2)
            wire.malformed = true;
    }
    return wire.malformed ? gw_err_set(err, GW_E_INVALID, "the message cannot be read") : GW_OK;
}

/* False: it is answered with what is wrong. */
static bool find_place(const struct grpc_call *call, struct oip_grpc_place *place)
{
    struct wire_field name, version;
    struct gw_err err;
    enum gw_status status = read_pair(call, &name, &version, WIRE_BYTES, &err);
    if (status == GW_OK)
        status = oip_grpc_find(call->infer, &name, &version, place, &err);
    if (status != GW_OK)
        grpc_reply_error(call->exchange, status, err.what);
    return status == GW_OK;
}

/* --- is it well? --- */

static void reply_truth(const struct grpc_call *call, bool truth)
{
    struct buf out = {0};
    grpc_begin(&out);
    if (truth)
        wire_put_number(&out, 1, true);
    grpc_reply(call->exchange, &out);
}

void oip_grpc_server_live(const struct grpc_call *call)
{
    reply_truth(call, true);
}

void oip_grpc_server_ready(const struct grpc_call *call)
{
    reply_truth(call, oip_all_serve(call->infer));
}

/* A model that is not there is not ready, as in Triton. */
void oip_grpc_model_ready(const struct grpc_call *call)
{
    struct oip_grpc_place place;
    struct wire_field name, version;
    struct gw_err err;
    enum gw_status status = read_pair(call, &name, &version, WIRE_BYTES, &err);
    if (status == GW_OK)
        status = oip_grpc_find(call->infer, &name, &version, &place, &err);
    if (status != GW_OK && status != GW_E_NOT_FOUND)
        grpc_reply_error(call->exchange, status, err.what);
    else
        reply_truth(call, status == GW_OK && (place.arm ? oip_version_serves(call->infer, place.arm->version)
                                                        : oip_endpoint_serves(call->infer, place.endpoint)));
}

/* --- what is it? --- */

void oip_grpc_server_metadata(const struct grpc_call *call)
{
    static const char *const extensions[] = {"model_configuration", "model_repository", "parameters",
                                             "statistics"};
    struct buf out = {0};
    grpc_begin(&out);
    wire_put_text(&out, 1, "xebec");
    wire_put_text(&out, 2, XEBEC_VERSION);
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
        wire_put_text(&out, 3, extensions[i]);
    grpc_reply(call->exchange, &out);
}

static void put_sizes(struct buf *out, uint32_t field, const struct tensor_spec *spec, unsigned from)
{
    size_t sizes = wire_open(out, field);
    for (unsigned i = from; i < spec->dims; i++)
        wire_add_number(out, (uint64_t)spec->shape[i]);
    wire_close(out, sizes);
}

static void put_specs(struct buf *out, uint32_t field, const struct tensor_spec *specs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        size_t tensor = wire_open(out, field);
        wire_put_text(out, 1, specs[i].name);
        wire_put_text(out, 2, datatype_name(specs[i].datatype));
        put_sizes(out, 3, &specs[i], 0);
        wire_close(out, tensor);
    }
}

void oip_grpc_model_metadata(const struct grpc_call *call)
{
    struct oip_grpc_place place;
    struct buf out = {0};
    if (!find_place(call, &place))
        return;
    const struct signature *signature = place.endpoint->signature;
    grpc_begin(&out);
    wire_put_text(&out, 1, place.endpoint->name);
    for (uint32_t i = 0; i < place.endpoint->n_arms; i++)
        if (!place.arm || place.arm == &place.endpoint->arms[i])
            wire_put_text(&out, 2, oip_version_name(place.endpoint, place.endpoint->arms[i].version));
    wire_put_text(&out, 3, OIP_PLATFORM);
    put_specs(&out, 4, signature->inputs, signature->n_inputs);
    put_specs(&out, 5, signature->outputs, signature->n_outputs);
    grpc_reply(call->exchange, &out);
}

/* --- Triton's --- */

enum {
    CONFIG_NAME = 1,
    CONFIG_PLATFORM,
    CONFIG_MAX_BATCH = 4,
    CONFIG_INPUT,
    CONFIG_OUTPUT,
    CONFIG_BATCHING = 11,
    CONFIG_BACKEND = 17,
    CONFIG_RESPONSE_CACHE = 24
};

/* Sizes without the rows. Triton numbers datatypes as worker.proto does. */
static void put_config_specs(struct buf *out, uint32_t field, uint32_t dims_field,
                             const struct tensor_spec *specs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        size_t tensor = wire_open(out, field);
        wire_put_text(out, 1, specs[i].name);
        wire_put_number(out, 2, specs[i].datatype);
        put_sizes(out, dims_field, &specs[i], 1);
        wire_close(out, tensor);
    }
}

static void put_config(struct buf *out, const struct config *config, const struct oip_grpc_place *place)
{
    const struct config_endpoint *endpoint = place->endpoint;
    const struct config_model *model = (place->arm ? place->arm : endpoint->arms)->version->model;
    const struct signature *signature = endpoint->signature;
    wire_put_text(out, CONFIG_NAME, endpoint->name);
    wire_put_text(out, CONFIG_PLATFORM, OIP_PLATFORM);
    wire_put_number(out, CONFIG_MAX_BATCH, config->limits.rows);
    put_config_specs(out, CONFIG_INPUT, 4, signature->inputs, signature->n_inputs);
    put_config_specs(out, CONFIG_OUTPUT, 3, signature->outputs, signature->n_outputs);
    if (model->batching.policy != BATCHING_NONE) {
        size_t batching = wire_open(out, CONFIG_BATCHING);
        wire_put_number(out, 2, model->batching.max_delay_us);
        wire_close(out, batching);
    }
    wire_put_text(out, CONFIG_BACKEND, OIP_BACKEND);
    size_t cache = wire_open(out, CONFIG_RESPONSE_CACHE);
    wire_put_number(out, 1, model->cache && (config->cache_bytes || config->redis.shown));
    wire_close(out, cache);
}

void oip_grpc_model_config(const struct grpc_call *call)
{
    struct oip_grpc_place place;
    struct buf out = {0};
    if (!find_place(call, &place))
        return;
    grpc_begin(&out);
    size_t config = wire_open(&out, 1);
    put_config(&out, call->infer->period->plan->config, &place);
    wire_close(&out, config);
    grpc_reply(call->exchange, &out);
}

static void put_index_entry(struct buf *out, const struct infer *infer,
                            const struct config_endpoint *endpoint, const struct config_version *version,
                            bool ready_alone)
{
    bool ready = oip_version_serves(infer, version);
    if (ready_alone && !ready)
        return;
    size_t entry = wire_open(out, 1);
    wire_put_text(out, 1, endpoint->name);
    wire_put_text(out, 2, oip_version_name(endpoint, version));
    wire_put_text(out, 3, ready ? "READY" : "UNAVAILABLE");
    if (!ready)
        wire_put_text(out, 4, gw_status_words(GW_E_NO_REPLICA));
    wire_close(out, entry);
}

void oip_grpc_repository_index(const struct grpc_call *call)
{
    const struct config *config = call->infer->period->plan->config;
    struct wire_field repository, ready;
    struct gw_err err;
    struct buf out = {0};
    if (read_pair(call, &repository, &ready, WIRE_VARINT, &err) != GW_OK) {
        grpc_reply_error(call->exchange, err.status, err.what);
        return;
    }
    grpc_begin(&out);
    for (uint32_t i = 0; i < config->n_endpoints; i++)
        for (uint32_t arm = 0; arm < config->endpoints[i]->n_arms; arm++)
            put_index_entry(&out, call->infer, config->endpoints[i], config->endpoints[i]->arms[arm].version,
                            ready.value);
    grpc_reply(call->exchange, &out);
}

/* --- Triton's statistics --- */

enum { STATS_LAST = 3, STATS_ROWS, STATS_BATCHES, STATS_PARTS };

static void put_statistics(void *to, const struct oip_stats *stats)
{
    struct buf *out = to;
    size_t entry = wire_open(out, 1);
    wire_put_text(out, 1, stats->endpoint);
    wire_put_text(out, 2, stats->version);
    wire_put_number(out, STATS_LAST, stats->last_ms);
    wire_put_number(out, STATS_ROWS, stats->rows);
    wire_put_number(out, STATS_BATCHES, stats->batches);
    size_t parts = wire_open(out, STATS_PARTS);
    for (uint32_t i = 0; i < OIP_STATS_PARTS; i++) {
        size_t part = wire_open(out, i + 1);
        wire_put_number(out, 1, stats->parts[i].count);
        wire_put_number(out, 2, stats->parts[i].ns);
        wire_close(out, part);
    }
    wire_close(out, parts);
    wire_close(out, entry);
}

/* Of a version, of an endpoint's, or, without a name, of all. */
void oip_grpc_model_statistics(const struct grpc_call *call)
{
    struct wire_field name, version;
    struct oip_grpc_place place = {0};
    struct gw_err err;
    struct buf out = {0};
    enum gw_status status = read_pair(call, &name, &version, WIRE_BYTES, &err);
    if (status == GW_OK && (name.length || version.length))
        status = oip_grpc_find(call->infer, &name, &version, &place, &err);
    if (status != GW_OK) {
        grpc_reply_error(call->exchange, status, err.what);
        return;
    }
    grpc_begin(&out);
    oip_stats_each(call->infer, place.endpoint, place.arm, put_statistics, &out);
    grpc_reply(call->exchange, &out);
}
