/* oip_grpc_reply: what the outputs are, and then, where they are raw, all their data. */
#include "edge/oip_grpc_reply.h"

#include "edge/answer.h"
#include "edge/oip.h"
#include "edge/oip_grpc.h"
#include "edge/oip_grpc_contents.h"
#include "edge/oip_grpc_parameters.h"
#include "edge/oip_tensors.h"

enum { REPLY_MODEL = 1, REPLY_VERSION, REPLY_ID, REPLY_PARAMETERS, REPLY_OUTPUTS, REPLY_RAW };
enum { OUTPUT_NAME = 1, OUTPUT_DATATYPE, OUTPUT_SHAPE, OUTPUT_PARAMETERS, OUTPUT_CONTENTS };

static uint32_t count_outputs(const struct request *request)
{
    const struct oip_grpc_ask *ask = request->own;
    return ask->n_wanted ? ask->n_wanted : answer_outputs(request);
}

static const char *output_name(const struct request *request, uint32_t index)
{
    const struct oip_grpc_ask *ask = request->own;
    return ask->n_wanted ? ask->wanted[index] : answer_output_name(request, index);
}

/* An answer that is the endpoint's default says so, and why. */
static void put_default(struct request *request)
{
    const struct row_outcome *failed = answer_defaulted(request);
    struct buf *out = &request->reply;
    if (!failed)
        return;
    oip_grpc_parameter_put_true(out, REPLY_PARAMETERS, "default");
    oip_grpc_parameter_put_text(out, REPLY_PARAMETERS, "cause", gw_status_cause(failed->status));
    oip_grpc_parameter_put_text(out, REPLY_PARAMETERS, "default_explanation",
                                failed->message ? failed->message : gw_status_words(failed->status));
}

/* What an output is, and, where they are typed, its elements. */
static void put_output(struct request *request, const char *name, const struct tensor_spec *spec, bool raw)
{
    struct buf *out = &request->reply;
    size_t tensor = wire_open(out, REPLY_OUTPUTS);
    wire_put_text(out, OUTPUT_NAME, name);
    wire_put_text(out, OUTPUT_DATATYPE, datatype_name(spec->datatype));
    size_t shape = wire_open(out, OUTPUT_SHAPE);
    for (unsigned i = 0; i < spec->dims; i++)
        wire_add_number(out, (uint64_t)spec->shape[i]);
    wire_close(out, shape);
    if (!raw) {
        size_t contents = wire_open(out, OUTPUT_CONTENTS);
        oip_grpc_contents_write(request, name, spec->datatype);
        wire_close(out, contents);
    }
    wire_close(out, tensor);
}

static void put_raw(struct request *request, const char *name, size_t bytes)
{
    wire_begin_bytes(&request->reply, REPLY_RAW, bytes);
    answer_write_bytes(request, name);
}

/* Raw, when one of them can be nothing else: the protocol has no mixture. */
static enum gw_status describe_outputs(struct request *request, struct answer_output *outputs, uint32_t n,
                                       bool *raw)
{
    enum gw_status status = GW_OK;
    for (uint32_t i = 0; i < n && status == GW_OK; i++) {
        status = answer_output(request, output_name(request, i), &outputs[i]);
        *raw |= status == GW_OK && !oip_grpc_contents_have(outputs[i].spec.datatype);
    }
    return status;
}

static enum gw_status put_outputs(struct request *request)
{
    uint32_t n = count_outputs(request);
    struct answer_output *outputs = arena_array(request->arena, n, sizeof *outputs);
    bool raw = ((const struct oip_grpc_ask *)request->own)->raw;
    enum gw_status status =
        outputs ? describe_outputs(request, outputs, n, &raw) : gw_err_no_memory(&request->err);
    if (status != GW_OK)
        return status;
    for (uint32_t i = 0; i < n; i++)
        put_output(request, output_name(request, i), &outputs[i].spec, raw);
    for (uint32_t i = 0; raw && i < n; i++)
        put_raw(request, output_name(request, i), outputs[i].bytes);
    return GW_OK;
}

static enum gw_status put_reply(struct request *request)
{
    const struct oip_grpc_ask *ask = request->own;
    struct buf *out = &request->reply;
    grpc_begin(out);
    wire_put_text(out, REPLY_MODEL, request->endpoint->name);
    wire_put_text(out, REPLY_VERSION, oip_version_name(request->endpoint, request->version));
    if (ask->id_length)
        wire_put_bytes(out, REPLY_ID, ask->id, ask->id_length);
    put_default(request);
    return put_outputs(request);
}

/* There is no answer for some rows only: the first that failed fails all. */
void oip_grpc_encode(struct request *request)
{
    enum gw_status status = request->status;
    if (status == GW_OK || status == GW_PARTIAL)
        status = answer_begin(request);
    if (status == GW_OK)
        status = put_reply(request);
    request->status = status;
    if (status != GW_OK)
        request->reply.length = 0;
}
