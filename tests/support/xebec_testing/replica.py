"""
The puppet's own program: replica.py UNIX_ADDRESS TCP_PORT SCRIPT. It speaks worker.proto from the bytes up, knows
nothing of the SDKs, and does as the script says:

    model, version, digest, max_rows, inputs, outputs     what Describe answers; tensors as {name: [datatype, shape, encoding]}
    serving: false              health says NOT_SERVING
    delay_ms: N                 every Predict takes this long
    mode: NAME                  how Predict answers: a function of MODES
    times: N                    ... that many times, echo afterwards
    words: "..."                what it says when it raises
    bad: N                      raise_rows, skew: rows that start with N; skew: none is every row
    by: N                       skew: what they are off by; "nan" makes them that
    size: N                     vast: floats in a row; bulky: bytes

Every mode but echo and those for outputs is a misbehaviour that the gateway must survive.
"""
import json
import os
import sys
import threading
import time
from concurrent import futures

import grpc
import health_pb2
import numpy
import worker_pb2 as pb

DTYPES = {pb.BOOL: "?", pb.UINT8: "u1", pb.UINT16: "<u2", pb.UINT32: "<u4", pb.UINT64: "<u8", pb.INT8: "i1",
          pb.INT16: "<i2", pb.INT32: "<i4", pb.INT64: "<i8", pb.FP16: "<f2", pb.FP32: "<f4", pb.FP64: "<f8",
          pb.BF16: "<u2"}
SCRIPT = {"model": "m", "version": "v1", "digest": "d1", "max_rows": 0, "inputs": {"x": ["FP32", [-1, -1]]},
          "outputs": {"y": ["FP32", [-1, -1]]}, "serving": True, "delay_ms": 0, "mode": "echo", "times": None,
          "words": "the model is not amused", "bad": None, "by": 1, "size": 64 << 20}


# --- tensors -------------------------------------------------------------------------------------

def decode(spec, data):
    if spec.datatype != pb.BYTES:
        return numpy.frombuffer(data, DTYPES[spec.datatype]).reshape(spec.shape)
    items, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at:at + 4], "little")
        items.append(data[at + 4:at + 4 + length])
        at += 4 + length
    array = numpy.empty(len(items), object)
    array[:] = items
    return array.reshape(spec.shape)


def encode(array):
    if array.dtype != object:
        return array.tobytes()
    return b"".join(len(item).to_bytes(4, "little") + item for item in array.flat)


def add_output(response, name, array, datatype, encoding=pb.TEXT):
    response.outputs.add(name=name, datatype=datatype, shape=array.shape, encoding=encoding)
    response.data.append(encode(array))


# --- how Predict answers: each a function of (puppet, call) -> PredictResponse or bytes ------------

def echo(puppet, call):
    """Output i is input i, under the output's name; outputs that were not asked for are left out."""
    response = pb.PredictResponse()
    for (name, declared), (spec, array) in zip(puppet.script["outputs"].items(), call.tensors):
        if not call.request.outputs or name in call.request.outputs:
            add_output(response, name, array, spec.datatype, pb.Encoding.Value(declared[2]))
    return response


def skew(puppet, call):
    """Rows are off by something."""
    response = pb.PredictResponse()
    for (name, _), (spec, array) in zip(puppet.script["outputs"].items(), call.tensors):
        array = array.copy()
        for row, first in enumerate(call.entry["first"]):
            if puppet.script["bad"] in (None, first):
                array[row] += array.dtype.type(puppet.script["by"])
        add_output(response, name, array, spec.datatype)
    return response


def moody(puppet, call):
    """No two answers are alike: each call adds what came before it."""
    response = pb.PredictResponse()
    for (name, _), (spec, array) in zip(puppet.script["outputs"].items(), call.tensors):
        add_output(response, name, array + array.dtype.type(len(puppet.calls)), spec.datatype)
    return response


def sums(puppet, call):
    """One number a row."""
    name = next(iter(puppet.script["outputs"]))
    response = pb.PredictResponse()
    add_output(response, name, call.tensors[0][1].sum(axis=1, dtype="<f4"), pb.FP32)
    return response


def sizes(puppet, call):
    """How many bytes each row has, as INT64."""
    name = next(iter(puppet.script["outputs"]))
    response = pb.PredictResponse()
    rows = [row.nbytes if row.dtype != object else sum(map(len, row.flat))
            for row in call.tensors[0][1].reshape(call.entry["rows"], -1)]
    add_output(response, name, numpy.array(rows, "<i8"), pb.INT64)
    return response


def vast(puppet, call):
    """Rows of 0, 1, 2 and so on, far more than was asked about."""
    name = next(iter(puppet.script["outputs"]))
    response = pb.PredictResponse()
    add_output(response, name, numpy.tile(numpy.arange(puppet.script["size"], dtype="<f4"), (call.entry["rows"], 1)), pb.FP32)
    return response


def negated(puppet, call):
    """Not the echo: so an answer tells which of two models gave it."""
    response = pb.PredictResponse()
    name = next(iter(puppet.script["outputs"]))
    add_output(response, name, -call.tensors[0][1], pb.FP32)
    return response


def document(puppet, call):
    """A JSON document a row, as BYTES with encoding JSON: {"row": its first element}."""
    name = next(iter(puppet.script["outputs"]))
    items = [json.dumps({"row": first, "tags": ["a", None]}).encode() for first in call.entry["first"]]
    array = numpy.empty(len(items), object)
    array[:] = items
    response = pb.PredictResponse()
    add_output(response, name, array, pb.BYTES, pb.JSON)
    return response


def stall(puppet, call):
    """Until released or cancelled."""
    with puppet.lock:
        while call.context.is_active() and puppet.releases == call.releases:
            puppet.released.wait(0.005)
    return echo(puppet, call)


