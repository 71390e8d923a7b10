"""xebec-health, the HEALTHCHECK of every container, in its two forms: against real workers, and against what is none."""
import os
import pathlib
import socket
import subprocess
import threading
import time

import pytest
from xebec_testing import REPOSITORY
from xebec_testing.python_worker import PYTHON, Worker

ECHO = os.environ.get("XEBEC_ECHO", str(REPOSITORY / "build/release/bin/xebec-echo"))
FORMS = {"python": [PYTHON, str(REPOSITORY / "containers/python/src/xebec_health.py")],
         "c": [str(pathlib.Path(ECHO).parent / "xebec-health")]}
SUMS = """
from xebec_worker import Tensor, serve
serve(lambda x: x.sum(axis=1), inputs={"x": Tensor("FP32", [-1, 3])}, outputs={"y": Tensor("FP32", [-1])})
"""
NAMES = {"XEBEC_NAME": "m", "XEBEC_VERSION": "v"}
GOAWAY = bytes([0, 0, 8, 7, 0, 0, 0, 0, 0]) + bytes(8)
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def reply(message):
    """A DATA frame on stream 1, with a gRPC message in it."""
    return bytes([0, 0, 5 + len(message), 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, len(message)]) + message


@pytest.fixture(params=FORMS)
def ask(request):
    def ask(*arguments, **environment):
        done = subprocess.run([*FORMS[request.param], *arguments], env=environment, capture_output=True, text=True, timeout=20)
        assert done.stderr == ""
        return done.returncode, done.stdout
    return ask


@pytest.fixture
def serves_bytes():
    """serves_bytes(bytes): the address of a server that answers anybody with them, and says no more."""
    listeners = []

    def serve(answer, then_close=False):
        listener = socket.create_server(("127.0.0.1", 0))
        held = []

        def run():
            try:
                connection, _ = listener.accept()
                held.append(connection)
                connection.sendall(answer)
                if then_close:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        threading.Thread(target=run, daemon=True).start()
        listeners.append((listener, held))
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for listener, held in listeners:
        for each in (listener, *held):
            each.close()


def test_a_worker_in_python_that_the_environment_names(tmp_path, ask):
    (tmp_path / "script.py").write_text(SUMS)
    with Worker(tmp_path, "script.py", listen="tcp", XEBEC_LISTEN="0.0.0.0:0", **NAMES) as worker:
        assert worker.events("serving")[0]["model"] == "m@v"
        assert ask(worker.listen) == (0, f"{worker.listen}: SERVING\n")
        assert ask(XEBEC_LISTEN=worker.listen)[0] == 0  # as in a container; and 0.0.0.0 is asked on the loopback interface
        assert worker.terminate()[0] == 0
        assert ask(worker.listen)[0] == 1


def test_a_worker_on_a_unix_socket(tmp_path, ask):
    (tmp_path / "script.py").write_text(SUMS)
    with Worker(tmp_path, "script.py", XEBEC_LISTEN="unix:worker.sock", **NAMES) as worker:
        assert ask(worker.listen)[0] == 0
    assert ask(f"unix:{tmp_path}/none.sock")[0] == 1
    assert ask(f"unix:/{'x' * 200}")[0] == 1


def test_a_worker_in_c_that_the_environment_configures(tmp_path, ask):
    environment = {**os.environ, "XEBEC_LISTEN": f"unix:{tmp_path}/echo.sock", "XEBEC_NAME": "told", "XEBEC_VERSION": "7",
                   "XEBEC_MAX_ROWS": ""}
    with subprocess.Popen([ECHO, "--input", "x:FP32:-1"], env=environment, stderr=subprocess.PIPE, text=True) as echo:
        try:
            assert echo.stderr.readline() == f"told@7 serves at unix:{tmp_path}/echo.sock\n"
            assert ask(f"unix:{tmp_path}/echo.sock")[0] == 0
        finally:
            echo.terminate()
    assert echo.returncode == 0


def test_the_c_options_say_which_variable_is_wrong():
    done = subprocess.run([ECHO], env={"XEBEC_MAX_ROWS": "many"}, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "many is not a number of rows" in done.stderr


@pytest.mark.parametrize("answer", [
    SETTINGS + reply(b"\x08\x02"),                                # NOT_SERVING
    SETTINGS + reply(b"\x08\x01\x00"),                            # too long
    SETTINGS + GOAWAY,
    SETTINGS + bytes([0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88]),          # trailers only: the call was refused
    SETTINGS + bytes([0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8]),    # RST_STREAM
    bytes([255, 255, 255, 0, 1, 0, 0, 0, 1]),                     # a frame of 16 MiB that never comes
    SETTINGS * 100,
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    b"",
])
def test_what_does_not_serve(serves_bytes, ask, answer):
    start = time.monotonic()
    assert ask(serves_bytes(answer, then_close=True))[0] == 1
    assert time.monotonic() - start < 15


def test_what_serves(serves_bytes, ask):
    assert ask(serves_bytes(SETTINGS + reply(b"\x08\x01")))[0] == 0


@pytest.mark.parametrize("address", ["", "9000", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:99999", "[::1", "nowhere.invalid:9000"])
def test_what_is_no_address(ask, address):
    assert ask(address)[0] == 1


def test_one_that_says_nothing_is_given_up(serves_bytes, ask):
    status, words = ask(serves_bytes(b""))
    assert status == 1 and words.startswith("127.0.0.1:")
