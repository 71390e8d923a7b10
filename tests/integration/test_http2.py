"""The HTTP/2 edge: clients that teams have (curl, h2load, Python's h2), h2spec, and clients that mean harm."""
import json
import re
import socket
import struct
import subprocess
import sys

import pytest
from xebec_testing import REPOSITORY
from xebec_testing.patience import PATIENCE, wait_until
from xebec_testing.venv import python_path

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS = 1, 4
NO_ERROR, ENHANCE_YOUR_CALM = 0, 11
JSON = ("content-type", "application/json")


@pytest.fixture(scope="session")
def h2():
    """Python's own HTTP/2, as clients such as httpx use it."""
    path = python_path("http2-clients", "h2==4.1.0", "hpack==4.0.0", "hyperframe==6.0.1")
    sys.path.insert(0, str(path))
    import h2.config
    import h2.connection
    import h2.events
    yield h2
    sys.path.remove(str(path))


class Connection:
    """A client connection by h2: requests go out together, events are gathered by stream."""

    def __init__(self, h2, address):
        self.h2 = h2
        self.socket = socket.create_connection(address, PATIENCE)
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.state.initiate_connection()
        self.replies, self.resets, self.goaway = {}, {}, None
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flush(self):
        self.socket.sendall(self.state.data_to_send())

    def ask(self, path, body=None, method="POST", headers=(JSON,), end=True):
        stream = self.state.get_next_available_stream_id()
        self.state.send_headers(stream, [(":method", method), (":scheme", "http"), (":authority", "xebec"), (":path", path), *headers],
                                end_stream=body is None and end)
        if body is not None:
            self.state.send_data(stream, body if isinstance(body, bytes) else json.dumps(body).encode(), end_stream=end)
        self.flush()
        return stream

    def predict(self, *numbers):
        return self.ask("/e/predict", {"input": list(numbers)})

    def receive(self):
        """Takes what is there. False: the gateway has closed."""
        data = self.socket.recv(1 << 16)
        for event in self.state.receive_data(data) if data else ():
            self._take(event)
        self.flush()
        return bool(data)

    def _take(self, event):
        events = self.h2.events
        if isinstance(event, events.ResponseReceived):
            self.replies[event.stream_id] = {"headers": dict(event.headers), "body": b"", "ended": False}
        elif isinstance(event, events.DataReceived):
            self.replies[event.stream_id]["body"] += event.data
            self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, events.StreamEnded):
            self.replies[event.stream_id]["ended"] = True
        elif isinstance(event, events.StreamReset):
            self.resets[event.stream_id] = event.error_code
        elif isinstance(event, events.ConnectionTerminated):
            self.goaway = event.error_code

    def reply(self, stream):
        """(status, the JSON of its body) once it is complete."""
        while not self.replies.get(stream, {}).get("ended"):
            assert self.receive(), f"closed before stream {stream} was answered; goaway {self.goaway}"
        reply = self.replies[stream]
        return int(reply["headers"][":status"]), json.loads(reply["body"])


def curl(gateway, *arguments, path="/e/predict"):
    done = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", "--max-time", str(PATIENCE), "-w", "\n%{http_code} %{http_version}",
                           *arguments, f"http://127.0.0.1:{gateway.port}{path}"], capture_output=True, text=True, timeout=2 * PATIENCE)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return status, body


# --- clients that teams have -----------------------------------------------------------------------------

@pytest.mark.parametrize("shards", [1, 2])
def test_curl(puppet, gateway_for, shards):
    gateway = gateway_for(puppet, shards=shards)
    status, body = curl(gateway, "-H", "content-type: application/json", "-d", '{"input": [1, 2]}')
    assert (status, json.loads(body)["output"]) == ("200 2", [1, 2])
    assert gateway.predict(input=[3]).json()["output"] == [3]  # HTTP/1.1, on the same port
    assert curl(gateway, path="/nothing")[0] == "404 2"
    assert curl(gateway, "-I")[0] == "405 2"


