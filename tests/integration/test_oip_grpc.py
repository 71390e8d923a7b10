"""OIP v2 over gRPC: Triton's own client, plain stubs of grpcio, grpcurl, and what none of them can be made to send."""
import asyncio
import gzip
import json
import pathlib
import struct
import subprocess
import zlib

import grpc
import pytest
from xebec_testing import REPOSITORY
from xebec_testing.gateway import one_model
from xebec_testing.http_client import ask_once
from xebec_testing.oip_grpc import CODE, REFLECTION, SERVICE, framed, h2_packages, pb, question, raw_call, stub, wire  # noqa: F401: fixtures among them
from xebec_testing.patience import PATIENCE, wait_until
from xebec_testing.venv import client_python

CLIENT = pathlib.Path(__file__).with_name("clients") / "triton_grpc.py"
INTEGERS = ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"]
LISTS = {"BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
         "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
         "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents"}


def typed(puppet, gateway_for, datatype, shape, **more):
    puppet.play(inputs={"x": [datatype, shape]}, outputs={"y": [datatype, shape]})
    spec = {"datatype": datatype, "shape": shape}
    return gateway_for(puppet, inputs={"x": spec}, outputs={"y": spec}, **more)


# --- clients that teams have -----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def triton():
    """triton(gateway, datatype, rows, ...): what tritonclient was told."""
    python = client_python("triton_grpc")

    def ask(gateway, datatype, rows, *how):
        done = subprocess.run([python, CLIENT, f"127.0.0.1:{gateway.port}", datatype, json.dumps(rows), *how],
                              capture_output=True, text=True, timeout=PATIENCE * 2)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return ask


@pytest.mark.parametrize("datatype, rows", [
    *((each, [[0, 1, 2], [100, 5, 6]]) for each in [*INTEGERS, "FP16", "FP32", "FP64"]), ("BOOL", [[True, False, True]]),
    ("BYTES", [["a", "", "Grüße"], ["x" * 300, "\n", "0"]])])
def test_every_datatype_comes_back_to_triton(puppet, gateway_for, triton, datatype, rows):
    told = triton(typed(puppet, gateway_for, datatype, [-1, 3]), datatype, rows)
    assert told["same"] == [True, True, True]
    assert (told["names"], told["raw"]) == (["e", "v1", "7"], 1)


def test_what_triton_is_told(puppet, gateway_for, triton):
    told = triton(typed(puppet, gateway_for, "FP32", [-1, 3]), "FP32", [[1, 2, 3]] * 100, "gzip")
    assert told["same"] == [True, True, True]
    assert told["server"]["name"] == "xebec" and "model_configuration" in told["server"]["extensions"]
    assert told["model"] == {"name": "e", "versions": ["v1"], "platform": "xebec_worker",
                             "inputs": [{"name": "x", "datatype": "FP32", "shape": ["-1", "3"]}],
                             "outputs": [{"name": "y", "datatype": "FP32", "shape": ["-1", "3"]}]}
    assert told["config"]["config"]["max_batch_size"] == 16384
    assert told["config"]["config"]["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": ["3"]}]
    assert told["index"] == {"models": [{"name": "e", "version": "v1", "state": "READY"}]}
    assert told["no model"] == ["StatusCode.NOT_FOUND", "nobody: no endpoint has this name"]
    assert told["no version"] == ["StatusCode.NOT_FOUND", "nine: the endpoint has no such version"]
    assert told["unknown output"] == ["StatusCode.INVALID_ARGUMENT", "output z: the model has no output of this name; it has: y"]
    for entry, in told["statistics"]:
        assert (entry["name"], entry["version"]) == ("e", "v1") and int(entry["inference_count"]) >= 100
        assert int(entry["inference_stats"]["success"]["count"]) >= 20 and int(entry["inference_stats"]["compute_infer"]["ns"]) > 0
    assert told["no statistics"] == ["StatusCode.NOT_FOUND", "nobody: no endpoint has this name"]
    assert told["load"][0] == told["stream"] == "StatusCode.UNIMPLEMENTED"


