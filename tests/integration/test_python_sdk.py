"""containers/python: real workers in processes of their own, asked over unix sockets as the gateway asks."""
import hashlib
import re
import subprocess
import time

import grpc
import numpy
import pytest

from xebec_testing import REPOSITORY
from xebec_testing.patience import wait_until
from xebec_testing.python_worker import PYTHON, Worker, bytes_array, pb

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
PREDICT = "/xebec.worker.v1.Worker/Predict"
HEAD = """
import os, sys, threading, time
import numpy
from xebec_worker import Tensor, serve
def start(model, inputs, outputs, listen="unix:worker.sock", **options):
    serve(model, model="m", version="v", inputs=inputs, outputs=outputs, listen=listen, **options)
def note(line):
    with open("calls", "a") as file:
        file.write(f"{line}\\n")
X, Y = {"x": Tensor("FP32", [-1, 3])}, {"y": Tensor("FP32", [-1])}
"""
SUM = HEAD + "start(lambda x: {'y': x.sum(axis=1)}, X, Y)"
# A negative number in a row makes the model raise for whatever batch it is in. One line a call in the file `calls`.
RAISES = HEAD + """
def check(x):
    for number in x[:, 0]:
        if number < 0:
            raise ValueError(f"no root of {number:g}")
def model(x):
    note(len(x))
    check(x)
    return {"y": x.sum(axis=1)}
"""


def worker(directory, script, **options):
    (directory / "script.py").write_text(script)
    return Worker(directory, "script.py", **options)


def rows(*numbers):
    return numpy.array([[number, 1, 2] for number in numbers], "<f4")


def calls(directory):
    return (directory / "calls").read_text().split()


def refused(call, code):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value.details()
    return caught.value.details()


# --- what it says of itself ----------------------------------------------------------------------

def test_describe(tmp_path):
    (tmp_path / "weights").write_bytes(b"1234")
    script = HEAD + """start(lambda **arrays: None, files=["weights"], max_rows=64, metadata={"framework": "none"},
        inputs={"a": Tensor("INT8", [-1, 2, -1]), "b": Tensor("BYTES", [-1], encoding="JSON")},
        outputs={"c": Tensor("BF16", [-1])})"""
    with worker(tmp_path, script) as served:
        described = served.describe()
    assert (described.model, described.version, described.max_rows) == ("m", "v", 64)
    assert described.digest == hashlib.sha256(b"1234").hexdigest()
    assert dict(described.metadata) == {"framework": "none"}
    assert [(spec.name, spec.datatype, list(spec.shape), spec.encoding) for spec in described.inputs] == [
        ("a", pb.INT8, [-1, 2, -1], pb.TEXT), ("b", pb.BYTES, [-1], pb.JSON)]
    assert [(spec.name, spec.datatype, list(spec.shape)) for spec in described.outputs] == [("c", pb.BF16, [-1])]


def test_health_answers_while_the_model_computes(tmp_path):
    script = HEAD + """
def model(x):
    note("started")
    while not os.path.exists("go"): time.sleep(0.01)
    return x[:, 0]
start(model, X, Y)"""
    with worker(tmp_path, script) as served:
        assert served.health() == SERVING
        assert served.health(b"xebec.worker.v1.Worker") == SERVING
        refused(lambda: served.health(b"other"), grpc.StatusCode.NOT_FOUND)
        futures = [served.predict_later(x=rows(number)) for number in range(8)]
        wait_until((tmp_path / "calls").exists, "the model to be called")
        assert served.health() == SERVING
        assert served.describe().model == "m"
        assert calls(tmp_path) == ["started"]  # one at a time
        (tmp_path / "go").touch()
        assert [served.answer(future)[0]["y"][0] for future in futures] == list(range(8))


def test_health_watch_tells_of_the_drain(tmp_path):
    with worker(tmp_path, SUM) as served:
        watch = served.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
        unknown = served.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\x0a\x01x", timeout=20)
        assert next(watch) == SERVING
        assert next(unknown) == b"\x08\x03"
        assert served.terminate()[0] == 0
        assert next(watch) == NOT_SERVING


# --- predicting ----------------------------------------------------------------------------------

def test_predict_with_a_function(tmp_path):
    with worker(tmp_path, SUM) as served:
        outputs, errors = served.predict(x=rows(1, 2, 3))
        assert errors == {}
        assert outputs["y"].dtype == numpy.float32
        assert outputs["y"].tolist() == [4, 5, 6]


