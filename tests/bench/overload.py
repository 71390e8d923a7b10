"""More is asked than a model can answer: rows answered in time a second, and how late the others were, through the real gateway.

    /usr/bin/python3 tests/bench/overload.py [--seconds 4]

The model (tests/bench/slow_model) sleeps 20 ms a call and 1 ms a row, 32 rows at most, so it can answer 615 rows a second
in full batches; the objective is 400 ms. The client is open-loop: requests of 4 rows go when their time comes, on as many
connections as it takes, and are timed from when they were due. It shares the cores with the gateway: what it adds
is counted.
"""
import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from xebec_testing.gateway import Gateway, one_model  # noqa: E402
from xebec_testing.http_client import encode_request  # noqa: E402
from xebec_testing.patience import wait_until  # noqa: E402

MODEL = ROOT / "build/release/tests/bench/slow_model"
FIXED_US, ROW_US, MAX_ROWS, SLO = 20_000, 1_000, 32, 0.4
CAPACITY = MAX_ROWS / (FIXED_US + ROW_US * MAX_ROWS) * 1e6  # rows a second, in full batches
ROWS = 4  # a request
WARM_UP = 1.5  # seconds, not counted


class Load:
    """Open-loop: requests go when their time comes, whether others were answered or not."""

    def __init__(self, port):
        self.port, self.idle, self.answers = port, [], []

    async def ask(self, stream, path, headers, due):
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(encode_request("POST", path, {"input_batch": [[1, 2, 3, 4]] * ROWS}, headers))
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        self.answers.append((stream, int(head.split()[1]), time.monotonic() - due))
        self.idle.append((reader, writer))

    async def run(self, stream, rows_a_second, seconds, path="/e/predict", headers=()):
        dice, asked, due = random.Random(stream), [], time.monotonic()
        end = due + seconds
        while (due := due + dice.expovariate(rows_a_second / ROWS)) < end:
            await asyncio.sleep(max(0, due - time.monotonic()))
            asked.append(asyncio.create_task(self.ask(stream, path, headers, due)))
        await asyncio.gather(*asked)


def measure(gateway, seconds, *streams, warm_up=WARM_UP):
    """Each stream's answers [(status, seconds)], of (rows a second, path, headers) each."""
    async def play():
        load = Load(gateway.port)
        for duration in (warm_up, seconds):
            load.answers = []
            await asyncio.gather(*(load.run(i, rate, duration, *more) for i, (rate, *more) in enumerate(streams)))
        for _, writer in load.idle:
            writer.close()
        return load.answers
    answers = asyncio.run(play())
    return [[(status, took) for stream, status, took in answers if stream == i] for i in range(len(streams))]


def percentile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))] if values else float("nan")


def say(what, asked, answers, seconds):
    admitted = [took for status, took in answers if status != 429]
    refused = [took for status, took in answers if status == 429]
    in_time = sum(ROWS for status, took in answers if status == 200 and took <= SLO) / seconds
    print(f"{what:44} {asked:7.0f} {in_time:8.0f} {in_time / CAPACITY:8.2f} {percentile(admitted, .99) * 1e3:9.0f} "
          f"{len(refused) / max(1, len(answers)):8.0%} {percentile(refused, .5) * 1e3:9.1f}", flush=True)


def run_all(start, seconds):
    print(f"{'':44} {'asked':>7} {'in time':>8} {'of peak':>8} {'p99 ms':>9} {'refused':>8} {'after ms':>9}")
    for policy in ("adaptive", "quantile", "aimd", "fixed"):
        gateway = start(policy)
        for times in (0.9, 1, 2, 10):
            (answers,) = measure(gateway, seconds, (times * CAPACITY,))
            say(f"{policy}, {times} of the peak", times * CAPACITY, answers, seconds)
        gateway.stop()
    gateway = start("adaptive", small={"share": 3})
    measure(gateway, seconds, (0.9 * CAPACITY,))  # as with the policies above: the model is known when too much comes
    flood, small = measure(gateway, seconds, (8 * CAPACITY,), (CAPACITY / 2, "/small/predict"))
    say("a flood, beside an endpoint of share 3", 8 * CAPACITY, flood, seconds)
    say("... that endpoint", CAPACITY / 2, small, seconds)
    gateway.stop()
    gateway = start("adaptive", bulk={"priority": "batch"})
    measure(gateway, seconds, (0.9 * CAPACITY,))
    bulk, high = measure(gateway, seconds, (4 * CAPACITY, "/bulk/predict"),
                         (CAPACITY / 2, "/e/predict", ["X-Xebec-Priority: high"]))
    say("batch, beside high", 4 * CAPACITY, bulk, seconds)
    say("... high", CAPACITY / 2, high, seconds)
    gateway.stop()
    gateway = start("adaptive")
    (answers,) = measure(gateway, seconds, (10 * CAPACITY,), warm_up=0)
    say("adaptive, 10 of the peak, just started", 10 * CAPACITY, answers, seconds)
    gateway.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        models, started = [], []

        def start(policy, **endpoints):
            socket = folder / f"{len(started)}.sock"
            models.append(subprocess.Popen([MODEL, f"unix:{socket}", "v1", str(FIXED_US), str(ROW_US)], stderr=subprocess.DEVNULL))
            wait_until(socket.exists, lambda: "the model's socket")
            config = one_model([f"unix:{socket}"], slo=f"{int(SLO * 1000)}ms", shards=1,
                               inputs={"x": {"datatype": "FP32", "shape": [-1, 4]}}, outputs={"y": {"datatype": "FP32", "shape": [-1]}},
                               model={"batching": {"policy": policy, "max_rows": MAX_ROWS}})
            for name, more in endpoints.items():
                config["endpoints"][name] = {**config["endpoints"]["e"], **more}
            directory = folder / f"gateway{len(started)}"
            directory.mkdir()
            started.append(Gateway(directory, json.dumps(config)))
            return started[-1].wait_ready()
        try:
            run_all(start, seconds)
        finally:
            for gateway in started:
                gateway.kill()
            for model in models:
                model.terminate()
                model.wait(30)


main()