def test_the_operators_listener_speaks_it_too(puppet, gateway_for):
    gateway = gateway_for(puppet)
    done = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", f"http://127.0.0.1:{gateway.admin_port}/status"],
                          capture_output=True, timeout=PATIENCE, check=True)
    assert json.loads(done.stdout)["models"]


@pytest.mark.parametrize("size", [100, 100_000, 1_000_000])
def test_bodies_both_ways(puppet, gateway_for, tmp_path, size):
    gateway = gateway_for(puppet)
    (tmp_path / "body").write_text(json.dumps({"input": [7] * size}))
    status, body = curl(gateway, "-H", "content-type: application/json", "--data-binary", f"@{tmp_path / 'body'}")
    assert (status, json.loads(body)["output"]) == ("200 2", [7] * size)


def test_a_body_over_the_limit_is_answered(puppet, gateway_for, tmp_path):
    gateway = gateway_for(puppet, limits={"body": "1MiB"})
    (tmp_path / "body").write_bytes(b" " * (4 << 20))
    for chunked in ([], ["-H", "content-length:"]):
        status, body = curl(gateway, *chunked, "--data-binary", f"@{tmp_path / 'body'}")
        assert (status, json.loads(body)["cause"]) == ("413 2", "too_large")


def test_h2load(puppet, gateway_for, tmp_path):
    gateway = gateway_for(puppet)
    (tmp_path / "body").write_text('{"input": [1]}')
    done = subprocess.run(["h2load", "-n", "5000", "-c", "4", "-m", "50", "-d", tmp_path / "body", "-H", "content-type: application/json",
                           f"http://127.0.0.1:{gateway.port}/e/predict"], capture_output=True, text=True, timeout=60, check=True)
    assert "5000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout
    gateway.wait_metric(0, "xebec_requests_open")


