"""Asks a worker as the gateway does; runs inside the xebec/python image: ask_worker.py ADDRESS INPUT=JSON ... -> JSON"""
import json
import sys

import grpc
import numpy
from xebec_worker.tensor import DTYPES, Tensor, decode, encode, pb

WORKER = "/xebec.worker.v1.Worker"


def main(address, *assignments):
    values = {name: json.loads(text) for name, _, text in (word.partition("=") for word in assignments)}
    with grpc.insecure_channel(address) as channel:
        def call(method, request=b""):
            return channel.unary_unary(method)(request, timeout=20)

        health = call("/grpc.health.v1.Health/Check")
        described = pb.DescribeResponse.FromString(call(f"{WORKER}/Describe"))
        response = pb.PredictResponse.FromString(call(f"{WORKER}/Predict", request_of(described, values).SerializeToString()))
    print(json.dumps({
        "health": "SERVING" if health == b"\x08\x01" else repr(health), "version": f"{described.model}@{described.version}",
        "metadata": dict(described.metadata), "digest": described.digest,
        "outputs": {spec.name: plain(spec, data) for spec, data in zip(response.outputs, response.data)},
        "errors": {error.row: error.message for error in response.errors}}))


def request_of(described, values):
    request = pb.PredictRequest(id=1)
    for spec in described.inputs:
        text = spec.datatype == pb.BYTES
        items = [item.encode() for item in values[spec.name]] if text else values[spec.name]
        array = numpy.array(items, DTYPES[pb.Datatype.Name(spec.datatype)])
        request.inputs.add(name=spec.name, datatype=spec.datatype, shape=array.shape)
        request.data.append(encode(array))
    return request


def plain(spec, data):
    array = decode(Tensor(pb.Datatype.Name(spec.datatype), [-1, *spec.shape[1:]]), spec, data)
    return [item.decode() for item in array.flat] if array.dtype == object else array.tolist()


main(*sys.argv[1:])
