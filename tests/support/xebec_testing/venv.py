"""Pythons of their own, a container's or a client's: pinned packages from PyPI, kept in build/venv from one run of the tests to the next."""
import fcntl
import hashlib
import pathlib
import shutil
import subprocess

import pytest

from . import REPOSITORY
from .python_worker import PYTHON

UNREACHABLE = ("(from versions: none)", "NewConnectionError", "SSLError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyError")


def container_python(container, *extras):
    """The path of a Python that has what containers/CONTAINER's image has, and `extras` ("onnx==1.22.0").

    Where the package index can't be reached the tests that ask are skipped; anything else that pip finds wrong fails them.
    """
    files = [REPOSITORY / "containers" / name / "requirements.txt" for name in ("python", container)]
    return _python(container, files, extras)


def client_python(client):
    """The path of a Python that has what tests/integration/clients/CLIENT.txt pins; skips as container_python() does."""
    return _python(client, [REPOSITORY / "tests/integration/clients" / f"{client}.txt"])


def _python(name, files, extras=()):
    wanted = "\n".join([*(file.read_text() for file in files), *extras])
    home = REPOSITORY / "build/venv" / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with open(home.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            _make(home, files, extras)
    return home / "bin/python"


def python_path(name, *packages):
    """A folder for sys.path that has `packages` ("h2==4.1.0") alone; kept, and skipped, as above."""
    wanted = "\n".join(packages)
    home = REPOSITORY / "build/venv" / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with open(home.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            _make(home, [], packages)
    return next((home / "lib").glob("python3*/site-packages"))


def _make(home, files, extras):
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([PYTHON, "-m", "venv", home], check=True)
    requirements = [word for file in files for word in ("-r", file)]
    installed = subprocess.run([home / "bin/pip", "install", "--quiet", "--retries", "1", *requirements, *extras],
                               capture_output=True, text=True, timeout=400)
    if any(words in installed.stderr for words in UNREACHABLE):
        pytest.skip(f"pip can't reach a package index: {installed.stderr.strip().splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr
    (home / "complete").touch()


def run(python, script, directory):
    """Runs a script, as one that makes models, in a directory."""
    done = subprocess.run([python, "-c", script], cwd=directory, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return pathlib.Path(directory)
