"""deploy/quickstart.sh, whole: real build, real models, real gateway, at its real ports, one run at a time."""
import os
import pathlib
import pty
import re
import signal
import socket
import subprocess

import pytest
from xebec_testing import REPOSITORY
from xebec_testing.patience import wait_until

SCRIPT = REPOSITORY / "deploy/quickstart.sh"
SECONDS = 600  # a build from nothing, on a busy machine


class Terminal:
    """quickstart.sh on a terminal of its own."""

    def __init__(self, *arguments):
        self.pid, self.keyboard = pty.fork()
        if self.pid == 0:
            os.execv(SCRIPT, [SCRIPT, *arguments])
        os.set_blocking(self.keyboard, False)
        self.screen = ""
        self.status = None

    def read(self):
        try:
            self.screen += os.read(self.keyboard, 65536).decode(errors="replace")
        except (BlockingIOError, OSError):
            pass  # nothing yet; or nothing any more
        return self.screen

    def has_ended(self):
        self.read()
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def wait_for(self, words):
        wait_until(lambda: words in self.read() or self.has_ended(), lambda: f"{words!r} in {self.screen}", SECONDS)
        assert words in self.screen

    def children(self):
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.pid)], capture_output=True, text=True)
        return [int(pid) for pid in listed.stdout.split()]


@pytest.fixture
def terminal():
    opened = []

    def start(*arguments):
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield start
    for one in opened:
        if not one.has_ended():
            os.kill(one.pid, signal.SIGTERM)
            wait_until(one.has_ended, "quickstart.sh to end on SIGTERM", 30)
        os.close(one.keyboard)


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_once():
    ran = subprocess.run([SCRIPT, "--once", "--no-install"], capture_output=True, text=True, timeout=SECONDS, cwd="/")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "\033" not in ran.stdout and "\r" not in ran.stdout  # no terminal: no colours, nothing redrawn
    for endpoint, model in ("digits", "digits@linear"), ("digits-forest", "digits@forest"):
        line = re.search(rf"^  {endpoint} +{model} +450 +\d+ +(0\.\d+) +[\d.]+ ms +[\d.]+ ms$", ran.stdout, re.M)
        assert line and float(line.group(1)) >= 0.9, ran.stdout
    assert not pathlib.Path("/tmp/xebec/digits-linear.sock").exists()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", 8080), timeout=2)


@pytest.mark.parametrize("name, versions", [("split", "forest linear"), ("canary", "forest linear"), ("shadow", "linear next")])
def test_the_worked_rollouts_are_served_as_written(name, versions, tmp_path):
    """But for the canary's state_dir, which is the machine's. From another folder, by a path of the user's."""
    text = (REPOSITORY / f"configs/{name}.yaml").read_text()
    (tmp_path / f"{name}.yaml").write_text(text.replace("/var/lib/xebec", str(tmp_path / "state")))
    ran = subprocess.run([SCRIPT, "--once", "--no-install", "--config", f"{name}.yaml"], capture_output=True, text=True,
                         timeout=SECONDS, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    ready = " ".join(f"digits@{version}" for version in versions.split())
    assert f"{ready} and the gateway are ready" in ran.stdout
    line = re.search(r"^  digits +digits@\w+ +450 +\d+ +(0\.\d+) ", ran.stdout, re.M)
    assert line and float(line.group(1)) >= 0.9, ran.stdout


@pytest.mark.parametrize("text, words", [
    (None, "there is no such file"), ("endpoints: {}\n", "needs models: the models, by name"),
    (None, "there is no model best")])
def test_a_configuration_that_cannot_be_served_is_told(text, words, tmp_path):
    file = tmp_path / "mine.yaml"
    if "best" in words:
        text = (REPOSITORY / "configs/split.yaml").read_text().replace("digits-forest.sock", "digits-best.sock")
    if text:
        file.write_text(text)
    ran = subprocess.run([SCRIPT, "--once", "--no-install", "--config", str(file)], capture_output=True, text=True, timeout=SECONDS)
    assert ran.returncode == 1 and words in ran.stderr, ran.stdout + ran.stderr


def test_it_serves_until_ctrl_c_and_leaves_nothing_behind(terminal):
    quickstart = terminal("--no-install")
    quickstart.wait_for("Ctrl-C stops everything")
    started = quickstart.children()
    curl = next(line for line in quickstart.screen.splitlines() if line.startswith("curl "))
    reply = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=30, check=True)
    assert '"model":"digits@linear"' in reply.stdout.replace(" ", "")
    again = subprocess.run([SCRIPT, "--once", "--no-install"], capture_output=True, text=True, timeout=30)
    assert again.returncode == 1 and f"already running here, as process {quickstart.pid}" in again.stderr
    os.write(quickstart.keyboard, b"\x03")
    wait_until(quickstart.has_ended, "quickstart.sh to end on Ctrl-C", 30)
    assert quickstart.status == 0
    assert len(started) >= 3 and not [pid for pid in started if is_alive(pid)]


def test_its_processes_do_not_outlive_it_even_if_it_is_killed(terminal):
    quickstart = terminal("--no-install")
    quickstart.wait_for("Ctrl-C stops everything")
    started = quickstart.children()
    os.kill(quickstart.pid, signal.SIGKILL)
    wait_until(quickstart.has_ended, "SIGKILL")
    wait_until(lambda: not [pid for pid in started if is_alive(pid)], lambda: f"{started} to end", 30)


def test_a_replica_that_dies_ends_it_in_words(terminal):
    quickstart = terminal("--no-install")
    quickstart.wait_for("Ctrl-C stops everything")
    linear = next(pid for pid in quickstart.children()
                  if b"linear" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(linear, signal.SIGKILL)
    wait_until(quickstart.has_ended, "quickstart.sh to notice", 30)
    assert quickstart.status == 1 and "linear ended with status 137" in quickstart.screen


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 8081)):
        ran = subprocess.run([SCRIPT, "--once", "--no-install"], capture_output=True, text=True, timeout=SECONDS)
    assert ran.returncode == 1
    assert re.search(rf"127\.0\.0\.1:8081 is taken by \S+, process {os.getpid()}: stop that first", ran.stderr), ran.stderr