def test_predict_with_a_class_of_several_inputs_and_outputs(tmp_path):
    script = HEAD + """
class Model:
    def __init__(self):
        self.calls = 0
    def predict(self, a, b):
        self.calls += 1
        return {"sum": a + b, "calls": numpy.full(len(a), self.calls, "i4")}
start(Model, {"a": Tensor("INT64", [-1]), "b": Tensor("INT64", [-1])},
      {"sum": Tensor("INT64", [-1]), "calls": Tensor("INT64", [-1])})"""
    a, b = numpy.array([1, 2]), numpy.array([10, 20])
    with worker(tmp_path, script) as served:
        outputs, _ = served.predict(b=b, a=a)
        assert outputs["sum"].tolist() == [11, 22]
        assert outputs["calls"].tolist() == [1, 1] and outputs["calls"].dtype == numpy.int64
        outputs, _ = served.predict(["calls"], a=a, b=b)  # only what is wanted
        assert list(outputs) == ["calls"] and outputs["calls"].tolist() == [2, 2]
        assert "no output nope" in refused(lambda: served.predict(["nope"], a=a, b=b), grpc.StatusCode.INVALID_ARGUMENT)


def test_predict_bytes(tmp_path):
    script = HEAD + """start(lambda t: {"t": numpy.array([bytes(reversed(item)) for item in t], object),
                                        "s": [item.hex() for item in t]},
        {"t": Tensor("BYTES", [-1])}, {"t": Tensor("BYTES", [-1]), "s": Tensor("BYTES", [-1])})"""
    items = [b"abc", b"", b"\x00\xff\x00", b"x" * 100_000]
    with worker(tmp_path, script) as served:
        outputs, errors = served.predict(t=bytes_array(items))
    assert errors == {}
    assert list(outputs["t"]) == [item[::-1] for item in items]
    assert list(outputs["s"]) == [item.hex().encode() for item in items]


@pytest.mark.parametrize("datatype, array", [
    ("BOOL", numpy.array([True, False])), ("UINT8", numpy.array([0, 255], "u1")), ("INT16", numpy.array([-2, 2], "<i2")),
    ("UINT64", numpy.array([2**64 - 1, 0], "<u8")), ("FP16", numpy.array([0.5, numpy.inf], "<f2")),
    ("FP64", numpy.array([0.1, -0.0]))])
def test_every_kind_of_number_comes_back_as_it_went(tmp_path, datatype, array):
    script = HEAD + f"start(lambda x: x, {{'x': Tensor('{datatype}', [-1])}}, {{'x': Tensor('{datatype}', [-1])}})"
    with worker(tmp_path, script) as served:
        outputs, _ = served.predict(x=array)
    assert outputs["x"].dtype == array.dtype and outputs["x"].tobytes() == array.tobytes()


def test_a_large_batch_passes(tmp_path):
    with worker(tmp_path, SUM) as served:
        x = numpy.ones((4_000_000, 3), "<f4")[:1_000_000]  # 12 MB, over gRPC's default limit
        outputs, _ = served.predict(x=x)
    assert outputs["y"].shape == (1_000_000,) and (outputs["y"] == 3).all()


# --- requests that do not fit --------------------------------------------------------------------

def test_requests_that_do_not_fit_are_refused_in_words(tmp_path):
    with worker(tmp_path, HEAD + "start(lambda x: x[:, 0], X, Y, max_rows=4)") as served:
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        assert "declared FP32[-1,3]" in refused(lambda: served.predict(x=numpy.ones((2, 3))), invalid)
        assert "FP32[2,4], declared FP32[-1,3]" in refused(lambda: served.predict(x=numpy.ones((2, 4), "f4")), invalid)
        assert "takes x; got z" in refused(lambda: served.predict(z=rows(1)), invalid)
        assert "got nothing" in refused(lambda: served.predict(), invalid)
        assert "at most 4" in refused(lambda: served.predict(x=rows(1, 2, 3, 4, 5)), invalid)
        assert "at least one" in refused(lambda: served.predict(x=numpy.ones((0, 3), "f4")), invalid)
        assert served.predict(x=rows(1))[0]["y"].tolist() == [1]