def test_health_and_reflection_by_grpcs_own_clients(puppet, gateway_for, triton):
    told = triton(typed(puppet, gateway_for, "FP32", [-1, 3]), "FP32", [[1, 2, 3]])
    assert told["health"] == {"": "SERVING", "e": "SERVING", "inference.GRPCInferenceService": "SERVING", "nobody": "NOT_FOUND"}
    assert told["watch"] == "UNIMPLEMENTED"
    assert told["services"] == ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                                "grpc.reflection.v1alpha.ServerReflection", "inference.GRPCInferenceService"]
    assert told["file"] == "oip.proto"


def test_grpcurl_needs_no_proto(puppet, gateway_for):
    script = REPOSITORY / "tests/support/grpcurl.sh"
    built = subprocess.run([script, "build"], capture_output=True, text=True, timeout=500)
    if built.returncode == 77:
        pytest.skip(built.stderr.strip())
    gateway = gateway_for(puppet)

    def grpcurl(*arguments):
        done = subprocess.run([script, "-plaintext", *arguments], capture_output=True, text=True, timeout=PATIENCE * 2)
        return done.stdout if done.returncode == 0 else done.stderr

    address = f"127.0.0.1:{gateway.port}"
    assert "inference.GRPCInferenceService" in grpcurl(address, "list").split()
    assert "rpc ModelInfer" in grpcurl(address, "describe", "inference.GRPCInferenceService")
    body = {"model_name": "e", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "contents": {"fp32_contents": [1, 2.5]}}]}
    reply = json.loads(grpcurl("-d", json.dumps(body), address, "inference.GRPCInferenceService/ModelInfer"))
    assert reply["outputs"][0]["contents"]["fp32Contents"] == [1, 2.5]
    assert "NotFound" in grpcurl("-d", '{"model_name": "nobody"}', address, "inference.GRPCInferenceService/ModelInfer")
    assert json.loads(grpcurl(address, "grpc.health.v1.Health/Check")) == {"status": "SERVING"}


def test_aio_stubs_side_by_side(puppet, gateway_for, pb):
    gateway = gateway_for(puppet)

    async def ask():
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
            infer = channel.unary_unary(SERVICE + "ModelInfer", request_serializer=pb.ModelInferRequest.SerializeToString,
                                        response_deserializer=pb.ModelInferResponse.FromString)
            return await asyncio.gather(*(infer(question(pb, [(float(i), 0.5)], id=str(i))) for i in range(100)))
    for i, reply in enumerate(asyncio.run(ask())):
        assert reply.id == str(i) and struct.unpack("<2f", reply.raw_output_contents[0]) == (i, 0.5)


# --- typed contents --------------------------------------------------------------------------------------

@pytest.mark.parametrize("datatype, values", [
    *((each, [0, 1, 2, 100, 5, 6]) for each in INTEGERS), ("INT8", [-128, 127, -1, 0, 1, 2]), ("INT64", [-2**63, 2**63 - 1, 0, 1, 2, 3]),
    ("UINT64", [2**64 - 1, 0, 1, 2, 3, 4]), ("FP32", [0.5, -1, 3, 4, 5, 6]), ("FP64", [0.1, 1e300, 3, 4, 5, 6]),
    ("BOOL", [True, False, True, True, False, False]), ("BYTES", [b"a", b"", b"\xff\x00", b"x" * 300, b"\n", b"0"])])
def test_typed_in_typed_out(puppet, gateway_for, stub, pb, datatype, values):
    gateway = typed(puppet, gateway_for, datatype, [-1, 3])
    message = pb.ModelInferRequest(model_name="e")
    tensor = message.inputs.add(name="x", datatype=datatype, shape=[2, 3])
    getattr(tensor.contents, LISTS[datatype]).extend(values)
    output, = stub(gateway).infer(message).outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", datatype, [2, 3])
    assert list(getattr(output.contents, LISTS[datatype])) == values


