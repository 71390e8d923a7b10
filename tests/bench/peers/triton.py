"""Triton: the tritonserver that PyPI's nvidia-pytriton wheel carries, with the backend that it carries: Python's.

Tuned by "Batchers" and "Concurrent model execution" of Triton's documentation: an instance for each core, the dynamic
batcher with its defaults, which does not delay a row.
"""
from . import v2
from .peer import CORES, SERVERS, Peer

CONFIG = """
backend: "python"
max_batch_size: 128
input [ {{ name: "x" data_type: TYPE_FP32 dims: [ {floats} ] }} ]
output [ {{ name: "y" data_type: {type} dims: [ {dims} ] {reshape} }} ]
instance_group [ {{ kind: KIND_CPU count: {cores} }} ]
dynamic_batching {{ }}
"""


class Triton(Peer):
    name = "triton"
    path = "/v2/models/m/infer"

    @property
    def packages(self):
        return self.venv / "lib/python3.11/site-packages"

    @property
    def server(self):
        return self.packages / "pytriton/tritonserver"

    def install(self):
        """The wheel has a stub for each Python, and leaves it to who starts the server to put one where it is looked for."""
        renewed = super().install()
        if renewed:
            stub = self.server / "backends/python/triton_python_backend_stub"
            stub.symlink_to(self.server / "python_backend_stubs/3.11/triton_python_backend_stub")
        return renewed

    def start(self, run):
        echo = run.model.name == "noop"
        run.write("repository/m/config.pbtxt", CONFIG.format(
            floats=run.model.floats, cores=CORES, type="TYPE_FP32" if echo else "TYPE_INT64", dims=4 if echo else 1,
            reshape="" if echo else "reshape { shape: [ ] }"))
        run.write("repository/m/1/model.py", (SERVERS / "triton_model.py").read_text())
        run.start(self.server / "bin/tritonserver", "--model-repository", run.folder / "repository", "--backend-directory",
                  self.server / "backends", "--http-address", "127.0.0.1", "--http-port", run.port, "--allow-grpc", "false",
                  "--allow-metrics", "false", "--log-info", "false", PYTHONPATH=f"{SERVERS}:{self.packages}")

    def body(self, row):
        return v2.body(row)

    def answer(self, answer):
        return v2.data(answer)
