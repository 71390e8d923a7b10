"""xebec-health [ADDRESS]: asks a worker by grpc.health.v1 whether it serves. Exit status 0: it does.

HTTP/2 by hand, and a module of its own: a container asks every few seconds, and importing grpc and numpy would cost
half a second of CPU each time, this costs 30 ms.
"""
import os
import socket
import ssl
import struct
import sys

TIMEOUT_SECONDS = 2
FRAMES_MAX = 64  # a worker answers within a handful
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 0x1, 0x4
NO_MESSAGE = bytes(5)  # an empty HealthCheckRequest: the whole server, not one service
STATUSES = {b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING", b"\x08\x03": "SERVICE_UNKNOWN", b"": "UNKNOWN"}


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("XEBEC_LISTEN") or "0.0.0.0:9000"
    try:
        status = check(address)
    except (OSError, ValueError) as error:
        status = f"no answer: {error}"
    print(f"{address}: {status}")
    sys.exit(status != "SERVING")


def check(address):
    """-> SERVING, or what else. Raises OSError, ValueError when there is no answer of this protocol."""
    with connect(address) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b"")
                           + frame(HEADERS, END_HEADERS, 1, request_head()) + frame(DATA, END_STREAM, 1, NO_MESSAGE))
        message = read_message(connection.makefile("rb"))
    return STATUSES.get(message[5:], "an answer that is none of health")


def connect(address):
    """As plain as the worker is: TLS where XEBEC_TLS_CERTIFICATE says so, which is shown to it, too, should it ask."""
    connection, certificate = connect_plainly(address), os.environ.get("XEBEC_TLS_CERTIFICATE")
    if not certificate:
        return connection
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # itself, on its own machine
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(certificate, os.environ.get("XEBEC_TLS_KEY"))
    return context.wrap_socket(connection)


def connect_plainly(address):
    """To where a worker listens; one that listens everywhere is asked on the loopback interface."""
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT_SECONDS)
        connection.connect(address.removeprefix("unix:"))
        return connection
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1", "": "127.0.0.1"}.get(host, host.strip("[]"))
    return socket.create_connection((host, int(port)), TIMEOUT_SECONDS)


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def request_head():
    """HPACK without Huffman: names by their number in the static table (RFC 7541, appendix A), values literally."""
    def value(text):
        return bytes([len(text)]) + text

    method_post, scheme_http, path, authority, content_type = b"\x83", b"\x86", b"\x04", b"\x01", b"\x0f\x10"
    return (method_post + scheme_http + path + value(b"/grpc.health.v1.Health/Check") + authority + value(b"localhost")
            + content_type + value(b"application/grpc") + b"\x00" + value(b"te") + value(b"trailers"))


def read_message(stream):
    """The bytes of the reply's only message, its 5-byte prefix included; empty when the call was refused."""
    message = b""
    for _ in range(FRAMES_MAX):
        head = stream.read(9)
        if len(head) < 9:
            raise ValueError("it closed the connection")
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        payload = stream.read(length)
        if int.from_bytes(head[5:], "big") == 1:
            if kind == DATA:
                message += payload
            if kind == RST_STREAM or flags & END_STREAM and kind in (DATA, HEADERS):
                return message
        elif kind == GOAWAY:
            raise ValueError("it drains")
    raise ValueError("it does not come to an end")


if __name__ == "__main__":
    main()