def test_halves_are_always_raw(puppet, gateway_for, stub, pb):
    gateway = typed(puppet, gateway_for, "FP16", [-1, 2])
    message = pb.ModelInferRequest(model_name="e", raw_input_contents=[b"\x00\x3c\x00\x40"])
    message.inputs.add(name="x", datatype="FP16", shape=[1, 2])
    assert stub(gateway).infer(message).raw_output_contents[0] == b"\x00\x3c\x00\x40"
    message = pb.ModelInferRequest(model_name="e")
    message.inputs.add(name="x", datatype="FP16", shape=[1, 2]).contents.fp32_contents.extend([1, 2])
    code, words = stub(gateway).refusal(message)
    assert code == CODE.INVALID_ARGUMENT and "raw" in words


# --- one path for all dialects ---------------------------------------------------------------------------

def test_a_row_that_was_asked_for_over_rest_is_answered_from_the_cache(puppet, gateway_for, stub, pb):
    gateway = typed(puppet, gateway_for, "FP32", [-1, 3], cache={"memory": "8MiB"})
    assert gateway.predict(input=[1, 2, 3]).status == 200
    document = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}], "parameters": {"beam": 3, "a": "b"}}
    assert ask_once(gateway.address, "POST", "/v2/models/e/infer", document).status == 200
    calls = len(puppet.calls())
    for raw in (True, False):
        message = question(pb, [(1, 2, 3)], raw=raw)
        assert stub(gateway).infer(message).outputs[0].name == "y"
        message.parameters["beam"].int64_param = 3
        message.parameters["a"].string_param = "b"
        by_hand = question(pb, [(1, 2, 3)], raw=raw).SerializeToString()
        for name, value in (("beam", pb.InferParameter(int64_param=3)), ("a", pb.InferParameter(string_param="b"))):
            by_hand += pb.ModelInferRequest(parameters={name: value}).SerializeToString()  # in this order
        stub(gateway).infer(by_hand)
    assert len(puppet.calls()) == calls


def test_versions_rollouts_and_metadata(new_puppet, start_gateway, stub, pb):
    first, second = new_puppet(), new_puppet(version="v2")
    config = one_model([first.unix])
    config["models"]["m"]["versions"]["v2"] = {"replicas": [second.unix]}
    config["endpoints"]["e"] = {"slo": "30s", "when_unready": "fail",
                                "split": [{"model": "m@v1", "weight": 1}, {"model": "m@v2", "weight": 0}]}
    gateway = start_gateway(config).wait_ready()
    ask = stub(gateway)
    reply, metadata = ask.metadata_of(question(pb))
    assert reply.model_version == "v1" and metadata["x-xebec-version"] == "m@v1" and metadata["x-xebec-arm"]
    for name in ("v2", "m@v2"):
        assert ask.infer(question(pb, model_version=name)).model_version == "v2"
    _, metadata = ask.metadata_of(question(pb), metadata=[("x-xebec-arm", "m@v2")])
    assert metadata["x-xebec-version"] == "m@v2"
    assert ask.refusal(question(pb, model_version="v9"))[0] == CODE.NOT_FOUND
    ready = ask.method("ModelReady", "ModelReadyResponse")
    assert ready(pb.ModelReadyRequest(name="e", version="v2")).ready
    second.kill()
    wait_until(lambda: not ready(pb.ModelReadyRequest(name="e", version="v2")).ready, "v2 to be gone")
    assert ready(pb.ModelReadyRequest(name="e")).ready
    index = ask.method("RepositoryIndex", "RepositoryIndexResponse")(pb.RepositoryIndexRequest(ready=True))
    assert [each.version for each in index.models] == ["v1"]
    first.kill()
    wait_until(lambda: not ask.method("ServerReady", "ServerReadyResponse")(pb.ServerReadyRequest()).ready, "not to be ready")
    assert ask.method("ServerLive", "ServerLiveResponse")(pb.ServerLiveRequest()).live
    assert ask.refusal(question(pb))[0] == CODE.UNAVAILABLE


