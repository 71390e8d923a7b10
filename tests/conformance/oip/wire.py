"""HTTP/1.1 to a server: one connection an exchange, nothing added that a clause did not ask for, everything written down."""
import gzip
import http.client
import json
import socket
import ssl
import urllib.parse

from .clauses import Failed

SHOWN = 600  # characters of a body in a transcript


class NoAnswer(Failed):
    """Nothing came back, or nothing that is HTTP."""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body  # headers: {lower-case name: value}

    def json(self):
        """The body, or Failed where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Failed(f"the body is not JSON: {shown(self.body)}") from None

    def object(self):
        value = self.json()
        if not isinstance(value, dict):
            raise Failed(f"the body is not a JSON object: {shown(self.body)}")
        return value

    @property
    def media_type(self):
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def __str__(self):
        return "\n".join([str(self.status), *(f"{name}: {value}" for name, value in self.headers.items()), "", shown(self.body)])


def shown(body):
    text = body if isinstance(body, str) else body.decode("utf-8", "backslashreplace")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(body)} in all)"


class Wire:
    def __init__(self, url, timeout, transcript):
        self.parts = urllib.parse.urlsplit(url)
        self.timeout, self.transcript = timeout, transcript
        self.port = self.parts.port or (443 if self.parts.scheme == "https" else 80)

    def ask(self, method, path, body=None, headers=(), chunked=False):
        """The Answer to one request; body: bytes, or what becomes JSON; None: none. NoAnswer."""
        connection = self.connect()
        try:
            return self.ask_on(connection, method, path, body, headers, chunked)
        finally:
            connection.close()

    def connect(self):
        kind = http.client.HTTPSConnection if self.parts.scheme == "https" else http.client.HTTPConnection
        return kind(self.parts.hostname, self.port, timeout=self.timeout)

    def ask_on(self, connection, method, path, body=None, headers=(), chunked=False):
        data = encode(body)
        headers = dict(headers)
        if data is not None:
            headers.setdefault("Content-Type", "application/json")
            headers.setdefault(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(data)))))
        headers = {name: value for name, value in headers.items() if value is not None}
        self._note(method, path, headers, data)
        try:
            connection.putrequest(method, self._path(path), skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            if data is not None:
                connection.send(in_chunks(data) if chunked else data)
            reply = connection.getresponse()
            answer = Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        except (OSError, http.client.HTTPException) as why:
            self.transcript[-1]["received"] = words = f"no answer: {type(why).__name__} {why}"
            raise NoAnswer(words) from None
        self.transcript[-1]["received"] = str(answer)
        return answer

    def send_raw(self, method, path, body, headers, then_close):
        """Writes a request as it is told, perhaps closes its side, and returns the Answer; None: closed without one."""
        self._note(method, path, headers, body)
        connection = self.connect()
        try:
            connection.connect()
            lines = [f"{method} {self._path(path)} HTTP/1.1", f"Host: {self.parts.netloc}", *(f"{name}: {value}" for name, value in headers.items())]
            connection.sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            if then_close:
                connection.sock.shutdown(socket.SHUT_WR)
            reply = http.client.HTTPResponse(connection.sock, method=method)
            reply.begin()
            answer = Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        except (http.client.RemoteDisconnected, ConnectionResetError, http.client.BadStatusLine, ssl.SSLError):
            self.transcript[-1]["received"] = "the connection was closed"
            return None
        except (OSError, http.client.HTTPException) as why:
            self.transcript[-1]["received"] = words = f"no answer: {type(why).__name__} {why}"
            raise NoAnswer(words) from None
        finally:
            connection.close()
        self.transcript[-1]["received"] = str(answer)
        return answer

    def _path(self, path):
        return f"{self.parts.path.rstrip('/')}/{path.lstrip('/')}"

    def _note(self, method, path, headers, body):
        lines = [f"{method} {self._path(path)}", *(f"{name}: {value}" for name, value in headers.items())]
        self.transcript.append({"sent": "\n".join(lines if body is None else [*lines, "", shown(body)]), "received": ""})


def encode(body):
    return body if body is None or isinstance(body, bytes) else json.dumps(body).encode()


def in_chunks(data, size=17):
    parts = [data[i:i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def gunzip(data):
    try:
        return gzip.decompress(data)
    except (OSError, EOFError):
        raise Failed("the body is said to be gzip, and is not") from None
