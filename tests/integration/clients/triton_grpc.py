"""
Run by test_oip_grpc.py in a Python that has tritonclient: triton_grpc.py ADDRESS DATATYPE ROWS [COMPRESSION]

Asks endpoint e what it is and then to answer ROWS, as Triton's users do, with its plain client and its asyncio one; asks the
standard health and reflection services with gRPC's own clients; and prints what it was told as JSON.
"""
import asyncio
import json
import queue
import sys

import grpc
import numpy
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.utils import InferenceServerException, triton_to_np_dtype


def refused(ask, *arguments, **more):
    try:
        ask(*arguments, **more)
    except InferenceServerException as refusal:
        return refusal.status(), refusal.message()
    raise AssertionError("it was not refused")


def tensor(array, datatype):
    given = triton.InferInput("x", array.shape, datatype)
    given.set_data_from_numpy(array)
    return [given]


def is_same(result, array):
    answer = result.as_numpy("y")
    return answer.shape == array.shape and list(answer.flat) == list(array.flat)


def stream_refused(client, inputs):
    """What a stream of requests ends with."""
    heard = queue.Queue()
    client.start_stream(lambda result, error: heard.put(error))
    try:
        client.async_stream_infer("e", inputs)
    except InferenceServerException:
        pass  # it has ended already
    error = heard.get(timeout=10)
    client.stop_stream()
    return error.status()


async def ask_aio(address, array, datatype):
    async with triton_aio.InferenceServerClient(address) as client:
        assert await client.is_server_ready() and await client.is_model_ready("e")
        answers = await asyncio.gather(*(client.infer("e", tensor(array, datatype), client_timeout=10) for _ in range(20)))
        return all(is_same(answer, array) for answer in answers)


def health(channel, service):
    stub = health_pb2_grpc.HealthStub(channel)
    try:
        return health_pb2.HealthCheckResponse.ServingStatus.Name(stub.Check(health_pb2.HealthCheckRequest(service=service)).status)
    except grpc.RpcError as error:
        return error.code().name


def watch(channel):
    try:
        list(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()))
    except grpc.RpcError as error:
        return error.code().name


def ask(client, channel, address, array, datatype, compression):
    inputs = tensor(array, datatype)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("e") and client.is_model_ready("e", "v1")
    assert not client.is_model_ready("nobody")
    answer = client.infer("e", inputs, outputs=[triton.InferRequestedOutput("y")], request_id="7", compression_algorithm=compression)
    named = client.infer("e", inputs, model_version="v1", client_timeout=10, headers={"x-xebec-priority": "high"})
    reply = answer.get_response(as_json=True)
    database = ProtoReflectionDescriptorDatabase(channel)
    return {
        "server": client.get_server_metadata(as_json=True), "model": client.get_model_metadata("e", as_json=True),
        "config": client.get_model_config("e", as_json=True), "index": client.get_model_repository_index(as_json=True),
        "same": [is_same(answer, array), is_same(named, array), asyncio.run(ask_aio(address, array, datatype))],
        "names": [reply["model_name"], reply["model_version"], reply["id"]], "raw": len(reply["raw_output_contents"]),
        "no model": refused(client.get_model_metadata, "nobody"), "no version": refused(client.infer, "e", inputs, model_version="nine"),
        "unknown output": refused(client.infer, "e", inputs, outputs=[triton.InferRequestedOutput("z")]),
        "load": refused(client.load_model, "e"), "statistics": [client.get_inference_statistics(*names, as_json=True)["model_stats"] for names in (("e",), ("e", "v1"), ())],
        "no statistics": refused(client.get_inference_statistics, "nobody"),
        "stream": stream_refused(client, inputs),
        "health": {service: health(channel, service) for service in ("", "e", "inference.GRPCInferenceService", "nobody")},
        "watch": watch(channel), "services": sorted(database.get_services()),
        "file": database.FindFileContainingSymbol("inference.ModelInferRequest.InferInputTensor").name,
    }


def main():
    address, datatype, rows, compression = (*sys.argv[1:], None)[:4]
    array = numpy.array(json.loads(rows), dtype=triton_to_np_dtype(datatype))
    if datatype == "BYTES":
        array = numpy.vectorize(str.encode, otypes=[object])(array)
    with triton.InferenceServerClient(address) as client, grpc.insecure_channel(address) as channel:  # else their threads may hold up the end
        print(json.dumps(ask(client, channel, address, array, datatype, compression)))


main()
