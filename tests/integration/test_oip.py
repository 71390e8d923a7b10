"""OIP v2 over REST: Triton's own client, and what it cannot be made to say."""
import gzip
import json
import pathlib
import struct
import subprocess
import time

import pytest
from xebec_testing.gateway import one_model
from xebec_testing.http_client import ask_once
from xebec_testing.patience import PATIENCE, wait_until
from xebec_testing.venv import client_python

CLIENT = pathlib.Path(__file__).with_name("clients") / "triton_http.py"
NUMBERS = ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64"]


@pytest.fixture(scope="module")
def triton():
    """triton(gateway, datatype, rows, how, ...): what tritonclient was told."""
    python = client_python("triton")

    def ask(gateway, datatype, rows, *how):
        done = subprocess.run([python, CLIENT, f"127.0.0.1:{gateway.port}", datatype, json.dumps(rows), *how],
                              capture_output=True, text=True, timeout=PATIENCE * 2)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return ask


def typed(puppet, gateway_for, datatype, shape, **more):
    puppet.play(inputs={"x": [datatype, shape]}, outputs={"y": [datatype, shape]})
    spec = {"datatype": datatype, "shape": shape}
    return gateway_for(puppet, inputs={"x": spec}, outputs={"y": spec}, **more)


def infer(gateway, document, headers=(), path="/v2/models/e/infer"):
    return ask_once(gateway.address, "POST", path, document, headers)


def tensor(data, shape, datatype="FP32", name="x"):
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


# --- Triton's client -------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["json", "binary"])
@pytest.mark.parametrize("datatype, rows", [
    *((each, [[0, 1, 2], [100, 5, 6]]) for each in NUMBERS), ("BOOL", [[True, False, True]]),
    ("BYTES", [["a", "", "Grüße"], ["x" * 300, "\n", "0"]])])
def test_every_datatype_comes_back(puppet, gateway_for, triton, datatype, rows, how):
    if datatype == "FP16" and how == "json":
        pytest.skip("tritonclient sends FP16 as binary only")
    gateway = typed(puppet, gateway_for, datatype, [-1, 3])
    told = triton(gateway, datatype, rows, how)
    assert told["same"] == [True, True]
    reply = told["reply"]
    assert (reply["model_name"], reply["model_version"], reply["id"]) == ("e", "v1", "7")
    assert told["shape"] == [len(rows), 3]
    assert ("data" in reply["outputs"][0]) == (how == "json")
    assert sum(call["rows"] for call in puppet.calls()) == 2 * len(rows)


def test_what_triton_is_told(puppet, gateway_for, triton):
    told = triton(typed(puppet, gateway_for, "FP32", [-1, 3]), "FP32", [[1, 2, 3]], "binary")
    assert told["server"]["name"] == "xebec" and "binary_tensor_data" in told["server"]["extensions"]
    assert told["model"] == {"name": "e", "versions": ["v1"], "platform": "xebec_worker",
                             "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
                             "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}]}
    assert told["config"]["max_batch_size"] == 16384
    assert told["config"]["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}]
    assert told["index"] == [{"name": "e", "version": "v1", "state": "READY", "reason": ""}]
    assert told["stats"][0] == told["stats"][1] == told["stats"][2]
    assert told["no model"] == ["404", "nobody: no endpoint has this name; GET /v2/models lists them"]
    assert told["no version"] == ["404", "nine: the endpoint has no such version; GET /v2/models/{endpoint} lists them"]
    assert told["unknown output"] == ["400", "output z: the model has no output of this name; it has: y"]
    assert told["load"][0] == "501"


@pytest.mark.parametrize("how", ["json", "binary"])
def test_tritons_asynchronous_client(puppet, gateway_for, how):
    gateway = typed(puppet, gateway_for, "FP32", [-1, 3])
    done = subprocess.run([client_python("triton"), CLIENT.with_name("triton_aio.py"), f"127.0.0.1:{gateway.port}", "FP32", "[[1, 2, 3]]", how],
                          capture_output=True, text=True, timeout=PATIENCE * 2)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["same"] == [True] * 8 and told["ids"] == list("01234567") and told["model"]["versions"] == ["v1"]
    assert told["no model"] == ["404", "nobody: no endpoint has this name; GET /v2/models lists them"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("how", ["json", "binary"])
def test_compressed_both_ways(puppet, gateway_for, triton, how, coding):
    gateway = typed(puppet, gateway_for, "FP32", [-1, 3])
    rows = [[1, 2, 3]] * 3000
    assert triton(gateway, "FP32", rows, how, coding)["same"] == [True, True]


# --- one path for all dialects ---------------------------------------------------------------------------

def test_a_row_that_clipper_asked_for_is_answered_from_the_cache(puppet, gateway_for):
    gateway = typed(puppet, gateway_for, "FP32", [-1, 3], cache={"memory": "8MiB"})
    assert gateway.predict(input=[1, 2, 3]).status == 200
    calls = len(puppet.calls())
    reply = infer(gateway, {**tensor([1, 2, 3], [1, 3]), "outputs": [{"name": "y"}]})
    assert reply.json()["outputs"][0]["data"] == [1, 2, 3]
    blob = struct.pack("<3f", 1, 2, 3)
    document = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}]}
    assert infer_binary(gateway, document, blob).json()["outputs"][0]["data"] == [1, 2, 3]
    assert len(puppet.calls()) == calls


