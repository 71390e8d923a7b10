"""Gateway: the real binary with a configuration of its own, watched from outside: ports, log, health, exit."""
import json
import os
import pathlib
import re
import signal
import subprocess

from . import REPOSITORY
from .http_client import Client, ask_once
from .patience import PATIENCE, wait_until
from .prometheus import Metrics

BINARY = os.environ.get("XEBEC_BINARY", str(REPOSITORY / "build/release/xebec"))
TRANSPORT = os.environ.get("XEBEC_TRANSPORT", "nghttp2")  # CTest runs what touches replicas over each
SANITIZER_REPORT = re.compile(r"(ERROR|WARNING): \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer")



def one_model(replicas, slo="30s", inputs=None, outputs=None, endpoint=None, model=None, **top):
    """
    A configuration as a dict: model m@v1 at `replicas`, endpoint e. The SLO is one that no test meets by accident,
    and nothing is cached or hedged, so that tests can count calls; all are changed by those who test them.
    """
    matrix = {"datatype": "FP32", "shape": [-1, -1]}
    return {
        "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "shards": 2, "cache": False, "transport": TRANSPORT,
        "models": {"m": {"input": inputs or {"x": matrix}, "output": outputs or {"y": matrix},
                         "versions": {"v1": {"replicas": list(replicas)}},
                         "health": {"interval": "100ms", "timeout": "1s"}, "hedge": {"budget": "0%"}, **(model or {})}},
        "endpoints": {"e": {"slo": slo, "model": "m@v1", **(endpoint or {})}},
        **top,
    }


def run_xebec(*arguments, **options):
    return subprocess.run([BINARY, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=PATIENCE, **options)


class Gateway:
    def __init__(self, directory, config, command=()):
        """command: what starts it, as in `unshare --mount`; the binary and its arguments follow."""
        self.directory = pathlib.Path(directory)
        self.config_path = self.directory / "xebec.yaml"
        # JSON is YAML; a configuration in block style is loaded by the unit tests and by configs/.
        self.config_path.write_text(config if isinstance(config, str) else json.dumps(config, indent=1))
        self.ended = False
        self.stdout_path, self.stderr_path = self.directory / "stdout", self.directory / "stderr"
        with open(self.stdout_path, "wb") as stdout, open(self.stderr_path, "wb") as stderr:
            self.process = subprocess.Popen([*command, BINARY, "serve", "--config", str(self.config_path)],
                                            stdout=stdout, stderr=stderr)
        try:
            serving = wait_until(self._serving, lambda: f"ports; it said: {self.stderr_path.read_text()}")
        except BaseException:
            self.kill()
            raise
        self.port, self.admin_port = serving["port"], serving["admin_port"]
        self.address, self.admin = ("127.0.0.1", self.port), ("127.0.0.1", self.admin_port)

    def _serving(self):
        assert self.process.poll() is None, self.stderr_path.read_text()
        return next(iter(self.events("serving")), None)

    # --- what it says ----------------------------------------------------------------------------

    def log(self):
        """Every line so far, parsed: each must be one JSON object."""
        lines = self.stderr_path.read_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def events(self, name):
        return [line for line in self.log() if line["event"] == name]

    def ask_admin(self, path, method="GET"):
        return ask_once(self.admin, method, path)

    def status(self):
        reply = self.ask_admin("/status")
        assert reply.status == 200, reply
        return reply.json()

    def replicas(self, version="v1", model="m"):
        """{address: what /status says of it}"""
        models = {each["name"]: each for each in self.status()["models"]}
        versions = {each["version"]: each for each in models[model]["versions"]}
        return {replica["address"]: replica for replica in versions[version]["replicas"]}

    def wait_replica(self, address, *states):
        return wait_until(lambda: (r := self.replicas()[address])["state"] in states and r,
                          lambda: f"{address} to be {states}: {self.replicas()}")

    def metrics(self):
        reply = self.ask_admin("/metrics")
        assert reply.status == 200, reply
        return Metrics(reply.body.decode())

    def wait_metric(self, value, name, **labels):
        """Waits until a metric has this value: what a reply counts is there a moment after it."""
        wait_until(lambda: self.metrics().sum(name, **labels) == value,
                   lambda: f"{name}{labels} == {value}: {self.metrics().sum(name, **labels)}")

    def wait_ready(self):
        wait_until(lambda: self.ask_admin("/health/ready").status == 200,
                   lambda: f"ready: {self.ask_admin('/health/ready')} {self.replicas()}")
        return self

    # --- asking it -------------------------------------------------------------------------------

    def connect(self, timeout=PATIENCE):
        return Client(self.address, timeout)

    def predict(self, endpoint="e", **body):
        return ask_once(self.address, "POST", f"/{endpoint}/predict", body)

    # --- from the system's side ------------------------------------------------------------------

    def cpu_ticks(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def resident_mib(self):
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def resident_most_mib(self):
        """The most it ever was."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    # --- the end ---------------------------------------------------------------------------------

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, expect=0):
        """The end, as it must be: this exit status, no sanitizer's report, nothing but JSON lines in the log."""
        try:
            status = self.process.wait(PATIENCE + 15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end; its last words: {self.log()[-3:]}") from None
        self.ended = True
        words = self.stderr_path.read_text()
        assert not SANITIZER_REPORT.search(words), words[-8000:]
        assert status == expect, f"exit {status}: {words[-4000:]}"
        return self.log()

    def stop(self):
        """Unless the test has seen its end already."""
        if not self.ended:
            self.terminate()
            self.wait()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
