"""The HTTP/1.1 edge, as raw bytes on a socket see it."""
import random
import socket
import time

import pytest
from xebec_testing.gateway import one_model
from xebec_testing.http_client import Client, Closed, encode_request
from xebec_testing.patience import PATIENCE, wait_until

ONE_ROW = {"input": [1, 2]}
CLIENTS = {"listener": "clients"}


def predict_bytes(*numbers, headers=()):
    return encode_request("POST", "/e/predict", {"input": list(numbers)}, headers)


# --- messages that follow each other ---------------------------------------------------------------

@pytest.mark.parametrize("shards", [1, 2])
def test_keep_alive(puppet, gateway_for, shards):
    gateway = gateway_for(puppet, shards=shards)
    with gateway.connect() as client:
        for number in range(5):
            reply = client.predict(input=[number, 7])
            assert (reply.status, reply.json()["output"]) == (200, [number, 7])
            assert reply.headers.get("connection", "keep-alive") == "keep-alive"
            assert reply.headers["content-type"] == "application/json"
    assert gateway.metrics().sum("xebec_connections_total", **CLIENTS) == 1
    gateway.wait_metric(0, "xebec_connections", **CLIENTS)


@pytest.mark.parametrize("version, headers", [("1.1", "Connection: close\r\n"), ("1.0", ""), ("1.1", "connection: Foo, CLOSE\r\n")])
def test_connection_closes_when_asked_to(puppet, gateway_for, version, headers):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        client.send(f'POST /e/predict HTTP/{version}\r\nHost: x\r\n{headers}Content-Length: 13\r\n\r\n{{"input":[1]}}'.encode())
        reply = client.read_reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert client.read_end() == b""


def test_pipelined_requests_are_answered_in_order(puppet, gateway_for):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        client.send(b"".join(predict_bytes(number, number) for number in range(100)))
        assert [client.read_reply().json()["output"] for _ in range(100)] == [[n, n] for n in range(100)]


def test_pipelined_errors_keep_their_place(puppet, gateway_for):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        client.send(predict_bytes(1) + encode_request("GET", "/e/predict") + encode_request("POST", "/e/predict", b"{")
                    + encode_request("HEAD", "/nothing") + predict_bytes(2))
        replies = [client.read_reply(head_only=i == 3) for i in range(5)]
        assert [reply.status for reply in replies] == [200, 405, 400, 404, 200]
        assert replies[4].json()["output"] == [2]


def test_a_request_may_come_a_byte_at_a_time(puppet, gateway_for):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in predict_bytes(3, 4):
            client.send(bytes([byte]))
        assert client.read_reply().json()["output"] == [3, 4]


# --- bodies ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("body", [
    b'd\r\n{"input":[5]}\r\n0\r\n\r\n',
    b'4;name=value\r\n{"in\r\n1\r\np\r\n8\r\nut":[5]}\r\n00\r\n\r\n',
    b'D\r\n{"input":[5]}\r\n0\r\nX-Trailer: ignored\r\n\r\n',
])
def test_chunked_body(puppet, gateway_for, body):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        for _ in range(2):  # the second finds the parser where it should be
            client.send(encode_request("POST", "/e/predict", body, ["Transfer-Encoding: chunked"]))
            assert client.read_reply().json()["output"] == [5]


def test_large_body(puppet, gateway_for):
    gateway = gateway_for(puppet)
    row = list(range(100_000))
    assert gateway.predict(input=row).json()["output"] == row


def test_expect_continue(puppet, gateway_for):
    gateway = gateway_for(puppet)
    request = predict_bytes(6, headers=["Expect: 100-continue"])
    head, body = request[:request.index(b"{")], request[request.index(b"{"):]
    with gateway.connect() as client:
        client.send(head)
        assert client.read_head() == (100, {})
        client.send(body)
        assert client.read_reply().json()["output"] == [6]


def test_expect_continue_is_refused_before_a_body_too_large(puppet, gateway_for):
    gateway = gateway_for(puppet, limits={"body": "1KiB"})
    with gateway.connect() as client:
        client.send(b"POST /e/predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n")
        assert client.read_reply().status == 413


def test_unknown_expectation(puppet, gateway_for):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        client.send(predict_bytes(1, headers=["Expect: the-unexpected"]))
        assert client.read_reply().status == 417


# --- paths, methods, media types ---------------------------------------------------------------------

@pytest.mark.parametrize("path", ["/e/predict", "/e/predict/", "/%65/%70redict", "/e/predict?a=%zz&b", "http://any.host/e/predict"])
def test_paths_that_predict(puppet, gateway_for, path):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        assert client.ask("POST", path, ONE_ROW).status == 200


