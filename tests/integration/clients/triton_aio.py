"""
Run by test_oip.py in a Python that has tritonclient: triton_aio.py ADDRESS DATATYPE ROWS JSON-OR-BINARY

Asks endpoint e through tritonclient.http.aio, eight times at once, and prints what it was told as JSON.
"""
import asyncio
import json
import sys

import numpy
import tritonclient.http.aio as triton
from tritonclient.utils import InferenceServerException, triton_to_np_dtype


async def refused(asking):
    try:
        await asking
    except InferenceServerException as refusal:
        return refusal.status(), refusal.message()
    raise AssertionError("it was not refused")


async def main():
    address, datatype, rows, how = sys.argv[1:]
    binary = how == "binary"
    array = numpy.array(json.loads(rows), dtype=triton_to_np_dtype(datatype))
    async with triton.InferenceServerClient(address) as client:
        assert await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready("e", "v1")
        tensor = triton.InferInput("x", array.shape, datatype).set_data_from_numpy(array, binary_data=binary)
        outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
        answers = await asyncio.gather(*(client.infer("e", [tensor], outputs=outputs, request_id=str(i)) for i in range(8)))
        print(json.dumps({
            "same": [numpy.array_equal(each.as_numpy("y"), array) for each in answers],
            "ids": [each.get_response()["id"] for each in answers], "model": await client.get_model_metadata("e"),
            "no model": await refused(client.get_model_metadata("nobody")),
        }))


asyncio.run(main())
