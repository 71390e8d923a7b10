"""
How often the gateway copies a large body, counted inside of it (copy_counter.c): from the client's socket to the call
to the replica no more than three times, the system's copy out of the socket included; and the same of a reply, on its way back.
"""
import base64
import json
import os
import random
import socket
import struct

import pytest
from xebec_testing.gateway import one_model
from xebec_testing.http_client import encode_request
from xebec_testing.patience import PATIENCE

MIB = 1 << 20
SIZE = 16 * MIB
COUNTER = os.environ.get("XEBEC_COPY_COUNTER")
MOST = 3
SPARE = MIB // 8  # headers, and what was read together with them

pytestmark = pytest.mark.skipif(bool(os.environ.get("XEBEC_SANITIZE")) or not COUNTER,
                                reason="a sanitizer has memcpy() itself, or there is no XEBEC_COPY_COUNTER")


class Counted:
    """A gateway that counts its copies."""

    def __init__(self, start_gateway, tmp_path, puppet, **config):
        self.path = tmp_path / "copies"
        command = ["env", f"LD_PRELOAD={COUNTER}", f"COPY_COUNTER={self.path}"]
        self.gateway = start_gateway(one_model([puppet.unix], shards=1, **config), command).wait_ready()

    def read(self):
        return dict(zip(("received", "sent", "copied", "regrown"), struct.unpack("4Q", self.path.read_bytes())))

    def count(self, ask):
        """(what ask() returns, bytes copied meanwhile by kind)"""
        before = self.read()
        reply = ask()
        return reply, {kind: count - before[kind] for kind, count in self.read().items()}


def expect_few(copies, decoded, of):
    """decoded: bytes that came about by reading or writing text, which is a copy too, though not one that is seen."""
    total = copies["received"] + copies["copied"] + copies["regrown"] + decoded
    assert copies["received"] >= 0.4 * of, (copies, "is it counted at all?")
    assert total <= MOST * of + SPARE, (total / of, copies, decoded, of)


# --- ways to send a body ------------------------------------------------------------------------------

def with_length(gateway, path, body, headers=()):
    with gateway.connect() as client:
        client.send(encode_request("POST", path, body, headers))
        return client.read_reply()


def in_chunks(gateway, path, body, headers=(), size=256 << 10):
    with gateway.connect() as client:
        client.send(encode_request("POST", path, None, [*headers, "Transfer-Encoding: chunked"]))
        for at in range(0, len(body), size):
            piece = body[at:at + size]
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
        return client.read_reply()


