/*
 * What clients may send to /invocations. Byte 0 picks a signature, byte 1 what stands behind the body in
 * memory, byte 2 whether it is CSV. What decodes has tensors that hold together, and is answered, as if by
 * an echo, with a document.
 */
#include "dialect_fixture.h"
#include "edge/mlflow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fixture f, again;
    if (size < 3)
        return 0;
    bool is_csv = data[2] % 2;
    open_fixture(&f, data[0], &mlflow_dialect, is_csv ? &f : NULL);
    open_fixture(&again, data[0], &mlflow_dialect, is_csv ? &f : NULL);
    enum gw_status status = decode(&f, data + 3, size - 3, data[1]);
    require((decode(&again, data + 3, size - 3, '}') == GW_OK) == (status == GW_OK));
    if (status == GW_OK) {
        require_whole(&f.request);
        answer(&f.request);
        require(f.request.status == GW_OK);
        require(json_valid(f.infer.json, f.request.reply.bytes, f.request.reply.length));
    }
    close_fixture(&f);
    close_fixture(&again);
    return 0;
}