def infer_binary(gateway, document, blob, path="/v2/models/e/infer"):
    head = json.dumps(document).encode()
    return infer(gateway, head + blob, [f"Inference-Header-Content-Length: {len(head)}"], path)


def test_versions_and_rollouts(new_puppet, start_gateway):
    first, second = new_puppet(), new_puppet(version="v2")
    config = one_model([first.unix])
    config["models"]["m"]["versions"]["v2"] = {"replicas": [second.unix]}
    config["endpoints"]["e"] = {"slo": "30s", "split": [{"model": "m@v1", "weight": 1}, {"model": "m@v2", "weight": 0}]}
    gateway = start_gateway(config).wait_ready()
    reply = infer(gateway, tensor([1, 2], [1, 2]))
    assert reply.json()["model_version"] == "v1" and reply.headers["x-xebec-version"] == "m@v1"
    for name in ("v2", "m@v2"):
        reply = infer(gateway, tensor([1, 2], [1, 2]), path=f"/v2/models/e/versions/{name}/infer")
        assert reply.json()["model_version"] == "v2"
    assert infer(gateway, tensor([1, 2], [1, 2]), path="/v2/models/e/versions/v9/infer").status == 404
    assert ask_once(gateway.address, "GET", "/v2/models/e/versions/v2").json()["versions"] == ["v2"]
    second.kill()
    wait_until(lambda: ask_once(gateway.address, "GET", "/v2/models/e/versions/v2/ready").status == 503, "v2 to be gone")
    assert ask_once(gateway.address, "GET", "/v2/models/e/ready").json() == {"name": "e", "ready": True}
    index = ask_once(gateway.address, "POST", "/v2/repository/index", {"ready": True}).json()
    assert [each["version"] for each in index] == ["v1"]


def test_health_follows_the_replicas(puppet, start_gateway):
    gateway = start_gateway(one_model([puppet.unix])).wait_ready()
    reply = ask_once(gateway.address, "GET", "/v2/health/ready")
    assert (reply.status, reply.json()) == (200, {"live": True, "ready": True})
    puppet.kill()
    wait_until(lambda: ask_once(gateway.address, "GET", "/v2/health/ready").status == 503, "not to be ready")
    assert ask_once(gateway.address, "GET", "/v2/health/live").status == 200


def test_rows_fail_as_a_whole(puppet, gateway_for):
    puppet.play(mode="raise_rows", bad=3.0, words="too dark")
    reply = infer(gateway_for(puppet), tensor([1, 3], [2, 1]))
    assert (reply.status, reply.json()) == (500, {"error": "row 1: too dark"})


