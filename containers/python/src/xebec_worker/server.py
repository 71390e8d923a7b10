"""serve(): one model behind the worker protocol and grpc.health.v1, until SIGTERM.

Threads: gRPC's own read and write sockets. `threads` of them (one, unless the model is thread-safe and lets
go of the GIL) do nothing but Predict, so that the next call travels while the model computes. A pool of
others answers health and Describe however long the model takes.
"""
import concurrent.futures
import ctypes
import hashlib
import os
import pathlib
import signal
import socket
import threading

import grpc
from google.protobuf.message import DecodeError

from . import log
from .predictor import Abandoned, BadRequest, Predictor
from .tensor import Mismatch, pb

MESSAGE_BYTES_DEFAULT, MESSAGE_BYTES_LEAST, MESSAGE_BYTES_MOST = 64 << 20, 64 << 10, 1 << 30
DRAIN_SECONDS = 4
LEFTOVERS_SECONDS = 0.1  # of the drain, once all calls that we were given have their replies
ANSWERING_THREADS = 16
WATCHERS_MAX = 12  # each holds one of the answering threads
SERVICE = "xebec.worker.v1.Worker"

# grpc.health.v1 is small enough to write out, and its generated module would collide with grpcio-health-checking's.
SERVING, NOT_SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"


def serve(predictor, /, *, inputs, outputs, model=None, version=None, listen=None, digest="", files=(), max_rows=0,
          metadata=None, isolate=True, threads=1, message_bytes=None, tls=None):
    """Serves a model until SIGTERM or SIGINT, then finishes the calls in flight and returns. Main thread only.

    predictor  a function, an object with predict(), or a class of such: takes numpy arrays by input name, returns a
               dict of arrays by output name (or the array itself where one output is declared).
    model, version   names, as the gateway's configuration has them: digits, linear. Default: $XEBEC_NAME, $XEBEC_VERSION
    inputs, outputs  {name: Tensor(datatype, shape)}
    listen     "0.0.0.0:9000", "[::]:9000" or "unix:/path". Default: $XEBEC_LISTEN, else 0.0.0.0:9000
    files      the model's files: their SHA-256 is its digest. Equal digests answer equally: caches rely on it
    digest     instead of files
    max_rows   the largest batch that the model takes; 0: any
    metadata   {text: text}, shown by the gateway: framework, run id, ...
    isolate    when a batch raises, halve it until only the rows that raise by themselves fail. False for a
               model whose rows are not independent: then all of the batch's rows fail
    threads    calls of the model at the same time
    tls        serves TLS: {"certificate": FILE, "key": FILE}, PEM both; with "client_ca": FILE to gateways alone that show a
               certificate of those CAs. Default: $XEBEC_TLS_CERTIFICATE, $XEBEC_TLS_KEY, $XEBEC_TLS_CLIENT_CA, else no TLS
    message_bytes   the largest message, in or out. Default: $XEBEC_MESSAGE_BYTES, else 64 MiB, as the gateway's limits.message
    """
    model, version = model or _from_environment("XEBEC_NAME"), version or _from_environment("XEBEC_VERSION")
    listen = listen or os.environ.get("XEBEC_LISTEN") or "0.0.0.0:9000"
    name = f"{model}@{version}"
    description = pb.DescribeResponse(
        model=model, version=version, digest=digest or digest_of(files), max_rows=max_rows, metadata=metadata or {},
        inputs=[tensor.spec(key) for key, tensor in inputs.items()],
        outputs=[tensor.spec(key) for key, tensor in outputs.items()])
    predictor = Predictor(predictor, name, inputs, outputs, max_rows, isolate)
    _keep_large_blocks()
    server = _Server(predictor, description, threads, _message_bytes(message_bytes))
    server.start(listen, credentials_of(tls))
    stop = _stop_signal()
    log.write("info", "serving", model=name, listen=server.address, digest=description.digest)
    stop.wait()
    log.write("info", "draining", model=name)
    if not server.drain():
        log.write("warn", "drain_cut", model=name, seconds=DRAIN_SECONDS)
        os._exit(0)  # a model that does not come back would hold the interpreter's exit up for ever
    log.write("info", "stopped", model=name)


