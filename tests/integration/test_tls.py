"""TLS from outside, on both sides: curl, Python's ssl, certificates that change under load, replicas that serve TLS."""
import json
import os
import socket
import ssl
import subprocess
import threading

import pytest

from xebec_testing.gateway import Gateway, one_model, run_xebec
from xebec_testing.patience import PATIENCE, wait_until
from xebec_testing.python_worker import PYTHON, SOURCES
from xebec_testing.secure import (ask, authority, connect, read_reply, request, serving, start,  # noqa: F401
                                  stranger)

def curl(gateway, authority, *options, scheme="https"):
    """-> (exit status, body and then the HTTP version and the code)"""
    result = subprocess.run(
        ["curl", "-s", "--cacert", str(authority.certificate), "-w", "\n%{http_version} %{http_code}", *map(str, options),
         f"{scheme}://127.0.0.1:{gateway.port}/e/predict", "--json", '{"input": [1, 2, 3]}'],
        capture_output=True, text=True, timeout=PATIENCE)
    return result.returncode, result.stdout


def serial_shown(gateway, authority):
    with connect(gateway, authority) as connection:
        return connection.getpeercert()["serialNumber"].lstrip("0")


def test_both_versions_of_http_on_one_port(start, authority):
    gateway = start(authority.issue("server").tls)
    for option, version in (("--http1.1", "1.1"), ("--http2", "2"), ("--http2-prior-knowledge", "2")):
        status, said = curl(gateway, authority, option)
        assert (status, said.splitlines()[-1]) == (0, f"{version} 200"), said
    gateway.wait_metric(3, "xebec_tls_handshakes_total", outcome="ok")


def test_plain_http_is_told_so_in_words(start, authority):
    gateway = start(authority.issue("server").tls)
    _, said = curl(gateway, authority, scheme="http")
    assert said.endswith("1.1 400") and "https://" in json.loads(said.splitlines()[0])["error"]
    gateway.wait_metric(1, "xebec_tls_handshakes_total", outcome="plain_http")


def test_clients_show_certificates_where_they_must(start, authority, stranger):
    good, bad = authority.issue("client"), stranger.issue("client")
    gateway = start({**authority.issue("server").tls, "client_ca": str(authority.certificate)})
    assert curl(gateway, authority, "--cert", good.certificate, "--key", good.key)[1].endswith("200")
    for options in ((), ("--cert", bad.certificate, "--key", bad.key)):
        status, said = curl(gateway, authority, *options)
        assert status != 0 and said.endswith("000"), said
    gateway.wait_metric(2, "xebec_tls_handshakes_total", outcome="certificate")


def test_clients_show_certificates_where_they_may(start, authority, stranger):
    good, bad = authority.issue("client"), stranger.issue("client")
    gateway = start({**authority.issue("server").tls, "client_ca": str(authority.certificate), "clients": "optional"})
    for options in ((), ("--cert", good.certificate, "--key", good.key)):
        assert curl(gateway, authority, *options)[1].endswith("200")
    status, said = curl(gateway, authority, "--cert", bad.certificate, "--key", bad.key)
    assert status != 0 and said.endswith("000"), said
    gateway.wait_metric(1, "xebec_tls_handshakes_total", outcome="certificate")


def test_an_old_tls_is_refused(start, authority):
    gateway = start({**authority.issue("server").tls, "min_version": "1.3"})
    with pytest.raises(ssl.SSLError):
        connect(gateway, authority, maximum_version=ssl.TLSVersion.TLSv1_2)
    gateway.wait_metric(1, "xebec_tls_handshakes_total", outcome="no_agreement")


def test_sessions_are_resumed(start, authority):
    gateway = start(authority.issue("server").tls)
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for _ in range(2):
        plain = socket.create_connection(gateway.address, PATIENCE)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as connection:
            assert ask(connection) == 200
            session, resumed = connection.session, connection.session_reused
    assert resumed
    gateway.wait_metric(1, "xebec_tls_handshakes_total", outcome="resumed")


def test_who_stalls_or_talks_nonsense_is_shown_out(start, authority):
    gateway = start(authority.issue("server").tls, timeouts={"handshake": "200ms"})
    for said, outcome in ((b"", "timeout"), (b"\x16\x03\x01\x02\x00\x01", "timeout"), (b"\x00" * 400, "malformed")):
        before = gateway.metrics().sum("xebec_tls_handshakes_total", outcome=outcome)
        with socket.create_connection(gateway.address, PATIENCE) as connection:
            connection.sendall(said)
            while connection.recv(4096):
                pass  # an alert, and then the end
        gateway.wait_metric(before + 1, "xebec_tls_handshakes_total", outcome=outcome)
    assert curl(gateway, authority)[1].endswith("200")


