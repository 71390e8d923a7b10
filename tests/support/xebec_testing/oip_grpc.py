"""
gRPC towards the gateway: grpcio's own stubs, which are what clients have, and calls by Python's h2, which says whatever a test
wants. The fixtures are for test files to import: pb, stub, wire, raw_call.
"""
import socket
import struct
import subprocess
import sys

import grpc
import pytest

from . import REPOSITORY
from .patience import PATIENCE
from .venv import python_path

SERVICE = "/inference.GRPCInferenceService/"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
CODE = grpc.StatusCode
CANCEL = 8  # HTTP/2's error code


@pytest.fixture(scope="session")
def pb(tmp_path_factory):
    """The messages of proto/oip.proto and of the health service, as any client's protoc makes them."""
    folder = tmp_path_factory.mktemp("oip")
    subprocess.run(["protoc", f"--python_out={folder}", f"-I{REPOSITORY}/proto", "oip.proto"], check=True)
    sys.path.insert(0, str(folder))
    import oip_pb2
    yield oip_pb2
    sys.path.remove(str(folder))


def question(pb, rows=((1.0, 2.0),), model="e", raw=True, **more):
    """FP32 rows for input x."""
    message = pb.ModelInferRequest(model_name=model, **more)
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[len(rows), len(rows[0])])
    numbers = [number for row in rows for number in row]
    if raw:
        message.raw_input_contents.append(struct.pack(f"<{len(numbers)}f", *numbers))
    else:
        tensor.contents.fp32_contents.extend(numbers)
    return message


def answered(reply):
    """The FP32 numbers of a raw reply."""
    raw, = reply.raw_output_contents
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


# --- as clients do ---------------------------------------------------------------------------------------

class Stub:
    """grpcio's own stub: the codes and details of what is refused, metadata of what is not."""

    def __init__(self, gateway, pb, options=()):
        self.pb = pb
        self.channel = grpc.insecure_channel(f"127.0.0.1:{gateway.port}", options=options)

    def method(self, name, reply="ModelInferResponse"):
        return self.channel.unary_unary(SERVICE + name, request_serializer=lambda message: message if isinstance(message, bytes) else
                                        message.SerializeToString(), response_deserializer=getattr(self.pb, reply).FromString)

    def infer(self, message, **more):
        return self.method("ModelInfer")(message, **{"timeout": PATIENCE, **more})

    def begin(self, message, **more):
        """A call under way."""
        return self.method("ModelInfer").future(message, **{"timeout": PATIENCE, **more})

    def metadata_of(self, message, **more):
        reply, call = self.method("ModelInfer").with_call(message, timeout=PATIENCE, **more)
        return reply, {**dict(call.initial_metadata()), **dict(call.trailing_metadata())}

    def refusal(self, message, method="ModelInfer", **more):
        with pytest.raises(grpc.RpcError) as refusal:
            self.method(method)(message, **{"timeout": PATIENCE, **more})
        return refusal.value.code(), refusal.value.details()


@pytest.fixture
def stub(pb):
    """stub(gateway): closed when the test ends."""
    opened = []

    def open_stub(gateway, **more):
        opened.append(Stub(gateway, pb, **more))
        return opened[-1]
    yield open_stub
    for each in opened:
        each.channel.close()


# --- as no client's library does -------------------------------------------------------------------------

def framed(message, flag=0):
    return bytes([flag]) + struct.pack(">I", len(message)) + message


class Told:
    """What came back of one stream. reset: the error code, None: it was not."""

    def __init__(self):
        self.headers, self.body, self.trailers, self.over, self.reset = {}, b"", {}, False, None

    def __repr__(self):
        return f"{self.headers} {self.body[:200]} {self.trailers} over={self.over} reset={self.reset}"

    @property
    def status(self):
        return {**self.headers, **self.trailers}.get("grpc-status")


class Wire:
    """A connection whose every frame is told: calls are begun, spoken into, and heard."""

    def __init__(self, address):
        import h2.config
        import h2.connection
        import h2.events
        self.events = h2.events
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.socket = socket.create_connection(address, PATIENCE)
        self.state.initiate_connection()
        self.streams, self.goaway = {}, None
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flush(self):
        self.socket.sendall(self.state.data_to_send())

    def begin(self, path=SERVICE + "ModelInfer", end=False, **headers):
        """Headers as keywords, "_" for "-"; None: without it. More of them, or other names, as a list in `also`."""
        also = headers.pop("also", [])
        fields = {"method": "POST", "scheme": "http", "authority": "xebec", "path": path, "te": "trailers", "content-type": "application/grpc",
                  **{name.replace("_", "-"): value for name, value in headers.items()}}
        pseudo = ("method", "scheme", "authority", "path")
        stream = self.state.get_next_available_stream_id()
        self.state.send_headers(stream, [(f":{name}" if name in pseudo else name, value) for name, value in fields.items() if value is not None] + also,
                                end_stream=end)
        self.streams[stream] = Told()
        self.flush()
        return stream

    def say(self, stream, body, end=True, **more):
        while body and self.state.local_flow_control_window(stream) < len(body) + 256:  # as much as padding takes
            assert self.hear()
        self.state.send_data(stream, body, end_stream=end, **more)
        self.flush()

    def end_with_trailers(self, stream, trailers):
        self.state.send_headers(stream, trailers, end_stream=True)
        self.flush()

    def cancel(self, stream):
        self.state.reset_stream(stream, CANCEL)
        self.flush()

    def hear(self):
        """Takes what is there. False: the gateway has closed."""
        data = self.socket.recv(1 << 16)
        for event in self.state.receive_data(data) if data else ():
            self._take(event)
        self.flush()
        return bool(data)

    def _take(self, event):
        if isinstance(event, self.events.ConnectionTerminated):
            self.goaway = event.error_code
        told = self.streams.get(getattr(event, "stream_id", None))
        if not told:
            return
        if isinstance(event, self.events.ResponseReceived):
            told.headers = dict(event.headers)
        elif isinstance(event, self.events.TrailersReceived):
            told.trailers = dict(event.headers)
        elif isinstance(event, self.events.DataReceived):
            told.body += event.data
            self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, self.events.StreamEnded):
            told.over = True
        elif isinstance(event, self.events.StreamReset):
            told.over, told.reset = True, event.error_code

    def told(self, stream):
        """Once the stream is over."""
        while not self.streams[stream].over:
            assert self.hear(), f"closed before stream {stream} was over; goaway {self.goaway}"
        return self.streams[stream]

    def call(self, body, path=SERVICE + "ModelInfer", ends=True, **headers):
        stream = self.begin(path, **headers)
        if body or ends:
            self.say(stream, body, end=ends)
        return self.told(stream)


@pytest.fixture(scope="session")
def h2_packages():
    path = python_path("http2-clients", "h2==4.1.0", "hpack==4.0.0", "hyperframe==6.0.1")
    sys.path.insert(0, str(path))
    yield
    sys.path.remove(str(path))


@pytest.fixture
def wire(h2_packages):
    """wire(gateway): closed when the test ends."""
    opened = []

    def open_wire(gateway):
        opened.append(Wire(gateway.address))
        return opened[-1]
    yield open_wire
    for each in opened:
        each.socket.close()


@pytest.fixture
def raw_call(wire):
    """raw_call(gateway, body, ...): one call on a connection of its own."""
    return lambda gateway, body, *more, **headers: wire(gateway).call(body, *more, **headers)