def test_the_clients_timeout(puppet, gateway_for):
    gateway = gateway_for(puppet.play(delay_ms=2000))
    reply = infer(gateway, {**tensor([1], [1, 1]), "parameters": {"timeout": 50000}})
    assert reply.status == 504 and set(reply.json()) == {"error"}


# --- Triton's statistics -----------------------------------------------------------------------------------

def statistics(gateway, path="/v2/models/e/stats"):
    reply = ask_once(gateway.address, "GET", path)
    assert reply.status == 200, reply
    entry, = reply.json()["model_stats"]
    return entry, {name: part["count"] for name, part in entry["inference_stats"].items()}


def test_statistics_tell_what_became_of_requests(puppet, gateway_for):
    gateway = typed(puppet, gateway_for, "FP32", [-1, 3], cache={"memory": "8MiB"})
    entry, counts = statistics(gateway)
    assert (entry["name"], entry["version"], entry["last_inference"], set(counts.values())) == ("e", "v1", 0, {0})
    before_ms = time.time() * 1000
    for body in (tensor([1, 2, 3, 4, 5, 6], [2, 3]), tensor([1, 2, 3], [1, 3]), tensor([7, 8, 9], [1, 3])):
        assert infer(gateway, body).status == 200
    puppet.play(mode="raise_rows", bad=0.0, inputs={"x": ["FP32", [-1, 3]]}, outputs={"y": ["FP32", [-1, 3]]})
    assert infer(gateway, tensor([0, 0, 0], [1, 3])).status == 500
    gateway.wait_metric(4, "xebec_requests_total")
    entry, counts = statistics(gateway)
    batches = entry["execution_count"]
    assert counts == {"success": 3, "fail": 1, "queue": batches, "compute_input": 0, "compute_infer": batches, "compute_output": 0,
                      "cache_hit": 1, "cache_miss": 2}
    assert entry["inference_count"] == 4 and 3 <= batches <= 4
    assert before_ms - 1000 < entry["last_inference"] < time.time() * 1000 + 1000
    parts = entry["inference_stats"]
    assert all(0 < parts[part]["ns"] < 60e9 for part in ("success", "fail", "queue", "compute_infer"))
    assert statistics(gateway, "/v2/models/e/versions/v1/stats")[0] == statistics(gateway, "/v2/models/stats")[0] == entry
    assert ask_once(gateway.address, "GET", "/v2/models/stats/more").status == 404


def test_an_endpoint_may_be_called_stats(puppet, start_gateway):
    config = one_model([puppet.unix])
    config["endpoints"]["stats"] = config["endpoints"].pop("e")
    gateway = start_gateway(config).wait_ready()
    assert ask_once(gateway.address, "GET", "/v2/models/stats").json()["platform"] == "xebec_worker"
    assert ask_once(gateway.address, "GET", "/v2/models/stats/stats").json()["model_stats"][0]["name"] == "stats"


# --- paths, methods, and what is refused ------------------------------------------------------------------

@pytest.fixture
def ordinary(puppet, gateway_for):
    return gateway_for(puppet)


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/v2", 200), ("GET", "/v2/", 200), ("HEAD", "/v2/health/live", 200), ("GET", "/v2/models", 200),
    ("GET", "/v2/models/e/", 200), ("GET", "/v2/models/e/versions/v1/config", 200), ("POST", "/v2/repository/index", 200),
    ("POST", "/v2", 405), ("GET", "/v2/models/e/infer", 405), ("POST", "/v2/models/e", 405), ("PUT", "/v2/health/live", 405),
    ("GET", "/v2/repository/index", 405), ("GET", "/v2/nowhere", 404), ("GET", "/v2/models/e/nowhere", 404),
    ("GET", "/v2/models/e/infer/more", 404), ("GET", "/v2/models/e/versions", 404), ("GET", "/v2/models//infer", 404),
    ("GET", "/v20", 404), ("POST", "/v2/repository/models/e/load", 501),
])
def test_paths(ordinary, method, path, status):
    reply = ask_once(ordinary.address, method, path, b"" if method == "POST" else None)
    assert reply.status == status, reply
    assert reply.headers["content-type"] == "application/json"
    if status >= 400:
        assert "error" in reply.json()