def test_a_default_says_so(puppet, gateway_for, stub, pb):
    puppet.play(inputs={"x": ["FP32", [-1, 2]]}, outputs={"y": ["FP32", [-1, 2]]}, mode="raise_rows", bad=3.0, words="too dark")
    spec = {"datatype": "FP32", "shape": [-1, 2]}
    gateway = gateway_for(puppet, inputs={"x": spec}, outputs={"y": spec}, endpoint={"default": {"y": [-1, -1]}})
    reply = stub(gateway).infer(question(pb, [(3, 1)]))
    assert reply.parameters["default"].bool_param and reply.parameters["cause"].string_param == "model_error"
    assert "too dark" in reply.parameters["default_explanation"].string_param
    assert struct.unpack("<2f", reply.raw_output_contents[0]) == (-1, -1)
    assert not stub(gateway).infer(question(pb, [(4, 1)])).parameters


def test_rows_fail_as_a_whole_and_words_survive(puppet, gateway_for, stub, pb):
    puppet.play(mode="raise_rows", bad=3.0, words="zu dunkel: 100 % Grüße")
    assert stub(gateway_for(puppet)).refusal(question(pb, [(1, 1), (3, 1)])) == (CODE.UNKNOWN, "row 1: zu dunkel: 100 % Grüße")


# --- deadlines, cancellation, size, drain ----------------------------------------------------------------

def test_deadlines(puppet, gateway_for, stub, pb):
    gateway = gateway_for(puppet.play(delay_ms=3000))
    ask = stub(gateway)
    assert ask.refusal(question(pb), timeout=0.1)[0] == CODE.DEADLINE_EXCEEDED
    short = question(pb)
    short.parameters["timeout"].int64_param = 50000
    assert ask.refusal(short)[0] == CODE.DEADLINE_EXCEEDED
    assert ask.refusal(question(pb), metadata=[("x-xebec-deadline-ms", "50")])[0] == CODE.DEADLINE_EXCEEDED
    assert gateway.metrics().sum("xebec_requests_total", outcome="slo_missed") >= 2


def test_a_cancelled_call_is_recalled(puppet, gateway_for, stub, pb):
    gateway = gateway_for(puppet.play(mode="stall"))
    call = stub(gateway).begin(question(pb))
    puppet.wait_calls(1)
    call.cancel()
    gateway.wait_metric(1, "xebec_requests_total", outcome="cancelled")
    puppet.release()


def test_large_messages(puppet, gateway_for, stub, pb):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    ask = stub(gateway_for(puppet), options=options)
    row = [float(i % 1000) for i in range(2_000_000)]
    reply = ask.infer(question(pb, [row]))
    assert reply.raw_output_contents[0] == question(pb, [row]).raw_input_contents[0]
    code, words = ask.refusal(question(pb, [row * 3]))
    assert code == CODE.RESOURCE_EXHAUSTED and "larger than 16777216 bytes" in words
    assert ask.infer(question(pb)).outputs, "the connection goes on"


def test_drain_lets_calls_finish(puppet, gateway_for, stub, pb, wire):
    gateway = gateway_for(puppet.play(mode="stall"))
    call, idle = stub(gateway).begin(question(pb)), wire(gateway)
    puppet.wait_calls(1)
    gateway.terminate()
    while idle.hear():
        pass
    assert idle.goaway == 0, "who asks nothing is told so, and let go"
    puppet.release()
    assert call.result(PATIENCE).outputs
    gateway.wait()


# --- what no client's library sends ----------------------------------------------------------------------

@pytest.fixture
def ordinary(puppet, gateway_for):
    return gateway_for(puppet)


def test_what_a_reply_looks_like(ordinary, raw_call, pb):
    told = raw_call(ordinary, framed(question(pb).SerializeToString()), content_type="application/grpc+proto")
    assert told.headers[":status"] == "200" and told.headers["content-type"] == "application/grpc"
    assert told.trailers == {"grpc-status": "0"} and "content-length" not in told.headers
    assert told.body[0] == 0 and struct.unpack(">I", told.body[1:5])[0] == len(told.body) - 5
    told = raw_call(ordinary, framed(question(pb, model="n\u00f6").SerializeToString()))
    assert told.trailers == {} and told.body == b"", "an error is all in the header"
    assert told.headers["grpc-status"] == "5" and told.headers["grpc-message"] == "n%C3%B6: no endpoint has this name"


