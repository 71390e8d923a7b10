"""
Run by test_kserve.py in a Python that has KServe's SDK: kserve_rest.py PORT DATATYPE ROWS

Asks endpoint e through InferenceRESTClient, as KServe's users do, in JSON and in binary, and prints what it was told as JSON.
"""
import asyncio
import json
import sys

import httpx
import numpy
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from kserve.utils.numpy_codec import to_np_dtype


async def refused(asking):
    try:
        await asking
    except httpx.HTTPStatusError as refusal:
        return refusal.response.status_code, str(refusal)
    raise AssertionError("it was not refused")


async def main():
    port, datatype, rows = sys.argv[1:]
    url = f"http://127.0.0.1:{port}"
    array = numpy.array(json.loads(rows), dtype=object if datatype == "BYTES" else to_np_dtype(datatype))
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))

    def request(binary, name="x"):
        tensor = InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        outputs = [RequestedOutput("y", {"binary_data": binary})]
        return InferRequest(model_name="e", infer_inputs=[tensor], request_id="7", request_outputs=outputs)

    async def asked(binary):
        answer = await client.infer(url, request(binary), model_name="e")
        output = answer.outputs[0]
        values = output.as_numpy().tolist()
        if datatype == "BYTES":
            values = [[each.decode() if isinstance(each, bytes) else each for each in row] for row in values]
        return [answer.model_name, answer.id, output.name, output.datatype, values]

    print(json.dumps({
        "live": await client.is_server_live(url), "ready": await client.is_server_ready(url), "model ready": await client.is_model_ready(url, "e"),
        "no model ready": await client.is_model_ready(url, "nobody"),
        "answers": [await asked(False), await asked(True)],
        "no model": await refused(client.infer(url, request(True), model_name="nobody")),
        "no input": await refused(client.infer(url, request(False, "z"), model_name="e")),
        "v1": await InferenceRESTClient(RESTConfig(protocol="v1")).infer(url, {"instances": array.tolist()}, model_name="e"),
    }))
    await client.close()


asyncio.run(main())
