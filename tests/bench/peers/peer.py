"""Peer: what the benchmark knows of a model server: how to install it, start it, ask it, and what the answer looks like."""
import hashlib
import json
import os
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from . import processes

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BUILD = ROOT / "build/peers"
MADE = BUILD / "made"
SERVERS = HERE / "servers"
CORES = os.cpu_count()
SLO_MS = 20


@dataclass
class Model:
    """One of servers/make_models.py's."""

    name: str
    rows: list
    answers: list
    bare_us: float

    @property
    def floats(self):
        return len(self.rows[0])


@dataclass
class Run:
    """One server with one model: its folder, its port, its processes."""

    model: Model
    folder: Path
    port: int
    roots: list = field(default_factory=list)

    def start(self, *command, **env):
        """Starts a process of the server's; further environment as keywords."""
        self.roots.append(processes.start(command, self.folder / "log", {**self.env(), **env}, self.folder))

    def do(self, *command):
        """A step before the start, waited for."""
        with open(self.folder / "log", "ab") as log:
            subprocess.run([str(word) for word in command], check=True, cwd=self.folder, stdout=log, stderr=log,
                           env={**os.environ, **{key: str(value) for key, value in self.env().items()}})

    def env(self):
        return {"BENCH_FOLDER": MADE, "BENCH_MODEL": self.model.name, "OMP_NUM_THREADS": 1, "PYTHONPATH": SERVERS,
                "PYTHONUNBUFFERED": 1}

    def ended(self):
        return any(root.poll() is not None for root in self.roots)

    def log(self, lines=15):
        if not (self.folder / "log").exists():
            return ""
        return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-lines:])

    def file(self, name):
        """One of the files that make_models made."""
        return MADE / name

    def spare_port(self):
        return free_port()

    def write(self, name, content):
        """A file of the server's, in its folder; what is no text becomes JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return path


class Peer:
    name = ""
    path = "/predict"
    models = ("noop", "svm", "forest", "cnn")

    @property
    def requirements(self):
        """Pinned, with all that they need: they are installed as they stand."""
        return [HERE / f"requirements/{self.name}.txt"]

    @property
    def venv(self):
        return BUILD / self.name

    def bin(self, program):
        return self.venv / "bin" / program

    def install(self):
        """A virtual environment of its own, made anew when the requirements have changed."""
        wanted = hashlib.sha256(b"".join(file.read_bytes() for file in self.requirements)).hexdigest()
        stamp = self.venv / "installed"
        if stamp.exists() and stamp.read_text() == wanted:
            return False
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", self.venv], check=True)
        files = [word for file in self.requirements for word in ("-r", file)]
        subprocess.run([self.bin("pip"), "install", "--quiet", "--no-deps", *files], check=True)
        stamp.write_text(wanted)
        return True

    def start(self, run):
        """Has run.start() start what serves run.model on 127.0.0.1:run.port. Not waited for."""
        raise NotImplementedError

    def body(self, row):
        """The request's body for one row, to be written as JSON."""
        return {"input": row}

    def answer(self, answer):
        """What stands in the reply's body, letter by letter, when this is the answer."""
        return f'"output":{compact(answer)}'


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