@pytest.mark.parametrize("method, path, headers, status, cause", [
    ("POST", "/", [], 404, "not_found"),
    ("POST", "/nobody/predict", [], 404, "not_found"),
    ("POST", "/e", [], 404, "not_found"),
    ("POST", "/e/predict/more", [], 404, "not_found"),
    ("POST", "/e%2Fpredict%2Fx", [], 404, "not_found"),
    ("GET", "/e/predict", [], 405, "method_not_allowed"),
    ("DELETE", "/e/predict", [], 405, "method_not_allowed"),
    ("BREW", "/e/predict", [], 501, "not_implemented"),
    ("POST", "/e/update", [], 501, "not_implemented"),
    ("POST", "/e/predict", ["Content-Type: text/csv"], 415, "unsupported_media_type"),
    ("POST", "/%zz", [], 400, "invalid_input"),
    ("POST", "/e/predict%00", [], 400, "invalid_input"),
])
def test_refusals_are_json_with_a_cause(puppet, gateway_for, method, path, headers, status, cause):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        reply = client.ask(method, path, ONE_ROW, headers)
        assert (reply.status, reply.json()["cause"], reply.headers["content-type"]) == (status, cause, "application/json")
        assert reply.json()["error"]
        if status == 405:
            assert reply.headers["allow"] == "POST"
    assert puppet.calls() == []


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8", None])
def test_media_types_that_predict(puppet, gateway_for, media_type):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        headers = [f"Content-Type: {media_type}"] if media_type else []
        assert client.ask("POST", "/e/predict", ONE_ROW, headers).status == 200


def test_head_gets_no_body(puppet, gateway_for):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        reply = client.ask("HEAD", "/e/predict")
        assert (reply.status, reply.body) == (405, b"")
        assert int(reply.headers["content-length"]) > 0
        assert client.predict(input=[1]).status == 200  # nothing was left in between
    head, get = gateway.ask_admin("/health/live", "HEAD"), gateway.ask_admin("/health/live")
    assert (head.status, head.headers["content-length"]) == (200, str(len(get.body)))


# --- limits ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("headers, body", [
    (["Content-Length: 1025"], b""),
    (["Content-Length: 99999999999999999999"], b""),
    (["Transfer-Encoding: chunked"], b"401\r\n" + b" " * 1025 + b"\r\n0\r\n\r\n"),
    (["Transfer-Encoding: chunked"], b"ffffffff\r\n"),
])
def test_body_limit(puppet, gateway_for, headers, body):
    gateway = gateway_for(puppet, limits={"body": "1KiB"})
    with gateway.connect() as client:
        client.send(encode_request("POST", "/e/predict", body, headers))
        reply = client.read_reply()
        # a number that 64 bits do not hold may as well be called invalid
        assert reply.status == 413 or (b"9999" in "".join(headers).encode() and reply.status == 400)
        assert reply.headers["connection"] == "close"
        client.read_end()


def test_body_of_exactly_the_limit(puppet, gateway_for):
    gateway = gateway_for(puppet, limits={"body": "1KiB"})
    body = b'{"input":[1]}'.ljust(1024)
    with gateway.connect() as client:
        assert client.ask("POST", "/e/predict", body).status == 200