def wrong_rows(puppet, call):
    response = pb.PredictResponse()
    for (name, _), (spec, array) in zip(puppet.script["outputs"].items(), call.tensors):
        add_output(response, name, numpy.concatenate([array, array[:1]]), spec.datatype)
    return response


def wrong_type(puppet, call):
    response = echo(puppet, call)
    response.outputs[0].datatype = pb.INT32
    return response


def wrong_name(puppet, call):
    response = echo(puppet, call)
    response.outputs[0].name = "somebody_else"
    return response


def wrong_size(puppet, call):
    """The shape promises more bytes than there are."""
    response = echo(puppet, call)
    response.data[0] = response.data[0][:-1]
    return response


def bulky(puppet, call):
    """64 MiB, or more, where a few bytes were due."""
    return b"\x00" * puppet.script["size"]


def garbage_bytes(puppet, call):
    return b"\xff\xfe not protobuf at all \x00" * 3


def raise_all(puppet, call):
    call.context.abort(grpc.StatusCode.UNKNOWN, puppet.script["words"])


def reject(puppet, call):
    """The model finds that the input is not one for it."""
    call.context.abort(grpc.StatusCode.INVALID_ARGUMENT, puppet.script["words"])


def raise_rows(puppet, call):
    response = echo(puppet, call)
    for row, first in enumerate(call.entry["first"]):
        if first == puppet.script["bad"]:
            response.errors.add(row=row, message=puppet.script["words"])
    return response


def wrong_error_row(puppet, call):
    response = echo(puppet, call)
    response.errors.add(row=call.entry["rows"] + 7, message="a row that nobody sent")
    return response


def shed(puppet, call):
    call.context.abort(grpc.StatusCode.UNAVAILABLE, "not now")


def die_mid_call(puppet, call):
    os.kill(os.getpid(), 9)


MODES = {mode.__name__: mode for mode in (echo, skew, moody, sums, sizes, vast, negated, document, stall, wrong_rows, wrong_type, wrong_name, wrong_size,
                                          bulky, garbage_bytes, raise_all, reject, raise_rows, wrong_error_row, shed,
                                          die_mid_call)}


# --- the replica ---------------------------------------------------------------------------------

def plain(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value.item()


class Call:
    def __init__(self, payload, context, releases):
        self.releases = releases  # how many there were when it came: the next one is for it
        self.request, self.context = pb.PredictRequest.FromString(payload), context
        self.tensors = [(spec, decode(spec, data)) for spec, data in zip(self.request.inputs, self.request.data)]
        firsts = self.tensors[0][1].reshape(self.tensors[0][1].shape[0], -1)
        self.entry = {"rows": int(self.tensors[0][1].shape[0]), "first": [plain(row[0]) for row in firsts],
                      "inputs": {spec.name: [pb.Datatype.Name(spec.datatype), list(spec.shape)]
                                 for spec in self.request.inputs},
                      "outputs": list(self.request.outputs), "ended": None}


class Replica:
    def __init__(self, script):
        self.lock = threading.RLock()
        self.released, self.releases = threading.Condition(self.lock), 0
        self.calls = []
        self.play(script)

    # orders
    def play(self, script):
        with self.lock:
            self.script = {**SCRIPT, **script}
            for field in ("inputs", "outputs"):
                self.script[field] = {name: (*spec, "TEXT")[:3] for name, spec in self.script[field].items()}

    def obey(self, order):
        if "play" in order:
            self.play(order["play"])
        elif "release" in order:
            with self.lock:
                self.releases += 1
                self.released.notify_all()
        elif "forget" in order:
            self.calls = []
        return {"calls": self.calls} if "calls" in order else {}

    # what the gateway asks
    def describe(self, _, __):
        script = self.script
        reply = pb.DescribeResponse(model=script["model"], version=script["version"], digest=script["digest"],
                                    max_rows=script["max_rows"])
        for field in ("inputs", "outputs"):
            for name, (datatype, shape, encoding) in script[field].items():
                getattr(reply, field).add(name=name, datatype=pb.Datatype.Value(datatype), shape=shape,
                                          encoding=pb.Encoding.Value(encoding))
        return reply.SerializeToString()

    def health(self, _, __):
        serving = health_pb2.HealthCheckResponse.SERVING if self.script["serving"] else 2
        return health_pb2.HealthCheckResponse(status=serving).SerializeToString()

    def next_mode(self):
        with self.lock:
            if self.script["times"] is not None:
                self.script["times"] -= 1
                if self.script["times"] < 0:
                    return echo
            return MODES[self.script["mode"]]

    def predict(self, payload, context):
        call = Call(payload, context, self.releases)
        self.calls.append(call.entry)
        mode = self.next_mode()
        time.sleep(self.script["delay_ms"] / 1000)
        try:
            response = mode(self, call)
        finally:
            call.entry["ended"] = "answered" if context.is_active() else "cancelled"
        return response if isinstance(response, bytes) else response.SerializeToString()

    def handlers(self):
        unary = grpc.unary_unary_rpc_method_handler
        return (grpc.method_handlers_generic_handler("xebec.worker.v1.Worker", {
                    "Describe": unary(self.describe), "Predict": unary(self.predict)}),
                grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": unary(self.health)}))


def main(unix, port, script):
    replica = Replica(json.loads(script))
    server = grpc.server(futures.ThreadPoolExecutor(64), options=[("grpc.max_receive_message_length", -1),
                                                                  ("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers(replica.handlers())
    server.add_insecure_port(unix)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print(json.dumps({"port": port}), flush=True)
    for line in sys.stdin:
        print(json.dumps(replica.obey(json.loads(line))), flush=True)
    os._exit(0)


main(*sys.argv[1:])