def test_replies_come_when_they_are_ready(h2, puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall", times=1), model={"batching": {"calls": 2, "max_rows": 1}})
    with Connection(h2, gateway.address) as client:
        stalled = client.predict(1)
        puppet.wait_calls(1)
        assert client.reply(client.predict(2))[1]["output"] == [2]
        assert stalled not in client.replies
        puppet.release()
        assert client.reply(stalled)[1]["output"] == [1]


def test_many_at_a_time_make_one_batch(h2, puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall", times=1), model={"batching": {"calls": 1}})
    with Connection(h2, gateway.address) as client:
        first = client.predict(0)
        puppet.wait_calls(1)
        rest = [client.predict(n) for n in range(1, 50)]
        gateway.wait_metric(49, "xebec_queue_rows")
        puppet.release()
        assert [client.reply(stream)[1]["output"] for stream in [first, *rest]] == [[n] for n in range(50)]
    assert len(puppet.calls()) <= 10


@pytest.mark.parametrize("method, path, headers, body, status, cause", [
    ("GET", "/e/predict", (), None, 405, "method_not_allowed"),
    ("POST", "/none/predict", (JSON,), {"input": [1]}, 404, "not_found"),
    ("POST", "/e/predict", (JSON,), b"{", 400, "invalid_input"),
    ("POST", "/e/predict", (("content-type", "text/plain"),), b"1", 415, "unsupported_media_type"),
    ("BREW", "/e/predict", (), None, 501, "not_implemented"),
    ("POST", "/e/predict", (JSON, ("x", "y" * 20000)), {"input": [1]}, 431, "header_too_large"),
    ("POST", "/%zz", (JSON,), {"input": [1]}, 400, "invalid_input"),
])
def test_errors_are_the_dialects(h2, puppet, gateway_for, method, path, headers, body, status, cause):
    gateway = gateway_for(puppet)
    with Connection(h2, gateway.address) as client:
        answered, error = client.reply(client.ask(path, body, method, headers))
        assert (answered, error["cause"]) == (status, cause)
        assert client.reply(client.predict(1))[0] == 200  # the connection goes on


def test_cancelling_a_stream_cancels_the_call(h2, puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall"))
    with Connection(h2, gateway.address) as client:
        stream = client.predict(1)
        puppet.wait_calls(1)
        client.state.reset_stream(stream, 8)
        client.flush()
        wait_until(lambda: puppet.calls()[0]["ended"] == "cancelled", "the replica to hear of it")
        gateway.wait_metric(1, "xebec_requests_total", outcome="cancelled")
        gateway.wait_metric(0, "xebec_requests_open")


def test_a_slow_body_is_answered_and_others_go_on(h2, puppet, gateway_for):
    gateway = gateway_for(puppet, timeouts={"body": "300ms"})
    with Connection(h2, gateway.address) as client:
        slow = client.ask("/e/predict", b"{", end=False)
        assert client.reply(client.predict(1))[0] == 200
        assert client.reply(slow)[0] == 408
        assert client.reply(client.predict(2))[0] == 200


def test_stopping_finishes_what_it_has_taken(h2, puppet, gateway_for):
    """Asked by curl: h2 takes nothing that comes after GOAWAY, which is its own affair."""
    gateway = gateway_for(puppet.play(mode="stall", times=1))
    url = f"http://127.0.0.1:{gateway.port}/e/predict"
    with Connection(h2, gateway.address) as idle, subprocess.Popen(
            ["curl", "-sS", "--http2-prior-knowledge", "-H", "content-type: application/json", "-d", '{"input": [1]}', url],
            stdout=subprocess.PIPE) as asking:
        puppet.wait_calls(1)
        gateway.terminate()
        while idle.receive():
            pass
        assert idle.goaway == NO_ERROR
        puppet.release()
        assert json.loads(asking.communicate(timeout=PATIENCE)[0])["output"] == [1]
    gateway.wait()


def test_an_access_log_line_a_stream(h2, puppet, gateway_for, tmp_path):
    gateway = gateway_for(puppet, log={"access": str(tmp_path / "access")})
    with Connection(h2, gateway.address) as client:
        for stream in [client.predict(n) for n in range(3)]:
            client.reply(stream)
    lines = wait_until(lambda: (text := (tmp_path / "access").read_text()).count("\n") == 3 and text, "three lines").splitlines()
    assert {(line["path"], line["status"]) for line in map(json.loads, lines)} == {("/e/predict", 200)}


# --- the standard ----------------------------------------------------------------------------------------

def test_h2spec(puppet, gateway_for):
    """Every test of the generic, hpack and http2 suites."""
    script = REPOSITORY / "tests/support/h2spec.sh"
    built = subprocess.run([script, "build"], capture_output=True, text=True, timeout=400)
    if built.returncode == 77:
        pytest.skip(built.stderr.strip())
    assert built.returncode == 0, built.stderr
    gateway = gateway_for(puppet)
    done = subprocess.run([script, "127.0.0.1", str(gateway.port), "/nothing"], capture_output=True, text=True, timeout=300)
    counts = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    assert counts and int(counts[1]) > 140, done.stdout
    assert done.returncode == 0 and counts[3] == counts[4] == "0", done.stdout


# --- clients that mean harm ------------------------------------------------------------------------------

def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request(method=b"POST", path=b"/e/predict"):
    return (literal(b":method", method) + b"\x86" + literal(b":path", path) + literal(b":authority", b"x")
            + literal(b"content-type", b"application/json"))


BODY = b'{"input":[1]}'
STREAMS = [2 * n + 1 for n in range(200_000)]
FLOODS = {
    "ping": lambda n: frame(PING, payload=b"12345678"),
    "settings": lambda n: frame(SETTINGS),
    "rapid reset": lambda n: (frame(HEADERS, END_HEADERS, STREAMS[n], request()) + frame(DATA, END_STREAM, STREAMS[n], BODY)
                              + frame(RST_STREAM, 0, STREAMS[n], struct.pack(">I", 8))),
    "bodies never ended": lambda n: frame(HEADERS, END_HEADERS, STREAMS[n], request()) + frame(DATA, 0, STREAMS[n], b"z" * 8000),
    "continuation": lambda n: (frame(HEADERS, 0, 1, request()) if n == 0
                               else frame(CONTINUATION, 0, 1, literal(b"x", b"y" * 100))),
    "empty data": lambda n: (frame(HEADERS, END_HEADERS, 1, request()) if n == 0 else frame(DATA, 0, 1)),
    "malformed": lambda n: frame(HEADERS, END_HEADERS | END_STREAM, STREAMS[n], literal(b":method", b"GET")),
}


@pytest.mark.parametrize("reads", [True, False], ids=["read", "unread"])
@pytest.mark.parametrize("kind", FLOODS)
def test_floods_are_answered(puppet, gateway_for, kind, reads):
    """The connection ends, nobody else is hurt, and memory stays where it was; whether or not the client listens."""
    gateway = gateway_for(puppet, shards=1, timeouts={"write": "2s"})
    before = gateway.resident_mib()
    with socket.create_connection(gateway.address, PATIENCE) as flooder:
        heard = b""
        flooder.settimeout(PATIENCE)
        try:
            flooder.sendall(PREFACE + frame(SETTINGS))
            for start in range(0, 200_000, 50):
                flooder.sendall(b"".join(FLOODS[kind](n) for n in range(start, start + 50)))
                if reads:
                    flooder.setblocking(False)
                    try:
                        heard += flooder.recv(1 << 20)
                    except BlockingIOError:
                        pass
                    flooder.settimeout(PATIENCE)
            raise AssertionError("200,000 were put up with")
        except ConnectionError:
            pass
        try:
            while data := flooder.recv(1 << 20):
                heard += data
        except ConnectionError:
            pass
    assert gateway.resident_mib() < before + 60
    assert gateway.predict(input=[1]).status == 200
    gateway.wait_metric(1, "xebec_http_errors_total", listener="clients", cause="overloaded")
    gateway.wait_metric(0, "xebec_connections", listener="clients")
    gateway.wait_metric(0, "xebec_requests_open")


def test_the_flooder_is_told_why(puppet, gateway_for):
    gateway = gateway_for(puppet, limits={"controls": 20})
    with socket.create_connection(gateway.address, PATIENCE) as flooder:
        flooder.sendall(PREFACE + frame(SETTINGS) + frame(PING, payload=b"12345678") * 30)
        heard = b""
        while data := flooder.recv(1 << 16):
            heard += data
    frames, at = [], 0
    while at < len(heard):
        length = int.from_bytes(heard[at:at + 3], "big")
        frames.append((heard[at + 3], heard[at + 9:at + 9 + length]))
        at += 9 + length
    assert frames[-1][0] == GOAWAY and frames[-1][1][4:8] == struct.pack(">I", ENHANCE_YOUR_CALM)


def test_no_more_at_once_than_told(h2, puppet, gateway_for):
    """Cancelled requests count until their calls have ended, too."""
    gateway = gateway_for(puppet.play(mode="stall"), limits={"streams": 3})
    with Connection(h2, gateway.address) as client:
        wait_until(lambda: client.receive() and client.state.remote_settings.max_concurrent_streams == 3, "the limit")
        held = [client.predict(n) for n in range(3)]
        with pytest.raises(h2.exceptions.TooManyStreamsError):
            client.predict(4)
        puppet.wait_calls(1)
        puppet.play(mode="echo") # before the calls that stall are let go: the next one comes at once
        puppet.release()
        assert [client.reply(stream)[0] for stream in held] == [200] * 3
        assert client.reply(client.predict(5))[0] == 200