@pytest.mark.parametrize("request_bytes, status", [
    (b"POST /e/predict HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 2000 + b"\r\n\r\n", 431),
    (b"POST /e/predict HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 400 + b"\r\n", 431),
    (b"POST /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    (b"POST /e/predict HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 2000, 431),  # it need not end to be too long
    (b"POST /" + b"a" * 2000, 414),
])
def test_header_limit(puppet, gateway_for, request_bytes, status):
    gateway = gateway_for(puppet, limits={"header": "1KiB"})
    with gateway.connect() as client:
        client.send(request_bytes)
        reply = client.read_reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert reply.json()["error"]
        client.read_end()


def test_connection_limit(puppet, gateway_for):
    gateway = gateway_for(puppet, shards=1, limits={"connections": 4})
    clients = [gateway.connect() for _ in range(4)]
    assert all(client.predict(input=[1]).status == 200 for client in clients)
    with gateway.connect() as fifth:
        rest = b""
        try:
            fifth.send(predict_bytes(1))
            rest = fifth.read_end()
        except (ConnectionResetError, BrokenPipeError):
            pass
        assert b" 200 " not in rest
    assert gateway.metrics().sum("xebec_connections_refused_total") >= 1
    clients.pop().close()
    gateway.wait_metric(3, "xebec_connections", **CLIENTS)
    assert gateway.predict(input=[1]).status == 200
    for client in clients:
        client.close()


# --- time ----------------------------------------------------------------------------------------------

def dribble(client, data):
    """Sends a byte every 50 ms until the gateway has had enough of it. -> what it said"""
    client.socket.settimeout(0.05)
    for byte in data:
        try:
            client.send(bytes([byte]))
            client._more()
        except TimeoutError:
            continue
        except (Closed, ConnectionError):
            break
        break
    client.socket.settimeout(PATIENCE)
    return client.read_end()


def test_slow_header_ends(puppet, gateway_for):
    gateway = gateway_for(puppet, timeouts={"header": "300ms"})
    with gateway.connect() as client:
        assert dribble(client, b"POST /e/predict HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200).startswith(b"HTTP/1.1 408 ")


def test_slow_body_ends(puppet, gateway_for):
    gateway = gateway_for(puppet, timeouts={"body": "300ms"})
    with gateway.connect() as client:
        client.send(b"POST /e/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        assert dribble(client, b" " * 1000).startswith(b"HTTP/1.1 408 ")


def test_idle_connection_ends_without_a_word(puppet, gateway_for):
    gateway = gateway_for(puppet, timeouts={"idle": "200ms"})
    with gateway.connect() as fresh, gateway.connect() as used:
        assert used.predict(input=[1]).status == 200
        assert used.read_end() == b""
        assert fresh.read_end() == b""


def test_waiting_for_a_model_is_not_idling(puppet, gateway_for):
    gateway = gateway_for(puppet.play(delay_ms=800), timeouts={"idle": "200ms", "header": "200ms", "body": "200ms"})
    assert gateway.predict(input=[1]).status == 200


def test_client_that_takes_nothing_of_its_reply(puppet, gateway_for):
    gateway = gateway_for(puppet, timeouts={"write": "300ms"})
    with gateway.connect() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(40):  # as much as sockets buffer, and more
            try:
                client.send(predict_bytes(*range(20_000)))
            except (TimeoutError, ConnectionError):
                break
        gateway.wait_metric(0, "xebec_connections", **CLIENTS)
    assert gateway.predict(input=[1]).status == 200


# --- smuggling: RFC 9112 section 6.3, 11.2 ------------------------------------------------------------------

SMUGGLED = b"POST /e/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{\"input\":[66]}"
DISHONEST = {
    "both lengths": b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    "both lengths, the other way round": b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6",
    "a list of lengths": b"Content-Length: 5, 6",
    "negative length": b"Content-Length: -5",
    "signed length": b"Content-Length: +5",
    "hexadecimal length": b"Content-Length: 0x5",
    "length with words": b"Content-Length: 5 bytes",
    "empty length": b"Content-Length: ",
    "chunked twice": b"Transfer-Encoding: chunked, chunked",
    "chunked in two fields": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "chunked is not last": b"Transfer-Encoding: chunked, gzip",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked",
    "identity": b"Transfer-Encoding: identity",
    "quoted chunked": b'Transfer-Encoding: "chunked"',
    "chunked with vertical tab": b"Transfer-Encoding: \x0bchunked",
    "space before the colon": b"Content-Length : 5",
    "tab before the colon": b"Transfer-Encoding\t: chunked",
    "obs-fold": b"X: a\r\n Content-Length: 5",
    "folded chunked": b"Transfer-Encoding:\r\n chunked",
    "NUL in a value": b"X: a\x00b",
    "bare CR in a value": b"X: a\rContent-Length: 5",
    "NUL in a name": b"X\x00Y: a",
    "space in a name": b"Content Length: 5",
    "no name": b": a",
    "no colon": b"Content-Length 5",
    "two hosts": b"Host: y",
}


@pytest.mark.parametrize("fields", DISHONEST.values(), ids=DISHONEST.keys())
def test_dishonest_framing_is_refused_and_ends_the_connection(puppet, gateway_for, fields):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        client.send(b"POST /e/predict HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n\r\n0\r\n\r\n" + SMUGGLED)
        reply = client.read_reply()
        assert (reply.status, reply.headers["connection"]) == (400, "close")
        assert reply.json()["cause"] == "invalid_input"
        assert client.read_end() == b""
    assert puppet.calls() == []


@pytest.mark.parametrize("request_bytes, status", [
    (b"POST /e/predict HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400),                        # no Host
    (b"POST /e/predict HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST e/predict HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"POST * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"CONNECT host:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"POST /e/predict\r\n\r\n", 505),                                                      # HTTP/0.9
    (b"POST /e/predict HTTP/3.0\r\nHost: x\r\n\r\n", 505),
    (b"POST /e/predict HTTPS/1.1\r\nHost: x\r\n\r\n", 400),
    (b"POST /e/predict HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
    (b"POST /e predict HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),                                 # TLS
    (b"POST /e/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    (b"POST /e/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefg\r\n0\r\n\r\n", 400),
    (b"POST /e/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n", 400),
    (b"POST /e/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nabcde\r\n", 400),
])
def test_malformed_requests(puppet, gateway_for, request_bytes, status):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        client.send(request_bytes)
        reply = client.read_reply()
        assert reply.status == status or (status == 400 and reply.status == 413 and b"100000000" in request_bytes)
        client.read_end()


def test_two_equal_lengths_are_one(puppet, gateway_for):
    """RFC 9112 6.3 allows both to refuse and to take them as one; what is not allowed is two messages."""
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        client.send(b'POST /e/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\nContent-Length: 13\r\n\r\n{"input":[1]}')
        assert client.read_reply().status in (200, 400)


def test_no_bytes_kill_it(puppet, gateway_for):
    """Requests with bytes flipped, cut and doubled, seeded: an answer that is HTTP, or an end. Never a hang or a death."""
    gateway = gateway_for(puppet, timeouts={"header": "200ms", "body": "200ms", "idle": "200ms"})
    dice = random.Random(20170327)
    whole = predict_bytes(1, 2) + encode_request("POST", "/e/predict", b"3\r\nabc\r\n0\r\n\r\n", ["Transfer-Encoding: chunked"])
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(data))
            data[at:at + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 3))
        with gateway.connect() as client:
            try:
                client.send(bytes(data[:dice.randint(1, len(data))]))
                client.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            rest = client.read_end()
            assert rest == b"" or rest.startswith(b"HTTP/1.1 "), rest
    assert gateway.predict(input=[1]).status == 200


# --- clients that leave ------------------------------------------------------------------------------------

def test_hanging_up_cancels_the_call(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall"))
    with gateway.connect() as client:
        client.send(predict_bytes(1))
        puppet.wait_calls(1)
    wait_until(lambda: puppet.calls()[0]["ended"] == "cancelled", "the replica to hear of it")
    gateway.wait_metric(1, "xebec_requests_total", outcome="cancelled")
    gateway.wait_metric(0, "xebec_requests_open")


def test_hanging_up_takes_rows_out_of_the_queue(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall", times=1), model={"batching": {"calls": 1}})
    with gateway.connect() as first, gateway.connect() as gone:
        first.send(predict_bytes(1))
        puppet.wait_calls(1)
        gone.send(predict_bytes(2))
        gateway.wait_metric(1, "xebec_queue_rows")
        gone.close()
        gateway.wait_metric(0, "xebec_queue_rows")
        puppet.release()
        assert first.read_reply().json()["output"] == [1]
    assert gateway.predict(input=[3]).json()["output"] == [3]
    assert puppet.rows_seen() == [1, 3]


def test_hanging_up_leaves_others_of_the_batch_alone(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall", times=2), model={"batching": {"calls": 1}})
    with gateway.connect() as first, gateway.connect() as gone, gateway.connect() as stays:
        first.send(predict_bytes(1))
        puppet.wait_calls(1)
        gone.send(predict_bytes(2))
        stays.send(predict_bytes(3))
        gateway.wait_metric(2, "xebec_queue_rows")
        puppet.play(mode="stall", times=1)
        puppet.release()
        assert first.read_reply().json()["output"] == [1]
        assert puppet.wait_calls(2)[1]["rows"] == 2
        gone.close()
        gateway.wait_metric(1, "xebec_requests_total", outcome="cancelled")
        puppet.release()
        assert stays.read_reply().json()["output"] == [3]


def test_half_closed_client_still_gets_its_reply_or_is_gone(puppet, gateway_for):
    """A client that shuts down its sending side may be taken for gone, but never gets half a reply."""
    gateway = gateway_for(puppet.play(delay_ms=100))
    with gateway.connect() as client:
        client.send(predict_bytes(1))
        client.socket.shutdown(socket.SHUT_WR)
        rest = client.read_end()
        assert rest == b"" or (rest.startswith(b"HTTP/1.1 200 ") and rest.rstrip().endswith(b"}"))


def test_unix_socket(puppet, start_gateway, tmp_path):
    path = str(tmp_path / "xebec.sock")
    gateway = start_gateway(one_model([puppet.unix], listen=f"unix:{path}")).wait_ready()
    with Client(path) as client:
        assert client.predict(input=[1, 2]).json()["output"] == [1, 2]
    assert gateway.port == 0
