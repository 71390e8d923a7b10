"""LitServe: an API server and a model process for each core, ZeroMQ between them, batches for what gains by them.

Tuned by the docstring of LitServer ("workers_per_device: for CPU, the number of cores"; "fast_queue: for more than 100
requests a second") and "Batching" of LitServe's documentation.
"""
from .peer import CORES, SERVERS, Peer
from .tuning import BATCH, WAIT_SECONDS


class LitServe(Peer):
    name = "litserve"

    def start(self, run):
        run.start(self.bin("python"), SERVERS / "litserve_api.py", run.port, CORES, BATCH[run.model.name], WAIT_SECONDS)
