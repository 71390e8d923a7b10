"""Ray Serve: `python ray_app.py PORT REPLICAS ROWS WAIT_SECONDS`; ROWS 1: no batching. Until SIGTERM."""
import os
import signal
import sys

import numpy
import ray
from bench_model import load_from_environment
from ray import serve

PORT, REPLICAS, ROWS, WAIT = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])


class OneByOne:
    def __init__(self):
        self.model = load_from_environment()

    async def __call__(self, request):
        row = numpy.array((await request.json())["input"], "f4")
        return {"output": (await self.answer(row)).tolist()}

    async def answer(self, row):
        return self.model(row[numpy.newaxis])[0]


class Batched(OneByOne):
    @serve.batch(max_batch_size=ROWS, batch_wait_timeout_s=WAIT)
    async def answer(self, rows):
        return list(self.model(numpy.stack(rows)))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    passed_on = {name: value for name, value in os.environ.items() if name.startswith("BENCH_") or name == "PYTHONPATH"}
    ray.init(num_cpus=REPLICAS, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": passed_on})
    serve.start(http_options={"host": "127.0.0.1", "port": PORT}, logging_config={"enable_access_log": False})
    deployment = serve.deployment(Batched if ROWS > 1 else OneByOne, num_replicas=REPLICAS, max_ongoing_requests=1000,
                                  ray_actor_options={"num_cpus": 0.5}, logging_config={"enable_access_log": False})
    try:
        serve.run(deployment.bind(), route_prefix="/predict")
        signal.pause()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
