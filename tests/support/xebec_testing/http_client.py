"""An HTTP/1.1 client that shows its hands: bytes go out as they are written, replies come back one by one."""
import json
import socket

from .patience import PATIENCE


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:300]!r}"


class Closed(Exception):
    """The connection ended before a whole reply was there; .rest is what came of it."""

    def __init__(self, rest):
        super().__init__(f"closed after {rest[:200]!r}")
        self.rest = rest


def encode_request(method, path, body=None, headers=()):
    """body: bytes, or anything else that becomes JSON; None: none."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: xebec", *headers]
    if body is not None and not any(line.lower().startswith(("content-length", "transfer-enc")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


class Client:
    """One connection. address: (host, port), or the path of a unix socket."""

    def __init__(self, address, timeout=PATIENCE):
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self.unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, method, path, body=None, headers=()):
        self.send(encode_request(method, path, body, headers))
        return self.read_reply(head_only=method == "HEAD")

    def predict(self, endpoint="e", headers=(), **body):
        return self.ask("POST", f"/{endpoint}/predict", body, headers)

    # --- reading ---------------------------------------------------------------------------------

    def _more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Closed(self.unread)
        self.unread += data

    def _take(self, length):
        while len(self.unread) < length:
            self._more()
        taken, self.unread = self.unread[:length], self.unread[length:]
        return taken

    def read_head(self):
        """-> (status, {lower-case name: value}); a repeated header is a fault of the gateway's."""
        while b"\r\n\r\n" not in self.unread:
            self._more()
        head = self._take(self.unread.index(b"\r\n\r\n") + 4).decode("ascii")
        line, *fields = head[:-4].split("\r\n")
        version, status, _ = line.split(" ", 2)
        assert version == "HTTP/1.1", line
        headers = {}
        for field in fields:
            name, value = field.split(":", 1)
            assert name.lower() not in headers, head
            headers[name.lower()] = value.strip()
        return int(status), headers

    def read_reply(self, head_only=False):
        status, headers = self.read_head()
        length = 0 if head_only or status < 200 or status == 204 else int(headers["content-length"])
        return Reply(status, headers, self._take(length))

    def read_end(self):
        """Everything until the gateway closes. A reset is an end, too."""
        try:
            while True:
                self._more()
        except (Closed, ConnectionResetError):
            rest, self.unread = self.unread, b""
            return rest


def ask_once(address, method, path, body=None, headers=()):
    with Client(address) as client:
        return client.ask(method, path, body, headers)
