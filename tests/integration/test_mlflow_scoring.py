"""MLflow's scoring protocol: its own client, the four forms of JSON, CSV, and errors in its shape."""
import json
import subprocess

import pytest
from xebec_testing.gateway import one_model, run_xebec
from xebec_testing.http_client import ask_once
from xebec_testing.patience import PATIENCE, wait_until
from xebec_testing.venv import container_python

PAIR, NUMBER, TEXT = ({"datatype": "FP32", "shape": [-1, 2]}, {"datatype": "FP32", "shape": [-1]}, {"datatype": "BYTES", "shape": [-1]})
JSON, CSV = ["Content-Type: application/json"], ["Content-Type: text/csv"]
CLIENT = """
import json, sys, numpy, pandas
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
client = ScoringServerClient("127.0.0.1", int(sys.argv[1]))
client.wait_server_ready(timeout=10)
frame = pandas.DataFrame({"a": [1.5, 2.5], "b": ["u", "v"]})
print(json.dumps([client.get_version(), client.invoke(frame).get_predictions().to_dict("records"),
                  client.invoke(frame[:1], params={"unit": "EUR"}).get_predictions().to_dict("records")]))
"""


def invoke(gateway, body, headers=JSON):
    return ask_once(gateway.address, "POST", "/invocations", body, headers)


@pytest.fixture
def pairs(puppet, gateway_for):
    """One input x: rows of two floats."""
    puppet.play(inputs={"x": ["FP32", [-1, 2]]}, outputs={"y": ["FP32", [-1, 2]]})
    return gateway_for(puppet, inputs={"x": PAIR}, outputs={"y": PAIR}, mlflow="e")


@pytest.fixture
def people(puppet, gateway_for):
    """Two columns, a number and a text."""
    puppet.play(inputs={"a": ["FP32", [-1]], "b": ["BYTES", [-1]]}, outputs={"c": ["FP32", [-1]], "d": ["BYTES", [-1]]})
    return gateway_for(puppet.kill() or puppet.start(), inputs={"a": NUMBER, "b": TEXT}, outputs={"c": NUMBER, "d": TEXT}, mlflow="e")


def test_mlflows_own_client(people):
    done = subprocess.run([container_python("mlflow"), "-c", CLIENT, str(people.port)], capture_output=True, text=True, timeout=PATIENCE * 4)
    assert done.returncode == 0, done.stderr
    version, frame, first = json.loads(done.stdout)
    assert version and frame == [{"c": 1.5, "d": "u"}, {"c": 2.5, "d": "v"}] and first == frame[:1]


# --- what goes in ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("body", [
    {"dataframe_split": {"columns": ["p", "q"], "index": [0, 1], "data": [[1, 2], [3, 4]]}}, {"instances": [[1, 2], [3, 4]]},
    {"dataframe_split": {"data": [[1, 2], [3, 4]], "columns": ["p", "q"]}}, {"dataframe_records": [{"x": [1, 2]}, {"x": [3, 4]}]},
    {"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}, {"inputs": [[1, 2], [3, 4]], "params": None}, {"inputs": {"x": [[1, 2], [3, 4]]}},
])
def test_one_input(pairs, body):
    reply = invoke(pairs, body)
    assert (reply.status, reply.json()) == (200, {"predictions": [[1, 2], [3, 4]]})


@pytest.mark.parametrize("body", [
    {"dataframe_split": {"columns": ["b", "a"], "data": [["u", 1], ["v", 2]]}}, {"dataframe_records": [{"a": 1, "b": "u"}, {"b": "v", "a": 2}]},
    {"dataframe_split": {"data": [["u", 1], ["v", 2]], "columns": ["b", "a"]}}, {"instances": [{"a": 1, "b": "u"}, {"a": 2, "b": "v"}]},
    {"inputs": {"a": [1, 2], "b": ["u", "v"]}},
])
def test_several_columns(people, body):
    reply = invoke(people, body, ["Content-Type: application/json; charset=utf-8"])
    assert (reply.status, reply.json()) == (200, {"predictions": [{"c": 1, "d": "u"}, {"c": 2, "d": "v"}]})


@pytest.mark.parametrize("text", ["b,a\nu,1\nv,2\n", "b,a\r\nu,1\r\nv,2", '"b","a"\n"u","1"\n\nv,2\n\n', "b,a\nu,1.0\nv,2e0\n"])
def test_csv(people, text):
    assert invoke(people, text.encode(), CSV).json() == {"predictions": [{"c": 1, "d": "u"}, {"c": 2, "d": "v"}]}


def test_csv_of_text(people):
    text = 'b,a\n"with ""quotes"", a comma\nand a line",1\n7,2\n,3\nGrüße,-1.5e1\n'
    predictions = invoke(people, text.encode(), CSV).json()["predictions"]
    assert [each["d"] for each in predictions] == ['with "quotes", a comma\nand a line', "7", "", "Grüße"]
    assert predictions[-1]["c"] == -15


def test_csv_of_one_input(pairs):
    assert invoke(pairs, b"any,name\n1,2\n3,\n", CSV).json() == {"predictions": [[1, 2], [3, "NaN"]]}


