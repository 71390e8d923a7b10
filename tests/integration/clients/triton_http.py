"""
Run by test_oip.py in a Python that has tritonclient: triton_http.py ADDRESS DATATYPE ROWS JSON-OR-BINARY [COMPRESSION]

Asks endpoint e what it is and then to answer ROWS, as Triton's users do, and prints what it was told as JSON.
"""
import json
import sys

import numpy
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype


def refused(ask, *arguments, **more):
    try:
        ask(*arguments, **more)
    except InferenceServerException as refusal:
        return refusal.status(), refusal.message()
    raise AssertionError("it was not refused")


def infer(client, array, datatype, binary, **more):
    tensor = triton.InferInput("x", array.shape, datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return client.infer("e", [tensor], **more)


def main():
    address, datatype, rows, how, compression = (*sys.argv[1:], None)[:5]
    binary = how == "binary"
    array = numpy.array(json.loads(rows), dtype=triton_to_np_dtype(datatype))
    if datatype == "BYTES":
        array = numpy.vectorize(str.encode, otypes=[object])(array)
    client = triton.InferenceServerClient(address)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("e") and client.is_model_ready("e", "v1")
    assert not client.is_model_ready("nobody")
    outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
    squeezed = {"request_compression_algorithm": compression, "response_compression_algorithm": compression}
    answer = infer(client, array, datatype, binary, outputs=outputs, request_id="7", **squeezed)
    unnamed = infer(client, array, datatype, binary, model_version="v1")
    result = answer.as_numpy("y")
    assert result.dtype == array.dtype or datatype == "BYTES", result.dtype
    same = [numpy.array_equal(each.as_numpy("y").astype(array.dtype), array) for each in (answer, unnamed)]
    if datatype == "BYTES":
        same = [[e if isinstance(e, bytes) else e.encode() for e in each.as_numpy("y").flat] == list(array.flat)
                for each in (answer, unnamed)]
    print(json.dumps({
        "server": client.get_server_metadata(), "model": client.get_model_metadata("e"), "config": client.get_model_config("e"),
        "index": client.get_model_repository_index(),
        "stats": [client.get_inference_statistics(*names) for names in (("e",), ("e", "v1"), ())], "same": same, "reply": answer.get_response(), "shape": result.shape,
        "no model": refused(client.get_model_metadata, "nobody"), "no version": refused(client.get_model_metadata, "e", "nine"),
        "unknown output": refused(infer, client, array, datatype, binary, outputs=[triton.InferRequestedOutput("z")]),
        "load": refused(client.load_model, "e"),
        "triton dtype": np_to_triton_dtype(array.dtype),
    }))


main()
