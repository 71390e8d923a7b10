"""TensorFlow Serving's REST API: what its clients send, what they get, and errors in its shape."""
import json

import pytest
from xebec_testing.gateway import one_model
from xebec_testing.http_client import ask_once
from xebec_testing.patience import wait_until

PAIR, TEXT = {"datatype": "FP32", "shape": [-1, 2]}, {"datatype": "BYTES", "shape": [-1]}


def post(gateway, verb, body, model="e"):
    return ask_once(gateway.address, "POST", f"/v1/models/{model}:{verb}", body)


def get(gateway, path):
    return ask_once(gateway.address, "GET", f"/v1/models/{path}")


@pytest.fixture
def pairs(puppet, gateway_for):
    """One input x, one output y: two floats each."""
    puppet.play(inputs={"x": ["FP32", [-1, 2]]}, outputs={"y": ["FP32", [-1, 2]]})
    return gateway_for(puppet, inputs={"x": PAIR}, outputs={"y": PAIR})


@pytest.fixture
def people(puppet, gateway_for):
    """Inputs a and b, two floats and a text; outputs c and d, the same."""
    puppet.play(inputs={"a": ["FP32", [-1, 2]], "b": ["BYTES", [-1]]}, outputs={"c": ["FP32", [-1, 2]], "d": ["BYTES", [-1]]})
    return gateway_for(puppet.kill() or puppet.start(), inputs={"a": PAIR, "b": TEXT}, outputs={"c": PAIR, "d": TEXT})


# --- predict ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("body", [
    {"instances": [[1, 2], [3, 4]]}, {"signature_name": "serving_default", "instances": [{"x": [1, 2]}, {"x": [3, 4]}]},
    {"instances": [[1, 2], {"x": [3, 4]}], "signature_name": ""}])
def test_by_row(pairs, body):
    reply = post(pairs, "predict", body)
    assert (reply.status, reply.json()) == (200, {"predictions": [[1, 2], [3, 4]]})


@pytest.mark.parametrize("inputs", [[[1, 2], [3, 4]], {"x": [[1, 2], [3, 4]]}])
def test_by_column(pairs, inputs):
    assert post(pairs, "predict", {"inputs": inputs}).json() == {"outputs": [[1, 2], [3, 4]]}


def test_several_inputs_and_outputs(people):
    rows = [{"a": [1, 2], "b": "u"}, {"b": {"b64": "dg=="}, "a": [3, 4]}]
    assert post(people, "predict", {"instances": rows}).json() == {"predictions": [{"c": [1, 2], "d": "u"}, {"c": [3, 4], "d": "v"}]}
    columns = {"a": [[1, 2], [3, 4]], "b": ["u", {"b64": "dg=="}]}
    assert post(people, "predict", {"inputs": columns}).json() == {"outputs": {"c": [[1, 2], [3, 4]], "d": ["u", "v"]}}


def test_bytes_of_the_only_input(puppet, gateway_for):
    puppet.play(inputs={"x": ["BYTES", [-1]]}, outputs={"y": ["BYTES", [-1]]})
    gateway = gateway_for(puppet.kill() or puppet.start(), inputs={"x": TEXT}, outputs={"y": TEXT})
    reply = post(gateway, "predict", {"instances": [{"b64": "YQ=="}, {"x": "b"}, {"x": {"b64": "Yw=="}}, "d"]})
    assert reply.json() == {"predictions": ["a", "b", "c", "d"]}


def test_clipper_and_this_share_answers(puppet, gateway_for):
    gateway = gateway_for(puppet, cache={"memory": "8MiB"})
    assert gateway.predict(input=[1, 2]).status == 200
    assert post(gateway, "predict", {"instances": [[1, 2]]}).json() == {"predictions": [[1, 2]]}
    assert len(puppet.calls()) == 1


def test_the_default_says_so(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="raise_all"), endpoint={"default": {"y": [0]}})
    assert post(gateway, "predict", {"instances": [[1]]}).json() == {"predictions": [[0]], "default": True, "cause": "model_error"}


# --- classify and regress --------------------------------------------------------------------------------

def test_classify(puppet, gateway_for):
    many, words = {"datatype": "FP32", "shape": [-1, 2]}, {"datatype": "BYTES", "shape": [-1, 2]}
    puppet.play(inputs={"scores": ["FP32", [-1, 2]], "words": ["BYTES", [-1, 2]]},
                outputs={"scores": ["FP32", [-1, 2]], "classes": ["BYTES", [-1, 2]]})
    gateway = gateway_for(puppet.kill() or puppet.start(), inputs={"scores": many, "words": words},
                          outputs={"scores": many, "classes": words})
    reply = post(gateway, "classify", {"examples": [{"scores": [0.25, 0.75], "words": ["no", "yes"]}]})
    assert (reply.status, reply.json()) == (200, {"results": [[["no", 0.25], ["yes", 0.75]]]})
    reply = post(gateway, "regress", {"examples": [{"scores": [0.25, 0.75], "words": ["no", "yes"]}]})
    assert reply.status == 400 and "no regressor" in reply.json()["error"]


def test_classify_without_labels(pairs):
    assert post(pairs, "classify", {"examples": [{"x": [1, 2]}]}).json() == {"results": [[["", 1], ["", 2]]]}


