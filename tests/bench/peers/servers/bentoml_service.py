"""The BentoML services: one that gathers rows of many requests ($BENCH_ROWS > 1), and one that does not."""
import os

import bentoml
import numpy
from bench_model import LENGTHS, load_from_environment
from bentoml.validators import DType, Shape
from typing import Annotated

ROWS, WORKERS, SLO_MS = int(os.environ["BENCH_ROWS"]), int(os.environ["BENCH_WORKERS"]), 20
Rows = Annotated[numpy.ndarray, DType("float32"), Shape((-1, LENGTHS[os.environ["BENCH_MODEL"]]))]


@bentoml.service(workers=WORKERS, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Service:
    def __init__(self):
        self.model = load_from_environment()

    @bentoml.api(batchable=ROWS > 1, max_batch_size=max(ROWS, 2), max_latency_ms=10 * SLO_MS)
    def predict(self, rows: Rows) -> numpy.ndarray:
        return self.model(rows)