@pytest.mark.parametrize("make", [
    lambda: b"\xff\xff\xff",
    lambda: pb.PredictRequest(inputs=[pb.TensorSpec(name="t", datatype=pb.BYTES, shape=[1])]).SerializeToString(),
    lambda: request_of_bytes([1], b"\x01"), lambda: request_of_bytes([1], b"\x05\0\0\0ab"),
    lambda: request_of_bytes([2], b"\x01\0\0\0a"), lambda: request_of_bytes([1], b"\x01\0\0\0a" * 2),
    lambda: request_of_bytes([1 << 60], b"\x01\0\0\0a"), lambda: request_of_bytes([-1], b""),
    lambda: request_of_bytes([], b""), lambda: request_of_bytes([1], b"\xff\xff\xff\xff"),
    lambda: request_of_bytes([1], b"\x01\0\0\0a", datatype=99)])
def test_hostile_bytes_are_refused(tmp_path, make):
    with worker(tmp_path, HEAD + "start(lambda t: t, {'t': Tensor('BYTES', [-1])}, {'t': Tensor('BYTES', [-1])})") as served:
        refused(lambda: served.call(PREDICT, make()), grpc.StatusCode.INVALID_ARGUMENT)
        assert list(served.predict(t=bytes_array([b"a"]))[0]["t"]) == [b"a"]


def request_of_bytes(shape, data, datatype=pb.BYTES):
    spec = pb.TensorSpec(name="t", datatype=datatype, shape=shape)
    return pb.PredictRequest(inputs=[spec], data=[data]).SerializeToString()


# --- models that raise ---------------------------------------------------------------------------

def test_only_the_bad_rows_fail(tmp_path):
    with worker(tmp_path, RAISES + "start(model, X, Y)") as served:
        outputs, errors = served.predict(x=rows(*range(1, 20), -4, *range(21, 64), -5))
        assert errors == {19: "ValueError: no root of -4", 63: "ValueError: no root of -5"}
        well = [row for row in range(64) if row not in errors]
        assert outputs["y"].shape == (64,)
        assert outputs["y"][well].tolist() == [row + 1 + 3 for row in well]
        assert len(calls(tmp_path)) <= 4 * 6 + 1
        assert served.predict(x=rows(1))[1] == {}
        (event,) = served.events("model_raised")
    assert event["rows"] == [19, 63] and event["batch"] == 7 and event["model"] == "m@v"
    assert event["traceback"].startswith("Traceback") and "in check" in event["traceback"]


def test_all_rows_bad(tmp_path):
    with worker(tmp_path, RAISES + "start(model, X, {'y': Tensor('FP32', [-1, 2, -1])})") as served:
        outputs, errors = served.predict(x=rows(-1, -2, -3))
        assert sorted(errors) == [0, 1, 2] and outputs["y"].shape == (3, 2, 0)


def test_bad_rows_among_bytes(tmp_path):
    script = HEAD + """
def model(t):
    return [int(item) and item for item in t]
start(model, {'t': Tensor('BYTES', [-1])}, {'t': Tensor('BYTES', [-1])})"""
    with worker(tmp_path, script) as served:
        outputs, errors = served.predict(t=bytes_array([b"12", b"x", b"34"]))
    assert errors == {1: "ValueError: invalid literal for int() with base 10: b'x'"}
    assert [outputs["t"][row] for row in (0, 2)] == [b"12", b"34"]


def test_isolation_can_be_turned_off(tmp_path):
    with worker(tmp_path, RAISES + "start(model, X, Y, isolate=False)") as served:
        _, errors = served.predict(x=rows(1, -4, 3))
        assert errors == dict.fromkeys(range(3), "ValueError: no root of -4")
        assert calls(tmp_path) == ["3"]


def test_a_model_that_exits_fails_its_row_not_the_process(tmp_path):
    script = HEAD + "start(lambda x: sys.exit(3) if (x < 0).any() else x[:, 0], X, Y)"
    with worker(tmp_path, script) as served:
        outputs, errors = served.predict(x=rows(5, -1))
        assert errors == {1: "SystemExit: 3"} and outputs["y"][0] == 5
        assert served.predict(x=rows(6))[0]["y"].tolist() == [6]


# --- models that break their signature -----------------------------------------------------------

