"""A Python worker in a process of its own, on a unix socket, and a client that speaks worker.proto to it."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import grpc
import numpy

from . import REPOSITORY
from .patience import wait_until

SOURCES = [REPOSITORY / "containers" / name / "src" for name in ("python", "sklearn", "onnx", "mlflow")]
PYTHON = "/usr/bin/python3"

sys.path[:0] = map(str, SOURCES)
from xebec_worker.tensor import DTYPES, encode, pb  # noqa: E402


class Worker:
    """with Worker(directory, script) as worker: the script serves on listen="unix:worker.sock" in `directory`."""

    def __init__(self, directory, *command, sources=SOURCES, listen=None, python=PYTHON, **environment):
        self.directory = pathlib.Path(directory)
        self.listen = listen or f"unix:{self.directory}/worker.sock"
        self.errors = self.directory / "stderr"
        environment = {**os.environ, "PYTHONPATH": ":".join(map(str, sources)), **environment}
        with open(self.errors, "wb") as stderr:
            self.process = subprocess.Popen([python, *map(str, command)], cwd=self.directory, env=environment,
                                            stderr=stderr)
        self.channel = None

    def __enter__(self):
        try:
            self._wait_until_serving()
        except BaseException:
            self.__exit__()
            raise
        self.channel = grpc.insecure_channel(self.listen, options=[
            ("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20),
            ("grpc.use_local_subchannel_pool", 1)])
        return self

    def __exit__(self, *_):
        if self.channel:
            self.channel.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _wait_until_serving(self):
        ended_or_serving = wait_until(lambda: self.process.poll() is not None or self.events("serving"), "a worker to serve")
        assert self.process.poll() is None, self.errors.read_text()
        if not self.listen.startswith("unix:"):
            self.listen = ended_or_serving[0]["listen"]

    def events(self, name):
        """The JSON log lines of one event so far."""
        lines = [json.loads(line) for line in self.errors.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def terminate(self):
        """SIGTERM. -> (exit status, seconds it took)"""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10), time.monotonic() - start

    def call(self, method, request=b"", **options):
        return self.channel.unary_unary(method)(request, timeout=20, **options)

    def describe(self):
        return pb.DescribeResponse.FromString(self.call("/xebec.worker.v1.Worker/Describe"))

    def health(self, service=b""):
        request = b"\x0a" + bytes([len(service)]) + service if service else b""
        return self.call("/grpc.health.v1.Health/Check", request)

    def predict(self, outputs=(), **inputs):
        """-> (arrays by output name, {row: message} of failed rows)"""
        return self.answer(self.predict_later(outputs, **inputs))

    def predict_later(self, outputs=(), timeout=20, **inputs):
        """A grpc future for answer()."""
        request = pb.PredictRequest(id=7, outputs=outputs)
        for name, array in inputs.items():
            datatype = next(key for key, dtype in DTYPES.items() if dtype == array.dtype)
            request.inputs.add(name=name, datatype=datatype, shape=array.shape)
            request.data.append(encode(array))
        predict = self.channel.unary_unary("/xebec.worker.v1.Worker/Predict")
        return predict.future(request.SerializeToString(), timeout=timeout)

    @staticmethod
    def answer(future):
        response = pb.PredictResponse.FromString(future.result())
        return ({spec.name: _array(spec, data) for spec, data in zip(response.outputs, response.data)},
                {error.row: error.message for error in response.errors})


def _array(spec, data):
    """Read independently of the SDK's own decoder."""
    datatype = pb.Datatype.Name(spec.datatype)
    if datatype != "BYTES":
        return numpy.frombuffer(data, DTYPES[datatype]).reshape(spec.shape)
    items = []
    while data:
        length = int.from_bytes(data[:4], "little")
        items.append(data[4:4 + length])
        data = data[4 + length:]
    array = numpy.empty(len(items), object)
    array[:] = items
    return array.reshape(spec.shape)


def bytes_array(items):
    array = numpy.empty(len(items), object)
    array[:] = items
    return array


def declared(specs):
    """One side of a Describe, to compare: [(name, datatype, shape)]."""
    return [(spec.name, pb.Datatype.Name(spec.datatype), list(spec.shape)) for spec in specs]


def configured(specs):
    """One side of a Describe as the gateway's configuration of a model's `input` or `output`."""
    return {spec.name: {"datatype": pb.Datatype.Name(spec.datatype), "shape": list(spec.shape),
                        **({"encoding": pb.Encoding.Name(spec.encoding).lower()} if spec.datatype == pb.BYTES else {})}
            for spec in specs}


def refused(worker):
    """What a worker says that can't start."""
    try:
        with worker:
            raise RuntimeError("it serves")
    except AssertionError as ended:
        return str(ended)
