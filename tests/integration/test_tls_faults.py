"""TLS, and peers that are broken, slow, hostile or gone: clients of the gateway, and its replicas."""
import contextlib
import os
import random
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from xebec_testing.gateway import Gateway, one_model
from xebec_testing.patience import PATIENCE, wait_until
from xebec_testing.secure import ByHand, Echo, ask, authority, connect, read_reply, request, serving, start, stranger  # noqa: F401

MIB = 1 << 20
SANITIZED = bool(os.environ.get("XEBEC_SANITIZE"))  # then memory is not what it is otherwise


def wait_gone(gateway):
    gateway.wait_metric(0, "xebec_connections", listener="clients")


def handshakes(gateway, **labels):
    return gateway.metrics().sum("xebec_tls_handshakes_total", **labels)


def well(gateway, authority):
    with connect(gateway, authority) as connection:
        assert ask(connection) == 200


def hello():
    """The first bytes of a client that knows what it does."""
    said = ssl.MemoryBIO()
    try:
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        return said.read()


def hear_out(connection):
    """Until the gateway ends it, one way or the other."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass


# --- handshakes ----------------------------------------------------------------------------------

def test_what_is_cut_off_in_a_handshake_leaves_nothing(start, authority):
    gateway = start(authority.issue("server").tls)
    whole = hello()
    lengths = [0, 1, 4, 5, 6, 9, 50, len(whole) - 1, len(whole)]
    for length in lengths:
        with socket.create_connection(gateway.address, PATIENCE) as connection:
            connection.sendall(whole[:length])
            connection.shutdown(socket.SHUT_WR)
            hear_out(connection)
    gateway.wait_metric(len(lengths), "xebec_tls_handshakes_total", outcome="gone")
    wait_gone(gateway)
    well(gateway, authority)


def test_noise_ends_each_connection_and_nothing_else(start, authority):
    gateway = start(authority.issue("server").tls, timeouts={"handshake": "500ms"})
    draw, whole = random.Random(4), hello()
    said = [draw.randbytes(draw.randrange(1, 600)) for _ in range(40)]
    for _ in range(40):  # a hello with some bytes changed: past the first ones, which make it one
        changed = bytearray(whole)
        for _ in range(draw.randrange(1, 6)):
            changed[draw.randrange(9, len(changed))] = draw.randrange(256)
        said.append(bytes(changed))
    connections = []
    for words in said:
        connections.append(socket.create_connection(gateway.address, PATIENCE))
        connections[-1].sendall(words)
    for connection in connections:
        hear_out(connection)
        connection.close()
    wait_until(lambda: handshakes(gateway) == len(said), lambda: f"{handshakes(gateway)} of {len(said)} to have an outcome")
    assert handshakes(gateway, outcome="ok") == 0 and handshakes(gateway, outcome="malformed") > 10
    wait_gone(gateway)
    well(gateway, authority)


def test_a_handshake_in_crumbs_gets_no_more_time(start, authority):
    gateway = start(authority.issue("server").tls, timeouts={"handshake": "300ms"})
    whole = hello()
    with socket.create_connection(gateway.address, PATIENCE) as connection:
        connection.settimeout(0.05)  # between two bytes: all of them would take far longer than a handshake may
        for byte in whole * 10:
            try:
                connection.sendall(bytes([byte]))
                if not connection.recv(1):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("it may go on for ever")
    assert handshakes(gateway, outcome="timeout") == 1


def test_many_that_stall_are_in_nobodys_way(start, authority):
    gateway = start(authority.issue("server").tls, timeouts={"handshake": "2s"})
    before, half = gateway.resident_mib(), hello()[:100]
    stalling = [socket.create_connection(gateway.address, PATIENCE) for _ in range(300)]
    for connection in stalling:
        connection.sendall(half)
    well(gateway, authority)
    assert SANITIZED or gateway.resident_mib() < before + 40
    for connection in stalling:
        hear_out(connection)
        connection.close()
    gateway.wait_metric(300, "xebec_tls_handshakes_total", outcome="timeout")
    wait_gone(gateway)


# --- open sessions -------------------------------------------------------------------------------

class Commanded:
    """`openssl s_client`, which renews keys and renegotiates when it is told to, by a letter."""

    def __init__(self, gateway, *options):
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", *options], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        self.said = b""

    def hears(self, words):
        """False: it has ended without them."""
        while words not in self.said:
            more = self.process.stdout.read(4096)
            if not more:
                return False
            self.said += more
        self.said = self.said.partition(words)[2]
        return True

    def command(self, letter):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(letter + b"\n")

    def end(self):
        self.process.kill()
        rest, _ = self.process.communicate()
        return self.said + rest


def test_who_renews_keys_without_end_is_shown_out(start, authority):
    gateway = start(authority.issue("server").tls)
    client, renewed = Commanded(gateway, "-tls1_3"), 0
    try:
        assert client.hears(b"Verify return code")
        while renewed < 100_000:  # it does not wait for answers, and is ahead of the gateway
            client.command(b"K")
            if not client.hears(b"KEYUPDATE"):
                break
            renewed += 1
    finally:
        client.end()
    assert 32 <= renewed < 100_000
    gateway.wait_metric(1, "xebec_http_errors_total", cause="overloaded")
    wait_gone(gateway)
    well(gateway, authority)


def test_who_renegotiates_is_told_no(start, authority):
    gateway = start(authority.issue("server").tls)
    client = Commanded(gateway, "-tls1_2")
    try:
        assert client.hears(b"Extended master secret")
        client.command(b"R")
        assert client.hears(b"RENEGOTIATING") and client.hears(b"no renegotiation")
    finally:
        client.end()
    wait_gone(gateway)
    assert handshakes(gateway, outcome="ok") == 1
    well(gateway, authority)


def leave_politely(connection):
    connection.settimeout(PATIENCE)
    connection.unwrap().close()


def leave_by_reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


LEAVING = {"with close_notify": leave_politely, "without": lambda connection: connection.close(), "by reset": leave_by_reset}


@pytest.mark.parametrize("how", LEAVING)
def test_who_leaves_within_a_request_has_asked_nothing(start, authority, how):
    gateway = start(authority.issue("server").tls)
    for part in (b"", b"POST /e/pre", request(b'{"input": [1, 2]}')[:-1]):
        connection = connect(gateway, authority)
        connection.sendall(part)
        LEAVING[how](connection)
    wait_gone(gateway)
    assert gateway.metrics().sum("xebec_requests_total") == 0
    well(gateway, authority)


@pytest.mark.parametrize("how", ["without", "by reset"])
def test_who_leaves_while_its_model_works_is_noticed(gateway_for, puppet, authority, how):
    gateway = gateway_for(puppet, tls=authority.issue("server").tls)
    puppet.play(mode="stall")
    connection = connect(gateway, authority)
    connection.sendall(request(b'{"input": [1, 2]}'))
    puppet.wait_calls(1)
    LEAVING[how](connection)
    gateway.wait_metric(1, "xebec_requests_total", outcome="cancelled")
    wait_gone(gateway)


@pytest.mark.parametrize("cut", [1, 5, 20, -1])
def test_a_record_that_is_cut_off_has_said_nothing(start, authority, cut):
    gateway = start(authority.issue("server").tls)
    client = ByHand(gateway, authority)
    client.socket.sendall(client.seal(request(b'{"input": [1, 2]}'))[:cut])
    client.socket.shutdown(socket.SHUT_WR)
    hear_out(client.socket)
    client.close()
    wait_gone(gateway)
    assert gateway.metrics().sum("xebec_requests_total") == 0


def test_a_record_that_is_changed_ends_the_connection(start, authority):
    gateway = start(authority.issue("server").tls)
    client = ByHand(gateway, authority)
    sealed = bytearray(client.seal(request(b'{"input": [1, 2]}')))
    sealed[-1] ^= 1
    client.socket.sendall(sealed)
    hear_out(client.socket)
    client.close()
    wait_gone(gateway)
    assert gateway.metrics().sum("xebec_requests_total") == 0
    well(gateway, authority)


# --- clients that take their time ------------------------------------------------------------------

NUMBERS = b'{"input": [' + b"1234567, " * 100_000 + b"0]}"  # almost a MiB, and so is the reply


def send_apart(connection, said):
    """In a thread of its own: it waits, for the gateway reads no more of one that does not take its replies."""
    def send():
        with contextlib.suppress(OSError):
            connection.sendall(said)
    thread = threading.Thread(target=send)
    thread.start()
    return thread


def numbers_of(connection):
    return read_reply(connection).partition(b'"output":')[2]


def test_who_takes_nothing_costs_no_more_than_one_reply(start, authority):
    """Ten clients with twelve requests of a MiB each: 120 MiB of replies if all were computed, and as much of requests."""
    gateway = start(authority.issue("server").tls)
    with connect(gateway, authority) as connection:
        connection.sendall(request(NUMBERS))
        expected = numbers_of(connection)
    before = gateway.resident_mib()
    clients = [ByHand(gateway, authority) for _ in range(10)]
    threads = [send_apart(client.socket, client.seal(request(NUMBERS) * 12)) for client in clients]
    try:
        wait_until(lambda: gateway.metrics().sum("xebec_requests_total", outcome="ok") >= 11, "a reply each")
        for _ in range(12):
            for client in clients:
                assert numbers_of(client) == expected
        assert SANITIZED or gateway.resident_most_mib() < before + 100
    finally:
        for client in clients:
            client.close()
        for thread in threads:
            thread.join()
    wait_gone(gateway)


def test_who_takes_nothing_at_all_is_given_up(start, authority):
    gateway = start(authority.issue("server").tls, timeouts={"write": "300ms"})
    client = ByHand(gateway, authority)
    thread = send_apart(client.socket, client.seal(request(NUMBERS) * 20))
    wait_gone(gateway)
    client.close()
    thread.join()
    well(gateway, authority)


# --- replicas ----------------------------------------------------------------------------------------

def one_replica(tmp_path, authority, address, transport):
    config = one_model([address], outputs={"x": {"datatype": "FP32", "shape": [-1, -1]}}, transport=transport,
                       endpoint={"when_unready": "fail"},
                       model={"tls": {"ca": str(authority.certificate)}})
    config["models"]["m"].pop("output")
    return Gateway(tmp_path, config)


REFUSED = {  # what is wrong with a replica's certificate -> its pair, and what is said of it
    "expired": (lambda ours, others: ours.issue("bad", days=-1), "certificate has expired"),
    "for another name": (lambda ours, others: ours.issue("bad", "DNS:elsewhere"), "hostname mismatch"),
    "of another CA": (lambda ours, others: others.issue("bad"), "unable to get local issuer certificate"),
}


@pytest.mark.parametrize("transport", ["nghttp2", "grpc"])
@pytest.mark.parametrize("what", REFUSED)
def test_a_replica_that_is_not_to_be_trusted_gets_no_request(tmp_path, authority, stranger, what, transport):
    """... and is told why (gRPC core says less); once its certificate is a good one it serves."""
    issue, words = REFUSED[what]
    listen = f"unix:{tmp_path}/replica.sock"
    worker = Echo(*serving(issue(authority, stranger)), listen=listen)
    gateway = one_replica(tmp_path, authority, listen, transport)
    try:
        why = wait_until(lambda: gateway.replicas()[listen]["why"], "words")
        assert "it cannot be reached" in why
        if transport == "nghttp2":
            assert words in why and f"expected localhost by tls.ca {authority.certificate}" in why
        reply = gateway.predict(input=[1, 2])
        assert (reply.status, reply.json()["cause"]) == (503, "no_replica"), reply
        worker.stop()
        worker = Echo(*serving(authority.issue("good")), listen=listen)
        gateway.wait_ready()
        assert gateway.predict(input=[1, 2]).status == 200
    finally:
        gateway.stop()
        worker.stop()


@pytest.mark.parametrize("transport", ["nghttp2", "grpc"])
@pytest.mark.parametrize("says", [b"", b"\x16\x03\x03\xff", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["nothing", "half", "http"])
def test_a_replica_that_speaks_no_tls_gets_no_request(tmp_path, authority, says, transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        gateway, taken = one_replica(tmp_path, authority, address, transport), []

        def serve():
            with pytest.raises(OSError):
                while True:
                    taken.append(listener.accept()[0])
                    taken[-1].sendall(says)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            wait_until(lambda: taken, "a connection")
            reply = gateway.predict(input=[1, 2])
            assert (reply.status, reply.json()["cause"]) == (503, "no_replica"), reply
            assert gateway.replicas()[address]["state"] != "up"
        finally:
            gateway.stop()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()
