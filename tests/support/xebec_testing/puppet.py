"""Puppet: a replica in a process of its own that does as a test says. See replica.py for what it can do."""
import json
import os
import pathlib
import select
import signal
import subprocess

from .patience import PATIENCE, wait_until

PYTHON = "/usr/bin/python3"  # Debian's, which sees Debian's grpcio, whatever is first in PATH
PROGRAM = pathlib.Path(__file__).with_name("replica.py")


class Puppet:
    """
    Orders go to its stdin and answers come from its stdout, a JSON line each; it ends when its stdin does, so no
    test leaves one behind. It keeps its two addresses when it is killed and started again.
    """

    def __init__(self, directory, generated):
        self.directory, self.generated = pathlib.Path(directory), generated
        self.unix = f"unix:{self.directory}/replica.sock"
        self.port = 0
        self.process = None
        self.script = {}
        self.start()

    @property
    def tcp(self):
        return f"127.0.0.1:{self.port}"

    # --- life ------------------------------------------------------------------------------------

    def start(self):
        """Starts it, with the script that it last had."""
        with open(self.directory / "replica.err", "ab") as errors:
            self.process = subprocess.Popen([PYTHON, str(PROGRAM), self.unix, str(self.port), json.dumps(self.script)],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                            env={**os.environ, "PYTHONPATH": str(self.generated)})
        self.port = self._answer()["port"]
        return self

    def kill(self):
        """As a crash would: SIGKILL."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait_dead()

    def wait_dead(self):
        self.process.wait(PATIENCE)
        self.process.stdin.close()
        self.process.stdout.close()

    def freeze(self):
        """Its sockets stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)
        stat = pathlib.Path(f"/proc/{self.process.pid}/task")
        wait_until(lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in stat.iterdir()),
                   "the puppet to be frozen")

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def is_alive(self):
        return self.process.poll() is None

    # --- orders ----------------------------------------------------------------------------------

    def _answer(self):
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if readable else b""
        assert line, f"the puppet is silent: {(self.directory / 'replica.err').read_text()[-2000:]}"
        return json.loads(line)

    def _order(self, **order):
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        return self._answer()

    def play(self, **script):
        """Replaces the whole script; play() alone is the obedient echo."""
        self.script = script
        self._order(play=script)
        return self

    def release(self):
        """Lets go of the calls that stall now."""
        self._order(release=True)

    def forget(self):
        self._order(forget=True)

    def calls(self):
        """What was asked of Predict so far, in the order of arrival: {rows, first, inputs, outputs, ended}."""
        return self._order(calls=True)["calls"]

    def wait_calls(self, count):
        return wait_until(lambda: len(calls := self.calls()) >= count and calls,
                          lambda: f"{count} calls: {self.calls()}")

    def rows_seen(self):
        """The first element of every row it was ever given, in order."""
        return [first for call in self.calls() for first in call["first"]]