@pytest.mark.parametrize("returned, output, words", [
    ("numpy.ones(len(x))", 'Tensor("FP32", [-1])', "output y is float64, declared FP32[-1]: return it as float32"),
    ("numpy.ones(len(x), 'f4')", 'Tensor("INT64", [-1])', "output y is float32, declared INT64[-1]"),
    ("[0.5] * len(x)", 'Tensor("INT64", [-1])', "output y is float64, declared INT64[-1]"),
    ("numpy.ones(len(x) - 1, 'f4')", 'Tensor("FP32", [-1])', "output y has 1 rows for 2 rows of input"),
    ("numpy.float32(1)", 'Tensor("FP32", [-1])', "output y has a scalar for 2 rows"),
    ("numpy.ones((len(x), 5), 'f4')", 'Tensor("FP32", [-1, 4])', "output y is FP32[2,5], declared FP32[-1,4]"),
    ("{'z': x[:, 0]}", 'Tensor("FP32", [-1])', "the model returned z; declared y"),
    ("[[1.0], [1.0, 2.0]]", 'Tensor("FP32", [-1])', "output y is not an array"),
    ("None", 'Tensor("FP32", [-1])', "output y is object, declared FP32[-1]"),
    ("[1, 2]", 'Tensor("BYTES", [-1])', "output y holds int, declared BYTES"),
])
def test_a_model_that_breaks_its_signature(tmp_path, returned, output, words):
    with worker(tmp_path, HEAD + f"start(lambda x: {returned}, X, {{'y': {output}}})") as served:
        assert words in refused(lambda: served.predict(x=rows(1, 2)), grpc.StatusCode.INTERNAL)
        (event,) = served.events("signature_broken")
        assert words in event["error"]


@pytest.mark.parametrize("returned, datatype, expected", [
    ("numpy.array([1, 2], 'i4')", "INT64", [1, 2]), ("numpy.array([1, 2], 'i4')", "FP64", [1, 2]),
    ("[0.5, 1]", "FP32", [0.5, 1]), ("numpy.array([[1, 9], [2, 9]], '>i8')[:, 0]", "INT64", [1, 2]),
    ("numpy.array(['a', 'bc'])", "BYTES", [b"a", b"bc"])])
def test_safe_casts(tmp_path, returned, datatype, expected):
    with worker(tmp_path, HEAD + f"start(lambda x: {returned}, X, {{'y': Tensor('{datatype}', [-1])}})") as served:
        assert served.predict(x=rows(1, 2))[0]["y"].tolist() == expected


# --- ends ----------------------------------------------------------------------------------------

def test_sigterm_finishes_the_call_in_flight(tmp_path):
    script = HEAD + """
def model(x):
    note("started")
    time.sleep(1)
    return x[:, 0]
start(model, X, Y)"""
    with worker(tmp_path, script) as served:
        future = served.predict_later(x=rows(5))
        wait_until((tmp_path / "calls").exists, "the model to be called")
        status, seconds = served.terminate()
        assert status == 0 and seconds < 5
        assert served.answer(future)[0]["y"].tolist() == [5]
        assert not (tmp_path / "worker.sock").exists()
        assert served.events("stopped") and not served.events("drain_cut")


def test_sigterm_does_not_wait_for_a_model_that_hangs(tmp_path):
    with worker(tmp_path, HEAD + "start(lambda x: (note('started'), time.sleep(60)), X, Y)") as served:
        hanging = served.predict_later(x=rows(5))
        wait_until((tmp_path / "calls").exists, "the model to be called")
        status, seconds = served.terminate()
        assert status == 0 and seconds < 5
        assert hanging.exception().code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        assert not (tmp_path / "worker.sock").exists()
        assert served.events("drain_cut")


def test_sigterm_ends_calls_that_grpc_core_keeps(tmp_path):
    """As it does with one that arrives in the instant of the shutdown; here, with the second."""
    script = HEAD + """
import grpc._server as core, xebec_worker.server as sdk
hand_out, kept = core._handle_call, []
def hand_out_but_the_second(event, *rest):
    kept.append(event)
    return (None, None) if len(kept) == 2 else hand_out(event, *rest)
core._handle_call = hand_out_but_the_second
sdk.DRAIN_SECONDS = 60

def model(x):
    note("started")
    time.sleep(1)
    return x[:, 0]
start(model, X, Y)"""
    with worker(tmp_path, script) as served:
        ours = served.predict_later(x=rows(5))
        wait_until((tmp_path / "calls").exists, "the model to be called")
        lost = served.predict_later(x=rows(6))
        with pytest.raises(grpc.FutureTimeoutError):
            lost.result(0.1)
        status, _ = served.terminate()
        assert served.answer(ours)[0]["y"].tolist() == [5], "what is in flight is finished first"
        assert lost.exception().code() == grpc.StatusCode.UNAVAILABLE, "try elsewhere"
        assert status == 0
        assert served.events("stopped") and not served.events("drain_cut")