def test_an_endpoint_may_be_called_v2(puppet, start_gateway):
    config = one_model([puppet.unix])
    config["endpoints"]["v2"] = config["endpoints"]["e"]
    gateway = start_gateway(config).wait_ready()
    assert gateway.predict("v2", input=[1]).status == 200
    assert infer(gateway, tensor([1], [1, 1]), path="/v2/models/v2/infer").status == 200


REFUSED = {
    "nothing": b"", "not JSON": b"hello", "a list": b"[]", "no inputs": b"{}", "not UTF-8": b'{"inputs":[],"\xff":1}',
    "deep": b'{"inputs":' + b"[" * 5000 + b"]" * 5000 + b"}", "negative size": json.dumps(tensor([1], [1, -1])).encode(),
    "huge size": json.dumps(tensor([1], [1, 1 << 62])).encode(), "sizes that overflow": json.dumps(tensor([1], [1 << 32, 1 << 32])).encode(),
    "NaN": b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[NaN]}]}',
    "datatype": json.dumps(tensor([1], [1, 1], "FP64")).encode(), "name": json.dumps(tensor([1], [1, 1], name="z")).encode(),
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_refused_bodies(puppet, ordinary, body):
    reply = infer(ordinary, body)
    assert reply.status in (400, 413) and set(reply.json()) == {"error"} and reply.json()["error"], reply
    assert puppet.calls() == []


@pytest.mark.parametrize("length", ["-1", "x", "99999999999999999999", "7 ", "1e3", "50"])
def test_refused_header_lengths(ordinary, length):
    reply = infer(ordinary, b'{"inputs":[]}', [f"Inference-Header-Content-Length: {length}"])
    assert reply.status == 400 and "error" in reply.json()


def test_a_small_body_that_is_a_large_one(puppet, gateway_for):
    gateway = gateway_for(puppet, limits={"body": "64KiB"})
    document = json.dumps(tensor([1], [1, 1])).encode()
    for coding, status in (("gzip", 413), ("br", 415), ("deflate", 400)):
        reply = infer(gateway, gzip.compress(document + b" " * 100000), [f"Content-Encoding: {coding}"])
        assert (reply.status, set(reply.json())) == (status, {"error"}), reply
    reply = infer(gateway, gzip.compress(document + b" " * 10000), ["Content-Encoding: gzip"])
    assert reply.status == 200 and "content-encoding" not in reply.headers
    reply = ask_once(gateway.address, "POST", "/e/predict", gzip.compress(b'{"input": [1]}'), ["Content-Encoding: gzip"])
    assert reply.json()["output"] == [1], "every dialect's"


def test_large_replies_are_compressed_where_it_is_asked_for(puppet, gateway_for):
    gateway = gateway_for(puppet)
    document = tensor([0.5] * 10000, [1, 10000])
    plain = infer(gateway, document)
    reply = infer(gateway, document, ["Accept-Encoding: gzip"])
    assert "content-encoding" not in plain.headers
    assert reply.headers["content-encoding"] == "gzip" and reply.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(reply.body) == plain.body and len(reply.body) * 10 < len(plain.body)


def test_data_alone(puppet, gateway_for):
    gateway = typed(puppet, gateway_for, "FP32", [-1, 2])
    reply = infer(gateway, struct.pack("<4f", 1, 2, 3, 4), ["Inference-Header-Content-Length: 0"])
    assert reply.status == 200 and reply.headers["content-type"] == "application/octet-stream"
    head = int(reply.headers["inference-header-content-length"])
    assert json.loads(reply.body[:head])["outputs"][0]["shape"] == [2, 2]
    assert struct.unpack("<4f", reply.body[head:]) == (1, 2, 3, 4)


def test_http_itself_is_refused_in_the_same_words(gateway_for, puppet):
    gateway = gateway_for(puppet, limits={"body": "1KiB"})
    reply = infer(gateway, b"x" * 2000)
    assert reply.status == 413 and set(reply.json()) == {"error"}