def test_regress(puppet, gateway_for):
    puppet.play(mode="sums", outputs={"y": ["FP32", [-1]]})
    gateway = gateway_for(puppet, outputs={"y": {"datatype": "FP32", "shape": [-1]}})
    assert post(gateway, "regress", {"examples": [{"x": [1, 2]}, {"x": [3, 4]}]}).json() == {"results": [3, 7]}


# --- paths -----------------------------------------------------------------------------------------------

def test_versions_labels_and_status(new_puppet, start_gateway):
    first, second = new_puppet(), new_puppet(version="v2")
    config = one_model([first.unix])
    config["models"]["m"]["versions"]["v2"] = {"replicas": [second.unix]}
    config["endpoints"]["e"] = {"slo": "30s", "split": [{"model": "m@v1", "weight": 1, "name": "stable"},
                                                        {"model": "m@v2", "weight": 0, "name": "next"}]}
    gateway = start_gateway(config).wait_ready()
    for path, version in (("e", "m@v1"), ("e/versions/v2", "m@v2"), ("e/labels/next", "m@v2"), ("e/LABELS/stable", "m@v1")):
        reply = post(gateway, "Predict", {"instances": [[1, 2]]}, path)
        assert (reply.status, reply.headers["x-xebec-version"]) == (200, version), reply
    for path in ("e/versions/v3", "e/labels/prod", "nobody"):
        assert post(gateway, "predict", {"instances": [[1]]}, path).status == 404
        assert get(gateway, path).status == 404
    well = {"error_code": "OK", "error_message": ""}
    status = {"model_version_status": [{"version": each, "state": "AVAILABLE", "status": well} for each in ("v1", "v2")],
              "name": "e", "ready": True}
    assert get(gateway, "e").json() == status
    second.kill()
    wait_until(lambda: get(gateway, "e/versions/v2").json()["model_version_status"][0]["status"]["error_code"] == "UNAVAILABLE",
               "v2 to be gone")


def test_metadata(people):
    spec = get(people, "e/metadata").json()
    assert spec["model_spec"] == {"name": "e", "signature_name": "", "version": "v1"}
    signature = spec["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["a"] == {"dtype": "DT_FLOAT", "name": "a", "tensor_shape": {
        "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}], "unknown_rank": False}}
    assert signature["outputs"]["d"]["dtype"] == "DT_STRING"


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/v1/models/e:predict", 405), ("POST", "/v1/models/e", 405), ("POST", "/v1/models/e:explain", 404),
    ("GET", "/v1/models/e/nowhere", 404), ("GET", "/v1", 404), ("POST", "/v1/models/:predict", 404), ("GET", "/V1/Models/e", 200)])
def test_paths(pairs, method, path, status):
    reply = ask_once(pairs.address, method, path, b"{}" if method == "POST" else None)
    assert reply.status == status and (status == 200 or set(reply.json()) == {"error"}), reply


# --- refusals --------------------------------------------------------------------------------------------

REFUSED = {
    "nothing": b"", "not JSON": b"hello", "a list": b"[]", "no rows": b"{}", "no list": b'{"instances":5}', "no row": b'{"instances":[]}',
    "both": b'{"instances":[[1,2]],"inputs":[[1,2]]}', "twice": b'{"instances":[[1,2]],"instances":[[1,2]]}',
    "another signature": b'{"signature_name":"other","instances":[[1,2]]}', "a word": b'{"instances":["a"]}',
    "NaN": b'{"instances":[[1,NaN]]}', "too few": b'{"instances":[[1]]}', "ragged": b'{"instances":[[1,2],[1,2,3]]}',
    "unknown name": b'{"instances":[{"z":[1,2]}]}', "named twice": b'{"instances":[{"x":[1,2],"x":[1,2]}]}', "no name": b'{"instances":[{}]}',
    "unknown column": b'{"inputs":{"z":[[1,2]]}}', "empty columns": b'{"inputs":{}}', "empty column": b'{"inputs":{"x":[]}}',
    "deep": b'{"instances":' + b"[" * 5000 + b"]" * 5000 + b"}", "b64 for a number": b'{"instances":[{"b64":"YQ=="}]}',
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_refused_bodies(puppet, pairs, body):
    reply = post(pairs, "predict", body)
    assert reply.status == 400 and set(reply.json()) == {"error"} and reply.json()["error"], reply
    assert puppet.calls() == []


def test_refused_columns(people):
    reply = post(people, "predict", {"inputs": {"a": [[1, 2], [3, 4]], "b": ["u"]}})
    assert (reply.status, reply.json()["error"]) == (400, "input b: 1 rows, where input a has 2")
    assert post(people, "predict", {"inputs": {"a": [[1, 2]]}}).json()["error"] == "input b is missing"
    assert post(people, "predict", {"inputs": [[1, 2]]}).status == 400


def test_refused_examples(pairs):
    assert post(pairs, "classify", {"instances": [[1, 2]]}).status == 400
    assert post(pairs, "classify", {"context": {"x": [1, 2]}, "examples": [{}]}).status == 501


def test_rows_fail_as_a_whole(puppet, gateway_for):
    puppet.play(mode="raise_rows", bad=3.0, words="too dark")
    reply = post(gateway_for(puppet), "predict", {"instances": [[1], [3]]})
    assert (reply.status, reply.json()) == (500, {"error": "row 1: too dark"})
    json.loads(reply.body)
