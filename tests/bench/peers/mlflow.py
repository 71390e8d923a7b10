"""`mlflow models serve`: a worker for each core; the scikit-learn and ONNX flavors, and a pyfunc for the no-op.

Tuned by "Deploy MLflow Model as a Local Inference Server" of MLflow's documentation: --workers is all that it offers.
"""
import json

from .peer import CORES, SERVERS, Peer


class MLflow(Peer):
    name = "mlflow"
    path = "/invocations"

    def start(self, run):
        run.do(self.bin("python"), SERVERS / "mlflow_save.py", run.folder / "model")
        run.start(self.bin("mlflow"), "models", "serve", "--model-uri", run.folder / "model", "--host", "127.0.0.1",
                  "--port", run.port, "--workers", CORES, "--env-manager", "local", MLFLOW_DISABLE_TELEMETRY="true",
                  PATH=f"{self.venv}/bin:/usr/bin:/bin")

    def body(self, row):
        return {"inputs": [row]}

    def answer(self, answer):
        """{"predictions": [3]}; where the model is ONNX, by the name of its output: {"predictions": {"label": [3]}}."""
        return f": [{json.dumps(answer)}]"
