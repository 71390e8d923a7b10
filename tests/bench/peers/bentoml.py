"""BentoML: a worker for each core, adaptive batching for what gains by it.

Tuned by "Workers" and "Adaptive batching" of BentoML's documentation. max_latency_ms is not an objective but where it
answers 503 instead, so it stands at ten times ours; the dispatcher finds window and batch by itself.
"""
import json

from .peer import CORES, SERVERS, Peer
from .tuning import BATCH


class BentoML(Peer):
    name = "bentoml"

    def start(self, run):
        run.start(self.bin("bentoml"), "serve", "bentoml_service:Service", "--working-dir", SERVERS, "--host", "127.0.0.1",
                  "--port", run.port, BENCH_WORKERS=CORES, BENCH_ROWS=BATCH[run.model.name], BENTOML_HOME=run.folder,
                  BENTOML_DO_NOT_TRACK="True")

    def body(self, row):
        return {"rows": [row]}

    def answer(self, answer):
        return f"[{json.dumps(answer)}]"