def _from_environment(variable):
    if not os.environ.get(variable):
        raise SystemExit(f"xebec_worker: what is it called? Give serve() its model= and version=, or set {variable}")
    return os.environ[variable]


def _message_bytes(given):
    given = given or os.environ.get("XEBEC_MESSAGE_BYTES") or MESSAGE_BYTES_DEFAULT
    if not str(given).isdecimal() or not MESSAGE_BYTES_LEAST <= int(given) <= MESSAGE_BYTES_MOST:
        raise SystemExit(f"xebec_worker: message_bytes {given} is not a number of bytes from 64 KiB to 1 GiB")
    return int(given)


def credentials_of(tls):
    """-> grpc.ServerCredentials, or None: no TLS. tls: as serve() takes it."""
    if tls is None:
        tls = {name: os.environ.get(f"XEBEC_TLS_{name.upper()}") for name in ("certificate", "key", "client_ca")}
    tls = {name: path for name, path in tls.items() if path}
    if not tls:
        return None
    if not {"certificate", "key"} <= set(tls):
        raise SystemExit("xebec_worker: TLS needs a certificate and its key: set XEBEC_TLS_CERTIFICATE and XEBEC_TLS_KEY")
    try:
        pem = {name: pathlib.Path(path).read_bytes() for name, path in tls.items()}
    except OSError as error:
        raise SystemExit(f"xebec_worker: TLS: {error}") from error
    return grpc.ssl_server_credentials([(pem["key"], pem["certificate"])], pem.get("client_ca"), "client_ca" in pem)


def digest_of(files):
    """SHA-256 of a model's file; of several: of the list of theirs, in order. "" of none."""
    digests = []
    for path in files:
        sha256 = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                sha256.update(block)
        digests.append(sha256.hexdigest())
    if len(digests) > 1:
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return digests[0] if digests else ""


class _Server:
    def __init__(self, predictor, description, threads, message_bytes):
        self.predictor = predictor
        self.description = description.SerializeToString()
        self.health = _Health()
        self.computing = _Pool(threads, "predict")
        self.answering = _Pool(ANSWERING_THREADS, "answer")
        # SO_REUSEPORT would let a second worker take half the connections of the first without a word.
        self.grpc = grpc.server(self.answering, options=[
            ("grpc.max_receive_message_length", message_bytes), ("grpc.max_send_message_length", message_bytes),
            ("grpc.so_reuseport", 0)])
        self.grpc.add_generic_rpc_handlers((
            grpc.method_handlers_generic_handler(SERVICE, {
                "Describe": grpc.unary_unary_rpc_method_handler(lambda request, context: self.description),
                "Predict": grpc.unary_unary_rpc_method_handler(_in_pool(self.computing, self.predict)),
            }),
            grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
                "Check": grpc.unary_unary_rpc_method_handler(self.health.check),
                "Watch": grpc.unary_stream_rpc_method_handler(self.health.watch),
            })))

    def start(self, listen, credentials=None):
        unix = listen.removeprefix("unix:") if listen.startswith("unix:") else None
        if unix and _is_served(unix):
            raise SystemExit(f"xebec_worker: another process serves {listen}")
        try:
            port = self.grpc.add_secure_port(listen, credentials) if credentials else self.grpc.add_insecure_port(listen)
        except RuntimeError:  # newer grpcio raises, older answers 0
            port = 0
        if not port:
            raise SystemExit(f"xebec_worker: can't listen on {listen}: in use, not an address of this machine, "
                             "or not of the form host:port or unix:/path"
                             + ("; or the TLS certificate and key are none, or do not belong together" if credentials else ""))
        self.grpc.start()
        self.address = listen if unix else f"{listen.rpartition(':')[0]}:{port}"
        self.socket_file = _SocketFile(unix) if unix else None

    def predict(self, request, context):
        try:
            request = pb.PredictRequest.FromString(request)
            return self.predictor.answer(request, lambda: not context.is_active()).SerializeToString()
        except Abandoned:
            context.abort(grpc.StatusCode.CANCELLED, "the client no longer waits")
        except BadRequest as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except DecodeError:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this is no PredictRequest")
        except Mismatch as error:
            log.write("error", "signature_broken", model=self.predictor.name, batch=request.id, error=str(error))
            context.abort(grpc.StatusCode.INTERNAL, str(error))

    def drain(self):
        """Refuses new calls, finishes those in flight. False: some took longer than DRAIN_SECONDS."""
        self.health.stop()
        self._end_calls()
        if self.socket_file:
            self.socket_file.remove()
        closing = threading.Thread(target=self.computing.shutdown, daemon=True)
        closing.start()
        closing.join(0.5)
        return not closing.is_alive()


    def _end_calls(self):
        """A call that arrives in the very instant of stop() may stay inside gRPC core, neither handed to us nor refused (see
        server_next_event() of the C worker). It ends once we have nothing to do any more, so that its client asks elsewhere in
        good time, not after DRAIN_SECONDS. Idle is who is so twice in a row: the last reply has to get away.
        """
        stopped, idle = self.grpc.stop(DRAIN_SECONDS), 0
        while not stopped.wait(LEFTOVERS_SECONDS):
            idle = 0 if self.computing.busy or self.answering.busy else idle + 1
            if idle == 2:
                self.grpc.stop(0)


