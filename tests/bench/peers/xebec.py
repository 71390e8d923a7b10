"""Xebec: the gateway of the release build, and its ready-made containers' code as processes, a replica for each core.

Python's peers are held against Python replicas: containers/sklearn for the SVM and the forest, containers/onnx for the CNN,
and the Python SDK (servers/xebec_noop.py) for the no-op. XebecC is the no-op once more with the C SDK's xebec-echo: what is
left of the cost when the model is not in Python.
"""
from .peer import CORES, ROOT, SERVERS, SLO_MS, Peer, compact

CONTAINERS = ROOT / "containers"
RELEASE = ROOT / "build/release"
CONFIG = """
listen: 127.0.0.1:{port}
admin: 127.0.0.1:{admin}
log: {{level: warn}}
models:
  m:
    input: {{{input}: {{datatype: FP32, shape: [-1, {floats}]}}}}
    versions: {{v: {{replicas: {replicas}}}}}
    cache: off
endpoints:
  predict: {{slo: {slo}ms, model: m@v}}
"""


class Xebec(Peer):
    name = "xebec"
    path = "/predict/predict"
    requirements = [CONTAINERS / f"{folder}/requirements.txt" for folder in ("python", "sklearn", "onnx")]

    def start(self, run):
        addresses = [f"unix:{run.folder}/{n}.sock" for n in range(CORES)]
        for address in addresses:
            self.start_replica(run, address)
        run.write("xebec.yaml", CONFIG.format(port=run.port, admin=run.spare_port(), input=self.input(run.model),
                                              floats=run.model.floats, replicas=compact(addresses), slo=SLO_MS))
        run.start(RELEASE / "xebec", "serve", "--config", run.folder / "xebec.yaml")

    def start_replica(self, run, address):
        model = run.model.name
        path = {"PYTHONPATH": ":".join(str(CONTAINERS / f"{folder}/src") for folder in ("python", "sklearn", "onnx"))}
        same = ["--name", "m", "--version", "v", "--listen", address]
        if model == "noop":
            run.start(self.bin("python"), SERVERS / "xebec_noop.py", address, **path)
        elif model == "cnn":
            run.start(self.bin("python"), "-m", "xebec_onnx", "--model-path", run.file("cnn.onnx"), *same, **path)
        else:
            run.start(self.bin("python"), "-m", "xebec_sklearn", "--model-path", run.file(f"{model}.joblib"), *same, **path)

    def input(self, model):
        return "x" if model.name in ("noop", "cnn") else "features"


class XebecC(Xebec):
    name = "xebec-c"
    models = ("noop",)

    def install(self):
        return False

    def start_replica(self, run, address):
        run.start(RELEASE / "bin/xebec-echo", "--listen", address, "--model", "m", "--version", "v", "--input", "x:FP32:-1,4",
                  "--max-rows", 65536, "--digest", "noop")
