"""What is asked of a server, and what is measured of it: open_loop's runs, and the search for what it can promise."""
import http.client
import json
import subprocess
import time
from dataclasses import dataclass

from . import processes
from .peer import ROOT, SLO_MS

CLIENT = ROOT / "build/release/tests/bench/open_loop"
CONNECTIONS = 256
READY_SECONDS = 120
TRIES = 20
PROBES = 4  # of the search for the highest rate: the step left is a sixteenth of the peak


class Failed(Exception):
    """A server does not start, or does not answer what it should."""


@dataclass
class Figures:
    peak_rps: float
    slo_rps: float  # the highest rate found with p99 within the objective; 0: none
    p50_ms: float  # these two at half of slo_rps, or of the peak where that is 0
    p99_ms: float
    added_ms: float  # p50 of one client that waits for each answer, less the model's own time
    cpu_seconds: float  # for 1,000 requests, at that half load
    rss_mib: float


class Load:
    """The questions to one server."""

    def __init__(self, peer, run):
        self.peer, self.run, self.file = peer, run, run.folder / "questions"
        with open(self.file, "wb") as file:
            for row, answer in zip(run.model.rows, run.model.answers):
                request, expected = self.request(row), peer.answer(answer).encode()
                file.write(b"%d %d\n" % (len(request), len(expected)) + request + expected)

    def request(self, row):
        body = json.dumps(self.peer.body(row)).encode()
        return (f"POST {self.peer.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.run.port}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode() + body

    def wait_ready(self):
        """Until the first row is answered. A wrong answer is not waited away."""
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            if self.run.ended():
                raise Failed(f"it ended before it answered\n{self.run.log()}")
            try:
                status, text = self.ask(self.run.model.rows[0])
            except (OSError, http.client.HTTPException):
                status, text = 0, "no connection"
            if status == 200:
                return self.check()
            time.sleep(0.1)
        raise Failed(f"no answer within {READY_SECONDS} s; the last: {status} {text[:300]}\n{self.run.log()}")

    def check(self):
        """Every row gets the answer that the model gives in process. Refusals are asked again: the first calls are slow."""
        for row, answer in zip(self.run.model.rows, self.run.model.answers):
            for _ in range(TRIES):
                status, text = self.ask(row)
                if status == 200:
                    break
            if status != 200 or self.peer.answer(answer) not in text:
                raise Failed(f"{status} {text[:300]} where {self.peer.answer(answer)} is right")

    def ask(self, row):
        connection = http.client.HTTPConnection("127.0.0.1", self.run.port, timeout=10)
        try:
            connection.request("POST", self.peer.path, json.dumps(self.peer.body(row)), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            return reply.status, reply.read().decode(errors="replace")
        finally:
            connection.close()

    def settle(self):
        """Until what earlier runs left in its queues is done: a lone row is answered as it is when nothing else is asked."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            start = time.monotonic()
            try:
                self.ask(self.run.model.rows[0])
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() - start < 0.1:
                return

    def drive(self, rate, seconds, connections=CONNECTIONS):
        """A run of open_loop; rate 0: closed. Its figures as a dictionary. A wrong answer fails everything."""
        self.settle()
        command = [CLIENT, "--port", self.run.port, "--requests", self.file, "--rate", rate, "--seconds", seconds,
                   "--connections", connections]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=seconds + 30)
        if done.returncode != 0:
            raise Failed(f"{done.stderr.strip()}\n{self.run.log()}")
        figures = json.loads(done.stdout)
        if figures["wrong"]:
            raise Failed(f"{figures['wrong']} answers under load were wrong\n{self.run.log()}")
        return figures


def measure(load, seconds):
    load.drive(0, 1)  # a warm-up that does not count; what learns, learns
    peak = load.drive(0, seconds)["rps"]
    alone = load.drive(0, 1, connections=1)["p50_us"]
    slo_rps = highest_rate(load, peak, seconds)
    cpu = processes.cpu_seconds()
    half = load.drive((slo_rps or peak) / 2, seconds)
    cpu = processes.cpu_seconds() - cpu
    return Figures(peak_rps=peak, slo_rps=slo_rps, p50_ms=milliseconds(half["p50_us"]), p99_ms=milliseconds(half["p99_us"]),
                   added_ms=milliseconds(alone) - load.run.model.bare_us / 1e3, cpu_seconds=1000 * cpu / max(1, half["good"]),
                   rss_mib=processes.rss_mib())


def milliseconds(us):
    """None, for never, is infinite."""
    return float("inf") if us is None else us / 1e3


def highest_rate(load, peak, seconds):
    """The highest offered rate whose p99 is within the objective, by halving; failures count as never answered."""
    kept, broken = 0, peak
    for _ in range(PROBES):
        rate = (kept + broken) / 2
        if milliseconds(load.drive(rate, seconds)["p99_us"]) <= SLO_MS:
            kept = rate
        else:
            broken = rate
    return kept