class _Pool(concurrent.futures.ThreadPoolExecutor):
    """Knows how many calls it has been given that are not done: waiting, or being answered."""

    def __init__(self, threads, name):
        super().__init__(threads, name)
        self.busy, self.lock = 0, threading.Lock()

    def submit(self, *work, **options):
        self._count(1)
        future = super().submit(*work, **options)
        future.add_done_callback(lambda _: self._count(-1))
        return future

    def _count(self, more):
        with self.lock:
            self.busy += more


class _Health:
    """grpc.health.v1: SERVING from the start, since a worker listens only once its model is loaded; until it drains."""

    def __init__(self):
        self.status = SERVING
        self.watchers = 0
        self.changed = threading.Condition()

    def check(self, request, context):
        if not _known(request):
            context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return self.status

    def watch(self, request, context):
        with self.changed:
            if self.watchers >= WATCHERS_MAX:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{WATCHERS_MAX} others watch already")
            self.watchers += 1
        try:
            context.add_callback(self._wake)
            yield self.status if _known(request) else SERVICE_UNKNOWN
            with self.changed:
                self.changed.wait_for(lambda: self.status is NOT_SERVING or not context.is_active())
            if _known(request) and context.is_active():
                yield self.status
        finally:
            with self.changed:
                self.watchers -= 1

    def stop(self):
        self.status = NOT_SERVING
        self._wake()

    def _wake(self):
        with self.changed:
            self.changed.notify_all()


def _known(request):
    """Whether a HealthCheckRequest (field 1: the service's name) asks for something served here."""
    return request in (b"", b"\x0a\x00") or request == b"\x0a" + bytes([len(SERVICE)]) + SERVICE.encode()


class _SocketFile:
    """The unix socket that was bound; removed only if nobody has put another in its place."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.inode = self.path.stat().st_ino

    def remove(self):
        try:
            if self.path.stat().st_ino == self.inode:
                self.path.unlink()
        except FileNotFoundError:
            pass


def _is_served(path):
    """Whether someone accepts on a unix socket; gRPC would take its place without a word."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def _in_pool(pool, behavior):
    """gRPC runs a handler with this attribute in that pool instead of the server's."""
    def handler(request, context):
        return behavior(request, context)

    handler.experimental_thread_pool = pool
    return handler


def _stop_signal():
    """Set by the first SIGTERM or SIGINT; a second one kills."""
    stop = threading.Event()

    def arrived(number, frame):
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, arrived)
    return stop


def _keep_large_blocks():
    """Lets malloc keep the memory of large messages instead of giving it back to the kernel after each call.

    Measured, 784 floats a row, rows/s: 160k -> 380k at 128 rows a call, 190k -> 600k at 512.
    """
    trim_threshold, mmap_threshold = -1, -3
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # not glibc
    mallopt(mmap_threshold, 32 << 20)
    mallopt(trim_threshold, 256 << 20)
