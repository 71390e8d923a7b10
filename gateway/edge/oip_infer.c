/*
 * oip_infer: the dialect: an inference's body is a document, and perhaps the data of some inputs behind it;
 * or nothing but the data of the only input.
 */
#include <inttypes.h>
#include <string.h>

#include "edge/oip.h"
#include "edge/oip_document.h"
#include "edge/oip_reply.h"
#include "edge/oip_tensors.h"

static enum gw_status decode_binary(struct oip_decoding *decoding, const uint8_t *bytes, size_t length)
{
    struct request *request = decoding->request;
    for (uint32_t i = 0; i < decoding->n_given; i++) {
        const struct oip_given *given = &decoding->given[i];
        if (given->binary_bytes < 0)
            continue;
        if ((uint64_t)given->binary_bytes > length)
            return gw_err_set(&request->err, GW_E_INVALID,
                              "input %s: binary_data_size is %" PRId64 ", and %zu bytes are left of the body",
                              given->told.name, given->binary_bytes, length);
        enum gw_status status =
            oip_input_set_bytes(request, given->input, bytes, (size_t)given->binary_bytes);
        if (status != GW_OK)
            return status;
        bytes += given->binary_bytes;
        length -= (size_t)given->binary_bytes;
    }
    if (length)
        return gw_err_set(&request->err, GW_E_INVALID, "%zu bytes of the body belong to no input", length);
    return GW_OK;
}

/* Without a document the shape is as declared, with as many rows as there are bytes for. BYTES are one
 * element. */
static enum gw_status decode_raw(struct oip_decoding *decoding, const uint8_t *bytes, size_t length)
{
    struct request *request = decoding->request;
    const struct signature *signature = request->endpoint->signature;
    const struct tensor_spec *declared = &signature->inputs[0];
    struct oip_told told = {
        .name = declared->name, .datatype = datatype_name(declared->datatype), .dims = declared->dims};
    size_t elements, row_bytes;
    if (signature->n_inputs != 1)
        return gw_err_set(&request->err, GW_E_INVALID,
                          "a body of data alone is for models with one input, and this one has %" PRIu32,
                          signature->n_inputs);
    if (!tensor_row_elements(declared, &elements))
        return gw_err_set(&request->err, GW_E_INVALID,
                          "a body of data alone needs a shape, and input %s leaves sizes open",
                          declared->name);
    memcpy(told.shape, declared->shape, sizeof told.shape);
    told.shape[0] = 1;
    if (declared->datatype == DT_BYTES) {
        uint32_t prefix = (uint32_t)length;
        uint8_t *element =
            length <= UINT32_MAX - sizeof prefix ? arena_alloc(request->arena, length + sizeof prefix) : NULL;
        if (!element)
            return gw_err_no_memory(&request->err);
        memcpy(element, &prefix, sizeof prefix);
        memcpy(element + sizeof prefix, bytes, length);
        bytes = element;
        length += sizeof prefix;
    } else if (!__builtin_mul_overflow(elements, datatype_bytes(declared->datatype), &row_bytes) &&
               row_bytes) {
        told.shape[0] = (int64_t)(length / row_bytes);
    }
    struct tensor *input;
    decoding->ask->binary = true;
    enum gw_status status = oip_inputs_take(request, &told, &input);
    return status == GW_OK ? oip_input_set_bytes(request, input, bytes, length) : status;
}

static enum gw_status decode_parts(struct oip_decoding *decoding, const char *body, size_t length)
{
    struct oip_ask *ask = decoding->ask;
    size_t json_bytes = ask->has_json_bytes ? ask->json_bytes : length;
    if (json_bytes > length)
        return gw_err_set(&decoding->request->err, GW_E_INVALID,
                          "Inference-Header-Content-Length is %zu, and the body has %zu bytes", json_bytes,
                          length);
    if (ask->has_json_bytes && json_bytes == 0)
        return decode_raw(decoding, (const uint8_t *)body, length);
    enum gw_status status = oip_document_read(decoding, body, json_bytes);
    return status == GW_OK ? decode_binary(decoding, (const uint8_t *)body + json_bytes, length - json_bytes)
                           : status;
}

static enum gw_status oip_decode(struct request *request, const char *body, size_t length)
{
    struct oip_decoding decoding = {.request = request, .ask = request->own};
    enum gw_status status = oip_inputs_begin(request);
    if (status != GW_OK)
        return status;
    if (!decoding.ask)
        request->own = decoding.ask = arena_zalloc(request->arena, sizeof *decoding.ask);
    decoding.given = arena_array(request->arena, request->n_inputs, sizeof *decoding.given);
    if (!decoding.ask || !decoding.given)
        return gw_err_no_memory(&request->err);
    status = decode_parts(&decoding, body, length);
    if (status == GW_OK)
        status = oip_inputs_end(request);
    if (status == GW_OK)
        status = oip_outputs_want(request, decoding.ask->wanted, decoding.ask->n_wanted);
    return status;
}

const struct dialect oip_dialect = {"oip", oip_decode, oip_encode, oip_write_error, NULL};