@pytest.mark.parametrize("coding, compress", [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", None)])
def test_compressed_messages(ordinary, raw_call, pb, coding, compress):
    message = question(pb).SerializeToString()
    if compress:
        assert raw_call(ordinary, framed(compress(message), 1), grpc_encoding=coding).trailers == {"grpc-status": "0"}
    assert raw_call(ordinary, framed(message), grpc_encoding=coding).trailers == {"grpc-status": "0"}, "the flag says"
    for spoilt in (message, (compress or bytes)(message)[:-3]):
        assert raw_call(ordinary, framed(spoilt, 1), grpc_encoding=coding).headers["grpc-status"] == "3"


def test_a_coding_that_is_not_known(ordinary, raw_call, pb):
    told = raw_call(ordinary, framed(question(pb).SerializeToString(), 1), grpc_encoding="snappy").headers
    assert (told["grpc-status"], told["grpc-accept-encoding"]) == ("12", "identity,deflate,gzip")


def test_a_small_message_that_is_a_large_one(puppet, gateway_for, raw_call):
    bomb = gzip.compress(b"\x1a" + b"\0" * 200000)
    told = raw_call(gateway_for(puppet, limits={"body": "64KiB"}), framed(bomb, 1), grpc_encoding="gzip")
    assert told.headers["grpc-status"] == "8"


@pytest.mark.parametrize("timeout, status", [("10S", "0"), ("99999999H", "0"), ("20000000u", "0"), ("0n", "4"), ("1n", "4"), ("100000000n", "3"),
                                             ("", "3"), ("5", "3"), ("S", "3"), ("5s", "3"), ("-5S", "3"), ("5S ", "0"), ("5SS", "3")])
def test_timeouts_as_they_are_written(puppet, gateway_for, raw_call, pb, timeout, status):
    gateway = gateway_for(puppet.play(delay_ms=30) if status == "4" else puppet)
    told = raw_call(gateway, framed(question(pb).SerializeToString()), grpc_timeout=timeout)
    assert told.status == status, told


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\0\0\0", b"\0\0\0\0\5abc", framed(b"") * 2, framed(b"", 2), framed(b"\xff"), framed(b"", 1),
                                  b"\0\xff\xff\xff\xff" + b"x" * 100])
def test_frames_that_are_none(puppet, ordinary, raw_call, body):
    told = raw_call(ordinary, body)
    assert told.headers["grpc-status"] == "3" and told.headers["grpc-message"]
    assert puppet.calls() == []


@pytest.mark.parametrize("headers, status", [
    ({"te": None}, "3"), ({"content_type": "application/grpc+json"}, "12"), ({"content_type": "application/grpc;a=b"}, "0"),
    ({"path": "/inference.GRPCInferenceService/Nothing"}, "12"), ({"path": "/a.B/C"}, "12"), ({"method": "PUT"}, "12"),
    ({"x_xebec_priority": "top"}, "3"), ({"x_xebec_priority": "batch"}, "0")])
def test_heads(ordinary, raw_call, pb, headers, status):
    told = raw_call(ordinary, framed(question(pb).SerializeToString()), **headers)
    assert told.status == status, told


def test_a_stream_is_refused_before_its_client_has_ended_it(ordinary, raw_call):
    for body in (b"", framed(b"")):
        assert raw_call(ordinary, body, SERVICE + "ModelStreamInfer", ends=False).headers["grpc-status"] == "12"


def test_not_grpc_at_all(ordinary, raw_call):
    reply = ask_once(ordinary.address, "POST", SERVICE + "ModelInfer", framed(b""), ["Content-Type: application/grpc", "TE: trailers"])
    assert reply.status == 415 and "HTTP/2" in reply.json()["error"]
    told = raw_call(ordinary, b"{}", content_type="application/json")
    assert told.headers[":status"] == "415" and "application/grpc" in json.loads(told.body)["error"]