def test_params_go_to_the_model(puppet, gateway_for):
    gateway = gateway_for(puppet, mlflow="e", cache={"memory": "8MiB"})
    for factor in (1, 2, 1):
        assert invoke(gateway, {"inputs": [[1]], "params": {"factor": factor}}).status == 200
    assert len(puppet.calls()) == 2, "other params are another question"


# --- health and configuration ----------------------------------------------------------------------------

def test_health(puppet, start_gateway):
    gateway = start_gateway(one_model([puppet.unix], mlflow="e")).wait_ready()
    for path in ("/ping", "/health"):
        reply = ask_once(gateway.address, "GET", path)
        assert (reply.status, reply.body) == (200, b"\n")
    assert ask_once(gateway.address, "GET", "/version").body.count(b".") == 2
    puppet.kill()
    wait_until(lambda: ask_once(gateway.address, "GET", "/ping").status == 404, "not to be well")


def test_without_a_configured_endpoint(puppet, gateway_for):
    gateway = gateway_for(puppet)
    reply = invoke(gateway, {"instances": [[1]]})
    assert (reply.status, reply.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
    reply = ask_once(gateway.address, "GET", "/ping")
    assert reply.status == 404 and "no `mlflow`" in reply.json()["message"]


def test_an_endpoint_that_is_not_there(tmp_path):
    path = tmp_path / "xebec.yaml"
    path.write_text(json.dumps(one_model(["127.0.0.1:1"], mlflow="f")))
    done = run_xebec("check", "--config", path)
    assert done.returncode != 0 and 'mlflow: no endpoint "f"; did you mean "e"?' in done.stdout + done.stderr, done


# --- refusals --------------------------------------------------------------------------------------------

REFUSED = {
    "nothing": b"", "not JSON": b"hello", "a list": b"[[1,2]]", "no form": b"{}", "two forms": b'{"instances":[[1,2]],"inputs":[[1,2]]}',
    "no rows": b'{"instances":[]}', "no columns": b'{"dataframe_split":{"data":[[1,2]]}}', "no data": b'{"dataframe_split":{"columns":["a"]}}',
    "empty data": b'{"dataframe_split":{"columns":["a","b"],"data":[]}}', "split is a list": b'{"dataframe_split":[]}', "NaN": b'{"instances":[[1,NaN]]}',
    "too wide": b'{"dataframe_split":{"columns":["a","b"],"data":[[1,2,3]]}}', "a word": b'{"inputs":[["a","b"]]}', "a prompt": b'{"prompt":"hello"}',
    "deep": b'{"instances":' + b"[" * 5000 + b"]" * 5000 + b"}", "params is a list": b'{"inputs":[[1,2]],"params":[]}',
    "columns twice": b'{"dataframe_split":{"columns":["a"],"columns":["b"],"data":[]}}', "data twice": b'{"dataframe_split":{"columns":["a","b"],"data":[[1,2]],"data":[[1,2]]}}',
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_refused_bodies(puppet, pairs, body):
    reply = invoke(pairs, body)
    assert reply.status == 400 and reply.json()["error_code"] == "BAD_REQUEST" and reply.json()["message"], reply
    assert puppet.calls() == []


@pytest.mark.parametrize("body", [
    {"dataframe_split": {"columns": ["a"], "data": [[1]]}}, {"dataframe_split": {"columns": ["a", "z"], "data": [[1, 2]]}},
    {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, {"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}},
    {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "u", 3]]}}, {"dataframe_records": [{"a": 1}]},
    {"inputs": {"a": [1, 2], "b": ["u"]}}, {"inputs": [1]}, {"dataframe_split": {"columns": ["a", "b"], "data": [{"a": 1}]}}])
def test_refused_frames(people, body):
    assert invoke(people, body).status == 400


@pytest.mark.parametrize("text", ["", "a,b", "a,b\n1", "a,b\n1,u,3", "a,z\n1,u", 'a,b\n1,"u', 'a,b\n1,"u"v', "a,b\nu,1", "a,b\n01,u", "a,b\n0x1,u"])
def test_refused_csv(people, text):
    reply = invoke(people, text.encode(), CSV)
    assert reply.status == 400 and reply.json()["message"], reply


@pytest.mark.parametrize("headers", [[], ["Content-Type: text/plain"], ["Content-Type: application/json; charset=latin-1"],
                                     ["Content-Type: text/csv; header=present"]])
def test_refused_types(pairs, headers):
    reply = invoke(pairs, b'{"instances":[[1,2]]}', headers)
    assert reply.status == 415 and reply.headers["content-type"] == "text/plain"


@pytest.mark.parametrize("method, path, status", [("GET", "/invocations", 405), ("POST", "/ping", 405), ("GET", "/invocations/e", 404)])
def test_paths(pairs, method, path, status):
    reply = ask_once(pairs.address, method, path, b"" if method == "POST" else None)
    assert reply.status == status and "error_code" in reply.json()


def test_rows_fail_as_a_whole(puppet, gateway_for):
    puppet.play(mode="raise_rows", bad=3.0, words="too dark")
    reply = invoke(gateway_for(puppet, mlflow="e"), {"instances": [[1], [3]]})
    assert (reply.status, reply.json()) == (500, {"error_code": "INTERNAL_ERROR", "message": "row 1: too dark"})
