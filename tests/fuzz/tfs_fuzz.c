/*
 * What clients may send to TensorFlow Serving's verbs. Byte 0 picks a signature, byte 1 what stands behind
 * the body in memory, byte 2 the verb. What decodes has tensors that hold together, and is answered, as if
 * by an echo, with a document.
 */
#include "dialect_fixture.h"
#include "edge/tfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Echoes are no classifiers where they have no scores: that is said, and is no fault. */
static void require_answer(struct fixture *f, enum tfs_verb verb)
{
    struct request *request = &f->request;
    answer(request);
    require(request->status == GW_OK || verb != TFS_PREDICT);
    require(json_valid(f->infer.json, request->reply.bytes, request->reply.length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fixture f, again;
    if (size < 3)
        return 0;
    struct tfs_ask ask = {.verb = data[2] % (TFS_REGRESS + 1)}, ask_again = ask;
    open_fixture(&f, data[0], &tfs_dialect, &ask);
    open_fixture(&again, data[0], &tfs_dialect, &ask_again);
    enum gw_status status = decode(&f, data + 3, size - 3, data[1]);
    require((decode(&again, data + 3, size - 3, '}') == GW_OK) == (status == GW_OK));
    if (status == GW_OK) {
        require_whole(&f.request);
        require_answer(&f, ask.verb);
    }
    close_fixture(&f);
    close_fixture(&again);
    return 0;
}
