"""LitServe: `python litserve_api.py PORT WORKERS ROWS WAIT_SECONDS`; ROWS 1: no batching."""
import sys

import litserve
import numpy
from bench_model import load_from_environment


class OneByOne(litserve.LitAPI):
    def setup(self, device):
        self.model = load_from_environment()

    def decode_request(self, request):
        return numpy.array(request["input"], "f4")

    def predict(self, row):
        return self.model(row[numpy.newaxis])[0]

    def encode_response(self, answer):
        return {"output": answer.tolist()}


class Batched(OneByOne):
    def batch(self, rows):
        return numpy.stack(rows)

    def predict(self, rows):
        return self.model(rows)

    def unbatch(self, answers):
        return list(answers)


if __name__ == "__main__":
    port, workers, rows, wait = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    api = Batched(max_batch_size=rows, batch_timeout=wait) if rows > 1 else OneByOne()
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=workers, fast_queue=True)
    server.run(host="127.0.0.1", port=port, num_api_servers=workers, log_level="warning", generate_client_file=False,
               access_log=False)
