"""What bounds the memory that large bodies take, when clients announce, send and ask for more than they should."""
import contextlib
import json
import os
import threading

import pytest
from xebec_testing.gateway import one_model
from xebec_testing.http_client import Closed, encode_request
from xebec_testing.patience import wait_until

MIB = 1 << 20
BODY = 16 * MIB
HELD = 96
SANITIZED = bool(os.environ.get("XEBEC_SANITIZE"))  # then memory is not what it is otherwise
SPARE = 24  # MiB of connections and buffers
LATER = BODY // 8 if SANITIZED else BODY  # what comes when the queue is full: sanitizers take seconds for 16 MiB of numbers
KEPT = 64  # MiB that malloc() keeps of what was used, for the next (main.c)
WAYS = {"length": (f"Content-Length: {BODY}", b""), "chunks": ("Transfer-Encoding: chunked", b"%x\r\n" % BODY)}


@pytest.fixture
def serve(puppet, gateway_for):
    def start(body_timeout="60s", **more):
        return gateway_for(puppet, shards=1, limits={"held": f"{HELD}MiB"}, timeouts={"body": body_timeout}, **more)
    return start


@pytest.fixture(params=WAYS)
def way(request):
    """The header line that announces 16 MiB, and what comes before the body's first byte."""
    return WAYS[request.param]


def begin(gateway, way, stack):
    """A client that has announced its body."""
    client = stack.enter_context(gateway.connect())
    line, first = way
    client.send(f"POST /e/predict HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n".encode() + first)
    return client


def arrived(gateway):
    """Connections whose header has been read: nothing else tells from outside that the gateway has seen what was sent."""
    return gateway.metrics().sum("xebec_connections", listener="clients")


def expect_memory(gateway, before, held):
    if not SANITIZED:
        wait_until(lambda: gateway.resident_mib() < before + held + SPARE,
                   lambda: f"{gateway.resident_mib()} MiB to become {before} + {held} + {SPARE} at most")


def expect_well(gateway, size=1000):
    reply = gateway.predict(input=[7] * size)
    assert (reply.status, reply.json().get("output")) == (200, [7] * size), reply


def test_what_is_only_announced_takes_nothing(serve, way):
    gateway = serve()
    expect_well(gateway)
    before = gateway.resident_mib()
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            begin(gateway, way, stack)
        wait_until(lambda: arrived(gateway) >= 300, "300 connections")
        expect_memory(gateway, before, 0)
        expect_well(gateway, 500_000)  # 16 MiB times 300 were announced: nobody is short of them
    expect_memory(gateway, before, 0)


def test_a_byte_now_and_then_is_not_enough(serve, way):
    gateway = serve(body_timeout="1s")
    expect_well(gateway)
    before = gateway.resident_mib()
    with contextlib.ExitStack() as stack:
        clients = [begin(gateway, way, stack) for _ in range(50)]
        done = threading.Event()

        def dribble():
            while not done.wait(0.1):
                for client in clients:
                    with contextlib.suppress(OSError):
                        client.send(b" ")
        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            for client in clients:
                reply = client.read_reply()
                assert (reply.status, reply.json()["cause"]) == (408, "request_timeout")
        finally:
            done.set()
            thread.join()
        expect_memory(gateway, before, 0)
        expect_well(gateway)


def test_half_of_it_counts_as_half(serve, way):
    """Twelve times 8 MiB of 16 are more than may be held: who comes too late is told so, and all of it can be used again."""
    gateway = serve()
    expect_well(gateway)
    before = gateway.resident_mib()
    half = b" " * (BODY // 2)
    refused = 0
    with contextlib.ExitStack() as stack:
        clients = [begin(gateway, way, stack) for _ in range(20)]
        for client in clients:
            client.send(half)  # even those that are refused in the middle of it
        expect_memory(gateway, before, HELD)
        for client in clients:
            client.socket.settimeout(0.1)
            with contextlib.suppress(TimeoutError, Closed, ConnectionError):
                reply = client.read_reply()
                assert (reply.status, reply.json()["cause"]) == (503, "out_of_memory")
                refused += 1
        assert 6 <= refused <= 16, refused
        expect_well(gateway)
    wait_until(lambda: arrived(gateway) == 0, "all to be gone")
    expect_memory(gateway, before, KEPT)
    assert whole(gateway).status == 200


def body_of(size):
    number = b"1000000,"
    body = b'{"input":[' + number * ((size - 20) // len(number)) + b"0]}"
    return body


def whole(gateway, size=BODY):
    """All of it is sent before the reply is looked for, as most clients do, even if it has been refused meanwhile."""
    with gateway.connect() as client:
        client.send(encode_request("POST", "/e/predict", body_of(size)))
        return client.read_reply()


def test_large_requests_that_wait_for_a_stalling_model_are_bounded(puppet, gateway_for):
    """Those that are held, and those that the queue takes, wait; all others have their answer: 503 and 429, with words."""
    gateway = gateway_for(puppet, shards=1, limits={"held": f"{HELD}MiB"},
                          model={"batching": {"policy": "none", "calls": 1, "max_queued_rows": 3}, "health": {"timeout": "30s"}})
    expect_well(gateway)
    puppet.play(mode="stall")
    before = gateway.resident_mib()
    replies = {}

    def ask(number, size):
        replies[number] = whole(gateway, size)
    threads = [threading.Thread(target=ask, args=(number, size)) for number, size in enumerate([MIB] * 8 + [LATER] * 8)]
    try:
        for thread in threads[:8]:
            thread.start()
        wait_until(lambda: len(replies) == 4, lambda: f"four to be refused: {replies}")
        assert [(reply.status, reply.json()["cause"]) for reply in replies.values()] == [(429, "overloaded")] * 4
        for thread in threads[8:]:
            thread.start()
        wait_until(lambda: len(replies) == 12, lambda: f"twelve to be refused: {replies}")
        assert {reply.status for reply in replies.values()} <= {429, 503}
        expect_memory(gateway, before, HELD + 64)  # the reader's index of a text, and the call
    finally:
        puppet.play()
        puppet.release()
        for thread in threads:
            if thread.ident:
                thread.join()
    assert sorted(reply.status for reply in replies.values())[:4] == [200] * 4
    expect_well(gateway)


@pytest.mark.parametrize("size, status, cause", [(BODY + 1, 413, "too_large"), (1 << 40, 413, "too_large")])
def test_more_than_the_limit_is_refused_before_it_is_sent(serve, size, status, cause):
    gateway = serve()
    for line, first in ((f"Content-Length: {size}", b""), ("Transfer-Encoding: chunked", b"%x\r\n" % size)):
        with gateway.connect() as client:
            client.send(f"POST /e/predict HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n".encode() + first)
            reply = client.read_reply()
            assert (reply.status, reply.json()["cause"]) == (status, cause)
            assert client.read_end() == b""


def test_lowering_what_may_be_held_refuses_what_no_longer_fits(puppet, start_gateway):
    config = one_model([puppet.unix], shards=1, limits={"held": "64MiB"})
    gateway = start_gateway(config).wait_ready()
    assert whole(gateway, 8 * MIB).status == 200
    gateway.config_path.write_text(json.dumps({**config, "limits": {"held": "4MiB", "body": "4MiB"}}))
    assert gateway.ask_admin("/reload", "POST").status == 200
    reply = whole(gateway, 4 * MIB - 100)
    assert (reply.status, reply.json()["cause"]) == (503, "out_of_memory")
    assert whole(gateway, MIB).status == 200