def refused_messages(pb):
    def changed(change, **more):
        message = question(pb, **more)
        change(message)
        return message.SerializeToString()

    tensor = "inputs"
    good = question(pb).SerializeToString()
    yield "no model", changed(lambda m: m.ClearField("model_name"))
    yield "no input", changed(lambda m: m.ClearField(tensor))
    yield "unknown input", changed(lambda m: setattr(m.inputs[0], "name", "z"))
    yield "no name", changed(lambda m: m.inputs[0].ClearField("name"))
    yield "datatype", changed(lambda m: setattr(m.inputs[0], "datatype", "FP64"))
    yield "no datatype", changed(lambda m: m.inputs[0].ClearField("datatype"))
    yield "no shape", changed(lambda m: m.inputs[0].ClearField("shape"))
    yield "negative size", changed(lambda m: m.inputs[0].shape.__setitem__(1, -2))
    yield "huge size", changed(lambda m: m.inputs[0].shape.__setitem__(1, 1 << 62))
    yield "sizes that overflow", changed(lambda m: m.inputs[0].shape.__setitem__(slice(0, 2), [1 << 13, 1 << 61]))
    yield "many sizes", changed(lambda m: m.inputs[0].shape.extend([1] * 10))
    yield "raw too short", changed(lambda m: m.raw_input_contents.__setitem__(0, b"abc"))
    yield "too many raw", changed(lambda m: m.raw_input_contents.append(b""))
    yield "raw and typed", changed(lambda m: m.inputs[0].contents.fp32_contents.append(1))
    yield "too few elements", changed(lambda m: m.inputs[0].contents.fp32_contents.pop(), raw=False)
    yield "elements of another type", changed(lambda m: m.inputs[0].contents.int_contents.append(1), raw=False)
    yield "an input twice", changed(lambda m: m.inputs.add().CopyFrom(m.inputs[0]))
    yield "an output twice", changed(lambda m: [m.outputs.add(name="y") for _ in range(2)])
    yield "an output without a name", changed(lambda m: m.outputs.add())
    yield "sticky or not, a bad timeout", changed(lambda m: setattr(m.parameters["timeout"], "string_param", "soon"))
    yield "a negative timeout", changed(lambda m: setattr(m.parameters["timeout"], "int64_param", -1))
    yield "a parameter that is no number", changed(lambda m: setattr(m.parameters["p"], "double_param", float("inf")))
    yield "cut off", good[:-3]
    yield "a name that is not UTF-8", good.replace(b"\x01e", b"\x01\xff", 1)
    yield "a name as a number", b"\x08\x01" + good
    yield "a group without its end", good + b"\x4b"
    yield "groups, deep", good + b"\x4b" * 5000
    yield "field 0", good + b"\x00\x00"
    yield "endless number", good + b"\x48" + b"\xff" * 20


def test_refused_messages(puppet, ordinary, stub, pb):
    ask = stub(ordinary)
    for what, message in refused_messages(pb):
        code, words = ask.refusal(message)
        assert code == CODE.INVALID_ARGUMENT and words, what
    assert puppet.calls() == []
    unknown = b"\x4b\x48\x01\x4c\x52\x03abc\x5d\0\0\0\0\x61\0\0\0\0\0\0\0\0"  # a group, bytes, fixed32, fixed64
    assert ask.infer(question(pb).SerializeToString() + unknown).outputs, "unknown fields are passed over"
    code, _ = ask.refusal(question(pb, parameters={"sequence_id": pb.InferParameter(int64_param=7)}))
    assert code == CODE.UNIMPLEMENTED


def test_malformed_questions_to_other_methods(ordinary, raw_call):
    for method in ("ModelReady", "ModelMetadata", "ModelConfig", "RepositoryIndex"):
        assert raw_call(ordinary, framed(b"\x08\x01"), SERVICE + method).headers["grpc-status"] == "3", method
    assert raw_call(ordinary, framed(b"\x08\x01"), "/grpc.health.v1.Health/Check").headers["grpc-status"] == "3"
    assert raw_call(ordinary, framed(b"\xff"), REFLECTION).headers["grpc-status"] == "3"
    told = raw_call(ordinary, framed(b"\x3a\x01*"), REFLECTION, ends=False)
    assert told.trailers == {"grpc-status": "0"} and b"inference.GRPCInferenceService" in told.body