def test_large_bodies_both_ways_to_a_client_that_takes_them_slowly(start, authority):
    gateway = start(authority.issue("server").tls)
    numbers = list(range(200_000))
    body = json.dumps({"input": numbers}).encode()
    with connect(gateway, authority) as connection:
        connection.sendall(request(body))
        reply = read_reply(connection)
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["output"] == numbers


def test_a_certificate_is_renewed_without_a_failed_request(start, authority):
    pair = authority.issue("server")
    gateway = start(pair.tls)
    old, stop, outcomes = connect(gateway, authority), threading.Event(), []

    def load():
        while not stop.is_set():
            with connect(gateway, authority) as connection:
                outcomes.extend(ask(connection) for _ in range(3))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    serials = set()
    for _ in range(5):
        pair = authority.issue("server")
        assert gateway.ask_admin("/reload", "POST").status == 200
        assert serial_shown(gateway, authority) == pair.serial.lstrip("0")
        serials.add(pair.serial)
    stop.set()
    for thread in threads:
        thread.join()
    with old:
        assert ask(old) == 200  # on the first one's session
    assert len(serials) == 5 and outcomes and set(outcomes) == {200}


def test_a_pair_that_does_not_belong_together_changes_nothing(start, authority):
    pair = authority.issue("server")
    gateway = start(pair.tls)
    serial = pair.serial.lstrip("0")
    pair.key.write_bytes(authority.issue("other").key.read_bytes())
    reply = gateway.ask_admin("/reload", "POST")
    assert reply.status == 400 and "is not the key of" in reply.body.decode()
    assert serial_shown(gateway, authority) == serial
    assert "tls.key" in run_xebec("check", "--config", gateway.config_path).stderr


def test_what_changes_is_taken_over_when_watched(start, authority):
    gateway = start(authority.issue("server").tls, watch=True)
    renewed = authority.issue("server").serial.lstrip("0")
    wait_until(lambda: serial_shown(gateway, authority) == renewed, "the renewed certificate")


def test_an_expired_certificate_is_warned_of(authority, start):
    gateway = start(authority.issue("server", days=-1).tls)
    assert "has expired" in gateway.events("config_warning")[0]["what"]
    result = run_xebec("check", "--config", gateway.config_path)
    assert result.returncode == 0 and "warning: tls.certificate" in result.stderr


# --- replicas ------------------------------------------------------------------------------------

@pytest.mark.parametrize("transport", ["nghttp2", "grpc"])
def test_replicas_serve_tls_and_know_who_calls(start, authority, transport):
    server, client = authority.issue("server"), authority.issue("client")
    gateway = start(model_tls={"ca": str(authority.certificate), **client.tls}, transport=transport,
                    worker=serving(server, authority.certificate))
    assert gateway.predict(input=[1, 2]).status == 200


def test_a_python_worker_serves_tls(authority, tmp_path):
    pair = authority.issue("server")
    script = tmp_path / "worker.py"
    script.write_text("from xebec_worker import Tensor, serve\n"
                      "serve(lambda x: {'y': x * 2}, inputs={'x': Tensor('FP32', [-1, -1])}, "
                      "outputs={'y': Tensor('FP32', [-1, -1])})\n")
    environment = {**os.environ, "PYTHONPATH": ":".join(map(str, SOURCES)), "XEBEC_NAME": "m", "XEBEC_VERSION": "v1",
                   "XEBEC_LISTEN": f"unix:{tmp_path}/worker.sock", "XEBEC_TLS_CERTIFICATE": str(pair.certificate),
                   "XEBEC_TLS_KEY": str(pair.key)}
    worker = subprocess.Popen([PYTHON, str(script)], env=environment, stderr=subprocess.DEVNULL)
    try:
        gateway = Gateway(tmp_path, one_model([environment["XEBEC_LISTEN"]],
                                              model={"tls": {"ca": str(authority.certificate)}}))
        try:
            gateway.wait_ready()
            assert gateway.predict(input=[1, 2]).json()["output"] == [2, 4]
            health = subprocess.run([PYTHON, "-m", "xebec_health"], env=environment, capture_output=True, text=True)
            assert health.returncode == 0 and "SERVING" in health.stdout, health
        finally:
            gateway.stop()
    finally:
        worker.terminate()
        worker.wait()
