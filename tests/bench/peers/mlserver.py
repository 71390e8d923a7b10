"""MLServer: its scikit-learn runtime for the SVM and the forest, custom runtimes for the no-op and ONNX; adaptive batching.

uvloop is held at 0.21: the pool's processes of MLServer 1.7.1 do not start with a later one.

Tuned by "Adaptive Batching" and "Parallel Inference" of MLServer's documentation: a pool of processes pays for a model
that keeps a core busy, the forest; where a call takes less than handing it over, parallel_workers is 0, as that page says.
"""
from . import v2
from .peer import CORES, Peer
from .tuning import BATCH, WAIT_SECONDS

POOL = {"noop": 0, "svm": 0, "forest": CORES, "cnn": 0}


class MLServer(Peer):
    name = "mlserver"
    path = "/v2/models/m/infer"

    def start(self, run):
        model = run.model.name
        run.write("settings.json", {"debug": False, "host": "127.0.0.1", "http_port": run.port, "grpc_port": run.spare_port(),
                                    "metrics_endpoint": None, "parallel_workers": POOL[model], "gzip_enabled": False})
        own = model in ("svm", "forest")
        settings = {"name": "m", "implementation": "mlserver_sklearn.SKLearnModel" if own else "mlserver_model.BenchModel",
                    "parameters": {"uri": str(run.file(f"{model}.joblib"))} if own else {}}
        if BATCH[model] > 1:
            settings |= {"max_batch_size": BATCH[model], "max_batch_time": WAIT_SECONDS}
        run.write("model-settings.json", settings)
        run.start(self.bin("mlserver"), "start", run.folder)

    def body(self, row):
        return v2.body(row)

    def answer(self, answer):
        return v2.data(answer)
