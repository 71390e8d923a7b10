"""
Many mixed requests while replicas are killed, stopped and started again at random: each gets exactly one answer, the
right one or a typed error, and nothing is left over. Seeded: XEBEC_SOAK_SEED repeats a run as far as time allows.
"""
import collections
import multiprocessing
import os
import pathlib
import queue
import random
import signal
import subprocess
import threading
import time

import pytest
from xebec_testing import REPOSITORY
from xebec_testing.gateway import BINARY, TRANSPORT
from xebec_testing.patience import wait_until
from xebec_testing.soak import DEFAULT, ROWS_MOST, soak

ECHO = os.environ.get("XEBEC_ECHO", str(pathlib.Path(BINARY).parent / "bin/xebec-echo"))
REQUESTS = int(os.environ.get("XEBEC_SOAK_REQUESTS", "100000"))
SEED = int(os.environ.get("XEBEC_SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
SANITIZED = os.environ.get("XEBEC_SANITIZE", "") != ""
CLIENTS = 4
SECONDS = 600  # that only a hang reaches
RESIDENT_MIB = 200


class Echo:
    """A C echo replica that can be killed and started again."""

    def __init__(self, directory, name):
        self.address = f"unix:{directory}/{name}.sock"
        self.errors = open(directory / f"{name}.err", "ab")
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen([ECHO, "--listen", self.address, "--model", "echo", "--version", "1"],
                                        stdout=subprocess.DEVNULL, stderr=self.errors)

    def signal(self, number):
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def end(self):
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.errors.close()


class Trouble(threading.Thread):
    """Kills replicas, or stops them for a while; now and then all at once."""

    def __init__(self, replicas, seed):
        super().__init__()
        self.replicas, self.dice = replicas, random.Random(seed)
        self.over = threading.Event()
        self.done = collections.Counter()

    def run(self):
        while not self.over.wait(self.dice.uniform(0.02, 0.3)):
            chance = self.dice.random()
            if chance < 0.2:
                self.pause(self.dice.choice(self.replicas))
            else:
                self.kill(self.replicas if chance < 0.3 else [self.dice.choice(self.replicas)])

    def pause(self, replica):
        replica.signal(signal.SIGSTOP)
        self.over.wait(self.dice.uniform(0.05, 0.3))
        replica.signal(signal.SIGCONT)
        self.done["paused"] += 1

    def kill(self, replicas):
        for replica in replicas:
            replica.signal(signal.SIGKILL)
        self.over.wait(self.dice.uniform(0, 0.2))
        for replica in replicas:
            replica.start()
        self.done["killed"] += len(replicas)


@pytest.fixture
def replicas(tmp_path):
    held = [Echo(tmp_path, f"echo{number}") for number in range(2)]
    yield held
    for replica in held:
        replica.end()


def configuration(replicas):
    return {
        "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "shards": 2, "cache": {"memory": "4MiB"}, "transport": TRANSPORT,
        "models": {"echo": {"input": {"x": {"datatype": "FP32", "shape": [-1, 4]}},
                            "versions": {"1": {"replicas": [replica.address for replica in replicas]}},
                            "health": {"interval": "200ms", "timeout": "200ms"}, "retry": {"budget": "100%"}}},
        "endpoints": {"echo": {"slo": "10s", "model": "echo@1"},
                      "hasty": {"slo": "500us", "model": "echo@1", "default": {"x": DEFAULT}}},
    }


def run_clients(address):
    """-> (tallies added up, query ids, problems)"""
    context = multiprocessing.get_context("fork")
    reports = context.Queue()
    share = [REQUESTS // CLIENTS + (number < REQUESTS % CLIENTS) for number in range(CLIENTS)]
    clients = [context.Process(target=soak, args=(address, number, SEED, share[number], reports))
               for number in range(CLIENTS)]
    for client in clients:
        client.start()
    tally, ids, problems, until = collections.Counter(), [], [], time.monotonic() + SECONDS
    try:
        for _ in clients:
            _, counted, seen, problem = reports.get(timeout=max(1, until - time.monotonic()))
            tally.update(counted)
            ids += seen
            problems += [problem] if problem else []
    except queue.Empty:
        problems.append("a client did not end")
    for client in clients:
        if problems:
            client.kill()
        client.join()
    return tally, ids, problems


def test_soak(replicas, start_gateway):
    print(f"seed {SEED}, {REQUESTS} requests")
    gateway = start_gateway(configuration(replicas)).wait_ready()
    trouble = Trouble(replicas, SEED)
    trouble.start()
    started = time.monotonic()
    try:
        tally, ids, problems = run_clients(gateway.address)
    finally:
        trouble.over.set()
        trouble.join()
    print(f"{time.monotonic() - started:.1f} s, {dict(tally)}, replicas {dict(trouble.done)}")
    assert not problems, f"seed {SEED}: {problems}"
    assert max(collections.Counter(ids).values()) <= ROWS_MOST, "rows of one batch share a query id, requests never"
    failed = sum(tally[cause] for cause in ("no_replica", "slo_missed", "overloaded"))
    assert tally["right"] > 4 * failed, "most were answered: two replicas, and retries"
    check_nothing_is_left(gateway)
    check_counts(gateway.metrics(), tally)


def check_nothing_is_left(gateway):
    gateway.wait_ready()
    gateway.wait_metric(0, "xebec_requests_open")
    gateway.wait_metric(0, "xebec_queue_rows")
    gateway.wait_metric(0, "xebec_connections", listener="clients")
    wait_until(lambda: all(replica["in_flight"] == 0 for replica in gateway.replicas("1", "echo").values()),
               "calls in flight to end")
    assert gateway.predict("echo", input=[1, 2, 3, 4]).json()["output"] == [1, 2, 3, 4]
    if not SANITIZED:
        assert gateway.resident_mib() < RESIDENT_MIB


def check_counts(metrics, tally):
    """The gateway counted what the clients saw; what they abandoned may have been counted or not."""
    refused = metrics.sum("xebec_requests_total", outcome="invalid_input")
    assert tally["predictions refused"] <= refused <= tally["predictions refused"] + tally["abandoned"]
    defaults = metrics.sum("xebec_requests_total", outcome="default")
    assert tally["default"] <= defaults <= tally["default"] + tally["abandoned"]
    assert metrics.sum("xebec_cache_hits_total") > 0
