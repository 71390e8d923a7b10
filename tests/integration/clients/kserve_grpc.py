"""
Run by test_kserve.py in a Python that has KServe's SDK: kserve_grpc.py PORT DATATYPE ROWS

Asks endpoint e through InferenceGRPCClient, as KServe's users do, with typed contents and raw ones, alone and side by side, and
prints what it was told as JSON.
"""
import asyncio
import json
import logging
import sys

import grpc
import numpy
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput
from kserve.utils.numpy_codec import to_np_dtype

TYPED = {"FP16": False}  # the protocol has no list for it


async def refused(asking):
    try:
        await asking
    except grpc.RpcError as refusal:
        return refusal.code().name, refusal.details()
    raise AssertionError("it was not refused")


async def main():
    port, datatype, rows = sys.argv[1:]
    logging.disable()  # it tells all that is refused, too
    array = numpy.array(json.loads(rows), dtype=object if datatype == "BYTES" else to_np_dtype(datatype))

    def request(raw, model="e", name="x", output="y", parameters=None):
        tensor = InferInput(name, list(array.shape), datatype)
        if raw:
            tensor.set_data_from_numpy(array, binary_data=True)
        else:
            tensor.data = array.flatten().tolist()
        return InferRequest(model_name=model, infer_inputs=[tensor], request_id="7", request_outputs=[RequestedOutput(output)], parameters=parameters)

    async with InferenceGRPCClient(f"127.0.0.1:{port}", timeout=30, retries=3) as client:
        async def asked(raw):
            answer = await client.infer(request(raw))
            output = answer.outputs[0]
            values = output.as_numpy().tolist()
            if datatype == "BYTES":
                values = [[each.decode() if isinstance(each, bytes) else each for each in row] for row in values]
            return [answer.model_name, answer.model_version, answer.id, output.name, output.datatype, values]

        raw_or_not = [False, True] if TYPED.get(datatype, True) else [True]
        answers = [await asked(raw) for raw in raw_or_not]
        crowd = await asyncio.gather(*(asked(raw_or_not[i % len(raw_or_not)]) for i in range(50)))
        print(json.dumps({
            "live": await client.is_server_live(), "ready": await client.is_server_ready(), "model ready": await client.is_model_ready("e"),
            "no model ready": await client.is_model_ready("nobody"), "answers": answers, "crowd": all(each in answers for each in crowd),
            "no model": await refused(client.infer(request(True, model="nobody"))), "no input": await refused(client.infer(request(True, name="z"))),
            "no output": await refused(client.infer(request(True, output="z"))),
            "no time": await refused(client.infer(request(True), headers=(("x-xebec-deadline-ms", "soon"),))),
            "sequence": await refused(client.infer(request(True, parameters={"sequence_id": 7}))),
        }))


asyncio.run(main())