def test_calls_that_nobody_waits_for_are_skipped(tmp_path):
    script = HEAD + """
def model(x):
    note(x[0, 0])
    while not os.path.exists("go"): time.sleep(0.01)
    return x[:, 0]
start(model, X, Y)"""
    with worker(tmp_path, script) as served:
        first = served.predict_later(x=rows(1))
        wait_until((tmp_path / "calls").exists, "the model to be called")
        cancelled, late = served.predict_later(x=rows(2)), served.predict_later(x=rows(3), timeout=0.2)
        last = served.predict_later(x=rows(4))
        time.sleep(0.1)  # on their way
        cancelled.cancel()
        assert late.exception().code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert served.health() == SERVING  # a round trip: the cancellations before it have arrived
        (tmp_path / "go").touch()
        served.answer(first)
        served.answer(last)
        assert calls(tmp_path) == ["1.0", "4.0"]


def test_a_socket_left_behind_is_replaced_and_one_in_use_is_not(tmp_path):
    with worker(tmp_path, SUM) as first:
        first.process.kill()
        first.process.wait()
        assert (tmp_path / "worker.sock").exists()
        with worker(tmp_path, SUM) as served:
            second = subprocess.run([PYTHON, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=30,
                                    env={"PYTHONPATH": str(REPOSITORY / "containers/python/src"), "PATH": "/usr/bin:/bin"})
            assert second.returncode == 1 and "another process serves unix:worker.sock" in second.stderr
            assert served.predict(x=rows(1))[0]["y"].tolist() == [4]


def test_tcp_and_a_port_in_use(tmp_path):
    with worker(tmp_path, SUM.replace("Y)", "Y, listen='127.0.0.1:0')"), listen="127.0.0.1:0") as served:
        assert served.predict(x=rows(1))[0]["y"].tolist() == [4]
        again = SUM.replace("Y)", f"Y, listen='{served.listen}')")
        second = subprocess.run([PYTHON, "-c", again], cwd=tmp_path, capture_output=True, text=True, timeout=30,
                                env={"PYTHONPATH": str(REPOSITORY / "containers/python/src"), "PATH": "/usr/bin:/bin"})
        assert second.returncode == 1 and f"can't listen on {served.listen}" in second.stderr


@pytest.mark.parametrize("call, words", [
    ("start(lambda z: z, X, Y)", "can't be called with the declared inputs (x)"),
    ("start(3, X, Y)", "neither a function nor an object with predict()"),
    ("start(lambda x: x, {'x': Tensor('FP31', [-1])}, Y)", "datatype 'FP31' is not one of"),
    ("start(lambda x: x, {'x': Tensor('FP32', [4])}, Y)", "-1 is the row dimension"),
])
def test_mistakes_end_the_start_in_words(tmp_path, call, words):
    ended = subprocess.run([PYTHON, "-c", HEAD + call], cwd=tmp_path, capture_output=True, text=True, timeout=30,
                           env={"PYTHONPATH": str(REPOSITORY / "containers/python/src"), "PATH": "/usr/bin:/bin"})
    assert ended.returncode == 1 and words in ended.stderr


# --- as its users get it -------------------------------------------------------------------------

def test_the_example_of_the_readme(tmp_path):
    readme = (REPOSITORY / "containers/python/README.md").read_text()
    example = re.search(r"```python\n(.*?)```", readme, re.S).group(1)
    assert len(example.strip().splitlines()) < 20
    weights = numpy.zeros((64, 10), "f4")
    weights[3, 7] = 1
    numpy.save(tmp_path / "weights.npy", weights)
    with worker(tmp_path, example) as served:
        outputs, _ = served.predict(pixels=numpy.eye(64, dtype="f4")[[3, 5]])
        assert outputs["label"].tolist() == [7, 0]
        assert served.describe().digest == hashlib.sha256((tmp_path / "weights.npy").read_bytes()).hexdigest()


def test_a_wheel_carries_the_protocol(tmp_path):
    package = REPOSITORY / "containers/python"
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
                    "--target", tmp_path / "site", package], check=True, timeout=120)
    assert (tmp_path / "site/xebec_worker/worker_pb2.py").exists()
    with worker(tmp_path, SUM, sources=[tmp_path / "site"]) as served:
        assert served.predict(x=rows(1))[0]["y"].tolist() == [4]
