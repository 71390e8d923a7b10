"""
What tests of TLS share: a CA, a gateway before an echo worker with TLS on either side, and clients of it by Python's ssl.
Fixtures to import: authority, start.
"""
import os
import socket
import ssl
import subprocess

import pytest

from .certificates import Authority
from .gateway import Gateway, one_model
from .patience import PATIENCE

ECHO = os.environ.get("XEBEC_ECHO", "xebec-echo")


class Echo:
    """The C SDK's echo worker, at a free port unless `listen` says otherwise; `options` are its command line's."""

    def __init__(self, *options, listen="127.0.0.1:0"):
        command = [ECHO, "--listen", listen, "--name", "m", "--version", "v1", "--input", "x:FP32:-1,-1", *options]
        self.process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
        self.address = self.process.stderr.readline().split()[-1]

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stderr.close()


def serving(pair, ca=None):
    """The echo worker's options: TLS with this certificate, for clients of that CA alone."""
    return ["--tls-certificate", pair.certificate, "--tls-key", pair.key, *(["--tls-client-ca", ca] if ca else [])]


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def stranger(tmp_path):
    """A CA that nobody knows."""
    (tmp_path / "others").mkdir()
    return Authority(tmp_path / "others")


@pytest.fixture
def start(tmp_path):
    """start(tls=..., model_tls=..., worker=[options]) -> Gateway"""
    running = []

    def run(tls=None, model_tls=None, worker=(), ready=True, **top):
        echo = Echo(*worker)
        running.append(echo)
        model = {"tls": model_tls} if model_tls else {}
        config = one_model([echo.address], outputs={"x": {"datatype": "FP32", "shape": [-1, -1]}}, model=model, **top)
        config["models"]["m"].pop("output")
        if tls:
            config["tls"] = tls
        gateway = Gateway(tmp_path, config)
        running.append(gateway)
        return gateway.wait_ready() if ready else gateway

    yield run
    for each in reversed(running):
        each.stop()


def connect(gateway, authority, pair=None, **versions):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    for name, value in versions.items():
        setattr(context, name, value)
    if pair:
        context.load_cert_chain(pair.certificate, pair.key)
    return context.wrap_socket(socket.create_connection(gateway.address, PATIENCE), server_hostname="localhost")


def request(body):
    return (b"POST /e/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body))


def ask(connection):
    """One request on an HTTP/1.1 connection -> its status."""
    connection.sendall(request(b'{"input": [1, 2]}'))
    return int(read_reply(connection).split()[1])


def read_reply(connection):
    """One reply, and no byte of the next."""
    reply = b""
    while not reply.endswith(b"\r\n\r\n"):
        reply += connection.recv(1) or pytest.fail(f"hung up after {reply}")
    length = int(next(line for line in reply.split(b"\r\n") if line.lower().startswith(b"content-length")).split()[1])
    body = b""
    while len(body) < length:
        body += connection.recv(min(65536, length - len(body))) or pytest.fail("cut off")
    return reply + body


class ByHand:
    """A client whose sealed bytes are the test's to send, or not: seal() gives them, .socket is plain, and takes little by itself."""

    def __init__(self, gateway, authority):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(gateway.address)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(authority.certificate))
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self._until_done(self.tls.do_handshake)
        self.socket.sendall(self.outgoing.read())

    def _until_done(self, step, *arguments):
        while True:
            try:
                return step(*arguments)
            except ssl.SSLWantReadError:
                if self.outgoing.pending:
                    self.socket.sendall(self.outgoing.read())
                self.incoming.write(self.socket.recv(1 << 18) or pytest.fail("hung up"))

    def seal(self, said):
        self.tls.write(said)
        return self.outgoing.read()

    def recv(self, room):
        return self._until_done(self.tls.read, room)

    def close(self):
        self.socket.close()