class Http2:
    """One request over HTTP/2, in frames as large as the gateway allows; header fields are literals."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, PATIENCE)
        self.unread, self.windows, self.frame_bytes, self.body, self.ended = b"", {0: 65535, 1: 65535}, 16384, b"", False
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(4, 0, 0, b"")

    def frame(self, kind, flags, stream, payload):
        self.socket.sendall(struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload)

    def hear(self):
        while len(self.unread) < 9 or len(self.unread) < 9 + int.from_bytes(self.unread[:3], "big"):
            got = self.socket.recv(1 << 16)
            assert got, "closed"
            self.unread += got
        length, (kind, flags, stream) = int.from_bytes(self.unread[:3], "big"), struct.unpack(">BBI", self.unread[3:9])
        payload, self.unread = self.unread[9:9 + length], self.unread[9 + length:]
        if kind == 4 and not flags & 1:
            self.settings({key: value for key, value in struct.iter_unpack(">HI", payload)})
        elif kind == 8:
            self.windows[stream] += int.from_bytes(payload, "big")
        elif stream == 1:
            assert kind in (0, 1), (kind, payload)
            self.body += payload if kind == 0 else b""
            self.ended = bool(flags & 1)

    def settings(self, said):
        self.windows[1] += said.get(4, 65535) - 65535
        self.frame_bytes = said.get(5, 16384)
        self.frame(4, 1, 0, b"")

    def ask(self, path, body):
        self.hear()  # its settings
        fields = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", path)]
        self.frame(1, 4, 1, b"".join(b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
                                     for name, value in fields))
        at, most = 0, self.frame_bytes
        while at < len(body):
            room = min(most, len(body) - at)
            if min(self.windows.values()) < room:
                self.hear()
                continue
            for stream in self.windows:
                self.windows[stream] -= room
            self.frame(0, at + room == len(body), 1, body[at:at + room])
            at += room
        while not self.ended:
            self.hear()
        return json.loads(self.body)


def over_http2(gateway, path, body):
    client = Http2(gateway.address)
    try:
        return client.ask(path, body)
    finally:
        client.socket.close()


# --- requests -----------------------------------------------------------------------------------------

def numbers(size=SIZE):
    """A body of so many bytes, and how many there are in its tensor."""
    dice = random.Random(size)
    count = (size - 12) // 8
    return b'{"input":[' + b",".join(b"%d" % dice.randrange(1_000_000, 10_000_000) for _ in range(count)) + b"]}", 4 * count


@pytest.fixture
def counted(start_gateway, tmp_path, new_puppet):
    def start(mode="sizes", datatype="FP32", outputs=("INT64", [-1]), transport="nghttp2", **script):
        shape, encoding = ([-1], "BASE64") if datatype == "BYTES" else ([-1, -1], "TEXT")
        puppet = new_puppet(mode=mode, inputs={"x": [datatype, shape, encoding]}, outputs={"y": list(outputs)}, **script)
        inputs = {"x": {"datatype": datatype, "shape": shape, **({"encoding": "base64"} if datatype == "BYTES" else {})}}
        return Counted(start_gateway, tmp_path, puppet, inputs=inputs, transport=transport,
                       outputs={"y": {"datatype": outputs[0], "shape": outputs[1]}})
    return start


@pytest.mark.parametrize("transport", ["nghttp2", "grpc"])
@pytest.mark.parametrize("send", [with_length, in_chunks])
def test_numbers_in_json(counted, send, transport):
    body, tensor = numbers()
    at = counted(transport=transport)
    reply, copies = at.count(lambda: send(at.gateway, "/e/predict", body))
    assert (reply.status, reply.json()["output"]) == (200, tensor)
    expect_few(copies, tensor, len(body))


def test_numbers_in_json_over_http2(counted):
    body, tensor = numbers()
    at = counted()
    reply, copies = at.count(lambda: over_http2(at.gateway, "/e/predict", body))
    assert reply["output"] == tensor
    expect_few(copies, tensor, len(body))


@pytest.mark.parametrize("how", ["length", "chunks", "http2"])
def test_base64(counted, how):
    image = random.Random(1).randbytes(SIZE // 4 * 3 - 64)
    body = json.dumps({"input": base64.b64encode(image).decode()}).encode()
    at = counted(datatype="BYTES")
    if how == "http2":
        reply, copies = at.count(lambda: over_http2(at.gateway, "/e/predict", body))
    else:
        reply, copies = at.count(lambda: {"length": with_length, "chunks": in_chunks}[how](at.gateway, "/e/predict", body).json())
    assert reply["output"] == len(image)
    expect_few(copies, len(image), len(body))


def binary(count):
    """An OIP body of so many floats, and its headers."""
    head = json.dumps({"inputs": [{"name": "x", "shape": [1, count], "datatype": "FP32",
                                   "parameters": {"binary_data_size": 4 * count}}]}).encode()
    return head + random.Random(2).randbytes(4 * count), [f"Inference-Header-Content-Length: {len(head)}"]


@pytest.mark.parametrize("send", [with_length, in_chunks])
def test_binary_tensors(counted, send):
    body, headers = binary(SIZE // 4 - 100)
    at = counted()
    reply, copies = at.count(lambda: send(at.gateway, "/v2/models/e/infer", body, headers))
    assert reply.json()["outputs"][0]["data"] == [SIZE - 400], reply
    expect_few(copies, 0, len(body))


# --- replies ------------------------------------------------------------------------------------------

FLOATS = SIZE // 4


@pytest.mark.parametrize("transport", ["nghttp2", "grpc"])
@pytest.mark.parametrize("rows", [1, 16])
def test_a_reply_with_binary_tensors(counted, rows, transport):
    at = counted(mode="vast", outputs=("FP32", [-1, -1]), transport=transport, size=FLOATS // rows)
    ask = {"inputs": [{"name": "x", "shape": [rows, 1], "datatype": "FP32", "data": [1] * rows}], "parameters": {"binary_data_output": True}}
    reply, copies = at.count(lambda: with_length(at.gateway, "/v2/models/e/infer", json.dumps(ask).encode()))
    assert (reply.status, len(reply.body) > SIZE, reply.body[-4:]) == (200, True, struct.pack("<f", FLOATS // rows - 1))
    expect_few(copies, 0, SIZE)


@pytest.mark.parametrize("transport", ["nghttp2", "grpc"])
def test_a_reply_in_json(counted, transport):
    at = counted(mode="vast", outputs=("FP32", [-1, -1]), transport=transport, size=FLOATS)
    reply, copies = at.count(lambda: with_length(at.gateway, "/e/predict", b'{"input":[1]}'))
    assert reply.status == 200
    expect_few(copies, len(reply.body), len(reply.body))
