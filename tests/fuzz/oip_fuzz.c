/*
 * What clients may send to /v2/models/{endpoint}/infer. Byte 0 picks a signature, byte 1 what stands behind
 * the body in memory, bytes 2 and 3 how much of it is the document: 65535 is all of it, with no header that
 * says so. What decodes has tensors that hold together, and comes back the same when it is answered as if by
 * an echo, in JSON and in binary.
 */
#include "dialect_fixture.h"
#include "edge/oip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_answer(struct request *request, bool binary)
{
    struct oip_ask *ask = request->own;
    ask->binary = binary;
    answer(request);
    require(request->status == GW_OK);
    size_t json_bytes = request->reply.length;
    if (request->reply_headers)
        json_bytes = strtoull(strchr(request->reply_headers, ':') + 1, NULL, 10);
    require(json_bytes <= request->reply.length &&
            json_valid(request->infer->json, request->reply.bytes, json_bytes));
    require(request->reply_headers || request->reply.length == json_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fixture f, again;
    if (size < 4)
        return 0;
    size_t json_bytes = data[2] | (size_t)data[3] << 8;
    struct oip_ask ask = {.has_json_bytes = json_bytes != 65535, .json_bytes = json_bytes}, ask_again = ask;
    open_fixture(&f, data[0], &oip_dialect, &ask);
    open_fixture(&again, data[0], &oip_dialect, &ask_again);
    enum gw_status status = decode(&f, data + 4, size - 4, data[1]);
    require((decode(&again, data + 4, size - 4, '}') == GW_OK) ==
            (status == GW_OK)); /* of two faults, either is told */
    if (status == GW_OK) {
        require_whole(&f.request);
        require_answer(&f.request, true);
        require_answer(&again.request, false);
    }
    close_fixture(&f);
    close_fixture(&again);
    return 0;
}
